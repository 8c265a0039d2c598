"""`explain`: why somebody said something: what his model was sent, what it cost, what caused it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Self

from llambdao.kernel.errors import Misused
from llambdao.kernel.graph import reachable
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.openai._calls import Answer, Tool, Usage
from llambdao.openai._prepare import Report

__all__ = ["Asked", "Explanation", "explain", "note"]

KEPT = "_explained"
"""The attribute of a node that keeps its last requests; never dumped."""

CHAIN = 24
"""How many messages of a chain of causes are told, unless more are asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a model: what it was sent, what it answered, what that cost.

    `body` is the exact body of the request; for a model that asks no server, what it was handed.
    `report` says what became of each message: which item, what was merged, what was left out and
    why. `usd` is None where nobody knows the price.
    """

    model: str
    body: dict[str, Any]
    report: Report | None
    answer: Answer
    usd: Decimal | None = None

    @classmethod
    def of(
        cls,
        model: Any,
        messages: Sequence[Mapping[str, Any]],
        answer: Answer,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
        streamed: bool = True,
        usd: Decimal | None = None,
    ) -> Self:
        """What there is to know of a request that was just answered."""
        if (write := getattr(model, "body", None)) is not None:
            body = dict(write(messages, tools=tools, says=says, stream=streamed))
        else:
            body = {"model": str(model), "messages": list(messages)}
            if tools:
                body["tools"] = [asdict(tool) for tool in tools]
            if says is not None:
                body["says"] = dict(says)
        return cls(str(model), body, getattr(messages, "report", None), answer, usd)

    @property
    def usage(self) -> Usage | None:
        """What the model told of its cost, if it did."""
        return self.answer.usage

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        report, usage, answer = self.report, self.usage, self.answer
        return {
            "model": self.model,
            "body": self.body,
            "messages": [] if report is None else _fates(report),
            "added": {} if report is None else {str(k): v for k, v in report.added.items()},
            "estimated_tokens": None if report is None else report.tokens,
            "answer": answer.text,
            "calls": [asdict(call) for call in answer.calls],
            "input_tokens": None if usage is None else usage.input_tokens,
            "output_tokens": None if usage is None else usage.output_tokens,
            "cached_tokens": None if usage is None else usage.cached_tokens,
            "usd": None if self.usd is None else str(self.usd),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message was said: the `requests` it came from, and the `chain` of what caused it.

    `str()` of it is for people, `dict()` for programs. `missing` says why there are no requests.
    """

    message: Message
    requests: tuple[Asked, ...]
    chain: tuple[Message, ...]
    missing: str = ""

    @property
    def usd(self) -> Decimal | None:
        """What it cost, None where nobody knows."""
        costs = [asked.usd for asked in self.requests]
        return None if not costs or None in costs else sum(filter(None, costs), Decimal(0))

    @property
    def tokens(self) -> int | None:
        """How many tokens it took, None where the model did not tell."""
        usages = [asked.usage for asked in self.requests]
        known = [usage.tokens for usage in usages if usage is not None]
        return sum(known) if usages and len(known) == len(usages) else None

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "message": self.message.dict(),
            "requests": [asked.dict() for asked in self.requests],
            "missing": self.missing,
            "usd": None if self.usd is None else str(self.usd),
            "tokens": self.tokens,
            "chain": [said.dict() for said in self.chain],
        }

    def __str__(self) -> str:
        lines = [f"{_named(self.message)}", "", "because"]
        lines += [f"  {number}. {_named(said)}" for number, said in enumerate(self.chain, 1)]
        if not self.chain:
            lines.append("  nothing that is known here")
        for number, asked in enumerate(self.requests, 1):
            count = "" if len(self.requests) == 1 else f" ({number} of {len(self.requests)})"
            lines += ["", f"{asked.model} was asked{count}", *_indented(_json(asked.body))]
            if asked.report is not None:
                lines += ["", "which is made of", *_indented(str(asked.report))]
            lines += ["", "and answered", *_indented(_answered(asked.answer))]
        lines += ["", f"cost: {self.missing or _cost(self)}"]
        return "\n".join(lines)


