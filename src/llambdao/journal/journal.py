"""`Journal`: what a runtime writes down, commit by commit, and how it goes on from there."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

import msgspec

from llambdao.journal.addresses import Addresses
from llambdao.journal.alarm import Alarm
from llambdao.journal.anew import begin_anew
from llambdao.journal.conversation import Recorded
from llambdao.journal.directory import listed
from llambdao.journal.door import Door
from llambdao.journal.errors import DuplicateId, Fenced, JournalError, OutsideTurn
from llambdao.journal.garbage import Garbage
from llambdao.journal.handles import Past, Replies
from llambdao.journal.inquiries import Inquiries
from llambdao.journal.ledger import Batch, Found, Line, Opening, Stand
from llambdao.journal.replaying import go_live, replay
from llambdao.journal.states import States, hash_of
from llambdao.journal.stores import open_ledger
from llambdao.journal.suspects import Suspects
from llambdao.journal.talks import start
from llambdao.journal.writing import Writing, leave_out_the_superseded
from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.errors import NoAnswer, Stopped
from llambdao.kernel.events import Limits, Reason
from llambdao.kernel.message import COMMON, NOTHING, Message
from llambdao.runtime.codec import Codec, NotStorable
from llambdao.runtime.questions import Question

__all__ = ["Journal"]

AGAIN = 1.0
"""After so many seconds it is tried again to write, when that has failed."""


AT_REST = ("stuck", "parked")
"""Where a conversation stands that goes on only if somebody says so."""


class Journal:
    """What makes a runtime durable: `Runtime(..., journal="sqlite:///room.db")`.

    Given as a `Journal(url, ...)` it takes options: `renamed={"old": "new"}` for nodes whose
    address has changed since. A journal has one owner at a time.
    """

    kind = Recorded

    def __init__(self, url: Any, *, renamed: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.renamed = dict(renamed or {})
        self.ledger: Any = None
        self.runtime: Any = None
        self.addresses = Addresses()
        self.batch = Batch()
        self.after: list[Callable[[], None]] = []
        self.live: dict[int, Recorded] = {}
        self.by_id: dict[tuple[str, str], Recorded] = {}  # those live whose id was given
        self.alarm: Alarm = Alarm(self)
        self.error: BaseException | None = None
        self.replaying: Any = None
        self._last_key = 0
        self._spent = ""
        self.garbage = Garbage()
        self.writing, self.door = Writing(self), Door(self)
        self.inquiries, self.suspects = Inquiries(self), Suspects(self)
        self._retry: Any = None

    # -- its life ------------------------------------------------------------------------------

    def open(self, runtime: Any) -> None:
        """Take it over, and bring everything back to where it was."""
        self.runtime = runtime
        self.ledger = self.url if hasattr(self.url, "commit") else open_ledger(self.url)
        try:
            self.ledger.claim()
            self.addresses.add(*runtime.nodes)
            classes = {type(node) for node in self.addresses.known()}
            self.codec = Codec(self.addresses.node, *classes, addresses=self.addresses.of)
            self.states = States(self.addresses, self.ledger.values, self._put)
            self.addresses.renamed = self.renamed
            self.states.begin(self._moved(self.ledger.states()))
            self._last_key = self.ledger.last_key()
            meta = self.ledger.meta()
            self.suspects.is_on = meta.get("alive") == "1"
            self._spent = meta.get("spent", "")
            if runtime.budget is not None and self._spent:
                runtime.budget.has_spent(msgspec.json.decode(self._spent))
            self.ledger.commit(Batch(meta={"alive": "1", **listed(self.addresses, meta)}))
            self.alarm.load(self.ledger.dues())
        except BaseException:
            self.ledger.close()
            raise

    def _moved(self, states: dict[str, str]) -> dict[str, str]:
        """The states by the addresses of today; those of renamed nodes move, once."""
        old = {a: key for a, key in states.items() if a in self.renamed and key}
        moved = {**{self.renamed[a]: key for a, key in old.items()}, **dict.fromkeys(old, "")}
        self.batch.states.update(moved)
        return {**states, **moved}

    def begin(self) -> None:
        """Everybody who can go on does."""
        ready = self.ledger.ready()
        if self.suspects.is_on:
            now = self.runtime.clock.now()
            self.suspects.try_all([*ready, *(key for due, key in self.alarm.heap if due <= now)])
        else:
            for key in ready:
                self.rouse(key)
        self.alarm.arm()
        self.door.look()
        self.door.open()

    def close(self) -> None:
        """The program ends: nobody is cancelled, what waits goes on another time."""
        self.door.close()
        for conversation in [*self.live.values()]:
            conversation.leave()
        self.live.clear()
        if self._retry is not None:
            self._retry.cancel()
        if self.ledger is not None:
            if self.error is None:
                self.batch.meta["alive"] = "0"
                self.commit()
            self.ledger.close()

    # -- beginning -----------------------------------------------------------------------------

    def accept(self, node: Any, message: Any) -> Any:
        """The conversation that this message has opened before; None if it is new."""
        if message._id is None or message.ink is not None:
            return None
        address = self._address(node)
        digest = digest_of_message(message)
        found: Any = self.by_id.get((address, message.id))
        if found is not None:
            opening = found._opening
        else:
            some = [f for f in self.ledger.find(message.id) if f.opening.node == address]
            if not some:
                return None
            opening = some[-1].opening  # it may have been begun again
            found = Past(self, some[-1])
        if opening.digest and opening.digest != digest:
            raise DuplicateId(
                f"{node} was sent a message with the id {message.id!r} before, with other content;"
                " an id is for one message"
            )
        return found

    async def tell(self, node: Any, message: Any, options: Any) -> Any:
        """Tell a node something: returns when that is recorded; the same id again is the same."""
        self.check()
        conversation = self.runtime._conversation(node, message, options, None)
        known = self._known(conversation)
        if known is not None:
            return known
        try:
            await self.runtime._accept(conversation)
        except BaseException:
            conversation.end(Reason.CANCELLED)
            raise
        await self.recorded(conversation)
        return conversation

    async def ask(self, node: Any, message: Any, options: Any) -> Any:
        """Ask and await the last reply; who stops waiting for it does not end it."""
        self.check()
        c = self.runtime._conversation(node, message, options, OUTSIDE)
        known = self._known(c)
        if known is not None:
            return await self._answer_of(known)
        try:
            await self.runtime._accept(c)
        except BaseException:
            c.end(Reason.CANCELLED)
            raise
        while not c._is_answered:
            await c._event()
        if c.error is not None:
            raise c.error
        if c._is_left:
            raise Stopped(f"{self.runtime} ends; {c} goes on when the journal is opened again")
        if c._answer is None and c.reason in (Reason.CANCELLED, Reason.STOPPED):
            raise Stopped(f"{c} was ended: {c.detail or c.reason}")
        if c._answer is None:
            raise NoAnswer(f"{node} ended without a word to {str(message)!r:.60}")
        return c._answer

    def _known(self, conversation: Recorded) -> Any:
        """What its message has opened before, in place of which it is not opened; None if it is."""
        conversation._closed = True
        known = self.accept(conversation._node, conversation._message)
        conversation._closed = known is not None
        return known

    async def _answer_of(self, known: Recorded | Past) -> Message:
        """The last reply in a conversation that was opened before."""
        answer = None
        async for reply in self.follow(known):
            answer = reply
        if answer is None:
            past = self._past_of(known)
            if past.reason in (Reason.CANCELLED, Reason.STOPPED):
                raise Stopped(f"{past.id} was ended: {past.detail or past.reason}")
            raise NoAnswer(f"{past.node} ended without a word to {past.id}")
        return answer

    def heard(self, conversation: Recorded) -> Any:
        """The replies to a message that has opened a conversation before; False if it is new."""
        known = self._known(conversation)
        return False if known is None else self.follow(known)

    async def follow(self, known: Recorded | Past) -> AsyncIterator[Message]:
        """What a conversation has said to the outside, and says from now on, until it is answered.

        What it failed with is raised.
        """
        key = self._past_of(known).found.opening.key
        count = 0
        while True:
            c = known if isinstance(known, Recorded) else self.rouse(key)
            past = self._past_of(known)
            replies = past.replies()
            for reply in replies[count:]:
                yield reply
            count = len(replies)
            if past.is_over or (c is not None and c._is_answered and not c._is_left):
                break
            if c is None or c._is_left:
                raise Stopped(f"{past.id} goes on another time: it {past.status}")
            await c._event()
        if past.error is not None:
            raise past.error

    def _past_of(self, known: Recorded | Past) -> Past:
        """A conversation, as it is written now."""
        self.commit()
        opening = known._opening if isinstance(known, Recorded) else known.found.opening
        found = self.ledger.conversation(opening.key)
        return Past(self, found)

    def prepare(self, conversation: Recorded, **options: Any) -> Any:
        """It is about to begin for the first time: its scheduler."""
        self.check()
        conversation._journal = self
        node, message = conversation._node, conversation._message
        is_given = message._id is not None
        self._last_key += 1
        way = "ask" if conversation._hearer is OUTSIDE else "tell"
        if conversation._takes:
            way = "send"
        is_plain = type(message) is Message and message.metadata is NOTHING
        if not (is_plain and message.sender is message.to is message.reply_to is None):
            self.codec.encode(message, "the message")  # else nothing stands in its way
        conversation._opening = Opening(
            key=self._last_key,
            id=message._id or "",
            node=self._address(node),
            message=b"",
            way=way,
            salt=self.runtime.clock.salt(),
            at=self.runtime.clock.now(),
            digest=digest_of_message(message) if is_given else b"",
            options=options_of(conversation),
            is_given=is_given,
        )
        conversation._at = conversation._opening.at
        return conversation.prepare(conversation._opening.salt, count(1).__next__, **options)

    def began(self, conversation: Recorded) -> None:
        """It has a scheduler, and its first message an id."""
        opening = conversation._opening
        opening.id = conversation._scheduler.opening.id
        self.live[opening.key] = conversation
        if opening.is_given:
            self.by_id[opening.node, opening.id] = conversation

    async def recorded(self, conversation: Recorded) -> None:
        """Wait until it is written that this was accepted."""
        if conversation._is_new and not conversation._is_over:
            future = self.runtime._loop.create_future()
            conversation._accepted = (*conversation._accepted, future)
            await future

    def start_task(self, scheduler: Any, act: Any, source: Any, kind: int) -> Any:
        """An async handler as a talk."""
        return start(scheduler, act, source, kind)

    # -- a step --------------------------------------------------------------------------------

    def seen(self, node: Any, *, is_leaf: bool = False) -> str:
        """The hash of the state a node is in, which nobody but itself may change.

        A leaf has changed it between the steps, in a turn of its own.
        """
        address = self.addresses.of(node)
        if address is None:
            return ""
        field = self.states.changed_outside(node)
        if is_leaf and field is not None:
            self.batch.states[address] = after = self.states.take(node)
            return after
        if field is not None:
            self.batch.states[address] = self.states.take(node)  # it is what it is from now on
            raise OutsideTurn(
                f"{node}.{field} was changed, but not by a handler of {node} in its turn; nobody"
                " could do that again when this is replayed: have it told, and let it change itself"
            )
        return self.states.hash(node)

    def step(self, conversation: Recorded) -> None:
        """Take a step, and have it written."""
        inputs, conversation._inputs = conversation._inputs, ()
        at = max(self.runtime.clock.now(), conversation._at)
        status, said = conversation.take_step(at, inputs)
        begun = conversation.collect_calls()
        try:
            self._take_states(conversation)
        except NotStorable as error:
            if status != "over":
                conversation._shut()
            conversation.error, status = error, "over"
        goes_on = status == "over" and conversation._anew and conversation.error is None
        self.writing.step(conversation, inputs, status, begun)
        if goes_on:
            begin_anew(self, conversation)
            status, begun = "ready", []
        self.after.append(partial(self._show, conversation, status, said, begun))

    def _take_states(self, conversation: Recorded) -> None:
        """What nodes know now is written, if it has changed."""
        try:
            for node, before in conversation._touched.values():
                if (address := self.addresses.of(node)) is not None:
                    after = self.states.take(node)
                    if after != before:
                        self.batch.states[address] = after
        except NotStorable:
            for node, before in conversation._touched.values():
                if self.addresses.of(node) is not None:
                    self.states.restore(node, before)
                    self.states.reset(node, before)
            raise

    def _show(self, c: Recorded, status: str, said: list[Any], begun: list[Any]) -> None:
        """It is written: now everybody may see it."""
        c._is_new = False
        accepted, c._accepted = c._accepted, ()
        for future in accepted:
            if not future.done():
                future.set_result(None)
        if c._is_over:
            return
        c.show(said)
        if status == "over":
            self._forget(c)
            c.over(c.error)
            self.suspects.stepped(c)
            return
        c.start_calls(begun)
        c.rest()
        c.takes_itself()
        if status == "ready" or c._inputs:
            c.wake()
        if not c._is_answered and c._scheduler.root.closed and c._anew is None:
            c._is_answered = True
            c._call_waiters()
        self.suspects.stepped(c)

    def end(self, c: Recorded) -> None:
        """It is ended from outside."""
        error = c.error
        try:
            c._shut()
            self._take_states(c)
        except BaseException as failure:  # noqa: BLE001  # it is what it ended with
            error = error or failure
        c.error = error
        c.collect_calls()
        c._at = max(self.runtime.clock.now(), c._at)
        _, _, entries, _, _ = c.step_is_over()
        if entries:
            self.batch.lines.append(Line(c._opening.key, c._at, entries))
        self.writing.questions(c, is_over=True)
        c.errands_are_done(self.batch)
        if c._is_new and not c._is_opened:
            if not entries:
                self._forget(c)
                c.over(error)
                return
            self.batch.opened.append(c._opening)
        self.writing.ending(c)
        self.after.append(partial(self._show, c, "over", [], []))
        self.commit()

    def _forget(self, c: Recorded) -> None:
        self.live.pop(c._opening.key, None)
        if c._opening.is_given:
            self.by_id.pop((c._opening.node, c._opening.id), None)

    def _put(self, key: str, data: bytes) -> None:
        self.batch.values[key] = data

    def commit(self) -> None:
        """Write all there is to write; then it becomes visible."""
        while self.batch or self.after:
            batch, self.batch = self.batch, Batch()
            after, self.after = self.after, []
            if batch:
                self._note_spending(batch)
                leave_out_the_superseded(batch)
                self.garbage.sort_out(batch)
                try:
                    self.ledger.commit(batch)
                except JournalError as error:
                    self._fails(error)
                    return
            for show in after:
                show()

    def _note_spending(self, batch: Batch) -> None:
        """What the budget of the runtime has spent is remembered."""
        budget = self.runtime.budget
        if budget is not None:
            spent = msgspec.json.encode(budget.state()["spent"]).decode()
            if spent != self._spent:
                batch.meta["spent"] = self._spent = spent

    def _fails(self, error: JournalError) -> None:
        """What was done is not written: it is forgotten, as if the process had been killed."""
        self.batch, self.after, self.error, self.garbage = Batch(), [], error, Garbage()
        for conversation in [*self.live.values()]:
            conversation.lose(error)
        self.live.clear()
        self.by_id.clear()
        self.runtime._mailboxes.clear()
        if isinstance(error, Fenced):
            self.runtime._crash(error)
            return
        warnings.warn(f"the journal could not be written, nothing goes on until it can: {error}",
                      RuntimeWarning, 2)  # fmt: skip
        self._retry = self.runtime._loop.call_later(AGAIN, self._recover)

    def _recover(self) -> None:
        """Is the store back? Then everything goes on from what is written."""
        try:
            if isinstance(self.url, str):
                self.ledger.close()
                self.ledger = open_ledger(self.url)
                self.states.read = self.ledger.values
            self.ledger.claim()
            self.ledger.commit(Batch(meta={"alive": "1"}))
            self.states.again(self.ledger.states())
            self.alarm.load(self.ledger.dues())
        except JournalError as error:
            self.error = error
            self._retry = self.runtime._loop.call_later(AGAIN, self._recover)
            return
        self.error = None
        self.begin()

    def check(self) -> None:
        """Refuse new work while nothing can be written."""
        if self.error is not None:
            raise JournalError(
                f"nothing can be recorded at the moment, so nothing is accepted: {self.error}"
            ) from self.error

    # -- bringing back -------------------------------------------------------------------------

    def rouse(self, key: int) -> Recorded | None:
        """Bring a conversation back to where it was; None if it is over, stuck or unknown."""
        if (live := self.live.get(key)) is not None:
            return live
        attempts = 0
        try:
            found = self.ledger.conversation(key)
            if found is None or found.ending is not None or found.stand.status in AT_REST:
                return None
            attempts = found.stand.attempts
            if not self.suspects.may_try(found):
                return None
            conversation = replay(self, found)
        except Exception as error:  # noqa: BLE001  # whatever stands in the way of it, others go on
            self.batch.stands.append(Stand(key, "stuck", None, (), attempts, str(error)))
            self.commit()
            return None
        self.live[key] = conversation
        opening = conversation._opening
        if opening.is_given:
            self.by_id[opening.node, opening.id] = conversation
        self.runtime._queue.opened(conversation)
        go_live(self, conversation, found)
        return conversation

    # -- time ----------------------------------------------------------------------------------

    def due(self, key: int, now: int) -> None:
        """The timer of a conversation that sleeps is due."""
        if key not in self.live and (conversation := self.rouse(key)) is not None:
            conversation.tick(now)

    def expecting(self, word: str, value: Any) -> None:
        """News has come under this key: bring back those who wait for it."""
        self.codec.encode(value, f"the news {word!r}")  # or nobody hears it
        for key in self.ledger.expecting(word):
            self.rouse(key)

    # -- what is asked of it -----------------------------------------------------------------

    def pending(self) -> list[Question]:
        """The open questions, the oldest first."""
        return self.inquiries.pending()

    async def answer(self, number: str, words: Any, by: Any) -> None:
        """Answer a question: returns when that is recorded."""
        await self.inquiries.answer(number, words, by)

    def look(self) -> None:
        """Take in what other processes have laid at the door."""
        if self.error is None:
            self.door.look()

    # -- what was said -------------------------------------------------------------------------

    def replies(self, number: str) -> Replies:
        """All that the conversations which this message has opened have said to the outside."""
        self.commit()
        return Replies(self, number)

    def lies_at_the_door(self, number: str) -> bool:
        """Was this message told by another process, and not taken in?"""
        return self.door.holds(self.ledger, number)

    def past(self, found: Found) -> Past:
        """A conversation, as it is written."""
        return Past(self, found)

    def _address(self, node: Any) -> str:
        address = self.addresses.of(node)
        if address is None:
            self.addresses.add(node)
            address = self.addresses.of(node)
            self.batch.meta.update(listed([(str(address), node)], {}))
        return str(address)


def digest_of_message(message: Message) -> bytes:
    """What tells a message from another with the same id."""
    entry = [message.kind, message.intent or "chat", message.content]
    own = [getattr(message, name) for name in message.__struct_fields__[COMMON:]]
    return hash_of(msgspec.json.encode([*entry, *map(str, own)])).encode()


def options_of(conversation: Recorded) -> dict[str, Any]:
    """What a conversation was opened with, as far as that is needed to open it again."""
    given = conversation._options or {}
    options: dict[str, Any] = {}
    limits = given.get("limits", conversation._runtime.limits)
    if limits != Limits():
        options["limits"] = msgspec.to_builtins(limits)
    if conversation._deadline is not None:
        options["deadline"] = conversation._deadline
    return options
