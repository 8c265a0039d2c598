"""Fans: waits for several nodes at once, which hand a message on or hear what is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import field

from llambdao.kernel.errors import Misused
from llambdao.kernel.waits import (
    BEGUN,
    FRESH,
    OVER,
    WAITING,
    Asking,
    text_of,
    together,
)

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = ["Fan", "Relay", "Stream"]


class Fan(Asking):
    """A wait for several nodes at once, which are set going a few at a time."""

    hears: ClassVar[bool] = False
    """Does it hear what they say, or does whoever hears the one who waits?"""

    nodes: Any
    message: Any
    intent: str | None = None
    ordered: bool = False
    asker: Any = None
    place: int = 0  # of the next one to be set going
    left: int = 0  # set going and not ended
    kept: Any = None  # those who wait and have not ended: one, or a dict of them
    errors: Any = None

    def ended(self, scheduler: Scheduler, child: Activation) -> None:
        self.left -= 1
        if child.kept:
            if self.kept is child:
                self.kept = None
            elif type(self.kept) is dict:
                self.kept.pop(id(child), None)
        if child.more:  # it was to set others going, and never began, or they go one by one
            child.more = False
            scheduler.stack += scheduler.following(self)[::-1]
        if not self.left:
            self.over(scheduler)

    def over(self, scheduler: Scheduler) -> None:
        """All have ended."""
        raise NotImplementedError

    def failed(self, scheduler: Scheduler, child: Activation, error: BaseException) -> None:
        self.errors = [*(self.errors or ()), error]
        self.ended(scheduler, child)

    def keep(self, act: Activation) -> None:
        """This one waits: it is to be found when all are cancelled."""
        act.kept = True
        if self.kept is None:
            self.kept = act
        elif type(self.kept) is dict:
            self.kept[id(act)] = act
        else:
            self.kept = {id(self.kept): self.kept, id(act): act}

    def children(self) -> Iterable[Activation]:
        if self.kept is None:
            return ()
        return [*self.kept.values()] if type(self.kept) is dict else [self.kept]


class Relay(Fan):
    """Hand a message to several nodes; what they say goes to whoever hears the relayer.

    Its value is None, when all have ended. If some fail, the replies of the others still come,
    then the error (several: an `ExceptionGroup`).
    """

    def __str__(self) -> str:
        return f"the relay of {str(text_of(self.message))!r:.60}"

    def start(self, scheduler: Scheduler, act: Activation, owner: Any, branch: int = 0) -> Any:
        if self.state:
            raise Misused(f"{self} was yielded twice; a wait is for one use, make another")
        self.state = BEGUN
        self.owner = owner
        if branch:
            self.branch = branch
        scheduler.relay(self, act)
        if self.left:
            return WAITING
        self.state = OVER
        return None

    def over(self, scheduler: Scheduler) -> None:
        if self.errors is None:
            self.state = OVER
            self.owner.take(scheduler, self.branch, None)
        else:
            self.fail(scheduler, 0, together(self.errors, str(self)))


class Stream(Fan):
    """The replies of one node or several: `while (reply := (yield stream)) is not None`.

    They come one by one; whoever speaks is resumed only as they are taken. In a coroutine
    `async for reply in stream` is the same. `stream.via` is the node through which the reply came.
    """

    hears: ClassVar[bool] = True

    deltas: bool = False
    table: bool = False
    relays: bool = False
    via: Any = None
    question: bool = False
    wanted: bool = False
    heard: Any = field(default_factory=list)
    parked: Any = field(default_factory=list)

    def __str__(self) -> str:
        return f"the stream of answers to {str(text_of(self.message))!r:.60}"

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if (reply := await self) is None:
            raise StopAsyncIteration
        return reply

    def start(self, scheduler: Scheduler, act: Activation, owner: Any, branch: int = 0) -> Any:
        """Every yield of a stream takes one reply; the first one sets it going."""
        if self.wanted:
            raise Misused(f"{self} is already being waited for")
        self.owner, self.branch = owner, branch
        if self.state == FRESH:
            self.state = BEGUN
            if self.relays:
                scheduler.relay(self, act)
            else:
                scheduler.question(self, act)
            if self.left:
                self.asker = act
                act.also(self)
        elif not self.heard and self.parked:
            scheduler.stack.extend(self.parked)
            self.parked.clear()
        if self.heard:
            return self.next()
        if not self.left:
            return self.close()
        self.wanted = True
        return WAITING

    def next(self) -> Any:
        """The oldest reply that has not been taken."""
        said, act, self.question = self.heard.pop(0)
        self.via = self.nodes[act.place]
        return said

    def close(self) -> Any:
        """The end of the stream: None, or the errors of those who failed."""
        self.state = OVER
        if self.asker is not None and self.asker.others and self in self.asker.others:
            self.asker.others.remove(self)
        if errors := self.errors:
            self.errors = None
            raise together(errors, str(self))

    def hear(
        self, scheduler: Scheduler, act: Activation, said: Any, question: bool = False
    ) -> bool:
        if self.state == OVER:
            scheduler.cancel(act)
            return False
        self.heard.append((said, act, question))
        if not question:
            self.parked.append(act)
        if self.wanted:
            self.wanted = False
            self.owner.take(scheduler, self.branch, self.next())
        return False

    def over(self, scheduler: Scheduler) -> None:
        if self.wanted:
            self.wanted = False
            try:
                self.owner.take(scheduler, self.branch, self.close())
            except Exception as error:
                self.owner.fail(scheduler, self.branch, error)

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        raise NotImplementedError

    def children(self) -> Iterable[Activation]:
        return [*self.parked, *Fan.children(self)]
