"""Rule 5: `answer = yield peer.ask("...")` is the peer's last reply; failures come up there."""

import asyncio
import gc
import traceback
import warnings

import pytest

from clock import FakeClock
from drivers import every_driver, every_driver_of_tasks
from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    Deadlock,
    Limits,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    UnknownIntent,
    all_of,
    ask,
    sleep,
)
from transcript import Notebook


class Counter(Node):
    """Says one, two, three."""

    def request(self, message):
        yield "one"
        yield "two"
        yield "three"


class Mute(Node):
    """Hears, and says nothing."""

    def request(self, message):
        pass


class Broken(Node):
    """Fails at whatever it is asked."""

    def request(self, message):
        raise ZeroDivisionError("in the peer")


class Slow(Node):
    """Answers after ten seconds."""

    log: list

    def request(self, message):
        try:
            yield sleep(10)
            self.log.append("answered")
            yield "at last"
        finally:
            self.log.append("over")


def said(node, words="go", **options):
    """What a node says to a request, as words."""
    return [one.content for one in node.receive(Message(words, intent="request"), **options)]


@every_driver
@kinds(*WAITING)
def test_the_answer_is_the_last_reply(handler, drive):
    """Rule 5: the value of an ask is the peer's last reply, a message signed by the peer."""

    class Asker(Node):
        @handler
        def request(self, message):
            answer = yield peer.ask("Count!")
            return f"{answer.content} from {answer.sender} to {answer.to}"

    peer = Counter(name="Peer")
    outcome = drive(lambda: Asker(name="Asker").receive(Message("go", intent="request")))
    assert outcome.contents == ["three from Peer to Asker"]


@every_driver
@kinds(*WAITING)
def test_every_gives_the_list_of_all_replies(handler, drive):
    """Rule 5: `every=True` gives the list of all replies, in the order said."""

    class Asker(Node):
        @handler
        def request(self, message):
            answers = yield Counter().ask("Count!", every=True)
            return " ".join(answer.content for answer in answers)

    assert drive(lambda: Asker().receive(Message("go", intent="request"))).contents == [
        "one two three"
    ]


@every_driver
@kinds(*WAITING)
def test_silence_raises_no_answer_at_the_yield(handler, drive):
    """Rule 5: a peer that says nothing raises `NoAnswer` where it was asked; it can be caught."""

    class Asker(Node):
        @handler
        def request(self, message):
            try:
                yield Mute(name="Tom").ask("Well?")
            except NoAnswer as error:
                return f"silence: {error}"

    (reply,) = drive(lambda: Asker().receive(Message("go", intent="request"))).contents
    assert reply.startswith("silence: ")
    assert "Tom" in reply
    assert "Well?" in reply


@every_driver
@kinds(*WAITING)
def test_silence_that_nobody_catches_ends_the_conversation(handler, drive):
    """Rule 5: `NoAnswer` that is not caught fails the asker, and so the caller."""

    class Asker(Node):
        @handler
        def request(self, message):
            yield Mute().ask("Well?")

    outcome = drive(lambda: Asker().receive(Message("go", intent="request")))
    assert type(outcome.error) is NoAnswer


@every_driver
@kinds(*WAITING)
def test_time_running_out_raises_no_answer(handler, drive):
    """Rule 5: `timeout=` seconds raise `NoAnswer`, a `TimeoutError`; the late peer is cancelled."""

    class Asker(Node):
        @handler
        def request(self, message):
            try:
                yield peer.ask("Well?", timeout=3)
            except TimeoutError as error:
                return f"{type(error).__name__} after {clock.seconds:g} s"

    clock, peer = FakeClock(), Slow(log=[])
    outcome = drive(lambda: Asker().receive(Message("go", intent="request"), clock=clock))
    assert outcome.contents == ["NoAnswer after 3 s"]
    assert peer.log == ["over"]
    assert clock.seconds == 3


@every_driver
@kinds(*WAITING)
def test_an_answer_in_time_beats_the_timeout(handler, drive):
    """Rule 5: with an answer in time the timeout has no effect, nor is it waited for."""

    class Asker(Node):
        @handler
        def request(self, message):
            answer = yield peer.ask("Well?", timeout=11)
            return answer.content

    clock, peer = FakeClock(), Slow(log=[])
    outcome = drive(lambda: Asker().receive(Message("go", intent="request"), clock=clock))
    assert outcome.contents == ["at last"]
    assert clock.seconds == 10


