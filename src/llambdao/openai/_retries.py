"""Retries: when a request is sent again, and after how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from llambdao.openai._errors import ModelError

__all__ = ["Retries"]


@dataclass(frozen=True, slots=True)
class Retries:
    """When a request is sent again: at most `times`, each after a longer wait, in seconds.

    Only what has done nothing is: nobody answered, or the server was too busy (429, 503) or failed
    (500), and nothing of an answer has come. Never after a wrong key, a refusal, a silence or a
    piece of an answer: `error.again` says which errors these are. The waits are `first` seconds,
    twice as many, four times as many, each up to a quarter longer by chance. If the server says
    how long (`Retry-After`), it is waited that long; not if that is longer than `most`.

    >>> Retries(times=3).wait(0, chance=0.0), Retries().wait(2, chance=1.0), Retries().wait(9, 7.5)
    (0.5, 2.5, 7.5)
    """

    times: int = 2
    first: float = 0.5
    most: float = 60.0
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep

    def wait(self, tries: int, asked: float | None = None, chance: float | None = None) -> float:
        """How long to wait before the next, after so many."""
        if asked is not None:
            return asked
        by_chance = random.random() if chance is None else chance  # noqa: S311  # no secret
        return min(self.first * 2.0**tries, self.most) * (1 + by_chance / 4)

    async def before(self, tries: int, error: ModelError) -> None:
        """Wait, then ask again; or raise the error, if it was the last time or would not help."""
        if tries >= self.times or not error.again:
            raise error
        if error.wait is not None and error.wait > self.most:
            raise error
        await self.sleep(self.wait(tries, error.wait))
