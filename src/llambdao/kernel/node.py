"""`Node`: everything is one. Its handlers answer messages; its edges point to other nodes."""

from __future__ import annotations

import dis
import inspect
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import CodeType, FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack, cast
from uuid import UUID, uuid4

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, model_serializer
from pydantic_core import to_jsonable_python

from llambdao.kernel.dispatch import (
    ASYNC_GENERATOR,
    COROUTINE,
    GENERATOR,
    GUARDED,
    PLAIN,
    SPEAKER,
    TABLES,
)
from llambdao.kernel.errors import Misused, NotANode, UnknownIntent
from llambdao.kernel.fans import Stream
from llambdao.kernel.message import Address, Message, reference
from llambdao.kernel.run import SYSTEM, Conversation, Options
from llambdao.kernel.turn import current
from llambdao.kernel.waits import Ask, ContinueAs, Delegate, Tell

__all__ = ["CURATED", "Edge", "Node", "intent"]

CURATED = ("chat", "request", "query", "inform", "proxy", "step", "be", "do")
"""The intents of the founding document: a method of that name is a handler without a mark.

* chat: chat about this topic, talk about this topic
* request: request this thing, ask for this thing
* query: query for information
* inform: inform of new data, tell about this thing
* proxy: route this message to another agent
* step: process the environment, as in multi-agent reinforcement learning
* be: be this way, act as if you are
* do: do this thing, perform this action
"""

HOMES: dict[int, Any] = {}
"""Where those live that live in a runtime, by their `id()`: a network says there who joins it."""

F = TypeVar("F", bound=Callable[..., Any])


def intent(function: F) -> F:
    """Mark a method as the handler of the intent that bears its name.

    The curated intents need no mark. A mark is inherited; a reserved name such as `link` raises
    when the class is made.

    >>> class Member(Node):
    ...     @intent
    ...     def vote(self, message):
    ...         return "aye"
    >>> Member().intents
    ('vote',)
    """
    method: object = function
    if not isinstance(method, FunctionType):
        raise Misused(f"@intent marks a method of a node, but got {function!r:.80}")
    vars(method)["__intent__"] = True
    return function


class Edge(Struct, eq=False):
    """What points from one node to another, with metadata such as `may={"be"}`."""

    node: Any
    metadata: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Edge(to {self.node}, {dict(self.metadata)})"


Arrow = Edge
"""An edge, under a name that `Node.Edge` does not hide."""

Handler = tuple[Callable[..., Any], int]
"""A function that handles messages, and which of the four kinds it is."""


delegate: Callable[..., Any] = Delegate
"""What `super().receive` gives: a wait, though type checkers are told of a conversation."""

OVERRIDING: set[type] = set()
"""The classes that override `receive`."""


class Everything(dict[str, Handler]):
    """The handlers of a class that overrides `receive`: that one, for whatever is said."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self.handler = handler

    def get(self, key: str, default: Any = None) -> Any:
        """The one handler."""
        return self.handler

    def __contains__(self, key: object) -> bool:
        return True


class Inherited:
    """What a class that overrides `receive` has in its place.

    `node.receive` stays the driver; `super().receive(message)` inside waits for the class above.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.handler = (function, _kind(function))
        self.__doc__ = function.__doc__

    def __get__(self, node: Any, owner: type | None = None) -> Any:
        if node is None:
            return self.function
        if type(node).__receive__ is self.handler:
            return lambda message, **options: Conversation(node, message, options)
        return lambda message: delegate(node=node, message=message, handler=self.handler)


