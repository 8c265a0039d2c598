"""What requests to models cost: reserved before, settled after; and what is at the limit."""

import asyncio
import sys
from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from llambdao import GroupChatNode, Message, Node, Reason, all_of, ask, spent
from llambdao.kernel.errors import Misused
from llambdao.openai import (
    FREE,
    Model,
    OpenAIModel,
    OpenAINode,
    Price,
    Refused,
    ScriptedModel,
    SummaryNode,
    UnknownPrice,
    Usage,
    WrongKey,
    price_of,
)
from llambdao.openai._money import CHUNK, DEFAULT_NAME
from llambdao.runtime import Budget, BudgetReached

CENT = Price(input=10_000, output=10_000)  # a cent for a token: 10,000 dollars for a million


class Talker(Model):
    """Says so many words, one a piece, and tells what that cost."""

    price = CENT

    def __init__(self, words=10, *, tells=True, asks=1):
        self.words, self.tells, self.asks = words, tells, asks
        self.said = self.requests = 0

    async def stream(self, messages):
        """Word by word."""
        self.requests += 1
        for _ in range(self.words):
            await asyncio.sleep(0)
            self.said += 1
            yield "a "
        if self.tells:
            yield Usage("talker", self.asks, self.words)

    def __str__(self):
        return "talker"


class Boss(Node):
    """Answers from a list, and remembers what it was asked."""

    answers: list[str]
    asked: list[str] = Field(default_factory=list)

    def request(self, message):
        """The next answer."""
        self.asked = [*self.asked, message.content]
        return self.answers[len(self.asked) - 1]


class Crowd(Node):
    """Asks all at once."""

    nodes: list[Node]

    def chat(self, message):
        """All of them."""
        yield all_of(*(node.ask("Go!") for node in self.nodes))


# -- prices ----------------------------------------------------------------------------------------


def test_a_price_is_for_a_million_tokens():
    """Exactly, and what is read again may cost less."""
    price = Price("0.25", 2, cached="0.025")
    assert price.cost(Usage("m", 1000, 500)) == Decimal("0.00125")
    assert price.cost(Usage("m", 1000, 500, cached_tokens=1000)) == Decimal("0.001025")
    assert Price(1, 1).cost(Usage("m", 10, 0, cached_tokens=10)) == Decimal("0.00001")


@pytest.mark.parametrize("wrong", [-1, "much", float("nan"), float("inf")])
def test_a_price_is_an_amount(wrong):
    """What is none is refused, and named."""
    with pytest.raises(TypeError, match=r"dollars for a million tokens.*but output is"):
        Price(1, wrong)


@pytest.mark.parametrize(
    ("url", "model", "is_free"),
    [
        ("http://localhost:11434/v1", "llama3", True),
        ("http://127.0.0.1:8000/v1", "gpt-5-mini", True),
        ("http://[::1]:8000/v1", "m", True),
        ("http://192.168.1.7/v1", "m", True),
        ("http://box.local/v1", "m", True),
        ("https://api.openai.com/v1", "gpt-5-mini", False),
    ],
)
def test_servers_of_ones_own_are_free(url, model, is_free):
    """Those on this machine and in its own network; others cost what is listed."""
    assert (price_of(OpenAIModel(model, url, "key")) == FREE) is is_free


def test_prices_are_looked_up_by_address_and_model():
    """Without a network; dated names are known, a model of somebody else is not."""
    million = Usage("m", 1_000_000, 0)
    listed = price_of(OpenAIModel("gpt-5-mini-2025-08-07", "https://api.openai.com/v1", "key"))
    assert listed.cost(million) > 0
    assert listed.cost(Usage("m", 1_000_000, 0, cached_tokens=1_000_000)) < listed.cost(million)
    for url, model in (
        ("https://api.openai.com/v1", "no-such-model"),
        ("https://gateway.example/v1", "gpt-5-mini"),
    ):
        assert price_of(OpenAIModel(model, url, "key")) is None


