"""Conversations of a runtime: many at once, replies one by one, nothing left behind."""

import asyncio
import gc
import time
import weakref
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest

from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    Deadlock,
    Delta,
    GroupChatNode,
    HumanNode,
    LimitReached,
    Limits,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    all_of,
    any_of,
    ask,
    call,
    expect,
    sleep,
    tell,
    turns,
)
from llambdao.kernel.errors import MailboxFull, Stopped
from llambdao.runtime import Mailbox, Runtime
from llambdao.runtime.conversation import Conversation
from llambdao.testing import VirtualClock
from loops import on_a_loop
from transcript import Notebook

pytestmark = pytest.mark.timeout(30)


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def words(conversation):
    """All that is said, the words alone."""
    return [said.content async for said in conversation]


def left(runtime):
    """What is left of conversations in a runtime, and in its mailboxes."""
    return [*map(str, runtime.conversations), *runtime._mailboxes.boxes.values()]


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    chat = inform = request


# -- replies, one by one -------------------------------------------------------------------------


@kinds(*SPEAKING)
@on_a_loop
async def test_a_producer_is_resumed_only_as_its_replies_are_taken(handler):
    """Credit: a million replies are never made if only three are taken."""

    class Producer(Node):
        @handler
        def chat(self, message):
            try:
                for number in range(1_000_000):
                    produced.append(number)
                    yield str(number)
            finally:
                produced.append("over")

    produced = []
    async with home() as runtime:
        conversation = runtime.send(Producer(), "go")
        await quiet()
        assert produced == []
        for number in range(3):
            assert (await anext(conversation)).content == str(number)
            assert produced == list(range(number + 1))
            await quiet()
            assert produced == list(range(number + 1))
        await conversation.aclose()
        assert produced == [0, 1, 2, "over"]
        assert conversation.reason == "stopped"
        assert left(runtime) == []


