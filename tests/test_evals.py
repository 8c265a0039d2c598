"""Evaluations: a data set times a network gives scores, whatever happens on the way."""

import asyncio
import json
import os
import signal
from typing import ClassVar

import pytest

from llambdao import GroupChatNode, Message, Node, turns
from llambdao.evals import (
    BadCases,
    Case,
    FunctionJudge,
    Score,
    Trial,
    contains,
    evaluate,
    exact,
    read_cases,
)
from llambdao.kernel.errors import Misused
from llambdao.openai import OpenAINode, ScriptedModel, Usage
from llambdao.runtime import Budget, reserve
from llambdao.testing import check_node


class Adder(Node):
    """Adds; letters are too much for it."""

    def chat(self, message):
        """The sum."""
        return str(sum(map(int, message.content.split("+"))))


class Slow(Node):
    """Counts how many are under way at once."""

    now: ClassVar[int] = 0
    most: ClassVar[int] = 0

    async def chat(self, message):
        """Wait a little."""
        Slow.now += 1
        Slow.most = max(Slow.most, Slow.now)
        await asyncio.sleep(0.002)
        Slow.now -= 1
        yield message.content


CASES = [Case("1+1", expected="2"), Case("2+2", expected="5"), Case("a+b", expected="c", id="odd")]


def test_a_data_set_times_a_network_gives_scores():
    """A case that fails scores nothing, and is no harm to others."""
    report = evaluate(Adder, CASES)
    assert [result.scores["exact"] for result in report.results] == [1, 0, 0]
    assert report.score == 1 / 3
    assert [result.id for result in report.failed] == ["odd"]
    assert "ValueError: invalid literal for int()" in report.failed[0].error
    assert report.is_whole
    assert str(report) == (
        "case  exact  answer\n"
        "1      1.00  2\n"
        "2      0.00  4\n"
        "odd    0.00  ! ValueError: invalid literal for int() with base 10: 'a'\n"
        "----  -----  ------\n"
        "mean   0.33  3 of 3 cases, 1 failed"
    )


def test_the_report_is_the_same_again():
    """As JSON, letter by letter, however many cases are under way at once."""
    reports = {evaluate(Adder, CASES, [exact, contains], concurrency=n).json() for n in (1, 2, 8)}
    assert len(reports) == 1
    data = json.loads(*reports)
    assert data["scores"] == {"exact": 0.333333, "contains": 0.333333}
    assert (data["tried"], data["total"], data["failed"]) == (3, 3, 1)
    assert data["results"][0] == {
        "id": "1",
        "input": "1+1",
        "expected": "2",
        "answer": "2",
        "scores": {"exact": 1.0, "contains": 1.0},
    }


def test_no_more_cases_are_under_way_than_allowed():
    """Results come in the order of the cases all the same."""
    Slow.most = 0
    report = evaluate(Slow, [Case(str(n), expected=str(n)) for n in range(20)], concurrency=3)
    assert (Slow.most, report.score) == (3, 1.0)
    assert [result.input for result in report.results] == [str(n) for n in range(20)]


def test_each_case_gets_a_network_that_has_heard_nothing():
    """If a function makes it; a node remembers what it heard."""
    models = []

    def fresh():
        models.append(ScriptedModel("Yes."))
        return OpenAINode(name="Ann", model=models[-1])

    evaluate(fresh, [Case("a", "Yes."), Case("b", "Yes.")])
    assert [str(model.requests).count("'a'") for model in models] == [1, 0]
    one = OpenAINode(name="Ann", model=ScriptedModel("Yes.", "Yes."))
    evaluate(one, [Case("a", "Yes."), Case("b", "Yes.")], concurrency=9)
    assert len(one.messages) == 4


def test_the_last_thing_that_is_said_is_judged():
    """Of a whole network."""
    table = lambda: GroupChatNode(  # noqa: E731
        OpenAINode(name="A", model=ScriptedModel("Maybe.")),
        OpenAINode(name="B", model=ScriptedModel("Yes.")),
        until=turns(2),
    )
    assert evaluate(table, [Case("Well?", expected="Yes.")]).score == 1


# -- judges ----------------------------------------------------------------------------------------


def half(trial):
    """Says half of everything."""
    return 0.5


