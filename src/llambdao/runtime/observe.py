"""Observers that come with the library: a base to write one's own, logs, and metrics."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sized
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from llambdao.kernel.events import Event

__all__ = ["Handling", "Handlings", "JsonFormatter", "Logs", "Metrics", "Observer"]


KINDS = (
    "said",
    "delivered",
    "delta",
    "waits",
    "ended",
    "failed",
    "dead",
    "supervised",
    "stalled",
    "over",
)


class Observer:
    """An observer with a method for each kind of event: subclass it, and define those you want.

    The kinds that nobody defines cost a look into a table, which is made once per class.

    >>> from llambdao import Node, ask
    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content
    >>> class Deliveries(Observer):
    ...     def delivered(self, event):
    ...         print(f"{event.node} hears {event.message.content!r}")
    >>> ask(Echo(name="Ann"), "Hello", observe=Deliveries()).content
    Ann hears 'Hello'
    'Hello'
    """

    _methods: ClassVar[dict[str, Callable[[Any, Event], None]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        methods = {kind: getattr(cls, kind) for kind in KINDS}
        cls._methods = {k: m for k, m in methods.items() if m is not getattr(Observer, k)}

    def __call__(self, event: Event) -> None:
        method = self._methods.get(event.kind)
        if method is not None:
            method(self, event)

    def said(self, event: Event) -> None:
        """A node, or the outside (None), said a message."""

    def delivered(self, event: Event) -> None:
        """A node's handler begins on a message."""

    def delta(self, event: Event) -> None:
        """A node said a piece (`Delta`) of a message that it is still saying."""

    def waits(self, event: Event) -> None:
        """A handler waits; `detail` is what for."""

    def ended(self, event: Event) -> None:
        """A handler has ended; `detail` is "cancelled" if it was."""

    def failed(self, event: Event) -> None:
        """A handler raised `detail`."""

    def dead(self, event: Event) -> None:
        """Nobody could or would handle a message; `detail` says why."""

    def supervised(self, event: Event) -> None:
        """A handler failed in a runtime and nobody waited; `detail` is what its supervisor did."""

    def stalled(self, event: Event) -> None:
        """The event loop was blocked; `detail` says how long, and by whom."""

    def over(self, event: Event) -> None:
        """The conversation is over; `detail` says for which reason."""


# -- what is under way -------------------------------------------------------------------------


class Handling:
    """One node's handling of one message, from its delivery to its end.

    `value` is whatever the observer wants to keep of it.
    """

    __slots__ = ("conversation", "message", "node", "times", "value")

    def __init__(self, node: Any, message: Any, conversation: OpenConversation) -> None:
        self.node, self.message, self.conversation = node, message, conversation
        self.times = 1
        self.value: Any = None


class OpenConversation:
    """A conversation in which something was delivered, and which is not over."""

    __slots__ = ("handlings", "opening", "value")

    def __init__(self, opening: Any) -> None:
        self.opening = opening
        self.handlings: dict[tuple[int, int], Handling] = {}
        self.value: Any = None


class Handlings:
    """All that is being handled: matches each `delivered` with the `ended` or `failed` it leads to.

    What `super().receive(message)` delivers once more to the same node belongs to the same
    handling. Nothing is kept of what has ended, nor of anything in a conversation that is over.
    """

    def __init__(self) -> None:
        self.conversations: dict[int, OpenConversation] = {}
        self._all: dict[tuple[int, int], Handling] = {}

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, event: Event) -> Handling | None:
        """The handling that begins with this `delivered`; None if it is under way already."""
        key = id(event.node), id(event.message)
        if (handling := self._all.get(key)) is not None:
            handling.times += 1
            return None
        conversation = self.conversation(event)
        if conversation is None:
            conversation = OpenConversation(event.conversation)
            self.conversations[id(event.conversation)] = conversation
        handling = Handling(event.node, event.message, conversation)
        self._all[key] = conversation.handlings[key] = handling
        return handling

    def end(self, event: Event) -> Handling | None:
        """The handling that ends with this `ended` or `failed`; None if it goes on, or never began.

        What was cancelled before its turn has an end and no beginning.
        """
        key = id(event.node), id(event.message)
        handling = self._all.get(key)
        if handling is None:
            return None
        handling.times -= 1
        if handling.times:
            return None
        del self._all[key]
        handling.conversation.handlings.pop(key, None)
        return handling

    def over(self, event: Event) -> OpenConversation | None:
        """The conversation that is over, with what was still under way in it."""
        conversation = self.conversations.pop(id(event.conversation), None)
        if conversation is not None:
            for key in conversation.handlings:
                self._all.pop(key, None)
        return conversation

    def find(self, node: Any, message: Any) -> Handling | None:
        """This node's handling of this message, if it is under way."""
        return self._all.get((id(node), id(message)))

    def conversation(self, event: Event) -> OpenConversation | None:
        """The conversation an event belongs to, if something was delivered in it."""
        return self.conversations.get(id(event.conversation))


