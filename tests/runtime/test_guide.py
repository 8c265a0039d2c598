"""The guide to the runtime: each row of its table of behaviours names a test, which is there."""

import ast
import asyncio
import re
import signal
from pathlib import Path

import pytest

from llambdao import NoAnswer, Node, expect
from llambdao.runtime import Runtime

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs" / "guides" / "runtime.md"


def rows():
    """The rows of the table of behaviours: four cells each."""
    section = GUIDE.read_text("utf-8").split("\n## What is promised\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_in(path):
    """The names of the tests in a file."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    tree = ast.parse(path.read_text("utf-8"))
    return {one.name for one in tree.body if isinstance(one, kinds)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_promise_of_the_guide_has_its_test(row):
    """Four cells, of which the last is `file::test`, and that test exists."""
    assert len(row) == 4
    assert row[0]
    assert row[1]
    named = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", row[3])
    assert named, row[3]
    assert named[2] in names_in(HERE / named[1])


def test_the_guide_has_a_table():
    """Else nothing above would be tested; no promise stands there twice."""
    names = [row[0] for row in rows()]
    assert len(names) > 40
    assert len(set(names)) == len(names)


class Patient(Node):
    def chat(self, message):
        return (yield expect("the bill"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_forever(number):
    """Runtime.forever: it returns, the block is left as ever, and signals are as before."""
    before = signal.getsignal(number)

    async def program():
        async with Runtime(Patient(), watchdog=None) as runtime:
            asyncio.get_running_loop().call_soon(signal.raise_signal, number)
            await runtime.forever()
            return "told"

    assert asyncio.run(program()) == "told"
    assert signal.getsignal(number) is before


def test_who_expects_news_is_no_deadlock():
    """Runtime.news: in a runtime they may come at any time, so who expects them waits."""

    async def program():
        patient = Patient()
        async with Runtime(patient, watchdog=None) as runtime:
            asking = asyncio.ensure_future(runtime.ask(patient, "hello"))
            await asyncio.sleep(0)
            await runtime.settle()
            assert not asking.done()
            runtime.news("the bill", "two coins")
            return (await asking).content

    assert asyncio.run(program()) == "two coins"


def test_what_refuses_to_be_cancelled_is_left(monkeypatch):
    """Conversation: a task that never ends after all holds nobody up; a warning names it."""
    monkeypatch.setattr("llambdao.kernel.tasks.GRACE", 0.01)
    may_end, cancelled = [], []

    class Stubborn(Node):
        async def chat(self, message):
            while not may_end:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(True)

    async def program():
        stubborn = Stubborn(name="Ann")
        async with Runtime(stubborn, watchdog=None) as runtime:
            with pytest.raises(NoAnswer):
                await runtime.ask(stubborn, "go", timeout=0.01)
        may_end.append(True)

    with pytest.warns(RuntimeWarning, match="would not be cancelled, and was left") as caught:
        asyncio.run(program())
    assert "Ann.chat" in str(caught[0].message)
    assert len(cancelled) >= 3
