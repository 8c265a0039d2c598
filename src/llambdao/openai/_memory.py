"""Memory beyond the window: `RecallNode`, and a summary of what was forgotten."""

from __future__ import annotations

import math
import re
import sqlite3
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from inspect import isawaitable
from operator import mul
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from llambdao.kernel.errors import LlambdaoError, Misused
from llambdao.kernel.message import Address, Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import call, sleep

__all__ = ["BadMemory", "MemoryFailed", "MemoryIsReadOnly", "RecallNode", "remembered"]

OUTSIDE = Address("outside", "somebody")
"""Who said what nobody here said, so that it is not taken for the words of who passes it on."""

VERSION = 1
"""The format of the file, as `PRAGMA user_version`."""

TABLES = """
CREATE TABLE said (
    place INTEGER PRIMARY KEY,
    id TEXT UNIQUE,
    at TEXT NOT NULL,
    speaker TEXT NOT NULL,
    content TEXT NOT NULL,
    vector BLOB
);
CREATE VIRTUAL TABLE words USING fts5(
    speaker, content, content='', tokenize='unicode61 remove_diacritics 2'
);
"""

NEAR = 4
"""How many times as many are looked up, by words and by meaning, as are wanted in the end."""

RANK = 60
"""How little the first ranks are preferred where two rankings are put together."""

