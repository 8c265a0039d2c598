"""Rule 1: the intent names the handler; nothing else can ever be reached by message."""

from typing import ClassVar

import pytest

from drivers import every_driver
from kinds import kinds
from llambdao import MapperNode, Message, Misused, Node, NotPermitted, UnknownIntent, ask, intent

CURATED = ("chat", "request", "query", "inform", "proxy", "step", "be", "do")


def said(node, message, **options):
    """What comes back, as words."""
    return [one.content for one in node.receive(message, **options)]


class Speaker(Node):
    """Has a handler, a field, a method, a property and a static method."""

    secret: str = "xyzzy"

    def chat(self, message):
        return "chat"

    def method(self, message):
        raise AssertionError("reached by a message")

    @staticmethod
    def static(message):
        raise AssertionError("reached by a message")

    @property
    def prop(self):
        raise AssertionError("reached by a message")


@pytest.mark.parametrize("word", CURATED)
@kinds("plain", "generator", "coroutine", "async-generator")
def test_a_curated_intent_reaches_the_method_of_that_name(handler, word):
    """Rule 1: each of the eight, where the class defines a function of that name."""

    def script(self, message):
        yield f"{message.intent} {message.content}"

    cls = type("Speaker", (Node,), {word: handler(script), "__module__": __name__})
    assert said(cls(), Message("x", intent=word)) == [f"{word} x"]
    assert cls().intents == (word,)


@pytest.mark.parametrize(
    "word",
    [
        "link",
        "unlink",
        "model_dump",
        "json",
        "dict",
        "__init__",
        "__class__",
        "receive",
        "ask",
        "tell",
        "state",
        "secret",
        "name",
        "role",
        "method",
        "static",
        "prop",
        "intents",
        "request",
        "chat ",
        "Chat",
        "nonsense",
    ],
)
def test_nothing_else_is_reached(word):
    """Rule 1: methods, fields, magic, and curated intents that are not defined: `UnknownIntent`."""
    node = Speaker(name="Bob")
    with pytest.raises(UnknownIntent, match=r"Bob.*understands chat"):
        said(node, Message("x", intent=word))
    assert not node.understands(word)
    assert node.edges == {}


def test_an_unknown_intent_names_the_intents_the_node_has():
    """Rule 1: all of them, and the one that was tried."""

    class Two(Node):
        def chat(self, message):
            pass

        @intent
        def vote(self, message):
            pass

    with pytest.raises(UnknownIntent) as caught:
        said(Two(name="Ann"), Message("x", intent="dance"))
    for word in ("Ann", "dance", "chat", "vote"):
        assert word in str(caught.value)


def test_a_node_without_handlers_understands_nothing():
    """Rule 1: `Node` itself answers no message."""
    with pytest.raises(UnknownIntent, match="nothing"):
        said(Node(), "hello")
    assert Node().intents == ()


def test_a_marked_method_is_a_handler():
    """Rule 1: `@intent` marks an intent of one's own."""

    class Member(Node):
        @intent
        def vote(self, message):
            return "aye"

    assert said(Member(), Message("x", intent="vote")) == ["aye"]
    assert Member().intents == ("vote",)
    assert Member().understands("vote")
    assert not Member().understands("chat")


def test_marks_are_inherited():
    """Rule 1: an override of a marked method needs no mark of its own."""

    class Member(Node):
        @intent
        def vote(self, message):
            return "aye"

    class Rebel(Member):
        def vote(self, message):
            return "nay"

    class Heir(Rebel):
        pass

    assert said(Rebel(), Message("x", intent="vote")) == ["nay"]
    assert said(Heir(), Message("x", intent="vote")) == ["nay"]


def test_handlers_are_inherited_and_may_come_from_a_mixin():
    """Rule 1: the curated intents of all base classes count, the nearest first."""

    class Greets:
        def chat(self, message):
            return "hello"

    class Asks(Node):
        def query(self, message):
            return "why?"

        def chat(self, message):
            return "never"

    class Both(Greets, Asks):
        pass

    assert said(Both(), "x") == ["hello"]
    assert said(Both(), Message("x", intent="query")) == ["why?"]


