"""Traces show who asked whom, metrics how often and how long; neither keeps or leaks anything."""

import asyncio
import gc
import inspect
import json
import subprocess
import sys
from itertools import count

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from llambdao import (
    Event,
    GroupChatNode,
    MapperNode,
    Message,
    Node,
    UnknownIntent,
    all_of,
    ask,
    sleep,
    tell,
    turns,
)
from llambdao.otel import Meters, Spans, current_span, inject, traceparent
from llambdao.testing import VirtualClock


class Echo(Node):
    def chat(self, message):
        return message.content

    def request(self, message):
        return message.content

    def inform(self, message):
        pass


class Broken(Node):
    def request(self, message):
        raise ValueError("oops")


class Asker(Node):
    """Asks its peer whatever it is asked itself."""

    peer: Node

    def chat(self, message):
        return (yield self.peer.ask(message.content)).content

    def request(self, message):
        return (yield self.peer.ask(message.content)).content


class Teller(Node):
    """Tells its peer, and stays at work for so many seconds."""

    peer: Node
    seconds: float = 0.0

    def chat(self, message):
        yield self.peer.tell(message.content)
        if self.seconds:
            yield sleep(self.seconds)


class Talker(Node):
    def chat(self, message):
        yield "one"
        yield "two"


class Order(SpanProcessor):
    """Notes in which order spans begin."""

    def __init__(self):
        self.ids = []

    def on_start(self, span, parent_context=None):
        self.ids.append(span.context.span_id)


class Trace:
    """What was exported, and how it hangs together."""

    def __init__(self):
        self.exporter, self.order = InMemorySpanExporter(), Order()
        self.provider = TracerProvider()
        self.provider.add_span_processor(self.order)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self):
        """All that have ended, in the order in which they began."""
        spans = {span.context.span_id: span for span in self.exporter.get_finished_spans()}
        return [spans[one] for one in self.order.ids if one in spans]

    @property
    def tree(self):
        """One line per span below its parent: name, links, outcome."""
        names = {span.context.span_id: span.name for span in self.spans}
        lines = []

        def draw(span, depth):
            links = [f" <- {names[link.context.span_id]}" for link in span.links]
            outcome = " ERROR" if span.status.status_code == trace.StatusCode.ERROR else ""
            lines.append("  " * depth + span.name + "".join(links) + outcome)
            for other in self.spans:
                if other.parent is not None and other.parent.span_id == span.context.span_id:
                    draw(other, depth + 1)

        for span in self.spans:
            if span.parent is None or span.parent.span_id not in names:
                draw(span, 0)
        return lines

    def of(self, name):
        """The only span of this name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span


@pytest.fixture
def traced():
    """Gives an empty trace."""
    return Trace()


def events(span):
    """Lists the events of a span: their names, and what they are about."""
    return [(event.name, dict(event.attributes)) for event in span.events]


# -- trees -------------------------------------------------------------------------------------


def test_one_reply_is_a_conversation_and_a_handler(traced):
    """The two spans have the attributes of the conventions, and our own."""
    ann, opening = Echo(name="Ann"), Message("hi")
    ask(ann, opening, observe=Spans(traced.provider))
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann"]
    assert dict(traced.of("conversation Ann").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.provider.name": "llambdao",
        "gen_ai.conversation.id": opening.id,
        "gen_ai.workflow.name": "Ann",
        "llambdao.reason": "done",
    }
    assert dict(traced.of("invoke_agent Ann").attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "llambdao",
        "gen_ai.conversation.id": opening.id,
        "gen_ai.agent.name": "Ann",
        "gen_ai.agent.id": ann.id,
        "llambdao.intent": "chat",
        "llambdao.message.id": opening.id,
    }
    assert {span.kind for span in traced.spans} == {trace.SpanKind.INTERNAL}
    assert {span.status.status_code for span in traced.spans} == {trace.StatusCode.UNSET}


def test_who_is_asked_is_below_who_asks(traced):
    """An ask in an ask is a span in a span."""
    ann = Asker(name="Ann", peer=Asker(name="Bob", peer=Echo(name="Cid")))
    ask(ann, "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "    invoke_agent Bob",
        "      invoke_agent Cid",
    ]


def test_three_who_are_asked_at_once_are_side_by_side(traced):
    """`all_of` makes siblings."""

    class Boss(Node):
        def chat(self, message):
            yield all_of(*(Echo(name=name).ask("hi") for name in ("Bob", "Cid", "Dan")))

    tell(Boss(name="Ann"), "go", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "    invoke_agent Bob",
        "    invoke_agent Cid",
        "    invoke_agent Dan",
    ]


def test_gathered_asks_of_a_coroutine_are_side_by_side(traced):
    """So does `asyncio.gather`."""

    class Boss(Node):
        async def chat(self, message):
            await asyncio.gather(Echo(name="Bob").ask("hi"), Echo(name="Cid").ask("hi"))
            await Echo(name="Dan").ask("hi")

    tell(Boss(name="Ann"), "go", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "    invoke_agent Bob",
        "    invoke_agent Cid",
        "    invoke_agent Dan",
    ]


def test_members_are_below_the_network_that_relays_to_them(traced):
    """However deep; whose words they hear is a link, unless it is nobody's here."""
    inner = MapperNode(Echo(name="Cid"), name="inner")
    outer = MapperNode(Echo(name="Bob"), inner, Echo(name="Dan"), name="outer")
    tell(outer, "hi", observe=Spans(traced.provider))
    tell(Asker(name="Ann", peer=outer), "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation outer",
        "  invoke_agent outer",
        "    invoke_agent Bob",
        "    invoke_agent inner",
        "      invoke_agent Cid",
        "    invoke_agent Dan",
        "conversation Ann",
        "  invoke_agent Ann",
        "    invoke_agent outer",
        "      invoke_agent Bob <- invoke_agent Ann",
        "      invoke_agent inner <- invoke_agent Ann",
        "        invoke_agent Cid <- invoke_agent Ann",
        "      invoke_agent Dan <- invoke_agent Ann",
    ]


