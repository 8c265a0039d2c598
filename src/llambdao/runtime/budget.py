"""Budgets: limits of money, tokens, calls, time and messages, reserved before they are spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from threading import RLock
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict, Unpack, cast
from weakref import WeakValueDictionary

from msgspec import Meta, Struct, ValidationError, convert, field

from llambdao.kernel.errors import BudgetReached, Misused
from llambdao.kernel.turn import current
from llambdao.kernel.waits import Wait

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = [
    "Amounts",
    "Budget",
    "BudgetReached",
    "Purse",
    "Reserve",
    "Spending",
    "Ticket",
    "reserve",
]

SCALE = {"usd": 10**9, "tokens": 1, "calls": 1, "seconds": 10**9, "messages": 1}
"""How many units make one of a kind: all is counted in whole units, so that nothing drifts."""

Units = dict[Annotated[str, Meta(pattern=f"^({'|'.join(SCALE)})$")], Annotated[int, Meta(ge=0)]]

MOST = 10**18
"""No amount has more units, so that a database can keep it in 64 bits."""

EXACT = Context(prec=60, rounding=ROUND_CEILING)

Amount = float | Decimal | str | None


class Spending(TypedDict, total=False):
    """Amounts as they are given: numbers or their text; None is the same as left out.

    Dollars and seconds are kept to a billionth, rounded up.
    """

    usd: Amount
    tokens: Amount
    calls: Amount
    seconds: Amount
    messages: Amount


class Amounts(Struct, frozen=True, repr_omit_defaults=True):
    """Amounts as a budget tells them: dollars exactly; None for a kind that has no limit."""

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    messages: int | None = None


class Budget:
    """What may be spent of money, tokens, calls, seconds and messages; left out: without a limit.

    All is reserved before it is spent, and settled when the cost is known. A reservation for which
    too little is left raises `BudgetReached`, and nothing was reserved; its `kind`, `asked` and
    `left` say what was short. Threads may share a budget. `seconds` are booked, nobody measures.

    `at_limit(scope, error)` is called when this scope refuses a reservation, or one inside that has
    no `at_limit` of its own. Should it return True, because it called `scope.raise_limit(...)`, the
    reservation is tried once more.

    >>> budget = Budget(usd=5, tokens=100_000)
    >>> team = budget.share(usd="0.03", name="the team")
    >>> team.reserve(usd=0.02, tokens=900).settle(usd=0.013, tokens=512)
    >>> print(budget)
    usd 0.013 of 5.00, tokens 512 of 100,000
    >>> team.reserve(usd=0.02)
    Traceback (most recent call last):
    ...
    llambdao.kernel.errors.BudgetReached: the team has 0.017 usd left and is asked for 0.02: ...
    """

    def __init__(
        self, *, name: str = "the budget", at_limit: AtLimit = None, **limits: Unpack[Spending]
    ) -> None:
        self.name = name
        self.at_limit = at_limit
        self._limit = _units(limits)
        self._spent = dict.fromkeys(SCALE, 0)
        self._reserved = dict.fromkeys(SCALE, 0)
        self._above: Budget | None = None
        self._tree = _Tree()
        # A share that nobody holds any longer takes no room; what it spent stays booked above it.
        self._shares: WeakValueDictionary[int, Budget] = WeakValueDictionary()
        self._restored: list[Budget] = []

    def share(
        self, *, name: str | None = None, at_limit: AtLimit = None, **limits: Unpack[Spending]
    ) -> Budget:
        """A budget inside this one: it spends up to its own limits, and never more than is left.

        Nothing is set aside for it: shares together may come to more than the whole.
        """
        name = f"a share of {self.name}" if name is None else name
        return Budget(name=name, at_limit=at_limit, **limits)._under(self)

    def reserve(self, **amounts: Unpack[Spending]) -> Ticket:
        """Set this aside, here and in every scope above, or raise `BudgetReached`.

        >>> budget = Budget(calls=2)
        >>> with budget.reserve(calls=1):
        ...     print(budget)
        calls 0 of 2 (1 reserved)
        >>> print(budget)
        calls 1 of 2
        """
        return self._asked(_units(amounts))

    def reserve_up_to(self, **amounts: Unpack[Spending]) -> Ticket:
        """Set aside as much of this as is left; if nothing is, raise `BudgetReached`.

        >>> Budget(messages=100).reserve_up_to(messages=256).amounts
        Amounts(messages=100)
        """
        return self._asked(_units(amounts), up_to=True)

    def charge(self, **amounts: Unpack[Spending]) -> None:
        """Spend this at once, or raise `BudgetReached`.

        To book what has been spent already: `budget.reserve().settle(seconds=2.5)`.
        """
        self.reserve(**amounts).settle()

    def purse(self, *, chunk: int = 0) -> Purse | None:
        """Where a conversation takes its messages from; with a `chunk`, where many do.

        None if messages have no limit here: then nobody counts them.
        """
        return None if self.left.messages is None else Purse(self, chunk)

    def raise_limit(self, **limits: Unpack[Spending]) -> None:
        """Set new limits, no lower than the old ones; None takes one away.

        Scopes above keep theirs, and still refuse what is too much for them.

        >>> budget = Budget(usd=5)
        >>> budget.raise_limit(usd=budget.limit.usd + 5)
        >>> print(budget)
        usd 0.00 of 10.00
        """
        units = _units(limits)
        with self._tree.lock:
            for kind, new in units.items():
                if kind not in self._limit:
                    raise Misused(f"{self.name} has no limit of {kind} to raise")
                if new < max(self._limit[kind], self._spent[kind]):
                    raise Misused(
                        f"{self.name} is at {self._line(kind)}, too much for a limit of"
                        f" {_text(kind, new)}; raise_limit takes the new limit, not what is added"
                    )
            kept = {kind: n for kind, n in self._limit.items() if kind not in limits}
            self._limit = kept | units

    @property
    def limit(self) -> Amounts:
        """The limits of this scope itself."""
        return _amounts(self._limit)

    @property
    def spent(self) -> Amounts:
        """What was spent here and in all shares."""
        with self._tree.lock:
            return _amounts(self._spent)

    @property
    def reserved(self) -> Amounts:
        """What is set aside here and in all shares."""
        with self._tree.lock:
            return _amounts(self._reserved)

    @property
    def left(self) -> Amounts:
        """What could be reserved now, by the limits here and above; None where there is none."""
        with self._tree.lock:
            return _amounts({kind: n for kind in SCALE if (n := self._left(kind)) is not None})

    @property
    def overspent(self) -> Amounts | None:
        """By how much the limits of this scope are exceeded: costs were higher than reserved."""
        with self._tree.lock:
            over = {kind: -n for kind in self._limit if (n := self._room(kind)) < 0}
            return _amounts(over) if over else None

    @property
    def is_reached(self) -> bool:
        """Is nothing at all left of some kind that has a limit, here or above?"""
        with self._tree.lock:
            return any(self._left(kind) == 0 for kind in SCALE)

    @property
    def shares(self) -> list[Budget]:
        """The shares that somebody holds, and those that were restored; the oldest first."""
        with self._tree.lock:
            return list(self._shares.values())

    @property
    def tickets(self) -> list[Ticket]:
        """What is reserved, here and in all shares; the oldest first."""
        with self._tree.lock:
            tickets = self._tree.tickets
            return [tickets[n] for n in sorted(tickets) if self in tickets[n].scope._up()]

    def has_spent(self, spent: Mapping[str, int]) -> None:
        """Book what was spent before, by another process: units as `state()` has them."""
        with self._tree.lock:
            for kind, n in spent.items():
                if kind in SCALE:
                    self._spent[kind] += n

    def state(self) -> dict[str, Any]:
        """All there is to know, as plain data; dollars and seconds are in billionths."""
        with self._tree.lock:
            return {
                "name": self.name,
                "limit": dict(self._limit),
                "spent": dict(self._spent),
                "tickets": [[t.number, dict(t._units)] for t in self.tickets if t.scope is self],
                "shares": [share.state() for share in self.shares],
                "serial": self._tree.serial,
            }

    @staticmethod
    def restore(state: Mapping[str, Any], *, at_limit: AtLimit = None) -> Budget:
        """The budget that had this `state()`: what was reserved still is, and waits in `tickets`.

        >>> budget = Budget(usd=5)
        >>> ticket = budget.reserve(usd=0.02)
        >>> Budget.restore(budget.state()).tickets
        [<ticket 1 of the budget: 0.02 usd>]
        """
        try:
            return convert(state, _State).restored(at_limit=at_limit)
        except ValidationError as error:
            raise Misused(f"expected what budget.state() gave, but got: {error}") from error

    def __str__(self) -> str:
        with self._tree.lock:
            known = [k for k in SCALE if k in self._limit or self._spent[k] or self._reserved[k]]
            return ", ".join(map(self._line, known)) or "nothing spent, no limits"

    def __repr__(self) -> str:
        return f"<{self.name}: {self}>"

    # -- within the lock -----------------------------------------------------------------------

    def _under(self, above: Budget) -> Budget:
        with above._tree.lock:
            self._above, self._tree = above, above._tree
            above._shares[id(self)] = self
        return self

    def _up(self) -> Iterator[Budget]:
        scope: Budget | None = self
        while scope is not None:
            yield scope
            scope = scope._above

    def _line(self, kind: str) -> str:
        limit, reserved = self._limit.get(kind), self._reserved[kind]
        line = f"{kind} {_text(kind, self._spent[kind])}"
        line += "" if limit is None else f" of {_text(kind, limit)}"
        return line + (f" ({_text(kind, reserved)} reserved)" if reserved else "")

    def _room(self, kind: str) -> int:
        return self._limit[kind] - self._spent[kind] - self._reserved[kind]

    def _left(self, kind: str) -> int | None:
        rooms = [scope._room(kind) for scope in self._up() if kind in scope._limit]
        return max(0, min(rooms)) if rooms else None

    def _asked(self, units: Units, *, up_to: bool = False) -> Ticket:
        """Reserve; in a handler that is replayed, what was given then is given again."""
        turn = current()
        spends = None if turn is None else getattr(turn[1].home, "spends", None)
        if spends is None:
            return self._reserve(units, up_to=up_to)
        return cast("Ticket", spends(self, units, up_to=up_to))

    def _reserve(self, units: Units, *, up_to: bool = False, again: bool = False) -> Ticket:
        with self._tree.lock:
            asked = dict(units)
            if up_to:
                for kind, n in units.items():
                    if (left := self._left(kind)) is not None:
                        asked[kind] = min(n, max(1, left))
            if (refused := self._refusal(asked)) is None:
                self._tree.serial += 1
                return self._book(Ticket(self._tree.serial, self, asked))
        scope, error = refused  # beyond the lock, for whoever is called now may take long
        call = next((above.at_limit for above in scope._up() if above.at_limit is not None), None)
        if again or call is None or call(scope, error) is not True:
            raise error
        return self._reserve(units, up_to=up_to, again=True)

    def _refusal(self, asked: Units) -> tuple[Budget, BudgetReached] | None:
        for scope in self._up():
            for kind, n in asked.items():
                if n and kind in scope._limit and n > scope._room(kind):
                    return scope, scope._error(kind, n)
        return None

    def _error(self, kind: str, asked: int) -> BudgetReached:
        left = max(0, self._room(kind))
        enough = self._spent[kind] + self._reserved[kind] + asked
        error = BudgetReached(
            f"{self.name} has {_text(kind, left)} {kind} left and is asked for"
            f" {_text(kind, asked)}: {self._line(kind)}; to allow it:"
            f" raise_limit({kind}={_text(kind, enough, '_')}) on {self.name}"
        )
        vars(error).update(
            kind=kind, asked=_value(kind, asked), left=_value(kind, left), scope=self
        )
        return error

    def _book(self, ticket: Ticket) -> Ticket:
        for scope in self._up():
            for kind, n in ticket._units.items():
                scope._reserved[kind] += n
        self._tree.tickets[ticket.number] = ticket
        return ticket


AtLimit = Callable[[Budget, BudgetReached], bool] | None


class Ticket(Struct, eq=False):
    """Something reserved in a budget, to be settled or released, once.

    As a `with` block it is settled at the end, by an error too: what was begun has been paid for.
    """

    number: int
    """It is the same after a restart."""
    scope: Budget
    _units: Units
    is_open: bool = True
    is_booked: bool = True  # False while what it was for is replayed

    @property
    def amounts(self) -> Amounts:
        """What was reserved."""
        return _amounts(self._units)

    def settle(self, **cost: Unpack[Spending]) -> None:
        """What it cost; a kind that is not named cost what was reserved.

        The rest goes back. More than was reserved is charged all the same, for it is spent.
        """
        self._close(self._units | _units(cost))

    def release(self) -> None:
        """Nothing was spent: all goes back."""
        self._close({})

    def _close(self, cost: Units) -> None:
        tree = self.scope._tree
        with tree.lock:
            if not self.is_open:
                raise Misused(f"{self} was settled or released before; that is done once")
            self.is_open = False
            if not self.is_booked:
                return
            del tree.tickets[self.number]
            for scope in self.scope._up():
                for kind, n in self._units.items():
                    scope._reserved[kind] -= n
                for kind, n in cost.items():
                    scope._spent[kind] += n

    def book(self) -> None:
        """It was given again at a replay, and is still needed: set it aside, limits or not."""
        tree = self.scope._tree
        with tree.lock:
            if self.is_open and not self.is_booked:
                tree.serial += 1
                self.number, self.is_booked = tree.serial, True
                self.scope._book(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_open:
            self.settle()

    def __str__(self) -> str:
        return f"ticket {self.number} of {self.scope.name}: {_list(self._units)}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Purse:
    """Messages that were reserved together, for conversations to take a few at a time."""

    __slots__ = ("_budget", "_chunk", "_stock", "_taken", "_ticket")

    def __init__(self, budget: Budget, chunk: int) -> None:
        self._budget, self._chunk = budget, chunk
        self._ticket: Ticket | None = None
        self._stock = self._taken = 0

    def take(self, most: int) -> int:
        """So many messages or fewer, but at least one; `BudgetReached` if there are none."""
        if not self._stock:
            self.close()
            if (left := self._budget.left.messages) is not None:  # others want some, too
                self._chunk = min(self._chunk, max(1, left // 8))
            self._ticket = self._budget.reserve_up_to(messages=max(most, self._chunk))
            self._stock = self._ticket.amounts.messages or 0
        granted = min(most, self._stock)
        self._stock -= granted
        self._taken += granted
        return granted

    def give(self, unused: int) -> None:
        """These were not said."""
        unused = max(0, unused)  # a message that was refused had a number, too
        self._stock += unused
        self._taken -= unused
        if not self._chunk:
            self.close()

    def close(self) -> None:
        """What was said is spent, the rest goes back to the budget."""
        if self._ticket is not None or self._taken:
            ticket = self._ticket or self._budget.reserve()
            # Less than nothing, if more was given back than was taken since the last ticket.
            ticket._close({"messages": self._taken})
            self._ticket, self._stock, self._taken = None, 0, 0


class Reserve(Wait):
    """A reservation in the budget of the conversation: its value is the ticket, at once."""

    units: Units

    def __str__(self) -> str:
        return f"the reservation of {_list(self.units)}"

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        budget = Budget() if scheduler.budget is None else scheduler.budget
        return budget._asked(self.units)


def reserve(**amounts: Unpack[Spending]) -> Reserve:
    """Reserve something in the budget of the conversation.

    `ticket = yield reserve(usd=0.02, tokens=900)` gives the ticket at once, or raises
    `BudgetReached`. A conversation without a budget refuses nothing.

    >>> from llambdao import Node, ask
    >>> class Thinker(Node):
    ...     def chat(self, message):
    ...         with (yield reserve(usd=0.02)) as ticket:
    ...             ticket.settle(usd=0.013)
    ...         return "It cost a cent."
    >>> ask(Thinker(), "What is 1 + 1?").content
    'It cost a cent.'
    """
    return Reserve(units=_units(amounts))


class _Tree(Struct):
    """What all scopes of a budget have in common."""

    lock: Any = field(default_factory=RLock)
    tickets: dict[int, Ticket] = field(default_factory=dict)
    serial: int = 0


class _State(Struct, forbid_unknown_fields=True):
    """What `Budget.state` gives."""

    name: str
    limit: Units
    spent: Units
    tickets: list[tuple[int, Units]]
    shares: list[_State]
    serial: int

    def restored(self, above: Budget | None = None, at_limit: AtLimit = None) -> Budget:
        budget = Budget(name=self.name, at_limit=at_limit)
        budget._limit |= self.limit
        budget._spent |= self.spent
        if above is None:
            budget._tree.serial = self.serial
        else:
            above._restored.append(budget._under(above))
        for number, units in self.tickets:
            budget._book(Ticket(number, budget, units))
        for share in self.shares:
            share.restored(budget)
        return budget


def _units(amounts: Mapping[str, object]) -> Units:
    if unknown := amounts.keys() - SCALE.keys():
        raise Misused(f"a budget counts {', '.join(SCALE)}, not {', '.join(sorted(unknown))}")
    given = ((kind, amounts.get(kind)) for kind in SCALE)
    return {kind: _whole(kind, amount) for kind, amount in given if amount is not None}


def _whole(kind: str, amount: object) -> int:
    scale, number = SCALE[kind], None
    if isinstance(amount, float | int | Decimal | str):
        with suppress(InvalidOperation):  # as Python prints it: 0.1 is a tenth, True no number
            number = Decimal(str(amount))
    if number is not None and number.is_finite() and 0 <= number <= MOST // scale:
        exact = EXACT.multiply(number, Decimal(scale))
        whole = int(exact.to_integral_value(ROUND_CEILING))
        if scale > 1 or whole == exact:
            return whole
    raise Misused(
        f"{kind} is a{' whole' if scale == 1 else ''} number from 0 to {MOST // scale:,},"
        f" not {amount!r:.40}"
    )


def _text(kind: str, units: int, mark: str = ",") -> str:
    whole, rest = divmod(units, SCALE[kind])
    digits = f"{rest:09}".rstrip("0").ljust(2 if kind == "usd" else 0, "0")
    return f"{whole:{mark}}" + (f".{digits}" if digits else "")


def _list(units: Units) -> str:
    return ", ".join(f"{_text(kind, n)} {kind}" for kind, n in units.items()) or "nothing"


def _value(kind: str, units: int) -> Any:
    if kind == "usd":
        return Decimal(_text(kind, units, ""))
    return units / SCALE[kind] if kind == "seconds" else units


def _amounts(units: Units) -> Amounts:
    return Amounts(**{kind: _value(kind, n) for kind, n in units.items()})