def test_without_the_list_no_price_is_known(monkeypatch):
    """Of servers of others; those of one's own are free all the same."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert price_of(OpenAIModel("gpt-5-mini", "https://api.openai.com/v1", "key")) is None
    assert price_of(OpenAIModel("llama3", "http://localhost:11434/v1")) == FREE


def test_a_model_may_name_its_price():
    """It goes before all that is listed; what is no price is refused."""
    assert price_of(Talker()) == CENT
    talker = Talker()
    talker.price = 3
    with pytest.raises(TypeError, match="the price of talker is to be a Price, not 3"):
        price_of(talker)


# -- reserved and settled --------------------------------------------------------------------------


@pytest.mark.parametrize("deltas", [True, False])
def test_what_the_model_tells_is_what_is_paid(deltas):
    """Not what was reserved; the message says so, too."""
    budget = Budget(usd=100, tokens=10_000)
    said = ask(OpenAINode(model=Talker(10), deltas=deltas), "Hi", budget=budget)
    assert (budget.spent.usd, budget.spent.tokens, budget.spent.calls) == (Decimal("0.11"), 11, 1)
    assert budget.tickets == []
    assert said.metadata == {
        "model": "talker", "input_tokens": 1, "output_tokens": 10, "cached_tokens": 0,
        "tokens": 11, "requests": 1, "usd": 0.11,
    }  # fmt: skip


@pytest.mark.parametrize("deltas", [True, False])
def test_where_the_model_does_not_tell_it_is_estimated(deltas):
    """Rather too much than too little; the message then says nothing of it."""
    budget = Budget(tokens=10_000)
    said = ask(OpenAINode(model=Talker(10, tells=False), deltas=deltas), "Hi", budget=budget)
    assert budget.spent.tokens >= 10 + 5
    assert budget.tickets == []
    assert said.metadata == {"model": "talker"}


def test_a_summary_is_paid_for_as_well():
    """By the same rules."""
    budget = Budget(tokens=10_000)
    ask(SummaryNode(model=Talker(10)), Message("Sum up.", intent="query"), budget=budget)
    assert budget.spent.tokens == 11


def test_a_group_chat_can_stop_at_what_was_spent():
    """`until=spent(...)` reads the metadata."""
    sages = [OpenAINode(name=name, model=Talker(10)) for name in "AB"]
    table = GroupChatNode(*sages, until=spent(usd=0.3))
    said = list(table.receive("Hi", budget=Budget(usd=1000)))
    assert len(said) == 3


@pytest.mark.parametrize("error", [WrongKey("no"), Refused("no")])
def test_what_was_refused_costs_nothing(error):
    """All goes back."""
    budget = Budget(tokens=10_000)
    with pytest.raises(type(error)):
        ask(OpenAINode(model=ScriptedModel(error)), "Hi", budget=budget)
    assert (budget.spent.tokens, budget.reserved.tokens) == (0, 0)


def test_what_broke_off_costs_what_came():
    """The estimate of what was read and heard."""
    budget = Budget(tokens=10_000)
    with pytest.raises(RuntimeError):
        ask(OpenAINode(model=ScriptedModel(("word " * 20, RuntimeError()))), "Hi", budget=budget)
    assert 20 < budget.spent.tokens < 200
    assert budget.tickets == []


def test_nothing_stays_reserved_where_the_caller_stops():
    """What came until then is spent."""
    budget = Budget(tokens=10_000)
    conversation = OpenAINode(model=Talker(100)).receive("Hi", deltas=True, budget=budget)
    for _, _ in zip(range(5), conversation, strict=False):
        pass
    conversation.close()
    assert budget.tickets == []
    assert 0 < budget.spent.tokens < 100


# -- the limit -------------------------------------------------------------------------------------


def test_nothing_is_asked_that_cannot_be_paid():
    """Refused before the request, and the conversation says why it ended."""
    model = Talker(10)
    conversation = OpenAINode(model=model).receive("Hi", budget=Budget(usd="0.05"))
    with pytest.raises(BudgetReached, match=r"0\.05 usd left and is asked for") as caught:
        list(conversation)
    assert (model.requests, conversation.reason) == (0, Reason.BUDGET)
    assert caught.value.scope.limit.usd == Decimal("0.05")


def test_an_answer_that_grows_too_long_is_stopped():
    """A chunk is reserved at a time where all of it would be too much."""
    model = Talker(10_000)
    budget = Budget(tokens=1000)
    with pytest.raises(BudgetReached):
        ask(OpenAINode(model=model), "Hi", budget=budget)
    assert CHUNK <= model.said <= 1000
    assert budget.spent.tokens <= 1000 + 1


def test_an_answer_that_comes_whole_is_reserved_whole():
    """It cannot be stopped half way."""
    model = Talker(10)
    with pytest.raises(BudgetReached):
        ask(OpenAINode(model=model, deltas=False), "Hi", budget=Budget(tokens=1000))
    assert model.requests == 0


def test_a_longest_answer_is_what_is_reserved():
    """`max_tokens` of the model says how much that is."""
    model = Talker(10)
    model.max_tokens = 50
    ask(OpenAINode(model=model, deltas=False), "Hi", budget=Budget(tokens=150))
    assert model.requests == 1


def test_at_the_limit_a_cheaper_model_goes_on():
    """And the message says whose words they are."""
    node = OpenAINode(model=Talker(10), at_limit=ScriptedModel("Cheap."))
    said = ask(node, "Hi", budget=Budget(usd=1))
    assert (said.content, said.metadata["model"]) == ("Cheap.", "scripted")
    assert node.model.requests == 0
    assert ask(OpenAINode(model=Talker(10), at_limit="echo"), "Hi", budget=Budget(usd=1)).content


def test_the_cheaper_model_gets_the_conversation_as_it_wants_it():
    """Not as the dearer one would have it."""

    class Folded(ScriptedModel):
        form: ClassVar = {"system": "user"}

    cheap = Folded("Cheap.")
    ask(OpenAINode(name="Ann", model=Talker(10), at_limit=cheap), "Hi", budget=Budget(usd=1))
    assert [item["role"] for item in cheap.requests[0]] == ["user"]


@pytest.mark.parametrize(
    ("answer", "limit"), [("yes", "41.31"), ("Yes.", "41.31"), ("100", "101"), ("$100", "101")]
)
def test_at_the_limit_a_person_may_give_more(answer, limit):
    """As much as is missing, or as much as she says."""
    boss = Boss(answers=[answer])
    budget = Budget(usd=1, name="the purse")
    node = OpenAINode(name="Ann", model=Talker(10), at_limit=boss)
    assert ask(node, "Hi", budget=budget).content.split() == ["a"] * 10
    assert budget.limit.usd == Decimal(limit)
    [asked] = boss.asked
    assert asked == (
        "Ann wants to ask talker, for at most 41.31 usd, but the purse has 1.00 left. May it?"
        " Answer yes, or by how many usd to raise the limit, or no."
    )


@pytest.mark.parametrize("answer", ["no", "yes, but not today", "", "-5", "why?"])
def test_at_the_limit_a_person_may_refuse(answer):
    """Whatever is no yes and no amount is a no, and the budget's own error is raised."""
    budget = Budget(usd=1)
    node = OpenAINode(model=Talker(10), at_limit=Boss(answers=[answer]))
    with pytest.raises(BudgetReached):
        ask(node, "Hi", budget=budget)
    assert (node.model.requests, budget.limit.usd) == (0, 1)


