"""Supervisors: what becomes of a node when a handler of it raises and nobody waits for that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal

from msgspec import Struct

from llambdao.kernel.activation import OUTSIDE, Activation
from llambdao.kernel.errors import Misused, Restarted, Stopped
from llambdao.kernel.events import Reason
from llambdao.kernel.node import Node

__all__ = ["Supervisor", "Supervisors"]

Strategy = Literal["resume", "restart", "stop", "escalate"]
Scope = Literal["one_for_one", "one_for_all", "rest_for_one"]
STRATEGIES = ("resume", "restart", "stop", "escalate")
SCOPES = ("one_for_one", "one_for_all", "rest_for_one")


class Supervisor(Struct, frozen=True, kw_only=True):
    """What becomes of a node whose handler raises, when nobody waits for what it raised.

    `strategy`: `resume` (the turn is undone, the node goes on with its next message), `restart`
    (it begins anew with the fields it had when it joined the runtime), `stop` (it takes no more
    messages), `escalate` (the network it is a member of decides, in the end the runtime, which
    stops and raises the error). `decide(node, error)` may name another one. Fields are kept for a
    restart from when the runtime has a supervisor that may restart somebody.
    `scope` says which members of a network are restarted or stopped: the one that failed, all, or
    it and those after it. More than `most` restarts within `seconds` escalate.
    With `heard`, errors count that somebody waited for, too.

    Whatever it decides, the message is not handled again: it is a dead letter, with its error.

    >>> Supervisor(strategy="restart", scope="one_for_all", most=5, seconds=10).most
    5
    """

    strategy: Strategy = "resume"
    scope: Scope = "one_for_one"
    most: int = 3
    seconds: float = 60.0
    heard: bool = False
    decide: Callable[[Node, BaseException], Strategy | None] | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise Misused(f"a supervisor will {' or '.join(STRATEGIES)}, not {self.strategy!r:.80}")
        if self.most < 0 or self.seconds <= 0:
            raise Misused(
                f"a supervisor allows 0 restarts or more within some seconds,"
                f" not {self.most} within {self.seconds}"
            )
        if self.scope not in SCOPES:
            raise Misused(f"a scope is {' or '.join(SCOPES)}, not {self.scope!r:.80}")

    @property
    def may_restart(self) -> bool:
        """Could it ever have a node restarted?"""
        return self.strategy == "restart" or self.decide is not None

    def strategy_for(self, node: Node, error: BaseException) -> Strategy:
        """What to do about this error."""
        chosen = self.decide(node, error) if self.decide is not None else None
        if chosen is not None and chosen not in STRATEGIES:
            raise Misused(f"decide gave {chosen!r:.80}; it should {' or '.join(STRATEGIES)}")
        return chosen or self.strategy


class Supervisors:
    """Who supervises whom in a runtime, how often was restarted, and how to restart."""

    def __init__(self, runtime: Any, default: Supervisor) -> None:
        self.runtime, self.default = runtime, default
        self.given: dict[int, Supervisor] = {}
        self.owners: dict[int, Node | None] = {}  # the network each node is a member of
        self.keeps_births = default.may_restart
        self.births: dict[int, tuple[Any, ...]] = {}  # its fields when it joined: names, values
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # those of a class, once
        self.restarts: dict[int, deque[int]] = {}

    def add(self, node: Node) -> None:
        """A node has joined the runtime, with its members and theirs."""
        self.owners.setdefault(id(node), None)
        for one in family(node):
            if self.keeps_births and id(one) not in self.births:
                names = tuple(vars(one))
                names = self._names.setdefault(names, names)
                self.births[id(one)] = (names, *map(_copied, vars(one).values()))
            for member in members(one):
                self.owners.setdefault(id(member), one)

    def give(self, node: Node, supervisor: Supervisor) -> None:
        """A node, or the members of a network, have this supervisor from now on."""
        self.given[id(node)] = supervisor
        if supervisor.may_restart and not self.keeps_births:
            self.keeps_births = True
            for one in self.runtime.nodes:
                self.add(one)

    def forget(self, node: Node) -> None:
        """It has left."""
        for table in (self.owners, self.births, self.given, self.restarts):
            table.pop(id(node), None)

    def of(self, node: Node) -> tuple[Supervisor, int]:
        """The supervisor of a node: its own, that of the network around it, or the runtime's."""
        if id(node) not in self.owners:  # it has joined a network meanwhile
            for one in self.runtime.nodes:
                self.add(one)
        if not members(node) and id(node) in self.given:
            return self.given[id(node)], id(node)
        owner = self.owners.get(id(node))
        while owner is not None:
            if id(owner) in self.given:
                return self.given[id(owner)], id(owner)
            owner = self.owners.get(id(owner))
        return self.default, id(self)

    def failed(self, conversation: Any, act: Activation, error: BaseException) -> bool:
        """A handler raised: do what its supervisor says. False: somebody else hears of it."""
        is_heard = act.hearer is OUTSIDE or act.parent is not None
        if is_heard and not self.of(act.node)[0].heard:
            return False
        scheduler = conversation._scheduler
        strategy, nodes = self._decide(act.node, error)
        if not is_heard:
            scheduler.bury(act.message, f"failed: {error!r:.200}", act.node, error)
            if act is scheduler.root:
                scheduler.reason, scheduler.detail = Reason.FAILED, repr(error)
                conversation.error = error
        if scheduler.observers:
            scheduler.observe("supervised", act.node, act.message, strategy)
        for node in nodes:
            if strategy == "stop":
                self.stop(node, repr(error))
            elif strategy == "restart":
                self.restart(node)
        if strategy == "escalate":
            self.runtime._crash(error)
        return not is_heard

    def stop(self, node: Node, why: str) -> None:
        """Let a node take no more messages; what it is at work on is cancelled."""
        text = f"{node} was stopped and takes no more messages: {why}"

        def error() -> Exception:
            return Stopped(text)

        self.runtime._mailboxes.stop(node, error)
        self._abandon(node, error, "stopped")

    def restart(self, node: Node) -> None:
        """Have a node begin anew: its work is cancelled, its fields are as at first."""

        def error() -> Exception:
            return Restarted(f"{node} was restarted by its supervisor while at work on this")

        self._abandon(node, error, "restarted")
        birth = self.births.get(id(node))
        if birth is not None:
            names, *given = birth
            values: Any = vars(node)
            values.clear()
            values.update(zip(names, map(_copied, given), strict=True))
            object.__setattr__(node, "_undo", None)
            node.model_post_init(None)

    def _abandon(self, node: Node, error: Callable[[], Exception], reason: str) -> None:
        """Cancel what a node is at work on, in all conversations; who waits gets an error."""
        for conversation in self.runtime.conversations:
            for act in reversed(conversation._scheduler.everybody()):
                if act.node is node and not act.closed and act.talk is not None:
                    conversation.drop(act, error(), reason)

    def _decide(self, node: Node, error: BaseException) -> tuple[Strategy, list[Node]]:
        """What is done about an error, and to whom."""
        level: Node = node
        while True:
            supervisor, key = self.of(level)
            strategy = supervisor.strategy_for(level, error)
            if strategy == "restart" and not self._may_restart(supervisor, key):
                strategy = "escalate"
            if strategy != "escalate":
                return strategy, self._scope(supervisor, level)
            owner = self.owners.get(id(level))
            if owner is None:
                return "escalate", []
            level = owner

    def _may_restart(self, supervisor: Supervisor, key: int) -> bool:
        now = self.runtime.clock.now()
        times = self.restarts.setdefault(key, deque())
        times.append(now)
        while times and times[0] <= now - supervisor.seconds * 1e9:
            times.popleft()
        return len(times) <= supervisor.most

    def _scope(self, supervisor: Supervisor, node: Node) -> list[Node]:
        owner = self.owners.get(id(node))
        siblings = self.runtime.nodes if owner is None else members(owner)
        chosen: Iterable[Node] = [node]
        if supervisor.scope != "one_for_one" and any(one is node for one in siblings):
            place = next(n for n, one in enumerate(siblings) if one is node)
            chosen = siblings if supervisor.scope == "one_for_all" else siblings[place:]
        return [one for member in chosen for one in family(member)]


def members(node: Any) -> tuple[Node, ...]:
    """The members of a network; nobody, if it is none."""
    found = getattr(node, "members", ())
    if not isinstance(found, list | tuple):
        return ()
    return tuple(one for one in found if isinstance(one, Node))


def family(node: Node) -> list[Node]:
    """A node, its members, and theirs."""
    found: list[Node] = []
    known: set[int] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if id(one) not in known:
            known.add(id(one))
            found.append(one)
            todo += reversed(members(one))
    return found


def _copied(value: Any) -> Any:
    """Lists, dicts and sets are copied, all the way down; what they hold is not."""
    if type(value) is list:
        return [_copied(one) for one in value]
    if type(value) is dict:
        return {key: _copied(one) for key, one in value.items()}
    return set(value) if type(value) is set else value
