"""Errors at the command line: short, and where they come from."""

from __future__ import annotations

import sys
import traceback
from typing import Any

__all__ = ["Unusable", "in_short", "report"]


class Unusable(Exception):
    """The command line cannot be followed; it says why, and what could be written instead."""


def report(error: BaseException, given: Any) -> None:
    """Write down what went wrong and where; with `--traceback` all of it."""
    if getattr(given, "traceback", False):
        sys.stderr.writelines(traceback.format_exception(error))
    else:
        short = in_short(error, getattr(given, "file", None))
        sys.stderr.write(f"llambdao: {short}\n(--traceback shows more)\n")


def in_short(error: BaseException, file: str | None = None) -> str:
    """What went wrong and where, on two lines for each error."""
    return "\n".join(f"{type(one).__name__}: {one}{_where(one, file)}" for one in _each(error))


def _each(error: BaseException) -> list[BaseException]:
    """The errors in a group of them, or the one."""
    if isinstance(error, BaseExceptionGroup):
        return [one for inner in error.exceptions for one in _each(inner)]
    return [error]


def _where(error: BaseException, file: str | None) -> str:
    """The last line of the user's own file on the way to the error; else the last line of all."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    for frame in (own or frames)[-1:]:
        return f"\n  {frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"
    return ""
