"""`SqliteLedger`: a journal in a file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from llambdao.journal.errors import JournalError, OtherJournal, Owned
from llambdao.journal.rows import MIGRATIONS, VERSION, tables
from llambdao.journal.sql import SqlLedger

__all__ = ["SqliteLedger"]

APPLICATION = 0x4C4C4144
"""What says in a file of SQLite that it is one of ours: LLAD."""

PAGE = 1024
"""Bytes: a conversation takes some 160, and a table that holds nothing takes a page."""

LOG = """
create view log as select seq, key, at, datetime(at / 1000000000, 'unixepoch') as time,
 (select '[' || group_concat(case m.type when 'object' then m.value else
   case when w.body like '%,"re":-1}' then substr(w.body, 1, length(w.body) - 9) ||
    ',"re":' || (m.n - 1) else substr(w.body, 1, length(w.body) - 1) end
   || ',"n":' || m.n || ',"content":' || json_quote(json_extract(m.value, '$[1]'))
   || coalesce(',' || substr(json_extract(m.value, '$[3]'), 2), '}') end, ',') || ']'
  from (select type, value, coalesce(json_extract(value, '$[2]'),
     coalesce(json_extract(h.said, '$[0][2]'), 1) + key) as n from json_each(h.said)) m
  left join word w on w.id = json_extract(m.value, '$[0]')) as said
 from history h where said is not null
