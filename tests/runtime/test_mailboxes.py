"""Mailboxes that many conversations share: bounded, in order, one at a time, answers first."""

import asyncio
import random
from collections import deque
from typing import Any, ClassVar

import pytest

from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    Address,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    all_of,
    expect,
    sleep,
)
from llambdao.kernel.errors import MailboxFull
from llambdao.runtime import Mailbox, Runtime
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)
POLICIES = ("wait", "drop_oldest", "drop_newest", "raise")


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


def letters(runtime):
    """The words of the dead letters of a runtime, and why they are dead."""
    return [(one.message.content, one.reason) for one in runtime.dead_letters]


def left(runtime):
    """What is left of conversations in a runtime, and in its mailboxes."""
    return [*map(str, runtime.conversations), *runtime._mailboxes.boxes.values()]


class Desk(Node):
    """Works on one message after the other, on each until it is allowed to end it."""

    async def request(self, message):
        self.log.append(f"{message.content} begins")
        await self.gate.acquire()
        self.log.append(f"{message.content} ends")
        return f"{message.content} done"

    inform = chat = request

    @property
    def begun(self):
        return [line.split()[0] for line in self.log if line.endswith("begins")]


def desk(kind=Desk, **fields):
    """A desk, shut: nothing it works on ends before `open_up`."""
    one = kind(**fields)
    one.log, one.gate = [], asyncio.Semaphore(0)
    return one


def open_up(one, count=1):
    """So many more of the messages it works on may end."""
    for _ in range(count):
        one.gate.release()


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    chat = inform = request


# -- one at a time, in order ---------------------------------------------------------------------


@on_a_loop
async def test_a_held_node_answers_many_conversations_one_at_a_time_and_in_order():
    """Rule 8: what awaits something foreign lets nobody in, whichever conversation it is of."""
    clerk = desk()
    async with home(clerk) as runtime:
        open_up(clerk, 20)
        answers = await asyncio.gather(*(runtime.ask(clerk, str(n)) for n in range(20)))
    assert [answer.content for answer in answers] == [f"{n} done" for n in range(20)]
    assert clerk.log == [f"{n} {what}" for n in range(20) for what in ("begins", "ends")]


@kinds(*WAITING)
@on_a_loop
async def test_askers_from_many_conversations_are_served_in_order(handler):
    """Rule 8: also if those who ask are nodes of whatever kind, each in its own conversation."""

    class Asker(Node):
        @handler
        def chat(self, message):
            answer = yield clerk.ask(message.content)
            return answer.content

    clerk = desk()
    askers = [Asker() for _ in range(12)]
    async with home(clerk, *askers) as runtime:
        asks = [runtime.ask(asker, str(n)) for n, asker in enumerate(askers)]
        tasks = [asyncio.ensure_future(ask) for ask in asks]
        await quiet()
        assert clerk.log == ["0 begins"]
        open_up(clerk, 12)
        answers = await asyncio.gather(*tasks)
    assert [answer.content for answer in answers] == [f"{n} done" for n in range(12)]
    assert clerk.log == [f"{n} {what}" for n in range(12) for what in ("begins", "ends")]


@kinds(*WAITING)
@on_a_loop
async def test_at_a_wait_other_conversations_come_in(handler):
    """Rule 8: a person who takes three days is not deaf meanwhile, to nobody."""

    class Person(Node):
        @handler
        def request(self, message):
            log.append(f"{message.content} begins")
            yield sleep(3 * 24 * 3600)
            log.append(f"{message.content} ends")
            return message.content

        chat = request

    log, person, clock = [], Person(), VirtualClock()
    begun = clock.now()
    async with home(person, clock=clock) as runtime:
        answers = await asyncio.gather(*(runtime.ask(person, word) for word in "abc"))
    assert [answer.content for answer in answers] == ["a", "b", "c"]
    assert log == ["a begins", "b begins", "c begins", "a ends", "b ends", "c ends"]
    assert clock.now() - begun == 3 * 24 * 3600 * 10**9


@kinds(*SPEAKING)
@on_a_loop
async def test_a_long_speech_lets_nobody_in(handler):
    """Rule 8: what is said does not end a turn, even where other conversations have theirs."""

    class Speaker(Node):
        inside: int = 0
        begun: int = 0

        @handler
        def request(self, message):
            self.begun = self.begun + 1
            self.inside = self.inside + 1
            for number in range(200):
                most.append(self.inside)
                yield str(number)
            if message.content == "b":
                raise ZeroDivisionError
            self.inside = self.inside - 1

    class Asker(Node):
        def chat(self, message):
            log.append(f"{message.content} asks")
            said = yield speaker.ask(message.content, every=True)
            return f"{len(said)} words"

    log, most, speaker = [], [], Speaker()
    async with home(speaker) as runtime:
        asking = [runtime.ask(Asker(), word) for word in "abc"]
        first, second, third = await asyncio.gather(*asking, return_exceptions=True)
    assert (first.content, third.content) == ("200 words", "200 words")
    assert isinstance(second, ZeroDivisionError)
    assert log == ["a asks", "b asks", "c asks"]  # they do have their turns
    assert set(most) == {1}
    assert (speaker.begun, speaker.inside) == (2, 0)  # the turn that failed is undone, all of it