# -- logs --------------------------------------------------------------------------------------

LONGEST = 200
"""How much of a content, or of a name, stands in a log."""


class Logs(Observer):
    """Every event as a record of the standard `logging`: a line to read, and plain data.

    `record.llambdao` has the kind of event and the ids of conversation, node and message. Pieces
    (`delta`) are logged as DEBUG, dead letters as WARNING, failures as ERROR with their traceback,
    all else at `level`. What is said stays out unless `content=True`, which adds 200 characters of
    it; a traceback has the error's own text, which may quote what was said, in any case.

    >>> import sys
    >>> from llambdao import Node, ask
    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content
    >>> logger = logging.getLogger("example")
    >>> logger.setLevel(logging.INFO)
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> echo = Echo(name="Bob")
    >>> ask(echo, "Hello", observe=Logs(logger, content=True)).content
    someone said 'Hello' (chat) to Bob
    Bob heard 'Hello' (chat) from someone
    Bob said 'Hello' (chat)
    Bob is done with 'Hello' (chat)
    the conversation is over: done
    'Hello'
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        level: int = logging.INFO,
        *,
        content: bool = False,
    ) -> None:
        self.logger = logging.getLogger("llambdao") if logger is None else logger
        self.content = content
        self.levels = {
            "delta": min(level, logging.DEBUG), "dead": logging.WARNING, "failed": logging.ERROR
        }  # fmt: skip
        self.level = level

    def __call__(self, event: Event) -> None:
        if self.logger.isEnabledFor(self.levels.get(event.kind, self.level)):
            if event.kind in self._methods:
                super().__call__(event)
            else:
                self._log(event, f"{_name(event.node)}: {_shown(event.kind)}")

    def said(self, event: Event) -> None:
        to = event.message.to
        whom = "" if to is None else f" to {_name(to)}"
        self._log(event, f"{_name(event.node)} said {self._what(event)}{whom}")

    def delivered(self, event: Event) -> None:
        sender = _name(event.message.sender)
        self._log(event, f"{_name(event.node)} heard {self._what(event)} from {sender}")

    def delta(self, event: Event) -> None:
        piece = repr(_cut(event.message.content)) if self.content else "a piece of a message"
        self._log(event, f"{_name(event.node)} is saying {piece}")

    def waits(self, event: Event) -> None:
        kind = kind_of_wait(event.detail)
        what = f"for {_shown(event.detail)}" if self.content else f"({kind})"
        self._log(event, f"{_name(event.node)} waits {what}", wait=kind)

    def ended(self, event: Event) -> None:
        how = "is done with" if event.detail is None else "was cancelled at"
        line = f"{_name(event.node)} {how} {self._what(event)}"
        self._log(event, line, reason=event.detail)

    def failed(self, event: Event) -> None:
        error = type(event.detail).__name__
        line = f"{_name(event.node)} failed at {self._what(event)}: {error}"
        self._log(event, line, error=error)

    def dead(self, event: Event) -> None:
        sender, reason = _name(event.message.sender), code_of(event.detail)
        line = f"nobody handled {self._what(event)} from {sender}: {_shown(reason)}"
        self._log(event, line, reason=reason)

    def supervised(self, event: Event) -> None:
        line = f"{_name(event.node)} is supervised after {self._what(event)}: {event.detail}"
        self._log(event, line, strategy=str(event.detail))

    def over(self, event: Event) -> None:
        self._log(event, f"the conversation is over: {event.detail}", reason=str(event.detail))

    def _what(self, event: Event) -> str:
        """The message of an event, in words."""
        content = repr(_cut(event.message.content)) if self.content else "a message"
        return f"{content} ({_shown(event.message.intent)})"

    def _log(self, event: Event, line: str, **more: Any) -> None:
        message = event.message
        data = {
            "kind": event.kind,
            "conversation": getattr(event.conversation, "id", None),
            "node": None if event.node is None else str(event.node),
            "node_id": getattr(event.node, "id", None),
            "intent": getattr(message, "intent", None),
            "message_id": getattr(message, "id", None),
            "reply_to": getattr(getattr(message, "reply_to", None), "id", None),
            **more,
        }
        if self.content and message is not None:
            data["content"] = _cut(message.content)
        self.logger.log(
            self.levels.get(event.kind, self.level),
            line,
            exc_info=event.detail if event.kind == "failed" else None,
            extra={"llambdao": {key: value for key, value in data.items() if value is not None}},
        )


class JsonFormatter(logging.Formatter):
    """Writes each log record as one line of JSON: those of `Logs` with their data, and any other.

    >>> record = logging.LogRecord("app", logging.INFO, "", 1, "Hi %s", ("Ann",), None)
    >>> record.created = 0.0
    >>> print(JsonFormatter().format(record))
    {"time": "1970-01-01T00:00:00.000000Z", "level": "INFO", "logger": "app", "message": "Hi Ann"}
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever stands in the record."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (data := getattr(record, "llambdao", None)) is not None:
            line["llambdao"] = data
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def kind_of_wait(wait: Any) -> str:
    """What sort of wait it is, without what it is about: `ask`, `all_of`, `sleep` ..."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(wait).__name__).lower()


def code_of(reason: Any) -> str:
    """The reason of a dead letter without what comes after a colon: the text of an error, say."""
    return str(reason).partition(":")[0]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _shown(thing: Any) -> str:
    """As a part of one line: a name with a line end in it forges no second one."""
    text = _cut(str(thing))
    return text if text.isprintable() else repr(text)[1:-1]


def _name(node: Any) -> str:
    return "someone" if node is None else _shown(node)


# -- metrics -----------------------------------------------------------------------------------

BOUNDS = tuple(float(f"{digit}e{power}") for power in range(-5, 4) for digit in (1, 5))
"""The upper bounds of the buckets in which durations are counted, in seconds: 10 µs to 5,000 s."""

BOUNDS_NS = tuple(round(bound * 1e9) for bound in BOUNDS)
WIDEST = 100
"""How many characters of a label are kept."""

Labels = tuple[str, ...]


class Metrics(Observer):
    """Counts what happens, and how long handlers take; several threads may share one.

    A duration is from delivery to end, all waiting included. There are at most `most` different
    labels of a kind, then the rest is counted as `other`: so memory is bounded, whatever arrives.
    `now` gives nanoseconds.

    >>> from llambdao import Node, tell
    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content
    >>> metrics = Metrics()
    >>> for _ in range(3):
    ...     conversation = tell(Echo(name="Ann"), "Hello", observe=metrics)
    >>> metrics.snapshot()["conversations"]
    {'open': 0, 'ended': {'done': 3}}
    """

    def __init__(self, *, most: int = 1000, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._most, self._now = most, now
        self._lock = threading.RLock()  # a conversation may be collected, hence end, at any point
        self._handlings = Handlings()
        self._deliveries = 0
        self._said: dict[Labels, int] = {}
        self._failed: dict[Labels, int] = {}
        self._dead: dict[Labels, int] = {}
        self._over: dict[Labels, int] = {}
        self._timings: dict[Labels, Timing] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            super().__call__(event)

    def said(self, event: Event) -> None:
        self._count(self._said, event.message.intent)

    def delivered(self, event: Event) -> None:
        handling = self._handlings.begin(event)
        if handling is not None:
            self._deliveries += 1
            handling.value = self._now()

    def ended(self, event: Event) -> None:
        self._end(event)

    def failed(self, event: Event) -> None:
        if self._end(event):
            self._count(self._failed, type(event.detail).__name__)

    def dead(self, event: Event) -> None:
        self._count(self._dead, code_of(event.detail))

    def over(self, event: Event) -> None:
        self._handlings.over(event)
        self._count(self._over, event.detail)

    def snapshot(self) -> dict[str, Any]:
        """All of it as plain data, durations in seconds; a bucket has its upper bound as name."""
        with self._lock:
            return {
                "messages": _flat(self._said),
                "deliveries": self._deliveries,
                "failures": _flat(self._failed),
                "dead_letters": _flat(self._dead),
                "conversations": {
                    "open": len(self._handlings.conversations),
                    "ended": _flat(self._over),
                },
                "handlers": {
                    "under_way": len(self._handlings),
                    "seconds": [
                        {"node": node, "intent": intent, **timing.snapshot()}
                        for (node, intent), timing in self._timings.items()
                    ],
                },
            }

    def prometheus(self) -> str:
        """All of it in the text format that Prometheus reads, version 0.0.4."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._exposition())

    def _end(self, event: Event) -> bool:
        handling = self._handlings.end(event)
        if handling is None:
            return False
        labels = few(self._timings, self._most, event.node, event.message.intent)
        timing = self._timings.get(labels)
        if timing is None:
            timing = self._timings[labels] = Timing()
        timing.add(self._now() - handling.value)
        return True

    def _count(self, counts: dict[Labels, int], label: Any) -> None:
        labels = few(counts, self._most, label)
        counts[labels] = counts.get(labels, 0) + 1

    def _exposition(self) -> Iterator[str]:
        yield from _counter("messages", "Messages said.", "intent", self._said)
        yield from _family("deliveries_total", "counter", "Messages that a handler began on.")
        yield f"llambdao_deliveries_total {self._deliveries}"
        yield from _counter("failures", "Handlers that raised an error.", "error", self._failed)
        yield from _counter("dead_letters", "Messages nobody handled.", "reason", self._dead)
        yield from _family("conversations_open", "gauge", "Conversations that are not over.")
        yield f"llambdao_conversations_open {len(self._handlings.conversations)}"
        yield from _counter(
            "conversations_ended", "Conversations that are over.", "reason", self._over
        )
        yield from _family("handlers_under_way", "gauge", "Handlers that have not ended.")
        yield f"llambdao_handlers_under_way {len(self._handlings)}"
        yield from _family("handler_seconds", "histogram", "How long handlers took.")
        for labels, timing in self._timings.items():
            yield from timing.exposition(_labels(("node", "intent"), labels))
        yield from _family("handler_seconds_max", "gauge", "How long a handler took at most.")
        for labels, timing in self._timings.items():
            written = _labels(("node", "intent"), labels)
            yield f"llambdao_handler_seconds_max{{{written}}} {timing.longest / 1e9!r}"