class Node(BaseModel):
    """Anything that can be sent a message: code, a model, a person, a network of these.

    A subclass answers an intent by a method of that name, its handler, which takes the message.
    It may be a plain function, a generator, a coroutine or an async generator: what it yields is
    said, what it returns is said last, and the value of `yield peer.ask(...)` is the answer.
    Declared fields are validated when given, and are what a journal stores; other attributes are
    ordinary Python attributes. Nodes are equal when their ids are.

    >>> class Shout(Node):
    ...     def chat(self, message):
    ...         yield message.content.upper()
    >>> [said.content for said in Shout(name="Bob").receive("hello")]
    ['HELLO']
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", ignored_types=(Inherited,)
    )
    __slots__ = ("__weakref__", "_edges", "_id", "_undo")

    if TYPE_CHECKING:  # to which a slot is not enough, and all else a field
        _edges: ClassVar[Any]
        _id: ClassVar[Any]
        _undo: ClassVar[Any]

    Edge: ClassVar[type[Edge]] = Edge

    role: ClassVar[str] = "system"
    """The kind of speaker it is: "user" for people, "assistant" or "ai" for models, or "system"."""

    concurrency: ClassVar[int | None] = 1
    """How many of its turns may be under way at once; None for any number.

    Only an async handler that awaits something foreign stays under way while others could run.
    """

    name: str = ""
    persona: str = ""
    """Who it is to be; what `be` changes."""

    __handlers__: ClassVar[dict[str, Handler]] = {}
    __receive__: ClassVar[Handler | None] = None

    # -- made once per class -------------------------------------------------------------------

    def __init_subclass__(cls, **config: Any) -> None:
        super().__init_subclass__(**config)
        receive = cls.__dict__.get("receive")
        if isinstance(receive, FunctionType):
            if getattr(receive, "__intent__", False):
                raise Misused(f"{cls.__name__}.receive is marked @intent, but that name is taken")
            override = Inherited(receive)
            type.__setattr__(cls, "receive", override)
            cls.__receive__ = override.handler
        if cls.__receive__ is not None:
            OVERRIDING.add(cls)
        cls.__handlers__ = _handlers(cls)
        TABLES[cls] = cls.__handlers__ if cls.__receive__ is None else Everything(cls.__receive__)

    def __init__(self, /, **fields: Any) -> None:
        put = object.__setattr__
        put(self, "_edges", None)
        put(self, "_undo", None)
        put(self, "_id", None)
        super().__init__(**fields)
        put(self, "__pydantic_fields_set__", _shared(self.__pydantic_fields_set__))

    # -- who it is -----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name in the world: 32 characters, another for every node."""
        if self._id is None:
            object.__setattr__(self, "_id", uuid4().hex)
        return cast(str, self._id)

    @property
    def address(self) -> Address:
        """Its id, name and role: all that others need to know of it."""
        return Address(self.id, str(self), self.role)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Node | Address):
            return self.id == other.id
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.name or type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})" if self.name else f"{type(self).__name__}()"

    def __repr_args__(self) -> Any:
        yield "name", self.name

    __rich_repr__ = __repr_args__

    @model_serializer(mode="plain")
    def _as_reference(self) -> dict[str, Any]:
        """The node as plain data: who it is, and no more; nobody's fields leave by accident."""
        return cast("dict[str, Any]", reference(self))

    def state(self) -> dict[str, Any]:
        """The declared fields, as plain data: other nodes by address, secrets never.

        >>> Node(name="Ann").state()
        {'name': 'Ann', 'persona': ''}
        """
        return {
            name: to_jsonable_python(value, fallback=_as_data)
            for name, info in type(self).model_fields.items()
            if not info.exclude
            and not isinstance(value := getattr(self, name), SecretStr | SecretBytes)
        }

    # -- edges ---------------------------------------------------------------------------------

    @property
    def edges(self) -> dict[str, Arrow]:
        """The edges to other nodes, by the id of the node they point to."""
        if self._edges is None:
            object.__setattr__(self, "_edges", {})
        return cast("dict[str, Arrow]", self._edges)

    def link(self, node: Node, /, **metadata: Any) -> Arrow:
        """Point an edge at a node; linking again updates the metadata. Returns the edge.

        >>> ann, bob = Node(name="Ann"), Node(name="Bob")
        >>> ann.link(bob, trust=0.9).metadata["trust"]
        0.9
        """
        if not isinstance(node, Node | Address):
            raise NotANode(f"expected a node to link {self} to, but got {node!r:.80}")
        edge = self.edges.get(node.id)
        if edge is None:
            edge = self.edges[node.id] = Edge(node, MappingProxyType(metadata))
        elif metadata:
            edge.metadata = MappingProxyType({**edge.metadata, **metadata})
        return edge

    def unlink(self, node: Node, /) -> None:
        """Take away the edge to a node; that of a stranger is no error."""
        if self._edges:
            self._edges.pop(getattr(node, "id", None), None)

    # -- what it understands -------------------------------------------------------------------

    @property
    def intents(self) -> tuple[str, ...]:
        """The intents it understands."""
        if type(self).__receive__ is not None:
            return CURATED
        handlers = type(self).__handlers__
        return tuple(name for name in handlers if handlers[name][1] != GUARDED)

    def understands(self, intent: str, /) -> bool:
        """Is there a handler for this intent?"""
        handler = TABLES[type(self)].get(intent)
        return handler is not None and handler[1] != GUARDED

    def be(self, persona: Any, /) -> None:
        """Be this way from now on: changes the `persona`.

        The program itself calls it; a message with the intent `be` needs an edge that permits it,
        `sender.link(node, may={"be"})`, unless the class has a `be` of its own.

        >>> poet = Node(name="Poet")
        >>> poet.be("a pirate")
        >>> poet.persona
        'a pirate'
        """
        self.persona = persona.content if isinstance(persona, Message) else persona

    # -- messages ------------------------------------------------------------------------------

    def receive(self, message: Message | str, /, **options: Unpack[Options]) -> Conversation:
        """Send it a message from outside: iterate over what comes back, `for` or `async for`.

        Replies come lazily, one by one; a `str` is a `Message` with the intent `chat`.
        A class may override it: then that is the handler of every message, in which
        `yield super().receive(message)` goes on to the handler of the message's intent.

        >>> class Counting(Node):
        ...     def receive(self, message):
        ...         for number in range(int(message.content)):
        ...             yield str(number)
        >>> [said.content for said in Counting().receive("3")]
        ['0', '1', '2']
        """
        if type(self) not in OVERRIDING:
            return Conversation(self, message, options)
        if not isinstance(message, Message):
            raise Misused(f"super().receive takes the message on, but got {message!r:.80}")
        handlers = type(self).__handlers__
        handler = handlers.get(message.intent or "chat")
        if handler is None:
            known = ", ".join(n for n in handlers if handlers[n][1] != GUARDED) or "nothing"
            raise UnknownIntent(
                f"{self} does not understand {message.intent!r}; it understands {known}"
            )
        wait: Conversation = delegate(node=self, message=message, handler=handler)
        return wait

    def ask(
        self,
        words: Message | str,
        /,
        intent: str | None = None,
        *,
        every: bool = False,
        timeout: float | None = None,
    ) -> Ask:
        """Ask it from inside a handler: `answer = yield node.ask("...")`, or with `await`.

        The value is its last reply; with `every` the list of all. The intent is `request` unless
        given; a message is sent as a fresh copy. Silence raises `NoAnswer`, and so does `timeout`,
        in seconds; what it raises is raised here.
        """
        return Ask(self, words, intent, every, timeout)

    def tell(self, words: Message | str, /, intent: str | None = None) -> Tell:
        """Tell it something from inside a handler: `yield node.tell("...")`; nobody waits.

        The intent is `inform` unless given.
        """
        return Tell(self, words, intent)

    def stream(
        self, words: Message | str, /, intent: str | None = None, *, deltas: bool = False
    ) -> Stream:
        """Ask it and hear its replies one by one, each as it comes.

        `while (reply := (yield stream)) is not None`, or `async for reply in stream`. The node is
        resumed only as its replies are taken. With `deltas` the pieces come too.
        """
        return Stream([self], words, intent, deltas=deltas)

    def continue_as(self, message: Message | str, /) -> ContinueAs:
        """Begin anew with another message: `yield self.continue_as("next")`, for what never ends.

        The handler ends at this line, and this node's handler for that message goes on in its
        place, in the same conversation, under the same id: who asked hears what it says. A journal
        forgets what was before, so that bringing the conversation back costs no more each day. Only
        for the handler of the message that opened the conversation; all it has set going ends
        first.

        >>> class Countdown(Node):
        ...     def chat(self, message):
        ...         yield message.content
        ...         if message.content != "0":
        ...             yield self.continue_as(str(int(message.content) - 1))
        >>> [said.content for said in Countdown().receive("3")]
        ['3', '2', '1', '0']
        """
        return ContinueAs(node=self, message=message)

    # -- what a handler may use, the same again when it is replayed -----------------------------

    def now(self) -> datetime:
        """The time, by the clock of whoever drives this conversation: an aware UTC `datetime`."""
        turn = current()
        ns = SYSTEM.now() if turn is None else turn[1].now()
        return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(
            microsecond=ns % 1_000_000_000 // 1000
        )

    def random(self) -> random.Random:
        """A source of random numbers: the same again for the same conversation and clock."""
        turn = current()
        if turn is None:
            return random.Random()  # noqa: S311  # for play, not for secrets
        return random.Random(f"{turn[1].salt}/{turn[1].serial()}")  # noqa: S311

    def uuid(self) -> UUID:
        """A new id: the same again for the same conversation and clock."""
        return UUID(int=self.random().getrandbits(128), version=4)

    def patched(self, change: str, /) -> bool:
        """Is this conversation to go the way of the changed code? For code that has changed since.

        True, unless a journal replays what the code of before this change has done:
        `if self.patched("ask-twice"): ...` says what is new, `else` what was.
        """
        turn = current()
        home = None if turn is None else getattr(turn[1].home, "patched", None)
        return True if home is None else bool(home(change))

    # -- fields --------------------------------------------------------------------------------

    if not TYPE_CHECKING:  # to which it would mean that a node has any attribute

        def __getattr__(self, name: str) -> Any:
            # Only asked for what is not there. While a node sleeps (runtime/passivation.py) other
            # attributes stand in the place of its own, and fetch them.
            if name in type(self).__pydantic_fields__ and type(self.__dict__) is not dict:
                value = self.__dict__.get(name, MISSING)
                if value is not MISSING:
                    return value
            return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        undo = self._undo
        values = self.__dict__
        if undo is None:
            undo = {}
            object.__setattr__(self, "_undo", undo)
        if name not in undo:
            undo[name] = values.get(name, MISSING)
        if name in type(self).__pydantic_fields__ or isinstance(
            getattr(type(self), name, None), property
        ):
            super().__setattr__(name, value)
        else:
            values[name] = value  # pyright: ignore[reportIndexIssue]  # microsoft/pyright#11548

    def __delattr__(self, name: str) -> None:
        values = vars(self)
        if name not in values:
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        if (undo := self._undo) is None:
            undo = {}
            object.__setattr__(self, "_undo", undo)
        undo.setdefault(name, values[name])
        del values[name]

    def _restore(self, undo: dict[str, Any]) -> None:
        """Take back the assignments of a turn that failed."""
        values = vars(self)
        for name, value in undo.items():
            if value is MISSING:
                values.pop(name, None)
            else:
                values[name] = value
        undo.clear()

    def __copy__(self) -> Any:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return self._alike(fields)

    def __deepcopy__(self, memo: Any = None) -> Any:
        raise Misused(
            f"{self} is somebody, and cannot be copied with all it knows; make another"
            f" {type(self).__name__}, or copy.copy(node) for one with the same fields"
        )

    def _alike(self, fields: dict[str, Any]) -> Any:
        other = type(self).model_construct(**fields)
        for slot in ("_edges", "_undo", "_id"):
            object.__setattr__(other, slot, None)
        return other