def test_a_member_that_starts_late_is_below_its_own_network(traced):
    """Also when an inner network, to which the same message went, is still at work."""

    class Slow(Node):
        def chat(self, message):
            yield sleep(1)

    inner = MapperNode(Slow(name="Bob"), name="inner")
    outer = MapperNode(inner, Echo(name="Cid"), name="outer")
    tell(outer, "hi", observe=Spans(traced.provider), clock=VirtualClock())
    assert traced.tree == [
        "conversation outer",
        "  invoke_agent outer",
        "    invoke_agent inner",
        "      invoke_agent Bob",
        "    invoke_agent Cid",
    ]


def test_a_member_of_two_networks_is_below_each_of_them(traced):
    """The last one to pass a message on comes first."""
    bob = Echo(name="Bob")
    outer = MapperNode(MapperNode(bob, name="inner"), bob, name="outer")
    tell(outer, "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation outer",
        "  invoke_agent outer",
        "    invoke_agent inner",
        "      invoke_agent Bob",
        "    invoke_agent Bob",
    ]


def test_a_relay_among_other_waits_is_a_relay(traced):
    """Also in `all_of` and `any_of`."""

    class Table(MapperNode):
        def chat(self, message):
            yield all_of(sleep(1), all_of(self.relay(message)))

    table = Table(Echo(name="Ann"), name="table")
    tell(table, "hi", observe=Spans(traced.provider), clock=VirtualClock())
    assert traced.tree == ["conversation table", "  invoke_agent table", "    invoke_agent Ann"]


def test_a_group_chat_is_flat_and_linked(traced):
    """Each utterance is heard below the table, with a link to the turn in which it was said."""

    class Sage(Node):
        def chat(self, message):
            return "Hm."

    table = GroupChatNode(Sage(name="Ann"), Sage(name="Bob"), until=turns(4), name="table")
    tell(table, "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation table",
        "  invoke_agent table",
        "    invoke_agent Ann",
        "    invoke_agent Bob",
        "    invoke_agent Bob <- invoke_agent Ann",
        "    invoke_agent Ann <- invoke_agent Bob",
    ]


