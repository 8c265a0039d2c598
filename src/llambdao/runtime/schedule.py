"""`@every`: methods that a runtime calls on a schedule, as messages to the node itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from datetime import UTC, datetime, tzinfo
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, overload
from zoneinfo import ZoneInfo

from msgspec import Struct

from llambdao.kernel.errors import Misused
from llambdao.kernel.events import DeadLetter
from llambdao.kernel.message import Ink, Message, sign
from llambdao.kernel.node import Node, intent

if TYPE_CHECKING:
    from llambdao.runtime.conversation import Conversation
    from llambdao.runtime.runtime import Runtime

__all__ = ["Schedule", "Schedules", "every"]

F = TypeVar("F", bound=Callable[..., Any])

SECOND = 1_000_000_000
"""In ns, as all times here."""

BACK = 3 * 3600 * SECOND
"""A clock set back by more was wrong before; by less, what has been done is not done again."""


@overload
def every(
    cron: str,
    /,
    *,
    tz: str | tzinfo = ...,
    at_once: bool = ...,
    overlap: bool = ...,
) -> Callable[[F], F]: ...


@overload
def every(
    *,
    seconds: float = ...,
    minutes: float = ...,
    hours: float = ...,
    days: float = ...,
    at_once: bool = ...,
    overlap: bool = ...,
) -> Callable[[F], F]: ...


def every(
    cron: str | None = None,
    /,
    *,
    tz: str | tzinfo | None = None,
    seconds: float = 0,
    minutes: float = 0,
    hours: float = 0,
    days: float = 0,
    at_once: bool = False,
    overlap: bool = False,
) -> Callable[[F], F]:
    """Mark a method that a runtime calls again and again, as a message to the node itself.

    Either every so many `seconds`, `minutes`, `hours` or `days` (of 24 hours; added up) from the
    start of the runtime on, whatever the clock on the wall does; or by the clock on the wall, at
    the times of a cron text in the time zone `tz` (UTC unless given):
    `@every("0 9 * * mon-fri", tz="Europe/Berlin")`. That takes `pip install 'llambdao[runtime]'`.

    The method is a handler of its own intent, as if marked `@intent`; `message.content` is the time
    that was due (ISO 8601), `message.timestamp` the real one. Nobody waits for what it says; what
    it raises goes to the supervisor.

    * `at_once`: also when the runtime starts, or the node joins it.
    * `overlap`: also while the last one is still under way. Otherwise that time is skipped, and
      counted; so it is when the mailbox of the node is full (unless that drops messages).

    Times that were missed, because the machine slept or its clock was set forward, are made up for
    once. Cron times keep to their zone when its clocks change, as with Debian's cron: a time within
    the hour that is left out comes right after it, a time within the hour that comes twice comes
    once, the first time; texts whose minute or hour begins with a star go on through both.

    Several may stand above one method, and hold in subclasses that override it.

    >>> from llambdao.runtime import Runtime
    >>> from llambdao.testing import VirtualClock
    >>> class Reporter(Node):
    ...     @every(minutes=10)
    ...     def report(self, message):
    ...         print(message.content)
    ...
    ...     def chat(self, message):
    ...         yield sleep(25 * 60)
    ...         yield "enough"
    >>> async def main():
    ...     reporter = Reporter(name="Ann")
    ...     async with Runtime(reporter, clock=VirtualClock()) as runtime:
    ...         await runtime.ask(reporter, "go")
    ...         print(runtime.schedules)
    >>> import asyncio
    >>> from llambdao import sleep
    >>> asyncio.run(main())
    2030-01-01T00:10:00+00:00
    2030-01-01T00:20:00+00:00
    [<Ann.report every 600 s: 2 begun, 0 skipped, next 2030-01-01T00:30:00+00:00>]
    """
    total = _seconds(cron, tz, seconds, minutes, hours, days)
    times = Interval(total) if cron is None else _cron(cron, "UTC" if tz is None else tz)
    plan = Plan(times, at_once, overlap)

    def mark(function: F) -> F:
        method: object = function
        if not isinstance(method, FunctionType):
            raise Misused(f"@every marks a method of a node, but got {function!r:.80}")
        vars(method)["__every__"] = (plan, *vars(method).get("__every__", ()))
        return intent(function)

    return mark


# -- when something is due -------------------------------------------------------------------------


class Interval(Struct, frozen=True):
    """Times that are so many ns apart, by a steady clock."""

    step: int

    def first(self, now: int) -> int:
        """The first time after now."""
        return now + self.step

    def following(self, due: int, now: int) -> int:
        """The first one after now, if this was the last one due."""
        return due + self.step * ((now - due) // self.step + 1)

    def moved(self, due: int, jump: int, now: int) -> int:
        """The next time, after the clock on the wall has jumped by so many ns."""
        return due + jump

    def text(self, due: int) -> str:
        """A time as ISO 8601."""
        whole, part = divmod(due, SECOND)
        return datetime.fromtimestamp(whole, UTC).replace(microsecond=part // 1000).isoformat()

    def __str__(self) -> str:
        return f"every {self.step / SECOND:g} s"


class Cron(Struct, frozen=True):
    """The times of a cron text, by the clock on the wall in a time zone."""

    words: str
    zone: tzinfo
    source: Any  # CronSim

    def first(self, now: int) -> int:
        """The first time after now."""
        moment = datetime.fromtimestamp(now // SECOND, self.zone)
        for due in self.source(self.words, moment):
            # Asked within an hour that comes twice, it may begin with times of the first one.
            ns: int = round(due.timestamp()) * SECOND
            if ns > now:
                return ns
        raise Misused(f"@every({self.words!r}) is never due; does that month have such a day?")

    def following(self, due: int, now: int) -> int:
        """The first one after now."""
        return self.first(now)

    def moved(self, due: int, jump: int, now: int) -> int:
        """The next time, after the clock on the wall has jumped by so many ns.

        Set back by up to three hours, the times of day that have been do not come again; those that
        come every few minutes or every hour go on.
        """
        minute, hour = self.words.split()[:2]
        goes_on = minute.startswith("*") or hour.startswith("*")
        return self.first(now) if jump < -BACK or (jump < 0 and goes_on) else due

    def text(self, due: int) -> str:
        """A time as ISO 8601, in the zone."""
        return datetime.fromtimestamp(due // SECOND, self.zone).isoformat()

    def __str__(self) -> str:
        return f"every {self.words!r} in {self.zone}"


class Plan(Struct, frozen=True):
    """What `@every` says of a method."""

    times: Interval | Cron
    at_once: bool
    overlap: bool


def _seconds(cron: Any, tz: Any, *amounts: Any) -> int:
    """The interval in ns; refuses what `every` cannot mean, with a lesson."""
    usual = "@every(seconds=60), or @every('0 9 * * mon-fri', tz='Europe/Berlin')"
    if cron is not None:
        if not isinstance(cron, str) or any(amounts):
            raise Misused(f"@every takes an interval or a cron text: {usual}; got {cron!r:.80}")
        return 0
    if tz is not None:
        raise Misused("a time zone is for cron texts; an interval is the same in all of them")
    for amount in amounts:
        if not isinstance(amount, int | float):
            raise Misused(f"@every takes numbers: {usual}; got {amount!r:.80}")
    total: float = sum(a * unit for a, unit in zip(amounts, (1, 60, 3600, 86400), strict=True))
    if not 1 <= total * SECOND < 10**18:
        raise Misused(f"@every wants more than 0 seconds, and less than 30 years: {usual}")
    return round(total * SECOND)


def _cron(words: str, tz: str | tzinfo) -> Cron:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise Misused(
            "cron texts need a library that is not installed: pip install 'llambdao[runtime]'"
        ) from error
    cron = Cron(words, _zone(tz), CronSim)
    fields = len(words.split())
    if fields != 5:
        raise Misused(f"@every({words!r:.80}) has {fields} fields; {FORM}")
    try:
        cron.first(0)
    except CronSimError as error:
        raise Misused(f"@every({words!r:.80}): {error}; {FORM}") from error
    return cron


FORM = "a cron text has five, minute hour day month weekday, such as '0 9 * * mon-fri'"


def _zone(tz: str | tzinfo) -> tzinfo:
    if isinstance(tz, tzinfo):
        return tz
    if tz == "UTC":
        return UTC
    try:
        return ZoneInfo(tz)
    except (LookupError, ValueError, OSError, TypeError) as error:
        raise Misused(
            f"no time zone {tz!r:.80} is known here; one is named as 'Europe/Berlin' is (on a"
            " system without any: pip install tzdata)"
        ) from error


# -- what a runtime keeps of it --------------------------------------------------------------------


class Schedule:
    """A method of a node that is due again and again, and what has become of that.

    `begun` counts the times it was called, `skipped` those left out because the last one was still
    under way, or the mailbox full.
    """

    def __init__(self, schedules: Schedules, node: Node, word: str, plan: Plan) -> None:
        self.node, self.intent = node, word
        self.begun = self.skipped = 0
        self._schedules, self._plan = schedules, plan
        self._last: Conversation | None = None
        self._due = 0

    @property
    def due(self) -> str:
        """When it is due next: ISO 8601, in UTC or the zone of its cron text."""
        return self._plan.times.text(self._due)

    @property
    def is_over(self) -> bool:
        """Was its node stopped, or its runtime?"""
        runtime = self._schedules.runtime
        box = runtime._mailboxes.boxes.get(id(self.node))
        return self._schedules.are_over or (box is not None and box.stopped is not None)

    def start(self) -> None:
        """Begin."""
        runtime, times = self._schedules.runtime, self._plan.times
        now = runtime.clock.now()
        self._due = times.first(now)
        runtime._timers.at(self._due, self)
        if self._plan.at_once:
            self._begin(now)

    def tick(self, now: int) -> None:
        """It is due."""
        if not self.is_over:
            due, self._due = self._due, self._plan.times.following(self._due, now)
            self._schedules.runtime._timers.at(self._due, self)
            self._begin(due)

    def jumped(self, jump: int) -> int | None:
        """The clock on the wall has jumped by so many ns: when it is due now."""
        if self.is_over:
            return None
        self._due = self._plan.times.moved(self._due, jump, self._schedules.runtime.clock.now())
        return self._due

    def _begin(self, due: int) -> None:
        """Send the node its message, unless it is still busy with the last one."""
        if self._is_busy() or self._is_full():
            self.skipped += 1
            return
        self.begun += 1
        runtime = self._schedules.runtime
        message = Message(self._plan.times.text(due), self.intent, to=self.node)
        try:
            self._last = self._schedules.tell(self.node, message)
        except Exception as error:  # noqa: BLE001  # such as no budget; later times may do better
            if message.ink is None:
                ink = Ink(None, self.node, None, self.intent, runtime.clock.salt())
                sign(message, runtime.clock.now(), 1, ink)
            runtime._bury(DeadLetter(message, f"not begun: {error!r:.200}", self.node, error))

    def _is_busy(self) -> bool:
        return not self._plan.overlap and self._last is not None and not self._last.is_over

    def _is_full(self) -> bool:
        """Would a message not be taken, and none dropped for it?"""
        runtime = self._schedules.runtime
        room, box = runtime._room(self.node), runtime._mailboxes.boxes.get(id(self.node))
        if box is None or room.when_full not in ("wait", "raise"):
            return False
        return len(box.arrived) >= room.size

    def __repr__(self) -> str:
        ahead = "over" if self.is_over else f"next {self.due}"
        counts = f"{self.begun} begun, {self.skipped} skipped"
        return f"<{self.node}.{self.intent} {self._plan.times}: {counts}, {ahead}>"


class Schedules:
    """All that is due again and again in a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.context: Context | None = None  # that in which the runtime was started
        self.are_over = False
        self._by_node: dict[int, list[Schedule]] = {}

    @property
    def under_way(self) -> list[Schedule]:
        """Those that are still due."""
        return [one for some in self._by_node.values() for one in some if not one.is_over]

    def start(self, nodes: Iterable[Node]) -> None:
        """Begin with what is marked in the classes of these nodes, unless that was done before."""
        self.context = copy_context() if self.context is None else self.context
        for node in nodes:
            if (plans := _plans(type(node))) and id(node) not in self._by_node:
                some = [Schedule(self, node, word, plan) for word, plan in plans]
                self._by_node[id(node)] = some
                for schedule in some:
                    schedule.start()

    def tell(self, node: Node, message: Message) -> Conversation:
        """As from outside: not in the context of whoever happened to set the timer."""
        assert self.context is not None, "the runtime has started"
        conversation = self.runtime._conversation(node, message, {}, None)
        self.context.copy().run(self.runtime._open, conversation)
        return conversation

    def forget(self, node: Node) -> None:
        """It has left: nothing of it is due any longer."""
        for _ in self._by_node.pop(id(node), ()):
            self.runtime._timers.forget()

    def stop(self) -> None:
        """Nothing is due any longer."""
        self.are_over = True


@cache
def _plans(kind: type[Node]) -> list[tuple[str, Plan]]:
    """What is marked in a class: the nearest mark of each handler holds."""
    found: list[tuple[str, Plan]] = []
    for word in kind.__handlers__:
        marks = (getattr(vars(base).get(word), "__every__", ()) for base in kind.__mro__)
        found += [(word, plan) for plan in next(filter(None, marks), ())]
    return found