MISSING: Any = object()


def _dict(self: Node) -> dict[str, Any]:
    """The node as plain data: who it is, and no more; nobody's fields leave by accident."""
    data: dict[str, Any] = reference(self)
    return data


def _json(self: Node) -> str:
    """The same as JSON."""
    return self.model_dump_json()


# Named here, for a method called `dict` would hide the type of that name in the class above.
for _name, _member in (("dict", _dict), ("json", _json)):
    setattr(Node, _name, _member)

_SETS: dict[frozenset[str], set[str]] = {}


def _as_data(value: Any) -> Any:
    """What a snapshot keeps of a value that is no plain data: a message whole, a node's address."""
    return value.dict() if isinstance(value, Message) else reference(value)


def _shared(names: set[str]) -> set[str]:
    """One set of names for all nodes that were given the same fields: it saves 200 bytes each."""
    return _SETS.setdefault(frozenset(names), names)


def _kind(function: Callable[..., Any]) -> int:
    """Which of the four kinds of handler it is."""
    if inspect.isasyncgenfunction(function):
        return ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return COROUTINE
    if not inspect.isgeneratorfunction(function):
        return PLAIN
    return GENERATOR if _returns(function.__code__) else SPEAKER


def _returns(code: CodeType) -> bool:
    """Could this generator return a value? One that cannot need not be asked for it at its end.

    It cannot if every return stands right behind a constant None, and nothing jumps in between.
    """
    before = ""
    for step in dis.get_instructions(code):
        if step.opname == "RETURN_VALUE" and (before != "LOAD_CONST None" or step.is_jump_target):
            return True
        if step.opname == "RETURN_CONST" and step.argval is not None:
            return True
        before = f"{step.opname} {step.argval}"
    return False


def _handlers(cls: type[Node]) -> dict[str, Handler]:
    """The handlers of a class: the curated intents it defines, and what is marked."""
    handlers: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            marked = getattr(value, "__intent__", False)
            if marked and name in RESERVED:
                raise Misused(f"{base.__name__}.{name} is marked @intent, but that name is taken")
            if isinstance(value, FunctionType) and (marked or name in CURATED or name in handlers):
                handlers[name] = (value, GUARDED if base is Node else _kind(value))
            elif name in handlers:
                del handlers[name]
    return handlers


RESERVED = frozenset(name for name in dir(Node) if name not in CURATED)
Node.__handlers__ = TABLES[Node] = {"be": (Node.be, GUARDED)}