@on_a_loop
async def test_whoever_is_resumed_goes_before_whoever_begins():
    """Rule 8: an answer that comes while the node is held goes before all that wait to begin."""

    class Clerk(Node):
        async def request(self, message):
            log.append(f"{message.content} begins")
            if message.content == "a":
                await helper.ask("?")
                log.append("a goes on")
            else:
                await gate.acquire()
            log.append(f"{message.content} ends")
            return "done"

        chat = request

    log, gate, clerk, helper = [], asyncio.Semaphore(0), Clerk(), desk()
    async with home(clerk, helper) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "abcd"]
        await quiet()
        assert log == ["a begins", "b begins"]
        open_up(helper)  # the answer for a is there, while b holds the clerk
        await quiet()
        assert log == ["a begins", "b begins"]
        for _ in "bcd":
            gate.release()
        await asyncio.gather(*tasks)
    assert log == [
        *("a begins", "b begins", "b ends", "a goes on", "a ends"),
        *("c begins", "c ends", "d begins", "d ends"),
    ]


@on_a_loop
async def test_a_timer_that_is_due_goes_before_whoever_begins():
    """Rule 8: timers go first, as answers do."""

    class Clerk(Node):
        async def request(self, message):
            log.append(f"{message.content} begins")
            if message.content == "a":
                await sleep(0.005)
            else:
                await gate.acquire()
            log.append(f"{message.content} ends")
            return "done"

        chat = request

    log, gate, clerk = [], asyncio.Semaphore(0), Clerk()
    async with Runtime(clerk) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "abcd"]
        await asyncio.sleep(0.02)
        assert log == ["a begins", "b begins"]
        for _ in "bcd":
            gate.release()
        await asyncio.gather(*tasks)
    assert log == [
        *("a begins", "b begins", "b ends", "a ends"),
        *("c begins", "c ends", "d begins", "d ends"),
    ]


@pytest.mark.parametrize("most", [2, 3, None])
@on_a_loop
async def test_concurrency_lets_so_many_conversations_in(most):
    """Rule 8: `concurrency = 3` lets three be under way at once; None any number."""

    class Wide(Desk):
        concurrency: ClassVar[int | None] = most

    clerk = desk(Wide)
    expected = 10 if most is None else most
    async with home(clerk) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(clerk, str(n))) for n in range(10)]
        await quiet()
        assert clerk.begun == [str(n) for n in range(expected)]
        for ended in range(1, 11):
            open_up(clerk)
            await quiet()
            assert sum(task.done() for task in tasks) == ended
            assert len(clerk.begun) == min(10, expected + ended)
        await asyncio.gather(*tasks)
    assert clerk.begun == [str(n) for n in range(10)]


@on_a_loop
async def test_one_node_that_is_held_holds_up_nobody_else():
    """Rule 8: every node has a mailbox of its own."""
    shut, other = desk(), desk()
    async with home(shut, other) as runtime:
        waiting = asyncio.ensure_future(runtime.ask(shut, "a"))
        await quiet()
        open_up(other, 3)
        answers = [str((await runtime.ask(other, word)).content) for word in "bcd"]
        assert answers == ["b done", "c done", "d done"]
        assert not waiting.done()
        open_up(shut)
        assert (await waiting).content == "a done"


@on_a_loop
async def test_a_node_may_ask_itself_while_others_wait_for_it():
    """Rule 8: at the wait it lets others in, and its own question waits its turn."""

    class Narcissus(Node):
        async def request(self, message):
            log.append(f"{message.content} begins")
            await gate.acquire()
            log.append(f"{message.content} ends")
            return message.content

        async def chat(self, message):
            await gate.acquire()
            answer = await self.ask(f"{message.content}, myself")
            return answer.content

    log, gate, one = [], asyncio.Semaphore(0), Narcissus()
    async with home(one) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(one, word)) for word in "abc"]
        await quiet()
        assert log == []
        for _ in range(6):
            gate.release()
        answers = await asyncio.gather(*tasks)
    assert [answer.content for answer in answers] == [f"{word}, myself" for word in "abc"]
    assert log == [f"{w}, myself {what}" for w in "abc" for what in ("begins", "ends")]


# -- those who wait may go away ------------------------------------------------------------------


@on_a_loop
async def test_when_one_who_waits_is_cancelled_the_others_move_up():
    """Rule 8 and 11: its message is never begun, nobody else notices."""
    clerk = desk()
    async with home(clerk) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "abcd"]
        await quiet()
        tasks[1].cancel()
        await quiet()
        assert tasks[1].cancelled()
        open_up(clerk, 3)
        answers = [(await tasks[place]).content for place in (0, 2, 3)]
    assert answers == ["a done", "c done", "d done"]
    assert clerk.begun == ["a", "c", "d"]


@on_a_loop
async def test_when_the_one_who_holds_a_node_is_cancelled_the_next_proceeds():
    """Rule 8 and 11: the conversation that holds the node ends; the node is free."""
    clerk = desk()
    async with home(clerk) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "abc"]
        await quiet()
        tasks[0].cancel()
        await quiet()
        assert clerk.log == ["a begins", "b begins"]
        open_up(clerk, 2)
        answers = [(await tasks[place]).content for place in (1, 2)]
    assert answers == ["b done", "c done"]
    assert clerk.log == ["a begins", "b begins", "b ends", "c begins", "c ends"]


