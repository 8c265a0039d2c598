"""Nodes whose words a model finds: what they hear, keep, say and forget."""

import asyncio

import pytest

from llambdao import Delta, GroupChatNode, MapperNode, Message, Node, NotPermitted, ask, tell, turns
from llambdao.openai import FunctionModel, OpenAINode, ScriptedModel, SummaryNode, TimedOut, offline


def contents(items):
    """The words of the items, instructions left out."""
    return [item["content"] for item in items if item["role"] != "system"]


def sync(conversation):
    """What comes of it, by the plain driver."""
    return [*conversation]


def on_loop(conversation):
    """What comes of it, on an event loop."""

    async def hear():
        return [said async for said in conversation]

    return asyncio.run(hear())


def in_notebook(conversation):
    """What comes of it, by the plain driver where a loop is running."""

    async def cell():
        return [*conversation]

    return asyncio.run(cell())


drivers = pytest.mark.parametrize("drive", [sync, on_loop, in_notebook])


@drivers
@pytest.mark.parametrize("intent", ["chat", "request", "query"])
@pytest.mark.parametrize("deltas", [True, False])
def test_it_answers_on_every_driver(drive, intent, deltas):
    """A chat, a request or a query: one message, signed, in answer, naming the model."""
    rumi = OpenAINode(name="Rumi", model=ScriptedModel("Love is all."), deltas=deltas)
    question = Message("Why?", intent=intent)
    [said] = drive(rumi.receive(question))
    assert (said.content, said.sender, said.reply_to) == ("Love is all.", rumi, question)
    assert said.metadata == {"model": "scripted"}
    assert rumi.messages == [question, said]


@drivers
def test_its_words_come_in_pieces_to_who_asks_for_them(drive):
    """Deltas first, in order; joined they are the message; they are no replies."""
    rumi = OpenAINode(name="Rumi", model=ScriptedModel("Love is all."))
    *pieces, said = drive(rumi.receive("Why?", deltas=True))
    assert [piece.content for piece in pieces] == ["Love", " is", " all."]
    assert all(isinstance(piece, Delta) and piece.sender is rumi for piece in pieces)
    assert said.content == "Love is all."


def test_informed_it_only_listens():
    """It says nothing, and remembers."""
    model = ScriptedModel("Yes.")
    rumi = OpenAINode(name="Rumi", model=model)
    assert [*rumi.receive(Message("It rains.", intent="inform"))] == []
    assert model.requests == []
    ask(rumi, "Does it rain?")
    assert contents(model.requests[0]) == ["It rains.\n\nDoes it rain?"]


def test_it_remembers_a_window_and_counts_the_rest():
    """Its own words among them; how much it has forgotten, it is told."""
    model = ScriptedModel(*map(str, range(5)))
    rumi = OpenAINode(name="Rumi", model=model, window=3)
    for number in range(4):
        ask(rumi, f"q{number}")
    assert contents(model.requests[-1]) == ["q2", "2", "q3"]
    assert "Not shown: 4 earlier messages." in model.requests[-1][0]["content"]
    assert [message.content for message in rumi.messages] == ["2", "q3", "3"]
    assert rumi.forgotten == 5


def test_at_a_table_each_knows_who_is_there():
    """The roster is who chats at the same tables; what each is sent is exact."""
    model = ScriptedModel("Love.", "Water.", "Duty.", "No: water.")
    names = ("Rumi", "Lao Tzu", "Marcus")
    table = GroupChatNode(*(OpenAINode(name=n, model=model) for n in names), until=turns(4))
    table.join(SummaryNode(model=model))
    said = [str(message) for message in table.receive("Why?")]
    assert said == ["Rumi: Love.", "Lao Tzu: Water.", "Marcus: Duty.", "Lao Tzu: No: water."]
    assert model.requests[3] == [
        {
            "role": "system",
            "content": "You are Lao Tzu.\nWith you: Rumi, Marcus.\n"
            "In what you read, a name and a colon stand before the words of each speaker;"
            " a line that begins with > is quoted by that speaker.\n"
            "Answer only as Lao Tzu: speak for nobody else, and put no name before your words.",
        },
        {"role": "user", "content": "someone: Why?"},
        {"role": "assistant", "content": "Water."},
        {"role": "user", "content": "Rumi: Love."},
    ]


def test_it_knows_only_what_it_has_heard():
    """A word to another in private is in nobody else's request."""
    model = ScriptedModel("a", "b")
    ann, bob = OpenAINode(name="Ann", model=model), OpenAINode(name="Bob", model=model)
    MapperNode(ann, bob)
    ask(ann, "A secret.")
    ask(bob, "Hello.")
    assert "secret" not in str(model.requests[1])


