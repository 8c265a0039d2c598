"""The codec: what the fields of nodes hold as readable JSON, and back; data never names code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from llambdao.kernel.errors import LlambdaoError
from llambdao.runtime.reader import Reader
from llambdao.runtime.recorded import Table, declared, recorded
from llambdao.runtime.writer import DEEPEST, Stuck, Writer

__all__ = ["Codec", "Corrupt", "NotStorable", "recorded"]


class NotStorable(LlambdaoError, TypeError):
    """A value that cannot be written down; it names the way to it, and what to do."""


class Corrupt(LlambdaoError, ValueError):
    """What is to be read is not what was written."""


class Codec:
    """Writes values as readable JSON, and reads them again: the same, of the same types.

    It knows plain JSON, tuples, sets, bytes, dates, times and zones, decimals, UUIDs, paths, the
    containers of `collections`, messages, and the Enums, dataclasses, Structs, models and
    NamedTuples that fields of the `owners` are declared to hold, or that are marked `@recorded`.
    A node is written as its address: `nodes` gives the node of an id, or None, and then an
    `Address` comes back (`addresses` gives another name than its id for a node, and None for one
    that must not be written down); what a message answered comes back as a `Ref`. Anything else
    raises `NotStorable`, and so do circles, and values nested more than 100 deep.

    The same value gives the same bytes: sets are sorted, a dict keeps its order, which handlers
    may rely on. An object that stands in a value twice comes back as two, a fixed offset from UTC
    as a `timezone`, and the metadata of a message not yet said as a dict.

    `decode` finds classes by the name they were declared or recorded under, never by an import, and
    runs nothing of them but a Struct's `__post_init__`, and defaults for fields that are new.
    What is not as it was written raises `Corrupt`.

    >>> codec = Codec()
    >>> codec.encode({"seats": (1, 2), "free": {"b", "a"}})
    b'{"seats":{"$":"tuple","v":[1,2]},"free":{"$":"set","v":["a","b"]}}'
    >>> codec.decode(b'{"$":"tuple","v":[1,2]}')
    (1, 2)
    """

    def __init__(
        self,
        nodes: Callable[[str], Any] | None = None,
        *owners: type,
        addresses: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.nodes, self.addresses = nodes, addresses
        self.tables: list[Table] = [declared(owner) for owner in owners]

    def encode(self, value: Any, at: str = "value", met: dict[str, Any] | None = None) -> bytes:
        """The value as JSON.

        `at` is what errors call it; `met` takes every node in it, by id.
        """
        try:
            try:
                return msgspec.json.encode(
                    Writer(self.tables, met, self.addresses).write(value, DEEPEST)
                )
            except UnicodeEncodeError:  # half a surrogate pair somewhere, which no JSON can hold
                writer = Writer(self.tables, met, self.addresses, is_careful=True)
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
        except Exception as error:
            raise Corrupt(f"this is no stored value: {error!s:.300}") from error
