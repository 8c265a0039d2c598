"""`Addresses`: how a journal calls the nodes of a program, the same again after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from llambdao.journal.errors import DuplicateName
from llambdao.kernel.errors import Misused
from llambdao.kernel.graph import pointers
from llambdao.kernel.message import Address
from llambdao.kernel.node import Node

__all__ = ["Addresses"]


class Addresses:
    """Every node of a program by its address, and back.

    Roots go by their name (their class, if they have none); who is found in them, breadth first,
    by owner and name, else by owner and field: `clerk/Ann`, `clerk/archive`. The first address a
    node is found by is its address. Two nodes with one address raise `DuplicateName`.

    >>> ann = Node(name="Ann")
    >>> addresses = Addresses()
    >>> addresses.add(ann)
    >>> addresses.of(ann), addresses.node("Ann") is ann
    ('Ann', True)
    """

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}  # addresses of earlier programs
        self._of: dict[int, str] = {}
        self._nodes: dict[str, Any] = {}
        self._alive: list[Any] = []  # ids are theirs as long as they are

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([*self._nodes.items()])

    def __contains__(self, address: str) -> bool:
        return address in self._nodes

    def add(self, *roots: Any) -> None:
        """These, and all who are found in them."""
        todo: deque[Any] = deque()
        for root in roots:
            if id(root) not in self._of:
                self._call(root, root.name or type(root).__name__)
                todo.append(root)
        while todo:
            owner = todo.popleft()
            counts: dict[str, int] = {}
            for word, other, _ in pointers(owner):
                if isinstance(other, Address) or id(other) in self._of:
                    continue
                counts[word] = counts.get(word, 0) + 1
                last = other.name or self.unnamed(owner, other, word, counts[word])
                self._call(other, f"{self._of[id(owner)]}/{last}")
                todo.append(other)

    def unnamed(self, owner: Any, node: Any, word: str, number: int) -> str:
        """What a node is called that has no name, the so-manieth its owner has under this word."""
        if number > 1 or word in ("edge", "member"):
            raise Misused(
                f"{owner} has a {type(node).__name__} in {word!r} that has no name; under a"
                " journal each of several nodes needs one, by which it is found again after a"
                " restart"
            )
        return word

    def of(self, node: Any) -> str | None:
        """The address of a node; None for one that belongs to a conversation alone."""
        if type(node) is Address:
            return node.id if node.id in self._nodes else None
        return self._of.get(id(node))

    def node(self, address: str) -> Any:
        """The node of this address, or None."""
        return self._nodes.get(self.renamed.get(address, address))

    def known(self) -> Iterable[Any]:
        """All nodes that have an address."""
        return [*self._nodes.values()]

    def _call(self, node: Any, address: str) -> None:
        if (other := self._nodes.get(address)) is not None:
            raise DuplicateName(
                f"two nodes would be {address!r} in the journal, a {type(other).__name__} and a"
                f" {type(node).__name__}; give one of them another name"
            )
        self._of[id(node)] = address
        self._nodes[address] = node
        self._alive.append(node)
        if isinstance(node, Node) and node._id is None:
            object.__setattr__(node, "_id", address)
