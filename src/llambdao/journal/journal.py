"""`Journal`: what a runtime writes down, commit by commit, and how it goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

import msgspec

from llambdao.journal.addresses import Addresses
from llambdao.journal.conversation import Recorded
from llambdao.journal.effects import digest_of, in_doubt_of, name_of
from llambdao.journal.errors import (
    AlreadyAnswered,
    CorruptRow,
    Differs,
    DuplicateId,
    InDoubt,
    JournalError,
    MissingNode,
    NotAsked,
)
from llambdao.journal.handles import Past
from llambdao.journal.ledger import (
    Answer,
    Batch,
    Effect,
    Ending,
    Found,
    Letter,
    Line,
    Opening,
    Question,
    Stand,
    Step,
)
from llambdao.journal.recording import entry_of, error_out
from llambdao.journal.states import States, hash_of
from llambdao.journal.stores import open_ledger
from llambdao.journal.talks import start
from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.errors import Misused, NoAnswer, Stopped
from llambdao.kernel.events import DeadLetter, Limits, Reason
from llambdao.kernel.message import Address, Message
from llambdao.runtime import questions as asking
from llambdao.runtime.codec import Codec, NotStorable
from llambdao.runtime.questions import answer_of, is_asked, moment

__all__ = ["Journal"]

POLL = 0.05
"""Every so many seconds somebody looks whether another process has knocked."""


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
        self._poll: Any = None

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
            states = {self.renamed.get(a, a): key for a, key in self.ledger.states().items()}
            self.states.begin(states)
            self._last_key = self.ledger.last_key()
            self.alarm.load(self.ledger.dues())
        except BaseException:
            self.ledger.close()
            raise

    def begin(self) -> None:
        """Everybody who can go on does."""
        for key in self.ledger.ready():
            if key not in self.live:
                self.rouse(key)
        self.alarm.arm()
        self.look()
        self._schedule_look()

    def close(self) -> None:
        """The program ends: nobody is cancelled, what waits goes on another time."""
        if self._poll is not None:
            self._poll.cancel()
        for conversation in [*self.live.values()]:
            conversation.leave()
        self.live.clear()
        if self.ledger is not None:
            self.ledger.close()

    # -- beginning -----------------------------------------------------------------------------

    def accept(self, node: Any, message: Message) -> Any:
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
            opening = some[0].opening
            found = Past(self, some[0])
        if opening.digest != digest:
            raise DuplicateId(
                f"{node} was sent a message with the id {message.id!r} before, with other content;"
                " an id is for one message"
            )
        return found

    async def tell(self, node: Any, message: Any, options: Any) -> Any:
        """Tell a node something: returns when that is recorded; the same id again is the same."""
        conversation = self.runtime._conversation(node, message, options, None)
        known = self.accept(node, conversation._message)
        if known is not None:
            conversation._closed = True
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
        c = self.runtime._conversation(node, message, options, OUTSIDE)
        known = self.accept(node, c._message)
        if known is not None:
            c._closed, c = True, known
        else:
            try:
                await self.runtime._accept(c)
            except BaseException:
                c.end(Reason.CANCELLED)
                raise
        while not c._is_answered:
            await c._event()
        if c.error is not None:
            raise c.error
        if c._answer is None and c.reason in (Reason.CANCELLED, Reason.STOPPED):
            raise Stopped(f"{c} was ended: {c.detail or c.reason}")
        if c._answer is None and not c._is_left:
            raise NoAnswer(f"{node} ended without a word to {str(message)!r:.60}")
        if c._answer is None:
            raise Stopped(f"{self.runtime} ends; {c} goes on when the journal is opened again")
        return c._answer

    def prepare(self, conversation: Recorded, **options: Any) -> Any:
        """It is about to begin for the first time: its scheduler."""
        conversation._journal = self
        node, message = conversation._node, conversation._message
        is_given = message._id is not None
        self._last_key += 1
        way = "ask" if conversation._hearer is OUTSIDE else "tell"
        if conversation._takes:
            way = "send"
        data = self.codec.encode(message, "the message")
        conversation._opening = Opening(
            key=self._last_key,
            id=message._id or "",
            node=self._address(node),
            message=data,
            way=way,
            salt=self.runtime.clock.salt(),
            at=self.runtime.clock.now(),
            digest=digest_of_message(message),
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

    def seen(self, node: Any) -> str:
        """The hash of the state a node is in."""
        return self.states.hash(node) if self.addresses.of(node) is not None else ""

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
        self._write(conversation, inputs, status, begun)
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

    def _write(self, c: Recorded, inputs: Any, status: str, begun: list[Any]) -> None:
        """Put the step into the batch."""
        batch, opening, key = self.batch, c._opening, c._opening.key
        saw, notes, entries, _, prints = c.step_is_over()
        if c._is_new:
            batch.opened.append(opening)
        if entries:
            batch.lines.append(Line(key, c._at, entries))
        self._write_questions(c, is_over=status == "over")
        if status == "over":
            self._write_ending(c)
            return
        calls = [[number, name_of(wait), digest_of(self.codec, wait)] for number, wait in begun]
        if calls:
            prints = f"{prints}/{hash_of(msgspec.json.encode(calls))}"
        step = Step(
            key, c._number, c._at, msgspec.json.encode(inputs), saw,
            msgspec.json.encode(notes) if notes else b"", prints,
        )  # fmt: skip
        c._number += 1
        batch.steps.append(step)
        due = c._scheduler.next_due
        if c._deadline is not None:
            due = c._deadline if due is None else min(due, c._deadline)
        expects = tuple(word for word, waiting in (c._scheduler.expected or {}).items() if waiting)
        stand: Any = "ready" if status == "ready" or c._scheduler.parked else "waits"
        batch.stands.append(Stand(key, stand, due, expects, c._attempts))
        for (number, name, digest), (_, wait) in zip(calls, begun, strict=True):
            batch.effects.append(Effect(key, number, name, digest, in_doubt_of(wait), c._at))
        batch.settled += [(key, one[1]) for one in inputs if one[0] in ("done", "broke")]

    def _write_ending(self, c: Recorded) -> None:
        scheduler = c._scheduler
        reason = scheduler.reason or (Reason.FAILED if c.error else Reason.DONE)
        error = error_out(self.codec, c.error)
        self.batch.endings.append(
            Ending(c._opening.key, c._at, str(reason), scheduler.detail or "", error)
        )

    def _write_questions(self, c: Recorded, *, is_over: bool = False) -> None:
        for number, (asked, is_new, answer) in [*c._asked.items()]:
            if is_new and asked.state == 1 and not is_over:
                question = asked.question
                self.batch.questions.append(
                    Question(
                        number,
                        c._opening.key,
                        self.addresses.of(question.who) or str(question.who),
                        self._called(question.asker),
                        question.content,
                        msgspec.json.encode(entry_of(self.addresses, asked.message)),
                        asked.since,
                        asked.until,
                    )
                )
                c._asked[number] = (asked, False, None)
            elif asked.state != 1 or is_over:
                del c._asked[number]
                if not is_new:
                    way = "withdrawn" if answer is None else "answered"
                    by, words = answer or ("", "")
                    self.batch.answers.append(Answer(number, way, by, c._at, words))

    def _called(self, node: Any) -> str:
        if node is None:
            return ""
        return self.addresses.of(node) or str(node)

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
            return
        c.start_calls(begun)
        c.rest()
        if status == "ready" or c._inputs:
            c.wake()
        if not c._is_answered and c._scheduler.root.closed:
            c._is_answered = True
            c._call_waiters()

    def end(self, c: Recorded) -> None:
        """It is ended from outside."""
        error = c.error
        try:
            c._shut()
        except BaseException as failure:  # noqa: BLE001  # it is what it ended with
            error = error or failure
        c.error = error
        c.collect_calls()
        c._at = max(self.runtime.clock.now(), c._at)
        _, _, entries, _, _ = c.step_is_over()
        if entries:
            self.batch.lines.append(Line(c._opening.key, c._at, entries))
        self._write_questions(c, is_over=True)
        if c._is_new and not any(one is c._opening for one in self.batch.opened):
            if not entries:
                self._forget(c)
                c.over(error)
                return
            self.batch.opened.append(c._opening)
        self._write_ending(c)
        self.after.append(partial(self._show, c, "over", [], []))
        self.commit()

    def _forget(self, c: Recorded) -> None:
        self.live.pop(c._opening.key, None)
        if c._opening.is_given:
            self.by_id.pop((c._opening.node, c._opening.id), None)

    def buried(self, letter: DeadLetter) -> None:
        """A dead letter is kept."""
        message = letter.message
        self.batch.letters.append(
            Letter(
                msgspec.json.encode(entry_of(self.addresses, message)),
                letter.reason,
                self._called(letter.node),
                repr(letter.error) if letter.error is not None else "",
                self.runtime.clock.now(),
            )
        )

    def _put(self, key: str, data: bytes) -> None:
        self.batch.values[key] = data

    def commit(self) -> None:
        """Write all there is to write; then it becomes visible."""
        while self.batch or self.after:
            batch, self.batch = self.batch, Batch()
            after, self.after = self.after, []
            if batch:
                self.ledger.commit(batch)
            for show in after:
                show()

    # -- bringing back -------------------------------------------------------------------------

    def rouse(self, key: int) -> Recorded | None:
        """Bring a conversation back to where it was; None if it is over, stuck or unknown."""
        if (live := self.live.get(key)) is not None:
            return live
        found = self.ledger.conversation(key)
        if found is None or found.ending is not None or found.stand.status in ("stuck", "parked"):
            return None
        try:
            conversation = self._replay(found)
        except (Differs, CorruptRow, MissingNode) as error:
            self.batch.stands.append(
                Stand(key, "stuck", None, (), found.stand.attempts, str(error))
            )
            self.commit()
            return None
        self.live[key] = conversation
        opening = conversation._opening
        if opening.is_given:
            self.by_id[opening.node, opening.id] = conversation
        self.runtime._queue.opened(conversation)
        self._go_live(conversation, found)
        return conversation

    def _replay(self, found: Found) -> Recorded:
        """Take all its steps again."""
        opening, runtime = found.opening, self.runtime
        address = self.renamed.get(opening.node, opening.node)
        node = self.addresses.node(address)
        if node is None:
            raise MissingNode(f"the node {opening.node!r} of this conversation is gone")
        message = self.codec.decode(opening.message)
        hearer = None if opening.way == "tell" else OUTSIDE
        c = Recorded(node, message, {}, hearer, _runtime=runtime, _takes=opening.way == "send")
        c._journal, c._opening, c._is_live, c._is_new, c._closed = self, opening, False, False, True
        c._at, c._is_mute = opening.at, True
        options = opening.options
        if "deadline" in options:
            c._deadline = options["deadline"]
        scheduler = c.prepare(
            opening.salt,
            count(1).__next__,
            limits=Limits(**options.get("limits", {})),
            answerer=runtime.answer_with,
            budget=runtime.budget,
            purse=runtime._purse,
            sleep=runtime.clock.sleep,
        )
        c._scheduler = scheduler
        self.replaying = Replaying(self, c)
        try:
            scheduler.open(node, message, hearer)
            for step in self.ledger.steps(opening.key):
                self.replaying.take(step)
        finally:
            self.replaying.back()
        return c

    def _go_live(self, c: Recorded, found: Found) -> None:
        """It has caught up: from now on it is as if nothing had happened."""
        c._is_live = True
        c._scheduler.observers = [*self.runtime._observers, c._record]
        c._scheduler.mailboxes.go_live(c._scheduler)
        for word, waiting in (c._scheduler.expected or {}).items():
            if waiting:
                self.runtime._expecting.setdefault(word, {})[id(c)] = c
        c._context = None
        c.lives_on()
        c.rest()
        c._is_answered = c._scheduler.root.closed
        doubtful = {effect.number: effect for effect in self.ledger.effects(found.opening.key)}
        for number, wait in [*c._calls.items()]:
            effect = doubtful.get(number)
            if effect is not None and effect.policy == "raise":
                c.call_came(number, None, InDoubt(
                    f"the process died while {effect.name} was under way; nobody knows whether it"
                    " was done"
                ))  # fmt: skip
            else:
                c._start_call(number, wait)
        if c._parked:
            c.came("take")
        if found.stand.status == "ready" or c._number == 0:
            c.wake()

    # -- time ----------------------------------------------------------------------------------

    def due(self, key: int, now: int) -> None:
        """The timer of a conversation that sleeps is due."""
        if key not in self.live and (conversation := self.rouse(key)) is not None:
            conversation.tick(now)

    # -- questions -----------------------------------------------------------------------------

    def pending(self) -> list[asking.Question]:
        """The open questions, the oldest first."""
        self.commit()
        return [self._question(one) for one in self.ledger.questions()]

    def _question(self, one: Question) -> asking.Question:
        def node(address: str) -> Any:
            if not address:
                return None
            found = self.addresses.node(self.renamed.get(address, address))
            return found or Address(address, address.rpartition("/")[2])

        return asking.Question(
            one.id, node(one.who), node(one.asker), one.content, moment(one.since),
            None if one.until is None else moment(one.until),
        )  # fmt: skip

    async def answer(self, number: str, words: Any, by: Any) -> None:
        """Answer a question: returns when that is recorded."""
        conversation = self.take_answer(number, words, by)
        if not conversation._is_over and (conversation._inputs or conversation._is_queued):
            future = self.runtime._loop.create_future()
            conversation._accepted = (*conversation._accepted, future)
            await future

    def take_answer(self, number: str, words: Any, by: Any) -> Recorded:
        """Have the one who waits for it go on with this answer."""
        self.commit()
        said = answer_of(words)
        found = self.ledger.questions(number)
        if not found:
            if self.ledger.answer(number) is not None:
                raise AlreadyAnswered(f"the question {number} is closed, and takes no more answers")
            raise NotAsked(f"there is no question {number!r:.80}; runtime.pending() has those open")
        is_asked(self._question(found[0]), by)
        conversation = self.rouse(found[0].key)
        if conversation is None:
            raise JournalError(f"the conversation that asked {number} is stuck: llambdao stuck")
        asked = conversation._asked.get(number)
        if asked is None or asked[2] is not None:
            raise AlreadyAnswered(f"the question {number} is closed, and takes no more answers")
        name = by if isinstance(by, str) else self._called(by)
        conversation._asked[number] = (
            asked[0],
            asked[1],
            (name, str(getattr(said, "content", said))),
        )
        conversation.came("news", number, msgspec.Raw(self.codec.encode(said, "the answer")))
        return conversation

    def expecting(self, word: str) -> None:
        """News has come under this key: bring back those who wait for it."""
        for key in self.ledger.expecting(word):
            self.rouse(key)

    # -- what was said -------------------------------------------------------------------------

    def replies(self, number: str) -> list[Message]:
        """All that the conversations which this message has opened have said to the outside."""
        self.commit()
        return [said for found in self.ledger.find(number) for said in self.past(found).replies()]

    def past(self, found: Found) -> Past:
        """A conversation, as it is written."""
        return Past(self, found)

    # -- the door ------------------------------------------------------------------------------

    def _schedule_look(self) -> None:
        self._poll = self.runtime._loop.call_later(POLL, self._look_again)

    def _look_again(self) -> None:
        try:
            if self.ledger.has_changed():
                self.look()
        finally:
            self._schedule_look()

    def look(self) -> None:
        """Take in what other processes have laid at the door."""
        for knock in self.ledger.knocks():
            self.batch.taken.append(knock.seq)
            try:
                self._take_in(knock.kind, knock.body)
            except Exception as error:  # noqa: BLE001  # what comes from outside harms nobody here
                self.batch.letters.append(
                    Letter(
                        msgspec.json.encode(knock.body), f"{knock.kind} refused",
                        str(knock.body.get("node", "")), repr(error), self.runtime.clock.now(),
                    )
                )  # fmt: skip
        self.commit()

    def _take_in(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "answer":
            self.take_answer(body["id"], body["content"], body.get("by"))
        elif kind == "cancel":
            for found in self.ledger.find(body["id"]):
                if (conversation := self.rouse(found.opening.key)) is not None:
                    conversation.end(Reason.CANCELLED, body.get("detail", "by another process"))
        elif kind == "tell":
            node = self.addresses.node(body["node"])
            if node is None:
                raise Misused(f"there is no node {body['node']!r:.80} in this program")
            message = Message.parse(body["message"])
            if self.accept(node, message) is None:
                self.runtime._open(self.runtime._conversation(node, message, None, None))
        else:
            raise Misused(f"nobody can {kind!r:.80} at the door")

    def _address(self, node: Any) -> str:
        address = self.addresses.of(node)
        if address is None:
            self.addresses.add(node)
            address = self.addresses.of(node)
        return str(address)


class Replaying:
    """The replay of one conversation: nodes are put back into the states it saw."""

    def __init__(self, journal: Journal, conversation: Recorded) -> None:
        self.journal, self.conversation = journal, conversation
        self._saw: dict[str, str] = {}
        self._backs: dict[int, Callable[[], None]] = {}

    def touched(self, node: Any) -> None:
        """A node has its first turn in a step: it is put into the state it was in."""
        states, address = self.journal.states, self.journal.addresses.of(node)
        if address is None:
            return
        if id(node) not in self._backs:
            self._backs[id(node)] = states.swap([node])
        states.restore(node, self._saw.get(address, ""))

    def back(self) -> None:
        """All nodes are as they were before."""
        for back in self._backs.values():
            back()

    def take(self, step: Step) -> None:
        """Take a step again, and compare what is said."""
        c = self.conversation
        self._saw = step.saw
        c._read = msgspec.json.decode(step.notes) if step.notes else []
        if step.number != c._number:
            raise CorruptRow(f"step {c._number} of this conversation is missing")
        status, _ = c.take_step(step.at, read_inputs(step.inputs))
        begun = c.collect_calls()
        _, _, entries, _, prints = c.step_is_over()
        calls = [
            [number, name_of(wait), digest_of(self.journal.codec, wait)] for number, wait in begun
        ]
        if calls:
            prints = f"{prints}/{hash_of(msgspec.json.encode(calls))}"
        if status == "over" or prints != step.prints:
            raise Differs(self._difference(step, status, entries, calls))
        for number, (asked, _, _) in [*c._asked.items()]:
            if asked.state == 1:
                c._asked[number] = (asked, False, None)
            else:
                del c._asked[number]
        c._number += 1

    def _difference(self, step: Step, status: str, entries: list[Any], calls: list[Any]) -> str:
        """What was said then, and what is said now."""
        c = self.conversation
        lines = self.journal.ledger.lines(c._opening.key)
        then = [one for line in lines if line.at == step.at for one in line.said]
        text = [
            f"{c._opening.node} does something else now than it did in step {step.number} of"
            f" {c._opening.id}:"
        ]
        for place in range(max(len(then), len(entries))):
            was = _shown(then[place]) if place < len(then) else "(nothing)"
            now = _shown(entries[place]) if place < len(entries) else "(nothing)"
            text += [f"  {was}"] if was == now else [f"- {was}", f"+ {now}"]
        text += [f"+ calls {name}" for _, name, _ in calls]
        if status == "over":
            text.append(f"+ it ends{f': {c.error!r}' if c.error else ''}")
        return "\n".join(text)


class Alarm:
    """Wakes the conversations that sleep in the journal when they are due."""

    is_over = False

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.heap: list[tuple[int, int]] = []

    def load(self, dues: list[tuple[int, int]]) -> None:
        """These are due some time."""
        self.heap = sorted(dues)

    def arm(self) -> None:
        """Have the runtime wake it."""
        if self.heap:
            self.journal.runtime._timers.at(self.heap[0][0], self)

    def tick(self, now: int) -> None:
        """It is later now."""
        while self.heap and self.heap[0][0] <= now:
            _, key = heappop(self.heap)
            self.journal.due(key, now)
        self.arm()

    def jumped(self, jump: int) -> int | None:
        """The wall clock has jumped: what is in the journal goes by the wall clock."""
        return self.heap[0][0] if self.heap else None

    def add(self, due: int, key: int) -> None:
        """One more."""
        heappush(self.heap, (due, key))


def _shown(entry: dict[str, Any]) -> str:
    who = f"{entry.get('from', 'outside')} to {entry.get('to', 'all')}"
    return f"{who}: {entry.get('intent')} {entry.get('content', '')!r:.100}"


def read_inputs(data: bytes) -> list[Any]:
    """The inputs of a step; values stay JSON until they are needed."""
    inputs: list[Any] = []
    for one in msgspec.json.decode(data, type=list[list[msgspec.Raw]]):
        kind = msgspec.json.decode(one[0])
        rest = [
            raw if kind in ("done", "news") and place == 1 else msgspec.json.decode(raw)
            for place, raw in enumerate(one[1:])
        ]
        inputs.append([kind, *rest])
    return inputs


def digest_of_message(message: Message) -> bytes:
    """What tells a message from another with the same id."""
    entry = [message.kind, message.intent or "chat", message.content]
    own = [getattr(message, name) for name in message.__struct_fields__[12:]]
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
