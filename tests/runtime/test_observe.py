"""Observers see everything, keep nothing, and give away no more than they are told to."""

import gc
import io
import json
import logging
import math
import sys
import threading
from itertools import count, islice

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llambdao import (
    Delta,
    Event,
    MapperNode,
    Message,
    Node,
    UnknownIntent,
    all_of,
    ask,
    sleep,
    tell,
    watch,
)
from llambdao.runtime.observe import JsonFormatter, Logs, Metrics, Observer
from llambdao.testing import VirtualClock

KINDS = ("said", "delivered", "delta", "waits", "ended", "failed", "dead", "supervised", "over")


class Echo(Node):
    def chat(self, message):
        return message.content

    def request(self, message):
        return message.content


class Broken(Node):
    def request(self, message):
        raise ValueError("oops")


class Asker(Node):
    """Asks its peer, and says what came of it."""

    peer: Node

    def chat(self, message):
        try:
            answer = yield self.peer.ask(message.content)
        except ValueError as error:
            return f"{self.peer} failed: {error}"
        return answer.content


class Logged(Echo):
    def receive(self, message):
        yield super().receive(message)


class Sleeper(Node):
    seconds: float

    def request(self, message):
        yield sleep(self.seconds)
        return self.name


class Teller(Node):
    """Tells its peer, says two things, and so can be stopped in between."""

    peer: Node

    def chat(self, message):
        yield self.peer.tell(message.content, "chat")
        yield "one"
        yield "two"


# -- a base for one's own ----------------------------------------------------------------------


def test_an_observer_has_a_method_for_each_kind_of_event():
    """Each event goes to the method named after its kind, and to no other."""
    seen = []

    class Everything(Observer):
        pass

    for kind in KINDS:
        setattr(Everything, kind, lambda self, event, kind=kind: seen.append((kind, event.kind)))

    class Inheriting(Everything):
        pass

    observer = Inheriting()
    for kind in KINDS:
        observer(Event(kind))
    assert seen == [(kind, kind) for kind in KINDS]


def test_an_observer_defines_only_what_it_wants():
    """All other kinds of event, unknown ones too, go by."""
    seen = []

    class Ends(Observer):
        def ended(self, event):
            seen.append(str(event.node))

    observer = Ends()
    ask(Asker(name="Ann", peer=Echo(name="Bob")), "hi", observe=observer)
    observer(Event("a kind of a later release"))
    assert seen == ["Bob", "Ann"]
    assert list(Ends._methods) == ["ended"]  # to all else not even an empty method is called


def test_an_observer_may_keep_what_it_saw_under_the_name_of_a_kind():
    """Methods are found in the class: `self.said = []` is nobody's trap."""

    class Counting(Observer):
        def __init__(self):
            self.said = self.over = 0

        def delivered(self, event):
            self.said += 1

    observer = Counting()
    ask(Echo(), "hi", observe=observer)
    assert (observer.said, observer.over) == (1, 0)


# -- logs --------------------------------------------------------------------------------------


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def lines(self):
        return [f"{record.levelname} {record.getMessage()}" for record in self.records]


@pytest.fixture
def kept():
    """Gives what is logged to the logger "kept"; nobody else hears of it."""
    handler = Kept()
    handler.logger = logger = logging.getLogger("kept")
    logger.propagate, logger.handlers = False, [handler]
    logger.setLevel(logging.DEBUG)
    return handler


def test_every_event_is_a_line_that_reads_well(kept):
    """Who did what with which message; what was said is left out."""
    ask(Asker(name="Ann", peer=Broken(name="Bob")), "secret", observe=Logs(kept.logger))
    assert kept.lines == [
        "INFO someone said a message (chat) to Ann",
        "INFO Ann heard a message (chat) from someone",
        "INFO Ann said a message (request) to Bob",
        "INFO Ann waits (ask)",
        "INFO Bob heard a message (request) from Ann",
        "ERROR Bob failed at a message (request): ValueError",
        "INFO Ann said a message (chat)",
        "INFO Ann is done with a message (chat)",
        "INFO the conversation is over: done",
    ]


