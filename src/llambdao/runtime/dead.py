"""Dead letters as a node: one can look at them, be told of them, and have them sent again."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, ClassVar

from llambdao.kernel.errors import Misused
from llambdao.kernel.events import DeadLetter
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import ITSELF, Tell

__all__ = ["DeadLetters"]


class DeadLetters(Node):
    """The messages that nobody could or would handle, the last thousand of them.

    A `query` lists them; a `request` such as `again 4f2` sends one again to the node it was for
    (the first characters of its id will do, `again all` means each). `dead_letters.link(node)` has
    that node informed of each.
    """

    role: ClassVar[str] = "system"
    name: str = "dead letters"

    def model_post_init(self, context: Any, /) -> None:
        self.kept: deque[DeadLetter] = deque(maxlen=1000)

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[DeadLetter]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.kept)

    def __bool__(self) -> bool:
        return True

    def take(self, letter: DeadLetter) -> None:
        """Keep one more; the oldest goes, if there are a thousand."""
        self.kept.append(letter)

    def query(self, message: Message) -> Generator[Any, Any, None]:
        """Say of each what it was and why nobody handled it."""
        for letter in [*self.kept]:
            message = letter.message
            yield f"{message.id} to {letter.node}: {message.content!r:.80} ({letter.reason})"
        if not self.kept:
            yield "no dead letters"

    def request(self, message: Message) -> Generator[Any, Any, None]:
        """Send one again, or all."""
        word, _, which = message.content.partition(" ")
        if word != "again" or not which:
            raise Misused(f"expected `again ID` or `again all`, but got {message.content!r:.80}")
        some = [one for one in self.kept if which == "all" or str(one.message.id).startswith(which)]
        some = [one for one in some if one.node is not None]
        if which != "all" and len(some) > 1:
            ids = ", ".join(letter.message.id for letter in some[:5])
            yield f"{len(some)} dead letters begin with {which!r}: {ids}; say more of it"
            return
        if not some:
            yield f"no dead letter {which!r} that could be sent again"
        for letter in some:
            yield Tell(letter.node, letter.message.but(), ITSELF)
            self.kept.remove(letter)
            yield f"sent again to {letter.node}: {letter.message.content!r:.80}"
