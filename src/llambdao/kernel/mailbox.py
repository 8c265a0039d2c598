"""Mailboxes: what has arrived at a node and not begun, and the turns that wait while it is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal
from weakref import ref

from msgspec import Struct

from llambdao.kernel.errors import MailboxFull, Misused

OVER = 2
"""The state of a wait that is over: see `waits`."""

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

    __slots__ = (
        "announced", "arrived", "holders", "node", "parked", "pending", "promised", "room",
        "senders", "stopped", "turns"
    )  # fmt: skip

    def __init__(self) -> None:
        self.holders = 0  # those that hold the node beyond their turn
        self.turns: Any = ()  # resumptions that wait while it is held
        self.parked: dict[int, Any] = {}  # starts that wait: for that, or for others to begin
        self.arrived: dict[int, Any] = {}  # all that has not begun, in the order of arrival
        self.announced: Any = ()  # what was asked and may be overtaken before it arrives
        self.senders: dict[Any, deque[Any]] = {}  # both by sender, in the order said
        self.room: Any = ()  # who waits for room
        self.pending: dict[int, Any] = {}  # what arrived though there was none, and who waits
        self.promised = 0  # room that was given and is not taken yet
        self.stopped: Callable[[], Exception] | None = None
        self.node: Any = None  # a reference to one that was stopped, as long as anybody knows it

    def is_full(self, size: int) -> bool:
        """Is there no room for one more?"""
        return len(self.arrived) - len(self.pending) + self.promised >= size

    @property
    def is_empty(self) -> bool:
        """Is there nothing to keep?"""
        return not (
            self.holders or self.turns or self.parked or self.senders or self.stopped
            or self.promised or self.room
        )  # fmt: skip


class Mailboxes:
    """A node handles its messages one at a time: what comes while it is held waits here.

    Resumptions (answers, timers) go before starts. Only a task that awaits something foreign holds
    its node beyond its turn; `concurrency` says how many may. No idle node has a mailbox.

    With `rooms` the mailboxes are shared by many conversations: then they are bounded as it says,
    and what one sender told a node keeps its order whichever conversations it was told in.
    """

    __slots__ = ("boxes", "rooms")

    def __init__(self, rooms: Callable[[Any], Mailbox] | None = None) -> None:
        self.boxes: dict[int, Box] = {}
        self.rooms = rooms

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

    def put(self, scheduler: Any, act: Any) -> bool:  # noqa: C901, PLR0912
        """Put a turn into the mailbox if it may not go on at once; False if it may."""
        box = self.boxes.get(id(act.node))
        if box is None:
            return False
        if act.talk is not None:
            if act.busy or self._is_free(act.node, box):
                return False
            box.turns = box.turns or deque()
            box.turns.append((scheduler, act))
            scheduler.parked += 1
            return True
        if act.fan and act.parent.state == OVER:  # nobody waits for it any longer
            act.closed = True
            self.forget(act)
            if act.busy:
                self.release(act)
            return True
        if box.stopped is not None:
            self.forget(act)
            scheduler.refuse(act, box.stopped(), "stopped")
            return True
        if act.busy or (id(act) in box.announced and self._may_begin(box, act)):
            self._begins(box, act)
            return False
        if self.rooms is not None and id(act) not in box.arrived:
            if not box.senders and self._may_begin(box, act):
                return False
            if (error := self.arrive(scheduler, act)) not in GOES_IN:
                self.forget(act)
                if not act.closed:
                    scheduler.refuse(act, error, "mailbox full")
                return True
            box = self.box(act.node)  # another one, if that was emptied for it
        if self._may_begin(box, act):
            self._begins(box, act)
            return False
        box.parked[id(act)] = (scheduler, act)
        scheduler.parked += 1
        if act.fan and not act.kept:
            act.parent.keep(act)
        return True

    def release(self, act: Any) -> None:
        """This activation lets others in."""
        act.busy = False
        box = self.boxes[id(act.node)]
        box.holders -= 1
        self._hand_on(act.node, box)

    def _hand_on(self, node: Any, box: Box) -> None:
        """Let those go on who can, each holding the node for its turn."""
        most = type(node).concurrency
        while most is None or box.holders < most:
            if box.turns:
                scheduler, turn = box.turns.popleft()
            else:
                found = next((k for k, (_, a) in box.parked.items() if self._is_next(box, a)), None)
                if found is None:
                    break
                scheduler, turn = box.parked.pop(found)
            scheduler.parked -= 1
            if not turn.closed:
                if box.arrived.pop(id(turn), None) is not None:  # it has no need of room any more
                    box.announced = box.announced or set()
                    box.announced.add(id(turn))
                    self._left(box, turn)
                self.hold(turn)
                scheduler.resume(turn)
                if scheduler.home is not None:
                    scheduler.home.wake()
        self._tidy(node, box)

    def _is_next(self, box: Box, act: Any) -> bool:
        """Has everything begun that the same sender sent this node before?"""
        mine = box.senders.get(act.message.sender)
        return mine is None or mine[0] is act

    # -- what arrives, where many conversations share --------------------------------------------

    def arrive(self, scheduler: Any, act: Any) -> Any:
        """A message is put into the mailbox: None, or the error of who may not put it there.

        Returns `FULL` if there is no room and the sender is to wait for it.
        """
        box, room = self.box(act.node), self._room(act.node)
        if box.stopped is not None:
            return box.stopped()
        outcome = None
        if box.is_full(room.size):
            if room.when_full == "wait":
                outcome = FULL
            elif room.when_full == "drop_oldest" and box.arrived:
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
        if id(act) not in box.announced:
            box.senders.setdefault(act.message.sender, deque()).append(act)
        return outcome

    def announce(self, act: Any) -> None:
        """A question was asked that has its turn later: nothing said after it comes before it."""
        box = self.box(act.node)
        if id(act) in box.arrived or id(act) in box.announced:
            return
        box.announced = box.announced or set()
        box.announced.add(id(act))
        box.senders.setdefault(act.message.sender, deque()).append(act)

    def wait_for_room(self, act: Any, grant: Callable[[], None]) -> None:
        """Call `grant` when there is room for this message, which arrived without any."""
        box = self.box(act.node)
        box.pending[id(act)] = grant
        box.room = box.room or deque()
        box.room.append(id(act))

    def queue_for_room(self, node: Any, grant: Callable[[], bool]) -> bool:
        """Is there no room for one more message? Then call `grant` when it is this one's turn.

        `grant` gives back whether the room is still wanted; it is taken by `take_room`.
        """
        box = self.boxes.get(id(node))
        room = self._room(node)
        if box is None or room.when_full != "wait":
            return False
        if not (box.room or box.is_full(room.size)):
            return False
        box.room = box.room or deque()
        box.room.append(grant)
        return True

    def take_room(self, node: Any) -> None:
        """The room that was granted is taken, or not wanted any longer."""
        self.boxes[id(node)].promised -= 1

    def forget(self, act: Any) -> None:
        """A message that has not begun never will."""
        box = self.boxes.get(id(act.node))
        if box is None or not (id(act) in box.arrived or id(act) in box.announced):
            return
        if (parked := box.parked.pop(id(act), None)) is not None:
            parked[0].parked -= 1
        self._leave(box, act)
        self._hand_on(act.node, box)

    def stop(self, node: Any, error: Callable[[], Exception]) -> None:
        """Let a node take no more messages: who sends one gets this error.

        Its mailbox says so as long as anybody knows the node; `error` must not.
        """
        box, boxes, key = self.box(node), self.boxes, id(node)
        box.stopped, box.node = error, ref(node, lambda _: boxes.pop(key, None))
        for scheduler, act in [*box.arrived.values()]:
            self.forget(act)
            scheduler.refuse(act, error(), "stopped")

    def start(self, node: Any) -> None:
        """Let a node that was stopped take messages again."""
        if (box := self.boxes.get(id(node))) is not None:
            box.stopped = box.node = None
            self._hand_on(node, box)

    def clear(self) -> None:
        """All that was in them is gone, and nobody holds a node; who waits outside need not."""
        for key, box in [*self.boxes.items()]:
            box.holders, box.turns, box.announced = 0, (), ()
            for table in (box.parked, box.arrived, box.senders, box.pending):
                table.clear()
            waiting, box.room = box.room, ()
            box.promised += sum(type(one) is not int and one() for one in waiting)
            if box.is_empty:
                del self.boxes[key]

    def give_room(self, node: Any) -> None:
        """There is room for one more: whoever waits for it first has it."""
        box = self.boxes[id(node)]
        size = self._room(node).size
        while box.room and not box.is_full(size):
            first = box.room.popleft()
            if type(first) is int:
                if (grant := box.pending.pop(first, None)) is not None:
                    grant()
            else:
                box.promised += 1
                if not first():
                    box.promised -= 1
        self._tidy(node, box)

    def _begins(self, box: Box, act: Any) -> None:
        """Its handler begins; those who wait for that come when it has had its turn."""
        self._leave(box, act)
        if box.parked or box.turns:
            self.hold(act)
            self._hand_on(act.node, box)
        self._tidy(act.node, box)

    def _leave(self, box: Box, act: Any) -> None:
        """A message leaves the mailbox."""
        had_room = box.arrived.pop(id(act), None) is not None
        if box.announced:
            box.announced.discard(id(act))
        mine = box.senders.get(act.message.sender)
        if mine is not None and act in mine:
            mine.remove(act)
            if not mine:
                del box.senders[act.message.sender]
        if had_room:
            self._left(box, act)

    def _left(self, box: Box, act: Any) -> None:
        """There is room for one more."""
        if (grant := box.pending.pop(id(act), None)) is not None:
            box.room.remove(id(act))
            grant()
        if box.room:
            self.give_room(act.node)

    def _may_begin(self, box: Box, act: Any) -> bool:
        return self._is_free(act.node, box) and self._is_next(box, act)

    def _is_free(self, node: Any, box: Box) -> bool:
        most = type(node).concurrency
        return most is None or box.holders < most

    def _tidy(self, node: Any, box: Box) -> None:
        """No idle node has a mailbox."""
        if box.is_empty and self.boxes.get(id(node)) is box:
            del self.boxes[id(node)]

    def _room(self, node: Any) -> Mailbox:
        return UNBOUNDED if self.rooms is None else self.rooms(node)


UNBOUNDED = Mailbox(2**62)

FULL: Any = object()
"""There is no room: who sends this waits."""

GOES_IN = (None, FULL)
"""What is said of a message that goes into the mailbox."""


def _full(act: Any, room: Mailbox) -> MailboxFull:
    return MailboxFull(
        f"{act.node} has {room.size:,} messages waiting and takes no more"
        f" ({act.message.intent} {act.message.content!r:.40}); to allow more: Mailbox(size=...)"
    )
