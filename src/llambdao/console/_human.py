"""`ConsoleHumanNode`: the person at the console."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from llambdao.console._screen import Screen, screen
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import call

__all__ = ["ConsoleHumanNode"]


class ConsoleHumanNode(Node):
    """The person at the console.

    `chat`, `request` and `query` show her what was said, and say what she answers: she is asked
    once, and may pass. `inform` only shows. After she has left she says nothing.

    >>> import io, sys
    >>> person = ConsoleHumanNode(screen=Screen(io.StringIO("Fine, and you?"), sys.stdout))
    >>> [said.content for said in person.receive("How are you?")]
    someone: How are you?
    ['Fine, and you?']
    """

    role: ClassVar[str] = "user"

    screen: Any = Field(default=None, exclude=True)
    """Where she reads and writes: a `Screen`; the console of this process unless given."""

    def __init__(self, /, **fields: Any) -> None:
        super().__init__(**fields)
        self.has_left = False
        self.has_seen = 0  # how many messages had been shown when she was last asked

    def __str__(self) -> str:
        return self.name or "Guest"

    def chat(self, message: Message) -> Any:
        """Show it, and ask her what she says to it, unless she could when she was last asked."""
        return self._answer(self.at.show(message))

    def request(self, message: Message) -> Any:
        """Show the question, and ask her."""
        self.at.show(message)
        return self._answer(None)

    def query(self, message: Message) -> Any:
        """Show the question, and ask her."""
        return self.request(message)

    def inform(self, message: Message) -> None:
        """Show it."""
        self.at.show(message)

    @property
    def at(self) -> Screen:
        """Her screen."""
        return self.screen or screen()

    def _answer(self, number: int | None) -> Any:
        if self.has_left or (number is not None and number <= self.has_seen):
            return
        words = yield call(self.at.read, self, number)
        if words is None:
            self.has_left = True
        elif words:
            yield words
