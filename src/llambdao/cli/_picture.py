"""`Picture`: what `llambdao top` shows, drawn from what a program says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from msgspec.json import decode
from rich.console import Group
from rich.table import Table
from rich.text import Text

from llambdao.console._screen import seen
from llambdao.runtime.status import NodeStatus, Status

__all__ = ["SORTS", "Picture", "amount", "duration", "shares"]

SORTS: dict[str, tuple[str, Callable[[NodeStatus], Any]]] = {
    "n": ("name", lambda node: (node.name.casefold(), node.name)),
    "w": ("waiting", lambda node: (-node.waiting, -(node.handlers or 0), -(node.handled or 0))),
    "h": ("handled", lambda node: (-(node.handled or 0), -node.waiting)),
    "f": ("failed", lambda node: (-(node.failed or 0), -(node.handled or 0))),
}
"""What nodes can be sorted by, and how, for each key."""

NODES = {
    "NODE": 0, "STATE": 9, "WAITING": 7, "BUSY": 5, "HANDLED": 8, "FAILED": 6, "MEAN": 7, "WORST": 7
}  # fmt: skip
CONVERSATIONS = {"AGE": 7, "SAID": 6, "OPENED WITH": 0, "AT": 0, "WAITS FOR": 0}
LETTERS = {"AGE": 7, "DEAD LETTER": 0, "FOR": 0, "REASON": 0}
"""How wide columns are; 0: what is left, shared as `RATIOS` say."""

RATIOS = {"OPENED WITH": 3, "AT": 2, "WAITS FOR": 6, "DEAD LETTER": 4, "FOR": 2, "REASON": 5}

TROUBLE = "bold red"
"""Of what somebody should look at: readable on light and on dark, as bold and reverse are."""

WEIGHTS = (3, 2, 1)
"""How the lines are shared between nodes, conversations and dead letters, if there are too few."""

NARROW, SPARED = 72, 2
"""Below so many columns so many of those of the nodes, the last ones, are left out."""

LATE = 2
"""After how many seconds without news something is wrong."""

SLOW = 0.1
"""The lag of an event loop, in seconds, from which on it is worth a look."""


class Picture:
    """How a program is doing: its last status, and what has changed since the one before.

    News should come every so many seconds.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self.sort = "w"
        self.is_over = False
        self.count = 0
        self._last: Status | None = None
        self._before: Status | None = None
        self._taken = time.monotonic()

    def take(self, line: bytes) -> None:
        """Here is news: a line of JSON."""
        self._before, self._last = self._last, decode(line, type=Status)
        self._taken = time.monotonic()
        self.count += 1

    def silence(self) -> int:
        """For how many seconds news has been late; 0 is fine."""
        late = time.monotonic() - self._taken - self.every
        return int(late) if late >= LATE and not self.is_over else 0

    def drawn(self, width: int, height: int | None = None) -> Group:
        """The picture in so many columns and lines; None: as many lines as there is to tell."""
        if (status := self._last) is None:
            return Group()
        head = [self._program(status), self._pace(status)]
        head += [_line(line) for line in status.budget[: None if height is None else height // 8]]
        foot = [self._foot(status, with_keys=height is not None)]
        many = [len(status.nodes), len(status.conversations), len(status.letters)]
        if height is not None:
            room = max(0, height - len(head) - len(foot) - sum(map(bool, many)))
            many = shares(room, many)
            foot = [*[Text()] * (room - sum(many)), *foot]
        tables = (
            _nodes(status, many[0], self.sort, len(NODES) - SPARED * (width < NARROW)),
            _conversations(status, many[1]),
            _letters(status, many[2]),
        )
        return Group(*head, *(one for one in tables if one.row_count), *foot)

    # -- the lines above and below the tables --------------------------------------------------

    def _program(self, status: Status) -> Text:
        """Which program, and how its event loop is doing."""
        who = _cell(f"{status.name} {status.pid}", "bold")
        up = f"up {duration(status.uptime)}"
        if late := self.silence():
            return _line(
                who, up, _cell(f"no news for {late} s: is its event loop blocked?", TROUBLE)
            )
        state = [] if status.state == "running" else [_cell(status.state, TROUBLE)]
        lag = _cell(f"lag {duration(status.lag)}", TROUBLE if (status.lag or 0) >= SLOW else "")
        timer = [] if status.due is None else [f"next timer in {duration(status.due)}"]
        return _line(who, up, *state, f"{amount(status.residents)} nodes", lag, *timer)

    def _pace(self, status: Status) -> Text:
        """How much is going on."""
        oldest = "" if status.oldest is None else f", oldest {duration(status.oldest)}"
        rates = [f"{self._rate(what)} {what}" for what in ("messages", "opened", "ended")]
        return _line(f"{amount(status.open)} open{oldest}", f"per second: {', '.join(rates)}")

    def _rate(self, what: str) -> str:
        if self._last is None or self._before is None:
            return "-"
        seconds = (self._last.counted or 0.0) - (self._before.counted or 0.0)
        if seconds <= 0:
            return "-"
        rate = (getattr(self._last, what) - getattr(self._before, what)) / seconds
        return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"

    def _foot(self, status: Status, *, with_keys: bool) -> Text:
        """What can be pressed, and since when is counted."""
        counted = f"counted for {duration(status.counted)}"
        if not with_keys:
            return _line(counted)
        keys = Text("  ").join(
            Text(f"{key} {word}", "bold" if key == self.sort else "")
            for key, (word, _) in SORTS.items()
        )
        return _line("q leaves", Text("sort by ").append_text(keys), counted)


# -- the tables --------------------------------------------------------------------------------


def _nodes(status: Status, many: int, sort: str, width: int) -> Table:
    columns = dict(islice(NODES.items(), width))
    table = _table(columns, (many, status.residents), SORTS[sort][0])
    for node in sorted(status.nodes, key=SORTS[sort][1])[:many]:
        is_full = node.waiting >= node.room
        cells = (
            _cell(node.name),
            _cell(_state(node, is_full), TROUBLE if is_full or node.is_stopped else ""),
            _cell(amount(node.waiting), TROUBLE if is_full else ""),
            _cell(amount(node.handlers)),
            _cell(amount(node.handled)),
            _cell(amount(node.failed), TROUBLE if node.failed else ""),
            _cell(duration(node.mean)),
            _cell(duration(node.worst)),
        )
        table.add_row(*cells[:width])
    return table


def _state(node: NodeStatus, is_full: bool) -> str:
    if node.is_stopped:
        return "stopped"
    return " ".join(["held"] * node.is_held + ["full"] * is_full)


def _conversations(status: Status, many: int) -> Table:
    table = _table(CONVERSATIONS)
    for one in status.conversations[:many]:
        more = f" (and {one.more} more)" if one.more else ""
        table.add_row(
            _cell(duration(one.age)),
            _cell(amount(one.messages)),
            _cell(one.words),
            _cell(one.node),
            _cell("; ".join(one.waits) + more),
        )
    return table


def _letters(status: Status, many: int) -> Table:
    table = _table(LETTERS, (many, status.dead))
    for letter in status.letters[:many]:
        table.add_row(
            _cell(duration(letter.age)),
            _cell(letter.words),
            _cell(letter.node),
            _cell(letter.reason),
        )
    return table


def _table(columns: dict[str, int], some: tuple[int, int] = (0, 0), sorted_by: str = "") -> Table:
    """An empty table; its first wide column says so if only some are shown, of so many."""
    table = Table(
        box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="reverse"
    )
    rest = f" ({some[0]} of {amount(some[1])})" if some[0] < some[1] else ""
    for name, width in columns.items():
        heading = Text(name, "bold" if name.lower() == sorted_by else "")
        if not width:
            heading.append(rest)
            rest = ""
        table.add_column(
            heading,
            width=width or None,
            ratio=None if width else RATIOS.get(name, 1),
            justify="right" if width else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return table


def _cell(text: str, style: str = "") -> Text:
    words = seen(text).replace("\n", " ")
    return Text(words, style, no_wrap=True, overflow="ellipsis")


def _line(*parts: str | Text) -> Text:
    """Parts beside each other; what does not fit is cut."""
    line = Text("   ", no_wrap=True, overflow="ellipsis", end="\n")
    return line.join(_cell(part) if isinstance(part, str) else part for part in parts)


# -- numbers -----------------------------------------------------------------------------------


def shares(room: int, wants: Sequence[int]) -> list[int]:
    """How many lines each of them gets, if there are so many.

    >>> shares(9, [30, 1, 5]), shares(20, [3, 2, 1])
    ([6, 1, 2], [3, 2, 1])
    """
    given = [0] * len(wants)
    while room and given != [*wants]:
        for place, weight in enumerate(WEIGHTS):
            more = min(weight, wants[place] - given[place], room)
            given[place] += more
            room -= more
    return given


def duration(seconds: float | None) -> str:
    """Some time in seven characters at most.

    >>> [duration(s) for s in (0.00042, 0.0042, 0.042, 4.25, 42, 4242, 424242, None)]
    ['420 µs', '4.2 ms', '42 ms', '4.2 s', '42 s', '1h 10m', '4d 21h', '-']
    """
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if minutes < 60:
        return f"{minutes}m {int(seconds) % 60:02}s"
    if hours < 24:
        return f"{hours}h {minutes % 60:02}m"
    days = hours // 24
    return f"{days}d {hours % 24:02}h" if days < 100 else f"{days:,}d"


def amount(number: int | None) -> str:
    """A number in seven characters at most.

    >>> [amount(n) for n in (1, 12_345, 999_999, 1_234_567, 123_456_789, None)]
    ['1', '12,345', '999,999', '1.2M', '123.5M', '-']
    """
    if number is None:
        return "-"
    if number < 1_000_000:
        return f"{number:,}"
    return f"{number / 1e6:,.1f}M" if number < 1_000_000_000 else f"{number / 1e9:,.1f}G"
