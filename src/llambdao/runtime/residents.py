"""Who lives in a runtime: a node lives in one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llambdao.kernel.errors import Misused, NotANode
from llambdao.kernel.node import HOMES, Node
from llambdao.runtime.supervisor import family

__all__ = ["Residents"]


class Residents:
    """The nodes of a runtime, with their members: they belong to it while it runs.

    `joined(network, node)` is called when a node has become a member of one that lives here.
    """

    def __init__(self, joined: Callable[[Node, Node], None]) -> None:
        self.nodes: list[Node] = []
        self._joined = joined
        self._known: set[int] = set()
        self._claimed: dict[int, Node] = {}

    def add(self, node: Any) -> bool:
        """A node is to live here; False if it does already."""
        if not isinstance(node, Node):
            raise NotANode(f"expected a node to run, but got {node!r:.80}")
        if id(node) in self._known:
            return False
        self.check(node)
        self._known.add(id(node))
        self.nodes.append(node)
        return True

    def check(self, node: Any) -> None:
        """Refuse a node that lives elsewhere."""
        if HOMES.get(id(node), self) is not self:
            raise Misused(f"{node} lives in another runtime; a node has one mailbox")

    def claim(self, nodes: list[Node]) -> None:
        """These live here from now on, all or none of them."""
        everybody = [one for node in nodes for one in family(node)]
        for one in everybody:
            self.check(one)
        for one in everybody:
            number = id(one)
            HOMES[number] = self
            self._claimed[number] = one

    def welcome(self, network: Node, node: Node) -> None:
        """A node joins a network that lives here, so it does too, with its members."""
        self.claim([node])
        self._joined(network, node)

    def find(self, number: int) -> Node | None:
        """The node with this `id()`, if it lives here."""
        return self._claimed.get(number)

    def drop(self, node: Node) -> None:
        """It lives here no longer."""
        if self._claimed.pop(id(node), None) is not None:
            HOMES.pop(id(node), None)
        if id(node) in self._known:
            self._known.remove(id(node))
            self.nodes = [one for one in self.nodes if one is not node]

    def release(self) -> None:
        """Nobody lives here any longer."""
        for number in self._claimed:
            HOMES.pop(number, None)
        self._claimed.clear()
