"""Budgets: reserved before they are spent, over all scopes at once, to the billionth."""

import gc
import json
import pickle
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal, localcontext
from fractions import Fraction
from threading import Barrier
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers import every_driver
from kinds import WAITING, kinds
from llambdao import GroupChatNode, LimitReached, Misused, Node, all_of, ask, call, turns, when
from llambdao.runtime.budget import SCALE, Amounts, Budget, BudgetReached, Reserve, reserve

often = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FREE = Amounts(usd=Decimal(0), tokens=0, calls=0, seconds=0.0, messages=0)


def text(words):
    """These words, all of them, as a pattern for `match`."""
    return f"^{re.escape(words)}$"


# -- reserving and settling ----------------------------------------------------------------------


def test_what_is_reserved_is_set_aside_and_what_it_cost_is_spent():
    """Between the two it is neither left nor spent; then the rest goes back."""
    budget = Budget(usd=5, tokens=100_000)
    ticket = budget.reserve(usd=0.02, tokens=900)
    assert budget.spent == FREE
    assert (budget.reserved.usd, budget.reserved.tokens) == (Decimal("0.02"), 900)
    assert budget.left == Amounts(usd=Decimal("4.98"), tokens=99_100)
    ticket.settle(usd=0.013, tokens=512)
    assert (budget.spent.usd, budget.spent.tokens) == (Decimal("0.013"), 512)
    assert budget.reserved == FREE
    assert budget.left == Amounts(usd=Decimal("4.987"), tokens=99_488)
    assert budget.limit == Amounts(usd=Decimal(5), tokens=100_000)


def test_what_is_released_goes_back_whole():
    """Nothing was spent."""
    budget = Budget(usd=1)
    budget.reserve(usd=1).release()
    assert (budget.spent, budget.reserved, budget.left.usd) == (FREE, FREE, 1)


def test_a_kind_that_is_not_named_cost_what_was_reserved():
    """Also one whose cost nobody knows (None); what was not reserved is charged if it is named."""
    budget = Budget()
    budget.reserve(usd=1, tokens=10, calls=1).settle(usd=None, tokens=7, seconds=1.5)
    assert budget.spent == Amounts(usd=Decimal(1), tokens=7, calls=1, seconds=1.5, messages=0)


@pytest.mark.parametrize("again", ["settle", "release"])
@pytest.mark.parametrize("first", ["settle", "release"])
def test_a_ticket_is_settled_or_released_once(first, again):
    """The second time is an error, and books nothing."""
    budget = Budget(usd=1)
    ticket = budget.reserve(usd=0.25)
    getattr(ticket, first)()
    before = budget.state()
    said = "ticket 1 of the budget: 0.25 usd was settled or released before; that is done once"
    with pytest.raises(Misused, match=text(said)):
        getattr(ticket, again)()
    assert budget.state() == before
    assert not ticket.is_open


def test_leaving_the_block_settles_what_was_reserved():
    """Unless it was settled or released in the block."""
    budget = Budget(calls=10)
    with budget.reserve(calls=3):
        assert (budget.spent.calls, budget.reserved.calls) == (0, 3)
    assert (budget.spent.calls, budget.reserved.calls) == (3, 0)
    with budget.reserve(calls=3) as ticket:
        ticket.settle(calls=1)
    with budget.reserve(calls=3) as ticket:
        ticket.release()
    assert (budget.spent.calls, budget.reserved.calls) == (4, 0)


def test_an_error_in_the_block_settles_too():
    """For the call was made; the error goes on."""
    budget = Budget(calls=2)
    with pytest.raises(ZeroDivisionError), budget.reserve(calls=1):
        raise ZeroDivisionError
    assert (budget.spent.calls, budget.reserved.calls, budget.left.calls) == (1, 0, 1)


def test_charging_spends_at_once_or_is_refused():
    """No ticket is left behind."""
    budget = Budget(tokens=10)
    assert budget.charge(tokens=6) is None
    with pytest.raises(BudgetReached):
        budget.charge(tokens=6)
    assert (budget.spent.tokens, budget.reserved.tokens, budget.tickets) == (6, 0, [])


def test_as_much_as_is_left_can_be_reserved_in_one_go():
    """By all scopes; what has no limit is granted whole; once nothing is left it is refused."""
    budget = Budget(messages=100)
    share = budget.share(messages=60, tokens=5)
    ticket = share.reserve_up_to(messages=256, tokens=3, calls=8)
    assert ticket.amounts == Amounts(messages=60, tokens=3, calls=8)
    assert budget.reserve_up_to(messages=30).amounts == Amounts(messages=30)
    assert budget.reserve_up_to(messages=30).amounts == Amounts(messages=10)
    assert budget.reserve_up_to(messages=0).amounts == Amounts(messages=0)
    with pytest.raises(BudgetReached, match="has 0 messages left and is asked for 1: "):
        budget.reserve_up_to(messages=30)


