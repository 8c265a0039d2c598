"""`Faults`: what may go wrong in a simulation, how often, and where."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

from msgspec import Struct

from llambdao.kernel.errors import LlambdaoError, Misused

__all__ = ["KINDS", "Chance", "Fault", "Faults", "SimulatedFault"]

KINDS = ("slow", "failing", "lost", "duplicated", "reordered", "cancelled")
"""In this order they are drawn."""

LATE = ("slow", "reordered")
"""Those that take some seconds."""

TURNS = 8
"""Within so many turns a conversation is cancelled."""

INSTEAD = {
    "lost": ("slow", "failing", "duplicated", "reordered"),
    "reordered": ("slow", "duplicated"),
}
"""What cannot happen any more to a message that is lost, or overtaken."""


class SimulatedFault(LlambdaoError):
    """What a handler raises that was to fail in a simulation."""


class Faults(Struct, frozen=True, kw_only=True):
    """What may go wrong, each at a rate between 0 (never) and 1 (always).

    * `slow`: a message comes late, by up to `seconds`; what the same sender says to the same node
      comes after it.
    * `failing`: a handler raises `SimulatedFault` in place of one of its turns, the first or a
      later one.
    * `lost`: a message never comes. Who asked gets no answer until the `timeout`, or `NoAnswer` at
      once if there is none; what was told is a dead letter with the reason `lost`.
    * `duplicated`: what was told comes once more, after what has been told by then.
    * `reordered`: what was told is overtaken by what the same sender says to the same node within
      `seconds`. A runtime promises that this does not happen; wires between runtimes may not.
    * `cancelled`: whoever opened a conversation cancels it, after some turns and at most `seconds`.

    `nodes` and `intents` say which messages may be hit: those to nodes of these names, those of
    these intents; all unless given.

    >>> Faults(slow=0.1, lost=0.01, nodes=["bank"]).slow
    0.1
    """

    slow: float = 0.0
    failing: float = 0.0
    lost: float = 0.0
    duplicated: float = 0.0
    reordered: float = 0.0
    cancelled: float = 0.0
    seconds: float = 10.0
    nodes: Collection[str] | None = None
    intents: Collection[str] | None = None

    def __post_init__(self) -> None:
        for kind in KINDS:
            rate = getattr(self, kind)
            if not 0 <= rate <= 1:
                raise Misused(
                    f"a rate is a number from 0 (never) to 1 (always), not {kind}={rate!r}"
                )
        if self.seconds <= 0:
            raise Misused(f"expected some seconds, but got seconds={self.seconds!r}")
        for name in ("nodes", "intents"):
            words = getattr(self, name)
            if words is not None and (
                isinstance(words, str) or any(type(w) is not str for w in words)
            ):
                raise Misused(f"expected a list of names, {name}=['...'], but got {words!r:.80}")

    def may_hit(self, act: Any) -> bool:
        """May something go wrong with this activation?"""
        return (self.nodes is None or str(act.node) in self.nodes) and (
            self.intents is None or act.message.intent in self.intents
        )


class Fault(Struct, frozen=True):
    """One thing that went wrong.

    `where` is the message it hit, `nth` the how-manieth of those that look alike; `seconds` is how
    long after it, and `turns` how many turns of its conversation after it, this was felt.
    """

    kind: str
    where: str
    nth: int = 1
    seconds: float = 0.0
    turns: int = 0

    def __str__(self) -> str:
        late = f" by {round(self.seconds, 2):g} s" if self.kind in LATE else ""
        return f"{self.kind}{late}: {self.where}" + (f" (no. {self.nth})" if self.nth > 1 else "")


class Chance:
    """Says what goes wrong: drawn from a seed, or just what is `planned`.

    What is drawn for a message depends on the seed and on what it looks like, not on what was drawn
    before: so that faults stay the same ones when others are left out.
    """

    def __init__(
        self, faults: Faults | None, seed: int, planned: Iterable[Fault] | None = None
    ) -> None:
        self.faults = faults or Faults()
        self.seed = seed
        self.rates = [(kind, getattr(self.faults, kind)) for kind in KINDS]
        self.planned: dict[tuple[str, int], list[Fault]] | None = None
        if planned is not None:
            self.planned = {}
            for one in planned:
                self.planned.setdefault((one.where, one.nth), []).append(one)
        self.met: dict[str, int] = {}
        self.injected: list[Fault] = []

    def strikes(self) -> bool:
        """Can anything go wrong at all?"""
        return bool(self.planned) if self.planned is not None else any(r for _, r in self.rates)

    def draw(self, where: str, may: Callable[[str], bool]) -> dict[str, Fault]:
        """What goes wrong here, of what may."""
        nth = self.met[where] = self.met.get(where, 0) + 1
        if self.planned is not None:
            drawn = self.planned.get((where, nth), [])
        else:
            chance = random.Random(f"{self.seed}/{where}/{nth}")
            numbers = [(kind, rate, chance.random(), chance.random()) for kind, rate in self.rates]
            drawn = [self._fault(k, where, nth, part) for k, rate, x, part in numbers if x < rate]
        drawn = [one for one in drawn if may(one.kind)]
        never = {kind for one in drawn for kind in INSTEAD.get(one.kind, ())}
        found = {one.kind: one for one in drawn if one.kind not in never}
        self.injected += found.values()
        return found

    def _fault(self, kind: str, where: str, nth: int, part: float) -> Fault:
        """A fault of this kind; how bad it is, is drawn too, as a part of 1."""
        if kind in LATE:
            return Fault(kind, where, nth, part * self.faults.seconds)
        if kind == "cancelled":  # at a turn, or some time after it
            turns, rest = divmod(part * TURNS, 1)
            return Fault(kind, where, nth, max(0, 2 * rest - 1) * self.faults.seconds, int(turns))
        return Fault(kind, where, nth)