class Counting(Node):
    """A judge that would remember, were it not new for each case."""

    seen: int = 0

    def request(self, message: Trial):
        """How many it has seen."""
        self.seen = self.seen + 1
        return Score(value=1 if self.seen == 1 else 0, why=f"{message.question}={message.answer}")


class Wordy(Node):
    """Says what it is told to."""

    words: str

    def request(self, message):
        """Just that."""
        return self.words


def test_judges_are_nodes_and_functions():
    """Each by its name; what a judge says of why is kept."""
    report = evaluate(Adder, CASES[:2], [exact, half, Counting(name="count"), half])
    assert report.scores == {"exact": 0.5, "half": 0.5, "count": 1.0, "half 2": 0.5}
    assert report.results[0].why == {"count": "1+1=2"}


def test_a_model_is_a_judge():
    """With `says=Score`; its tokens are counted."""
    line = '{"value": 0.75, "why": "nearly"}'
    judge = OpenAINode(
        name="Eve",
        persona="Strict.",
        says=Score,
        model=ScriptedModel(line, line, usage=Usage("m", 100, 10)),
    )
    report = evaluate(Adder, CASES[:2], judge)
    assert report.scores == {"Eve": 0.75}
    assert [result.tokens for result in report.results] == [110, 110]
    assert report.results[0].why == {"Eve": "nearly"}
    asked = judge.model.requests[0][-1]["content"]
    assert all(f'"{word}"' in asked for word in ("question", "1+1", "answer", "expected", "2"))


@pytest.mark.parametrize(
    ("words", "score"), [("yes", 1), ("No.", 0), ("0.25", 0.25), ("PASS", 1), ("fail", 0), ("1", 1)]
)
def test_a_judge_may_say_it_in_a_word(words, score):
    """Yes, no, or a number."""
    assert evaluate(Adder, CASES[:1], Wordy(words=words)).score == score


@pytest.mark.parametrize("words", ["good", "7", "-1", "nan", ""])
def test_what_is_no_score_is_an_error_of_that_case(words):
    """It says what a judge says."""
    report = evaluate(Adder, CASES[:1], Wordy(words=words))
    assert report.score == 0
    assert "Unjudged" in report.results[0].error or "NoAnswer" in report.results[0].error


def test_a_function_that_gives_no_score_is_an_error_of_that_case():
    """As is one that raises, or that has nothing to compare with."""
    report = evaluate(Adder, CASES[:1], lambda trial: "good")
    assert "a judge gives True or False" in report.results[0].error
    report = evaluate(Adder, CASES[:1], lambda trial: 1 / 0)
    assert report.results[0].error == "ZeroDivisionError: division by zero"
    report = evaluate(Adder, [Case("1+1")])
    assert "says not what is expected" in report.results[0].error


def test_a_judge_of_a_function_is_a_good_node():
    """By the conformance suite."""
    trial = Trial(question="1+1", answer="2", expected="2", intent="request")
    check_node(lambda: FunctionJudge(function=exact), [trial])


# -- limits ----------------------------------------------------------------------------------------


class Spender(Node):
    """Costs ten tokens."""

    def chat(self, message):
        """Spend them."""
        with (yield reserve(tokens=10)):
            yield "Done."


def test_where_the_budget_ends_what_is_done_is_kept():
    """The cases that are left are not tried, and the report says why."""
    cases = [Case(str(n), expected="Done.") for n in range(9)]
    report = evaluate(Spender, cases, budget=Budget(tokens=35), concurrency=1)
    assert (len(report.results), report.total, report.score) == (3, 9, 1.0)
    assert "5 tokens left and is asked for 10" in report.stopped
    assert not report.is_whole
    assert report.dict()["tokens"] == 30


def test_a_budget_of_a_case_is_no_budget_of_all():
    """A limit inside the network is an error of that case."""

    class Poor(Node):
        def chat(self, message):
            Budget(tokens=1, name="a purse").charge(tokens=2)

    report = evaluate(Poor, CASES)
    assert report.is_whole
    assert [result.error[:13] for result in report.results] == ["BudgetReached"] * 3


def test_a_case_takes_no_longer_than_allowed():
    """And is an error then."""

    class Stuck(Node):
        async def chat(self, message):
            await asyncio.sleep(60)
            yield "Late."

    report = evaluate(Stuck, CASES[:1], timeout=0.01)
    assert report.results[0].error == "TimeoutError: no end within 0.01 seconds"


