"""Mailboxes: what has arrived at a node and not begun, and the turns that wait while it is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from llambdao.kernel.errors import MailboxFull, Misused

__all__ = ["Box", "Mailbox", "Mailboxes"]

Policy = Literal["wait", "drop_oldest", "drop_newest", "raise"]
POLICIES = ("wait", "drop_oldest", "drop_newest", "raise")


class Mailbox(Struct, frozen=True):
    """How many messages may wait for a node, and what becomes of one more.

    `wait`: who sends it waits for room; `drop_oldest`, `drop_newest`: a dead letter, and who asked
    gets `MailboxFull`; `raise`: the sender gets `MailboxFull`. Answers, timers and cancellations
    never count and never wait.

    >>> Mailbox(100, "drop_oldest")
    Mailbox(size=100, when_full='drop_oldest')
    """

    size: int = 10_000
    when_full: Policy = "wait"

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise Misused(f"a mailbox has room for at least one message, not {self.size!r}")
        if self.when_full not in POLICIES:
            raise Misused(
                f"a full mailbox will {' or '.join(POLICIES)}, but got {self.when_full!r:.80}"
            )


class Box:
    """The mailbox of one node, as long as something is in it."""

    __slots__ = ("arrived", "behind", "holders", "room", "senders", "stopped", "turns", "waiting")

    def __init__(self) -> None:
        self.holders = 0  # tasks that hold the node beyond their turn
        self.turns: deque[Any] = deque()  # resumptions that wait while it is held
        self.waiting: deque[Any] = deque()  # starts that do
        self.arrived: dict[int, Any] = {}  # all that has not begun, in the order of arrival
        self.senders: dict[int, deque[Any]] = {}  # the same by sender
        self.behind: dict[int, list[Any]] = {}  # who must come after one of them
        self.room: Any = ()  # futures of who waits outside for room
        self.stopped: Callable[[], Exception] | None = None

    @property
    def is_empty(self) -> bool:
        """Is there nothing to keep?"""
        return not (self.holders or self.turns or self.waiting or self.arrived or self.stopped)


class Mailboxes:
    """A node handles its messages one at a time: what comes while it is held waits here.

    Resumptions (answers, timers) go before starts. Only a task that awaits something foreign holds
    its node beyond its turn; `concurrency` says how many may. No idle node has a mailbox.

    With `room` the mailboxes are shared by many conversations: then they are bounded as it says,
    and what one sender told a node keeps its order whichever conversations it was told in.
    """

    __slots__ = ("boxes", "room")

    def __init__(self, room: Callable[[Any], Mailbox] | None = None) -> None:
        self.boxes: dict[int, Box] = {}
        self.room = room

    def box(self, node: Any) -> Box:
        """The mailbox of a node."""
        box = self.boxes.get(id(node))
        if box is None:
            box = self.boxes[id(node)] = Box()
        return box

    # -- turns ---------------------------------------------------------------------------------

    def hold(self, act: Any) -> None:
        """This activation holds its node from now on."""
        if not act.busy and type(act.node).concurrency is not None:
            act.busy = True
            self.box(act.node).holders += 1

    def put(self, scheduler: Any, act: Any) -> bool:
        """Put a turn into the mailbox if it may not go on at once; False if it may."""
        box = self.boxes.get(id(act.node))
        if box is None:
            return False
        begins = act.talk is None
        if begins and box.stopped is not None:
            self.forget(act)
            scheduler.refuse(act, box.stopped(), "stopped")
            return True
        if begins and box.arrived and self._is_behind(box, scheduler, act):
            return True
        most = type(act.node).concurrency
        if act.busy or most is None or box.holders < most:
            if begins and id(act) in box.arrived:
                self.begins(act)
            return False
        if not begins:
            box.turns.append((scheduler, act))
        elif id(act) in box.arrived or self.room is None or self.arrive(scheduler, act) is None:
            box.waiting.append((scheduler, act))
        else:
            return True
        scheduler.parked += 1
        return True

    def release(self, scheduler: Any, act: Any) -> None:
        """This activation lets others in: the next turn holds the node in its place."""
        act.busy = False
        box = self.boxes[id(act.node)]
        box.holders -= 1
        while box.turns or box.waiting:
            other, turn = (box.turns or box.waiting).popleft()
            other.parked -= 1
            if not turn.closed:
                turn.busy = True
                box.holders += 1
                other.resume(turn)
                if other is not scheduler:
                    other.home.wake()
                return
        self._tidy(act.node, box)

    # -- what arrives, where many conversations share --------------------------------------------

    def arrive(self, scheduler: Any, act: Any) -> Any:
        """A message is put into the mailbox: None, or the error of who may not put it there.

        Returns `FULL` if there is no room and the sender is to wait.
        """
        box, room = self.box(act.node), self.room(act.node) if self.room else Mailbox()
        outcome = None
        if len(box.arrived) >= room.size:
            if room.when_full == "wait":
                outcome = FULL if act.parent is None else None
            elif room.when_full == "drop_oldest":
                other, oldest = next(iter(box.arrived.values()))
                self.forget(oldest)
                other.refuse(oldest, _full(oldest, room), "mailbox full")
                box = self.box(act.node)
            else:
                error = _full(act, room)
                if act.parent is not None or room.when_full == "drop_newest":
                    scheduler.refuse(act, error, "mailbox full")
                return error
        box.arrived[id(act)] = (scheduler, act)
        box.senders.setdefault(_sender(act), deque()).append(act)
        return outcome

    def begins(self, act: Any) -> None:
        """A message leaves the mailbox: its handler begins."""
        box = self.boxes.get(id(act.node))
        if box is None or box.arrived.pop(id(act), None) is None:
            return
        mine = box.senders[_sender(act)]
        mine.remove(act)
        if not mine:
            del box.senders[_sender(act)]
        for other, later in box.behind.pop(id(act), ()):
            other.parked -= 1
            if not later.closed:
                other.resume(later)
                other.home.wake()
        for future in box.room:
            if not future.done():
                future.set_result(None)
        box.room = ()
        self._tidy(act.node, box)

    forget = begins

    def stop(self, node: Any, error: Callable[[], Exception]) -> None:
        """Let a node take no more messages: who sends one gets this error."""
        box = self.box(node)
        box.stopped = error
        for scheduler, act in [*box.arrived.values()]:
            self.forget(act)
            scheduler.refuse(act, error(), "stopped")

    def start(self, node: Any) -> None:
        """Let a node that was stopped take messages again."""
        if (box := self.boxes.get(id(node))) is not None:
            box.stopped = None
            self._tidy(node, box)

    def _is_behind(self, box: Box, scheduler: Any, act: Any) -> bool:
        """Has the same sender sent this node something before that has not begun elsewhere?"""
        mine = box.senders.get(_sender(act))
        if mine is None or mine[0] is act:
            return False
        first = mine[0]
        other = box.arrived[id(first)][0]
        if other is scheduler:
            return False
        box.behind.setdefault(id(first), []).append((scheduler, act))
        scheduler.parked += 1
        return True

    def _tidy(self, node: Any, box: Box) -> None:
        if box.is_empty:
            self.boxes.pop(id(node), None)


FULL: Any = object()
"""There is no room: who sends this waits."""


def _sender(act: Any) -> int:
    return id(act.message.sender)


def _full(act: Any, room: Mailbox) -> MailboxFull:
    return MailboxFull(
        f"{act.node} has {room.size:,} messages waiting and takes no more"
        f" ({act.message.intent} {act.message.content!r:.40}); to allow more: Mailbox(size=...)"
    )