@on_a_loop
async def test_the_next_begins_only_after_the_cancelled_holder_has_cleaned_up():
    """Rule 8 and 11: a handler is atomic, its `finally` block included."""

    class Careful(Node):
        async def request(self, message):
            log.append(f"{message.content} begins")
            try:
                await gate.acquire()
            finally:
                for _ in range(3):
                    await asyncio.sleep(0)
                log.append(f"{message.content} is over")
            return "done"

        chat = request

    log, gate, careful = [], asyncio.Semaphore(0), Careful()
    async with home(careful) as runtime:
        tasks = [asyncio.ensure_future(runtime.ask(careful, word)) for word in "ab"]
        await quiet()
        tasks[0].cancel()
        await quiet()
        gate.release()
        await tasks[1]
    assert log == ["a begins", "a is over", "b begins", "b is over"]


@on_a_loop
async def test_when_one_who_waits_to_go_on_is_cancelled_the_others_move_up():
    """Rule 8 and 11: also if what waits in the mailbox is not a start but a resumption."""

    class Clerk(Node):
        async def request(self, message):
            log.append(f"{message.content} begins")
            if message.content == "a":
                await echo.ask("?")
                await gate.acquire()
                await helper.ask("?")
                log.append("a goes on")
            else:
                await gate.acquire()
            log.append(f"{message.content} ends")
            return "done"

        chat = request

    log, gate, clerk, helper, echo = [], asyncio.Semaphore(0), Clerk(), desk(), Echo()
    async with home(clerk, helper, echo) as runtime:
        first = asyncio.ensure_future(runtime.ask(clerk, "a"))
        await quiet()
        gate.release()
        await quiet()  # a waits for the helper
        others = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "bc"]
        await quiet()
        assert log == ["a begins", "b begins"]
        open_up(helper)  # a could go on, but b holds the clerk
        await quiet()
        first.cancel()
        await quiet()
        for _ in "bc":
            gate.release()
        await asyncio.gather(*others)
    assert log == ["a begins", "b begins", "b ends", "c begins", "c ends"]


@on_a_loop
async def test_what_was_told_after_a_message_that_is_cancelled_still_comes():
    """Rule 8 and 11: nobody waits for ever behind a message that will never begin."""
    clerk, ann = desk(), Echo(name="Ann")
    async with home(clerk, ann) as runtime:
        told = [
            await runtime.tell(clerk, Message(word, sender=ann, intent="inform")) for word in "abcd"
        ]
        await quiet()
        assert clerk.begun == ["a"]
        await told[1].cancel()
        open_up(clerk, 3)
        await runtime.settle()
    assert clerk.begun == ["a", "c", "d"]
    assert letters(runtime) == [("b", "cancelled")]


@on_a_loop
async def test_nobody_waits_behind_what_a_cancelled_conversation_would_have_said():
    """Rule 8 and 11: of a thousand messages most never begin; what comes after them does."""

    class Teller(Node):
        def chat(self, message):
            for number in range(1000 if message.content == "many" else 1):
                yield hearer.tell(f"{message.content} {number}")

    class Hearer(Node):
        def inform(self, message):
            heard.append(message.content)

    heard, teller, hearer = [], Teller(), Hearer()
    async with home(teller, hearer) as runtime:
        many = await runtime.tell(teller, "many")
        await runtime.tell(teller, "one")
        await asyncio.sleep(0)
        await many.cancel()
        await runtime.settle()
        assert left(runtime) == []
    begun = heard.index("one 0")
    assert heard == [*(f"many {number}" for number in range(begun)), "one 0"]
    dead = [letter.message.content for letter in runtime.dead_letters]
    assert dead == [f"many {number}" for number in range(begun, begun + len(dead))]


# -- order per sender and node -------------------------------------------------------------------


@kinds(*WAITING)
@on_a_loop
async def test_what_one_node_tells_another_keeps_its_order_in_whatever_conversations(handler):
    """Rule 8: the teller works in two conversations that alternate; its words come in order."""

    class Teller(Node):
        @handler
        def chat(self, message):
            for number in range(4):
                yield expect(f"{message.content}{number}")
                said.append(f"{message.content}{number}")
                yield clerk.tell(f"{message.content}{number}")

    said, clerk, teller = [], desk(), Teller()
    async with home(clerk, teller) as runtime:
        for word in "ab":
            await runtime.tell(teller, word)
        await quiet()
        for number in range(4):
            for word in "ab" if number % 2 else "ba":
                runtime.news(f"{word}{number}", "go")
                await quiet()
        assert said == ["b0", "a0", "a1", "b1", "b2", "a2", "a3", "b3"]
        assert clerk.begun == ["b0"]
        open_up(clerk, 8)
        await runtime.settle()
    assert clerk.begun == said


@on_a_loop
async def test_what_is_told_at_once_in_many_conversations_keeps_its_order():
    """Rule 8: also if all of it is said in one turn of the event loop."""

    class Teller(Node):
        def chat(self, message):
            for number in range(5):
                said.append(f"{message.content}{number}")
                yield clerk.tell(f"{message.content}{number}")
                yield sleep(0)

    said, clerk, teller = [], desk(), Teller()
    async with home(clerk, teller) as runtime:
        for word in "abcdef":
            await runtime.tell(teller, word)
        open_up(clerk, 30)
        await runtime.settle()
        await quiet()
        await runtime.settle()
    assert len(said) == 30
    assert clerk.begun == said