@every_driver
@kinds(*WAITING)
def test_the_peers_error_is_raised_at_the_yield(handler, drive):
    """Rule 5: an error in the peer is raised at the `yield`, as it is; the asker may go on."""

    class Asker(Node):
        @handler
        def request(self, message):
            try:
                yield Broken().ask("Divide!")
            except ZeroDivisionError as error:
                return f"caught: {error}"

    outcome = drive(lambda: Asker().receive(Message("go", intent="request")))
    assert outcome.contents == ["caught: in the peer"]
    assert outcome.reason == "done"


@every_driver
@kinds("generator", "coroutine", "async-generator", "async-generator-awaiting")
def test_an_error_shows_both_tracebacks(handler, drive):
    """Rule 5: the error shows the line in the peer and the line of whoever asked."""

    class Asker(Node):
        @handler
        def request(self, message):
            yield Broken().ask("Divide!")  # the asker's line

    outcome = drive(lambda: Asker().receive(Message("go", intent="request")))
    text = "".join(traceback.format_exception(outcome.error))
    assert 'raise ZeroDivisionError("in the peer")' in text
    assert "# the asker's line" in text


@every_driver
def test_request_and_query_messages_are_questions(drive):
    """Rule 5: a yielded `Message` to a peer is an ask if its intent is `request` or `query`."""

    class Peer(Node):
        def request(self, message):
            return f"re: {message.content}"

        def query(self, message):
            return f"what I know of {message.content}"

    class Asker(Node):
        def chat(self, message):
            one = yield Message("tea", to=peer, intent="request")
            two = yield Message("tea", to=peer, intent="query")
            return f"{one.content}; {two.content}"

    peer = Peer()
    assert drive(lambda: Asker().receive("go")).contents == ["re: tea; what I know of tea"]


@every_driver
def test_every_other_intent_tells(drive):
    """Rule 5: a yielded `Message` to a peer of any other intent tells: its value is None."""

    class Peer(Node):
        def chat(self, message):
            log.append("chat")
            return "unheard"

        def inform(self, message):
            log.append("inform")
            return "unheard"

        def do(self, message):
            log.append("do")
            return "unheard"

    class Teller(Node):
        def request(self, message):
            for word in ("chat", "inform", "do"):
                value = yield Message("x", to=peer, intent=word)
                log.append(value)
            yield "told"

    log, peer = [], Peer()
    outcome = drive(lambda: Teller().receive(Message("go", intent="request")))
    assert outcome.contents == ["told"]
    assert log == [None, None, None, "chat", "inform", "do"]


@every_driver
@kinds("generator", "async-generator", "async-generator-awaiting")
def test_a_question_without_to_asks_the_sender_back(handler, drive):
    """Rule 5: a question without `to` goes to whoever sent the message: a clarification."""

    class Peer(Node):
        @handler
        def request(self, message):
            size = yield Message("Which size?", intent="query")
            yield f"{size.content} {message.content}"

    class Asker(Node):
        def query(self, message):
            return f"large, {message.sender}"

        @handler
        def request(self, message):
            answer = yield peer.ask("tea")
            return answer.content

    peer = Peer(name="Peer")
    outcome = drive(lambda: Asker(name="Asker").receive(Message("go", intent="request")))
    assert outcome.contents == ["large, Peer tea"]


@every_driver
@kinds("coroutine", "generator")
def test_the_sender_can_be_asked_back_by_name(handler, drive):
    """Rule 5: `message.sender.ask(...)` asks the asker back while it waits."""

    class Peer(Node):
        @handler
        def request(self, message):
            size = yield message.sender.ask("Which size?", intent="query")
            return f"{size.content} {message.content}"

    class Asker(Node):
        def query(self, message):
            return "large"

        @handler
        def request(self, message):
            answer = yield peer.ask("tea")
            return answer.content

    peer = Peer()
    outcome = drive(lambda: Asker().receive(Message("go", intent="request")))
    assert outcome.contents == ["large tea"]


