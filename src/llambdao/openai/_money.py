"""`Fare`: what a request to a model costs, reserved before it and settled after it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import reduce
from ipaddress import ip_address
from operator import add
from typing import Any, Self
from urllib.parse import urlsplit

from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import Wait
from llambdao.openai._approval import says_yes
from llambdao.openai._calls import Answer, Piece, Tool, Usage
from llambdao.openai._choose import model_from
from llambdao.openai._errors import (
    CannotDo,
    IsOffline,
    NoKey,
    NoServer,
    NothingSaid,
    Refused,
    ScriptEnded,
    UnknownModel,
    UnknownPrice,
    WrongKey,
)
from llambdao.openai._models import EchoModel, FunctionModel, ScriptedModel
from llambdao.openai._offline import OfflineModel
from llambdao.openai._prepare import estimate_tokens
from llambdao.runtime.budget import Budget, BudgetReached, Ticket

__all__ = ["FREE", "Fare", "Price", "afford", "awaited", "cost_of", "price_of"]

MOST = 4096
"""How many tokens an answer is taken to have at most, where the model is given no limit."""

CHUNK = 256
"""How many tokens of an answer are reserved at a time where there is not enough for all of it."""

BY_DEFAULT: dict[str, Any] = {"usd": 5, "tokens": 5_000_000}
"""What a conversation may spend on models that are not free, if nobody gave it a budget."""

DEFAULT_NAME = "the budget of a conversation that was given none (budget=Budget(usd=...))"

LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""The options by which a request says how long its answer may be."""

UNSPENT = (
    NoKey,
    WrongKey,
    UnknownModel,
    NoServer,
    Refused,
    NothingSaid,
    CannotDo,
    ScriptEnded,
    IsOffline,
)
"""What goes wrong before anything is paid for."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in dollars for a million tokens; `cached` is for input read again.

    >>> Price("0.25", 2).cost(Usage("mine", input_tokens=1000, output_tokens=500))
    Decimal('0.00125')
    """

    input: Decimal | float | str
    output: Decimal | float | str
    cached: Decimal | float | str | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached"):
            if (given := getattr(self, name)) is None:
                continue
            try:
                exact = Decimal(str(given))
            except InvalidOperation:
                exact = Decimal(-1)
            if not (exact.is_finite() and exact >= 0):
                raise TypeError(
                    f"a price is dollars for a million tokens, Price(0.25, 2.0), but {name} is"
                    f" {given!r:.40}"
                )
            object.__setattr__(self, name, exact)

    def cost(self, usage: Usage) -> Decimal:
        """What this much costs, in dollars."""
        cached = min(usage.cached_tokens, usage.input_tokens) if self.cached is not None else 0
        read = (usage.input_tokens - cached) * Decimal(self.input)
        again = cached * Decimal(self.cached or 0)
        return (read + again + usage.output_tokens * Decimal(self.output)) / 1_000_000


FREE = Price(0, 0)
"""What a model costs that runs on a machine of one's own, or is none."""


class Listed(Price):
    """A price as it stands in the list of `genai-prices`, steps for long requests included.

    `LookupError` if that knows no such model at this address.
    """

    __slots__ = ("model", "url")
    model: str
    url: str

    def __init__(self, url: str, model: str) -> None:
        for name, value in (("url", url), ("model", model)):
            object.__setattr__(self, name, value)
        read, said = (self.cost(Usage(model, n, 1 - n)) * 1_000_000 for n in (1, 0))
        Price.__init__(self, read, said)

    def cost(self, usage: Usage) -> Decimal:
        from genai_prices import Usage as Used
        from genai_prices import calc_price

        used = Used(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
        )
        return calc_price(used, self.model, provider_api_url=self.url).total_price


def price_of(model: Any) -> Price | None:
    """What a model costs, or None where nobody knows.

    It is the model's own `price`, if it has one; nothing, for models that ask no server and for
    servers on this machine or in its own network; else what `genai-prices` lists, which comes with
    `llambdao[openai]`, for that address and model.

    >>> price_of(ScriptedModel("Hello.")) == FREE
    True
    """
    given = getattr(model, "price", None)
    if given is not None:
        if isinstance(given, Price):
            return given
        raise TypeError(f"the price of {model} is to be a Price, not {given!r:.80}")
    if isinstance(model, ScriptedModel | EchoModel | FunctionModel | OfflineModel):
        return FREE
    url, name = getattr(model, "base_url", None), getattr(model, "model", None)
    if not (isinstance(url, str) and isinstance(name, str)):
        return None
    if _is_own(url):
        return FREE
    try:
        return Listed(url, name)
    except (ImportError, LookupError):
        return None


def _is_own(url: str) -> bool:
    """Is this server on this machine, or in its own network?"""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


class Default(Budget):
    """The budget of a conversation that was given none."""


