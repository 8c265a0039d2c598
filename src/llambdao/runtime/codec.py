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
from functools import cached_property, lru_cache
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import FunctionType, MappingProxyType, MethodType
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
from llambdao.kernel.message import COMMON, KINDS, NOTHING, Address, Ink, Message, Ref
from llambdao.kernel.node import Node

__all__ = ["SECRETS", "Codec", "Corrupt", "NotStorable", "recorded"]

DEEPEST = 100
"""How many values may be inside one another."""

EXACT = 2**53
"""From here on not every reader of JSON keeps whole numbers whole: those are written as text."""

SECRETS = (SecretStr, SecretBytes, Secret)
"""What is never written down."""

SAID = Ink(None, None, None, None, 0)
"""The ink of a message that was said once and has been read again: all is written in itself."""

HEAP = 1 << 9
"""The flag of a class that was written in Python."""

C = TypeVar("C", bound=type)


class NotStorable(LlambdaoError, TypeError):
    """A value that cannot be written down; it names the path to it, and what to do."""


class Corrupt(LlambdaoError, ValueError):
    """What was read is nothing that was written here, or not as it was written."""


class Codec:
    """Writes values as readable JSON and reads them again: the same, of the same types.

    It knows plain JSON, tuples, sets, bytes, dates, times and zones, decimals, UUIDs, paths, the
    containers of `collections`, messages, and the Enums, dataclasses, Structs, models and
    NamedTuples that the fields of the `owners` are declared to hold or that are marked `@recorded`.
    A node is written by its address: `nodes` gives the node of an id, or None, and then an
    `Address` comes back; what a message answered comes back as a `Ref`. Anything else raises
    `NotStorable`, and so do circles and what is nested deeper than 100 times.

    The same value gives the same bytes: a set is sorted, a dict keeps its order. An object that
    stands in a value twice comes back as two; a fixed time zone, however made, as a `timezone`.

    `decode` finds classes by the name they were declared under, never by an import; what is not as
    it should be raises `Corrupt`. A Struct's `__post_init__` runs, a constructor never.

    >>> codec = Codec()
    >>> codec.encode({"seats": (1, 2), "open": {"b", "a"}})
    b'{"seats":{"$":"tuple","v":[1,2]},"open":{"$":"set","v":["a","b"]}}'
    >>> codec.decode(_) == {"seats": (1, 2), "open": {"b", "a"}}
    True
    """

    def __init__(self, nodes: Callable[[str], Any] | None = None, *owners: type) -> None:
        self.nodes = nodes
        self.tables = [declared(owner) for owner in reversed(owners)]

    def encode(self, value: Any, at: str = "value", met: dict[str, Any] | None = None) -> bytes:
        """The value as JSON.

        `at` is what errors call it; `met` takes every node in it, by id.
        """
        writer = Writer(self.tables, met)
        try:
            try:
                return msgspec.json.encode(writer.write(value, DEEPEST))
            except UnicodeEncodeError:  # half a surrogate pair, which no JSON can hold
                writer.is_careful = True
                return msgspec.json.encode(writer.write(value, DEEPEST))
        except Stuck as stuck:
            raise NotStorable(stuck.text(at)) from stuck.__cause__
        except RecursionError:
            raise NotStorable(f"{at} is nested too deeply for what is left of the stack") from None

    def decode(self, data: bytes) -> Any:
        """The value that `encode` wrote."""
        try:
            tree = msgspec.json.decode(data)
            return Reader(self.tables, self.nodes).read(tree, DEEPEST)
        except RecursionError:
            raise Corrupt("this is nested too deeply to be a stored value") from None
        except Exception as error:
            raise Corrupt(f"this is no stored value: {error}") from error


# -- which classes may come back ---------------------------------------------------------------

RECORDED: WeakValueDictionary[str, type] = WeakValueDictionary()
NAMES: WeakKeyDictionary[type, str] = WeakKeyDictionary()


@overload
def recorded(cls: C, /) -> C: ...


@overload
def recorded(*, kind: str) -> Callable[[C], C]: ...