@kinds("plain", "generator", "coroutine", "async-generator")
@on_a_loop
async def test_the_order_holds_whatever_kind_of_handler_hears_it(handler):
    """Rule 8: sleeps between the words make the conversations of the teller alternate."""

    class Hearer(Node):
        @handler
        def inform(self, message):
            heard.append(message.content)
            return None
            yield

    class Teller(Node):
        def chat(self, message):
            for number in range(5):
                said.append(f"{message.content}{number}")
                yield hearer.tell(f"{message.content}{number}")
                yield sleep(1 + (number + ord(message.content)) % 3)

    said, heard, hearer, teller = [], [], Hearer(), Teller()
    async with home(hearer, teller) as runtime:
        conversations = [await runtime.tell(teller, word) for word in "abc"]
        for one in conversations:
            await one.wait()
    assert len(said) == 15
    assert heard == said


@on_a_loop
async def test_a_question_comes_after_what_was_told_before():
    """Rule 8: a tell in one conversation, then an ask in another: first told, first heard."""

    class Sender(Node):
        def chat(self, message):
            if message.content == "tell":
                yield clerk.tell("told")
            else:
                answer = yield clerk.ask("asked")
                yield answer.content

    clerk, sender = desk(), Sender()
    async with home(clerk, sender) as runtime:
        await runtime.tell(clerk, Message("before", intent="inform"))
        await quiet()
        await runtime.tell(sender, "tell")
        await quiet()
        asking = asyncio.ensure_future(runtime.ask(sender, "ask"))
        await quiet()
        open_up(clerk, 3)
        assert (await asking).content == "asked done"
    assert clerk.begun == ["before", "told", "asked"]


@on_a_loop
async def test_what_is_told_comes_after_what_was_asked_before():
    """Rule 8: and the other way round, also if that question had to wait behind something told."""

    class Sender(Node):
        def chat(self, message):
            if message.content.startswith("told"):
                yield clerk.tell(message.content)
            else:
                answer = yield clerk.ask(message.content)
                yield answer.content

    clerk, sender = desk(), Sender()
    async with home(clerk, sender) as runtime:
        await runtime.tell(clerk, Message("before", intent="inform"))
        await quiet()
        await runtime.tell(sender, "told 1")
        await quiet()
        first = asyncio.ensure_future(runtime.ask(sender, "asked 2"))
        await quiet()
        await runtime.tell(sender, "told 3")
        await quiet()
        second = asyncio.ensure_future(runtime.ask(sender, "asked 4"))
        await quiet()
        open_up(clerk, 5)
        assert (await first).content == "asked 2 done"
        assert (await second).content == "asked 4 done"
    assert [line.removesuffix(" ends") for line in clerk.log if line.endswith("ends")] == [
        *("before", "told 1", "asked 2", "told 3", "asked 4")
    ]


@pytest.mark.parametrize("asked", [True, False])
@on_a_loop
async def test_what_a_task_says_comes_before_what_its_node_says_next(asked):
    """Rule 8: a coroutine's `await` lets others in at its node; what it said was said before."""

    class Mixed(Node):
        async def chat(self, message):
            await gate.wait()
            said.append("first")
            await (hearer.ask("first") if asked else hearer.tell("first"))

        def inform(self, message):
            said.append("second")
            yield hearer.tell("second")

    class Hearer(Node):
        def request(self, message):
            heard.append(message.content)
            return "heard"

        inform = request

    gate, said, heard = asyncio.Event(), [], []
    mixed, hearer = Mixed(), Hearer()
    async with home(mixed, hearer) as runtime:
        await runtime.tell(mixed, "go")
        await quiet()
        await runtime.tell(mixed, Message("go", intent="inform"))
        await quiet()
        gate.set()
        await runtime.settle()
    assert said == ["first", "second"]
    assert heard == said


@on_a_loop
async def test_a_question_behind_something_told_keeps_its_place():
    """Rule 8: told, then asked, in one conversation: what another one tells later comes later."""

    class Teller(Node):
        def chat(self, message):
            if message.content == "one":
                said.append("first")
                yield hearer.tell("first")
                said.append("second")
                yield hearer.ask("second")
            else:
                said.append("third")
                yield hearer.tell("third")

    class Hearer(Node):
        concurrency: ClassVar[int | None] = None

        async def request(self, message):
            heard.append(message.content)
            await asyncio.sleep(0)
            return "heard"

        inform = request

    said, heard, teller, hearer = [], [], Teller(), Hearer()
    async with home(teller, hearer) as runtime:
        for word in ("one", "other"):
            await runtime.tell(teller, word)
        await runtime.settle()
    assert said == ["first", "second", "third"]
    assert heard == said


@on_a_loop
async def test_a_sender_known_by_its_address_keeps_its_order_too():
    """Rule 8 and 12: an address is equal to its node: both are one sender."""
    clerk, ann = desk(), Echo(name="Ann")
    async with home(clerk, ann) as runtime:
        for number in range(10):
            sender = ann if number % 2 else Address(ann.id, "Ann", "system")
            await runtime.tell(clerk, Message(str(number), sender=sender, intent="inform"))
        open_up(clerk, 10)
        await runtime.settle()
    assert clerk.begun == [str(number) for number in range(10)]


