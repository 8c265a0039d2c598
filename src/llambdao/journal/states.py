"""`States`: what nodes know, as snapshots by hash, relative to what the program constructed."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import msgspec
from pydantic import Secret, SecretBytes, SecretStr

from llambdao.journal.addresses import Addresses
from llambdao.journal.errors import CorruptRow, MissingNode
from llambdao.kernel.message import Address, Message, Ref
from llambdao.kernel.node import Edge, Node
from llambdao.runtime.codec import Codec, Corrupt, NotStorable

__all__ = ["States", "hash_of"]

SMALL = 256
"""From so many bytes on a value is stored by itself, once, under its hash."""

UNCHANGING: Any = (
    str, int, float, complex, bool, bytes, type(None), date, time, timedelta, Decimal, UUID,
    PurePath, Enum, Message, Node, Address, Ref,
)  # fmt: skip
"""What is the same as long as it is the same object."""

SECRETS: Any = (SecretStr, SecretBytes, Secret)

EDGES = "->"
"""The edges of a node, beside its fields."""

Put = Callable[[str, bytes], None]

Slot = dict[str, Any]
"""A stored value: `{"v": plain}`, `{"#": hash}`, or `{"[": [slots]}`."""


def hash_of(data: bytes) -> str:
    """The name of some data: 16 characters."""
    return urlsafe_b64encode(blake2b(data, digest_size=12).digest()).decode()


@lru_cache(1024)
def fields_of(cls: Any) -> tuple[str, ...]:
    """The fields of a class that are stored: not those that are excluded."""
    return tuple(name for name, info in cls.model_fields.items() if not info.exclude)


class Known:
    """What is known of one node: what the program made of it, and what was written of it last."""

    __slots__ = ("codec", "first", "hash", "last", "node", "parts", "slots")

    def __init__(self, node: Any, codec: Codec) -> None:
        self.node, self.codec = node, codec
        self.first: dict[str, Any] = {}  # field -> (its value, its slot as JSON or None)
        self.last: dict[str, Any] = {}  # the same, now
        self.parts: dict[int, Any] = {}  # parts of lists: id -> (part, slot)
        self.slots: dict[str, Slot] = {}  # of the fields that differ from the first
        self.hash = ""


class States:
    """The fields of nodes, written down as they change, and put back as they were.

    Only what differs from what the program constructed is written. `read` gives what is stored
    under a hash; `put` takes what is to be.
    """

    def __init__(
        self,
        addresses: Addresses,
        read: Callable[[Iterable[str]], dict[str, bytes]],
        put: Callable[[str, bytes], None],
    ) -> None:
        self.addresses, self.read, self.put = addresses, read, put
        self._known: dict[int, Known] = {}
        self._decoded: dict[str, bytes] = {}  # what was read lately
        self._own: dict[str, bytes] = {}  # what the program constructed, where that is long

    def known(self, node: Any) -> Known:
        """What is known of a node; from now on its first fields are."""
        known = self._known.get(id(node))
        if known is None:
            codec = Codec(self.addresses.node, type(node), addresses=self.addresses.of)
            known = self._known[id(node)] = Known(node, codec)
            for name, value in self._values(known):
                known.first[name] = known.last[name] = (value, self._first(known, name, value))
        return known

    def hash(self, node: Any) -> str:
        """The hash of its state as it was written last; empty for what the program constructed."""
        return self.known(node).hash

    def take(self, node: Any) -> str:
        """Write down what has changed in a node since the last time: the hash of its state."""
        known = self.known(node)
        parts: dict[int, Any] = {}
        has_changed = False
        for name, value in self._values(known):
            last = known.last.get(name)
            if last is not None and last[0] is value and isinstance(value, UNCHANGING):
                continue
            slot: Any = self._slot(known, name, value, parts, last, self.put)
            if last is not None and slot == last[1]:
                known.last[name] = (value, slot)
                continue
            has_changed = True
            known.last[name] = (value, slot)
            first = known.first.get(name)
            if first is not None and first[1] == slot and slot is not None:
                known.slots.pop(name, None)
            else:
                known.slots[name] = cast("Slot", slot)
        known.parts = parts
        if has_changed:
            known.hash = self._write(known.slots)
        return known.hash

    def look(self, node: Any) -> str:
        """The hash of the state it is in, as `take` would give it; nothing is written."""
        known = self.known(node)
        slots = {}
        for name, value in self._values(known):
            first = known.first.get(name)
            slot = self._slot(known, name, value, {}, first, _forget)
            if slot is not None and (first is None or slot != first[1]):
                slots[name] = slot
        return hash_of(encoded(slots)) if slots else ""

    def shown(self, node: Any, key: str | None = None) -> dict[str, str]:
        """What differs in a node from what the program constructed: now, or in a state."""
        known = self.known(node)
        kept: dict[str, bytes] = {}
        if key is None:
            slots = {}
            for name, value in self._values(known):
                first = known.first.get(name)
                slot = self._slot(known, name, value, {}, first, kept.__setitem__)
                if slot is not None and (first is None or slot != first[1]):
                    slots[name] = slot
        else:
            slots = self._slots(key) if key else {}

        def plain(slot: Slot) -> Any:
            if "[" in slot:
                return [plain(one) for one in slot["["]]
            if "#" in slot:
                return msgspec.json.decode(kept.get(slot["#"]) or self._data(slot["#"]))
            return slot["v"]

        return {name: msgspec.json.encode(plain(slot)).decode() for name, slot in slots.items()}

    def _write(self, slots: dict[str, Slot]) -> str:
        if not slots:
            return ""
        return self._put(encoded(slots))

    def _put(self, data: bytes) -> str:
        key = hash_of(data)
        self.put(key, data)
        return key

    @staticmethod
    def _values(known: Known) -> list[tuple[str, Any]]:
        node = known.node
        values = vars(node)
        found = [(name, values[name]) for name in fields_of(node.__class__) if name in values]
        if node._edges or EDGES in known.last:
            edges = [[edge.node, {**edge.metadata}] for edge in (node._edges or {}).values()]
            found.append((EDGES, edges))
        return found

    def _first(self, known: Known, name: str, value: Any) -> Any:
        try:
            return self._slot(known, name, value, {}, None, self._keep_first)
        except NotStorable:
            return None  # it follows the code, as long as it stays the same

    def _keep_first(self, key: str, data: bytes) -> None:
        self._own[key] = data

    def _slot(  # noqa: PLR0917  # called here alone, often
        self, known: Known, name: str, value: Any, parts: Any, last: Any, put: Put
    ) -> Any:
        at = f"{known.node}.{name}"
        if isinstance(value, SECRETS):
            if last is None or last[0] is value:
                return None
            raise NotStorable(f"{at} is a secret and was changed; what is secret is never stored")
        if type(value) is list and value and name != EDGES:
            slots = []
            for place, part in enumerate(value):
                slot = known.parts.get(id(part)) if isinstance(part, UNCHANGING) else None
                if slot is None or slot[0] is not part:
                    slot = (part, self._one(known, part, f"{at}[{place}]", put))
                if isinstance(part, UNCHANGING):
                    parts[id(part)] = slot
                slots.append(slot[1])
            return {"[": slots}
        try:
            return self._one(known, value, at, put)
        except NotStorable:
            if last is not None and last[0] is value and last[1] is None:
                return None
            raise

    @staticmethod
    def _one(known: Known, value: Any, at: str, put: Put) -> Slot:
        data = known.codec.encode(value, at)
        if len(data) >= SMALL:
            key = hash_of(data)
            put(key, data)
            return {"#": key}
        return {"v": msgspec.json.decode(data)}

    # -- back ----------------------------------------------------------------------------------

    def begin(self, states: dict[str, str]) -> None:
        """Put all nodes into the states of the journal, as it begins."""
        for _, node in self.addresses:
            self.known(node)  # what the program made of it, before anybody changes that
        needed = {key for key in states.values() if key}
        self._fetch(needed)
        for address, key in states.items():
            node = self.addresses.node(address)
            if node is None:
                if key:
                    raise MissingNode(
                        f"the journal knows a node {address!r}, which is gone from the program; if"
                        f' it has another name now: renamed={{"{address}": "new name"}}'
                    )
            elif key:
                self.restore(node, key)
                self.reset(node, key)

    def again(self, states: dict[str, str]) -> None:
        """Put every node back into the state of the journal, whatever it has done since."""
        for known in [*self._known.values()]:
            key = states.get(str(self.addresses.of(known.node)), "")
            self.restore(known.node, key)
            self.reset(known.node, key)

    def reset(self, node: Any, key: str) -> None:
        """Take for granted that a node is in the state of this hash."""
        known = self.known(node)
        known.hash, known.slots, known.parts = key, self._slots(key) if key else {}, {}
        for name, value in self._values(known):
            slot = known.slots.get(name)
            first = known.first.get(name)
            known.last[name] = (value, first[1] if slot is None and first else slot)

    def restore(self, node: Any, key: str) -> None:
        """Put a node into the state of this hash, with objects nobody else holds."""
        known = self.known(node)
        slots = self._slots(key) if key else {}
        if EDGES not in known.first and EDGES not in slots:
            object.__setattr__(node, "_edges", None)
        for name in known.first.keys() | slots.keys():
            if name in slots:
                self._assign(node, name, self._read(known, slots[name]))
                continue
            value, slot = known.first[name]
            if slot is not None and not isinstance(value, UNCHANGING):
                value = self._read(known, slot)
            self._assign(node, name, value)

    @staticmethod
    def _assign(node: Any, name: str, value: Any) -> None:
        if name == EDGES:
            edges = {other.id: Edge(other, MappingProxyType(data)) for other, data in value}
            object.__setattr__(node, "_edges", edges)
        elif name in type(node).__pydantic_fields__:
            vars(node)[name] = value

    def _slots(self, key: str) -> dict[str, Slot]:
        return msgspec.json.decode(self._data(key), type=dict[str, Slot])

    def _read(self, known: Known, slot: Slot) -> Any:
        if "[" in slot:
            return [self._read(known, part) for part in slot["["]]
        data = self._data(slot["#"]) if "#" in slot else msgspec.json.encode(slot["v"])
        try:
            return known.codec.decode(data)
        except Corrupt as error:
            raise CorruptRow(f"a stored value of {known.node} cannot be read: {error}") from error

    def _data(self, key: str) -> bytes:
        data = self._decoded.get(key) or self._own.get(key)
        if data is None:
            self._fetch([key])
            data = self._decoded[key]
        return data

    def fetch(self, keys: Iterable[str]) -> None:
        """Read these states, which will be needed, in one go."""
        self._fetch({key for key in keys if key and key not in self._own})

    def _fetch(self, keys: Iterable[str]) -> None:
        wanted = [key for key in keys if key not in self._decoded]
        if len(self._decoded) > 10_000:
            self._decoded.clear()
        if wanted:
            self._decoded.update(self.read(wanted))

    def swap(self, nodes: Iterable[Any]) -> Callable[[], None]:
        """Remember the very objects that nodes hold now: what it gives back puts them back."""
        kept = [(node, dict(vars(node)), node._edges, node._undo) for node in nodes]

        def back() -> None:
            for node, values, edges, undo in kept:
                vars(node).clear()
                vars(node).update(values)
                object.__setattr__(node, "_edges", edges)
                object.__setattr__(node, "_undo", undo)

        return back

    def changed_outside(self, node: Any) -> str | None:
        """The field of a node that was changed since it was written last, if there is one."""
        known = self._known.get(id(node)) or self.known(node)
        last = known.last
        for name, value in self._values(known):
            was = last.get(name)
            if was is not None and was[0] is value and isinstance(value, UNCHANGING):
                continue
            try:
                slot = self._slot(known, name, value, {}, was, _forget)
            except NotStorable:
                return name
            if was is None or slot != was[1]:
                return name
        return None


def encoded(slots: dict[str, Slot]) -> bytes:
    """A state as JSON."""
    return msgspec.json.encode({name: slots[name] for name in sorted(slots)})


def _forget(key: str, data: bytes) -> None:
    """It is only compared."""
