"""For tests of your own: exact transcripts, a virtual clock, interleavings, faults, conformance."""

from __future__ import annotations

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
    from llambdao.testing._ledger import check_ledger, ledger_cases

__all__ = [
    "Fault",
    "Faults",
    "Interleaving",
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
    "explore",
    "ledger_cases",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in ("check_ledger", "ledger_cases"):  # they need the journal, and few need them
        from llambdao.testing import _ledger

        return getattr(_ledger, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
