"""Passivation: nodes with nothing to do leave memory, and are back as soon as somebody looks."""

from __future__ import annotations

import asyncio
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llambdao.kernel.errors import Misused, NotANode
from llambdao.kernel.events import Event
from llambdao.kernel.node import Node
from llambdao.runtime.observe import Handlings, Observer

if TYPE_CHECKING:
    from llambdao.runtime.runtime import Runtime

__all__ = ["Passivation", "Sleepers"]

PAUSE = 10_000_000
"""How long the event loop has to itself before the next batch goes to sleep, in ns."""


class Passivation(Struct, frozen=True):
    """Which nodes of a runtime leave memory: those that have had nothing to do for a while.

    A node that has handled nothing for `after` seconds, is at work on nothing, not even waiting,
    and has no mail goes to sleep: its declared fields are written to a snapshot, all but `name`,
    `members`, what is excluded or secret, and what somebody else holds as well. It is back on its
    next message, or as soon as anybody reads or assigns one of its fields, from whatever thread.

    Snapshots are rows of one SQLite file: at `path`, or in a folder of its own that is removed once
    the runtime has stopped and nobody sleeps. At most `batch` nodes go to sleep at a time, so that
    the event loop goes on. A node with something that `Codec` cannot store, or with attributes that
    are not declared, stays awake.

    This is no journal: a snapshot serves nobody but the process that wrote it. A message that comes
    back has a `Ref` in place of what it answered.

    >>> import asyncio
    >>> from llambdao.runtime import Runtime
    >>> class Diary(Node):
    ...     pages: list[str] = []
    >>> async def main():
    ...     diary = Diary(name="Diary", pages=["Dear diary"])
    ...     async with Runtime(diary, passivate=Passivation(after=60)) as runtime:
    ...         print(runtime.evict(diary), runtime.passivation)
    ...         print(diary.pages, runtime.passivation)
    >>> asyncio.run(main())
    True 1 asleep (37 bytes), 0 woken, 0 kept
    ['Dear diary'] 0 asleep (0 bytes), 1 woken, 0 kept
    """

    after: float = 120.0
    path: str | Path | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if type(self.after) not in {int, float} or not 0 <= self.after < 1e9:
            raise Misused(f"nodes go to sleep after so many seconds, not {self.after!r:.80}")
        if type(self.batch) is not int or self.batch < 1:
            raise Misused(f"a batch is of at least one node, not {self.batch!r:.80}")
        if not isinstance(self.path, str | Path | None):
            raise Misused(f"snapshots are kept in a file at a path, not {self.path!r:.80}")


