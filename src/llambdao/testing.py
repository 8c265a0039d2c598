"""For tests of your own: exact transcripts, a virtual clock, interleavings, a conformance suite."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime
from itertools import count
from typing import Any, Unpack

from msgspec import Struct, field

from llambdao.kernel.errors import LlambdaoError, UnknownIntent
from llambdao.kernel.events import Event, Limits, Reason
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import Conversation, Options, ask, tell, watch

__all__ = [
    "Interleaving",
    "Simulation",
    "Transcript",
    "VirtualClock",
    "capture",
    "check_node",
    "explore",
]

START = datetime(2030, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still until somebody sleeps: three days pass at once.

    With the same clock the same program gives the same transcript, ids and timestamps included.

    >>> from llambdao import Node, sleep
    >>> class Patient(Node):
    ...     def chat(self, message):
    ...         yield sleep(3 * 24 * 3600)
    ...         yield str(self.now())
    >>> [said.content for said in Patient().receive("Go", clock=VirtualClock())]
    ['2030-01-04 00:00:00+00:00']
    """

    def __init__(self, start: datetime = START) -> None:
        self.time = round(start.timestamp()) * 1_000_000_000
        self.salt = count(1).__next__

    def now(self) -> int:
        """The time, in ns since 1970."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let this much time pass, at once."""
        self.time += round(seconds * 1e9)


class Transcript(Struct):
    """What a conversation came to: who said what, in order, and why it ended.

    `replies` is what the caller heard, `messages` everything that was said, `events` everything
    that happened, `error` what was raised.
    """

    replies: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reason: Reason | None = None
    error: Exception | None = None

    @property
    def messages(self) -> list[Message]:
        """Everything that was said, in order."""
        return [event.message for event in self.events if event.kind == "said"]

    @property
    def lines(self) -> list[str]:
        """What the caller heard, a line each, such as `Rumi: Welcome.`."""
        return [str(said) for said in self.replies]

    def __str__(self) -> str:
        ending = f"({self.reason})" if self.error is None else f"({self.reason}: {self.error!r})"
        return "\n".join([*self.lines, ending])


def capture(node: Node, message: Message | str, **options: Unpack[Options]) -> Transcript:
    """Run a conversation to its end, under a virtual clock, and keep all of it.

    What it raises is kept as `error`, not raised.

    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content * 2
    >>> print(capture(Echo(name="Ann"), "ho"))
    Ann: hoho
    (done)
    """
    transcript = Transcript()
    given = options.get("observe")

    def observe(event: Event) -> None:
        transcript.events.append(event)
        if given is not None:
            given(event)

    options["observe"] = observe
    options.setdefault("clock", VirtualClock())
    conversation = Conversation(node, message, options)
    try:
        for said in conversation:
            transcript.replies.append(said)
    except Exception as error:
        transcript.error = error
    transcript.reason = conversation.reason
    return transcript


class Interleaving(AssertionError):
    """An order of events in which a program goes wrong; `choices` runs it again.

    `explore(program, choices=error.choices)` takes the same turns.
    """

    def __init__(self, text: str, choices: tuple[int, ...]) -> None:
        super().__init__(text)
        self.choices = choices