class Scope(Wait):
    """The budget of the conversation; one that was given none gets one of `otherwise`, if any."""

    otherwise: dict[str, Any]

    def __str__(self) -> str:
        return "the budget of the conversation"

    def begin(self, scheduler: Any, act: Any) -> Any:
        if scheduler.budget is None and self.otherwise:
            scheduler.budget = Default(name=DEFAULT_NAME, **self.otherwise)
        return scheduler.budget


class Fare:
    """What one request to `model` costs: set aside before it, more as its words come.

    `hear` each piece as it comes; the `Usage` among them is what is paid, else what was heard. At
    the end of a `with` block it is settled, by an error too, unless nothing was spent.
    """

    def __init__(self, model: Any, price: Price | None, prompt: int) -> None:
        self.model, self.price, self.prompt = model, price, prompt
        self.usage: Usage | None = None
        self.is_over = False
        self._granted = self._pieces = self._plain = self._other = 0
        self._scopes: list[Budget] = []
        self._tickets: list[list[Ticket]] = []

    @property
    def heard(self) -> int:
        """How many tokens have come, rather too many than too few."""
        return max(self._pieces, -(-self._plain * 2 // 7) + self._other)

    @property
    def used(self) -> Usage:
        """What the model told of its cost; else our estimate of what was read and heard."""
        return self.usage or Usage(str(self.model), self.prompt, self.heard)

    @property
    def usd(self) -> Decimal | None:
        """What it has cost so far, None where nobody knows the price."""
        return None if self.price is None else self.price.cost(self.used)

    def reserve(self, scopes: Sequence[Budget], *, whole: bool) -> None:
        """Set aside what it can cost, or unless `whole` some of that; else `BudgetReached`."""
        self._check_price(scopes)
        most = _limit(self.model) or MOST
        self._scopes = list(scopes)
        try:
            self._set_aside(most)
        except BudgetReached:
            if whole or most <= CHUNK:
                raise
            self._set_aside(CHUNK)

    def hear(self, piece: Piece, *, more: bool = True) -> None:
        """Note a piece of the answer; `BudgetReached` if there is nothing left for `more`."""
        if isinstance(piece, Usage):
            self.usage = piece if self.usage is None else self.usage + piece
            return
        text = piece if isinstance(piece, str) else f"{piece.name}{piece.arguments}"
        plain = sum(map(str.isascii, text))
        self._pieces += 1
        self._plain += plain
        self._other += len(text) - plain
        while more and self._scopes and self.heard > self._granted:
            self._set_aside(CHUNK)

    def answered(self, answer: Answer) -> None:
        """Note an answer that came all at once, if it was not heard piece by piece."""
        if self.usage is None and not self.heard:
            for piece in (answer.text, *answer.calls, answer.usage):
                if piece:
                    self.hear(piece, more=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UNSPENT) and not (self.heard or self.usage):
            self.release()
        elif not self.is_over:
            self.settle()

    def settle(self) -> None:
        """It is over: what it cost is spent, the rest goes back."""
        self._close(**self._amounts(self.used))

    def release(self) -> None:
        """Nothing was spent: all goes back."""
        self._close()

    def _close(self, **cost: Any) -> None:
        self.is_over = True
        tickets, self._tickets, self._scopes = self._tickets, [], []
        for place, group in enumerate(tickets):
            for ticket in group:
                # The first takes all of the cost before the others give theirs back, so that
                # nobody else is granted in between what is spent already.
                if place == 0 and cost:
                    ticket.settle(**cost)
                else:
                    ticket.release()

    def _set_aside(self, output: int) -> None:
        begun = bool(self._tickets)
        amounts = self._amounts(Usage("", self.prompt, self._granted + output))
        if begun:
            before = self._amounts(Usage("", self.prompt, self._granted))
            amounts = {kind: amount - before[kind] for kind, amount in amounts.items()}
        group: list[Ticket] = []
        try:
            for scope in self._scopes:
                group.append(scope.reserve(**amounts))  # noqa: PERF401  # kept if the next refuses
        except BudgetReached:
            for ticket in group:
                ticket.release()
            raise
        self._tickets.append(group)
        self._granted += output

    def _amounts(self, used: Usage) -> dict[str, Any]:
        amounts: dict[str, Any] = {"tokens": used.tokens}
        if self.price is not None:
            amounts["usd"] = self.price.cost(used)
        return amounts

    def _check_price(self, scopes: Sequence[Budget]) -> None:
        if self.price is None and any(
            scope.left.usd is not None and not isinstance(scope, Default) for scope in scopes
        ):
            raise UnknownPrice(
                f"nobody knows what {self.model} costs, and the budget is in dollars; say what it"
                " costs, OpenAINode(..., price=Price(input=0.25, output=2)) in dollars for a"
                " million tokens, or price=FREE, or limit tokens instead, Budget(tokens=...);"
                ' to go on without a server: model="offline"'
            )


def afford(
    node: Any,
    prepared: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Tool] = (),
    says: Mapping[str, Any] | None = None,
    streamed: bool = True,
) -> Generator[Wait, Any, Fare]:
    """Waits that come to the `Fare` of a request of this node: ask the `model` of that.

    It is the node's, or a cheaper one if the node goes on with that at the limit. In a generator
    it is `fare = yield from afford(...)`, in a coroutine `await awaited(afford(...))`; then
    `with fare:`. One that is not `streamed` cannot be stopped half way: all of it is reserved.
    """
    prompt = _tokens(prepared, tools, says)
    fare = Fare(node.model, node.price or price_of(node.model), prompt)
    given = yield Scope(otherwise={} if fare.price == FREE else BY_DEFAULT)
    scopes = _scopes(given, node.budget)
    at_limit = node.at_limit
    person: Node | None = at_limit if isinstance(at_limit, Node) else None
    while True:
        try:
            fare.reserve(scopes, whole=not streamed or at_limit is not None)
        except BudgetReached as error:
            if person is None:
                if at_limit is None:
                    raise
                break
            answer = yield person.ask(_question(node, fare, error))
            if not _raised(error, answer):
                raise
        else:
            return fare
    cheaper = model_from(node.at_limit)
    fare = Fare(cheaper, price_of(cheaper), prompt)
    fare.reserve(scopes, whole=not streamed)
    return fare


async def awaited(waits: Generator[Wait, Any, Fare]) -> Fare:
    """What these waits come to, for a coroutine handler."""
    value: Any = None
    go_on: Any = waits.send
    while True:
        try:
            wait = go_on(value)
        except StopIteration as stop:
            fare: Fare = stop.value
            return fare
        try:
            value, go_on = await wait, waits.send
        except BaseException as error:  # noqa: BLE001  # it is raised where the wait stands
            value, go_on = error, waits.throw


def cost_of(requests: Sequence[Any]) -> dict[str, Any]:
    """What these requests cost together, for the metadata of what is said, if known."""
    usages = [request.usage for request in requests if request.usage is not None]
    if not usages:
        return {}
    used: Usage = reduce(add, usages)
    cost: dict[str, Any] = {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cached_tokens": used.cached_tokens,
        "tokens": used.tokens,
        "requests": used.requests,
    }
    costs = [request.usd for request in requests]
    if None not in costs:
        cost["usd"] = float(sum(costs))
    return cost


def _scopes(given: Budget | None, own: Budget | None) -> list[Budget]:
    """The budgets that a request is charged to: the conversation's, and the node's own."""
    if own is None or given is None:
        return [scope for scope in (given, own) if scope is not None]
    if own in given._up():  # what is spent in a share is spent in all above it
        return [given]
    return [own] if own._tree is given._tree else [given, own]


def _question(node: Any, fare: Fare, error: BudgetReached) -> str:
    return (
        f"{node} wants to ask {fare.model}, for at most {error.asked} {error.kind}, but"
        f" {error.scope.name} has {error.left} left. May it? Answer yes, or by how many"
        f" {error.kind} to raise the limit, or no."
    )


def _raised(error: BudgetReached, answer: Message) -> bool:
    """Raise the limit as whoever was asked has answered; False if it stays."""
    scope, kind = error.scope, error.kind
    more = _amount(answer.content)
    if more is None and not says_yes(answer):
        return False
    if (limit := getattr(scope.limit, kind)) is not None:
        missing = Decimal(str(error.asked)) - Decimal(str(error.left))
        scope.raise_limit(**{kind: Decimal(str(limit)) + (missing if more is None else more)})
    return True


def _amount(words: str) -> Decimal | None:
    """By how much a limit may be raised, if the answer is a number."""
    try:
        amount = Decimal(re.sub(r"[$€,_\s]|usd|tokens|calls", "", words.lower().rstrip(".!")))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None


def _limit(model: Any) -> int | None:
    """How many tokens its answers have at most, if it is told."""
    options = getattr(model, "options", None) or {}
    given = [getattr(model, "max_tokens", None), *(options.get(name) for name in LIMITS)]
    return next((n for n in given if isinstance(n, int) and n > 0), None)


def _tokens(
    prepared: Sequence[Mapping[str, Any]], tools: Sequence[Tool], says: Mapping[str, Any] | None
) -> int:
    """About how many tokens a request has, rather too many than too few."""
    report = getattr(prepared, "report", None)
    words = report.tokens if report is not None else estimate_tokens(json.dumps(list(prepared)))
    about = [tool.name + tool.description + json.dumps(tool.parameters) for tool in tools]
    about += [json.dumps(dict(says))] if says else []
    return int(words) + sum(8 + estimate_tokens(text) for text in about)
