"""For tests of your own: exact transcripts, a virtual clock, interleavings, faults, conformance."""

from llambdao.testing._check_node import check_node
from llambdao.testing._clock import VirtualClock
from llambdao.testing._explore import Interleaving, Simulation, explore
from llambdao.testing._faults import Fault, Faults, SimulatedFault
from llambdao.testing._report import Report
from llambdao.testing._simulate import simulate
from llambdao.testing._transcript import Transcript, capture
from llambdao.testing._world import Replay, World

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
    "check_node",
    "explore",
    "simulate",
]
