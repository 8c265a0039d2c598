"""Conversations as OpenTelemetry spans and metrics, by its conventions for generative AI.

Needs the extra `otel`, and an SDK that says where the spans go.

>>> from llambdao import Node, ask
>>> class Echo(Node):
...     def chat(self, message):
...         return message.content
>>> ask(Echo(), "Hello", observe=Spans()).content  # which go nowhere before an SDK is set up
'Hello'
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import inf
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

from llambdao.kernel.events import Event, Reason
from llambdao.kernel.fans import Fan
from llambdao.kernel.message import Message
from llambdao.kernel.turn import current
from llambdao.kernel.waits import OVER, Composite
from llambdao.runtime.observe import (
    Handling,
    Handlings,
    Observer,
    code_of,
    few,
    kind_of_wait,
)

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        "llambdao.otel needs opentelemetry-api, which is not installed:"
        " pip install 'llambdao[otel]'"
    ) from error

__all__ = ["Meters", "Spans", "current_span", "inject", "traceparent"]

W3C = TraceContextTextMapPropagator()

REMEMBERED = 1000
"""How many ended spans of a conversation can still be linked to, and how many callers be found."""

OUTPUTS = 128
"""How many of the replies of one handler are kept as content."""

USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "tokens": "gen_ai.usage.total_tokens",  # this one and the next are not in the conventions
    "usd": "gen_ai.usage.cost",
}
"""What the metadata of a message may say it took, and which attribute that becomes."""

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))

MODEL = "gen_ai.response.model"


class Run:
    """A handler's span, and what is gathered for it while it runs."""

    __slots__ = ("fans", "outputs", "span", "usage")

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self.usage: dict[str, float] = {}
        self.outputs: deque[dict[str, Any]] = deque(maxlen=OUTPUTS)
        self.fans: list[Fan] = []


class Tree:
    """The span of a conversation, and what is needed to find the place of those below it."""

    __slots__ = ("context", "ended", "relays", "span")

    def __init__(self, span: trace.Span, above: context.Context) -> None:
        self.span, self.context = span, above
        self.ended: dict[tuple[str, str], trace.SpanContext] = {}
        self.relays: dict[int, list[tuple[Fan, Handling]]] = {}

    def relayed(self, fan: Fan, by: Handling) -> None:
        """A handler hands a message on: those who get it are below it."""
        run: Run = by.value
        if fan not in run.fans:
            for old in [one for one in run.fans if one.state == OVER]:
                self.forget(old, run)
            run.fans.append(fan)
            self.relays.setdefault(id(fan.message), []).append((fan, by))

    def forget(self, fan: Fan, run: Run) -> None:
        """It is handed on no more."""
        run.fans.remove(fan)
        left = [pair for pair in self.relays.pop(id(fan.message), ()) if pair[0] is not fan]
        if left:
            self.relays[id(fan.message)] = left

    def relayer(self, node: Any, message: Any) -> Handling | None:
        """Who handed this message on to this node, the last one of those who did."""
        relays = self.relays.get(id(message), ())
        for fan, handling in reversed(relays):
            if len(relays) == 1 or any(member is node for member in fan.nodes):
                return handling
        return None

    def remember(self, handling: Handling) -> None:
        """A span has ended; later ones may still refer to it."""
        key = _key(handling.node, handling.message)
        self.ended[key] = handling.value.span.get_span_context()
        if len(self.ended) > REMEMBERED:
            del self.ended[next(iter(self.ended))]


