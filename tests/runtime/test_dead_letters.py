"""Dead letters: a node that keeps what nobody would handle, tells of it, and sends it again."""

import asyncio
from contextlib import suppress

import pytest

from llambdao import Message, Misused, Node, sleep
from llambdao.kernel.errors import MailboxFull, Stopped
from llambdao.runtime import Mailbox, Runtime, Supervisor
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


class Shop(Node):
    """Takes orders, unless it is out of order; remembers them, and who sent them."""

    is_broken: bool = True

    def model_post_init(self, context):
        self.orders = []

    def chat(self, message):
        if self.is_broken:
            raise ZeroDivisionError("out of order")
        self.orders.append((str(message.sender), message.content, message.intent))

    inform = request = chat


class Ann(Node):
    name: str = "Ann"

    def chat(self, message):
        yield SHOP[0].tell(message.content)


SHOP: list[Shop] = []


@pytest.fixture
def shop():
    """The only one, which Ann tells what she hears."""
    SHOP[:] = [Shop(name="Shop")]
    return SHOP[0]


async def said(runtime, words, intent):
    """What the node of dead letters answers."""
    message = Message(words, intent=intent)
    return [one.content async for one in runtime.send(runtime.dead_letters, message)]


# -- looking at them -----------------------------------------------------------------------------


@on_a_loop
async def test_a_query_lists_what_nobody_handled_and_why(shop):
    """DeadLetters: a `query` says of each what it was, for whom, and why; oldest first."""
    async with home(shop) as runtime:
        assert await said(runtime, "?", "query") == ["no dead letters"]
        for word in ("one", "two"):
            await runtime.tell(shop, word)
        await runtime.settle()
        kept = list(runtime.dead_letters)
        assert len(runtime.dead_letters) == 2
        assert await said(runtime, "?", "query") == [
            f"{letter.message.id} to Shop: {word!r} (failed: ZeroDivisionError('out of order'))"
            for letter, word in zip(kept, ("one", "two"), strict=True)
        ]


@on_a_loop
async def test_a_node_may_ask_for_the_dead_letters(shop):
    """DeadLetters: it is a node like others: a handler may ask it, with a list of its answers."""

    class Auditor(Node):
        def chat(self, message):
            answers = yield runtime.dead_letters.ask("?", intent="query", every=True)
            yield f"{len(answers)}: {answers[0].content[33:]}"

    async with home(shop) as runtime:
        for word in ("one", "two"):
            await runtime.tell(shop, word)
        await runtime.settle()
        answer = await runtime.ask(Auditor(), "go")
        assert answer.content == "2: to Shop: 'one' (failed: ZeroDivisionError('out of order'))"


@on_a_loop
async def test_who_is_linked_is_informed_of_each(shop):
    """DeadLetters: `dead_letters.link(node)` has that node informed, as it happens."""

    class Guard(Node):
        def inform(self, message):
            seen.append((str(message.sender), message.content, message.intent))

    seen, guard = [], Guard(name="Guard")
    async with home(shop, guard) as runtime:
        runtime.dead_letters.link(guard)
        for word in ("one", "two"):
            await runtime.tell(shop, word)
        await runtime.settle()
        assert len(seen) == 2
        for word, (sender, content, intent) in zip(("one", "two"), seen, strict=True):
            assert (sender, intent) == ("dead letters", "inform")
            assert word in content
            assert "ZeroDivisionError" in content
        runtime.dead_letters.unlink(guard)
        await runtime.tell(shop, "three")
        await runtime.settle()
        assert len(seen) == 2
        assert len(runtime.dead_letters) == 3


@on_a_loop
async def test_a_watcher_of_dead_letters_that_fails_itself_is_no_endless_loop(shop):
    """DeadLetters: what becomes a dead letter while telling of dead letters is not told again."""

    class Clumsy(Node):
        def inform(self, message):
            seen.append(message.content)
            raise LookupError("clumsy")

    seen, clumsy = [], Clumsy()
    async with home(shop, clumsy) as runtime:
        runtime.dead_letters.link(clumsy)
        await runtime.tell(shop, "one")
        for _ in range(20):
            await runtime.settle()
            await quiet(3)
        assert len(seen) <= 2
        assert 2 <= len(runtime.dead_letters) <= 3


@on_a_loop
async def test_two_watchers_that_fail_do_not_tell_each_other_for_ever(shop):
    """DeadLetters: the failure of one watcher is told to the other at most."""

    class Clumsy(Node):
        def inform(self, message):
            seen.append(message.content)
            raise LookupError("clumsy")

    seen, watchers = [], [Clumsy(name=name) for name in ("one", "other")]
    async with home(shop, *watchers) as runtime:
        for watcher in watchers:
            runtime.dead_letters.link(watcher)
        await runtime.tell(shop, "bread")
        for _ in range(30):
            await quiet(5)
        assert len(seen) <= 6
        assert len(runtime.dead_letters) <= 7


