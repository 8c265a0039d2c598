"""The faults a journal survives, each with the outcome it must have."""

import asyncio

import pytest

from deaths import Town, outcome
from llambdao import HumanNode, Message, Node, Runtime, call, expect, sleep
from llambdao.journal import (
    DuplicateId,
    Fenced,
    Journal,
    JournalError,
    OutsideTurn,
    Owned,
    leaf,
)
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.kernel.errors import Misused, NoAnswer, Stopped
from llambdao.runtime import Mailbox
from llambdao.runtime.codec import NotStorable
from llambdao.testing import Killed

DAY = 24 * 3600


class Keeper(Node):
    """Keeps what it hears, and fails when told so."""

    heard: list[str] = []
    count: int = 0
    peer: Node | None = None

    def request(self, message):
        self.heard.append(message.content)
        self.count += 1
        if message.content == "fail":
            raise ValueError("no")
        yield f"{self.count}: {' '.join(self.heard)}"

    def inform(self, message):
        self.heard.append(message.content)


# -- errors ----------------------------------------------------------------------------------------


def test_a_turn_that_fails_is_undone_whole_also_within_lists():
    """The asker gets the error; the node is as it was before, also after a restart."""

    async def program(life):
        keeper = Keeper(name="keeper")
        async with life.runtime(keeper) as runtime:
            said = []
            for number, word in enumerate(("one", "fail", "two")):
                try:
                    message = Message(word, intent="request", id=f"{number}")
                    said.append((await runtime.ask(keeper, message)).content)
                except ValueError as error:
                    said.append(repr(error))
            return said, keeper.heard, keeper.count

    town = Town()
    assert town.live(program) == (
        ["1: one", "ValueError('no')", "2: one two"],
        ["one", "two"],
        2,
    )
    assert town.live(program) == (
        ["1: one", "ValueError('no')", "2: one two"],
        ["one", "two"],
        2,
    )


def test_an_error_of_an_unknown_class_is_a_peer_error_at_once():
    """As it will be after a restart: `except` takes the same branch."""

    class Odd(Exception):
        pass

    def fail():
        raise Odd("what?")

    class Asking(Node):
        def request(self, message):
            try:
                yield call(fail)
            except Exception as error:  # noqa: BLE001  # any
                yield f"{type(error).__name__}: {error}"
            yield sleep(1)
            yield "after"

    made = lambda: Asking(name="asking")  # noqa: E731
    town = Town()
    first = town.told(made(), at=3, when="after")
    assert first is None
    said, reason = town.told(made())
    assert reason == "done"
    assert said[0].startswith("PeerError: ")
    assert said[0].endswith("Odd: what?")
    assert Town().told(made()) == (said, "done")


# -- what was accepted -------------------------------------------------------------------------


def in_life(program):
    """A program in one life."""
    return Town().live(program)


def test_the_same_id_is_the_same_message_by_whatever_way():
    """tell, ask and send: asleep, at work or over; other words raise `DuplicateId`."""

    async def program(life):
        keeper = Keeper(name="keeper")
        async with life.runtime(keeper) as runtime:
            message = Message("one", intent="request", id="a")
            other = Message("two", intent="request", id="a")
            first = await runtime.tell(keeper, message.but(id="a"))
            again = await runtime.tell(keeper, message.but(id="a"))
            assert again.id == first.id == "a"
            answer = await runtime.ask(keeper, message.but(id="a"))
            heard = [said.content async for said in runtime.send(keeper, message.but(id="a"))]
            with pytest.raises(DuplicateId, match="an id is for one message"):
                await runtime.tell(keeper, other.but(id="a"))
            with pytest.raises(DuplicateId, match="an id is for one message"):
                await runtime.ask(keeper, other.but(id="a"))
            with pytest.raises(DuplicateId, match="an id is for one message"):
                [said async for said in runtime.send(keeper, other.but(id="a"))]
            return answer.content, heard, keeper.count

    assert in_life(program) == ("1: one", ["1: one"], 1)


class Waiting(Node):
    """Asks somebody, and says it."""

    boss: Node

    def request(self, message):
        yield "one moment"
        answer = yield self.boss.ask(f"{message.content}?")
        yield f"he says {answer.content}"


