"""`OpenAINode` and `SummaryNode`: nodes whose words a model finds."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from functools import partial, reduce
from operator import add
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from llambdao.kernel.errors import BadMessage, Misused
from llambdao.kernel.message import Delta, Message
from llambdao.kernel.node import Node
from llambdao.openai._calls import Answer, Piece, Tool, ToolCall, Usage, answered, pieces
from llambdao.openai._choose import model_from
from llambdao.openai._errors import TimedOut
from llambdao.openai._explain import Asked, note
from llambdao.openai._memory import remembered
from llambdao.openai._models import Model
from llambdao.openai._money import Fare, Price, afford, cost_of
from llambdao.openai._prepare import Prepared, prepare_for_openai
from llambdao.openai._request import Request
from llambdao.openai._tools import (
    Function,
    Outcome,
    ToolFailed,
    TooManyRounds,
    functions_of,
    numbered,
    outcomes,
    told_by,
    tools_of,
)
from llambdao.openai._typed import BadReply, mend, read, wanted
from llambdao.runtime.budget import Budget

__all__ = ["OpenAINode", "SummaryNode"]

BREATH = 256
"""After so many pieces others have their turn, though the model never waits for anything."""


class _ModelNode(Node):
    """A node that has a model: named, given, or found in the environment."""

    base_url: str | None = None
    model: Any = Field(default=None, validate_default=True, exclude=True)
    """A `Model`, a name for `model_from`, or None for what the environment offers."""

    timeout: float = 120.0
    """For how many seconds the model may be silent."""

    price: Any = Field(default=None, exclude=True)
    """What the model costs, a `Price`; None for what is listed."""

    budget: Any = Field(default=None, exclude=True)
    """What this node may spend, a `Budget`, beside that of the conversation."""

    at_limit: Any = Field(default=None, exclude=True)
    """Where the budget ends: a cheaper model to go on with, a node to ask; None to stop."""

    explains: int = Field(default=16, ge=0)
    """Of how many messages it keeps the requests behind them, for `explain`."""

    @field_validator("model", mode="plain")
    @classmethod
    def _a_model(cls, model: Any, info: ValidationInfo) -> Model:
        return model_from(model, info.data.get("base_url"))

    @field_validator("price", "budget", "at_limit")
    @classmethod
    def _about_money(cls, given: Any, info: ValidationInfo) -> Any:
        kinds = {"price": (Price,), "budget": (Budget,), "at_limit": (Node, str, Model)}
        wanted = kinds[str(info.field_name)]
        if given is None or isinstance(given, wanted):
            return given
        names = " or a ".join(kind.__name__ for kind in wanted)
        raise Misused(f"{info.field_name}= takes a {names}, but got {given!r:.80}")

    def _form(self, model: Any = None) -> dict[str, Any]:
        """How its model, or the one that goes on for that, wants a conversation written."""
        return {**getattr(self.model if model is None else model, "form", {})}

    def _paid(
        self,
        write: Callable[[Any], Prepared],
        function: Any,
        args: tuple[Any, ...],
        *,
        tools: Sequence[Tool] = (),
        says: Any = None,
        live: bool = False,
    ) -> Generator[Any, Any, tuple[Answer, Asked]]:
        """One request, which is paid for, and which a journal remembers, known by its `args`."""
        prepared = write(self.model)
        fare = yield from afford(self, prepared, tools=tools, says=says, streamed=live)
        if fare.model is not self.model:
            prepared = write(fare.model)
        with fare:
            answer: Answer = yield Request(function=partial(function, fare, prepared), args=args)
            fare.answered(answer)
        asked = Asked.of(
            fare.model, prepared, answer, tools=tools, says=says, streamed=live, usd=fare.usd
        )
        return answer, asked

    async def _whole(
        self, fare: Fare, messages: Prepared, tools: Sequence[Tool] = (), says: Any = None
    ) -> Answer:
        """All of the answer, in time, without the label some models begin with."""
        try:
            async with asyncio.timeout(self.timeout):
                answer = await answered(fare.model, messages, tools=tools, says=says)
        except TimeoutError as error:
            raise self._late(error) from error
        return replace(answer, text=_without_label(answer.text, messages.viewer))

    async def _spoken(
        self, fare: Fare, messages: Prepared, tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta | Answer, None]:
        """Its words piece by piece, each in time; last of all the whole answer."""
        rest: list[Any] = []
        text, said = "", 0
        stream = pieces(fare.model, messages, tools=tools)
        async with aclosing(_unlabelled(stream, messages.viewer)) as parts:
            while True:
                try:
                    async with asyncio.timeout(self.timeout):
                        part = await anext(parts, None)
                except TimeoutError as error:
                    raise self._late(error) from error
                if part is None:
                    break
                fare.hear(part)
                if isinstance(part, str):
                    text += part
                    yield Delta(part)
                    said += 1
                    if said % BREATH == 0:
                        await asyncio.sleep(0)
                else:
                    rest.append(part)
        calls = tuple(part for part in rest if isinstance(part, ToolCall))
        costs = [part for part in rest if isinstance(part, Usage)]
        yield Answer(text, calls, reduce(add, costs) if costs else None)

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
    `persona`. With `deltas=False` the model is asked for its whole answer at once. The metadata of
    each message says which `model` found its words, and what that cost, if it told.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ScriptedModel
    >>> rumi = OpenAINode(name="Rumi", persona="a poet", model=ScriptedModel("Love.", "Its wound."))
    >>> ask(rumi, "What is the purpose of life?").content
    'Love.'
    >>> ask(rumi, "And its cost?").content
    'Its wound.'

    `tools` are nodes, and so are all that it is linked to but the networks it sits in: each intent
    they declare, with its docstring and the class of its message, is a function that the model may
    call, `name_intent`. What it calls at once is asked at once. A tool that raises is told to the
    model; if it calls it just so again, and that raises again, that is `ToolFailed`; still calling
    after so many `rounds`, `TooManyRounds`. `link(tool, approve=person)` has a person, or several
    nodes by majority, agree to each call; a refusal is told to the model, with who refused.

    With `says`, a class of messages, its replies are of that class: the model is asked for its
    fields, as JSON; if they do not fit, once more, with what is wrong; then that is `BadReply`.

    >>> from llambdao import Message
    >>> class Verdict(Message):
    ...     winner: str
    >>> judge = OpenAINode(name="Eve", says=Verdict, model=ScriptedModel('{"winner": "Ann"}'))
    >>> ask(judge, "Who wins?").winner
    'Ann'
    """

    role: ClassVar[str] = "assistant"

    tools: list[Node] = Field(default_factory=list)
    says: Any = Field(default=None, exclude=True)
    """The class of its replies; None for words."""

    rounds: int = Field(default=8, ge=0)
    """How often the model may call tools, several at once, before it answers."""

    window: int = Field(default=24, ge=1)
    tokens: int | None = None
    deltas: bool = True
    messages: list[Message] = Field(default_factory=list)
    forgotten: int = 0
    """How many messages it has heard or said before those."""

    minutes: Node | None = None
    """Who is told what leaves the window and sums it up, a `SummaryNode`; None: it is forgotten."""

    leaving: list[Message] = Field(default_factory=list)
    """What has left the window and is not summed up yet: still shown to the model."""

    summary: str = ""
    """What the minutes say of all before."""

    @field_validator("says", mode="plain")
    @classmethod
    def _a_kind(cls, says: Any) -> Any:
        if says is None or (isinstance(says, type) and issubclass(says, Message)):
            return says
        raise Misused(f"says= takes a class of messages, such as Verdict, but got {says!r:.80}")

    def inform(self, message: Message) -> None:
        """Listen."""
        self._remember(message)

    def chat(self, message: Message) -> Any:
        """Answer, word by word, then with the whole message."""
        self._remember(message)
        requests: list[Asked] = []
        said = yield from self._answer(message, requests)
        if said is not None:
            note(self, said, requests, self.explains)
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

    # -- from a question to its answer -----------------------------------------------------------

    def _answer(
        self, message: Message, requests: list[Asked]
    ) -> Generator[Any, Any, Message | None]:
        """Ask the model, call what it calls, until it answers; None if it has nothing to say."""
        known, earlier = yield from remembered(self)
        functions = yield from self._functions()
        later: list[Message] = []  # what its calls came to, and what is to be mended
        failures: dict[tuple[str, str], Exception] = {}
        rounds, is_mended = 0, False
        while True:
            extra = max(0, len(known) - self.window) + len(later)
            answer, asked = yield from self._asked([*known, *later], extra, earlier, functions)
            requests.append(asked)
            if answer.calls:
                if rounds == self.rounds:
                    raise self._too_many(answer.calls) from next(reversed(failures.values()), None)
                rounds += 1
                calls = numbered(answer.calls)
                found = yield from outcomes(calls, functions)
                for call, outcome in zip(calls, found, strict=True):
                    self._check(call, outcome[2], failures)
                turn = self._called(message, answer.text, calls, found)
                later += turn
                self._remember(*turn)
                continue
            metadata = {"model": asked.model, **cost_of(requests)}
            if self.says is None:
                said = message.reply(answer.text, metadata=metadata)
                return said if answer.text.strip() else None
            try:
                typed = read(self.says, answer.text)
            except BadMessage as error:
                if is_mended:
                    raise self._not_typed(answer.text, error) from error
                is_mended = True
                later += [Message(answer.text, sender=self), Message(mend(self.says, error))]
                continue
            return typed.but(sender=self, to=message.sender, reply_to=message, metadata=metadata)

    def _functions(self) -> Generator[Any, Any, dict[str, Function]]:
        """What the model may call."""
        tools = tools_of(self)
        told = yield from told_by([node for node, _ in tools])
        return functions_of(tools, told)

    def _asked(
        self,
        messages: list[Message],
        extra: int,
        earlier: int | str,
        functions: dict[str, Function],
    ) -> Generator[Any, Any, tuple[Answer, Asked]]:
        """One request to the model."""
        live = self.deltas and self.says is None
        says = None if self.says is None else wanted(self.says)
        tools = [function.tool for function in functions.values()]
        return (
            yield from self._paid(
                lambda model: self._prepared(messages, extra, earlier, model),
                self._stream_answer if live else self._whole_answer,
                (messages, extra, earlier, tools),
                tools=tools,
                says=says,
                live=live,
            )
        )

    async def _whole_answer(self, fare: Fare, prepared: Prepared, *args: Any) -> Answer:
        says = None if self.says is None else wanted(self.says)
        return await self._whole(fare, prepared, args[-1], says)

    async def _stream_answer(
        self, fare: Fare, prepared: Prepared, *args: Any
    ) -> AsyncGenerator[Delta | Answer, None]:
        async with aclosing(self._spoken(fare, prepared, args[-1])) as parts:
            async for part in parts:
                yield part

    def _check(
        self, call: ToolCall, error: Exception | None, failures: dict[tuple[str, str], Exception]
    ) -> None:
        """Let a call raise once, and not just so again."""
        if error is None:
            return
        if (call.name, call.arguments) in failures:
            raise ToolFailed(
                f"{call.name}({call.arguments:.80}), which {self} called, raised"
                f" {type(error).__name__}: {error}; the model was told, and called it just so again"
            ) from error
        failures[call.name, call.arguments] = error

    def _called(
        self, message: Message, text: str, calls: Sequence[ToolCall], found: Sequence[Outcome]
    ) -> list[Message]:
        """What a round leaves in its memory: the calls, and each result in answer to them."""
        asked = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in calls]
        calling = Message(
            text,
            sender=self,
            reply_to=message,
            metadata=MappingProxyType({"tool_calls": asked}),
            id=self.uuid().hex,
        )
        results = [
            Message(
                words,
                sender=self,
                reply_to=calling,
                metadata=MappingProxyType({"tool_call_id": call.id, "tool": str(node or "")}),
                id=self.uuid().hex,
            )
            for call, (node, words, _error) in zip(calls, found, strict=True)
        ]
        return [calling, *results]

    def _too_many(self, calls: Sequence[ToolCall]) -> TooManyRounds:
        names = ", ".join(dict.fromkeys(call.name for call in calls))
        return TooManyRounds(
            f"the model of {self}, {self.model}, still calls tools ({names}) after {self.rounds}"
            f" rounds of calls; allow more, {type(self).__name__}(rounds=...), or ask for less"
        )

    def _not_typed(self, text: str, error: BadMessage) -> BadReply:
        bad = BadReply(
            f"{self.model} was asked for {self.says.kind}, and told what was wrong, but {self} got"
            f" {text!r:.80} ({error}); take a model that gives structured output, or a class with"
            ' fewer fields; to go on without a server: model="offline"'
        )
        bad.text = text
        return bad

    def _prepared(
        self, messages: list[Message], extra: int, earlier: int | str, model: Any = None
    ) -> Prepared:
        """The request: what it remembers, and the `extra` messages of this very answer."""
        options = {"window": self.window + extra, "tokens": self.tokens, "earlier": earlier}
        return prepare_for_openai(
            messages, viewer=self, roster=self.roster(), **{**options, **self._form(model)}
        )

    def _remember(self, *heard: Message) -> None:
        messages = [*self.messages, *heard]
        kept = messages[-self.window :]
        while kept and "tool_call_id" in kept[0].metadata:  # the result of a call that has gone
            kept = kept[1:]
        gone = messages[: len(messages) - len(kept)]
        self.forgotten = self.forgotten + len(gone)
        if self.minutes is not None and gone:
            self.leaving = [*self.leaving, *gone]
        self.messages = kept


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

    def query(self, message: Message) -> Any:
        """Summarise what it has heard."""
        asked = message if message.content.strip() else message.but(content="Summarise, please.")
        earlier = "" if self.summary is None else self.summary.content
        args = ([*self.messages, asked], earlier)
        answer, request = yield from self._paid(
            lambda model: self._prepared(*args, model), self._summarise, args
        )
        if answer.text.strip():
            metadata = {"model": request.model, **cost_of([request])}
            said = message.reply(answer.text, metadata=metadata)
            note(self, said, [request], self.explains)
            self.summary = said
            yield said

    async def _summarise(self, fare: Fare, prepared: Prepared, *args: Any) -> Answer:
        return await self._whole(fare, prepared)

    def _prepared(self, messages: list[Message], earlier: str, model: Any = None) -> Prepared:
        options = {"window": self.window + 1, "earlier": earlier, **self._form(model)}
        return prepare_for_openai(messages, viewer=self, **options)


async def _unlabelled(
    pieces: AsyncIterator[Piece], speaker: str | None
) -> AsyncGenerator[Piece, None]:
    """The pieces, without the speaker's label if they begin with it, and without empty ones."""
    label, head, begun = f"{speaker}:", "", False
    try:
        async for piece in pieces:
            if not isinstance(piece, str):
                yield piece
                continue
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
