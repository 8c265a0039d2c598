"""`Message`: fields, subclasses, kinds, JSON and back, schema, validation."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llambdao import Address, BadMessage, Message, Node, Ref, UnknownKind
from llambdao.kernel.errors import DuplicateKind


class Vote(Message, kind="test.Vote"):
    """A ballot."""

    aye: bool
    weight: int = 1


class Motion(Message):
    """Known by the name of its class."""

    persona: str
    tags: list[str] = []  # msgspec copies it for each message


def test_content_stands_first_and_intent_has_two_spellings():
    """`Message("text", intent="chat")`; `action=` is accepted as the founding document's."""
    assert Message("hello", intent="chat").content == "hello"
    assert Message(content="hello").content == "hello"
    assert Message("hello", action="query").intent == "query"
    assert Message().content == ""


def test_an_unsaid_message_is_blank():
    """Everything else is blank until it is said."""
    message = Message("hello")
    blanks = ("id", "timestamp", "sender", "to", "reply_to", "intent")
    assert {getattr(message, name) for name in blanks} == {None}
    assert dict(message.metadata) == {}


@pytest.mark.parametrize("word", ["intnt", "contents", "volume", "foo"])
def test_an_unknown_keyword_is_an_error(word):
    """A typo is told, and named."""
    with pytest.raises(TypeError, match=word):
        Message("hello", **{word: "x"})


def test_own_fields_are_given_by_keyword():
    """`class Vote(Message): aye: bool`; required ones must be given, others have defaults."""
    vote = Vote("yes!", aye=True)
    assert (vote.content, vote.aye, vote.weight) == ("yes!", True, 1)
    with pytest.raises(TypeError, match="aye"):
        Vote("yes!")


def test_mutable_defaults_are_not_shared():
    """Each message has its own list."""
    one, two = Motion(persona="a"), Motion(persona="b")
    one.tags.append("x")
    assert two.tags == []


def test_constructors_do_not_validate():
    """What the program itself says is trusted: validation is for what comes from outside."""
    assert Vote(aye="perhaps").aye == "perhaps"


def test_kinds():
    """The name of the class, or as given."""
    assert (Message.kind, Vote.kind, Motion.kind) == ("Message", "test.Vote", "Motion")


def test_two_classes_of_one_kind_in_different_modules_are_an_error():
    """Otherwise one would come back as the other."""
    with pytest.raises(DuplicateKind, match=r"test\.Vote.*kind="):
        type(Message)("Vote", (Message,), {"__module__": "elsewhere"}, kind="test.Vote")


def test_a_class_may_be_made_anew_in_its_own_module():
    """As a notebook does, when a cell is run again."""
    for _ in range(2):
        again = type(Message)("Again", (Message,), {"__module__": __name__})
    assert type(Message.parse({"kind": "Again", "content": "x"})) is again


def test_subclasses_of_subclasses():
    """Fields and parsing are inherited."""

    class Weighted(Vote, kind="test.Weighted"):
        reason: str

    vote = Weighted(aye=True, reason="why not")
    back = Weighted.parse(vote.json())
    assert (type(back), back.aye, back.reason) == (Weighted, True, "why not")
    assert type(Vote.parse(vote.json())) is Weighted
    assert type(Message.parse(vote.json())) is Weighted


def test_dict_has_plain_data_only():
    """Who says it by reference, all else by id or as plain data; blanks are left out."""
    ann = Node(name="Ann")
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    before = Message("before", id="m1")
    message = Vote(
        "x",
        aye=True,
        id="m2",
        sender=ann,
        to=Address("b", "Bob", "user"),
        reply_to=before,
        timestamp=when,
        intent="inform",
        metadata={"a": [1, 2], "by": ann},
    )
    assert message.dict() == {
        "kind": "test.Vote",
        "id": "m2",
        "content": "x",
        "intent": "inform",
        "sender": {"id": ann.id, "name": "Ann", "role": "system"},
        "to": "b",
        "reply_to": "m1",
        "timestamp": "2030-01-02T03:04:05Z",
        "metadata": {"a": [1, 2], "by": {"id": ann.id, "name": "Ann", "role": "system"}},
        "aye": True,
        "weight": 1,
    }
    assert json.loads(message.json()) == message.dict()
    assert Message("x").dict() == {"kind": "Message", "content": "x"}