@on_a_loop
async def test_tellers_who_wait_for_room_get_in_in_order():
    """Rule 8: who came first has room first, also if others come just when there is some."""

    async def tell(number):
        await runtime.tell(clerk, Message(str(number), sender=ann, intent="inform"))

    clerk, ann = desk(), Echo(name="Ann")
    async with home(clerk, ann, mailbox=Mailbox(3)) as runtime:
        tasks = []
        for number in range(60):
            tasks.append(asyncio.ensure_future(tell(number)))
            if number % 3 == 2:
                open_up(clerk)
                await asyncio.sleep(0)
        open_up(clerk, 60)
        await asyncio.gather(*tasks)
        await runtime.settle()
    assert clerk.begun == [str(number) for number in range(60)]


# -- a full mailbox ------------------------------------------------------------------------------


class Full:
    """A desk that works on `a`, while `b` and `c` fill its mailbox."""

    def __init__(self, policy, **options):
        self.clerk = desk(name="Clerk")
        self.runtime = home(self.clerk, mailbox=Mailbox(2, policy), **options)

    async def __aenter__(self):
        await self.runtime.__aenter__()
        self.told = []
        for word in "abc":
            self.told.append(await self.runtime.tell(self.clerk, Message(word, intent="inform")))
            await quiet()  # the first one begins, the others wait
        assert self.clerk.begun == ["a"]
        return self

    async def __aexit__(self, *error):
        await self.runtime.__aexit__(*error)

    async def finished(self):
        """Everything it was given, in the order in which it was begun."""
        open_up(self.clerk, 20)
        await self.runtime.settle()
        return "".join(self.clerk.begun)


@on_a_loop
async def test_told_from_outside_with_wait_the_caller_waits_for_room():
    """Mailbox: `wait`: who sends it waits for room; nothing is lost."""
    async with Full("wait") as full:
        telling = asyncio.ensure_future(full.runtime.tell(full.clerk, "d"))
        await quiet()
        assert not telling.done()
        open_up(full.clerk)
        await quiet()
        assert telling.done()
        assert full.clerk.begun == ["a", "b"]
        assert await full.finished() == "abcd"
    assert letters(full.runtime) == []


@on_a_loop
async def test_told_from_outside_with_drop_oldest_the_first_that_waits_is_dropped():
    """Mailbox: `drop_oldest`: a dead letter; what is already worked on is not touched."""
    async with Full("drop_oldest") as full:
        fourth = await full.runtime.tell(full.clerk, "d")
        assert letters(full.runtime) == [("b", "mailbox full")]
        assert await full.finished() == "acd"
        await quiet()
        assert fourth.reason == "done"
        assert full.told[1].is_over
        assert full.told[1].reason == "failed"
    assert letters(full.runtime) == [("b", "mailbox full")]


@on_a_loop
async def test_told_from_outside_with_drop_newest_the_new_one_is_dropped():
    """Mailbox: `drop_newest`: a dead letter; the teller goes on and may look at the reason."""
    async with Full("drop_newest") as full:
        fourth = await full.runtime.tell(full.clerk, "d")
        assert fourth.is_over
        assert fourth.reason == "failed"
        assert letters(full.runtime) == [("d", "mailbox full")]
        assert await full.finished() == "abc"
    assert letters(full.runtime) == [("d", "mailbox full")]


@on_a_loop
async def test_told_from_outside_with_raise_the_caller_gets_the_error():
    """Mailbox: `raise`: the sender gets `MailboxFull`, which names the node and its size."""
    async with Full("raise") as full:
        with pytest.raises(MailboxFull, match=r"^Clerk has 2 messages waiting"):
            await full.runtime.tell(full.clerk, "d")
        assert await full.finished() == "abc"


@on_a_loop
async def test_asked_from_outside_with_wait_the_caller_waits_for_its_turn():
    """Mailbox: `wait`: the answer comes when those before have been handled."""
    async with Full("wait") as full:
        asking = asyncio.ensure_future(full.runtime.ask(full.clerk, "d"))
        await quiet()
        assert not asking.done()
        assert await full.finished() == "abcd"
        assert (await asking).content == "d done"


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("policy", ["drop_newest", "raise"])
@on_a_loop
async def test_asked_from_outside_of_a_full_mailbox_the_caller_gets_the_error(policy, busy):
    """Mailbox: `drop_newest` and `raise`: who asked gets `MailboxFull`."""
    async with Full(policy) as full:
        if busy:  # somebody else is to have their turn first
            other = asyncio.ensure_future(full.runtime.ask(Echo(), "?"))
            others = [await full.runtime.tell(Echo(), "?") for _ in range(3)]
        with pytest.raises(MailboxFull, match="Clerk has 2 messages waiting"):
            await full.runtime.ask(full.clerk, "d")
        if busy:
            await asyncio.gather(other, *(one.wait() for one in others))
        assert await full.finished() == "abc"
        assert not full.runtime.conversations


@on_a_loop
async def test_asked_from_outside_with_drop_oldest_the_new_one_is_answered():
    """Mailbox: `drop_oldest`: the oldest makes room for the question."""
    async with Full("drop_oldest") as full:
        asking = asyncio.ensure_future(full.runtime.ask(full.clerk, "d"))
        await quiet()
        assert await full.finished() == "acd"
        assert (await asking).content == "d done"
    assert letters(full.runtime) == [("b", "mailbox full")]


