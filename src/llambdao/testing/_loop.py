"""`SimulatedLoop`: an asyncio event loop whose time is virtual, without threads and sockets."""

from __future__ import annotations

import asyncio
import selectors
from asyncio.events import _set_running_loop
from collections.abc import Callable
from typing import Any

from llambdao.kernel.errors import Deadlock, Misused
from llambdao.runtime.clock import Timers
from llambdao.testing._clock import VirtualClock

__all__ = ["LoopTimers", "SimulatedLoop"]

LATER = 4
"""Within how many turns of the loop a function called "in a thread" is done."""

RESOLUTION = 1e-6
"""Timers that are so many seconds apart at most are due together."""


class Jump(selectors.SelectSelector):
    """A selector that never waits: when nothing is ready, it is later at once."""

    def __init__(self, pass_time: Callable[[float | None], None]) -> None:
        super().__init__()
        self.pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing ever comes from outside."""
        self.pass_time(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Nothing here waits for real, and nothing comes from outside: the same again in each run.

    `choose` says whose function called "in a thread" is done next, and when; after so many `turns`
    the loop gives up, and when nobody could ever wake it again: `Deadlock`, which names whom
    `who_waits` finds.
    """

    def __init__(
        self,
        clock: VirtualClock,
        choose: Callable[[int], int],
        who_waits: Callable[[], list[str]],
        turns: int,
    ) -> None:
        self.clock, self.choose, self.who_waits, self.turns = clock, choose, who_waits, turns
        self.begin = clock.time
        self.calls: list[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        super().__init__(Jump(self.pass_time))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """The seconds since the simulation began."""
        return (self.clock.time - self.begin) / 1e9

    def pass_time(self, timeout: float | None) -> None:
        """Another turn; if nobody is ready it is later by so many seconds (None: for ever)."""
        self.turns -= 1
        if self.turns < 0:
            raise Deadlock(
                f"after {self.time():,.0f} virtual seconds the program has used up the turns of its"
                f" loop, simulate(turns=...); {self.waiting()}"
            )
        if timeout is None:
            raise Deadlock(f"nobody can go on: {self.waiting()}")
        if timeout > 0:
            self.clock.time += round(timeout * 1e9)

    def waiting(self) -> str:
        """Who waits, and where."""
        tasks = sorted(_where(task) for task in asyncio.all_tasks(self))
        return "; ".join([*self.who_waits(), *tasks][:10])

    # -- threads -------------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call a function here, a few turns of the loop later: what threads would do."""
        future: asyncio.Future[Any] = self.create_future()
        self.calls.append((future, func, args))
        self.call_soon(self._call_one, self.choose(LATER))
        return future

    def _call_one(self, turns: int) -> None:
        """Do one of the calls under way, after so many turns."""
        if turns:
            self.call_soon(self._call_one, turns - 1)
            return
        future, func, args = self.calls.pop(self.choose(len(self.calls)))
        if future.done():
            return
        _set_running_loop(None)  # as in a thread, where no loop runs
        try:
            future.set_result(func(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            future.set_exception(error)
        finally:
            _set_running_loop(self)


def _where(task: asyncio.Task[Any]) -> str:
    """Where a task waits."""
    name = getattr(task.get_coro(), "__qualname__", "a task")
    stack = task.get_stack()
    place = f" at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else ""
    return f"{name} waits{place}"


OUTSIDE = (
    "add_reader", "add_signal_handler", "add_writer", "connect_accepted_socket",
    "connect_read_pipe", "connect_write_pipe", "create_connection", "create_datagram_endpoint",
    "create_server", "create_unix_connection", "create_unix_server", "getaddrinfo", "getnameinfo",
    "sendfile", "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom",
    "sock_recvfrom_into", "sock_sendall", "sock_sendfile", "sock_sendto", "start_tls",
    "subprocess_exec", "subprocess_shell",
)  # fmt: skip
"""What a loop does with the world outside."""


def _refused(name: str) -> Callable[..., Any]:
    def refused(*args: Any, **options: Any) -> Any:  # noqa: ARG001  # whatever it takes
        raise Misused(
            f"a simulation has no sockets, processes or signals (here: {name}), for what they bring"
            " is never the same again; give the node a fake"
        )

    return refused


for _name in OUTSIDE:
    setattr(SimulatedLoop, _name, _refused(_name))


class LoopTimers(Timers):
    """The timers of a runtime, by the virtual time of its loop: that passes when all is quiet."""

    clock: VirtualClock

    def at(self, due: int, sleeper: Any) -> None:
        """Call `sleeper.tick(now)` when it is that late, in ns since 1970."""
        super().at(due, sleeper)
        if due < self.armed:
            self._arm()

    def forget(self) -> None:
        """A sleeper is over: no time passes on its account."""
        super().forget()
        self._arm()

    def _arm(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if self.heap:
            self.armed = self.heap[0][0]
            self.handle = self.loop.call_at((self.armed - self.loop.begin) / 1e9, self._ring)

    def _ring(self) -> None:
        """Somebody's time has come: to the ns, which the loop counts in parts of a second."""
        self.clock.time = max(self.clock.time, self.armed)
        super()._ring()
