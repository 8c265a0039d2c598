"""Measures LLAMBDAO beside bare generators and beside other libraries, and prints one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from benchmarks.environments import (
    AWAITED,
    HOME,
    LASTING,
    OURS,
    OURS_DURABLE,
    PEERS,
    PROJECT,
    ready,
)
from benchmarks.plot import plot
from benchmarks.postgres import postgres
from benchmarks.workloads import DURABLE, LIVING, POINTS, TITLES

TOO_LONG = 120  # seconds for one process
MUCH_TOO_LONG = 600  # for one that fills a journal first


def arguments() -> argparse.Namespace:
    names = ", ".join(TITLES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="Environments and results are kept in .bench/ of the project's folder.",
    )
    add = parser.add_argument
    add("--only", metavar="W1,W3", help=f"some workloads of: {names}")
    add("--peers", metavar="WHICH", default="all", help=f"none, all, or: {', '.join(PEERS)}")
    add("--without-ours", action="store_true", help="measure the peers alone")
    add("--rounds", metavar="N", type=int, help="rounds (default 4; with --quick 1)")
    add("--quick", action="store_true", help="the small sizes only, and less patience")
    add("--json", metavar="FILE", type=Path, help="write all that was measured to a file")
    add("--load", metavar="FILE", type=Path, help="measure nothing, show what a file holds")
    add("--note", metavar="TEXT", help="what there is to say about this run, for the page")
    add("--docs", action="store_true", help="write what was measured into docs/benchmarks.md")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 4)
    given.workloads = given.only.split(",") if given.only else list(TITLES)
    peers = {"none": [], "all": list(PEERS)}.get(given.peers)
    given.systems = given.peers.replace("-", "_").split(",") if peers is None else peers
    for name in given.workloads:
        if name not in TITLES:
            parser.error(f"no workload {name!r}; there are {names}")
    for workloads in report.SECTIONS.values() if given.docs else ():
        missing = {*workloads} - {*given.workloads}
        if missing and missing != {*workloads}:
            parser.error(f"--docs writes whole tables: measure {', '.join(workloads)} together")
    for name in given.systems:
        if name not in PEERS:
            parser.error(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return given


def say(text: str, end: str = "\n") -> None:
    """Progress goes to stderr: one line that is overwritten, where it is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)
    elif end:
        print(text, file=sys.stderr, flush=True)


def environments(systems: list[str]) -> tuple[dict[str, Path], list[str]]:
    """The Python of each system that can be installed, and why others cannot."""
    pythons, left_out = {}, []
    for system in systems:
        say(f"environment of {system} ...", end="")
        try:
            pythons[system] = ready(system)
        except RuntimeError as error:
            if system in (OURS, OURS_DURABLE):
                sys.exit(str(error))
            left_out.append(str(error))
            say(f"left out: {error}")
    return pythons, left_out


def of_ours(workload: str) -> str:
    """The environment in which ours is measured."""
    return OURS_DURABLE if workload in DURABLE else OURS


def measure(
    python: Path, system: str, workload: str, quick: bool, more: dict[str, str]
) -> dict[str, Any]:
    """One measurement in a fresh process; what it could not do is told and left out."""
    command = [str(python), "-m", "benchmarks.measure", system, workload]
    environment = {**os.environ, **more, "PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "0"}
    too_long = MUCH_TOO_LONG if workload in DURABLE else TOO_LONG
    try:
        done = subprocess.run(
            command + ["--quick"] * quick,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=HOME,
            timeout=too_long,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        say(f"{system} {workload}: not done in {too_long} s")
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        say(f"{system} {workload}: {lines[-1]}")
    return {}


def run(given: argparse.Namespace) -> dict[str, Any]:
    """All rounds: systems alternate, in reversed order every second round."""
    systems = [OURS] * (not given.without_ours) + given.systems
    tasks = [(w, s) for w in given.workloads for s in systems if wanted(w, s)]
    places = [of_ours(workload) if system == OURS else system for workload, system in tasks]
    pythons, left_out = environments([*dict.fromkeys(places)])
    began, values = time.time(), []
    with ExitStack() as stack:
        more = {"BENCH_FOLDER": stack.enter_context(TemporaryDirectory(dir=HOME))}
        if "J6" in given.workloads:
            try:
                more["BENCH_POSTGRES"] = stack.enter_context(postgres())
            except (LookupError, OSError) as error:
                left_out.append(f"J6: {error}")
                say(f"left out: {left_out[-1]}")
        todo = [
            (workload, system, pythons[place])
            for (workload, system), place in zip(tasks, places, strict=True)
            if place in pythons and (workload != "J6" or "BENCH_POSTGRES" in more)
        ]
        for number in range(given.rounds):
            for done, (workload, system, python) in enumerate(todo[:: -1 if number % 2 else 1]):
                count = f"[{number * len(todo) + done + 1}/{given.rounds * len(todo)}]"
                say(f"{count} {workload} {system} ({time.time() - began:.0f} s)", end="")
                found = measure(python, system, workload, given.quick, more)
                for key, value in found.items():
                    values.append({"round": number, "system": system, "point": key, **value})
    say(f"{given.rounds} rounds in {time.time() - began:.0f} s")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "rounds": given.rounds,
        "peers": {peer: PEERS[peer] for peer in pythons if peer in PEERS},
        "left_out": left_out,
        "values": values,
    }


def wanted(workload: str, system: str) -> bool:
    """Whether a system has a part in a workload at all."""
    if system == OURS:
        return True
    if workload in LIVING and system not in AWAITED:
        return False
    if (workload in DURABLE) != (system in LASTING):
        return False
    return any(point.workload == workload and point.peer != "-" for point in POINTS)


def main() -> None:
    given = arguments()
    results = json.loads(given.load.read_text()) if given.load else run(given)
    results["note"] = given.note or results.get("note")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    summary = report.Summary(results)
    print(report.head(results))
    print(report.table(summary))
    if results["peers"]:
        print()
        print(report.peers_table(summary))
    picture = plot(summary)
    HOME.mkdir(exist_ok=True)
    (HOME / "benchmarks.svg").write_text(picture)
    if given.docs:
        report.write_docs(results, summary, picture)


if __name__ == "__main__":
    main()
