"""The watchdog of a runtime: finds out when the event loop is blocked, and by whose line."""

import asyncio
import inspect
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from functools import wraps

import pytest

from kinds import kinds
from llambdao import GroupChatNode, Message, Misused, Node, when
from llambdao.runtime import Runtime, blocking, watchdog

pytestmark = pytest.mark.timeout(30)

PATIENCE = 10
"""Seconds after which a handler of these tests no longer waits to be named."""

BRIEF = 0.05
"""Seconds after which the watchdogs of these tests name somebody."""

LESSON = (
    "nobody else can go on meanwhile; slow work belongs in a thread: `yield call(function, ...)`,"
    " or @blocking above a plain handler"
)


class Log(logging.Handler):
    """What was logged, what observers saw, what was warned of."""

    def __init__(self):
        super().__init__()
        self.errors, self.events, self.warnings = [], [], []
        self.once, self.twice = threading.Event(), threading.Event()

    def emit(self, record):
        self.errors.append(f"{record.levelname} {record.getMessage()}")
        (self.once if len(self.errors) == 1 else self.twice).set()

    def observe(self, event):
        """Note what stalled."""
        if event.kind == "stalled":
            self.events.append(event)


@pytest.fixture
def log():
    """Listens at the logger and to the warnings."""
    handler = Log()
    logger = logging.getLogger("llambdao")
    logger.addHandler(handler)
    with warnings.catch_warnings(record=True, action="always") as handler.warnings:
        yield handler
    logger.removeHandler(handler)


def here(function):
    """The file and the number of the line of a function that says `# here`."""
    lines, first = inspect.getsourcelines(function)
    number = next(first + n for n, line in enumerate(lines) if "# here" in line)
    return f"{__file__}:{number}"


def home(log, *nodes, **options):
    """A runtime that is watched closely."""
    return Runtime(*nodes, **{"watchdog": BRIEF, "observe": log.observe, **options})


def check(log, who, place, times=1):
    """Was this one named so many times, in the log, and once in an event and a warning?"""
    assert log.errors == [
        f"ERROR the event loop has been blocked for more than {limit:g} s, now by {who} at {place};"
        f" {LESSON}"
        for limit in (BRIEF, 10 * BRIEF)[:times]
    ]
    (event,) = log.events
    before, _, after = event.detail.partition(" for ")
    assert before == "the event loop was blocked"
    seconds, _, after = after.partition(" s, ")
    assert float(seconds) >= (BRIEF, 10 * BRIEF)[times - 1]
    assert after == f"by {who} at {place}"
    (warned,) = log.warnings
    assert (warned.category, str(warned.message)) == (RuntimeWarning, event.detail)
    assert f"{warned.filename}:{warned.lineno}" == place


# -- who is named ----------------------------------------------------------------------------------


@kinds()
def test_a_handler_that_blocks_the_loop_is_named(handler, log):
    """At once in the log; when the loop is free in an event and a warning: node, intent, line."""

    def script(self, message):
        yield "thinking"
        log.once.wait(PATIENCE)  # here
        yield "done"

    class Ann(Node):
        request = handler(script)

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            message = Message("think", intent="request")
            await runtime.ask(ann, message)
            await asyncio.sleep(0)
        (event,) = log.events
        assert (event.node, event.message, event.conversation) == (ann, message, message)

    asyncio.run(main())
    check(log, "Ann.request", here(script))


def test_a_task_that_an_async_handler_started_is_the_handlers(log):
    """Whatever it gathers or puts into a group of tasks."""

    async def slow():
        log.once.wait(PATIENCE)  # here

    class Ann(Node):
        async def chat(self, message):
            await asyncio.gather(asyncio.sleep(0), slow())
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")

    asyncio.run(main())
    check(log, "Ann.chat", here(slow))


def test_a_loop_that_has_no_handles_shows_async_handlers_too(log, monkeypatch):
    """As uvloop, whose inside is not Python: there the handler's own task is seen."""

    class Ann(Node):
        async def chat(self, message):
            log.once.wait(PATIENCE)  # here
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")

    monkeypatch.setattr(watchdog, "LOOP", frozenset({"asyncio.runners"}))
    asyncio.run(main())
    check(log, "Ann.chat", here(Ann.chat))


def test_a_callback_is_the_programs_own_code(log):
    """Even one that a handler left behind: that has ended."""

    def later():
        log.once.wait(PATIENCE)  # here

    class Ann(Node):
        async def chat(self, message):
            asyncio.get_running_loop().call_later(0.001, later)
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")
            await asyncio.sleep(0.002)

    asyncio.run(main())
    check(log, "the program itself (later)", here(later))


def test_the_line_is_the_innermost_one_of_the_handlers_own_file(log):
    """Neither that of a library which it calls, nor that where its file is entered."""

    def think():
        log.once.wait(PATIENCE)  # here

    class Ann(Node):
        def chat(self, message):
            think()
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")

    asyncio.run(main())
    check(log, "Ann.chat", here(think))