def test_what_is_told_is_below_a_teller_who_is_still_at_work(traced):
    """A tell that is handled meanwhile is a child."""
    ann = Teller(name="Ann", peer=Echo(name="Bob"), seconds=1.0)
    tell(ann, "hi", observe=Spans(traced.provider), clock=VirtualClock())
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann", "    invoke_agent Bob"]


def test_what_is_told_is_linked_to_a_teller_who_has_ended(traced):
    """Its span could not be within that one, so it is within the conversation's."""
    ann = Teller(name="Ann", peer=Echo(name="Bob"))
    tell(ann, "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "  invoke_agent Bob <- invoke_agent Ann",
    ]


def test_what_a_class_hands_on_to_its_own_base_is_one_span(traced):
    """`super().receive(message)` is no other handler."""

    class Logged(Echo):
        def receive(self, message):
            yield super().receive(message)
            yield self.peer.ask("and you?")

    bob = Logged(name="Bob")
    bob.peer = Echo(name="Cid")
    ask(Asker(name="Ann", peer=bob), "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "    invoke_agent Bob",
        "      invoke_agent Cid",
    ]


def test_conversations_at_the_same_time_are_separate_traces(traced):
    """Though one observer sees both, and the same node is in both."""
    spans, ann = Spans(traced.provider), Talker(name="Ann")
    one, other = (ann.receive(words, observe=spans) for words in ("first", "second"))
    for _ in zip(one, other, strict=True):
        pass
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann"] * 2
    assert len({span.context.trace_id for span in traced.spans}) == 2


def test_an_answer_in_another_conversation_is_linked(traced):
    """A trace stays one conversation, but says where it came from."""
    spans, ann, opening = Spans(traced.provider), Talker(name="Ann"), Message("hi")
    conversation = ann.receive(opening, observe=spans)
    next(conversation)
    aside = Message("by the way", sender=ann, reply_to=opening, intent="chat")
    ask(Echo(name="Bob"), aside, observe=spans)
    conversation.close()
    assert traced.tree == [
        "conversation Ann",
        "  invoke_agent Ann",
        "conversation Bob",
        "  invoke_agent Bob <- invoke_agent Ann",
    ]


# -- how it ends -------------------------------------------------------------------------------


def test_a_failure_is_recorded_where_it_happened(traced):
    """The peer's span has the exception; who catches it is all right, and so is all above."""

    class Careful(Asker):
        def chat(self, message):
            try:
                yield self.peer.ask("hi")
            except ValueError:
                return "never mind"

    ask(Careful(name="Ann", peer=Broken(name="Bob")), "hi", observe=Spans(traced.provider))
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann", "    invoke_agent Bob ERROR"]
    bob = traced.of("invoke_agent Bob")
    assert bob.attributes["error.type"] == "ValueError"
    assert bob.status.description == "ValueError"
    (event,) = bob.events
    assert event.name == "exception"
    assert event.attributes["exception.message"] == "oops"


def test_a_failure_nobody_catches_fails_everything_above_it(traced):
    """Up to the conversation."""
    with pytest.raises(ValueError, match="oops"):
        ask(Asker(name="Ann", peer=Broken(name="Bob")), "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation Ann ERROR",
        "  invoke_agent Ann ERROR",
        "    invoke_agent Bob ERROR",
    ]
    assert traced.of("conversation Ann").attributes["llambdao.reason"] == "failed"


def test_silence_is_an_error_of_ours(traced):
    """An error that is not built in has its module in its name."""
    with pytest.raises(TimeoutError):
        ask(Teller(name="Ann", peer=Echo(name="Bob")), "hi", observe=Spans(traced.provider))
    ann = Asker(name="Ann", peer=Teller(name="Bob", peer=Echo()))
    with pytest.raises(LookupError):
        ask(ann, "hi", observe=Spans(traced.provider))
    errors = [span.attributes.get("error.type") for span in traced.spans]
    assert errors[-1] == "llambdao.kernel.errors.UnknownIntent"


