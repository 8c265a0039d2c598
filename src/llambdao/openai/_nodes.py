"""`OpenAINode` and `SummaryNode`: nodes whose words a model finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from llambdao.kernel.message import Delta, Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import call
from llambdao.openai._choose import model_from
from llambdao.openai._errors import TimedOut
from llambdao.openai._models import Chat, Model
from llambdao.openai._prepare import Prepared, prepare_for_openai

__all__ = ["OpenAINode", "SummaryNode"]


class _ModelNode(Node):
    """A node that has a model: named, given, or found in the environment."""

    base_url: str | None = None
    model: Any = Field(default=None, validate_default=True, exclude=True)
    """A `Model`, a name for `model_from`, or None for what the environment offers."""

    timeout: float = 120.0
    """For how many seconds the model may be silent."""

    @field_validator("model", mode="plain")
    @classmethod
    def _a_model(cls, model: Any, info: ValidationInfo) -> Model:
        return model_from(model, info.data.get("base_url"))

    def _form(self) -> dict[str, Any]:
        """How its model wants a conversation written."""
        return {**getattr(self.model, "form", {})}

    async def _complete(self, messages: Chat) -> str:
        """All of the answer, in time."""
        try:
            async with asyncio.timeout(self.timeout):
                return str(await self.model.complete(messages))
        except TimeoutError as error:
            raise self._late(error) from error

    async def _stream(self, messages: Prepared) -> AsyncGenerator[str, None]:
        """The answer piece by piece, each in time, without the label some models begin with."""
        async with aclosing(_unlabelled(self.model.stream(messages), messages.viewer)) as pieces:
            while True:
                try:
                    async with asyncio.timeout(self.timeout):
                        piece = await anext(pieces, None)
                except TimeoutError as error:
                    raise self._late(error) from error
                if piece is None:
                    return
                yield piece

    def _late(self, error: TimeoutError) -> TimedOut:
        if isinstance(error, TimedOut):
            return error
        return TimedOut(
            f"{self.model} was silent for {self.timeout} seconds; give {self} more time,"
            ' timeout=..., or model="offline"'
        )


class OpenAINode(_ModelNode):
    """Somebody whose words a model finds: it remembers what it hears, and answers.

    It answers `chat`, `request` and `query`; to `inform` it only listens. While the model speaks,
    its words come as `Delta`s to those who asked for them; the message follows. Its memory are
    the last `window` messages, its own among them, and of these as many as fit into `tokens`. It
    takes those for present who sit with it in the networks it is a member of. `be` changes its
    `persona`. With `deltas=False` the model is asked in one call, which a journal remembers.
    The metadata of each message says which `model` found its words.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ScriptedModel
    >>> rumi = OpenAINode(name="Rumi", persona="a poet", model=ScriptedModel("Love.", "Its wound."))
    >>> ask(rumi, "What is the purpose of life?").content
    'Love.'
    >>> ask(rumi, "And its cost?").content
    'Its wound.'
    """

    role: ClassVar[str] = "assistant"

    window: int = Field(default=24, ge=1)
    tokens: int | None = None
    deltas: bool = True
    messages: list[Message] = Field(default_factory=list)
    forgotten: int = 0
    """How many messages it has heard or said before those."""

    def inform(self, message: Message) -> None:
        """Listen."""
        self._remember(message)

    async def chat(self, message: Message) -> AsyncGenerator[Any, Any]:
        """Answer, word by word, then with the whole message."""
        self._remember(message)
        prepared = self._prepared()
        text = ""
        if self.deltas:
            async with aclosing(self._stream(prepared)) as pieces:
                async for piece in pieces:
                    text += piece
                    yield Delta(piece)
        else:
            text = _without_label((yield call(self._complete, prepared)), prepared.viewer)
        if text.strip():
            said = message.reply(text, metadata={"model": str(self.model)})
            self._remember(said)
            yield said

    request = chat
    query = chat

    def roster(self) -> list[Node]:
        """Who is present: those who chat in the networks it is a member of."""
        edges: Iterable[Any] = self.edges.values()
        tables = [edge.node for edge in edges]
        seats = [table.members for table in tables if self in getattr(table, "members", ())]
        chatting = (one for members in seats for one in members if one.understands("chat"))
        return list(dict.fromkeys(chatting))

    def _prepared(self) -> Prepared:
        options = {"window": self.window, "tokens": self.tokens, "earlier": self.forgotten}
        return prepare_for_openai(
            self.messages, viewer=self, roster=self.roster(), **{**options, **self._form()}
        )

    def _remember(self, message: Message) -> None:
        messages = [*self.messages, message]
        self.forgotten = self.forgotten + len(messages[: -self.window])
        self.messages = messages[-self.window :]


class SummaryNode(_ModelNode):
    """Collects what it is informed of, the last 24 messages, and summarises it when queried.

    The summary before is given to the model along with the messages, so what has left the window
    is not lost; the new one is kept in `summary` before it is said.

    >>> from llambdao import Message, ask, tell
    >>> from llambdao.openai import ScriptedModel, SummaryNode
    >>> node = SummaryNode(model=ScriptedModel("They greeted the world."))
    >>> tell(node, Message("Hello, world!", intent="inform")).reason
    <Reason.DONE: 'done'>
    >>> ask(node, Message("Summarise.", intent="query")).content
    'They greeted the world.'
    >>> node.summary.content
    'They greeted the world.'
    """

    role: ClassVar[str] = "ai"

    persona: str = (
        "You keep the minutes: asked for a summary, you say in a few plain sentences who said what,"
        " and what has been settled."
    )
    window: int = Field(default=24, ge=1)
    messages: list[Message] = Field(default_factory=list)
    summary: Message | None = None

    def inform(self, message: Message) -> None:
        """Take note of it."""
        self.messages = [*self.messages, message][-self.window :]

    async def query(self, message: Message) -> AsyncGenerator[Any, Any]:
        """Summarise what it has heard."""
        asked = message if message.content.strip() else message.but(content="Summarise, please.")
        earlier = "" if self.summary is None else self.summary.content
        prepared = prepare_for_openai(
            [*self.messages, asked],
            viewer=self,
            **{"window": self.window + 1, "earlier": earlier, **self._form()},
        )
        text = _without_label((yield call(self._complete, prepared)), prepared.viewer)
        if text.strip():
            self.summary = message.reply(text, metadata={"model": str(self.model)})
            yield self.summary


async def _unlabelled(pieces: AsyncIterator[str], speaker: str | None) -> AsyncGenerator[str, None]:
    """The pieces, without the speaker's label if they begin with it, and without empty ones."""
    label, head, begun = f"{speaker}:", "", False
    try:
        async for piece in pieces:
            if begun:
                words = piece
            else:
                head += piece
                if label.startswith(head.strip()):
                    continue  # it may still become the label, or blanks after it
                words, begun = _without_label(head, speaker), True
            if words:
                yield words
        if not begun and (words := _without_label(head, speaker)):
            yield words
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _without_label(text: str, speaker: str | None) -> str:
    begun, label = text.lstrip(), f"{speaker}:"
    return begun.removeprefix(label).lstrip() if begun.startswith(label) else text
