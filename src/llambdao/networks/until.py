"""When a group chat stops: conditions as values, asked at each utterance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Message

__all__ = ["Until", "heard", "spent", "turns", "when"]


class Until(Struct, frozen=True):
    """A condition to stop: a fold over what was said.

    It keeps no count of its own, so one condition serves many conversations and survives a restart.
    Conditions combine: `turns(8) | heard("done")` stops at the first, `&` when both are met.
    To write one, subclass it with `begin`, `fold` and `met`.
    """

    def begin(self) -> Any:
        """What is known before anything was said."""
        return False

    def fold(self, known: Any, said: Message) -> Any:
        """What is known after this, too, was said."""
        raise NotImplementedError

    def met(self, known: Any) -> bool:
        """Is that enough to stop?"""
        return bool(known)

    def __or__(self, other: Until) -> Until:
        return Either(_parts(self, other, Either))

    def __and__(self, other: Until) -> Until:
        return Both(_parts(self, other, Both))


class Combined(Until, frozen=True):
    """A condition made of conditions."""

    parts: tuple[Until, ...]

    def begin(self) -> Any:
        return tuple(part.begin() for part in self.parts)

    def fold(self, known: Any, said: Message) -> Any:
        return tuple(part.fold(k, said) for part, k in zip(self.parts, known, strict=True))


class Either(Combined, frozen=True):
    """Met when one of its parts is."""

    def met(self, known: Any) -> bool:
        return any(part.met(k) for part, k in zip(self.parts, known, strict=True))


class Both(Combined, frozen=True):
    """Met when all of its parts are."""

    def met(self, known: Any) -> bool:
        return all(part.met(k) for part, k in zip(self.parts, known, strict=True))


class turns(Until, frozen=True):
    """Stop after exactly so many utterances.

    >>> turns(8) | heard("done")
    Either(parts=(turns(most=8), heard(text='done')))
    """

    most: int

    def __post_init__(self) -> None:
        if self.most < 1:
            raise Misused(f"turns needs a number of utterances from 1 on, not {self.most}")

    def begin(self) -> int:
        return 0

    def fold(self, known: int, said: Message) -> int:
        return known + 1

    def met(self, known: int) -> bool:
        return known >= self.most


class heard(Until, frozen=True):
    """Stop once somebody has said these words, in capitals or not."""

    text: str

    def fold(self, known: bool, said: Message) -> bool:
        return known or self.text.casefold() in said.content.casefold()


class when(Until, frozen=True):
    """Stop once this function, asked about each message by itself, says so."""

    is_enough: Callable[[Message], bool]

    def fold(self, known: bool, said: Message) -> bool:
        return known or bool(self.is_enough(said))


class spent(Until, frozen=True, kw_only=True):
    """Stop once what was said has cost this much, by the `usd` and `tokens` of its metadata."""

    usd: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.usd is None and self.tokens is None:
            raise Misused("spent needs an amount: spent(usd=1) or spent(tokens=10_000)")

    def begin(self) -> tuple[float, int]:
        return (0.0, 0)

    def fold(self, known: tuple[float, int], said: Message) -> tuple[float, int]:
        usd, tokens = known
        return usd + said.metadata.get("usd", 0), tokens + said.metadata.get("tokens", 0)

    def met(self, known: tuple[float, int]) -> bool:
        usd, tokens = known
        return (self.usd is not None and usd >= self.usd) or (
            self.tokens is not None and tokens >= self.tokens
        )


def _parts(one: Until, other: Until, kind: type[Combined]) -> tuple[Until, ...]:
    if not isinstance(other, Until):
        raise Misused(f"expected another condition, such as turns(8), but got {other!r:.80}")
    return tuple(part for c in (one, other) for part in (c.parts if type(c) is kind else (c,)))
