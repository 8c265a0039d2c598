"""What can be said of a conversation: what it may use up, what happened in it, why it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

__all__ = ["DeadLetter", "Event", "Limits", "Reason", "Recorder"]


class Reason(StrEnum):
    """Why a conversation ended."""

    DONE = "done"
    STOPPED = "stopped"
    LIMIT = "limit"
    BUDGET = "budget"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DEADLOCK = "deadlock"


class Limits(Struct, frozen=True):
    """What one conversation may use up before it is ended.

    `messages`: how many may be said; `chain`: how often one node's handler may stand in a chain of
    askers; `mailbox`: how many told messages may wait for one node before tellers wait too (a
    `Runtime` has a `Mailbox` for that); `hops`: how many askers and relayers may stand one behind
    another, None for any number.
    """

    messages: int = 100_000
    chain: int = 100
    mailbox: int = 10_000
    hops: int | None = None


LIMITS = Limits()


class Exhausted(BaseException):
    """Carries a limit that was reached past every handler to the end of the conversation."""


class Event(Struct, frozen=True, eq=False):
    """Something an observer sees, in order.

    `kind` is one of said, delivered, delta, waits, ended, failed, dead, supervised, stalled, over.
    `conversation` is the message from outside that caused it all.
    """

    kind: str
    node: Any = None
    message: Any = None
    detail: Any = None
    conversation: Any = None


class DeadLetter(Struct, frozen=True, eq=False):
    """A message that nobody could or would handle, for which node, why, and what was raised."""

    message: Any
    reason: str
    node: Any = None
    error: Any = None


class Recorder(Protocol):
    """What a journal implements: it hears of everything before that becomes visible."""

    def __call__(self, event: Event) -> None:
        """Take note of what happened."""
