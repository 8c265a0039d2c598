"""Tables that show what is said at them: `ConsoleGroupChatNode` and `ConsoleRoundTableNode`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

from pydantic import Field

from llambdao.console._human import ConsoleHumanNode
from llambdao.console._screen import screen
from llambdao.kernel.events import Reason
from llambdao.kernel.fans import Stream
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import FRESH, Ending, Settle
from llambdao.networks.groupchat import GroupChatNode, Talk, _at_a_table

__all__ = ["ConsoleGroupChatNode", "ConsoleRoundTableNode", "addressed"]

Show = Callable[[Message], Any]


class ConsoleGroupChatNode(GroupChatNode):
    """A group chat that shows every utterance as it comes, and passes it on as any group chat does.

    It has the members it is given and no others. What a person says is passed on before what is
    still waiting to be. When every person at it has left, it ends.

    >>> import io, sys
    >>> from llambdao import turns
    >>> from llambdao.console import Screen
    >>> class Sage(Node):
    ...     def chat(self, message):
    ...         return f"{self.name} heard {message.sender or 'somebody'}."
    >>> sages, plain = [Sage(name="Rumi"), Sage(name="Lao Tzu")], Screen(io.StringIO(), sys.stdout)
    >>> for said in ConsoleGroupChatNode(*sages, until=turns(3), screen=plain).receive("Why?"):
    ...     pass
    someone: Why?
    Rumi: Rumi heard somebody.
    Lao Tzu: Lao Tzu heard somebody.
    Lao Tzu: Lao Tzu heard Rumi.
    """

    screen: Any = Field(default=None, exclude=True)
    """Where it shows what is said: a `Screen`; the console of this process unless given."""

    def chat(self, message: Message) -> Any:
        """Let everybody talk about it, and show what they say."""
        if self.until is None and _at_a_table():
            yield from super().chat(message)
            return
        show, talk = self._open(message), Talk(self)
        talk.queue.append((message, None))
        while talk.queue and not talk.over and not self._is_deserted():
            yield from self._shown(talk.round(*talk.queue.popleft()), show)
            waiting = sorted(talk.queue, key=lambda item: not _is_person(item[0].sender))
            talk.queue = deque(waiting)
        yield from self._end(talk)

    def _end(self, talk: Talk) -> Generator[Any, Any, None]:
        """Say why it ends, when it is not because all has been said."""
        if self._is_deserted():
            yield Ending(reason=Reason.STOPPED, detail=f"everybody has left {self}")
        elif talk.over and self.until is None:
            yield Ending(
                reason=Reason.LIMIT,
                detail=f"{self} ended after {self.most} utterances; to choose where it ends:"
                " until=turns(...), or most=...",
            )

    def _open(self, message: Message) -> Show:
        """Lay the table and show its first words."""
        where = self.screen or screen()
        where.sit(self, filter(_is_person, self.members))
        where.show(message)
        return where.show

    def _shown(self, steps: Any, show: Show) -> Generator[Any, Any, Any]:
        """Go the steps of a handler, and show what it says, for as long as anybody is here."""
        step, value = steps.send, None
        while True:
            try:
                said = step(value)
            except StopIteration as stop:
                return stop.value
            if isinstance(said, Message):
                show(said)
            elif isinstance(said, Stream) and said.state == FRESH:
                said.nodes = meant(said.message, said.nodes) or said.nodes
            try:
                value, step = (yield said), steps.send
            except Exception as error:  # noqa: BLE001 - it is thrown on to where it belongs
                value, step = error, steps.throw
            if self._is_deserted():
                steps.close()
                return None

    def _is_deserted(self) -> bool:
        people = [member for member in self.members if isinstance(member, ConsoleHumanNode)]
        return bool(people) and all(person.has_left for person in people)


class ConsoleRoundTableNode(ConsoleGroupChatNode):
    """A table at which all speak in turn, in the order of their seats, each at most once a round.

    Each is asked about the last words, and has been informed of those before them: so everybody
    hears everything once, and answers the one before. Whom a person addresses, `@Rumi`, has the
    next word. It ends when nobody has anything to add, and where `until` says so.

    >>> import io, sys
    >>> from llambdao import turns
    >>> from llambdao.console import Screen
    >>> class Sage(Node):
    ...     def chat(self, message):
    ...         return f"{self.name} heard {message.sender or 'somebody'}."
    >>> sages, plain = [Sage(name="Rumi"), Sage(name="Lao Tzu")], Screen(io.StringIO(), sys.stdout)
    >>> for said in ConsoleRoundTableNode(*sages, until=turns(3), screen=plain).receive("Why?"):
    ...     pass
    someone: Why?
    Rumi: Rumi heard somebody.
    Lao Tzu: Lao Tzu heard Rumi.
    Rumi: Rumi heard Lao Tzu.
    """

    def chat(self, message: Message) -> Any:
        """Let all speak in turn about it, and show what they say."""
        if self.until is None and _at_a_table():
            yield from super().chat(message)
            return
        show = self._open(message)
        talk, seats = Talk(self), Seats(self)
        seats.heard(message, None)
        while (speaker := seats.next()) is not None and not self._is_deserted():
            *before, last = seats.take(speaker)
            yield from self._inform(speaker, before)
            stream = Stream([speaker], last, "chat", relays=True, table=True)
            while (said := (yield stream)) is not None:
                show(said)
                yield said
                if not stream.question:
                    seats.heard(said, speaker)
                if talk.is_over(said):
                    break
                if stream.question:
                    answer = yield from self._shown(talk.round(said, speaker), show)
                    yield Settle(question=said, answer=answer)
                    for words, via in talk.queue:
                        seats.heard(words, via)
                    talk.queue.clear()
            if talk.over:
                break
        for member, unheard in seats.unheard.items():
            yield from self._inform(member, unheard)
        yield from self._end(talk)

    def _inform(self, member: Node, unheard: Iterable[Message]) -> Generator[Any, Any, None]:
        """Let a member hear what it need not answer; a person has it before her eyes."""
        if member.understands("inform") and not _is_person(member):
            for words in unheard:
                yield self.relay(words, to=[member], intent="inform")


class Seats:
    """Who has still to hear what, and who is next."""

    def __init__(self, table: GroupChatNode) -> None:
        self.table = table
        self.unheard: dict[Node, list[Message]] = {}
        self.place = 0

    def heard(self, words: Message, via: Node | None) -> None:
        """Somebody said this: all others are to hear it, and it is the next one's turn."""
        members = self.table.members
        for place, member in enumerate(members):
            if member is via or member == words.sender:
                self.place = place + 1
            else:
                self.unheard.setdefault(member, []).append(words)
        for member in meant(words, members):
            self.place = members.index(member)

    def next(self) -> Node | None:
        """Whoever is next among those who have something to hear; None when nobody has."""
        members = self.table.members
        for step in range(len(members)):
            place = (self.place + step) % len(members)
            if self.unheard.get(members[place]) and members[place].understands("chat"):
                self.place = place + 1
                return members[place]
        return None

    def take(self, member: Node) -> list[Message]:
        """What this one has not heard yet."""
        return self.unheard.pop(member)


def addressed(words: str, nodes: Iterable[Node]) -> list[Node]:
    """The one these words are for, if they begin with `@` and a name, or with a word of one.

    >>> nodes = [Node(name="Rumi"), Node(name="Lao Tzu")]
    >>> [node.name for node in addressed("@lao, what is the way?", nodes)]
    ['Lao Tzu']
    """
    found = re.match(r"\s*@(.*)", words, re.DOTALL)
    if found is None:
        return []
    text = found[1].casefold()
    names = sorted(((str(node).casefold(), node) for node in nodes), key=lambda n: -len(n[0]))
    for name, node in names:
        if text.startswith(name) and not text[len(name) : len(name) + 1].isalnum():
            return [node]
    first = re.match(r"\w+", text)
    several = [node for name, node in names if first and first[0] in re.findall(r"\w+", name)]
    return several if len(several) == 1 else []


def meant(said: Message, nodes: Iterable[Node]) -> list[Node]:
    """Whom a person addresses; nobody if it is no person who speaks."""
    return addressed(said.content, nodes) if _is_person(said.sender) else []


def _is_person(node: Any) -> bool:
    return isinstance(node, ConsoleHumanNode)
