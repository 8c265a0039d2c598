"""The watchdog of a runtime: finds out when the event loop is blocked, and by whose line."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llambdao.kernel.errors import Misused
from llambdao.kernel.events import Event
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.tasks import Talk
from llambdao.kernel.turn import IN_TASK, LOOPS

if TYPE_CHECKING:
    from llambdao.runtime.runtime import Runtime

__all__ = ["Watchdog"]

LOG = logging.getLogger("llambdao")

AGAIN = 10
"""How many times longer a stall must last to be named once more."""

LESSON = (
    "nobody else can go on meanwhile; slow work belongs in a thread: `yield call(function, ...)`,"
    " or @blocking above a plain handler"
)

HANDLERS = frozenset({Talk.run.__code__})
"""What drives handlers in tasks; those in `LOOPS` drive all others."""

OBSERVERS = frozenset({Scheduler.observe.__code__})
"""What calls observers, in the midst of a handler's turn."""

LOOP = frozenset({"asyncio.base_events", "asyncio.events", "asyncio.runners"})
"""The modules in which an event loop runs: what they call is somebody's."""

OWN = ("asyncio", "concurrent", "llambdao", "selectors", "threading")
"""The packages that are nobody's own code."""


class Watchdog:
    """A thread that posts a beat to the event loop, and sees whether it comes back in time.

    If not, it looks whose line the loop's thread is at. The line is logged at once, as an error of
    the logger "llambdao", and again after ten times the time; when the loop is free observers get a
    `stalled` event, and there is a RuntimeWarning. The loop itself does no more than answer a beat
    every half of `seconds`, so what blocks it for 1.5 times `seconds` is found for certain.
    """

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        given: Any = seconds
        if not isinstance(given, int | float) or not given > 0:
            raise Misused(
                "watchdog is a number of seconds, or None if nobody should watch; got"
                f" {seconds!r:.80}"
            )
        self.seconds = seconds
        self._runtime = runtime
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_over = False
        # Of the beat that was posted last, guarded by the condition:
        self._beat = 0
        self._posted = 0.0
        self._is_back = True
        self._culprit: Culprit | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch the loop that runs in this thread."""
        self._thread = threading.Thread(
            target=self._run,
            args=(loop, threading.get_ident()),
            name="llambdao watchdog",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; called by the loop, which is free if it can do that."""
        if self._thread is not None:
            self._answer(self._beat)
            with self._news:
                self._is_over = True
                self._news.notify()
            self._thread.join(1.0)

    # -- in the thread of its own --------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        while not self._is_over:
            with self._news:
                self._beat += 1
                self._is_back, self._culprit = False, None
                self._posted = time.monotonic()
            try:
                loop.call_soon_threadsafe(self._answer, self._beat)
            except RuntimeError:  # the loop is closed
                return
            self._await_answer(loop, ident)
            with self._news:
                self._news.wait_for(lambda: self._is_over, self.seconds / 2)

    def _await_answer(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        """Wait for the beat to come back, and name whoever holds it up."""
        limit = self.seconds
        while not self._came_back(limit):
            culprit = find(loop, ident)
            with self._news:
                if self._is_back or self._is_over:
                    return
                if culprit is None and self._culprit is None:
                    # Nobody blocks it: it sleeps, or this process has not been let run.
                    self._is_over = loop.is_closed()
                    self._posted = time.monotonic()
                    continue
                self._culprit = culprit = culprit or self._culprit
            assert culprit is not None, "one of both was somebody"
            text = "the event loop has been blocked for more than %g s, now by %s; %s"
            LOG.error(text, limit, culprit, LESSON)
            limit *= AGAIN

    def _came_back(self, limit: float) -> bool:
        with self._news:
            return self._news.wait_for(
                lambda: self._is_back or self._is_over, self._posted + limit - time.monotonic()
            )

    # -- in the thread of the loop -------------------------------------------------------------

    def _answer(self, beat: int) -> None:
        """The loop is free."""
        with self._news:
            if beat != self._beat or self._is_back:
                return
            self._is_back = True
            culprit, self._culprit = self._culprit, None
            seconds = time.monotonic() - self._posted
            self._news.notify()
        if culprit is not None:
            self._tell(culprit, seconds)

    def _tell(self, culprit: Culprit, seconds: float) -> None:
        """Who it was, and how long it took."""
        text = f"the event loop was blocked for {seconds:.3g} s, by {culprit}"
        act, scheduler = culprit.act, culprit.scheduler
        if act is None:
            self._runtime._tell_observers(Event("stalled", None, None, text))
        elif scheduler.observers and scheduler.home is not None:
            scheduler.observe("stalled", act.node, act.message, text)
        else:  # a conversation of its own, inside of a handler of ours
            event = Event("stalled", act.node, act.message, text, scheduler.opening)
            self._runtime._tell_observers(event)
        warnings.warn_explicit(text, RuntimeWarning, culprit.file, culprit.line)


# -- whose line it is ------------------------------------------------------------------------------


class Culprit(Struct, frozen=True):
    """Who blocks an event loop: a handler, or the program's own code; and where."""

    who: str
    file: str
    line: int
    act: Any = None
    scheduler: Any = None

    def __str__(self) -> str:
        return f"{self.who} at {self.file}:{self.line}"


def find(loop: asyncio.AbstractEventLoop, ident: int) -> Culprit | None:
    """Who runs in the thread of this loop; None if the loop itself does, or does not run."""
    inner: list[FrameType] = []  # of what was called, the innermost first
    act = scheduler = None
    for frame in _outwards(sys._current_frames().get(ident)):
        if frame.f_code in LOOPS:
            act, scheduler = frame.f_locals.get("act"), frame.f_locals.get("self")
            break
        if frame.f_code in HANDLERS or frame.f_globals.get("__name__") in LOOP:
            if (talk := _talk(frame, loop)) is not None:
                act, scheduler = talk.act, talk.scheduler
            break
        inner.append(frame)
    if not loop.is_running():
        return None
    if act is None or any(frame.f_code in OBSERVERS for frame in inner):
        if (line := _line(inner, None)) is None:
            return None
        code = line.f_code
        return Culprit(f"the program itself ({code.co_name})", code.co_filename, line.f_lineno)
    if (line := _line(inner, inspect.unwrap(act.handler[0], stop=_is_last))) is None:
        return None
    return Culprit(str(act), line.f_code.co_filename, line.f_lineno, act, scheduler)


def _is_last(function: Any) -> bool:
    """Does it wrap something that is not written in Python?"""
    return not hasattr(function.__wrapped__, "__code__")


def _line(inner: list[FrameType], handler: Any) -> FrameType | None:
    """The innermost of these frames that is in the file of the handler, or of the program.

    A handler of our own may call the program's code, as a group chat asks its `until`.
    """
    others = [frame for frame in inner if _package(frame.f_globals) not in OWN]
    written = [frame for frame in others if "site-packages" not in frame.f_code.co_filename]
    somebodys = written or others  # a program may be installed, too
    if handler is not None and (_package(handler.__globals__) not in OWN or not somebodys):
        file = handler.__code__.co_filename
    elif somebodys:
        file = somebodys[-1].f_code.co_filename
    else:
        return None
    found = (frame for frame in inner if frame.f_code.co_filename == file)
    return next(found, somebodys[-1] if somebodys else None)


def _package(names: dict[str, Any]) -> str:
    return str(names.get("__name__")).partition(".")[0]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _talk(frame: FrameType, loop: asyncio.AbstractEventLoop) -> Any:
    """The async handler that is running: the frame's own, or that of the task it runs."""
    if frame.f_code in HANDLERS:
        return frame.f_locals.get("self")
    if asyncio.current_task(loop) is None:
        return None
    context = getattr(frame.f_locals.get("self"), "_context", None)  # of an asyncio.Handle
    return None if context is None else context.get(IN_TASK)