def waiting():
    """A clerk who asks a person."""
    return Waiting(name="clerk", boss=HumanNode(name="Ann"))


@pytest.mark.parametrize("way", ["ask", "send"])
def test_who_asks_again_after_a_restart_hears_the_answer_when_it_comes(way):
    """The conversation sleeps in the journal; its answer comes to the one who asks now."""
    message = Message("chairs", intent="request", id="a")
    town = Town()

    async def first(life):
        clerk = waiting()
        async with life.runtime(clerk) as runtime:
            asking = asyncio.ensure_future(runtime.ask(clerk, message.but(id="a")))
            await runtime.settle()
        with pytest.raises(Stopped, match="goes on when the journal is opened again"):
            await asking

    async def hear(runtime, clerk):
        if way == "ask":
            return [(await runtime.ask(clerk, message.but(id="a"))).content]
        return [said.content async for said in runtime.send(clerk, message.but(id="a"))]

    async def second(life):
        clerk = waiting()
        async with life.runtime(clerk) as runtime:
            asking = asyncio.ensure_future(hear(runtime, clerk))
            await life.settle(runtime, lambda question: "yes")
            return await asking, await hear(runtime, clerk)

    town.live(first)
    whole = ["one moment", "he says yes"] if way == "send" else ["he says yes"]
    assert town.live(second) == (whole, whole)


def test_news_find_whoever_waits_for_them_asleep():
    """It is brought back by the news, and by nothing else."""

    class Reader(Node):
        def request(self, message):
            yield (yield expect("weather"))

    town = Town()
    assert town.told(Reader(name="reader")) == ([], "waits")

    async def program(life):
        reader = Reader(name="reader")
        async with life.runtime(reader) as runtime:
            await life.settle(runtime)
            assert runtime.conversations == []
            runtime.news("sports", "0:0")
            assert runtime.conversations == []
            runtime.news("weather", "rain")
            await life.settle(runtime)
            return await outcome(runtime)

    assert town.live(program) == (["rain"], "done")


def test_an_error_is_raised_again_for_who_asks_again():
    """With the same id: it is not handled anew."""

    async def program(life):
        keeper = Keeper(name="keeper")
        async with life.runtime(keeper) as runtime:
            for _ in range(2):
                with pytest.raises(ValueError, match="no"):
                    await runtime.ask(keeper, Message("fail", intent="request", id="a"))
            return keeper.count

    assert in_life(program) == 0


def test_a_reply_after_a_timeout_is_nobody_s():
    """The asker has gone on; who was asked is cancelled, and an answer to it refused."""

    class Hasty(Node):
        boss: Node
        why: str = ""

        def request(self, message):
            try:
                yield self.boss.ask("now?", timeout=10)
            except NoAnswer:
                self.why = "late"
            yield self.why
            yield sleep(DAY)
            yield "bye"

    async def program(life):
        hasty = Hasty(name="hasty", boss=HumanNode(name="Ann"))
        async with life.runtime(hasty) as runtime:
            await runtime.tell(hasty, Message("go", intent="request", id="m"))
            await runtime.settle()
            (question,) = await runtime.pending()
            await asyncio.sleep(20)
            with pytest.raises(LookupError, match="withdrawn"):
                await runtime.answer(question.id, "yes", by="Ann")
            await life.settle(runtime)
            return await outcome(runtime)

    assert in_life(program) == (["late", "bye"], "done")


def test_what_is_cancelled_while_it_waits_cleans_up_and_stays_so():
    """Its ending is recorded; nothing is left of it, also after a restart."""

    class Tidy(Node):
        boss: Node
        log: list[str] = []

        def request(self, message):
            try:
                yield self.boss.ask("go on?")
            finally:
                self.log.append("cleaned")

    async def program(life):
        tidy = Tidy(name="tidy", boss=HumanNode(name="Ann"))
        async with life.runtime(tidy) as runtime:
            told = await runtime.tell(tidy, Message("go", intent="request", id="m"))
            await runtime.settle()
            if not told.is_over:
                await told.cancel("enough")
            assert await runtime.pending() == []
            return await outcome(runtime), tidy.log

    town = Town()
    assert town.live(program) == (([], "cancelled"), ["cleaned"])
    assert town.live(program) == (([], "cancelled"), ["cleaned"])


