"""What holds in every simulation, whatever the program, the order and the faults: `audited`.

Every activation and every scheduler that comes into being while a program runs is written down, so
that what has been lost, forgotten or done twice is found at the end.
"""

import asyncio
from collections import Counter
from contextlib import contextmanager
from functools import wraps

from llambdao import Reason
from llambdao.kernel import scheduler as kernel
from llambdao.kernel.activation import Activation
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.waits import OVER, Delegate
from llambdao.runtime import Runtime
from llambdao.runtime import runtime as driver
from llambdao.testing import _mailboxes as faulty

LETTERS = ("lost", "mailbox full", "cancelled")
"""Why what has never begun is a dead letter; what has failed is one, too."""

DROPPED = ("stopped", "restarted")
"""Why what was cancelled while it was under way is a dead letter, too."""

NOW = []
"""The audits under way, the latest last."""


class RecordedActivation(Activation):
    """An activation that is written down."""

    def __post_init__(self):
        if NOW:
            NOW[-1].acts.append(self)


class RecordedScheduler(Scheduler):
    """A scheduler that is written down."""

    def __post_init__(self):
        if NOW:
            NOW[-1].schedulers.append(self)


@contextmanager
def recording(audit):
    """Whatever comes into being is written down in this audit."""
    NOW.append(audit)
    kernel.Activation = faulty.Activation = RecordedActivation
    driver.Scheduler = RecordedScheduler
    try:
        yield
    finally:
        kernel.Activation = faulty.Activation = Activation
        driver.Scheduler = Scheduler
        NOW.remove(audit)


def audited(program):
    """The same program; when it has ended everything about it must be in order."""

    @wraps(program)
    async def run(simulation):
        audit = Audit(simulation)
        with recording(audit):
            await program(simulation)
        audit.check()
        await audit.check_nodes()

    return run


class Audit:
    """All that came into being in one simulation, and all that happened."""

    def __init__(self, simulation):
        self.simulation = simulation
        self.acts, self.schedulers, self.events = [], [], []
        simulation.runtime, self.runtime = self.observed, simulation.runtime

    def observed(self, *nodes, observe=(), **options):
        """A runtime whose events are written down."""
        return self.runtime(*nodes, observe=[self.events.append, *observe], **options)

    def check(self):
        """Everything is in order, or an AssertionError says what is not."""
        self.check_ends()
        self.check_leftovers()
        self.check_messages()
        self.check_order()

    def check_ends(self):
        """Every conversation has ended once, for a reason that is known."""
        over = Counter(id(e.conversation) for e in self.events if e.kind == "over")
        for one in self.schedulers:
            assert isinstance(one.reason, Reason), f"{one.opening!r} ended for {one.reason!r}"
            times = over[id(one.opening)]
            assert times == 1, f"the conversation of {one.opening!r} ended {times} times"

    def check_leftovers(self):
        """Nothing is under way, waits, holds a node, or is kept for later."""
        for one in self.schedulers:
            left = {
                name: value
                for name in ("stack", "ready", "told", "roots", "under_way", "settling")
                if (value := getattr(one, name))
            }
            if all(is_moot(act) for act in left.get("stack", ())):
                left.pop("stack", None)
            if left.get("under_way") == sum(home is one for home, _ in self.late()):
                left.pop("under_way")
            assert not left, f"the conversation of {one.opening!r} has left {left}"
        for runtime in self.simulation.runtimes:
            assert runtime.conversations == [], "conversations are still open"
            queue = runtime._queue
            assert [*queue.ready, *queue.cleaning] == [], "somebody could still go on"
            boxes = [box for box in runtime._mailboxes.boxes.values() if not box.stopped]
            assert boxes == [], f"mailboxes are left: {[slots(box) for box in boxes]}"
        late = [act for _, act in self.late() if not (act.closed or is_moot(act))]
        assert late == [], f"messages are still late: {late}"
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not tasks, f"tasks are left: {sorted(str(task.get_coro()) for task in tasks)}"

    async def check_nodes(self):
        """The nodes are free to live in another runtime."""
        for runtime in self.simulation.runtimes:
            other = Runtime(*runtime.nodes, clock=self.simulation.clock, watchdog=None)
            other.start()
            await other.stop(deadline=0)

    def late(self):
        """The messages that a simulation holds back, each with its scheduler."""
        for runtime in self.simulation.runtimes:
            for home, act, _ in getattr(runtime._mailboxes, "held", {}).values():
                yield home, act

    def check_messages(self):
        """Each delivery came to one end: handled, failed, a dead letter, or cancelled."""
        acts, moot = Counter(), Counter()
        for act in self.acts:
            (moot if is_moot(act) else acts)[key_of(act)] += 1
        seen = {kind: Counter() for kind in ("delivered", "ended", "failed", "cancelled", "dead")}
        seen["dropped"] = Counter()
        for event in self.events:
            kind, why = event.kind, event.detail
            if kind == "ended" and why == "cancelled":
                kind = why
            elif kind == "dead":
                kind = "dropped" if why in DROPPED else kind if why in LETTERS else ""
            if kind in seen:
                seen[kind][key_of(event)] += 1
        begun = seen["delivered"]
        ended = (
            seen["ended"] + seen["failed"] + seen["dead"] + (seen["cancelled"] | seen["dropped"])
        )
        for act in self.acts:
            key = key_of(act)
            assert act.closed or is_moot(act), f"{act} at {act.message!r} has not ended"
            assert begun[key] <= acts[key] + moot[key], f"{act} began {begun[key]} times"
            least = min(1, acts[key])  # of duplicates one end may stand for both
            assert least <= ended[key] <= acts[key] + moot[key], (
                f"{acts[key]} deliveries of {act.message!r} to {act.node} came to {ended[key]} ends"
            )

    def check_order(self):
        """What one node says to another is begun in the order in which it was said."""
        if any(fault.kind == "reordered" for fault in self.simulation.faults):
            return
        begun = {}
        for place, event in enumerate(self.events):
            if event.kind == "delivered":
                begun.setdefault(key_of(event), place)
        last, known = {}, set()
        for act in self.acts:
            said, place = act.message, begun.get(key_of(act))
            if act.fan or type(act.parent) is Delegate or said.sender is None or place is None:
                continue
            if key_of(act) in known:  # it was duplicated
                continue
            known.add(key_of(act))
            keys = [(said.ink.salt, id(said.sender), id(act.node))]
            if act.parent is None and act.hearer is None:  # what is told: in all conversations
                keys.append((id(said.sender), id(act.node)))
            for key in keys:
                before, other = last.get(key, (-1, None))
                assert before <= place, f"{said!r} to {act.node} came before {other!r}"
                last[key] = (place, said)


def key_of(thing):
    """What an activation and its events have in common."""
    return id(thing.node), id(thing.message)


def is_moot(act):
    """A member of a relay that had not begun when nobody wanted the relay any longer."""
    return act.fan and act.talk is None and not act.closed and act.parent.state == OVER


def slots(box):
    """What is in a mailbox."""
    return {name: getattr(box, name) for name in box.__slots__}
