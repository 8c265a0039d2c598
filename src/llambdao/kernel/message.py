"""`Message`: who said what to whom, with which intent, in answer to what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, dataclass_transform
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec
from msgspec import Struct, field
from msgspec.structs import force_setattr

from llambdao.kernel.errors import BadMessage, DuplicateKind, Said, UnknownKind
from llambdao.kernel.turn import current

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["Address", "Delta", "Message", "Ref"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The metadata of a message that has none; shared, read-only, and seen by the garbage collector."""


Data = dict[str, Any]
"""Plain data, under a name that a method called `dict` does not hide."""

# To type checkers a message is no Struct (see `Frozen`), which is all they would let these take.
fields_of: Callable[[Any], tuple[msgspec.structs.FieldInfo, ...]] = msgspec.structs.fields
replace: Callable[..., Any] = msgspec.structs.replace


class Address(Struct, frozen=True, eq=False):
    """Where a node that lives elsewhere can be reached: its id, name and role, none of its fields.

    It is equal to, and hashed like, the node it stands for.
    An address that came over a wire is a *claim* until an adapter has checked it.

    >>> Address("n1", "Rumi") == Address("n1")
    True
    """

    id: str
    name: str = ""
    role: str = ""

    def __eq__(self, other: object) -> bool:
        return self.id == getattr(other, "id", None) and not isinstance(other, Message)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.name or self.id

    def dict(self) -> dict[str, str]:
        """The address as plain data."""
        return {"id": self.id, "name": self.name, "role": self.role}


class Ref(Struct, frozen=True, eq=False):
    """What is left of a `reply_to` once that message has left the window: its id.

    It is equal to, and hashed like, the message it stands for.
    """

    id: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message | Ref) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Ink(Struct, eq=False):
    """What all that one activation says has in common, written down once for all of it."""

    sender: Any
    to: Any
    reply_to: Any
    intent: str | None
    salt: int


KINDS: WeakValueDictionary[str, type[Message]] = WeakValueDictionary()
"""Every class of message by its kind: how one that comes over a wire finds its class again."""


if TYPE_CHECKING:
    # What type checkers see: its own fields by position, those of a subclass by keyword. A Struct
    # is to them a transform of its own, which would say otherwise.
    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
    class MessageMeta(type):
        """Makes a message class's own fields keyword-only, and the class known by its kind."""

    class Frozen:
        """A Struct, and what is written in a message: `_name` for each `name` that ink fills."""

        __struct_fields__: ClassVar[tuple[str, ...]]
        _intent: str | None
        _action: str | None
        _sender: Any
        _to: Any
        _reply_to: Any
        _id: Any

        def __init_subclass__(cls, *, kind: str | None = None, **config: Any) -> None: ...

else:
    Frozen = Struct

    class MessageMeta(type(Struct)):
        """Makes a message class's own fields keyword-only, and the class known by its kind."""

        def __new__(
            mcs,
            name: str,
            bases: tuple[type, ...],
            namespace: dict[str, Any],
            *,
            kind: str | None = None,
            **config: Any,
        ) -> Any:
            if any(isinstance(base, MessageMeta) for base in bases):
                config.setdefault("kw_only", True)
            cls = super().__new__(mcs, name, bases, namespace, eq=False, **config)
            cls.kind = kind = kind or name
            known = KINDS.get(kind)
            if known is not None and known.__module__ != cls.__module__:
                raise DuplicateKind(
                    f"{cls.__module__}.{name} and {known.__module__}.{known.__qualname__} both are"
                    f" messages of kind {kind!r}; give one another:"
                    f" class {name}(Message, kind='...')"
                )
            KINDS[kind] = cls
            return cls


