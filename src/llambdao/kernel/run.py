"""The plain driver: conversations on the caller's stack, and the ways in from outside."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from inspect import isasyncgen, isawaitable
from itertools import count
from secrets import randbits
from typing import Any, Protocol, TypedDict, Unpack

from msgspec import Struct

from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.errors import Misused, NoAnswer
from llambdao.kernel.events import LIMITS, DeadLetter, Event, Limits, Reason
from llambdao.kernel.message import Message
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.waits import BEGUN

__all__ = ["Clock", "Conversation", "SystemClock", "ask", "tell", "watch"]


class Clock(Protocol):
    """Where a driver takes its time from, and a number that tells its conversations apart."""

    def now(self) -> int:
        """The time, in ns since 1970."""
        raise NotImplementedError

    def salt(self) -> int:
        """A number of 32 bits, another one at each call."""
        raise NotImplementedError

    def sleep(self, seconds: float, /) -> None:
        """Let this much time pass."""


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self.now = time.time_ns
        self.sleep = time.sleep
        self.salt = count(randbits(31)).__next__


SYSTEM = SystemClock()
NOW, SALT = SYSTEM.now, SYSTEM.salt


class Options(TypedDict, total=False):
    """What every way in from outside accepts."""

    clock: Clock
    """Where the time comes from; the machine's clock unless given."""
    limits: Limits
    """What the conversation may use up; see `Limits`."""
    observe: Callable[[Event], None]
    """Called with every `Event`, in order; it changes nothing."""
    answer: Callable[[Message], Any]
    """Who answers a question that reaches the outside: gets the question, returns words."""
    budget: Any
    """What its calls and messages are charged to: a `Budget`."""
    deltas: bool
    """Should pieces of messages still being said (`Delta`) come too?"""
    choose: Callable[[int], int]
    """Who goes on next, of so many that could: for tests that explore interleavings."""


class Conversation(Struct, eq=False, weakref=True):
    """All that one message from outside causes: iterate over it for the replies, as they come.

    `for reply in node.receive(message)` and `async for reply in node.receive(message)` are the
    same. Nobody runs before the next reply is asked for; stopping early (`break`, `close()`)
    cancels whatever was caused. `reason` says why it ended, `dead_letters` what nobody would
    handle.

    >>> from llambdao import Node
    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content
    >>> conversation = Echo().receive("Hello")
    >>> [said.content for said in conversation], conversation.reason
    (['Hello'], <Reason.DONE: 'done'>)
    """

    _node: Any
    _message: Any
    _options: Any = None
    _hearer: Any = OUTSIDE
    _scheduler: Any = None
    _replies: Any = None
    _closed: bool = False
    _news: Any = ()

    def __iter__(self) -> Iterator[Message]:
        if self._scheduler is None:
            self._replies = self._open().run()
        return self._replies  # type: ignore[no-any-return]

    def __next__(self) -> Message:
        return next(iter(self))

    def __aiter__(self) -> AsyncIterator[Message]:
        if self._scheduler is None:
            self._replies = _drive_on_loop(self._open())
        return self._replies  # type: ignore[no-any-return]

    async def __anext__(self) -> Message:
        return await anext(aiter(self))

    def close(self) -> None:
        """Stop here: everything this conversation caused is cancelled, innermost first."""
        if self._scheduler is None:
            self._closed = True
        else:
            self._replies.close()
            self._close_unbegun()

    async def aclose(self) -> None:
        """Stop here, for who iterates with `async for`."""
        if self._scheduler is None:
            self._closed = True
        else:
            await self._replies.aclose()
            self._close_unbegun()

    def _close_unbegun(self) -> None:
        """A run that was closed before its first step has not closed its scheduler."""
        if self._scheduler.reason is None:
            self._scheduler.close()

    def news(self, key: str, value: Any) -> None:
        """News from outside, for a handler that waits for `expect(key)`."""
        if self._scheduler is None:
            self._news = (*self._news, (key, value))
        else:
            self._scheduler.news(key, value)
            if self._scheduler.host is not None:
                self._scheduler.host.progress()

    def __repr__(self) -> str:
        return f"<the conversation of {self._node} about {str(self._message)!r:.60}>"

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it goes on."""
        return None if self._scheduler is None else self._scheduler.reason

    @property
    def detail(self) -> str:
        """What there is to say about the reason."""
        return "" if self._scheduler is None else self._scheduler.detail

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What nobody could or would handle: the last thousand."""
        return [] if self._scheduler is None else list(self._scheduler.dead)

    def _open(self) -> Scheduler:
        """The scheduler of this conversation, its first message delivered."""
        if self._closed:
            raise Misused("this conversation was closed before it began; start another")
        self._closed = True
        node, message, options, hearer = self._node, self._message, self._options, self._hearer
        if type(message) is str:
            message = Message(message)
        elif not isinstance(message, Message):
            raise Misused(f"expected a message or its words, but got {message!r:.80}")
        if options:
            scheduler = _scheduler(**options)
        else:
            scheduler = Scheduler(
                NOW, SALT(), count(1).__next__, LIMITS, _start_task, _idle, _finish
            )
        self._scheduler = scheduler
        if hearer is WATCHER:
            scheduler.watched, scheduler.seen = True, deque()
            hearer = None
        scheduler.open(node, message, hearer)
        if self._news:
            for key, value in self._news:
                scheduler.news(key, value)
        return scheduler

    def __del__(self) -> None:
        if self._scheduler is None and not self._closed:
            warnings.warn(
                f"{self._node}.receive({str(self._message)!r:.60}) was never iterated, so nothing"
                " ran; to have it run to its end use tell(node, message)",
                RuntimeWarning,
                2,
            )


