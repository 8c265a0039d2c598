"""`PostgresLedger`: a journal in a database of PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from llambdao.journal.errors import Fenced, JournalError, OtherJournal, Owned
from llambdao.journal.rows import MIGRATIONS, VERSION, tables
from llambdao.journal.sql import SqlLedger

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["PostgresLedger"]

SCHEMA = "llambdao"

LOG = """
create view log as select seq, key, at, to_timestamp(at / 1000000000.0) as time,
 (select '[' || string_agg(case json_typeof(m.value) when 'object' then m.value::text else
   case when w.body like '%,"re":-1}' then left(w.body, -9) || ',"re":' || (m.n - 1)
    else left(w.body, -1) end
   || ',"n":' || m.n || ',"content":' || (m.value -> 1)::text
   || coalesce(',' || substr((m.value -> 3)::text, 2), '}') end, ',' order by m.place) || ']'
  from (select value, place, case json_typeof(value) when 'array' then
     coalesce((value ->> 2)::bigint,
      case json_typeof(h.json -> 0) when 'array' then (h.json -> 0 ->> 2)::bigint end
       + place - 1, place) end as n
    from json_array_elements(h.json) with ordinality as e (value, place)) m
  left join word w on w.id = case json_typeof(m.value) when 'array'
    then (m.value ->> 0)::bigint end) as said
 from (select *, replace(said, '\\u0000', '\\ufffd')::json as json from history) h
 where said is not null
