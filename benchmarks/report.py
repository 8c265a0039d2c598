"""What was measured as tables: medians over the rounds, ratios always within one process."""

from __future__ import annotations

import statistics
from collections import defaultdict
from fractions import Fraction
from typing import Any, NamedTuple

from benchmarks.environments import AGENTS, OURS, PROJECT
from benchmarks.workloads import DURABLE, POINTS, TITLES, UNITS, Point

SECTIONS = {
    "measured": tuple(name for name in TITLES if name not in DURABLE),
    "journal": DURABLE,
}
"""Parts of the page, each written by a run of its own -> their workloads."""


class Ratio(NamedTuple):
    """A median and the extremes it lies between."""

    median: float
    least: float
    most: float


class Summary:
    """Medians of one run."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.systems = [OURS, *results["peers"]]
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.floors: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.failed: dict[tuple[str, str], str] = {}
        for one in results["values"]:
            place = one["system"], one["point"]
            if isinstance(one["value"], str):
                self.failed[place] = one["value"]
                continue
            self.values[place].append(one["value"])
            if one["floor"]:
                floor = statistics.mean(one["floor"])
                self.floors[place].append(floor)
                if floor:
                    self.ratios[place].append(one["value"] / floor)

    def only(self, points: list[Point]) -> list[Point]:
        """Those of them that were measured."""
        keys = {key for _, key in [*self.values, *self.failed]}
        return [point for point in points if point.key in keys]

    def value(self, system: str, point: Point) -> float | None:
        values = self.values.get((system, point.key))
        return statistics.median(values) if values else None

    def floor(self, point: Point) -> float | None:
        values = self.floors.get((OURS, point.key)) or [
            value for system in self.systems for value in self.floors.get((system, point.key), [])
        ]
        return statistics.median(values) if values else None

    def ratio(self, system: str, point: Point) -> Ratio | None:
        values = self.ratios.get((system, point.key))
        return Ratio(statistics.median(values), min(values), max(values)) if values else None

    def beside(self, peer: str, point: Point) -> float | None:
        """How many times ours a peer takes; by way of the floors where both have one."""
        mine, its = self.ratio(OURS, point), self.ratio(peer, point)
        if mine and its:
            return its.median / mine.median
        my_value, its_value = self.value(OURS, point), self.value(peer, point)
        return its_value / my_value if my_value and its_value else None

    def best(self, point: Point) -> tuple[str, float] | None:
        """The best peer and how many times ours it takes; in weight, of agent frameworks alone."""
        peers = [peer for peer in self.systems[1:] if point.workload != "import" or peer in AGENTS]
        found = [(part, peer) for peer in peers if (part := self.beside(peer, point))]
        return min(found)[::-1] if found else None

    def judged(self, point: Point) -> list[tuple[str, bool | None]]:
        """Each goal of a point as text, and whether it is met (None: not measured)."""
        goals: list[tuple[str, bool | None]] = []
        mine, ratio = self.value(OURS, point), self.ratio(OURS, point)
        failed = (OURS, point.key) in self.failed
        if point.floor_x:
            met = ratio.median <= point.floor_x if ratio else None
            goals.append((f"<= {point.floor_x:g}x floor", met))
        if point.at_most:
            met = mine <= point.at_most if mine is not None else None
            goals.append((f"<= {number(point.at_most, point)}", met))
        for peer, part in point.beside.items():
            its = self.beside(peer, point)
            share = "" if part == 1 else f"{Fraction(part).limit_denominator(99)} of "
            goals.append((f"<= {share}{peer}", its * part >= 1 if its else None))
        if point.grows and point.n and point.n > point.grows[0]:
            n, most = point.grows
            key = point.key.replace(f"n = {point.n:,}", f"n = {n:,}")
            small = self.values.get((OURS, key))
            met = mine <= most * statistics.median(small) if small and mine is not None else None
            goals.append((f"<= {most:g}x that at {n:,}", met))
        return [(text, False if failed else met) for text, met in goals]


def number(value: float | None, point: Point) -> str:
    """Three digits and the unit."""
    if value is None:
        return ""
    return f"{digits(value)} {UNITS[point.how]}".strip()


def digits(value: float, most: int = 3) -> str:
    """So many digits, more only before the point."""
    return f"{value:,.0f}" if value >= 10 ** (most - 1) else f"{value:.{most}g}"


def times(ratio: Ratio | None, extremes: bool = False) -> str:
    """How many times the floor."""
    if ratio is None:
        return ""
    text = digits(ratio.median, 2) + "x"
    return text + (f" [{digits(ratio.least, 2)}..{digits(ratio.most, 2)}]" if extremes else "")


def rows(header: list[str], lines: list[list[str]]) -> str:
    """A markdown table that reads well as plain text too."""
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    shown = [header, ["-" * width for width in widths], *lines]
    padded = [[cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in shown]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def head(results: dict[str, Any]) -> str:
    peers = ", ".join(results["peers"].values()) or "none"
    text = (
        f"CPython {results['python']}, {results['system']}; {results['rounds']} rounds, medians;\n"
        f"CPU time, where nothing else is said; peers: {peers}\n"
    )
    notes = [f"Left out: {one}." for one in results.get("left_out", ())]
    notes += [results["note"]] if results.get("note") else []
    return text + "".join(f"\n{one}\n" for one in notes)


def table(summary: Summary, points: list[Point] = POINTS) -> str:
    """Every point: the floor, ours, the goal, the best peer."""
    lines = []
    for point in points:
        mine, floor = summary.value(OURS, point), summary.floor(point)
        ratio, best = summary.ratio(OURS, point), summary.best(point)
        failed = summary.failed.get((OURS, point.key))
        if mine is None and floor is None and not failed:
            continue
        goals = summary.judged(point)
        verdict = ["no" if met is False else "yes" for _, met in goals if met is not None]
        lines.append(
            [
                point.key,
                number(floor, point),
                failed or number(mine, point),
                times(ratio, extremes=True),
                ", ".join(text if met is not False else f"**{text}**" for text, met in goals),
                "no" if "no" in verdict else "yes" if verdict else "",
                f"{best[0]} {digits(best[1], 2)}x" if best else "",
            ]
        )
    header = ["workload", "floor", "ours", "x floor", "goal", "met", "best peer, x ours"]
    return rows(header, lines)


def verdict(summary: Summary, points: list[Point]) -> str:
    """How many goals are met, and by workload those that are not."""
    goals = [(point, *goal) for point in points for goal in summary.judged(point)]
    goals = [goal for goal in goals if goal[2] is not None]
    missed: dict[str, list[str]] = defaultdict(list)
    for point, text, met in goals:
        if not met:
            missed[point.workload].append(
                f"{point.key.removeprefix(point.workload).strip()} {text}"
            )
    met = sum(1 for _, _, met in goals if met)
    lines = [f"- **{workload}**: {'; '.join(texts)}" for workload, texts in missed.items()]
    return "\n".join([f"{met} of {len(goals)} goals are met. These are missed:", "", *lines])


def peers_table(summary: Summary, points: list[Point] = POINTS) -> str:
    """What each peer takes, and how many times the floor of its own process."""
    peers, lines, seen = summary.systems[1:], [], set()
    for point in points:
        same = (point.case_of("a peer"), point.n, point.how)
        cells = []
        for peer in peers:
            ratio, value = summary.ratio(peer, point), summary.value(peer, point)
            cell = number(value, point) + (f" ({times(ratio)})" if ratio else "")
            cells.append(summary.failed.get((peer, point.key)) or cell)
        if any(cells) and same not in seen:
            lines.append([point.key, *cells])
            seen.add(same)
    return rows(["workload", *peers], lines)


def write_docs(results: dict[str, Any], summary: Summary, picture: str) -> None:
    """Put the tables of what was measured between their marks on the page; the rest stays.

    The picture beside it shows the first section, and is drawn with that.
    """
    page, image = PROJECT / "docs/benchmarks.md", PROJECT / "docs/assets/benchmarks.svg"
    for section, workloads in SECTIONS.items():
        points = summary.only([point for point in POINTS if point.workload in workloads])
        if not points:
            continue
        if section == "measured":
            image.parent.mkdir(exist_ok=True)
            image.write_text(picture)
        begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
        before, rest = page.read_text().split(begin)
        after = rest.split(end)[1]
        parts = [begin, head(results), verdict(summary, points), "", table(summary, points), ""]
        if results["peers"]:
            title = "## The peers" if section == "measured" else "### Its peers"
            parts += [title, "", peers_table(summary, points), ""]
        page.write_text(before + "\n".join([*parts, end]) + after)
