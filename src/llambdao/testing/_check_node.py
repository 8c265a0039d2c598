"""`check_node`: is it a good node? The rules that every node keeps, on every driver."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing

from llambdao.kernel.errors import LlambdaoError, UnknownIntent
from llambdao.kernel.events import Event, Limits
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import Options
from llambdao.testing._clock import VirtualClock
from llambdao.testing._transcript import Transcript, capture

__all__ = ["check_node"]

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