def test_more_than_was_reserved_is_charged_all_the_same():
    """It has been spent: `left` is zero, `overspent` says by how much, and no more is granted."""
    budget = Budget(usd=1, tokens=10)
    share = budget.share(usd=2)
    assert budget.overspent is None
    share.reserve(usd=1).settle(usd=1.5)
    assert budget.spent.usd == Decimal("1.5")
    assert budget.left == Amounts(usd=Decimal(0), tokens=10)
    assert budget.overspent == Amounts(usd=Decimal("0.5"))
    assert (share.overspent, share.left.usd) == (None, 0)
    said = (
        "the budget has 0.00 usd left and is asked for 0.01: usd 1.50 of 1.00;"
        " to allow it: raise_limit(usd=1.51) on the budget"
    )
    with pytest.raises(BudgetReached, match=text(said)):
        share.reserve(usd=0.01)
    share.reserve(usd=0, tokens=10)  # what costs nothing is no question of money


def test_what_has_been_spent_already_can_always_be_booked():
    """`budget.reserve().settle(...)` asks nobody."""
    budget = Budget(seconds=1)
    budget.reserve().settle(seconds=2.5)
    assert (budget.spent.seconds, budget.overspent) == (2.5, Amounts(seconds=1.5))


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["usd", "tokens", "calls", "seconds", "messages"])
def test_every_kind_has_a_limit_of_its_own(kind):
    """It is reached exactly; a kind that was left out has none, and is counted."""
    budget = Budget(**{kind: 3})
    budget.charge(**dict.fromkeys(["usd", "tokens", "calls", "seconds", "messages"], 3))
    with pytest.raises(BudgetReached, match=f"^the budget has 0(.00)? {kind} left"):
        budget.charge(**{kind: 1})
    assert budget.left == Amounts(**{kind: 0})
    assert budget.spent == Amounts(usd=Decimal(3), tokens=3, calls=3, seconds=3.0, messages=3)


def test_a_refusal_says_what_was_short_and_how_to_raise_it():
    """In words and as data, also in another process; whoever catches `LimitReached` catches it."""
    budget = Budget(tokens=100_000, name="the house")
    budget.charge(tokens=98_000)
    budget.reserve(tokens=1000)
    said = (
        "the house has 1,000 tokens left and is asked for 2,500: tokens 98,000 of 100,000 (1,000"
        " reserved); to allow it: raise_limit(tokens=101_500) on the house"
    )
    with pytest.raises(LimitReached, match=text(said)) as caught:
        budget.reserve(tokens=2500)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.kind, error.asked, error.left) == (said, "tokens", 2500, 1000)
    budget.raise_limit(tokens=101_500)  # as it says
    budget.reserve(tokens=2500)


def test_a_refusal_tells_money_exactly():
    """As `Decimal`."""
    with pytest.raises(BudgetReached) as caught:
        Budget(usd="0.3").reserve(usd=0.4)
    assert (caught.value.asked, caught.value.left) == (Decimal("0.4"), Decimal("0.3"))


def test_a_limit_can_be_raised():
    """One kind at a time or several; the others stay."""
    budget = Budget(usd=1, tokens=1, calls=1)
    budget.charge(usd=1)
    budget.raise_limit(usd=3, tokens=2)
    assert budget.limit == Amounts(usd=Decimal(3), tokens=2, calls=1)
    assert budget.left == Amounts(usd=Decimal(2), tokens=2, calls=1)
    budget.raise_limit(usd=3)  # the same again: two who raise it alike raise it once
    budget.raise_limit(usd=None)
    assert (budget.limit, budget.left.usd) == (Amounts(tokens=2, calls=1), None)


def test_raising_the_limit_of_a_share_leaves_those_above():
    """They still refuse what is too much for them."""
    budget = Budget(usd=1)
    share = budget.share(usd=1, name="the team")
    share.raise_limit(usd=10)
    assert (share.limit.usd, budget.limit.usd, share.left.usd) == (10, 1, 1)
    with pytest.raises(BudgetReached, match=r"^the budget has 1\.00 usd left"):
        share.reserve(usd=2)


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"usd": 5}, "usd 7.00 of 6.00, too much for a limit of 5.00"),
        ({"usd": 6.5}, "usd 7.00 of 6.00, too much for a limit of 6.50"),
        ({"tokens": 9}, "tokens 0 of 10 (4 reserved), too much for a limit of 9"),
    ],
)
def test_a_limit_cannot_be_lowered(limits, what):
    """Nor be less than what was spent; then none of those named is raised."""
    budget = Budget(usd=6, tokens=10, calls=1)
    budget.reserve(usd=6).settle(usd=7)
    budget.reserve(tokens=4)
    why = "; raise_limit takes the new limit, not what is added"
    with pytest.raises(Misused, match=text(f"the budget is at {what}{why}")):
        budget.raise_limit(calls=2, **limits)
    assert budget.limit == Amounts(usd=Decimal(6), tokens=10, calls=1)


def test_only_a_limit_that_is_there_can_be_raised():
    """To begin one later would be to lower it."""
    budget = Budget(usd=1)
    with pytest.raises(Misused, match=text("the budget has no limit of calls to raise")):
        budget.raise_limit(usd=2, calls=9)
    assert budget.limit == Amounts(usd=Decimal(1))