def test_too_little_more_is_asked_about_again():
    """Until it is enough, or no."""
    boss = Boss(answers=["1", "1", "100"])
    ask(OpenAINode(model=Talker(10), at_limit=boss), "Hi", budget=Budget(usd=1))
    assert len(boss.asked) == 3


# -- several budgets -------------------------------------------------------------------------------


def test_a_node_may_have_a_budget_of_its_own():
    """Beside that of the conversation: both pay, and both can refuse."""
    mine, whole = Budget(tokens=5000), Budget(tokens=100_000)
    node = OpenAINode(model=Talker(10), budget=mine)
    ask(node, "Hi", budget=whole)
    assert (mine.spent.tokens, whole.spent.tokens) == (11, 11)
    mine.charge(tokens=4980)
    with pytest.raises(BudgetReached):
        ask(node, "Hi", budget=whole)
    assert (whole.spent.tokens, whole.reserved.tokens) == (11, 0)


def test_a_share_of_the_same_budget_is_not_paid_twice():
    """Whichever of the two is within the other, or beside it."""
    house = Budget(tokens=100_000)
    mine = house.share(tokens=50_000)
    for whole in (house, house.share(), mine.share(), mine):
        before = house.spent.tokens
        ask(OpenAINode(model=Talker(10), budget=mine), "Hi", budget=whole)
        assert house.spent.tokens - before == 11
    assert mine.spent.tokens == 4 * 11


def test_a_conversation_without_a_budget_has_one_by_default():
    """For models that are not free: five dollars."""
    node = OpenAINode(model=Talker(10))
    node.model.price = Price(10**9, 10**9)
    with pytest.raises(BudgetReached) as caught:
        ask(node, "Hi")
    assert DEFAULT_NAME in str(caught.value)
    assert node.model.requests == 0
    node.model.price = FREE
    assert ask(node, "Hi").content


def test_without_a_price_dollars_cannot_be_kept():
    """Refused before the request, saying what to do; tokens can, and by default are."""
    model = Talker(10)
    model.price = None
    node = OpenAINode(model=model)
    with pytest.raises(UnknownPrice, match=r"nobody knows what talker costs.*price=Price"):
        ask(node, "Hi", budget=Budget(usd=5))
    assert model.requests == 0
    assert "usd" not in ask(node, "Hi", budget=Budget(tokens=5000)).metadata
    assert ask(node, "Hi").content
    node.price = CENT
    assert ask(node, "Hi", budget=Budget(usd=100)).metadata["usd"] == 0.11


@pytest.mark.parametrize("field", ["price", "budget", "at_limit"])
def test_what_is_no_budget_or_price_is_refused(field):
    """When the node is made."""
    with pytest.raises(Misused, match=f"{field}= takes a "):
        OpenAINode(model=Talker(), **{field: 3})


# -- the promise -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.integers(1, 900), min_size=2, max_size=8),
    limit=st.integers(0, 4000),
    deltas=st.booleans(),
    tells=st.booleans(),
)
def test_nodes_that_spend_at_once_never_exceed_the_budget(words, limit, deltas, tells):
    """By no more than a piece each, however many there are; and nothing stays reserved."""
    budget = Budget(tokens=limit)
    models = [Talker(n, tells=tells) for n in words]
    nodes = [OpenAINode(name=str(n), model=m, deltas=deltas) for n, m in enumerate(models)]
    most = 0

    def watch(event):
        nonlocal most
        most = max(most, budget.spent.tokens + budget.reserved.tokens)

    try:
        for _ in Crowd(nodes=nodes).receive("Go!", budget=budget, observe=watch, deltas=True):
            pass
    except (BudgetReached, ExceptionGroup):
        pass
    assert most <= limit + len(words)
    assert budget.spent.tokens <= limit + len(words)
    assert budget.tickets == []
