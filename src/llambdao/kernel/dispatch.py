"""Which handler a message reaches: one table per class, and nothing else, ever."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from llambdao.kernel.errors import NotANode, NotPermitted, UnknownIntent, Unreachable
from llambdao.kernel.message import Address

__all__ = [
    "ASYNC_GENERATOR",
    "COROUTINE",
    "GENERATOR",
    "GUARDED",
    "PLAIN",
    "SPEAKER",
    "TABLES",
    "find_handler",
]

PLAIN, GENERATOR, COROUTINE, ASYNC_GENERATOR, GUARDED, SPEAKER = range(6)
"""The four kinds of handler, one that takes a permission, and generators that return nothing."""

TABLES: dict[type, Any] = {}
"""The handlers of every class of nodes, by intent; each class enters its own when it is made."""

NO_TABLE: Any = MappingProxyType({})


def find_handler(node: Any, message: Any) -> Any:
    """The function that handles a message at a node, and its kind; else an error says why not."""
    handler = TABLES.get(type(node), NO_TABLE).get(message._intent or message.intent)
    if handler is None:
        raise _refusal(node, message)
    if handler[1] == GUARDED:
        _check_permission(node, message)
        return handler[0], PLAIN
    return handler


def listed(node: Any) -> str:
    """The intents a node understands, for an error that teaches."""
    return ", ".join(node.intents) or "nothing"


def nobody(network: Any, nodes: Any, word: str | None) -> UnknownIntent:
    """The error of a relay that nobody understands."""
    known = "; ".join(f"{node} understands {listed(node)}" for node in nodes[:5])
    return UnknownIntent(f"nobody in {network} understands {word!r}; {known}")


def _refusal(node: Any, message: Any) -> Exception:
    if isinstance(node, Address):
        return Unreachable(
            f"{node} lives elsewhere, and nothing here reaches it; a driver that connects"
            " processes does"
        )
    if type(node) not in TABLES:
        return NotANode(f"expected a node to hear {message!r}, but got {node!r:.80}")
    return UnknownIntent(
        f"{node} does not understand {message.intent!r}; it understands {listed(node)}"
    )


def _check_permission(node: Any, message: Any) -> None:
    """`be` takes an edge from the sender that permits it."""
    sender = message.sender
    edge = None if sender is None else getattr(sender, "edges", {}).get(node.id)
    if edge is None or message.intent not in (edge.metadata.get("may") or ()):
        raise NotPermitted(
            f"{sender or 'the caller'} may not change what {node} is: that takes an edge,"
            f" sender.link(node, may={{'be'}}), or a `be` of its own in {type(node).__name__}"
        )
