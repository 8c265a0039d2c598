"""A mixed load on one `Runtime` for a long time, that fails if anything keeps growing.

`python -m benchmarks.soak --minutes 10`. The load is halted again and again, until nothing is
under way; what is there then is counted. What is more in each count of the last quarter than in
any of the second has grown. Ctrl-C ends it with its report.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heapify
from pathlib import Path
from statistics import median
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from benchmarks.measure import resident
from benchmarks.traffic import OPERATIONS, Operation, Traffic
from llambdao import Node

COUNTS = 32
"""How often all is counted."""

PATIENCE = 15.0
"""Seconds within which everything must come to rest when the load is halted."""

PAUSE = 0.01
"""The longest pause in seconds between two operations of one worker."""

MORE = {"resident kB": (0.05, 6_000)}
"""By how much more something may be, as a share and in all, before it has grown."""

SOME = (0.01, 12)
"""The same of everything else."""

OURS = ("llambdao.runtime.", "llambdao.kernel.mailbox")
TABLES = (dict, list, set, deque, WeakSet, WeakKeyDictionary, WeakValueDictionary)
"""Whose sizes are counted: all of these that a runtime holds, and modules of ours."""

Sample = dict[str, int]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=10, metavar="N", help="how long (default 10)")
    add("--seconds", type=float, metavar="N", help="the same in seconds")
    add("--operations", type=int, metavar="N", help="so many operations, however long they take")
    add("--only", metavar="A,B", help=f"some operations of: {', '.join(OPERATIONS)}")
    add("--seed", type=int, default=1, metavar="N", help="of all that is left to chance")
    add("--leak", action="store_true", help="keep what was said, to see that this is noticed")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(OPERATIONS)
    if unknown := [name for name in names if name not in OPERATIONS]:
        parser.error(f"no operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
    given.chosen = {name: OPERATIONS[name] for name in names}
    given.seconds = given.seconds or given.minutes * 60
    return given


class Soak:
    """The load, its workers, and what was counted."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.traffic = Traffic(given.seed)
        self.samples: list[Sample] = []
        self.errors: list[str] = []
        self.kept: list[Any] = []
        self.may_work, self.all_rest = asyncio.Event(), asyncio.Event()
        self.doing: Counter[str] = Counter()
        self.total = 0
        self.began, self.shown = time.monotonic(), 0.0

    # -- the load ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Load it lap by lap, and count after each."""
        asyncio.get_running_loop().set_exception_handler(self.lost)
        warnings.simplefilter("always")
        warnings.showwarning = self.warned
        sys.unraisablehook = self.unraisable
        async with self.traffic.runtime:
            workers = [
                asyncio.create_task(self.work(name, do))
                for name, (do, several) in self.given.chosen.items()
                for _ in range(several)
            ]
            try:
                for lap in range(1, COUNTS + 1):
                    await self.lap(lap / COUNTS)
                    if self.errors:
                        return
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)

    async def lap(self, share: float) -> None:
        """Load it until this share of it all is done, then let it come to rest and count."""
        self.may_work.set()
        while not self.errors and not self.is_done(share):
            await asyncio.sleep(0.02)
            if time.monotonic() - self.shown > 1:
                self.shown = time.monotonic()
                self.show()
        self.may_work.clear()
        try:
            async with asyncio.timeout(PATIENCE):
                while self.doing:
                    self.all_rest.clear()
                    await self.all_rest.wait()
                await self.traffic.runtime.settle()
        except TimeoutError:
            what = ", ".join(self.doing) or "what nobody waits for"
            self.errors.append(f"after {PATIENCE:g} s something is still under way: {what}")
        self.samples.append(self.count())

    def is_done(self, share: float) -> bool:
        if self.given.operations:
            return self.total >= share * self.given.operations
        return time.monotonic() - self.began >= share * self.given.seconds

    async def work(self, name: str, do: Operation) -> None:
        """Do one thing again and again, unless all are to rest."""
        pause = self.traffic.random
        while True:
            await self.may_work.wait()
            self.doing[name] += 1
            try:
                await do(self.traffic)
            except Exception:  # noqa: BLE001  (whatever it is, it is reported)
                self.errors.append(f"{name}: {traceback.format_exc()}")
                return
            finally:
                self.doing[name] -= 1
                self.doing += Counter()  # without those of whom there are none
                if not self.doing:
                    self.all_rest.set()
            self.total += 1
            self.traffic.counts[name] += 1
            if self.given.leak:
                self.kept.append(await self.traffic.runtime.tell(self.traffic.echo, "kept"))
            await asyncio.sleep(pause.random() * PAUSE)

    def lost(self, loop: Any, context: dict[str, Any]) -> None:
        """An error that nobody was there to take."""
        error = context.get("exception")
        shown = "".join(traceback.format_exception(error)) if error else ""
        self.errors.append(f"{context['message']}\n{shown}")

    def warned(self, message: Warning | str, *where: Any) -> None:
        """What somebody should have done better, or a handler that could not clean up."""
        self.errors.append(f"warning: {message}")

    def unraisable(self, lost: Any) -> None:
        """An error in a `__del__`, say."""
        self.errors.append(f"{lost.err_msg or 'ignored'}: {lost.object!r:.80}: {lost.exc_value!r}")

    # -- what is counted -----------------------------------------------------------------------

    def count(self) -> Sample:
        """All that may grow."""
        self.traffic.runtime.dead_letters.kept.clear()  # a thousand may stay, and all they hold
        gc.collect()
        sample = self.internals()
        timers = self.traffic.runtime._timers
        timers.heap = [entry for entry in timers.heap if not getattr(entry[2], "is_over", False)]
        heapify(timers.heap)  # those that are over lie there until they are swept out
        gc.collect()
        kinds = Counter(type(one).__qualname__ for one in gc.get_objects())
        sample |= {f"objects of {kind}": n for kind, n in kinds.items()}
        sample["objects"] = sum(kinds.values())
        sample["resident kB"] = resident() // 1024
        return sample

    def internals(self) -> Sample:
        """What the event loop, the system, and every table of our own keep."""
        runtime = self.traffic.runtime
        boxes = runtime._mailboxes.boxes.copy().values()
        files = Path("/proc/self/fd")
        return {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "open files": len(os.listdir(files)) if files.exists() else 0,  # noqa: PTH208
            "open conversations": len(runtime.conversations),
            "things in mailboxes": sum(n for box in boxes for _, n in tables("", box, set())),
            **dict(tables("runtime", runtime, set())),
            **{
                f"{module.__name__}.{name}": len(value)
                for module in [*sys.modules.values()]
                if module.__name__.startswith("llambdao.")
                for name, value in vars(module).items()
                if isinstance(value, TABLES)
            },
        }

    # -- what is said --------------------------------------------------------------------------

    def show(self) -> None:
        """One line of progress."""
        seconds = max(time.monotonic() - self.began, 0.001)
        counted = len(self.samples)
        line = (
            f"{seconds:6.0f} s  {counted:2}/{COUNTS}  {self.total:9,} operations"
            f"  {self.total / seconds:6,.0f}/s  {resident() / 1e6:6.1f} MB"
            f"  {len(self.traffic.runtime.conversations):4} open"
            f"  {len(asyncio.all_tasks()):4} tasks"
        )
        start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
        print(start + line, end=end, file=sys.stderr, flush=True)

    def report(self) -> list[str]:
        """What was done, and everything that is wrong."""
        seconds = time.monotonic() - self.began
        print("" if not sys.stderr.isatty() else "\n", end="", file=sys.stderr)
        print(f"{self.total:,} operations in {seconds:.0f} s ({self.total / seconds:,.0f}/s):")
        for name, times in self.traffic.counts.most_common():
            print(f"  {name:44} {times:12,}  {times / seconds:8.1f}/s")
        wrong = [f"failed: {error}" for error in self.errors]
        if len(self.samples) >= 8:
            second, last = quarters(self.samples)
            for what in ("resident kB", "objects", *self.internals()):
                before, after = of(what, second, median), of(what, last, median)
                if "." not in what or before != after:  # of the many tables those that changed
                    print(f"  {what:44} {before:12,.0f} -> {after:12,.0f}")
            wrong += grown(self.samples)
        else:
            print(f"  only {len(self.samples)} counts: too few to say whether anything grows")
        return wrong


