"""Views of the graph that nodes form: who can be reached, as networkx, Mermaid, Graphviz or text.

A view shows names, classes and links, with the metadata of edges; never the fields of a node.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from llambdao.kernel.errors import NotANode
from llambdao.kernel.message import Address
from llambdao.kernel.node import Node

if TYPE_CHECKING:
    from networkx import MultiDiGraph

__all__ = ["reachable", "to_graphviz", "to_mermaid", "to_networkx", "to_text"]

MEMBER, EDGE = "member", "edge"
"""How one node points to another; any other word is the name of a field."""

DEEPEST = 20
"""Where indentation ends: a network nested deeper than this reads no better for it."""


def reachable(node: Node, *, edges: bool = True) -> list[Node]:
    """Every node that can be reached from this one, itself first: breadth first, each once.

    The order is stable: of each node first the members, then the nodes in its other declared
    fields, then those its edges point to. What lives elsewhere is there as its `Address`.
    Without `edges` it is what the node is made of: members and fields, all the way down.

    >>> ann, bob, eve = (Node(name=name) for name in ("Ann", "Bob", "Eve"))
    >>> edges = ann.link(bob), bob.link(eve), eve.link(ann)
    >>> [node.name for node in reachable(ann)]
    ['Ann', 'Bob', 'Eve']
    """
    if not isinstance(node, Node | Address):
        raise NotANode(f"expected a node to start from, but got {node!r:.80}")
    found: dict[str, Any] = {node.id: node}
    todo = deque([node])
    while todo:
        for word, other, _ in pointers(todo.popleft()):
            if other.id not in found and (edges or word != EDGE):
                found[other.id] = other
                todo.append(other)
    return list(found.values())


def to_networkx(node: Node) -> MultiDiGraph[str]:
    """The graph as a networkx `MultiDiGraph`; needs the extra `graph`.

    Nodes are ids with `name`, `role` and `type`. The key of an edge is "member", "edge" or the
    name of a field; the metadata of an edge are its attributes.
    """
    try:
        from networkx import MultiDiGraph
    except ImportError as error:
        raise ImportError(
            "to_networkx needs networkx, which is not installed: pip install 'llambdao[graph]'"
        ) from error
    graph: MultiDiGraph[str] = MultiDiGraph()
    everybody = reachable(node)
    for one in everybody:
        graph.add_node(one.id, name=str(one), role=one.role, type=type(one).__name__)
    for one in everybody:
        for word, other, metadata in pointers(one):
            key = graph.add_edge(one.id, other.id, word)
            graph.edges[one.id, other.id, key].update({str(k): v for k, v in metadata.items()})
    return graph


def to_mermaid(node: Node) -> str:
    """The graph as the text of a Mermaid flowchart; networks are subgraphs.

    >>> print(to_mermaid(Node(name='"Ann" <3')))
    flowchart LR
      n0["#34;Ann#34; #60;3"]
    """
    picture = Picture(node)
    lines = ["flowchart LR"]
    for i, depth, step in picture.walk():
        indent = "  " * min(depth + 1, DEEPEST)
        name = _escape(str(picture.nodes[i]), _MERMAID)
        if step == OPENED:
            lines.append(f'{indent}subgraph c{i}["{name}"]')
            if i in picture.ports:
                lines.append(f'{indent}  n{i}((" "))')
        else:
            lines.append(f"{indent}end" if step == CLOSED else f'{indent}n{i}["{name}"]')
    for link in picture.links:
        arrow = "<-->" if link.both else "-.->" if link.dotted else "-->"
        label = f'|"{_escape(link.label, _MERMAID)}"|' if link.label else ""
        lines.append(f"  n{link.start} {arrow}{label} n{link.end}")
    return "\n".join(lines)


def to_graphviz(node: Node) -> str:
    r"""The graph in Graphviz's DOT language; networks are clusters.

    >>> print(to_graphviz(Node(name='"Ann"')))
    digraph {
      node [shape=box style=rounded]
      n0 [label="\"Ann\""]
    }
    """
    picture = Picture(node)
    lines = ["digraph {", "  node [shape=box style=rounded]"]
    for i, depth, step in picture.walk():
        indent = "  " * min(depth + 1, DEEPEST)
        label = f'label="{_escape(str(picture.nodes[i]), _DOT)}"'
        if step == OPENED:
            lines.append(f"{indent}subgraph cluster_{i} {{ {label}")
            if i in picture.ports:
                lines.append(f'{indent}  n{i} [label="" shape=point]')
        else:
            lines.append(f"{indent}}}" if step == CLOSED else f"{indent}n{i} [{label}]")
    for link in picture.links:
        styles = [f'label="{_escape(link.label, _DOT)}"'] if link.label else []
        styles += ["dir=both"] if link.both else []
        styles += ["style=dotted"] if link.dotted else []
        lines.append(f"  n{link.start} -> n{link.end}" + (f" [{' '.join(styles)}]" * bool(styles)))
    return "\n".join([*lines, "}"])


def to_text(node: Node) -> str:
    """The graph as text for people: members indented below their network, then the links.

    >>> ann, bob = Node(name="Ann"), Node(name="Bob")
    >>> edge = ann.link(bob, trust=0.9)
    >>> print(to_text(ann))
    Ann (Node)
    Bob (Node)
    <BLANKLINE>
    Ann -> Bob  trust: 0.9
    """
    picture = Picture(node)
    lines, links = [], []
    for i, depth, step in picture.walk():
        if step != CLOSED:
            one = picture.nodes[i]
            indent = "  " * min(depth, DEEPEST)
            lines.append(f"{indent}{_escape(str(one), _TEXT)} ({type(one).__name__})")
    for link in picture.links:
        ends = [_escape(str(picture.nodes[i]), _TEXT) for i in (link.start, link.end)]
        text = f"{ends[0]} {'<->' if link.both else '->'} {ends[1]}"
        links.append(f"{text}  {_escape(link.label, _TEXT)}".rstrip())
    return "\n".join([*lines, "", *links] if links else lines)


# -- what all pictures have in common ----------------------------------------------------------

OPENED, CLOSED, SINGLE = "opened", "closed", "single"
"""The steps of a walk: a network begins, a network ends, a node without members."""


class Link(Struct):
    """A line between two nodes of a picture, by their numbers."""

    start: int
    end: int
    label: str = ""
    both: bool = False
    dotted: bool = False


class Picture(Struct):
    """A graph laid out: each node in the network that has it first, lines for the rest.

    The plain edges that join a network and its members are seen by where these stand.
    """

    root: Any
    nodes: list[Any] = field(default_factory=list)
    inside: dict[int, list[int]] = field(default_factory=dict)
    tops: list[int] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)
    """The networks at which a line ends."""

    def __post_init__(self) -> None:
        self.nodes = reachable(self.root)
        number = {node.id: i for i, node in enumerate(self.nodes)}
        arrows = [
            (number[node.id], word, number[other.id], metadata)
            for node in self.nodes
            for word, other, metadata in pointers(node)
        ]
        members = {(start, end) for start, word, end, _ in arrows if word == MEMBER}
        home: dict[int, int] = {}
        for start, word, end, _ in arrows:
            if word == MEMBER and end not in home and not _is_within(start, end, home):
                home[end] = start
                self.inside.setdefault(start, []).append(end)
        self.tops = [i for i in range(len(self.nodes)) if i not in home]
        plain: dict[tuple[int, int], Link] = {}
        for start, word, end, metadata in arrows:
            if word == MEMBER:
                if home.get(end) != start:
                    self.links.append(Link(start, end, MEMBER, dotted=True))
            elif word != EDGE:
                self.links.append(Link(start, end, word, dotted=True))
            elif metadata:
                self.links.append(Link(start, end, _label(metadata)))
            elif (back := plain.get((end, start))) is not None and start != end:
                back.both = True
            elif not {(start, end), (end, start)} & members:
                plain[start, end] = link = Link(start, end)
                self.links.append(link)
        ends = {end for link in self.links for end in (link.start, link.end)}
        self.ports = ends & set(self.inside)

    def walk(self) -> Iterator[tuple[int, int, str]]:
        """Every node in the order of drawing: its number, how deep it stands, and the step."""
        todo = [(i, 0, OPENED) for i in reversed(self.tops)]
        while todo:
            i, depth, step = todo.pop()
            if step == OPENED and i not in self.inside:
                step = SINGLE
            yield i, depth, step
            if step == OPENED:
                todo.append((i, depth, CLOSED))
                todo += [(m, depth + 1, OPENED) for m in reversed(self.inside[i])]


def _is_within(inner: int, outer: int, home: Mapping[int, int]) -> bool:
    """Tell whether putting `outer` into `inner` would put it into itself.

    Whatever holds others already was looked at before `inner` was, so its number is lower.
    """
    if outer > inner:
        return False
    place: int | None = inner
    while place is not None and place != outer:
        place = home.get(place)
    return place == outer


def pointers(node: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """What a node points to, in order: the word for how, the other node, the metadata."""
    if not isinstance(node, Node):
        return
    fields = type(node).model_fields
    for other in _nodes_in(getattr(node, "members", ()) if "members" in fields else ()):
        yield MEMBER, other, {}
    for name in fields:
        if name != "members":
            for other in _nodes_in(getattr(node, name, None)):
                yield name, other, {}
    edges: Any = node.edges
    for edge in edges.values():
        yield EDGE, edge.node, edge.metadata


def _nodes_in(value: Any) -> Iterator[Any]:
    """The nodes a field holds, also in collections in collections."""
    todo, seen = [value], set()
    while todo:
        one = todo.pop()
        if isinstance(one, Node | Address):
            yield one
        elif isinstance(one, Mapping | list | tuple | set | frozenset) and id(one) not in seen:
            seen.add(id(one))
            inner = [*(one.values() if isinstance(one, Mapping) else one)]
            if isinstance(one, set | frozenset):
                inner.sort(key=_id)
            todo += inner[::-1]


def _id(value: Any) -> str:
    return str(getattr(value, "id", value))


def _label(metadata: Mapping[str, Any]) -> str:
    """The metadata of an edge as one line."""
    return ", ".join(f"{key}: {_shown(value)}" for key, value in metadata.items())


def _shown(value: Any) -> str:
    """A piece of metadata as text: plain values as they are, of all else only what it is."""
    if value is None or isinstance(value, str | int | float | Node | Address):
        return f"{value!s:.60}"
    if isinstance(value, set | frozenset):
        return " ".join(sorted(map(_shown, value)))
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value))
    return type(value).__name__


Escapes = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _escape(text: str, escapes: Escapes) -> str:
    """The text with what would be read as something else replaced."""
    pattern, instead = escapes
    return pattern.sub(instead, text)


_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_MERMAID: Escapes = (
    re.compile(rf"""[{_CONTROL}"#&<>`|{{}}()\[\]\\]"""),
    lambda found: " " if found[0] < " " else f"#{ord(found[0])};",
)
_DOT: Escapes = (
    re.compile(rf"""[{_CONTROL}"\\]"""),
    lambda found: f"\\{found[0]}" if found[0] in '"\\' else " ",
)
_TEXT: Escapes = (re.compile(rf"[{_CONTROL}]"), lambda _: " ")