def test_nothing_left_of_any_kind_is_the_limit():
    """What is reserved is not left; a share is at its limit when the whole is."""
    budget = Budget(calls=2, tokens=5)
    share = budget.share()
    assert not budget.is_reached
    ticket = budget.reserve(calls=2)
    assert budget.is_reached
    assert share.is_reached
    ticket.release()
    assert not share.is_reached
    budget.reserve(tokens=5).settle(tokens=9)
    assert share.is_reached
    assert not Budget().is_reached
    assert Budget(usd=0).is_reached


# -- shares --------------------------------------------------------------------------------------


def test_a_share_spends_what_the_whole_spends():
    """Every scope up to the root books it; the others do not."""
    budget = Budget(usd=5)
    team, others = budget.share(usd=1, name="the team"), budget.share(usd=1)
    member = team.share()
    member.charge(usd="0.40")
    ticket = member.reserve(usd="0.10")
    for scope in (member, team, budget):
        assert (scope.spent.usd, scope.reserved.usd) == (Decimal("0.40"), Decimal("0.10"))
    assert (others.spent, others.reserved) == (FREE, FREE)
    ticket.release()
    assert budget.left.usd == Decimal("4.60")
    assert budget.shares == [team, others]
    assert (member.name, others.name) == ("a share of the team", "a share of the budget")


def test_a_share_has_left_what_all_above_it_have_left():
    """The least of them, kind by kind."""
    budget = Budget(usd=5, tokens=100)
    team = budget.share(usd=10, calls=3)
    assert team.share().left == Amounts(usd=Decimal(5), tokens=100, calls=3)
    assert budget.left == Amounts(usd=Decimal(5), tokens=100)


@pytest.mark.parametrize(
    ("asked", "who", "kind"),
    [
        ({"usd": 2, "tokens": 1}, "the member", "usd"),
        ({"usd": 1, "calls": 2}, "the team", "calls"),
        ({"usd": 1, "calls": 1, "tokens": 101}, "the budget", "tokens"),
    ],
)
def test_all_or_nothing(asked, who, kind):
    """If any scope on the way up refuses any kind, nothing is reserved in any of them."""
    budget = Budget(tokens=100)
    team = budget.share(calls=1, name="the team")
    member = team.share(usd=1, name="the member")
    before = budget.state()
    with pytest.raises(BudgetReached, match=rf"^{who} has .* {kind} left .* on {who}$"):
        member.reserve(**asked)
    assert budget.state() == before


def test_a_share_nobody_holds_is_forgotten_and_its_spending_is_not():
    """So a share for each of a million conversations takes no room; an open ticket holds it."""
    budget = Budget(usd=5)
    share = budget.share(usd=1)
    ticket = share.reserve(usd=1)
    del share
    gc.collect()
    assert len(budget.shares) == 1
    ticket.settle()
    del ticket
    gc.collect()
    assert budget.shares == []
    assert budget.left.usd == 4


# -- amounts -------------------------------------------------------------------------------------


def test_money_does_not_drift():
    """Ten times a tenth is one, a million times a billionth is a thousandth, whatever the type."""
    budget = Budget(usd=1)
    for amount in [0.1, "0.1", Decimal("0.1")] * 3:
        budget.charge(usd=amount)
    assert budget.left.usd == Decimal("0.1")
    budget.charge(usd=0.1)
    assert (budget.spent.usd, budget.left.usd) == (1, 0)
    with pytest.raises(BudgetReached):
        budget.charge(usd="0.000000001")


def test_money_is_exact_whatever_the_decimal_context():
    """A program that computes with three digits has a budget of twelve."""
    with localcontext(prec=3):
        budget = Budget(usd="123456789.123456789")
        budget.charge(usd="0.000000001")
        assert str(budget.left.usd) == "123456789.123456788"


@pytest.mark.parametrize(
    ("given_", "counted"),
    [
        (1 / 3, "0.333333334"),
        ("1e-99999", "0.000000001"),
        ("0.0000000011", "0.000000002"),
        (f"0.000000001{'0' * 70}1", "0.000000002"),
        (Decimal("1.0000000000000000000000000000000000001"), "1.000000001"),
        ("1_000", "1000"),
        (-0.0, "0"),
        ("0e999999", "0"),
        (10**9, "1000000000"),
    ],
)
def test_what_is_finer_than_a_billionth_is_rounded_up(given_, counted):
    """So that a budget is never overspent by rounding."""
    ticket = Budget().reserve(usd=given_)
    assert ticket.amounts.usd == Decimal(counted)


def test_counts_may_be_given_in_any_type_as_long_as_they_are_whole():
    """As JSON and configuration files have them."""
    ticket = Budget(tokens="100_000").reserve(tokens=900.0, calls=Decimal(2), messages="3")
    assert ticket.amounts == Amounts(tokens=900, calls=2, messages=3)
    assert [type(n) for n in (ticket.amounts.tokens, ticket.amounts.calls)] == [int, int]


