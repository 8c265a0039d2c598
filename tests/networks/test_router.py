"""`Router`: sends each message to the one member it is for."""

import pytest

from drivers import every_driver
from llambdao import Message, Node, Router, Unreachable
from transcript import lines


class Desk(Node):
    """Takes requests."""

    def request(self, message):
        return f"{self.name}: {message.content}"


class Chatter(Node):
    """Only chats."""

    def chat(self, message):
        return f"{self.name} chats"


def said(node, message):
    """What comes back, as words."""
    return [one.content for one in node.receive(message)]


@every_driver
@pytest.mark.parametrize("words", ["Support: it broke", "@support it broke", "SUPPORT, it broke"])
def test_the_member_the_words_begin_with(words, drive):
    """By name, in capitals or not, with or without an `@`."""
    desks = Router(Desk(name="Sales"), Desk(name="Support"))
    outcome = drive(lambda: desks.receive(Message(words, intent="request")))
    assert outcome.contents == [f"Support: {words}"]


def test_a_name_is_a_whole_word():
    """`Ann` is not meant by `Annette, ...`."""
    desks = Router(Desk(name="Ann"), Desk(name="Annette"))
    assert said(desks, Message("Annette, hello", intent="request")) == ["Annette: Annette, hello"]


def test_otherwise_the_first_who_understands_the_intent():
    """Nobody named: the first who can."""
    desks = Router(Chatter(name="C"), Desk(name="D"), Desk(name="E"))
    assert said(desks, Message("hello", intent="request")) == ["D: hello"]
    assert said(desks, "hello") == ["C chats"]


def test_choose_by_function():
    """`choose(message, members)` gives the node, or its name."""
    a, b = Desk(name="A"), Desk(name="B")
    by_node = Router(a, b, choose=lambda message, members: members[-1])
    by_name = Router(a, b, choose=lambda message, members: "A")
    assert said(by_node, Message("x", intent="request")) == ["B: x"]
    assert said(by_name, Message("x", intent="request")) == ["A: x"]


@pytest.mark.parametrize("chosen", [None, "Nobody", 42])
def test_a_choice_of_nobody_is_unreachable(chosen):
    """The error says who was chosen and who is there."""
    desks = Router(Desk(name="Sales"), choose=lambda message, members: chosen)
    with pytest.raises(Unreachable, match="Sales"):
        said(desks, Message("x", intent="request"))


def test_an_empty_router_reaches_nobody():
    """And says so."""
    with pytest.raises(Unreachable, match="nobody"):
        said(Router(), Message("x", intent="request"))


def test_a_proxy_message_arrives_as_a_request_or_a_chat():
    """The first of the two that the member has."""
    assert said(Router(Desk(name="D")), Message("x", intent="proxy")) == ["D: x"]
    assert said(Router(Chatter(name="C")), Message("x", intent="proxy")) == ["C chats"]


def test_a_proxy_message_arrives_as_what_its_metadata_says():
    """`metadata={"intent": ...}` names it."""

    class Both(Desk):
        def query(self, message):
            return "query"

    message = Message("x", intent="proxy", metadata={"intent": "query"})
    assert said(Router(Both()), message) == ["query"]


def test_the_reply_is_the_members_own():
    """Signed by it, to whoever spoke to the router."""
    (reply,) = Router(Desk(name="D")).receive(Message("x", intent="request"))
    assert lines([reply]) == ["D > you: D: x (inform)"]


def test_routers_in_routers():
    """A router is a node, so it can be routed to, by its name."""
    inner = Router(Desk(name="Ann"), Desk(name="Bob"), name="office")
    outer = Router(Desk(name="Eve"), inner)
    words = "office"
    assert said(outer, Message(words, intent="request")) == ["Ann: office"]


def test_a_name_with_signs_is_taken_literally():
    """Names are no patterns."""
    desks = Router(Desk(name="A.B (new)"), Desk(name="AxB (new)"))
    assert said(desks, Message("AxB (new) hello", intent="request"))[0].startswith("AxB")
