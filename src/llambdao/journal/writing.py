"""How a step of a conversation is put into a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.conversation import Recorded
from llambdao.journal.effects import digest_of, in_doubt_of, name_of
from llambdao.journal.ledger import (
    Answer,
    Batch,
    Effect,
    Ending,
    Letter,
    Line,
    Question,
    Stand,
    Step,
)
from llambdao.journal.recording import entry_of, error_out
from llambdao.journal.rows import names_in
from llambdao.journal.states import hash_of
from llambdao.kernel.events import DeadLetter, Reason
from llambdao.kernel.waits import BEGUN

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Writing", "calls_of", "leave_out_the_superseded", "prints_with"]


def calls_of(codec: Any, begun: list[Any]) -> list[Any]:
    """The calls that a step has begun: their numbers, names and arguments."""
    return [[number, name_of(wait), digest_of(codec, wait)] for number, wait in begun]


def prints_with(prints: str, calls: list[Any]) -> str:
    """The fingerprint of a step, with what it calls."""
    return f"{prints}/{hash_of(msgspec.json.encode(calls))}" if calls else prints


def leave_out_the_superseded(batch: Batch) -> None:
    """Of the states of a node within one batch the last is written, and those that a step saw."""
    if len(batch.values) <= len(batch.states):
        return
    over = {ending.key for ending in batch.endings}
    todo = {*batch.states.values()}
    for step in batch.steps:
        if step.saw and step.key not in over:
            todo.update(step.saw.values())
    values, batch.values = batch.values, {}
    while todo:
        name = todo.pop()
        body = values.pop(name, None)
        if body is not None:
            batch.values[name] = body
            if b'"#"' in body:
                todo.update(names_in(msgspec.json.decode(body)))


class Writing:
    """Puts what happened into the batch of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def step(self, c: Recorded, inputs: Any, status: str, begun: list[Any]) -> Step:
        """Put the step into the batch; one that ends its conversation leaves nothing but that."""
        batch, key = self.journal.batch, c._opening.key
        saw, notes, entries, _, prints = c.step_is_over()
        if c._is_new and not c._is_opened:
            self.opening(c, is_over=status == "over")
        if entries:
            batch.lines.append(Line(key, c._at, entries))
        self.questions(c, is_over=status == "over")
        c.errands_are_done(batch)
        calls = calls_of(self.journal.codec, begun) if begun else []
        step = Step(
            key, c._number, c._at, msgspec.json.encode(inputs), saw,
            msgspec.json.encode(notes) if notes else b"", prints_with(prints, calls),
        )  # fmt: skip
        if status == "over":
            self.ending(c)
            return step
        c._number += 1
        batch.steps.append(step)
        due = c._scheduler.next_due
        if c._deadline is not None:
            due = c._deadline if due is None else min(due, c._deadline)
        expects = tuple(word for word, waiting in (c._scheduler.expected or {}).items() if waiting)
        scheduler = c._scheduler
        can_go_on = (
            status == "ready" or scheduler.parked or c._parked or scheduler.mailboxes.is_full
        )
        stand: Any = "ready" if can_go_on else "waits"
        batch.stands.append(Stand(key, stand, due, expects, c._attempts))
        for (number, name, digest), (_, wait) in zip(calls, begun, strict=True):
            batch.effects.append(Effect(key, number, name, digest, in_doubt_of(wait), c._at))
        batch.settled += [(key, one[1]) for one in inputs if one[0] in ("done", "broke")]
        return step

    def opening(self, c: Recorded, *, is_over: bool = False) -> None:
        """It was accepted; of one that is over already nobody need know how to begin it again."""
        c._is_opened, opening = True, c._opening
        if not is_over:
            unsaid = c._message.but(id=opening.id if opening.is_given else None)
            opening.message = self.journal.codec.encode(unsaid, "the message")
        self.journal.batch.opened.append(opening)

    def ending(self, c: Recorded) -> None:
        scheduler = c._scheduler
        reason = scheduler.reason or (Reason.FAILED if c.error else Reason.DONE)
        error = error_out(self.journal.codec, c.error)
        self.journal.batch.endings.append(
            Ending(c._opening.key, c._at, str(reason), scheduler.detail or "", error)
        )

    def questions(self, c: Recorded, *, is_over: bool = False) -> None:
        for number, (asked, is_new, answer) in [*c._asked.items()]:
            if is_new and asked.state == BEGUN and not is_over:
                question = asked.question
                self.journal.batch.questions.append(
                    Question(
                        number,
                        c._opening.key,
                        self.journal.addresses.of(question.who) or str(question.who),
                        self.called(question.asker),
                        question.content,
                        msgspec.json.encode(entry_of(self.journal.addresses, asked.message)),
                        asked.since,
                        asked.until,
                    )
                )
                c._asked[number] = (asked, False, None)
            elif asked.state != BEGUN or is_over:
                del c._asked[number]
                if not is_new:
                    way = "answered" if answer and asked.is_answered else "withdrawn"
                    by, words = answer if answer and asked.is_answered else ("", "")
                    self.journal.batch.answers.append(Answer(number, way, by, c._at, words))

    def called(self, node: Any) -> str:
        if node is None:
            return ""
        return self.journal.addresses.of(node) or str(node)

    def letter(self, letter: DeadLetter) -> None:
        """A dead letter."""
        self.journal.batch.letters.append(
            Letter(
                msgspec.json.encode(entry_of(self.journal.addresses, letter.message)),
                letter.reason,
                self.called(letter.node),
                repr(letter.error) if letter.error is not None else "",
                self.journal.runtime.clock.now(),
            )
        )