WATCHER: Any = object()
"""The hearer of a conversation whose every message is seen."""


def ask(node: Any, message: Message | str, **options: Unpack[Options]) -> Any:
    """Ask a node from outside, and wait: its last reply.

    Silence raises `NoAnswer`; an error in a handler is raised here.

    >>> from llambdao import Node
    >>> class Sum(Node):
    ...     def query(self, message):
    ...         return str(sum(map(int, message.content.split("+"))))
    >>> ask(Sum(), Message("1+2+3", intent="query")).content
    '6'
    """
    answer = None
    for answer in Conversation(node, message, options):  # noqa: B007  # the last one stays
        pass
    if answer is None:
        raise NoAnswer(f"{node} ended without a word to {str(message)!r:.60}")
    return answer


def tell(node: Any, message: Message | str, **options: Unpack[Options]) -> Conversation:
    """Tell a node something from outside; nobody waits for replies, but it all runs to its end.

    >>> from llambdao import Node
    >>> class Counter(Node):
    ...     heard: int = 0
    ...
    ...     def inform(self, message):
    ...         self.heard = self.heard + 1
    >>> counter = Counter()
    >>> tell(counter, Message("one", intent="inform")).reason
    <Reason.DONE: 'done'>
    >>> counter.heard
    1
    """
    conversation = Conversation(node, message, options, None)
    for _ in conversation:
        pass
    return conversation


def watch(node: Any, message: Message | str, **options: Unpack[Options]) -> Conversation:
    """Tell a node something and see all that is said, lazily, in order, the first included.

    >>> from itertools import islice
    >>> from llambdao import Node
    >>> class Player(Node):
    ...     def inform(self, message):
    ...         yield Message("pong" if message.content == "ping" else "ping", intent="inform")
    >>> ann, bob = Player(name="Ann"), Player(name="Bob")
    >>> serve = Message("ping", sender=ann, intent="inform")
    >>> [str(said) for said in islice(watch(bob, serve), 4)]
    ['Ann: ping', 'Bob: pong', 'Ann: ping', 'Bob: pong']
    """
    return Conversation(node, message, options, WATCHER)