class Spans(Observer):
    """A span for each conversation, and below it one for each handler, by who asked whom.

    With `content` the spans also have what was said; mind whose eyes that is for.
    The trace goes on from the `traceparent` in the metadata of the opening message, or else from
    the span of whoever opened the conversation.
    """

    def __init__(
        self, tracer_provider: trace.TracerProvider | None = None, content: bool = False
    ) -> None:
        self.content = content
        self._tracer = trace.get_tracer("llambdao", tracer_provider=tracer_provider)
        self._handlings = Handlings()
        self._callers: dict[str, context.Context] = {}
        ALL.add(self)

    def said(self, event: Event) -> None:
        message = event.message
        if message is event.conversation:
            self._note_caller(message)
            return
        handling = self._handlings.find(event.node, message.reply_to)
        if handling is None:
            self._note(event, "said", self._about(message))
            return
        run: Run = handling.value
        run.span.add_event("llambdao.said", self._about(message))
        for name, value in spent(message.metadata):
            run.usage[name] = total = run.usage.get(name, 0) + value
            run.span.set_attribute(USAGE[name], total)
        if isinstance(model := message.metadata.get("model"), str):
            run.span.set_attribute(MODEL, model)
        if self.content and message.to == handling.message.sender:
            run.outputs.append({**_written(message, "assistant"), "finish_reason": "stop"})

    def delivered(self, event: Event) -> None:
        handling = self._handlings.begin(event)
        if handling is None:
            return
        node, message, conversation = event.node, event.message, handling.conversation
        if conversation.value is None:
            conversation.value = self._open(event)
        tree: Tree = conversation.value
        parent, links = tree.span, []
        origin = self._handlings.find(message.sender, message.reply_to)
        if origin is not None:
            if origin.conversation is conversation:
                parent = origin.value.span
            links = [origin.value.span.get_span_context()]
        elif (ended := tree.ended.get(_key(message.sender, message.reply_to))) is not None:
            links = [ended]
        if (relayer := tree.relayer(node, message)) is not None:
            parent = relayer.value.span
        above = parent.get_span_context()
        span = self._tracer.start_span(
            f"invoke_agent {node}",
            trace.set_span_in_context(parent, tree.context),
            attributes={
                **_common(event, "invoke_agent"),
                "gen_ai.agent.name": str(node),
                "gen_ai.agent.id": node.id,
                "llambdao.intent": str(message.intent),
                "llambdao.message.id": message.id,
            },
            links=[trace.Link(link) for link in links if link != above],
        )
        if self.content:
            span.set_attribute("gen_ai.input.messages", json.dumps([_written(message, "user")]))
        handling.value = Run(span)

    def waits(self, event: Event) -> None:
        handling = self._handlings.find(event.node, event.message)
        if handling is None:
            return
        attributes = {"llambdao.wait": kind_of_wait(event.detail)}
        if self.content:
            attributes["llambdao.content"] = str(event.detail)
        handling.value.span.add_event("llambdao.waits", attributes)
        for fan in _fans(event.detail):
            handling.conversation.value.relayed(fan, handling)

    def ended(self, event: Event) -> None:
        handling = self._handlings.end(event)
        if handling is not None:
            if event.detail is not None:
                handling.value.span.set_attribute("llambdao.ended", str(event.detail))
            self._close(handling)

    def failed(self, event: Event) -> None:
        handling = self._handlings.end(event)
        if handling is not None:
            span: trace.Span = handling.value.span
            span.record_exception(event.detail)
            span.set_attribute("error.type", type_of(event.detail))
            span.set_status(trace.StatusCode.ERROR, type_of(event.detail))
            self._close(handling)

    def dead(self, event: Event) -> None:
        reason = {"llambdao.reason": code_of(event.detail)}
        self._note(event, "dead", {**self._about(event.message), **reason})

    def supervised(self, event: Event) -> None:
        strategy = {"llambdao.strategy": str(event.detail)}
        self._note(event, "supervised", {**self._about(event.message), **strategy})

    def over(self, event: Event) -> None:
        self._callers.pop(event.conversation.id, None)
        conversation = self._handlings.over(event)
        if conversation is None:
            return
        for handling in reversed([*conversation.handlings.values()]):
            handling.value.span.end()
        span: trace.Span = conversation.value.span
        span.set_attribute("llambdao.reason", str(event.detail))
        if event.detail in (Reason.FAILED, Reason.DEADLOCK):
            span.set_status(trace.StatusCode.ERROR, str(event.detail))
        span.end()

    def _note_caller(self, opening: Message) -> None:
        """Who opens a conversation may be elsewhere by the time its first handler begins."""
        if caller := context.get_current():
            self._callers[opening.id] = caller
            if len(self._callers) > REMEMBERED:  # what is refused at the door is never over
                del self._callers[next(iter(self._callers))]

    def _open(self, event: Event) -> Tree:
        """The span of a conversation."""
        opening = event.conversation
        above = self._callers.pop(opening.id, None) or context.Context()
        carrier = {key: opening.metadata.get(key) for key in ("traceparent", "tracestate")}
        above = W3C.extract({k: v for k, v in carrier.items() if isinstance(v, str)}, above)
        span = self._tracer.start_span(
            f"conversation {event.node}",
            above,
            attributes={
                **_common(event, "invoke_workflow"),
                "gen_ai.workflow.name": str(event.node),
            },
        )
        span.add_event("llambdao.said", self._about(opening))
        return Tree(span, above)

    def _note(self, event: Event, name: str, attributes: Mapping[str, str]) -> None:
        """An event of the conversation's span."""
        conversation = self._handlings.conversation(event)
        if conversation is not None:
            conversation.value.span.add_event(f"llambdao.{name}", attributes)

    def _about(self, message: Message) -> dict[str, str]:
        about = {"llambdao.intent": str(message.intent), "llambdao.message.id": message.id}
        if message.to is not None:
            about["llambdao.to"] = str(message.to)
        if self.content:
            about["llambdao.content"] = message.content
        return about

    def _close(self, handling: Handling) -> None:
        run: Run = handling.value
        tree: Tree = handling.conversation.value
        for fan in [*run.fans]:
            tree.forget(fan, run)
        tree.remember(handling)
        if run.outputs:
            run.span.set_attribute("gen_ai.output.messages", json.dumps([*run.outputs]))
        run.span.end()


ALL: WeakSet[Spans] = WeakSet()
"""Every observer that makes spans: where a handler's own is found."""


# -- inside a handler --------------------------------------------------------------------------