MONEY = "usd is a number from 0 to 1,000,000,000, not "
COUNT = "tokens is a whole number from 0 to 1,000,000,000,000,000,000, not "
WRONG = [
    ({"usd": -1}, f"{MONEY}-1"),
    ({"usd": -1e-12}, f"{MONEY}-1e-12"),
    ({"usd": float("nan")}, f"{MONEY}nan"),
    ({"usd": Decimal("sNaN")}, f"{MONEY}Decimal('sNaN')"),
    ({"usd": float("inf")}, f"{MONEY}inf"),
    ({"usd": "1e999999999"}, f"{MONEY}'1e999999999'"),
    ({"usd": True}, f"{MONEY}True"),
    ({"usd": "a dollar"}, f"{MONEY}'a dollar'"),
    ({"usd": [1]}, f"{MONEY}[1]"),
    ({"usd": 1j}, f"{MONEY}1j"),
    ({"tokens": 1.5}, f"{COUNT}1.5"),
    ({"tokens": False}, f"{COUNT}False"),
    ({"tokens": 10**18 + 1}, f"{COUNT}1000000000000000001"),
    ({"euros": 1}, "a budget counts usd, tokens, calls, seconds, messages, not euros"),
    (
        dict.fromkeys("dbac"),
        "a budget counts usd, tokens, calls, seconds, messages, not a, b, c, d",
    ),
]


@pytest.mark.parametrize(("amounts", "said"), WRONG, ids=[str(amounts) for amounts, _ in WRONG])
def test_what_is_no_amount_is_refused(amounts, said):
    """Wherever it is given, by an error that says what is one; and nothing has changed."""
    budget = Budget(usd=1, tokens=1)
    ticket = budget.reserve(usd=1)
    before = budget.state()
    for take in (
        Budget,
        budget.share,
        budget.reserve,
        budget.reserve_up_to,
        budget.charge,
        budget.raise_limit,
        ticket.settle,
        reserve,
    ):
        with pytest.raises(Misused, match=text(said)):
            take(**amounts)
    assert budget.state() == before
    assert ticket.is_open


# -- to be read ----------------------------------------------------------------------------------


def test_a_budget_reads_as_one_line():
    """Each kind that is limited or used: what was spent, of how much, what is reserved."""
    budget = Budget(usd=5, tokens=100_000)
    assert str(budget) == "usd 0.00 of 5.00, tokens 0 of 100,000"
    budget.charge(usd="0.013", tokens=512, seconds=1.5)
    budget.reserve(usd=1.5, calls=2)
    assert str(budget) == (
        "usd 0.013 of 5.00 (1.50 reserved), tokens 512 of 100,000, calls 0 (2 reserved),"
        " seconds 1.5"
    )
    assert str(Budget(usd=12_345.678, seconds=600)) == "usd 0.00 of 12,345.678, seconds 0 of 600"
    assert str(Budget()) == "nothing spent, no limits"
    assert repr(Budget(calls=1)) == "<the budget: calls 0 of 1>"


def test_amounts_show_what_is_known():
    """Not the kinds without a limit."""
    assert repr(Budget(usd=5, calls=2).left) == "Amounts(usd=Decimal('5.00'), calls=2)"


def test_a_ticket_says_what_it_is_for():
    """Number, scope and amounts."""
    budget = Budget(name="the house")
    assert str(budget.reserve(usd=0.02, tokens=1900)) == (
        "ticket 1 of the house: 0.02 usd, 1,900 tokens"
    )
    assert repr(budget.reserve()) == "<ticket 2 of the house: nothing>"


# -- at the limit --------------------------------------------------------------------------------


def test_who_is_asked_at_the_limit_may_raise_it():
    """Then the reservation is tried once more; it is asked outside of the lock."""
    asked = []

    def more(scope, error):
        asked.append((scope.name, error.kind, error.asked, error.left))
        with ThreadPoolExecutor() as threads:  # the others need not stand still meanwhile
            threads.submit(budget.charge, tokens=1).result(5)
        scope.raise_limit(usd=scope.limit.usd + 5)
        return True

    budget = Budget(usd=1, at_limit=more)
    budget.charge(usd=2)
    assert asked == [("the budget", "usd", 2, 1)]
    assert (budget.limit.usd, budget.spent.usd, budget.spent.tokens) == (6, 2, 1)


def test_it_is_asked_once():
    """If there is still not enough the error is raised, the second one."""
    budget = Budget(usd=1, at_limit=lambda scope, error: asked.append(error) or True)
    asked = []
    with pytest.raises(BudgetReached) as caught:
        budget.reserve(usd=2)
    assert len(asked) == 1
    assert caught.value is not asked[0]
    assert budget.reserved == FREE


@pytest.mark.parametrize("answer", [False, None, "yes", 1])
def test_anything_but_true_leaves_the_error(answer):
    """Even if there would be enough by now."""
    asked = []

    def late(scope, error):
        scope.raise_limit(usd=10)
        asked.append(error)
        return answer

    budget = Budget(usd=1, at_limit=late)
    with pytest.raises(BudgetReached) as caught:
        budget.reserve(usd=2)
    assert asked == [caught.value]