@pytest.mark.parametrize(
    "message",
    [
        Message(),
        Message("hello", id="m1"),
        Message("häß\u2028\n\x00'\"", id="m2", intent="chat", metadata={"ä": None, "b": [1.5, {}]}),
        Vote("x", aye=False, weight=7, id="m3", reply_to=Ref("m0")),
        Motion("x", persona="a pirate", tags=["a", "b"], sender=Address("a"), to=Address("b", "B")),
        Message("x", timestamp=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    ],
)
def test_json_parses_back(message):
    """`Message.parse` gives what `json` and `dict` wrote, as the class that it was."""
    for data in (message.json(), message.json().encode(), message.dict()):
        back = Message.parse(data)
        assert type(back) is type(message)
        assert back.dict() == message.dict()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{"content": 42}', "content"),
        ('{"content": "x", "volume": 11}', "volume"),
        ('{"content": "x", "timestamp": "yesterday"}', "timestamp"),
        ('{"content": "x", "metadata": 3}', "metadata"),
        ('{"content": "x", "intent": ["chat"]}', "intent"),
        ('{"content": "x", "sender": {"nom": "Ann"}}', "sender"),
        ('{"content": "x", "reply_to": {"id": "m1"}}', "reply_to"),
        ('{"kind": "test.Vote", "content": "x"}', "aye"),
        ('{"kind": "test.Vote", "aye": "perhaps"}', "aye"),
        ('{"kind": "test.Vote", "aye": true, "weight": "heavy"}', "weight"),
        ('{"content": "x", "seal": [1, 2, 3]}', "seal"),
        ("[1, 2]", "object"),
        ("not json", "JSON"),
        ("", "JSON"),
        (b"\xff\xfe", "JSON"),
        ('"words"', "object"),
    ],
)
def test_what_comes_from_outside_is_validated(data, words):
    """An error that names the field, and is a `ValueError`."""
    with pytest.raises(BadMessage, match=words) as caught:
        Message.parse(data)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("kind", ["Nonsense", "Node", "", 42, ["Message"], {"a": 1}])
def test_an_unknown_kind_is_an_error(kind):
    """It says which are known."""
    with pytest.raises(UnknownKind, match=r"test\.Vote"):
        Message.parse({"kind": kind, "content": "x"})


def test_parsing_as_a_class_takes_that_class_only():
    """`Vote.parse` of something else is refused; without a kind it is a vote."""
    with pytest.raises(UnknownKind):
        Vote.parse(Message("x").json())
    assert type(Vote.parse('{"aye": true}')) is Vote


def test_a_date_without_a_zone_is_not_taken_for_one_with():
    """Timestamps are aware: a naive one from outside is refused, or read as UTC; never naive."""
    try:
        message = Message.parse('{"content": "x", "timestamp": "2030-01-02T03:04:05"}')
    except BadMessage:
        return
    assert message.timestamp.tzinfo is not None


def test_parsed_metadata_is_read_only():
    """As that of any other message."""
    message = Message.parse('{"content": "x", "metadata": {"a": 1}}')
    with pytest.raises(TypeError):
        message.metadata["a"] = 2


def test_the_json_schema_is_that_of_its_own_fields():
    """For models: content and the fields of one's own; internal fields are hidden."""
    schema = Vote.json_schema()
    assert set(schema["properties"]) == {"aye", "weight"}
    assert "aye" in schema["required"]
    assert schema["properties"]["aye"]["type"] == "boolean"
    json.dumps(schema)


def test_messages_are_proper_fields_of_nodes():
    """Kept as they are; parsed from plain data; validated; in the state by value."""

    class Keeper(Node):
        last: Message | None = None
        votes: list[Vote] = []  # pydantic copies it for each node

    message, vote = Message("x", id="m1"), Vote(aye=True)
    keeper = Keeper(last=message, votes=[vote])
    assert keeper.last is message
    assert keeper.votes[0] is vote
    assert Keeper(last={"content": "y"}).last.content == "y"
    with pytest.raises(ValueError):
        Keeper(votes=[message])
    with pytest.raises(ValueError):
        Keeper(last=42)
    assert keeper.state()["last"]["content"] == "x"
    json.dumps(keeper.state())


def test_str_and_repr_are_short():
    """One line each, whatever the content."""
    message = Message("x" * 10_000, sender=Node(name="Ann"))
    assert "Ann" in str(message)
    assert len(repr(message)) < 11_000
    assert "\n" not in repr(Message("a\nb"))


def test_other_values_in_own_fields_are_written_plainly():
    """Nodes in own fields by reference, dates as text, anything by its own JSON."""

    class Offer(Message, kind="test.Offer"):
        by: Any
        until: datetime
        prices: dict[str, float]

    ann = Node(name="Ann")
    offer = Offer(by=ann, until=datetime(2030, 1, 1, tzinfo=UTC), prices={"tea": 1.5})
    data = json.loads(offer.json())
    assert data["by"] == {"id": ann.id, "name": "Ann", "role": "system"}
    assert data["prices"] == {"tea": 1.5}
    back = Message.parse(offer.json())
    assert (back.until, back.prices) == (offer.until, offer.prices)