class Timing:
    """How long something took: how often, in all, at most, and how often how long."""

    __slots__ = ("buckets", "count", "longest", "total")

    def __init__(self) -> None:
        self.count = self.total = self.longest = 0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def add(self, ns: int) -> None:
        """It took that many nanoseconds."""
        self.count += 1
        self.total += ns
        self.longest = max(self.longest, ns)
        self.buckets[bisect_left(BOUNDS_NS, ns)] += 1

    def snapshot(self) -> dict[str, Any]:
        """As plain data; buckets nothing fell into are left out."""
        counts = zip((*BOUNDS, "+Inf"), self.buckets, strict=True)
        return {
            "count": self.count,
            "sum": self.total / 1e9,
            "max": self.longest / 1e9,
            "buckets": {str(bound): count for bound, count in counts if count},
        }

    def exposition(self, labels: str) -> Iterator[str]:
        """As lines for Prometheus, to which each bucket contains those before it."""
        below = 0
        for bound, count in zip((*BOUNDS, "+Inf"), self.buckets, strict=True):
            below += count
            yield f'llambdao_handler_seconds_bucket{{{labels},le="{bound}"}} {below}'
        yield f"llambdao_handler_seconds_sum{{{labels}}} {self.total / 1e9!r}"
        yield f"llambdao_handler_seconds_count{{{labels}}} {self.count}"


class Known(Sized, Container[Labels], Protocol):
    """Labels that were met before."""


def few(known: Known, most: int, *labels: Any) -> Labels:
    """The labels as text, or `other` for each if they are new and so many are known already."""
    texts = tuple(str(label)[:WIDEST] for label in labels)
    return texts if texts in known or len(known) < most else ("other",) * len(texts)


def _flat(counts: Mapping[Labels, int]) -> dict[str, int]:
    return {label: count for (label,), count in counts.items()}


def _family(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP llambdao_{name} {about}"
    yield f"# TYPE llambdao_{name} {kind}"


def _counter(name: str, about: str, label: str, counts: Mapping[Labels, int]) -> Iterator[str]:
    yield from _family(f"{name}_total", "counter", about)
    for labels, count in counts.items():
        yield f"llambdao_{name}_total{{{_labels((label,), labels)}}} {count}"


def _labels(names: Iterable[str], values: Labels) -> str:
    """Names and values as Prometheus wants them: backslash, quote and line end escaped."""
    escaped = (v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for v in values)
    text = ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))
    return text.encode(errors="replace").decode()  # half a surrogate pair is no UTF-8
