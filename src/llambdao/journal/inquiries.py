"""The open questions to people, as a journal has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.conversation import Recorded
from llambdao.journal.doubts import Doubt
from llambdao.journal.errors import JournalError, NotAsked
from llambdao.journal.ledger import Question
from llambdao.kernel.message import Address
from llambdao.runtime import questions as asking
from llambdao.runtime.questions import Names, answer_of, closed, is_asked, moment

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Inquiries"]


class Inquiries:
    """Who is asked what, and how it is answered."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.names = Called(journal)
        self._asked: Any = None  # what was answered just now

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

        who = node(one.who)
        return asking.Question(
            one.id, who, node(one.asker), one.content, moment(one.since),
            None if one.until is None else moment(one.until),
            says=getattr(who, "says", None),
        )  # fmt: skip

    async def answer(self, number: str, words: Any, by: Any) -> None:
        """Answer a question: returns when that is recorded."""
        conversation = self.take(number, words, by)
        asked = self._asked
        if not conversation._is_over and (conversation._inputs or conversation._is_queued):
            future = self.journal.runtime._loop.create_future()
            conversation._accepted = (*conversation._accepted, future)
            await future
        if not asked.is_answered:  # time was up just then, or it was cancelled
            raise closed(number, "")

    def take(self, number: str, words: Any, by: Any) -> Recorded:
        """Have the one who waits for it go on with this answer."""
        self.journal.commit()
        found = self.journal.ledger.questions(number)
        if not found:
            if (how := self.journal.ledger.answer(number)) is not None:
                raise closed(number, how.by)
            raise NotAsked(f"there is no question {number!r:.80}; runtime.pending() has those open")
        question = self._question(found[0])
        is_asked(question, by, self.names)
        said = answer_of(words, question.says)
        conversation = self.journal.rouse(found[0].key)
        if conversation is None:
            raise JournalError(f"the conversation that asked {number} is stuck: llambdao stuck")
        asked = conversation._asked.get(number)
        if asked is None or asked[2] is not None:
            raise closed(number, "" if asked is None else asked[2][0])
        name, self._asked = found[0].who, asked[0]
        conversation._asked[number] = (
            asked[0],
            asked[1],
            (name, str(getattr(said, "content", said))),
        )
        if isinstance(asked[0], Doubt):
            asked[0].take(said)
            return conversation
        conversation.came(
            "news", number, msgspec.Raw(self.journal.codec.encode(said, "the answer"))
        )
        return conversation


class Called(Names):
    """Whom a name means: a journal has the addresses of all nodes."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(tuple)
        self.journal = journal
        self._size = 0

    def path(self, node: Any) -> str:
        """The address of a node."""
        return self.journal.addresses.of(node) or str(node.id)

    def called(self, name: str) -> list[str]:
        """The addresses of all who are called so."""
        known = [*self.journal.addresses]
        if len(known) != self._size:
            self._size, self._called = len(known), {}
            for address, node in known:
                self._called.setdefault(str(node), []).append(address)
        return super().called(name)
