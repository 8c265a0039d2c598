"""`status`: a runtime at a glance, as plain data."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest, nsmallest
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llambdao.kernel.events import Event
from llambdao.kernel.node import Node
from llambdao.kernel.waits import Sleep, Tell
from llambdao.runtime.observe import Handlings, Observer

if TYPE_CHECKING:
    from llambdao.runtime.conversation import Conversation
    from llambdao.runtime.runtime import Runtime

__all__ = ["ConversationStatus", "LetterStatus", "NodeStatus", "Status", "Tally", "status"]

LOOK = 20_000
"""How many of a kind (mailboxes, conversations, counted nodes) are looked at, at most."""

WALK = 1000
"""How many handlers under way in one conversation are looked at, at most."""

SHOWN, LETTERS, SCOPES = 3, 5, 20
"""How many waits of a conversation, dead letters and budgets are told, at most."""

BEATS = 10
"""The lag is that of the worst of so many beats of the event loop."""


# -- what is told ------------------------------------------------------------------------------


class NodeStatus(Struct, frozen=True, kw_only=True):
    """One node. What is counted is so since somebody looks (`Status.counted`); else it is None."""

    name: str
    id: str
    waiting: int
    """How many messages wait in its mailbox."""
    room: int
    """For how many there is room there."""
    is_held: bool
    """Does a task of its own keep others out?"""
    is_stopped: bool
    handlers: int | None = None
    """How many of its handlers are under way."""
    handled: int | None = None
    """How many have ended and were not cancelled."""
    failed: int | None = None
    """How many of those raised an error."""
    mean: float | None = None
    """How long those took that began since then, in seconds, all waiting included."""
    worst: float | None = None


class ConversationStatus(Struct, frozen=True, kw_only=True):
    """One conversation that is open."""

    id: str
    words: str
    """The first 40 characters of what opened it."""
    node: str
    age: float
    """How many seconds ago that was said."""
    waits: tuple[str, ...]
    """What the innermost of its handlers wait for, each with who waits: the first three."""
    more: int
    """How many more there are."""
    messages: int | None
    """How many messages it has used up, as `Limits` counts them: timers take a number, too."""


class LetterStatus(Struct, frozen=True, kw_only=True):
    """One dead letter."""

    words: str
    intent: str
    node: str
    """Whom it was for; empty if that was nobody."""
    reason: str
    age: float
    """How many seconds ago it was said."""


class Status(Struct, frozen=True, kw_only=True):
    """A runtime at one moment: plain data, which can be JSON. Durations are in seconds.

    Rates are left to who looks twice: the difference of `messages`, `opened` or `ended`, by that of
    `counted`.
    """

    name: str
    """The name of the program."""
    pid: int
    uptime: float
    state: str
    """running, stopping or stopped."""
    open: int
    """How many conversations are open."""
    oldest: float | None
    """How old the oldest of them is."""
    residents: int
    """How many nodes live in it."""
    nodes: tuple[NodeStatus, ...]
    """The busiest: in turn one with most waiting, one that handled most, one that failed most."""
    conversations: tuple[ConversationStatus, ...]
    """The oldest."""
    due: float | None
    """When the next timer is due: from now, if there is one."""
    budget: tuple[str, ...]
    """What was spent of the budget of the runtime, then of its shares."""
    dead: int
    """How many dead letters are kept: the last thousand."""
    letters: tuple[LetterStatus, ...]
    """The last of them, the last one first."""
    counted: float | None = None
    """For how long it has been counted what follows; None if nobody counts."""
    opened: int = 0
    ended: int = 0
    messages: int = 0
    lag: float | None = None
    """By how much the event loop was late, at worst, within the last second."""


def status(
    runtime: Runtime, tally: Tally | None = None, *, nodes: int = 50, conversations: int = 20
) -> Status:
    """How a runtime is doing: so many nodes, the busiest, and so many conversations, the oldest.

    It changes nothing, and looks at no more than 20,000 mailboxes and conversations. Call it on the
    event loop of the runtime. With a `Tally` that observes it, it also says what that has counted.

    >>> from llambdao import Runtime, expect
    >>> class Clerk(Node):
    ...     def request(self, message):
    ...         yield expect("a signature")
    >>> async def main():
    ...     clerk = Clerk(name="Bob")
    ...     async with Runtime(clerk) as runtime:
    ...         await runtime.tell(clerk, Message("Sign this", intent="request"))
    ...         await runtime.settle()
    ...         return status(runtime).conversations[0].waits
    >>> from llambdao import Message
    >>> asyncio.run(main())
    ("Bob: the news expected for 'a signature'",)
    """
    now = runtime.clock.now()
    everybody = runtime.conversations
    oldest = nsmallest(max(1, conversations), islice(everybody, LOOK), key=_order)
    walks = [[*_walk(one._scheduler)] for one in oldest]
    letters, timers = [*runtime.dead_letters], runtime._timers.heap
    return Status(
        name=_program(),
        pid=os.getpid(),
        uptime=_seconds(now - runtime._since),
        state=runtime._state,
        open=len(everybody),
        oldest=_seconds(now - _said_at(oldest[0])) if oldest else None,
        residents=len(runtime.residents._claimed),
        nodes=_nodes(runtime, tally, {id(a.node): a.node for w in walks for a, _ in w}, nodes),
        conversations=tuple(
            _conversation(one, walk, now)
            for one, walk in zip(oldest[:conversations], walks, strict=False)
        ),
        due=max(0.0, _seconds(timers[0][0] - now)) if timers else None,
        budget=tuple(islice(_budget(runtime.budget), SCOPES)),
        dead=len(letters),
        letters=tuple(_letter(one, now) for one in letters[: -LETTERS - 1 : -1]),
        **({} if tally is None else tally.totals()),
    )


# -- conversations -----------------------------------------------------------------------------


Walk = list[tuple[Any, list[Any]]]


def _conversation(conversation: Conversation, walk: Walk, now: int) -> ConversationStatus:
    scheduler = conversation._scheduler
    found = [(act, wait) for act, waits in walk for wait in waits]
    return ConversationStatus(
        id=_text(scheduler.opening.id),
        words=_text(scheduler.opening.content, 40),
        node=_text(conversation._node),
        age=_seconds(now - _said_at(conversation)),
        waits=tuple(_wait(conversation, act, wait) for act, wait in found[:SHOWN]),
        more=max(0, len(found) - SHOWN),
        messages=_numbered(scheduler.serial),
    )


def _walk(scheduler: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Who is under way, the outermost first, each with what it waits for itself.

    Who only waits for others of them has [], who waits for nothing that has a name [None].
    """
    roots = (scheduler.root, *islice((scheduler.roots or {}).values(), WALK))
    todo = [act for act in reversed(roots) if act is not None]
    for _ in range(WALK):
        if not todo:
            return
        if (act := todo.pop()).closed:
            continue
        leaves, within = [], []
        for wait in act.waits():
            children = [child for child in islice(wait.children(), WALK) if not child.closed]
            within += children
            leaves += [] if children else [wait]
        todo += within[::-1]
        yield act, leaves if leaves or within else [None]


