"""The tables of a ledger in SQL, and what their rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from zlib import crc32

import msgspec

from llambdao.journal.errors import CorruptRow
from llambdao.journal.history import id_of, number_of
from llambdao.journal.ledger import Ending, Found, Knock, Opening, Stand, Step

__all__ = [
    "MIGRATIONS",
    "OPEN",
    "OVER",
    "UNREADABLE",
    "VERSION",
    "Row",
    "checked",
    "corrupt",
    "decode",
    "decoded",
    "encode",
    "found_of",
    "knock_of",
    "names_in",
    "opening_row",
    "remembered",
    "stand_row",
    "step_of",
    "step_row",
    "tables",
    "typed",
]

VERSION = 1
"""Of the tables. Whoever changes them adds one, and to MIGRATIONS what leads there."""

MIGRATIONS: dict[int, list[str]] = {}
"""A version -> what makes the next one of it."""

TABLES = """
create table meta (name text primary key, body text not null) {lean};
create table word (id integer primary key, body text not null);
create table state (node text primary key, hash text not null) {lean};
create table value (hash text primary key, body text not null, crc integer not null,
 born integer not null);
create table conversation (key integer primary key, id text, number integer, node text not null,
 way text not null, salt integer not null, at integer not null, is_given integer not null,
 digest {blob} not null, message text not null, options text, crc integer not null,
 status text not null, due integer, attempts integer not null, why text not null, expects text);
create index conversation_salt on conversation (salt);
create index conversation_status on conversation (status, key);
create index conversation_due on conversation (due, key) where due is not null;
create table known (id text, key integer, at integer not null, node text not null,
 digest {blob} not null, primary key (id, key)) {lean};
create table expected (key integer, word text, primary key (key, word)) {lean};
create index expected_word on expected (word, key);
create table step (key integer, number integer, at integer not null, inputs text not null,
 saw text, notes text not null, prints text not null, crc integer not null,
 primary key (key, number));
create table effect (key integer, number integer, name text not null, digest text not null,
 policy text not null, at integer not null, primary key (key, number)) {lean};
create table question (id text primary key, key integer not null, who text not null,
 asker text not null, content text not null, message text not null, since integer not null,
 until integer);
create index question_key on question (key);
create table answer (id text primary key, way text not null, "by" text not null,
 at integer not null, content text not null) {lean};
create table history (seq integer primary key, key integer not null, at integer not null,
 said text, chain {blob} not null, head integer, salt integer, since integer, until integer,
 rest text);
create index history_key on history (key);
create index history_salt on history (salt) where salt is not null;
create table letter (seq {serial}, message text not null, reason text not null,
 node text not null, error text not null, at integer not null);
