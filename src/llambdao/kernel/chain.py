"""Chains of askers: who asks on whose behalf, and how often one node may stand among them."""

from __future__ import annotations

from typing import Any

from llambdao.kernel.errors import Deadlock

__all__ = ["DEEP", "Chains"]

DEEP = 64
"""From this depth on it is counted who waits; nobody pays for counting in shorter chains."""


class Chains:
    """Refuses a handler that would stand in its own chain of askers more than `most` times.

    The counts only say when it is worth looking: the chain itself decides.
    """

    __slots__ = ("counts", "most", "start")

    def __init__(self, most: int, start: int) -> None:
        self.most = most
        self.start = start
        self.counts: dict[int, int] = {}

    def check(self, node: Any, handler: Any, asker: Any) -> None:
        """May this handler be asked by this activation?"""
        counted = self.counts.get(id(node) * 31 + id(handler[0]), 0)
        if counted + self.start + 2 < self.most:  # those before the start are not counted
            return
        chain: list[Any] = []
        while asker is not None:
            chain.append(asker)
            asker = asker.asker
        same = sum(act.node is node and act.handler[0] is handler[0] for act in chain)
        if same >= self.most:
            names = " <- ".join(str(act) for act in chain[:6])
            raise Deadlock(
                f"{chain[0]} asks {node}, which stands {same} times in its chain of askers:"
                f" {names} <- ...; to allow more: limits=Limits(chain=...)"
            )

    def count(self, act: Any) -> None:
        """This activation waits, deep in a chain."""
        if not act.deep:
            act.deep = True
            key = id(act.node) * 31 + id(act.handler[0])
            self.counts[key] = self.counts.get(key, 0) + 1

    def forget(self, act: Any) -> None:
        """This activation has ended."""
        self.counts[id(act.node) * 31 + id(act.handler[0])] -= 1
