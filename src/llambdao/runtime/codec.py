"""The codec: what the fields of nodes hold as readable JSON, and back; data never names code."""

from __future__ import annotations

import dataclasses
import re
import typing
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, TypeVar, overload
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import PydanticUndefined, TzInfo

from llambdao.kernel.errors import DuplicateKind, LlambdaoError, Misused
from llambdao.kernel.message import COMMON, KINDS, Address, Ink, Message, Ref
from llambdao.kernel.node import Node

__all__ = ["SECRETS", "Codec", "Corrupt", "NotStorable", "recorded"]

DEEPEST = 100
"""How many values may be inside one another."""

EXACT = 2**53
"""From here on not every reader of JSON keeps whole numbers whole: those are written as text."""

SECRETS: Any = (SecretStr, SecretBytes, Secret)
"""What is never written down."""

Table = Mapping[str, Any]
"""Classes by name; None for a name that two classes have."""

C = TypeVar("C", bound=type)
T = TypeVar("T")


class NotStorable(LlambdaoError, TypeError):
    """A value that cannot be written down; it names the way to it, and what to do."""


class Corrupt(LlambdaoError, ValueError):
    """What is to be read is not what was written."""


class Codec:
    """Writes values as readable JSON, and reads them again: the same, of the same types.

    It knows plain JSON, tuples, sets, bytes, dates, times and zones, decimals, UUIDs, paths, the
    containers of `collections`, messages, and the Enums, dataclasses, Structs, models and
    NamedTuples that the fields of the `owners` are declared to hold, or that are marked `@recorded`.
    A node is written as its address: `nodes` gives the node of an id, or None, and then an
    `Address` comes back; what a message answered comes back as a `Ref`. Anything else raises
    `NotStorable`, and so do circles, and values nested more than 100 deep.

    The same value gives the same bytes: sets are sorted, a dict keeps its order, which handlers
    may rely on. An object that stands in a value twice comes back as two, a fixed offset from UTC
    as a `timezone`, and the metadata of a message not yet said as a dict.

    `decode` finds classes by the name they were declared or recorded under, never by an import, and
    runs nothing of them but a Struct's `__post_init__` and defaults for fields that have come since.
    What is not as it was written raises `Corrupt`.

    >>> codec = Codec()
    >>> codec.encode({"seats": (1, 2), "free": {"b", "a"}})
    b'{"seats":{"$":"tuple","v":[1,2]},"free":{"$":"set","v":["a","b"]}}'
    >>> codec.decode(codec.encode({"seats": (1, 2), "free": {"b", "a"}})) == {
    ...     "seats": (1, 2), "free": {"a", "b"}
    ... }
    True
    """

    def __init__(self, nodes: Callable[[str], Any] | None = None, *owners: type) -> None:
        self.nodes = nodes
        self.tables: list[Table] = [declared(owner) for owner in owners]

    def encode(self, value: Any, at: str = "value", met: dict[str, Any] | None = None) -> bytes:
        """The value as JSON.

        `at` is what errors call it; `met` takes every node in it, by id.
        """
        writer = Writer(self.tables, met)
        try:
            try:
                return msgspec.json.encode(writer.write(value, DEEPEST))
            except UnicodeEncodeError:  # half a surrogate pair somewhere, which no JSON can hold
                writer.is_careful = True
                return msgspec.json.encode(writer.write(value, DEEPEST))
        except Stuck as stuck:
            raise NotStorable(stuck.text(at)) from stuck.__cause__
        except RecursionError:
            raise NotStorable(f"{at} is nested too deeply for what is left of the stack") from None

    def decode(self, data: bytes) -> Any:
        """The value that was written."""
        try:
            return Reader(self.tables, self.nodes).read(msgspec.json.decode(data), DEEPEST)
        except RecursionError:
            raise Corrupt("this is nested too deeply to be a stored value") from None
        except Exception as error:  # noqa: BLE001  # whatever a class makes of wrong values
            raise Corrupt(f"this is no stored value: {error!s:.300}") from error


# -- which classes may come back ---------------------------------------------------------------

RECORDED: WeakValueDictionary[str, type] = WeakValueDictionary()
NAMES: WeakKeyDictionary[type, str] = WeakKeyDictionary()


