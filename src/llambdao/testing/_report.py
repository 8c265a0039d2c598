"""`Report`: what a simulation came to, and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

__all__ = ["Progress", "Report"]

EVERY = 2.0
"""After so many seconds, by the clock on the wall, it is said how far it is."""


class Report(Struct):
    """What a simulation came to.

    `seeds` is how many were run, `orders` how many different orders of events they came to,
    `faults` how many of each kind there were, `seconds` the virtual time that passed in all.

    >>> print(Report(seeds=100, orders=87, faults={"lost": 12}, seconds=7200.0))
    100 seeds, 87 orders, 12 lost, 7,200 virtual seconds
    """

    seeds: int = 0
    orders: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        faults = "".join(f" {many:,} {kind}," for kind, many in self.faults.items())
        counts = f"{self.seeds:,} seeds, {self.orders:,} orders,{faults}"
        return f"{counts} {self.seconds:,.0f} virtual seconds"


class Progress:
    """Says now and then how far it is: to a function, or on the terminal if there is one."""

    def __init__(self, tell: Callable[[Report], Any] | None) -> None:
        self.tell = tell
        self.is_shown = tell is None and sys.stderr.isatty()
        self.said = time.monotonic()
        self.has_line = False

    def at(self, report: Report) -> None:
        """It has come this far."""
        if (self.tell is None and not self.is_shown) or time.monotonic() - self.said < EVERY:
            return
        self.said = time.monotonic()
        if self.tell is not None:
            self.tell(report)
            return
        self.has_line = True
        sys.stderr.write(f"\r\x1b[Ksimulating: {report}")
        sys.stderr.flush()

    def end(self) -> None:
        """No more of this."""
        if self.has_line:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
