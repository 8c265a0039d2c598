"""What type checkers see of messages and nodes. Never run: mypy and pyright read it."""

from collections.abc import Iterator
from typing import assert_type

from llambdao import GroupChatNode, MapperNode, Message, Node


class Vote(Message):
    """A message with a field of its own."""

    aye: bool


class Voter(Node):
    """A node with a field of its own."""

    taste: str

    def request(self, message: Message) -> Iterator[Message]:
        """Votes."""
        yield Vote(message.content, aye=self.taste in message.content)


class Assembly(MapperNode):
    """A network; its handler calls the message by a name of its own, as it may."""

    def request(self, motion: Message) -> str:
        """Says no."""
        return f"{motion.content}: no"


voter = Voter(name="Ann", taste="kind")
assert_type(voter.taste, str)
assert_type(Vote("for", aye=True).aye, bool)
assert_type(Vote("for", aye=True).content, str)

for said in voter.receive(Message("be kind", intent="request")):
    assert_type(said, Message)

for said in GroupChatNode(voter).receive("be kind"):
    assert_type(said, Message)


async def listen() -> None:
    """The same without blocking."""
    async for said in voter.receive("be kind"):
        assert_type(said, Message)


Vote("for")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Voter(name="Ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