create table door (seq {serial}, kind text not null, body text not null, at integer not null);
"""

OPEN = (
    "select key, id, number, node, way, salt, at, is_given, digest, message, options, crc,"
    " status, due, attempts, why, expects from conversation"
)
OVER = "select key, at, head, salt, since, until, rest from history"

STATUSES = frozenset({"ready", "waits", "stuck", "parked"})
FORGOTTEN = "forgotten"
"""The reason of a conversation of which only the id is still known."""

Row = Sequence[Any]
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode

UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError)


def tables(lean: str, blob: str, serial: str, integer: str = "integer") -> list[str]:
    """The statements that make the tables, in the words of a database."""
    script = TABLES.format(lean=lean, blob=blob, serial=serial)
    return [one.strip().replace("integer", integer) for one in script.split(";") if one.strip()]


def opening_row(o: Opening, stand: Stand) -> Row:
    """An opening and its stand, as a row of `conversation`."""
    number = number_of(o)
    facts = (
        o.key, o.id if number is None else None, number, o.node, o.way, o.salt, o.at,
        int(o.is_given), o.digest, o.message.decode(),
        encode(o.options).decode() if o.options else None,
    )  # fmt: skip
    return (*facts, _crc(facts), *stand_row(stand))


def _crc(facts: Row) -> int:
    return crc32(encode(facts))


def stand_row(stand: Stand) -> Row:
    """A stand in the last columns of such a row."""
    expects = encode(stand.expects).decode() if stand.expects else None
    return stand.status, stand.due, stand.attempts, stand.why, expects


def found_of(row: Row) -> Found:
    """What such a row says."""
    *facts, crc, status, due, attempts, why, expects = row
    facts[8] = bytes(facts[8])
    if _crc(facts) != crc:
        raise ValueError("its checksum is another")
    if status not in STATUSES:
        raise ValueError(f"its status is {status!r}")
    key, id_, number, node, way, salt, at, is_given, digest, message, options = facts
    opening = Opening(
        key,
        id_of(at, salt, number) if id_ is None else id_,
        node,
        message.encode(),
        way,
        salt,
        at,
        digest,
        decode(options) if options else {},
        bool(is_given),
    )
    stand = {
        "key": key, "status": status, "due": due, "attempts": attempts, "why": why,
        "expects": decode(expects) if expects else (),
    }  # fmt: skip
    return Found(opening, msgspec.convert(stand, Stand))


def remembered(id_: str, key: int, at: int, node: str, digest: bytes) -> Found:
    """A conversation of which only its id is known, out of a row of `known`."""
    opening = Opening(key, id_, node, b"", "", 0, at, bytes(digest), is_given=True)
    return Found(opening, Stand(key, "over"), Ending(key, at, FORGOTTEN))


def step_row(step: Step) -> Row:
    """A step, as a row of `step`."""
    facts = (
        step.key, step.number, step.at, step.inputs.decode(),
        encode(step.saw).decode() if step.saw else None, step.notes.decode(), step.prints,
    )  # fmt: skip
    return (*facts, _crc(facts))


def step_of(row: Row) -> Step:
    """What such a row says."""
    *facts, crc = row
    if _crc(facts) != crc:
        raise ValueError("its checksum is another")
    key, number, at, inputs, saw, notes, prints = facts
    return Step(
        key, number, at, inputs.encode(), decode(saw) if saw else {}, notes.encode(), prints
    )


def knock_of(row: Row) -> Knock:
    """What a row of `door` says."""
    seq, kind, body, at = row
    return Knock(seq, kind, msgspec.json.decode(body, type=dict[str, Any]), at)


def names_in(value: Any) -> Iterator[str]:
    """The hashes that a value names."""
    if isinstance(value, dict):
        name = value.get("#")
        if isinstance(name, str):
            yield name
        for part in value.values():
            yield from names_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from names_in(part)


def checked(table: str, key: Any, body: Any, crc: int) -> bytes:
    """The body of a row, if it is as it was written."""
    data: bytes = decoded(table, key, str.encode, body)
    if crc32(data) != crc:
        raise corrupt(table, key, "its checksum is another")
    return data


def decoded(table: str, key: Any, make: Callable[..., T], *row: Any) -> T:
    """What this makes of a row; a `CorruptRow` that names it, if it cannot."""
    try:
        return make(*row)
    except UNREADABLE as error:
        raise corrupt(table, key, str(error)) from error


def typed(table: str, key: Any, kind: type[S], row: Row, *encoded: str) -> S:
    """A row whose columns are the fields of this kind; `encoded` are those of JSON."""
    fields = dict(zip(kind.__struct_fields__, row, strict=False))
    try:
        for name in encoded:
            fields[name] = fields[name].encode()
        return msgspec.convert(fields, kind)
    except UNREADABLE as error:
        raise corrupt(table, key, str(error)) from error


def corrupt(table: str, key: Any, why: str) -> CorruptRow:
    """The error that names a row."""
    return CorruptRow(
        f"row {key!r} of table {table} is not as it was written: {why}; all other rows can be read:"
        " cancel what needs this one, or bring the journal back from a copy"
    )
