"""Tools are nodes: their intents as functions for a model, and its calls as questions to them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from llambdao.kernel.errors import BadMessage, Deadlock, LimitReached, Misused
from llambdao.kernel.message import KINDS, Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import OVER, WAITING, AllOf, Ask, all_of
from llambdao.openai._approval import approvers, asking, refusal
from llambdao.openai._calls import Tool, ToolCall
from llambdao.openai._errors import IsOffline, ModelError, ScriptEnded
from llambdao.openai._typed import fill_in, words_of

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = [
    "Function",
    "TooManyRounds",
    "ToolFailed",
    "functions_of",
    "numbered",
    "outcomes",
    "told_by",
    "tools_of",
]

QUESTIONS = ("request", "query", "chat")
"""What a node of the library itself is asked: the first of these that it understands."""

LONGEST = 1024
"""How many characters of a description servers take."""

OURS = __name__.partition(".")[0] + "."

PASSED_ON = (LimitReached, Deadlock, Misused, IsOffline, ScriptEnded)
"""Errors that are no answer to give a model: they end what it was asked for."""


class TooManyRounds(ModelError):
    """A model went on calling tools instead of answering; `rounds=` says how often it may."""


class ToolFailed(ModelError):
    """A tool raised, the model was told, and called it just so again: it raised again."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call, and the question to a node that it stands for.

    `approved_by` are asked before each call. `part` names one of the functions that a node tells
    of itself, which are all one intent.
    """

    tool: Tool
    node: Any
    intent: str
    kind: type[Message] = Message
    part: str | None = None
    approved_by: tuple[Any, ...] = ()

    def message(self, arguments: str) -> Message:
        """What is asked of the node; `BadMessage` says what is wrong with the arguments."""
        try:
            data = json.loads(arguments or "{}")
        except ValueError as error:
            raise BadMessage(f"the arguments are no JSON: {error}") from error
        if not isinstance(data, Mapping):
            raise BadMessage(f"the arguments are to be a JSON object, not {data!r:.80}")
        if self.part is not None:
            return fill_in(self.kind, {"function": self.part, "arguments": data})
        return fill_in(self.kind, data)


# -- from nodes to functions -----------------------------------------------------------------------


def tools_of(node: Any) -> list[tuple[Any, Mapping[str, Any]]]:
    """The nodes that are tools of this one, with the metadata of the edges to them.

    Those in `tools` come first, then those it is linked to, in that order: not the networks it is
    a member of, and no edge that says `tool=False`.
    """
    edges = {key: edge for key, edge in node.edges.items() if isinstance(edge.node, Node)}
    found = {one.id: (one, edges[one.id].metadata if one.id in edges else {}) for one in node.tools}
    for key, edge in edges.items():
        is_table = node in getattr(edge.node, "members", ())
        if key not in found and edge.metadata.get("tool", True) and not is_table:
            found[key] = (edge.node, edge.metadata)
    return list(found.values())


def functions_of(
    tools: Iterable[tuple[Any, Mapping[str, Any]]], told: Mapping[str, Any]
) -> dict[str, Function]:
    """The functions of these nodes by name: each name once, as servers take it.

    `told` is what nodes that understand `functions` told of theirs, by the id of the node.
    """
    found: dict[str, Function] = {}
    for node, metadata in tools:
        for word, kind, part, description, parameters in _offers(node, told.get(node.id)):
            name = _unique(f"{node}_{part or word}", found)
            tool = Tool(name, description, parameters)
            asked = approvers(metadata, part or word)
            found[name] = Function(tool, node, word, kind, part, asked)
    return found


Offer = tuple[str, type[Message], "str | None", str, dict[str, Any]]


def _offers(node: Any, told: Any) -> Iterable[Offer]:
    """What a node can do: intent, class of message, part, description, parameters."""
    if told is not None:
        kind = _kind_of(_handler(node, "do"))
        for one in told.functions:
            yield "do", kind, one["name"], one.get("description") or "", one["parameters"]
        return
    for word in _declared(node):
        function = _handler(node, word)
        kind = _kind_of(function)
        yield word, kind, None, _description(node, function), kind.json_schema()


def _declared(node: Any) -> list[str]:
    """The intents that are functions: all it declares, each handler once, and never `be`.

    A class of this library says nothing of its own with them: one question is enough.
    """
    if type(node).__receive__ is not None:
        return ["request"]
    handlers = {word: _handler(node, word) for word in node.intents if word != "be"}
    ours = {word for word in handlers if handlers[word].__module__.startswith(OURS)}
    question = next((word for word in QUESTIONS if word in handlers), None)
    words: dict[Any, str] = {}
    for word, handler in handlers.items():
        if word not in ours or word == question:
            words.setdefault(handler, word)
    return list(words.values())


def _handler(node: Any, word: str) -> Callable[..., Any]:
    handlers: Mapping[str, Any] = type(node).__handlers__
    function: Callable[..., Any] = handlers[word][0] if word in handlers else type(node).receive
    return function


def _kind_of(function: Callable[..., Any]) -> type[Message]:
    """The class of messages a handler is written for: what its argument is annotated with."""
    names = [*inspect.signature(function).parameters][1:2]
    try:
        hint = get_type_hints(function).get(*names) if names else None
    except (NameError, TypeError):  # a class of a place that is gone: messages are known by kind
        written = str(function.__annotations__.get(*names)) if names else ""
        hint = KINDS.get(written.strip("'\""))
    return hint if isinstance(hint, type) and issubclass(hint, Message) else Message


def _description(node: Any, function: Callable[..., Any]) -> str:
    """What a model is told of a function: what its docstring says, and who it is."""
    written = function.__doc__ or vars(type(node)).get("__doc__") or ""
    lines = [inspect.cleandoc(written).partition("\n>>>")[0].strip()]
    if members := getattr(node, "members", ()):
        lines.append(f"{node} is made of {', '.join(map(str, members))}.")
    if node.role == "user":
        lines.append(f"{node} is a person.")
    if node.persona:
        lines.append(f"{node}: {node.persona}")
    return "\n".join(lines).strip()[:LONGEST]


def _unique(name: str, taken: Iterable[str]) -> str:
    """The name as servers take it, and another than all others."""
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_") or "tool"
    number, unique = 1, plain[:64]
    while unique in taken:
        number += 1
        unique = f"{plain[: 63 - len(str(number))]}_{number}"
    return unique


# -- from calls to questions -----------------------------------------------------------------------


class Use(Ask):
    """A question to a tool: not to say a word is an answer, too, None."""

    def ended(self, scheduler: Scheduler, child: Activation) -> None:
        if self.answer:
            Ask.ended(self, scheduler, child)
        else:
            self.take(scheduler, 0, None)


class Each(AllOf):
    """All of them, in the order given: a failure is a value as well, and ends no other."""

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        self.values = [None] * len(self.parts)
        self.left = len(self.parts)
        for place, part in enumerate(self.parts):
            try:
                value = part.start(scheduler, act, self, place)
            except Exception as error:
                part.state = OVER
                if isinstance(error, PASSED_ON):
                    self.others(scheduler)
                    raise
                value = error
            if value is not WAITING:
                self.values[place] = value
                self.left -= 1
        return WAITING if self.left else self.values

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        if isinstance(error, PASSED_ON) or not isinstance(error, Exception):
            AllOf.fail(self, scheduler, branch, error)
        else:
            self.take(scheduler, branch, error)


def numbered(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls, each with an id of its own: some servers give none, or one for all."""
    ids: set[str] = set()
    found = []
    for place, call in enumerate(calls, 1):
        unique = call.id if call.id and call.id not in ids else f"call_{place}"
        while unique in ids:
            unique += "_"
        ids.add(unique)
        found.append(replace(call, id=unique))
    return found


