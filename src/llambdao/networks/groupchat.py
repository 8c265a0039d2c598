"""`GroupChatNode`: a table at which each utterance reaches everybody else once."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from llambdao.kernel.events import Reason
from llambdao.kernel.fans import Relay, Stream
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.turn import current
from llambdao.kernel.waits import Ending, Settle
from llambdao.networks.mapper import MapperNode
from llambdao.networks.until import Until

__all__ = ["GroupChatNode"]


class GroupChatNode(MapperNode):
    """A group chat: breadth first, each utterance reaches everybody else who chats, once.

    Left out are its author, and the member through which it came. Whatever a member says is passed
    on as `chat`, its own intent kept in `metadata["intent"]`. A question without `to` goes to the
    table at once, and its last answer goes back.

    It stops where `until` says, exactly; without one after `most` utterances (100), and then
    `conversation.reason` is `Reason.LIMIT`. `until` belongs to the outermost group: a group in a
    group, without one of its own, does a single round per utterance.

    >>> from llambdao import turns
    >>> class Sage(Node):
    ...     def chat(self, message):
    ...         return f"{self.name} heard {message.sender or 'you'}"
    >>> table = GroupChatNode(Sage(name="Rumi"), Sage(name="Lao Tzu"), until=turns(3))
    >>> [said.content for said in table.receive("Why?")]
    ['Rumi heard you', 'Lao Tzu heard you', 'Lao Tzu heard Rumi']
    """

    until: Until | None = None
    most: int = 100

    def chat(self, message: Message, /) -> Any:
        """Let everybody talk about it."""
        if self.until is None and _at_a_table():
            yield self.relay(message, intent="chat")
            return
        talk = Talk(self)
        talk.queue.append((message, None))
        while talk.queue and not talk.over:
            yield from talk.round(*talk.queue.popleft())
        if talk.over and self.until is None:
            yield Ending(
                reason=Reason.LIMIT,
                detail=f"{self} ended after {self.most} utterances; to choose where it ends:"
                " until=turns(...), or most=...",
            )


class Talk:
    """One conversation at one table: what is still to be passed on, and whether it is over."""

    def __init__(self, group: GroupChatNode) -> None:
        self.group = group
        self.queue: deque[tuple[Message, Node | None]] = deque()
        self.count = 0
        self.known = None if group.until is None else group.until.begin()
        self.over = False

    def round(self, utterance: Message, via: Node | None) -> Generator[Any, Any, Message | None]:
        """Pass one utterance on to everybody else and say what they say; returns the last of it."""
        nodes = [member for member in self.group.members if member is not via]
        stream = Stream(nodes, utterance, "chat", relays=True, table=True)
        last: Message | None = None
        while (said := (yield stream)) is not None:
            member, is_question = stream.via, stream.question
            last = said
            yield said
            if self.is_over(said):
                return last
            if is_question:
                answer = yield from self.round(said, member)
                if self.over:
                    return last
                yield Settle(question=said, answer=answer)
            else:
                self.queue.append((said, member))
        return last

    def is_over(self, said: Message) -> bool:
        """Was that utterance the last one?"""
        self.count += 1
        until = self.group.until
        if until is None:
            self.over = self.count >= self.group.most
        else:
            self.known = until.fold(self.known, said)
            self.over = until.met(self.known)
        return self.over


def _at_a_table() -> bool:
    """Does this group speak at the table of another, directly or through networks that relay?"""
    turn = current()
    act: Any = None if turn is None else turn[0]
    while act is not None and isinstance(act.parent, Relay):
        act = act.asker
    return act is not None and isinstance(act.parent, Stream) and act.parent.table
