"""Tools are nodes: what a model may call, what comes of it, who has to agree, and typed replies."""

from __future__ import annotations

import asyncio
import inspect
import io
import subprocess
import sys
from typing import Literal

import pytest

import llambdao
from clock import FakeClock
from drivers import every_driver
from llambdao import (
    BadMessage,
    Delta,
    GroupChatNode,
    LimitReached,
    Limits,
    MapperNode,
    Message,
    Misused,
    Node,
    any_of,
    ask,
    intent,
    sleep,
    tell,
    turns,
)
from llambdao.console import ConsoleHumanNode, Screen
from llambdao.openai import (
    Answer,
    Approval,
    BadReply,
    CannotDo,
    FunctionModel,
    IsOffline,
    Model,
    OpenAINode,
    ScriptedModel,
    ToolCall,
    ToolFailed,
    TooManyRounds,
    Usage,
    offline,
)


class Sum(Message):
    a: int
    b: int = 2


class Calculator(Node):
    """Reckons."""

    @intent
    def add(self, message: Sum):
        """Add two numbers."""
        return str(message.a + message.b)

    def query(self, message):
        """Look up a constant."""
        if message.content == "pi":
            return "3.14159"
        raise LookupError(f"no constant {message.content!r}")


class Slow(Node):
    """Answers after some time."""

    seconds: float = 0.0

    def query(self, message):
        yield sleep(self.seconds)
        yield f"{self.name} at {message.content}"


def call(name, arguments="{}", id="1"):  # noqa: A002
    """A model's wish that a tool be called."""
    return ToolCall(id, name, arguments)


def assistant(*lines, **fields):
    """Ann, whose model says these lines."""
    return OpenAINode(**{"name": "Ann", "model": ScriptedModel(*lines), **fields})


def results(node, request=-1):
    """What the model was told of its last calls."""
    items = node.model.requests[request]
    return [item["content"] for item in items if item["role"] == "tool"]


def offered(node):
    """The names of the functions it was offered first."""
    return [tool.name for tool in node.model.asked[0]["tools"]]


# -- what a model may call -------------------------------------------------------------------------


def test_each_intent_is_a_function_with_docstring_and_schema():
    """A typed message gives the parameters; an untyped one is its `content`."""
    ann = assistant("Yes.", tools=[Calculator(name="Calc", persona="exact")])
    ask(ann, "Hello")
    add, query = ann.model.asked[0]["tools"]
    assert (add.name, add.description) == ("Calc_add", "Add two numbers.\nCalc: exact")
    assert add.parameters["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "integer", "default": 2},
    }
    assert add.parameters["required"] == ["a"]
    assert (query.name, query.description) == (
        "Calc_query",
        "Look up a constant.\nCalc: exact",
    )
    assert query.parameters["properties"] == {"content": {"type": "string"}}


def test_linked_nodes_are_tools_and_tables_are_not():
    """Those in `tools` first, then links in order; a table, and `tool=False`, are left out."""
    ann = assistant("Yes.", "Yes.", tools=[Slow(name="A")])
    other = Slow(name="D")
    GroupChatNode(ann, Node(name="Eve"))
    ann.link(Slow(name="C"))
    ann.link(Slow(name="B"), trust=0.9)
    ann.link(other, tool=False)
    ask(ann, "Hello")
    assert offered(ann) == ["A_query", "C_query", "B_query"]
    without = assistant("Yes.")
    ask(without, "Hello")
    assert without.model.asked == [{"tools": (), "says": None}]


def test_a_function_has_a_name_that_servers_take_and_no_other_has():
    """Letters, digits, _ and -, at most 64, unique, the same each time."""
    names = ["Lao Tzu", "Lao.Tzu", "老子", "x" * 90, "x" * 91]
    ann = assistant("Yes.", tools=[Slow(name=name) for name in names])
    ask(ann, "Hello")
    assert offered(ann) == [
        "Lao_Tzu_query", "Lao_Tzu_query_2", "query", "x" * 64, "x" * 62 + "_2",
    ]  # fmt: skip