@pytest.mark.parametrize("policy", POLICIES)
@on_a_loop
async def test_replies_sent_for_from_a_full_mailbox(policy):
    """Mailbox: what holds for an ask from outside holds for `send`."""

    async def take():
        return [said.content async for said in full.runtime.send(full.clerk, "d")]

    async with Full(policy) as full:
        taking = asyncio.ensure_future(take())
        await quiet()
        if policy in ("wait", "drop_oldest"):
            assert not taking.done()
            assert await full.finished() == ("abcd" if policy == "wait" else "acd")
            assert await taking == ["d done"]
        else:
            with pytest.raises(MailboxFull):
                await taking
            assert await full.finished() == "abc"


class Teller(Node):
    """Tells its peer what it is told, and notes when it may go on."""

    peer: Any

    def chat(self, message):
        try:
            yield self.peer.tell(message.content)
        except MailboxFull as error:
            yield f"full: {error}"
        else:
            yield "told"


class Asker(Node):
    """Asks its peer what it is asked."""

    peer: Any

    def chat(self, message):
        try:
            answer = yield self.peer.ask(message.content)
        except MailboxFull as error:
            yield f"full: {error}"
        else:
            yield answer.content


@kinds(*SPEAKING)
@on_a_loop
async def test_told_by_a_handler_with_wait_the_handler_waits_for_room(handler):
    """Mailbox: `wait`: the handler stands still at the `yield`, the node hears others meanwhile."""

    class Teller(Node):
        @handler
        def chat(self, message):
            if message.content == "hello":
                yield "hello"
                return
            log.append("tells")
            yield full.clerk.tell(message.content)
            log.append("goes on")
            yield "told"

    log, teller = [], Teller()
    async with Full("wait") as full:
        replies = full.runtime.send(teller, "d")
        telling = asyncio.ensure_future(anext(replies))
        await quiet()
        assert log == ["tells"]
        assert (await full.runtime.ask(teller, "hello")).content == "hello"
        assert log == ["tells"]
        open_up(full.clerk)
        assert (await telling).content == "told"
        assert log == ["tells", "goes on"]
        assert await full.finished() == "abcd"
    assert letters(full.runtime) == []


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@on_a_loop
async def test_told_by_a_handler_with_a_dropping_policy_the_handler_goes_on(policy):
    """Mailbox: `drop_newest` and `drop_oldest`: a dead letter; the teller does not wait."""
    async with Full(policy) as full:
        telling = full.runtime.send(Teller(peer=full.clerk), "d")
        assert (await anext(telling)).content == "told"
        dropped = "d" if policy == "drop_newest" else "b"
        assert letters(full.runtime) == [(dropped, "mailbox full")]
        assert await full.finished() == "abcd".replace(dropped, "")


@kinds(*SPEAKING)
@on_a_loop
async def test_told_by_a_handler_with_raise_the_error_is_raised_at_the_yield(handler):
    """Mailbox: `raise`: the sender gets `MailboxFull`, and may go on."""

    class Teller(Node):
        @handler
        def chat(self, message):
            try:
                yield full.clerk.tell(message.content)
            except MailboxFull as error:
                yield f"full: {error}"
                return
            yield "told"

    async with Full("raise") as full:
        answer = await full.runtime.ask(Teller(), "d")
        assert answer.content.startswith("full: Clerk has 2 messages waiting")
        assert await full.finished() == "abc"


@pytest.mark.parametrize("policy", POLICIES)
@on_a_loop
async def test_asked_by_a_handler_of_a_full_mailbox(policy):
    """Mailbox: `wait` and `drop_oldest`: it is answered; else `MailboxFull` at the `yield`."""
    async with Full(policy) as full:
        asking = asyncio.ensure_future(full.runtime.ask(Asker(peer=full.clerk), "d"))
        await quiet()
        if policy in ("wait", "drop_oldest"):
            assert not asking.done()
            assert await full.finished() == ("abcd" if policy == "wait" else "acd")
            assert (await asking).content == "d done"
        else:
            assert (await asking).content.startswith("full: Clerk has 2 messages waiting")
            assert await full.finished() == "abc"
        if policy == "drop_newest":
            assert letters(full.runtime) == [("d", "mailbox full")]


@pytest.mark.parametrize("policy", POLICIES)
@on_a_loop
async def test_relayed_to_a_full_mailbox(policy):
    """Mailbox: `wait` and `drop_oldest`: it is handled; else the others answer, then the error."""
    heard = []
    async with Full(policy) as full:
        network = MapperNode(full.clerk, Echo(name="Echo"))
        conversation = full.runtime.send(network, Message("d", intent="request"))

        async def take():
            async for said in conversation:
                heard.append(said.content)  # noqa: PERF401  # looked at in between

        taking = asyncio.ensure_future(take())
        await quiet()
        assert heard == ["d"]
        if policy in ("wait", "drop_oldest"):
            assert await full.finished() == ("abcd" if policy == "wait" else "acd")
            await taking
            assert heard == ["d", "d done"]
            assert conversation.reason == "done"
        else:
            with pytest.raises(MailboxFull):
                await taking
            assert heard == ["d"]
            assert conversation.reason == "failed"
            assert await full.finished() == "abc"