@every_driver
def test_a_question_to_a_sender_without_such_intent_fails_at_the_yield(drive):
    """Rule 5 and 1: a sender that cannot be asked back is an `UnknownIntent` at the `yield`."""

    class Peer(Node):
        def request(self, message):
            try:
                yield Message("Which size?", intent="query")
            except UnknownIntent as error:
                yield f"refused: {error}"

    class Asker(Node):
        def request(self, message):
            answer = yield Peer().ask("tea")
            return answer.content

    (reply,) = drive(lambda: Asker(name="Ann").receive(Message("go", intent="request"))).contents
    assert reply.startswith("refused: ")
    assert "Ann" in reply


@every_driver
def test_a_question_that_reaches_the_outside_is_answered_there(drive):
    """Rule 5: outside, `answer=` is asked; it returns words or a message."""

    class Asker(Node):
        def chat(self, message):
            size = yield Message("Which size?", intent="query")
            return f"{size.content}, then"

    questions = []

    def answer(question):
        questions.append(question)
        return "large"

    outcome = drive(lambda: Asker(name="Ann").receive("tea", answer=answer))
    assert outcome.contents == ["large, then"]
    assert [(q.content, q.sender.name, q.intent) for q in questions] == [
        ("Which size?", "Ann", "query")
    ]


@every_driver
def test_a_question_nobody_outside_can_answer_raises_no_answer(drive):
    """Rule 5: without anybody outside who answers: `NoAnswer` at the `yield`; one may go on."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield Message("Which size?", intent="query")
            except NoAnswer:
                yield "any size, then"

    assert drive(lambda: Asker().receive("tea")).contents == ["any size, then"]


@every_driver
def test_an_answerer_without_an_answer_raises_no_answer(drive):
    """Rule 5: an outside that answers None has no answer: `NoAnswer` at the `yield`."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield Message("Which size?", intent="request")
            except NoAnswer:
                yield "any size, then"

    outcome = drive(lambda: Asker().receive("tea", answer=lambda question: None))
    assert outcome.contents == ["any size, then"]


@every_driver
def test_a_question_of_a_member_of_a_mapper_reaches_the_outside(drive):
    """Rule 5: a question travels out through a network that relays, to whoever hears that."""

    class Member(Node):
        def chat(self, message):
            size = yield Message("Which size?", intent="query")
            return size.content

    outcome = drive(
        lambda: MapperNode(MapperNode(Member())).receive("tea", answer=lambda q: "large")
    )
    assert outcome.contents == ["large"]


@every_driver
def test_awaiting_an_ask_is_the_same_wait(drive):
    """Rule 5: `await peer.ask(...)` in a coroutine handler is the same wait."""

    class Asker(Node):
        async def chat(self, message):
            answer = await Counter().ask("Count!")
            return answer.content

    assert drive(lambda: Asker().receive("go")).contents == ["three"]


@every_driver_of_tasks
def test_asks_in_gather(drive):
    """Rule 5: asks wait together inside `asyncio.gather`."""

    class Peer(Node):
        def request(self, message):
            yield sleep(10)
            return f"{self.name} says {message.content}"

    class Asker(Node):
        async def chat(self, message):
            answers = await asyncio.gather(*(peer.ask("hi") for peer in peers))
            return ", ".join(answer.content for answer in answers)

    clock, peers = FakeClock(), [Peer(name="Ann"), Peer(name="Bob")]
    outcome = drive(lambda: Asker().receive("go", clock=clock))
    assert outcome.contents == ["Ann says hi, Bob says hi"]
    assert clock.seconds == 10


@every_driver_of_tasks
def test_an_ask_in_wait_for(drive):
    """Rule 5: an ask waits inside `asyncio.wait_for`."""

    class Asker(Node):
        async def chat(self, message):
            answer = await asyncio.wait_for(Counter().ask("Count!"), timeout=60)
            return answer.content

    assert drive(lambda: Asker().receive("go")).contents == ["three"]


@every_driver_of_tasks
def test_asks_in_a_task_group(drive):
    """Rule 5: asks wait inside a task group, found by context variable."""

    class Peer(Node):
        def request(self, message):
            return message.content.upper()

    class Asker(Node):
        async def chat(self, message):
            async def one(words):
                answer = await Peer().ask(words)
                return answer.content

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(words)) for words in ("a", "b", "c")]
            return "".join(task.result() for task in tasks)

    assert drive(lambda: Asker().receive("go")).contents == ["ABC"]


