"""`FaultyMailboxes`: where the faults of a simulation strike, before each turn begins."""

from __future__ import annotations

from collections import deque
from typing import Any

from llambdao.kernel.activation import PENDING, Activation
from llambdao.kernel.dispatch import PLAIN
from llambdao.kernel.events import Reason
from llambdao.kernel.mailbox import Mailboxes
from llambdao.kernel.tasks import Talk
from llambdao.kernel.waits import Delegate
from llambdao.testing._faults import Chance, Fault, SimulatedFault

__all__ = ["FaultyMailboxes"]


class FaultyMailboxes(Mailboxes):
    """The mailboxes of a simulated runtime: messages are slow or lost here, handlers fail.

    A *lane* holds what one sender has sent one node, as long as the first of it is late: so that
    the others do not overtake it.
    """

    __slots__ = ("chance", "doomed", "hanging", "held", "known", "lanes", "late", "loop")

    def __init__(self, room: Any, chance: Chance, loop: Any) -> None:
        super().__init__(room)
        self.chance, self.loop = chance, loop
        self.known: dict[int, Activation] = {}  # not begun, but their faults are drawn
        self.held: dict[int, Any] = {}  # those who are late: their scheduler and what wakes them
        self.late: set[int] = set()  # those who are to be overtaken
        self.hanging: dict[int, Any] = {}  # lost questions: who asked waits for its timeout
        self.lanes: dict[tuple[int, int], deque[tuple[Any, Activation]]] = {}
        self.doomed: dict[int, tuple[Any, int, float]] = {}  # conversations to be cancelled

    # -- what the scheduler calls --------------------------------------------------------------

    def put(self, scheduler: Any, act: Activation) -> bool:
        """Put a turn into the mailbox if it may not go on at once; False if it may."""
        if id(scheduler) in self.doomed:
            self._approach(scheduler)
        if act.talk is not None:
            self._fail_later(act)
            return super().put(scheduler, act)
        if type(act.parent) is Delegate:
            return super().put(scheduler, act)
        if id(act) not in self.known:
            self.known[id(act)] = act
            if self._strike(scheduler, act):
                return True
        if self._is_in_lane(scheduler, act):
            return True
        if super().put(scheduler, act):
            return True
        self.known.pop(id(act), None)
        return False

    def forget(self, act: Activation) -> None:
        """A message leaves the mailbox, and its handler will never begin."""
        super().forget(act)
        self.known.pop(id(act), None)
        self.late.discard(id(act))
        if (scheduler := self.hanging.pop(id(act), None)) is not None:
            scheduler.parked -= 1
        self._let_go(act)
        key = _lane(act)
        if (lane := self.lanes.get(key)) is not None:
            was_first = lane[0][1] is act
            self.lanes[key] = lane = deque(one for one in lane if one[1] is not act)
            if was_first:
                self._next(key, lane)

    # -- before a handler begins ---------------------------------------------------------------

    def _strike(self, scheduler: Any, act: Activation) -> bool:
        """A message has come: what goes wrong with it? True if it is not to be handled now."""
        if not self.chance.faults.may_hit(act):
            return False
        message, is_root = act.message, act is scheduler.root
        where = f"{message.sender or 'you'} > {act.node}: {message.content:.40} ({message.intent})"
        may = {"slow", "failing"}
        if not act.more:
            may.add("lost")
        if act.parent is None and act.hearer is None:
            may |= {"duplicated", "reordered"}
        if is_root:
            may.add("cancelled")
        faults = self.chance.draw(where, may.__contains__)
        if not faults:
            return False
        if (fault := faults.get("cancelled")) is not None:
            self._doom(scheduler, fault)
        if "lost" in faults:
            self._lose(scheduler, act)
            return True
        if "failing" in faults:
            act.handler = (_failing, PLAIN)
        if "duplicated" in faults:
            self._double(scheduler, act)
        if (fault := faults.get("reordered")) is not None:
            super().forget(act)
            self.late.add(id(act))
            self._hold(scheduler, act, fault.seconds)
            return True
        if (fault := faults.get("slow")) is not None:
            self._enter(scheduler, act)
            self._hold(scheduler, act, fault.seconds)
            return True
        return False

    def _lose(self, scheduler: Any, act: Activation) -> None:
        """It never comes: who asked waits until the time is up, or learns of it at once."""
        has_deadline = act is scheduler.root and scheduler.home._deadline is not None
        if has_deadline or getattr(act.parent, "timeout", None) is not None:
            super().forget(act)
            scheduler.parked += 1
            self.hanging[id(act)] = scheduler
            return
        self.forget(act)
        act.closed = True
        scheduler.bury(act.message, "lost", act.node)
        if scheduler.roots:
            scheduler.roots.pop(id(act), None)
        if act.parent is not None:
            scheduler._input(act.parent.ended, act)

    def _double(self, scheduler: Any, act: Activation) -> None:
        """It comes once more, after the first and whatever has arrived by then."""
        copy = Activation(act.node, act.message, act.handler, None, None, 0, None, 0)
        self.known[id(copy)] = copy
        scheduler.roots = scheduler.roots or {}
        scheduler.roots[id(copy)] = copy
        self._enter(scheduler, act)
        self._enter(scheduler, copy)
        self._hold(scheduler, copy, None)

    # -- those who are late --------------------------------------------------------------------

    def _enter(self, scheduler: Any, act: Activation) -> None:
        """It goes after what the same sender sent the same node, which is late."""
        lane = self.lanes.setdefault(_lane(act), deque())
        if all(one is not act for _, one in lane):
            lane.append((scheduler, act))

    def _is_in_lane(self, scheduler: Any, act: Activation) -> bool:
        """Must it wait for what the same sender sent the same node before?"""
        key = _lane(act)
        lane = self.lanes.get(key)
        if lane is None or id(act) in self.late:
            self.late.discard(id(act))
            return False
        self._enter(scheduler, act)
        if lane[0][1] is not act:
            self._hold(scheduler, act, None)
            return True
        lane.popleft()
        self._next(key, lane)
        return False

    def _next(self, key: tuple[int, int], lane: deque[tuple[Any, Activation]]) -> None:
        """The first of a lane has gone: the next one may go, unless it is late itself."""
        if not lane:
            del self.lanes[key]
        elif (held := self.held.get(id(lane[0][1]))) is not None and held[2] is None:
            self._let_go(lane[0][1])

    def _hold(self, scheduler: Any, act: Activation, seconds: float | None) -> None:
        """Let it wait so long; None: until it is let go."""
        if id(act) not in self.held:
            if act.fan and not act.kept:  # so that it is found when all are cancelled
                act.parent.keep(act)
            scheduler.under_way += 1
            timer = None if seconds is None else self.loop.call_later(seconds, self._let_go, act)
            self.held[id(act)] = (scheduler, act, timer)

    def _let_go(self, act: Activation) -> None:
        """It need not wait any longer."""
        if (held := self.held.pop(id(act), None)) is not None:
            scheduler, _, timer = held
            scheduler.under_way -= 1
            if timer is not None:
                timer.cancel()
            if scheduler.home is not None:
                if not act.closed:
                    scheduler.resume(act)
                scheduler.home.wake()

    # -- failures and cancellations ------------------------------------------------------------

    def _fail_later(self, act: Activation) -> None:
        """A handler goes on: or does it fail?"""
        if act.error is not None or act.running or not self.chance.faults.may_hit(act):
            return
        talk, takes_errors = act.talk, True
        if isinstance(talk, Talk):
            takes_errors = talk.over is None and talk.said is PENDING
        where = f"{act.node} goes on with {act.message.content:.40} ({act.message.intent})"
        if takes_errors and self.chance.draw(where, "failing".__eq__):
            if isinstance(talk, Talk) and talk.settled:
                talk.settled[0] = (talk.settled[0][0], None, _fault(act.node, act.message))
            else:
                act.value, act.error = None, _fault(act.node, act.message)

    def _doom(self, scheduler: Any, fault: Fault) -> None:
        """This conversation is to be cancelled, after some turns, and perhaps some time."""
        self.doomed[id(scheduler)] = (scheduler, fault.turns, fault.seconds)
        self._approach(scheduler)

    def _approach(self, scheduler: Any) -> None:
        """Another turn of a conversation that is to be cancelled."""
        _, turns, seconds = self.doomed.pop(id(scheduler))
        if turns:
            self.doomed[id(scheduler)] = (scheduler, turns - 1, seconds)
            return
        end, why = scheduler.home.end, "cancelled by a simulated fault"
        self.loop.call_later(seconds, end, Reason.CANCELLED, why)


def _lane(act: Activation) -> tuple[int, int]:
    return id(act.message.sender), id(act.node)


def _fault(node: Any, message: Any) -> SimulatedFault:
    return SimulatedFault(f"{node} was to fail at {message.content!r:.60} ({message.intent})")


def _failing(node: Any, message: Any) -> None:
    """The handler of what is to fail."""
    raise _fault(node, message)