def test_a_line_has_what_was_said_only_if_that_is_wished(kept):
    """`content=True` quotes it."""
    conversation = Teller(name="Ann", peer=Echo(name="Bob")).receive(
        "secret", observe=Logs(kept.logger, logging.DEBUG, content=True)
    )
    next(conversation)
    conversation.close()
    assert kept.lines == [
        "DEBUG someone said 'secret' (chat) to Ann",
        "DEBUG Ann heard 'secret' (chat) from someone",
        "DEBUG Ann said 'secret' (chat) to Bob",
        "DEBUG Ann said 'one' (chat)",
        "WARNING nobody handled 'secret' (chat) from Ann: cancelled",
        "DEBUG Ann was cancelled at 'secret' (chat)",
        "DEBUG the conversation is over: stopped",
    ]


def test_a_record_has_all_of_it_as_plain_data(kept):
    """Ids and names under `record.llambdao`; what there is not is not there."""
    bob = Broken(name="Bob")
    ann, opening = Asker(name="Ann", peer=bob), Message("secret")
    ask(ann, opening, observe=Logs(kept.logger))
    question = kept.records[2].llambdao["message_id"]
    about = {"conversation": opening.id}
    by_ann = {"node": "Ann", "node_id": ann.id, "intent": "chat", "message_id": opening.id}
    by_bob = {"node": "Bob", "node_id": bob.id, "intent": "request", "message_id": question}
    asked = {"intent": "request", "message_id": question, "reply_to": opening.id}
    said = {"message_id": kept.records[6].llambdao["message_id"], "reply_to": opening.id}
    assert [record.llambdao for record in kept.records] == [
        {"kind": "said", **about, "intent": "chat", "message_id": opening.id},
        {"kind": "delivered", **about, **by_ann},
        {"kind": "said", **about, **by_ann, **asked},
        {"kind": "waits", **about, **by_ann, "wait": "ask"},
        {"kind": "delivered", **about, **by_bob, "reply_to": opening.id},
        {"kind": "failed", **about, **by_bob, "reply_to": opening.id, "error": "ValueError"},
        {"kind": "said", **about, **by_ann, **said},
        {"kind": "ended", **about, **by_ann},
        {"kind": "over", **about, "reason": "done"},
    ]
    assert [bool(record.exc_info) for record in kept.records] == [n == 5 for n in range(9)]
    assert str(kept.records[5].exc_info[1]) == "oops"


EVENTS = [
    Event(kind, Node(name="Ann"), Message("secret", "chat", Node(name="Bob"), id="m1"), detail)
    for kind, detail in [
        ("said", None),
        ("delivered", None),
        ("delta", None),
        ("waits", Node(name="Bob").ask("secret")),
        ("ended", None),
        ("ended", "cancelled"),
        ("failed", KeyError("k")),
        ("dead", "failed: ValueError('secret')"),
        ("supervised", "restart"),
        ("over", "done"),
    ]
]


@pytest.mark.filterwarnings("ignore:the question")  # one of them is never yielded
@pytest.mark.parametrize("event", EVENTS, ids=[f"{e.kind} {e.detail}"[:20] for e in EVENTS])
def test_nothing_that_was_said_is_in_any_record(event, kept):
    """Unless `content=True`: neither in the line nor in the data."""
    Logs(kept.logger)(event)
    (record,) = kept.records
    assert "secret" not in JsonFormatter().format(record)


def test_no_more_than_200_characters_of_it_are_logged(kept):
    """A book is cut."""
    ask(Echo(name="Bob"), "x" * 1000, observe=Logs(kept.logger, content=True))
    assert kept.lines[1] == f"INFO Bob heard '{'x' * 199}…' (chat) from someone"
    assert kept.records[1].llambdao["content"] == "x" * 199 + "…"


