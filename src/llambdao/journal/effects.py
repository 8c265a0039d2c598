"""Effects: what handlers do outside, once, and what becomes of it when nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from llambdao.journal.states import hash_of
from llambdao.journal.talks import LeafCall
from llambdao.kernel.errors import Misused
from llambdao.kernel.tasks import value_of
from llambdao.runtime.codec import NotStorable

__all__ = ["digest_of", "effect_key", "in_doubt", "in_doubt_of", "name_of", "run_call"]

POLICIES = ("retry", "raise", "ask")

KEY: ContextVar[str | None] = ContextVar("llambdao_effect", default=None)


def effect_key() -> str:
    """The key of the effect that is being done: the same again if it is tried again.

    For services that take an idempotency key. Inside a function that `call` calls; elsewhere it
    raises `Misused`.
    """
    key = KEY.get()
    if key is None:
        raise Misused("effect_key() is for functions that `call` calls under a journal")
    return key


def in_doubt(policy: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say what becomes of a call that may or may not have been done when the process died.

    `retry`: it is done again, with the same `effect_key()`; that is so unless something else is
    said. `raise`: whoever called gets `InDoubt`. `ask`: a person is asked, `llambdao inbox`.

    >>> @in_doubt("raise")
    ... def pay(amount):
    ...     ...
    """
    if policy not in POLICIES:
        raise Misused(f"in doubt one can {', '.join(POLICIES)}, not {policy!r:.80}")

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        vars(function)["__in_doubt__"] = policy
        return function

    return mark


def in_doubt_of(wait: Any) -> str:
    """What becomes of this call when nobody knows whether it was done."""
    function = getattr(wait.function, "__func__", wait.function)
    return str(getattr(function, "__in_doubt__", "retry"))


def name_of(wait: Any) -> str:
    """What a call is called."""
    if isinstance(wait, LeafCall):
        return str(wait.options["name"])
    function = wait.function
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__name__))


def digest_of(codec: Any, wait: Any) -> str:
    """The hash of the arguments of a call, as far as they can be written."""
    if isinstance(wait, LeafCall):
        return ""
    try:
        return hash_of(codec.encode([[*wait.args], wait.options or {}], "the arguments"))
    except NotStorable:
        return ""


async def run_call(host: Any, wait: Any, key: str) -> Any:
    """Do a call, which finds its `effect_key()`."""
    KEY.set(key)
    return await value_of(wait, host.piece)