# -- time ------------------------------------------------------------------------------------------


class Timed(Node):
    rang: int = 0

    def request(self, message):
        began = self.now()
        yield sleep(3 * DAY)
        self.rang += 1
        yield f"after {(self.now() - began).total_seconds() / DAY:g} days"


def test_a_timer_of_three_days_rings_once_over_a_thousand_restarts():
    """However often the process ends or is killed meanwhile."""
    town = Town()

    async def program(life):
        timed = Timed(name="timed")
        async with life.runtime(timed) as runtime:
            await runtime.tell(timed, Message("go", intent="request", id="m"))
            await runtime.settle()
            await asyncio.sleep(DAY / 250)
            return await outcome(runtime), timed.rang

    rings = [town.live(program, at=3 if number % 3 == 0 else 0) for number in range(1000)]
    assert rings[1] == (([], "waits"), 0)
    assert rings[-1] == ((["after 3 days"], "done"), 1)


def test_a_timer_that_was_due_while_nobody_lived_rings_at_the_start():
    """A week later, once."""
    town = Town()
    town.told(Timed(name="timed"), at=2, when="after")
    town.outside.clock.sleep(7 * DAY)
    assert town.told(Timed(name="timed")) == (["after 7 days"], "done")


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_the_clock_may_jump_between_two_lives(jump):
    """A day back: nothing is out of order, and it waits longer; a day ahead: it waits less."""
    town = Town()
    town.told(Timed(name="timed"), at=2, when="after")
    town.outside.clock.sleep(jump)
    assert town.told(Timed(name="timed"))[1] == "done"
    times = [line.at for line in town.store.lines]
    assert times == sorted(times)


# -- owners and storage ----------------------------------------------------------------------------


def test_a_journal_has_one_owner():
    """The second is refused; when the first ends it may."""
    store = Store()

    async def main():
        first = Runtime(Keeper(name="keeper"), journal=Journal(MemoryLedger(store)), watchdog=None)
        async with first:
            with pytest.raises(Owned):
                Runtime(
                    Keeper(name="keeper"), journal=Journal(MemoryLedger(store)), watchdog=None
                ).start()
        async with Runtime(
            Keeper(name="keeper"), journal=Journal(MemoryLedger(store)), watchdog=None
        ):
            pass

    asyncio.run(main())


def test_a_zombie_writes_nothing_and_ends():
    """Another process has taken over: its next commit is refused, and the program told."""

    async def program(life):
        keeper = Keeper(name="keeper")
        async with life.runtime(keeper) as runtime:
            await runtime.ask(keeper, Message("one", intent="request", id="a"))
            MemoryLedger(life.ledger.store).claim(by_force=True)
            await runtime.ask(keeper, Message("two", intent="request", id="b"))

    town = Town()
    with pytest.raises(Fenced):
        town.live(program)
    assert [line.said[0]["content"] for line in town.store.lines] == ["one"]
    assert town.store.states.keys() == {"keeper"}


class Full(MemoryLedger):
    """A disk that is full for a while."""

    left = None

    def commit(self, batch):
        if Full.left is not None:
            Full.left -= 1
            if 0 <= Full.left < 3:
                raise JournalError("the disk is full")
        super().commit(batch)


@pytest.mark.parametrize("at", range(1, 9))
def test_when_the_disk_is_full_nothing_is_acknowledged_and_all_goes_on_later(at):
    """Loud, nobody is told that it was written; when there is room it goes on from what was."""

    class Worker(Node):
        done: list[str] = []

        def request(self, message):
            yield "begun"
            yield call(self.life.did, message.content)
            self.done.append(message.content)
            yield sleep(60)
            yield "ended"

    async def program(life):
        worker = Worker(name="worker")
        worker.life = life
        refused = 0
        async with life.runtime(worker) as runtime:
            Full.left = at
            for number in range(3):
                while True:
                    try:
                        message = Message(f"w{number}", intent="request", id=f"{number}")
                        await runtime.tell(worker, message)
                    except JournalError:
                        refused += 1
                        await asyncio.sleep(0.7)
                    else:
                        break
            for _ in range(20):
                await runtime.settle()
                await asyncio.sleep(30)
            said = [await outcome(runtime, f"{number}") for number in range(3)]
            return said, sorted(worker.done), sorted({*life.effects}), refused

    town = Town()
    town.open = lambda: Full(town.store)
    try:
        with pytest.warns(RuntimeWarning, match="the disk is full"):
            said, done, effects, _ = town.live(program)
    finally:
        Full.left = None
    assert said == [(["begun", "ended"], "done")] * 3
    assert done == ["w0", "w1", "w2"]
    assert [what for what, _ in effects] == ["w0", "w1", "w2"]
    assert len(town.outside.done) <= 6


