"""Rule 13: endless conversations are flat in memory and stack."""

import gc
import time
import tracemalloc
from itertools import islice

import pytest

from kinds import kinds
from llambdao import Limits, Message, Node, Ref, ask, tell, watch


class Player(Node):
    """Answers a ping by a pong and a pong by a ping."""

    def inform(self, message):
        yield Message("pong" if message.content == "ping" else "ping", intent="inform")


def rally(most, **options):
    """An endless ping-pong, watched, limited to so many messages."""
    ann, bob = Player(name="Ann"), Player(name="Bob")
    serve = Message("ping", sender=ann, intent="inform")
    return watch(bob, serve, limits=Limits(messages=most + 1), **options)


MOST_KEPT, MOST_USED = 600_000, 2_000_000
"""Bytes: what a window of some hundred messages may come to, and nothing that grows with time."""


def growth(iterator, first, rest):
    """By how many bytes memory grew while the rest was taken, after the first ones were."""
    for _ in islice(iterator, first):
        pass
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        taken = sum(1 for _ in islice(iterator, rest))
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken == rest
    return after - before, peak - before


def test_messages_are_flat_in_memory_from_the_first_thousands_on():
    """Rule 13: ping-pong by tells, watched: a few hundred kilobytes, however long it goes on."""
    kept, peak = growth(iter(rally(50_000)), 5_000, 30_000)
    assert kept < MOST_KEPT
    assert peak < MOST_USED


@pytest.mark.slow
def test_a_million_messages_are_flat_in_memory():
    """Rule 13: a million as well; memory is looked at near the end."""
    conversation, began = rally(1_020_000), time.monotonic()
    kept, peak = growth(iter(conversation), 1_000_000, 20_000)
    assert kept < MOST_KEPT
    assert peak < MOST_USED
    assert time.monotonic() - began < 60
    conversation.close()


@kinds("plain", "generator", "coroutine", "async-generator")
def test_it_is_flat_for_every_kind_of_handler(handler):
    """Rule 13: tasks, futures and generators are let go of as well."""

    class Sayer(Node):
        @handler
        def inform(self, message):
            yield Message("again", intent="inform")

    serve = Message("ping", sender=Sayer(), intent="inform")
    conversation = watch(Sayer(), serve, limits=Limits(messages=10_000))
    kept, peak = growth(iter(conversation), 3_000, 3_000)
    assert kept < MOST_KEPT
    assert peak < MOST_USED
    conversation.close()


def test_a_chain_of_asks_one_after_the_other_is_flat():
    """Rule 13: a handler that asks for ever keeps nothing of it."""

    class Peer(Node):
        def request(self, message):
            return message.content

    class Asker(Node):
        def chat(self, message):
            while True:
                answer = yield Peer().ask("again")
                yield answer.content

    conversation = Asker().receive("go", limits=Limits(messages=1_000_000))
    kept, peak = growth(iter(conversation), 3_000, 10_000)
    assert kept < MOST_KEPT
    assert peak < MOST_USED
    conversation.close()


def test_a_thread_in_which_each_answers_the_one_before_is_flat():
    """Rule 13: a handler that answers its own last message lets the old ones go."""

    class Monologue(Node):
        def chat(self, message):
            said = message
            while True:
                said = Message("and", reply_to=said)
                yield said

    conversation = Monologue().receive("go", limits=Limits(messages=1_000_000))
    kept, peak = growth(iter(conversation), 3_000, 20_000)
    assert kept < MOST_KEPT
    assert peak < MOST_USED
    conversation.close()


def test_reply_to_becomes_a_ref_beyond_the_window():
    """Rule 13: of the last 256 the messages are there; of the first, in the end, their ids."""
    said = list(islice(rally(5_000), 3_000))
    for one, before in zip(said[-255:], said[-256:-1], strict=True):
        assert one.reply_to is before
    for one, before in zip(said[1:500], said[:499], strict=True):
        assert isinstance(one.reply_to, Ref)
        assert one.reply_to == before


def test_that_is_the_only_change_a_said_message_ever_sees():
    """Rule 13: its JSON is the same before and after."""
    iterator = iter(rally(5_000))
    first = list(islice(iterator, 10))
    before = [one.json() for one in first]
    list(islice(iterator, 3_000))
    assert isinstance(first[5].reply_to, Ref)
    assert [one.json() for one in first] == before


def test_a_thread_is_given_oldest_first():
    """Rule 13: `message.thread(n)`: up to n messages, this one the last."""
    said = list(islice(rally(1_000), 300))
    last = said[-1]
    assert last.thread(5) == said[-5:]
    assert last.thread(1) == [last]
    assert len(last.thread(200)) == 200
    assert last.thread(0) == []
    assert said[2].thread(10) == said[:3]


def test_a_thread_ends_where_the_window_ends():
    """Rule 13: beyond it there are only ids, and nothing that could be read."""
    said = list(islice(rally(5_000), 3_000))
    thread = said[-1].thread(10_000)
    assert 256 <= len(thread) < 3_000
    assert thread == said[-len(thread) :]
    assert said[100].thread(50) == [said[100]]


def test_a_thread_of_a_parsed_message_is_itself():
    """Rule 13: what it answers is a `Ref`."""
    said = Message.parse(Message("x", id="m2", reply_to=Message("y", id="m1")).json())
    assert said.thread() == [said]


def test_the_thread_of_24_is_there_inside_a_handler():
    """Rule 13: what a model is shown of an endless conversation is always at hand."""
    lengths = set()

    class Reader(Player):
        def inform(self, message):
            lengths.add(len(message.thread(24)))
            yield Message("again", intent="inform")

    serve = Message("ping", sender=Reader(), intent="inform")
    list(islice(watch(Reader(), serve), 2_000))
    assert lengths == set(range(1, 25))


def test_told_a_hundred_thousand_times_from_outside():
    """Rule 13: many short conversations leave nothing behind in a node."""

    class Counter(Node):
        heard: int = 0

        def inform(self, message):
            self.heard = self.heard + 1

    counter = Counter()

    def conversations():
        while True:
            yield tell(counter, Message("x", intent="inform"))

    kept, peak = growth(conversations(), 1_000, 5_000)
    assert counter.heard == 6_000
    assert kept < MOST_KEPT
    assert peak < MOST_USED


def test_a_message_that_is_kept_does_not_keep_the_conversation():
    """Rule 13: who keeps the last reply keeps a window at most, not all that was ever said."""

    class Chain(Node):
        def request(self, message):
            last = message
            for _ in range(5_000):
                last = Message("x", reply_to=last)
                yield last

    last = ask(Chain(), Message("go", intent="request"))
    assert len(last.thread(100_000)) < 5_000
