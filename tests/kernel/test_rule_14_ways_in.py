"""Rule 14: receive, ask, tell, watch, from outside; and observing, which changes nothing."""

import asyncio
from itertools import islice

import pytest

from clock import FakeClock
from drivers import every_driver
from kinds import ALL, SPEAKING, kinds
from llambdao import (
    Delta,
    GroupChatNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    ask,
    sleep,
    tell,
    turns,
    watch,
)
from transcript import Notebook, lines


class Peer(Node):
    """Says two things when asked, and counts how often it was told."""

    told: int = 0

    def chat(self, message):
        LOG.append("one")
        yield "one"
        LOG.append("two")
        yield "two"

    def inform(self, message):
        self.told = self.told + 1
        yield "noted"


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _an_empty_log():
    LOG.clear()


def test_receive_is_lazy():
    """Rule 14: nobody runs before the first reply is asked for, nor further than the last."""
    conversation = Peer().receive("go")
    assert LOG == []
    assert next(conversation).content == "one"
    assert LOG == ["one"]
    assert [said.content for said in conversation] == ["two"]
    assert LOG == ["one", "two"]


def test_receive_is_both_iterable_and_async_iterable():
    """Rule 14: `for` and `async for` on what `receive` returns, with the same replies."""

    async def main():
        return [said.content async for said in Peer().receive("go")]

    assert [said.content for said in Peer().receive("go")] == asyncio.run(main())


def test_anext_and_aclose():
    """Rule 14: step by step on an event loop, too."""

    async def main():
        conversation = Peer().receive("go")
        said = await anext(conversation)
        await conversation.aclose()
        return said.content, conversation.reason

    assert asyncio.run(main()) == ("one", "stopped")


def test_a_conversation_is_iterated_once():
    """Rule 14: it is one conversation: iterating again goes on, it does not begin anew."""
    conversation = Peer().receive("go")
    assert len(list(conversation)) == 2
    assert list(conversation) == []
    assert LOG == ["one", "two"]


def test_a_conversation_never_iterated_warns():
    """Rule 14: `node.receive(...)` alone does nothing, and says what was meant."""
    with pytest.warns(RuntimeWarning, match="tell"):
        Peer().receive("go").reason  # noqa: B018  # it is looked at, but not iterated


def test_ask_returns_the_answer():
    """Rule 14: the last reply; silence is `NoAnswer`, an error is raised."""

    class Mute(Node):
        def chat(self, message):
            pass

    assert ask(Peer(), "go").content == "two"
    with pytest.raises(NoAnswer, match="Mute"):
        ask(Mute(), "go")


def test_ask_takes_words_or_a_message():
    """Rule 14: like every way in."""
    assert ask(Peer(), Message("go", intent="chat")).content == "two"
    with pytest.raises(Misused, match="42"):
        ask(Peer(), 42)


def test_tell_runs_to_the_end():
    """Rule 14: nothing to iterate; all that it caused has run."""

    class Boss(Node):
        def inform(self, message):
            for _ in range(3):
                yield peer.tell(message.content)

    peer = Peer()
    assert tell(Boss(), Message("news", intent="inform")).reason == "done"
    assert peer.told == 3


@kinds(*ALL)
def test_watch_sees_every_message_in_the_order_said(handler):
    """Rule 14: beginning with the message itself; asks, answers, tells, replies."""

    class Helper(Node):
        @handler
        def query(self, message):
            yield "42"

    class Boss(Node):
        def chat(self, message):
            yield other.tell("psst", intent="query")
            answer = yield helper.ask("what is it?", intent="query")
            yield f"it is {answer.content}"

    helper, other = Helper(name="Helper"), Helper(name="Other")
    assert lines(watch(Boss(name="Boss"), "go")) == [
        "you > Boss: go (chat)",
        "Boss > Other: psst (query)",
        "Boss > Helper: what is it? (query)",
        "Helper > Boss: 42 (inform)",
        "Boss > you: it is 42 (chat)",
        "Other > Boss: 42 (inform)",
    ]


def test_watch_is_lazy():
    """Rule 14: take four of an endless ping-pong and it stops there."""

    class Player(Node):
        def inform(self, message):
            LOG.append(self.name)
            yield Message({"ping": "pong", "pong": "ping"}[message.content], intent="inform")

    ann, bob = Player(name="Ann"), Player(name="Bob")
    serve = Message("ping", sender=ann, intent="inform")
    assert lines(islice(watch(bob, serve), 4)) == [
        "Ann > Bob: ping (inform)",
        "Bob > Ann: pong (inform)",
        "Ann > Bob: ping (inform)",
        "Bob > Ann: pong (inform)",
    ]
    assert LOG == ["Bob", "Ann", "Bob"]


def test_watching_a_group_chat():
    """Rule 14: each utterance is seen once, though it is passed on to many."""

    class Sage(Node):
        def chat(self, message):
            return f"{self.name} of {message.content[:1]}"

    table = GroupChatNode(*(Sage(name=name) for name in "ABC"), until=turns(4), name="table")
    assert [said.content for said in watch(table, "go")] == [
        "go",
        "A of g",
        "B of g",
        "C of g",
        "B of A",
    ]


def everybody(handler):
    """A program in which there is something of everything."""

    class Helper(Node):
        @handler
        def query(self, message):
            yield f"{self.name} knows"

        @handler
        def inform(self, message):
            yield Message("why?", intent="do")

    class Boss(Node):
        def do(self, message):
            pass

        def chat(self, message):
            yield a.tell("news")
            yield sleep(1)
            answers = yield a.ask("?", intent="query") & b.ask("?", intent="query")
            yield " and ".join(answer.content for answer in answers)

    a, b = Helper(name="A"), Helper(name="B")
    return Boss(name="Boss")