"""
"""History with nothing abbreviated, for psql and jq."""

ESCAPE = "\x01"
"""How a text begins that had characters PostgreSQL does not take."""


class PostgresLedger(SqlLedger):
    """A journal in PostgreSQL: `Runtime(journal="postgresql://user@host/database")`.

    Its tables are in a schema of their own, so that a database holds many journals, and other
    tables beside them. What is committed survives a power cut of the server
    (`synchronous="full"`), or only the end of this process (`"normal"`). One process owns it, by
    an advisory lock that the server frees when its connection ends; a restart waits for that, up
    to `patience` seconds. A lost connection is made again, and the lock taken again; if somebody
    else has it by then, we are `Fenced`. Between us and the server there must be nothing that
    shares connections transaction by transaction, for it would share the lock.

    Needs `pip install 'llambdao[postgres]'`. Errors are `JournalError`.
    """

    GUARD = "update meta set body = body where name = 'epoch' returning body"

    def __init__(
        self,
        url: str,
        *,
        schema: str = SCHEMA,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        patience: float = 2.0,
        create: bool = True,
    ) -> None:
        super().__init__()
        self.driver = _driver()
        self.target, self.schema, self.synchronous = url, schema, synchronous
        self.timeout, self.patience = timeout, patience
        self.url = f"{_public(url)} (schema {schema})"
        self.seen: tuple[Any, ...] | None = None  # what has_changed saw last
        self.is_closed = False
        self.connection: Connection[Any] | None = self._connect()
        try:
            self._prepare(create)
        except BaseException:
            self.connection.close()
            raise

    # -- one connection ------------------------------------------------------------------------

    def _connect(self) -> Connection[Any]:
        sql = self.driver.sql
        commit = "on" if self.synchronous == "full" else "off"
        try:
            connection: Connection[Any] = self.driver.connect(
                self.target,
                autocommit=True,
                connect_timeout=max(2, round(self.timeout)),
                application_name="llambdao",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                # the same on the server's side: a lock is not to outlive its holder for long
                options="-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5"
                f" -c tcp_keepalives_count=3 -c synchronous_commit={commit}"
                f" -c lock_timeout={round(self.timeout * 1000)}",
            )
        except self.driver.Error as error:
            raise JournalError(
                f"the journal {self.url} cannot be reached: {_words(error)}; is the server up, and"
                " is the URL right?"
            ) from error
        connection.execute(sql.SQL("set search_path to {}").format(sql.Identifier(self.schema)))
        return connection

    def _connected(self) -> Connection[Any]:
        """The connection, made again if it was lost; the lock with it, if it was ours."""
        if self.is_closed:
            raise JournalError(f"the journal {self.url} is closed")
        if self.connection is None or self.connection.closed:
            self.connection = None
            connection = self._connect()
            if self.epoch and not self._take_lock(connection):
                connection.close()
                raise Fenced(
                    f"the connection to {self.url} was lost, and another process has taken over"
                    " meanwhile: nothing more is written from here; end this process"
                )
            self.connection = connection
        return self.connection

    def _lose(self) -> None:
        """After an error: is the connection of any use?"""
        if self.connection is not None and self.connection.closed:
            self.connection = None

    # -- tables --------------------------------------------------------------------------------

    def _prepare(self, create: bool) -> None:
        version = self._version()
        if version is None:
            if not create:
                raise JournalError(
                    f"there is no journal {self.url}; a Runtime makes one as it starts"
                )
            with self._writing():
                self._read("select pg_advisory_xact_lock(?)", self._lock_number("tables"))
                if self._version() is None:
                    self._create()
            version = self._version()
        if version is not None and version < VERSION:
            self._migrate()

    def _version(self) -> int | None:
        """The version of its tables; None if there are none yet."""
        names = {
            name
            for (name,) in self._read(
                "select table_name::text from information_schema.tables where table_schema = ?",
                self.schema,
            )
        }
        if not names:
            return None
        rows = []
        if {"meta", "history", "conversation"} <= names:
            rows = self._read("select body from meta where name = 'version'")
        if not rows:
            raise OtherJournal(
                f"{self.url} holds tables that are not a journal's: name another with"
                " ?schema=...; these were left as they are"
            )
        version = int(rows[0][0])
        if version > VERSION:
            raise OtherJournal(
                f"{self.url} was written by a newer version of llambdao: its tables are of"
                f" version {version}, this one knows {VERSION}; pip install --upgrade llambdao"
            )
        return version

    def _create(self) -> None:
        connection, sql = self._connected(), self.driver.sql
        connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema))
        )
        identity = "bigint generated always as identity primary key"
        for one in [*tables("", "bytea", identity, "bigint"), LOG]:
            connection.execute(cast("Any", one))
        self._set({"epoch": "0", "owner": "nobody", "version": str(VERSION)})

    def _migrate(self) -> None:
        connection = self._connected()
        if not self._take_lock(connection):
            raise self._owned()
        with self._writing():
            for version in range(self._version() or 0, VERSION):
                for sql in MIGRATIONS[version]:
                    connection.execute(cast("Any", sql))
                self._set({"version": str(version + 1)})
        self._drop_lock(connection)

    # -- what a database says ------------------------------------------------------------------

    def _taught(self, error: Exception) -> JournalError:
        """What an error of PostgreSQL means, and what to do."""
        self._lose()
        errors, where = self.driver.errors, f"the journal {self.url}"
        lessons: dict[Any, str] = {
            errors.DiskFull: "the server's disk is full: make room, then go on",
            errors.ReadOnlySqlTransaction: "the server may only be read: is it a standby?",
            errors.InsufficientPrivilege: "grant this user all on the schema and its tables",
            errors.LockNotAvailable: "another process writes to it and does not end",
            errors.UndefinedTable: "its tables are gone",
        }
        for kind, lesson in lessons.items():
            if isinstance(error, kind):
                return JournalError(f"{where}: {_words(error)}; {lesson}; nothing was written")
        if isinstance(error, self.driver.OperationalError | self.driver.InterfaceError):
            return JournalError(
                f"{where}: {_words(error)}; the connection is made again at the next use, and what"
                " was not acknowledged may or may not have been written: read it from the journal"
            )
        return JournalError(f"{where}: {_words(error)}; nothing was written")

    def _read(self, sql: str, *parameters: Any) -> list[Any]:
        for is_last in (False, True):
            connection = self._connected()
            was_idle = not connection.info.transaction_status
            try:
                rows = connection.execute(_dialect(sql), _clean(parameters)).fetchall()
            except self.driver.Error as error:
                self._lose()
                if self.connection is None and was_idle and not is_last:
                    continue  # the server was restarted since: once more
                raise self._taught(error) from error
            return [_back(row) for row in rows]
        raise AssertionError("the second time it returns or raises")

    def _many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        clean = [_clean(row) for row in rows]
        connection = self._connected()
        if len(clean) == 1:
            connection.execute(_dialect(sql), clean[0])
        elif clean:
            with connection.cursor() as cursor:
                cursor.executemany(_dialect(sql), clean)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            try:
                self._connected().execute("begin")
            except self.driver.OperationalError:  # the server was restarted since
                self._lose()
                if self.connection is not None:
                    raise
                self._connected().execute("begin")
            connection = self._connected()
            try:
                yield
                connection.execute("commit")
            except BaseException:
                if not connection.closed and connection.info.transaction_status:
                    with suppress(self.driver.Error):
                        connection.execute("rollback")
                raise
        except self.driver.Error as error:
            raise self._taught(error) from error

    def _shrink(self) -> None:
        """The server does it by itself."""

    # -- one owner -----------------------------------------------------------------------------

    def _lock_number(self, what: str) -> int:
        [[number]] = self._read("select hashtextextended(?, 0)", f"llambdao/{self.schema}/{what}")
        return int(number)

    def _take_lock(self, connection: Connection[Any]) -> bool:
        """The owner's lock: the server frees it soon after its holder was killed."""
        name = f"llambdao/{self.schema}/owner"
        connection.execute(_dialect(f"set lock_timeout = {max(1, round(self.patience * 1000))}"))
        try:
            connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        except self.driver.errors.LockNotAvailable:
            return False
        finally:
            if not connection.closed:
                connection.execute(_dialect(f"set lock_timeout = {round(self.timeout * 1000)}"))
        return True

    def _drop_lock(self, connection: Connection[Any]) -> None:
        name = f"llambdao/{self.schema}/owner"
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))

    def _owned(self) -> Owned:
        rows = self._read("select body from meta where name = 'owner'")
        return Owned(
            f"the journal {self.url} is run by {rows[0][0] if rows else 'another process'}: end"
            " that one first; to look, tell or answer beside it, open a Room"
        )

    def claim(self, *, by_force: bool = False) -> int:
        """Own it from now on: the new epoch. `Owned` if a living process does.

        `by_force` takes it even so, where a lock is known to be left behind: who owned it is
        `Fenced` at its next commit.
        """
        if not self.epoch:
            connection = self._connected()
            try:
                is_ours = self._take_lock(connection)
            except self.driver.Error as error:
                raise self._taught(error) from error
            if not is_ours and not by_force:
                raise self._owned()
        with self._writing():
            epoch = self._next_epoch()
        self.epoch = epoch
        self._forget()
        return epoch

    def close(self) -> None:
        self.epoch, self.is_closed = 0, True
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # -- the door ------------------------------------------------------------------------------

    def has_changed(self) -> bool:
        [seen] = self._read(
            "select (select xmin::text from meta where name = 'epoch'),"
            " (select count(*) from door), (select coalesce(sum(seq), 0)::bigint from door)"
        )
        before, self.seen = self.seen, tuple(seen)
        return before != self.seen


