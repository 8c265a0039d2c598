"""`SqlReader`: what can be read of a ledger in tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from llambdao.journal.history import Words, found_in, id_of, link, said_in
from llambdao.journal.ledger import (
    Answer,
    Effect,
    Found,
    Knock,
    Ledger,
    Letter,
    Line,
    Question,
    Status,
    Step,
)
from llambdao.journal.rows import (
    OPEN,
    OVER,
    UNREADABLE,
    Row,
    checked,
    corrupt,
    decode,
    decoded,
    found_of,
    knock_of,
    remembered,
    step_of,
    typed,
)

__all__ = ["EVER", "SqlReader"]

CHUNK = 500
"""So many rows are read, or asked for, at a time."""

EVER = 2**62
"""More rows than there are."""


class SqlReader(Ledger):
    """The half of a ledger in tables that reads; a database says how."""

    url: str
    """What to call it in errors."""

    def __init__(self) -> None:
        self.words = Words(lambda: self._read("select id, body from word order by id"))

    def _read(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows that answer this, within a transaction or not."""
        raise NotImplementedError

    # -- what its owner reads as it begins -----------------------------------------------------

    def meta(self) -> dict[str, str]:
        rows = self._read("select name, body from meta")
        return {name[1:]: body for name, body in rows if name[0] == "."}

    def last_key(self) -> int:
        keys = [
            self._read(f"select max(key) from {table}")[0][0] or 0  # noqa: S608  # one of ours
            for table in ("conversation", "history")
        ]
        return max(*keys, self._pruned()[2])

    def states(self) -> dict[str, str]:
        return dict(self._read("select node, hash from state order by node"))

    def values(self, hashes: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        wanted = iter(hashes)
        while chunk := list(islice(wanted, CHUNK)):
            marks = ", ".join("?" * len(chunk))
            rows = {
                name: (body, crc)
                for name, body, crc in self._read(
                    f"select hash, body, crc from value where hash in ({marks})",  # noqa: S608
                    *chunk,
                )
            }
            for name in chunk:
                if name not in rows:
                    raise corrupt("value", name, "it is missing")
                found[name] = checked("value", name, *rows[name])
        return found

    def ready(self) -> list[int]:
        able = [
            key
            for word in ("<", ">")
            for key, status in self._read(
                f"select key, status from conversation where status {word} 'waits'"  # noqa: S608
            )
            if status not in ("stuck", "parked")  # a corrupt one is found out as it goes on
        ]
        return sorted({*able, *(key for (key,) in self._read("select key from effect"))})

    def dues(self) -> list[tuple[int, int]]:
        rows = self._read(
            "select due, key from conversation where due is not null order by due, key"
        )
        return [(due, key) for due, key in rows]

    def conversation(self, key: int) -> Found | None:
        found = self._open("where key = ?", key)
        return found[0] if found else self._ended(key)

    def steps(self, key: int) -> list[Step]:
        rows = self._read(
            "select key, number, at, inputs, saw, notes, prints, crc from step where key = ?"
            " order by number",
            key,
        )
        return [decoded("step", f"{row[0]}/{row[1]}", step_of, row) for row in rows]

    def effects(self, key: int | None = None) -> list[Effect]:
        sql = "select key, number, name, digest, policy, at from effect"
        if key is None:
            rows = self._read(f"{sql} order by key, number")
        else:
            rows = self._read(f"{sql} where key = ? order by number", key)
        return [typed("effect", f"{row[0]}/{row[1]}", Effect, row) for row in rows]

    def expecting(self, word: str) -> list[int]:
        rows = self._read("select key from expected where word = ? order by key", word)
        return [key for (key,) in rows]

    # -- what everybody reads ------------------------------------------------------------------

    def _open(self, where: str, *parameters: Any) -> list[Found]:
        return [
            decoded("conversation", row[0], found_of, row)
            for row in self._read(f"{OPEN} {where}", *parameters)
        ]

    def _over(self, where: str, *parameters: Any) -> list[Found]:
        rows = self._read(f"{OVER} where {where}", *parameters)
        found = [decoded("history", r[0], found_in, self.words, r[0], r[1], r[2:]) for r in rows]
        for one in found:
            o = one.opening
            if o.is_given:
                rows = self._read("select digest from known where id = ? and key = ?", o.id, o.key)
                o.digest = bytes(rows[0][0]) if rows else b""
        return found

    def _ended(self, key: int) -> Found | None:
        found = self._over("key = ? and head is not null", key)
        return found[-1] if found else None

    def find(self, id: str) -> list[Found]:  # noqa: A002
        rows = self._read("select key, at, node, digest from known where id = ? order by key", id)
        found = [self.conversation(row[0]) or remembered(id, *row) for row in rows]
        try:
            at, salt, number = (int(part, 16) for part in (id[:16], id[16:24], id[24:]))
        except ValueError:
            return found
        if id == id_of(at, salt, number):
            own = self._open("where salt = ? and at = ?", salt, at)
            own += self._over("salt = ? and at - since = ?", salt, at)
            self.words.read()
            last = self.last_key()
            for key in self.words.keys(salt):
                if 0 < key <= last:
                    own += self._over("key = ? and head is not null and salt is null", key)
            found += [one for one in own if one.opening.id == id and not one.opening.is_given]
        return sorted(found, key=lambda one: one.opening.key)

    def conversations(self, status: Status | None = None, most: int = 1000) -> list[Found]:
        found = []
        if status is None:
            found = self._open("order by key desc limit ?", most)
        elif status != "over":
            return self._open("where status = ? order by key desc limit ?", status, most)
        found += self._over("head is not null order by key desc limit ?", most)
        return sorted(found, key=lambda one: -one.opening.key)[:most]

    def questions(self, id: str | None = None) -> list[Question]:  # noqa: A002
        sql = "select id, key, who, asker, content, message, since, until from question"
        if id is None:
            rows = self._read(f"{sql} order by since, key, id")
        else:
            rows = self._read(f"{sql} where id = ?", id)
        return [typed("question", row[0], Question, row, "message") for row in rows]

    def answer(self, id: str) -> Answer | None:  # noqa: A002
        rows = self._read('select id, way, "by", at, content from answer where id = ?', id)
        return typed("answer", id, Answer, rows[0]) if rows else None

    def lines(self, key: int | None = None, after: int = 0, most: int | None = None) -> list[Line]:
        sql = "select key, at, said, seq, chain from history where said is not null and seq > ?"
        most = EVER if most is None else most
        if key is None:
            rows = self._read(f"{sql} order by seq limit ?", after, most)
        else:
            rows = self._read(f"{sql} and key = ? order by seq limit ?", after, key, most)
        return [decoded("history", row[3], self._line, row) for row in rows]

    def _line(self, row: Row) -> Line:
        return Line(row[0], row[1], said_in(self.words, row[2]), row[3], bytes(row[4]))

    def letters(self, after: int = 0, most: int = 1000) -> list[Letter]:
        rows = self._read(
            "select message, reason, node, error, at, seq from letter where seq > ?"
            " order by seq limit ?",
            after,
            most,
        )
        return [typed("letter", row[5], Letter, row, "message") for row in rows]

    def knocks(self) -> list[Knock]:
        rows = self._read("select seq, kind, body, at from door order by seq")
        return [decoded("door", row[0], knock_of, row) for row in rows]

    # -- the chain -----------------------------------------------------------------------------

    def _pruned(self) -> tuple[int, bytes, int]:
        """Of what was forgotten: the last seq, its chain, the last key."""
        rows = self._read("select body from meta where name = 'pruned'")
        if not rows:
            return 0, b"", 0
        seq, chain, key = decode(rows[0][0])
        return seq, bytes.fromhex(chain), key

    def _pages(self) -> Iterator[Any]:
        """All rows of history, in order."""
        seq = -1
        while rows := self._read(
            "select seq, key, at, said, chain, head, salt, since, until, rest from history"
            " where seq > ? order by seq limit ?",
            seq,
            CHUNK,
        ):
            yield from rows
            seq = rows[-1][0]

    def verify(self) -> int | None:
        seq, chain, _ = self._pruned()
        for number, key, at, text, linked, *facts in self._pages():
            seq += 1
            try:
                said = None if text is None else said_in(self.words, text)
                chain = link(self.words, chain, (key, at, said), tuple(facts))
            except UNREADABLE:
                return int(number)
            if number != seq or bytes(linked) != chain:
                return int(number)
        return None
