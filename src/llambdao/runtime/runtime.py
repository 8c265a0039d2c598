"""`Runtime`: many conversations at once on an asyncio event loop, for programs that live."""

from __future__ import annotations

import asyncio
import os
import pkgutil
import threading
import warnings
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from itertools import count
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack, cast

from llambdao.kernel.activation import OUTSIDE, Activation
from llambdao.kernel.errors import Misused, NoAnswer, Stopped
from llambdao.kernel.events import LIMITS, DeadLetter, Event, Limits, Reason
from llambdao.kernel.mailbox import FULL, Mailbox, Mailboxes
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import SYSTEM, WATCHER, Clock
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.turn import IN_TASK
from llambdao.runtime.clock import Timers
from llambdao.runtime.conversation import Conversation, Sent
from llambdao.runtime.dead import DeadLetters
from llambdao.runtime.passivation import Passivation, Sleepers
from llambdao.runtime.questions import Question, Questions
from llambdao.runtime.queue import RunQueue
from llambdao.runtime.residents import Residents
from llambdao.runtime.schedule import Schedule, Schedules
from llambdao.runtime.script import Script
from llambdao.runtime.signals import Signals
from llambdao.runtime.supervisor import Supervisor, Supervisors, family
from llambdao.runtime.watchdog import Watchdog

__all__ = ["Runtime"]


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


OPTIONS = frozenset(Options.__annotations__)

BEGINNINGS = 4
"""How many turns of the loop tasks have to begin, each of which may be created by the one before:
`asyncio.wait_for`, until Python 3.12, asks in a task of its own."""