def test_ctrl_c_keeps_what_is_done():
    """The report says that it was interrupted."""

    class Interrupting(Node):
        async def chat(self, message):
            if message.content == "3":
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)
            yield message.content

    cases = [Case(str(n), expected=str(n)) for n in range(9)]
    report = evaluate(Interrupting, cases, concurrency=1)
    assert (report.stopped, len(report.results), report.score) == ("interrupted", 3, 1.0)


def test_progress_is_told():
    """With each result."""
    told = []
    evaluate(Adder, CASES, progress=lambda r, done, total: told.append((r.id, done, total)))
    assert [one[1:] for one in told] == [(1, 3), (2, 3), (3, 3)]
    assert {one[0] for one in told} == {"1", "2", "odd"}


def test_it_runs_where_a_loop_is_running():
    """As in a notebook."""

    async def cell():
        return evaluate(Adder, CASES[:1]).score

    assert asyncio.run(cell()) == 1


# -- data sets -------------------------------------------------------------------------------------

FILES = {
    "cases.jsonl": '{"input": "1+1", "expected": "2"}\n\n{"input": "a", "id": "x"}\n',
    "cases.json": '[{"input": "1+1", "expected": "2"}, {"input": "a", "id": "x"}]',
    "cases.csv": "\ufeffinput,expected,id\n1+1,2,\na,,x\n",
}


@pytest.mark.parametrize("name", FILES)
def test_cases_are_read_from_files(tmp_path, name):
    """Lines of JSON, a list, or a table."""
    (tmp_path / name).write_text(FILES[name], "utf-8")
    assert read_cases(tmp_path / name) == [Case("1+1", "2", "1"), Case("a", None, "x")]


WRONG = {
    "a.jsonl": ('{"input": "a"}\n{', r"a\.jsonl, line 2: this is no JSON"),
    "b.jsonl": ('{"question": "a"}', r"b\.jsonl, line 1: .*question.*; a case has input, expected"),
    "c.jsonl": ('{"input": 3}', r"c\.jsonl, line 1: Expected `str`, got `int`"),
    "d.jsonl": ('{"input": "a", "id": "x"}\n' * 2, "line 2: there is a case 'x' already"),
    "e.jsonl": ("\n", r"e\.jsonl has no cases"),
    "f.json": ("{}", "expected a list of cases"),
    "g.csv": ("input\na,b\n", r"g\.csv, line 2: more columns than the first line names"),
    "h.csv": ("question\na\n", r"h\.csv, line 2: .*question"),
    "i.csv": ('input\n"a', r"i\.csv, after line 1: unexpected end of data"),
    "j.txt": ("a", r"read from \.jsonl, \.json and \.csv files, not from j\.txt"),
    "k.jsonl": (b"\xff", r"k\.jsonl are no UTF-8 text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path, name):
    """Before anything is tried."""
    text, complaint = WRONG[name]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadCases, match=complaint):
        read_cases(tmp_path / name)
    with pytest.raises(BadCases, match="cannot be read: No such file"):
        read_cases(tmp_path / "none.jsonl")


def test_what_cannot_be_evaluated_is_refused():
    """Before anything is tried."""
    for wrong, complaint in (
        ({"network": "net"}, "a function that makes the network"),
        ({"judges": [3]}, "a judge is a node or a function"),
        ({"judges": []}, "an evaluation needs a judge"),
        ({"concurrency": 0}, "a number of cases from 1 on"),
    ):
        with pytest.raises(Misused, match=complaint):
            evaluate(**{"network": Adder, "cases": CASES, **wrong})
    with pytest.raises(BadCases, match="the data set has no cases"):
        evaluate(Adder, [])
    report = evaluate(lambda: "nothing", [{"input": "a", "expected": "b"}])
    assert "is to make a node, but made 'nothing'" in report.results[0].error
    with pytest.raises(BadCases, match="case 1: Object missing required field `input`"):
        evaluate(Adder, [{}])


def test_a_case_may_name_its_intent_and_metadata():
    """Else it is what the network understands."""

    class Clerk(Node):
        def query(self, message: Message):
            return f"query {message.metadata.get('lang', '-')}"

        def do(self, message: Message):
            return "do"

    cases = [
        Case("a", expected="query -"),
        Case("a", expected="query en", metadata={"lang": "en"}),
        Case("a", expected="do", intent="do"),
    ]
    assert evaluate(Clerk, cases).score == 1