def test_what_it_raises_is_raised():
    """The one who reserves learns of it, and nothing is reserved."""

    def broken(scope, error):
        raise OSError("no line to the boss")

    budget = Budget(usd=1, at_limit=broken)
    with pytest.raises(OSError, match="no line to the boss"):
        budget.reserve(usd=2)
    assert budget.reserved == FREE


def test_the_scope_that_refused_is_asked_or_else_the_nearest_above():
    """Never one inside it."""
    asked = []

    def asks(who):
        return lambda scope, error: asked.append((who, scope.name))

    house = Budget(tokens=1, calls=5, name="house", at_limit=asks("house"))
    team = house.share(usd=1, name="team")
    member = team.share(seconds=1, name="member", at_limit=asks("member"))
    for amounts in ({"seconds": 2}, {"usd": 2}, {"tokens": 2}):
        with pytest.raises(BudgetReached):
            member.reserve(**amounts)
    assert asked == [("member", "member"), ("house", "team"), ("house", "house")]


def test_up_to_what_is_left_is_measured_again_after_asking():
    """What was raised is granted."""

    def more(scope, error):
        scope.raise_limit(messages=50)
        return True

    budget = Budget(messages=0, at_limit=more)
    assert budget.reserve_up_to(messages=256).amounts == Amounts(messages=50)


# -- over a restart ------------------------------------------------------------------------------


def a_used_budget():
    """One with everything in it."""
    budget = Budget(usd=5, tokens=100_000, seconds=0.1, name="the house")
    team = budget.share(usd=1, name="the team")
    team.charge(usd="0.013", tokens=512)
    first = team.share(name="the member").reserve(usd="0.5", calls=1)
    second = budget.reserve(usd=1 / 3, seconds=0.1)
    budget.charge(calls=1)
    return budget, team, first, second


def test_a_budget_survives_a_restart():
    """As JSON, with its shares; what was reserved counts as reserved."""
    budget, team, *_ = a_used_budget()
    state = budget.state()
    again = Budget.restore(json.loads(json.dumps(state)))
    gc.collect()
    assert again.state() == state == budget.state()
    assert str(again) == str(budget)
    assert again.left == budget.left
    assert repr(again.shares) == repr([team])
    assert repr(again.shares[0].shares) == repr(team.shares)
    with pytest.raises(BudgetReached, match=r"^the team has 0.487 usd left"):
        again.shares[0].reserve(usd=0.5)


def test_open_reservations_can_be_settled_after_a_restart():
    """They are `tickets`, the oldest first, with the same numbers; new ones have others."""
    budget, team, first, second = a_used_budget()
    assert budget.tickets == [first, second]
    assert team.tickets == [first]
    again = Budget.restore(budget.state())
    assert repr(again.tickets) == repr([first, second])
    again.tickets[0].settle(usd="0.4")
    again.tickets[0].release()
    assert (again.tickets, again.reserved) == ([], FREE)
    assert (again.spent.usd, again.spent.calls) == (Decimal("0.413"), 2)
    assert again.shares[0].shares[0].spent.usd == Decimal("0.4")
    assert [second.number, again.reserve().number] == [3, 5]  # a charge has one, too
    assert Budget.restore(again.state()).reserve().number == 6


def test_a_share_can_be_restored_by_itself():
    """It is a budget of its own then."""
    _, team, first, _ = a_used_budget()
    again = Budget.restore(team.state())
    assert (str(again), repr(again.tickets)) == (str(team), repr([first]))
    assert again.left == Amounts(usd=Decimal("0.487"))


def test_who_is_asked_at_the_limit_is_given_anew():
    """Functions are not stored."""

    def more(scope, error):
        scope.raise_limit(usd=2)
        return True

    state = Budget(usd=1, at_limit=more).state()
    with pytest.raises(BudgetReached):
        Budget.restore(state).charge(usd=2)
    Budget.restore(state, at_limit=more).charge(usd=2)


def test_a_state_is_a_copy():
    """What happens later is not in it, nor does it change what it was taken of."""
    budget = Budget(usd=1)
    state = budget.state()
    before = json.dumps(state)
    budget.reserve(usd=1).settle()
    budget.raise_limit(usd=2)
    assert json.dumps(state) == before
    again = Budget.restore(state)
    again.charge(usd=1)
    assert json.dumps(state) == before
    again.reserve(calls=1)
    state = again.state()
    state["limit"]["usd"] = state["spent"]["usd"] = state["tickets"][0][1]["calls"] = 0
    assert str(again) == "usd 1.00 of 1.00, calls 0 (1 reserved)"
    assert again.tickets[0].amounts == Amounts(calls=1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"limit": {"euros": 1}}, "Expected `str` matching regex .* at `key` in `\\$.limit`"),
        ({"spent": {"usd": -1}}, "Expected `int` >= 0 "),
        ({"limit": {"usd": 0.5}}, "Expected `int`, got `float` "),
        ({"extra": 1}, "Object contains unknown field `extra`"),
        ({"tickets": [[1]]}, "Expected `array` of length 2, got 1 "),
    ],
)
def test_what_is_no_state_is_refused(change, complaint):
    """Saying where it is wrong."""
    state = Budget(usd=1).state() | change
    with pytest.raises(Misused, match=f"^expected what budget.state.. gave, but got: {complaint}"):
        Budget.restore(state)