def test_be_changes_the_persona_from_the_next_word_on():
    """By the program itself, or by who has the edge that permits it."""
    model = ScriptedModel("1", "2", "3")
    rumi, ann = OpenAINode(name="Rumi", persona="a poet", model=model), Node(name="Ann")
    ask(rumi, "Hi")
    rumi.be("a pirate")
    ask(rumi, "Hi")
    with pytest.raises(NotPermitted):
        tell(rumi, Message("a king", intent="be", sender=ann))
    ann.link(rumi, may={"be"})
    tell(rumi, Message("a king", intent="be", sender=ann))
    ask(rumi, "Hi")
    assert [items[0]["content"].splitlines()[1] for items in model.requests] == [
        "a poet", "a pirate", "a king",
    ]  # fmt: skip


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["Rumi: Love."], "Love."),
        (["Ru", "mi", ":", " ", "Lo", "ve."], "Love."),
        (["\n", "Rumi", ":Love."], "Love."),
        (["Ru", "by."], "Ruby."),
        (["Ru"], "Ru"),
        (["Love. Rumi: I"], "Love. Rumi: I"),
    ],
)
def test_a_name_before_its_words_is_taken_away(pieces, words, deltas):
    """Models do that, though told not to; in whatever pieces it comes."""

    async def speak(messages):
        for piece in pieces:
            yield piece

    rumi = OpenAINode(name="Rumi", model=FunctionModel(speak), deltas=deltas)
    *before, said = rumi.receive("Why?", deltas=True)
    assert said.content == words
    assert "".join(piece.content for piece in before) == (words if deltas else "")


def test_a_model_without_a_word_is_silence():
    """No empty message is said."""
    for deltas in (True, False):
        rumi = OpenAINode(name="Rumi", model=ScriptedModel(" \n"), deltas=deltas)
        assert [*rumi.receive("Why?")] == []


@pytest.mark.parametrize("deltas", [True, False])
def test_a_silent_model_is_an_error_in_time(deltas):
    """Which says how long it was silent, and what to do."""

    async def sleep(messages):
        await asyncio.Event().wait()
        yield "never"

    rumi = OpenAINode(name="Rumi", model=FunctionModel(sleep), timeout=0.01, deltas=deltas)
    with pytest.raises(TimedOut, match=r"silent for 0.01 seconds; .*model=\"offline\""):
        ask(rumi, "Why?")


def test_who_stops_listening_stops_the_model():
    """Its stream is closed, and what was not said is not remembered."""
    closed = []

    async def speak(messages):
        try:
            while True:
                yield "on and "
        finally:
            closed.append(True)

    rumi = OpenAINode(name="Rumi", model=FunctionModel(speak))
    conversation = rumi.receive("Why?", deltas=True)
    assert next(conversation).content == "on and "
    conversation.close()
    assert closed == [True]
    assert [message.content for message in rumi.messages] == ["Why?"]


def test_an_error_of_the_model_is_raised_where_one_waits():
    """In who asks; the next question is answered as if nothing had been."""
    model = ScriptedModel(OSError("gone"), "Back.")
    rumi = OpenAINode(name="Rumi", model=model)
    with pytest.raises(OSError, match="gone"):
        ask(rumi, "Hello?")
    assert ask(rumi, "Hello?").content == "Back."


def test_nobody_needs_a_server(monkeypatch):
    """A node of which nothing is said speaks offline."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with offline():
        assert ask(OpenAINode(), "Hello").metadata["model"] == "offline"


# -- SummaryNode -----------------------------------------------------------------------------------


def inform(node, *words):
    """Tell it these, one by one."""
    ann = Node(name="Ann")
    for word in words:
        tell(node, Message(word, sender=ann, intent="inform"))


@drivers
def test_a_summary_is_kept_before_it_is_said(drive):
    """Also if nobody listens any longer than to the first reply."""
    node = SummaryNode(model=ScriptedModel("They met."))
    inform(node, "Hello")
    question = Message("Summarise.", intent="query")
    [said] = drive(node.receive(question))
    assert (said.content, said.sender, said.reply_to) == ("They met.", node, question)
    assert node.summary is said

    stopped = SummaryNode(model=ScriptedModel("They met."))
    inform(stopped, "Hello")
    conversation = stopped.receive(Message("Summarise.", intent="query"))
    next(conversation)
    conversation.close()
    assert stopped.summary.content == "They met."


def test_it_collects_the_last_24_and_is_told_its_summary_before():
    """What has left the window lives on in the summary; the question comes last."""
    model = ScriptedModel("Much was said.", "And more.")
    node = SummaryNode(name="Minutes", model=model)
    ann = Node(name="Ann")
    for number in range(31):
        if number == 30:
            ask(node, Message("Summarise.", intent="query"))
        tell(node, Message(str(number), sender=ann, intent="inform"))
    ask(node, Message("", intent="query"))
    assert [message.content for message in node.messages] == [str(n) for n in range(7, 31)]
    first, second = model.requests
    assert "earlier" not in first[0]["content"]
    assert second[0]["content"].endswith("\nWhat was said earlier, in short: Much was said.")
    lines = contents(second)[0].split("\n\n")
    assert lines == [*(f"Ann: {n}" for n in range(7, 31)), "someone: Summarise, please."]
    assert node.summary.content == "And more."


def test_a_summary_that_fails_changes_nothing():
    """The one before stays."""
    node = SummaryNode(model=ScriptedModel("They met.", OSError("gone")))
    inform(node, "Hello")
    ask(node, Message("Summarise.", intent="query"))
    with pytest.raises(OSError, match="gone"):
        ask(node, Message("Summarise.", intent="query"))
    assert node.summary.content == "They met."
