"""Waits: what a handler yields besides messages, to be sent the answer.

A wait describes what is wanted; the scheduler begins it and takes what it came to.
Every wait has an *owner* that takes its value or its error: the activation that yielded it,
a bigger wait it is part of, or a future that a coroutine awaits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llambdao.kernel.errors import Misused, NoAnswer
from llambdao.kernel.message import Message
from llambdao.kernel.turn import IN_TASK

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = [
    "AllOf",
    "AnyOf",
    "Ask",
    "Call",
    "Expect",
    "Sleep",
    "Tell",
    "Wait",
    "all_of",
    "any_of",
    "call",
    "expect",
    "sleep",
]


class _Waiting:
    """The one value that means: not yet."""

    def __repr__(self) -> str:
        return "WAITING"


WAITING: Any = _Waiting()

ITSELF: Any = object()
"""In place of an intent: the message that was yielded is sent itself, not a copy of it."""

FRESH, BEGUN, OVER = 0, 1, 2
"""The life of a wait: made, begun, and answered or cancelled."""


class Wait(Struct, eq=False, kw_only=True):
    """Something a handler can wait for: `value = yield wait`, or `value = await wait`.

    Waits combine: `a & b` is `all_of(a, b)`, `a | b` is `any_of(a, b)`.
    A wait is yielded once; one that nobody yielded warns, as a coroutine never awaited does.
    """

    owner: Any = None
    branch: int = 0
    state: int = FRESH

    def __and__(self, other: Wait) -> AllOf:
        return all_of(self, other)

    def __or__(self, other: Wait) -> AnyOf:
        return any_of(self, other)

    def __iter__(self) -> Generator[Wait, Any, Any]:  # noqa: PYI058  # it is sent the value
        """Lets `value = yield from wait` mean what `value = yield wait` means."""
        return (yield self)

    def __await__(self) -> Generator[Any, Any, Any]:
        talk = IN_TASK.get()
        if talk is None:
            raise Misused(
                f"{self} was awaited outside of a handler; from outside use"
                " llambdao.ask(node, message), or a Runtime"
            )
        return talk.awaited(self)  # type: ignore[no-any-return]

    def __del__(self) -> None:
        if self.state == FRESH:
            warnings.warn(f"{self} was never yielded: nothing happened", RuntimeWarning, 2)

    # -- what the scheduler calls ------------------------------------------------------------

    def start(self, scheduler: Scheduler, act: Activation, owner: Any, branch: int = 0) -> Any:
        """Begin on behalf of `act`; the value at once if there is one, else `WAITING`."""
        if self.state:
            raise Misused(f"{self} was yielded twice; a wait is for one use, make another")
        self.state = BEGUN
        self.owner = owner
        if branch:
            self.branch = branch
        try:
            value = self.begin(scheduler, act)
        except BaseException:
            self.state = OVER
            raise
        if value is not WAITING:
            self.state = OVER
        return value

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        """Set going what is waited for."""
        raise NotImplementedError

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        """A part came to this value (for a wait without parts: the wait itself did)."""
        if self.state == BEGUN:
            self.state = OVER
            self.owner.take(scheduler, self.branch, value)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        """A part came to this error."""
        if self.state == BEGUN:
            self.state = OVER
            self.owner.fail(scheduler, self.branch, error)

    def children(self) -> Iterable[Activation]:
        """The activations that run on behalf of this wait."""
        return ()

    def drop(self, scheduler: Scheduler) -> None:
        """Nobody waits any longer; the scheduler closes the children."""
        self.state = OVER


class Asking(Wait):
    """A wait that is answered by activations: it hears what they say and learns of their end."""

    def hear(self, scheduler: Scheduler, act: Activation, said: Any) -> bool:
        """A child says something; True if it may go on at once."""
        return True

    def ended(self, scheduler: Scheduler, child: Activation) -> None:
        """A child has said its last."""

    def failed(self, scheduler: Scheduler, child: Activation, error: BaseException) -> None:
        """A child failed, and this is who waits for it."""
        self.fail(scheduler, 0, error)


class Ask(Asking):
    """A question to a node: its value is the last reply, or with `every` the list of them all.

    Silence raises `NoAnswer`, so does time running out; an error in the peer is raised here.
    """

    node: Any
    words: Any
    intent: str | None = None
    every: bool = False
    timeout: float | None = None
    child: Any = None
    answer: Any = None

    def __str__(self) -> str:
        return f"the question {str(text_of(self.words))!r:.60} to {self.node}"

    def start(self, scheduler: Scheduler, act: Activation, owner: Any, branch: int = 0) -> Any:
        if self.state:
            raise Misused(f"{self} was yielded twice; a wait is for one use, make another")
        self.state = BEGUN
        self.owner = owner
        if branch:
            self.branch = branch
        if self.every:
            self.answer = []
        self.child = scheduler.ask(self, act)
        if self.timeout is not None:
            scheduler.wake(scheduler.now() + round(self.timeout * 1e9), self)
        return WAITING

    def hear(self, scheduler: Scheduler, act: Activation, said: Any) -> bool:
        if self.every:
            self.answer.append(said)
        else:
            self.answer = said
        return True

    def ended(self, scheduler: Scheduler, child: Activation) -> None:
        if not self.answer:
            self.fail(scheduler, 0, NoAnswer(f"{self} ended without a word"))
        else:
            self.state = OVER
            self.child = None
            self.owner.take(scheduler, self.branch, self.answer)

    def due(self, scheduler: Scheduler) -> None:
        """Time is up."""
        scheduler.cancel(self.child)
        self.fail(scheduler, 0, NoAnswer(f"no answer to {self} within {self.timeout} seconds"))

    def children(self) -> Iterable[Activation]:
        return (self.child,) if self.child is not None else ()


class Tell(Wait):
    """A message to a node; nobody waits, so its value is None, at once."""

    node: Any
    words: Any
    intent: str | None = None

    def __str__(self) -> str:
        return f"the message {str(text_of(self.words))!r:.60} to {self.node}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        message = scheduler.address(act, self.node, self.words, self.intent, "inform")
        return scheduler.tell(self.node, message, self)

    def due(self, scheduler: Scheduler) -> None:
        """There is room in the mailbox."""
        self.take(scheduler, 0, None)


class Delegate(Asking):
    """What `super().receive(message)` yields: the message goes on to the class above."""

    node: Any
    message: Any
    handler: Any
    child: Any = None

    def __str__(self) -> str:
        return f"what {self.node} receives from its own class"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        self.child = scheduler.delegate(self.handler, self, act)
        return WAITING

    def ended(self, scheduler: Scheduler, child: Activation) -> None:
        self.take(scheduler, 0, None)

    def children(self) -> Iterable[Activation]:
        return (self.child,) if self.child is not None else ()


class ContinueAs(Wait):
    """What `self.continue_as(message)` yields: the handler ends here, and begins anew with that."""

    node: Any
    message: Any

    def __str__(self) -> str:
        return f"the new beginning of {self.node} with {str(text_of(self.message))!r:.60}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        scheduler.continue_as(act, self)
        return WAITING


class Question(Wait):
    """A question that went to the table, or to whoever is outside; somebody will settle it."""

    message: Any
    answerer: Any = None

    def __str__(self) -> str:
        return f"the question {self.message.content!r:.60} of {self.message.sender}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        if self.answerer is not None:
            Call(function=self.answerer, args=(self.message,)).start(scheduler, act, self)
        else:
            act.hearer.hear(scheduler, act, self.message, question=True)
        return WAITING

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        if self.answerer is not None and isinstance(value, str):
            value = Message(value, reply_to=self.message, to=self.message.sender)
        if value is None:
            self.fail(scheduler, 0, NoAnswer(f"nobody had an answer to {self}"))
        else:
            Wait.take(self, scheduler, branch, value)


class Unanswerable(Wait):
    """A question that reached the outside, where nobody can answer."""

    message: Any

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        raise NoAnswer(
            f"{act.node} asks {self.message.content!r:.80}, and nobody outside can answer; give the"
            " conversation an answer=function, or the message a sender who can be asked"
        )


class Settle(Wait):
    """A network settles the question a member put to its table; its own value is None."""

    question: Any
    answer: Any

    def __str__(self) -> str:
        return f"the answer to {self.question}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        if (asked := scheduler.questions.pop(id(self.question), None)) is not None:
            asked.take(scheduler, 0, self.answer)


class Ending(Wait):
    """A network says why it ends, when it is not because all has been said."""

    reason: Any
    detail: str

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        if act.asker is None:
            scheduler.reason, scheduler.detail = self.reason, self.detail


class Sleep(Wait):
    """Time that passes, by the clock of whoever drives: a number of seconds, or until a date."""

    until: Any

    def __str__(self) -> str:
        if isinstance(self.until, int | float):
            return f"the sleep of {self.until} second{'s' * (self.until != 1)}"
        return f"the sleep until {self.until}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        if isinstance(self.until, datetime):
            due = round(self.until.timestamp() * 1e6) * 1000
        else:
            due = scheduler.now() + round(self.until * 1e9)
        scheduler.wake(due, self)
        return WAITING

    def due(self, scheduler: Scheduler) -> None:
        """It is time."""
        self.take(scheduler, 0, None)


class Call(Wait):
    """A function called once, its result remembered: a side effect, or a request to a model."""

    function: Any
    args: tuple[Any, ...] = ()
    options: Any = None
    task: Any = None
    act: Any = None

    def drop(self, scheduler: Scheduler) -> None:
        self.state = OVER
        scheduler.dropped = [*scheduler.dropped, self]

    def __str__(self) -> str:
        return f"the call of {getattr(self.function, '__qualname__', self.function)}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        if scheduler.budget is not None:
            scheduler.budget.charge(calls=1)
        self.act = act
        scheduler.calls = [*scheduler.calls, self]
        return WAITING


class Expect(Wait):
    """News from outside, by a key: its value is what the news was."""

    key: Any

    def __str__(self) -> str:
        return f"the news expected for {self.key!r}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        return scheduler.expect(self)


class Composite(Wait):
    """A wait made of waits."""

    parts: tuple[Any, ...]
    values: Any = None
    left: int = 0

    def children(self) -> Iterable[Activation]:
        return (act for part in self.parts if part.state == BEGUN for act in part.children())

    def others(self, scheduler: Scheduler) -> None:
        """Cancel the parts that are still under way."""
        for part in self.parts:
            if part.state == BEGUN:
                scheduler.abandon(part)
            forgo(part, scheduler)
            part.state = OVER

    def drop(self, scheduler: Scheduler) -> None:
        self.state = OVER
        for part in self.parts:
            part.drop(scheduler)


class AllOf(Composite):
    """Every part begun, in order, before any is waited for; the first failure ends the rest."""

    def __and__(self, other: Wait) -> AllOf:
        self.state = OVER  # its parts go into the bigger one
        return all_of(*self.parts, other)

    def __str__(self) -> str:
        return f"all of {', '.join(map(str, self.parts)):.200}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        self.values = [None] * len(self.parts)
        self.left = len(self.parts)
        try:
            for place, part in enumerate(self.parts):
                value = part.start(scheduler, act, self, place)
                if value is not WAITING:
                    self.values[place] = value
                    self.left -= 1
        except BaseException:
            self.others(scheduler)
            raise
        return WAITING if self.left else self.values

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        self.values[branch] = value
        self.left -= 1
        if not self.left and self.state == BEGUN:
            self.state = OVER
            self.owner.take(scheduler, self.branch, self.values)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        if self.state == BEGUN:
            self.parts[branch].state = OVER
            self.others(scheduler)
            Wait.fail(self, scheduler, branch, error)


class AnyOf(Composite):
    """The value of the first part that succeeds; the rest is cancelled."""

    which: bool = False

    def __or__(self, other: Wait) -> AnyOf:
        self.state = OVER  # its parts go into the bigger one
        return any_of(*self.parts, other, which=self.which)

    def __str__(self) -> str:
        return f"any of {', '.join(map(str, self.parts)):.200}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        self.values = {}
        self.left = len(self.parts)
        for place, part in enumerate(self.parts):
            try:
                value = part.start(scheduler, act, self, place)
            except Exception as error:
                self.values[place] = error
                continue
            if value is not WAITING:
                self.others(scheduler)
                return (place, value) if self.which else value
        if len(self.values) == len(self.parts):
            raise together(list(self.values.values()), str(self))
        return WAITING

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        if self.state == BEGUN:
            self.others(scheduler)
            Wait.take(self, scheduler, branch, (branch, value) if self.which else value)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        self.values[branch] = error
        if self.state == BEGUN and len(self.values) == len(self.parts):
            errors = [self.values[place] for place in sorted(self.values)]
            Wait.fail(self, scheduler, branch, together(errors, str(self)))


def together(errors: list[BaseException], what: str) -> BaseException:
    """One error as it is, several as a group."""
    return (
        errors[0] if len(errors) == 1 else BaseExceptionGroup(f"several failed in {what}", errors)
    )


def forgo(said: Any, scheduler: Scheduler) -> None:
    """A wait was said, or a list of them, and will not begin: that is no mistake of who said it."""
    for one in said if type(said) in (list, tuple) else (said,):
        if isinstance(one, Wait) and one.state == FRESH:
            one.drop(scheduler)


def text_of(words: Any) -> Any:
    return getattr(words, "content", words)


def _parts(waits: tuple[Any, ...]) -> tuple[Wait, ...]:
    for wait in waits:
        if not isinstance(wait, Wait):
            raise Misused(
                f"expected waits such as peer.ask(...) or sleep(1), but got {wait!r:.80};"
                " a list of them wants a star: all_of(*waits)"
            )
    return waits


def all_of(*waits: Wait) -> AllOf:
    """Wait for all: the list of their values, in the order given.

    Every part has begun, in order, before any is waited for. The first failure cancels the rest
    and is raised.

    >>> from llambdao import Node
    >>> class Twice(Node):
    ...     def query(self, message):
    ...         return message.content * 2
    >>> class Both(Node):
    ...     peer: Node
    ...
    ...     def chat(self, message):
    ...         a, b = yield all_of(self.peer.ask("a", intent="query"),
    ...                             self.peer.ask("b", intent="query"))
    ...         return a.content + b.content
    >>> [said.content for said in Both(peer=Twice()).receive("go")]
    ['aabb']
    """
    return AllOf(parts=_parts(waits))


def any_of(*waits: Wait, which: bool = False) -> AnyOf:
    """Wait for the first that succeeds: its value, or with `which` the pair of place and value.

    Failures are passed over unless all fail; what has not finished is cancelled.
    """
    if not waits:
        raise Misused("any_of() of nothing would wait for ever; give it at least one wait")
    return AnyOf(parts=_parts(waits), which=which)


def sleep(until: float | datetime) -> Sleep:
    """Wait for a number of seconds, or until an aware date and time.

    >>> sleep(datetime(2030, 1, 1))
    Traceback (most recent call last):
    ...
    llambdao.kernel.errors.Misused: sleep needs a date with a time zone, such as ...
    """
    if isinstance(until, datetime) and until.tzinfo is None:
        raise Misused(f"sleep needs a date with a time zone, such as {until}+00:00, not {until}")
    return Sleep(until=until)


def call(function: Callable[..., Any], /, *args: Any, **options: Any) -> Call:
    """Call a function, or a coroutine function, once; its result is remembered by a journal.

    The place for side effects and for everything slow: where the driver has threads and tasks,
    nobody else waits meanwhile. An async generator function says `Delta`s meanwhile: they are
    heard as if the handler had said them; the last other thing it yields is the value.
    """
    if not callable(function):
        raise Misused(
            f"call needs a function and its arguments, call(f, x), but got {function!r:.80}"
        )
    return Call(function=function, args=args, options=options)


def expect(key: str) -> Expect:
    """Wait for news from outside, told to the conversation under this key."""
    return Expect(key=key)