def _wait(conversation: Conversation, act: Any, wait: Any) -> str:
    """Who waits, and what for."""
    if isinstance(wait, Sleep) and not hasattr(wait.until, "tzinfo"):
        what: Any = f"a sleep of {wait.until} s"
    elif isinstance(wait, Tell):
        what = f"room for {_text(wait, 100)}"
    elif wait is not None:
        what = wait
    elif act.running:
        what = f"await{_place(act)}"
    elif conversation._is_queued:
        what = "nothing, it goes on"
    elif act.talk is None:
        what = "its turn"
    else:
        what = "somebody to take its reply"
    return f"{_text(act.node, 20)}: {_text(what, 120)}"


def _place(act: Any) -> str:
    """Where an async handler stands; one that is wrapped, such as a `@blocking` one, begins."""
    source = getattr(act.talk, "source", None)
    frame = getattr(source, "cr_frame", None) or getattr(source, "ag_frame", None)
    code = getattr(inspect.unwrap(act.handler[0]), "__code__", None)
    if frame is None or code is None:
        return ""
    line = frame.f_lineno if frame.f_code is code else code.co_firstlineno
    return f" at {Path(code.co_filename).name}:{line}"


def _said_at(conversation: Conversation) -> int:
    return conversation._scheduler.opening.said_at  # type: ignore[no-any-return]