def test_a_conversation_that_is_closed_closes_its_spans(traced):
    """All of them, and they say that they were cancelled."""
    conversation = Talker(name="Ann").receive("hi", observe=Spans(traced.provider))
    next(conversation)
    assert traced.spans == []
    conversation.close()
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann"]
    assert traced.of("conversation Ann").attributes["llambdao.reason"] == "stopped"
    assert traced.of("invoke_agent Ann").attributes["llambdao.ended"] == "cancelled"


def test_the_end_of_a_conversation_ends_whatever_is_left_open(traced):
    """Even if nobody said that a handler ended."""
    spans, opening = Spans(traced.provider), Message("hi", "chat", id="m1")
    for name in ("Ann", "Bob"):
        spans(Event("delivered", Node(name=name), opening, None, opening))
    spans(Event("over", None, None, "cancelled", opening))
    assert traced.tree == ["conversation Ann", "  invoke_agent Ann", "  invoke_agent Bob"]


# -- what the spans say ------------------------------------------------------------------------


def test_what_is_said_and_waited_for_are_events(traced):
    """With intent, id and addressee, without a word of it."""
    opening = Message("secret")
    ask(Asker(name="Ann", peer=Echo(name="Bob")), opening, observe=Spans(traced.provider))
    asked = traced.of("invoke_agent Bob").attributes["llambdao.message.id"]
    hi, question = {"llambdao.message.id": opening.id}, {"llambdao.message.id": asked}
    chat, request = {"llambdao.intent": "chat"}, {"llambdao.intent": "request"}
    (first,) = events(traced.of("conversation Ann"))
    assert first == ("llambdao.said", {**chat, **hi, "llambdao.to": "Ann"})
    one, two, three = events(traced.of("invoke_agent Ann"))
    assert one == ("llambdao.said", {**request, **question, "llambdao.to": "Bob"})
    assert two == ("llambdao.waits", {"llambdao.wait": "ask"})
    assert (three[0], sorted(three[1])) == (
        "llambdao.said", ["llambdao.intent", "llambdao.message.id"]
    )  # fmt: skip
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


def test_content_is_there_if_it_is_wished(traced):
    """In the attributes of the conventions, and in the events."""
    ann = Asker(name="Ann", peer=Echo(name="Bob"))
    ask(ann, "hi", observe=Spans(traced.provider, content=True))
    attributes = traced.of("invoke_agent Ann").attributes
    text = {"parts": [{"type": "text", "content": "hi"}]}
    assert json.loads(attributes["gen_ai.input.messages"]) == [{"role": "user", **text}]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", **text, "name": "Ann", "finish_reason": "stop"}
    ]
    heard = json.loads(traced.of("invoke_agent Bob").attributes["gen_ai.input.messages"])
    assert heard == [{"role": "user", **text, "name": "Ann"}]
    assert [event[1]["llambdao.content"] for event in events(traced.of("invoke_agent Ann"))] == [
        "hi", "the question 'hi' to Bob", "hi"
    ]  # fmt: skip


class Model(Node):
    """Says what its words took."""

    spent: list[dict[str, object]]

    def chat(self, message):
        for metadata in self.spent:
            yield Message("words", metadata=metadata)


def test_what_words_took_is_added_up(traced):
    """Tokens and money in the metadata of what a handler says; what is no number is passed over."""
    one = {"input_tokens": 10, "output_tokens": 3, "tokens": 13, "usd": 0.25, "model": "m"}
    two = {"input_tokens": 5, "output_tokens": True, "tokens": "many", "usd": -1, "other": 1}
    tell(Model(name="Ann", spent=[one, two]), "hi", observe=Spans(traced.provider))
    attributes = traced.of("invoke_agent Ann").attributes
    assert {
        key: value for key, value in attributes.items() if "usage" in key or "model" in key
    } == {
        "gen_ai.usage.input_tokens": 15,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.total_tokens": 13,
        "gen_ai.usage.cost": 0.25,
        "gen_ai.response.model": "m",
    }


