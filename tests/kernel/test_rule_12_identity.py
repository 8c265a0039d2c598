"""Rule 12: nodes, addresses and messages are equal by id; whatever leaves, leaves by reference."""

import copy
import json
import pickle
from typing import Any

import pytest
from pydantic import Field, SecretStr

from llambdao import Address, MapperNode, Message, NoAnswer, Node, Ref, Unreachable


class Keeper(Node):
    """Has secrets, friends, and things that are nobody's business."""

    password: str = "hunter2"
    key: SecretStr = SecretStr("s3cret-key")
    hidden: str = Field("excluded-value", exclude=True)
    friend: Any = None
    friends: list[Node] = Field(default_factory=list)

    def chat(self, message):
        yield Message("hello", metadata={"by": self, "about": message})


PRIVATE = ("hunter2", "s3cret-key", "excluded-value", "undeclared-value")


def keeper():
    """A keeper with a friend, an edge and an attribute that is not declared."""
    node = Keeper(name="Ann", friend=Keeper(name="Bob"), friends=[Keeper(name="Eve")])
    node.extra = "undeclared-value"
    node.link(node.friend, why="undeclared-value")
    return node


def test_nodes_are_equal_by_id():
    """Rule 12: two of the same fields are two; one is equal to itself and to its address."""
    one, two = Keeper(name="Ann"), Keeper(name="Ann")
    assert one != two
    assert one == one  # noqa: PLR0124  # that is the question
    assert one == one.address
    assert one.address == one
    assert hash(one) == hash(one.address)
    assert len({one, two, one.address}) == 2
    assert one.address != two


def test_ids_of_nodes_are_unique_and_stay():
    """Rule 12: an id for each, the same for all its life."""
    nodes = [Node() for _ in range(1000)]
    ids = [node.id for node in nodes]
    assert len(set(ids)) == 1000
    assert [node.id for node in nodes] == ids


def test_the_address_has_id_name_and_role_only():
    """Rule 12: that is all that others need to know of a node."""
    node = keeper()
    assert node.address == Address(node.id, "Ann", "system")
    assert node.address.dict() == {"id": node.id, "name": "Ann", "role": "system"}


def test_an_address_is_not_equal_to_something_else():
    """Rule 12: not to its id, not to None, not to a message of that id."""
    address = Address("a1")
    assert address != "a1"
    assert address != None  # noqa: E711  # that is the question
    assert address != Message("x", id="a1")
    assert Message("x", id="a1") != address


def test_messages_are_equal_by_id():
    """Rule 12: and a `Ref` stands for its message."""
    one, two = Message("x", id="m1"), Message("y", id="m1")
    assert one == two
    assert hash(one) == hash(two)
    assert Message("x", id="m1") != Message("x", id="m2")
    assert Ref("m1") == one
    assert one == Ref("m1")
    assert hash(Ref("m1")) == hash(one)


def test_messages_not_yet_said_are_equal_only_to_themselves():
    """Rule 12: without an id two messages are two."""
    one, two = Message("x"), Message("x")
    assert one != two
    assert one == one  # noqa: PLR0124  # that is the question
    assert len({one, two}) == 2


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        lambda node: str(node.dict()),
        lambda node: str(node.model_dump()),
        lambda node: str(node.model_dump(mode="json")),
        lambda node: node.json(),
        lambda node: node.model_dump_json(),
        lambda node: str(node.address),
        lambda node: repr(node.address),
    ],
)
def test_a_node_is_written_by_reference_only(write):
    """Rule 12: `str`, `repr`, `dict()`, `model_dump()`, JSON: no field, no edge, no secret."""
    text = write(keeper())
    assert "Ann" in text
    for secret in (*PRIVATE, "Bob", "Eve"):
        assert secret not in text


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        lambda said: str(said.dict()),
        lambda said: said.json(),
        lambda said: str(said.model_dump()),
        lambda said: said.model_dump_json(),
    ],
)
def test_a_message_is_written_by_reference_only(write):
    """Rule 12: whoever said it, to whom, in answer to what, and in its metadata."""
    ann = keeper()
    (said,) = ann.receive(Message("opening words", sender=keeper(), metadata={"x": ann}))
    text = write(said)
    assert "hello" in text
    for secret in (*PRIVATE, "Bob", "Eve", "opening words"):
        assert secret not in text