@on_a_loop
async def test_drop_oldest_may_hit_the_question_of_another_conversation():
    """Mailbox: who asked gets `MailboxFull`, in whatever conversation; the others go on."""
    clerk = desk(name="Clerk")
    asker = Asker(peer=clerk)
    async with home(clerk, asker, mailbox=Mailbox(2, "drop_oldest")) as runtime:
        tasks = [
            asyncio.ensure_future(runtime.ask(asker, "a")),
            asyncio.ensure_future(runtime.ask(asker, "b")),
            asyncio.ensure_future(runtime.ask(clerk, "c")),
        ]
        await quiet()
        await runtime.tell(clerk, Message("d", intent="inform"))
        await quiet()
        assert tasks[1].done()
        assert (await tasks[1]).content.startswith("full: Clerk has 2 messages waiting")
        await runtime.tell(clerk, Message("e", intent="inform"))
        with pytest.raises(MailboxFull):
            await tasks[2]
        open_up(clerk, 5)
        assert (await tasks[0]).content == "a done"
        await runtime.settle()
    assert "".join(clerk.begun) == "ade"
    assert letters(runtime) == [("b", "mailbox full"), ("c", "mailbox full")]


@on_a_loop
async def test_answers_are_never_bounded():
    """Rule 8: bounded for new messages, never for answers: a full mailbox holds up no answer."""

    class Clerk(Node):
        async def request(self, message):
            answers = await all_of(*(echo.ask(str(n)) for n in range(20)))
            await gate.wait()
            return " ".join(answer.content for answer in answers)

        def inform(self, message):
            heard.append(message.content)

        chat = request

    heard, gate, clerk, echo = [], asyncio.Event(), Clerk(), Echo()
    async with home(clerk, echo, mailbox=Mailbox(1, "raise")) as runtime:
        asking = asyncio.ensure_future(runtime.ask(clerk, "?"))
        await quiet()
        await runtime.tell(clerk, Message("news", intent="inform"))
        with pytest.raises(MailboxFull):
            await runtime.tell(clerk, Message("more", intent="inform"))
        gate.set()
        assert (await asking).content == " ".join(map(str, range(20)))
        await runtime.settle()
    assert heard == ["news"]


@on_a_loop
async def test_ten_thousand_messages_from_outside_never_fill_more_than_the_mailbox():
    """Rule 8: at most 100 wait, all are handled, in order."""

    class Slow(Node):
        async def inform(self, message):
            heard.append(int(message.content))
            behind.append(len(told) - len(heard))
            await asyncio.sleep(0)

    heard, told, behind, slow = [], [], [], Slow()
    async with home(slow, mailbox=Mailbox(100)) as runtime:
        for number in range(10_000):
            await runtime.tell(slow, Message(str(number), intent="inform"))
            told.append(number)
        await runtime.settle()
        assert not runtime.conversations
    assert heard == list(range(10_000))
    assert max(behind) <= 100


@on_a_loop
async def test_ten_thousand_messages_of_a_handler_never_fill_more_than_the_mailbox():
    """Rule 8: the same for what a handler tells."""

    class Slow(Node):
        async def inform(self, message):
            heard.append(int(message.content))
            behind.append(len(told) - len(heard))
            await asyncio.sleep(0)

    class Teller(Node):
        def chat(self, message):
            for number in range(10_000):
                yield slow.tell(str(number))
                told.append(number)
            yield "told"

    heard, told, behind, slow = [], [], [], Slow()
    async with home(slow, mailbox=Mailbox(100)) as runtime:
        assert (await runtime.ask(Teller(), "go")).content == "told"
        await runtime.settle()
    assert heard == list(range(10_000))
    assert max(behind) <= 100


@on_a_loop
async def test_a_node_may_have_a_mailbox_of_its_own():
    """Runtime.spawn: `mailbox`: of the node, and of members that have none."""
    ann, bob, carl = (desk(name=name) for name in ("Ann", "Bob", "Carl"))
    network = MapperNode(ann, bob)
    async with home(carl, mailbox=Mailbox(3, "raise")) as runtime:
        runtime.spawn(ann, mailbox=Mailbox(1, "raise"))
        runtime.spawn(network, mailbox=Mailbox(2, "raise"))
        for node, room in ((ann, 1), (bob, 2), (carl, 3)):
            for number in range(room + 1):  # one of them it works on
                await runtime.tell(node, Message(str(number), intent="inform"))
                await quiet()
            with pytest.raises(MailboxFull, match=f"^{node} has {room} message"):
                await runtime.tell(node, Message("more", intent="inform"))
        for one in (ann, bob, carl):
            open_up(one, 5)


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", True])
def test_a_mailbox_needs_room_for_one(size):
    """Mailbox: a size that makes no sense is refused with a lesson."""
    with pytest.raises(Misused, match="room for at least one"):
        Mailbox(size)


def test_a_mailbox_knows_four_policies():
    """Mailbox: another word is refused, and the error lists those there are."""
    with pytest.raises(Misused, match="wait or drop_oldest or drop_newest or raise"):
        Mailbox(10, "explode")


@on_a_loop
async def test_a_circle_of_full_mailboxes_ends():
    """Rule 9: two who tell each other more than fits end it somehow: nothing hangs."""

    class Chatty(Node):
        peer: Any = None

        async def inform(self, message):
            await asyncio.sleep(0)
            if left and left.pop():
                for _ in range(3):
                    await self.peer.tell("more")

    left = deque([True] * 50)
    ann, bob = Chatty(name="Ann"), Chatty(name="Bob")
    ann.peer, bob.peer = bob, ann
    async with home(ann, bob, mailbox=Mailbox(1)) as runtime:
        conversations = [
            await runtime.tell(one, Message("go", intent="inform")) for one in (ann, bob)
        ]
        for one in conversations:
            await one.wait()
        assert {str(one.reason) for one in conversations} <= {"done", "deadlock"}


