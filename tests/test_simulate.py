"""`simulate`: the same again in each run of a seed, at once, in many orders, with faults."""

import asyncio
import itertools
import random
import socket
import threading
import time
from collections import Counter

import pytest

from llambdao import (
    Deadlock,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    Reason,
    all_of,
    any_of,
    call,
    expect,
    sleep,
)
from llambdao.runtime import Mailbox, Supervisor
from llambdao.testing import (
    Fault,
    Faults,
    Interleaving,
    Replay,
    Report,
    SimulatedFault,
    World,
    simulate,
)
from llambdao.testing import _report as reports

pytestmark = pytest.mark.timeout(30)


def once(program, **options):
    """What a program gives back in its first run of seed 0."""
    results = []

    async def kept(simulation):
        results.append(await program(simulation))

    simulate(kept, seed=0, **options)
    return results[0]


def query(words="?", **more):
    """A question."""
    return Message(words, intent="query", **more)


class Ear(Node):
    """Keeps what it hears, and when."""

    def model_post_init(self, context):
        self.heard, self.times = [], []

    def inform(self, message):
        self.heard.append(message.content)
        self.times.append(self.now())


class Mouth(Node):
    """Tells all it has to say, one after the other."""

    ear: Node

    def inform(self, message):
        for word in message.content.split():
            yield self.ear.tell(word)


class Echo(Node):
    """Says what it hears."""

    def query(self, message):
        return message.content


class Asker(Node):
    """Asks, and says what came of it."""

    peer: Node
    timeout: float | None = None

    def query(self, message):
        try:
            answer = yield self.peer.ask(message.content, "query", timeout=self.timeout)
        except NoAnswer as error:
            return f"no answer: {error}"
        except SimulatedFault as error:
            return f"fault: {error}"
        return answer.content


# -- time ------------------------------------------------------------------------------------------


def test_nobody_waits_for_real():
    """A year passes at once, in handlers, in tasks and in the program itself."""

    class Patient(Node):
        async def query(self, message):
            await asyncio.sleep(100 * 86400)
            await sleep(100 * 86400)
            return str(self.now())

    async def program(simulation):
        patient = Patient()
        async with simulation.runtime(patient) as runtime:
            await asyncio.sleep(165 * 86400)
            return (await runtime.ask(patient, query())).content

    begin = time.monotonic()
    assert once(program) == "2031-01-01 00:00:00+00:00"
    assert time.monotonic() - begin < 5


def test_all_clocks_are_one():
    """The loop's, the nodes' and the simulation's; ordered to the nanosecond."""

    class Sleeper(Node):
        def query(self, message):
            yield sleep(float(message.content))
            log.append(message.content)

    log = []

    async def program(simulation):
        log.clear()
        sleeper = Sleeper()
        async with simulation.runtime(sleeper) as runtime:
            for seconds in ("2.000000002", "2.000000001", "1.5", "2.5"):
                await runtime.tell(sleeper, query(seconds))
            await asyncio.sleep(2)
            log.append(f"{simulation.seconds:g} {asyncio.get_running_loop().time():g}")
            await asyncio.sleep(2)
            assert simulation.clock.now() == simulation.clock.time

    simulate(program, seeds=range(20))
    assert log == ["1.5", "2 2", "2.000000001", "2.000000002", "2.5"]


@pytest.mark.parametrize("seconds", [1e-9, 1e-7, 0.3, 1e5 + 1e-9, 40 * 86400 + 1e-9, 1e9 + 0.1])
def test_timers_of_any_length_ring(seconds):
    """However little, or however long: they come to an end, and not before their time."""

    class Sleeper(Node):
        async def query(self, message):
            begin = self.now().timestamp()
            await sleep(seconds)
            await asyncio.sleep(seconds)
            return str(self.now().timestamp() - begin)

    async def program(simulation):
        sleeper = Sleeper()
        async with simulation.runtime(sleeper) as runtime:
            answer = await runtime.ask(sleeper, query())
            assert simulation.seconds >= 2 * seconds * (1 - 1e-9) - 2e-6
            return float(answer.content)

    assert once(program) == pytest.approx(2 * seconds, abs=1e-5)