def test_pieces_are_for_who_debugs(kept):
    """A delta is DEBUG, whatever the level of the rest, and says nothing of the piece."""
    ann = Node(name="Ann")
    Logs(kept.logger)(Event("delta", ann, Delta("Once upon")))
    Logs(kept.logger, content=True)(Event("delta", ann, Delta("Once upon")))
    assert kept.lines == [
        "DEBUG Ann is saying a piece of a message",
        "DEBUG Ann is saying 'Once upon'",
    ]


def test_a_kind_of_event_that_is_new_is_logged_too(kept):
    """By its name."""
    Logs(kept.logger)(Event("stalled", Node(name="Ann")))
    assert kept.lines == ["INFO Ann: stalled"]
    assert kept.records[0].llambdao["kind"] == "stalled"


def test_a_logger_that_is_not_interested_gets_no_records(kept):
    """Failures come through where all else is switched off."""
    kept.logger.setLevel(logging.WARNING)
    ask(Asker(name="Ann", peer=Broken(name="Bob")), "hi", observe=Logs(kept.logger))
    assert kept.lines == ["ERROR Bob failed at a message (request): ValueError"]


def test_a_name_forges_no_line(kept):
    """Line ends and other control characters in names and intents are escaped."""
    liar = Echo(name="Ann\nERROR Bob\x1b[2J\u2028")
    ask(liar, "a\nb", observe=Logs(kept.logger, content=True))
    assert all(line.isprintable() for line in kept.lines)
    assert kept.lines[2] == r"INFO Ann\nERROR Bob\x1b[2J\u2028 said 'a\nb' (chat)"


def test_logs_go_to_the_logger_of_the_library_unless_given_another(caplog):
    """It is called `llambdao`."""
    with caplog.at_level(logging.INFO, "llambdao"):
        ask(Echo(name="Bob"), "hi", observe=Logs())
    assert caplog.messages[-1] == "the conversation is over: done"
    assert {record.name for record in caplog.records} == {"llambdao"}


