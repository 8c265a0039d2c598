"""What is written of a message and of an error, in plain words."""

from __future__ import annotations

import builtins
import traceback
from hashlib import blake2b
from typing import Any

import msgspec

from llambdao.journal import errors as ours
from llambdao.journal.addresses import Addresses
from llambdao.journal.errors import PeerError
from llambdao.kernel import errors as kernels
from llambdao.kernel.errors import LlambdaoError
from llambdao.kernel.message import COMMON, NOTHING, Address, Message, plain
from llambdao.runtime.codec import Codec, NotStorable
from llambdao.runtime.recorded import NAMES, find

__all__ = ["entry_of", "error_in", "error_out", "print_of"]


def who(node: Any) -> str:
    """How somebody is called in history who has no address."""
    return node.id if type(node) is Address else str(node)


def entry_of(addresses: Addresses, message: Any) -> dict[str, Any]:
    """A message as a piece of history: plain data, blanks left out.

    Its id is not there if it can be told from the conversation's salt, the time and `n`.
    """
    sender, to, answered = message.sender, message.to, message.reply_to
    entry: dict[str, Any] = {"n": message.number}
    if sender is not None:
        entry["from"] = addresses.of(sender) or who(sender)
    if to is not None:
        entry["to"] = addresses.of(to) or who(to)
    entry["intent"] = message.intent
    if message.content:
        entry["content"] = message.content
    if answered is not None:
        entry["re"] = getattr(answered, "number", 0) or answered.id
    if type(message) is not Message:
        entry["kind"] = message.kind
    if message.metadata is not NOTHING and message.metadata:
        entry["meta"] = {key: _plain(one) for key, one in message.metadata.items()}
    if message._id is not None and (message.ink is None or message._id != _own_id(message)):
        entry["id"] = message._id
    if type(message) is not Message:
        own = message.__struct_fields__[COMMON:]
        if own:
            entry["own"] = {name: _plain(getattr(message, name)) for name in own}
    return entry


def _own_id(message: Any) -> str:
    return f"{message.said_at:016x}{message.ink.salt:08x}{message.number:08x}"


def _plain(value: Any) -> Any:
    try:
        return plain(value)
    except (TypeError, ValueError):
        return str(value)


def print_of(entries: list[dict[str, Any]]) -> str:
    """The fingerprint of what was said in a step."""
    if not entries:
        return ""
    data = msgspec.json.encode(entries, order="sorted")
    return blake2b(data, digest_size=9).hexdigest()


# -- errors --------------------------------------------------------------------------------------


def error_out(codec: Codec, error: BaseException | None) -> dict[str, Any] | None:
    """An error as plain data: its kind, its words, what it was made of, and where it came from."""
    if error is None:
        return None
    cls = type(error)
    data: dict[str, Any] = {"kind": NAMES.get(cls, cls.__name__), "text": str(error)}
    if isinstance(error, PeerError):
        return {**data, "kind": "PeerError"}
    if not _is_known(cls):
        data = {"kind": "PeerError", "text": f"{cls.__module__}.{cls.__qualname__}: {error}"}
    else:
        try:
            data["args"] = msgspec.Raw(codec.encode([*error.args], "an error"))
        except NotStorable:
            data["args"] = [str(error)]
    if error.__traceback__ is not None:
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        data["trace"] = [f"{one.filename}:{one.lineno} {one.name}" for one in frames]
    return data


def error_in(codec: Codec, data: Any) -> BaseException:
    """The error that was written: as itself, if its class is known here."""
    kind = str(data.get("kind"))
    cls = _class_of(kind)
    if cls is None:
        return PeerError(str(data.get("text")))
    try:
        given = data.get("args", [data.get("text", "")])
        args = codec.decode(bytes(given) if isinstance(given, msgspec.Raw) else _encoded(given))
        error = cls(*args)
    except Exception:  # noqa: BLE001  # its class wants other arguments now
        return PeerError(f"{kind}: {data.get('text')}")
    return error  # type: ignore[no-any-return]


def _encoded(given: Any) -> bytes:
    return msgspec.json.encode(given)


def _is_known(cls: type[BaseException]) -> bool:
    return _class_of(NAMES.get(cls, cls.__name__)) is cls


def _class_of(kind: str) -> Any:
    for module in (builtins, kernels, ours):
        found = getattr(module, kind, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    found = find(kind, ())
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    for cls in _subclasses(LlambdaoError):
        if cls.__name__ == kind and cls.__module__.startswith("llambdao."):
            return cls
    return None


def _subclasses(cls: type) -> list[type]:
    found, todo = [], [cls]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += one.__subclasses__()
    return found
