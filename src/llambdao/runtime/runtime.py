"""`Runtime`: many conversations at once on an asyncio event loop, for programs that live."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from llambdao.kernel.activation import OUTSIDE, Activation
from llambdao.kernel.errors import Misused, NoAnswer, NotANode, Stopped
from llambdao.kernel.events import LIMITS, DeadLetter, Event, Limits, Reason
from llambdao.kernel.mailbox import FULL, Mailbox, Mailboxes
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import SYSTEM, WATCHER, Clock
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.turn import IN_TASK
from llambdao.runtime.clock import Timers
from llambdao.runtime.conversation import Conversation
from llambdao.runtime.dead import DeadLetters
from llambdao.runtime.script import Script
from llambdao.runtime.signals import Signals
from llambdao.runtime.supervisor import Supervisor, Supervisors, family, restarted, stopped

__all__ = ["Runtime"]

BATCH = 64
"""How many conversations have their turn before the event loop has its own."""

IN_A_ROW = 256
"""How many questions are answered at once before other tasks have their turn."""

TAKEN: dict[int, tuple[Node, Any]] = {}
"""The nodes that live in a runtime, and in which."""


class Options(TypedDict, total=False):
    """What the ways into a runtime accept."""

    timeout: float | None
    """Seconds after which the conversation is cancelled, with everything it caused."""
    limits: Limits
    """What it may use up; the runtime's unless given."""
    budget: Any
    """What its calls and messages are charged to; a share of the runtime's unless given."""
    observe: Callable[[Event], None]
    """Called with every `Event` of this conversation."""
    answer: Callable[[Message], Any]
    """Who answers a question that reaches the outside; the runtime's unless given."""
    deltas: bool
    """Should pieces of messages still being said (`Delta`) come too?"""