def test_json_lines_give_back_what_was_logged(kept):
    """One object per line, whatever line ends the content has."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    kept.logger.addHandler(handler)
    words = 'a\nb\u2028c "d" \ud800 é'
    peer = Broken(name="Bob")
    ask(Asker(name="Ann", peer=peer), words, observe=Logs(kept.logger, content=True))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["llambdao"] for line in lines] == [record.llambdao for record in kept.records]
    assert [line["message"] for line in lines] == [r.getMessage() for r in kept.records]
    assert lines[0]["llambdao"]["content"] == words
    assert [(line["level"], line["logger"]) for line in lines[4:6]] == [
        ("INFO", "kept"),
        ("ERROR", "kept"),
    ]
    assert lines[5]["exception"].startswith("Traceback")
    assert lines[5]["exception"].endswith("ValueError: oops")
    assert ["exception" in line for line in lines] == [n == 5 for n in range(9)]


def test_json_lines_take_ordinary_records_too():
    """From any logger, with arguments, tracebacks and stacks."""
    made = {"name": "app", "levelname": "INFO", "msg": "%d of %s", "args": (1, "two")}
    record = logging.makeLogRecord({**made, "created": 1.5, "stack_info": "Stack:\n x"})
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "level": "INFO",
        "logger": "app",
        "message": "1 of two",
        "stack": "Stack:\n x",
    }


# -- metrics -----------------------------------------------------------------------------------


def test_metrics_count_what_happens():
    """Messages, deliveries, failures and ends, each under its label; times by the clock given."""
    clock = VirtualClock()
    metrics = Metrics(now=clock.now)
    worker, broken = Sleeper(name="Bob", seconds=2.0), Broken(name="Cid")

    class Boss(Node):
        def chat(self, message):
            yield all_of(worker.ask("a"), worker.ask("b"))
            try:
                yield broken.ask("c")
            except ValueError:
                return "done"

    tell(Boss(name="Ann"), "go", observe=metrics, clock=clock)
    assert metrics.snapshot() == {
        "messages": {"chat": 2, "request": 3, "inform": 2},
        "deliveries": 4,
        "failures": {"ValueError": 1},
        "dead_letters": {},
        "conversations": {"open": 0, "ended": {"done": 1}},
        "handlers": {
            "under_way": 0,
            "seconds": [
                {
                    "node": "Bob",
                    "intent": "request",
                    "count": 2,
                    "sum": 4.0,
                    "max": 2.0,
                    "buckets": {"5.0": 2},
                },
                {
                    "node": "Cid",
                    "intent": "request",
                    "count": 1,
                    "sum": 0.0,
                    "max": 0.0,
                    "buckets": {"1e-05": 1},
                },
                {
                    "node": "Ann",
                    "intent": "chat",
                    "count": 1,
                    "sum": 2.0,
                    "max": 2.0,
                    "buckets": {"5.0": 1},
                },
            ],
        },
    }


def test_a_snapshot_is_plain_data():
    """It survives JSON unchanged."""
    metrics = Metrics()
    tell(Asker(peer=Broken()), "go", observe=metrics)
    assert json.loads(json.dumps(metrics.snapshot())) == metrics.snapshot()


def test_metrics_know_what_is_under_way():
    """Between two replies a conversation is open and its handler under way; closed, neither is."""
    metrics = Metrics(now=count().__next__)
    conversation = Teller(name="Ann", peer=Echo(name="Bob")).receive("hi", observe=metrics)
    next(conversation)
    now = metrics.snapshot()
    assert (now["conversations"], now["handlers"]["under_way"]) == ({"open": 1, "ended": {}}, 1)
    conversation.close()
    now = metrics.snapshot()
    assert now["conversations"] == {"open": 0, "ended": {"stopped": 1}}
    assert now["handlers"]["under_way"] == 0
    assert now["dead_letters"] == {"cancelled": 1}
    assert [row["count"] for row in now["handlers"]["seconds"]] == [1]


def test_what_a_class_hands_on_to_its_own_base_is_one_handling():
    """`super().receive(message)` counts once, from the first begin to the last end."""
    metrics = Metrics(now=count().__next__)
    ask(Logged(name="Ann"), "hi", observe=metrics)
    now = metrics.snapshot()
    assert now["deliveries"] == 1
    assert [(row["count"], row["sum"]) for row in now["handlers"]["seconds"]] == [(1, 1e-9)]


def test_a_failure_that_the_same_handling_survives_is_none():
    """What counts is how the handling of the message ended."""

    class Careful(Broken):
        def receive(self, message):
            try:
                yield super().receive(message)
            except ValueError:
                return "never mind"

    metrics = Metrics()
    ask(Careful(), Message("hi", intent="request"), observe=metrics)
    assert metrics.snapshot()["failures"] == {}
    with pytest.raises(ValueError, match="oops"):
        ask(Broken(), Message("hi", intent="request"), observe=metrics)
    assert metrics.snapshot()["failures"] == {"ValueError": 1}
    assert metrics.snapshot()["conversations"] == {"open": 0, "ended": {"done": 1, "failed": 1}}


def test_one_message_handled_by_several_is_several_handlings():
    """A relayed message is the same one for everybody."""
    metrics = Metrics()
    table = MapperNode(Echo(name="Ann"), Echo(name="Bob"), name="table")
    tell(table, "hi", observe=metrics)
    rows = metrics.snapshot()["handlers"]["seconds"]
    assert [(row["node"], row["count"]) for row in rows] == [("Ann", 1), ("Bob", 1), ("table", 1)]


def test_there_are_never_more_labels_than_wished():
    """A million invented intents are a few labels, and `other`; none is long."""
    metrics = Metrics(most=3, now=count().__next__)
    ann, opening = Node(name="Ann" * 1000), Message("hi")
    for number in range(100):
        message = Message("hi", intent=f"intent {number}")
        for kind in ("said", "delivered", "ended"):
            metrics(Event(kind, ann, message, None, opening))
        metrics(Event("dead", ann, message, f"reason {number}: it depends", opening))
    now = metrics.snapshot()
    assert now["messages"] == {"intent 0": 1, "intent 1": 1, "intent 2": 1, "other": 97}
    assert now["dead_letters"] == {"reason 0": 1, "reason 1": 1, "reason 2": 1, "other": 97}
    rows = [(row["node"], row["intent"], row["count"]) for row in now["handlers"]["seconds"]]
    name = ("Ann" * 1000)[:100]
    assert rows == [
        *((name, f"intent {number}", 1) for number in range(3)),
        ("other", "other", 97),
    ]


@pytest.fixture
def _impatient_threads():
    """Lets threads interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_impatient_threads")