class Custom(OpenAINode):
    """A model that can do something else, too."""

    @intent
    def sing(self, message):
        """Sing of it."""
        return "la"


class Guarded(Node):
    def be(self, message):
        """Changes who it is."""

    def do(self, message):
        """Does it."""

    request = do


class Everything(Node):
    """Takes whatever comes."""

    def receive(self, message):
        return message.intent


def test_a_node_of_the_library_is_one_question():
    """A person, a model or a network is asked one way; what a class of one's own adds comes too."""
    tools = [
        OpenAINode(name="Model", persona="a poet", model="echo"),
        MapperNode(Slow(name="A"), Slow(name="B"), name="Network"),
        ConsoleHumanNode(name="Person"),
        Custom(name="Custom", model="echo"),
        Guarded(name="Guarded"),
        Everything(name="All"),
    ]
    ann = assistant("Yes.", tools=tools)
    ask(ann, "Hello")
    assert offered(ann) == [
        "Model_request", "Network_request", "Person_request", "Custom_request", "Custom_sing",
        "Guarded_do", "All_request",
    ]  # fmt: skip
    texts = [tool.description for tool in ann.model.asked[0]["tools"]]
    assert texts[0].endswith("Model: a poet")
    assert texts[1].endswith("Network is made of A, B.")
    assert texts[2].endswith("Person is a person.")
    assert texts[6] == "Takes whatever comes."


def test_a_class_of_messages_is_found_where_its_name_is_gone():
    """Annotations are text under `from __future__`: a local class is known by its kind."""

    class Local(Message, kind="Local"):
        word: Literal["yes", "no"]

    class Taker(Node):
        def do(self, message: Local):
            return message.word

    ann = assistant(call("Taker_do", '{"word": "no"}'), "Fine.", tools=[Taker()])
    ask(ann, "Hello")
    assert results(ann) == ["no"]
    assert ann.model.asked[0]["tools"][0].parameters["properties"]["word"]["enum"] == ["no", "yes"]


def test_a_model_that_knows_no_tools_says_so():
    """Before anything is asked; without tools it goes on as ever."""

    class Shy(Model):
        async def stream(self, messages):
            yield "Um."

    assert ask(OpenAINode(model=Shy()), "Hello").content == "Um."
    with pytest.raises(CannotDo, match="tools"):
        ask(OpenAINode(model=Shy(), tools=[Slow()]), "Hello")


# -- what comes of a call --------------------------------------------------------------------------


