"""For tests of your own: exact transcripts, a virtual clock, interleavings, faults, conformance."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llambdao.testing._check_node import check_node
from llambdao.testing._clock import VirtualClock
from llambdao.testing._explore import Interleaving, Simulation, explore
from llambdao.testing._faults import Fault, Faults, SimulatedFault
from llambdao.testing._report import Report
from llambdao.testing._simulate import simulate
from llambdao.testing._transcript import Transcript, capture
from llambdao.testing._world import Replay, World

if TYPE_CHECKING:
    from llambdao.testing._crashes import Crashes, crash_points
    from llambdao.testing._ledger import check_ledger, ledger_cases
    from llambdao.testing._life import Killed, Life
    from llambdao.testing._replays import replay_always

__all__ = [
    "Crashes",
    "Fault",
    "Faults",
    "Interleaving",
    "Killed",
    "Life",
    "Replay",
    "Report",
    "SimulatedFault",
    "Simulation",
    "Transcript",
    "VirtualClock",
    "World",
    "capture",
    "check_ledger",
    "check_node",
    "crash_points",
    "explore",
    "ledger_cases",
    "replay_always",
    "simulate",
]


LATER = {
    "Crashes": "_crashes",
    "Killed": "_life",
    "Life": "_life",
    "check_ledger": "_ledger",
    "crash_points": "_crashes",
    "ledger_cases": "_ledger",
    "replay_always": "_replays",
}
"""What needs the journal, which few tests do, and where it is."""


def __getattr__(name: str) -> Any:
    if name in LATER:
        return getattr(import_module(f"llambdao.testing.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