@pytest.mark.parametrize("at", range(1, 9))
def test_a_full_disk_frees_whoever_was_held(at):
    """A leaf that holds its node, one that waits behind it, and what cleans up: as after a kill."""

    class Leafy(Node):
        boss: Node
        log: list[str] = []

        @leaf
        async def request(self, message):
            await asyncio.sleep(1)
            yield f"{message.content} done"

        def query(self, message):
            try:
                answer = yield self.boss.ask("well?")
                yield answer.content
            finally:
                self.log.append(message.content)

    async def program(life):
        leafy = Leafy(name="leafy", boss=HumanNode(name="Ann"))
        messages = [Message(n, intent="request" if n in "ab" else "query", id=n) for n in "abcd"]

        async def told(message):
            while True:
                try:
                    return await runtime.tell(leafy, message.but(id=message.id))
                except JournalError:
                    await asyncio.sleep(0.7)

        async with life.runtime(leafy, mailbox=Mailbox(1)) as runtime:
            Full.left = at
            await asyncio.gather(*map(told, messages))
            for _ in range(10):
                await asyncio.sleep(5)
                for question in await runtime.pending():
                    try:
                        await runtime.answer(question.id, "yes", by="Ann")
                    except JournalError:
                        break
            return [await outcome(runtime, n) for n in "abcd"], sorted(leafy.log)

    town = Town()
    town.open = lambda: Full(town.store)
    try:
        with pytest.warns(RuntimeWarning, match="the disk is full"):
            said, log = town.live(program)
    finally:
        Full.left = None
    assert said == [
        (["a done"], "done"),
        (["b done"], "done"),
        (["yes"], "done"),
        (["yes"], "done"),
    ]
    assert log == ["c", "d"]


def test_a_stream_that_nobody_takes_any_longer_goes_on_by_itself():
    """After a restart: what was said is there, whoever asks for it by its id."""

    class Counting(Node):
        def request(self, message):
            for number in range(200):
                yield str(number)

    message = Message("go", intent="request", id="m")
    town = Town()

    async def first(life):
        counting = Counting(name="counting")
        async with life.runtime(counting) as runtime:
            heard = []
            stream = runtime.send(counting, message.but(id="m"))
            async for said in stream:
                heard.append(said.content)
                if len(heard) == 3:
                    await runtime.settle()
                    assert len(await runtime.replies("m")) < 200
                    raise Killed

    async def second(life):
        counting = Counting(name="counting")
        async with life.runtime(counting) as runtime:
            await life.settle(runtime)
            said = [one.content for one in await runtime.replies("m")]
            heard = [one.content async for one in runtime.send(counting, message.but(id="m"))]
            return said, heard

    assert town.live(first) is None
    numbers = [str(number) for number in range(200)]
    assert town.live(second) == (numbers, numbers)


def test_who_stops_taking_a_stream_ends_it():
    """Its ending is recorded: a restart does not go on with it."""

    class Counting(Node):
        def request(self, message):
            for number in range(200):
                yield str(number)

    async def program(life):
        counting = Counting(name="counting")
        async with life.runtime(counting) as runtime:
            stream = runtime.send(counting, Message("go", intent="request", id="m"))
            async for _ in stream:
                break
            await stream.aclose()
            said, reason = await outcome(runtime)
            return len(said) < 200, reason

    assert in_life(program) == (True, "stopped")


def test_a_corrupt_row_stops_its_conversation_alone():
    """It is stuck, and says what is wrong; the others go on."""
    town = Town()

    async def program(life):
        timed = Timed(name="timed")
        async with life.runtime(timed) as runtime:
            for name in "abc":
                await runtime.tell(timed, Message(name, intent="request", id=name))
            await life.settle(runtime)
            return [await outcome(runtime, name) for name in "abc"]

    town.live(program, at=4, when="after")
    (found,) = MemoryLedger(town.store).find("b")
    town.store.steps[found.opening.key][0].inputs = b"{{{"
    done = (["after 3 days"], "done")
    assert town.live(program) == [done, ([], "stuck"), done]
    assert "b" in town.found("b").stand.why