def test_timeouts_are_virtual():
    """Those of asyncio, of a question and of a conversation."""

    class Slow(Node):
        async def query(self, message):
            await asyncio.sleep(1000)

    async def program(simulation):
        slow = Slow()
        asker = Asker(peer=slow, timeout=30)
        async with simulation.runtime(slow, asker) as runtime:
            with pytest.raises(NoAnswer):
                await runtime.ask(slow, query(), timeout=20)
            assert simulation.seconds == 20
            assert "within 30" in (await runtime.ask(asker, query())).content
            assert simulation.seconds == 50
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await runtime.ask(slow, query())
            return simulation.seconds

    assert once(program) == 60


def test_time_is_the_clocks_and_nobody_elses():
    """A runtime in a simulation has no clock of its own."""

    async def program(simulation):
        with pytest.raises(Misused, match=r"simulation\.clock"):
            simulation.runtime(clock=simulation.clock)

    simulate(program, seed=0)


# -- who can never go on ---------------------------------------------------------------------------


def error_of(program, **options):
    """The error that the simulation of a program is raised from."""
    with pytest.raises(Interleaving) as caught:
        simulate(program, **options)
    return caught.value.__cause__


def test_a_program_that_hangs_is_a_deadlock_that_names_who_waits():
    """The handlers and what they wait for, the tasks and where they wait."""

    class Reader(Node):
        def chat(self, message):
            yield expect("the paper")

    async def program(simulation):
        reader = Reader(name="Ann")
        async with simulation.runtime(reader) as runtime:
            await runtime.ask(reader, "hello")

    error = error_of(program, seed=0)
    assert isinstance(error, Deadlock)
    assert "Ann.chat waits for the news expected for 'the paper'" in str(error)
    assert "program waits at" in str(error)
    assert __file__ in str(error)


def test_a_task_that_awaits_nothing_is_a_deadlock():
    """Also without any node."""

    async def program(simulation):
        await asyncio.Event().wait()

    assert isinstance(error_of(program, seed=0), Deadlock)


def test_a_program_that_never_ends_is_stopped():
    """After so many turns of its loop."""

    async def program(simulation):
        for _ in itertools.count():
            await asyncio.sleep(1)

    error = error_of(program, seed=0, turns=500)
    assert isinstance(error, Deadlock)
    assert "after 250 virtual seconds" in str(error)


def test_nothing_is_left_of_a_program_that_failed():
    """Its tasks are cancelled and clean up, its runtimes stop, its nodes are free."""
    log, nodes = [], [Echo()]

    async def background():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    async def program(simulation):
        simulation.runtime(nodes[0]).start()
        log.append(asyncio.create_task(background()))
        await asyncio.sleep(0)
        raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        simulate(program, replay=Replay(0))
    assert log[1:] == ["cleaned up"]
    with pytest.raises(ValueError, match="oops"):
        simulate(program, replay=Replay(0))


# -- threads, sockets and other worlds -------------------------------------------------------------


def test_functions_are_called_without_threads():
    """In the program's own thread, and in an order that is chosen."""
    orders = set()

    class Caller(Node):
        def query(self, message):
            yield call(work, message.content)

    def work(word):
        assert threading.current_thread() is threading.main_thread()
        log.append(word)
        return word

    log = []

    async def program(simulation):
        log.clear()
        nodes = [Caller(name=name) for name in "ab"]
        async with simulation.runtime(*nodes) as runtime:
            for node in nodes:
                await runtime.tell(node, query(node.name))
            assert await asyncio.to_thread(work, "c") == "c"
        orders.add("".join(log))

    simulate(program, seeds=range(60))
    assert orders == {"".join(some) for some in itertools.permutations("abc")}


