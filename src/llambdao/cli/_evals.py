"""`llambdao eval`: try a network on a data set, and say how it did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from llambdao.cli._errors import Unusable
from llambdao.cli._load import find, names_in, voice
from llambdao.evals import BadCases, Report, Result, contains, evaluate, exact, read_cases
from llambdao.kernel.node import Node
from llambdao.runtime.budget import Budget

__all__ = ["rate"]

JUDGES = {"exact": exact, "contains": contains}
"""The judges that need no file."""


def rate(given: Any) -> int:
    """Print a table of the results, or JSON; the exit code.

    0: all cases were tried, and the score is what was asked for; 1: not so; 130: Ctrl-C.
    """
    try:
        cases = read_cases(given.data)
    except BadCases as error:
        raise Unusable(str(error)) from error
    if given.out is not None:
        _try_to_write(Path(given.out))
    names = names_in(given.file)
    find(names, given.file)
    report = evaluate(
        lambda: voice(find(names_in(given.file), given.file), given.model, given.base_url),
        cases,
        _judges(names, given.judge),
        budget=Budget(name="the evaluation", usd=given.usd, tokens=given.tokens),
        concurrency=given.concurrency,
        timeout=given.timeout,
        progress=_progress if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    if given.out is not None:
        Path(given.out).write_text(report.json() + "\n", encoding="utf-8")
    print(report.json() if given.json else report)
    return _code(report, given.min)


def _code(report: Report, least: float) -> int:
    if report.stopped == "interrupted":
        return 130
    if not report.is_whole:
        sys.stderr.write(f"llambdao: {len(report.results)} of {report.total} cases were tried\n")
        return 1
    if report.score < least:
        sys.stderr.write(f"llambdao: the score is {report.score:.4g}, less than {least:g}\n")
        return 1
    return 0


def _judges(names: dict[str, Any], wanted: list[str] | None) -> Any:
    """The judges that are named; else the `judges` or the `judge` of the file, else `exact`."""
    if not wanted:
        return names.get("judges") or names.get("judge") or exact
    found = []
    for name in wanted:
        judge = names.get(name, JUDGES.get(name))
        if not (isinstance(judge, Node) or callable(judge)):
            raise Unusable(
                f"there is no judge {name!r}: it is {' or '.join(JUDGES)}, or the name of a node or"
                " a function in FILE"
            )
        found.append(judge)
    return found


def _try_to_write(path: Path) -> None:
    """Find out now, not after an hour, whether the results can be written."""
    try:
        path.open("a").close()
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from error


def _progress(result: Result, done: int, total: int) -> None:
    mark = "failed" if result.error is not None else f"{result.score:.2f}"
    name = "".join(char if char.isprintable() else "?" for char in result.id)[:40]
    sys.stderr.write(f"\r\x1b[K{done} of {total}: {name} {mark}")
    sys.stderr.flush()