class Runtime:
    """Many conversations at once: nodes that live, on the event loop of the program.

    Nodes handle messages as everywhere, one at a time and in order; here that holds across all
    conversations. `nodes` and their members belong to this runtime until it stops.

    * `limits`: of each conversation; `mailbox`: how many messages may wait for a node, and what
      becomes of one more; `supervisor`: what becomes of a node that fails when nobody waits;
      `budget`: what all conversations together may spend.
    * `observe`: one observer or several, called with every `Event`; `answer`: who answers a question
      that reaches the outside; `clock`: where the time comes from.
    * `watchdog`: a handler that blocks the event loop for so many seconds is named in a warning
      and a `stalled` event; None: nobody watches.

    Leaving the block handles what is queued, then cancels what still waits.

    >>> import asyncio
    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         yield message.content.upper()
    >>> async def main():
    ...     echo = Echo(name="Echo")
    ...     async with Runtime(echo) as runtime:
    ...         return str(await runtime.ask(echo, "hello"))
    >>> asyncio.run(main())
    'Echo: HELLO'
    """

    def __init__(
        self,
        *nodes: Node,
        clock: Clock = SYSTEM,
        limits: Limits = LIMITS,
        mailbox: Mailbox | None = None,
        supervisor: Supervisor | None = None,
        budget: Any = None,
        observe: Callable[[Event], None] | Iterable[Callable[[Event], None]] = (),
        answer: Callable[[Message], Any] | None = None,
        watchdog: float | None = 1.0,
    ) -> None:
        self.clock, self.limits, self.budget, self.answer = clock, limits, budget, answer
        self.watchdog = watchdog
        self.nodes: list[Node] = []
        self.dead_letters = DeadLetters()
        self._mailbox = mailbox or Mailbox()
        self._rooms: dict[int, Mailbox] = {}
        self._supervisors = Supervisors(self, supervisor or Supervisor())
        self._observers = [observe] if callable(observe) else [*observe]
        self._mailboxes = Mailboxes(self._room)
        self._timers = Timers(clock, self._is_idle)
        self._open: set[Conversation] = set()
        self._ready: deque[Conversation] = deque()
        self._pauses: deque[Any] = deque()
        self._cleaning: set[asyncio.Task[None]] = set()
        self._settling: list[asyncio.Future[None]] = []
        self._purse = None if budget is None else budget.purse(chunk=4096)
        self._loop: Any = None
        self._told_to_end: asyncio.Event | None = None
        self._choose: Callable[[int], int] | None = None
        self._is_scheduled = self._is_pumping = False
        self._in_a_row = 0
        self._state = "new"
        self._crash: BaseException | None = None
        self._owner: asyncio.Task[Any] | None = None
        for node in nodes:
            self._join(node)

    # -- its life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._owner = None
        if kind is asyncio.CancelledError and self._crash is not None:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        await self.stop(deadline=10.0 if kind is None else 0.0)
        if self._crash is not None:
            raise self._crash

    def __enter__(self) -> Script:
        """For scripts: a runtime on an event loop in a thread of its own, whose methods wait."""
        self._script = Script(self)
        return self._script

    def __exit__(self, kind: Any, error: BaseException | None, tb: TracebackType | None) -> None:
        self._script.close(error)

    async def forever(self) -> None:
        """Wait until the program is told to end: SIGINT (Ctrl-C) or SIGTERM, or `stop()`.

        What follows in the block, and leaving it, still has its time; at a second signal what
        waits is cancelled at once.
        """
        with Signals(self._loop, self._hurry) as signals:
            self._told_to_end = signals.told
            await signals.told.wait()

    def _hurry(self) -> None:
        """Told to end for the second time: what waits is cancelled now."""
        if self._owner is not None:
            self._owner.cancel()

    def start(self) -> None:
        """Begin, on the running event loop: what `async with` does first."""
        if self._state != "new":
            raise Misused("a runtime lives once; make another")
        self._loop = self._timers.loop = asyncio.get_running_loop()
        self._state = "running"
        for node in self.nodes:
            self._claim(node)

    def spawn(
        self,
        node: Node,
        *,
        supervisor: Supervisor | None = None,
        mailbox: Mailbox | None = None,
    ) -> Node:
        """Have a node, with its members, live in this runtime; returns it.

        `supervisor`: of the node or, if it is a network, of its members; `mailbox`: its own, and of
        members that have none.
        """
        if not isinstance(node, Node):
            raise NotANode(f"expected a node to spawn, but got {node!r:.80}")
        self._join(node)
        if supervisor is not None:
            self._supervisors.given[id(node)] = supervisor
        if mailbox is not None:
            for one in reversed(family(node)):
                if one is node or id(one) not in self._rooms:
                    self._rooms[id(one)] = mailbox
        if self._state == "running":
            self._claim(node)
        return node

    async def stop(self, node: Node | None = None, *, deadline: float = 10.0) -> None:
        """Stop a node, or the whole runtime.

        A node: what it is at work on is cancelled, it takes no more messages, who sends one gets
        `Stopped`. The runtime: it takes no more messages from outside, handles what is queued, for
        so many seconds at most, then cancels what still waits.
        """
        if node is not None:
            for one in family(node):
                self._stop_node(one, "by the program")
            await self._cleaned()
            return
        if self._state == "new":
            self._state = "stopped"
        if self._state == "stopped":
            return
        self._state = "stopping"
        if self._told_to_end is not None:
            self._told_to_end.set()
        if deadline > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.settle(), deadline)
        for conversation in [*self._open]:
            conversation.end(Reason.CANCELLED, "the runtime was stopped")
        await self._cleaned()
        self._timers.stop()
        if self._purse is not None:
            self._purse.close()
        self._state = "stopped"
        for one in self.nodes:
            for member in family(one):
                if TAKEN.get(id(member), (None, None))[1] is self:
                    del TAKEN[id(member)]

    async def settle(self) -> None:
        """Wait until everything that can run has run.

        What waits for a timer, for news, or for somebody outside does not count.
        """
        while not self._is_settled():
            future = self._loop.create_future()
            self._settling.append(future)
            self._schedule()
            await future

    # -- the ways in ---------------------------------------------------------------------------

    def send(
        self, node: Node, message: Message | str, **options: Unpack[Options]
    ) -> Conversation:
        """Send a message, and hear the replies as they come: `async for reply in ...`.

        Nothing happens before the first reply is asked for; whoever speaks goes on as the next one
        is asked for. `await conversation.aclose()` ends it early.
        """
        self._check(node)
        return self._conversation(node, message, options, OUTSIDE, takes=True)

    def ask(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Any:
        """Ask and await the last reply: `answer = await runtime.ask(node, "...")`.

        Silence raises `NoAnswer`, so does `timeout`, in seconds; an error in a handler is raised
        here. Inside a handler `yield node.ask("...")` is what you want.
        """
        self._check(node)
        return self._ask(node, message, options)

    async def _ask(self, node: Node, message: Message | str, options: Any) -> Any:
        conversation = self._conversation(node, message, options, OUTSIDE)
        try:
            if not self._may_drain(conversation):
                await self._accept(conversation)
                conversation.wake()
            else:
                self._begin(conversation)
                conversation.advance()
                self._in_a_row += 1
                if self._in_a_row > IN_A_ROW:
                    self._in_a_row = 0
                    await asyncio.sleep(0)
            while not conversation._is_over:
                await conversation._event()
        except BaseException:
            conversation.end(Reason.CANCELLED, "nobody waits for the answer any longer")
            raise
        if conversation.error is not None:
            raise conversation.error
        if conversation._answer is None:
            raise NoAnswer(f"{node} ended without a word to {str(message)!r:.60}")
        return conversation._answer

    async def tell(
        self, node: Node, message: Message | str, **options: Unpack[Options]
    ) -> Conversation:
        """Tell a node something: returns as soon as it is in the mailbox; nobody waits for replies.

        A full mailbox makes the caller wait, or raises `MailboxFull`, as its policy says.
        """
        self._check(node)
        conversation = self._conversation(node, message, options, None)
        await self._accept(conversation)
        conversation.wake()
        return conversation

    async def watch(self, node: Node | None = None) -> AsyncGenerator[Event, None]:
        """Every `Event` from now on, in order, or those of one node; it changes nothing.

        Who takes them too slowly loses the oldest beyond 10,000.
        """
        events: deque[Event] = deque(maxlen=10_000)
        news = asyncio.Event()

        def observer(event: Event) -> None:
            if node is None or event.node is node:
                events.append(event)
                news.set()

        self._observers.append(observer)
        try:
            while self._state in ("new", "running", "stopping"):
                while events:
                    yield events.popleft()
                news.clear()
                await news.wait()
        finally:
            self._observers.remove(observer)

    def news(self, key: str, value: Any) -> None:
        """News from outside for every conversation that waits for `expect(key)`."""
        for conversation in [*self._open]:
            if (conversation._scheduler.expected or {}).get(key):
                conversation.news(key, value)

    @property
    def conversations(self) -> list[Conversation]:
        """Those that are open."""
        return [*self._open]

    # -- opening -------------------------------------------------------------------------------

    def _check(self, node: Node) -> None:
        """Refuse what cannot work, with a lesson."""
        if self._is_pumping or IN_TASK.get() is not None:
            raise Misused(
                "a handler does not go through the runtime: `answer = yield node.ask(...)`"
                " (or `await node.ask(...)`) keeps it in the same conversation"
            )
        if self._state != "running":
            raise Stopped(
                f"this runtime is {self._state} and takes no messages; use `async with Runtime(...)`"
            )
        taken = TAKEN.get(id(node))
        if taken is not None and taken[1] is not self:
            raise Misused(f"{node} lives in another runtime; a node has one mailbox")

    def _conversation(
        self, node: Any, message: Any, options: Any, hearer: Any, takes: bool = False
    ) -> Conversation:
        if type(message) is str:
            message = Message(message)
        elif not isinstance(message, Message):
            raise Misused(f"expected a message or its words, but got {message!r:.80}")
        return Conversation(
            node, message, options, hearer, _runtime=self, _context=copy_context(), _takes=takes
        )

    def _begin(self, conversation: Conversation) -> None:
        """Deliver its first message, at the head of its run queue."""
        if conversation._closed:
            raise Misused("this conversation was closed before it began; start another")
        conversation._closed = True
        options = conversation._options or {}
        observers = self._observers
        if (observe := options.get("observe")) is not None:
            observers = [observe, self._tell_observers]
        budget, purse = self.budget, self._purse
        if (own := options.get("budget")) is not None:
            budget, purse = own, own.purse()
        scheduler = Scheduler(
            self.clock.now,
            self.clock.salt(),
            count(1).__next__,
            options.get("limits", self.limits),
            _start_task,
            observers=observers,
            answerer=options.get("answer", self.answer),
            deltas=options.get("deltas", False),
            sleep=self.clock.sleep,
            choose=self._choose,
            home=conversation,
            budget=budget,
            purse=purse,
            seen=self._pauses,
            mailboxes=self._mailboxes,
        )
        conversation._scheduler = scheduler
        hearer = conversation._hearer
        if hearer is WATCHER:
            scheduler.watched, scheduler.seen, hearer = True, deque(), None
        scheduler.open(conversation._node, conversation._message, hearer)
        self._open.add(conversation)
        for key, value in conversation._news:
            scheduler.news(key, value)
        if (seconds := options.get("timeout")) is not None:
            conversation._deadline = self.clock.now() + round(seconds * 1e9)
            self._timers.at(conversation._deadline, conversation)

    async def _accept(self, conversation: Conversation) -> None:
        """Put its first message into the mailbox of its node, when there is room."""
        room = self._room(conversation._node)
        if room.when_full == "wait":
            while (
                box := self._mailboxes.boxes.get(id(conversation._node))
            ) is not None and len(box.arrived) >= room.size:
                await self._room_in(box)
        self._begin(conversation)
        error = self._mailboxes.arrive(conversation._scheduler, conversation._scheduler.root)
        if error is not None and error is not FULL:
            conversation.end(Reason.FAILED, repr(error))
            if room.when_full == "raise":
                raise error

    async def _room_in(self, box: Any) -> None:
        """Wait until something leaves this mailbox."""
        future = self._loop.create_future()
        box.room = [*box.room, future]
        await future

    def _room(self, node: Any) -> Mailbox:
        return self._rooms.get(id(node), self._mailbox)

    # -- the run queue -------------------------------------------------------------------------

    def _enqueue(self, conversation: Conversation) -> None:
        """It can go on, after those before it."""
        self._ready.append(conversation)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Let those who can go on do so, in turn."""
        self._is_scheduled = False
        self._in_a_row = 0
        self._timers.activity += 1
        ready, choose = self._ready, self._choose
        self._is_pumping = True
        try:
            for _ in range(min(len(ready), BATCH)):
                if choose is not None and len(ready) > 1:
                    ready.rotate(-choose(len(ready)))
                ready.popleft().advance()
        finally:
            self._is_pumping = False
            if ready:
                self._schedule()
        if self._settling and self._is_settled():
            waiting, self._settling = self._settling, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def _may_drain(self, conversation: Conversation) -> bool:
        """May it go on at once, on its caller's stack? Not before those who were there first."""
        return not (self._ready or self._is_pumping or self._choose or conversation._is_queued)

    def _is_settled(self) -> bool:
        if self._ready or self._cleaning:
            return False
        return not any(
            (s := c._scheduler).under_way or s.settling or s.calls or (s.perhaps and not s.timers)
            for c in self._open
        )

    def _is_idle(self) -> bool:
        """Can nobody go on before time passes?"""
        return not (self._ready or self._is_scheduled or self._cleaning) and not any(
            (s := c._scheduler).under_way or s.settling or s.calls for c in self._open
        )

    def _ended(self, conversation: Conversation) -> None:
        self._open.discard(conversation)
        if self._settling:
            self._schedule()

    def _clean(self, cleaning: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The handlers of a conversation that has ended clean up."""
        task: asyncio.Task[None] = self._loop.create_task(cleaning)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaned_up)
        return task

    def _cleaned_up(self, task: asyncio.Task[None]) -> None:
        self._cleaning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            warnings.warn(f"a cancelled handler failed to clean up: {error!r}", RuntimeWarning, 2)
        if self._settling:
            self._schedule()

    async def _cleaned(self) -> None:
        """Wait for that."""
        while self._cleaning:
            await asyncio.wait([*self._cleaning])

    # -- supervision ---------------------------------------------------------------------------

    def _supervise(self, conversation: Conversation, act: Activation, error: BaseException) -> bool:
        """A handler raised and nobody waits: what its supervisor does. False: it is for the caller."""
        if act.hearer is OUTSIDE and not self._supervisors.of(act.node)[0].heard:
            return False
        scheduler = conversation._scheduler
        strategy, nodes = self._supervisors.failed(act.node, error)
        scheduler.bury(act.message, f"failed: {error!r:.200}", act.node, error)
        if scheduler.observers:
            scheduler.observe("supervised", act.node, act.message, strategy)
        if act is scheduler.root:
            scheduler.reason, scheduler.detail = Reason.FAILED, repr(error)
            conversation.error = error
        for node in nodes if strategy in ("restart", "stop") else ():
            if strategy == "stop":
                self._stop_node(node, repr(error))
            else:
                self._abandon(node, lambda node=node: restarted(node), "restarted")
                self._supervisors.restart(node)
        if strategy == "escalate":
            self._crash = self._crash or error
            self._loop.call_soon(self._crashed)
        return act.hearer is not OUTSIDE

    def _stop_node(self, node: Node, why: str) -> None:
        error = stopped(node, why)
        self._mailboxes.stop(node, error)
        self._abandon(node, error, "stopped")

    def _abandon(self, node: Node, error: Callable[[], Exception], reason: str) -> None:
        """Cancel what a node is at work on, in all conversations; who waits gets an error."""
        for conversation in [*self._open]:
            scheduler = conversation._scheduler
            for act in reversed(scheduler.everybody()):
                if act.node is node and not act.closed and act.talk is not None:
                    conversation.drop(act, error(), reason)

    def _crashed(self) -> None:
        """Nobody knew what to do about an error: the block around the runtime is left with it."""
        if self._owner is not None:
            self._owner.cancel()

    def _bury(self, letter: DeadLetter) -> None:
        self.dead_letters.take(letter)

    def _tell_observers(self, event: Event) -> None:
        for observer in [*self._observers]:
            try:
                observer(event)
            except Exception as error:
                warnings.warn(f"observer {observer} failed: {error!r}", RuntimeWarning, 2)

    # -- who lives here ------------------------------------------------------------------------

    def _join(self, node: Node) -> None:
        if not isinstance(node, Node):
            raise NotANode(f"expected nodes to run, but got {node!r:.80}")
        if any(one is node for one in self.nodes):
            return
        self.nodes.append(node)
        self._supervisors.add(node)

    def _claim(self, node: Node) -> None:
        for one in family(node):
            other = TAKEN.setdefault(id(one), (one, self))[1]
            if other is not self:
                raise Misused(f"{one} lives in another runtime; a node has one mailbox")


def _start_task(scheduler: Scheduler, act: Activation, source: Any, kind: int) -> Any:
    return scheduler.home.host().talk(act, source, kind)
