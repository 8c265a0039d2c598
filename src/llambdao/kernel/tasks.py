"""Async handlers: each in a task of its own, on the driver's event loop."""

from __future__ import annotations

import asyncio
import selectors
import threading
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import Context, copy_context
from functools import partial
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction
from typing import Any

from llambdao.kernel.activation import PENDING, TAIL, Activation
from llambdao.kernel.dispatch import ASYNC_GENERATOR
from llambdao.kernel.errors import Deadlock, Misused
from llambdao.kernel.message import Delta
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.turn import IN_TASK
from llambdao.kernel.waits import WAITING, Wait, forgo

__all__ = ["PrivateLoop", "Talk", "Tasks", "value_of"]

IDLE, PERHAPS, BUSY = range(3)
"""Must the driver wait for a task? Perhaps, if it waits for nodes and maybe for others too."""

PATIENCE = 13
"""How many turns of the loop a task that awaits several things at once has to say what it does."""

GRACE = 3.0
"""Seconds that cancelled tasks have to clean up; they are cancelled again then, and once more after
as many; whoever goes on after that is left."""

BRIEFLY = 3
"""How many turns of the loop what a task has just started has to begin, `asyncio.gather` say."""


class Awaited:
    """The owner of a wait that a coroutine awaits: it takes what that comes to into a future."""

    __slots__ = ("future", "talk", "wait")

    def __init__(self, talk: Talk, wait: Wait, future: asyncio.Future[Any]) -> None:
        self.talk, self.wait, self.future = talk, wait, future

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        """The wait came to this value."""
        self.settle(scheduler, value, None)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        """The wait came to this error."""
        self.settle(scheduler, None, error)

    def settle(self, scheduler: Scheduler, value: Any, error: BaseException | None) -> None:
        """The handler goes on at its next turn."""
        talk = self.talk
        talk.forget(self.wait)
        if not talk.settled:  # else it has a turn before it already
            scheduler.stack.append(talk.act)
        talk.settled = [*talk.settled, (self.future, value, error)]


