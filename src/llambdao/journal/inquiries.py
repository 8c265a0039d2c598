"""The open questions to people, as a journal has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.conversation import Recorded
from llambdao.journal.errors import AlreadyAnswered, JournalError, NotAsked
from llambdao.journal.ledger import Question
from llambdao.kernel.message import Address
from llambdao.runtime import questions as asking
from llambdao.runtime.questions import answer_of, is_asked, moment

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Inquiries"]


class Inquiries:
    """Who is asked what, and how it is answered."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def pending(self) -> list[asking.Question]:
        """The open questions, the oldest first."""
        self.journal.commit()
        return [self._question(one) for one in self.journal.ledger.questions()]

    def _question(self, one: Question) -> asking.Question:
        def node(address: str) -> Any:
            if not address:
                return None
            found = self.journal.addresses.node(self.journal.renamed.get(address, address))
            return found or Address(address, address.rpartition("/")[2])

        return asking.Question(
            one.id, node(one.who), node(one.asker), one.content, moment(one.since),
            None if one.until is None else moment(one.until),
        )  # fmt: skip

    async def answer(self, number: str, words: Any, by: Any) -> None:
        """Answer a question: returns when that is recorded."""
        conversation = self.take(number, words, by)
        if not conversation._is_over and (conversation._inputs or conversation._is_queued):
            future = self.journal.runtime._loop.create_future()
            conversation._accepted = (*conversation._accepted, future)
            await future

    def take(self, number: str, words: Any, by: Any) -> Recorded:
        """Have the one who waits for it go on with this answer."""
        self.journal.commit()
        said = answer_of(words)
        found = self.journal.ledger.questions(number)
        if not found:
            if self.journal.ledger.answer(number) is not None:
                raise AlreadyAnswered(f"the question {number} is closed, and takes no more answers")
            raise NotAsked(f"there is no question {number!r:.80}; runtime.pending() has those open")
        is_asked(self._question(found[0]), by)
        conversation = self.journal.rouse(found[0].key)
        if conversation is None:
            raise JournalError(f"the conversation that asked {number} is stuck: llambdao stuck")
        asked = conversation._asked.get(number)
        if asked is None or asked[2] is not None:
            raise AlreadyAnswered(f"the question {number} is closed, and takes no more answers")
        name = by if isinstance(by, str) else self.journal.writing.called(by)
        conversation._asked[number] = (
            asked[0],
            asked[1],
            (name, str(getattr(said, "content", said))),
        )
        conversation.came(
            "news", number, msgspec.Raw(self.journal.codec.encode(said, "the answer"))
        )
        return conversation
