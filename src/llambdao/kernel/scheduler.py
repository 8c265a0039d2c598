"""The scheduler: mailboxes, a run queue of activations, waits and limits. It does no I/O.

Whoever drives it tells it what happened outside (*deliver this*, *this call came to that*, *it is
now t*) and does what it asks for (*reply to outside*, *start this coroutine*, *do this call*,
*wake me at t*). It reads no clock but the one it is given, and starts no task.

Asks and relays are run from a stack, so ten thousand nested networks need no recursion;
what came from outside comes next, then what was told, first in first out.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from types import GeneratorType, MappingProxyType
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import force_setattr

from llambdao.kernel.errors import (
    Deadlock,
    LimitReached,
    Misused,
    NoAnswer,
    NotANode,
    NotPermitted,
    UnknownIntent,
    Unreachable,
)
from llambdao.kernel.message import NOTHING, Address, Delta, Ink, Message, cut
from llambdao.kernel.turn import LOOPS
from llambdao.kernel.waits import BEGUN, WAITING, Ask, Question, Stream, Tell, Wait

__all__ = ["Activation", "DeadLetter", "Event", "Limits", "Reason", "Recorder", "Scheduler"]

PLAIN, GENERATOR, COROUTINE, ASYNC_GENERATOR = range(4)
"""The four kinds of handler."""

NEW, OPEN, CLOSED = range(3)
"""The life of an activation."""

QUESTIONS = frozenset({"request", "query"})
"""The intents whose messages wait for an answer when they are yielded."""

WINDOW = 512
"""How many handled messages keep what they answered in reach, at least."""


class Reason(StrEnum):
    """Why a conversation ended."""

    DONE = "done"
    STOPPED = "stopped"
    LIMIT = "limit"
    BUDGET = "budget"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DEADLOCK = "deadlock"


class Limits(Struct, frozen=True):
    """What one conversation may use up before it is ended.

    `messages`: how many may be said; `chain`: how often one node's handler may stand in a chain of
    askers; `mailbox`: how many told messages may wait for one node before tellers wait too.
    """

    messages: int = 100_000
    chain: int = 100
    mailbox: int = 10_000


LIMITS = Limits()


class Event(Struct, frozen=True, eq=False):
    """Something an observer sees, in order.

    `kind` is one of said, delivered, delta, waits, ended, failed, dead, over.
    """

    kind: str
    node: Any = None
    message: Any = None
    detail: Any = None


class DeadLetter(Struct, frozen=True, eq=False):
    """A message that nobody could or would handle, and why."""

    message: Any
    reason: str


class Recorder(Protocol):
    """What a journal implements to hear of every turn before its effects become visible."""

    def record(self, event: Event) -> None:
        """Take note of what happened."""


class Outside:
    """The hearer of those whom the caller outside listens to."""

    def __str__(self) -> str:
        return "the caller"


OUTSIDE: Any = Outside()

PENDING: Any = type("Pending", (), {"__repr__": lambda self: "PENDING"})()
"""What a talk gives back while a task of its own is under way."""


class Exhausted(BaseException):
    """Carries a limit that was reached past every handler to the end of the conversation."""


class Activation(Struct, eq=False):
    """One run of a handler on one message, wherever it stands."""

    node: Any
    message: Any
    parent: Any  # the wait that learns of its end; None for what nobody waits for
    branch: int  # its place in that wait
    hearer: Any  # who hears its replies: a wait, OUTSIDE, or None
    place: int  # its place there
    asker: Any  # the activation on whose behalf it runs
    handler: Any
    depth: int = 0
    state: int = NEW
    talk: Any = None
    send: Any = None
    value: Any = None
    error: Any = None
    wait: Any = None
    others: Any = None  # open streams, and what a coroutine awaits at once
    frames: Any = None  # talks that go on when a list has been said
    ink: Any = None
    busy: bool = False  # holds its node while a task of its own is under way

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        """What it waited for came to this value."""
        self.value, self.wait = value, None
        scheduler.stack.append(self)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        """What it waited for came to this error."""
        self.error, self.wait = error, None
        scheduler.stack.append(self)

    def also(self, wait: Wait) -> None:
        """Remember a wait that stays open beside others."""
        if self.others is None:
            self.others = []
        self.others.append(wait)

    def waits(self) -> list[Wait]:
        """Everything it waits for."""
        waits = [wait for wait in self.others or () if wait.state == BEGUN]
        return waits if self.wait is None else [self.wait, *waits]

    def __str__(self) -> str:
        return f"{self.node}.{self.message.intent}"


class Scheduler(Struct, eq=False):
    """Everything under way in one conversation (or, in a runtime, in all of them)."""

    now: Callable[[], int]
    salt: int
    limits: Limits = LIMITS
    start_task: Any = None  # (scheduler, act, source, kind) -> talk: *start this coroutine*
    host: Any = None  # where the driver keeps the tasks of this scheduler
    sleep: Any = time.sleep  # how the driver lets time pass
    settling: Any = None  # the talk whose task has just been let go on
    begun: list[Activation] = field(default_factory=list)  # what that task has set going
    observers: Any = ()
    answerer: Any = None  # who answers questions that reach the outside
    deltas: bool = False  # does the outside want to hear deltas?
    seen: Any = None  # what a watcher has not been shown yet
    stack: list[Activation] = field(default_factory=list)
    ready: Any = ()
    told: Any = ()
    timers: Any = ()
    calls: list[Any] = field(default_factory=list)  # *do this call*
    dropped: Any = ()  # calls that nobody waits for any longer
    under_way: int = 0  # calls and tasks the driver is busy with
    expected: Any = None
    news_kept: Any = None
    questions: Any = None
    roots: dict[int, Activation] = field(default_factory=dict)
    held: Any = None
    mail: Any = None
    queued: Any = None
    deep: Any = None
    serial: Any = field(default_factory=lambda: count(1).__next__)
    young: list[Message] = field(default_factory=list)
    old: Any = ()
    ink: Any = None
    dead: Any = ()
    reason: Any = None
    detail: str = ""

    # -- the ways in ---------------------------------------------------------------------------

    def open(self, node: Any, message: Message, hearer: Any) -> Activation:
        """A message from outside: the beginning of a conversation."""
        self.ink = Ink(None, None, None, None, self.salt)
        if message.seal is None:
            if message.intent is None:
                force_setattr(message, "_intent", "chat")
            if message._to is None:
                force_setattr(message, "_to", node)
            self._freeze(message)
            force_setattr(message, "seal", (self.now(), self._count(), self.ink))
        if self.observers or self.seen is not None:
            self.observe("said", message._sender, message)
        root = self.deliver(node, message, None, 0, hearer, 0, None)
        self.roots[id(root)] = root
        return root

    def tick(self) -> None:
        """It is later now: wake those whose time has come."""
        now = self.now()
        while self.timers and self.timers[0][0] <= now:
            wait = heappop(self.timers)[2]
            if wait.state == BEGUN:
                self._input(wait.due)

    def done(self, wait: Any, value: Any) -> None:
        """A call came to this value."""
        self.under_way -= 1
        self._input(wait.take, 0, value)

    def broke(self, wait: Any, error: BaseException) -> None:
        """A call came to this error."""
        self.under_way -= 1
        self._input(wait.fail, 0, error)

    def news(self, key: str, value: Any) -> None:
        """News from outside; kept until somebody expects it."""
        waiting = (self.expected or {}).get(key)
        while waiting:
            wait = waiting.popleft()
            if wait.state == BEGUN:
                self._input(wait.take, 0, value)
                return
        self.news_kept = self.news_kept or {}
        self.news_kept.setdefault(key, deque()).append(value)

    def close(self, reason: Reason = Reason.STOPPED, detail: str = "") -> None:
        """End it all: everybody is cancelled, innermost first; what was told is a dead letter."""
        if self.reason is None:
            self.reason, self.detail = reason, detail
        errors: list[BaseException] = []
        for root in [*reversed(self.roots.values())]:
            self.cancel(root, errors)
        for act in [*self.told, *self.ready]:
            if act.state == NEW:
                act.state = CLOSED
                self.bury(act.message, "cancelled")
        self.roots.clear()
        self.stack.clear()
        self.told = self.ready = ()
        if self.observers:
            self.observe("over", None, None, str(self.reason))
        if errors:
            raise errors[0]

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> Generator[Any, None, None]:
        """Resume handlers until nobody can go on; yields what the outside is to hear.

        Yields None when nobody can go on before something happens outside: do the `calls`, let the
        tasks run, wait until `next_due`, then resume it.
        """
        stack = self.stack
        seen = self.seen
        try:
            while True:
                if seen:
                    yield seen.popleft()
                    continue
                if stack:
                    act = stack.pop()
                elif self.ready:
                    act = self.ready.popleft()
                elif self.told:
                    act = self._next_told()
                elif self._outside_is_busy():
                    yield None
                    continue
                else:
                    break
                if act.state == CLOSED or (self.held and self._queues(act)):
                    continue
                node = act.node
                if node._undo:
                    node._undo.clear()
                value, error = act.value, act.error
                if value is not None:
                    act.value = None
                while True:  # one turn: until the handler waits, ends or fails
                    ended = False
                    try:
                        if act.state == NEW:
                            act.state = OPEN
                            function, kind = act.handler
                            if self.observers:
                                self.observe("delivered", node, act.message)
                            if kind == GENERATOR:
                                act.talk = talk = function(node, act.message)
                                act.send = talk.send
                                said = act.send(None)
                            elif kind == PLAIN:
                                said = function(node, act.message)
                                ended = True
                            else:
                                source = function(node, act.message)
                                act.talk = talk = self.start_task(self, act, source, kind)
                                act.send = talk.send
                                said = act.send(None)
                        elif error is not None:
                            act.error = None
                            thrown, error = error, None
                            if act.talk is None:
                                self._failed(act, thrown)
                                break
                            said = act.talk.throw(thrown)
                        elif act.talk is None:  # a returned wait has come to its value
                            said, ended = value, True
                        else:
                            said = act.send(value)
                    except StopIteration as stop:
                        if act.talk is None:
                            self._failed(act, RuntimeError(f"{act} raised StopIteration"))
                            break
                        said, ended = stop.value, True
                        if act.frames:
                            act.talk = talk = act.frames.pop()
                            if talk is not None:
                                act.send, ended = talk.send, False
                    except Exception as failure:
                        self._failed(act, failure)
                        break
                    value = None
                    kind = type(said)
                    if kind is str:
                        ink = act.ink or self._ink(act)
                        seal = (self.now(), self._count(), ink)
                        said = Message(
                            said, None, None, None, None, None, NOTHING, None, None, seal
                        )
                        named = False
                    elif said is None:
                        if ended:
                            self._ended(act)
                            break
                        continue
                    elif said is PENDING:
                        self._hold(act)
                        while self.settling is not None:
                            yield None
                        break
                    elif isinstance(said, Message):
                        if said.seal is None:
                            named = (said._intent or said._action) is not None
                            if (named and said.intent in QUESTIONS) or said._to is not None:
                                wait = self._addressed(act, said)
                                if wait is not None:
                                    said = wait
                            if said is not None and not isinstance(said, Wait):
                                ink = act.ink or self._ink(act)
                                self._freeze(said)
                                force_setattr(said, "seal", (self.now(), self._count(), ink))
                        else:
                            named = False
                            if said.sender is node:
                                said = self._again(act, said)
                    if isinstance(said, Wait):
                        mark = len(stack)
                        try:
                            value = said.start(self, act, act)
                        except Exception as failure:
                            if ended:
                                self._failed(act, failure)
                                break
                            error = failure
                            continue
                        finally:
                            if len(stack) > mark + 1:  # what it set going runs in that order
                                stack[mark:] = stack[mark:][::-1]
                        if ended:
                            act.talk = None
                        if value is WAITING:
                            act.wait = said
                            if self.observers:
                                self.observe("waits", node, act.message, said)
                            break
                        if seen:
                            act.value = value
                            stack.append(act)
                            break
                        continue
                    if not isinstance(said, Message):
                        if kind is Delta:
                            if self._delta(act, said):
                                yield said
                            if ended:
                                self._ended(act)
                                break
                        else:
                            error = self._expand(act, said, ended)
                            if error is not None and ended:
                                self._failed(act, error)
                                break
                        continue
                    # a reply
                    if self.observers or seen is not None:
                        self.observe("said", node, said)
                    hearer = act.hearer
                    if hearer is OUTSIDE:
                        yield said
                        if act.state == CLOSED:
                            break
                        if node._undo:
                            node._undo.clear()
                    elif hearer is None:
                        self._unheard(act, said, named)
                    elif not hearer.hear(self, act, said):
                        if ended:
                            act.talk = None
                        break
                    if ended:
                        self._ended(act)
                        break
                    if seen:
                        stack.append(act)
                        break
                if act.busy and said is not PENDING:
                    self.release(act)
            self.reason = self.reason or Reason.DONE
            if self.observers:
                self.observe("over", None, None, str(self.reason))
        except Exhausted as end:
            self.close(Reason.LIMIT, str(end))
            raise LimitReached(str(end)) from None
        except GeneratorExit:
            self.close()
            raise
        except Deadlock as error:
            self.close(Reason.DEADLOCK, str(error))
            raise
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self.close(Reason.CANCELLED if stopped else Reason.FAILED, repr(error))
            raise

    # -- what waits call -----------------------------------------------------------------------

    def deliver(
        self,
        node: Any,
        message: Any,
        parent: Any,
        branch: int,
        hearer: Any,
        place: int,
        asker: Any,
        handler: Any = None,
    ) -> Activation:
        """Let a node handle a message next, on behalf of `asker`."""
        if handler is None:
            handler = self._handler(node, message)
        depth = 0 if asker is None else asker.depth + 1
        act = Activation(node, message, parent, branch, hearer, place, asker, handler, depth)
        if depth > self.limits.chain // 2:
            self._check_chain(act)
        young = self.young
        if not young or young[-1] is not message:
            young.append(message)
            if len(young) > WINDOW:
                self._age()
        self.stack.append(act)
        return act

    def address(self, act: Activation, node: Any, words: Any, intent: Any, default: str) -> Message:
        """The message that a question or a tell sends: fresh words, or a fresh copy of a message."""
        if type(words) is str:
            seal = (self.now(), self._count(), self.ink)
            message = Message(
                words,
                intent or default,
                act.node,
                node,
                act.message,
                None,
                NOTHING,
                None,
                None,
                seal,
            )
        elif isinstance(words, Message):
            if intent is OUTSIDE:  # yielded itself, not a copy
                message = words
                ink = act.ink or self._ink(act)
            else:
                message = words.but(
                    intent=intent or words.intent or default,
                    sender=act.node,
                    to=node,
                    reply_to=act.message,
                )
                ink = self.ink
            self._freeze(message)
            force_setattr(message, "seal", (self.now(), self._count(), ink))
        else:
            raise Misused(f"expected words or a Message for {node}, but got {words!r:.80}")
        if self.observers or self.seen is not None:
            self.observe("said", act.node, message)
        return message

    def tell(self, node: Any, message: Message, wait: Any) -> Any:
        """Put a message into a node's mailbox; `WAITING` when that is full."""
        act = Activation(node, message, None, 0, None, 0, None, self._handler(node, message))
        if not isinstance(self.told, deque):
            self.told, self.queued = deque(), {}
        self.told.append(act)
        waiting = self.queued[id(node)] = self.queued.get(id(node), 0) + 1
        if waiting <= self.limits.mailbox or wait is None:
            return None
        act.others = [wait]
        return WAITING

    def relayed(
        self, act: Activation, nodes: Any, message: Any, intent: Any
    ) -> tuple[Message, list[Any]]:
        """What is relayed, and to whom: not to its author, nor to those who don't understand."""
        if isinstance(message, str):
            message = self.address(act, act.node, message, intent, "chat")
        if intent is not None and message.intent != intent:
            own = {**message.metadata, "intent": message.intent}
            message = message.but(intent=intent, metadata=MappingProxyType(own))
            ink = Ink(None, None, None, intent, self.salt)
            force_setattr(message, "seal", (self.now(), self._count(), ink))
        word, author = message.intent, message.sender
        if isinstance(author, Address):
            nodes = [node for node in nodes if node != author]
        fit = [node for node in nodes if node is not author and node.understands(word)]
        if not fit and nodes and not isinstance(act.parent, Stream):
            others = [node for node in nodes if node is not author]
            if others and act.asker is None:
                raise UnknownIntent(
                    f"nobody in {act.node} understands {word!r}; "
                    + "; ".join(f"{node} understands {_listed(node)}" for node in others[:5])
                )
        return message, fit

    def wake(self, due: int, wait: Any) -> None:
        """Call `wait.due` when it is that late."""
        if not self.timers:
            self.timers = []
        heappush(self.timers, (due, self._count(), wait))

    def expect(self, wait: Any) -> Any:
        """The news under this key, now or when it comes."""
        if kept := (self.news_kept or {}).get(wait.key):
            return kept.popleft()
        self.expected = self.expected or {}
        self.expected.setdefault(wait.key, deque()).append(wait)
        return WAITING

    def abandon(self, wait: Any) -> None:
        """Nobody waits for this any longer: cancel what runs on its behalf."""
        for act in [*wait.children()]:
            self.cancel(act)
        wait.drop(self)

    def cancel(self, act: Activation, errors: list[BaseException] | None = None) -> None:
        """Close an activation and all that run on its behalf, the innermost first."""
        family, todo = [], [act]
        while todo:
            one = todo.pop()
            if one.state != CLOSED:
                family.append(one)
                todo += [child for wait in one.waits() for child in wait.children()]
        failed: list[BaseException] = [] if errors is None else errors
        for one in reversed(family):
            begun, one.state = one.state == OPEN, CLOSED
            for wait in one.waits():
                wait.drop(self)
                if not wait.children():
                    self.dropped = [*self.dropped, wait]
            if begun and one.talk is not None:
                for talk in (one.talk, *(one.frames or ())):
                    try:
                        if talk is not None:
                            talk.close()
                    except Exception as error:
                        failed.append(error)
            if one.busy:
                self.release(one)
            self.roots.pop(id(one), None)
            if self.observers:
                self.observe("ended", one.node, one.message, "cancelled")
        if failed and errors is None:
            raise failed[0]

    def promote(self, mark: int) -> None:
        """What stands on the stack from here on came from outside: it is ready, after the others."""
        if len(self.stack) > mark:
            if not isinstance(self.ready, deque):
                self.ready = deque()
            self.ready.extend(self.stack[mark:])
            del self.stack[mark:]

    def cleanup_failed(self, error: BaseException) -> None:
        """A handler that was cancelled raised while it cleaned up: said, for nobody waits."""
        warnings.warn(f"a cancelled handler failed to clean up: {error!r}", RuntimeWarning, 2)

    # -- what a driver reads -------------------------------------------------------------------

    @property
    def next_due(self) -> int | None:
        """When the next timer is due, in ns since 1970; None if there is none."""
        while self.timers and self.timers[0][2].state != BEGUN:
            heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def observe(self, kind: str, node: Any, message: Any, detail: Any = None) -> None:
        """Let the observers see what happened; an observer that fails harms nobody else."""
        if self.seen is not None and kind == "said":
            self.seen.append(message)
        if self.observers:
            event = Event(kind, node, message, detail)
            for observer in self.observers:
                try:
                    observer(event)
                except Exception as error:
                    warnings.warn(f"observer {observer} failed: {error!r}", RuntimeWarning, 2)

    def bury(self, message: Message, reason: str) -> None:
        """Keep a message that nobody could or would handle, among the last thousand of them."""
        if not self.dead:
            self.dead = deque(maxlen=1000)
        self.dead.append(DeadLetter(message, reason))
        if self.observers:
            self.observe("dead", None, message, reason)

    # -- inside --------------------------------------------------------------------------------

    def _handler(self, node: Any, message: Any) -> Any:
        cls = type(node)
        try:
            handler = cls.__receive__ or cls.__handlers__.get(message._intent or message.intent)
        except AttributeError:
            if isinstance(node, Address):
                raise Unreachable(
                    f"{node} lives elsewhere, and nothing here reaches it; a driver that"
                    " connects processes does"
                ) from None
            raise NotANode(f"expected a node to hear {message!r}, but got {node!r:.80}") from None
        if handler is None:
            raise UnknownIntent(
                f"{node} does not understand {message.intent!r}; it understands {_listed(node)}"
            )
        if handler[0] is GUARDED["be"] and message.intent == "be":
            sender = message.sender
            edge = getattr(sender, "edges", {}).get(node.id) if sender is not None else None
            if edge is None or "be" not in (edge.metadata.get("may") or ()):
                raise NotPermitted(
                    f"{sender or 'the caller'} may not change what {node} is: that takes an edge,"
                    f" sender.link(node, may={{'be'}}), or a `be` of its own in {cls.__name__}"
                )
        return handler

    def _count(self) -> int:
        number: int = self.serial()
        if number > self.limits.messages:
            raise Exhausted(
                f"this conversation was ended after {self.limits.messages:,} messages;"
                " to allow more: limits=Limits(messages=...)"
            )
        return number

    def _ink(self, act: Activation) -> Ink:
        message = act.message
        intent = "chat" if message.intent == "chat" else "inform"
        act.ink = ink = Ink(act.node, message.sender, message, intent, self.salt)
        return ink

    def _freeze(self, message: Any) -> None:
        if type(message.metadata) is not MappingProxyType:
            force_setattr(message, "metadata", MappingProxyType({**message.metadata}))

    def _again(self, act: Activation, said: Message) -> Message:
        """Said once more by its author: a copy with an id of its own."""
        again = said.but()
        force_setattr(again, "seal", (self.now(), self._count(), act.ink or self._ink(act)))
        return again

    def _addressed(self, act: Activation, said: Any) -> Wait | None:
        """The wait that an addressed message, or a question, stands for; None if it is a reply."""
        asker = act.message.sender
        to = said._to
        if said.intent not in QUESTIONS:
            if to is asker or to == asker or said._reply_to is act.message:
                return None
            return Tell(node=to, words=said, intent=OUTSIDE)
        if to is not None or (asker is not None and not getattr(act.hearer, "table", False)):
            return Ask(node=to if to is not None else asker, words=said, intent=OUTSIDE)
        ink = act.ink or self._ink(act)
        self._freeze(said)
        force_setattr(said, "seal", (self.now(), self._count(), ink))
        if self.observers or self.seen is not None:
            self.observe("said", act.node, said)
        if getattr(act.hearer, "table", False):
            question = Question(message=said)
            self.questions = self.questions or {}
            self.questions[id(said)] = question
            return question
        if self.answerer is not None:
            return Question(message=said, answerer=self.answerer)
        return Unanswerable(message=said)

    def _unheard(self, act: Activation, said: Message, named: bool) -> None:
        """A reply that nobody waits for: news for the teller, or an acknowledgement."""
        teller = act.message.sender
        if not named or teller is None:
            return
        if not isinstance(teller, Address) and teller.understands(said.intent):
            self.tell(teller, said, None)
        else:
            self.bury(said, f"{teller} does not understand {said.intent!r}")

    def _delta(self, act: Activation, delta: Delta) -> bool:
        """A piece of a message: for observers, and for the hearer if it asked for pieces."""
        delta.sender, delta.reply_to = act.node, act.message
        if self.observers:
            self.observe("delta", act.node, delta)
        if act.hearer is OUTSIDE:
            return self.deltas
        if getattr(act.hearer, "deltas", False) and act.hearer.hear(self, act, delta) is False:
            act.hearer.parked.remove(act)
        return False

    def _expand(self, act: Activation, said: Any, ended: bool) -> BaseException | None:
        """Say the items of a list one by one, then go on; an error for what cannot be said."""
        if type(said) in (list, tuple):
            talk: Any = (item for item in said)
        elif isinstance(said, GeneratorType):
            talk = said
        elif hasattr(said, "__await__") or hasattr(said, "asend"):
            kind = COROUTINE if hasattr(said, "__await__") else ASYNC_GENERATOR
            if self.start_task is not None and ended:
                talk = self.start_task(self, act, said, kind)
            else:
                return Misused(f"{_line(act)}: yield waits, not coroutines; await {said!r}, or call()")
        else:
            return Misused(
                f"{_line(act)} said {said!r:.80}; a handler says a str, a Message, a wait such as"
                " peer.ask(...), or a list of those"
            )
        act.frames = act.frames or []
        act.frames.append(None if ended else act.talk)
        act.talk, act.send = talk, talk.send
        return None

    def _ended(self, act: Activation) -> None:
        act.state = CLOSED
        if act.others:
            for wait in act.waits():
                self.abandon(wait)
        if self.deep and act.depth > self.limits.chain // 2:
            self.deep[id(act.node), act.handler[0]] -= 1
        if self.observers:
            self.observe("ended", act.node, act.message)
        if act.parent is None:
            self.roots.pop(id(act), None)
        else:
            act.parent.ended(self, act)

    def _failed(self, act: Activation, error: BaseException) -> None:
        """A handler raised: undo this turn's assignments; the error goes to whoever waits."""
        act.state = CLOSED
        undo = act.node._undo
        if undo:
            act.node._restore(undo)
        for wait in act.waits():
            self.abandon(wait)
        if self.observers:
            self.observe("failed", act.node, act.message, error)
        if act.busy:
            self.release(act)
        if act.parent is None:
            self.roots.pop(id(act), None)
            raise error
        act.parent.failed(self, act, error)

    def _next_told(self) -> Activation:
        act: Activation = self.told.popleft()
        key = id(act.node)
        self.queued[key] -= 1
        if not self.queued[key]:
            del self.queued[key]
        for wait in act.others or ():
            self._input(wait.due)
        act.others = None
        self.roots[id(act)] = act
        young = self.young
        young.append(act.message)
        if len(young) > WINDOW:
            self._age()
        return act

    def _age(self) -> None:
        """The older half of the window lets go of what it answered."""
        for message in self.old:
            cut(message)
        self.old, self.young = self.young, []

    def _input(self, put: Callable[..., None], *args: Any) -> None:
        """Something happened outside: whoever can go on now is ready, after those before it."""
        mark = len(self.stack)
        put(self, *args)
        self.promote(mark)

    def _outside_is_busy(self) -> bool:
        """Can anything still come from outside? If not, and somebody waits: `Deadlock`."""
        if self.calls or self.under_way or self.next_due is not None:
            return True
        if self.roots:
            stuck = [f"{a} waits for {w}" for a in self._everybody() for w in a.waits()]
            raise Deadlock("nobody can go on: " + "; ".join(stuck[:10]))
        return False

    def _everybody(self) -> Iterable[Activation]:
        todo = [*self.roots.values()]
        while todo:
            act = todo.pop()
            if act.state != CLOSED:
                yield act
                todo += [child for wait in act.waits() for child in wait.children()]

    def _check_chain(self, act: Activation) -> None:
        """Refuse a chain of askers that holds one node and handler too often."""
        most = self.limits.chain
        self.deep = {} if self.deep is None else self.deep
        key = (id(act.node), act.handler[0])
        self.deep[key] = self.deep.get(key, 0) + 1
        if self.deep[key] < most // 2:
            return
        chain = []
        one: Any = act
        while one is not None:
            chain.append(one)
            one = one.asker
        same = sum(a.node is act.node and a.handler[0] is act.handler[0] for a in chain)
        if same > most:
            names = " <- ".join(str(a) for a in chain[:6])
            raise Deadlock(
                f"{act} stands {same} times in one chain of askers: {names} <- ...;"
                " to allow more: limits=Limits(chain=...)"
            )

    # -- nodes held by tasks under way ---------------------------------------------------------

    def _hold(self, act: Activation) -> None:
        if not act.busy and type(act.node).concurrency is not None and not act.others:
            act.busy = True
            self.held = {} if self.held is None else self.held
            self.held[id(act.node)] = self.held.get(id(act.node), 0) + 1

    def _queues(self, act: Activation) -> bool:
        """Must this turn wait because others hold its node?"""
        most = type(act.node).concurrency
        if act.busy or most is None or self.held.get(id(act.node), 0) < most:
            return False
        self.mail = {} if self.mail is None else self.mail
        queue = self.mail.setdefault(id(act.node), [])
        first = sum(other.state == OPEN for other in queue)
        queue.insert(first if act.state == OPEN else len(queue), act)  # answers go first
        return True

    def release(self, act: Activation) -> None:
        """Let others in at the node of a task that waits."""
        act.busy = False
        key = id(act.node)
        self.held[key] -= 1
        if not self.held[key]:
            del self.held[key]
        if self.mail and (queue := self.mail.get(key)):
            if not isinstance(self.ready, deque):
                self.ready = deque()
            self.ready.append(queue.pop(0))
            if not queue:
                del self.mail[key]


class Unanswerable(Wait, kw_only=True):
    """A question that reached the outside, where nobody can answer."""

    message: Any

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        raise NoAnswer(
            f"{act.node} asks {self.message.content!r:.80}, and nobody outside can answer; give the"
            " conversation an answer=function, or the message a sender who can be asked"
        )


GUARDED: dict[str, Any] = {"be": None}
"""The handlers of `Node` itself that need a permission; filled in where `Node` is defined."""

LOOPS.add(Scheduler.run.__code__)


def _listed(node: Any) -> str:
    return ", ".join(node.intents) or "nothing"


def _line(act: Activation) -> str:
    """The line of a handler's code that is being run, for an error that teaches."""
    function = act.handler[0]
    code = getattr(function, "__code__", None)
    talk: Any = act.talk
    frame = next(
        (f for n in ("gi_frame", "cr_frame", "ag_frame") if (f := getattr(talk, n, None))), None
    )
    line = frame.f_lineno if frame else code.co_firstlineno if code else 0
    where = f"{code.co_filename}:{line}" if code else ""
    return f"{act} ({where})"