def test_what_a_handler_of_ours_calls_is_shown_by_its_own_line(log):
    """A group chat that asks an `until` of the program: the line is the program's."""

    def enough(said):
        log.once.wait(PATIENCE)  # here
        return True

    class Ann(Node):
        def chat(self, message):
            yield "hello"

    async def main():
        table = GroupChatNode(Ann(name="Ann"), Ann(name="Bob"), name="table", until=when(enough))
        async with home(log, table) as runtime:
            await (await runtime.tell(table, "go")).wait()

    asyncio.run(main())
    check(log, "table.chat", here(enough))


def test_the_programs_own_code_is_named_as_such(log):
    """It is no handler; the line is shown all the same, and the event has no node."""

    async def main():
        async with home(log):
            await asyncio.sleep(0.001)
            log.once.wait(PATIENCE)  # here
            await asyncio.sleep(0)

    asyncio.run(main())
    assert log.events[0].node is None
    check(log, "the program itself (main)", here(main))


def test_a_library_that_runs_the_program_is_not_named_for_it(log):
    """What was installed is passed over, unless there is nothing else."""

    async def main():
        async with home(log):
            log.once.wait(PATIENCE)  # here
            await asyncio.sleep(0)

    library = {"__name__": "library"}
    text = "async def run(main):\n    await main()\n"
    exec(compile(text, "/lib/site-packages/library.py", "exec"), library)
    asyncio.run(library["run"](main))
    check(log, "the program itself (main)", here(main))


def test_an_observer_is_the_programs_own_code_too(log):
    """Though it is called in the midst of a handler's turn."""

    class Ann(Node):
        def chat(self, message):
            yield "hello"

    def observe(event):
        if event.kind == "said" and event.node is not None:
            log.once.wait(PATIENCE)  # here
        log.observe(event)

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann, observe=observe) as runtime:
            await runtime.ask(ann, "go")

    asyncio.run(main())
    check(log, "the program itself (observe)", here(observe))


def test_a_conversation_of_its_own_inside_of_a_handler_is_seen_by_the_runtimes_observers(log):
    """A handler that drives another node itself, with `node.receive`, blocks with all of that."""

    class Ann(Node):
        def chat(self, message):
            log.once.wait(PATIENCE)  # here
            return "done"

    class Bob(Node):
        def chat(self, message):
            return [said.content for said in Ann(name="Ann").receive("go")]

    async def main():
        bob = Bob(name="Bob")
        async with home(log, bob) as runtime:
            await runtime.ask(bob, "hello")

    asyncio.run(main())
    assert log.events[0].conversation.content == "go"
    check(log, "Ann.chat", here(Ann.chat))


def test_a_handler_that_wraps_something_not_written_in_python_is_named(log):
    """Decorators are looked through as far as there is Python to be seen."""

    class Ann(Node):
        @wraps(sorted)
        def chat(self, message):
            log.once.wait(PATIENCE)  # here
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")

    asyncio.run(main())
    assert log.errors[0].split(" at ")[0].endswith("now by Ann.chat")


# -- how often -------------------------------------------------------------------------------------


def test_a_stall_that_goes_on_is_named_again_after_ten_times_the_time(log):
    """Twice in the log, and in one event and one warning when it is over."""

    class Ann(Node):
        def chat(self, message):
            log.twice.wait(PATIENCE)  # here
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            await runtime.ask(ann, "go")

    asyncio.run(main())
    check(log, "Ann.chat", here(Ann.chat), times=2)


def test_each_stall_is_reported(log):
    """One report for each, in order."""

    class Ann(Node):
        def chat(self, message):
            (log.once if message.content == "1" else log.twice).wait(PATIENCE)
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            for number in "12":
                await runtime.ask(ann, number)
                await asyncio.sleep(0)

    asyncio.run(main())
    assert [event.message.content for event in log.events] == ["1", "2"]
    assert (len(log.errors), len(log.warnings)) == (2, 2)


def test_a_stall_at_the_very_end_is_reported_too(log):
    """A runtime that is stopped before its loop has turned again has seen it."""

    class Ann(Node):
        def chat(self, message):
            log.once.wait(PATIENCE)
            return "done"

    async def main():
        ann = Ann(name="Ann")
        runtime = home(log, ann)
        runtime.start()
        await runtime.ask(ann, "go")
        await runtime.stop(deadline=0)
        assert len(log.events) == 1

    asyncio.run(main())


def test_nobody_is_named_where_nothing_is_blocked(log):
    """Neither a loop that sleeps, nor work in a thread, nor a handler that is quick enough."""

    class Ann(Node):
        @blocking
        def chat(self, message):
            time.sleep(5 * BRIEF)
            return "done"

    class Bob(Node):
        def chat(self, message):
            time.sleep(BRIEF)
            return "done"

    async def main():
        ann, bob = Ann(), Bob()
        async with home(log, ann) as runtime:
            await asyncio.sleep(5 * BRIEF)
            await runtime.ask(ann, "go")
        async with home(log, bob, watchdog=60) as runtime:
            await runtime.ask(bob, "go")

    asyncio.run(main())
    assert (log.errors, log.events, log.warnings) == ([], [], [])


