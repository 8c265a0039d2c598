"""The scheduler of a recorded conversation: what comes from outside of it comes as an input."""

from __future__ import annotations

from typing import Any

from llambdao.kernel.activation import Activation
from llambdao.kernel.mailbox import FULL, GOES_IN, Mailboxes
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.waits import BEGUN

__all__ = ["RECORDED", "Boxes", "RecordedScheduler", "Spent"]


RECORDED: Any = ("the journal",)
"""The observers of a conversation that nobody observes but its journal."""


class RecordedScheduler(Scheduler):
    """A scheduler whose inputs are recorded: they wait until its conversation takes its next step.

    What it learns from elsewhere in the middle of a step (is there room in a mailbox? is there
    money?) is noted, and read from the notes when the step is replayed.
    """

    def observe(self, kind: str, node: Any, message: Any, detail: Any = None) -> None:
        """Whatever is said is written; the observers see the rest too, if there are any."""
        if kind == "said":
            self.host.says(message)
        if self.observers is not RECORDED:
            super().observe(kind, node, message, detail)

    def resume(self, act: Activation) -> None:
        """A mailbox lets this turn go on, or its reply was taken: at the next step."""
        self.host.came("resume", self.mailboxes.number_of(act))

    def promote(self, mark: int) -> None:
        """What is on the stack from here on came from outside: it is ready, after the others."""
        if len(self.stack) > mark:
            for act in self.stack[mark:]:
                super().resume(act)
            del self.stack[mark:]

    def goes_on(self, act: Activation) -> None:
        """This turn can go on."""
        super().resume(act)

    def granted(self, wait: Any) -> None:
        """There is room for what was told: at the next step."""
        self.host.came("granted", self.mailboxes.number_of_room(wait))

    def has_room(self, wait: Any) -> None:
        """There is room for what was told."""
        super().granted(wait)

    def shut(self, one: Activation, failed: list[BaseException]) -> None:
        """Close one activation: what its handler changes as it cleans up is a turn of its node."""
        if not one.closed and one.talk is not None:
            try:
                self.host.touch(one)
            except Exception as error:  # noqa: BLE001  # it is closed all the same
                failed.append(error)
        super().shut(one, failed)

    def _failed(self, act: Activation, error: BaseException) -> None:
        """A handler raised: its whole turn is undone, also what it has changed within lists."""
        self.host.undo_turn(act.node)
        super()._failed(act, error)

    def _unheard(self, act: Activation, said: Any) -> None:
        """A reply that nobody waits for; what the first one says, a teller from outside hears."""
        first = act
        while first.asker is not None:
            first = first.asker
        if first is self.root:
            self.host.heard_outside(said)
            if act.message is self.opening and act.message._sender is None:
                return
        super()._unheard(act, said)


