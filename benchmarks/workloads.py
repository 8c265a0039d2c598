"""What is measured: every point of every workload, its floor, and the goal it has to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

How = Literal[
    "time",
    "wall",
    "each",
    "stored",
    "bytes",
    "resident",
    "peak",
    "kept",
    "beyond",
    "encoded",
    "import",
    "packages",
    "size",
]

UNITS: dict[How, str] = {
    "time": "us",
    "wall": "ms",
    "each": "us",
    "stored": "B",
    "bytes": "B",
    "resident": "B",
    "peak": "B",
    "kept": "B",
    "beyond": "B",
    "encoded": "B",
    "import": "ms",
    "packages": "",
    "size": "MB",
}

TITLES = {
    "W1": "one question, one answer",
    "W2": "1,000 replies to one message",
    "W3": "n children, each answers",
    "W4": "group chat of 8, 1,000 utterances",
    "W5": "through n nested networks",
    "W6": "idle nodes",
    "W7": "each message answers the one before",
    "R1": "awaited: one question, one answer",
    "R2": "awaited: 1,000 replies to one message",
    "R3": "awaited: n children, each answers",
    "R4": "awaited: group chat of 8, 1,000 utterances",
    "R6": "a runtime's idle nodes and open conversations",
    "R9": "1,000 nodes at once, each awaits 100 ms",
    "J1": "a journal: one conversation, safe from a power cut",
    "J2": "a journal: one conversation, safe from the end of the process",
    "J3": "a journal: 64 conversations, safe from a power cut",
    "J4": "a journal: what it stores",
    "J5": "a journal: restart and replay",
    "J6": "a journal in PostgreSQL: 64 conversations",
    "import": "import and weight",
    "blocks": "building blocks",
}

LIVING = ("R1", "R2", "R3", "R4", "R6", "R9")
"""Workloads of programs that live, on an event loop: beside an `asyncio.Queue` and tasks."""

DURABLE = ("J1", "J2", "J3", "J4", "J5", "J6")
"""Workloads of programs that survive their end: beside two rows and a commit."""


@dataclass(frozen=True)
class Point:
    """One row of the table: a case of ours, the same case in peers, its floor, and its goals."""

    workload: str
    label: str
    case: str
    n: int | None = None
    how: How = "time"
    floor: str = ""  # the floor's case, if it has another name; "-": no floor
    peer: str = ""  # the peers' case, if it has another name; "-": nothing to compare
    floor_x: float | None = None  # at most so many times the floor
    at_most: float | None = None  # at most so much
    beside: dict[str, float] = field(default_factory=dict)  # at most this part of a peer's
    grows: tuple[int, float] | None = None  # at most this many times the value at that n
    quick: bool = True

    @property
    def key(self) -> str:
        """What this row is called, in tables and in JSON."""
        return f"{self.workload} {self.label}" + ("" if self.n is None else f", n = {self.n:,}")

    def case_of(self, system: str) -> str:
        """The name of this point's case in a system's module ("-": none)."""
        other = {"llambdao": "", "floor": self.floor}.get(system, self.peer)
        return other or self.case


def series(
    sizes: tuple[int, ...], workload: str, label: str, case: str, **goals: object
) -> list[Point]:
    """The same point at several sizes; growth is asked of the largest that the table names."""
    return [
        Point(workload, label, case, n, quick=n <= 1_000, **goals)  # type: ignore[arg-type]
        for n in sizes
    ]


def guarded_and_plain(
    workload: str, label: str, case: str, peer: str = "", **goals: object
) -> list[Point]:
    """A point with all that a careful program has on, which the goals are for, and one without."""
    return [
        Point(workload, label, case, peer=peer, **goals),  # type: ignore[arg-type]
        Point(workload, f"{label}, plain", f"{case}_plain", floor=case, peer="-"),
    ]


def by_wall_and_cpu(workload: str, case: str, **goals: Any) -> list[Point]:
    """A turn that waits for a disk: the goals are for the clock on the wall."""
    return [
        Point(workload, "a turn, wall", case, how="each", **goals),
        Point(workload, "a turn, CPU", case),
    ]


ALONE: dict[str, Any] = {"floor": "-", "peer": "-"}
TEXT: dict[str, Any] = {"at_most": 3 * 66, "grows": (1_000, 1.1)}
KEEPS: dict[str, Any] = {"how": "stored", "floor": "stored", "peer": "thread"}
TEN_TO_TEN_THOUSAND = (10, 100, 1_000, 10_000)
CALLERS = {"autogen_core": 1 / 12}
AWAITED = {"pykka": 1 / 2, **CALLERS}
W1_PEERS = {"thespian": 1 / 2, "llegos": 1 / 12, "autogen_core": 1 / 35}

POINTS: list[Point] = [
    Point("W1", "from outside", "ask_outside", floor_x=6, beside=W1_PEERS),
    Point(
        "W1",
        "inside a handler",
        "ask_inside",
        floor="ask_outside",
        peer="ask_outside",
        floor_x=6,
        beside=W1_PEERS,
    ),
    Point("W2", "per reply", "stream", floor_x=2.5, beside={"pykka": 1 / 2}),
    Point("W2", "per reply, plain str", "stream_str", floor="stream", peer="stream", floor_x=2.5),
    Point("W2", "first reply", "first", floor_x=6),
    *series(
        TEN_TO_TEN_THOUSAND,
        "W3",
        "relay, per child",
        "relay",
        floor="fan",
        peer="fan",
        floor_x=5,
        beside={"thespian": 1 / 2},
        grows=(100, 1.5),
    ),
    *series(
        TEN_TO_TEN_THOUSAND,
        "W3",
        "ask all, per child",
        "ask_all",
        floor="fan",
        peer="fan",
        floor_x=12,
        beside={"thespian": 1 / 2},
        grows=(100, 1.5),
    ),
    Point(
        "W4",
        "per delivery, beside a bare group",
        "group_chat",
        floor_x=8,
        beside={"pykka": 2 / 3},
    ),
    Point("W4", "per delivery, beside bare calls", "group_chat", floor="deliveries"),
    *series(TEN_TO_TEN_THOUSAND, "W5", "per relaying hop", "hops", at_most=1.5, grows=(100, 2)),
    *series(
        TEN_TO_TEN_THOUSAND,
        "W5",
        "per nested ask",
        "nested_asks",
        at_most=10,
        grows=(100, 2),
    ),
    Point("W6", "created", "idle", 1_000_000, at_most=4, quick=False),
    Point("W6", "memory each", "idle", 100_000, "bytes", at_most=517),
    Point("W6", "resident each", "idle", 1_000_000, "resident", peer="-", quick=False),
    *series((1_000, 10_000, 100_000, 1_000_000), "W7", "per message", "thread", grows=(1_000, 2)),
    *series(
        (1_000, 10_000, 100_000),
        "W7",
        "memory per message",
        "thread",
        how="peak",
        floor="-",
        grows=(1_000, 2),
    ),
    *series((1_000, 100_000), "W7", "last message, encoded", "encoded", how="encoded", at_most=300),
    *guarded_and_plain("R1", "awaited", "ask", "ask_outside", floor_x=1.2, beside=AWAITED),
    *guarded_and_plain("R1", "awaited, 64 callers", "ask_64", floor_x=2, beside=CALLERS),
    *guarded_and_plain("R2", "per reply", "stream", at_most=1.5),
    *guarded_and_plain("R2", "first reply", "first", at_most=60),
    *series(
        TEN_TO_TEN_THOUSAND,
        "R3",
        "relay, per child",
        "relayed",
        floor="fan",
        peer="fan",
        floor_x=1,
    ),
    Point("R3", "relay, per child, plain", "relayed_plain", 1_000, floor="fan", peer="-"),
    *series(
        TEN_TO_TEN_THOUSAND,
        "R3",
        "ask all, per child",
        "asked",
        floor="fan",
        peer="fan",
        floor_x=1,
    ),
    Point("R3", "ask all, per child, plain", "asked_plain", 1_000, floor="fan", peer="-"),
    *guarded_and_plain("R4", "per delivery", "group_chat", floor_x=1),
    Point("R9", "wall", "sleeping", 1_000, "wall", floor_x=1.3),
    Point("R9", "each", "sleeping", 1_000, floor_x=4),
    Point("R9", "each, plain", "sleeping_plain", 1_000, floor="sleeping", peer="-"),
    Point(
        "R9",
        "sleep() in generators, wall",
        "sleeping_generators",
        1_000,
        "wall",
        floor="sleeping",
        peer="sleeping",
        floor_x=1.3,
    ),
    Point(
        "R9",
        "sleep() in generators, each",
        "sleeping_generators",
        1_000,
        floor="sleeping",
        peer="sleeping",
        floor_x=4,
    ),
    Point(
        "R9",
        "sleep() in generators, each, plain",
        "sleeping_generators_plain",
        1_000,
        floor="sleeping",
        peer="-",
    ),
    Point("R6", "memory of an idle node", "idle", 100_000, "kept", peer="-", quick=False),
    Point(
        "R6",
        "memory of an open conversation beyond its generator",
        "opened",
        10_000,
        "beyond",
        floor="-",
        peer="-",
        at_most=1_000,
    ),
    Point(
        "R6",
        "memory of an open activation beyond its generator",
        "opened_children",
        10_000,
        "beyond",
        floor="-",
        peer="-",
        at_most=1_000,
    ),
    Point("R6", "a conversation opened", "opening", 10_000, peer="-", quick=False),
    Point("R6", "answered by news", "news", 10_000, peer="-", quick=False),
    Point("R6", "awake by timers", "timers", 10_000, peer="-", quick=False),
    *by_wall_and_cpu(
        "J1",
        "turns_full",
        floor_x=1.5,
        beside={"dbos": 1 / 5, "langgraph_saver": 1 / 8},
    ),
    Point("J2", "a turn, CPU", "turns_normal", floor_x=4, beside={"langgraph_saver": 1 / 40}),
    Point("J2", "a turn, wall", "turns_normal", how="each"),
    *by_wall_and_cpu("J3", "turns_full_64", at_most=60),
    *series((1_000, 10_000), "J4", "a turn", "stored", how="stored", peer="-", **TEXT),
    Point("J4", "a turn of a node that keeps 24", "stored_by_keeper", 1_000, **KEEPS),
    Point("J4", "a turn of a node that keeps all", "stored_by_keeper_of_all", 1_000, **KEEPS),
    Point(
        "J4",
        "an open conversation, 1 kB, of a node that keeps 24",
        "stored_open",
        2_000,
        "stored",
        floor="-",
        peer="-",
        at_most=3_000,
    ),
    Point("J5", "start, wall", "starting", 100_000, "wall", **ALONE, at_most=1_000, quick=False),
    Point("J5", "start, CPU, each", "starting", 100_000, **ALONE, quick=False),
    Point("J5", "memory, each", "starting", 100_000, "kept", **ALONE, at_most=10, quick=False),
    Point("J5", "start, wall", "starting", 10_000, "wall", **ALONE),
    Point("J5", "a step replayed, CPU", "replaying", **ALONE, at_most=50),
    *by_wall_and_cpu("J6", "turns_postgres_64", at_most=400),
    Point("import", "time", "", how="import", beside={"autogen_core": 1}),
    Point("import", "packages", "", how="packages", floor="-", at_most=8),
    Point("import", "installed", "", how="size", floor="-", at_most=15),
    Point("blocks", "a message", "make_message", peer="-"),
    Point("blocks", "a reply", "make_reply", floor="make_message", peer="-"),
    Point("blocks", "an id, written out (floor: uuid4)", "make_id", peer="-"),
    Point("blocks", "to JSON (floor: json)", "to_json", peer="-"),
    Point("blocks", "from JSON (floor: json)", "from_json", peer="-"),
    Point("blocks", "a node", "idle", 10_000, peer="-"),
    Point("blocks", "an edge", "make_edge", peer="-"),
]
