"""People at the console: `ConsoleHumanNode`, and tables that show what is said at them.

Where input and output are a terminal, words come with a name before them, Markdown is rendered (by
the extra `console`), and a person edits her line; elsewhere plain lines are read and written.

Whose turn it is, at a table with a person: she sees every word as it comes, and is asked once for
what she has not seen yet, when the others have said what they have to say to it; never for each
word. An empty line passes. What she begins with `@Rumi` is for Rumi: he alone is asked.
Who has left (`/quit`, Ctrl-D, the end of the input) is asked no more, and the table ends.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.scheduler import Event, Reason
from llambdao.kernel.waits import Ending, Stream, call
from llambdao.networks.groupchat import GroupChatNode, Talk

__all__ = [
    "ConsoleGroupChatNode",
    "ConsoleHumanNode",
    "ConsoleRoundTableNode",
    "Screen",
    "addressed",
    "screen",
]


class ConsoleHumanNode(Node):
    """The person at the console.

    `chat`, `request` and `query` show what was said to her and say what she answers: she is asked
    once, and may pass. `inform` only shows. After she has left she says nothing.

    >>> from io import StringIO
    >>> person = ConsoleHumanNode(screen=Screen(StringIO("Well, and you?\\n"), sys.stdout))
    >>> [said.content for said in person.receive("How are you?")]
    someone: How are you?
    ['Well, and you?']
    """

    role: ClassVar[str] = "user"

    screen: Any = Field(default=None, exclude=True)
    """Where she reads and writes; the console of this process unless given."""

    def __init__(self, /, **fields: Any) -> None:
        super().__init__(**fields)
        self.has_left = False
        self.has_seen = 0

    def __str__(self) -> str:
        return self.name or "Guest"

    def chat(self, message: Message) -> Any:
        """Show it, and ask her, unless she had seen it when she was last asked."""
        number = self._screen.show(message)
        return None if number <= self.has_seen else self._answer(number)

    def request(self, message: Message) -> Any:
        """Show the question, and ask her."""
        self._screen.show(message)
        return self._answer(None)

    query = request

    def inform(self, message: Message) -> None:
        """Show it."""
        self._screen.show(message)

    @property
    def _screen(self) -> Screen:
        return self.screen or screen()

    def _answer(self, number: int | None) -> Any:
        if self.has_left:
            return
        words = yield call(self._screen.read, self, number)
        if words is None:
            self.has_left = True
        elif words:
            yield words


class ConsoleGroupChatNode(GroupChatNode):
    """A group chat that shows every utterance as it comes, and passes it on as any group chat does.

    It has no members but those it is given. Once every person at it has left, it ends.
    """

    screen: Any = Field(default=None, exclude=True)
    """Where it shows what is said; the console of this process unless given."""

    def chat(self, message: Message) -> Any:
        """Let everybody talk about it, and show it."""
        show = self._sit(message)
        steps: Any = super().chat(message)
        step, value = steps.send, None
        while True:
            try:
                said = step(value)
            except StopIteration:
                return
            if isinstance(said, Message):
                show(said)
            elif isinstance(said, Stream) and said.left < 0 and _is_person(said.words.sender):
                said.nodes = addressed(said.words.content, said.nodes) or said.nodes
            try:
                value, step = (yield said), steps.send
            except Exception as error:
                value, step = error, steps.throw
            if self._is_deserted():
                steps.close()
                yield Ending(reason=Reason.STOPPED, detail=f"everybody has left {self}")
                return

    def _sit(self, message: Message) -> Any:
        """Open the table with its first words."""
        where = self.screen or screen()
        where.table = self
        where.show(message)
        return where.show

    def _is_deserted(self) -> bool:
        people = [member for member in self.members if _is_person(member)]
        return bool(people) and all(person.has_left for person in people)


class ConsoleRoundTableNode(ConsoleGroupChatNode):
    """A table at which all speak in turn, in the order of their seats, each once a round.

    Each is asked about what was said last, and has been informed of everything before it, so each
    answers the one before. Whoever is addressed, `@Rumi`, has the next word. It ends when nobody
    has a word to add, where `until` says so, or when every person has left.

    >>> from io import StringIO
    >>> from llambdao import turns
    >>> class Sage(Node):
    ...     def chat(self, message):
    ...         return f"I heard {message.sender or 'somebody'}."
    >>> sages = [Sage(name="Rumi"), Sage(name="Lao Tzu")]
    >>> table = ConsoleRoundTableNode(*sages, until=turns(3), screen=Screen(StringIO(), sys.stdout))
    >>> for said in table.receive("Why?"):
    ...     pass
    someone: Why?
    Rumi: I heard somebody.
    Lao Tzu: I heard Rumi.
    Rumi: I heard Lao Tzu.
    """

    def chat(self, message: Message) -> Any:
        """Let all speak in turn."""
        show = self._sit(message)
        talk, last = Talk(self), message
        queue = self._after(message)
        while queue and not self._is_deserted():
            speaker = queue.popleft()
            others = [m for m in self.members if m is not speaker and m.understands("inform")]
            others = [m for m in others if m != last.sender and not _is_person(m)]
            if others and speaker is not None and last is not None:
                ...
            stream = Stream(nodes=[speaker], words=last, intent="chat", relays=True, table=True)
            while (said := (yield stream)) is not None:
                show(said)
                yield said