class Message(Frozen, metaclass=MessageMeta, kw_only=False):
    """One thing said: `content`, with an `intent` that names the handler it is for.

    Blanks are filled when it is said: `sender`, `to`, `reply_to`, `intent`, `timestamp`, `id`.
    Once said it never changes; `but` makes another. Two messages are equal when their ids are.
    `action=` is the founding document's other spelling of `intent=`; any other keyword is an error.

    >>> Message("Who are you?", intent="chat").intent
    'chat'

    Subclass it to say more; fields of one's own are given by keyword:

    >>> class Ballot(Message):
    ...     aye: bool
    >>> Ballot(aye=True).aye
    True
    """

    kind: ClassVar[str]
    """The name of its class on the wire."""

    content: str = ""
    intent: str | None = None
    sender: Any = None
    to: Any = None
    reply_to: Any = None
    timestamp: Any = None
    metadata: Mapping[str, Any] = NOTHING
    id: Any = None
    action: str | None = field(default=None, name="action")
    said_at: int = 0  # in ns since 1970
    number: int = 0  # in its conversation
    ink: Any = None  # None until it is said

    def reply(self, content: str = "", /, **fields: Any) -> Message:
        """A message in answer to this one, `sender` and `to` filled in at once.

        The sender is the node whose handler is running, else the one this message was for.

        >>> Message("Ping?").reply("Pong!").content
        'Pong!'
        """
        turn = current()
        fields.setdefault("sender", self.to if turn is None else turn[0].node)
        return Message(content, to=self.sender, reply_to=self, **fields)

    def but(self, **changes: Any) -> Self:
        """Another message, like this one but for what is named; it gets an id and a time anew.

        >>> Message("yes", intent="inform").but(content="no").content
        'no'
        """
        if "action" in changes:
            changes["intent"] = changes.pop("action")
        kept = {name: getattr(self, name) for name in ("intent", "sender", "to", "reply_to")}
        other: Self = replace(self, **{**kept, **UNSAID, **changes})
        return other

    def thread(self, most: int = 24) -> list[Message]:
        """This message and what it answers, up to `most` of them, oldest first.

        It ends where a message has left the window (see `Ref`).

        >>> question = Message("Why?")
        >>> [m.content for m in question.reply("Because.").thread(2)]
        ['Why?', 'Because.']
        """
        thread: list[Message] = []
        said: Any = self
        while isinstance(said, Message) and len(thread) < most:
            thread.append(said)
            said = said.reply_to
        return thread[::-1]

    def dict(self) -> dict[str, Any]:
        """The message as plain data, with references only: no node's fields, no ancestry.

        >>> Message("Hello", id="m1", intent="chat").dict()["content"]
        'Hello'
        """
        stamp = self.timestamp
        data: dict[str, Any] = {
            "kind": self.kind,
            "id": self.id,
            "content": self.content,
            "intent": self.intent,
            "sender": reference(self.sender),
            "to": getattr(self.to, "id", self.to),
            "reply_to": getattr(self.reply_to, "id", None),
            "timestamp": stamp.isoformat().replace("+00:00", "Z") if stamp else None,
            "metadata": {key: plain(value) for key, value in self.metadata.items()} or None,
        }
        data = {name: value for name, value in data.items() if value is not None}
        for name in self.__struct_fields__[COMMON:]:
            data[name] = plain(getattr(self, name))
        return data

    def json(self) -> str:
        """The message as one line of JSON, with references only.

        >>> Message.parse(Message("Hello", id="m1").json()).content
        'Hello'
        """
        return msgspec.json.encode(self.dict(), enc_hook=plain).decode()

    model_dump = dict  # noqa: A003  # the method above is meant
    model_dump_json = json

    @classmethod
    def parse(cls, data: str | bytes | Mapping[str, Any]) -> Message:
        """A message from JSON or plain data, validated: what `dict` and `json` gave, and no more.

        Senders become `Address`es, `reply_to` a `Ref`. An unknown kind or field, or a value of the
        wrong type, raises `BadMessage`, which names it.

        >>> Message.parse('{"content": "Hello", "volume": 11}')
        Traceback (most recent call last):
        ...
        llambdao.kernel.errors.BadMessage: Message has no field 'volume'; it has content, id, ...
        """
        if isinstance(data, str | bytes):
            try:
                data = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadMessage(
                    f"expected a message as JSON, which this is not: {error}"
                ) from error
        if not isinstance(data, Mapping):
            raise BadMessage(f"expected a message, an object with fields, but got {data!r:.80}")
        given = {name: value for name, value in data.items() if value is not None}
        kind = given.pop("kind", cls.kind)
        found = KINDS.get(kind) if isinstance(kind, str) else None
        if found is None or not issubclass(found, cls):
            known = ", ".join(sorted(k for k, c in KINDS.items() if issubclass(c, cls)))
            raise UnknownKind(f"no message class of kind {kind!r} is known here; known: {known}")
        return found._validated(given)

    @classmethod
    def _validated(cls, given: Data) -> Self:
        wire = _wire_class(cls)
        for name in given:
            if name not in wire.__struct_fields__:
                known = ", ".join(sorted(wire.__struct_fields__))
                raise BadMessage(f"{cls.kind} has no field {name!r}; it has {known}")
        try:
            checked = msgspec.convert(given, wire)
        except msgspec.ValidationError as error:
            raise BadMessage(f"{cls.kind}: {error}") from error
        fields = {name: getattr(checked, name) for name in given}
        stamp = fields.get("timestamp")
        if stamp is not None and stamp.tzinfo is None:
            raise BadMessage(f"{cls.kind}: the timestamp {stamp} needs a time zone, such as +00:00")
        if "reply_to" in fields:
            fields["reply_to"] = Ref(fields["reply_to"])
        if isinstance(fields.get("to"), str):
            fields["to"] = Address(fields["to"])
        if "metadata" in fields:
            fields["metadata"] = MappingProxyType(fields["metadata"])
        return cls(**fields)

    @classmethod
    def json_schema(cls) -> Data:
        """The JSON schema of the fields of its own: what a model must fill in to say one.

        >>> Message.json_schema()["required"]
        ['content']
        """
        own = [info for info in fields_of(cls) if info.name not in INTERNAL]
        if not own:
            own = [info for info in fields_of(cls) if info.name == "content"]
        fields: list[Any] = [
            (i.name, i.type)
            if i.required or i.name == "content"
            else (i.name, i.type, i.default)
            if i.default is not msgspec.NODEFAULT
            else (i.name, i.type, field(default_factory=cast(Any, i.default_factory)))
            for i in own
        ]
        said = msgspec.defstruct(cls.kind, fields, kw_only=True, forbid_unknown_fields=True)
        schema = msgspec.json.schema(said)
        definitions = schema.pop("$defs")
        own_schema: Data = definitions.pop(schema["$ref"].rpartition("/")[2])
        return {**own_schema, "$defs": definitions} if definitions else own_schema

    def __setattr__(self, name: str, value: object) -> None:
        raise Said(
            f"a message never changes; to set {name!r} make another: message.but({name}=...)"
        )

    def __delattr__(self, name: str) -> None:
        raise Said("a message never changes; make another: message.but(...)")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Message | Ref):
            return NotImplemented
        return self.id is not None and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id) if self.id is not None else object.__hash__(self)

    def __repr__(self) -> str:
        parts = [repr(self.content)]
        parts += [
            f"{name}={str(value)!r}"
            for name in ("intent", "sender", "to", "id")
            if (value := getattr(self, name)) is not None
        ]
        for name in self.__struct_fields__[COMMON:]:
            value = getattr(self, name)
            shown = repr(str(value)) if hasattr(value, "id") else repr(value)
            parts.append(f"{name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __str__(self) -> str:
        return f"{self.sender}: {self.content}" if self.sender is not None else self.content

    def __rich_repr__(self) -> Iterator[Any]:
        yield str(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return (Message.parse, (self.dict(),))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets messages be fields of nodes: kept as they are, parsed from plain data."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return cls.json_schema()


class Delta(Struct, eq=False):
    """A piece of a message that is still being said.

    Observers see it, and those who asked for it (`stream(..., deltas=True)`); it is never a reply.

    >>> Delta("Once upon ").content
    'Once upon '
    """

    content: str
    sender: Any = None
    reply_to: Any = None


COMMON = len(Message.__struct_fields__)
"""How many fields every message has; what comes after them is a subclass's own."""

INTERNAL = frozenset(Message.__struct_fields__)
UNSAID: dict[str, Any] = {
    "id": None,
    "timestamp": None,
    "action": None,
    "said_at": 0,
    "number": 0,
    "ink": None,
}
"""What `but` takes from a message, besides what it changes."""

# What is written in a message stays readable as `_name`; `name` also reads what the ink fills.
for _name in ("intent", "sender", "to", "reply_to", "timestamp", "id", "action"):
    setattr(Message, f"_{_name}", Message.__dict__[_name])


def _sender(self: Any) -> Any:
    """Who says it: a node, or the `Address` of one that lives elsewhere."""
    if (written := self._sender) is None and (ink := self.ink) is not None:
        return ink.sender
    return written


def _to(self: Any) -> Any:
    """Whom it is for, when that is one node."""
    if (written := self._to) is None and (ink := self.ink) is not None:
        return ink.to
    return written


def _reply_to(self: Any) -> Message | Ref | None:
    """The message it answers, or its `Ref` once that has left the window."""
    if (written := self._reply_to) is None and (ink := self.ink) is not None:
        return cast("Message | Ref | None", ink.reply_to)
    return cast("Message | Ref | None", written)


def _intent(self: Any) -> str | None:
    """The name of the handler it is for."""
    if (written := self._intent or self._action) is None and (ink := self.ink) is not None:
        return cast("str | None", ink.intent)
    return cast("str | None", written)


def _timestamp(self: Any) -> datetime | None:
    """When it was said: an aware UTC `datetime`."""
    if (written := self._timestamp) is None and self.ink is not None:
        seconds, ns = divmod(self.said_at, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)
    return cast("datetime | None", written)


def _id(self: Any) -> str | None:
    """Its name in the world: 32 characters that sort by time, unless it was given one."""
    if (written := self._id) is None and (ink := self.ink) is not None:
        written = f"{self.said_at:016x}{ink.salt:08x}{self.number:08x}"
        force_setattr(self, "_id", written)
    return cast("str | None", written)


for _blank in (_sender, _to, _reply_to, _intent, _timestamp, _id):
    setattr(Message, _blank.__name__[1:], property(_blank))


def sign(message: Any, said_at: int, number: int, ink: Ink) -> None:
    """Say a message: from now on it never changes."""
    force_setattr(message, "ink", ink)
    force_setattr(message, "said_at", said_at)
    force_setattr(message, "number", number)


def cut(message: Any) -> None:
    """Let go of what this message answered: it has left the window, its `Ref` stays."""
    if isinstance(message._reply_to, Message):
        force_setattr(message, "_reply_to", Ref(message._reply_to.id))
    elif message.ink is not None and isinstance(message.ink.reply_to, Message):
        message.ink.reply_to = Ref(message.ink.reply_to.id)


def reference(value: Any) -> Any:
    """How a node, an address or anything with an id is written outside: who, and no more."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Address):
        return value.dict()
    if hasattr(value, "id") and hasattr(value, "role"):
        return {"id": value.id, "name": str(value), "role": value.role}
    return getattr(value, "id", str(value))


def plain(value: Any) -> Any:
    """Plain data for JSON: nodes and messages by reference, all else as msgspec writes it."""
    if isinstance(value, Message | Ref) or hasattr(value, "role"):
        return reference(value)
    return msgspec.to_builtins(value, enc_hook=reference)


_WIRE: WeakKeyDictionary[type[Message], Any] = WeakKeyDictionary()


def _wire_class(cls: type[Message]) -> Any:
    """The class that checks what came from outside: the same fields, senders as addresses."""
    if (wire := _WIRE.get(cls)) is None:
        own = [info for info in fields_of(cls) if info.name not in INTERNAL]
        fields: list[Any] = [
            ("id", str | None, None),
            ("content", str, ""),
            ("intent", str | None, None),
            ("sender", Address | str | None, None),
            ("to", Address | str | None, None),
            ("reply_to", str | None, None),
            ("timestamp", datetime | None, None),
            ("metadata", dict[str, Any], field(default_factory=dict)),
            *((i.name, i.type) if i.required else (i.name, i.type | None, None) for i in own),
        ]
        wire = _WIRE[cls] = msgspec.defstruct(cls.kind, fields, kw_only=True)
    return wire