def _order(conversation: Conversation) -> tuple[int, int]:
    """Who comes first: the oldest, and of those the one that was opened first."""
    scheduler = conversation._scheduler
    return scheduler.opening.said_at, scheduler.salt


def _numbered(serial: Any) -> int | None:
    """How many numbers were taken, if that can be seen without taking another."""
    _, _, number = repr(getattr(serial, "__self__", None)).partition("count(")
    return int(number[:-1]) - 1 if number[:-1].isdecimal() else None


# -- nodes -------------------------------------------------------------------------------------


def _nodes(
    runtime: Runtime, tally: Tally | None, known: dict[int, Node], most: int
) -> tuple[NodeStatus, ...]:
    """The busiest first; the rest as they joined, where there are no more than that."""
    boxes, counts = runtime._mailboxes.boxes, {} if tally is None else tally.nodes
    full = nlargest(most, islice(boxes.copy().items(), LOOK), key=lambda item: _weight(item[1]))
    handled = nlargest(most, counts.values(), key=lambda one: (one.handled, one.handlers))
    failed = nlargest(
        most, (one for one in counts.values() if one.failed), key=lambda one: one.failed
    )
    chosen: dict[int, Node] = {}
    waiting = (_owner(runtime, known, counts, *item) for item in full)
    ranks = waiting, (one.node for one in handled), (one.node for one in failed)
    for node in (one for row in zip_longest(*ranks) for one in row):
        if node is not None and len(chosen) < most:
            chosen[id(node)] = node
    for node in islice(runtime.residents._claimed.values(), most):
        if len(chosen) < most:
            chosen.setdefault(id(node), node)
    return tuple(
        _node(runtime, node, None if tally is None else counts.get(number, Count(node)))
        for number, node in chosen.items()
    )


def _weight(box: Any) -> tuple[int, int, bool]:
    return len(box.arrived), box.holders, box.stopped is not None


def _owner(
    runtime: Runtime, known: dict[int, Node], counts: dict[int, Count], number: int, box: Any
) -> Node | None:
    """Whose mailbox it is: a mailbox itself knows no more than its messages."""
    for _, act in (*islice(box.arrived.values(), 1), *islice(box.turns, 1)):
        return act.node  # type: ignore[no-any-return]
    if number in counts:
        return counts[number].node
    return (box.node and box.node()) or known.get(number) or runtime.residents.find(number)


def _node(runtime: Runtime, node: Node, count: Count | None) -> NodeStatus:
    box: Any = runtime._mailboxes.boxes.get(id(node))
    return NodeStatus(
        name=_text(node, 40),
        id=node.id,
        waiting=0 if box is None else len(box.arrived),
        room=runtime._room(node).size,
        is_held=box is not None and box.holders > 0,
        is_stopped=box is not None and box.stopped is not None,
        **({} if count is None else count.told()),
    )


# -- what else there is ------------------------------------------------------------------------


def _budget(budget: Any) -> Iterator[str]:
    todo = [] if budget is None else [budget]
    while todo:
        scope = todo.pop()
        yield f"{_text(getattr(scope, 'name', 'the budget'))}: {_text(scope, 200)}"
        todo += getattr(scope, "shares", ())[:SCOPES][::-1]


def _letter(letter: Any, now: int) -> LetterStatus:
    message = letter.message
    return LetterStatus(
        words=_text(message.content, 40),
        intent=_text(message.intent or ""),
        node="" if letter.node is None else _text(letter.node),
        reason=_text(letter.reason, 120),
        age=_seconds(now - message.said_at) if message.said_at else 0.0,
    )


def _program() -> str:
    path = Path(sys.argv[0] if sys.argv else "")
    return _text(path.parent.name if path.name == "__main__.py" else path.name) or "python"


def _seconds(ns: int) -> float:
    return round(ns / 1e9, 6)


