"""Models as nodes: OpenAI, any server that speaks its API, and voices that need none.

>>> from llambdao import ask
>>> rumi = OpenAINode(name="Rumi", model="offline")
>>> "purpose of life" in ask(rumi, "What is the purpose of life?").content
True
"""

from llambdao.openai._approval import Approval
from llambdao.openai._calls import Answer, Tool, ToolCall, Usage
from llambdao.openai._choose import model_from
from llambdao.openai._errors import (
    BadAnswer,
    BadTape,
    Busy,
    CannotDo,
    CutOff,
    IsOffline,
    ModelError,
    NoKey,
    NoServer,
    NothingSaid,
    NotRecorded,
    Refused,
    RefusedField,
    ScriptEnded,
    ServerFailed,
    TimedOut,
    TooLong,
    UnknownModel,
    UnknownPrice,
    WrongKey,
)
from llambdao.openai._explain import Asked, Explanation, explain
from llambdao.openai._memory import BadMemory, MemoryFailed, MemoryIsReadOnly, RecallNode
from llambdao.openai._models import EchoModel, FunctionModel, Model, ScriptedModel, offline
from llambdao.openai._money import FREE, Price, price_of
from llambdao.openai._nodes import OpenAINode, SummaryNode
from llambdao.openai._offline import OfflineModel
from llambdao.openai._prepare import (
    Fate,
    Prepared,
    Report,
    Turn,
    estimate_tokens,
    prepare_for_openai,
)
from llambdao.openai._profiles import PROFILES, Profile
from llambdao.openai._replay import ReplayModel
from llambdao.openai._retries import Retries
from llambdao.openai._server import OpenAIModel
from llambdao.openai._tools import ToolFailed, TooManyRounds
from llambdao.openai._typed import BadReply

__all__ = [
    "FREE",
    "PROFILES",
    "Answer",
    "Approval",
    "Asked",
    "BadAnswer",
    "BadMemory",
    "BadReply",
    "BadTape",
    "Busy",
    "CannotDo",
    "CutOff",
    "EchoModel",
    "Explanation",
    "Fate",
    "FunctionModel",
    "IsOffline",
    "MemoryFailed",
    "MemoryIsReadOnly",
    "Model",
    "ModelError",
    "NoKey",
    "NoServer",
    "NotRecorded",
    "NothingSaid",
    "OfflineModel",
    "OpenAIModel",
    "OpenAINode",
    "Prepared",
    "Price",
    "Profile",
    "RecallNode",
    "Refused",
    "RefusedField",
    "ReplayModel",
    "Report",
    "Retries",
    "ScriptEnded",
    "ScriptedModel",
    "ServerFailed",
    "SummaryNode",
    "TimedOut",
    "TooLong",
    "TooManyRounds",
    "Tool",
    "ToolCall",
    "ToolFailed",
    "Turn",
    "UnknownModel",
    "UnknownPrice",
    "Usage",
    "WrongKey",
    "estimate_tokens",
    "explain",
    "model_from",
    "offline",
    "prepare_for_openai",
    "price_of",
]
