"""One measurement: `python -m benchmarks.measure SYSTEM WORKLOAD`, always in a fresh process.

Prints JSON: for each point the value and the floor's, measured before and after it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.metadata
import json
import os
import resource
import site
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from functools import cache
from inspect import isasyncgen, iscoroutine
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import floor, queues, tables
from benchmarks.workloads import DURABLE, LIVING, POINTS, Point

BUDGET = 0.15  # CPU seconds of timed work that are enough for one value
ENOUGH = 500  # timed steps that are enough too
PATIENCE = 2.0  # wall seconds after which one timed step is enough too


class Steps:
    """What the timed steps of a case took, and whether there were enough of them."""

    def __init__(self) -> None:
        self.began, self.spent, self.is_warm = time.perf_counter(), 0.0, False
        self.values: list[float] = []

    def want_more(self) -> bool:
        """Is another step worth while?"""
        return not self.values or (
            time.perf_counter() - self.began < PATIENCE
            and len(self.values) < ENOUGH
            and (self.spent < BUDGET or len(self.values) < 5)
        )

    def took(self, units: int | None, seconds: float) -> None:
        """One step; the first is not counted, unless it took too long to be done twice."""
        if units and (self.is_warm or seconds > PATIENCE / 2):
            self.values.append(seconds / units)
            self.spent += seconds
        self.is_warm = self.is_warm or bool(units)


def timed(work: Any, clock: Callable[[], float]) -> float:
    """The median of seconds per unit, by this clock."""
    gc.collect()
    if isasyncgen(work):
        return asyncio.run(timed_on_loop(work, clock))
    reading, steps = clock_reading(clock), Steps()
    try:
        next(work)  # what comes before the first yield is preparation
        while steps.want_more():
            start = clock()
            units = next(work)
            steps.took(units, max(clock() - start - reading, 0.0))
    finally:
        work.close()
    return statistics.median(steps.values)


async def timed_on_loop(
    work: AsyncGenerator[int | None, None], clock: Callable[[], float]
) -> float:
    """The same of a case that awaits."""
    reading, steps = clock_reading(clock), Steps()
    try:
        await anext(work)
        while steps.want_more():
            start = clock()
            units = await anext(work)
            steps.took(units, max(clock() - start - reading, 0.0))
    finally:
        await work.aclose()
    return statistics.median(steps.values)


@cache
def clock_reading(clock: Callable[[], float]) -> float:
    """What the clock itself costs in one timed step, in seconds."""
    steps = []
    for _ in range(1_001):
        start = clock()
        steps.append(clock() - start)
    return statistics.median(steps)


def time_of(module: ModuleType, case: str, n: int | None) -> float:
    """The median CPU time per unit in microseconds."""
    work = getattr(module, case)(*(() if n is None else (n,)))
    return timed(work, time.process_time) * 1e6


def wall_of(module: ModuleType, case: str, n: int | None) -> float:
    """The median time by the clock on the wall of all n, in milliseconds."""
    return timed(getattr(module, case)(n), time.perf_counter) * (n or 1) * 1e3


def each_of(module: ModuleType, case: str, n: int | None) -> float:
    """The median time by the clock on the wall per unit, in microseconds."""
    return timed(getattr(module, case)(), time.perf_counter) * 1e6


def stored(module: ModuleType, case: str, n: int | None) -> float:
    """The bytes on the disk per unit."""
    found = getattr(module, case)(n)
    return float(asyncio.run(found) if iscoroutine(found) else found)


def idle_time(module: ModuleType, case: str, n: int | None) -> float:
    """The CPU time of making one idle node, in microseconds."""
    gc.collect()
    start = time.process_time()
    nodes = getattr(module, case)(n)
    taken = time.process_time() - start
    del nodes
    return taken / (n or 1) * 1e6


def idle_bytes(module: ModuleType, case: str, n: int | None) -> float:
    """The memory of one idle node, as the allocator counts it."""
    getattr(module, case)(100)
    gc.collect()
    tracemalloc.start()
    nodes = getattr(module, case)(n)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del nodes
    return taken / (n or 1)


def idle_resident(module: ModuleType, case: str, n: int | None) -> float:
    """The memory of one idle node, as the operating system counts it."""
    gc.collect()
    before = resident()
    nodes = getattr(module, case)(n)
    taken = resident() - before
    del nodes
    return taken / (n or 1)


def resident() -> int:
    """The resident memory of this process in bytes (0 where there is no /proc)."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def peak(module: ModuleType, case: str, n: int | None) -> float:
    """The most memory held at any time of one step, by unit of work."""
    work = getattr(module, case)(n)
    next(work)
    gc.collect()
    tracemalloc.start()
    units = next(work)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    work.close()
    return taken / units