# -- in conversations ----------------------------------------------------------------------------


@kinds(*WAITING)
@every_driver
def test_a_handler_reserves_in_the_budget_of_its_conversation(handler, drive):
    """The ticket is the value of the `yield`, at once; the refusal is raised there."""

    class Poet(Node):
        @handler
        def chat(self, message):
            for _ in range(2):
                ticket = yield reserve(usd=0.02)
                ticket.settle(usd=0.013)
            try:
                yield reserve(usd=0.02)
            except BudgetReached as error:
                return f"{error.left} left"

    budget = Budget(usd="0.04")
    assert drive(lambda: Poet().receive("go", budget=budget)).contents == ["0.014 left"]
    assert (budget.spent.usd, budget.reserved.usd) == (Decimal("0.026"), 0)


@every_driver
def test_a_refusal_nobody_catches_is_raised_in_the_caller(drive):
    """As every other error in a handler."""

    class Poet(Node):
        def chat(self, message):
            yield reserve(tokens=2)

    outcome = drive(lambda: Poet().receive("go", budget=Budget(tokens=1)))
    assert type(outcome.error) is BudgetReached
    assert "the budget has 1 tokens left and is asked for 2" in str(outcome.error)


def test_nodes_that_work_side_by_side_never_overshoot():
    """Each reserves before any has settled: the third is refused."""

    class Worker(Node):
        def request(self, message):
            with (yield reserve(usd=1)):
                yield call(seen.append, budget.reserved.usd)

    class Foreman(Node):
        def chat(self, message):
            yield all_of(*(Worker().ask("go") for _ in range(3)))

    seen, budget = [], Budget(usd=2)
    with pytest.raises(BudgetReached):
        ask(Foreman(), "go", budget=budget)
    assert (budget.spent.usd, budget.reserved.usd) == (2, 0)


def test_without_a_budget_nothing_is_refused():
    """The same node runs with and without one."""
    free = Reserve(units={"usd": 10**18}).start(SimpleNamespace(budget=None), None, None)
    assert free.amounts.usd == 10**9
    given_ = Budget(usd=1)
    ticket = reserve(usd=1).start(SimpleNamespace(budget=given_), None, None)
    assert given_.tickets == [ticket]


def test_a_reservation_that_nobody_yielded_warns():
    """As every other wait, and it says which."""
    said = "the reservation of 0.02 usd, 1,900 tokens was never yielded: nothing happened"
    with pytest.warns(RuntimeWarning, match=text(said)):
        reserve(tokens=1900, usd=0.02)


@every_driver
@pytest.mark.parametrize("most", [1, 3, 200, 10_000])
def test_every_message_is_charged_and_not_one_more(drive, most):
    """They are reserved some at a time; the limit is exact, and at the end the rest goes back."""

    class Talker(Node):
        def chat(self, message):
            yield from map(str, range(400))

    budget = Budget(messages=most)
    outcome = drive(lambda: Talker().receive("go", budget=budget))
    said = 1 + len(outcome.before)
    assert (budget.spent.messages, budget.reserved) == (said, FREE)
    assert said == min(most, 401)
    assert (type(outcome.error) is BudgetReached) == (most < 401)


def test_many_conversations_share_a_purse():
    """It reserves a chunk for all of them; what comes back late was charged, and is not lost."""
    budget = Budget(messages=100)
    purse = budget.purse(chunk=10)
    assert [purse.take(10), budget.reserved.messages] == [10, 10]
    assert [purse.take(3), purse.take(3)] == [3, 3]
    assert (budget.spent.messages, budget.reserved.messages) == (10, 10)
    purse.give(9)  # of the first ten one was said
    purse.give(2)  # and of the next six four
    assert [purse.take(80), budget.left.messages] == [15, 80]
    purse.give(15)
    purse.close()
    assert (budget.spent.messages, budget.reserved, budget.tickets) == (5, FREE, [])
    purse.take(1)
    purse.close()
    assert [purse.take(1), budget.spent.messages, budget.reserved.messages] == [1, 6, 10]


purses = st.lists(st.tuples(st.sampled_from(["take", "say", "give"]), st.integers(1, 9)))


@given(st.integers(1, 12), st.integers(0, 40), purses)
@often
def test_a_purse_charges_what_was_said(chunk, most, steps):
    """Whoever takes, says and gives back in whatever order; no more is ever said than allowed."""
    budget = Budget(messages=most)
    purse = budget.purse(chunk=chunk)
    granted, said = [], 0
    for act, n in steps:
        if act == "take":
            with suppress(BudgetReached):
                granted.append(purse.take(n))
                assert 1 <= granted[-1] <= n
        elif granted and act == "say":
            granted[n % len(granted)] -= 1
            said += 1
            granted = [left for left in granted if left]
        elif granted:
            purse.give(granted.pop())
        assert said + sum(granted) <= most
        assert budget.spent.messages + budget.reserved.messages <= most
    for left in granted:
        purse.give(left)
    purse.close()
    assert (budget.spent.messages, budget.reserved) == (said, FREE)