@every_driver_of_tasks
def test_a_failing_ask_in_a_task_group_cancels_the_others(drive):
    """Rule 5: in a task group the first failure cancels the other asks; their peers clean up."""

    class Asker(Node):
        async def chat(self, message):
            async def one(peer):
                await peer.ask("go")

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one(slow))
                    group.create_task(one(Broken()))
            except* ZeroDivisionError:
                log.append("caught")
            return "went on"

    clock, slow, log = FakeClock(), Slow(log=[]), []
    outcome = drive(lambda: Asker().receive("go", clock=clock))
    assert outcome.contents == ["went on"]
    assert (slow.log, log) == (["over"], ["caught"])
    assert clock.seconds == 0


@every_driver
def test_asking_a_message_sends_a_fresh_copy(drive):
    """Rule 5: `peer.ask(a_message, intent=...)` asks with a copy: same class and fields, new id."""

    class Motion(Message, kind="rule5.Motion"):
        persona: str

    class Peer(Node):
        def query(self, motion):
            heard.append(motion)
            return "aye"

    class Asker(Node):
        def request(self, motion):
            yield peer.ask(motion, intent="query")
            yield peer.ask(motion, intent="query")

    heard, peer, asker = [], Peer(), Asker()
    motion = Motion("resolved", persona="a pirate", intent="request")
    drive(lambda: asker.receive(motion))
    one, two = heard
    assert len({motion.id, one.id, two.id}) == 3
    assert type(one) is Motion
    assert (one.content, one.persona, one.intent) == ("resolved", "a pirate", "query")
    assert (one.sender, one.to) == (asker, peer)
    assert (motion.intent, motion.to) == ("request", asker)


def test_the_intent_of_an_ask_is_request_unless_named():
    """Rule 5: words asked are a `request`."""
    log = Notebook()

    class Asker(Node):
        def chat(self, message):
            yield Counter(name="Counter").ask("Count!")

    list(Asker(name="Ann").receive("go", observe=log))
    assert log.said[1] == "Ann > Counter: Count! (request)"


@pytest.mark.parametrize("make", [Node.ask, Node.tell, Node.stream])
def test_a_wait_that_nobody_yielded_warns(make):
    """Rule 5: an ask or a tell that nobody yielded warns, and says which."""

    class Forgetful(Node):
        def chat(self, message):
            make(Counter(name="Bob"), "Are you there?")
            return "done"

    with pytest.warns(RuntimeWarning, match=r"Are you there\?.*never yielded"):
        assert [one.content for one in Forgetful().receive("go")] == ["done"]


def test_the_parts_of_a_wait_that_nobody_yielded_warn_too():
    """Rule 5: nor is it silent when what was forgotten is made of waits."""

    def forget():
        all_of(Counter().ask("a"), Counter().ask("b"))
        gc.collect()

    with pytest.warns(RuntimeWarning, match="never yielded"):
        forget()


def test_a_wait_that_was_yielded_does_not_warn():
    """Rule 5: what was yielded, answered or not, warns of nothing."""

    class Asker(Node):
        def chat(self, message):
            yield Counter().ask("a") | sleep(5)
            yield Counter().tell("a", intent="request")
            yield "done"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one.content for one in Asker().receive("go", clock=FakeClock())] == ["done"]
        gc.collect()


@every_driver
@kinds(*WAITING)
def test_a_wait_yielded_twice_is_an_error(handler, drive):
    """Rule 5: a wait is for one use; yielding it again raises at the `yield`, and says so."""

    class Asker(Node):
        @handler
        def request(self, message):
            question = Counter().ask("Count!")
            yield question
            try:
                yield question
            except TypeError as error:
                return f"{type(error).__name__}: {error}"

    (reply,) = drive(lambda: Asker().receive(Message("go", intent="request"))).contents
    assert reply.startswith("Misused: ")
    assert "twice" in reply


class Recursive(Node):
    """Asks itself, counting down; at the end it says how deep it went."""

    deepest: int = 0

    def request(self, message):
        n = int(message.content)
        self.deepest = self.deepest + 1
        if n == 1:
            return "bottom"
        answer = yield self.ask(str(n - 1))
        return answer.content


def test_a_chain_of_a_hundred_askers_is_allowed():
    """Rule 5: the same node and handler may stand a hundred times in a chain of askers."""
    node = Recursive()
    assert ask(node, Message("100", intent="request")).content == "bottom"
    assert node.deepest == 100