def _text(thing: Any, most: int = 80) -> str:
    """A thing as one short line; what cannot be said of itself says what it is."""
    try:
        text = str(thing)[: 4 * most]
    except Exception:  # noqa: BLE001  # a node may be named by its own code
        text = f"<{type(thing).__name__}>"
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= most else text[: most - 1] + "…"


# -- what must be counted ----------------------------------------------------------------------


class Count:
    """What is counted of one node."""

    __slots__ = ("failed", "handled", "handlers", "longest", "node", "timed", "total")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.handlers = self.handled = self.failed = self.timed = self.total = self.longest = 0

    def took(self, ns: int) -> None:
        """A handler took so many nanoseconds."""
        self.timed += 1
        self.total += ns
        self.longest = max(self.longest, ns)

    def told(self) -> dict[str, Any]:
        """What of it stands in a `NodeStatus`."""
        mean = _seconds(self.total // self.timed) if self.timed else None
        worst = _seconds(self.longest) if self.timed else None
        return {
            "handlers": self.handlers,
            "handled": self.handled,
            "failed": self.failed,
            "mean": mean,
            "worst": worst,
        }


class Tally(Observer):
    """Counts, node by node, what happens in a runtime while somebody looks: an observer.

    Of 20,000 nodes, that is; when there are more, the less busy half is forgotten. `now` gives
    nanoseconds.
    """

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self.now, self.since = now, now()
        self.nodes: dict[int, Count] = {}
        self.opened = self.closed = self.messages = 0
        self.lags: deque[float] = deque(maxlen=BEATS)
        self._handlings = Handlings()

    def totals(self) -> dict[str, Any]:
        """What of it stands in a `Status`."""
        return {
            "counted": _seconds(self.now() - self.since),
            "opened": self.opened,
            "ended": self.closed,
            "messages": self.messages,
            "lag": round(max(self.lags), 6) if self.lags else None,
        }

    async def adopt(self, conversations: Iterable[Conversation]) -> None:
        """Count what is under way already, too: a part at a time, between the turns of others."""
        steps = 0
        for conversation in conversations:
            if not conversation.is_over:
                steps += 1 + self._adopt(conversation._scheduler)
            if steps >= WALK:
                steps = 0
                await asyncio.sleep(0)

    def _adopt(self, scheduler: Any) -> int:
        mine: set[tuple[int, int]] = set()
        acts = [act for act, _ in _walk(scheduler) if act.talk is not None]
        for act in acts:
            key = id(act.node), id(act.message)
            if key in mine or self._handlings.find(act.node, act.message) is None:
                mine.add(key)
                self._begin(
                    Event("delivered", act.node, act.message, None, scheduler.opening), None
                )
        return len(acts)

    def said(self, event: Event) -> None:
        self.messages += 1
        self.opened += event.message is event.conversation

    def delivered(self, event: Event) -> None:
        self._begin(event, self.now())

    def ended(self, event: Event) -> None:
        self._end(event, is_cancelled=event.detail is not None)

    def failed(self, event: Event) -> None:
        if (count := self._end(event)) is not None:
            count.failed += 1

    def over(self, event: Event) -> None:
        self.closed += 1
        if (conversation := self._handlings.over(event)) is not None:
            for handling in conversation.handlings.values():
                handling.value[0].handlers -= 1

    def _begin(self, event: Event, at: int | None) -> None:
        if (handling := self._handlings.begin(event)) is not None:
            count = self._count(event.node)
            count.handlers += 1
            handling.value = count, at

    def _end(self, event: Event, *, is_cancelled: bool = False) -> Count | None:
        if (handling := self._handlings.end(event)) is None:
            return None
        count: Count = handling.value[0]
        began = handling.value[1]
        count.handlers -= 1
        if not is_cancelled:
            count.handled += 1
            if began is not None:
                count.took(self.now() - began)
        return count

    def _count(self, node: Node) -> Count:
        found = self.nodes.get(id(node))
        if found is None:
            if len(self.nodes) >= LOOK:
                busy = nlargest(
                    LOOK // 2, self.nodes.values(), key=lambda one: (one.handlers, one.handled)
                )
                self.nodes = {id(one.node): one for one in busy}
            found = self.nodes[id(node)] = Count(node)
        return found
