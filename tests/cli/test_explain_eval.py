"""`llambdao explain` and `llambdao eval`: as a person, a pipe or a build would run them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import LLAMBDAO

NETWORK = """
from llambdao import Node
from llambdao.openai import OpenAINode, ScriptedModel, Usage

class Desk(Node):
    poet: Node
    critic: Node

    def chat(self, message):
        poem = yield self.poet.ask(message.content)
        yield (yield self.critic.ask(poem.content))

def model(*lines):
    return ScriptedModel(*lines, usage=Usage("m", 10, 2))

poet = OpenAINode(name="Rumi", model=model("Love."))
critic = OpenAINode(name="Critic", model=model("More!"))
network = Desk(poet=poet, critic=critic)
"""

ADDER = """
from llambdao import Message, Node

class Sum(Message):
    total: int = 0

class Adder(Node):
    heard: int = 0

    def chat(self, message):
        self.heard = self.heard + 1
        assert self.heard == 1
        return Sum(str(sum(map(int, message.content.split("+")))))

def short(trial):
    return len(trial.answer) < 2

judges = [short]
network = Adder()
"""

CASES = '{"input": "1+1", "expected": "2"}\n{"input": "2+2", "expected": "5"}\n'


@pytest.mark.parametrize("command", ["explain", "eval"])
def test_help_fits_on_the_width_of_a_screen(llambdao, command):
    """80 columns."""
    code, out, err = llambdao(command, "--help", COLUMNS="80")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80


# -- explain ---------------------------------------------------------------------------------------


def test_it_says_why_the_last_reply_was_said(llambdao, write):
    """What caused it, the request, the cost."""
    code, out, err = llambdao("explain", write(NETWORK), "Why?")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Critic: More!"
    assert lines[-1] == "cost: 12 tokens, 0 usd"
    assert '        "content": "Love."' in lines


def test_any_message_can_be_chosen(llambdao, write):
    """Of the replies, or of all that was said inside."""
    file = write(NETWORK)
    code, out, _ = llambdao("explain", file, "Why?", "--inner", "--json", "--number", "3")
    data = json.loads(out)
    assert (code, data["message"]["content"]) == (0, "Love.")
    assert data["requests"][0]["body"]["messages"][-1] == {"role": "user", "content": "Why?"}
    assert [one["content"] for one in data["chain"]] == ["Why?", "Why?"]
    code, _, err = llambdao("explain", file, "Why?", "--number", "9")
    assert (code, err) == (2, "llambdao: 1 messages were said; there is no number 9\n")


def test_it_listens_to_a_pipe_and_to_another_model(llambdao, write):
    """As `run` does."""
    code, out, _ = llambdao("explain", write(NETWORK), "--model", "echo", text="Hello\n")
    assert (code, out.splitlines()[0]) == (0, "Critic: Hello")


def test_nothing_it_shows_steers_the_terminal(llambdao, write):
    """Not even what was said."""
    code, out, _ = llambdao("explain", write(NETWORK), "--model", "echo", "a\x1b[31mb")
    assert code == 0
    assert "\x1b" not in out


# -- eval ------------------------------------------------------------------------------------------


@pytest.fixture
def cases(write):
    """A data set."""
    return write(CASES, "cases.jsonl")


def test_a_network_is_scored(llambdao, write, cases):
    """A table; each case gets a network made anew."""
    code, out, err = llambdao("eval", write(ADDER), "--data", cases, "--judge", "exact")
    assert (code, err) == (0, "")
    assert out == (
        "case  exact  answer\n1      1.00  2\n2      0.00  4\n"
        "----  -----  ------\nmean   0.50  2 of 2 cases\n"
    )


@pytest.mark.parametrize(("least", "code"), [("0.5", 0), ("0.51", 1)])
def test_the_exit_code_is_for_builds(llambdao, write, cases, least, code):
    """1 if the score is too low."""
    got, _, err = llambdao(
        "eval", write(ADDER), "--data", cases, "--judge", "exact", "--min", least
    )
    assert got == code
    assert err == ("" if code == 0 else "llambdao: the score is 0.5, less than 0.51\n")


def test_results_are_written_and_printed_as_json(llambdao, write, cases, folder):
    """The same twice, and the same in the file; the judges of the file are used."""
    file = write(ADDER)
    runs = [
        llambdao("eval", file, "--data", cases, "--json", "--out", "results.json") for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert json.loads(runs[0][1])["scores"] == {"short": 1.0}
    assert (folder / "results.json").read_text() == runs[0][1]


def test_the_budget_ends_it(llambdao, write, cases):
    """What was done is shown, and the code says that it was not all."""
    code, out, err = llambdao(
        "eval", write(NETWORK), "--data", cases, "--tokens", "100", "--concurrency", "1"
    )
    assert code == 1
    assert "0 of 2 cases" in out
    assert err == "llambdao: 0 of 2 cases were tried\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "none.jsonl"], "the cases none.jsonl cannot be read: No such file"),
        (["--data", "file.py"], "cases are read from .jsonl, .json and .csv files"),
        (["--data", "cases.jsonl", "--judge", "nobody"], "there is no judge 'nobody'"),
        (["--data", "cases.jsonl", "--min", "2"], "a number from 0 to 1, not '2'"),
        (["--data", "cases.jsonl", "--usd", "-1"], "an amount of dollars, not '-1'"),
        (["--data", "cases.jsonl", "--out", "no/x.json"], "no/x.json cannot be written"),
        ([], "the following arguments are required: --data"),
    ],
)
def test_what_cannot_be_followed_is_said_at_once(llambdao, write, cases, arguments, complaint):
    """With 2."""
    code, out, err = llambdao("eval", write(ADDER), *arguments)
    assert (code, out) == (2, "")
    assert complaint in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_is_done(write, folder, environment):
    """Printed, written, and 130."""
    file = write(
        "import asyncio\nfrom llambdao import Node\n\nclass Slow(Node):\n"
        "    async def chat(self, message):\n        if message.content == 'b':\n"
        "            open('there', 'w').close()\n            await asyncio.sleep(60)\n"
        "        yield message.content\n\nnetwork = Slow()\n"
    )
    data = write('{"input": "a", "expected": "a"}\n{"input": "b", "expected": "b"}\n', "c.jsonl")
    process = subprocess.Popen(
        [*LLAMBDAO, "eval", file, "--data", data, "--concurrency", "1", "--out", "r.json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 20
    while not (folder / "there").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert out.splitlines()[-1] == "mean   1.00  1 of 2 cases; interrupted"
    assert json.loads((folder / "r.json").read_text())["stopped"] == "interrupted"


def test_progress_is_shown_at_a_terminal(at_terminal, write, cases):
    """And wiped away before the table."""
    child = at_terminal("eval", write(ADDER), "--data", cases)
    child.expect("2 of 2: . 1.00")
    child.expect("mean   1.00  2 of 2 cases")
    child.wait()
    assert child.exitstatus == 0