def test_dead_letters_and_supervisors_are_events_of_the_conversation(traced):
    """With the reason, and what was done."""
    spans, opening = Spans(traced.provider), Message("hi", "chat", id="m1")
    ann = Node(name="Ann")
    spans(Event("delivered", ann, opening, None, opening))
    spans(Event("dead", ann, opening, "failed: ValueError('secret')", opening))
    spans(Event("supervised", ann, opening, "restart", opening))
    spans(Event("over", None, None, "failed", opening))
    about = {"llambdao.intent": "chat", "llambdao.message.id": "m1"}
    assert events(traced.of("conversation Ann"))[1:] == [
        ("llambdao.dead", {**about, "llambdao.reason": "failed"}),
        ("llambdao.supervised", {**about, "llambdao.strategy": "restart"}),
    ]


def test_the_names_are_those_of_the_conventions():
    """Each `gen_ai.` name stands in OpenTelemetry's own list, but for two that it lacks."""
    known = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    source = inspect.getsource(sys.modules[Spans.__module__])
    used = {word for word in source.replace('"', " ").split() if word.startswith("gen_ai.")}
    assert used - known == {"gen_ai.usage.total_tokens", "gen_ai.usage.cost"}
    assert len(used) > 12


# -- one trace across processes ----------------------------------------------------------------

ABOVE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_message_that_comes_with_a_trace_goes_on_with_it(traced):
    """The W3C `traceparent` in the metadata of the opening message is above the conversation."""
    message = Message("hi", metadata={"traceparent": ABOVE, "tracestate": "a=b"})
    ask(Echo(name="Ann"), message, observe=Spans(traced.provider))
    conversation = traced.of("conversation Ann")
    assert f"{conversation.parent.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert f"{conversation.parent.span_id:x}" == "b7ad6b7169203331"
    assert conversation.parent.trace_state["a"] == "b"
    assert {span.context.trace_id for span in traced.spans} == {conversation.parent.trace_id}


@pytest.mark.parametrize("value", ["nonsense", 7, None])
def test_a_trace_that_is_none_is_passed_over(traced, value):
    """Metadata comes from anybody."""
    message = Message("hi", metadata={"traceparent": value, "tracestate": value})
    ask(Echo(name="Ann"), message, observe=Spans(traced.provider))
    assert traced.of("conversation Ann").parent is None


def test_a_conversation_is_below_the_span_in_which_it_was_opened(traced):
    """The one of an HTTP request, say; also if it runs elsewhere, as in a runtime it does."""
    tracer = traced.provider.get_tracer("test")
    conversation = Talker(name="Ann").receive("hi", observe=Spans(traced.provider))
    with tracer.start_as_current_span("request"):
        replies = iter(conversation)
    with tracer.start_as_current_span("somebody else's"):
        assert len(list(replies)) == 2
    assert traced.tree == [
        "request",
        "  conversation Ann",
        "    invoke_agent Ann",
        "somebody else's",
    ]


def test_a_handler_knows_its_span(traced):
    """For attributes of its own, for what it calls, and for messages that leave the process."""
    told = {}

    class Caller(Node):
        def chat(self, message):
            current_span().set_attribute("customer", 7)
            told["header"] = traceparent(message)
            yield "said meanwhile"
            told["metadata"] = inject({"other": 1})

        async def request(self, message):
            await asyncio.sleep(0)
            told["request"] = inject()

    spans = Spans(traced.provider)
    tell(Caller(name="Ann"), "hi", observe=spans)
    tell(Caller(name="Bob"), Message("hi", intent="request"), observe=spans)
    ann, bob = traced.of("invoke_agent Ann"), traced.of("invoke_agent Bob")
    assert ann.attributes["customer"] == 7
    ids = f"{ann.context.trace_id:032x}-{ann.context.span_id:016x}"
    assert told["header"][3:52] == ids
    assert told["metadata"] == {"other": 1, "traceparent": told["header"]}
    assert told["request"]["traceparent"][3:52] == (
        f"{bob.context.trace_id:032x}-{bob.context.span_id:016x}"
    )


