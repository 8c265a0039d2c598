"""`Pipeline`: a network in which each stage works on what the one before it answered."""

from __future__ import annotations

from typing import Any

from llambdao.kernel.message import Message
from llambdao.networks.mapper import MapperNode

__all__ = ["Pipeline"]


class Pipeline(MapperNode):
    """Stages in a row: each is asked with the last reply of the one before it.

    The intent stays the same all the way; what the last stage says is heard, reply by reply.
    A stage that says nothing raises `NoAnswer`.

    >>> from llambdao import Node
    >>> class Add(Node):
    ...     what: str
    ...
    ...     def chat(self, message):
    ...         return message.content + self.what
    >>> [said.content for said in Pipeline(Add(what="b"), Add(what="c")).receive("a")]
    ['abc']
    """

    def chat(self, message: Message, /) -> Any:
        """Pass it down the line."""
        word = message.intent
        for stage in self.members[:-1]:
            message = yield stage.ask(message, intent=word)
        for stage in self.members[-1:]:
            stream = stage.stream(message, intent=word)
            while (said := (yield stream)) is not None:
                yield said

    request = query = inform = proxy = step = do = chat