def tables(name: str, thing: Any, seen: set[int]) -> Iterator[tuple[str, int]]:
    """The sizes of all tables in something of ours, and in what it is made of, by name."""
    if isinstance(thing, TABLES):
        yield name, len(thing)
    elif type(thing).__module__.startswith(OURS) and id(thing) not in seen:
        seen.add(id(thing))
        for part in [*getattr(thing, "__dict__", ()), *getattr(thing, "__slots__", ())]:
            if not isinstance(one := getattr(thing, part, None), Node):
                yield from tables(f"{name}.{part}", one, seen)


def quarters(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """The second of all samples, and the last."""
    quarter = len(samples) // 4
    return samples[quarter : 2 * quarter], samples[-quarter:]


def of(what: str, samples: list[Sample], which: Callable[[list[int]], float]) -> float:
    return which([sample.get(what, 0) for sample in samples])


def grown(samples: list[Sample]) -> list[str]:
    """What there was more of all through the last quarter than ever in the second."""
    second, last = quarters(samples)
    found: list[tuple[float, str]] = []
    for what in {what for sample in samples for what in sample}:
        share, some = MORE.get(what, SOME)
        before, after = of(what, second, max), of(what, last, min)
        if after > before * (1 + share) + some:
            more = of(what, last, median) - of(what, second, median)
            found.append((more, f"{what}: {before:,.0f} -> {after:,.0f}"))
    return [f"grew: {line}" for _, line in sorted(found, reverse=True)]


async def main(given: argparse.Namespace) -> int:
    soak = Soak(given)
    try:
        await soak.run()
    except asyncio.CancelledError:
        print("ended early", file=sys.stderr)
    wrong = soak.report()
    print("\n".join(wrong) or "nothing grew")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
