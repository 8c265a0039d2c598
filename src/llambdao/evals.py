"""Evaluations: a data set times a network gives scores; judges are nodes.

>>> from llambdao import Node
>>> class Adder(Node):
...     def chat(self, message):
...         return str(sum(map(int, message.content.split("+"))))
>>> cases = [Case("1+1", expected="2"), Case("2+2", expected="5")]
>>> report = evaluate(Adder, cases)
>>> report.score
0.5
>>> print(report)
case  exact  answer
1      1.00  2
2      0.00  4
----  -----  ------
mean   0.50  2 of 2 cases
"""

from __future__ import annotations

import asyncio
import copy
import csv
import io
import json
import os
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from decimal import Decimal
from inspect import isawaitable
from itertools import count
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from llambdao.kernel.errors import LlambdaoError, Misused, NoAnswer
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import call
from llambdao.runtime.budget import Budget, BudgetReached

__all__ = [
    "BadCases",
    "Case",
    "FunctionJudge",
    "Report",
    "Result",
    "Score",
    "Trial",
    "Unjudged",
    "contains",
    "evaluate",
    "exact",
    "read_cases",
]

TOKENS = 5_000_000
"""How many tokens an evaluation may use that was given no budget."""

INTENTS = ("chat", "request", "query", "do", "step")
"""What a case is asked as, unless it says so: the first of these that the network understands."""


class BadCases(LlambdaoError, ValueError):
    """A data set that cannot be read; it names the line and what is wrong there."""


class Unjudged(LlambdaoError, ValueError):
    """A judge said something that is no score."""


class Score(Message, kind="llambdao.Score"):
    """What a judge says: a `value` from 0 to 1, and `why`. For models: `OpenAINode(says=Score)`.

    >>> Score(value=0.5, why="half of it").value
    0.5
    """

    value: Annotated[float, msgspec.Meta(ge=0, le=1)]
    why: str = ""


