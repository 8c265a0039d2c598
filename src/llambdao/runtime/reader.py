"""How plain data becomes the value that was written; what is not as it was written is an error."""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, time, timedelta, timezone
from enum import Flag
from types import MappingProxyType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from msgspec.structs import force_setattr
from pydantic_core import PydanticUndefined

from llambdao.kernel.message import COMMON, KINDS, Address, Ink, Message, Ref
from llambdao.runtime.recorded import Table, declared, find, names_of, sort_of
from llambdao.runtime.writer import MAKERS, TEXTS, is_zone

__all__ = ["Reader"]

WORDS = frozenset(Message.__struct_fields__) - {"said_at", "number", "ink"}
"""What is written in a message."""

DRY = Ink(None, None, None, None, 0)
"""The ink of a message that was said before it was stored: all that it filled is written."""

T = TypeVar("T")


class Reader:
    """Makes values of plain data; whatever error that raises, the data is not what was written."""

    def __init__(self, tables: list[Table], nodes: Callable[[str], Any] | None) -> None:
        self.tables, self.nodes = tables, nodes

    def read(self, tree: Any, left: int) -> Any:
        """A value of plain data, which is used up; `left` is how deep it may go on."""
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

    def _moment(
        self, value: Any, /, zone: str = "", offset: Any = None, name: Any = "", fold: int = 0
    ) -> Any:
        if (zone or offset) and value.tzinfo is not None:
            raise ValueError("one time has one zone")
        if zone:
            if not is_zone(exactly(str, zone)):
                raise ValueError(f"{zone!r:.80} is no time zone")
            value = value.replace(tzinfo=ZoneInfo(zone))
        if offset:
            value = value.replace(tzinfo=timezone(self._duration(0, offset)))
        if name:
            zoned: Any = value.tzinfo
            value = value.replace(tzinfo=timezone(zoned.utcoffset(None), self.text(name)))
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

    def _dict(self, left: int, /, v: list[Any]) -> dict[Any, Any]:
        pairs = [(self.read(key, left), self.read(one, left)) for key, one in exactly(list, v)]
        unlike([key for key, _ in pairs])
        return dict(pairs)

    def _ordered(self, left: int, /, v: list[Any]) -> Any:
        return OrderedDict(self._dict(left, v))

    def _counter(self, left: int, /, v: list[Any]) -> Any:
        return Counter(self._dict(left, v))

    def _defaultdict(self, left: int, /, v: list[Any], of: str | None) -> Any:
        return defaultdict(None if of is None else MAKERS[of], self._dict(left, v))

    def _fields(self, v: Any, left: int) -> dict[str, Any]:
        return {
            name: one if type(one) is str else self.read(one, left)
            for name, one in exactly(dict, v).items()
        }

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
        if more:
            raise ValueError(f"{of} has no {[*more]!r:.200}")
        if sort == "struct":
            return struct(cls, fields)
        if sort == "named":
            fields = {**cls._field_defaults, **fields}
            return tuple.__new__(cls, [fields[name] for name in names])
        return dataclass(cls, fields)

    def _model(self, cls: Any, fields: Any, left: int, /, **more: Any) -> Any:
        """A model as it was, without a second validation."""
        given = exactly(list, more.pop("set", [*fields]))
        extra = self._fields(more.pop("extra", {}), left)
        private = self._fields(more.pop("private", {}), left)
        has_extra = cls.model_config.get("extra") == "allow"
        own: dict[str, Any] = cls.__private_attributes__
        if more or (extra and not has_extra) or private.keys() - own.keys():
            raise ValueError(f"{cls.__name__} has no {[*more, *extra, *private]!r:.200}")
        for name in own.keys() - private.keys():
            make = own[name].default_factory
            default = deepcopy(own[name].default) if make is None else make()
            if default is not PydanticUndefined:
                private[name] = default
        for name, info in cls.model_fields.items():
            if name not in fields:
                if info.is_required():
                    raise ValueError(f"{cls.__name__} needs {name!r}")
                fields[name] = info.get_default(call_default_factory=True, validated_data=fields)
        model = cls.__new__(cls)
        for slot, value in (
            ("__dict__", {name: fields[name] for name in cls.model_fields}),
            ("__pydantic_fields_set__", {exactly(str, name) for name in given}),
            ("__pydantic_extra__", extra if has_extra else None),
            ("__pydantic_private__", private if own else None),
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
        if own:
            self.tables = [declared(cls), *self.tables]
            fields |= self._fields({name: one for name, one in v.items() if name in own}, left)
            self.tables = self.tables[1:]
        metadata = exactly(dict, fields.pop("metadata", {}))
        if metadata:
            fields["metadata"] = metadata if said is None else MappingProxyType(metadata)
        if said is not None:
            said_at, number = (exactly(int, part) for part in exactly(list, said))
            fields |= {"said_at": said_at, "number": number, "ink": DRY}
        return struct(cls, fields)


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
            make: Any = field.default_factory
            if make is dataclasses.MISSING:
                raise ValueError(f"{cls.__name__} needs {field.name!r}")
            one = make()
        object.__setattr__(value, field.name, one)
    return value


def exactly(cls: type[T], value: Any) -> T:
    """The value, if it is of this class."""
    if type(value) is not cls:
        raise ValueError(f"expected a {cls.__name__}, but got {value!r:.80}")
    return value


def unlike(values: list[Any]) -> list[Any]:
    """The values, if no two are equal."""
    if len({*values}) != len(values):
        raise ValueError("something stands twice where it can stand but once")
    return values


def _by_text(make: Callable[[str], Any]) -> Callable[..., Any]:
    return lambda reader, _, /, v: make(reader.text(v))


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
    "dict": Reader._dict,
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