@overload
def recorded(cls: C, /) -> C: ...


@overload
def recorded(*, kind: str) -> Callable[[C], C]: ...


def recorded(cls: Any = None, /, *, kind: str | None = None) -> Any:
    """Let values of a class be written down, by its name or as this `kind`, wherever they stand.

    For an Enum, a dataclass, a Struct, a model, a NamedTuple or an error; it stands above
    `@dataclass`. What a field of a node is declared to hold needs no mark. Two classes of one kind
    in different modules raise `DuplicateKind`.

    >>> @recorded(kind="acme.Colour")
    ... class Colour(Enum):
    ...     RED = "r"
    >>> Codec().encode(Colour.RED)
    b'{"$":"enum","of":"acme.Colour","v":"RED"}'
    """
    if cls is None:
        return partial(_record, kind=kind)
    return _record(cls, kind)


def _record(cls: Any, kind: str | None) -> Any:
    if not isinstance(cls, type) or not (sort_of(cls) or issubclass(cls, BaseException)):
        raise Misused(
            "@recorded marks an Enum, a dataclass (it stands above @dataclass), a Struct, a model,"
            f" a NamedTuple or an error, but got {cls!r:.80}"
        )
    name = kind or cls.__name__
    known = RECORDED.get(name)
    if known is not None and known.__module__ != cls.__module__:
        raise DuplicateKind(
            f"{cls.__module__}.{cls.__qualname__} and {known.__module__}.{known.__qualname__} both"
            f" are recorded as {name!r}; give one another: @recorded(kind='...')"
        )
    RECORDED[name], NAMES[cls] = cls, name
    return cls


@lru_cache(1024)
def sort_of(cls: type) -> str | None:
    """How the values of a class of the program are taken apart; None for those of others."""
    if issubclass(cls, Node | Message | Address | Ref):
        return None
    for base, sort in ((Enum, "enum"), (Struct, "struct"), (BaseModel, "model")):
        if issubclass(cls, base):
            return sort
    if issubclass(cls, tuple):
        return "named" if hasattr(cls, "_fields") else None
    return "dataclass" if dataclasses.is_dataclass(cls) else None


def names_of(cls: Any) -> tuple[str, ...]:
    """The fields of a class."""
    sort = sort_of(cls)
    if sort == "dataclass":
        return tuple(field.name for field in dataclasses.fields(cls))
    if sort == "model":
        return (*cls.model_fields,)
    return (*(cls.__struct_fields__ if sort == "struct" else cls._fields),)


@lru_cache(1024)
def declared(owner: type) -> dict[str, type | None]:
    """The classes that the fields of a class may hold, by name; None where two have the same."""
    found: dict[str, type | None] = {}
    seen: set[type] = {owner}
    todo = annotations(owner)
    while todo:
        one = todo.pop()
        todo += [typing.get_origin(one), *typing.get_args(one)]
        if isinstance(one, Enum):  # in a Literal
            todo.append(type(one))
        elif type(one).__name__ in INDIRECT:
            todo.append(getattr(one, INDIRECT[type(one).__name__]))
        elif isinstance(one, type) and one not in seen:
            seen.add(one)
            if sort_of(one):
                found[one.__name__] = None if one.__name__ in found else one
            if sort_of(one) or issubclass(one, Message):
                todo += annotations(one)
    return found


INDIRECT = {"TypeVar": "__bound__", "NewType": "__supertype__", "TypeAliasType": "__value__"}
"""What stands for a type, and where that is found."""


def annotations(cls: type) -> list[Any]:
    """The types of the fields of a class, as far as they are known."""
    if issubclass(cls, BaseModel):
        return [info.annotation for info in cls.model_fields.values()]
    try:
        return [*typing.get_type_hints(cls).values()]
    except Exception:  # noqa: BLE001  # a name that means nothing here: such classes need a mark
        return []


def find(name: str, tables: Iterable[Table]) -> Any:
    """The class of this name: one that is recorded, else one that is declared."""
    for table in (RECORDED, *tables):
        if name in table:
            return table[name]
    return None