def test_a_function_in_a_thread_may_fail_or_run_a_loop_of_its_own():
    """As in a thread: its error is raised where it was called; no loop runs there."""

    async def three():
        return 3

    async def program(simulation):
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        assert await asyncio.to_thread(lambda: asyncio.run(three())) == 3
        assert asyncio.get_running_loop() is not None
        task = asyncio.create_task(asyncio.to_thread(pytest.fail, "cancelled in time"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    simulate(program, seeds=range(20))


def test_sockets_and_processes_are_refused():
    """With an error that says what to do."""

    async def program(simulation):
        loop = asyncio.get_running_loop()
        for work in (
            asyncio.open_connection("127.0.0.1", 1),
            asyncio.create_subprocess_exec("true"),
            asyncio.start_server(print, "127.0.0.1", 0),
        ):
            with pytest.raises(Misused, match="a fake"):
                await work
        with pytest.raises(Misused, match="getaddrinfo"):
            loop.getaddrinfo("localhost", 80)
        with pytest.raises(Misused), socket.socket() as some:
            loop.add_reader(some, print)

    simulate(program, seed=0)


def test_a_simulation_has_its_loop_for_itself():
    """Where a loop runs already it says so."""

    async def program(simulation):
        pytest.fail("never begun")

    async def main():
        simulate(program)

    with pytest.raises(Misused, match=r"asyncio\.to_thread"):
        asyncio.run(main())


def test_a_program_is_a_coroutine_function():
    """Anything else is told, and is not an order in which something goes wrong."""
    with pytest.raises(Misused, match="async def"):
        simulate(lambda simulation: None)
    with pytest.raises(Misused, match="a seed is a number"):
        simulate(lambda simulation: None, seeds="abc")


# -- orders ----------------------------------------------------------------------------------------


def race(orders):
    """A program in which three are told at once; in which order they work is nobody's promise."""

    async def program(simulation):
        log = []

        class Runner(Node):
            def inform(self, message):
                log.append(self.name)

        runners = [Runner(name=name) for name in "abc"]
        async with simulation.runtime(*runners) as runtime:
            for runner in runners:
                await runtime.tell(runner, Message("go", intent="inform"))
        orders.add("".join(log))
        return log

    return program


def test_all_orders_are_seen():
    """Of the conversations that could go on."""
    orders = set()
    report = simulate(race(orders))
    assert orders == {"".join(some) for some in itertools.permutations("abc")}
    assert report.seeds == 100
    assert report.orders >= 6


def test_what_goes_wrong_is_shrunk_and_can_be_run_again():
    """To the fewest unusual choices; the replay raises the error itself."""
    orders = set()
    program = race(orders)

    async def checked(simulation):
        log = await program(simulation)
        assert log[0] != "c", "c was first"

    with pytest.raises(Interleaving) as caught:
        simulate(checked)
    error = caught.value
    assert str(error).startswith(f"with seed {error.replay.seed} and the choices (2,): ")
    assert "simulate(program, seed=" in str(error)
    assert "simulate(program, replay=error.replay)" in str(error)
    assert error.choices == error.replay.choices == (2,)
    assert isinstance(error.__cause__, AssertionError)
    with pytest.raises(AssertionError, match="c was first"):
        simulate(checked, replay=error.replay)
    with pytest.raises(Interleaving) as again:
        simulate(checked, seed=error.replay.seed)
    assert str(again.value) == str(error)
    assert simulate(checked, replay=Replay(0)).seeds == 1


def test_a_replay_can_be_written_down():
    """It is plain data, whose `repr` makes it again."""
    replay = Replay(7, (0, 2), (Fault("slow", "Ann > Bob: hello (chat)", 2, 0.5),))
    assert eval(repr(replay)) == replay
    assert str(replay.faults[0]) == "slow by 0.5 s: Ann > Bob: hello (chat) (no. 2)"


def test_only_the_same_error_counts_when_it_is_shrunk():
    """Less of it that fails in another way is not the same."""
    orders = set()
    program = race(orders)

    async def checked(simulation):
        log = await program(simulation)
        if log[0] == "b":
            raise KeyError("another one")
        assert log[0] == "a"

    for seed in range(40):
        with pytest.raises(Interleaving) as caught:
            simulate(checked, range(seed, 1000))
        with pytest.raises(type(caught.value.__cause__)):
            simulate(checked, replay=caught.value.replay)


def test_a_program_that_depends_on_luck_is_told():
    """Both ways are shown, with the first thing that differs."""
    luck = itertools.count()

    async def program(simulation):
        ear = Ear(name="ear")
        async with simulation.runtime(ear) as runtime:
            await runtime.tell(ear, Message(f"no. {next(luck)}", intent="inform"))

    with pytest.raises(Interleaving, match=r"seed 0 went two ways: event 0 .*no\. 0.*no\. 1"):
        simulate(program)


@pytest.mark.parametrize("differs", ["error", "time", "choices", "end"])
def test_whatever_differs_is_told(differs):
    """Not only what happens: the error, the time, the choices, the number of events."""
    luck = itertools.cycle([True, False])

    async def program(simulation):
        is_first = next(luck)
        if differs == "error":
            assert is_first, "the second time"
        elif differs == "time":
            await asyncio.sleep(1 + is_first)
        elif differs == "choices":
            simulation.choose(2 + is_first)
            simulation.choices[-1] += is_first
        elif is_first:
            ear = Ear()
            async with simulation.runtime(ear) as runtime:
                await runtime.tell(ear, Message("hello", intent="inform"))

    with pytest.raises(Interleaving, match="went two ways"):
        simulate(program)


def test_addresses_and_random_ids_are_no_difference():
    """What differs in each run by nature is not compared: ids of nodes, places in memory."""

    async def program(simulation):
        node = Node()
        raise ValueError(f"{object()} {node.id} {asyncio.current_task().get_name()}")

    assert isinstance(error_of(program), ValueError)


def test_chance_is_the_same_for_the_same_seed():
    """A program may draw; another seed draws something else."""
    drawn = Counter()

    async def program(simulation):
        drawn[simulation.seed, simulation.random.random()] += 1

    simulate(program, seeds=range(20))
    assert set(drawn.values()) == {2}
    assert len(drawn) == 20


def test_errors_that_nobody_awaits_are_found():
    """Such as one in a callback of the loop."""

    async def program(simulation):
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    assert isinstance(error_of(program, seed=0), ZeroDivisionError)


# -- faults ----------------------------------------------------------------------------------------


def told(words, faults, seed=0):
    """What an ear hears of these words, and when, with faults at what it is told."""
    seen = []

    async def program(simulation):
        ear = Ear(name="ear")
        mouth = Mouth(name="mouth", ear=ear)
        async with simulation.runtime(mouth, ear) as runtime:
            await (await runtime.tell(mouth, Message(words, intent="inform"))).wait()
            letters = [(one.message.content, one.reason) for one in runtime.dead_letters]
        seen.append((ear.heard, letters, simulation.seconds, [f.kind for f in simulation.faults]))

    simulate(program, seed=seed, faults=faults)
    assert seen[0] == seen[1]
    return seen[0]


def test_slow_messages_come_late_and_in_order():
    """What is told after them waits for them; nothing else happens to it."""
    heard, letters, seconds, kinds = told("1 2 3 4 5 6", Faults(slow=1, nodes=["ear"]))
    assert (heard, letters) == (list("123456"), [])
    assert kinds == ["slow"] * 6
    assert 5 < seconds <= 10  # of six the slowest
    for seed in range(20):
        assert told("1 2 3 4 5 6", Faults(slow=0.5), seed)[0] == list("123456")
    assert told("1 2", Faults(slow=1, seconds=0.001))[2] < 0.003


def test_lost_messages_are_dead_letters():
    """What is told is gone."""
    heard, letters, _, kinds = told("1 2 3 4 5 6", Faults(lost=0.5, nodes=["ear"]))
    assert 0 < len(heard) < 6
    assert sorted(heard + [word for word, _ in letters]) == list("123456")
    assert {why for _, why in letters} == {"lost"}
    assert kinds == ["lost"] * len(letters)


def test_duplicated_messages_come_twice():
    """The same message, later than the first time; those who come first come in order."""
    heard, letters, _, _ = told("1 2 3", Faults(duplicated=1, nodes=["ear"]))
    assert (Counter(heard), letters) == (Counter("112233"), [])
    assert list(dict.fromkeys(heard)) == ["1", "2", "3"]


def test_reordered_messages_are_overtaken():
    """Only if that is asked for; none is lost."""
    orders = {tuple(told("1 2 3", Faults(reordered=0.5, nodes=["ear"]), n)[0]) for n in range(40)}
    assert orders == set(itertools.permutations("123"))


def test_faults_go_together():
    """Whatever happens to a message, it is heard as often and in the order in which it should."""
    faults = Faults(slow=0.5, duplicated=0.5, lost=0.3, nodes=["ear"])
    for seed in range(30):
        heard, letters, _, kinds = told("1 2 3 4", faults, seed)
        assert list(dict.fromkeys(heard)) == sorted(set(heard))
        assert len(heard) == 4 - kinds.count("lost") + kinds.count("duplicated")
        assert len(letters) == kinds.count("lost")


def asked(faults, timeout=None, deadline=None, seed=0, kind=Asker):
    """What somebody hears who asks somebody who asks; the time it took, and the reason it ended."""
    seen = []

    async def program(simulation):
        echo = Echo(name="echo")
        asker = kind(name="asker", peer=echo, timeout=timeout)
        async with simulation.runtime(asker, echo) as runtime:
            heard = []
            conversation = runtime.send(asker, query("hello"), timeout=deadline)
            try:
                heard += [said.content async for said in conversation]
            except (NoAnswer, SimulatedFault) as error:
                heard.append(f"error: {error}")
            seen.append((heard, simulation.seconds, conversation.reason))

    simulate(program, seed=seed, faults=faults)
    assert seen[0] == seen[1]
    return seen[0]


def test_a_lost_question_has_no_answer():
    """At its timeout, or at once."""
    lost = Faults(lost=1, nodes=["echo"])
    assert asked(None) == (["hello"], 0, Reason.DONE)
    (heard,), seconds, _ = asked(lost)
    assert heard == "no answer: the question 'hello' to echo ended without a word"
    assert seconds == 0
    (heard,), seconds, _ = asked(lost, timeout=30)
    assert heard == "no answer: no answer to the question 'hello' to echo within 30.0 seconds"
    assert seconds == 30


def test_a_lost_opening_has_no_answer():
    """At the deadline of the conversation, or at once."""
    lost = Faults(lost=1, nodes=["asker"])
    assert asked(lost) == ([], 0, Reason.DONE)
    (heard,), seconds, reason = asked(lost, deadline=40)
    assert "deadline" in heard
    assert (seconds, reason) == (40, Reason.CANCELLED)


def test_who_comes_after_a_lost_message_is_not_held_up():
    """It is gone, and nobody waits for it but who asked."""

    async def program(simulation):
        echo = Echo(name="echo")
        async with simulation.runtime(echo) as runtime:
            first = asyncio.ensure_future(runtime.ask(echo, query("1"), timeout=40))
            await asyncio.sleep(1)
            assert (await runtime.ask(echo, query("2"))).content == "2"
            assert simulation.seconds == 1
            with pytest.raises(NoAnswer):
                await first

    planned = Replay(0, (), (Fault("lost", "you > echo: 1 (query)"),))
    assert simulate(program, replay=planned).faults == {"lost": 1}


class AsyncAsker(Asker):
    async def query(self, message):
        try:
            answer = await self.peer.ask(message.content, "query", timeout=self.timeout)
        except SimulatedFault as error:
            return f"fault: {error}"
        return answer.content


class Announcer(Asker):
    async def query(self, message):
        try:
            answer = yield self.peer.ask(message.content, "query")
        except SimulatedFault as error:
            yield f"fault: {error}"
        else:
            yield answer.content


@pytest.mark.parametrize("kind", [Asker, AsyncAsker, Announcer])
def test_handlers_fail_at_any_turn(kind):
    """In place of running, or where they go on; whoever waits for them hears of it."""
    first = asked(Faults(failing=1, nodes=["echo"]), kind=kind)
    assert first[0] == ["fault: echo was to fail at 'hello' (query)"]
    heard = {tuple(asked(Faults(failing=0.4), seed=seed, kind=kind)[0]) for seed in range(30)}
    assert heard == {
        ("hello",),
        ("fault: echo was to fail at 'hello' (query)",),
        ("fault: asker was to fail at 'hello' (query)",),
        ("error: asker was to fail at 'hello' (query)",),
    }


def test_a_fault_is_undone_and_supervised_as_any_failure():
    """A turn in which a handler fails has not been."""

    class Counter(Node):
        count: int = 0

        def inform(self, message):
            self.count = self.count + 1
            yield sleep(1)
            self.count = self.count + 100

    seen = set()

    async def program(simulation):
        counter = Counter()
        async with simulation.runtime(counter, supervisor=Supervisor()) as runtime:
            await (await runtime.tell(counter, Message("go", intent="inform"))).wait()
            seen.add((counter.count, len(runtime.dead_letters)))

    simulate(program, faults=Faults(failing=0.5))
    assert seen == {(0, 1), (1, 1), (101, 0)}


def test_conversations_are_cancelled():
    """At one point or another, while somebody runs or waits, or never."""
    seen = Counter()

    class Patient(Node):
        def query(self, message):
            try:
                for number in range(5):
                    yield sleep(1)
                    yield str(number)
            finally:
                log.append("cleaned up")

    log = []

    async def program(simulation):
        log.clear()
        patient = Patient()
        async with simulation.runtime(patient) as runtime:
            conversation = runtime.send(patient, query())
            heard = [said.content async for said in conversation]
            assert log == ["cleaned up"] * bool(heard or log)
            seen[len(heard), str(conversation.reason)] += 1

    report = simulate(program, faults=Faults(cancelled=0.9))
    assert {heard for heard, reason in seen if reason == "cancelled"} >= {0, 1, 2, 3, 4}
    assert seen[5, "done"] > 5
    assert report.faults["cancelled"] > 80


def test_faults_hit_where_they_may():
    """Nodes by name, intents; both at once."""

    def kinds(**where):
        return told("1 2 3", Faults(lost=1, **where))[3]

    assert kinds(nodes=["ear"]) == ["lost"] * 3
    assert kinds(nodes=["nobody"], intents=["inform"]) == []
    assert kinds(nodes=["ear"], intents=["query"]) == []
    assert kinds(intents=["inform"]) == ["lost"]  # the mouth was never told


@pytest.mark.parametrize(
    "wrong",
    [{"slow": 2}, {"lost": -0.1}, {"seconds": 0}, {"nodes": "ear"}, {"intents": [1]}],
    ids=str,
)
def test_faults_that_make_no_sense_are_refused(wrong):
    """With an error that says what is expected."""
    with pytest.raises(Misused):
        Faults(**wrong)


def test_faults_that_do_not_matter_are_left_out():
    """What is raised names the fewest that make it go wrong, and they alone happen in a replay."""

    async def program(simulation):
        ear = Ear(name="ear")
        mouth = Mouth(name="mouth", ear=ear)
        async with simulation.runtime(mouth, ear) as runtime:
            await (await runtime.tell(mouth, Message("1 2 3 4 5 6", intent="inform"))).wait()
        assert "5" in ear.heard

    faults = Faults(slow=0.7, lost=0.2, duplicated=0.5, nodes=["ear"])
    with pytest.raises(Interleaving) as caught:
        simulate(program, faults=faults)
    error = caught.value
    assert error.choices == ()
    assert [str(fault) for fault in error.replay.faults] == ["lost: mouth > ear: 5 (inform)"]
    assert 'and the fault "lost: mouth > ear: 5 (inform)": ' in str(error)
    assert f"simulate(program, seed={error.replay.seed}, faults=...)" in str(error)
    with pytest.raises(AssertionError) as again:
        simulate(program, faults=faults, replay=error.replay)
    assert type(again.value) is AssertionError
    with pytest.raises(AssertionError):
        simulate(program, replay=error.replay)


def test_a_replay_needs_no_faults():
    """Neither where they may strike nor how long they last: it says so itself."""

    async def program(simulation):
        ear = Ear(name="ear")
        async with simulation.runtime(ear) as runtime:
            await runtime.tell(ear, Message("hello", intent="inform"))
            await asyncio.sleep(50)
        assert ear.heard == ["hello"]

    with pytest.raises(Interleaving, match=r"the fault \"slow by [\d.]+ s: you > ear") as caught:
        simulate(program, faults=Faults(slow=1, seconds=1000, nodes=["ear"]))
    assert caught.value.replay.faults[0].seconds > 50
    with pytest.raises(AssertionError):
        simulate(program, replay=caught.value.replay)


def test_faults_and_choices_are_drawn_apart():
    """The same messages are hit whatever the order in which they go."""
    hit = set()

    async def program(simulation):
        ears = [Ear(name=name) for name in "abcdef"]
        async with simulation.runtime(*ears) as runtime:
            order = ears if simulation.choose(2) else ears[::-1]
            for ear in order:
                await runtime.tell(ear, Message(ear.name, intent="inform"))
        hit.add((simulation.seed, frozenset(str(fault) for fault in simulation.faults)))

    for choices in ((), (1,)):
        for seed in range(10):
            simulate(program, faults=Faults(lost=0.5), seed=seed)
            assert choices is not None
    assert len(hit) == 10


def test_faults_strike_networks_streams_and_mailboxes():
    """Whatever kind of delivery it is, the conversation comes to its end."""

    class Listener(Node):
        net: Node

        async def query(self, message):
            stream = self.net.stream(message.content, "query")
            parts = [reply.content async for reply in stream]
            first = await any_of(self.net.ask("a", "query"), sleep(20))
            both = await all_of(self.net.ask("b", "query", timeout=5), self.net.ask("c", "query"))
            return f"{len(parts)} {first} {len(both)}"

    async def program(simulation):
        net = MapperNode(*(Echo(name=f"e{n}") for n in range(20)), name="net")
        listener = Listener(name="listener", net=net)
        async with simulation.runtime(listener, net, mailbox=Mailbox(1, "raise")) as runtime:
            conversation = await runtime.tell(listener, query("hello"))
            await conversation.wait()
        assert conversation.reason is not None

    rates = Faults(slow=0.1, failing=0.1, lost=0.1, duplicated=0.1, reordered=0.1, cancelled=0.1)
    report = simulate(program, faults=rates)
    assert set(report.faults) == {"slow", "failing", "lost", "cancelled", "duplicated", "reordered"}


def test_without_faults_nothing_goes_wrong():
    """And the mailboxes are the usual ones."""

    async def program(simulation):
        assert simulation.faults == []
        return type(simulation.runtime()._mailboxes).__name__

    assert once(program) == once(program, faults=Faults()) == "Mailboxes"


# -- what it says ----------------------------------------------------------------------------------


def test_the_report_counts():
    """Seeds, orders, faults of each kind, virtual seconds."""

    async def program(simulation):
        await asyncio.sleep(10)
        ear = Ear()
        async with simulation.runtime(ear) as runtime:
            await runtime.tell(ear, Message("hello", intent="inform"))

    report = simulate(program, range(7), faults=Faults(lost=1))
    assert report == Report(seeds=7, orders=1, faults={"lost": 7}, seconds=70.0)
    assert str(report) == "7 seeds, 1 orders, 7 lost, 70 virtual seconds"


def test_progress_is_told_to_a_function(monkeypatch):
    """Every few seconds of real time."""
    monkeypatch.setattr(reports, "EVERY", 0.0)
    seen = []

    async def program(simulation):
        pass

    simulate(program, range(5), progress=lambda report: seen.append(report.seeds))
    assert seen == [1, 2, 3, 4, 5]


def test_progress_is_a_line_on_a_terminal(monkeypatch, capsys):
    """Which is gone at the end; nothing where there is no terminal."""

    async def program(simulation):
        pass

    monkeypatch.setattr(reports, "EVERY", 0.0)
    simulate(program, range(2))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    simulate(program, range(2))
    shown = capsys.readouterr().err
    assert "\r\x1b[Ksimulating: 2 seeds, 1 orders, 0 virtual seconds" in shown
    assert shown.endswith("\r\x1b[K")


def test_ctrl_c_ends_it():
    """At once, and whatever runs cleans up."""
    log = []

    class Interrupted(Node):
        def query(self, message):
            try:
                yield sleep(1)
                raise KeyboardInterrupt
            finally:
                log.append("cleaned up")

    async def program(simulation):
        node = Interrupted()
        async with simulation.runtime(node) as runtime:
            await runtime.ask(node, query())

    with pytest.raises(KeyboardInterrupt):
        simulate(program)
    assert log == ["cleaned up"]


def test_ctrl_c_while_it_cleans_up_ends_it_too():
    """Nothing swallows it."""
    runs = itertools.count(1)

    async def stubborn():
        try:
            await asyncio.sleep(1000)
        finally:
            raise KeyboardInterrupt

    async def program(simulation):
        assert next(runs) == 1
        simulation.task = asyncio.create_task(stubborn())
        await asyncio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        simulate(program)


def test_a_world_tells_what_happened():
    """Its lines are what is compared; its replay is what it takes to have it again."""
    worlds = []

    async def program(simulation):
        worlds.append(simulation)
        ear = Ear(name="ear")
        async with simulation.runtime(ear) as runtime:
            await runtime.tell(ear, Message("hello", intent="inform"))

    simulate(program, seed=3)
    world = worlds[0]
    assert isinstance(world, World)
    assert [line.split(" | ")[:3] for line in world.lines] == [
        ["said", "", "hello (inform)"],
        ["delivered", "ear", "hello (inform)"],
        ["ended", "ear", "hello (inform)"],
        ["over", "", ""],
    ]
    assert world.replay == Replay(3)


def test_random_is_left_as_it_was():
    """Nobody else's chance is touched, and the garbage collector goes on."""
    import gc

    state = random.getstate()

    async def program(simulation):
        assert not gc.isenabled()

    simulate(program)
    assert random.getstate() == state
    assert gc.isenabled()