# -- all of it together --------------------------------------------------------------------------


class Hearer(Node):
    """Handles messages in one of several ways, and notes who began what, and how many at once."""

    def model_post_init(self, context):
        self.begun, self.inside, self.most = [], 0, 0

    def enter(self):
        self.inside += 1
        self.most = max(self.most, self.inside)

    def leave(self):
        self.inside -= 1


class Foreign(Hearer):
    """Awaits something foreign, between two waits."""

    async def request(self, message):
        self.begun.append((str(message.sender), message.content))
        self.enter()
        try:
            for _ in range(len(message.content) % 3):
                await asyncio.sleep(0)
        finally:
            self.leave()
        if message.content.endswith("7"):
            await sleep(1)
            self.enter()
            try:
                await asyncio.sleep(0)
            finally:
                self.leave()
        return message.content

    chat = inform = request


class Two(Foreign):
    concurrency: ClassVar[int | None] = 2


class Many(Foreign):
    concurrency: ClassVar[int | None] = None


class Quick(Hearer):
    """Never holds its node."""

    def request(self, message):
        self.begun.append((str(message.sender), message.content))
        if message.content.endswith("3"):
            yield sleep(1)
        yield message.content

    chat = inform = request


class Script(Node):
    """Does what it is told: tells, asks, sleeps; in as many conversations as there are."""

    scripts: Any
    said: Any

    def chat(self, message):
        for number, (action, hearer) in enumerate(self.scripts[message.content]):
            word = f"{message.content}.{number}"
            try:
                if action == "sleep":
                    yield sleep(number % 3)
                elif action == "tell":
                    self.said.append((hearer, str(self), word))
                    yield hearer.tell(word)
                else:
                    self.said.append((hearer, str(self), word))
                    yield hearer.ask(word, timeout=2 if action == "ask in time" else None)
            except (MailboxFull, NoAnswer):
                pass
        yield "done"


class AsyncScript(Script):
    """The same in a task."""

    async def chat(self, message):
        for number, (action, hearer) in enumerate(self.scripts[message.content]):
            word = f"{message.content}.{number}"
            try:
                if action == "sleep":
                    await sleep(number % 3)
                elif action == "tell":
                    self.said.append((hearer, str(self), word))
                    await hearer.tell(word)
                else:
                    self.said.append((hearer, str(self), word))
                    await hearer.ask(word, timeout=2 if action == "ask in time" else None)
            except (MailboxFull, NoAnswer):
                pass
        return "done"


def is_within(some, others):
    """Are these among the others, in the same order?"""
    rest = iter(others)
    return all(one in rest for one in some)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [*range(12), 26, 36, 56, 58, 64, 69])
@on_a_loop
async def test_whatever_is_told_asked_and_cancelled_mailboxes_keep_their_promises(seed, policy):  # noqa: C901, PLR0912
    """Rule 8 and 11: order by sender, so many at once, no hang, nothing lost, nothing left."""
    chance = random.Random(f"{seed} {policy}")
    said, scripts = [], {}
    hearers = [kind(name=kind.__name__) for kind in (Foreign, Two, Many, Quick)]
    tellers = [
        kind(name=f"{kind.__name__}{number}", scripts=scripts, said=said)
        for kind in (Script, AsyncScript)
        for number in range(2)
    ]
    actions = ("tell", "tell", "tell", "ask", "ask in time", "sleep")
    for number in range(16):
        scripts[f"c{number}"] = [
            (chance.choice(actions), chance.choice(hearers)) for _ in range(chance.randrange(8))
        ]
    room = Mailbox(chance.choice((1, 2, 5)), policy)
    async with home(*hearers, *tellers, mailbox=room) as runtime:
        for hearer in hearers:
            runtime.spawn(hearer, mailbox=room)
        for teller in tellers:
            runtime.spawn(teller, mailbox=Mailbox())
        if seed % 2:
            runtime._queue.choose = chance.randrange
        tasks = []
        for word in scripts:
            tasks.append(asyncio.ensure_future(runtime.ask(chance.choice(tellers), word)))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if seed % 3 == 0 and chance.random() < 0.3:
                chance.choice(tasks).cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        while runtime.conversations:
            await runtime.settle()
            await quiet(5)
        assert left(runtime) == []
    for outcome in outcomes:
        if not isinstance(outcome, asyncio.CancelledError):
            assert isinstance(outcome, Message), outcome
            assert outcome.content == "done"
    dead = {one.message.content for one in runtime.dead_letters}
    tells, in_time = (
        {
            f"{word}.{number}"
            for word, script in scripts.items()
            for number, (action, _) in enumerate(script)
            if action == wanted
        }
        for wanted in ("tell", "ask in time")
    )
    for hearer in hearers:
        most = type(hearer).concurrency
        assert most is None or hearer.most <= most
        assert hearer.inside == 0
        for teller in map(str, tellers):
            sent = [word for to, sender, word in said if to is hearer and sender == teller]
            begun = [word for sender, word in hearer.begun if sender == teller]
            if seed % 2:  # others may be chosen before a question has got as far as the mailbox
                begun = [word for word in begun if word in tells]
            assert is_within(begun, sent), f"{teller} to {hearer}: {sent} began as {begun}"
    begun = {word for hearer in hearers for _, word in hearer.begun}
    if seed % 3 and policy != "raise":  # nobody was cancelled
        assert {word for _, _, word in said} - begun - dead <= in_time
