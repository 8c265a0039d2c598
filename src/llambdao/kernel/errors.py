"""The errors of the kernel, one tree.

    LlambdaoError
     +- BadMessage            what came from outside is no valid message (also ValueError)
     |   +- UnknownKind       ... of a class nobody has defined
     +- UnknownIntent         the node has no handler of that name (also LookupError)
     +- NotPermitted          the edge that would allow this is missing (also PermissionError)
     +- NotANode              something else stands where a node belongs (also TypeError)
     +- Said                  a message never changes (also AttributeError)
     +- Misused               a wait or a handler used in a way that cannot work (also TypeError)
     +- Unreachable           no node of that address is known here (also LookupError)
     +- NoAnswer              a question nobody answered (also TimeoutError when time ran out)
     +- LimitReached          the conversation used up what it was allowed
     |   +- BudgetReached     ... of money, tokens, calls, time or messages
     +- MailboxFull           a node has no room for another message
     +- Stopped               the node, or its runtime, takes no more messages
     |   +- Restarted         the node was restarted while it was at work
     +- Deadlock              everybody waits for somebody
     +- DuplicateKind         two message classes share one name (also TypeError)

Each says what was expected, what came instead, and what to do about it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadMessage",
    "BudgetReached",
    "Deadlock",
    "DuplicateKind",
    "LimitReached",
    "LlambdaoError",
    "MailboxFull",
    "Misused",
    "NoAnswer",
    "NotANode",
    "NotPermitted",
    "Restarted",
    "Said",
    "Stopped",
    "UnknownIntent",
    "UnknownKind",
    "Unreachable",
]


class LlambdaoError(Exception):
    """The root of every error this library raises of its own accord."""


class BadMessage(LlambdaoError, ValueError):
    """What came from outside (a wire, a mail, a model) is no valid message; it names the field."""


class UnknownKind(BadMessage):
    """A message of a class that nobody here has defined."""


class UnknownIntent(LlambdaoError, LookupError):
    """The node has no handler of that name; the error lists the intents it does have."""


class NotPermitted(LlambdaoError, PermissionError):
    """The sender has no edge that permits this."""


class NotANode(LlambdaoError, TypeError):
    """Something that is no node stands where a node belongs."""


class Said(LlambdaoError, AttributeError):
    """A message never changes; `message.but(content=...)` makes another."""


class Misused(LlambdaoError, TypeError):
    """A wait or a handler used in a way that cannot work; the error shows the line."""


class Unreachable(LlambdaoError, LookupError):
    """The address belongs to no node that can be reached from here."""


class NoAnswer(LlambdaoError, TimeoutError):
    """A question nobody answered: the peer said nothing, or not in time."""


class LimitReached(LlambdaoError):
    """A conversation used up what it was allowed; it says which limit, and how to raise that."""


class BudgetReached(LimitReached):
    """There is not enough left in a budget; it says of what, and whose budget it is."""

    kind: str
    """What there is not enough of: usd, tokens, calls, seconds or messages."""
    asked: Any
    left: Any
    scope: Any = None
    """The budget that refused: its own limit is too low. Of another process it is None."""

    def __reduce__(self) -> Any:
        state = {name: value for name, value in vars(self).items() if name != "scope"}
        return (type(self), self.args, state)


class MailboxFull(LlambdaoError):
    """A node's mailbox has no room, and its policy is not to wait."""


class Stopped(LlambdaoError):
    """The node, or the runtime it lives in, was stopped and takes no more messages."""


class Restarted(Stopped):
    """The node was restarted by its supervisor while it was at work on this message."""


class Deadlock(LlambdaoError):
    """Everybody waits for somebody; the error names who waits for whom."""


class DuplicateKind(LlambdaoError, TypeError):
    """Two message classes in different modules claim one kind."""