def test_what_is_injected_here_is_continued_there(traced):
    """Two processes, one trace."""

    class Gateway(Node):
        def chat(self, message):
            sent = Message("hi", metadata=inject({"from": "here"}))
            ask(Echo(name="far"), sent, observe=Spans(traced.provider))

    tell(Gateway(name="near"), "hi", observe=Spans(traced.provider))
    assert traced.tree == [
        "conversation near",
        "  invoke_agent near",
        "    conversation far",
        "      invoke_agent far",
    ]


def test_where_nobody_traces_there_is_nothing_to_inject():
    """The helpers are harmless without `Spans`, and outside of handlers."""
    told = []

    class Caller(Node):
        def chat(self, message):
            told.extend([inject({"a": 1}), traceparent(message), current_span().is_recording()])

    tell(Caller(), "hi")
    assert told == [{"a": 1}, None, False]
    assert traceparent(Message("hi", metadata={"traceparent": ABOVE})) == ABOVE


def test_baggage_of_the_opener_reaches_the_processors_of_all_spans(traced):
    """Its whole context is above the conversation, not only its span."""
    seen = []

    class Watching(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append((span.name, baggage.get_baggage("customer", parent_context)))

    traced.provider.add_span_processor(Watching())
    token = context.attach(baggage.set_baggage("customer", "7"))
    try:
        ask(Echo(name="Ann"), "hi", observe=Spans(traced.provider))
    finally:
        context.detach(token)
    assert seen == [("conversation Ann", "7"), ("invoke_agent Ann", "7")]


# -- metrics -----------------------------------------------------------------------------------


def measured(run, **options):
    """Runs something with `Meters`, and lists what they measured: (labels, value) by name."""
    reader = InMemoryMetricReader()
    run(Meters(MeterProvider([reader]), **options))
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    return {
        metric.name: [
            (dict(p.attributes), getattr(p, "value", None) or (p.count, p.sum))
            for p in metric.data.data_points
        ]
        for metric in scope.metrics
    }


def test_meters_measure_handlers_messages_and_dead_letters():
    """Exactly, under a clock of one's own."""
    clock = VirtualClock()

    class Slow(Broken):
        def request(self, message):
            yield sleep(2)
            raise ValueError("oops")

    def run(meters):
        ann = Asker(name="Ann", peer=Slow(name="Bob"))
        with pytest.raises(ValueError, match="oops"):
            ask(ann, "hi", observe=meters, clock=clock)
        meters(Event("dead", None, Message("hi"), "failed: ValueError('oops')", Message("hi")))

    about = {"gen_ai.operation.name": "invoke_agent", "error.type": "ValueError"}
    bob = {**about, "gen_ai.agent.name": "Bob", "llambdao.intent": "request"}
    ann = {**about, "gen_ai.agent.name": "Ann", "llambdao.intent": "chat"}
    assert measured(run, now=clock.now) == {
        "llambdao.handler.duration": [(bob, (1, 2.0)), (ann, (1, 2.0))],
        "llambdao.messages": [
            ({"llambdao.intent": "chat"}, 1),
            ({"llambdao.intent": "request"}, 1),
        ],
        "llambdao.dead_letters": [({"llambdao.reason": "failed"}, 1)],
    }


def test_meters_measure_tokens():
    """By the model that found the words, if the metadata says which."""

    def run(meters):
        spent = [{"input_tokens": 10, "output_tokens": 3, "model": "m"}, {"output_tokens": 4}]
        tell(Model(spent=spent), "hi", observe=meters)

    about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "llambdao"}
    model = {"gen_ai.response.model": "m"}
    assert measured(run)["gen_ai.client.token.usage"] == [
        ({**about, "gen_ai.token.type": "input", **model}, (1, 10)),
        ({**about, "gen_ai.token.type": "output", **model}, (1, 3)),
        ({**about, "gen_ai.token.type": "output"}, (1, 4)),
    ]


