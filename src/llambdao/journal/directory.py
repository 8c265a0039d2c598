"""Who there is: the nodes of a program, as other processes find them in its journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from llambdao.kernel.errors import UnknownIntent, Unreachable
from llambdao.kernel.message import Address
from llambdao.kernel.node import Node

__all__ = ["Directory", "listed"]

MARK = "@"
"""How the names of rows of meta begin that tell of a node."""


class Listed(Struct, omit_defaults=True):
    """What is said of a node."""

    name: str = ""
    role: str = ""
    intents: list[str] | None = None  # None: whatever it is


def listed(nodes: Iterable[tuple[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """The rows of meta that are to be written, so that everybody finds these nodes, and no others.

    >>> rows = listed([("Ann", Node(name="Ann"))], {})
    >>> listed([("Ann", Node(name="Ann"))], rows)
    {}
    """
    rows = {
        MARK + address: msgspec.json.encode(
            Listed(
                node.name or "",
                node.role,
                [*node.intents] if type(node).__receive__ is None else None,
            )
        ).decode()
        for address, node in nodes
        if isinstance(node, Node)
    }
    gone = {name: "" for name, body in known.items() if name[:1] == MARK and body}
    return {name: body for name, body in (gone | rows).items() if known.get(name, "") != body}


class Directory:
    """Whom other processes can tell: the nodes of the program that ran this journal last."""

    def __init__(self, meta: Mapping[str, str]) -> None:
        self.nodes = {
            name[1:]: msgspec.json.decode(body, type=Listed)
            for name, body in meta.items()
            if name[:1] == MARK and body
        }

    def addresses(self) -> list[Address]:
        """All of them."""
        return [
            Address(address, one.name or address.rpartition("/")[2], one.role)
            for address, one in self.nodes.items()
        ]

    def called(self, name: str) -> list[str]:
        """The addresses of all who are called so."""
        return [one.id for one in self.addresses() if str(one) == name]

    def path(self, node: Any) -> str:
        """The address of a node."""
        return str(getattr(node, "id", node))

    def find(self, node: Any) -> str:
        """The address of a node, given itself, its address or its name.

        `Unreachable` if there is none such, or several. Where no program has
        run yet, whatever is given.
        """
        word = node if isinstance(node, str) else str(node.id)
        if word in self.nodes or not self.nodes:
            return word
        name = word if isinstance(node, str) else str(node)
        same = self.called(name)
        if len(same) > 1:
            raise Unreachable(f"{name!r} may be any of {len(same)}: {', '.join(sorted(same))}")
        if not same:
            known = ", ".join(sorted(self.nodes)[:10])
            raise Unreachable(
                f"there is no node {name!r:.80} in the program that ran this journal last; it has"
                f" {known}{', ...' if len(self.nodes) > 10 else ''}"
            )
        return same[0]

    def understands(self, address: str, intent: str) -> None:
        """Refuse what that node does not understand."""
        one = self.nodes.get(address)
        if one is not None and one.intents is not None and intent not in one.intents:
            raise UnknownIntent(
                f"{address} does not understand {intent!r}; it understands"
                f" {', '.join(one.intents) or 'nothing'}"
            )
