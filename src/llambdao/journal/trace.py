"""`Trace`: what came of a message, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from llambdao.journal.handles import Said

__all__ = ["Trace", "trace_of"]


class Trace(Struct):
    """A message, what was said in answer to it, and so on; `causes` led to it, the oldest first.

    `str()` of it is a drawing.
    """

    said: Said
    children: list[Trace]
    causes: list[Said]

    def __iter__(self) -> Iterator[tuple[int, Said]]:
        """Every message of the tree with its depth, each before what came of it."""
        todo = [(0, self)]
        while todo:
            depth, one = todo.pop()
            yield depth, one.said
            todo += [(depth + 1, child) for child in reversed(one.children)]

    def dict(self) -> dict[str, Any]:
        """It as plain data: what came of it is in `children`, one in the other."""
        top: dict[str, Any] = {}
        chain: list[dict[str, Any]] = []
        for depth, said in self:
            data = {**said.dict(), "children": []}
            del chain[depth:]
            if chain:
                chain[-1]["children"].append(data)
            else:
                top = data
            chain.append(data)
        return {"causes": [one.dict() for one in self.causes], **top}

    def __str__(self) -> str:
        lines: list[str] = []
        todo: list[tuple[str, str, Trace]] = [("", "", self)]
        while todo:
            before, below, one = todo.pop()
            lines.append(f"{before}{one.said}")
            last = len(one.children) - 1
            todo += [
                (
                    f"{below}{'└─ ' if n == last else '├─ '}",
                    f"{below}{'   ' if n == last else '│  '}",
                    child,
                )
                for n, child in reversed([*enumerate(one.children)])
            ]
        return "\n".join(lines)


def trace_of(all_said: list[Said], one: Said) -> Trace:
    """The tree of one of the messages of a conversation."""
    traces = {said.n: Trace(said, [], []) for said in all_said}
    for said in all_said:
        if said.re is not None and said.re < said.n and said.re in traces:
            traces[said.re].children.append(traces[said.n])
    trace, causes = traces[one.n], []
    re = one.re
    while re is not None and re in traces:
        cause = traces[re].said
        causes.append(cause)
        re = cause.re if cause.re is not None and cause.re < cause.n else None
    trace.causes = causes[::-1]
    return trace
