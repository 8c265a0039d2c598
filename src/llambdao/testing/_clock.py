"""`VirtualClock`: time that passes at once."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

__all__ = ["START", "VirtualClock"]

START = datetime(2030, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still until somebody sleeps: three days pass at once.

    With the same clock the same program gives the same transcript, ids and timestamps included.

    >>> from llambdao import Node, sleep
    >>> class Patient(Node):
    ...     def chat(self, message):
    ...         yield sleep(3 * 24 * 3600)
    ...         yield str(self.now())
    >>> [said.content for said in Patient().receive("Go", clock=VirtualClock())]
    ['2030-01-04 00:00:00+00:00']
    """

    def __init__(self, start: datetime = START) -> None:
        self.time = round(start.timestamp()) * 1_000_000_000
        self.salt = count(1).__next__

    def now(self) -> int:
        """The time, in ns since 1970."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let this much time pass, at once."""
        self.time += round(seconds * 1e9)