def current_span() -> trace.Span:
    """The span of the handler that is running: for attributes of one's own, for spans below it.

    Where nobody makes spans, it is whatever span OpenTelemetry has as the current one.
    """
    if (turn := current()) is not None:
        for spans in [*ALL]:
            handling = spans._handlings.find(turn[0].node, turn[0].message)
            if handling is not None:
                run: Run = handling.value
                return run.span
    return trace.get_current_span()


def inject(metadata: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """This metadata, and in it the span of the handler that is running, as W3C `traceparent`.

    For a message that leaves the process: what it begins elsewhere belongs to the same trace.
    """
    carrier: dict[str, str] = {}
    W3C.inject(carrier, trace.set_span_in_context(current_span(), context.Context()))
    return {**metadata, **carrier}


def traceparent(message: Message) -> str | None:
    """The span of the handler that is running, as a W3C header for a service that it calls.

    Outside of handlers it is what the metadata of the message says, if anything.
    """
    return inject(message.metadata).get("traceparent")


# -- metrics -----------------------------------------------------------------------------------


class Meters(Observer):
    """Counts messages, dead letters and tokens, and how long handlers take, for OpenTelemetry.

    A duration is from delivery to end, all waiting included; `now` gives nanoseconds. After `most`
    different names and intents the rest is counted as `other`.
    """

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        most: int = 1000,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._most, self._now = most, now
        self._handlings = Handlings()
        self._known: dict[str, dict[tuple[str, ...], None]] = {}
        meter = metrics.get_meter("llambdao", meter_provider=meter_provider)
        self._seconds = meter.create_histogram(
            "llambdao.handler.duration",
            "s",
            "How long a handler took, waiting included.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._messages = meter.create_counter("llambdao.messages", "{message}", "Messages said.")
        self._dead = meter.create_counter(
            "llambdao.dead_letters", "{message}", "Messages that nobody handled."
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    def said(self, event: Event) -> None:
        message = event.message
        self._messages.add(1, self._few("messages", {"llambdao.intent": message.intent}))
        for name, value in spent(message.metadata):
            if name in ("input_tokens", "output_tokens"):
                attributes = {
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.provider.name": "llambdao",
                    "gen_ai.token.type": name.removesuffix("_tokens"),
                }
                model = self._few("tokens", {MODEL: message.metadata.get("model", "")})
                self._tokens.record(value, attributes | ({} if model[MODEL] == "" else model))

    def delivered(self, event: Event) -> None:
        handling = self._handlings.begin(event)
        if handling is not None:
            handling.value = self._now()

    def ended(self, event: Event) -> None:
        self._end(event)

    def failed(self, event: Event) -> None:
        self._end(event, {"error.type": type_of(event.detail)})

    def dead(self, event: Event) -> None:
        self._dead.add(1, self._few("dead", {"llambdao.reason": code_of(event.detail)}))

    def over(self, event: Event) -> None:
        self._handlings.over(event)

    def _end(self, event: Event, error: Mapping[str, str] = MappingProxyType({})) -> None:
        handling = self._handlings.end(event)
        if handling is not None:
            attributes = {
                "gen_ai.agent.name": event.node,
                "llambdao.intent": event.message.intent,
                **error,
            }
            operation = {"gen_ai.operation.name": "invoke_agent"}
            seconds = (self._now() - handling.value) / 1e9
            self._seconds.record(seconds, operation | self._few("seconds", attributes))

    def _few(self, instrument: str, attributes: Mapping[str, Any]) -> dict[str, str]:
        """These attributes as text, or `other` once there were too many different ones."""
        known = self._known.setdefault(instrument, {})
        labels = few(known, self._most, *attributes.values())
        known[labels] = None
        return dict(zip(attributes, labels, strict=True))


# -- what is read off --------------------------------------------------------------------------


def spent(metadata: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What a message says it took, as far as that is a number."""
    for name in USAGE:
        value = metadata.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf:
            yield name, value


def type_of(error: BaseException) -> str:
    """The class of an error, with its module unless it is built in."""
    kind = type(error)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{where}{kind.__qualname__}"


def _common(event: Event, operation: str) -> dict[str, str]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "llambdao",
        "gen_ai.conversation.id": event.conversation.id,
    }


def _written(message: Message, role: str) -> dict[str, Any]:
    """A message as the conventions want its content."""
    written: dict[str, Any] = {
        "role": role,
        "parts": [{"type": "text", "content": message.content}],
    }
    return written if message.sender is None else {**written, "name": str(message.sender)}


def _key(node: Any, message: Any) -> tuple[str, str]:
    """Who and what, also of those that live elsewhere."""
    return getattr(node, "id", ""), getattr(message, "id", "")


def _fans(wait: Any) -> Iterator[Fan]:
    """The waits that hand a message on, among those a handler waits for."""
    if isinstance(wait, Fan):
        if isinstance(wait.message, Message):
            yield wait
    elif isinstance(wait, Composite):
        for part in wait.parts:
            yield from _fans(part)
