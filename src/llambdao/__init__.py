"""LLAMBDAO: everything is a node, everything said is a message.

A node answers a message by a handler, a method named after the message's intent. A handler yields
what it says, and is sent the answers it waits for.

>>> class Greeter(Node):
...     def chat(self, message):
...         yield f"Hello, {message.content}!"
>>> [said.content for said in Greeter().receive("Ann")]
['Hello, Ann!']
"""

import typing

from llambdao.kernel.errors import (
    BadMessage,
    Deadlock,
    LimitReached,
    LlambdaoError,
    Misused,
    NoAnswer,
    NotANode,
    NotPermitted,
    Said,
    UnknownIntent,
    UnknownKind,
    Unreachable,
)
from llambdao.kernel.events import DeadLetter, Event, Limits, Reason
from llambdao.kernel.message import Address, Delta, Message, Ref
from llambdao.kernel.node import Edge, Node, intent
from llambdao.kernel.run import Conversation, ask, tell, watch
from llambdao.kernel.waits import Wait, all_of, any_of, call, expect, sleep
from llambdao.networks.groupchat import GroupChatNode
from llambdao.networks.mapper import MapperNode
from llambdao.networks.pipeline import Pipeline
from llambdao.networks.router import Router
from llambdao.networks.until import Until, heard, spent, turns, when

if typing.TYPE_CHECKING:
    from llambdao.human import HumanNode
    from llambdao.runtime import Budget, Runtime

__version__ = "0.1.0"

_LATER = {
    "Budget": "llambdao.runtime",
    "HumanNode": "llambdao.human",
    "Runtime": "llambdao.runtime",
}
"""What is loaded when it is first asked for: it brings an event loop along."""


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


__all__ = [
    "Address",
    "BadMessage",
    "Budget",
    "Conversation",
    "DeadLetter",
    "Deadlock",
    "Delta",
    "Edge",
    "Event",
    "GroupChatNode",
    "HumanNode",
    "LimitReached",
    "Limits",
    "LlambdaoError",
    "MapperNode",
    "Message",
    "Misused",
    "NoAnswer",
    "Node",
    "NotANode",
    "NotPermitted",
    "Pipeline",
    "Reason",
    "Ref",
    "Router",
    "Runtime",
    "Said",
    "UnknownIntent",
    "UnknownKind",
    "Unreachable",
    "Until",
    "Wait",
    "all_of",
    "any_of",
    "ask",
    "call",
    "expect",
    "heard",
    "intent",
    "sleep",
    "spent",
    "tell",
    "turns",
    "watch",
    "when",
]