def test_a_longer_chain_is_a_deadlock_that_names_it():
    """Rule 5: the ask of the hundredth raises `Deadlock`, which names the chain."""
    node = Recursive(name="Narcissus")
    with pytest.raises(Deadlock, match=r"Narcissus.request.*Narcissus.request"):
        ask(node, Message("101", intent="request"))


@pytest.mark.parametrize("most", [1, 2, 5, 7, 1000])
def test_the_length_of_the_chain_can_be_set(most):
    """Rule 5: `Limits(chain=...)` says how often."""
    limits = Limits(chain=most)
    assert ask(Recursive(), Message(str(most), intent="request"), limits=limits).content == "bottom"
    with pytest.raises(Deadlock):
        ask(Recursive(), Message(str(most + 1), intent="request"), limits=limits)


def test_the_deadlock_is_raised_at_the_ask():
    """Rule 5: it can be caught where the question was asked."""

    class Careful(Node):
        def request(self, message):
            try:
                answer = yield self.ask("again")
            except Deadlock:
                return "deep enough"
            return answer.content

    assert said(Careful(), limits=Limits(chain=4)) == ["deep enough"]


def test_two_who_ask_each_other_are_a_chain_too():
    """Rule 5: a circle of two is found as well."""

    class Buck(Node):
        def request(self, message):
            answer = yield self.peer.ask("You decide.")
            return answer.content

    ann, bob = Buck(name="Ann"), Buck(name="Bob")
    ann.peer, bob.peer = bob, ann
    with pytest.raises(Deadlock, match=r"Ann.*Bob"):
        said(ann)


def test_the_same_handler_often_but_not_in_one_chain_is_no_deadlock():
    """Rule 5: only the chain counts: a thousand questions one after the other are fine."""

    class Asker(Node):
        def request(self, message):
            for _ in range(1000):
                yield Counter().ask("Count!")
            return "done"

    assert said(Asker()) == ["done"]


def test_a_deep_chain_of_different_nodes_is_no_deadlock():
    """Rule 5: five thousand nodes that ask one another are no circle, and need no recursion."""

    class Link(Node):
        def request(self, message):
            if self.next is None:
                return "end"
            answer = yield self.next.ask(message.content)
            return answer.content

    node = None
    for _ in range(5000):
        link = Link()
        link.next, node = node, link
    assert said(node) == ["end"]


def test_a_deep_ask_that_fails_and_is_asked_again_is_no_deadlock():
    """Rule 5: who failed, or was cancelled, stands in no chain any longer."""

    class Deep(Node):
        def request(self, message):
            n = int(message.content)
            if n == 0:
                raise ValueError("bottom")
            answer = yield self.ask(str(n - 1))
            return answer.content

    class Retry(Node):
        def request(self, message):
            failed = 0
            for _ in range(10):
                try:
                    yield deep.ask("80")
                except ValueError:
                    failed += 1
            return str(failed)

    deep = Deep()
    assert said(Retry()) == ["10"]


def test_an_ask_from_outside_returns_the_last_reply():
    """Rule 5 and 14: `ask(node, message)` is the same question, from outside."""
    assert ask(Counter(), Message("go", intent="request")).content == "three"
    with pytest.raises(NoAnswer):
        ask(Mute(), Message("go", intent="request"))


def test_words_for_a_question_are_words_or_a_message():
    """Rule 5: asking with something else raises at the `yield`."""

    class Asker(Node):
        def request(self, message):
            try:
                yield Counter().ask(42)
            except TypeError as error:
                yield f"{type(error).__name__}: {error}"

    (reply,) = said(Asker())
    assert reply.startswith("Misused: ")
    assert "42" in reply


def test_a_wait_awaited_outside_of_a_handler_says_what_to_do():
    """Rule 5: `await node.ask(...)` outside of every handler is refused, with the way to do it."""

    async def main():
        question = Counter().ask("Count!")
        try:
            await question
        finally:
            question.state = 2  # it was never begun, and need not warn

    with pytest.raises(Misused, match=r"llambdao\.ask"):
        asyncio.run(main())


@kinds(*SPEAKING)
def test_an_asker_may_speak_before_and_after(handler):
    """Rule 5: what is said around a question keeps its place."""

    class Asker(Node):
        @handler
        def request(self, message):
            yield "before"
            answer = yield Counter().ask("Count!")
            yield answer.content
            yield "after"

    assert said(Asker()) == ["before", "three", "after"]