def test_several_threads_may_share_metrics():
    """No count is lost, for there is one at a time at work in them."""
    inside, most = [], []

    def now():
        inside.append(1)
        most.append(max(len(inside) for _ in range(2000)))
        inside.pop()
        return 0

    metrics = Metrics(now=now)

    def converse():
        for _ in range(50):
            tell(Echo(name="Ann"), "hi", observe=metrics)

    threads = [threading.Thread(target=converse) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    now = metrics.snapshot()
    assert now["messages"] == {"chat": 800}
    assert now["conversations"] == {"open": 0, "ended": {"done": 400}}
    assert [row["count"] for row in now["handlers"]["seconds"]] == [400]


# -- for Prometheus ----------------------------------------------------------------------------


def families(metrics):
    """Reads the text back, as Prometheus would: samples by family."""
    found = {f.name: f for f in text_string_to_metric_families(metrics.prometheus())}
    return {name: (f.type, f.samples) for name, f in found.items()}


def test_prometheus_reads_the_same_numbers():
    """Counters, gauges and histograms, each declared as what it is."""
    clock = VirtualClock()
    metrics = Metrics(now=clock.now)
    peer = Sleeper(name="Bob", seconds=0.25)
    ask(Asker(name="Ann", peer=peer), "hi", observe=metrics, clock=clock)
    read = families(metrics)
    assert {
        name: (kind, {tuple(sample.labels.values()): sample.value for sample in samples})
        for name, (kind, samples) in read.items()
        if kind != "histogram"
    } == {
        "llambdao_messages": ("counter", {("chat",): 2, ("request",): 1, ("inform",): 1}),
        "llambdao_deliveries": ("counter", {(): 2}),
        "llambdao_failures": ("counter", {}),
        "llambdao_dead_letters": ("counter", {}),
        "llambdao_conversations_open": ("gauge", {(): 0}),
        "llambdao_conversations_ended": ("counter", {("done",): 1}),
        "llambdao_handlers_under_way": ("gauge", {(): 0}),
        "llambdao_handler_seconds_max": (
            "gauge",
            {("Bob", "request"): 0.25, ("Ann", "chat"): 0.25},
        ),
    }
    assert read["llambdao_handler_seconds"][0] == "histogram"


def test_a_bucket_contains_those_below_it():
    """Cumulative, in ascending order, up to +Inf, which is the count."""
    ticks = iter([0, 10_000, 0, 9_999_000_000_000, 0, 10_001, 0, 3_000_000_000])
    metrics = Metrics(now=ticks.__next__)
    for _ in range(4):
        tell(Echo(name="Ann"), "hi", observe=metrics)
    samples = families(metrics)["llambdao_handler_seconds"][1]
    buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket")]
    assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
    assert dict(buckets) == {
        1e-05: 1, 5e-05: 2, 1e-04: 2, 5e-04: 2, 0.001: 2, 0.005: 2, 0.01: 2, 0.05: 2, 0.1: 2,
        0.5: 2, 1.0: 2, 5.0: 3, 10.0: 3, 50.0: 3, 100.0: 3, 500.0: 3, 1000.0: 3, 5000.0: 3,
        math.inf: 4,
    }  # fmt: skip
    assert {s.name.rpartition("_")[2]: s.value for s in samples if "le" not in s.labels} == {
        "count": 4,
        "sum": 10_002.000020001,
    }
    assert families(metrics)["llambdao_handler_seconds_max"][1][0].value == 9999


def test_labels_are_escaped():
    """Quotes, backslashes, line ends and broken characters in a name break no line."""
    metrics = Metrics(now=count().__next__)
    name = 'a "b"\\n\\\nc'
    tell(Echo(name=name), "hi", observe=metrics)
    tell(Echo(name="half \ud800"), "hi", observe=metrics)
    metrics.prometheus().encode()
    samples = families(metrics)["llambdao_handler_seconds_max"][1]
    assert [sample.labels["node"] for sample in samples] == [name, "half ?"]


# -- nothing is kept ---------------------------------------------------------------------------


def kept_messages(marker):
    """Counts the messages of this content that somebody still holds."""
    gc.collect()
    return sum(type(o) is Message and o.content == marker for o in gc.get_objects())


def logs_to_nowhere():
    """Makes records that no handler keeps."""
    logger = logging.getLogger("nowhere")
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    logger.setLevel(logging.DEBUG)
    return Logs(logger, content=True)


@pytest.mark.parametrize("make", [Metrics, logs_to_nowhere])
def test_an_observer_keeps_nothing_of_what_is_over(make):
    """However a conversation ended, no message of it is held afterwards."""
    observer = make()
    marker = "to be forgotten"
    sleeper = Sleeper(seconds=1.0)

    def converse(number):
        if number % 4 == 0:
            tell(Logged(), marker, observe=observer)
        elif number % 4 == 1:
            with pytest.raises(ValueError, match="oops"):
                ask(Broken(), Message(marker, intent="request"), observe=observer)
        elif number % 4 == 2:
            conversation = Teller(peer=Echo()).receive(marker, observe=observer)
            next(conversation)
            conversation.close()
        else:
            with pytest.raises(UnknownIntent):
                ask(sleeper, marker, observe=observer)

    for number in range(1000):
        converse(number)
    assert kept_messages(marker) == 0


def test_what_never_began_ends_quietly():
    """A handler that is cancelled before its turn has an end and no beginning."""
    metrics = Metrics()
    ann, message = Node(name="Ann"), Message("hi", intent="chat")
    for kind in ("ended", "failed", "over"):
        metrics(Event(kind, ann, message, "cancelled", message))
    now = metrics.snapshot()
    assert now["handlers"] == {"under_way": 0, "seconds": []}
    assert now["failures"] == {}


def test_the_end_of_a_conversation_ends_whatever_is_left_under_way():
    """Even if nobody said that a handler ended."""
    metrics = Metrics(now=count().__next__)
    ann, message = Node(name="Ann"), Message("hi", intent="chat")
    metrics(Event("delivered", ann, message, None, message))
    assert metrics.snapshot()["handlers"]["under_way"] == 1
    metrics(Event("over", None, None, "done", message))
    assert metrics.snapshot()["handlers"]["under_way"] == 0


def test_an_endless_conversation_is_flat_in_memory():
    """Of a message that was handled nothing is kept, though the conversation goes on."""
    marker = "to be forgotten"

    class Player(Node):
        def inform(self, message):
            yield Message(marker, intent="inform")

    metrics, held = Metrics(), []
    ann, bob = Player(name="Ann"), Player(name="Bob")
    serve = Message(marker, sender=ann, intent="inform")
    for number, _ in enumerate(islice(watch(bob, serve, observe=metrics), 6000)):
        if number in (3000, 5900):
            held.append(kept_messages(marker))
    assert held[1] < 1500
    assert metrics.snapshot()["deliveries"] > 5900