def recorded(cls: Any = None, /, *, kind: str | None = None) -> Any:
    """Let values of a class be written down by its name, or as this `kind`, wherever they stand.

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
        return lambda cls: recorded(_named(cls, kind))
    if cls not in NAMES:
        _named(cls, None)
    return cls


def _named(cls: Any, kind: str | None) -> Any:
    if not (isinstance(cls, type) and (sort_of(cls) or issubclass(cls, BaseException))):
        raise Misused(
            "@recorded marks an Enum, a dataclass (it stands above @dataclass), a Struct, a model, a"
            f" NamedTuple or an error, but got {cls!r:.80}"
        )
    name = kind or cls.__name__
    known = RECORDED.get(name)
    if known is not None and known.__module__ != cls.__module__:
        raise DuplicateKind(
            f"{cls.__module__}.{cls.__qualname__} and {known.__module__}.{known.__qualname__} both"
            f" are recorded as {name!r}; give one another: @recorded(kind='...')"
        )
    RECORDED[name] = cls
    NAMES[cls] = name
    return cls


def sort_of(cls: type) -> str | None:
    """How values of a class are taken apart; None for what has no fields."""
    if issubclass(cls, Node | Message | Address | Ref | Secret):
        return None
    if issubclass(cls, Enum):
        return "enum"
    if issubclass(cls, Struct):
        return "struct"
    if issubclass(cls, BaseModel):
        return "model"
    if issubclass(cls, tuple):
        return "named" if hasattr(cls, "_fields") else None
    return "dataclass" if dataclasses.is_dataclass(cls) else None


@lru_cache(1024)
def declared(owner: type) -> dict[str, type | None]:
    """The classes that the fields of a class may hold, by name; None where two have the same."""
    found: dict[str, type | None] = {}
    todo: list[Any] = [*_annotations(owner)]
    seen: set[Any] = {owner}
    while todo:
        one = todo.pop()
        todo += typing.get_args(one)
        if isinstance(one, Enum):  # in a Literal
            one = type(one)
        todo += [
            value
            for name in ("__value__", "__supertype__", "__bound__")  # of aliases, of a NewType ...
            if not isinstance(one, type) and (value := getattr(one, name, None)) is not None
        ]
        if isinstance(one, type) and one not in seen:
            seen.add(one)
            if sort_of(one):
                found[one.__name__] = one if one.__name__ not in found else None
            if sort_of(one) or issubclass(one, Message):
                todo += _annotations(one)
    return found


def _annotations(cls: type) -> list[Any]:
    """The types of the fields of a class, as far as they are known."""
    if issubclass(cls, BaseModel):
        return [info.annotation for info in cls.model_fields.values()]
    try:
        return [*typing.get_type_hints(cls).values()]
    except Exception:  # noqa: BLE001  # a name that is not found here: those classes need a mark
        return []


# -- writing -----------------------------------------------------------------------------------


class Stuck(Exception):  # noqa: N818  # never leaves this module
    """Something cannot be written, with the way to it, noted on the way back."""

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
                return f"{start} contains itself, as {start}{circle}; store an id in its place"
        start = at + "".join(step for step, _ in steps[:3])
        return f"{start} goes on more than {DEEPEST} levels deep; store it flat, by id"


class Writer:
    """Makes plain data of a value."""

    def __init__(self, tables: list[Any], met: dict[str, Any] | None) -> None:
        self.tables, self.met = tables, met
        self.is_careful = False  # is every str looked at?

    def write(self, value: Any, left: int) -> Any:
        """A value as plain data; `left` is how deep it may still be nested."""
        cls = type(value)
        if cls is str:
            return value if not self.is_careful or is_text(value) else self._halves(value)
        if left == 0:
            raise Stuck("", is_deep=True)
        write = WRITERS.get(cls) or WRITERS.get(self._base(cls))
        if write is None:
            raise Stuck(why_not(value))
        return write(self, value, left - 1)

    @staticmethod
    def _base(cls: type) -> Any:
        """Under which class or sort a class is written."""
        if issubclass(cls, Message):
            return Message
        return Node if issubclass(cls, Node) else sort_of(cls)

    def itself(self, value: Any, left: int) -> Any:
        """What JSON can say."""
        return value

    def integer(self, value: int, left: int) -> Any:
        if -EXACT < value < EXACT:
            return value
        return {"$": "int", "v": str(value) if value.bit_length() < 2000 else hex(value)}

    def number(self, value: float, left: int) -> Any:
        return value if value - value == 0 else {"$": "float", "v": repr(value)}

    def complex(self, value: complex, left: int) -> Any:
        return {"$": "complex", "v": [self.number(value.real, 0), self.number(value.imag, 0)]}

    def _halves(self, value: str) -> Any:
        return {"$": "str", "v": in_ascii(value.encode("utf-8", "surrogatepass"))}

    def bytes(self, value: bytes, left: int) -> Any:
        return {"$": "bytes", "v": in_ascii(value)}

    def text(self, value: Any, left: int) -> Any:
        """What `str` writes and the class reads."""
        return {"$": type(value).__name__.lower(), "v": str(value)}

    def path(self, value: PurePath, left: int) -> Any:
        return {"$": PATHS[type(value)], "v": self.write(str(value), left)}

    # -- times ---------------------------------------------------------------------------------

    def date(self, value: date, left: int) -> Any:
        return {"$": "date", "v": value.isoformat()}

    def delta(self, value: timedelta, left: int) -> Any:
        return {"$": "timedelta", "v": [value.days, value.seconds, value.microseconds]}

    def moment(self, value: datetime | time, left: int) -> Any:
        """A time of day, with or without its date, with or without its zone."""
        zone, more = value.tzinfo, {}
        if isinstance(zone, ZoneInfo) and zone.key:
            more["zone"] = zone.key
        elif type(zone) is timezone and (name := zone.tzname(None)) != _utc_name(zone):
            more["name"] = self.write(name, left)
        elif zone is not None and type(zone) not in {timezone, TzInfo}:
            raise Stuck(f" has the time zone {zone!r:.80}; use zoneinfo.ZoneInfo")
        if value.fold:
            more["fold"] = 1
        shown = value.replace(tzinfo=None) if "zone" in more else value
        tag = "datetime" if type(value) is datetime else "time"
        return {"$": tag, "v": shown.isoformat(), **more}

    # -- containers ----------------------------------------------------------------------------

    def items(self, value: Any, left: int) -> list[Any]:
        written: list[Any] = []
        try:
            for item in value:
                written.append(self.write(item, left))  # noqa: PERF401  # its length is the place
        except Stuck as stuck:
            stuck.steps.append((f"[{len(written)}]", id(value)))
            raise
        return written

    def tuple(self, value: Any, left: int) -> Any:
        return {"$": "tuple", "v": self.items(value, left)}

    def set(self, value: Any, left: int) -> Any:
        written = [(msgspec.json.encode(one), one) for one in self.items(value, left)]
        return {"$": type(value).__name__, "v": [one for _, one in sorted(written, key=_first)]}

    def deque(self, value: deque[Any], left: int) -> Any:
        more = {} if value.maxlen is None else {"maxlen": value.maxlen}
        return {"$": "deque", "v": self.items(value, left), **more}

    def dict(self, value: Mapping[Any, Any], left: int) -> Any:
        if "$" in value or not all(
            type(key) is str and (not self.is_careful or is_text(key)) for key in value
        ):
            return {"$": "dict", "v": self.pairs(value, left)}
        return self.fields(value, value.items(), left, "[{!r}]")

    def pairs(self, value: Mapping[Any, Any], left: int) -> list[Any]:
        written: list[Any] = []
        for key, item in value.items():
            try:
                written.append([self.write(key, left), self.write(item, left)])
            except Stuck as stuck:
                stuck.steps.append((f"[{key!r:.80}]", id(value)))
                raise
        return written

    def mapping(self, value: Mapping[Any, Any], left: int) -> Any:
        return {"$": type(value).__name__, "v": self.pairs(value, left)}

    def defaults(self, value: defaultdict[Any, Any], left: int) -> Any:
        made = value.default_factory
        of = None if made is None else next((n for n, f in FACTORIES.items() if f is made), "")
        if of == "":
            raise Stuck(
                f" makes its defaults by {made!r:.80}; use {', '.join(FACTORIES)}, or a dict and"
                " its setdefault"
            )
        return {"$": "defaultdict", "v": self.pairs(value, left), "of": of}

    def fields(
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
        except AttributeError as error:
            raise Stuck(f" has no value for one of its fields: {error}") from error
        return written

    # -- classes of the program ----------------------------------------------------------------

    def enum(self, value: Enum, left: int) -> Any:
        of = self._name(type(value))
        if isinstance(value, Flag):
            return {"$": "enum", "of": of, "v": self.write(value.value, left)}
        return {"$": "enum", "of": of, "v": value.name}

    def object(self, value: Any, left: int) -> Any:
        """A dataclass, a Struct, a NamedTuple."""
        names = names_of(type(value))
        found = {"$": "object", "of": self._name(type(value))}
        self._check_undeclared(value, names)
        fields = self.fields(value, ((name, getattr(value, name)) for name in names), left)
        return {**found, "v": fields}

    def model(self, value: BaseModel, left: int) -> Any:
        cls = type(value)
        found = {"$": "object", "of": self._name(cls)}
        for name, info in cls.model_fields.items():
            if info.exclude:
                raise Stuck(
                    f".{name} is excluded, and what is excluded is never written down; keep it in"
                    " an excluded field of the node"
                )
        self._check_undeclared(value, cls.model_fields)
        values, private = vars(value), value.__pydantic_private__ or {}
        written = self.fields(value, [(n, values[n]) for n in cls.model_fields if n in values], left)
        parts: dict[str, Any] = {"v": written}
        if (given := value.model_fields_set) != written.keys():
            parts["set"] = sorted(given)
        if value.__pydantic_extra__:
            parts["extra"] = self.fields(value, value.__pydantic_extra__.items(), left)
        kept = [(name, one) for name, one in private.items() if one is not PydanticUndefined]
        if kept:
            parts["private"] = self.fields(value, kept, left)
        return {**found, **parts}

    def _name(self, cls: type) -> str:
        """The name under which a class is found again."""
        odd = [b for b in cls.__mro__[:-1] if not b.__flags__ & HEAP and b.__module__ != "typing"]
        if odd and sort_of(cls) == "dataclass":
            raise Stuck(f" is also a {odd[0].__name__}, of which a dataclass tells nothing")
        name = NAMES.get(cls, cls.__name__)
        if self._find(name) is cls:
            return name
        text = f" is a {cls.__qualname__}"
        if any(name in table for table in (RECORDED, *self.tables)):
            raise Stuck(
                f"{text}, but another class is called {name!r} here; give it another name:"
                " @recorded(kind='...')"
            )
        raise Stuck(
            f"{text}, which no field is declared to hold; name it in the field's annotation, or"
            " mark it @recorded"
        )

    def _find(self, name: str) -> Any:
        return find(name, self.tables)

    @staticmethod
    def _check_undeclared(value: Any, names: Iterable[str]) -> None:
        for name in getattr(value, "__dict__", {}).keys() - {*names}:
            if not isinstance(getattr(type(value), name, None), cached_property):
                cls = type(value).__qualname__
                raise Stuck(f".{name} is an attribute that {cls} does not declare; declare it")

    # -- who and what was said -------------------------------------------------------------------

    def node(self, value: Node, left: int) -> Any:
        if self.met is not None:
            self.met[value.id] = value
        return self._reference("node", value.id, str(value), value.role)

    def address(self, value: Address, left: int) -> Any:
        return self._reference("address", value.id, value.name, value.role)

    def _reference(self, tag: str, *parts: Any) -> Any:
        number, name, role = (self.write(part, 1) for part in parts)
        return {"$": tag, "v": number, "name": name, "role": role}

    def ref(self, value: Ref, left: int) -> Any:
        return {"$": "ref", "v": self.write(value.id, left)}

    def message(self, value: Message, left: int) -> Any:
        cls = type(value)
        if KINDS.get(cls.kind) is not cls:
            raise Stuck(f" is of a class whose kind, {cls.kind!r}, now is that of another class")
        written = self.fields(value, _words(value), left)
        if value.metadata:
            metadata = {**value.metadata}
            written.update(self.fields(value, [("metadata", metadata)], left))
        names = cls.__struct_fields__[COMMON:]
        if names:
            self.tables = [declared(cls), *self.tables]
            try:
                own = self.fields(value, [(name, getattr(value, name)) for name in names], left)
            finally:
                self.tables = self.tables[1:]
            written.update(own)
        said = {} if value.ink is None else {"said": [value.said_at, value.number]}
        return {"$": "message", "kind": cls.kind, "v": written, **said}


def _words(message: Message) -> Iterable[tuple[str, Any]]:
    """What is written in a message, blanks left out, all else by reference."""
    yield "content", message.content
    for name in ("intent", "sender", "to", "reply_to", "_timestamp", "id", "action"):
        value = getattr(message, name)
        if name == "reply_to" and isinstance(value, Message):
            if value.id is None:
                raise Stuck(
                    ".reply_to is a message that was never said, and so has no id to be found by"
                )
            value = Ref(value.id)
        if value is not None:
            yield name.removeprefix("_"), value


def names_of(cls: Any) -> tuple[str, ...]:
    """The fields of a dataclass, a Struct or a NamedTuple."""
    sort = sort_of(cls)
    if sort == "dataclass":
        return tuple(field.name for field in dataclasses.fields(cls))
    return tuple(cls.__struct_fields__ if sort == "struct" else cls._fields)


def find(name: str, tables: Iterable[Mapping[str, Any]]) -> Any:
    """The class of this name: one that is recorded, else one that is declared."""
    for table in (RECORDED, *tables):
        if (cls := table.get(name)) is not None or name in table:
            return cls
    return None


def why_not(value: Any) -> str:
    """Why a value cannot be written, and what to do."""
    cls = type(value)
    if isinstance(value, SECRETS):
        return " is a secret, and secrets are never written down; use Field(exclude=True)"
    keep = "keep it in a field with exclude=True, and make it anew when the node is made"
    if isinstance(value, FunctionType | MethodType | type) or callable(value):
        return f" is {value!r:.80}, which is code and no data; {keep}"
    for base in (str, int, float, list, dict, set, frozenset, tuple, bytes, datetime, date, Mapping):
        if isinstance(value, base):
            return (
                f" is a {cls.__qualname__}, which is more than a {base.__name__}; make a plain"
                f" {base.__name__} of it, or a dataclass that holds one"
            )
    return f" is a {cls.__module__}.{cls.__qualname__}, which no JSON can stand for; {keep}"


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


def _utc_name(zone: timezone) -> str:
    return timezone(zone.utcoffset(None)).tzname(None)


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


PATHS: dict[type, str] = {
    type(Path()): "path",
    PurePosixPath: "pure_posix_path",
    PureWindowsPath: "pure_windows_path",
}

FACTORIES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (bool, bytes, dict, float, frozenset, int, list, set, str, tuple)
}  # fmt: skip
FACTORIES |= {"Counter": Counter, "OrderedDict": OrderedDict, "deque": deque}

WRITERS: dict[Any, Callable[[Writer, Any, int], Any]] = {
    type(None): Writer.itself,
    bool: Writer.itself,
    int: Writer.integer,
    float: Writer.number,
    complex: Writer.complex,
    bytes: Writer.bytes,
    list: Writer.items,
    tuple: Writer.tuple,
    set: Writer.set,
    frozenset: Writer.set,
    dict: Writer.dict,
    OrderedDict: Writer.mapping,
    Counter: Writer.mapping,
    defaultdict: Writer.defaults,
    deque: Writer.deque,
    date: Writer.date,
    datetime: Writer.moment,
    time: Writer.moment,
    timedelta: Writer.delta,
    Decimal: Writer.text,
    UUID: Writer.text,
    **dict.fromkeys(PATHS, Writer.path),
    Address: Writer.address,
    Ref: Writer.ref,
    Message: Writer.message,
    Node: Writer.node,
    "enum": Writer.enum,
    "dataclass": Writer.object,
    "struct": Writer.object,
    "named": Writer.object,
    "model": Writer.model,
}
"""How a value is written, by its class, or by the sort of its class."""


# -- reading -----------------------------------------------------------------------------------

ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
"""How time zones are called: nothing that leads out of their folder."""


class Reader:
    """Makes values of plain data; any error means that the data is not what was written."""

    def __init__(self, tables: list[Any], nodes: Callable[[str], Any] | None) -> None:
        self.tables, self.nodes = tables, nodes

    def read(self, tree: Any, left: int) -> Any:
        """A value of plain data; `left` is how deep it may still be nested."""
        cls = type(tree)
        if cls is not dict and cls is not list:
            return tree
        if left == 0:
            raise ValueError("it is nested too deeply")
        if cls is list:
            return [self.read(one, left - 1) for one in tree]
        if "$" not in tree:
            return {key: self.read(one, left - 1) for key, one in tree.items()}
        tag = tree.pop("$")
        read = READERS.get(tag) if type(tag) is str else None
        if read is None:
            raise ValueError(f"nothing is written as {tag!r:.80}")
        return read(self, left - 1, **tree)

    def integer(self, left: int, /, v: str) -> int:
        return int(a(str, v), 0)

    def number(self, left: int, /, v: str) -> float:
        return float(a(str, v))

    def complex(self, left: int, /, v: list[Any]) -> complex:
        real, imag = (a(float, self.read(part, left)) for part in a(list, v))
        return complex(real, imag)

    def halves(self, left: int, /, v: str) -> str:
        return self.bytes(left, v).decode("utf-8", "surrogatepass")

    def bytes(self, left: int, /, v: str) -> bytes:
        return b64decode(a(str, v), validate=True)

    def decimal(self, left: int, /, v: str) -> Decimal:
        return Decimal(a(str, v))

    def uuid(self, left: int, /, v: str) -> UUID:
        return UUID(a(str, v))

    def path(self, left: int, /, v: str) -> Path:
        return Path(a(str, self.read(v, left)))

    def pure_posix_path(self, left: int, /, v: str) -> PurePath:
        return PurePosixPath(a(str, self.read(v, left)))

    def pure_windows_path(self, left: int, /, v: str) -> PurePath:
        return PureWindowsPath(a(str, self.read(v, left)))

    # -- times ---------------------------------------------------------------------------------

    def date(self, left: int, /, v: str) -> date:
        return date.fromisoformat(a(str, v))

    def delta(self, left: int, /, v: list[int]) -> timedelta:
        days, seconds, microseconds = (a(int, part) for part in a(list, v))
        return timedelta(days, seconds, microseconds)

    def datetime(self, left: int, /, v: str, **more: Any) -> Any:
        return self._moment(datetime.fromisoformat(a(str, v)), left, **more)

    def time(self, left: int, /, v: str, **more: Any) -> Any:
        return self._moment(time.fromisoformat(a(str, v)), left, **more)

    def _moment(
        self, value: Any, left: int, /, zone: str = "", name: str = "", fold: int = 0
    ) -> Any:
        if zone:
            if value.tzinfo is not None or not ZONE.fullmatch(a(str, zone)):
                raise ValueError(f"{zone!r:.80} is no time zone")
            value = value.replace(tzinfo=ZoneInfo(zone))
        if name:
            named = timezone(value.tzinfo.utcoffset(None), a(str, self.read(name, left)))
            value = value.replace(tzinfo=named)
        return value.replace(fold=a(int, fold))

    # -- containers ----------------------------------------------------------------------------

    def items(self, v: Any, left: int) -> list[Any]:
        return [self.read(one, left) for one in a(list, v)]

    def tuple(self, left: int, /, v: list[Any]) -> Any:
        return tuple(self.items(v, left))

    def set(self, left: int, /, v: list[Any]) -> Any:
        return set(unlike(self.items(v, left)))

    def frozenset(self, left: int, /, v: list[Any]) -> Any:
        return frozenset(unlike(self.items(v, left)))

    def deque(self, left: int, /, v: list[Any], maxlen: int | None = None) -> Any:
        items = self.items(v, left)
        if maxlen is not None and len(items) > a(int, maxlen):
            raise ValueError(f"a deque of {maxlen} does not hold {len(items)}")
        return deque(items, maxlen)

    def dict(self, left: int, /, v: list[Any]) -> Any:
        pairs = [(self.read(key, left), self.read(one, left)) for key, one in a(list, v)]
        unlike([key for key, _ in pairs])
        return dict(pairs)

    def ordered(self, left: int, /, v: list[Any]) -> Any:
        return OrderedDict(self.dict(left, v))

    def counter(self, left: int, /, v: list[Any]) -> Any:
        return Counter(self.dict(left, v))

    def defaults(self, left: int, /, v: list[Any], of: str | None) -> Any:
        return defaultdict(None if of is None else FACTORIES[a(str, of)], self.dict(left, v))

    def fields(self, v: Any, left: int) -> dict[str, Any]:
        return {name: self.read(one, left) for name, one in a(dict, v).items()}

    # -- classes of the program ----------------------------------------------------------------

    def enum(self, left: int, /, of: str, v: Any) -> Any:
        cls = self._find(of, "enum")
        if issubclass(cls, Flag):
            return cls(a(int, self.read(v, left)))
        return cls.__members__[a(str, v)]

    def object(self, left: int, /, of: str, v: dict[str, Any], **more: Any) -> Any:
        cls = self._find(of, "dataclass", "struct", "named", "model")
        sort = sort_of(cls)
        fields = self.fields(v, left)
        if sort == "model":
            return self._model(cls, fields, left, **more)
        if more or not fields.keys() <= {*names_of(cls)}:
            raise ValueError(f"{of} has no fields {[*more, *fields]!r:.200}")
        if sort == "struct":
            return struct(cls, fields)
        return named(cls, fields) if sort == "named" else plain(cls, fields)

    def _model(self, cls: Any, fields: Any, left: int, /, **more: Any) -> Any:
        """A model, without validating it again."""
        given = {*(more.pop("set", None) or fields)}
        extra = self.fields(more.pop("extra", {}), left)
        own: Any = {name: info.get_default() for name, info in cls.__private_attributes__.items()}
        private = self.fields(more.pop("private", {}), left)
        infos = cls.model_fields
        if more or not (fields.keys() | given) - extra.keys() <= infos.keys():
            raise ValueError(f"{cls.__name__} has no {[*more, *fields]!r:.200}")
        if not private.keys() <= own.keys() or (extra and cls.model_config.get("extra") != "allow"):
            raise ValueError(f"{cls.__name__} has no {[*private, *extra]!r:.200}")
        for name, info in infos.items():
            if name not in fields:
                if info.is_required():
                    raise ValueError(f"{cls.__name__} needs {name!r}")
                fields[name] = info.get_default(call_default_factory=True, validated_data=fields)
        model = cls.__new__(cls)
        put = object.__setattr__
        put(model, "__dict__", {name: fields[name] for name in infos})
        put(model, "__pydantic_fields_set__", given)
        put(model, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None)
        put(model, "__pydantic_private__", {**own, **private} if own else None)
        return model

    def _find(self, name: Any, *sorts: str) -> Any:
        cls = find(a(str, name), self.tables)
        if cls is None or sort_of(cls) not in sorts:
            raise ValueError(
                f"no class called {name!r:.80} is declared or recorded here; mark it @recorded"
            )
        return cls

    # -- who and what was said -------------------------------------------------------------------

    def node(self, left: int, /, **parts: Any) -> Any:
        address = self.address(left, **parts)
        node = None if self.nodes is None else self.nodes(address.id)
        return address if node is None else node

    def address(self, left: int, /, v: str, name: str, role: str) -> Address:
        return Address(*(a(str, self.read(part, left)) for part in (v, name, role)))

    def ref(self, left: int, /, v: str) -> Ref:
        return Ref(a(str, self.read(v, left)))

    def message(
        self, left: int, /, kind: str, v: dict[str, Any], said: list[int] | None = None
    ) -> Any:
        cls = KINDS.get(a(str, kind))
        if cls is None:
            raise ValueError(f"no message class of kind {kind!r:.80} is known here")
        own = cls.__struct_fields__[COMMON:]
        fields = self.fields({n: one for n, one in a(dict, v).items() if n not in own}, left)
        if not fields.keys() <= WRITTEN:
            raise ValueError(f"{kind} has no fields {[*fields.keys() - WRITTEN]!r:.200}")
        self.tables = [declared(cls), *self.tables]
        try:
            fields |= self.fields({name: one for name, one in v.items() if name in own}, left)
        finally:
            self.tables = self.tables[1:]
        if said is not None:
            fields["said_at"], fields["number"] = (a(int, part) for part in a(list, said))
            fields["ink"] = SAID
            if "metadata" in fields:
                fields["metadata"] = MappingProxyType(fields["metadata"])
        return struct(cls, fields)


WRITTEN = frozenset(Message.__struct_fields__) - {"said_at", "number", "ink"}


def struct(cls: Any, fields: dict[str, Any]) -> Any:
    """A Struct with these fields, whatever its `__post_init__` makes of them."""
    value = cls(**fields)
    for name, one in fields.items():
        force_setattr(value, f"_{name}" if name in BLANKS and cls.kind else name, one)
    return value


BLANKS: frozenset[str] = frozenset()


def named(cls: Any, fields: dict[str, Any]) -> Any:
    """A NamedTuple with these fields."""
    fields = {**cls._field_defaults, **fields}
    return tuple.__new__(cls, [fields[name] for name in cls._fields])


def plain(cls: Any, fields: dict[str, Any]) -> Any:
    """A dataclass with these fields, the others as they are by default; nothing of it is run."""
    value = object.__new__(cls)
    for field in dataclasses.fields(cls):
        if field.name in fields:
            one = fields[field.name]
        elif field.default is not dataclasses.MISSING:
            one = field.default
        elif field.default_factory is not dataclasses.MISSING:
            one = field.default_factory()
        else:
            raise ValueError(f"{cls.__name__} needs {field.name!r}")
        object.__setattr__(value, field.name, one)
    return value


T = TypeVar("T")


def a(cls: type[T], value: Any) -> T:
    """The value, if it is of this class."""
    if type(value) is not cls:
        raise ValueError(f"expected {cls.__name__}, but got {value!r:.80}")
    return value


def unlike(values: list[Any]) -> list[Any]:
    """The values, if no two are equal."""
    if len({*values}) != len(values):
        raise ValueError("something stands twice where it can stand only once")
    return values


READERS: dict[str, Callable[..., Any]] = {
    "int": Reader.integer,
    "float": Reader.number,
    "complex": Reader.complex,
    "str": Reader.halves,
    "bytes": Reader.bytes,
    "decimal": Reader.decimal,
    "uuid": Reader.uuid,
    "path": Reader.path,
    "pure_posix_path": Reader.pure_posix_path,
    "pure_windows_path": Reader.pure_windows_path,
    "date": Reader.date,
    "timedelta": Reader.delta,
    "datetime": Reader.datetime,
    "time": Reader.time,
    "tuple": Reader.tuple,
    "set": Reader.set,
    "frozenset": Reader.frozenset,
    "deque": Reader.deque,
    "dict": Reader.dict,
    "OrderedDict": Reader.ordered,
    "Counter": Reader.counter,
    "defaultdict": Reader.defaults,
    "enum": Reader.enum,
    "object": Reader.object,
    "node": Reader.node,
    "address": Reader.address,
    "ref": Reader.ref,
    "message": Reader.message,
}
"""How what was written is read, by its tag."""