# -- what handlers must not do -----------------------------------------------------------------


def test_a_field_that_others_change_is_an_error():
    """By the program, or by another node's handler; the change stays."""

    class Meddler(Node):
        keeper: Node

        def request(self, message):
            self.keeper.heard.append("psst")
            yield self.keeper.ask("and?")

    async def program(life):
        keeper = Keeper(name="keeper")
        meddler = Meddler(name="meddler", keeper=keeper)
        async with life.runtime(meddler) as runtime:
            with pytest.raises(OutsideTurn, match=r"keeper\.heard was changed"):
                await runtime.ask(meddler, Message("go", intent="request", id="1"))
            keeper.count = 7
            with pytest.raises(OutsideTurn, match=r"keeper\.count was changed"):
                await runtime.ask(keeper, Message("go", intent="request", id="2"))
            said = await runtime.ask(keeper, Message("go", intent="request", id="3"))
            return said.content

    assert in_life(program) == "8: psst go"


def test_a_state_that_cannot_be_stored_ends_its_conversation():
    """The turn is undone, the error says where; the node goes on."""

    class Hoarder(Node):
        things: list[object] = []

        def request(self, message):
            self.things.append(object() if message.content == "odd" else message.content)
            yield f"{len(self.things)}"

    async def program(life):
        hoarder = Hoarder(name="hoarder")
        async with life.runtime(hoarder) as runtime:
            said = [(await runtime.ask(hoarder, Message("a", intent="request"))).content]
            with pytest.raises(NotStorable, match=r"hoarder\.things\[1\] is a builtins\.object"):
                await runtime.ask(hoarder, Message("odd", intent="request"))
            said.append((await runtime.ask(hoarder, Message("b", intent="request"))).content)
            return said, hoarder.things

    assert in_life(program) == (["1", "2"], ["a", "b"])


@pytest.mark.parametrize("what", ["future", "gather"])
def test_a_handler_that_awaits_something_foreign_fails_at_its_first_run(what):
    """Not at its first replay; the error says what to do."""

    class Foreign(Node):
        peer: Node

        async def request(self, message):
            if what == "gather":
                await asyncio.gather(self.peer.ask("a"), self.peer.ask("b"))
            else:
                await asyncio.sleep(0.1)
            return "done"

    async def program(life):
        foreign = Foreign(name="foreign", peer=Keeper(name="keeper"))
        async with life.runtime(foreign) as runtime:
            with pytest.raises(Misused, match=r"mark the handler with @leaf|all_of\(a, b\)"):
                await runtime.ask(foreign, Message("go", intent="request"))

    in_life(program)


def test_a_leaf_holds_its_node_and_begins_again_after_a_kill():
    """What it said and told is recorded with its end: all of it, or nothing."""

    class Leafy(Node):
        keeper: Node
        count: int = 0

        @leaf
        async def request(self, message):
            self.life.did(f"begin {message.content}")
            await asyncio.sleep(1)
            yield "half"
            yield self.keeper.tell(message.content)
            await asyncio.sleep(1)
            self.life.did(f"end {message.content}")
            yield "whole"

    def nodes():
        return Leafy(name="leafy", keeper=Keeper(name="keeper"))

    async def program(life):
        leafy = nodes()
        leafy.life = life
        async with life.runtime(leafy) as runtime:
            await asyncio.gather(
                *(runtime.tell(leafy, Message(n, intent="request", id=n)) for n in "ab")
            )
            await life.settle(runtime)
            heard = leafy.keeper.heard
            return [await outcome(runtime, n) for n in "ab"], heard

    town = Town()
    assert town.live(program, at=4) is None
    assert town.live(program) == ([(["half", "whole"], "done")] * 2, ["a", "b"])
    words = [what for what, _ in town.outside.done]
    alone = words.index("begin b", words.index("end a")) if "end a" in words else 0
    assert alone
    assert words.count("end a") <= 2
