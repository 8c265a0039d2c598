"""Models as nodes: OpenAI, any server that speaks its API, and voices that need none.

>>> from llambdao import ask
>>> rumi = OpenAINode(name="Rumi", model="offline")
>>> "purpose of life" in ask(rumi, "What is the purpose of life?").content
True
"""

from llambdao.openai._choose import model_from
from llambdao.openai._errors import (
    CutOff,
    IsOffline,
    ModelError,
    NoKey,
    NoServer,
    Refused,
    ScriptEnded,
    TimedOut,
    UnknownModel,
    WrongKey,
)
from llambdao.openai._models import EchoModel, FunctionModel, Model, ScriptedModel, offline
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
from llambdao.openai._server import OpenAIModel

__all__ = [
    "CutOff",
    "EchoModel",
    "Fate",
    "FunctionModel",
    "IsOffline",
    "Model",
    "ModelError",
    "NoKey",
    "NoServer",
    "OfflineModel",
    "OpenAIModel",
    "OpenAINode",
    "Prepared",
    "Refused",
    "Report",
    "ScriptEnded",
    "ScriptedModel",
    "SummaryNode",
    "TimedOut",
    "Turn",
    "UnknownModel",
    "WrongKey",
    "estimate_tokens",
    "model_from",
    "offline",
    "prepare_for_openai",
]
