"""`Doubt`: was it done before the process died? Whoever looks after the journal is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.errors import InDoubt
from llambdao.kernel.message import Address, Message
from llambdao.kernel.waits import BEGUN, OVER
from llambdao.runtime.questions import Question, moment

if TYPE_CHECKING:
    from llambdao.journal.conversation import Recorded
    from llambdao.journal.ledger import Effect

__all__ = ["AGAIN", "OPERATOR", "Doubt", "go_on"]

OPERATOR = Address("operator", "operator", "user")
"""Who is asked about effects: a node that is called so, or whoever answers for it."""

AGAIN = "again"
"""The answer that has it done again; any other is taken as what it came to."""


def go_on(c: Recorded, effects: list[Effect]) -> None:
    """Do the calls that were under way when the process died, or as their policies say."""
    doubtful = {effect.number: effect for effect in effects}
    for number, wait in [*c._calls.items()]:
        effect = doubtful.get(number)
        if effect is not None and effect.policy == "raise":
            c.call_came(number, None, InDoubt(
                f"the process died while {effect.name} was under way; nobody knows whether it"
                " was done"
            ))  # fmt: skip
        elif effect is not None and effect.policy == "ask":
            Doubt(c, effect, wait).ask()
        else:
            c._start_call(number, wait)


class Doubt:
    """The open question about an effect; to a conversation it is what a person was asked."""

    until = None
    says = None
    is_doubt = True

    def __init__(self, c: Recorded, effect: Effect, wait: Any) -> None:
        self.conversation, self.effect, self.wait = c, effect, wait
        self.since = c._runtime.clock.now()
        self.is_answered = False
        self.key = c.effect_key(effect.number) + "?"
        while c._journal.ledger.answer(self.key) is not None:
            self.key += "?"
        self.content = (
            f"The process died while {effect.name} was under way, and nobody knows whether it was"
            f' done. Answer "{AGAIN}" to have it done again; whatever else you answer is taken as'
            " what it came to."
        )

    @property
    def state(self) -> int:
        """Does anybody wait for the answer?"""
        return OVER if self.is_answered else int(self.wait.state)

    @property
    def message(self) -> Message:
        """The question as a message."""
        return Message(self.content, "request", self.wait.act.node, OPERATOR, id=self.key)

    @property
    def question(self) -> Question:
        """It, as it is shown."""
        asker = self.wait.act.node
        return Question(self.key, OPERATOR, asker, self.content, moment(self.since))

    def ask(self) -> None:
        """Let it be an open question, unless it is one already."""
        c, journal = self.conversation, self.conversation._journal
        is_new = not journal.ledger.questions(self.key)
        c._asked[self.key] = (self, is_new, None)
        journal.writing.questions(c)

    def take(self, words: Any) -> None:
        """It is answered."""
        if self.wait.state != BEGUN:
            return
        c, number, self.is_answered = self.conversation, self.effect.number, True
        if str(getattr(words, "content", words)).strip().lower() == AGAIN:
            c._journal.writing.questions(c)
            c._journal.commit()
            c._start_call(number, self.wait)
        else:
            data = c._journal.codec.encode(words, "the answer")
            c.came("done", number, msgspec.Raw(data))
