"""A conversation of a runtime: what its driver keeps of it, and how its replies are taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import copy_context
from datetime import datetime
from heapq import heapify
from typing import Any, Self

from llambdao.kernel import run
from llambdao.kernel.activation import OUTSIDE, Activation
from llambdao.kernel.errors import BudgetReached, Misused, NoAnswer
from llambdao.kernel.events import DeadLetter, Reason
from llambdao.kernel.message import Message
from llambdao.kernel.scheduler import PARK, PAUSE
from llambdao.kernel.tasks import Talk, Tasks
from llambdao.kernel.waits import BEGUN, Sleep

__all__ = ["Conversation"]


class Conversation(run.Conversation):
    """What a runtime gives back: `async for reply in runtime.send(node, message)`.

    Replies are taken one by one; whoever speaks is resumed as the next is asked for, the others go
    on meanwhile. `reason` says why it ended, `error` what it failed with, `id` is the id of the
    message that opened it, `await conversation.wait()` waits for the end, `await aclose()` cancels.
    """

    _runtime: Any = None
    _context: Any = None  # of whoever opened it: its tasks run in copies of that
    _takes: bool = False  # are replies taken one by one?
    _unread: Any = ()  # replies nobody has taken yet, each with its speaker
    _taken: Any = ()  # speakers whose replies were taken: they go on as the next one is wanted
    _is_held: bool = False  # is its speaker held at a reply that was taken?
    _is_wanted: bool = False  # does somebody wait for the next reply?
    _waiters: Any = ()  # futures of who waits for a reply, or for the end
    _is_queued: bool = False
    _due: Any = None  # when its next timer is due, as far as the runtime knows
    _deadline: Any = None
    _since: Any = None  # from when on its seconds are charged
    _answer: Any = None
    _is_over: bool = False
    _is_answered: bool = False  # no more replies can come, though what was told may go on
    _n_asked: int = 0  # how many people were passed on what others were asked, too
    _is_told: bool = False  # has somebody been told the error?
    _cleaning: Any = None  # the task in which its handlers clean up
    error: BaseException | None = None

    @property
    def _in_doubt(self) -> int:
        """How many calls under way nobody does: a person is asked about them."""
        return 0

    # -- for those who opened it ---------------------------------------------------------------

    @property
    def id(self) -> str:
        """The id of the message that opened it."""
        self._begun()
        return self._scheduler.opening.id  # type: ignore[no-any-return]

    @property
    def is_over(self) -> bool:
        """Has it ended?"""
        return self._is_over

    def __iter__(self) -> Iterator[Message]:
        raise Misused(
            "a conversation of a runtime goes on with others: `async for reply in ...`;"
            " in a script without an event loop use `with Runtime(...) as runtime:`"
        )

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        return await self._next(self)

    async def _next(self, holder: Any) -> Message:
        """The next reply; whoever waits for it holds its holder meanwhile."""
        self._begun()
        if self._taken:
            for act in self._taken:
                if not act.closed:
                    self._scheduler.resume(act)
            self._taken = ()
            self.wake()
        while not self._unread:
            if self._is_over:
                await self.cleaned()
                if self.error is not None and not self._is_told:
                    self._is_told = True
                    raise self.error
                raise StopAsyncIteration
            if self._runtime._queue.may_go_on(self):
                if (said := self._pull()) is not None:
                    return said  # type: ignore[no-any-return]
            else:
                self._is_held = False
                self.wake()
            if not (self._unread or self._is_over):
                self._is_wanted = True
                await self._event()
        reply: Message
        reply, act = self._unread.popleft()
        if act is not None:
            self._taken = (act,)
        return reply

    async def wait(self) -> Conversation:
        """Wait until it has ended; what it failed with is in `error`, not raised."""
        self._begun()
        while not self._is_over:
            await self._event()
        await self.cleaned()
        return self

    def close(self) -> None:
        """End it; async handlers clean up when the loop runs next."""
        if self._scheduler is None:
            self._closed = True
        else:
            self.end(Reason.STOPPED)

    async def aclose(self) -> None:
        """Stop here: everything it caused is cancelled, innermost first, and has cleaned up."""
        await self._end(Reason.STOPPED)

    async def cancel(self, detail: str = "") -> None:
        """As `aclose`, with the reason `cancelled`."""
        await self._end(Reason.CANCELLED, detail)

    async def _end(self, reason: Reason, detail: str = "") -> None:
        if self._scheduler is None:
            self._closed = True
            return
        was_over = self._is_over
        self.end(reason, detail)
        await self.cleaned()
        if self.error is not None and not (was_over or self._is_told):
            self._is_told = True
            raise self.error

    async def cleaned(self) -> None:
        """Wait until what ended with it has cleaned up."""
        if self._cleaning is not None:
            cleaning, self._cleaning = self._cleaning, None
            await asyncio.wait([cleaning])
            self.error = self.error or cleaning.exception()

    def news(self, key: str, value: Any) -> None:
        """News from outside, for a handler that waits for `expect(key)`."""
        if self._scheduler is None:
            self._news_kept(key, value)
        elif not self._is_over:
            self._scheduler.news(key, value)
            self.wake()

    def __repr__(self) -> str:
        return f"<{self}: {self.reason or 'open'}>"

    def __str__(self) -> str:
        return f"the conversation of {self._node} about {str(self._message)!r:.60}"

    # -- what its scheduler calls --------------------------------------------------------------

    def wake(self) -> None:
        """Something can go on here."""
        if not (self._is_queued or self._is_over):
            self._is_queued = True
            self._runtime._queue.add(self)

    def waits(self) -> bool:
        """Does it wait for who hears it?"""
        return bool(self._unread or self._taken)

    def minds_time(self) -> None:
        """Somebody is about to count from now."""
        self._runtime._timers.mind_jumps()

    def expects(self, key: str) -> None:
        """One of its handlers waits for news."""
        self._runtime._expecting.setdefault(key, {})[id(self)] = self

    def asks(self, asked: Any) -> None:
        """A person is asked."""
        self._runtime.questions.ask(self, asked)

    def supervise(self, act: Activation, error: BaseException) -> bool:
        """A handler failed: is that settled by its supervisor? Not if somebody waits for it."""
        return self._runtime._supervisors.failed(self, act, error)  # type: ignore[no-any-return]

    def bury(self, letter: DeadLetter) -> None:
        """A dead letter."""
        self._runtime._bury(letter)

    def refused(self, error: Exception) -> None:
        """Its first message was not taken by the node."""
        if self._scheduler.root.hearer is OUTSIDE:
            self.fail(error)
        else:
            self.error = error

    def drop(self, act: Activation, error: Exception, reason: str) -> None:
        """Cancel one who is at work here: who waits for it gets this error."""
        scheduler = self._scheduler
        failed: list[BaseException] = []
        scheduler.cancel(act, failed)
        for failure in failed:
            self._runtime._loop.call_soon(scheduler.cleanup_failed, failure)
        scheduler.refuse(act, error, reason)

    # -- how its runtime drives it -------------------------------------------------------------

    def advance(self) -> None:
        """Go on until nobody can, until others should, or until a reply is to be taken."""
        self._is_queued = False
        if self._is_over or (self._scheduler.watched and self._unread):
            return
        value = None
        if self._is_held:  # nobody has asked for the next reply: the others go on
            self._is_held, value = False, PARK
            if self._scheduler.turn is not None:  # a piece that a call said has no turn
                self._taken = (*self._taken, self._scheduler.turn)
        while (said := self._step(value)) is not None:
            if not self._takes:
                self._answer, value = said, None
            elif self._is_wanted or self._scheduler.watched:
                self._hand_over(said)
                return
            else:
                self._unread = self._unread or deque()
                self._unread.append((said, self._scheduler.turn))
                value = PARK

    def _step(self, value: Any) -> Any:
        """Go on until there is a reply; None if there is none for now."""
        if (replies := self._replies) is None:
            replies = self._replies = self._scheduler.run()
        queue = self._runtime._queue
        queue.is_running = True
        try:
            said = replies.send(value)
        except StopIteration as stop:
            if not stop.value:
                self.over(self.error)
                return None
            self._replies = said = None
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                error = Misused(
                    f"{self._scheduler.turn} cancelled itself; a handler ends by returning"
                )
            self.over(error)
            return None
        except BaseException as error:
            self.over(error)
            raise
        finally:
            queue.is_running = False
        if said is None:
            self.rest()
        elif said is PAUSE:
            self.wake()
            said = None
        if said is None and not self._is_answered and self._scheduler.root.closed:
            self._is_answered = True
            self._call_waiters()
        return said

    def lives_on(self) -> None:
        """It does not end at once: what it needs from now on is noted."""
        self._context = self._context or copy_context()
        if self._deadline is not None:
            self._runtime._timers.at(self._deadline, self)

    def _hand_over(self, said: Any) -> None:
        """Somebody waits for this reply, and may ask for the next before others go on."""
        self._unread = deque([(said, None)])
        self._is_wanted = False
        self._call_waiters()
        if not self._scheduler.watched:
            self._is_held = True
            self._let_others()

    def _pull(self) -> Any:
        """As `advance`, for a caller who waits: the next reply, if there is one at once."""
        self._is_held = False
        said = self._step(None)
        if said is not None and not self._scheduler.watched:
            self._is_held = True
            self._let_others()
        return said

    def _let_others(self) -> None:
        """While nobody asks for the next reply the others go on: at the next turn of the loop."""
        scheduler = self._scheduler
        if scheduler.stack or scheduler.ready or scheduler.told:
            self.wake()

    def rest(self) -> None:
        """Nobody can go on here: do the calls, and note when the next timer is due."""
        scheduler = self._scheduler
        if scheduler.dropped and scheduler.host is not None:
            scheduler.host.drop_calls()
        if scheduler.settling is None and scheduler.calls:
            calls, scheduler.calls = scheduler.calls, ()
            for wait in calls:
                if wait.state == BEGUN:
                    host = self.host()
                    host.call(wait, host.in_thread(wait))
        if scheduler.timers:
            due = scheduler.next_due
            if due is not None and (self._due is None or due < self._due):
                self._due = due
                self._runtime._timers.at(due, self)

    def tick(self, now: int) -> None:
        """It is later now."""
        if self._is_over:
            return
        if self._deadline is not None and self._deadline <= now:
            self._out_of_time(now)
            return
        self._due = None
        try:
            self._scheduler.tick()
        except Exception as error:
            self.fail(error)
        else:
            self.wake()

    def times(self, budget: Any) -> None:
        """Its seconds are charged to this budget; it ends when they are used up."""
        self._since = self._runtime.clock.now()
        if (left := budget.left.seconds) is not None:
            due = self._since + round(left * 1e9)
            self._deadline = due if self._deadline is None else min(due, self._deadline)

    def _out_of_time(self, now: int) -> None:
        if (budget := self._scheduler.budget) is not None and self._since is not None:
            self._charge(now)
            try:
                budget.reserve(seconds=1e-9).release()
            except BudgetReached as error:
                self.fail(error, Reason.BUDGET)
                return
        self.fail(NoAnswer(f"{self} was not over by its deadline"), Reason.CANCELLED)

    def _charge(self, now: int) -> None:
        """The time it took is booked, once."""
        since, self._since = self._since, None
        if since is not None:
            self._scheduler.budget.reserve().settle(seconds=max(0, now - since) / 1e9)

    def jumped(self, jump: int) -> int | None:
        """The wall clock has jumped by so many ns: sleeps of some seconds last as long as ever."""
        scheduler = self._scheduler
        if self._is_over:
            return None
        if scheduler.timers:
            scheduler.timers = [
                (due if is_dated(wait) else due + jump, number, wait)
                for due, number, wait in scheduler.timers
            ]
            heapify(scheduler.timers)
        if self._deadline is not None:
            self._deadline += jump
        self._due = scheduler.next_due
        dues = [due for due in (self._due, self._deadline) if due is not None]
        return min(dues, default=None)

    def host(self) -> Tasks:
        """Where its tasks live."""
        if self._scheduler.host is None:
            self._scheduler.host = HomeTasks(self)
        return self._scheduler.host  # type: ignore[no-any-return]

    def fail(self, error: BaseException, reason: Reason = Reason.FAILED) -> None:
        """End it with this error."""
        if not self._is_over:
            self.error = error
            self.end(reason, repr(error))

    def end(self, reason: Reason, detail: str = "") -> None:
        """End it: everybody is cancelled, innermost first; tasks clean up when the loop runs."""
        if self._scheduler is None:
            self._closed = True
        if self._is_over or self._scheduler is None:
            return
        scheduler, replies = self._scheduler, self._replies
        if (
            replies is not None and replies.gi_running
        ):  # one of its own handlers asks for it: at the end of this turn
            self._runtime._loop.call_soon(self.end, reason, detail)
            return
        if scheduler.reason is None:
            scheduler.reason, scheduler.detail = reason, detail
        self._unread = self._taken = ()
        if scheduler.host is not None and scheduler.host.is_busy:
            self.over(self.error)
            return
        error: BaseException | None = self.error
        try:
            self._shut()
        except BaseException as failure:
            error = error or failure
        self.over(error)

    def _shut(self) -> None:
        """Close all that is left."""
        if self._replies is None:
            self._scheduler.close()
        else:
            self._replies.close()

    async def _clean(self) -> None:
        """Close all that is left, the innermost first, and let it clean up."""
        try:
            await self._scheduler.host.finish()
        finally:
            self._shut()
            self._part()

    def _part(self) -> None:
        """What is left of it has no need of the rest: nobody keeps another who is not needed."""
        scheduler = self._scheduler
        if scheduler.host is not None:
            scheduler.host.home = scheduler.host = None
        scheduler.home = None

    def over(self, error: BaseException | None) -> None:
        """It has ended."""
        self._is_over = self._is_answered = True
        self.error = error
        scheduler = self._scheduler
        if self._since is not None:
            self._charge(self._runtime.clock.now())
        self._runtime._queue.ended(self)
        for key in scheduler.expected or ():
            self._runtime._expects_no_more(self, key)
        if scheduler.host is not None and scheduler.host.is_busy:
            self._cleaning = self._runtime._queue.clean(self._clean())
        else:
            self._part()
        if self._due is not None or (self._deadline is not None and self._context is not None):
            self._runtime._timers.forget()
        self._call_waiters()

    def _begun(self) -> None:
        """Its first message is delivered, if it was not before."""
        if self._scheduler is None:
            try:
                self._runtime._check(self._node)
                self._runtime._begin(self)
            except BaseException:
                self._closed = True
                raise
            self.lives_on()

    def _news_kept(self, key: str, value: Any) -> None:
        self._news = (*self._news, (key, value))

    async def _event(self) -> None:
        """Wait until there is a reply, or the end."""
        future = self._runtime._loop.create_future()
        self._waiters = (*self._waiters, future)
        try:
            await future
        finally:
            self._waiters = tuple(one for one in self._waiters if one is not future)

    def _call_waiters(self) -> None:
        for future in self._waiters:
            if not future.done():
                future.set_result(None)


def is_dated(wait: Any) -> bool:
    """Is this to happen at a date, by the wall clock, and not after some seconds?"""
    return isinstance(wait, Sleep) and isinstance(wait.until, datetime)


class Sent:
    """What `runtime.send` gives: a `Conversation` that is closed when nobody holds it."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Message]:
        return self._conversation._next(self)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._conversation)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conversation, name)

    def __repr__(self) -> str:
        return repr(self._conversation)

    def __str__(self) -> str:
        return str(self._conversation)

    def __del__(self) -> None:
        one = self._conversation
        if one._scheduler is not None and not one._is_over and not one._runtime._loop.is_closed():
            one._runtime._loop.call_soon_threadsafe(one.end, Reason.STOPPED)


class HomeTasks(Tasks):
    """The tasks and calls of a conversation, on the loop of its runtime."""

    __slots__ = ("home", "queue")

    def __init__(self, home: Conversation) -> None:
        super().__init__(home._scheduler, home._runtime._loop)
        self.home: Conversation | None = home  # None when that is over
        self.queue = home._runtime._queue

    def progress(self) -> None:
        """Something happened: the scheduler looks at it, if there is anything it can do."""
        s = self.scheduler
        if self.home is not None and (
            self.can_go_on() or s.told or s.calls or s.dropped or s.seen or not s.under_way
        ):
            self.home.wake()

    def after(self, turns: int, talk: Talk, turn: int) -> None:
        """Ask a task for patience no longer than so many turns of the loop, with all others."""
        self.queue.after(turns, talk, turn)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of its own, in a copy of the context in which the conversation was opened."""
        assert self.home is not None, "what is over starts nothing"
        if (context := self.home._context) is None:  # drained on the stack of who opened it
            context = self.home._context = copy_context()
        return self._start(coroutine, context.copy())