SMALL = frozenset(
    [
        *("a", "about", "am", "an", "and", "are", "as", "at", "be", "by", "did", "do", "does"),
        *("for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "in", "is", "it"),
        *("me", "my", "of", "on", "or", "our", "she", "so", "that", "the", "their", "them"),
        *("they", "this", "to", "was", "we", "were", "what", "when", "where", "which", "who"),
        *("why", "will", "with", "you", "your"),
    ]
)
"""Words that are looked for only where a question has no others."""


class MemoryFailed(LlambdaoError, OSError):
    """A memory could not be read or written; it says why, and what can be done."""


class BadMemory(MemoryFailed, ValueError):
    """The file is no memory of ours, or is damaged."""


class MemoryIsReadOnly(MemoryFailed, PermissionError):
    """The file cannot be written."""


class RecallNode(Node):
    """Remembers all it is informed of, in a file, and when asked says what fits the question.

    It is the memory of others: `link` a model node to it and that can look things up. What it is
    informed of stays, over restarts too; a `query`, `request` or `chat` gets the `most` messages
    that fit best, oldest first, a line each, with the day and the speaker. Found is what shares a
    word with the question, by the full-text index of SQLite; with `embed`, a function from a text
    to numbers (or a coroutine function), also what is near in meaning. Questions are not kept.

    A file that is damaged is `BadMemory`, one that cannot be written `MemoryIsReadOnly`.

    >>> import tempfile, os
    >>> from llambdao import Message, ask, tell
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     memory = RecallNode(path=os.path.join(folder, "memory.db"))
    ...     for words in ("The cat is called Momo.", "It rains."):
    ...         _ = tell(memory, Message(words, intent="inform"))
    ...     answer = ask(memory, "What is the name of the cat?").content
    >>> answer.partition(" ")[2]
    'someone: The cat is called Momo.'
    """

    role: ClassVar[str] = "memory"

    path: str
    most: int = Field(default=5, ge=1)
    """How many messages an answer has, at most."""

    embed: Any = Field(default=None, exclude=True)
    """A function from a text to its embedding, a sequence of numbers; always as many."""

    @field_validator("path", mode="before")
    @classmethod
    def _a_path(cls, path: Any) -> str:
        return str(Path(path))

    @field_validator("embed")
    @classmethod
    def _a_function(cls, embed: Any) -> Any:
        if embed is not None and not callable(embed):
            raise Misused(f"embed is a function from a text to numbers, not {embed!r:.80}")
        return embed

    def inform(self, message: Message) -> Generator[Any, Any, None]:
        """Remember what was said."""
        if message.content.strip():
            vector = yield from self._vector(message.content)
            at = (message.timestamp or self.now()).isoformat()
            speaker = str(message.sender or "someone")
            yield call(_remember, self.path, message.id, at, speaker, message.content, vector)

    def query(self, message: Message) -> Generator[Any, Any, str]:
        """Look up what was said earlier, whoever said it: ask with the words to look for."""
        vector = yield from self._vector(message.content)
        found = yield call(_recall, self.path, message.content, self.most, vector)
        if not found:
            return "Nothing that I remember fits that."
        return "\n".join(f"{at[:10]} {speaker}: {_one_line(text)}" for at, speaker, text in found)

    request = query
    chat = query

    def _vector(self, text: str) -> Generator[Any, Any, bytes | None]:
        if self.embed is None:
            return None
        numbers = yield call(_embedded, self.embed, text)
        return _packed(numbers)


async def _embedded(embed: Callable[[str], Any], text: str) -> Any:
    given = embed(text)
    return await given if isawaitable(given) else given


def _packed(numbers: Iterable[float]) -> bytes:
    """An embedding of length one, in four bytes a number."""
    vector = array("f", numbers)
    length = math.sqrt(sum(map(mul, vector, vector)))
    if not vector or not math.isfinite(length) or length == 0:
        raise MemoryFailed(
            f"embed gave {len(vector)} numbers of length {length}; an embedding is a sequence of"
            " finite numbers that are not all 0"
        )
    return array("f", (number / length for number in vector)).tobytes()


def _one_line(text: str) -> str:
    """The words of one message on one line, so that no line of it looks like another's."""
    return " ".join(text.split())


# -- what has left the window ----------------------------------------------------------------------


def remembered(node: Any) -> Generator[Any, Any, tuple[list[Message], int | str]]:
    """What a model node remembers: the messages to show, and what came before: a number or words.

    What has left its window is shown until it is half a window; then its `minutes` are informed
    of that, and asked for a summary, which stands for it from then on. Tool calls and their results
    are not among it.
    """
    if node.minutes is None:
        return node.messages, node.forgotten
    if len(node.leaving) >= max(1, node.window // 2):
        leaving = node.leaving
        for message in leaving:
            if not message.metadata.keys() & {"tool_calls", "tool_call_id"}:
                sender = OUTSIDE if message.sender is None else message.sender
                yield message.but(sender=sender, to=node.minutes, intent="inform")
        # They are told in the names of those who said it, and so could come after the question,
        # which is not: only what one sender says keeps its order.
        yield sleep(0)
        answer = yield node.minutes.ask("", intent="query")
        node.summary = answer.content
        node.leaving = node.leaving[len(leaving) :]
    return [*node.leaving, *node.messages], node.summary or 0


# -- the file --------------------------------------------------------------------------------------


def _remember(path: str, *row: Any) -> None:
    """Write down a message, once."""
    with _open(path) as base, base:
        known = "INSERT OR IGNORE INTO said (id, at, speaker, content, vector)"
        added = base.execute(f"{known} VALUES (?, ?, ?, ?, ?)", row)
        if added.rowcount:
            _, _, speaker, content, _ = row
            base.execute(
                "INSERT INTO words (rowid, speaker, content) VALUES (?, ?, ?)",
                (added.lastrowid, _parted(speaker), _parted(content)),
            )


def _recall(path: str, question: str, most: int, vector: bytes | None) -> list[tuple[Any, ...]]:
    """The messages that fit best, oldest first."""
    if not Path(path).exists():
        return []
    with _open(path) as base:
        rankings = [_by_words(base, question, most * NEAR)]
        if vector is not None:
            rankings.append(_by_meaning(base, vector, most * NEAR))
        scores: dict[int, float] = {}
        for ranking in rankings:
            for rank, place in enumerate(ranking):
                scores[place] = scores.get(place, 0) + 1 / (RANK + rank)
        best = sorted(scores, key=lambda place: (-scores[place], -place))[:most]
        marks = ", ".join("?" * len(best))
        rows = base.execute(
            f"SELECT at, speaker, content FROM said WHERE place IN ({marks}) ORDER BY place",  # noqa: S608
            best,
        )
        return rows.fetchall()


def _by_words(base: sqlite3.Connection, question: str, most: int) -> list[int]:
    """Where what shares words with the question stands, the best first."""
    words = [word for part in _parted(question).split() for word in re.findall(r"\w+", part)]
    telling = [word for word in words if word.casefold() not in SMALL] or words
    if not telling:
        return []
    wanted = " OR ".join(f'"{word}"' for word in dict.fromkeys(telling[:64]))
    found = base.execute(
        "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid DESC LIMIT ?",
        (wanted, most),
    )
    return [place for (place,) in found]


def _by_meaning(base: sqlite3.Connection, vector: bytes, most: int) -> list[int]:
    """Where what is near in meaning stands, the nearest first."""
    wanted = array("f", vector)
    near: list[tuple[float, int]] = []
    for place, packed in base.execute("SELECT place, vector FROM said WHERE vector IS NOT NULL"):
        other = array("f", packed)
        if len(other) != len(wanted):
            raise BadMemory(
                f"the file holds embeddings of {len(other)} numbers, and embed gives {len(wanted)};"
                " use the function that it was written with, or another file"
            )
        near.append((-sum(map(mul, wanted, other)), -place))
    return [-place for _, place in sorted(near)[:most]]


def _parted(text: str) -> str:
    """The text with blanks between the characters of scripts that are written without them."""
    return re.sub(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f])", r" \1 ", text)


@contextmanager
def _open(path: str) -> Iterator[sqlite3.Connection]:
    """The file, made if it is not there; what goes wrong with it is `MemoryFailed`."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version == 0:
                version = _made(base, path)
            if version != VERSION:
                raise BadMemory(
                    f"{path} is a memory of format {version}, and this release reads {VERSION};"
                    " give RecallNode another path"
                )
            yield base
    except sqlite3.Error as error:
        raise _explained(path, error) from error


def _made(base: sqlite3.Connection, path: str) -> int:
    """Make the tables of a file that has none."""
    with base:
        base.execute("BEGIN IMMEDIATE")
        (version,) = base.execute("PRAGMA user_version").fetchone()
        (count,) = base.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version == 0 and count:
            raise BadMemory(f"{path} is a database of something else; give RecallNode another path")
        if version == 0:
            for statement in TABLES.split(";\n"):
                base.execute(statement)
            base.execute(f"PRAGMA user_version = {VERSION}")
            version = VERSION
    return int(version)


def _explained(path: str, error: sqlite3.Error) -> MemoryFailed:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return BadMemory(
            f"{path} is no memory, or is damaged ({error}); give RecallNode another path, or put"
            " back a copy of the file"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return MemoryIsReadOnly(
            f"{path} cannot be written ({error}); allow it, or give RecallNode another path"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return MemoryFailed(
            f"{path} cannot be opened ({error}); is its folder there, and may you use it?"
        )
    return MemoryFailed(f"the memory {path} could not be used: {error}")