@pytest.mark.parametrize("policy", ["wait", "drop_oldest", "drop_newest", "raise"])
@on_a_loop
async def test_a_watcher_that_is_too_slow_harms_nobody_else(policy, shop):
    """DeadLetters: its mailbox is full: the others go on, whatever its policy."""

    class Slow(Node):
        async def inform(self, message):
            await gate.wait()
            seen.append(message.content)

    gate, seen, slow = asyncio.Event(), [], Slow()
    async with home(shop) as runtime:
        runtime.spawn(slow, mailbox=Mailbox(2, policy))
        runtime.dead_letters.link(slow)
        for number in range(10):
            conversation = await runtime.tell(shop, str(number))
            await conversation.wait()
            assert isinstance(conversation.error, ZeroDivisionError)
            assert conversation.reason == "failed"
        shop.is_broken = False
        await (await runtime.tell(shop, "bread")).wait()
        assert [order[1] for order in shop.orders] == ["bread"]
        gate.set()
        await runtime.settle()
        assert len(seen) >= 3


@on_a_loop
async def test_a_watcher_that_cannot_be_informed_harms_nobody_else(shop):
    """DeadLetters: linked to a node without `inform`: the others go on."""

    class Deaf(Node):
        def chat(self, message):
            yield "what?"

    deaf = Deaf()
    async with home(shop, deaf) as runtime:
        runtime.dead_letters.link(deaf)
        for word in ("one", "two"):
            conversation = await runtime.tell(shop, word)
            await conversation.wait()
            assert isinstance(conversation.error, ZeroDivisionError)
        assert "one" in [letter.message.content for letter in runtime.dead_letters]
        assert not runtime.conversations


@on_a_loop
async def test_only_the_last_thousand_are_kept(shop):
    """DeadLetters: the oldest go, so that a flood of them does not fill the memory."""
    async with home(shop) as runtime:
        for number in range(1005):
            await runtime.tell(shop, str(number))
        await runtime.settle()
        kept = [letter.message.content for letter in runtime.dead_letters]
    assert kept == [str(number) for number in range(5, 1005)]


# -- how they come to be -------------------------------------------------------------------------


@on_a_loop
async def test_what_a_teller_does_not_understand_is_a_dead_letter():
    """Rule 4: a reply with an intent of its own, to a teller that has no handler for it."""

    class Pinger(Node):
        def chat(self, message):
            yield ponger.tell("ping")

    class Ponger(Node):
        def inform(self, message):
            yield Message("pong", intent="do")

    ponger, pinger = Ponger(name="Ponger"), Pinger(name="Pinger")
    async with home(pinger, ponger) as runtime:
        conversation = await runtime.tell(pinger, "go")
        await conversation.wait()
        letters = [(one.message.content, one.node) for one in runtime.dead_letters]
    assert letters == [("pong", pinger)]
    assert conversation.reason == "done"
    assert conversation.error is None


@on_a_loop
async def test_a_cancelled_conversation_leaves_what_it_told_and_nobody_began():
    """Rule 11: what was told but not begun becomes a dead letter with reason `cancelled`."""

    class Clerk(Node):
        async def inform(self, message):
            await asyncio.Event().wait()

    class Teller(Node):
        def chat(self, message):
            for word in "abc":
                yield clerk.tell(word)
            yield sleep(1000)

    clerk = Clerk(name="Clerk")
    async with home(clerk) as runtime:
        conversation = await runtime.tell(Teller(), "go")
        await quiet()
        await conversation.cancel("enough")
        letters = [(one.message.content, one.reason) for one in runtime.dead_letters]
    assert letters == [("b", "cancelled"), ("c", "cancelled")]
    assert conversation.reason == "cancelled"
    assert conversation.detail == "enough"
    assert conversation.error is None


@on_a_loop
async def test_each_way_to_die_has_its_reason_on_the_letter_and_the_conversation(shop):
    """Mailbox, Supervisor, stop: full, failed, stopped: reason and error of both, exactly."""

    class Clerk(Node):
        async def chat(self, message):
            await gate.wait()

    gate, clerk = asyncio.Event(), Clerk(name="Clerk")
    async with home(shop, clerk, mailbox=Mailbox(1, "drop_newest")) as runtime:
        failed = await runtime.tell(shop, "failed")
        await failed.wait()
        working = await runtime.tell(clerk, "working")
        await quiet()
        waiting = await runtime.tell(clerk, "waiting")
        full = await runtime.tell(clerk, "full")
        await full.wait()
        stopping = asyncio.ensure_future(runtime.stop(clerk))
        await waiting.wait()
        await working.wait()
        await stopping
        letters = [
            (one.message.content, one.reason, type(one.error), one.node)
            for one in runtime.dead_letters
        ]
    assert letters[:3] == [
        ("failed", "failed: ZeroDivisionError('out of order')", ZeroDivisionError, shop),
        ("full", "mailbox full", MailboxFull, clerk),
        ("waiting", "stopped", Stopped, clerk),
    ]
    for conversation, kind in (
        (failed, ZeroDivisionError),
        (full, MailboxFull),
        (waiting, Stopped),
        (working, Stopped),
    ):
        assert conversation.is_over
        assert conversation.reason == "failed", conversation
        assert isinstance(conversation.error, kind), conversation