def test_a_subclass_can_take_a_handler_away():
    """Rule 1: `chat: ClassVar = None` says that this one does not chat."""

    class Chatty(Node):
        def chat(self, message):
            return "hello"

    class Mute(Chatty):
        chat: ClassVar[None] = None

    with pytest.raises(UnknownIntent):
        said(Mute(), "x")
    assert Mute().intents == ()


@pytest.mark.parametrize("name", ["link", "unlink", "receive", "state", "model_dump", "ask"])
def test_a_reserved_name_cannot_be_marked(name):
    """Rule 1: marking a method of `Node` itself raises when the class is made, and names it."""
    marked = intent(lambda self, message: None)
    with pytest.raises(TypeError, match=name):
        type("Bad", (Node,), {name: marked, "__module__": __name__})


def test_only_functions_can_be_marked():
    """Rule 1: a class or a value marked as intent is a mistake that is told at once."""
    with pytest.raises(Misused):
        intent(42)


def test_a_field_named_like_an_intent_is_no_handler():
    """Rule 1: only a function of that name is."""

    class Odd(Node):
        do: str = "nothing"

    with pytest.raises(UnknownIntent):
        said(Odd(), Message("x", intent="do"))


def test_an_attribute_of_an_instance_is_no_handler():
    """Rule 1: the table is built once per class; what is put on a node changes nothing."""
    node = Speaker()
    node.request = lambda message: "reached"
    with pytest.raises(UnknownIntent):
        said(node, Message("x", intent="request"))


def test_from_outside_a_blank_intent_is_chat():
    """Rule 1: a `str` is a message, and a message without intent is chat."""
    heard = []

    class Peer(Node):
        def chat(self, message):
            heard.append((type(message), message.content, message.intent))

    said(Peer(), "hello")
    said(Peer(), Message("hello"))
    assert heard == [(Message, "hello", "chat")] * 2


def test_action_is_the_other_spelling_of_intent():
    """Rule 1 and the founding document: `Message(..., action="query")` asks a query."""

    class Peer(Node):
        def query(self, message):
            return message.intent

    assert said(Peer(), Message("x", action="query")) == ["query"]


# -- receive ---------------------------------------------------------------------------------


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_an_override_of_receive_handles_every_message(handler, drive):
    """Rule 1: whatever the intent; `node.receive` itself stays the driver."""

    class All(Node):
        @handler
        def receive(self, message):
            yield f"{message.intent}: {message.content}"

    for word in (*CURATED, "link", "nonsense"):
        outcome = drive(lambda word=word: All().receive(Message("x", intent=word)))
        assert outcome.contents == [f"{word}: x"]


@every_driver
def test_an_override_of_receive_can_be_asked(drive):
    """Rule 1: it is a handler like any other, also for those inside."""

    class All(Node):
        def receive(self, message):
            return message.content.upper()

    class Asker(Node):
        def chat(self, message):
            answer = yield All().ask("x", intent="dance")
            return answer.content

    assert drive(lambda: Asker().receive("go")).contents == ["X"]


@every_driver
@kinds("generator", "async-generator", "async-generator-awaiting", "coroutine")
def test_super_receive_dispatches_by_intent(handler, drive):
    """Rule 1: inside, `super().receive(message)` is a wait; the replies go to the same hearer."""

    class Base(Node):
        def chat(self, message):
            yield "one"
            yield "two"

        def query(self, message):
            yield "because"

    class Polite(Base):
        @handler
        def receive(self, message):
            yield super().receive(message)
            yield "thank you"

    assert drive(lambda: Polite().receive("x")).contents == ["one", "two", "thank you"]
    outcome = drive(lambda: Polite().receive(Message("x", intent="query")))
    assert outcome.contents == ["because", "thank you"]