def explain(
    message: Message, within: Node | Iterable[Node] | None = None, *, chain: int = CHAIN
) -> Explanation:
    """Why this was said: what the model was sent, what was left out, the cost, what caused it.

    A model node keeps the requests behind the last messages it said, `explains` of them. A message
    that was parsed knows only the address of its sender: pass the network as `within`. The chain
    are the messages that this one answers, oldest first, at most `chain` of them.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ScriptedModel
    >>> said = ask(OpenAINode(name="Rumi", model=ScriptedModel("Love.")), "Why?")
    >>> explain(said).requests[0].body["messages"][-1]
    {'role': 'user', 'content': 'Why?'}
    >>> [cause.content for cause in explain(said).chain]
    ['Why?']
    """
    if not isinstance(message, Message):
        raise Misused(
            f"explain takes a message that was said, explain(ask(node, ...)), but got"
            f" {message!r:.80}"
        )
    thread = tuple(message.thread(chain + 1)[:-1])
    sender = _sender(message, within)
    kept: Any = () if sender is None else vars(sender).get(KEPT, ())
    requests = next((found for said, found in reversed(kept) if _is(said, message)), ())
    missing = "" if requests else _missing(message, sender, kept)
    return Explanation(message, tuple(requests), thread, missing)


def note(node: Any, said: Message, requests: Sequence[Asked], most: int) -> None:
    """Keep the requests behind what a node says, and those of as many as `most` messages."""
    if most <= 0:
        return
    kept: deque[Any] | None = vars(node).get(KEPT)
    if kept is None or kept.maxlen != most:
        # Not by assignment: what was sent stays known even where the turn is taken back.
        kept = vars(node)[KEPT] = deque(kept or (), most)
    kept.append((said, tuple(requests)))


def _sender(message: Message, within: Node | Iterable[Node] | None) -> Any:
    """Who said it, if he can be found."""
    if isinstance(message.sender, Node) or message.sender is None:
        return message.sender
    roots = [within] if isinstance(within, Node) else list(within or ())
    every = (node for root in roots for node in reachable(root))
    return next((node for node in every if node == message.sender), None)


def _is(said: Message, message: Message) -> bool:
    return said is message or (said.id is not None and said.id == message.id)


def _missing(message: Message, sender: Any, kept: Any) -> str:
    """Why nothing is known of a request."""
    if message.sender is None:
        return "it came from outside"
    if sender is None:
        return f"{message.sender} is known by its address only; explain(message, within=network)"
    if "model" not in type(sender).model_fields:
        return f"{sender} asks no model"
    if kept:
        return f"{sender} keeps the last {kept.maxlen} it said, explains={kept.maxlen}"
    return f"{sender} has asked no model for it, or not in this process"


def _fates(report: Report) -> list[dict[str, Any]]:
    merged = set(map(id, report.merged))
    return [
        {
            "id": fate.message.id,
            "speaker": fate.speaker,
            "content": fate.message.content,
            "item": fate.item,
            "merged": id(fate) in merged,
            "why": fate.why,
        }
        for fate in report.fates
    ]


def _named(said: Message) -> str:
    """Who said what, on one line."""
    words = " ".join(said.content.split())
    who = said.sender if said.sender is not None else "someone"
    return f"{who}: {words if len(words) <= 200 else words[:199] + '…'}"


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, default=str)


def _answered(answer: Answer) -> str:
    calls = [f"call {one.name}({one.arguments})" for one in answer.calls]
    return "\n".join([*([answer.text] if answer.text else []), *calls]) or "nothing"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _cost(why: Explanation) -> str:
    tokens = "tokens unknown" if why.tokens is None else f"{why.tokens:,} tokens"
    if why.usd is None:
        return f"{tokens}, price unknown"
    return f"{tokens}, {why.usd.normalize():f} usd"