@every_driver
@pytest.mark.parametrize("deltas", [True, False])
def test_a_call_is_a_question_and_its_answer_goes_back(drive, deltas):
    """On every driver: the model hears the result, and answers; only that is said."""
    ann = assistant(
        ("One ", "moment.", call("Calculator_add", '{"a": 40}')),
        "That makes 42.",
        tools=[Calculator()],
        deltas=deltas,
    )
    assert drive(lambda: ann.receive("40 + 2?")).contents == ["That makes 42."]
    assert ann.model.requests[1][1:] == [
        {"role": "user", "content": "40 + 2?"},
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "Calculator_add", "arguments": '{"a": 40}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]


def test_calls_at_once_are_asked_at_once_and_answered_in_their_order():
    """Three seconds and one are three; the slow one's result still comes first."""
    clock = FakeClock()
    both = (call("A_query", '{"content": "x"}', "1"), call("B_query", '{"content": "y"}', "2"))
    ann = assistant(both, "Done.", tools=[Slow(name="A", seconds=3), Slow(name="B", seconds=1)])
    assert ask(ann, "Go", clock=clock).content == "Done."
    assert clock.seconds == 3
    assert results(ann) == ["A at x", "B at y"]


def test_calls_without_an_id_get_one_each():
    """Some servers give none, or the same for all: each result is still for its call."""
    calls = tuple(
        call("Calculator_add", f'{{"a": {n}}}', id)
        for n, id in enumerate(("", "", "x", "x"))  # noqa: A001
    )
    ann = assistant(calls, "Done.", tools=[Calculator()])
    ask(ann, "Go")
    items = ann.model.requests[1]
    assert [(i["tool_call_id"], i["content"]) for i in items if i["role"] == "tool"] == [
        ("call_1", "2"), ("call_2", "3"), ("x", "4"), ("call_4", "5"),
    ]  # fmt: skip


WRONG = {
    "unknown": (
        call("Calculator_multiply"),
        (
            "error: no function is called 'Calculator_multiply'; there are: Calculator_add,"
            " Calculator_query"
        ),
    ),
    "no JSON": (
        call("Calculator_add", "{a: 1}"),
        (
            "error: the arguments are no JSON: Expecting property name enclosed in double quotes:"
            " line 1 column 2 (char 1)"
        ),
    ),
    "no object": (
        call("Calculator_add", "[1]"),
        "error: the arguments are to be a JSON object, not [1]",
    ),
    "missing": (
        call("Calculator_add", ""),
        "error: Sum: Object missing required field `a`",
    ),
    "wrong type": (
        call("Calculator_add", '{"a": "one"}'),
        "error: Sum: Expected `int`, got `str` - at `$.a`",
    ),
    "forged": (
        call("Calculator_add", '{"a": 1, "sender": {"id": "boss"}}'),
        "error: Sum has no field 'sender'; it has a, b",
    ),
    "another intent": (
        call("Calculator_query", '{"content": "pi", "intent": "add"}'),
        "error: Message has no field 'intent'; it has content",
    ),
}


@pytest.mark.parametrize(("wrong", "told"), WRONG.values(), ids=WRONG)
def test_a_call_that_cannot_be_made_is_told_to_the_model(wrong, told):
    """It is not raised, and the others are made: the model may mend it."""
    right = call("Calculator_add", '{"a": 1, "b": null}', "2")
    ann = assistant((wrong, right), "Sorry.", tools=[Calculator()])
    assert ask(ann, "Go").content == "Sorry."
    assert results(ann) == [told, "3"]


class Mute(Node):
    def do(self, message):
        """Do it, without a word."""


def test_silence_is_an_answer():
    """A tool that does its work and says nothing has not failed."""
    ann = assistant(call("Mute_do", '{"content": "it"}'), "Done.", tools=[Mute()])
    ask(ann, "Go")
    assert results(ann) == ["(done, without a word)"]


def test_a_tool_that_raises_is_told_to_the_model_once():
    """It may try otherwise; called just so again, that is the program's error, with its cause."""
    lost = call("Calculator_query", '{"content": "tau"}')
    ann = assistant(lost, call("Calculator_query", '{"content": "pi"}'), "3.", tools=[Calculator()])
    assert ask(ann, "Go").content == "3."
    assert results(ann, 1) == ["error: LookupError: no constant 'tau'"]

    eve = assistant(lost, lost, "3.", tools=[Calculator()])
    with pytest.raises(
        ToolFailed, match=r"Calculator_query.*raised LookupError.*just so"
    ) as caught:
        ask(eve, "Go")
    assert isinstance(caught.value.__cause__, LookupError)
    assert len(eve.model.requests) == 2


def test_one_that_raises_does_not_end_the_others():
    """Their results come, in order."""
    clock = FakeClock()
    calls = (
        call("Calculator_query", '{"content": "e"}', "1"),
        call("Slow_query", '{"content": "x"}', "2"),
    )
    ann = assistant(calls, "Done.", tools=[Calculator(), Slow(name="Slow", seconds=5)])
    ask(ann, "Go", clock=clock)
    assert results(ann) == ["error: LookupError: no constant 'e'", "Slow at x"]


def test_calling_on_and_on_is_an_error():
    """After so many rounds; eight, unless it says otherwise."""
    again = call("Calculator_add", '{"a": 1}')
    for rounds in (0, 2):
        ann = assistant(*[again] * 9, tools=[Calculator()], rounds=rounds)
        with pytest.raises(
            TooManyRounds, match=rf"after {rounds} rounds of calls; .*rounds=\.\.\."
        ):
            ask(ann, "Go")
        assert len(ann.model.requests) == rounds + 1
    ann = assistant(*[again] * 8, "Done.", tools=[Calculator()])
    assert ask(ann, "Go").content == "Done."


class Endless(Node):
    def query(self, message):
        """Count."""
        while True:
            yield "one more"


def test_a_limit_is_not_told_to_the_model_but_ends_it_all():
    """What the conversation may use up is not the model's to reason about."""
    ann = assistant(call("Endless_query", '{"content": ""}'), "Never.", tools=[Endless()])
    with pytest.raises(LimitReached):
        ask(ann, "Go", limits=Limits(messages=50))
    assert len(ann.model.requests) == 1


def test_no_real_request_is_hidden_in_a_tool():
    """Inside `with offline()` a tool that would make one raises all the way."""
    other = OpenAINode(name="Eve", model="ollama:llama3")
    ann = assistant(call("Eve_request", '{"content": "?"}'), "Never.", tools=[other])
    with offline(), pytest.raises(IsOffline):
        ask(ann, "Go")


# -- who may be a tool -----------------------------------------------------------------------------


def test_a_person_may_be_a_tool():
    """She is asked, and her words are the result."""
    person = ConsoleHumanNode(name="Bob", screen=Screen(io.StringIO("Tea.\n"), io.StringIO()))
    ann = assistant(call("Bob_request", '{"content": "Tea or coffee?"}'), "Tea.", tools=[person])
    ask(ann, "What does Bob want?")
    assert results(ann) == ["Tea."]


def test_a_network_may_be_a_tool():
    """Every reply comes back, with its speaker; of a node, only the last."""
    network = MapperNode(
        OpenAINode(name="Rumi", model=ScriptedModel("Love.")),
        OpenAINode(name="Lao Tzu", model=ScriptedModel("Water.")),
        name="Sages",
    )
    ann = assistant(call("Sages_request", '{"content": "Why?"}'), "I see.", tools=[network])
    ask(ann, "Why?")
    assert results(ann) == ["Rumi: Love.\nLao Tzu: Water."]


def test_a_model_may_be_a_tool_that_has_tools():
    """And hears who asks."""
    inner = assistant(
        call("Calculator_add", '{"a": 1}'), "Three.", name="Eve", tools=[Calculator()]
    )
    ann = assistant(call("Eve_request", '{"content": "1+2?"}'), "It is three.", tools=[inner])
    assert ask(ann, "1+2?").content == "It is three."
    assert inner.messages[0].sender == ann


def test_a_typed_answer_comes_back_as_its_fields():
    """As JSON."""

    class Point(Message, kind="test.Point"):
        x: int

    class Finder(Node):
        def query(self, message):
            """Find it."""
            return Point(x=3)

    ann = assistant(call("Finder_query", '{"content": "it"}'), "There.", tools=[Finder()])
    ask(ann, "Where?")
    assert results(ann) == ['{"x": 3}']


# -- memory, pieces, time --------------------------------------------------------------------------


def test_what_was_called_is_remembered_whole():
    """The next request shows the calls with their results; what leaves the window leaves whole."""
    two = (call("Calculator_add", '{"a": 1}', "1"), call("Calculator_add", '{"a": 2}', "2"))
    ann = assistant(two, "3 and 4.", "Yes.", tools=[Calculator()], window=6)
    ask(ann, "Go")
    assert [m.content for m in ann.messages] == ["Go", "", "3", "4", "3 and 4."]
    ask(ann, "Sure?")
    assert [i["role"] for i in ann.model.requests[2]] == [
        "system", "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip
    assert [m.content for m in ann.messages] == ["", "3", "4", "3 and 4.", "Sure?", "Yes."]
    tell(ann, Message("Oh.", intent="inform"))
    assert [m.content for m in ann.messages] == ["3 and 4.", "Sure?", "Yes.", "Oh."]
    assert ann.forgotten == 4


def test_the_question_stays_in_sight_however_often_it_calls():
    """What this answer brought is beside the window."""
    again = call("Calculator_add", '{"a": 1}')
    ann = assistant(*[again] * 4, "3.", tools=[Calculator()], window=1)
    ask(ann, "The question")
    roles = [item["role"] for item in ann.model.requests[-1]]
    assert roles == ["system", "user", *["assistant", "tool"] * 4]


def test_an_answer_that_fails_leaves_what_was_called_in_memory():
    """What was done was done."""
    ann = assistant(call("Calculator_add", '{"a": 1}'), OSError("gone"), "3.", tools=[Calculator()])
    with pytest.raises(OSError, match="gone"):
        ask(ann, "Go")
    assert [m.content for m in ann.messages] == ["Go", "", "3"]


@every_driver
def test_pieces_come_of_all_it_says_on_the_way(drive):
    """Of what it says before its calls, too; the message is what it says last."""
    ann = assistant(
        ("Let me ", "see. ", call("Calculator_add", '{"a": 1}')), ("Three", "."),
        tools=[Calculator()],
    )  # fmt: skip
    heard = drive(lambda: ann.receive("Go", deltas=True)).replies
    assert [(type(one), one.content) for one in heard] == [
        *((Delta, piece) for piece in ("Let me ", "see. ", "Three", ".")),
        (Message, "Three."),
    ]


def test_the_usage_of_all_requests_is_in_the_metadata():
    """Added up."""
    ann = OpenAINode(
        model=ScriptedModel(
            call("Calculator_add", '{"a": 1}'), "3.", usage=Usage("m", 10, 5, cached_tokens=1)
        ),
        tools=[Calculator()],
    )
    assert ask(ann, "Go").metadata == {
        "model": "scripted", "input_tokens": 20, "output_tokens": 10, "cached_tokens": 2,
        "tokens": 30, "requests": 2, "usd": 0.0,
    }  # fmt: skip


class Secretary(Node):
    """Asks the one who asked it, before it answers."""

    def query(self, message):
        """Ask the secretary."""
        said = yield message.sender.ask("Which one?", intent="query")
        return f"The {said.content}"


def test_while_a_tool_works_its_asker_can_be_asked():
    """It is not deaf meanwhile; its own answer comes after."""
    ann = assistant(
        call("Secretary_query", '{"content": "it"}'), "first", "It is the first.",
        tools=[Secretary()],
    )  # fmt: skip
    assert ask(ann, "Go").content == "It is the first."
    assert results(ann) == ["The first"]


def test_while_a_model_thinks_nobody_else_is_let_in():
    """Who is spoken to meanwhile hears it when it has said what it thought, and knows that."""
    order = []

    async def think(messages):
        order.append(f"begins {messages[-1]['content']}")
        await asyncio.sleep(0)
        order.append("ends")
        return "Hm."

    ann = OpenAINode(name="Ann", model=FunctionModel(think))

    class Pair(Node):
        def chat(self, message):
            yield ann.ask("a") & ann.ask("b")

    tell(Pair(), "Go")
    assert order == ["begins a", "ends", "begins b", "ends"]
    assert [m.content for m in ann.messages] == ["a", "Hm.", "b", "Hm."]


def test_thinking_that_is_given_up_lets_others_in():
    """One that is out of time leaves the node free."""

    async def think(messages):
        if messages[-1]["content"] == "a":
            await asyncio.Event().wait()
        return "Yes."

    ann = OpenAINode(name="Ann", model=FunctionModel(think))

    class Hasty(Node):
        def chat(self, message):
            yield any_of(ann.ask("a"), llambdao.call(asyncio.sleep, 0))
            said = yield ann.ask("b")
            yield said.content

    assert ask(Hasty(), "Go").content == "Yes."


def test_who_stops_listening_stops_the_tools():
    """What runs on its behalf is cancelled."""
    ended = []

    class Stuck(Node):
        def query(self, message):
            """Wait."""
            try:
                yield "begun"
                yield sleep(1000)
            finally:
                ended.append(self.name)

    ann = assistant(call("A_query", '{"content": ""}'), tools=[Stuck(name="A")])

    class Hasty(Node):
        def chat(self, message):
            yield any_of(ann.ask("Go"), sleep(1))

    tell(Hasty(), "Go", clock=FakeClock())
    assert ended == ["A"]


@pytest.mark.parametrize("name", ["chat", "request", "query"])
def test_its_handlers_do_nothing_but_yield(name):
    """They are generators: so a journal can replay them."""
    assert inspect.isgeneratorfunction(getattr(OpenAINode, name))


# -- approval --------------------------------------------------------------------------------------


class Bank(Node):
    paid: int = 0

    @intent
    def pay(self, message: Sum):
        """Pay a sum."""
        self.paid = self.paid + message.a
        return f"paid {message.a}"

    @intent
    def balance(self, message):
        """See what is left."""
        return "100"


class Voter(Node):
    """Says what it was made to say, and keeps what it was asked."""

    says: str | None = "yes"

    def request(self, message):
        self.asked = message
        if self.says is None:
            raise OSError("asleep")
        return self.says or None


PAY = call("Bank_pay", '{"a": 5}')


def test_a_person_sees_what_is_to_be_called_and_agrees():
    """Shown whole, with who asks; only then is it called."""
    out = io.StringIO()
    bob = ConsoleHumanNode(name="Bob", screen=Screen(io.StringIO("yes\n"), out))
    bank = Bank()
    ann = assistant(PAY, "Paid.")
    ann.link(bank, approve=bob)
    assert ask(ann, "Pay 5!").content == "Paid."
    assert 'Ann: May I use Bank: pay({"a": 5})? Answer yes or no.' in out.getvalue()
    assert (bank.paid, results(ann)) == (5, ["paid 5"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("no", "refused by Bob: no"),
        ("Not\nbefore noon.", "refused by Bob: Not before noon."),
        ("yes, but not 5", "refused by Bob: yes, but not 5"),
        ("What for?", "refused by Bob: What for?"),
        ("", "refused by Bob (no answer)"),
        (None, "refused by Bob (no answer)"),
    ],
)
def test_a_refusal_is_what_the_model_hears(words, told):
    """With who refused, and what was said; the tool is not called."""
    bank, bob = Bank(), Voter(name="Bob", says=words)
    ann = assistant(PAY, "I may not.", tools=[bank])
    ann.link(bank, approve=bob)
    assert ask(ann, "Pay 5!").content == "I may not."
    assert (bank.paid, results(ann)) == (0, [told])


@pytest.mark.parametrize("words", ["yes", "Yes!", "OK", "okay, go ahead", "Sure.", "aye", "y"])
def test_a_yes_may_be_worded_otherwise(words):
    """As long as nothing is held back."""
    bank = Bank()
    ann = assistant(PAY, "Paid.")
    ann.link(bank, approve=Voter(name="Bob", says=words))
    ask(ann, "Pay 5!")
    assert bank.paid == 5


@pytest.mark.parametrize(
    ("votes", "told"),
    [
        (("yes", "yes", "no"), "paid 5"),
        (("yes", "no", "too much"), "refused, 1 of 3 agreed; against: B: no; C: too much"),
        (("yes", None), "refused, 1 of 2 agreed; against: B (no answer)"),
    ],
)
@pytest.mark.parametrize("as_network", [False, True])
def test_several_vote_and_more_than_half_decide(votes, told, as_network):
    """A list of nodes, or a network of them; who says nothing in a list is against."""
    if as_network and None in votes:
        votes, told = (*votes[:-1], ""), "paid 5"  # in a network those vote who speak
    voters = [Voter(name=name, says=vote) for name, vote in zip("ABC", votes, strict=False)]
    ann = assistant(PAY, "So be it.")
    ann.link(Bank(), approve=MapperNode(*voters) if as_network else voters)
    ask(ann, "Pay 5!")
    assert results(ann) == [told]


def test_approval_may_be_of_some_functions_only():
    """A dict by the name of the function."""
    bob = Voter(name="Bob", says="no")
    both = (PAY, call("Bank_balance", '{"content": ""}', "2"))
    ann = assistant(both, "100.")
    ann.link(Bank(), approve={"pay": bob})
    ask(ann, "Go")
    assert results(ann) == ["refused by Bob: no", "100"]


def test_code_approves_by_the_fields_of_the_question():
    """`Approval` has the tool, the function and the arguments; a message with `aye` answers it."""

    class Vote(Message, kind="test.tools.Vote"):
        aye: bool

    class Rule(Node):
        def request(self, message):
            assert isinstance(message, Approval)
            return Vote(aye=(message.tool, message.function) == ("Bank", "pay"))

    ann = assistant((PAY, call("Bank_balance", '{"content": ""}', "2")), "So.")
    ann.link(Bank(), approve=Rule(name="Rule"))
    ask(ann, "Go")
    assert results(ann) == ["paid 5", "refused by Rule"]


def test_nobody_is_asked_about_a_call_that_cannot_be_made():
    """And what is shown hides nothing: no line breaks, no marks that turn text round."""
    bob = Voter(name="Bob")
    ann = assistant(
        (call("Bank_pay", "{}", "1"), call("Bank_pay", '{"a":\n5}\u202e', "2")), "Sorry."
    )
    ann.link(Bank(), approve=bob)
    ask(ann, "Go")
    assert not hasattr(bob, "asked")

    sly = assistant(call("Bank_balance", '{"content": "a\\n\u202eb"}'), "So.")
    sly.link(Bank(), approve=bob)
    ask(sly, "Go")
    assert bob.asked.content == (
        'May I use Bank: balance({"content": "a\\n\\u202eb"})? Answer yes or no.'
    )


def test_approval_by_what_is_no_node_is_an_error():
    """Before the model is asked."""
    for approve in ("Bob", 5, [1]):
        ann = assistant("Yes.")
        ann.link(Bank(), approve=approve)
        with pytest.raises(Misused, match="approve= names who is asked"):
            ask(ann, "Go")
        assert ann.model.requests == []


# -- typed replies ---------------------------------------------------------------------------------


class Verdict(Message):
    winner: Literal["Ann", "Bob"]
    points: int = 0


@every_driver
def test_a_reply_may_be_typed(drive):
    """The model is asked for its fields, and what is said has them; it is signed as ever."""
    judge = assistant('{"winner": "Bob", "points": 3}', name="Judge", says=Verdict)
    question = Message("Who wins?")
    [said] = drive(lambda: judge.receive(question, deltas=True)).replies
    assert (type(said), said.winner, said.points) == (Verdict, "Bob", 3)
    assert (said.sender, said.reply_to, said.metadata["model"]) == (judge, question, "scripted")
    assert judge.model.asked[0]["says"]["name"] == "Verdict"
    assert judge.model.asked[0]["says"]["schema"] == Verdict.json_schema()


@pytest.mark.parametrize(
    "words",
    [
        '```json\n{"winner": "Bob"}\n```',
        'My verdict:\n\n{"winner": "Bob"}',
        ' {"winner": "Bob", "points": null}\n',
        'Judge: {"winner": "Bob"}',
    ],
)
def test_what_models_put_round_json_is_taken_off(words):
    """A fence, a word before it."""
    judge = assistant(words, name="Judge", says=Verdict)
    assert ask(judge, "Who wins?").winner == "Bob"


UNFIT = {
    "words": ("Bob wins.", "expected Verdict as a JSON object, which 'Bob wins.' is not"),
    "a value": ('{"winner": "Eve"}', "Verdict: Invalid enum value 'Eve' - at `$.winner`"),
    "a field": (
        '{"winner": "Bob", "sender": "Ann"}',
        "Verdict has no field 'sender'; it has winner, points",
    ),
    "a list": ('["Bob"]', "expected an object with the fields of Verdict, but got ['Bob']"),
}


@pytest.mark.parametrize(("words", "why"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_mended_once(words, why):
    """The model is told what was wrong; a second time is an error, of both families."""
    judge = assistant(words, '{"winner": "Bob"}', name="Judge", says=Verdict)
    assert ask(judge, "Who wins?").winner == "Bob"
    told = judge.model.requests[1][-1]["content"]
    assert f"That was no Verdict: {why}. Say it again as one JSON object that fits" in told
    assert [m.content for m in judge.messages] == ["Who wins?", ""]

    stubborn = assistant(words, words, name="Judge", says=Verdict)
    with pytest.raises(BadReply, match="asked for Verdict, and told what was wrong") as caught:
        ask(stubborn, "Who wins?")
    assert isinstance(caught.value, BadMessage)
    assert (caught.value.text, why in str(caught.value)) == (words, True)
    assert len(stubborn.model.requests) == 2


def test_a_judge_may_use_tools_before_the_verdict():
    """Both at once."""
    judge = assistant(
        call("Calculator_add", '{"a": 1}'), '{"winner": "Ann"}', says=Verdict, tools=[Calculator()]
    )
    assert ask(judge, "Who wins?").winner == "Ann"


def test_a_typed_reply_is_heard_at_a_table():
    """Others hear its fields."""
    judge = assistant('{"winner": "Ann"}', '{"winner": "Bob"}', name="Judge", says=Verdict)
    ann = assistant("I say no.", "Well.")
    said = [*GroupChatNode(ann, judge, until=turns(4)).receive("Speak.")]
    assert [type(one) for one in said] == [Message, Verdict, Verdict, Message]
    assert ann.model.requests[1][-1]["content"] == 'Judge: > Verdict {"winner": "Ann", "points": 0}'


def test_what_is_no_class_of_messages_is_refused():
    """When the node is made."""
    for says in ("Verdict", Verdict(winner="Ann"), int):
        with pytest.raises(Misused, match="says= takes a class of messages"):
            OpenAINode(says=says)


def test_the_offline_voice_fills_in_what_is_asked():
    """So that a typed program runs without a model."""
    assert ask(OpenAINode(model="offline", says=Verdict), "Who?").winner in ("Ann", "Bob")


def test_a_whole_answer_may_have_calls_and_no_words():
    """As servers give it."""
    ann = assistant(Answer("", (call("Calculator_add", '{"a": 1}'),)), "3.", tools=[Calculator()])
    assert ask(ann, "Go").content == "3."


# -- after a crash ---------------------------------------------------------------------------------


PROGRAM = '''
import asyncio, os, sys
from llambdao import Message, Node, call
from llambdao.openai import FunctionModel, OpenAINode, ToolCall
from llambdao.runtime import Runtime


def note(line):
    with open("log.txt", "a") as file:
        file.write(line + "\\n")


async def work(what):
    note(f"tool {what}")
    if what == "second" and sys.argv[1] == "crash":
        os._exit(9)
    return what


class Tool(Node):
    def query(self, message):
        """Do it."""
        return (yield call(work, message.content))


class Boss(Node):
    def request(self, message):
        return "yes"


def think(messages, tools):
    called = sum(item["role"] == "tool" for item in messages)
    note(f"request {called + 1}")
    if called == 2:
        return f"Done: {messages[-1]['content']}."
    word = ("first", "second")[called]
    return ToolCall(str(called), "Tool_query", '{"content": "%s"}' % word)


ann, tool = OpenAINode(name="Ann", model=FunctionModel(think)), Tool(name="Tool")
ann.link(tool, approve=Boss(name="Boss"))


async def main():
    boss = ann.edges[tool.id].metadata["approve"]
    async with Runtime(ann, tool, boss, journal="sqlite:///room.db") as runtime:
        if sys.argv[1] == "crash":
            await runtime.tell(ann, Message("Go", id="m1"))
        await runtime.settle()
        print(ann.messages[-1].content)


asyncio.run(main())
'''


def test_after_a_crash_nothing_is_asked_again_that_had_answered(tmp_path):
    """Killed in the middle of a tool, it goes on there: only that tool is called a second time."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    runs = [
        subprocess.run(
            [sys.executable, program, word], cwd=tmp_path, capture_output=True, text=True
        )
        for word in ("crash", "go on")
    ]
    assert [(run.returncode, run.stdout) for run in runs] == [(9, ""), (0, "Done: second.\n")]
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        "request 1", "tool first", "request 2", "tool second", "tool second", "request 3",
    ]  # fmt: skip