def _driver() -> Any:
    try:
        import psycopg
        import psycopg.errors
        import psycopg.sql
    except ImportError as error:
        raise JournalError(
            "a journal in PostgreSQL needs psycopg: pip install 'llambdao[postgres]'"
        ) from error
    return psycopg


def _public(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())


@lru_cache(512)
def _dialect(sql: str) -> Any:
    return sql.replace("%", "%%").replace("?", "%s")


def _clean(row: Sequence[Any]) -> Sequence[Any]:
    """A row without the one character that PostgreSQL does not take."""
    for value in row:
        if type(value) is str and ("\0" in value or value[:1] == ESCAPE):
            return [_escaped(value) if type(value) is str else value for value in row]
    return row


def _escaped(text: str) -> str:
    if "\0" not in text and text[:1] != ESCAPE:
        return text
    return ESCAPE + text.replace("\\", "\\\\").replace("\0", "\\0")


def _back(row: Sequence[Any]) -> Sequence[Any]:
    for value in row:
        if type(value) is str and value[:1] == ESCAPE:
            return [_restored(value) if type(value) is str else value for value in row]
    return row


def _restored(text: str) -> str:
    if text[:1] != ESCAPE:
        return text
    return re.sub(r"\\(.)", lambda found: "\0" if found[1] == "0" else found[1], text[1:])