def _scheduler(  # noqa: PLR0917  # called with `Options` alone
    clock: Clock = SYSTEM,
    limits: Limits = LIMITS,
    observe: Callable[[Event], None] | None = None,
    answer: Callable[[Message], Any] | None = None,
    deltas: bool = False,
    choose: Callable[[int], int] | None = None,
    budget: Any = None,
) -> Scheduler:
    return Scheduler(
        clock.now,
        clock.salt(),
        count(1).__next__,
        limits,
        _start_task,
        _idle,
        _finish,
        observers=(observe,) if observe is not None else (),
        answerer=answer,
        deltas=deltas,
        sleep=clock.sleep,
        choose=choose,
        budget=budget,
        purse=None if budget is None else budget.purse(),
    )


def _start_task(scheduler: Scheduler, act: Any, source: Any, kind: int) -> Any:
    return _tasks(scheduler).talk(act, source, kind)


def _tasks(scheduler: Scheduler) -> Any:
    """The tasks of a conversation: none, and no event loop, before somebody needs one."""
    if scheduler.host is None:
        from llambdao.kernel.tasks import PrivateLoop

        scheduler.host = PrivateLoop(scheduler)
    return scheduler.host


def _finish(scheduler: Scheduler) -> None:
    """The conversation is over: so is its event loop."""
    scheduler.host.close()


def _idle(scheduler: Scheduler) -> None:
    """Nobody can go on: do the calls, let tasks run, or let time pass."""
    if scheduler.dropped and scheduler.host:
        scheduler.host.drop_calls()
    if scheduler.settling is not None:
        scheduler.host.run(scheduler.host.wait(None))
        return
    if scheduler.calls:
        calls, scheduler.calls = scheduler.calls, ()
        for wait in calls:
            _call(scheduler, wait)
        return
    due = scheduler.next_due
    seconds = None if due is None else max(0.0, (due - scheduler.now()) / 1e9)
    real = scheduler.sleep is time.sleep
    if scheduler.under_way or (scheduler.perhaps and (real or due is None)):
        scheduler.host.run(scheduler.host.wait(seconds if real else None))
    elif seconds:
        scheduler.sleep(seconds)
    scheduler.tick()


def _call(scheduler: Scheduler, wait: Any) -> None:
    """Do a call: at once, or as a task if it turns out to be a coroutine."""
    if wait.state != BEGUN:
        return
    scheduler.under_way += 1
    try:
        value = wait.function(*wait.args, **(wait.options or {}))
    except Exception as error:
        scheduler.broke(wait, error)
        return
    if isawaitable(value) or isasyncgen(value):
        scheduler.under_way -= 1
        tasks = _tasks(scheduler)
        tasks.call(wait, value if isawaitable(value) else tasks.told(wait, value))
    else:
        scheduler.done(wait, value)


async def _drive_on_loop(scheduler: Scheduler) -> AsyncGenerator[Any, None]:
    """Run a conversation on the caller's event loop, as far as the caller asks for more."""
    import asyncio

    from llambdao.kernel.tasks import Tasks

    tasks = scheduler.host = Tasks(scheduler, asyncio.get_running_loop())
    scheduler.idle = scheduler.finish = None
    run = scheduler.run()
    try:
        for said in run:
            if said is not None:
                yield said
                continue
            try:
                await _idle_on_loop(scheduler, tasks)
            except BaseException as error:
                run.throw(error)
    finally:
        await tasks.finish()
        run.close()


async def _idle_on_loop(scheduler: Scheduler, tasks: Any) -> None:
    """Nobody can go on: do the calls, plain functions in threads, and let tasks and time run."""
    tasks.drop_calls()
    if scheduler.settling is not None:
        await tasks.wait(None)
        return
    calls, scheduler.calls = scheduler.calls, ()
    for wait in calls:
        if wait.state == BEGUN:
            tasks.call(wait, tasks.in_thread(wait))
    due = scheduler.next_due
    if scheduler.sleep is time.sleep or due is None:
        await tasks.wait(None if due is None else max(0.0, (due - scheduler.now()) / 1e9))
    elif scheduler.under_way:
        await tasks.wait(None)
    else:
        scheduler.sleep(max(0.0, (due - scheduler.now()) / 1e9))
    scheduler.tick()
