"""Questions to people: open until they are answered, once, by whoever was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from llambdao.kernel.errors import BadMessage, LlambdaoError, Misused
from llambdao.kernel.graph import pointers
from llambdao.kernel.message import COMMON, Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import BEGUN, Expect

__all__ = [
    "AlreadyAnswered",
    "Asked",
    "Names",
    "NotAsked",
    "Question",
    "Questions",
    "answer_of",
    "closed",
    "is_asked",
    "moment",
]

KEPT = 1000
"""How many closed questions are remembered where there is no journal."""


class NotAsked(LlambdaoError, LookupError):
    """Nobody asked this, or somebody else was asked."""


class AlreadyAnswered(NotAsked):
    """This question is closed: it has its answer, or nobody waits for one any longer."""


class Question(Struct, frozen=True, eq=False):
    """What a person was asked, and waits for an answer: `runtime.answer(question.id, "yes")`.

    `who` is the node that was asked and `asker` the one that asks, or their `Address`; `since` and
    `until` are aware datetimes, `until` None if there is all the time in the world. `message` is
    what was asked, where that is known, `says` the class of message that is to come back.
    """

    id: str
    who: Any
    asker: Any
    content: str
    since: datetime
    until: datetime | None = None
    message: Any = None
    says: Any = None

    def __str__(self) -> str:
        return f"{self.who}: {self.content}"


class Asked(Expect):
    """What a node that stands for a person waits for: the answer to a message it was sent.

    Its key is the id of the message, with a number if that was for others too; its value the
    answer, a str or a `Message`.
    """

    who: Any
    message: Any
    until: int | None = None
    since: int = 0
    says: Any = None
    is_answered: bool = False
    is_doubt: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"the answer of {self.who} to {self.message.content!r:.60}"

    def begin(self, scheduler: Any, act: Any) -> Any:
        self.since = scheduler.now()
        home = scheduler.home
        if home is not None and self.message.to != self.who:  # passed on, perhaps to several
            home._n_asked += 1
            self.key = f"{self.key}-{home._n_asked}"
        while (scheduler.expected or {}).get(self.key):
            self.key += "'"
        if home is not None:
            home.asks(self)
        return super().begin(scheduler, act)

    def take(self, scheduler: Any, branch: int, value: Any) -> None:
        self.is_answered = self.state == BEGUN
        super().take(scheduler, branch, value)

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
            self.says,
        )


def moment(ns: int) -> datetime:
    """A time in ns since 1970 as an aware `datetime`."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


class Questions:
    """The open questions of a runtime without a journal; `roots` gives the nodes in it."""

    def __init__(self, roots: Callable[[], Iterable[Any]] = tuple) -> None:
        self.names = Names(roots)
        self.open: dict[str, tuple[Any, Asked]] = {}
        self.closed: dict[str, str] = {}  # the last thousand: by whom, empty if it was withdrawn

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
                raise closed(number, self.closed[number])
            raise NotAsked(f"there is no question {number!r:.80}; runtime.pending() has those open")
        conversation, asked = found
        is_asked(asked.question, by, self.names)
        conversation.news(number, answer_of(words, asked.says))
        self._close(number, self.names.path(asked.who))

    def _sweep(self) -> None:
        for number, (conversation, asked) in [*self.open.items()]:
            if asked.state != BEGUN or conversation.is_over:
                self._close(number, "")

    def _close(self, number: str, by: str) -> None:
        self.open.pop(number, None)
        self.closed[number] = by
        if len(self.closed) > KEPT:
            del self.closed[next(iter(self.closed))]


def closed(number: str, by: str) -> AlreadyAnswered:
    """The error that tells how a question was closed."""
    how = f"was answered by {by}" if by else "was withdrawn: nobody waits for its answer any longer"
    return AlreadyAnswered(f"the question {number} {how}; it takes no more answers")


# -- who answers ---------------------------------------------------------------------------------