class Trial(Message, kind="llambdao.Trial"):
    """What a judge is asked, with the intent `request`: to score this `answer` to a `question`.

    >>> Trial(question="1+1", expected="2", answer="3").expected
    '2'
    """

    question: str
    answer: str
    expected: str | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is asked, and what is expected, if there is one right answer.

    `id` is its number unless given; `metadata` is that of the message.

    >>> Case("1+1", expected="2").input
    '1+1'
    """

    input: str
    expected: str | None = None
    id: str = ""
    intent: str | None = None
    metadata: dict[str, Any] = {}


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one case: the `answer`, a score by each judge and its reasons, or an `error`.

    A case that failed scores 0 with every judge. `usd` and `tokens` are what it cost, judges
    included.
    """

    id: str
    input: str
    expected: str | None = None
    answer: str | None = None
    scores: dict[str, float] = {}
    why: dict[str, str] = {}
    error: str | None = None
    usd: str | None = None
    tokens: int = 0

    @property
    def score(self) -> float:
        """The mean over the judges."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else 0.0


class Report(msgspec.Struct, frozen=True):
    """The results in the order of the cases, `scores` by judge, `score` over all.

    `total` is how many there were to be; `stopped` says why there are fewer: "interrupted", or
    what the budget said. The same cases, network and models give the same report.
    """

    results: list[Result]
    total: int
    stopped: str = ""

    @property
    def is_whole(self) -> bool:
        """Have all cases been tried?"""
        return len(self.results) == self.total

    @property
    def scores(self) -> dict[str, float]:
        """The mean of each judge over the cases that were tried."""
        names = dict.fromkeys(name for result in self.results for name in result.scores)
        return {
            name: sum(r.scores.get(name, 0.0) for r in self.results) / len(self.results)
            for name in names
        }

    @property
    def score(self) -> float:
        """The mean over cases and judges; 0 if nothing was tried."""
        return sum(r.score for r in self.results) / len(self.results) if self.results else 0.0

    @property
    def failed(self) -> list[Result]:
        """The cases that ended in an error."""
        return [result for result in self.results if result.error is not None]

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        spent = [Decimal(result.usd) for result in self.results if result.usd is not None]
        data: dict[str, Any] = {
            "score": round(self.score, 6),
            "scores": {name: round(value, 6) for name, value in self.scores.items()},
            "tried": len(self.results),
            "total": self.total,
            "failed": len(self.failed),
            "stopped": self.stopped,
            "usd": str(sum(spent, Decimal(0))),
            "tokens": sum(result.tokens for result in self.results),
            "results": [msgspec.to_builtins(result) for result in self.results],
        }
        return data

    def json(self) -> str:
        """It as JSON, made to be read and compared."""
        return json.dumps(self.dict(), ensure_ascii=False, indent=1)

    def __str__(self) -> str:
        names = list(self.scores)
        rows = [["case", *names, "answer"]]
        for result in self.results:
            marks = [f"{result.scores.get(name, 0.0):.2f}" for name in names]
            said = result.answer if result.error is None else f"! {result.error}"
            rows.append([result.id, *marks, _short(said or "", 60)])
        means = [f"{value:.2f}" for value in self.scores.values()]
        end = f"{len(self.results)} of {self.total} cases"
        if self.failed:
            end += f", {len(self.failed)} failed"
        if self.stopped:
            end += f"; {self.stopped}"
        return _table([*rows, ["mean", *means, end]])


# -- judges ----------------------------------------------------------------------------------------


class FunctionJudge(Node):
    """A function as a judge: of a `Trial` it gives a bool, a number from 0 to 1, or a `Score`.

    >>> from llambdao import ask
    >>> judge = FunctionJudge(function=lambda trial: len(trial.answer) < 10, name="short")
    >>> ask(judge, Trial(question="Hi", answer="Hello", intent="request")).value
    1.0
    """

    role: ClassVar[str] = "judge"

    function: Any

    def request(self, message: Message) -> Generator[Any, Any, Score]:
        """Score an answer."""
        given = yield call(self.function, message)
        return given if isinstance(given, Score) else Score(value=_value(given, self))


def exact(trial: Trial) -> bool:
    """Is the answer just what was expected, but for blanks around it?"""
    return trial.answer.strip() == _expected(trial).strip()


def contains(trial: Trial) -> bool:
    """Does the answer contain what was expected, in capitals or not?"""
    return _expected(trial).strip().casefold() in trial.answer.casefold()


def _expected(trial: Trial) -> str:
    if trial.expected is None:
        raise BadCases(
            f"the case {trial.question!r:.80} says not what is expected, and a judge compares with"
            " that; give it `expected`, or another judge"
        )
    return trial.expected


def _judges(given: Any) -> dict[str, Node]:
    """The judges by name."""
    judges = [given] if isinstance(given, Node) or callable(given) else list(given)
    named: dict[str, Node] = {}
    for judge in judges:
        if not isinstance(judge, Node) and not callable(judge):
            raise Misused(f"a judge is a node or a function of a Trial, not {judge!r:.80}")
        one = judge if isinstance(judge, Node) else FunctionJudge(function=judge)
        name = str(judge) if isinstance(judge, Node) else getattr(judge, "__name__", "judge")
        unique = next(n for k in count(1) if (n := name if k == 1 else f"{name} {k}") not in named)
        named[unique] = one
    if not named:
        raise Misused("an evaluation needs a judge, such as exact")
    return named


def _scored(reply: Message, judge: Node) -> tuple[float, str]:
    """The score in what a judge said, and why."""
    if isinstance(reply, Score):
        return _value(reply.value, judge), reply.why
    if isinstance(aye := getattr(reply, "aye", None), bool):
        return float(aye), reply.content
    word = reply.content.strip().rstrip(".!").casefold()
    known = {"yes": 1.0, "pass": 1.0, "true": 1.0, "no": 0.0, "fail": 0.0, "false": 0.0}
    if word in known:
        return known[word], ""
    with suppress(ValueError):
        return _value(float(word), judge), ""
    raise Unjudged(
        f"{judge} said {reply.content!r:.80}, which is no score; a judge says a Score (of a model:"
        " OpenAINode(says=Score)), a number from 0 to 1, yes or no"
    )


def _value(given: Any, judge: Node) -> float:
    if isinstance(given, bool | int | float | Decimal) and 0 <= given <= 1:
        return float(given)
    raise Unjudged(
        f"{judge} gave {given!r:.80}; a judge gives True or False, a number from 0 to 1, or a Score"
    )


# -- the evaluation --------------------------------------------------------------------------------


def evaluate(
    network: Node | Callable[[], Node],
    cases: Iterable[Case | Mapping[str, Any]],
    judges: Any = exact,
    *,
    budget: Budget | None = None,
    concurrency: int = 4,
    timeout: float | None = None,
    progress: Callable[[Result, int, int], None] | None = None,
) -> Report:
    """Ask a network each case, have the last thing it says judged, and report.

    `network` is a function that makes one, so that each case gets one that has heard nothing yet;
    or a node, which then gets the cases one after the other and remembers what it remembers.
    Judges are nodes, which are asked a `Trial`, or functions of one; each case gets copies of
    them. Up to `concurrency` cases are under way at once, each for at most `timeout` seconds.
    `progress` is called with each result, how many there are by now, and how many there will be.

    A case that fails scores 0, and is no harm to others. What all cost is in the `budget`; unless
    given it is 5,000,000 tokens. When that is used up, or at Ctrl-C, the report has what was done
    by then and says so in `stopped`.
    """
    every = _cases(cases)
    if concurrency < 1:
        raise Misused(f"concurrency is a number of cases from 1 on, not {concurrency!r:.40}")
    if isinstance(network, Node):
        concurrency = 1
    elif not callable(network):
        raise Misused(
            "evaluate takes a function that makes the network, evaluate(lambda: MyNode(), ...), or"
            f" a node, but got {network!r:.80}"
        )
    whole = Budget(tokens=TOKENS, name="the evaluation") if budget is None else budget
    work = _Evaluation(
        network=network,
        cases=every,
        judges=_judges(judges),
        budget=whole,
        timeout=timeout,
        progress=progress,
    )
    return _run(work.run(concurrency))


def _run(work: Coroutine[Any, Any, Report]) -> Report:
    """Run it on an event loop of its own; in a thread where one is running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class _Evaluation:
    """One evaluation, under way."""

    def __init__(
        self,
        *,
        network: Node | Callable[[], Node],
        cases: Sequence[Case],
        judges: Mapping[str, Node],
        budget: Budget,
        timeout: float | None,
        progress: Callable[[Result, int, int], None] | None,
    ) -> None:
        self.network, self.cases, self.judges = network, cases, judges
        self.budget, self.timeout, self.progress = budget, timeout, progress
        self.todo = iter(range(len(cases)))
        self.done: dict[int, Result] = {}
        self.stopped = ""

    async def run(self, concurrency: int) -> Report:
        """Try all cases, so many at a time."""
        workers = [
            asyncio.ensure_future(self.work()) for _ in range(min(concurrency, len(self.cases)))
        ]
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:  # Ctrl-C: what is done is kept
            self.stopped = "interrupted"
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        results = [self.done[place] for place in sorted(self.done)]
        return Report(results, len(self.cases), self.stopped)

    async def work(self) -> None:
        """Try one case after the other, until there are none or the budget is used up."""
        for place in self.todo:
            share = self.budget.share(name=f"case {self.cases[place].id}")
            try:
                result = await self.tried(self.cases[place], share)
            except BudgetReached as error:
                self.stopped, self.todo = str(error), iter(())
                return
            self.done[place] = result
            if self.progress is not None:
                self.progress(result, len(self.done), len(self.cases))

    async def tried(self, case: Case, share: Budget) -> Result:
        """What comes of one case; `BudgetReached` only if nothing is left for others either."""
        answer: str | None = None
        error: str | None = None
        scores, why = dict.fromkeys(self.judges, 0.0), dict[str, str]()
        try:
            async with asyncio.timeout(self.timeout):
                answer = await self.answer(case, share)
                for name, judge in self.judges.items():
                    scores[name], reason = await self.judged(case, answer, judge, share)
                    if reason:
                        why[name] = reason
        except Exception as failure:  # whatever it raises is what came of it
            if isinstance(failure, BudgetReached) and failure.scope in share._up():
                raise
            error, scores = _failure(failure, self.timeout), dict.fromkeys(self.judges, 0.0)
        spent = share.spent
        return Result(
            id=case.id,
            input=case.input,
            expected=case.expected,
            answer=answer,
            scores=scores,
            why=why,
            error=error,
            usd=str(spent.usd) if spent.usd else None,
            tokens=spent.tokens or 0,
        )

    async def answer(self, case: Case, share: Budget) -> str:
        """The last thing the network says."""
        network = self.network if isinstance(self.network, Node) else self.network()
        if isawaitable(network):
            network = await network
        if not isinstance(network, Node):
            raise Misused(f"the function is to make a node, but made {network!r:.80}")
        intent = case.intent or next(filter(network.understands, INTENTS), "chat")
        message = Message(case.input, intent=intent, metadata=case.metadata)
        return str((await _last(network, message, share)).content)

    async def judged(
        self, case: Case, answer: str, judge: Node, share: Budget
    ) -> tuple[float, str]:
        """The score by one judge, and why."""
        trial = Trial(question=case.input, answer=answer, expected=case.expected, intent="request")
        return _scored(await _last(_fresh(judge), trial, share), judge)


