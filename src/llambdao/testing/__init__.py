"""For tests of your own: exact transcripts, a virtual clock, interleavings, a conformance suite."""

from llambdao.testing._check_node import check_node
from llambdao.testing._clock import VirtualClock
from llambdao.testing._explore import Interleaving, Simulation, explore
from llambdao.testing._transcript import Transcript, capture

__all__ = [
    "Interleaving",
    "Simulation",
    "Transcript",
    "VirtualClock",
    "capture",
    "check_node",
    "explore",
]
