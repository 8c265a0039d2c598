"""A call that says pieces meanwhile: `call` of an async generator function."""

import asyncio
from contextlib import suppress

import pytest

from drivers import every_driver
from llambdao import Delta, Message, Node, all_of, call
from llambdao.runtime import Runtime


class Speaker(Node):
    """Says its words as pieces, then whole."""

    async def words(self, text):
        """The pieces of a text, then the text."""
        for word in text.split():
            await asyncio.sleep(0)
            yield Delta(word)
        yield text

    def chat(self, message):
        yield (yield call(self.words, message.content))

    def query(self, message):
        texts = yield all_of(call(self.words, "a b"), call(self.words, "c d"))
        return " ".join(texts)


class Listener(Node):
    """Hears the pieces of another."""

    peer: Node

    def chat(self, message):
        stream = self.peer.stream(message, "chat", deltas=True)
        while (said := (yield stream)) is not None:
            yield f"{type(said).__name__} {said.content}"


@every_driver
def test_the_last_other_thing_it_yields_is_its_value(drive):
    """Who has not asked for pieces hears none."""
    assert drive(lambda: Speaker().receive("one two")).contents == ["one two"]


@every_driver
def test_whoever_asked_for_pieces_hears_them_before_the_value(drive):
    """From outside: `deltas=True`."""
    outcome = drive(lambda: Speaker().receive("one two", deltas=True))
    assert outcome.contents == ["one", "two", "one two"]
    assert [type(said).__name__ for said in outcome.replies] == ["Delta", "Delta", "Message"]
    assert {said.sender.id for said in outcome.replies} == {outcome.replies[0].sender.id}


@every_driver
def test_a_stream_hears_them(drive):
    """From inside: `stream(..., deltas=True)`."""
    listener = Listener(peer=Speaker(name="speaker"))
    contents = drive(lambda: listener.receive("one two")).contents
    assert contents == ["Delta one", "Delta two", "Message one two"]


@every_driver
def test_several_at_once_have_each_their_value(drive):
    """Their pieces mix, their values do not."""
    outcome = drive(lambda: Speaker().receive(Message("go", intent="query"), deltas=True))
    assert outcome.contents[-1] == "a b c d"
    pieces = outcome.contents[:-1]
    assert sorted(pieces) == ["a", "b", "c", "d"]
    assert pieces.index("a") < pieces.index("b")
    assert pieces.index("c") < pieces.index("d")


class Wavering(Node):
    """Says several things that are no pieces."""

    async def words(self):
        """The last of them counts."""
        yield "first"
        yield Delta("piece")
        yield "second"

    def chat(self, message):
        return (yield call(self.words))


@every_driver
def test_of_several_other_things_the_last_is_its_value(drive):
    """Also if a piece comes in between."""
    outcome = drive(lambda: Wavering().receive("go", deltas=True))
    assert outcome.contents == ["piece", "second"]


class Failing(Node):
    """Breaks off in the middle."""

    async def words(self):
        yield Delta("one")
        raise ValueError("cut off")

    def chat(self, message):
        try:
            yield call(self.words)
        except ValueError as error:
            yield f"it was {error}"


@every_driver
def test_an_error_comes_after_the_pieces_before_it(drive):
    """What was said stays said."""
    outcome = drive(lambda: Failing().receive("go", deltas=True))
    assert outcome.contents == ["one", "it was cut off"]


class Endless(Node):
    """Never comes to an end by itself."""

    closed: bool = False

    async def words(self):
        try:
            while True:
                await asyncio.sleep(0)
                yield Delta("again")
        finally:
            self.closed = True

    def chat(self, message):
        yield call(self.words)


@every_driver
def test_who_has_heard_enough_closes_it(drive):
    """Its `finally` has run."""
    endless = Endless()
    outcome = drive(lambda: endless.receive("go", deltas=True), take=3)
    assert outcome.contents == ["again"] * 3
    assert endless.closed


def test_in_a_runtime_others_go_on_meanwhile():
    """Two conversations with it, whose pieces are their own."""

    async def main():
        ann, bob = Speaker(name="Ann"), Speaker(name="Bob")
        async with Runtime(ann, bob) as runtime:

            async def hear(node, text):
                return [said.content async for said in runtime.send(node, text, deltas=True)]

            with suppress(TimeoutError):
                return await asyncio.wait_for(
                    asyncio.gather(hear(ann, "a b c"), hear(bob, "x y z")), 10
                )

    assert asyncio.run(main()) == [["a", "b", "c", "a b c"], ["x", "y", "z", "x y z"]]


@pytest.mark.parametrize("pieces", [0, 1, 100])
def test_any_number_of_pieces(pieces):
    """None, one or many."""
    text = " ".join("w" * (number % 3 + 1) for number in range(pieces))
    said = [one.content for one in Speaker().receive(text or "-", deltas=True)]
    assert said == [*(text or "-").split(), text or "-"]