def test_a_loop_that_does_not_run_is_not_blocked(log, monkeypatch):
    """A program may leave its loop and come back to it; it is looked at now and then."""

    def counting(*args):
        looks.append(find(*args))
        return looks[-1]

    async def start():
        runtime.start()

    looks, find = [], watchdog.find
    monkeypatch.setattr(watchdog, "find", counting)
    loop = asyncio.new_event_loop()
    runtime = home(log)
    loop.run_until_complete(start())
    time.sleep(5 * BRIEF)
    loop.run_until_complete(runtime.stop())
    loop.close()
    assert (log.errors, log.events, log.warnings) == ([], [], [])
    assert 1 <= len(looks) <= 5
    assert set(looks) == {None}


def test_who_is_done_just_as_the_watchdog_looks_is_not_named(log, monkeypatch):
    """What it has seen then need not be what held the loop up."""

    def late(*args):
        culprit = find(*args)
        may_end.set()
        deadline = time.monotonic() + PATIENCE
        while not runtimes[0]._watchdog._is_back and time.monotonic() < deadline:
            time.sleep(0.001)
        return culprit

    class Ann(Node):
        def chat(self, message):
            may_end.wait(PATIENCE)
            return "done"

    async def main():
        ann = Ann(name="Ann")
        async with home(log, ann) as runtime:
            runtimes.append(runtime)
            await runtime.ask(ann, "go")
            await asyncio.sleep(BRIEF)

    may_end, runtimes, find = threading.Event(), [], watchdog.find
    monkeypatch.setattr(watchdog, "find", late)
    asyncio.run(main())
    assert may_end.is_set()
    assert (log.errors, log.events, log.warnings) == ([], [], [])


# -- its thread ------------------------------------------------------------------------------------


def watchdogs():
    """The threads of all watchdogs."""
    return [one for one in threading.enumerate() if one.name == "llambdao watchdog"]


def test_there_is_one_thread_for_each_runtime_that_runs_and_is_watched():
    """None before and after, and none if nobody is to watch."""

    async def main():
        async with Runtime(), Runtime(watchdog=None):
            assert [one.daemon for one in watchdogs()] == [True]
            async with Runtime(watchdog=0.001):
                assert len(watchdogs()) == 2
            assert len(watchdogs()) == 1
        assert watchdogs() == []

    asyncio.run(main())


def test_it_ends_with_its_loop_if_nobody_stops_the_runtime():
    """The next beat finds the loop closed."""

    async def main():
        Runtime(watchdog=0.001).start()
        assert len(watchdogs()) == 1

    asyncio.run(main())
    deadline = time.monotonic() + PATIENCE
    while watchdogs() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert watchdogs() == []


def test_it_ends_with_a_loop_that_is_closed_before_the_beat_comes_back():
    """It is not left waiting for that."""
    loop = asyncio.new_event_loop()
    Runtime(watchdog=0.01)._watchdog.start(loop)
    assert len(watchdogs()) == 1
    loop.close()
    deadline = time.monotonic() + PATIENCE
    while watchdogs() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert watchdogs() == []


def program(text):
    """What a program of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout + done.stderr


def test_it_does_not_keep_the_program_alive():
    """Though it would wait for a minute."""
    assert (
        program(
            """
            import asyncio
            from llambdao.runtime import Runtime
            async def main():
                Runtime(watchdog=120).start()
                await asyncio.sleep(0.01)
            asyncio.run(main())
            print("over")
            """
        )
        == "over\n"
    )


def test_the_lesson_is_seen_where_no_logging_is_set_up():
    """On stderr, once, followed by the warning."""
    said = program(
        """
        import asyncio, time
        from llambdao import Node
        from llambdao.runtime import Runtime
        class Ann(Node):
            def chat(self, message):
                time.sleep(0.2)
                return "done"
        async def main():
            async with Runtime(ann := Ann(name="Ann"), watchdog=0.05) as runtime:
                await runtime.ask(ann, "go")
        asyncio.run(main())
        """
    ).splitlines()
    assert said[0] == (
        "the event loop has been blocked for more than 0.05 s, now by Ann.chat at <string>:7;"
        f" {LESSON}"
    )
    assert said[1].startswith("<string>:7: RuntimeWarning: the event loop was blocked for 0.")
    assert said[2:] in ([], ["  time.sleep(0.2)"])  # from Python 3.13 on


@pytest.mark.parametrize("seconds", [0, -1, "1", float("nan")])
def test_its_time_is_a_number_above_nothing(seconds):
    """Anything else is refused when the runtime is made."""
    with pytest.raises(Misused) as refused:
        Runtime(watchdog=seconds)
    assert str(refused.value) == (
        f"watchdog is a number of seconds, or None if nobody should watch; got {seconds!r}"
    )