async def _last(node: Node, message: Message, budget: Budget) -> Message:
    """The last reply of a node."""
    last: Message | None = None
    async with aclosing(node.receive(message, budget=budget)) as replies:
        async for said in replies:
            last = said
    if last is None:
        raise NoAnswer(f"{node} ended without a word to {str(message)!r:.60}")
    return last


def _fresh(judge: Node) -> Node:
    """A judge like this one, who has not judged yet."""
    other: Node = copy.copy(judge)
    for edge in judge.edges.values():
        other.link(edge.node, **edge.metadata)
    return other


def _failure(error: Exception, timeout: float | None) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"TimeoutError: no end within {timeout} seconds"
    return " ".join(f"{type(error).__name__}: {error}".split())


# -- data sets -------------------------------------------------------------------------------------


def read_cases(path: str | os.PathLike[str]) -> list[Case]:
    """The cases in a file: lines of JSON (.jsonl), a JSON list (.json), or a table (.csv).

    Each is an object, or a row, with `input` and, if you like, `expected`, `id`, `intent` and
    `metadata`. `BadCases` names the line that is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadCases(f"the cases {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadCases(f"the cases {path} are no UTF-8 text: {error}") from error
    readers = {".jsonl": _lines, ".json": _list, ".csv": _rows}
    if path.suffix.lower() not in readers:
        raise BadCases(f"cases are read from .jsonl, .json and .csv files, not from {path.name}")
    return _cases(readers[path.suffix.lower()](text, path.name), path.name)


def _lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            where = f"{name}, line {number}"
            yield where, _decoded(line, where)


def _list(text: str, name: str) -> Iterator[tuple[str, Any]]:
    data = _decoded(text, name)
    if not isinstance(data, list):
        raise BadCases(f"{name}: expected a list of cases, but it holds {str(data)!r:.80}")
    for number, one in enumerate(data, 1):
        yield f"{name}, case {number}", one


def _rows(text: str, name: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            where = f"{name}, line {reader.line_num}"
            if None in row:
                raise BadCases(f"{where}: more columns than the first line names")
            yield where, {key: value for key, value in row.items() if value not in ("", None)}
    except csv.Error as error:
        raise BadCases(f"{name}, after line {reader.line_num}: {error}") from error


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadCases(f"{where}: this is no JSON: {error}") from error


def _cases(given: Iterable[Any], name: str = "") -> list[Case]:
    """The cases, each with an id of its own; given with where they stand, if they have a name."""
    cases: list[Case] = []
    taken: set[str] = set()
    for number, one in enumerate(given, 1):
        where, data = one if name else (f"case {number}", one)
        try:
            case = data if isinstance(data, Case) else msgspec.convert(data, Case)
        except msgspec.ValidationError as error:
            known = ", ".join(Case.__struct_fields__)
            raise BadCases(f"{where}: {error}; a case has {known}") from error
        case = msgspec.structs.replace(case, id=case.id or str(number))
        if case.id in taken:
            raise BadCases(f"{where}: there is a case {case.id!r} already; give it another id")
        taken.add(case.id)
        cases.append(case)
    if not cases:
        raise BadCases(f"{name or 'the data set'} has no cases")
    return cases


# -- the table -------------------------------------------------------------------------------------


def _short(text: str, most: int) -> str:
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    rows.insert(-1, ["-" * min(width, 6) for width in widths])
    lines = []
    for row in rows:
        first, *marks, last = row
        numbers = [mark.rjust(width) for mark, width in zip(marks, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers, last]).rstrip())
    return "\n".join(lines)
