"""Whose turn it is: the activation that is running, for the few who ask.

Nothing is written down per turn, so those who do not ask pay nothing.
Who asks (`message.reply`, `self.now()`, an `await`) pays a microsecond for a look up the stack.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = ["IN_TASK", "LOOPS", "current"]

LOOPS: set[CodeType] = set()
"""The code of every loop that resumes handlers; each keeps the one it resumes in a local `act`."""

IN_TASK: ContextVar[Any] = ContextVar("llambdao_task", default=None)
"""The talk an asyncio task drives: found by whatever that task calls, awaits or creates."""


def current() -> tuple[Activation, Scheduler] | None:
    """The activation whose handler is running and its scheduler; None outside of every handler."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code in LOOPS:
            here = frame.f_locals
            return None if here.get("act") is None else (here["act"], here["self"])
        if frame.f_globals.get("__name__") == "asyncio.events":
            break
        frame = frame.f_back  # type: ignore[assignment]
    talk = IN_TASK.get()
    return None if talk is None else (talk.act, talk.scheduler)
