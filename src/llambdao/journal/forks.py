"""`fork`: what if something else had been said? A conversation goes on from there, elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import force_setattr, replace

from llambdao.journal.conversation import Recorded
from llambdao.journal.effects import digest_of, name_of
from llambdao.journal.errors import NoSuchMessage, NotRecorded
from llambdao.journal.handles import Past, Said
from llambdao.journal.journal import Journal
from llambdao.journal.ledger import Found, Stand, Step
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.journal.replaying import read_inputs
from llambdao.journal.replays import Watched
from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.errors import Misused
from llambdao.kernel.events import Limits
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.runtime.runtime import Runtime

__all__ = ["forked"]

JUMPS = 10_000
"""How often time is moved on in a fork, for those who sleep, before that is enough."""


async def forked(
    ledger: Any,
    found: Found,
    nodes: tuple[Node, ...],
    says: Message | str,
    *,
    at: str | None = None,
    effects: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> tuple[str, int, MemoryLedger]:
    """Have something else said in a conversation, and let it go on in a fresh journal in memory.

    `at` is the id of the message that is edited, the first one unless given. Calls come to what
    they came to then, unless `effects` allows to do them; one of which nothing is recorded raises
    `NotRecorded` where it is called. People who are asked the same again answer the same; other
    questions stay open. Nobody waits for time to pass. Gives its id, the number of the message that
    was edited, and the ledger it lives in.
    """
    told = Past(_Reader(ledger), found).said()
    if not told:
        raise NoSuchMessage(f"what was said in {found.opening.id} has been forgotten (compact)")
    edited = next((one for one in told if one.message.id == at), None) if at else told[0]
    if edited is None:
        raise NoSuchMessage(f"no message {at!r:.80} was said in {found.opening.id}")
    if not isinstance(says, str) and (edited is not told[0] or not isinstance(says, Message)):
        raise Misused(f"a message in between is edited to other words, not to {says!r:.80}")
    if found.ending is not None and edited is not told[0]:
        raise Misused(
            f"{found.opening.id} is over and its steps are gone: only its first message can be"
            " edited"
        )
    seen = Watched(ledger, found, nodes, renamed)
    if found.ending is None:
        seen.run()
    seen.leave()
    return await _Forking(seen, told, edited, says, effects=effects).run(nodes)


class _Reader:
    """As much of a journal as it takes to read history."""

    def __init__(self, ledger: Any) -> None:
        self.ledger, self.addresses = ledger, _Nobody()


class _Nobody:
    def node(self, _: str) -> None:
        """There are no nodes."""


class _Forking:
    """A fork under way: what it starts from, and what is put in place of the world outside."""

    def __init__(
        self, seen: Watched, told: list[Said], edited: Said, says: Any, *, effects: bool
    ) -> None:
        self.seen, self.told, self.edited, self.says = seen, told, edited, says
        self.effects = effects
        self.results: dict[int, tuple[str, Any]] = {}  # number of a call -> done or broke, what
        self.answers: dict[tuple[str, str], deque[Any]] = {}  # who was asked what -> answers
        self.news: dict[str, deque[Any]] = {}
        self.steps: list[Step] = seen.ledger.steps(seen.found.opening.key)
        self.place = self._place()
        for number, step in enumerate(self.steps):
            for kind, *what in read_inputs(step.inputs):
                if number <= self.place:
                    continue
                if kind in ("done", "broke"):
                    self.results[what[0]] = kind, what[1]
                elif kind == "news":
                    asked = seen.asked.get(what[0])
                    kept: Any = self.news if asked is None else self.answers
                    kept.setdefault(what[0] if asked is None else asked, deque()).append(what[1])

    def _place(self) -> int:
        """The place of the step in which the message was said; -1: it began with it."""
        if self.edited is self.told[0]:
            return -1
        said = self.seen.said()
        place = next(n for n, some in enumerate(said) if any(s.n == self.edited.n for s in some))
        if self.seen.error is not None and len(self.seen.steps) < place:
            raise self.seen.error
        return place

    async def run(self, nodes: tuple[Node, ...]) -> tuple[str, int, MemoryLedger]:
        """Go on from there."""
        ledger = MemoryLedger(self._store())
        journal = _ForkJournal(ledger, self)
        clock = _Clock(self.steps[max(self.place, 0)].at if self.steps else self._at)
        runtime = Runtime(*nodes, journal=journal, clock=clock, watchdog=None)
        runtime._schedules.start = _unscheduled  # type: ignore[method-assign]
        async with runtime:
            conversation = self._begin(runtime, journal)
            for _ in range(JUMPS):
                await runtime.settle()
                if conversation.is_over or not await self._goes_on(runtime, conversation, clock):
                    break
            journal.commit()
            return conversation._opening.id, self.edited.n, ledger

    @property
    def _at(self) -> int:
        return self.seen.found.opening.at

    def _begin(self, runtime: Runtime, journal: Any) -> Any:
        found = self.seen.found
        if self.place >= 0:
            conversation = journal.rouse(found.opening.key)
            if conversation is None:
                raise journal.ledger_error(found.opening.key)
            for given in read_inputs(self.steps[self.place].inputs):
                conversation.came(*given)
                if given[0] in ("done", "broke") and given[1] in conversation._tasks:
                    conversation._tasks[given[1]].cancel()
            conversation.wake()
            return conversation
        opening = found.opening
        address = self.seen.journal.renamed.get(opening.node, opening.node)
        node = journal.addresses.node(address)
        if node is None:
            raise NoSuchMessage(f"there is no node {address!r:.80} in this program")
        first = self.told[0].message
        if opening.message:
            first = self.seen.journal.codec.decode(opening.message)
        message = self.says if isinstance(self.says, Message) else first.but(content=self.says)
        if opening.is_given:
            message = message.but(id=opening.id, timestamp=None)
        else:
            message = message.but(id=None, timestamp=None)
        limits = opening.options.get("limits")
        options = {"limits": Limits(**limits)} if limits else {}
        hearer = None if opening.way == "tell" else OUTSIDE
        conversation = runtime._conversation(node, message, options, hearer)
        runtime._open(conversation)
        return conversation

    def _store(self) -> Store:
        """What there was before: the states of nodes, and the steps up to there."""
        store, opening = Store(), self.seen.found.opening
        store.values = _Values(self.seen.ledger)
        store.states = self.seen.ledger.states()
        for saw in reversed(self.seen.saw[max(self.place, 0) :]):
            store.states.update(saw)
        store.states = {address: key for address, key in store.states.items() if key}
        if self.place < 0:
            return store
        key = store.last = opening.key
        store.found[key] = Found(replace(opening), Stand(key, "waits"))
        store.steps[key] = self.steps[: self.place]
        many = sum(bool(step.prints.partition("/")[0]) for step in self.steps[: self.place])
        store.lines = [
            replace(line, seq=n) for n, line in enumerate(self.seen.ledger.lines(key)[:many], 1)
        ]
        return store

    async def _goes_on(self, runtime: Runtime, conversation: Any, clock: _Clock) -> bool:
        """Does somebody answer, is there news, or does time pass?"""
        is_asked = False
        for question in await runtime.pending():
            who = runtime.journal.addresses.of(question.who) or str(question.who)
            kept = self.answers.get((who, question.content))
            if kept:
                words = runtime.journal.codec.decode(bytes(kept.popleft()))
                await runtime.answer(question.id, words, by=question.who)
                return True
            is_asked = True
        for word, waiting in (conversation._scheduler.expected or {}).items():
            if waiting and self.news.get(word):
                runtime.news(word, runtime.journal.codec.decode(bytes(self.news[word].popleft())))
                return True
        due = conversation._scheduler.next_due
        if is_asked or due is None:
            return False
        clock.time = max(clock.time, due)
        conversation.tick(clock.time)
        return True

    def result(self, number: int, name: str, digest: str) -> tuple[str, Any] | None:
        """What this call came to then; each result is taken once."""
        calls = self.seen.calls
        if calls.get(number) != (name, digest) or number not in self.results:
            same = (n for n in sorted(self.results) if calls.get(n) == (name, digest))
            number = next(same, -1)
        return self.results.pop(number, None)


class _Forked(Recorded):
    """A conversation in a fork: one message is edited as it is said, calls come from the record."""

    def says(self, message: Any) -> None:
        forking = self._journal.forking
        if self.is_live and forking.place >= 0 and message.number == forking.edited.n:
            force_setattr(message, "content", forking.says)
        super().says(message)

    async def _do(self, number: int, wait: Any, key: str) -> None:
        journal, name = self._journal, name_of(wait)
        if journal.forking.effects:
            await super()._do(number, wait, key)
            return
        came = journal.forking.result(number, name, digest_of(journal.codec, wait))
        if came is None:
            error = NotRecorded(
                f"{name} is called, but of this call nothing is recorded; --effects (effects=True)"
                " allows to do it"
            )
            self.call_came(number, None, error)
        elif came[0] == "done":
            self.call_came(number, journal.codec.decode(bytes(came[1])), None)
        else:
            self.call_came(number, None, self.error_in(came[1]))


class _ForkJournal(Journal):
    """A journal in memory, of a fork."""

    kind = _Forked

    def __init__(self, ledger: Any, forking: _Forking) -> None:
        super().__init__(ledger)
        self.forking = forking

    def ledger_error(self, key: int) -> Exception:
        """Why a conversation cannot be brought back."""
        found = self.ledger.conversation(key)
        return NoSuchMessage(found.stand.why if found else "it is gone")


class _Values(dict[str, bytes]):
    """What nodes knew: read where it was written."""

    def __init__(self, ledger: Any) -> None:
        super().__init__()
        self.ledger = ledger

    def __missing__(self, key: str) -> bytes:
        found: dict[str, bytes] = self.ledger.values([key])
        return found[key]


def _unscheduled(nodes: Iterable[Node]) -> None:
    """What is due again and again is not due in a fork."""


class _Clock:
    """The time of a fork: nobody waits for it."""

    def __init__(self, at: int) -> None:
        self.time, self.salts = at, 0

    def now(self) -> int:
        """The time."""
        return self.time

    def salt(self) -> int:
        """Another number each time."""
        self.salts += 1
        return self.salts

    def sleep(self, seconds: float) -> None:
        """It is moved on by the fork alone."""