@on_a_loop
async def test_observers_see_each_dead_letter(shop):
    """Rule 14: a `dead` event with the node, the message and the reason."""
    events = []
    async with home(shop, observe=events.append) as runtime:
        await runtime.tell(shop, "one")
    (event,) = [event for event in events if event.kind == "dead"]
    assert (event.node, event.message.content) == (shop, "one")
    assert event.detail == "failed: ZeroDivisionError('out of order')"


# -- sending them again --------------------------------------------------------------------------


@on_a_loop
async def test_one_that_is_sent_again_reaches_the_node_with_its_sender(shop):
    """DeadLetters: `again ID`: the same words, intent and sender; the letter is no longer kept."""
    async with home(shop) as runtime:
        await runtime.tell(Ann(), "bread")
        await runtime.tell(shop, "cake")
        await runtime.settle()
        bread = next(one for one in runtime.dead_letters if one.message.content == "bread")
        shop.is_broken = False
        assert await said(runtime, f"again {bread.message.id}", "request") == [
            "sent again to Shop: 'bread'"
        ]
        await runtime.settle()
        assert shop.orders == [("Ann", "bread", "inform")]
        assert [one.message.content for one in runtime.dead_letters] == ["cake"]


@on_a_loop
async def test_all_are_sent_again_in_order(shop):
    """DeadLetters: `again all`: each, the oldest first."""
    async with home(shop) as runtime:
        for word in ("bread", "cake", "tea"):
            await runtime.tell(Ann(), word)
        await runtime.settle()
        shop.is_broken = False
        assert await said(runtime, "again all", "request") == [
            f"sent again to Shop: {word!r}" for word in ("bread", "cake", "tea")
        ]
        await runtime.settle()
        assert [order[1] for order in shop.orders] == ["bread", "cake", "tea"]
        assert not len(runtime.dead_letters)
        assert await said(runtime, "again all", "request") == [
            "no dead letter 'all' that could be sent again"
        ]


@on_a_loop
async def test_the_first_characters_of_the_id_will_do(shop):
    """DeadLetters: as long as they mean one; else nothing is sent, and it is said why."""
    async with home(shop) as runtime:
        for word in ("bread", "cake"):
            await runtime.tell(Ann(), word)
        await runtime.settle()
        shop.is_broken = False
        bread, cake = (one.message.id for one in runtime.dead_letters)
        shared = "".join(a for a, b in zip(bread, cake, strict=True) if a == b)[:4]
        assert bread.startswith(shared)
        assert cake.startswith(shared)
        (answer,) = await said(runtime, f"again {shared}", "request")
        await runtime.settle()
        assert "sent again" not in answer
        assert shop.orders == []
        length = next(n for n in range(1, 99) if bread[:n] != cake[:n])
        await said(runtime, f"again {bread[:length]}", "request")
        await runtime.settle()
        assert [order[1] for order in shop.orders] == ["bread"]


@on_a_loop
async def test_what_fails_once_more_is_a_dead_letter_once_more(shop):
    """DeadLetters: sending again a message that is still poison changes nothing else."""
    async with home(shop) as runtime:
        await runtime.tell(shop, "one")
        await runtime.settle()
        await said(runtime, "again all", "request")
        await runtime.settle()
        (letter,) = runtime.dead_letters
    assert letter.message.content == "one"
    assert isinstance(letter.error, ZeroDivisionError)


@on_a_loop
async def test_a_thousand_that_fail_once_more_are_all_sent_and_all_kept(shop):
    """DeadLetters: those that die again meanwhile push out none that is still to be sent."""
    async with home(shop) as runtime:
        for number in range(1000):
            await runtime.tell(shop, str(number))
        await runtime.settle()
        answers = await said(runtime, "again all", "request")
        assert answers == [f"sent again to Shop: {str(number)!r}" for number in range(1000)]
        await runtime.settle()
        kept = [letter.message.content for letter in runtime.dead_letters]
    assert kept == [str(number) for number in range(1000)]


@on_a_loop
async def test_one_whose_node_was_stopped_stays_a_dead_letter(shop):
    """DeadLetters: sent again to a node that takes no more messages, it is not lost."""
    stop = Supervisor(strategy="stop")
    async with home(shop, supervisor=stop) as runtime:
        await runtime.tell(shop, "one")
        await runtime.settle()
        with suppress(Stopped):
            await said(runtime, "again all", "request")
        await runtime.settle()
        assert [letter.message.content for letter in runtime.dead_letters] == ["one"]


@pytest.mark.parametrize("words", ["", "again", "again ", "please", "all"])
@on_a_loop
async def test_what_makes_no_sense_is_refused_with_a_lesson(words, shop):
    """DeadLetters: another request is an error that says what was expected."""
    async with home(shop) as runtime:
        with pytest.raises(Misused, match="again ID"):
            await said(runtime, words, "request")


@on_a_loop
async def test_an_unknown_id_sends_nothing(shop):
    """DeadLetters: it says so."""
    async with home(shop) as runtime:
        await runtime.tell(shop, "one")
        await runtime.settle()
        assert await said(runtime, "again xyz", "request") == [
            "no dead letter 'xyz' that could be sent again"
        ]
        assert len(runtime.dead_letters) == 1
