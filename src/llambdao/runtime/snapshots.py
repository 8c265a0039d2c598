"""Snapshots: where the fields of sleeping nodes are, and how they come back."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from operator import getitem
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Address, Message, Ref
from llambdao.kernel.node import Node
from llambdao.runtime.codec import Codec, Corrupt, NotStorable
from llambdao.runtime.recorded import names_of, sort_of
from llambdao.runtime.writer import DEEPEST, SECRETS

__all__ = ["Sleeping", "Snapshots", "Woken"]

STAYS = ("name", "members")
"""The fields that a node keeps while it sleeps: by them it is found, shown and sent to."""

SCHEMA = """
pragma page_size = 16384;
pragma journal_mode = wal;
pragma synchronous = off;  -- nobody reads it after a crash
create table if not exists asleep (
    key integer primary key autoincrement, id text, name text, class text, fields text not null
);
"""
INSERT = "insert into asleep (id, name, class, fields) values (?, ?, ?, cast(? as text))"
SELECT = "select cast(fields as blob) from asleep where key = ?"
DELETE = "delete from asleep where key = ?"


class Woken(dict[str, Any]):
    """The attributes of a node that has slept."""

    __slots__ = ("box", "cls", "fields", "home", "key", "node", "nodes", "size")
    box: list[dict[str, Any]] | None  # those it had, while nothing is written yet
    cls: Any
    fields: tuple[str, ...]  # which of them are written
    home: Snapshots | None  # where; None when it is over
    key: int | None
    node: Any
    nodes: tuple[Any, ...]  # whom they speak of: nobody else may keep them alive
    size: int

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class Sleeping(Woken):
    """The attributes of a node that sleeps: a few are here, and whoever asks for others wakes it.

    It stands in the place of the node's `__dict__`, so a node that is awake pays nothing; and when
    a node is garbage so is this, and its row is deleted.
    """

    __slots__ = ()

    def wake(self) -> dict[str, Any]:
        """The attributes of the node, now that it is awake."""
        if (home := self.home) is not None:
            with home.lock:
                if self.home is not None:
                    home.wake(self)
        return self if self.box is None else self.box[0]

    def clear(self) -> None:
        """Forget all of them, also what is written: nobody need read that."""
        if (home := self.home) is not None:
            with home.lock:
                if self.home is not None:
                    home.rises(self)
        dict.clear(self if self.box is None else self.box[0])

    def __del__(self) -> None:
        if (home := getattr(self, "home", None)) is not None and self.key is not None:
            home.unread.append((self.key, self.size))  # this may be at any point of any thread


def _waking(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)
    return lambda self, /, *args, **named: method(self.wake(), *args, **named)


for _name in (
    "__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__",
    "__ne__", "__or__", "__repr__", "__reversed__", "__ror__", "__setitem__", "copy", "get",
    "items", "keys", "pop", "popitem", "setdefault", "update", "values",
):  # fmt: skip
    setattr(Sleeping, _name, _waking(_name))


class Laid(Struct, frozen=True):
    """A node that is put to sleep, with what is to be written of it."""

    node: Any
    attributes: Sleeping
    row: tuple[Any, ...]


class Snapshots:
    """The fields of sleeping nodes: rows of a SQLite file that is made when the first one sleeps.

    `woken` nodes have come back. `is_up(node)` hears of each.
    """

    def __init__(self, path: str | Path | None, is_up: Callable[[Any], None]) -> None:
        self.path, self.file = path, path
        self.lock = threading.RLock()
        self.unread: deque[tuple[int, int]] = deque()  # rows that nobody will read, and their sizes
        self.woken = 0
        self._asleep = self._bytes = 0
        self._is_up: Callable[[Any], None] | None = is_up
        self._db: Any = None
        self._close: Any = None

    def open(self) -> None:
        """Make the file, or take the one that is there."""
        folder = None
        try:
            if not self.path:
                folder = tempfile.mkdtemp(prefix="llambdao-")
            file = self.file = Path(self.path or f"{folder}/asleep.sqlite")
            file.touch(mode=0o600)  # what nodes know is nobody else's business
            db = self._db = sqlite3.connect(
                file, timeout=1.0, isolation_level=None, check_same_thread=False
            )
            self._close = weakref.finalize(self, _close, db, folder)
            db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise Misused(f"no snapshots can be kept in {self.file}: {error}") from error

    def stop(self) -> None:
        """From now on nobody goes to sleep: the file is needed as long as somebody sleeps."""
        with self.lock:
            self._is_up = None
            self._tidy()

    def count(self) -> tuple[int, int]:
        """How many nodes sleep, and how many bytes are written of them."""
        with self.lock:
            self._tidy()
            return self._asleep, self._bytes

    @staticmethod
    def is_asleep(node: Any) -> bool:
        """Does it sleep?"""
        return type(vars(node)) is Sleeping

    def call_in(self, node: Any) -> None:
        """Wake a node that sleeps in the snapshots of another runtime."""
        if self.is_asleep(node) and vars(node).home is not self:
            vars(node).wake()

    # -- to sleep ------------------------------------------------------------------------------

    def put(self, nodes: list[Node], keep: Callable[[Node, Exception | None], None]) -> int:
        """Put nodes to sleep, in one transaction: how many? `keep` hears of the others."""
        with self.lock:
            laid: list[Laid] = []
            for node in nodes:
                try:
                    one = self._lay_down(node)
                except NotStorable as error:
                    error.__context__ = None  # its frames hold the very values it is about
                    keep(node, error.with_traceback(None))
                except Exception as error:  # noqa: BLE001  # whatever its `__str__` raises
                    keep(node, error)
                else:
                    if one is None:
                        keep(node, None)
                    else:
                        laid.append(one)
            try:
                self._write(laid)
            except (Misused, sqlite3.Error) as error:
                for one in laid:
                    self._stay_up(one.node, one.attributes)
                    keep(one.node, None)
                warnings.warn(f"{len(laid)} nodes stay awake: {error}", RuntimeWarning, 2)
                return 0
            return len(laid)

    def _lay_down(self, node: Node) -> Laid | None:
        """Take from a node what can be written of it; None if somebody else holds all of that.

        First the fields are put where nobody can get at them without waking the node, which waits
        for the lock. Then it is seen whether somebody has them already, and only then they are
        written: so nothing is lost that another thread does to them meanwhile.
        """
        cls, who = type(node), str(node)
        object.__setattr__(node, "_undo", None)
        box = [vars(node)]
        for name in sorted(box[0].keys() - cls.__pydantic_fields__.keys()):
            if not isinstance(getattr(cls, name, None), cached_property):
                raise NotStorable(
                    f"{who}.{name} is an attribute that {cls.__name__} does not declare, so nobody"
                    " knows whether it can be stored; declare it as a field"
                )
        attributes = Sleeping({name: box[0][name] for name in STAYS if name in box[0]})
        attributes.box, attributes.cls, attributes.home = box, cls, self
        attributes.key, attributes.size, attributes.fields = None, 0, ()
        attributes.node, attributes.nodes = _weak(node), ()
        object.__setattr__(node, "__dict__", attributes)
        codec, met = Codec(None, cls), dict[str, Any]()
        fields: tuple[str, ...] = ()
        try:
            names = [n for n in leaves(cls) if n in box[0] and not isinstance(box[0][n], SECRETS)]
            if sys.getrefcount(getitem(box, 0)) <= ALONE:
                fields = tuple(name for name in names if not is_held(box[0], name))
            written = {n: msgspec.Raw(codec.encode(box[0][n], f"{who}.{n}", met)) for n in names}
        except BaseException:
            self._stay_up(node, attributes)
            raise
        if not fields or attributes.home is None:  # a property of something in it looked at it
            self._stay_up(node, attributes)
            return None
        dict.update(attributes, {name: box[0][name] for name in box[0].keys() - {*fields}})
        attributes.fields = FIELDS.setdefault(fields, fields)
        is_weak = attributes.node is not None
        attributes.nodes = tuple(one for one in met.values() if one is not node or not is_weak)
        row = msgspec.json.encode({name: written[name] for name in fields})
        return Laid(node, attributes, (node._id, who, cls.__name__, row))

    @staticmethod
    def _stay_up(node: Node, attributes: Sleeping) -> None:
        """As if nothing had been; who has got hold of the new attributes is led to the old ones."""
        if attributes.box is not None:
            attributes.home = attributes.node = None
            object.__setattr__(node, "__dict__", attributes.box[0])

    def _write(self, laid: list[Laid]) -> None:
        laid = [one for one in laid if one.attributes.home is not None]
        if not laid:
            return
        if self._db is None:
            self.open()
        with self._at_once() as db:
            keys = [db.execute(INSERT, one.row).lastrowid for one in laid]
        for key, one in zip(keys, laid, strict=True):
            attributes, size = one.attributes, len(one.row[-1])
            attributes.key, attributes.size, attributes.box = key, size, None
            self._asleep += 1
            self._bytes += size
        self._tidy()

    # -- and up again --------------------------------------------------------------------------

    def wake(self, one: Sleeping) -> None:
        """Give a node back what was written of it."""
        found = dict(one.box[0]) if one.box is not None else self._read(one)
        found |= dict(dict.items(one))  # which does not wake it, as others would
        order = [name for name in one.cls.__pydantic_fields__ if name in found]
        dict.clear(one)
        dict.update(one, {name: found.pop(name) for name in order}, **found)
        self.woken += one.key is not None
        self.rises(one)

    def rises(self, one: Sleeping) -> None:
        """It needs nothing of what was written any longer."""
        node = None if one.node is None else one.node()
        if one.key is not None:
            self.unread.append((one.key, one.size))
        one.home = one.box = None
        one.nodes = ()
        one.__class__ = Woken  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # they differ in methods alone
        if self._is_up is None or len(self.unread) > 1000:
            self._tidy()
        if self._is_up is not None and node is not None:
            self._is_up(node)

    def _read(self, one: Sleeping) -> dict[str, Any]:
        """What was written of a node."""
        me = None if one.node is None else one.node()
        nodes = {node.id: node for node in (one.nodes if me is None else (me, *one.nodes))}
        try:
            row = self._db.execute(SELECT, (one.key,)).fetchone()
            found = None if row is None else Codec(nodes.get, one.cls).decode(row[0])
        except (Corrupt, sqlite3.Error) as error:
            raise self._lost(one, error) from error
        if type(found) is not dict or found.keys() != {*one.fields}:
            raise self._lost(one, f"expected {', '.join(one.fields)}, but got {found!r:.80}")
        return found

    def _lost(self, one: Sleeping, why: object) -> Corrupt:
        who = dict.get(one, "name") or one.cls.__name__
        return Corrupt(
            f"{who} cannot be woken, for its snapshot, row {one.key} in {self.file}, is gone or was"
            f" changed: {why}; a supervisor that restarts it gives it its first fields"
        )

    @contextmanager
    def _at_once(self) -> Iterator[Any]:
        """All of it, or nothing."""
        db: Any = self._db
        db.execute("begin immediate")
        try:
            yield db
            db.execute("commit")
        except BaseException:
            if db.in_transaction:  # it has not ended that itself
                db.execute("rollback")
            raise

    def _tidy(self) -> None:
        """Delete the rows that nobody will read; and the file, once it is not needed."""
        gone = []
        while self.unread:
            key, size = self.unread.popleft()
            gone.append((key,))
            self._asleep -= 1
            self._bytes -= size
        if gone:
            with suppress(sqlite3.Error), self._at_once() as db:  # what stays there harms nobody
                db.executemany(DELETE, gone)
        if self._is_up is None and not self._asleep and self._close is not None:
            self._close()


FIELDS: dict[tuple[str, ...], tuple[str, ...]] = {}
"""The names of fields that are written, each tuple of them once."""


def _close(db: Any, folder: str | None) -> None:
    db.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _weak(node: Any) -> Any:
    """A reference that keeps nobody alive; None for a class that has no room for one."""
    try:
        return weakref.ref(node)
    except TypeError:
        return None


@lru_cache(1024)
def leaves(cls: Any) -> tuple[str, ...]:
    """The fields of a class that can be put away: not those that the class hides one of."""
    return tuple(
        name
        for name, info in cls.model_fields.items()
        if name not in STAYS and not info.exclude and not hasattr(cls, name)
    )


# -- what somebody else holds as well ----------------------------------------------------------

HOLDER: list[Any] = [[]]
ALONE = sys.getrefcount(getitem(HOLDER, 0))
"""How often something is referred to that nothing refers to but what it stands in."""

UNCHANGING = (
    str, int, float, complex, bool, bytes, type(None), date, time, timedelta, Decimal, UUID,
    PurePath, frozenset, Enum, Message, Node, Address, Ref,
)  # fmt: skip
"""What can be in two places at once without anybody noticing."""


def is_held(holder: Any, name: Any, get: Callable[..., Any] = getitem, left: int = DEEPEST) -> bool:
    """Could somebody change what stands here, or a part of it, from elsewhere?

    What was written comes back as another object: who holds the first one would not notice.
    """
    cls: Any = type(get(holder, name))
    if issubclass(cls, UNCHANGING):
        return False
    is_changing = not issubclass(cls, tuple)
    if left == 0 or (is_changing and sys.getrefcount(get(holder, name)) > ALONE):
        return True
    part = get(holder, name)
    if issubclass(cls, dict):
        return any(is_held(part, key, getitem, left - 1) for key in part)
    if issubclass(cls, list | tuple | deque):
        return any(is_held(part, place, getitem, left - 1) for place in range(len(part)))
    return sort_of(cls) is not None and any(
        is_held(part, field, getattr, left - 1) for field in names_of(cls)
    )