@on_a_loop
async def test_a_consumer_may_break_out_of_the_loop_and_close():
    """`aclosing` around `send`, `break` within: the producer's `finally` has run."""

    class Producer(Node):
        def chat(self, message):
            try:
                for number in range(1_000_000):
                    yield str(number)
            finally:
                log.append("over")

    log = []
    async with home() as runtime:
        async with aclosing(runtime.send(Producer(), "go")) as replies:
            async for said in replies:
                log.append(said.content)
                if len(log) == 3:
                    break
        assert log == ["0", "1", "2", "over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_consumer_that_just_breaks_off_closes_it_too():
    """As a generator nobody holds any longer: the producer's `finally` has run."""

    class Producer(Node):
        def chat(self, message):
            try:
                while True:
                    yield "more"
            finally:
                log.append("over")

    log = []
    async with home() as runtime:
        async for _ in runtime.send(Producer(), "go"):
            break
        gc.collect()
        await runtime.settle()
        await quiet(3)
        assert log == ["over"]
        assert left(runtime) == []


@on_a_loop
async def test_all_replies_come_in_order():
    """Ten thousand replies are taken one by one."""

    class Producer(Node):
        def chat(self, message):
            for number in range(10_000):
                yield str(number)

    async with home() as runtime:
        conversation = runtime.send(Producer(), "go")
        assert await words(conversation) == [str(number) for number in range(10_000)]
        assert conversation.reason == "done"


@kinds(*SPEAKING)
@on_a_loop
async def test_the_others_go_on_while_the_consumer_is_slow(handler):
    """Credit: only the speaker stands still; whoever else is at work in the conversation is not."""

    class Speaker(Node):
        @handler
        def chat(self, message):
            yield worker.tell("go")
            log.append("says one")
            yield "one"
            log.append("says two")
            yield "two"

    class Worker(Node):
        def inform(self, message):
            for number in range(3):
                yield sleep(1)
                log.append(f"works {number}")

    log, worker = [], Worker()
    async with home(worker) as runtime:
        conversation = runtime.send(Speaker(), "go")
        assert (await anext(conversation)).content == "one"
        await quiet(200)
        assert log == ["says one", "works 0", "works 1", "works 2"]
        assert await words(conversation) == ["two"]
        assert log == ["says one", "works 0", "works 1", "works 2", "says two"]


@on_a_loop
async def test_each_speaker_of_a_network_stands_still_by_itself():
    """Credit: several speak to one consumer: each goes on as its own reply was taken."""

    class Speaker(Node):
        def chat(self, message):
            for number in range(3):
                log.append(f"{self.name}{number}")
                yield f"{self.name}{number}"

    log = []
    network = MapperNode(*(Speaker(name=name) for name in "abc"))
    async with home(network) as runtime:
        conversation = runtime.send(network, "go")
        heard = [(await anext(conversation)).content]
        await quiet()
        assert len(log) <= 3, "nobody says a second thing before the first was taken"
        heard += await words(conversation)
    assert sorted(heard) == sorted(f"{name}{number}" for name in "abc" for number in range(3))
    for name in "abc":
        assert [word for word in heard if word[0] == name] == [f"{name}{n}" for n in range(3)]


@on_a_loop
async def test_a_slow_consumer_holds_up_no_other_conversation_of_the_node():
    """Rule 8: handing a reply to the caller is a wait: others come in meanwhile."""

    class Speaker(Node):
        def chat(self, message):
            yield f"{message.content} one"
            yield f"{message.content} two"

    speaker = Speaker()
    async with home(speaker) as runtime:
        slow = runtime.send(speaker, "slow")
        assert (await anext(slow)).content == "slow one"
        assert await words(runtime.send(speaker, "quick")) == ["quick one", "quick two"]
        assert (await runtime.ask(speaker, "asked")).content == "asked two"
        assert await words(slow) == ["slow two"]


@kinds(*SPEAKING)
@on_a_loop
async def test_several_conversations_are_consumed_at_once(handler):
    """Each consumer hears its own conversation, at its own pace."""

    class Counter(Node):
        @handler
        def chat(self, message):
            for number in range(20):
                yield f"{message.content}{number}"

    async def consume(word, pace):
        async for said in runtime.send(counter, word):
            heard[word].append(said.content)
            for _ in range(pace):
                await asyncio.sleep(0)

    counter, heard = Counter(), {word: [] for word in "abcd"}
    async with home(counter) as runtime:
        await asyncio.gather(*(consume(word, pace) for pace, word in enumerate("abcd")))
    assert heard == {word: [f"{word}{number}" for number in range(20)] for word in "abcd"}


@on_a_loop
async def test_two_consumers_of_one_conversation_share_its_replies():
    """Each reply goes to one of them, once, in order."""

    class Counter(Node):
        def chat(self, message):
            for number in range(50):
                yield str(number)
                if number % 7 == 0:
                    yield sleep(1)

    async def consume(mine):
        async for said in conversation:
            mine.append(int(said.content))
            everything.append(int(said.content))
            await asyncio.sleep(0)
        assert len(everything) == 50, "nobody is told of the end before it"

    one, other, everything = [], [], []
    async with home() as runtime:
        conversation = runtime.send(Counter(), "go")
        await asyncio.gather(consume(one), consume(other))
    assert everything == list(range(50))
    assert sorted(one + other) == list(range(50))
    assert one
    assert other


@on_a_loop
async def test_a_stream_between_nodes_has_credit_too():
    """Credit: a handler that takes three of a million replies of another, then ends."""

    class Producer(Node):
        def request(self, message):
            try:
                for number in range(1_000_000):
                    produced.append(number)
                    yield str(number)
            finally:
                produced.append("over")

    class Consumer(Node):
        def chat(self, message):
            stream, taken = producer.stream("go"), []
            while len(taken) < 3:
                taken.append((yield stream).content)
                yield sleep(10)
                assert produced == list(range(len(taken)))
            return " ".join(taken)

    produced, producer = [], Producer()
    async with home(producer) as runtime:
        assert (await runtime.ask(Consumer(), "go")).content == "0 1 2"
        assert produced == [0, 1, 2, "over"]
        assert left(runtime) == []


@on_a_loop
async def test_nothing_happens_before_the_first_reply_is_asked_for():
    """Runtime.send: lazy: and one that is closed before leaves no trace."""
    notebook = Notebook()
    async with home(observe=notebook) as runtime:
        conversation = runtime.send(Echo(), "hello")
        await quiet()
        assert notebook.events == []
        await conversation.aclose()
        assert left(runtime) == []
        with pytest.raises(Misused, match="closed before it began"):
            await anext(conversation)
    assert notebook.events == []


def test_a_conversation_that_was_never_begun_warns():
    """Runtime.send: as a coroutine that was never awaited."""

    async def main():
        async with home() as runtime:
            runtime.send(Echo(), "hello")

    with pytest.warns(RuntimeWarning, match="never"):
        asyncio.run(main())


@on_a_loop
async def test_a_for_loop_over_a_conversation_of_a_runtime_is_refused():
    """`for` would block the loop: the error says what to write."""
    async with home() as runtime:
        conversation = runtime.send(Echo(), "hello")
        with pytest.raises(Misused, match="async for"):
            list(conversation)
        assert await words(conversation) == ["hello"]


# -- reason and error ----------------------------------------------------------------------------


class Broken(Node):
    """Says one thing, if it can, and fails."""

    def chat(self, message):
        yield "one"
        raise ZeroDivisionError("oops")

    request = inform = chat


@pytest.mark.parametrize("way", ["ask", "send", "tell"])
@on_a_loop
async def test_a_failed_conversation_keeps_its_reason_and_its_error(way):
    """Conversation: `reason`, `detail` and `error` after the end, whichever way it was opened."""
    conversations = []

    def observe(event):
        if event.kind == "delivered":
            conversations.extend(runtime.conversations)

    async with home(observe=observe) as runtime:
        if way == "tell":
            conversation = await runtime.tell(Broken(), "go")
            await conversation.wait()
        elif way == "ask":
            with pytest.raises(ZeroDivisionError, match="oops"):
                await runtime.ask(Broken(), "go")
            (conversation,) = conversations
        else:
            conversation = runtime.send(Broken(), "go")
            assert (await anext(conversation)).content == "one"
            with pytest.raises(ZeroDivisionError, match="oops"):
                await anext(conversation)
            with pytest.raises(StopAsyncIteration):
                await anext(conversation)
    assert conversation.is_over
    assert conversation.reason == "failed"
    assert "oops" in conversation.detail
    assert isinstance(conversation.error, ZeroDivisionError)


@on_a_loop
async def test_each_end_has_its_reason():
    """Rule 9: done, stopped, cancelled, failed, limit, deadlock: exactly one, for each."""

    class Endless(Node):
        def chat(self, message):
            while True:
                yield "again"

    class Circle(Node):
        def request(self, message):
            yield self.ask("me")

        chat = inform = request

    class Waiting(Node):
        def chat(self, message):
            yield expect("never")

    async with home() as runtime:
        done = await (await runtime.tell(Echo(), "go")).wait()
        limit = await (await runtime.tell(Endless(), "go", limits=Limits(messages=50))).wait()
        deadlock = await (await runtime.tell(Circle(), "go")).wait()
        stopped = runtime.send(Endless(), "go")
        await anext(stopped)
        await stopped.aclose()
        late = await (await runtime.tell(Waiting(), "go", timeout=1)).wait()
        cancelled = await runtime.tell(Waiting(), "go")
    assert [str(one.reason) for one in (done, stopped, cancelled)] == [
        *("done", "stopped", "cancelled")
    ]
    assert done.error is stopped.error is cancelled.error is None
    assert (str(late.reason), type(late.error)) == ("cancelled", NoAnswer)
    assert str(limit.reason) == "limit"
    assert isinstance(limit.error, LimitReached)
    assert "50 messages" in limit.detail
    assert (str(deadlock.reason), type(deadlock.error)) in [
        ("deadlock", Deadlock),  # it ends the conversation, or
        ("failed", Deadlock),  # is raised at the last ask, so that all handlers fail one by one
    ]


@on_a_loop
async def test_silence_is_no_answer_but_no_failure():
    """Rule 5: ask raises `NoAnswer`; send ends without a reply."""

    class Silent(Node):
        def chat(self, message):
            yield sleep(1)

    async with home() as runtime:
        with pytest.raises(NoAnswer, match="without a word"):
            await runtime.ask(Silent(), "go")
        conversation = runtime.send(Silent(), "go")
        assert await words(conversation) == []
        assert conversation.reason == "done"
        assert conversation.error is None


@on_a_loop
async def test_the_answer_is_the_last_reply():
    """Rule 5: also of several, and whatever the kind of message."""

    class Several(Node):
        def chat(self, message):
            yield "one"
            yield sleep(1)
            yield Message("two", intent="inform", metadata={"n": 2})

    async with home() as runtime:
        answer = await runtime.ask(Several(name="Ann"), "go")
        assert (answer.content, answer.intent, answer.metadata["n"]) == ("two", "inform", 2)
        assert str(answer.sender) == "Ann"


class Clerk(Node):
    """Answers at once, and has the slow work done by somebody else."""

    worker: Any

    def chat(self, message):
        yield self.worker.tell(message.content)
        yield "it will be done"


class Worker(Node):
    def inform(self, message):
        try:
            yield sleep(100)
            LOG.append(f"{message.content} done")
            if message.content == "bad":
                raise ZeroDivisionError
        finally:
            LOG.append("worker is over")


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _an_empty_log():
    LOG.clear()


@pytest.mark.parametrize("words", ["good", "bad"])
@on_a_loop
async def test_an_answer_comes_when_its_node_has_ended(words):
    """Runtime.ask: what was told on the way goes on without the caller, whatever comes of it."""
    clock, clerk = VirtualClock(), Clerk(worker=Worker())
    begun = clock.now()
    async with home(clerk, clock=clock) as runtime:
        answers = [(await runtime.ask(clerk, words)).content for _ in range(3)]
        assert answers == ["it will be done"] * 3
        assert clock.now() == begun
        for conversation in runtime.conversations:
            await conversation.wait()
        assert sorted(LOG) == sorted([f"{words} done", "worker is over"] * 3)
        assert len(runtime.dead_letters) == (3 if words == "bad" else 0)
        assert left(runtime) == []


@on_a_loop
async def test_a_deadline_holds_for_what_was_told_on_the_way_too():
    """Runtime.ask `timeout`: answered in time; what it caused is cancelled when it is due."""
    clock, clerk = VirtualClock(), Clerk(worker=Worker())
    begun = clock.now()
    async with home(clerk, clock=clock) as runtime:
        assert (await runtime.ask(clerk, "good", timeout=60)).content == "it will be done"
        (conversation,) = runtime.conversations
        await conversation.wait()
        assert clock.now() - begun == 60 * 10**9
        assert conversation.reason == "cancelled"
        assert LOG == ["worker is over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_caller_who_has_the_answer_may_go_away():
    """Runtime.ask: cancelled after its answer came, a caller takes nothing of it back."""
    clerk = Clerk(worker=Worker())

    async def caller():
        await runtime.ask(clerk, "good")
        await asyncio.Event().wait()

    async with home(clerk) as runtime:
        task = asyncio.ensure_future(caller())
        await quiet(3)
        task.cancel()
        for conversation in runtime.conversations:
            await conversation.wait()
        assert LOG == ["good done", "worker is over"]


@on_a_loop
async def test_a_conversation_has_the_id_of_the_message_that_opened_it():
    """Conversation.id: what a caller may write down, to find it again in what observers saw."""
    notebook = Notebook()
    async with home(observe=notebook) as runtime:
        conversation = await runtime.tell(Echo(), "hello")
        await conversation.wait()
        message = Message("hello")
        sent = runtime.send(Echo(), message)
        await words(sent)
    ids = [event.conversation.id for event in notebook.of("over")]
    assert ids == [conversation.id, sent.id]
    assert sent.id == message.id


@on_a_loop
async def test_limits_are_those_of_the_runtime_unless_a_conversation_has_its_own():
    """Runtime `limits`: of each conversation by itself; `limits=` of its own go first."""

    class Talker(Node):
        def chat(self, message):
            for number in range(40):
                yield str(number)

    async with home(limits=Limits(messages=30)) as runtime:
        for _ in range(3):
            with pytest.raises(LimitReached, match="30 messages"):
                await runtime.ask(Talker(), "go")
        answer = await runtime.ask(Talker(), "go", limits=Limits(messages=50))
        assert answer.content == "39"


@pytest.mark.parametrize("wanted", [True, False])
@on_a_loop
async def test_pieces_of_what_is_being_said_come_to_those_who_want_them(wanted):
    """Rule 14: a delta is no reply: nobody counts it, only who asked for them hears it."""

    class Typist(Node):
        def chat(self, message):
            yield Delta("hel")
            yield Delta("lo")
            yield "hello"

    async with home(observe=(notebook := Notebook())) as runtime:
        heard = [said async for said in runtime.send(Typist(), "go", deltas=wanted)]
        assert (await runtime.ask(Typist(), "go", deltas=wanted)).content == "hello"
    pieces = [(type(said) is Delta, said.content) for said in heard]
    assert pieces == ([(True, "hel"), (True, "lo")] if wanted else []) + [(False, "hello")]
    assert [event.message.content for event in notebook.of("delta")] == ["hel", "lo"] * 2


@kinds("plain", "generator", "coroutine", "async-generator")
@on_a_loop
async def test_what_comes_from_outside_is_handled_in_the_order_it_came(handler):
    """Rule 8: whichever way in: told, told, asked, sent for: so they are handled."""

    class Clerk(Node):
        @handler
        def chat(self, message):
            LOG.append(message.content)
            yield "noted"

    async with home(clerk := Clerk()) as runtime:
        for number in range(3):
            await runtime.tell(clerk, f"{number} told")
            await runtime.tell(clerk, f"{number} told again")
            assert (await runtime.ask(clerk, f"{number} asked")).content == "noted"
            await runtime.tell(clerk, f"{number} told once more")
            assert await words(runtime.send(clerk, f"{number} sent for")) == ["noted"]
    ways = ("told", "told again", "asked", "told once more", "sent for")
    assert [f"{number} {way}" for number in range(3) for way in ways] == LOG


@on_a_loop
async def test_what_comes_from_several_senders_is_handled_in_the_order_it_came():
    """Rule 8: a question on the caller's stack does not overtake what somebody told before."""

    class Clerk(Node):
        def chat(self, message):
            LOG.append(message.content)
            yield "noted"

    clerk, ann, bob = Clerk(), Echo(name="Ann"), Echo(name="Bob")
    async with home(clerk, ann, bob) as runtime:
        for number in range(3):
            await runtime.tell(clerk, Message(f"{number} Ann", sender=ann, intent="chat"))
            await runtime.tell(clerk, Message(f"{number} Bob", sender=bob, intent="chat"))
            await runtime.ask(clerk, f"{number} you")
    expected = [f"{number} {name}" for number in range(3) for name in ("Ann", "Bob", "you")]
    assert expected == LOG


# -- in a script ---------------------------------------------------------------------------------


def test_a_script_without_an_event_loop_has_the_same_ways_in():
    """`with Runtime(...)`: each method waits for what is awaited elsewhere."""

    class Slow(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            LOG.append(message.content)
            yield "one"
            yield "two"

    slow, broken = Slow(), Broken()
    with home(slow, broken) as runtime:
        assert runtime.ask(slow, "a").content == "two"
        assert [said.content for said in runtime.send(slow, "b")] == ["one", "two"]
        conversation = runtime.tell(slow, "c")
        runtime.settle()
        assert conversation.reason == "done"
        with pytest.raises(ZeroDivisionError, match="oops"):
            runtime.ask(broken, "go")
        runtime.tell(slow, "d")
    assert LOG == ["a", "b", "c", "d"]
    with pytest.raises((Stopped, Misused)):
        runtime.ask(slow, "too late")


def test_a_script_asks_people(tmp_path):
    """`with Runtime(...)`: its open questions are answered, and what came of it is there."""

    class Clerk(Node):
        boss: Node

        def request(self, message):
            answer = yield self.boss.ask(f"{message.content}?")
            return f"{message.content}: {answer.content}"

    clerk = Clerk(name="clerk", boss=HumanNode(name="Ann"))
    with Runtime(clerk, journal=f"sqlite:///{tmp_path}/room.db") as runtime:
        runtime.tell(clerk, Message("Tea", intent="request", id="1"))
        runtime.settle()
        [question] = runtime.pending()
        runtime.answer(question.id, "yes", by="Ann")
        runtime.settle()
        assert runtime.pending() == []
        assert [said.content for said in runtime.replies("1")] == ["Tea: yes"]


def test_a_script_that_breaks_off_closes_what_it_listened_to():
    """`for reply in runtime.send(...)` and `break`: the speaker's `finally` has run at the end."""

    class Endless(Node):
        def chat(self, message):
            try:
                while True:
                    yield "more"
            finally:
                LOG.append("over")

    with home() as runtime:
        for _ in runtime.send(Endless(), "go"):
            break
        gc.collect()
        runtime.settle()
    assert LOG == ["over"]


def test_a_handler_does_not_go_through_the_script():
    """It would wait for itself for ever: `Misused`, with what to write."""

    class Sneaky(Node):
        def chat(self, message):
            yield runtime.ask(Echo(), "hello").content

    with home() as runtime:
        with pytest.raises(Misused, match=r"node\.ask"):
            runtime.ask(Sneaky(), "go")
        assert runtime.ask(Echo(), "still here").content == "still here"


def test_a_script_that_fails_leaves_the_block_with_its_own_error():
    """`with Runtime(...)`: what waits is cancelled at once."""

    class Held(Node):
        async def chat(self, message):
            try:
                await asyncio.Event().wait()
            finally:
                LOG.append("over")

    begun = time.monotonic()
    with pytest.raises(LookupError, match="the script's own"), home() as runtime:
        runtime.tell(Held(), "go")
        raise LookupError("the script's own")
    assert LOG == ["over"]
    assert time.monotonic() - begun < 5


# -- many at once --------------------------------------------------------------------------------


class Busy(Node):
    """Asks, tells, sleeps, expects, calls, speaks: all that a conversation may do."""

    peers: list[Node]

    def chat(self, message):
        a, b = yield all_of(*(peer.ask(message.content) for peer in self.peers))
        yield self.peers[0].tell("thanks")
        yield sleep(1 + int(message.content) % 7)
        number = yield call(len, message.content)
        yield any_of(sleep(1), expect("never"))
        yield f"{a.content}{b.content}{number}"


class Async(Node):
    """As an echo, but in a task, and awaiting something foreign."""

    async def request(self, message):
        await asyncio.sleep(0)
        return message.content

    chat = inform = request


async def collected():
    """How many conversations are still alive, once all rubbish is collected."""
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    return sum(isinstance(one, Conversation) for one in gc.get_objects())


@on_a_loop
async def test_many_conversations_at_once_leave_nothing_behind():
    """Nothing is kept of a conversation that is over: neither by the runtime nor by a mailbox."""
    busy = Busy(peers=[Echo(name="Echo"), Async(name="Async")])
    before = await collected()
    async with home(busy) as runtime:
        asks = (runtime.ask(busy, str(number)) for number in range(500))
        answers = [said.content for said in await asyncio.gather(*asks)]
        assert answers == [f"{n}{n}{len(str(n))}" for n in range(500)]
        await runtime.settle()
        assert left(runtime) == []
        assert not runtime._timers.heap
        del asks
        assert await collected() == before


@on_a_loop
async def test_conversations_that_went_wrong_leave_nothing_behind():
    """The same after failures, cancellations, timeouts, drops and limits."""

    class Wrong(Node):
        def chat(self, message):
            yield echo.ask("?")
            if message.content == "fails":
                yield Async().ask("?")
                raise ZeroDivisionError
            if message.content == "endless":
                while True:
                    yield "again"
            yield sleep(3600)

    class Held(Node):
        async def chat(self, message):
            await asyncio.Event().wait()

        inform = request = chat

    wrong, held, echo = Wrong(), Held(), Echo()
    before = await collected()
    async with home(wrong, held, echo, mailbox=Mailbox(5, "drop_oldest")) as runtime:
        for round_ in range(20):
            tasks = [
                asyncio.ensure_future(runtime.ask(wrong, "fails")),
                asyncio.ensure_future(runtime.ask(wrong, "late", timeout=1)),
                asyncio.ensure_future(
                    runtime.ask(wrong, "endless", limits=Limits(messages=30 + round_))
                ),
                *(asyncio.ensure_future(runtime.ask(held, str(n))) for n in range(9)),
                asyncio.ensure_future(runtime.ask(wrong, "cancelled")),
            ]
            told = [await runtime.tell(wrong, word) for word in ("fails", "late")]
            taken = runtime.send(wrong, "endless")
            await anext(taken)
            await taken.aclose()
            await quiet()
            for task in tasks[3:]:
                task.cancel()
            for conversation in told:
                await conversation.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            kinds_of_end = {type(outcome) for outcome in outcomes}
            assert kinds_of_end == {
                *(ZeroDivisionError, NoAnswer, LimitReached, MailboxFull),
                asyncio.CancelledError,
            }
            del task, conversation, taken, outcomes
        await quiet()
        assert left(runtime) == []
        assert not runtime._timers.heap
        runtime.dead_letters.kept.clear()
        tasks.clear()
        told.clear()
        assert await collected() == before


@on_a_loop
async def test_nodes_that_are_gone_are_forgotten():
    """A runtime keeps no node that it was only asked to talk to."""
    async with home() as runtime:
        echo = Echo()
        gone = weakref.ref(echo)
        await runtime.ask(echo, "hello")
        await runtime.tell(echo, "hello")
        await runtime.settle()
        del echo
        await quiet()
        gc.collect()
        assert gone() is None


@on_a_loop
async def test_a_hundred_conversations_share_the_loop_fairly():
    """A conversation that has much to say does not keep the others waiting to its end."""

    class Chatterbox(Node):
        def chat(self, message):
            for number in range(20_000):
                yield echo.tell(str(number))
            log.append("the chatterbox is done")

    class Echo(Node):
        def inform(self, message):
            pass

        def chat(self, message):
            return message.content

    log, echo = [], Echo()
    async with home(echo) as runtime:
        talking = await runtime.tell(Chatterbox(), "go")
        for number in range(20):
            assert (await runtime.ask(echo, str(number))).content == str(number)
            log.append(number)
        await talking.wait()
    assert log == [*range(20), "the chatterbox is done"]


@on_a_loop
async def test_many_who_can_go_on_leave_turns_to_the_rest_of_the_program():
    """A thousand conversations that are ready at once do not hold the loop until all are done."""

    async def tick():
        while len(heard) < 1000:
            ticks.append(len(heard))
            await asyncio.sleep(0)

    class Hearer(Node):
        def inform(self, message):
            heard.append(message.content)

    ticks, heard, hearer = [], [], Hearer()
    async with home(hearer) as runtime:
        for number in range(1000):
            await runtime.tell(hearer, Message(str(number), intent="inform"))
        assert heard == []
        await tick()
    assert len(set(ticks)) >= 5


@on_a_loop
async def test_one_who_asks_in_a_row_lets_other_tasks_have_their_turn():
    """A loop of quick questions does not starve the rest of the program."""

    async def tick():
        while len(ticks) < 3:
            ticks.append("tick")
            await asyncio.sleep(0)

    ticks, echo = [], Echo()
    async with home(echo) as runtime:
        ticking = asyncio.ensure_future(tick())
        for _ in range(5000):
            await runtime.ask(echo, "hello")
        assert len(ticks) == 3
        await ticking


# -- deep, wide, nested --------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [10_000])
@on_a_loop
async def test_ten_thousand_nested_questions(depth):
    """Rule 7: depth is no recursion, in a runtime as elsewhere."""

    class Deep(Node):
        next: Any = None

        def request(self, message):
            if self.next is None:
                return "the bottom"
            answer = yield self.next.ask("?")
            return answer.content

        chat = request

    top = Deep()
    for _ in range(depth):
        top = Deep.model_construct(next=top)
        for slot in ("_edges", "_undo", "_id"):
            object.__setattr__(top, slot, None)
    async with home() as runtime:
        asking = runtime.ask(top, "go", limits=Limits(messages=10**6))
        assert (await asking).content == "the bottom"
        assert left(runtime) == []
        waiting = asyncio.ensure_future(runtime.ask(top, "go", limits=Limits(messages=10**6)))
        await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert left(runtime) == []


@on_a_loop
async def test_ten_thousand_asked_at_once():
    """Rule 6: wide, too."""

    class Wide(Node):
        def chat(self, message):
            answers = yield all_of(*(echo.ask(str(number)) for number in range(10_000)))
            return str(sum(int(answer.content) for answer in answers))

    class Echo(Node):
        def request(self, message):
            begun.append(int(message.content))
            return message.content

    begun, echo = [], Echo()
    async with home(echo) as runtime:
        answer = await runtime.ask(Wide(), "go", limits=Limits(messages=10**6))
        assert answer.content == str(sum(range(10_000)))
        assert begun == list(range(10_000))


@on_a_loop
async def test_a_group_chat_in_a_runtime_is_the_group_chat():
    """One handler, many drivers: the same transcript, word by word."""

    class Poet(Node):
        def chat(self, message):
            yield f"{self.name} heard {message.content[:12]}"

    def table():
        return GroupChatNode(*(Poet(name=name) for name in "ab"), until=turns(12))

    async with home() as runtime:
        there = [str(said) async for said in runtime.send(table(), "go")]
    assert there == [str(said) for said in table().receive("go", clock=VirtualClock())]
    assert len(there) == 12


# -- context -------------------------------------------------------------------------------------

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@kinds("coroutine", "async-generator", "async-generator-awaiting")
@on_a_loop
async def test_context_variables_of_two_callers_never_mix(handler):
    """Each async handler runs in the context of whoever opened its conversation."""

    class Asker(Node):
        @handler
        def chat(self, message):
            before = WHO.get()
            answer = yield helper.ask("?")
            yield sleep(1)
            return f"{before} {answer.content} {WHO.get()}"

    class Helper(Node):
        async def request(self, message):
            before = WHO.get()
            WHO.set("changed by the helper")
            await asyncio.sleep(0)
            return before

    async def caller(name):
        WHO.set(name)
        answer = await runtime.ask(asker, "go")
        return name, answer.content, WHO.get()

    asker, helper = Asker(), Helper()
    async with home(asker, helper) as runtime:
        callers = [asyncio.create_task(caller(f"caller{number}")) for number in range(30)]
        for name, answer, after in await asyncio.gather(*callers):
            assert answer == f"{name} {name} {name}"
            assert after == name


@on_a_loop
async def test_context_variables_of_a_teller_are_those_of_the_tell():
    """A conversation that nobody waits for has the context of the one who told it."""

    class Clerk(Node):
        concurrency: ClassVar[int | None] = 1

        async def chat(self, message):
            await asyncio.sleep(0)
            seen.append((message.content, WHO.get()))

    seen, clerk = [], Clerk()
    async with home(clerk) as runtime:
        for name in ("ann", "bob", "carl"):
            token = WHO.set(name)
            await runtime.tell(clerk, name)
            WHO.reset(token)
        await runtime.settle()
    assert seen == [("ann", "ann"), ("bob", "bob"), ("carl", "carl")]


# -- observers -----------------------------------------------------------------------------------


class Both(Node):
    """A program with most of what there is to observe."""

    peers: list[Node]

    def chat(self, message):
        yield "looking around"
        answers = yield all_of(*(peer.ask(message.content) for peer in self.peers))
        yield self.peers[0].tell("noted")
        yield sleep(1)
        try:
            yield Broken(name="Broken").ask("?")
        except ZeroDivisionError:
            yield "it broke"
        return " ".join(answer.content for answer in answers)


@pytest.mark.parametrize("way", ["ask", "send", "tell"])
@on_a_loop
async def test_observers_see_what_they_see_in_the_plain_driver(way):
    """Rule 14: the same events in the same order, whichever driver, whichever way in."""

    def program():
        return Both(peers=[Echo(name="Ann"), Async(name="Bob")], name="Both")

    expected, seen, each = Notebook(), Notebook(), Notebook()
    plain = {"ask": ask, "send": lambda *a, **o: list(program().receive(a[1], **o)), "tell": tell}
    plain[way](program(), "hello", clock=VirtualClock(), observe=expected)
    async with home(observe=[seen]) as runtime:
        if way == "tell":
            await (await runtime.tell(program(), "hello", observe=each)).wait()
        elif way == "ask":
            await runtime.ask(program(), "hello", observe=each)
        else:
            await words(runtime.send(program(), "hello", observe=each))
    assert seen.course == expected.course
    assert each.course == expected.course
    assert [str(e.detail) for e in seen.of("waits")] == [
        str(e.detail) for e in expected.of("waits")
    ]
    assert [e.kind for e in seen.events] == [e.kind for e in expected.events]


@on_a_loop
async def test_each_event_says_which_conversation_it_is_of():
    """Rule 14: events of many conversations are told apart by the message that opened them."""
    notebook, busy = Notebook(), Busy(peers=[Echo(), Async()])
    async with home(busy, observe=notebook) as runtime:
        messages = [Message(str(number)) for number in range(10)]
        await asyncio.gather(*(runtime.ask(busy, message) for message in messages))
    for message in messages:
        mine = [event for event in notebook.events if event.conversation is message]
        assert (mine[0].kind, mine[-1].kind) == ("said", "over")
        assert len(mine) == len(notebook.events) / 10


@on_a_loop
async def test_an_observer_that_fails_warns_and_harms_nobody():
    """Rule 14: observing changes nothing."""

    def clumsy(event):
        raise LookupError("clumsy")

    notebook = Notebook()
    async with home(observe=[clumsy, notebook]) as runtime:
        with pytest.warns(RuntimeWarning, match="observer .* failed"):
            assert (await runtime.ask(Echo(), "hello")).content == "hello"
    assert [event.kind for event in notebook.events] == [
        *("said", "delivered", "said", "ended", "over")
    ]


@on_a_loop
async def test_a_watcher_that_is_too_slow_loses_the_oldest():
    """Runtime.watch: beyond 10,000 events; what is left comes in order, to the end."""
    seen = []
    async with home(echo := Echo()) as runtime:
        events = aiter(runtime.watch())
        first = asyncio.ensure_future(anext(events))
        await quiet(3)
        for number in range(2500):  # five events each
            await runtime.ask(echo, str(number))
        seen.append(await first)
        seen += [await anext(events) for _ in range(10_000)]
        await events.aclose()
    assert [event.kind for event in seen[-5:]] == ["said", "delivered", "said", "ended", "over"]
    assert seen[-2].message.content == "2499"
    numbers = [int(event.message.content) for event in seen[1:] if event.kind == "delivered"]
    assert numbers == list(range(2500 - len(numbers), 2500))


@on_a_loop
async def test_watching_one_node_shows_its_events_only():
    """Runtime.watch(node): from now on, in order; it changes nothing."""
    ann, bob, seen = Echo(name="Ann"), Echo(name="Bob"), []

    async def watch():
        async for event in runtime.watch(ann):
            seen.append((event.kind, event.message.content))
            if len(seen) == 6:
                break

    async with home(ann, bob) as runtime:
        await runtime.ask(ann, "before")
        watching = asyncio.ensure_future(watch())
        await quiet(3)
        for word in ("one", "two"):
            await runtime.ask(bob, word)
            await runtime.ask(ann, word)
        async with asyncio.timeout(1):
            await watching
    assert seen == [
        (kind, word) for word in ("one", "two") for kind in ("delivered", "said", "ended")
    ]


# -- settle and news -----------------------------------------------------------------------------


@on_a_loop
async def test_settle_waits_for_all_that_can_go_on():
    """Runtime.settle: told chains, tasks, calls, threads: all that needs no time and nobody."""

    class Worker(Node):
        async def inform(self, message):
            for _ in range(5):
                await asyncio.sleep(0)
            number = int(message.content)
            await call(log.append, number)
            if number:
                await self.tell(str(number - 1))

    log, worker = [], Worker()
    async with home(worker) as runtime:
        await runtime.settle()
        await runtime.tell(worker, Message("20", intent="inform"))
        assert log == []
        await runtime.settle()
        assert log == list(range(20, -1, -1))
        assert left(runtime) == []
        await runtime.settle()


async def in_a_group(coroutine):
    """As the only task of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(coroutine)


BEGINNINGS = {
    "a_task": lambda asking: asking,
    "gather": lambda asking: asyncio.gather(asking, asyncio.sleep(0)),
    "wait_for": lambda asking: asyncio.wait_for(asking, 1000),
    "wait_for_wait_for": lambda asking: asyncio.wait_for(asyncio.wait_for(asking, 1000), 1000),
    "a_task_group": in_a_group,
}


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
@on_a_loop
async def test_settle_waits_for_what_was_just_asked_in_a_task(begin):
    """Runtime.settle: a task that was created before has its first turns first."""

    class Clerk(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            LOG.append(message.content)
            return "noted"

    clerk = Clerk()
    async with home(clerk) as runtime:
        asking = asyncio.ensure_future(begin(runtime.ask(clerk, "go")))
        await runtime.settle()
        assert LOG == ["go"]
        await asking


@on_a_loop
async def test_settle_does_not_wait_for_what_is_not_due():
    """Runtime.settle: timers not yet due, expectations and consumers do not count."""

    class Waiting(Node):
        def chat(self, message):
            log.append("begins")
            if message.content == "time":
                yield sleep(3600)
            elif message.content == "news":
                yield expect("news")
            yield "one"
            log.append(f"{message.content} came")

    log, clock = [], VirtualClock()
    begun = clock.now()
    async with home(clock=clock) as runtime:
        await runtime.tell(Waiting(), "time")
        await runtime.tell(Waiting(), "news")
        consumed = runtime.send(Waiting(), "consumer")
        await anext(consumed)
        await runtime.settle()
        assert log == ["begins"] * 3
        assert clock.now() == begun
        assert len(runtime.conversations) == 3
        await consumed.aclose()


@on_a_loop
async def test_settle_waits_for_timers_that_are_due():
    """Runtime.settle: `sleep(0)`, and a sleep until a time that is past, need no time at all."""

    class Worker(Node):
        def chat(self, message):
            for number in range(5):
                yield sleep(0)
                log.append(number)

    log, worker = [], Worker()
    async with home(worker) as runtime:
        await runtime.tell(worker, "go")
        await runtime.settle()
        assert log == [0, 1, 2, 3, 4]


@kinds(*WAITING)
@on_a_loop
async def test_news_reach_all_conversations_that_expect_them(handler):
    """Runtime.news: every conversation that waits for that key, and no other; once each."""

    class Waiting(Node):
        @handler
        def chat(self, message):
            news = yield expect(message.content)
            heard.append((message.content, news))

    heard, waiting = [], Waiting()
    async with home(waiting) as runtime:
        for key in ("a", "b", "a"):
            await runtime.tell(waiting, key)
        await runtime.settle()
        runtime.news("a", {"n": 1})
        runtime.news("nobody", 0)
        await runtime.settle()
        assert heard == [("a", {"n": 1})] * 2
        runtime.news("a", "once more: nobody waits any longer")
        runtime.news("b", 2)
        await runtime.settle()
        assert heard[2:] == [("b", 2)]
        assert left(runtime) == []


@on_a_loop
async def test_news_for_one_conversation_are_kept_until_expected():
    """Conversation.news: as everywhere; also before the first reply is asked for."""

    class Waiting(Node):
        def chat(self, message):
            yield sleep(1)
            first = yield expect("news")
            second = yield expect("news")
            yield f"{first} {second}"

    async with home() as runtime:
        conversation = runtime.send(Waiting(), "go")
        conversation.news("news", 1)
        conversation.news("news", 2)
        assert await words(conversation) == ["1 2"]


@on_a_loop
async def test_a_question_to_the_outside_is_answered_by_the_program():
    """Rule 5: `answer=` of the conversation, or of the runtime; a function or a coroutine."""

    class Curious(Node):
        def chat(self, message):
            answer = yield Message("who is there?", intent="query")
            yield f"hello {answer.content}"

    async def later(question):
        await asyncio.sleep(0)
        return f"a coroutine, asked {question.content}"

    async with home(answer=lambda question: "the runtime") as runtime:
        assert (await runtime.ask(Curious(), "go")).content == "hello the runtime"
        answer = await runtime.ask(Curious(), "go", answer=later)
        assert answer.content == "hello a coroutine, asked who is there?"
    async with home() as runtime:
        with pytest.raises(NoAnswer, match="nobody outside can answer"):
            await runtime.ask(Curious(), "go")