class Sleepers(Observer):
    """Who sleeps in a runtime: `runtime.passivation`.

    So many nodes are `asleep`, with so many `bytes` written of them; so many were `woken`; so often
    one that had nothing to do was `kept` awake, for it could not be stored.
    """

    def __init__(self, runtime: Runtime, options: Passivation) -> None:
        from llambdao.runtime.snapshots import Snapshots

        self.kept = 0
        self.is_over = False
        self._runtime, self._options = runtime, options
        self._after = round(options.after * 1e9)
        self._snapshots = Snapshots(options.path, self._is_up)
        self._handlings = Handlings()
        self._at_work: dict[int, int] = {}  # with how many messages, by id()
        self._idle: OrderedDict[int, tuple[int, Any]] = OrderedDict()  # since when, by id()
        self._due: int | None = None
        self._thread: int | None = None

    @property
    def asleep(self) -> int:
        """How many nodes sleep."""
        return self._snapshots.count()[0]

    @property
    def bytes(self) -> int:
        """How many bytes are written of them."""
        return self._snapshots.count()[1]

    @property
    def woken(self) -> int:
        """How many have come back."""
        return self._snapshots.woken

    def __str__(self) -> str:
        asleep, size = self._snapshots.count()
        return f"{asleep:,} asleep ({size:,} bytes), {self.woken:,} woken, {self.kept:,} kept"

    # -- what the runtime calls ----------------------------------------------------------------

    def open(self) -> None:
        """Make the file, if it is to be at a path: an error comes before anything has begun."""
        if self._options.path is not None:
            self._snapshots.open()

    def start(self, nodes: Iterable[Node]) -> None:
        """Begin, on this thread, with these nodes."""
        self._thread = threading.get_ident()
        self.join(nodes)

    def join(self, nodes: Iterable[Node]) -> None:
        """These live here now, and have nothing to do yet; who sleeps elsewhere wakes."""
        for node in nodes:
            self._snapshots.call_in(node)
            self.rests(node)

    def rests(self, node: Any) -> None:
        """It has nothing to do from now on."""
        number = id(node)
        if self.is_over or number in self._at_work or self._snapshots.is_asleep(node):
            return
        try:
            one: Any = weakref.ref(node)
        except TypeError:  # its class has no room for one: it is kept until it sleeps
            one = node
        self._idle[number] = self._runtime.clock.now(), one
        self._idle.move_to_end(number)
        self._arm(0)

    def stop(self) -> None:
        """Nobody goes to sleep any longer; who sleeps is back when somebody looks."""
        self.is_over = True
        self._idle.clear()
        self._snapshots.stop()

    def evict(self, node: Node) -> bool:
        """Put a node to sleep now, from whatever thread; False if it is at work or has mail."""
        if not isinstance(node, Node):
            raise NotANode(f"expected a node to evict, but got {node!r:.80}")
        self._runtime.residents.check(node)
        if self._thread is None or self.is_over:
            return False
        if threading.get_ident() != self._thread:
            evicting = asyncio.run_coroutine_threadsafe(self._evict(node), self._runtime._loop)
            return evicting.result()
        if self._snapshots.is_asleep(node):
            return True
        if not self._has_nothing_to_do(node):
            return False
        self._idle.pop(id(node), None)
        return self._snapshots.put([node], _raise) == 1

    async def _evict(self, node: Node) -> bool:
        return self.evict(node)

    # -- who has nothing to do -----------------------------------------------------------------

    def delivered(self, event: Event) -> None:
        if self._handlings.begin(event) is not None:
            number = id(event.node)
            self._at_work[number] = self._at_work.get(number, 0) + 1
            self._idle.pop(number, None)

    def ended(self, event: Event) -> None:
        if self._handlings.end(event) is not None:
            self._has_ended(event.node)

    def failed(self, event: Event) -> None:
        self.ended(event)

    def over(self, event: Event) -> None:
        conversation = self._handlings.over(event)
        for handling in () if conversation is None else conversation.handlings.values():
            self._has_ended(handling.node)

    def _has_ended(self, node: Any) -> None:
        number = id(node)
        self._at_work[number] -= 1
        if not self._at_work[number]:
            del self._at_work[number]
            self.rests(node)

    def _is_up(self, node: Any) -> None:
        """It is awake again, on whatever thread."""
        if threading.get_ident() == self._thread:
            self.rests(node)
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._runtime._loop.call_soon_threadsafe(self.rests, node)

    def _has_nothing_to_do(self, node: Node) -> bool:
        box = self._runtime._mailboxes.boxes.get(id(node))
        has_mail = box is not None and (box.arrived or box.turns or box.holders)
        return not (has_mail or id(node) in self._at_work)

    # -- time passes ---------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """It is later now: those go to sleep who have had nothing to do for long enough."""
        self._due = None
        nodes: list[Node] = []
        while self._idle and len(nodes) < self._options.batch:
            number, (since, one) = next(iter(self._idle.items()))
            if since + self._after > now:
                break
            del self._idle[number]
            node = one() if type(one) is weakref.ref else one
            if node is not None and self._may_sleep(node):
                nodes.append(node)
        if nodes:
            self._snapshots.put(nodes, self._keep)
        self._arm(now + PAUSE)

    def jumped(self, jump: int) -> int | None:
        """The wall clock has jumped by so many ns."""
        for number, (since, one) in self._idle.items():
            self._idle[number] = since + jump, one
        if self._due is not None:
            self._due += jump
        return self._due

    def _arm(self, earliest: int) -> None:
        if self._due is None and self._idle and not self.is_over:
            since, _ = next(iter(self._idle.values()))
            self._due = max(since + self._after, earliest)
            self._runtime._timers.at(self._due, self)

    def _may_sleep(self, node: Node) -> bool:
        if self._snapshots.is_asleep(node) or not self._has_nothing_to_do(node):
            return False
        try:
            self._runtime.residents.check(node)
        except Misused:
            return False
        return True

    def _keep(self, node: Node, error: Exception | None) -> None:
        """It stays awake until it has had something to do again."""
        from llambdao.runtime.codec import NotStorable

        self.kept += 1
        self._idle.pop(id(node), None)
        if error is not None and not isinstance(error, NotStorable):
            text = f"{type(node).__name__} {node.name!r} stays awake: {error!r}"
            warnings.warn(text, RuntimeWarning, 2)


def _raise(_: Node, error: Exception | None) -> None:
    if error is not None:
        raise error
