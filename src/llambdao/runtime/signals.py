"""Signals: how a program that lives is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Signals"]


class Signals:
    """From the block on the first SIGINT or SIGTERM sets `told`, a second one calls `hurry`.

    They are minded until `restore()`, or the end of the block if nothing was told by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hurry: Callable[[], None]) -> None:
        self.told = asyncio.Event()
        self._loop, self._hurry = loop, hurry
        self._before: dict[int, Any] = {}

    def __enter__(self) -> asyncio.Event:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._on_signal)
            except ValueError:  # not the main thread: somebody else minds the signals
                break
        return self.told

    def __exit__(self, *error: object) -> None:
        if not self.told.is_set():
            self.restore()

    def restore(self) -> None:
        """Mind the signals no longer."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self.told.is_set():
            self.restore()
            self._hurry()
        else:
            self.told.set()
