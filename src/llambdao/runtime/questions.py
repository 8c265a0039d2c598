"""Questions to people: open until they are answered, once, by whoever was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from llambdao.kernel.errors import LlambdaoError, Misused
from llambdao.kernel.message import Message
from llambdao.kernel.waits import Expect

__all__ = ["AlreadyAnswered", "Asked", "NotAsked", "Question", "Questions", "answer_of", "is_asked"]


class NotAsked(LlambdaoError, LookupError):
    """Nobody asked this, or somebody else was asked."""


class AlreadyAnswered(NotAsked):
    """This question is closed: it has its answer, or nobody waits for one any longer."""


class Question(Struct, frozen=True, eq=False):
    """What a person was asked, and waits for an answer: `runtime.answer(question.id, "yes")`.

    `who` is the node that was asked and `asker` the one that asks, or their `Address`; `since` and
    `until` are aware datetimes, `until` None if there is all the time in the world.
    """

    id: str
    who: Any
    asker: Any
    content: str
    since: datetime
    until: datetime | None = None
    message: Any = None

    def __str__(self) -> str:
        return f"{self.who}: {self.content}"


class Asked(Expect):
    """What a node that stands for a person waits for: the answer to a message it was sent.

    Its key is the id of the message; its value the answer, a str or a `Message`.
    """

    who: Any
    message: Any
    until: int | None = None
    since: int = 0

    def __str__(self) -> str:
        return f"the answer of {self.who} to {self.message.content!r:.60}"

    def begin(self, scheduler: Any, act: Any) -> Any:
        self.since = scheduler.now()
        if scheduler.home is not None:
            scheduler.home.asks(self)
        return super().begin(scheduler, act)

    @property
    def question(self) -> Question:
        """It, as it is shown."""
        message, until = self.message, self.until
        return Question(
            self.key,
            self.who,
            message.sender,
            message.content,
            moment(self.since),
            None if until is None else moment(until),
            message,
        )


def moment(ns: int) -> datetime:
    """A time in ns since 1970 as an aware `datetime`."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


class Questions:
    """The open questions of a runtime without a journal."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[Any, Asked]] = {}
        self.closed: dict[str, None] = {}  # the last thousand

    def ask(self, conversation: Any, asked: Asked) -> None:
        """Somebody is asked."""
        self.open[asked.key] = (conversation, asked)

    def pending(self) -> list[Question]:
        """Those that wait for an answer, the oldest first."""
        self._sweep()
        return [asked.question for _, asked in self.open.values()]

    def answer(self, number: str, words: Any, by: Any) -> None:
        """Answer one of them."""
        self._sweep()
        found = self.open.get(number)
        if found is None:
            if number in self.closed:
                raise AlreadyAnswered(f"the question {number} is closed, and takes no more answers")
            raise NotAsked(f"there is no question {number!r:.80}; runtime.pending() has those open")
        conversation, asked = found
        is_asked(asked.question, by)
        conversation.news(number, answer_of(words))
        self._close(number)

    def _sweep(self) -> None:
        for number, (conversation, asked) in [*self.open.items()]:
            if asked.state != 1 or conversation.is_over:
                self._close(number)

    def _close(self, number: str) -> None:
        self.open.pop(number, None)
        self.closed[number] = None
        if len(self.closed) > 1000:
            del self.closed[next(iter(self.closed))]


def is_asked(question: Question, by: Any) -> None:
    """Refuse an answer by anybody but the one who was asked."""
    who = question.who
    names = {getattr(who, "name", None), getattr(who, "id", None), str(who)} - {None, ""}
    if by is who or (isinstance(by, str) and by in names):
        return
    if by is not None and getattr(by, "id", None) == getattr(who, "id", ""):
        return
    raise NotAsked(f"{who} was asked {question.content!r:.60}, not {by!s:.60}: nobody else answers")


def answer_of(words: Any) -> Any:
    """What a person says as an answer."""
    if not isinstance(words, str | Message):
        raise Misused(f"an answer is words or a message, but got {words!r:.80}")
    return words
