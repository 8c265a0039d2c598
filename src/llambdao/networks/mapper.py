"""`MapperNode`: a network that hands every message on to its members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llambdao.kernel.errors import NotANode
from llambdao.kernel.fans import Relay
from llambdao.kernel.message import Message
from llambdao.kernel.node import HOMES, Node

__all__ = ["MapperNode"]

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    class Network(ModelMetaclass):
        """To type checkers: here `__init__` is as it is written, not made from the fields."""
else:
    Network = type(Node)


class MapperNode(Node, metaclass=Network):
    """A node made of nodes: what it is told goes to all of them, what they answer comes back.

    It relays every curated intent that it does not define itself, except `be`: to each member that
    understands it, its author left out, in link order as long as nobody has to wait.
    Members are what it was made of, or `join`; `network["Rumi"]` finds one by name.

    >>> class Shout(Node):
    ...     def chat(self, message):
    ...         return f"{self.name}: {message.content.upper()}"
    >>> choir = MapperNode(Shout(name="Ann"), Shout(name="Bob"))
    >>> [said.content for said in choir.receive("la")]
    ['Ann: LA', 'Bob: LA']
    """

    members: list[Node] = Field(default_factory=list)

    def __init__(self, /, *members: Node, **fields: Any) -> None:
        for member in members:
            if not isinstance(member, Node):
                raise NotANode(
                    f"expected nodes as members of {type(self).__name__}, but got {member!r:.80}"
                )
        if members:
            fields["members"] = [*members, *fields.get("members", ())]
        super().__init__(**fields)
        for member in self.members:
            self.link(member)
            member.link(self)

    def join(self, node: Node) -> None:
        """Make a node a member, linked both ways; one that is a member already stays one.

        If the network lives in a runtime, so does the node from now on, with its members; one that
        lives in another runtime is `Misused`, and does not join.
        """
        if not isinstance(node, Node):
            raise NotANode(f"expected a node to join {self}, but got {node!r:.80}")
        if not any(member is node for member in self.members):
            if (home := HOMES.get(id(self))) is not None:
                home.welcome(self, node)
            self.members = [*self.members, node]
            self.link(node)
            node.link(self)

    def leave(self, node: Node) -> None:
        """Take a member out, and the edges both ways; a stranger is no error."""
        if any(member is node for member in self.members):
            self.members = [member for member in self.members if member is not node]
            self.unlink(node)
            node.unlink(self)

    def relay(
        self,
        message: Message,
        to: Iterable[Node] | None = None,
        intent: str | None = None,
        *,
        ordered: bool = False,
    ) -> Relay:
        """Hand a message to members (all, unless given): `yield self.relay(message)`.

        What they say goes to whoever hears this node. With `ordered` each starts when the one
        before it has ended; otherwise when that has ended or waits.
        """
        nodes = self.members if to is None else list(to)
        return Relay(nodes, message, intent, ordered)

    def chat(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def request(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def query(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def inform(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def proxy(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def step(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def do(self, message: Message, /) -> Any:
        """Relay it."""
        return Relay(self.members, message)

    def __getitem__(self, path: str) -> Node:
        """The member of this name, or further in: `house["table/Rumi"]`."""
        name, _, rest = path.partition("/")
        found = [member for member in self.members if str(member) == name]
        if len(found) != 1:
            names = ", ".join(str(member) for member in self.members)
            count = "no member is" if not found else f"{len(found)} members are"
            raise KeyError(f"{count} called {name!r} in {self}; its members: {names}")
        if not rest:
            return found[0]
        inner = found[0]
        if not isinstance(inner, MapperNode):
            raise KeyError(f"{name!r} in {self} has no members, so no {rest!r} in it")
        return inner[rest]

    def __contains__(self, node: object) -> bool:
        return any(member is node or member == node for member in self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __bool__(self) -> bool:
        return True

    # A model iterates over its fields, a network over its members.
    def __iter__(self) -> Iterator[Node]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.members)