@every_driver
def test_super_receive_of_an_unknown_intent_raises_at_the_yield(drive):
    """Rule 1: behind an override the curated intents are still all there is."""

    class Polite(Speaker):
        def receive(self, message):
            try:
                yield super().receive(message)
            except UnknownIntent:
                yield "pardon?"

    outcome = drive(lambda: Polite().receive(Message("x", intent="method")))
    assert outcome.contents == ["pardon?"]


@every_driver
def test_overrides_of_receive_in_a_row(drive):
    """Rule 1: `super().receive` goes to the next class above that has one."""

    class A(Node):
        def chat(self, message):
            return "a"

    class B(A):
        def receive(self, message):
            yield "b"
            yield super().receive(message)

    class C(B):
        def receive(self, message):
            yield "c"
            yield super().receive(message)

    assert drive(lambda: C().receive("x")).contents == ["c", "b", "a"]


def test_a_heir_of_an_override_of_receive_has_it_too():
    """Rule 1: an inherited override handles every message as well."""

    class All(Node):
        def receive(self, message):
            return "all"

    class Heir(All):
        def chat(self, message):
            raise AssertionError

    assert said(Heir(), "x") == ["all"]


# -- be --------------------------------------------------------------------------------------


def test_the_program_itself_may_say_who_a_node_is():
    """Rule 1: `node.be(...)` is a plain call."""
    poet = Speaker()
    poet.be("a pirate")
    assert poet.persona == "a pirate"


def test_a_message_from_outside_may_not():
    """Rule 1: `be` without an edge that permits it is `NotPermitted`, and changes nothing."""
    poet = Speaker(name="Poet", persona="herself")
    with pytest.raises(NotPermitted, match="Poet"):
        said(poet, Message("a pirate", intent="be"))
    assert poet.persona == "herself"


@every_driver
def test_a_sender_with_an_edge_may(drive):
    """Rule 1: `sender.link(node, may={"be"})` permits it."""

    class Director(Node):
        def chat(self, message):
            yield poet.tell(message.content, intent="be")

    poet, director = Speaker(persona="herself"), Director()
    director.link(poet, may={"be"})
    drive(lambda: director.receive("a pirate"))
    assert poet.persona == "a pirate"


@pytest.mark.parametrize("may", [None, set(), {"spend"}])
def test_an_edge_without_that_permission_does_not(may):
    """Rule 1: being linked is not enough, and it is the sender's edge that counts."""

    class Director(Node):
        def chat(self, message):
            yield poet.ask(message.content, intent="be")

    poet, director = Speaker(persona="herself"), Director()
    director.link(poet, may=may)
    poet.link(director, may={"be"})
    with pytest.raises(NotPermitted):
        said(director, "a pirate")
    assert poet.persona == "herself"


def test_a_class_with_a_be_of_its_own_decides_for_itself():
    """Rule 1: then `be` is a handler like any other."""

    class Actor(Node):
        def be(self, message):
            self.persona = message.content
            return "as you wish"

    actor = Actor()
    assert said(actor, Message("Hamlet", intent="be")) == ["as you wish"]
    assert actor.persona == "Hamlet"
    assert actor.intents == ("be",)


def test_a_mapper_does_not_pass_be_on():
    """Rule 1 and networks: what a member is cannot be changed through its network."""
    poet = Speaker(persona="herself")
    network = MapperNode(poet)
    with pytest.raises((NotPermitted, UnknownIntent)):
        said(network, Message("a pirate", intent="be"))
    assert poet.persona == "herself"


def test_a_forged_sender_needs_the_edge_too():
    """Rule 1: who says `be` in another's name has only that one's edges."""
    poet, stranger = Speaker(persona="herself"), Node()
    with pytest.raises(NotPermitted):
        said(poet, Message("a pirate", intent="be", sender=stranger))
    assert poet.persona == "herself"


def test_every_way_in_checks_the_intent():
    """Rule 1 and 14: `ask`, too, refuses what is no handler."""
    with pytest.raises(UnknownIntent):
        ask(Speaker(), Message("x", intent="link"))
