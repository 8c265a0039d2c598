"""`Ledger`: what a journal keeps, and what every store of it can do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol

from msgspec import Struct, field

__all__ = [
    "Answer",
    "Batch",
    "Effect",
    "Ending",
    "Found",
    "Knock",
    "Ledger",
    "Letter",
    "Line",
    "Opening",
    "Question",
    "Stand",
    "Status",
    "Step",
]

Status = Literal["ready", "waits", "stuck", "parked", "over"]
"""Where a conversation stands: it can go on, it waits for something, its replay differs, it has
killed the process too often, it has ended."""


class Opening(Struct):
    """A conversation that was accepted: everything it takes to begin it again.

    `message` is JSON of the codec; `digest` tells another message with the same id from the same.
    """

    key: int  # of this conversation, given by its owner, ever growing
    id: str  # of its first message
    node: str  # the address it was sent to
    message: bytes
    way: str  # tell, ask, send or watch
    salt: int
    at: int  # ns since 1970, as all times here
    digest: bytes
    options: dict[str, Any] = field(default_factory=dict)
    is_given: bool = False  # was its id given by the sender? Then the same again is the same


class Step(Struct):
    """What one conversation did at a time: what came in, and what it saw."""

    key: int
    number: int  # 0, 1, 2 ... in its conversation
    at: int
    inputs: bytes  # JSON
    saw: dict[str, str] = field(default_factory=dict)  # address of a node -> hash of its state
    notes: bytes = b""  # JSON: what else it cannot know from replaying
    prints: str = ""  # of all it said and set going


class Stand(Struct):
    """Where an open conversation stands after a step."""

    key: int
    status: Status
    due: int | None = None  # when its next timer is due
    expects: tuple[str, ...] = ()  # the keys of the news it waits for
    attempts: int = 0  # how often the process has died with it
    why: str = ""  # what there is to say about stuck or parked


class Ending(Struct):
    """The end of a conversation: its steps, effects and questions are forgotten."""

    key: int
    at: int
    reason: str
    detail: str = ""
    error: dict[str, Any] | None = None


class Effect(Struct):
    """Something that is about to be done outside, and was not recorded as done."""

    key: int
    number: int  # in its conversation
    name: str
    digest: str  # of its arguments
    policy: str  # retry, raise or ask
    at: int


class Question(Struct):
    """What a person was asked, and by whom; open until there is an answer or time is up."""

    id: str
    key: int
    who: str  # the address of the person
    asker: str
    content: str
    message: bytes  # the whole of it, as JSON
    since: int
    until: int | None = None


class Answer(Struct):
    """How a question was closed: `way` is answered, late, or withdrawn."""

    id: str
    way: str
    by: str
    at: int
    content: str = ""


class Line(Struct):
    """A piece of history: what was said in one step of a conversation.

    Each of `said` is readable JSON: n, from, to, intent, content, re, and what else there is;
    `out` marks replies to the outside. `seq` and `chain` are given as it is written.
    """

    key: int
    at: int
    said: list[dict[str, Any]]
    seq: int = 0
    chain: bytes = b""


class Letter(Struct):
    """A dead letter."""

    message: bytes
    reason: str
    node: str
    error: str
    at: int
    seq: int = 0


class Knock(Struct):
    """What another process has laid at the door: tell, answer or cancel."""

    seq: int
    kind: str
    body: dict[str, Any]
    at: int


class Batch(Struct):
    """All that one commit writes."""

    opened: list[Opening] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stands: list[Stand] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)  # about to be done
    settled: list[tuple[int, int]] = field(default_factory=list)  # done: key and number
    questions: list[Question] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)  # address of a node -> hash of its state
    values: dict[str, bytes] = field(default_factory=dict)  # hash -> JSON; those known may come
    dropped: list[str] = field(default_factory=list)  # hashes; only if written in this epoch
    lines: list[Line] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)  # knocks that were handled
    buried: list[int] = field(default_factory=list)  # letters that were sent again
    meta: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != EMPTY


EMPTY = Batch()


class Found(Struct):
    """A conversation as the ledger has it; `opening.message` is empty once it is over."""

    opening: Opening
    stand: Stand
    ending: Ending | None = None


class Ledger(Protocol):
    """A store of a journal: one process owns it and writes, every process may read and knock.

    Nothing here knows nodes or handlers. All methods block; a ledger is used by one thread at a
    time. What fails raises a `JournalError`, from the error of the store.
    """

    def claim(self, *, by_force: bool = False) -> int:
        """Own it from now on: the new epoch. `Owned` if a living process does.

        `by_force` takes it even so: who owned it is `Fenced` at its next commit.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it; who owned it does no longer."""
        raise NotImplementedError

    def commit(self, batch: Batch) -> None:
        """Write all of this or nothing, and be sure of it. `Fenced` if somebody else has claimed.

        The `message` of an opening whose ending is in the same batch need not be kept, nor steps,
        stands and effects of that conversation.
        """
        raise NotImplementedError

    # -- what its owner reads as it begins -----------------------------------------------------

    def meta(self) -> dict[str, str]:
        """What is known of the journal as a whole."""
        raise NotImplementedError

    def last_key(self) -> int:
        """The greatest key of a conversation there has been."""
        raise NotImplementedError

    def states(self) -> dict[str, str]:
        """The hash of the state of every node that has one."""
        raise NotImplementedError

    def values(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """What has these hashes. A missing one raises `CorruptRow`."""
        raise NotImplementedError

    def ready(self) -> list[int]:
        """The keys of the conversations that can go on, or have effects under way, in order."""
        raise NotImplementedError

    def dues(self) -> list[tuple[int, int]]:
        """(due, key) of all conversations that wait for a timer, by due."""
        raise NotImplementedError

    def conversation(self, key: int) -> Found | None:
        """What is known of a conversation."""
        raise NotImplementedError

    def steps(self, key: int) -> list[Step]:
        """What an open conversation has done, in order."""
        raise NotImplementedError

    def effects(self, key: int | None = None) -> list[Effect]:
        """What was about to be done: of one conversation, or of all."""
        raise NotImplementedError

    def expecting(self, word: str) -> list[int]:
        """The keys of the conversations that wait for news under this key, in order."""
        raise NotImplementedError

    # -- what everybody reads ------------------------------------------------------------------

    def find(self, id: str) -> list[Found]:  # noqa: A002  # that is what it is
        """The conversations that a message of this id has opened, the oldest first."""
        raise NotImplementedError

    def conversations(self, status: Status | None = None, most: int = 1000) -> list[Found]:
        """The youngest conversations, or those of one status."""
        raise NotImplementedError

    def questions(self, id: str | None = None) -> list[Question]:  # noqa: A002
        """The open questions, the oldest first, or the one of this id."""
        raise NotImplementedError

    def answer(self, id: str) -> Answer | None:  # noqa: A002
        """How a question was closed, if it was."""
        raise NotImplementedError

    def lines(self, key: int | None = None, after: int = 0, most: int | None = None) -> list[Line]:
        """History in order: of one conversation or of all, after a `seq`."""
        raise NotImplementedError

    def letters(self, after: int = 0, most: int = 1000) -> list[Letter]:
        """The dead letters, the oldest first."""
        raise NotImplementedError

    # -- the door ------------------------------------------------------------------------------

    def knock(self, kind: str, body: dict[str, Any], at: int) -> int:
        """Lay something at the door, from whatever process: its number, once that is sure."""
        raise NotImplementedError

    def has_changed(self) -> bool:
        """Could somebody else have written since this was asked last? Cheap."""
        raise NotImplementedError

    def knocks(self) -> list[Knock]:
        """What lies at the door and was not handled, in order."""
        raise NotImplementedError

    # -- housekeeping --------------------------------------------------------------------------

    def compact(self, before: int | None = None, seen: int | None = None) -> dict[str, int]:
        """Forget what nobody needs, all of it or nothing: how much of what was forgotten.

        Values that no state and no step needs; history, answers, letters and ended conversations
        older than `before`; and the ids of ended conversations older than `seen`.
        """
        raise NotImplementedError

    def verify(self) -> int | None:
        """The `seq` of the first line of history that is not as it was written; None if all are."""
        raise NotImplementedError