class Runtime:
    """Many conversations at once: nodes that live, on the event loop of the program.

    Nodes handle messages as everywhere, one at a time and in order; here that holds across all
    conversations. `nodes` and their members, also those who join later, belong to this runtime
    until it stops.

    * `limits`: of each conversation; `mailbox`: how many messages may wait for a node, and what
      becomes of one more; `supervisor`: what becomes of a node that fails when nobody waits;
      `budget`: what all conversations together may spend.
    * `observe`: one observer or several, called with every `Event`; `answer`: who answers a
      question that reaches the outside; `clock`: where the time comes from.
    * `watchdog`: a handler that blocks the event loop for so many seconds is named in a warning
      and a `stalled` event; None: nobody watches.
    * `top`: may `llambdao top` look in? Unless given, if the environment has LLAMBDAO_TOP=1 and
      time is real.
    * `passivate`: which nodes leave memory while they have nothing to do; None: nobody.
    * `journal`: where everything is written, so that it survives the end of the process:
      "sqlite:///room.db", "postgresql://...", or a `Journal`; None: nowhere.

    Leaving the block handles what is queued, then cancels what still waits; with a journal that
    goes on when the journal is opened again.

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
        top: bool | None = None,
        passivate: Passivation | None = None,
        journal: Any = None,
    ) -> None:
        expected = {
            "limits": Limits,
            "mailbox": Mailbox,
            "supervisor": Supervisor,
            "passivate": Passivation,
        }
        for name, value in zip(expected, (limits, mailbox, supervisor, passivate), strict=True):
            if value is not None and not isinstance(value, expected[name]):
                raise Misused(f"{name} is a {expected[name].__name__}(...), not {value!r:.80}")
        for need in ("now", "sleep", "salt"):
            if not hasattr(clock, need):
                raise Misused(f"a clock has now(), sleep() and salt(), but {clock!r:.80} has not")
        self.clock, self.limits, self.budget, self.answer_with = clock, limits, budget, answer
        self.watchdog, self.top = watchdog, top
        self.journal: Any = None if journal is None else journal_at(journal)
        self.questions = Questions(lambda: self.nodes)
        self.residents = Residents(self._joined)
        self.dead_letters = DeadLetters()
        self._mailbox = mailbox or Mailbox()
        self._rooms: dict[int, Mailbox] = {}
        self._supervisors = Supervisors(self, supervisor or Supervisor())
        self._observers = [observe] if callable(observe) else [*observe]
        self._mailboxes = Mailboxes(self._room)
        self._queue = RunQueue()
        self._timers = Timers(clock, self._queue)
        self._schedules = Schedules(self)
        self._watchdog = None if watchdog is None else Watchdog(self, watchdog)
        self.passivation = None if passivate is None else Sleepers(self, passivate)
        if self.passivation is not None:
            self._observers.append(self.passivation)
        self._pauses: deque[Any] = deque()
        self._expecting: dict[str, dict[int, Conversation]] = {}
        self._purse = None if budget is None else budget.purse(chunk=4096)
        self._is_timed = budget is not None and budget.limit.seconds is not None
        self._loop: Any = None
        self._thread = 0
        self._stopping: asyncio.Task[None] | None = None
        self._watchers: list[asyncio.Event] = []
        self._signals: Signals | None = None
        self._graceful: asyncio.Task[None] | None = None
        self._state = "new"
        self._since = 0
        self._window: Any = None
        self._crashed_with: BaseException | None = None
        self._owner: asyncio.Task[Any] | None = None
        for node in nodes:
            if self.residents.add(node):
                self._supervisors.add(node)

    # -- its life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._owner = None
        if kind is asyncio.CancelledError and self._crashed_with is not None:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        await self.stop(deadline=10.0 if kind is None else 0.0)

    def __enter__(self) -> Script:
        """For scripts: a runtime on an event loop in a thread of its own, whose methods wait."""
        self._script = Script(self)
        return self._script

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._script.close(error)

    async def forever(self) -> None:
        """Wait until the program is told to end: SIGINT (Ctrl-C) or SIGTERM, or `stop()`.

        What follows in the block, and leaving it, still has its time; at a second signal what
        waits is cancelled at once.
        """
        self._signals = Signals(self._loop, self._hurry)
        with self._signals as told:
            await told.wait()

    def _hurry(self) -> None:
        """Told to end for the second time: what waits is cancelled now."""
        if self._graceful is not None:
            self._graceful.cancel()
        elif self._owner is not None:
            self._owner.cancel()

    def start(self) -> None:
        """Begin, on the running event loop: what `async with` does first."""
        if self._state != "new":
            raise Misused("a runtime lives once; make another")
        self._loop = self._timers.loop = self._queue.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        if self.passivation is not None:
            self.passivation.open()
        self.residents.claim(self.nodes)
        for node in self.nodes:
            self._supervisors.add(node)  # who has joined it meanwhile
        if self.journal is not None:
            self._queue.after_round = self.journal.commit
            try:
                self.journal.open(self)
            except BaseException:
                self.residents.release()
                raise
        self._open_window()
        self._state, self._since = "running", self.clock.now()
        self._schedules.start(one for node in [*self.nodes] for one in family(node))
        if self.passivation is not None:
            self.passivation.start(one for node in [*self.nodes] for one in family(node))
        if self._watchdog is not None:
            self._watchdog.start(self._loop)
        if self.journal is not None:
            self.journal.begin()

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
        for name, given, kind in (
            ("supervisor", supervisor, Supervisor),
            ("mailbox", mailbox, Mailbox),
        ):
            if given is not None and not isinstance(given, kind):
                raise Misused(f"{name} is a {kind.__name__}(...), not {given!r:.80}")
        for one in family(node):
            self.residents.check(one)
        is_new = self.residents.add(node)
        if self._state == "running":
            self.residents.claim([node])
        if is_new:
            self._supervisors.add(node)
        if supervisor is not None:
            self._supervisors.give(node, supervisor)
        if mailbox is not None:
            for one in reversed(family(node)):
                if one is node or id(one) not in self._rooms:
                    self._rooms[id(one)] = mailbox
        self._settle_in(node)
        return node

    def _joined(self, network: Node, node: Node) -> None:
        """A node has joined a network that lives here, from whatever thread."""
        self._supervisors.owners.setdefault(id(node), network)
        self._supervisors.add(node)
        if (mailbox := self._rooms.get(id(network))) is not None:
            for one in family(node):
                self._rooms.setdefault(id(one), mailbox)
        if threading.get_ident() == self._thread:
            self._settle_in(node)
        else:
            self._loop.call_soon_threadsafe(self._settle_in, node)

    def _settle_in(self, node: Node) -> None:
        """It lives here from now on, with its members."""
        if self._state == "running":
            self._schedules.start(family(node))
            if self.passivation is not None:
                self.passivation.join(family(node))

    def evict(self, node: Node) -> bool:
        """Have a node sleep now, by hand (see `Passivation`): does it?

        Not while it is at work or has mail. What cannot be stored raises `NotStorable`.
        """
        if self.passivation is None:
            raise Misused("nobody sleeps in this runtime unless it has Runtime(passivate=...)")
        return self.passivation.evict(node)

    async def stop(self, node: Node | None = None, *, deadline: float = 10.0) -> None:
        """Stop a node, or the whole runtime.

        A node: what it is at work on is cancelled, it takes no more messages, who sends one gets
        `Stopped`. The runtime: it takes no more messages from outside, handles what is queued, for
        so many seconds at most, then cancels what still waits.
        """
        if node is not None:
            for one in family(node):
                self._supervisors.stop(one, "by the program")
                self._supervisors.forget(one)
                self._schedules.forget(one)
                self.residents.drop(one)
                self._rooms.pop(id(one), None)
            await self._queue.cleaned()
            return
        if self._stopping is not None:
            await self._stopping
        await self._stop(deadline)
        if self._crashed_with is not None:
            error, self._crashed_with = self._crashed_with, None
            raise error

    async def _stop(self, deadline: float) -> None:
        if self._state == "new":
            self._state = "stopped"
        if self._state == "stopped":
            return
        self._state = "stopping"
        self._schedules.stop()
        if self._signals is not None:
            self._signals.told.set()
        if deadline > 0:
            graceful = self._graceful = self._loop.create_task(self.settle())
            await asyncio.wait([graceful], timeout=deadline)
            graceful.cancel()
        if self.journal is not None:
            self.journal.close()
        for conversation in self._queue.conversations:
            conversation.end(Reason.CANCELLED, "the runtime was stopped")
        await self._queue.cleaned()
        window, self._window = self._window, None
        if window is not None:
            await window.close()
        self._state = "stopped"
        self._release()

    def _open_window(self) -> None:
        """Let `llambdao top` look in, if that is wanted."""
        is_asked = self._timers.is_real and os.environ.get("LLAMBDAO_TOP", "") not in ("", "0")
        if self.top or (self.top is None and is_asked):
            from llambdao.runtime.window import Window

            try:
                self._window = Window(self)
            except BaseException:
                self.residents.release()
                raise

    def _release(self) -> None:
        """Let go of everything: timers, signals, money, watchers, nodes."""
        self._timers.stop()
        if self.passivation is not None:
            self.passivation.stop()
        if self._signals is not None:
            self._signals.restore()
        if self._purse is not None:
            self._purse.close()
        for news in self._watchers:
            news.set()
        self.residents.release()
        if self._watchdog is not None:
            self._watchdog.stop()

    async def settle(self) -> None:
        """Wait until everything that can run has run.

        What waits for a timer, for news, or for somebody outside does not count. What was asked or
        sent in a task that was created before has begun.
        """
        for _ in range(BEGINNINGS):
            await asyncio.sleep(0)
        if self.journal is not None:
            self.journal.look()
        await self._queue.settle()

    # -- the ways in ---------------------------------------------------------------------------

    def send(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Conversation:
        """Send a message, and hear the replies as they come: `async for reply in ...`.

        Nothing happens before the first reply is asked for; whoever speaks goes on as the next one
        is asked for. `await conversation.aclose()` ends it early.
        """
        self._check(node)
        conversation = self._conversation(node, message, options, OUTSIDE, takes=True)
        return cast("Conversation", Sent(conversation))

    def ask(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Any:
        """Ask and await the last reply: `answer = await runtime.ask(node, "...")`.

        It comes when the node has ended; what was told on the way may go on. Silence raises
        `NoAnswer`, so does `timeout`, in seconds; an error in a handler is raised
        here. Inside a handler `yield node.ask("...")` is what you want.
        """
        self._check(node)
        if self.journal is not None:
            return self.journal.ask(node, message, options)
        return self._ask(node, message, options)

    async def _ask(self, node: Node, message: Message | str, options: Any) -> Any:
        conversation = self._conversation(node, message, options, OUTSIDE)
        try:
            if not self._queue.may_go_on(conversation):
                await self._accept(conversation)
            else:
                self._begin(conversation)
                conversation.advance()
                if self._queue.went_on():
                    await asyncio.sleep(0)
            if not conversation._is_over:
                conversation.lives_on()
                while not conversation._is_answered:
                    await conversation._event()
                await conversation.cleaned()
        except BaseException:
            conversation.end(Reason.CANCELLED, "nobody waits for the answer any longer")
            await conversation.cleaned()
            raise
        if conversation.error is not None:
            raise conversation.error
        if conversation.reason in (Reason.CANCELLED, Reason.STOPPED):
            raise Stopped(f"{conversation} was ended: {conversation.detail or conversation.reason}")
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
        if self.journal is not None:
            return await self.journal.tell(node, message, options)  # type: ignore[no-any-return]
        conversation = self._conversation(node, message, options, None)
        try:
            await self._accept(conversation)
        except BaseException:
            conversation.end(Reason.CANCELLED)
            raise
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
        self._watchers.append(news)
        try:
            while events or self._state != "stopped":
                while events:
                    yield events.popleft()
                news.clear()
                if self._state != "stopped":
                    await news.wait()
        finally:
            self._observers.remove(observer)
            self._watchers.remove(news)

    def news(self, key: str, value: Any) -> None:
        """News from outside for every conversation that waits for `expect(key)`."""
        if self.journal is not None:
            self.journal.expecting(key, value)
        for conversation in self._expecting.pop(key, {}).values():
            if (conversation._scheduler.expected or {}).get(key):
                conversation.news(key, value)
                if conversation._scheduler.expected[key]:
                    conversation.expects(key)

    async def pending(self) -> list[Question]:
        """Who is asked what, and has not answered: the open questions, the oldest first."""
        asked: Questions = self.questions if self.journal is None else self.journal
        return asked.pending()

    async def answer(self, question: str, words: Message | str, *, by: Any) -> None:
        """Answer an open question, by its id: once, and only by the one who was asked.

        `by` is that node, or its name. Another one raises `NotAsked`, a second answer
        `AlreadyAnswered`. Under a journal it returns when the answer is recorded.
        """
        if self.journal is None:
            self.questions.answer(question, words, by)
        else:
            await self.journal.answer(question, words, by)

    async def replies(self, id: str) -> list[Message]:  # noqa: A002  # that is what it is
        """What was said to the outside in answer to the message with this id; takes a journal."""
        if self.journal is None:
            raise Misused(
                "what was said is kept by a journal: Runtime(journal='sqlite:///room.db')"
            )
        return self.journal.replies(id)  # type: ignore[no-any-return]

    @property
    def conversations(self) -> list[Conversation]:
        """Those that are open."""
        return self._queue.conversations

    @property
    def schedules(self) -> list[Schedule]:
        """What is due again and again: the methods marked `@every`."""
        return self._schedules.under_way

    # -- opening -------------------------------------------------------------------------------

    def _check(self, node: Node) -> None:
        """Refuse what cannot work, with a lesson."""
        if self._queue.is_running or IN_TASK.get() is not None:
            raise Misused(
                "a handler does not go through the runtime: `answer = yield node.ask(...)`"
                " (or `await node.ask(...)`) keeps it in the same conversation"
            )
        if self._state != "running":
            raise Stopped(
                f"this runtime is {self._state} and takes no messages;"
                " they belong inside `async with Runtime(...) as runtime:`"
            )
        self.residents.check(node)

    @property
    def nodes(self) -> list[Node]:
        """The nodes it was made of, and those spawned."""
        return self.residents.nodes

    def _conversation(
        self, node: Any, message: Any, options: Any, hearer: Any, takes: bool = False
    ) -> Conversation:
        if type(message) is str:
            message = Message(message)
        elif not isinstance(message, Message):
            raise Misused(f"expected a message or its words, but got {message!r:.80}")
        if options and not options.keys() <= OPTIONS:
            unknown = ", ".join(sorted(options.keys() - OPTIONS))
            raise TypeError(f"unknown option {unknown}; there are {', '.join(sorted(OPTIONS))}")
        kind = Conversation if self.journal is None else self.journal.kind
        return kind(node, message, options, hearer, _runtime=self, _takes=takes)

    def _begin(self, conversation: Conversation) -> None:
        """Deliver its first message, at the head of its run queue."""
        if conversation._closed:
            raise Misused("this conversation was closed before it began; start another")
        conversation._closed = True
        options, own = conversation._options, self._observers
        observers, answerer, limits, deltas = own, self.answer_with, self.limits, False
        budget, purse = self.budget, self._purse
        if options:
            if (observe := options.get("observe")) is not None:
                observers = [observe, self._tell_observers]
            answerer = options.get("answer", answerer)
            limits, deltas = options.get("limits", limits), options.get("deltas", False)
            if (given := options.get("budget")) is not None:
                budget, purse = given, given.purse()
                conversation.times(given)
            if (seconds := options.get("timeout")) is not None:
                conversation._deadline = self._deadline(seconds)
        if self._is_timed and budget is self.budget:
            conversation.times(budget)
        if self.journal is not None:
            scheduler = conversation._scheduler = self.journal.prepare(
                conversation,
                limits=limits,
                budget=budget,
                purse=purse,
                sleep=self.clock.sleep,
                choose=self._queue.choose,
                observers=observers,
                answerer=answerer,
                deltas=deltas,
            )
        else:
            scheduler = conversation._scheduler = Scheduler(
                self.clock.now,
                self.clock.salt(),
                count(1).__next__,
                limits,
                _start_task,
                None,
                None,
                None,
                conversation,
                budget,
                purse,
                0,
                self.clock.sleep,
                None,
                self._queue.choose,
                (),
                observers,
                answerer,
                deltas,
                False,
                self._pauses,
                mailboxes=self._mailboxes,
            )
        hearer = conversation._hearer
        if hearer is WATCHER:
            scheduler.watched, scheduler.seen, hearer = True, deque(), None
        try:
            scheduler.open(conversation._node, conversation._message, hearer)
        except BaseException:
            conversation.end(Reason.FAILED)
            raise
        if self.journal is not None:
            self.journal.began(conversation)
        self._queue.opened(conversation)
        for key, value in conversation._news:
            scheduler.news(key, value)

    def _deadline(self, seconds: Any) -> int:
        """When so many seconds are over."""
        self._timers.mind_jumps()
        if not isinstance(seconds, int | float) or not seconds >= 0:
            raise Misused(f"a timeout is a number of seconds, not {seconds!r:.80}")
        return self.clock.now() + round(seconds * 1e9)

    async def _accept(self, conversation: Conversation) -> None:
        """Put its first message into the mailbox of its node, when there is room."""
        node = conversation._node
        granted: asyncio.Future[None] = self._loop.create_future()

        def grant() -> bool:
            if not granted.done():
                granted.set_result(None)
            return not granted.cancelled()

        if not self._mailboxes.queue_for_room(node, grant):
            self._open(conversation)
            return
        try:
            await granted
            self._check(node)
            self._open(conversation)
        finally:
            if granted.done() and not granted.cancelled():
                self._mailboxes.take_room(node)
                self._mailboxes.give_room(node)

    def _open(self, conversation: Conversation) -> None:
        """Put its first message into the mailbox of its node, or do as the policy says."""
        room = self._room(conversation._node)
        self._begin(conversation)
        error = self._mailboxes.arrive(conversation._scheduler, conversation._scheduler.root)
        if error is not None and error is not FULL:
            conversation.end(Reason.FAILED, repr(error))
            if room.when_full == "raise" or isinstance(error, Stopped):
                raise error
        conversation.lives_on()
        conversation.wake()

    def _room(self, node: Any) -> Mailbox:
        return self._rooms.get(id(node), self._mailbox)

    # -- what conversations call ---------------------------------------------------------------

    def _bury(self, letter: DeadLetter) -> None:
        self.dead_letters.take(letter)
        for edge in [*self.dead_letters.edges.values()]:
            word = f"{letter.message.content} ({letter.reason})"
            news = Message(word, "inform", self.dead_letters, edge.node, letter.message)
            if letter.message.sender is self.dead_letters or self._state != "running":
                return  # of news about letters nobody is informed
            if edge.node is not letter.node:
                conversation = self._conversation(edge.node, news, None, None)
                try:
                    self._open(conversation)
                except Exception as error:  # noqa: BLE001  # it is a letter about a letter
                    conversation.end(Reason.FAILED, repr(error))

    def _tell_observers(self, event: Event) -> None:
        for observer in [*self._observers]:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001  # an observer harms nobody else
                warnings.warn(f"observer {observer} failed: {error!r}", RuntimeWarning, 2)

    def _expects_no_more(self, conversation: Conversation, key: str) -> None:
        if (waiting := self._expecting.get(key)) is not None:
            waiting.pop(id(conversation), None)
            if not waiting:
                del self._expecting[key]

    def _crash(self, error: BaseException) -> None:
        """Nobody knew what to do about an error: the block around the runtime is left with it."""
        if self._crashed_with is None:
            self._crashed_with = error
            if self._owner is not None:
                self._loop.call_soon(self._owner.cancel)
            else:
                self._stopping = self._loop.create_task(self._stop(deadline=0.0))


def journal_at(journal: Any) -> Any:
    """The journal of a URL; it stands above the runtime, and is found when it is wanted."""
    if isinstance(journal, str | os.PathLike):
        kind = pkgutil.resolve_name("llambdao.journal:Journal")
        return kind(str(journal))
    if not hasattr(journal, "commit"):
        raise Misused(f'journal is a URL such as "sqlite:///room.db", not {journal!r:.80}')
    return journal


def _start_task(scheduler: Scheduler, act: Activation, source: Any, kind: int) -> Any:
    return scheduler.home.host().talk(act, source, kind)