def kept(module: ModuleType, case: str, n: int | None) -> float:
    """The memory that one step holds at its end, by unit of work."""
    return asyncio.run(kept_on_loop(getattr(module, case)(n)))


async def kept_on_loop(work: AsyncGenerator[int | None, None]) -> float:
    await anext(work)
    gc.collect()
    tracemalloc.start()
    units = await anext(work)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    await work.aclose()
    return taken / (units or 1)


def beyond(module: ModuleType, case: str, n: int | None) -> float:
    """The same, beyond what the floor holds; the floor's is its own."""
    mine = kept(module, case, n)
    return mine if module is queues else mine - kept(queues, case, n)


def encoded(module: ModuleType, case: str, n: int | None) -> float:
    """The size of what a case encodes."""
    return len(getattr(module, case)(n))


def import_time(module: ModuleType, case: str, n: int | None) -> float:
    """CPU milliseconds of an import in a fresh interpreter; the floor's is a bare interpreter."""
    name = getattr(module, "IMPORT", None)
    return interpreter(f"import {name}") - interpreter("pass") if name else interpreter("pass")


def interpreter(code: str) -> float:
    """CPU milliseconds of a fresh interpreter that runs `code`, the median of five."""
    values = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        values.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(values) * 1e3


NOT_COUNTED = {"pip", "setuptools", "wheel"}


def packages(module: ModuleType, case: str, n: int | None) -> float:
    """How many packages its environment holds."""
    names = {found.name for found in importlib.metadata.distributions(path=site.getsitepackages())}
    return len(names - NOT_COUNTED)


def size(module: ModuleType, case: str, n: int | None) -> float:
    """The megabytes its environment holds, compiled files included."""
    total = 0
    for place in site.getsitepackages():
        for part in Path(place).iterdir():
            if part.name.split("-")[0] in NOT_COUNTED | {"_distutils_hack", "pkg_resources"}:
                continue
            files = part.rglob("*") if part.is_dir() else [part]
            total += sum(file.stat().st_size for file in files if file.is_file())
    return total / 1e6


MEASURES: dict[str, Callable[[ModuleType, str, int | None], float]] = {
    "time": time_of,
    "wall": wall_of,
    "each": each_of,
    "stored": stored,
    "idle": idle_time,
    "bytes": idle_bytes,
    "resident": idle_resident,
    "peak": peak,
    "kept": kept,
    "beyond": beyond,
    "encoded": encoded,
    "import": import_time,
    "packages": packages,
    "size": size,
}
REPEATED = (
    "time",
    "wall",
    "each",
    "import",
)  # whose floor drifts, so that it is measured before and after


def value(module: ModuleType, point: Point, case: str) -> float | str | None:
    """One value; the name of the error if it fails; None if the system has no such case."""
    if point.case and not hasattr(module, case):
        return None
    n, most = point.n, getattr(module, "MOST", {}).get(case)
    idle = case == "idle" and point.how in ("time", "bytes", "resident", "kept")
    if n and most and n > most:
        if not idle:
            return None
        n = most
    how = "idle" if idle and point.how == "time" else point.how
    try:
        return MEASURES[how](module, case, n)
    except Exception as error:
        if os.environ.get("BENCH_DEBUG"):
            raise
        return type(error).__name__


def measure(system: str, workload: str, quick: bool = False) -> dict[str, Any]:
    """All points of a workload in one system, each with the floor on both sides."""
    ours, bare = "ours", floor
    if workload in LIVING:
        ours, bare = "living", queues
    elif workload in DURABLE:
        ours, bare = "durable", tables
    name = ours if system == "llambdao" else f"peers.{system}"
    module = importlib.import_module(f"benchmarks.{name}")
    results: dict[str, Any] = {}
    known: dict[tuple[str, int | None, str], tuple[float | str | None, list[float]]] = {}
    for point in POINTS:
        case, floor_case = point.case_of(system), point.case_of("floor")
        if point.workload != workload or case == "-" or (quick and not point.quick):
            continue
        same = (f"{case} {floor_case}", point.n, point.how)
        if same not in known:
            floors = [] if floor_case == "-" else [value(bare, point, floor_case)]
            mine = value(module, point, case)
            if floors and point.how in REPEATED:
                floors.append(value(bare, point, floor_case))
            known[same] = mine, [one for one in floors if isinstance(one, float)]
        mine, measured = known[same]
        if mine is not None:
            results[point.key] = {"value": mine, "floor": measured}
    return results


if __name__ == "__main__":
    if quick := "--quick" in sys.argv:
        BUDGET, PATIENCE = 0.05, 0.5
    print(json.dumps(measure(sys.argv[1], sys.argv[2], quick)), flush=True)
    os._exit(0)  # without waiting for the threads of peers