class Talk:
    """What a handler in a task says and is told, in the shape of a generator.

    `send` lets the task go on and gives back `PENDING`; the scheduler then waits (`settling`) until
    the task says something, ends, waits for a node, or is blocked on something foreign.
    """

    __slots__ = (
        "act", "answer", "has_begun", "is_blocked", "kind", "level", "ours", "over", "said",
        "scheduler", "settled", "source", "task", "tasks", "turn"
    )  # fmt: skip

    def __init__(self, act: Activation, source: Any, kind: int, tasks: Tasks) -> None:
        self.act, self.source, self.kind, self.tasks = act, source, kind, tasks
        self.scheduler = tasks.scheduler
        self.said: Any = PENDING
        self.over: tuple[Any, BaseException | None] | None = None
        self.answer: asyncio.Future[Any] | None = None
        self.settled: Any = ()  # what came of the waits it awaits, until it goes on
        self.ours: Any = ()  # the futures of those waits
        self.task: asyncio.Task[None] | None = None
        self.level = IDLE
        self.turn = 0
        self.is_blocked = self.has_begun = False

    # -- the scheduler's side ------------------------------------------------------------------

    def send(self, value: Any) -> Any:
        """Hand over what was said, or go on with this value."""
        if self.over is not None:
            result, failure = self.over
            self._leave()
            self.task, self.act.talk = None, TAIL  # else each would keep the other
            if failure is not None:
                raise failure
            raise StopIteration(result)
        if self.said is not PENDING:
            said, self.said = self.said, PENDING
            return said
        return self.go_on(value, None)

    def throw(self, error: BaseException) -> Any:
        """Go on with this error."""
        return self.go_on(None, error)

    def close(self) -> Any:
        """Cancel the task; it cleans up now, if we run the loop, else when that runs next.

        Gives back the task if it still cleans up.
        """
        for said in (self.said, self.over[0] if self.over else None):
            forgo(said, self.scheduler)  # it was said, though nobody will begin it
        if (task := self.task) is not None:
            if task.done():
                self._leave()
            else:
                task.cancel()
                if not self.has_begun:  # it never will, nor tell us
                    self.set_level(IDLE)
                    self.source.close() if self.kind != ASYNC_GENERATOR else None
                    task.add_done_callback(self.tasks.running.pop)
                self.tasks.let_end(task)
            return None if task.done() else task
        if hasattr(self.source, "close"):
            self.source.close()
        return None

    def _leave(self) -> None:
        """Whatever the handler has left behind that awaits our waits is cancelled."""
        for future in self.ours:
            self.tasks.loop.call_soon(future.cancel)

    def go_on(self, value: Any, error: BaseException | None) -> Any:
        """Let the task go on, now that there is something for it."""
        self.set_level(BUSY)
        self.turn += 1
        if self.task is None:
            self.task = self.tasks.start(self.run())
        elif self.settled:
            settled, self.settled = self.settled, ()
            for future, result, failure in settled:
                settle(future, result, failure)
            self.tasks.after(PATIENCE, self, self.turn)
        elif self.answer is not None:
            settle(self.answer, value, error)
        self.scheduler.settling = self
        return PENDING

    def patience(self, turn: int) -> None:
        """Settle now: what the task started has begun meanwhile.

        Who awaits several things at once need not say anything when one of them comes.
        """
        if self.scheduler.settling is self and self.turn == turn:
            if not self.act.closed:
                self.set_level(PERHAPS if self.act.others else BUSY)
            self.news(speaks=False)

    def blocked(self, ours: bool) -> None:
        """The task cannot go on by itself: it awaits one of our waits, or something foreign."""
        if ours:
            self.set_level(IDLE)
            self.news(speaks=False)
        else:
            self.is_blocked = True
            self.set_level(PERHAPS if self.act.others else BUSY)
            self.tasks.after(BRIEFLY, self, self.turn)

    def unblocked(self) -> None:
        """The task goes on."""
        self.is_blocked = False
        self.set_level(BUSY)

    def set_level(self, level: int) -> None:
        """Note whether this task is something the driver must wait for."""
        if level != self.level:
            scheduler = self.scheduler
            scheduler.under_way += (level == BUSY) - (self.level == BUSY)
            scheduler.perhaps += (level == PERHAPS) - (self.level == PERHAPS)
            self.level = level

    # -- the task's side -----------------------------------------------------------------------

    def awaited(self, wait: Wait) -> Generator[Any, Any, Any]:
        """What `await wait` does, in whatever task of the handler it is called from."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.act.closed:
            forgo(wait, self.scheduler)
            raise asyncio.CancelledError
        mark = len(self.scheduler.stack)
        value = wait.start(self.scheduler, self.act, Awaited(self, wait, future))
        if value is not WAITING:
            return value
        self.act.also(wait)
        self.act.running = False
        if self.scheduler.observers:
            self.scheduler.observe("waits", self.act.node, self.act.message, wait)
        self.ours = self.ours or set()
        self.ours.add(future)
        if self.is_blocked:
            self.set_level(PERHAPS)
        self.began(mark)
        try:
            return (yield from future)
        except asyncio.CancelledError:
            if not future.done() or future.cancelled():
                self.forget(wait)
                self.scheduler.abandon(wait)
            raise
        finally:
            self.ours.discard(future)

    def began(self, mark: int) -> None:
        """A wait has set activations going: they run next, in order, after those before them."""
        stack, scheduler = self.scheduler.stack, self.scheduler
        if scheduler.home is not None:  # it is said now, whoever has the next turn
            for act in [a for a in stack[mark:] if a.talk is None and not a.closed]:
                scheduler.mailboxes.announce(act)
        if self.act.busy:
            scheduler.release(self.act)
        if scheduler.settling is not self:
            scheduler.promote(mark)
        else:
            begun = stack[mark:]
            del stack[mark:]
            scheduler.begun = [*scheduler.begun, *begun]
        self.tasks.progress()

    def forget(self, wait: Wait) -> None:
        """This wait is over."""
        others = self.act.others
        if others and wait in others:
            others.remove(wait)

    def news(self, speaks: bool) -> None:
        """The task has said something, ended, or cannot go on by itself."""
        scheduler = self.scheduler
        if speaks:
            if scheduler.settling is self:
                scheduler.stack.append(self.act)
            else:
                scheduler.stack.append(self.act)
                scheduler.promote(len(scheduler.stack) - 1)
        if scheduler.settling is self:
            scheduler.settling = None
            scheduler.stack.extend(reversed(scheduler.begun))
            scheduler.begun = ()
        self.tasks.progress()

    async def run(self) -> None:
        """The task: drive the handler and hand over what it says."""
        self.has_begun = True
        IN_TASK.set(self)
        result: Any = None
        failure: BaseException | None = None
        try:
            if self.kind == ASYNC_GENERATOR:
                await self.speak()
            else:
                result = await watched(self, self.source)
        except asyncio.CancelledError:
            if not self.act.closed:
                failure = Misused(f"{self.act} cancelled itself; a handler ends by returning")
        except StopIteration as error:
            failure = RuntimeError(f"{self.act} raised {error!r}")
        except BaseException as error:
            failure = error
        self.tasks.running.pop(self.task, None)
        self.set_level(IDLE)
        if not self.act.closed:
            self.over = (result, failure)
            self.news(speaks=True)
        else:
            self._leave()
            self.task, self.act.talk = None, TAIL
            if failure is not None:
                self.scheduler.cleanup_failed(failure)
            self.tasks.progress()

    async def speak(self) -> None:
        """Drive an async generator: what it yields is said, what came of it is sent back."""
        agen = self.source
        step = agen.asend(None)
        try:
            while True:
                try:
                    self.said = await watched(self, step)
                except StopAsyncIteration:
                    return
                self.answer = answer = asyncio.get_running_loop().create_future()
                self.set_level(IDLE)
                self.news(speaks=True)
                try:
                    value = await answer
                except Exception as error:
                    step = agen.athrow(error)
                else:
                    step = agen.asend(value)
        finally:
            await agen.aclose()


@types.coroutine
def watched(talk: Talk, step: Any) -> Generator[Any, Any, Any]:
    """Awaits a step of a handler, and notes when that is blocked on something foreign."""
    if type(step) is not types.CoroutineType:
        step = step.__await__()
    value, error = None, None
    while True:
        try:
            if error is None:
                foreign = step.send(value)
            else:
                thrown, error = error, None
                foreign = step.throw(thrown)
        except StopIteration as stop:
            return stop.value
        talk.blocked(ours=foreign in talk.ours)
        try:
            value = yield foreign
        except BaseException as failure:
            error = failure
        talk.unblocked()


def settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    """Set the outcome of a future, unless it is cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