class Boxes:
    """The mailboxes, as one recorded conversation sees them.

    Live it asks the runtime's, and notes what is not as if they were empty; replayed it reads the
    notes, and remembers who would wait, until the conversation is live again.
    """

    def __init__(self, host: Any, shared: Mailboxes) -> None:
        self.host, self.shared = host, shared
        self.count = 0  # how often it was asked
        self.waiting: list[Any] = []  # whose turns were parked, in order
        self.rooms: list[Any] = []  # what was told to full mailboxes, in order
        self.rooms_open: list[Any] = []

    @property
    def boxes(self) -> Any:
        """Those in which there is something."""
        return self.shared.boxes if self.host.is_live else {}

    @property
    def is_full(self) -> bool:
        """Does somebody wait for room in a mailbox?"""
        return any(wait.state == BEGUN for wait in self.rooms)

    def number_of(self, act: Activation) -> int:
        """The place of a turn that waits."""
        return next(n for n, one in enumerate(self.waiting) if one is act)

    def number_of_room(self, wait: Any) -> int:
        """The place of a message that waits for room."""
        return next(n for n, one in enumerate(self.rooms) if one is wait)

    def put(self, scheduler: Any, act: Activation) -> bool:
        """Put a turn into the mailbox if it may not go on at once; False if it may."""
        host = self.host
        self.count += 1
        if not host.is_live:
            is_put = self._put_again(scheduler, act)
            if not is_put:
                host.turn_begins(act)
            return is_put
        parked, letters = scheduler.parked, len(scheduler.dead)
        if not self.shared.put(scheduler, act):
            host.turn_begins(act)
            return False
        if scheduler.parked > parked:
            self.waiting.append(act)
            host.note("put", self.count, "parked")
        elif len(scheduler.dead) > letters:
            letter = scheduler.dead[-1]
            host.note("put", self.count, "refused", host.error_out(letter.error), letter.reason)
        else:
            host.note("put", self.count, "closed")
        return True

    def _put_again(self, scheduler: Any, act: Activation) -> bool:
        note = self.host.next_note("put", self.count)
        if note is None:
            return False
        if note[2] == "parked":
            act.busy = False  # it did not hold its node, though it was to go on
            scheduler.parked += 1
            self.waiting.append(act)
            if act.talk is None and act.fan and not act.kept:
                act.parent.keep(act)
        elif note[2] == "refused":
            scheduler.refuse(act, self.host.error_in(note[3]), note[4])
        else:
            act.closed = True
        return True

    def arrive(self, scheduler: Any, act: Activation) -> Any:
        """A message is put into the mailbox: None, `FULL`, or the error of who may not."""
        self.count += 1
        if not self.host.is_live:
            note = self.host.next_note("arrive", self.count)
            if note is None:
                return None
            if note[2] is None:
                return FULL
            error = self.host.error_in(note[2])
            if note[3]:
                scheduler.refuse(act, error, "mailbox full")
            return error
        outcome = self.shared.arrive(scheduler, act)
        if outcome is not None:
            error = None if outcome in GOES_IN else self.host.error_out(outcome)
            self.host.note("arrive", self.count, error, act.closed)
        return outcome

    def wait_for_room(self, act: Activation, grant: Any) -> None:
        """Call `grant` when there is room for this message."""
        wait = grant.args[0]
        self.rooms.append(wait)
        if self.host.is_live:
            self.shared.wait_for_room(act, grant)
        else:
            self.rooms_open.append((act, grant))

    def announce(self, act: Activation) -> None:
        """A question was asked that has its turn later."""
        if self.host.is_live:
            self.shared.announce(act)

    def forget(self, act: Activation) -> None:
        """A message that has not begun never will."""
        if self.host.is_live:
            self.shared.forget(act)

    def hold(self, act: Activation) -> None:
        """This activation holds its node from now on."""
        if self.host.is_live:
            self.shared.hold(act)
        elif type(act.node).concurrency is not None:
            act.busy = True

    def release(self, act: Activation) -> None:
        """This activation lets others in."""
        if self.host.is_live:
            self.shared.release(act)
        else:
            act.busy = False

    def go_live(self, scheduler: Any) -> None:
        """It was replayed: what waits in it waits in the mailboxes again."""
        for act in scheduler.everybody():
            if act.busy:
                act.busy = False
                self.shared.hold(act)
        for number, act in enumerate(self.waiting):
            if act is None or act.closed:
                continue
            scheduler.parked -= 1
            if act.talk is None:  # nobody who comes later comes before it
                self.shared.arrive(scheduler, act)
            self.host.came("resume", number)
        for act, grant in self.rooms_open:
            has_begun = act.talk is not None or act.closed
            if has_begun or self.shared.arrive(scheduler, act) is None:
                grant()
            else:
                self.shared.wait_for_room(act, grant)
        self.rooms_open = []


class Spent:
    """A purse of messages, as one recorded conversation sees it: what it was given is noted."""

    def __init__(self, host: Any, shared: Any) -> None:
        self.host, self.shared = host, shared
        self.count = 0

    def take(self, wanted: int) -> int:
        """Take so many messages, or what there is."""
        self.count += 1
        if not self.host.is_live:
            note = self.host.next_note("take", self.count)
            return wanted if note is None else int(note[2])
        got = int(self.shared.take(wanted))
        if got != wanted:
            self.host.note("take", self.count, got)
        return got

    def give(self, left: int) -> None:
        """Give back what was not used."""
        if self.host.is_live:
            self.shared.give(left)