def test_a_group_chat_stops_when_its_budget_is_used_up():
    """`when(lambda said: budget.is_reached)` combines with all other conditions."""

    class Talker(Node):
        def chat(self, message):
            with (yield reserve(calls=1)):
                yield "Well."

    budget = Budget(calls=3)
    until = turns(8) | when(lambda said: budget.is_reached)
    table = GroupChatNode(Talker(name="Ann"), Talker(name="Bob"), until=until)
    assert len(list(table.receive("Tea?", budget=budget))) == 3
    assert (budget.spent.calls, budget.reserved.calls) == (3, 0)


# -- in threads ----------------------------------------------------------------------------------


def let_others_on(*_):
    """Traces a thread, and lets another one go on at every line of it."""
    time.sleep(0)
    return let_others_on


def in_threads(function, arguments):
    """Calls a function with each of these, all at once, and taking turns wherever they can."""
    start = Barrier(len(arguments))

    def run(argument):
        start.wait()
        sys.settrace(let_others_on)
        return function(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(run, arguments))


def test_exactly_as_many_threads_succeed_as_there_is_money_for():
    """Not one more, not one less; each number is given once."""

    def spend(budget):
        numbers = []
        for _ in range(20):
            with suppress(BudgetReached):
                numbers.append(budget.reserve(usd="0.1").number)
        return numbers

    budget = Budget(usd="10.10")
    numbers = [number for some in in_threads(spend, [budget] * 8) for number in some]
    assert sorted(numbers) == list(range(1, 102))
    assert (budget.reserved.usd, budget.left.usd) == (Decimal("10.1"), 0)


def test_threads_reserve_and_settle_in_a_tree_and_nothing_is_lost():
    """The whole and its shares: what they kept is spent, what they gave back is left."""

    def spend(scope):
        tickets = []
        for turn in range(12):
            with suppress(BudgetReached):
                tickets.append(scope.reserve(usd="0.1"))
            if turn % 3 == 0 and tickets:
                tickets.pop().release()
            assert budget.spent.usd + budget.reserved.usd <= 4
        for ticket in tickets:
            ticket.settle()
        return len(tickets)

    budget = Budget(usd=4)
    scopes = [budget, budget.share(), budget.share(usd=100), budget.share().share()] * 2
    kept = in_threads(spend, scopes)
    assert budget.reserved == FREE
    assert budget.spent.usd == Decimal("0.1") * sum(kept)
    assert [scopes[2].spent.usd, scopes[3].spent.usd] == [
        Decimal("0.1") * (kept[place] + kept[place + 4]) for place in (2, 3)
    ]


def test_of_many_threads_one_settles_a_ticket():
    """For the others it was settled before."""

    def settle(ticket):
        try:
            ticket.settle()
        except Misused:
            return 0
        return 1

    budget = Budget()
    for _ in range(5):
        assert sum(in_threads(settle, [budget.reserve(calls=1)] * 8)) == 1
    assert (budget.spent.calls, budget.reserved) == (5, FREE)


# -- whatever happens ----------------------------------------------------------------------------

KINDS = ("usd", "tokens", "seconds")
amounts = st.fixed_dictionaries({}, optional={kind: st.integers(0, 8) for kind in KINDS})
OFTEN = ["share", "reserve", "settle"]
SELDOM = ["reserve_up_to", "charge", "settle_more", "release", "raise_limit", "restart"]
acts = st.sampled_from(OFTEN * 2 + SELDOM)
steps = st.lists(st.tuples(acts, st.integers(0, 99), amounts), max_size=40)


def tenths(amounts):
    """Dollars by the tenth, which no binary float is; seconds by the quarter, which all are."""
    parts = {"usd": 10, "tokens": 1, "seconds": 4}
    return {kind: Fraction(n, parts[kind]) for kind, n in amounts.items()}


def floats(amounts):
    """As a user gives them."""
    return {kind: float(n) for kind, n in amounts.items()}


class Naive:
    """A scope as one would keep it by hand: two lists, summed up whenever somebody asks."""

    def __init__(self, above, limit):
        self.above, self.limit, self.inside = above, dict(limit), []
        self.spent, self.open = [], []
        if above is not None:
            above.inside.append(self)

    def up(self):
        return [self] if self.above is None else [self, *self.above.up()]

    def all_of(self, what):
        own = getattr(self, what)
        return own + [one for inside in self.inside for one in inside.all_of(what)]

    def total(self, what, kind):
        return sum((one.get(kind, 0) for one in self.all_of(what)), Fraction())

    def room(self, kind):
        return self.limit[kind] - self.total("spent", kind) - self.total("open", kind)

    def left(self, kind):
        rooms = [scope.room(kind) for scope in self.up() if kind in scope.limit]
        return max(Fraction(), min(rooms)) if rooms else None

    def allows(self, asked):
        return all(
            n == 0 or self.left(kind) is None or n <= self.left(kind) for kind, n in asked.items()
        )


