"""`Picture`: what `llambdao top` shows, drawn from what a program says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.json import decode
from rich.console import Group
from rich.table import Table
from rich.text import Text

from llambdao.console._screen import seen
from llambdao.runtime.status import ConversationStatus, LetterStatus, NodeStatus, Status

__all__ = ["SORTS", "Picture", "amount", "duration", "shares"]

SORTS: dict[str, Callable[[NodeStatus], Any]] = {
    "n": lambda node: (node.name.casefold(), node.name),
    "w": lambda node: (-node.waiting, -(node.handlers or 0), -(node.handled or 0)),
    "h": lambda node: (-(node.handled or 0), -node.waiting),
    "f": lambda node: (-(node.failed or 0), -(node.handled or 0)),
}
"""What nodes are sorted by, for each key that can be pressed."""

WORDS = {"n": "name", "w": "waiting", "h": "handled", "f": "failed"}

TROUBLE = "bold red"
"""Of what somebody should look at; readable on light and on dark, as all that is used here."""

WEIGHTS = (3, 2, 1)
"""How the lines are shared between nodes, conversations and dead letters, if there are too few."""

LATE = 2
"""After how many seconds without news something is wrong."""


class Picture:
    """How a program is doing: its last status, and what has changed since the one before."""

    def __init__(self) -> None:
        self.sort = "w"
        self.is_over = False
        self.count = 0
        self._last: Status | None = None
        self._before: Status | None = None
        self._taken = 0.0

    def take(self, line: bytes) -> None:
        """Here is news: a line of JSON."""
        self._before, self._last = self._last, decode(line, type=Status)
        self.count += 1
        self._taken = time.monotonic()

    def silence(self) -> int:
        """For how many seconds news has been late; 0 is fine."""
        late = time.monotonic() - self._taken - self._period()
        return int(late) if late >= LATE and not self.is_over else 0

    def drawn(self, width: int, height: int | None = None) -> Group:
        """The picture in so many columns and lines; None: as many lines as there is to tell."""
        status = self._last
        if status is None:
            return Group()
        head = [self._program(status, width), self._pace(status)]
        most = 20 if height is None else max(1, height // 8)
        head += [_line((line, "")) for line in status.budget[:most]]
        nodes = sorted(status.nodes, key=SORTS[self.sort])
        some = [len(nodes), len(status.conversations), len(status.letters)]
        foot: list[Any] = []
        if height is not None:
            room = height - len(head) - 1 - sum(map(bool, some))
            some = shares(room, some)
            blank = room - sum(some)
            foot = [*([Text()] * blank), self._keys()]
        tables = [
            _nodes(nodes[: some[0]], status.residents, self.sort),
            _conversations(status.conversations[: some[1]], status.open),
            _letters(status.letters[: some[2]], status.dead),
        ]
        return Group(*head, *(table for table, n in zip(tables, some, strict=True) if n), *foot)

    # -- the lines above and below the tables ----------------------------------------------------

    def _program(self, status: Status, width: int) -> Text:
        """Who it is, and how its event loop is doing."""
        line = _line((f"{seen(status.name)} {status.pid}", "bold"), (f"up {duration(status.uptime)}", ""))
        if (late := self.silence()):
            return _line((line, ""), (f"no news for {late} s: what blocks its event loop?", TROUBLE))
        lag = "–" if status.lag is None else duration(status.lag)
        parts = [(line, ""), (f"{amount(status.residents)} nodes", "")]
        if status.state != "running":
            parts.append((status.state, TROUBLE))
        parts.append((f"lag {lag}", TROUBLE if (status.lag or 0) >= 0.1 else ""))
        if status.due is not None:
            parts.append((f"next timer in {duration(status.due)}", ""))
        return _line(*parts)

    def _pace(self, status: Status) -> Text:
        """How much is going on."""
        oldest = "" if status.oldest is None else f", oldest {duration(status.oldest)}"
        open_ = f"{amount(status.open)} open{oldest}"
        rates = [
            (f"{self._rate(what)} {word}/s", "")
            for what, word in (("messages", "messages"), ("opened", "opened"), ("ended", "ended"))
        ]
        return _line((open_, "bold"), *rates)

    def _keys(self) -> Text:
        parts: list[Any] = [("q leaves", ""), ("sort by", "")]
        line = _line(*parts)
        for key, word in WORDS.items():
            line.append("  ")
            line.append(f"{key} {word}", "bold" if key == self.sort else "")
        return line

    def _period(self) -> float:
        """How many seconds there were between the last status and the one before."""
        if self._last is None or self._before is None:
            return 0.0
        return (self._last.counted or 0.0) - (self._before.counted or 0.0)

    def _rate(self, what: str) -> str:
        seconds = self._period()
        if seconds <= 0:
            return "–"
        rate = (getattr(self._last, what) - getattr(self._before, what)) / seconds
        return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