def test_meters_have_a_bounded_number_of_labels():
    """What is new after that is `other`."""
    ann = Node(name="Ann")

    def run(meters):
        for number in range(5):
            message = Message("hi", intent=f"intent {number}")
            for kind in ("said", "delivered", "ended", "over"):
                meters(Event(kind, ann, message, None, message))

    done = measured(run, most=2, now=count().__next__)
    assert [(labels["llambdao.intent"], value) for labels, value in done["llambdao.messages"]] == [
        ("intent 0", 1),
        ("intent 1", 1),
        ("other", 3),
    ]
    duration = [
        (labels["gen_ai.agent.name"], labels["llambdao.intent"], value[0])
        for labels, value in done["llambdao.handler.duration"]
    ]
    assert duration == [("Ann", "intent 0", 1), ("Ann", "intent 1", 1), ("other", "other", 3)]


# -- nothing is kept, nothing is loaded --------------------------------------------------------


def kept_messages(marker):
    """Counts the messages of this content that somebody still holds."""
    gc.collect()
    return sum(type(o) is Message and o.content == marker for o in gc.get_objects())


@pytest.mark.parametrize(
    "make", [lambda: Spans(TracerProvider(), content=True), lambda: Meters(MeterProvider())]
)
def test_an_observer_keeps_nothing_of_what_is_over(make):
    """However a conversation ended, no message of it is held afterwards."""
    observer = make()
    marker = "to be forgotten"
    table = GroupChatNode(Echo(name="Ann"), Echo(name="Bob"), until=turns(4))

    def converse(number):
        if number % 4 == 0:
            tell(table, marker, observe=observer)
        elif number % 4 == 1:
            with pytest.raises(ValueError, match="oops"):
                ask(Asker(peer=Broken()), Message(marker, intent="request"), observe=observer)
        elif number % 4 == 2:
            conversation = Talker().receive(marker, observe=observer)
            next(conversation)
            conversation.close()
        else:
            with pytest.raises(UnknownIntent):
                ask(Talker(), Message(marker, intent="request"), observe=observer)

    with trace.use_span(TracerProvider().get_tracer("test").start_span("request")):
        for number in range(1000):
            converse(number)
    assert kept_messages(marker) == 0


def test_a_long_conversation_is_flat_in_memory():
    """Nothing is kept of what was passed on at a table once everybody has heard it."""
    spans = Spans(TracerProvider())

    class Sage(Node):
        def chat(self, message):
            return "Hm."

    table = GroupChatNode(Sage(name="Ann"), Sage(name="Bob"), until=turns(3000))
    for number, _ in enumerate(table.receive("hi", observe=spans), 1):
        if number % 500 == 0:
            (conversation,) = spans._handlings.conversations.values()
            assert len(spans._handlings) <= 2
            assert len(conversation.handlings) <= 2
            assert len(conversation.value.relays) <= 2
            assert len(conversation.value.ended) <= 1000


def test_a_network_that_has_ended_is_forgotten():
    """Who is asked a thousand times is not a thousand relays in memory."""
    spans = Spans(TracerProvider())
    crowd = MapperNode(Echo(name="Ann"), Echo(name="Bob"))

    class Boss(Node):
        def chat(self, message):
            for _ in range(100):
                yield crowd.ask("hi")
                (conversation,) = spans._handlings.conversations.values()
                yield str(len(conversation.value.relays))

    assert {said.content for said in Boss().receive("go", observe=spans)} == {"0"}


def test_whom_nobody_understands_is_not_remembered_for_ever():
    """Those who opened a conversation that was refused at the door are a thousand at most."""
    spans = Spans(TracerProvider())
    with trace.use_span(TracerProvider().get_tracer("test").start_span("request")):
        for _ in range(1500):
            with pytest.raises(UnknownIntent):
                ask(Talker(), Message("hi", intent="request"), observe=spans)
    assert len(spans._callers) <= 1000


def run_python(code):
    """Runs code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_llambdao_does_not_import_opentelemetry():
    """Who does not trace pays nothing."""
    done = run_python("import sys, llambdao; print('opentelemetry' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_without_the_package_the_error_says_what_to_install():
    """Importing `llambdao.otel` names the extra."""
    done = run_python("import sys; sys.modules['opentelemetry'] = None; import llambdao.otel")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: llambdao.otel needs opentelemetry-api, which is not installed:"
        " pip install 'llambdao[otel]'"
    )