class Simulation:
    """One run of a program in an order of its own, under a virtual clock.

    The program uses its `receive`, `ask`, `tell` and `watch` in place of the usual ones.
    """

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.clock = VirtualClock()
        self.choices: list[int] = []
        self._draw = draw

    def choose(self, most: int) -> int:
        """Who goes on next, of so many."""
        choice = self._draw(most) if most > 1 else 0
        if most > 1:
            self.choices.append(choice)
        return choice

    def options(self, given: Options) -> Options:
        """The options of every conversation in this run."""
        return Options(**{"clock": self.clock, "choose": self.choose, **given})

    def receive(
        self, node: Node, message: Message | str, **options: Unpack[Options]
    ) -> Conversation:
        """As `node.receive`."""
        return node.receive(message, **self.options(options))

    def ask(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Any:
        """As `llambdao.ask`."""
        return ask(node, message, **self.options(options))

    def tell(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Conversation:
        """As `llambdao.tell`."""
        return tell(node, message, **self.options(options))

    def watch(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Conversation:
        """As `llambdao.watch`."""
        return watch(node, message, **self.options(options))


Program = Callable[[Simulation], Any]


def explore(
    program: Program, seeds: Iterable[int] = range(100), choices: Iterable[int] | None = None
) -> int:
    """Run a program in many orders of events; raise the simplest one in which it goes wrong.

    `program(simulation)` builds its nodes anew, talks to them through the simulation, and raises
    (an `assert` will do) when something is wrong. Each seed is run twice: a program whose choices
    differ the second time is not deterministic, and that too is raised. Returns the number of
    different orders seen.

    >>> from llambdao import all_of
    >>> class Slow(Node):
    ...     def query(self, message):
    ...         order.append(self.name)
    ...         return self.name
    >>> class Both(Node):
    ...     def chat(self, message):
    ...         yield all_of(*(Slow(name=n).ask("?", "query") for n in "ab"))
    >>> def program(simulation):
    ...     order.clear()
    ...     list(simulation.receive(Both(), "Go"))
    ...     assert order == ["a", "b"]  # true of one order only
    >>> order = []
    >>> explore(program)
    Traceback (most recent call last):
    ...
    llambdao.testing.Interleaving: with seed ... and the choices (1,): AssertionError()
    """
    if choices is not None:
        simulation, error = _run(program, _replaying(tuple(choices)))
        if error is not None:
            raise error
        return 1
    orders = set()
    for seed in seeds:
        simulation, error = _run(program, random.Random(seed).randrange)
        again, error_again = _run(program, random.Random(seed).randrange)
        if simulation.choices != again.choices or type(error) is not type(error_again):
            raise Interleaving(
                f"seed {seed} went two ways: {simulation.choices} and {again.choices},"
                f" {error!r} and {error_again!r}; is something in it random?",
                tuple(simulation.choices),
            )
        orders.add(tuple(simulation.choices))
        if error is not None:
            simplest = _shrunk(program, tuple(simulation.choices))
            _, error = _run(program, _replaying(simplest))
            raise Interleaving(
                f"with seed {seed} and the choices {simplest}: {error!r}", simplest
            ) from error
    return len(orders)


def _run(program: Program, draw: Callable[[int], int]) -> tuple[Simulation, Exception | None]:
    simulation = Simulation(draw)
    try:
        program(simulation)
    except Exception as error:
        return simulation, error
    return simulation, None


def _replaying(choices: tuple[int, ...]) -> Callable[[int], int]:
    left: Iterator[int] = iter(choices)
    return lambda most: min(next(left, 0), most - 1)


def _shrunk(program: Program, choices: tuple[int, ...]) -> tuple[int, ...]:
    """The same failure with as many usual choices, and as few at all, as possible."""
    budget = 300
    width = len(choices)
    while width:
        place = 0
        while place < len(choices) and budget:
            fewer = choices[:place] + (0,) * min(width, len(choices) - place)
            fewer += choices[place + width :]
            budget -= 1
            if fewer != choices and _run(program, _replaying(fewer))[1] is not None:
                choices = fewer
            place += width
        width //= 2
    while choices and choices[-1] == 0:
        choices = choices[:-1]
    return choices


# -- the conformance suite -------------------------------------------------------------------------

FOREIGN_INTENTS = ("link", "model_dump", "__init__", "dict", "no_such_intent")


def check_node(make: Callable[[], Node], messages: Iterable[Message | str]) -> None:
    """Check that a node keeps the rules, on every driver; raises AssertionError naming the rule.

    `make` makes a new node each time; `messages` are some it should be able to handle. Checked are:
    its intents are its handlers and nothing else is reachable; every reply is signed and survives
    JSON; no field leaves with it; the same messages give the same transcript, ids included, with
    `for`, with `async for` and inside a running loop; stopping early leaves nothing running;
    every conversation ends for a known reason; its state is plain data; nothing warns.

    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         yield message.content
    >>> check_node(Echo, ["Hello", Message("Again", intent="chat")])
    """
    given = [Message(m) if isinstance(m, str) else m for m in messages]
    assert given, "check_node needs at least one message that the node can handle"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        _check_identity(make)
        _check_intents(make)
        for message in given:
            _check_conversation(make, message)
            _check_drivers(make, message)
            _check_early_stop(make, message)
        gc.collect()
    assert not warned, f"a node should give no warnings, but: {warned[0].message}"


def _check_identity(make: Callable[[], Node]) -> None:
    one, other = make(), make()
    assert isinstance(one, Node), f"make() should make a Node, but made {one!r:.80}"
    assert one != other, "make() should make a new node each time"
    assert hash(one) == hash(one.address), "a node and its address should be alike"
    reference = json.loads(one.model_dump_json())
    assert set(reference) == {"id", "name", "role"}, f"a node's JSON leaks fields: {reference}"
    json.dumps(one.state())


def _check_intents(make: Callable[[], Node]) -> None:
    node = make()
    if type(node).__receive__ is not None:
        return
    for word in FOREIGN_INTENTS:
        if node.understands(word):
            continue
        error = capture(node, Message("?", intent=word)).error
        assert isinstance(error, UnknownIntent), f"intent {word!r} should be refused, not {error!r}"


def _fresh(message: Message) -> Message:
    return message.but()


def _told(transcript: Transcript) -> list[tuple[str, ...]]:
    return [
        (said.id, str(said.sender), said.content, str(said.intent)) for said in transcript.replies
    ]


def _check_conversation(make: Callable[[], Node], message: Message) -> None:
    node = make()
    transcript = capture(node, _fresh(message))
    assert transcript.reason is not None, "a conversation should end for a known reason"
    if transcript.error is not None and not isinstance(transcript.error, LlambdaoError):
        raise AssertionError(f"{message!r} raised {transcript.error!r}") from transcript.error
    for said in transcript.replies:
        assert said.id, f"unsigned: {said!r}"
        assert said.sender is not None, f"unsigned: {said!r}"
        assert said.timestamp is not None, f"unsigned: {said!r}"
        assert said.timestamp.tzinfo is not None, f"a time without a zone: {said!r}"
        parsed = type(said).parse(said.json())
        assert (parsed.id, parsed.content) == (said.id, said.content), f"JSON changed {said!r}"
        assert str(parsed.sender) == str(said.sender), f"JSON changed the sender of {said!r}"
    again = capture(make(), _fresh(message))
    assert _told(again) == _told(transcript), (
        "the same message should give the same transcript, ids included, under the same clock:\n"
        f"{transcript}\nand then\n{again}"
    )
    json.dumps(node.state())


def _check_drivers(make: Callable[[], Node], message: Message) -> None:
    plain = capture(make(), _fresh(message))

    async def with_async_for() -> list[Message]:
        conversation = make().receive(_fresh(message), clock=VirtualClock())
        return [said async for said in conversation]

    async def within_a_loop() -> Transcript:
        return capture(make(), _fresh(message))

    if plain.error is None:
        replies = asyncio.run(with_async_for())
        assert _told(Transcript(replies=replies)) == _told(plain), (
            "`async for` should hear what `for` hears"
        )
    inside = asyncio.run(within_a_loop())
    assert _told(inside) == _told(plain), "`for` should hear the same inside a running loop"


def _check_early_stop(make: Callable[[], Node], message: Message) -> None:
    ended: list[Event] = []
    options = Options(clock=VirtualClock(), observe=ended.append, limits=Limits())
    conversation = make().receive(_fresh(message), **options)
    with closing(conversation):
        next(iter(conversation), None)
    begun = sum(event.kind == "delivered" for event in ended)
    over = sum(event.kind in ("ended", "failed") for event in ended)
    assert over >= begun, f"{begun} handlers began but {over} ended when the caller stopped early"

    async def stop() -> None:
        conversation = make().receive(_fresh(message), clock=VirtualClock())
        async with aclosing(conversation):
            async for _ in conversation:
                break

    asyncio.run(stop())