Outcome = tuple[Any, str, "Exception | None"]
"""What came of a call: who answered, with which words, and the error if the tool raised one."""


def outcomes(
    calls: Sequence[ToolCall], functions: Mapping[str, Function]
) -> Generator[Any, Any, list[Outcome]]:
    """Call the tools, all at once, once who has to has agreed: what came of each, in order."""
    found: list[Any] = [_planned(call, functions) for call in calls]
    ready = [place for place, one in enumerate(found) if isinstance(one[1], Message)]
    yield from _approve(calls, found, ready)
    ready = [place for place in ready if isinstance(found[place][1], Message)]
    if ready:
        uses = [_use(*found[place]) for place in ready]
        for place, value in zip(ready, (yield Each(parts=tuple(uses))), strict=True):
            function = found[place][0]
            if isinstance(value, Exception):
                words = f"error: {type(value).__name__}: {value}"
                found[place] = (function, words, value)
            else:
                found[place] = (function, _said(value), None)
    return [(f.node if f is not None else None, words, error) for f, words, error in found]


def _planned(
    call: ToolCall, functions: Mapping[str, Function]
) -> tuple[Function | None, Message | str, None]:
    """The function that is meant and what it is asked, or what is wrong with the call."""
    function = functions.get(call.name)
    if function is None:
        known = ", ".join(functions) or "none"
        return None, f"error: no function is called {call.name!r}; there are: {known}", None
    try:
        return function, function.message(call.arguments), None
    except BadMessage as error:
        return function, f"error: {error}", None


def _use(function: Function, message: Message, _: None) -> Use:
    every = bool(getattr(function.node, "members", ()))
    return Use(function.node, message, function.intent, every)


def _approve(
    calls: Sequence[ToolCall], found: list[Any], ready: list[int]
) -> Generator[Any, Any, None]:
    """Ask whoever has to agree, all at once; a call that is refused is not made."""
    asks: list[Ask] = []
    spans: dict[int, tuple[int, int]] = {}
    for place in ready:
        function = found[place][0]
        if function.approved_by:
            word, arguments = function.part or function.intent, calls[place].arguments
            first = len(asks)
            asks += [asking(function.node, word, arguments, o) for o in function.approved_by]
            spans[place] = (first, len(asks))
    if not asks:
        return
    answers = yield Each(parts=tuple(asks))
    for place, (first, end) in spans.items():
        function = found[place][0]
        if why := refusal(function.approved_by, answers[first:end]):
            found[place] = (function, why, None)


def _said(value: Any) -> str:
    """What a tool said, as a model hears it: of a network every reply, with its speaker."""
    if value is None:
        return "(done, without a word)"
    if isinstance(value, list):
        return "\n".join(f"{reply.sender}: {words_of(reply)}" for reply in value)
    return words_of(value)


def told_by(nodes: Sequence[Any]) -> Generator[Any, Any, dict[str, Any]]:
    """What those of the nodes tell of their functions that understand `functions`, by id."""
    asked = [node for node in nodes if "functions" in node.intents]
    if not asked:
        return {}
    answers = yield all_of(*(node.ask("", intent="functions") for node in asked))
    told = {node.id: answer for node, answer in zip(asked, answers, strict=True)}
    return {key: answer for key, answer in told.items() if hasattr(answer, "functions")}
