"""`Router`: a network that sends each message to the one member it is for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llambdao.kernel.errors import Unreachable
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.networks.mapper import MapperNode

__all__ = ["Router"]

Choose = Callable[[Message, list[Node]], Any]


class Router(MapperNode):
    """Routes every message to one member: `choose(message, members)` gives the node or its name.

    Unless given, it is the member the words begin with (`Rumi, what is love?` or `@Rumi ...`), or
    else the first who understands the intent. A `proxy` message arrives as what its
    `metadata["intent"]` says, or else as the first of `request` and `chat` that the member has.

    >>> class Desk(Node):
    ...     def request(self, message):
    ...         return f"{self.name} will see to it"
    >>> desks = Router(Desk(name="Sales"), Desk(name="Support"))
    >>> [said.content for said in desks.receive(Message("Support: it broke", intent="proxy"))]
    ['Support will see to it']
    """

    choose: Choose | None = None

    def proxy(self, message: Message, /) -> Any:
        """Route it to another."""
        member = self.route(message)
        word = message.metadata.get("intent")
        if word is None:
            word = next((w for w in ("request", "chat") if member.understands(w)), "request")
        return self.relay(message, to=[member], intent=word)

    def chat(self, message: Message, /) -> Any:
        """Route it, its intent as it is."""
        return self.relay(message, to=[self.route(message)])

    request = query = inform = step = do = chat

    def route(self, message: Message) -> Node:
        """The member this message is for; `Unreachable` if there is none."""
        chosen = (
            _mentioned(message, self.members)
            if self.choose is None
            else self.choose(message, self.members)
        )
        if isinstance(chosen, str):
            chosen = next((m for m in self.members if str(m) == chosen), chosen)
        if not isinstance(chosen, Node):
            names = ", ".join(str(member) for member in self.members) or "nobody"
            raise Unreachable(
                f"{self} found no member for {message.content!r:.60} (chose {chosen!r});"
                f" it has {names}"
            )
        return chosen


def _mentioned(message: Message, members: list[Node]) -> Node | None:
    for member in members:
        name = rf"@?{re.escape(str(member))}(?!\w)"
        if re.match(name, message.content.lstrip(), re.IGNORECASE):
            return member
    others = [member for member in members if member is not message.sender]
    word = message.intent or "chat"
    if word == "proxy":
        return next((m for m in others if m.understands("request") or m.understands("chat")), None)
    return next((m for m in others if m.understands(word)), None)
