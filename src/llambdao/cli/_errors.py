"""Errors at the command line: short, and where they come from."""

from __future__ import annotations

import sys
import traceback
from typing import Any

__all__ = ["Unusable", "report"]


class Unusable(Exception):
    """The command line cannot be followed; it says why, and what could be written instead."""


def report(error: BaseException, given: Any) -> None:
    """Write down what went wrong and where; with `--traceback` all of it."""
    if getattr(given, "traceback", False):
        sys.stderr.writelines(traceback.format_exception(error))
        return
    for one in _each(error):
        sys.stderr.write(f"llambdao: {type(one).__name__}: {one}{_where(one, given)}\n")
    sys.stderr.write("(--traceback shows more)\n")


def _each(error: BaseException) -> list[BaseException]:
    """The errors in a group of them, or the one."""
    if isinstance(error, BaseExceptionGroup):
        return [one for inner in error.exceptions for one in _each(inner)]
    return [error]


def _where(error: BaseException, given: Any) -> str:
    """The last line of the user's own file on the way to the error, if any; else the last line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == getattr(given, "file", None)]
    for frame in (own or frames)[-1:]:
        place = "" if isinstance(error, SyntaxError) else f"\n  {frame.filename}:{frame.lineno}"
        return f"{place}, in {frame.name}: {frame.line}" if place else ""
    return ""
