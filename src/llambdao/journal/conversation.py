"""A recorded conversation: taken step by step, and brought back by taking the same steps again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import msgspec

from llambdao.journal.effects import name_of, run_call
from llambdao.journal.recording import entry_of, error_in, error_out, print_of
from llambdao.journal.restoring import copied, is_collection
from llambdao.journal.scheduler import RECORDED, Boxes, RecordedScheduler, Spent
from llambdao.journal.talks import Leaf
from llambdao.kernel.activation import Activation
from llambdao.kernel.errors import BudgetReached
from llambdao.kernel.events import DeadLetter, Reason
from llambdao.kernel.message import Message
from llambdao.kernel.scheduler import PARK, PAUSE
from llambdao.kernel.waits import BEGUN
from llambdao.runtime.budget import Ticket
from llambdao.runtime.conversation import Conversation

__all__ = ["Recorded"]

AHEAD = 64
"""How many replies are recorded before the first of them must be taken."""


class Recorded(Conversation):
    """A conversation that a journal remembers.

    It goes on in *steps*: what came in, then all its handlers until nobody can go on. A step is
    written by one commit, and what it said and set going is seen after that. To bring it back all
    its steps are taken again, through the same scheduler, with the same inputs, at the same time,
    by nodes in the states they were in.
    """

    _journal: Any = None
    _opening: Any = None
    _at: int = 0  # the time of the step
    _number: int = 0  # of the next step
    _is_live: bool = True
    _is_stepping: bool = False
    _is_new: bool = True  # is it nowhere written yet?
    _is_opened: bool = False  # is its opening in a batch?
    _inputs: Any = ()  # for the next step
    _notes: Any = ()  # what this step cannot know from replaying
    _read: Any = ()  # the notes of the step that is replayed
    _before: Any = None  # the node whose turn it is, and its fields as the turn began
    _touched: Any = ()  # nodes by id(), with the hashes of the states they had before
    _entries: Any = ()  # what was said in this step
    _out: Any = ()  # what was said to the outside in it
    _parked: Any = ()  # who waits for its reply to be taken
    _ahead: int = 0  # replies nobody has taken
    _calls: Any = ()  # those under way, by number
    _n_calls: int = 0
    _tasks: Any = ()
    _asked: Any = ()  # the open questions to people
    _attempts: int = 0  # how often the process has died with it
    _n_spends: int = 0
    _tickets: Any = ()  # what is reserved in budgets
    _patched: Any = ()  # what it was told of changed code
    _accepted: Any = ()  # futures of those who wait until it is recorded
    _anew: Any = None  # the message with which it begins anew when all here has ended
    _errands: Any = ()  # what its next step takes off the ledger: a knock, a dead letter
    _heard: Any = None  # what the same message came to that opened another before; False: nothing
    _is_mute: bool = False  # is there nobody any longer to take its replies?
    _is_left: bool = False  # does the program end, and it goes on another time?
    is_busy: Any = False  # has it tasks that are to clean up? None

    @property
    def _in_doubt(self) -> int:
        """How many of the calls under way wait for a person to say what became of them."""
        return sum(asked.is_doubt and asked.state == BEGUN for asked, _, _ in self._asked.values())

    # -- what its scheduler asks ---------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Does it happen for the first time?"""
        return self._is_live

    def now(self) -> int:
        """The time of the step: within one it stands still."""
        return self._at

    def touch(self, act: Activation) -> None:
        """A node has a turn: what state is it in?"""
        node = act.node
        if id(node) not in self._touched and not self._is_left:
            if self._is_live:
                is_leaf = isinstance(act.talk, Leaf)
                self._touched[id(node)] = (node, self._journal.seen(node, is_leaf=is_leaf))
            else:
                self._touched[id(node)] = (node, "")
                self._journal.replaying.touched(node)

    def turn_begins(self, act: Activation) -> None:
        """A node has its turn: if that fails its fields will be as they are now."""
        self.touch(act)
        values = vars(act.node)
        kept = [(name, one, copied(one)) for name, one in values.items() if is_collection(one)]
        self._before = (act.node, {**values}, kept)

    def undo_turn(self, node: Any) -> None:
        """The turn of this node has failed."""
        before, self._before = self._before, None
        if before is not None and before[0] is node:
            values = vars(node)
            values.clear()
            values.update(before[1])
            values.update({name: was for name, one, was in before[2] if one != was})

    def note(self, *note: Any) -> None:
        """Remember what cannot be known from replaying."""
        self._notes.append(list(note))

    def next_note(self, kind: str, count: int) -> Any:
        """What was noted here, if something was."""
        for note in self._read:
            if note[0] == kind and note[1] == count:
                return note
        return None

    def error_out(self, error: Any) -> Any:
        """An error as data."""
        return error_out(self._journal.codec, error)

    def error_in(self, data: Any) -> Any:
        """An error that was data."""
        return error_in(self._journal.codec, data)

    def heard_outside(self, said: Any) -> None:
        """Something is said to the outside."""
        self._out.add(said.number)

    def came(self, kind: str, *what: Any) -> None:
        """Something came in: it counts from the next step on."""
        if not self._is_over:
            self._inputs = (*self._inputs, [kind, *what])
            self.wake()

    def call_came(self, number: int, value: Any, error: BaseException | None) -> None:
        """A call came to this: at the next step."""
        wait = self._calls.get(number)
        if wait is None or wait.state != BEGUN:
            return
        journal = self._journal
        if error is None:
            try:
                data = msgspec.Raw(journal.codec.encode(value, name_of(wait)))
            except Exception as failure:  # noqa: BLE001  # it counts as done, and says so
                error = failure
            else:
                self.came("done", number, data)
        if error is not None:
            self.came("broke", number, self.error_out(error))

    def patched(self, change: str) -> bool:
        """Does the code of after this change run here? Once told, it is told the same again."""
        if change not in self._patched:
            if self._is_live:
                self.note("patched", change)
                self._patched[change] = True
            else:
                noted = [one for one in self._read if one[0] == "patched" and one[1] == change]
                self._patched[change] = bool(noted)
                self._notes += noted
        return bool(self._patched[change])

    def spends(self, budget: Any, units: Any, *, up_to: bool = False) -> Ticket:
        """Something is reserved in a budget: what was refused once is refused again."""
        self._n_spends += 1
        if self._is_live:
            try:
                ticket: Ticket = budget._reserve(units, up_to=up_to)
            except BudgetReached as error:
                what = [error.kind, error.asked, error.left]
                self.note("spends", self._n_spends, self.error_out(error), *map(str, what))
                raise
            if ticket._units != units:
                self.note("spends", self._n_spends, None, ticket._units)
        else:
            note = self.next_note("spends", self._n_spends)
            if note is not None and note[2] is not None:
                again = self.error_in(note[2])
                vars(again).update(kind=note[3], asked=note[4], left=note[5], scope=budget)
                raise again
            ticket = Ticket(0, budget, units if note is None else note[3], is_booked=False)
        self._tickets = [*(one for one in self._tickets if one.is_open), ticket]
        return ticket

    def supervise(self, act: Activation, error: BaseException) -> bool:
        """A handler failed: what its supervisor decides is noted."""
        if not self._is_live:
            note = self.next_note("supervised", len(self._notes))
            if note is None:
                return False
            self._notes.append(note)
            if act is self._scheduler.root:
                self._scheduler.reason, self._scheduler.detail = Reason.FAILED, repr(error)
                self.error = error
            return bool(note[2])
        place = len(self._notes)
        self._notes.append(None)
        is_settled = super().supervise(act, error)
        if is_settled:
            self._notes[place] = ["supervised", place, True]
        else:
            del self._notes[place]
        return is_settled

    def bury(self, letter: DeadLetter) -> None:
        """A dead letter."""
        if self._is_live:
            super().bury(letter)
            self._journal.writing.letter(letter)

    def refused(self, error: Exception) -> None:
        """Its first message was not taken by the node."""
        if self._is_live:
            super().refused(error)
        else:
            self.error = error

    def minds_time(self) -> None:
        """Within a step time stands still."""

    def expects(self, key: str) -> None:
        """One of its handlers waits for news."""
        if self._is_live:
            super().expects(key)

    def news(self, key: str, value: Any) -> None:
        """News from outside: at the next step, which has it recorded."""
        codec = self._runtime.journal.codec
        data = msgspec.Raw(codec.encode(value, f"the news {key!r}"))
        if self._scheduler is None:
            self._inputs = (*self._inputs, ["news", key, data])
        else:
            self.came("news", key, data)

    def drop(self, act: Activation, error: Exception, reason: str) -> None:
        """Cancel one who is at work here: at the next step."""
        everybody = self._scheduler.everybody()
        place = next((n for n, one in enumerate(everybody) if one is act), None)
        if place is not None:
            self.came("drop", place, self.error_out(error), reason)

    def waits(self) -> bool:
        """Does it wait for who hears it?"""
        if not self._is_live:  # what for is not known here
            return bool(self._scheduler.roots or not self._scheduler.root.closed)
        return bool(self._inputs or self._parked or super().waits())

    def wake(self) -> None:
        """Something can go on here."""
        if self._is_live:
            super().wake()

    def asks(self, asked: Any) -> None:
        """A person is asked: the question is open once the step is written."""
        self._asked[asked.key] = (asked, True, None)

    def continues(self, message: Message) -> None:
        """It is to begin anew with this message, when all it has set going has ended."""
        self._anew = message

    # -- its beginning -------------------------------------------------------------------------

    def prepare(self, salt: int, serial: Callable[[], int], **options: Any) -> RecordedScheduler:
        """A scheduler whose inputs are recorded."""
        self._calls, self._tasks, self._asked, self._touched = {}, {}, {}, {}
        self._notes, self._entries, self._out, self._parked = [], [], set(), []
        self._patched = {}
        budget, purse = options.pop("budget", None), options.pop("purse", None)
        observers = options.pop("observers", ())
        return RecordedScheduler(
            self.now,
            salt,
            serial,
            host=self,
            home=self,
            start_task=self._journal.start_task,
            mailboxes=Boxes(self, self._runtime._mailboxes),
            observers=(self._is_live and observers) or RECORDED,
            budget=budget,
            purse=None if purse is None else Spent(self, purse),
            seen=deque(),
            **options,
        )

    def says(self, message: Message) -> None:
        """Something is said: it is written."""
        self._entries.append(entry_of(self._journal.addresses, message))

    # -- a step --------------------------------------------------------------------------------

    def advance(self) -> None:
        """Take the next step, which the commit after it makes visible."""
        self._is_queued = False
        if self._is_over:
            return
        self._journal.step(self)

    def take_step(self, at: int, inputs: Any) -> tuple[str, list[Any]]:
        """Apply what came in, and go on until nobody can: how it stands then, and what it said."""
        self._at = at
        self._is_stepping = True
        said: list[Any] = []
        try:
            for one in inputs:
                self._apply(*one)
            return self._go(said), said
        except Exception as error:  # noqa: BLE001  # whatever a handler raises ends it
            self.error = error
            return "over", said
        finally:
            self._is_stepping = False

    def _apply(self, kind: str, *what: Any) -> None:
        """One input."""
        getattr(self, f"_on_{kind}")(*what)

    def _on_tick(self) -> None:
        self._scheduler.tick()

    def _on_done(self, number: int, value: Any) -> None:
        wait = self._calls.pop(number, None)
        if wait is not None and wait.state == BEGUN:
            self._scheduler.done(wait, self._journal.codec.decode(bytes(value)))

    def _on_broke(self, number: int, error: Any) -> None:
        wait = self._calls.pop(number, None)
        if wait is not None and wait.state == BEGUN:
            self._scheduler.broke(wait, self.error_in(error))

    def _on_news(self, word: str, value: Any) -> None:
        self._scheduler.news(word, self._journal.codec.decode(bytes(value)))

    def _on_resume(self, place: int) -> None:
        scheduler = self._scheduler
        boxes = scheduler.mailboxes
        act = boxes.waiting[place]
        if not self._is_live:
            scheduler.parked -= 1
            if not act.busy:
                boxes.hold(act)
        boxes.waiting[place] = None
        scheduler.goes_on(act)

    def _on_granted(self, place: int) -> None:
        self._scheduler.has_room(self._scheduler.mailboxes.rooms[place])

    def _on_take(self) -> None:
        self._ahead = 0
        parked, self._parked = self._parked, []
        for act in parked:
            if not act.closed:
                self._scheduler.goes_on(act)

    def _on_drop(self, place: int, error: Any, reason: str) -> None:
        act = self._scheduler.everybody()[place]
        failed: list[BaseException] = []
        self._scheduler.cancel(act, failed)
        self._scheduler.refuse(act, self.error_in(error), reason)

    def _go(self, said: list[Any]) -> str:
        value: Any = None
        if self._replies is None:
            self._replies = self._scheduler.run()
        while True:
            try:
                one = self._replies.send(value)
            except StopIteration as stop:
                self._replies = None
                return "waits" if stop.value else "over"
            value = None
            if one is PAUSE:
                return "ready"
            if isinstance(one, Message):
                said.append(one)
                self._out.add(one.number)
                self._ahead += 1
                if self._takes and self._ahead >= AHEAD:
                    self._parked.append(self._scheduler.turn)
                    value = PARK
            elif self._is_live:
                said.append(one)

    def collect_calls(self) -> list[Any]:
        """The calls that were begun in this step, numbered; those nobody waits for are dropped."""
        scheduler, begun = self._scheduler, []
        for wait in scheduler.dropped:
            for number, one in [*self._calls.items()]:
                if one is wait:
                    del self._calls[number]
                    scheduler.under_way -= 1
                    if self._is_live:
                        self._journal.batch.settled.append((self._opening.key, number))
                        if (task := self._tasks.pop(number, None)) is not None:
                            task.cancel()
        scheduler.dropped = ()
        calls, scheduler.calls = scheduler.calls, ()
        for wait in calls:
            if wait.state == BEGUN:
                self._n_calls += 1
                self._calls[self._n_calls] = wait
                scheduler.under_way += 1
                begun.append((self._n_calls, wait))
        return begun

    def step_is_over(self) -> tuple[dict[str, str], list[Any], list[Any], set[int], str]:
        """What a step saw, noted and said; all of it is forgotten here."""
        addresses = self._journal.addresses
        saw = {}
        for node, before in self._touched.values():
            if (address := addresses.of(node)) is not None and before:
                saw[address] = before
        notes, entries, out = self._notes, self._entries, self._out
        self._touched, self._notes, self._entries, self._out = {}, [], [], set()
        for entry in entries:
            if entry["n"] in out:
                entry["out"] = True
        return saw, notes, entries, out, print_of(entries)

    # -- after the commit ----------------------------------------------------------------------

    def start_calls(self, begun: list[Any]) -> None:
        """Now that it is written that they are to be done they are."""
        for number, wait in begun:
            if wait.state == BEGUN and number in self._calls:
                self._start_call(number, wait)

    def _start_call(self, number: int, wait: Any) -> None:
        if self._context is None:
            self._context = copy_context()
        key = self.effect_key(number)
        task = self._runtime._loop.create_task(
            self._do(number, wait, key), context=self._context.copy()
        )
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def effect_key(self, number: int) -> str:
        """The key of a call: the same again if it is done again, and nobody else's."""
        opening = self._opening
        whose = f"{opening.id}/{opening.node}" if opening.is_given else opening.id
        return f"{whose}/{number}"

    async def _do(self, number: int, wait: Any, key: str) -> None:
        try:
            value = await run_call(self, wait, key)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # whoever waits for it is told
            self.call_came(number, None, error)
        else:
            self.call_came(number, value, None)

    def piece(self, wait: Any, delta: Any) -> None:
        """A call says a piece of a message: nobody records it."""
        if not self._is_over:
            self._scheduler.piece(wait, delta)
            if self._scheduler.pieces:
                pieces, self._scheduler.pieces = self._scheduler.pieces, ()
                self.show([*pieces])
            self.wake()

    def takes_itself(self) -> None:
        """If there is nobody any longer to take its replies it goes on all the same."""
        if self._is_mute and self._parked and not any(one[0] == "take" for one in self._inputs):
            self.came("take")

    def show(self, said: list[Any]) -> None:
        """What was said is there for whoever hears it."""
        if self._waiters and not self._takes:
            self._call_waiters()
        for one in said:
            if self._takes:
                self._unread = self._unread or deque()
                self._unread.append((one, None))
            elif isinstance(one, Message):
                self._answer = one
        if said and self._takes:
            self._is_wanted = False
            self._call_waiters()

    def _begun(self) -> None:
        if self._scheduler is None:
            super()._begun()
            self.wake()

    async def _next(self, holder: Any) -> Any:
        if self._scheduler is None and not self._closed and self._heard is None:
            self._heard = self._journal_of().heard(self)
        if self._heard:
            return await anext(self._heard)
        self._begun()
        while not self._unread:
            if self._parked and not any(one[0] == "take" for one in self._inputs):
                self.came("take")
            if self._is_over:
                if self.error is not None and not self._is_told:
                    self._is_told = True
                    raise self.error
                raise StopAsyncIteration
            await self._event()
        return self._unread.popleft()[0]

    def _journal_of(self) -> Any:
        self._runtime._check(self._node)
        return self._runtime.journal

    # -- time, and the end ---------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """It is later now."""
        if self._is_over:
            return
        if self._deadline is not None and self._deadline <= now:
            self._out_of_time(now)
            return
        self._due = None
        self.came("tick")

    def tick_if_due(self) -> None:
        """If its time has come it is later now."""
        now, due = self._runtime.clock.now(), self._scheduler.next_due
        if (due is not None and due <= now) or (self._deadline or now + 1) <= now:
            self.tick(now)

    def rest(self) -> None:
        """Nobody can go on here."""
        due = self._scheduler.next_due
        if due is not None and (self._due is None or due < self._due):
            self._due = due
            self._runtime._timers.at(due, self)

    def end(self, reason: Reason, detail: str = "") -> None:
        """End it: everybody is cancelled, innermost first; that is recorded."""
        if self._scheduler is None:
            self._closed = True
        if self._is_over or self._scheduler is None:
            return
        if self._is_stepping:
            self._runtime._loop.call_soon(self.end, reason, detail)
            return
        if self._scheduler.reason is None:
            self._scheduler.reason, self._scheduler.detail = reason, detail
        self._journal.end(self)

    def leave(self) -> None:
        """The program ends, the conversation does not: it is forgotten here, and goes on later."""
        self._is_live, self._is_left = False, True
        for task in self._tasks.values():
            task.cancel()
        self._is_over = self._is_answered = True
        self._runtime._queue.ended(self)
        self._call_waiters()

    def errands_are_done(self, batch: Any) -> None:
        """What made it go on is taken off the ledger, in the commit that writes that it did."""
        for column, seq in self._errands:
            getattr(batch, column).append(seq)
        self._errands = ()

    def lose(self, error: BaseException) -> None:
        """What it did could not be written: who waits for it hears that."""
        self.error = self.error or error
        for future in self._accepted:
            if not future.done():
                future.set_exception(error)
        self.leave()
        with suppress(Exception):  # what it changes as it cleans up is put back
            self._shut()

    def over(self, error: BaseException | None) -> None:
        """It has ended."""
        for task in [*(self._tasks or {}).values()]:
            task.cancel()
        super().over(error)

    def _part(self) -> None:
        """What is left of it has no need of the rest: nobody keeps another who is not needed."""
        scheduler, at = self._scheduler, self._at
        scheduler.host = scheduler.home = scheduler.mailboxes = None
        scheduler.budget = scheduler.purse = None
        scheduler.now = lambda: at

    def _shut(self) -> None:
        """Close all that is left."""
        if self._replies is None:
            self._scheduler.close()
        else:
            self._replies.close()
            if self._scheduler.reason is None:
                self._scheduler.close()