@every_driver
@kinds(*ALL)
def test_observing_changes_nothing(handler, drive):
    """Rule 14: the same replies, ids and times, with an observer and without."""

    def replies(**options):
        outcome = drive(lambda: everybody(handler).receive("go", clock=FakeClock(), **options))
        return [(said.content, said.id, said.timestamp) for said in outcome.replies]

    assert replies() == replies(observe=Notebook())


@every_driver
@kinds(*ALL)
def test_an_observer_sees_everything_in_order(handler, drive):
    """Rule 14: every delivery, reply and end, in the order in which they happen."""
    log = Notebook()
    drive(lambda: everybody(handler).receive("go", observe=log, clock=FakeClock()))
    assert log.course == [
        "said  go",
        "delivered Boss go",
        "said Boss news",
        "delivered A news",
        "said A why?",
        "ended A news",
        "delivered Boss why?",
        "ended Boss why?",
        "said Boss ?",
        "said Boss ?",
        "delivered A ?",
        "said A A knows",
        "ended A ?",
        "delivered B ?",
        "said B B knows",
        "ended B ?",
        "said Boss A knows and B knows",
        "ended Boss go",
        "over  done",
    ]


@kinds(*SPEAKING)
def test_an_observer_sees_the_waits(handler):
    """Rule 14: what a handler waits for is an event that names it."""

    class Waits(Node):
        @handler
        def chat(self, message):
            yield Peer(name="Bob").ask("go", intent="chat")
            yield sleep(1)

    log = Notebook()
    list(Waits().receive("go", observe=log, clock=FakeClock()))
    waits = [str(event.detail) for event in log.of("waits")]
    assert len(waits) == 2
    assert "Bob" in waits[0]
    assert "sleep" in waits[1]


def test_an_observer_sees_dead_letters():
    """Rule 14 and 4: with the reason."""

    class Bold(Node):
        def inform(self, message):
            yield Message("jump", intent="do")

    class Teller(Node):
        def chat(self, message):
            yield Bold().tell("news")

    log = Notebook()
    list(Teller(name="Ann").receive("go", observe=log))
    (dead,) = log.of("dead")
    assert dead.message.content == "jump"
    assert "Ann" in dead.detail


def test_an_observer_that_fails_harms_nobody():
    """Rule 14: it warns, and the conversation goes on."""

    def observer(event):
        raise RuntimeError("I do not like this")

    with pytest.warns(RuntimeWarning, match="I do not like this"):
        assert [said.content for said in Peer().receive("go", observe=observer)] == ["one", "two"]


class Writer(Node):
    """Says a message piece by piece, then the whole."""

    def chat(self, message):
        yield Delta("Once ")
        yield Delta("upon")
        yield "Once upon"


@every_driver
def test_a_delta_is_no_reply(drive):
    """Rule 14: the caller does not hear pieces unless it asked for them."""
    assert drive(lambda: Writer().receive("go")).contents == ["Once upon"]


@every_driver
def test_a_caller_may_ask_for_deltas(drive):
    """Rule 14: `deltas=True`: the pieces come too, in order, signed."""
    writer = Writer()
    outcome = drive(lambda: writer.receive("go", deltas=True))
    assert [(type(one), one.content) for one in outcome.replies] == [
        (Delta, "Once "),
        (Delta, "upon"),
        (Message, "Once upon"),
    ]
    assert all(one.sender is writer for one in outcome.replies)


@every_driver
def test_observers_see_deltas(drive):
    """Rule 14: whoever asked for them or not."""
    log = Notebook()
    drive(lambda: Writer().receive("go", observe=log))
    assert [event.message.content for event in log.of("delta")] == ["Once ", "upon"]
    assert log.said == ["you > Writer: go (chat)", "Writer > you: Once upon (chat)"]


@every_driver
def test_deltas_are_no_answers(drive):
    """Rule 14: an asker hears the message, `every=True` or not; only deltas are silence."""

    class Mumbler(Node):
        def chat(self, message):
            yield Delta("hm")

    class Asker(Node):
        def chat(self, message):
            answers = yield Writer().ask("?", intent="chat", every=True)
            yield f"{len(answers)} {answers[-1].content}"
            try:
                yield Mumbler().ask("?", intent="chat")
            except NoAnswer:
                yield "silence"

    assert drive(lambda: Asker().receive("go")).contents == ["1 Once upon", "silence"]


@every_driver
@kinds("generator", "async-generator", "async-generator-awaiting")
def test_a_stream_may_ask_for_deltas(handler, drive):
    """Rule 14: `stream(..., deltas=True)`."""

    class Listener(Node):
        @handler
        def chat(self, message):
            for deltas in (True, False):
                stream = Writer().stream("?", intent="chat", deltas=deltas)
                while (piece := (yield stream)) is not None:
                    yield f"[{piece.content}]"

    contents = drive(lambda: Listener().receive("go")).contents
    assert contents == ["[Once ]", "[upon]", "[Once upon]", "[Once upon]"]


@every_driver
def test_deltas_count_for_no_limit_and_no_watch(drive):
    """Rule 14: a watcher sees messages; pieces are never counted."""
    assert [said.content for said in watch(Writer(), "go")] == ["go", "Once upon"]


def test_an_unknown_option_is_told():
    """Rule 14: a typo in an option is no silent default."""
    with pytest.raises(TypeError, match="limit"):
        list(Peer().receive("go", limit=3))