# -- writing -----------------------------------------------------------------------------------


class Stuck(Exception):  # noqa: N818  # never leaves this module
    """Something cannot be written; the way to it is noted on the way back."""

    def __init__(self, why: str, *, is_deep: bool = False) -> None:
        super().__init__(why)
        self.why, self.is_deep = why, is_deep
        self.steps: list[tuple[str, int]] = []

    def text(self, at: str) -> str:
        """What is wrong where."""
        steps = self.steps[::-1]
        if not self.is_deep:
            return at + "".join(step for step, _ in steps) + self.why
        first: dict[int, int] = {}
        for place, (_, number) in enumerate(steps):
            if (begin := first.setdefault(number, place)) != place:
                start = at + "".join(step for step, _ in steps[:begin])
                circle = "".join(step for step, _ in steps[begin:place])
                return f"{start} contains itself, as {start}{circle}; keep an id in its place"
        start = at + "".join(step for step, _ in steps[:3])
        return f"{start} goes on more than {DEEPEST} levels deep; keep it flat, by id"


class Writer:
    """Makes plain data of values."""

    def __init__(self, tables: list[Table], met: dict[str, Any] | None) -> None:
        self.tables, self.met = tables, met
        self.is_careful = False  # is every str looked at?

    def write(self, value: Any, left: int) -> Any:
        """A value as plain data; `left` is how deep it may go on."""
        cls = type(value)
        if left == 0:
            raise Stuck("", is_deep=True)
        if cls is str:
            return self.text(value)
        write = WRITERS.get(cls) or WRITERS.get(self._base(cls))
        if write is None:
            raise Stuck(why_not(value))
        return write(self, value, left - 1)

    @staticmethod
    def _base(cls: type) -> Any:
        """Under what the way to write a class is found."""
        if issubclass(cls, Message):
            return Message
        return Node if issubclass(cls, Node) else sort_of(cls)

    # -- what has no parts ---------------------------------------------------------------------

    def text(self, value: str) -> Any:
        """Words; what JSON cannot hold of them, in ASCII."""
        if self.is_careful and not is_text(value):
            return {"$": "str", "v": in_ascii(value.encode("utf-8", "surrogatepass"))}
        return value

    def _itself(self, value: Any, left: int) -> Any:
        return value

    def _int(self, value: int, left: int) -> Any:
        if -EXACT < value < EXACT:
            return value
        return {"$": "int", "v": str(value) if value.bit_length() < 2000 else hex(value)}

    def _float(self, value: float, left: int) -> Any:
        return value if value - value == 0 else {"$": "float", "v": repr(value)}

    def _complex(self, value: complex, left: int) -> Any:
        return {"$": "complex", "v": [self._float(value.real, 0), self._float(value.imag, 0)]}

    def _by_text(self, value: Any, left: int) -> Any:
        tag, show, _ = TEXTS[type(value)]
        return {"$": tag, "v": self.text(show(value))}

    def _duration(self, value: timedelta, left: int) -> Any:
        return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}

    def _moment(self, value: datetime | time, left: int) -> Any:
        """A time of day, with its date or without, with its zone or without."""
        zone = value.tzinfo
        more: dict[str, Any] = {}
        if type(zone) is ZoneInfo and zone.key and ZONE.fullmatch(zone.key):
            more["zone"] = zone.key
        elif type(zone) is timezone and (name := zone.tzname(None)) != named_by_offset(zone):
            more["name"] = self.text(name)
        elif zone is not None and type(zone) not in {timezone, TzInfo}:
            raise Stuck(f" has the time zone {zone!r:.80}; use zoneinfo.ZoneInfo(name)")
        if value.fold:
            more["fold"] = 1
        shown = value.replace(tzinfo=None) if "zone" in more else value
        return {"$": type(value).__name__, "v": shown.isoformat(), **more}

    # -- containers ----------------------------------------------------------------------------

    def _items(self, value: Any, left: int) -> list[Any]:
        written: list[Any] = []
        try:
            for item in value:
                written.append(self.write(item, left))  # noqa: PERF401  # its length is the place
        except Stuck as stuck:
            stuck.steps.append((f"[{len(written)}]", id(value)))
            raise
        return written

    def _tuple(self, value: Any, left: int) -> Any:
        return {"$": "tuple", "v": self._items(value, left)}

    def _set(self, value: Any, left: int) -> Any:
        written = sorted(self._items(value, left), key=msgspec.json.encode)
        return {"$": type(value).__name__, "v": written}

    def _deque(self, value: deque[Any], left: int) -> Any:
        more = {} if value.maxlen is None else {"maxlen": value.maxlen}
        return {"$": "deque", "v": self._items(value, left), **more}

    def _dict(self, value: dict[Any, Any], left: int) -> Any:
        if "$" in value or not all(
            type(key) is str and (not self.is_careful or is_text(key)) for key in value
        ):
            return self._mapping(value, left)
        return self._fields(value, value.items(), left, "[{!r:.80}]")

    def _mapping(self, value: Mapping[Any, Any], left: int) -> Any:
        pairs: list[Any] = []
        key = None
        try:
            for key, item in value.items():
                pairs.append([self.write(key, left), self.write(item, left)])
        except Stuck as stuck:
            stuck.steps.append((f"[{key!r:.80}]", id(value)))
            raise
        return {"$": type(value).__name__, "v": pairs}

    def _defaultdict(self, value: defaultdict[Any, Any], left: int) -> Any:
        makes = value.default_factory
        of = None if makes is None else next((n for n, one in MAKERS.items() if one is makes), "")
        if of == "":
            raise Stuck(
                f" makes its defaults by {makes!r:.80}; let it be one of {', '.join(MAKERS)}, or use"
                " a dict and its setdefault"
            )
        return {**self._mapping(value, left), "of": of}

    def _fields(
        self, owner: Any, fields: Iterable[tuple[str, Any]], left: int, step: str = ".{}"
    ) -> dict[str, Any]:
        """Values by name."""
        written: dict[str, Any] = {}
        name = ""
        try:
            for name, item in fields:
                written[name] = self.write(item, left)
        except Stuck as stuck:
            stuck.steps.append((step.format(name), id(owner)))
            raise
        return written

    # -- classes of the program ----------------------------------------------------------------

    def _enum(self, value: Enum, left: int) -> Any:
        is_flag = isinstance(value, Flag)
        written = self._int(value.value, 0) if is_flag else value.name
        return {"$": "enum", "of": self._name(type(value)), "v": written}

    def _object(self, value: Any, left: int) -> Any:
        cls = type(value)
        found = {"$": "object", "of": self._name(cls)}
        names = names_of(cls)
        for name in sorted(getattr(value, "__dict__", {}).keys() - {*names}):
            if not isinstance(getattr(cls, name, None), cached_property):
                raise Stuck(f".{name} is an attribute that {cls.__qualname__} does not declare")
        for name in names:
            if not hasattr(value, name):
                raise Stuck(f".{name} has no value; give it one")
        fields = self._fields(value, [(name, getattr(value, name)) for name in names], left)
        return {**found, "v": fields}

    def _model(self, value: BaseModel, left: int) -> Any:
        cls = type(value)
        for name, info in cls.model_fields.items():
            if info.exclude:
                raise Stuck(
                    f".{name} is excluded, and what is excluded is never written down; keep the"
                    f" {cls.__qualname__} in a field of the node with exclude=True"
                )
        parts = self._object(value, left)
        if (given := value.model_fields_set) != parts["v"].keys():
            parts["set"] = sorted(given)
        private = (value.__pydantic_private__ or {}).items()
        for part, values in (
            ("extra", [*(value.__pydantic_extra__ or {}).items()]),
            ("private", [(name, one) for name, one in private if one is not PydanticUndefined]),
        ):
            if values:
                parts[part] = self._fields(value, values, left)
        return parts

    def _name(self, cls: type) -> str:
        """The name by which a class is found again."""
        for base in cls.__mro__[:-1]:
            if sort_of(cls) == "dataclass" and not (base.__flags__ & HEAP or base is typing.Generic):
                raise Stuck(f" is a {base.__name__} too, more than its fields tell; declare a field")
        name = NAMES.get(cls, cls.__name__)
        if (found := find(name, self.tables)) is cls:
            return name
        if found is None and not any(name in table for table in self.tables):
            raise Stuck(
                f" is a {cls.__qualname__}, which no field is declared to hold; name it in the"
                " annotation of the field, or mark it @recorded"
            )
        raise Stuck(
            f" is a {cls.__module__}.{cls.__qualname__}, but another class is called {name!r} here;"
            " give it another name: @recorded(kind='...')"
        )

    # -- who, and what was said ----------------------------------------------------------------

    def _node(self, value: Node, left: int) -> Any:
        if self.met is not None:
            self.met[value.id] = value
        return self._reference("node", value.id, str(value), value.role)

    def _address(self, value: Address, left: int) -> Any:
        return self._reference("address", value.id, value.name, value.role)

    def _reference(self, tag: str, *parts: Any) -> Any:
        if not all(type(part) is str for part in parts):
            raise Stuck(f" is known by {parts!r:.80}; id, name and role are each a str")
        return {"$": tag, **dict(zip(("v", "name", "role"), map(self.text, parts), strict=True))}

    def _ref(self, value: Ref, left: int) -> Any:
        return {"$": "ref", "v": self.text(value.id)}

    def _message(self, value: Message, left: int) -> Any:
        """All that a message says of itself, blanks left out; what it answers by reference."""
        cls, answered = type(value), value.reply_to
        if KINDS.get(cls.kind) is not cls:
            raise Stuck(f" is of a class whose kind, {cls.kind!r}, is now that of another")
        if isinstance(answered, Message):
            if answered.id is None:
                raise Stuck(".reply_to was never said, and so has no id to be found by")
            answered = Ref(answered.id)
        given = {name: getattr(value, name) for name in ("intent", "sender", "to", "id", "action")}
        given |= {"reply_to": answered, "timestamp": value._timestamp}  # type: ignore[attr-defined]
        given |= {"metadata": dict(value.metadata) or None}
        blanks = [(name, one) for name, one in given.items() if one is not None]
        written = self._fields(value, [("content", value.content), *blanks], left)
        if own := cls.__struct_fields__[COMMON:]:
            self.tables = [declared(cls), *self.tables]
            written |= self._fields(value, [(name, getattr(value, name)) for name in own], left)
            self.tables = self.tables[1:]
        said = {} if value.ink is None else {"said": [value.said_at, value.number]}
        return {"$": "message", "kind": cls.kind, "v": written, **said}