"""
"""History with nothing abbreviated, for sqlite3 and jq."""


class SqliteLedger(SqlLedger):
    """A journal in a file of SQLite: `Runtime(journal="sqlite:///room.db")`.

    What is committed survives a power cut (`synchronous="full"`), or only the end of the process
    (`"normal"`, some ten times faster: after a power cut the last commits may be missing, never a
    part of one). One process owns it, by a lock on the file `room.db-owner` that the system frees
    however the process ends; any number of others may read and knock. They wait for each other up
    to `timeout` seconds. Keep the file on a local disk: locks over a network cannot be trusted.

    Errors are `JournalError`: `OtherJournal` for a file of something else or of a newer version,
    `Owned`, `Fenced`, `CorruptRow`.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> ledger = SqliteLedger(pathlib.Path(folder.name) / "room.db")
    >>> ledger.claim()
    1
    >>> ledger.knock("tell", {"content": "Hello"}, at=0)
    1
    >>> [knock.body for knock in ledger.knocks()]
    [{'content': 'Hello'}]
    >>> ledger.close(); folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        create: bool = True,
    ) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.url = str(self.path)
        self.timeout = timeout
        self.version: int | None = None  # of the data, as has_changed saw it last
        self.lock: sqlite3.Connection | None = None
        if not create and not self.path.exists():
            raise JournalError(f"there is no journal {self.url}; a Runtime makes one as it starts")
        with self._errors():
            self.connection = self._connect(self.path, timeout)
        try:
            with self._errors():
                self._prepare(synchronous)
        except BaseException:
            self.connection.close()
            raise

    @staticmethod
    def _connect(path: Path, timeout: float) -> sqlite3.Connection:
        return sqlite3.connect(
            path,
            timeout=timeout,
            isolation_level=None,  # we say ourselves when a transaction begins
            check_same_thread=False,
            cached_statements=256,
        )

    def _prepare(self, synchronous: str) -> None:
        run = self.connection.execute
        run(f"pragma page_size = {PAGE}")
        run(f"pragma synchronous = {synchronous}")
        run("pragma wal_autocheckpoint = 4096")
        if self._version() is None:
            with self._writing():
                if self._version() is None:
                    self._create()
        self._write_ahead()
        if (self._version() or 0) < VERSION:
            self._migrate()

    def _write_ahead(self) -> None:
        """Readers and the writer are not to wait for each other, wherever the file can do that."""
        run, until = self.connection.execute, time.monotonic() + self.timeout
        while run("pragma journal_mode").fetchone()[0] != "wal":
            try:
                [mode] = run("pragma journal_mode = wal").fetchone()
            except sqlite3.OperationalError:  # somebody else opens it at this moment
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                if mode != "wal":
                    return  # no memory can be shared there: they wait for each other

    def _version(self) -> int | None:
        """The version of its tables; None if there are none yet."""
        run = self.connection.execute
        [application] = run("pragma application_id").fetchone()
        [version] = run("pragma user_version").fetchone()
        if application == APPLICATION:
            if version > VERSION:
                raise OtherJournal(
                    f"{self.url} was written by a newer version of llambdao: its tables are of"
                    f" version {version}, this one knows {VERSION}; pip install --upgrade llambdao"
                )
            return int(version)
        if application or version or run("select 1 from sqlite_master").fetchone():
            raise self._other()
        return None

    def _other(self) -> OtherJournal:
        return OtherJournal(
            f"{self.url} is not a journal, but a file of something else: name another file; this"
            " one was left as it is"
        )

    def _create(self) -> None:
        run = self.connection.execute
        for sql in [*tables("without rowid", "blob", "integer primary key autoincrement"), LOG]:
            run(sql)
        run("insert into meta values ('epoch', '0'), ('owner', 'nobody')")
        run(f"pragma application_id = {APPLICATION}")
        run(f"pragma user_version = {VERSION}")

    def _migrate(self) -> None:
        lock = self._locked()  # not under the feet of a process that knows the old tables
        try:
            with self._writing():
                for version in range(self._version() or 0, VERSION):
                    for sql in MIGRATIONS[version]:
                        self.connection.execute(sql)
                    self.connection.execute(f"pragma user_version = {version + 1}")
        finally:
            lock.close()

    # -- what a database says ------------------------------------------------------------------

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._taught(error) from error

    def _taught(self, error: sqlite3.Error) -> JournalError:
        """What an error of SQLite means, and what to do."""
        name = getattr(error, "sqlite_errorname", None) or ""
        where = f"the journal {self.url}"
        if name.startswith("SQLITE_NOTADB"):
            return self._other()
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_FORMAT")):
            return JournalError(
                f"{where} is damaged ({error}): keep a copy of it and of {self.path.name}-wal, then"
                f" bring back a backup, or save what is left with `sqlite3 {self.path.name}"
                " .recover`"
            )
        for begin, lesson in LESSONS.items():
            if name.startswith(begin):
                return JournalError(f"{where}: {error}; {lesson}")
        return JournalError(f"{where}: {error}; the batch was not written")

    def _read(self, sql: str, *parameters: Any) -> list[Any]:
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._taught(error) from error

    def _many(self, sql: str, rows: Iterable[Any]) -> None:
        self.connection.executemany(sql, rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        run = self.connection.execute
        try:
            run("begin immediate")
            try:
                yield
                run("commit")
            except BaseException:
                if self.connection.in_transaction:
                    run("rollback")
                raise
        except sqlite3.Error as error:
            raise self._taught(error) from error

    def _shrink(self) -> None:
        with suppress(sqlite3.OperationalError):  # somebody reads it, or there is no room: later
            self.connection.execute("vacuum")
            self.connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    # -- one owner -----------------------------------------------------------------------------

    def _locked(self) -> sqlite3.Connection:
        """The lock of the owner: an empty file of SQLite, because SQLite locks on every system."""
        with self._errors():
            lock = self._connect(Path(f"{self.path}-owner"), timeout=0)
        try:
            lock.execute("begin exclusive")
        except sqlite3.OperationalError as error:
            lock.close()
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise self._taught(error) from error
            rows = self._read("select body from meta where name = 'owner'")
            raise Owned(
                f"the journal {self.url} is run by {rows[0][0] if rows else 'another process'}: end"
                " that one first; to look, tell or answer beside it, open a Room"
            ) from error
        return lock

    def claim(self, *, by_force: bool = False) -> int:
        """Own it from now on: the new epoch. `Owned` if a living process does.

        `by_force` takes it even so, where a lock is known to be left behind: who owned it is
        `Fenced` at its next commit.
        """
        if self.lock is None:
            try:
                self.lock = self._locked()
            except Owned:
                if not by_force:
                    raise
        with self._writing():
            self.epoch = self._next_epoch()
        self._forget()
        return self.epoch

    def close(self) -> None:
        self.epoch = 0
        with closing(self.connection):
            pass
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    # -- the door ------------------------------------------------------------------------------

    def has_changed(self) -> bool:
        [[version]] = self._read("pragma data_version")
        before, self.version = self.version, int(version)
        return before != self.version


LESSONS = {
    "SQLITE_FULL": "the disk is full: make room, then go on; the batch was not written",
    "SQLITE_READONLY": "it may only be read: allow this user to write the file and its folder",
    "SQLITE_PERM": "this user may not open it",
    "SQLITE_CANTOPEN": "is there such a folder, and may this user write it?",
    "SQLITE_BUSY": "another process writes to it and does not end; the batch was not written",
    "SQLITE_LOCKED": "another process writes to it and does not end; the batch was not written",
    "SQLITE_IOERR": "the disk fails: the batch is not acknowledged; look at the system's log",
    "SQLITE_NOMEM": "there is no memory left; the batch was not written",
    "SQLITE_TOOBIG": "a value is larger than SQLite takes (1 GB); the batch was not written",
}
"""How the names of SQLite's errors begin -> what to do."""
