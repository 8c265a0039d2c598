"""`@recorded`: which classes of the program may be written down, and come back by their name."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache, partial
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

from msgspec import Struct
from pydantic import BaseModel

from llambdao.kernel.errors import DuplicateKind, Misused
from llambdao.kernel.message import Address, Message, Ref
from llambdao.kernel.node import Node

__all__ = ["NAMES", "Table", "declared", "find", "names_of", "recorded", "sort_of"]

Table = Mapping[str, Any]
"""Classes by name; None for a name that two classes have."""

RECORDED: WeakValueDictionary[str, type] = WeakValueDictionary()
NAMES: WeakKeyDictionary[type, str] = WeakKeyDictionary()

C = TypeVar("C", bound=type)


@overload
def recorded(cls: C, /) -> C: ...


@overload
def recorded(*, kind: str) -> Callable[[C], C]: ...


def recorded(cls: Any = None, /, *, kind: str | None = None) -> Any:
    """Let values of a class be written down, by its name or as this `kind`, wherever they stand.

    For an Enum, a dataclass, a Struct, a model, a NamedTuple or an error; it stands above
    `@dataclass`. What a field of a node is declared to hold needs no mark. Two classes of one kind
    in different modules raise `DuplicateKind`.

    >>> from llambdao.runtime.codec import Codec
    >>> @recorded(kind="acme.Colour")
    ... class Colour(Enum):
    ...     RED = "r"
    >>> Codec().encode(Colour.RED)
    b'{"$":"enum","of":"acme.Colour","v":"RED"}'
    """
    return partial(_record, kind=kind) if cls is None else _record(cls, kind)


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


def find(name: str, tables: Iterable[Table]) -> Any:
    """The class of this name: one that is recorded, else one that is declared."""
    for table in (RECORDED, *tables):
        if name in table:
            return table[name]
    return None


@lru_cache(1024)
def sort_of(cls: Any) -> str | None:
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
    """The fields of a class that has any."""
    sort = sort_of(cls)
    if sort == "dataclass":
        return tuple(field.name for field in dataclasses.fields(cls))
    if sort == "model":
        return (*cls.model_fields,)
    return (*(cls.__struct_fields__ if sort == "struct" else cls._fields),)


@lru_cache(1024)
def declared(owner: Any) -> dict[str, Any]:
    """The classes that the fields of a class may hold, by name; None where two have the same."""
    found: dict[str, Any] = {}
    seen = {owner}
    todo = _types_of_fields(owner)
    while todo:
        one = todo.pop()
        todo += typing.get_args(one)
        if (origin := typing.get_origin(one)) is not None:
            todo.append(origin)
        elif isinstance(one, Enum):  # in a Literal
            todo.append(type(one))
        elif type(one).__name__ in INDIRECT:
            todo.append(getattr(one, INDIRECT[type(one).__name__]))
        elif isinstance(one, type) and one not in seen:
            seen.add(one)
            if sort_of(one):
                found[one.__name__] = None if one.__name__ in found else one
            if sort_of(one) or issubclass(one, Message):
                todo += _types_of_fields(one)
    return found


INDIRECT = {"TypeVar": "__bound__", "NewType": "__supertype__", "TypeAliasType": "__value__"}
"""What stands for a type, and where that is found."""


def _types_of_fields(cls: Any) -> list[Any]:
    """As far as they are known here."""
    if issubclass(cls, BaseModel):
        return [info.annotation for info in cls.model_fields.values()]
    try:
        return [*typing.get_type_hints(cls).values()]
    except Exception:  # noqa: BLE001  # a name means nothing here: such classes need a mark
        return []