def test_no_ancestry():
    """Rule 12: the JSON of the last of a long thread is as short as that of the first."""
    said = Message("0", id="m0")
    for number in range(1, 1000):
        said = Message(str(number), id=f"m{number}", reply_to=said)
    assert json.loads(said.json())["reply_to"] == "m998"
    assert len(said.json()) < 300
    assert len(repr(said)) < 500


def test_state_is_the_snapshot_of_the_declared_fields():
    """Rule 12: nodes in it by address; secrets, excluded and undeclared things never."""
    ann = keeper()
    state = ann.state()
    assert state["password"] == "hunter2"
    assert state["friend"] == {"id": ann.friend.id, "name": "Bob", "role": "system"}
    assert [friend["name"] for friend in state["friends"]] == ["Eve"]
    for secret in PRIVATE[1:]:
        assert secret not in str(state)
    json.dumps(state)


def test_secrets_inside_other_fields_stay_secret():
    """Rule 12: a secret in a list or a dictionary is a secret."""

    class Safe(Node):
        keys: list[SecretStr]
        by_name: dict[str, SecretStr]

    safe = Safe(keys=[SecretStr("s3cret")], by_name={"a": SecretStr("s3cret")})
    assert "s3cret" not in str(safe.state())
    assert "s3cret" not in repr(safe)


def test_a_network_is_written_by_reference_too():
    """Rule 12: nor do members leave with it, and circles are no trouble."""
    network = MapperNode(keeper(), name="table")
    assert json.loads(network.json()) == {"id": network.id, "name": "table", "role": "system"}
    assert "hunter2" not in repr(network)
    assert [member["name"] for member in network.state()["members"]] == ["Ann"]


def test_the_json_of_a_message_parses_back():
    """Rule 12: to an address as sender and a `Ref` as what it answers: claims, not nodes."""
    ann = keeper()
    (said,) = ann.receive(Message("go"))
    back = Message.parse(said.json())
    assert back == said
    assert isinstance(back.sender, Address)
    assert back.sender == ann
    assert isinstance(back.reply_to, Ref)
    assert back.reply_to == said.reply_to
    assert (back.content, back.intent, back.timestamp) == ("hello", "chat", said.timestamp)


def test_an_address_can_be_a_sender_but_is_no_node():
    """Rule 12: it lives elsewhere: nothing here reaches it, and the error says so."""

    class Peer(Node):
        def request(self, message):
            answer = yield Message("?", intent="query")
            return answer

    stranger = Address("n1", "Stranger")
    with pytest.raises((Unreachable, NoAnswer), match="Stranger"):
        list(Peer().receive(Message("go", sender=stranger, intent="request")))


def test_a_node_can_be_copied_but_is_another():
    """Rule 12: `copy.copy` gives one with the same fields, an id of its own and no edges."""
    ann = keeper()
    other = copy.copy(ann)
    assert other != ann
    assert other.password == ann.password
    assert other.edges == {}


def test_a_message_is_never_copied():
    """Rule 12: it never changes, so its copy is itself."""
    said = Message("hello", sender=keeper())
    assert copy.copy(said) is said
    assert copy.deepcopy(said) is said
    assert copy.deepcopy([said])[0] is said


def test_a_pickled_message_carries_references_only():
    """Rule 12: pickle, too, writes no node's fields."""
    (said,) = keeper().receive("go")
    data = pickle.dumps(said)
    assert b"hunter2" not in data
    assert pickle.loads(data) == said


def test_an_error_shows_no_secret():
    """Rule 12: nor do the messages of errors that name nodes."""
    with pytest.raises(LookupError) as caught:
        list(keeper().receive(Message("x", intent="dance")))
    for secret in PRIVATE:
        assert secret not in str(caught.value)


def test_an_error_of_validation_shows_no_secret():
    """Rule 12: a wrong value among the fields of a node does not show the secret beside it."""
    with pytest.raises(ValueError) as caught:
        Keeper(name="Ann", key=SecretStr("s3cret-key"), friends=3)
    assert "s3cret-key" not in str(caught.value)
