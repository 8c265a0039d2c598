"""The picture: for each workload how many times the bare floor each system takes, as SVG."""

from __future__ import annotations

from html import escape
from math import floor, log10

from benchmarks.environments import OURS
from benchmarks.report import Summary
from benchmarks.workloads import POINTS

SHOWN = {
    "W1 from outside": "one question, one answer",
    "W2 per reply": "a stream, per reply",
    "W2 first reply": "a stream, its first reply",
    "W3 ask all, per child, n = 1,000": "ask 1,000 nodes, per node",
    "W4 per delivery, beside a bare group": "group chat of 8, per delivery",
    "W5 per relaying hop, n = 100": "100 nested networks, per hop",
    "W6 memory each, n = 100,000": "an idle node, memory",
    "W7 per message, n = 1,000": "a thread of answers, per message",
}
COLOURS = {
    OURS: "#d6336c",
    "pykka": "#2b8a9e",
    "thespian": "#e08e0b",
    "llegos": "#7a9e1f",
    "autogen_core": "#4c7be0",
    "langgraph": "#9a6bd6",
}
"""Those that are shown."""
WIDTH, LEFT, RIGHT, TOP, STEP = 860, 250, 30, 76, 40
# One grey that reads on white and on black: a page's theme need not be its system's.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #737b86 }
.small { font-size: 11px }
line { stroke: #8a919a; stroke-opacity: .35 }
.floor { stroke-opacity: .9; stroke-dasharray: 4 3 }
"""


def plot(summary: Summary) -> str:
    """One line of dots for each workload on a logarithmic scale; ours are the large ones."""
    points = [point for point in POINTS if point.key in SHOWN]
    found = {
        (system, point.key): ratio.median
        for system in summary.systems
        for point in points
        if (ratio := summary.ratio(system, point))
    }
    lines = [point.key for point in points if any(key == point.key for _, key in found)]
    decades = max((floor(log10(ratio)) + 1 for ratio in found.values() if ratio > 0), default=1)
    bottom = TOP + STEP * len(lines)

    def x(ratio: float) -> float:
        share = max(log10(max(ratio, 0.5)), -0.3) + 0.3
        return LEFT + share / (max(decades, 1) + 0.3) * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 34}" role="img">',
        f"<style>{STYLE}</style>",
        '<text x="12" y="24">Times a bare generator (CPU; memory: bytes), less is better</text>',
    ]
    for number, system in enumerate(s for s in summary.systems if s in COLOURS):
        place = 18 + number * 118
        parts.append(f'<circle cx="{place}" cy="46" r="5" fill="{COLOURS[system]}"/>')
        parts.append(f'<text x="{place + 10}" y="50">{escape(system)}</text>')
    for power in range(max(decades, 1) + 1):
        at = x(10**power)
        kind = ' class="floor"' if power == 0 else ""
        parts.append(f'<line{kind} x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        label = "floor" if power == 0 else f"{10**power:,}x"
        place = f'x="{at:.1f}" y="{bottom + 18}" text-anchor="middle"'
        parts.append(f'<text class="small" {place}>{label}</text>')
    for number, key in enumerate(lines):
        y = TOP + STEP * number + STEP // 2
        parts.append(f'<text x="12" y="{y + 4}">{escape(SHOWN[key])}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        for system, colour in COLOURS.items():  # ours below, for it is the largest
            if ratio := found.get((system, key)):
                size = 8 if system == OURS else 5
                parts.append(
                    f'<circle cx="{x(ratio):.1f}" cy="{y}" r="{size}" fill="{colour}">'
                    f"<title>{escape(system)}: {ratio:.3g}x</title></circle>"
                )
    return "\n".join([*parts, "</svg>", ""])