async def value_of(wait: Any, piece: Callable[[Any, Delta], None]) -> Any:
    """What a call comes to, done once: a plain function in a thread, a coroutine here."""
    work = partial(wait.function, *wait.args, **(wait.options or {}))
    if iscoroutinefunction(wait.function):
        return await work()
    if isasyncgenfunction(wait.function):
        return await last_of(work(), partial(piece, wait))
    value = await asyncio.to_thread(_unstopped, work)
    return await value if isawaitable(value) else value


async def last_of(source: Any, piece: Callable[[Delta], None]) -> Any:
    """The value of a call that says pieces meanwhile: the last other thing it yields."""
    value: Any = None
    async with aclosing(source):
        async for said in source:
            if isinstance(said, Delta):
                piece(said)
            else:
                value = said
    return value


def _unstopped(work: Any) -> Any:
    """The value of a call in a thread; no future can hold a StopIteration."""
    try:
        return work()
    except StopIteration as error:
        raise RuntimeError(f"a call raised {error!r}") from error


class Tasks:
    """The tasks and calls of one scheduler, on an event loop."""

    __slots__ = ("changed", "loop", "running", "scheduler")

    def __init__(self, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        self.scheduler, self.loop = scheduler, loop
        self.running: dict[Any, None] = {}  # tasks that have not ended, nor are about to
        self.changed: asyncio.Future[None] | None = None

    def talk(self, act: Activation, source: Any, kind: int) -> Talk:
        """An async handler as a talk: the scheduler's *start this coroutine*."""
        return Talk(act, source, kind, self)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of its own, in a context of its own."""
        return self._start(coroutine, copy_context())

    def _start(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine, context=context)
        self.running[task] = None
        return task

    @property
    def is_busy(self) -> bool:
        """Is there a task that has something left to do?"""
        return not all(task.done() for task in self.running)

    def after(self, turns: int, talk: Talk, turn: int) -> None:
        """Ask a task for patience no longer than so many turns of the loop."""
        if turns:
            self.loop.call_soon(self.after, turns - 1, talk, turn)
        else:
            talk.patience(turn)

    def call(self, wait: Any, coroutine: Any) -> None:
        """Do a call that takes time."""
        self.scheduler.under_way += 1
        wait.task = task = self.start(self._call(wait, coroutine))
        task.add_done_callback(self.running.pop)

    async def in_thread(self, wait: Any) -> Any:
        """The value of a call: a plain function in a thread, a coroutine here."""
        return await value_of(wait, self.piece)

    async def told(self, wait: Any, source: Any) -> Any:
        """The same of a call that was begun already, and says pieces meanwhile."""
        return await last_of(source, partial(self.piece, wait))

    def piece(self, wait: Any, delta: Delta) -> None:
        """A call says a piece of a message meanwhile."""
        self.scheduler.piece(wait, delta)
        self.progress()

    async def _call(self, wait: Any, coroutine: Any) -> None:
        try:
            value = await coroutine
        except asyncio.CancelledError:
            self.scheduler.under_way -= 1
            raise
        except Exception as error:
            self.scheduler.broke(wait, error)
        else:
            self.scheduler.done(wait, value)
        finally:
            self.progress()

    def drop_calls(self) -> None:
        """Cancel the calls that nobody waits for any longer."""
        dropped, self.scheduler.dropped = self.scheduler.dropped, ()
        for wait in dropped:
            if (task := getattr(wait, "task", None)) is not None:
                task.cancel()

    def progress(self) -> None:
        """Something happened that the scheduler should look at."""
        if self.changed is not None and not self.changed.done():
            self.changed.set_result(None)

    def can_go_on(self) -> bool:
        """Has the scheduler something to do?"""
        scheduler = self.scheduler
        return scheduler.settling is None and bool(
            scheduler.stack or scheduler.ready or scheduler.pieces
        )

    def busy(self) -> bool:
        """Is there anything to wait for?"""
        return bool(self.scheduler.under_way or self.scheduler.perhaps)

    async def wait(self, seconds: float | None) -> None:
        """Let the tasks run until the scheduler can go on, but no longer than that."""
        settling = self.scheduler.settling
        end = None if seconds is None else self.loop.time() + seconds
        while not self.can_go_on() and (
            self.scheduler.settling is settling if settling else self.busy()
        ):
            self.changed = self.loop.create_future()
            left = None if end is None else end - self.loop.time()
            if left is not None and left <= 0:
                return
            await asyncio.wait([self.changed], timeout=left)

    async def finish(self) -> None:
        """Cancel whatever is left, the innermost first, and let it clean up."""
        failed: list[BaseException] = []
        self.scheduler.bury_unbegun()
        for act in reversed(self.scheduler.everybody()):
            self.scheduler.shut(act, failed)
            if isinstance(act.talk, Talk) and act.talk.task is not None:
                await self._cleaned([act.talk.task], str(act))
        tasks = [*self.running]
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await self._cleaned(tasks, "what handlers left behind")
        if failed:
            raise failed[0]

    async def _cleaned(self, tasks: list[asyncio.Task[Any]], who: str) -> None:
        """Let cancelled tasks clean up; one that takes too long is cancelled again, then left."""
        left: set[asyncio.Task[Any]] = {task for task in tasks if not task.done()}
        for _ in range(2):
            if left:
                _, left = await asyncio.wait(left, timeout=GRACE)
                for task in left:
                    task.cancel()
        if left:
            warnings.warn(f"{who} would not be cancelled, and was left", RuntimeWarning, 2)

    def let_end(self, task: asyncio.Task[Any]) -> None:
        """A cancelled task cleans up, when the loop runs next."""


class Quiet(selectors.DefaultSelector):
    """A selector that notices when nothing could ever wake the loop again."""

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None and len(self.get_map()) <= 1 and threading.active_count() == 1:
            raise Deadlock("nobody can go on: an async handler awaits what nothing will bring")
        return super().select(timeout)


class PrivateLoop(Tasks):
    """An event loop of the driver's own; it runs only as far as the driver lets it.

    Where a loop already runs in the caller's thread (a notebook) it runs in a thread of its own.
    """

    __slots__ = ("thread",)

    def __init__(self, scheduler: Scheduler) -> None:
        self.thread: ThreadPoolExecutor | None = None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            super().__init__(scheduler, asyncio.SelectorEventLoop(Quiet()))
        else:
            super().__init__(scheduler, asyncio.SelectorEventLoop())
            self.thread = ThreadPoolExecutor(1, "llambdao")

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run the loop until this is done."""
        run = partial(self.loop.run_until_complete, work)
        if self.thread is None:
            run()
        else:
            self.thread.submit(run).result()

    def let_end(self, task: asyncio.Task[Any]) -> None:
        """A cancelled task cleans up, now."""
        if not self.loop.is_running():
            self.run(self._ended(task))

    async def _ended(self, task: asyncio.Task[Any]) -> None:
        await asyncio.wait([task])

    def close(self) -> None:
        """Cancel what is left, and close the loop."""
        try:
            self.run(self._close())
        finally:
            if self.thread is not None:
                self.thread.shutdown()
            self.loop.close()

    async def _close(self) -> None:
        await self.finish()
        left = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()