class Play:
    """The same steps with budgets and by hand; `check` compares the two."""

    def __init__(self, limit):
        self.scopes = [(Budget(**floats(limit)), Naive(None, limit))]
        self.tickets = []  # of each: itself, its naive scope, what it reserved
        self.overspent = False

    def step(self, act, which, amounts):
        if act == "restart":
            self.restart()
        elif act in ("settle", "settle_more", "release"):
            if self.tickets:
                ticket, naive, asked = self.tickets.pop(which % len(self.tickets))
                naive.open.remove(asked)
                getattr(self, act)(ticket, naive, asked, amounts)
        else:
            getattr(self, act)(*self.scopes[which % len(self.scopes)], amounts)

    def share(self, budget, naive, amounts):
        self.scopes.append((budget.share(**floats(amounts)), Naive(naive, amounts)))

    def reserve(self, budget, naive, amounts):
        if self.allowed(naive, amounts, budget.reserve):
            ticket = budget.reserve(**floats(amounts))
            naive.open.append(amounts)
            self.tickets.append((ticket, naive, amounts))

    def reserve_up_to(self, budget, naive, amounts):
        granted = {}
        for kind, n in amounts.items():
            left = naive.left(kind)
            granted[kind] = n if left is None else min(n, max(left, Fraction(1, SCALE[kind])))
        if self.allowed(naive, granted, budget.reserve_up_to, amounts):
            ticket = budget.reserve_up_to(**floats(amounts))
            naive.open.append(granted)
            self.tickets.append((ticket, naive, granted))

    def charge(self, budget, naive, amounts):
        if self.allowed(naive, amounts, budget.charge):
            budget.charge(**floats(amounts))
            naive.spent.append(amounts)

    def allowed(self, naive, asked, method, given_=None):
        if naive.allows(asked):
            return True
        with pytest.raises(BudgetReached):
            method(**floats(asked if given_ is None else given_))
        return False

    def raise_limit(self, budget, naive, amounts):
        limits = {k: n + naive.limit[k] for k, n in amounts.items() if k in naive.limit}
        if all(n >= naive.total("spent", kind) for kind, n in limits.items()):
            budget.raise_limit(**floats(limits))
            naive.limit |= limits
        else:
            with pytest.raises(Misused):
                budget.raise_limit(**floats(limits))

    def release(self, ticket, naive, asked, amounts):
        ticket.release()

    def settle(self, ticket, naive, asked, amounts):
        cost = {kind: min(n, asked.get(kind, 0)) for kind, n in amounts.items()}
        ticket.settle(**floats(cost))
        naive.spent.append(asked | cost)

    def settle_more(self, ticket, naive, asked, amounts):
        self.overspent = True
        ticket.settle(**floats(amounts))
        naive.spent.append(asked | amounts)

    def restart(self):
        root = Budget.restore(json.loads(json.dumps(self.scopes[0][0].state())))
        assert root.state() == self.scopes[0][0].state()
        pairs, queue = {}, [(root, self.scopes[0][1])]
        for budget, naive in queue:
            pairs[id(naive)] = budget
            queue += zip(budget.shares, naive.inside, strict=True)
        self.scopes = [(pairs[id(naive)], naive) for _, naive in self.scopes]
        again = {ticket.number: ticket for ticket in root.tickets}
        self.tickets = [(again[old.number], naive, asked) for old, naive, asked in self.tickets]

    def check(self):
        for budget, naive in self.scopes:
            left, over = budget.left, budget.overspent or Amounts()
            for kind in KINDS:
                spent, reserved, limit = (
                    getattr(one, kind) for one in (budget.spent, budget.reserved, budget.limit)
                )
                assert spent == naive.total("spent", kind)
                assert reserved == naive.total("open", kind)
                assert limit == naive.limit.get(kind)
                assert getattr(left, kind) == naive.left(kind)
                assert sum(getattr(one.spent, kind) for one in budget.shares) <= spent
                if limit is None:
                    continue
                assert getattr(over, kind) == (max(0, -naive.room(kind)) or None)
                if not self.overspent:
                    assert spent + reserved <= limit
                    if budget is self.scopes[0][0]:
                        assert getattr(left, kind) + spent + reserved == limit
            assert budget.is_reached == any(naive.left(kind) == 0 for kind in KINDS)


@given(amounts, steps)
@example({"usd": 3}, [("reserve", 0, {"usd": 1})] * 3 + [("settle", 0, {"usd": 1})] * 3)
@often
def test_the_books_are_right_whatever_happens(limit, steps):
    """Random trees of scopes, random orders of everything: as if kept by hand, in fractions.

    No scope's spent and reserved exceed its limit unless a cost was higher than reserved; what is
    left, spent and reserved is the limit; a scope books what its shares book; restarts change
    nothing.
    """
    play = Play(tenths(limit))
    for act, which, amounts in steps:
        play.step(act, which, tenths(amounts))
        play.check()
