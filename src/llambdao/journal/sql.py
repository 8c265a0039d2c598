"""`SqlLedger`: a ledger in tables, for whatever database speaks SQL."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any
from zlib import crc32

import msgspec

from llambdao.journal.errors import CorruptRow, Fenced, JournalError
from llambdao.journal.history import Facts, facts_of, link, number_of, plain, said_out, words_in
from llambdao.journal.ledger import Batch, Opening, Stand
from llambdao.journal.reader import EVER, SqlReader
from llambdao.journal.rows import (
    Row,
    decode,
    decoded,
    encode,
    names_in,
    opening_row,
    stand_row,
    step_row,
)

__all__ = ["SqlLedger"]

UNWRITABLE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
"""What a value raises that cannot be written."""


def whoami() -> str:
    """This process, as others may find it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class SqlLedger(SqlReader):
    """A ledger in tables: what all databases have in common.

    One of them says how it reads, writes and begins a transaction.
    """

    GUARD = "select body from meta where name = 'epoch'"
    """Reads the epoch, so that nobody changes it before the transaction ends."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.head: tuple[int, bytes] | None = None  # seq and chain of the last line

    # -- what a database says ------------------------------------------------------------------

    def _many(self, sql: str, rows: Iterable[Row]) -> None:
        """Run this for each of these rows, within a transaction."""
        raise NotImplementedError

    def _writing(self) -> AbstractContextManager[None]:
        """A transaction: all of it or nothing. Its errors are errors of ours."""
        raise NotImplementedError

    def _shrink(self) -> None:
        """Give back to the system what was freed."""
        raise NotImplementedError

    # -- commit --------------------------------------------------------------------------------

    def _guard(self) -> None:
        if not self.epoch:
            raise JournalError(f"{self.url} is not ours to write: claim() it first")
        rows = self._read(self.GUARD)
        if not rows or rows[0][0] != str(self.epoch):
            raise self._fenced()

    def _fenced(self) -> Fenced:
        owner = self._read("select body from meta where name = 'owner'")
        who = owner[0][0] if owner else "another process"
        return Fenced(
            f"{self.url} was taken over by {who}: nothing was written from here, and nothing"
            " will be; end this process, all that was acknowledged is in the journal"
        )

    def _next_epoch(self) -> int:
        """Begin an epoch, within a transaction."""
        epoch = int(self._read(self.GUARD)[0][0]) + 1
        self._many(
            "update meta set body = ? where name = ?",
            [(str(epoch), "epoch"), (whoami(), "owner")],
        )
        return epoch

    def commit(self, batch: Batch) -> None:
        try:
            with self._writing():
                self._guard()
                self._write(batch)
            self.words.fresh.clear()
        except UNWRITABLE as error:
            self._forget()
            raise JournalError(
                f"this cannot be written to {self.url}, and nothing of its batch was: {error}"
            ) from error
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        self.head = None
        self.words.forget()

    def _write(self, batch: Batch) -> None:
        over = {ending.key for ending in batch.endings}
        fresh = {opening.key: opening for opening in batch.opened}
        self._write_states(batch)
        self._write_conversations(batch, fresh, over)
        self._write_steps(batch, over)
        self._write_questions(batch, over)
        self._write_history(batch, fresh)
        gone = [(key,) for key in over if key not in fresh]
        if gone:
            for table in ("conversation", "expected", "step", "effect", "question"):
                self._many(f"delete from {table} where key = ?", gone)  # noqa: S608  # one of ours
        if batch.letters:
            self._many(
                "insert into letter (message, reason, node, error, at) values (?, ?, ?, ?, ?)",
                [(x.message.decode(), x.reason, x.node, x.error, x.at) for x in batch.letters],
            )
        if batch.taken:
            self._many("delete from door where seq = ?", [(seq,) for seq in batch.taken])
        if batch.buried:
            self._many("delete from letter where seq = ?", [(seq,) for seq in batch.buried])

    def _write_states(self, batch: Batch) -> None:
        if batch.values:
            self._many(
                "insert into value (hash, body, crc, born) values (?, ?, ?, ?)"
                " on conflict do nothing",
                [
                    (name, body.decode(), crc32(body), self.epoch)
                    for name, body in batch.values.items()
                ],
            )
        if batch.dropped:
            self._many(
                "delete from value where hash = ? and born = ?",
                [(name, self.epoch) for name in batch.dropped],
            )
        kept = [(node, name) for node, name in batch.states.items() if name]
        if kept:
            self._many(
                "insert into state (node, hash) values (?, ?)"
                " on conflict (node) do update set hash = excluded.hash",
                kept,
            )
        if len(kept) < len(batch.states):
            gone = [(node,) for node, name in batch.states.items() if not name]
            self._many("delete from state where node = ?", gone)
        if batch.meta:
            self._set({f".{name}": body for name, body in batch.meta.items()})

    def _set(self, meta: dict[str, str]) -> None:
        self._many(
            "insert into meta (name, body) values (?, ?)"
            " on conflict (name) do update set body = excluded.body",
            list(meta.items()),
        )

    def _write_conversations(self, batch: Batch, fresh: dict[int, Opening], over: set[int]) -> None:
        stands = {stand.key: stand for stand in batch.stands if stand.key not in over}
        opened = [o for o in batch.opened if o.key not in over]
        if opened:
            self._many(
                "insert into conversation (key, id, number, node, way, salt, at, is_given, digest,"
                " message, options, crc, status, due, attempts, why, expects)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [opening_row(o, stands.get(o.key) or Stand(o.key, "ready")) for o in opened],
            )
        known = [o for o in batch.opened if number_of(o) is None]
        if known:
            self._many(
                "insert into known (id, key, at, node, digest) values (?, ?, ?, ?, ?)",
                [(o.id, o.key, o.at, o.node, o.digest) for o in known],
            )
        old = [stand for stand in stands.values() if stand.key not in fresh]
        if old:
            self._many(
                "update conversation set status = ?, due = ?, attempts = ?, why = ?, expects = ?"
                " where key = ?",
                [(*stand_row(stand), stand.key) for stand in old],
            )
            self._many("delete from expected where key = ?", [(stand.key,) for stand in old])
        words = [(s.key, word) for s in stands.values() if s.expects for word in {*s.expects}]
        if words:
            self._many("insert into expected (key, word) values (?, ?)", words)

    def _write_steps(self, batch: Batch, over: set[int]) -> None:
        steps = [step_row(step) for step in batch.steps if step.key not in over]
        if steps:
            self._many(
                "insert into step (key, number, at, inputs, saw, notes, prints, crc)"
                " values (?, ?, ?, ?, ?, ?, ?, ?)",
                steps,
            )
        settled = set(batch.settled)
        effects = [
            (e.key, e.number, e.name, e.digest, e.policy, e.at)
            for e in batch.effects
            if e.key not in over and (e.key, e.number) not in settled
        ]
        if effects:
            self._many(
                "insert into effect (key, number, name, digest, policy, at)"
                " values (?, ?, ?, ?, ?, ?)"
                " on conflict (key, number) do update set at = excluded.at",
                effects,
            )
        if settled:
            self._many("delete from effect where key = ? and number = ?", sorted(settled))

    def _write_questions(self, batch: Batch, over: set[int]) -> None:
        answered = {answer.id for answer in batch.answers}
        questions = [
            (q.id, q.key, q.who, q.asker, q.content, q.message.decode(), q.since, q.until)
            for q in batch.questions
            if q.key not in over and q.id not in answered
        ]
        if questions:
            self._many(
                "insert into question (id, key, who, asker, content, message, since, until)"
                " values (?, ?, ?, ?, ?, ?, ?, ?)",
                questions,
            )
        if batch.answers:
            self._many("delete from question where id = ?", [(one,) for one in sorted(answered)])
            self._many(
                'insert into answer (id, way, "by", at, content) values (?, ?, ?, ?, ?)'
                " on conflict (id) do nothing",
                [(a.id, a.way, a.by, a.at, a.content) for a in batch.answers],
            )

    def _write_history(self, batch: Batch, fresh: dict[int, Opening]) -> None:
        endings = {ending.key: ending for ending in batch.endings}
        if not endings and not batch.lines:
            return
        if self.head is None:
            self.head = self._head()
        words, (seq, chain) = self.words, self.head
        last = {line.key: place for place, line in enumerate(batch.lines)}
        rows: list[Row] = []
        told: list[Any] = [(line.key, line.at, plain(line.said)) for line in batch.lines]
        told += [(e.key, e.at, None) for e in endings.values() if e.key not in last]
        for place, (key, at, said) in enumerate(told):
            facts: Facts = (None, None, None, None, None)
            if key in endings and last.get(key, place) == place:
                opening = fresh.get(key) or self._opening(key)
                if opening is not None:
                    facts = facts_of(words, opening, endings[key], at)
                elif said is None:
                    continue  # it has ended before
            seq += 1
            chain = link(words, chain, (key, at, said), facts)
            text = None if said is None else said_out(words, said)
            rows.append((seq, key, at, text, chain, *facts))
        if words.fresh:
            self._many("insert into word (id, body) values (?, ?)", words.fresh)
        if rows:
            self._many(
                "insert into history (seq, key, at, said, chain, head, salt, since, until, rest)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        self.head = (seq, chain)

    def _opening(self, key: int) -> Opening | None:
        """Of what is open; also if it is corrupt, for it must be possible to end it."""
        try:
            found = self._open("where key = ?", key)
        except CorruptRow:
            return Opening(key, f"?{key}", "?", b"", "?", 0, 0, b"", is_given=True)
        return found[0].opening if found else None

    def _head(self) -> tuple[int, bytes]:
        rows = self._read("select seq, chain from history order by seq desc limit 1")
        return (rows[0][0], bytes(rows[0][1])) if rows else self._pruned()[:2]

    # -- the door ------------------------------------------------------------------------------

    def knock(self, kind: str, body: dict[str, Any], at: int) -> int:
        try:
            with self._writing():
                [[seq]] = self._read(
                    "insert into door (kind, body, at) values (?, ?, ?) returning seq",
                    kind,
                    encode(body).decode(),
                    at,
                )
        except UNWRITABLE as error:
            raise JournalError(f"this cannot be laid at the door of {self.url}: {error}") from error
        return int(seq)

    # -- housekeeping --------------------------------------------------------------------------

    def compact(self, before: int | None = None, seen: int | None = None) -> dict[str, int]:
        try:
            with self._writing():
                self._guard()
                forgotten = {} if before is None else self._forget_history(before)
                if seen is not None:
                    forgotten["ids"] = self._delete(
                        "known", "at < ? and key not in (select key from conversation)", seen
                    )
                forgotten["values"] = self._sweep()
        finally:
            self._forget()
        self._shrink()
        return forgotten

    def _delete(self, table: str, where: str, *parameters: Any) -> int:
        [[many]] = self._read(f"select count(*) from {table} where {where}", *parameters)  # noqa: S608
        if many:
            self._many(f"delete from {table} where {where}", [parameters])  # noqa: S608
        return int(many)

    def _forget_history(self, before: int) -> dict[str, int]:
        [[first]] = self._read("select min(seq) from history where at >= ?", before)
        cut = EVER if first is None else first - 1
        key = self.last_key()
        rows = self._read(
            "select seq, chain from history where seq <= ? order by seq desc limit 1", cut
        )
        if rows:
            self._set({"pruned": encode([rows[0][0], bytes(rows[0][1]).hex(), key]).decode()})
        [[over]] = self._read(
            "select count(*) from history where seq <= ? and head is not null", cut
        )
        [[lines]] = self._read(
            "select count(*) from history where seq <= ? and said is not null", cut
        )
        self._delete("history", "seq <= ?", cut)
        self._sweep_words()
        return {
            "lines": int(lines),
            "conversations": int(over),
            "answers": self._delete("answer", "at < ?", before),
            "letters": self._delete("letter", "at < ?", before),
        }

    def _sweep_words(self) -> None:
        used: set[int] = set()
        for row in self._pages():
            used.update(words_in(row[3] or "[]"))
            used.add(row[5] or 0)
        [[last]] = self._read("select max(id) from word")  # stays, so that no number comes again
        rows = self._read("select id from word")
        self._many(
            "delete from word where id = ?",
            [(number,) for (number,) in rows if number not in used and number != last],
        )

    def _sweep(self) -> int:
        """Forget values that nothing names."""
        marked: set[str] = set()
        todo = {name for (name,) in self._read("select hash from state")}
        for (saw,) in self._read("select distinct saw from step where saw is not null"):
            todo.update(decoded("step", saw, decode, saw).values())
        stored = {name for (name,) in self._read("select hash from value")}
        while todo := (todo & stored) - marked:
            marked |= todo
            bodies = self.values(todo)
            todo = set()
            for name, body in bodies.items():
                if b'"#"' in body:
                    todo.update(names_in(decoded("value", name, decode, body)))
        self._many("delete from value where hash = ?", [(name,) for name in stored - marked])
        return len(stored - marked)