class Names:
    """Whom a name means: the path of every node, and the paths of all who are called the same.

    Roots go by their name (their class, if they have none), who is found in them, breadth first,
    by owner and name: `sales/Ann`. The first path by which a node is found is its path.
    """

    def __init__(self, roots: Callable[[], Iterable[Any]]) -> None:
        self.roots = roots
        self._paths: dict[int, tuple[Any, str]] = {}
        self._called: dict[str, list[str]] = {}

    def path(self, node: Any) -> str:
        """The path of a node; its id, if it is found nowhere."""
        if id(node) not in self._paths:
            self._look()
        return self._paths.get(id(node), (node, str(node.id)))[1]

    def called(self, name: str) -> list[str]:
        """The paths of all who are called so."""
        return self._called.get(name, [])

    def _look(self) -> None:
        self._paths, self._called = {}, {}
        todo: deque[Any] = deque()
        for root in self.roots():
            self._note(todo, root, str(root))
        while todo:
            owner = todo.popleft()
            for word, other, _ in pointers(owner):
                last = getattr(other, "name", "") or word
                self._note(todo, other, f"{self._paths[id(owner)][1]}/{last}")

    def _note(self, todo: deque[Any], node: Any, path: str) -> None:
        if id(node) not in self._paths:
            self._paths[id(node)] = (node, path)
            self._called.setdefault(str(node), []).append(path)
            if isinstance(node, Node):
                todo.append(node)


def is_asked(question: Question, by: Any, names: Any) -> None:
    """Refuse an answer by anybody but the one who was asked.

    `by` is the node, its `Address`, its path, or its name if nobody else has the same. `names` has
    the `path` of a node, and the paths of all who are `called` so.
    """
    who = question.who
    if not isinstance(by, str):
        if not hasattr(by, "id"):
            raise Misused(f"by= says who answers: a node, its name or its path, not {by!r:.80}")
        if by is who or by.id == who.id:
            return
    else:
        path = names.path(who)
        if by in (path, who.id):
            return
        if by == str(who):
            same = [other for other in names.called(by) if other != path]
            if not same:
                return
            if by not in same:
                all_of_them = " and ".join(sorted([path, *same]))
                raise NotAsked(
                    f"{by!r} may be any of {len(same) + 1}: {all_of_them}; say which, by={path!r}"
                )
    raise NotAsked(f"{who} was asked {question.content!r:.60}, not {by!s:.60}: nobody else answers")


# -- what is answered ----------------------------------------------------------------------------


def answer_of(words: Any, says: Any = None) -> Any:
    """What a person says as an answer: words or a message, of the class that is wanted, if any.

    Words become a message of that class if they are its fields as JSON or, where it has but one,
    its value. What does not fit raises `BadMessage`, and the question stays open.

    >>> class Seats(Message, kind="doctest.Seats"):
    ...     seats: int
    >>> answer_of("3", Seats).seats, answer_of('{"seats": 4}', Seats).seats
    (3, 4)
    """
    if not isinstance(words, str | Message):
        raise Misused(f"an answer is words or a message, but got {words!r:.80}")
    if says is None or isinstance(words, says):
        return words
    if isinstance(words, Message) and type(words) is not Message:
        raise BadMessage(f"the answer is to be a {says.kind}, but got a {words.kind}")
    return _read(str(getattr(words, "content", words)), says)


def _read(text: str, says: Any) -> Message:
    """A message of this class, out of what somebody has typed."""
    own = {field.name: field.type for field in msgspec.structs.fields(says)[COMMON:]}
    try:
        data = msgspec.json.decode(text)
    except msgspec.DecodeError:
        data = text
    if not isinstance(data, dict):
        if len(own) != 1:
            fields = ", ".join(f"{name!r}: ..." for name in own)
            raise BadMessage(f"the answer is to be a {says.kind}, {{{fields}}}, not {text!r:.80}")
        [(name, kind)] = own.items()
        data = {name: _value(text, kind, says)}
    said: Message = says.parse({"content": text, **data})
    return said


YES_OR_NO = {"yes": True, "y": True, "no": False, "n": False}


def _value(text: str, kind: Any, says: Any) -> Any:
    word = text.strip()
    if kind is bool and word.lower() in YES_OR_NO:
        return YES_OR_NO[word.lower()]
    try:
        return msgspec.to_builtins(msgspec.convert(word, kind, strict=False))
    except msgspec.ValidationError as error:
        raise BadMessage(f"the answer is to be a {says.kind}: {error}, not {text!r:.80}") from error