def why_not(value: Any) -> str:
    """Why a value cannot be written, and what to do."""
    cls = type(value)
    keep = "keep it in a field with exclude=True, and make it anew with the node"
    if isinstance(value, SECRETS):
        return " is a secret, and secrets are never written down; keep it in a field of the node"
    if callable(value):
        return f" is {value!r:.80}, code and no data; {keep}"
    for base in (str, int, float, list, dict, set, frozenset, tuple, bytes, date, Mapping):
        if isinstance(value, base):
            plain = base.__name__.lower()
            return f" is a {cls.__qualname__}, no mere {plain}; make a {plain} or a dataclass of it"
    return f" is a {cls.__module__}.{cls.__qualname__}, for which there is no JSON; {keep}"


def is_text(value: str) -> bool:
    """Can JSON hold it? Not half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_ascii(value: bytes) -> str:
    """Bytes as text."""
    return b64encode(value).decode()


def named_by_offset(zone: timezone) -> str:
    """What a fixed offset is called that was given no name."""
    return timezone(zone.utcoffset(None)).tzname(None)


HEAP = 1 << 9
"""The flag of a class that is made as the program runs, not built in."""

ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
"""How time zones are called: nothing that leads out of their folder."""

MAKERS: dict[str, Any] = {
    "Counter": Counter, "OrderedDict": OrderedDict, "bool": bool, "bytes": bytes, "deque": deque,
    "dict": dict, "float": float, "frozenset": frozenset, "int": int, "list": list, "set": set,
    "str": str, "tuple": tuple,
}  # fmt: skip
"""What may make the defaults of a defaultdict."""

TEXTS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    bytes: ("bytes", in_ascii, partial(b64decode, validate=True)),
    date: ("date", str, date.fromisoformat),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
    type(Path()): ("path", str, Path),
    PurePosixPath: ("pure_posix_path", str, PurePosixPath),
    PureWindowsPath: ("pure_windows_path", str, PureWindowsPath),
}
"""What has a text of its own: its tag, how it is shown, and how it is made of that."""

WRITERS: dict[Any, Callable[[Writer, Any, int], Any]] = {
    type(None): Writer._itself,
    bool: Writer._itself,
    int: Writer._int,
    float: Writer._float,
    complex: Writer._complex,
    **dict.fromkeys(TEXTS, Writer._by_text),
    timedelta: Writer._duration,
    datetime: Writer._moment,
    time: Writer._moment,
    list: Writer._items,
    tuple: Writer._tuple,
    set: Writer._set,
    frozenset: Writer._set,
    deque: Writer._deque,
    dict: Writer._dict,
    OrderedDict: Writer._mapping,
    Counter: Writer._mapping,
    defaultdict: Writer._defaultdict,
    "enum": Writer._enum,
    "dataclass": Writer._object,
    "struct": Writer._object,
    "named": Writer._object,
    "model": Writer._model,
    Node: Writer._node,
    Address: Writer._address,
    Ref: Writer._ref,
    Message: Writer._message,
}
"""How a value is written, by its class, or by the sort of its class."""


# -- reading -----------------------------------------------------------------------------------


class Reader:
    """Makes values of plain data; whatever error that raises, the data is not what was written."""

    def __init__(self, tables: list[Table], nodes: Callable[[str], Any] | None) -> None:
        self.tables, self.nodes = tables, nodes

    def read(self, tree: Any, left: int) -> Any:
        """A value of plain data; `left` is how deep it may go on."""
        cls = type(tree)
        if cls is not dict and cls is not list:
            return tree
        if left == 0:
            raise ValueError("it is nested too deeply")
        if cls is list:
            return [self.read(one, left - 1) for one in tree]
        if "$" not in tree:
            return {key: self.read(one, left - 1) for key, one in tree.items()}
        tag, parts = tree["$"], {name: one for name, one in tree.items() if name != "$"}
        read = READERS.get(tag) if type(tag) is str else None
        if read is None:
            raise ValueError(f"nothing is written as {tag!r:.80}")
        return read(self, left - 1, **parts)

    # -- what has no parts ---------------------------------------------------------------------

    def text(self, v: Any) -> str:
        """Words."""
        return v if type(v) is str else exactly(str, self.read(v, 1))

    def _str(self, left: int, /, v: str) -> str:
        return b64decode(exactly(str, v), validate=True).decode("utf-8", "surrogatepass")

    def _int(self, left: int, /, v: str) -> int:
        return int(exactly(str, v), 0)

    def _float(self, left: int, /, v: str) -> float:
        return float(exactly(str, v))

    def _complex(self, left: int, /, v: list[Any]) -> complex:
        real, imag = (exactly(float, self.read(part, 1)) for part in exactly(list, v))
        return complex(real, imag)

    def _duration(self, left: int, /, v: list[int]) -> timedelta:
        days, seconds, microseconds = (exactly(int, part) for part in exactly(list, v))
        return timedelta(days, seconds, microseconds)

    def _datetime(self, left: int, /, v: str, **more: Any) -> Any:
        return self._moment(datetime.fromisoformat(exactly(str, v)), **more)

    def _time(self, left: int, /, v: str, **more: Any) -> Any:
        return self._moment(time.fromisoformat(exactly(str, v)), **more)

    def _moment(self, value: Any, /, zone: str = "", name: Any = "", fold: int = 0) -> Any:
        if zone:
            if value.tzinfo is not None or not ZONE.fullmatch(zone):
                raise ValueError(f"{zone!r:.80} is no time zone")
            value = value.replace(tzinfo=ZoneInfo(zone))
        if name:
            offset = value.tzinfo.utcoffset(None)
            value = value.replace(tzinfo=timezone(offset, self.text(name)))
        return value.replace(fold=exactly(int, fold))

    # -- containers ----------------------------------------------------------------------------

    def _items(self, v: Any, left: int) -> list[Any]:
        return [self.read(one, left) for one in exactly(list, v)]

    def _tuple(self, left: int, /, v: list[Any]) -> Any:
        return tuple(self._items(v, left))

    def _set(self, left: int, /, v: list[Any]) -> Any:
        return set(unlike(self._items(v, left)))

    def _frozenset(self, left: int, /, v: list[Any]) -> Any:
        return frozenset(unlike(self._items(v, left)))

    def _deque(self, left: int, /, v: list[Any], maxlen: int | None = None) -> Any:
        items = self._items(v, left)
        if maxlen is not None and len(items) > exactly(int, maxlen):
            raise ValueError(f"a deque of {maxlen} does not hold {len(items)}")
        return deque(items, maxlen)

    def _pairs(self, left: int, /, v: list[Any]) -> dict[Any, Any]:
        pairs = [(self.read(key, left), self.read(one, left)) for key, one in exactly(list, v)]
        unlike([key for key, _ in pairs])
        return dict(pairs)

    def _ordered(self, left: int, /, v: list[Any]) -> Any:
        return OrderedDict(self._pairs(left, v))

    def _counter(self, left: int, /, v: list[Any]) -> Any:
        return Counter(self._pairs(left, v))

    def _defaultdict(self, left: int, /, v: list[Any], of: str | None) -> Any:
        return defaultdict(None if of is None else MAKERS[of], self._pairs(left, v))

    def _fields(self, v: Any, left: int) -> dict[str, Any]:
        return {name: self.read(one, left) for name, one in exactly(dict, v).items()}

    # -- classes of the program ----------------------------------------------------------------

    def _enum(self, left: int, /, of: str, v: Any) -> Any:
        cls = self._class(of)
        if not issubclass(cls, Flag):
            return cls.__members__[v]
        return exactly(cls, cls(exactly(int, self.read(v, 1))))

    def _object(self, left: int, /, of: str, v: Any, **more: Any) -> Any:
        cls = self._class(of)
        fields, names = self._fields(v, left), names_of(cls)
        if unknown := fields.keys() - {*names}:
            raise ValueError(f"{of} has no fields {sorted(unknown)!r:.200}")
        sort = sort_of(cls)
        if sort == "model":
            return self._model(cls, fields, left, **more)
        if more or sort == "enum":
            raise ValueError(f"{of} has no {[*more]!r:.200}")
        if sort == "struct":
            return struct(cls, fields)
        if sort == "named":
            fields = {**cls._field_defaults, **fields}
            return tuple.__new__(cls, [fields[name] for name in names])
        return dataclass(cls, fields)

    def _model(
        self, cls: Any, fields: Any, left: int, /, set: Any = None, extra: Any = None,  # noqa: A002
        private: Any = None,
    ) -> Any:  # fmt: skip
        """A model as it was, without a second validation."""
        given = {*fields} if set is None else {exactly(str, name) for name in exactly(list, set)}
        has_extra = cls.model_config.get("extra") == "allow"
        extra, private = self._fields(extra or {}, left), self._fields(private or {}, left)
        own = {name: info.get_default() for name, info in cls.__private_attributes__.items()}
        if (extra and not has_extra) or private.keys() - own.keys():
            raise ValueError(f"{cls.__name__} has no {[*extra, *private]!r:.200}")
        for name, info in cls.model_fields.items():
            if name not in fields:
                if info.is_required():
                    raise ValueError(f"{cls.__name__} needs {name!r}")
                fields[name] = info.get_default(call_default_factory=True, validated_data=fields)
        model = cls.__new__(cls)
        for slot, value in (
            ("__dict__", {name: fields[name] for name in cls.model_fields}),
            ("__pydantic_fields_set__", given),
            ("__pydantic_extra__", extra if has_extra else None),
            ("__pydantic_private__", {**own, **private} if own else None),
        ):
            object.__setattr__(model, slot, value)
        return model

    def _class(self, name: Any) -> Any:
        cls = find(exactly(str, name), self.tables)
        if cls is None or not sort_of(cls):
            raise ValueError(f"no class called {name!r:.80} is declared or recorded here")
        return cls

    # -- who, and what was said ----------------------------------------------------------------

    def _node(self, left: int, /, **parts: Any) -> Any:
        address = self._address(left, **parts)
        node = None if self.nodes is None else self.nodes(address.id)
        return address if node is None else node

    def _address(self, left: int, /, v: Any, name: Any, role: Any) -> Address:
        return Address(self.text(v), self.text(name), self.text(role))

    def _ref(self, left: int, /, v: Any) -> Ref:
        return Ref(self.text(v))

    def _message(self, left: int, /, kind: str, v: Any, said: Any = None) -> Any:
        cls: Any = KINDS.get(exactly(str, kind))
        if cls is None:
            raise ValueError(f"no message class of kind {kind!r:.80} is known here")
        own = {*cls.__struct_fields__[COMMON:]}
        common = {name: one for name, one in exactly(dict, v).items() if name not in own}
        if unknown := common.keys() - WORDS:
            raise ValueError(f"{kind} has no fields {sorted(unknown)!r:.200}")
        fields = self._fields(common, left)
        self.tables = [declared(cls), *self.tables]
        fields |= self._fields({name: one for name, one in v.items() if name in own}, left)
        self.tables = self.tables[1:]
        exactly(dict, fields.get("metadata", {}))
        if said is not None:
            said_at, number = (exactly(int, part) for part in exactly(list, said))
            fields |= {"said_at": said_at, "number": number, "ink": DRY}
            if "metadata" in fields:
                fields["metadata"] = MappingProxyType(fields["metadata"])
        return struct(cls, fields)


WORDS = frozenset(Message.__struct_fields__) - {"said_at", "number", "ink"}
"""What is written in a message."""

DRY = Ink(None, None, None, None, 0)
"""The ink of a message that was said before it was stored: all that it filled is written."""


def struct(cls: Any, fields: dict[str, Any]) -> Any:
    """A Struct with these fields, whatever its `__post_init__` makes of them."""
    value = cls(**fields)
    if hasattr(cls, "__post_init__"):
        for name, one in fields.items():
            is_blank = isinstance(getattr(cls, name), property)  # of a message
            force_setattr(value, f"_{name}" if is_blank else name, one)
    return value


def dataclass(cls: Any, fields: dict[str, Any]) -> Any:
    """A dataclass with these fields, without its `__init__`."""
    value = object.__new__(cls)
    for field in dataclasses.fields(cls):
        one = fields.get(field.name, field.default)
        if one is dataclasses.MISSING:
            if field.default_factory is dataclasses.MISSING:
                raise ValueError(f"{cls.__name__} needs {field.name!r}")
            one = field.default_factory()
        object.__setattr__(value, field.name, one)
    return value


def exactly(cls: type[T], value: Any) -> T:
    """The value, if it is of this class."""
    if type(value) is not cls:
        raise ValueError(f"expected a {cls.__name__}, but got {value!r:.80}")  # noqa: TRY004
    return value


def unlike(values: list[Any]) -> list[Any]:
    """The values, if no two are equal."""
    if len({*values}) != len(values):
        raise ValueError("something stands twice where it can stand but once")
    return values


def _by_text(make: Callable[[str], Any]) -> Callable[..., Any]:
    def read(reader: Reader, left: int, /, v: Any) -> Any:
        return make(reader.text(v))

    return read


READERS: dict[str, Callable[..., Any]] = {
    "str": Reader._str,
    "int": Reader._int,
    "float": Reader._float,
    "complex": Reader._complex,
    **{tag: _by_text(make) for tag, _, make in TEXTS.values()},
    "timedelta": Reader._duration,
    "datetime": Reader._datetime,
    "time": Reader._time,
    "tuple": Reader._tuple,
    "set": Reader._set,
    "frozenset": Reader._frozenset,
    "deque": Reader._deque,
    "dict": Reader._pairs,
    "OrderedDict": Reader._ordered,
    "Counter": Reader._counter,
    "defaultdict": Reader._defaultdict,
    "enum": Reader._enum,
    "object": Reader._object,
    "node": Reader._node,
    "address": Reader._address,
    "ref": Reader._ref,
    "message": Reader._message,
}
"""How what was written is read, by its tag."""
