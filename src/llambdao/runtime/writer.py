"""How a value becomes plain data, with tags for all that JSON has no word for."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Generic
from uuid import UUID
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import msgspec
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import PydanticUndefined, TzInfo

from llambdao.kernel.message import COMMON, KINDS, Address, Message, Ref
from llambdao.kernel.node import Node
from llambdao.runtime.recorded import NAMES, Table, declared, find, names_of, sort_of

__all__ = ["DEEPEST", "MAKERS", "SECRETS", "TEXTS", "Stuck", "Writer", "is_zone"]

DEEPEST = 100
"""How many values may be inside one another."""

EXACT = 2**53
"""From here on not every reader of JSON keeps whole numbers whole: those are written as text."""

SECRETS: Any = (SecretStr, SecretBytes, Secret)
"""What is never written down."""

HEAP = 1 << 9
"""The flag of a class that is made as the program runs, not built in."""

ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
"""How time zones are called: nothing that leads out of their folders."""


class Stuck(Exception):
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

    def __init__(
        self,
        tables: list[Table],
        met: dict[str, Any] | None,
        addresses: Callable[[Any], str | None] | None = None,
        *,
        is_careful: bool = False,
    ) -> None:
        self.tables, self.met, self.addresses = tables, met, addresses
        self.is_careful = is_careful  # is every str looked at?
        self.nodes: dict[int, Any] = {}  # those written already, by id()

    def write(self, value: Any, left: int) -> Any:
        """A value as plain data; `left` is how deep it may go on."""
        cls: Any = type(value)
        if left == 0:
            raise Stuck("", is_deep=True)
        if cls is str:
            return self.text(value)
        write = writer_of(cls)
        if write is None:
            raise Stuck(why_not(value))
        return write(self, value, left - 1)

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
        zone: Any = value.tzinfo
        more: dict[str, Any] = {}
        if type(zone) is ZoneInfo and zone.key and is_zone(zone.key):
            more["zone"] = zone.key
        elif type(zone) is timezone or type(zone) is TzInfo:
            offset: Any = zone.utcoffset(None)
            if offset.microseconds:  # which not every Python reads again
                more["offset"] = [offset.days, offset.seconds, offset.microseconds]
            if type(zone) is timezone and (name := str(zone)) != str(timezone(offset)):
                more["name"] = self.text(name)
        elif zone is not None:
            raise Stuck(f" has the time zone {zone!r:.80}; use zoneinfo.ZoneInfo(name)")
        if value.fold:
            more["fold"] = 1
        shown = value.replace(tzinfo=None) if {"zone", "offset"} & more.keys() else value
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
                f" makes its defaults by {makes!r:.80}; let it be one of {', '.join(MAKERS)}, or a"
                " dict, and use its setdefault"
            )
        return {**self._mapping(value, left), "of": of}

    def _fields(
        self, owner: Any, fields: Iterable[tuple[str, Any]], left: int, step: str = ".{}"
    ) -> dict[str, Any]:
        """Values by name."""
        written: dict[str, Any] = {}
        name = ""
        is_plain = not self.is_careful and left > 0
        try:
            for name, item in fields:
                if type(item) is str and is_plain:  # as most are
                    written[name] = item
                else:
                    written[name] = self.write(item, left)
        except Stuck as stuck:
            stuck.steps.append((step.format(name), id(owner)))
            raise
        return written

    # -- classes of the program ----------------------------------------------------------------

    def _enum(self, value: Enum, left: int) -> Any:
        written = self._int(value.value, 0) if isinstance(value, Flag) else value.name
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
        built_in = [base for base in cls.__mro__[:-1] if not (base.__flags__ & HEAP)]
        if sort_of(cls) == "dataclass" and built_in not in ([], [Generic]):
            raise Stuck(f" is a {built_in[0].__name__} too, which its fields do not tell")
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
        if (written := self.nodes.get(id(value))) is None:
            if self.met is not None:
                self.met[value.id] = value
            name = dict.get(vars(value), "name") or type(value).__name__  # none of its code is run
            number = value.id if self.addresses is None else self.addresses(value)
            if number is None:
                raise Stuck(
                    f" is the node {name!r}, which nobody would find again after a restart; put it"
                    " into a declared field of a node that the runtime is given"
                )
            written = self.nodes[id(value)] = self._reference("node", number, name, value.role)
        return written

    def _address(self, value: Address, left: int) -> Any:
        return self._reference("address", value.id, value.name, value.role)

    def _reference(self, tag: str, *parts: Any) -> Any:
        if not all(type(part) is str for part in parts):
            raise Stuck(f" is known by {parts!r:.80}; id, name and role are each a str")
        number, name, role = map(self.text, parts)
        return {"$": tag, "v": number, "name": name, "role": role}

    def _ref(self, value: Ref, left: int) -> Any:
        return {"$": "ref", "v": self.text(value.id)}

    def _message(self, value: Any, left: int) -> Any:
        """All that a message says of itself, blanks left out; what it answers by reference."""
        cls, answered = type(value), value.reply_to
        if KINDS.get(cls.kind) is not cls:
            raise Stuck(f" is of a class whose kind, {cls.kind!r}, is now that of another")
        if isinstance(answered, Message):
            if answered.id is None:
                raise Stuck(".reply_to was never said, and so has no id to be found by")
            answered = Ref(answered.id)
        given = {
            "content": value.content, "intent": value.intent, "sender": value.sender,
            "to": value.to, "reply_to": answered, "timestamp": value._timestamp, "id": value.id,
            "action": value.action, "metadata": {**value.metadata} or None,
        }  # fmt: skip
        fields = [(name, one) for name, one in given.items() if one is not None]
        written = self._fields(value, fields, left)
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


@lru_cache(1024)
def is_zone(key: str) -> bool:
    """Is a time zone called so? `ZoneInfo` would import what it finds no file for."""
    if not ZONE.fullmatch(key):
        return False
    return any((Path(root) / key).is_file() for root in TZPATH) or key in available_timezones()


def in_ascii(value: bytes) -> str:
    """Bytes as text."""
    return b64encode(value).decode()


@lru_cache(1024)
def writer_of(cls: Any) -> Callable[[Writer, Any, int], Any] | None:
    """How the values of a class are written."""
    if cls in WRITERS:
        return WRITERS[cls]
    for base in (Message, Node):
        if issubclass(cls, base):
            return WRITERS[base]
    return WRITERS.get(sort_of(cls))


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

MAKERS: dict[str, Any] = {
    "Counter": Counter, "OrderedDict": OrderedDict, "bool": bool, "bytes": bytes, "deque": deque,
    "dict": dict, "float": float, "frozenset": frozenset, "int": int, "list": list, "set": set,
    "str": str, "tuple": tuple,
}  # fmt: skip
"""What may make the defaults of a defaultdict."""

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
