"""Bad input: every misuse is told, with what was expected, what came, and what to do."""

import pytest

from drivers import every_driver
from kinds import kinds
from llambdao import (
    GroupChatNode,
    LimitReached,
    Limits,
    MapperNode,
    Message,
    Misused,
    Node,
    NotANode,
    Pipeline,
    Router,
    Said,
    UnknownIntent,
    ask,
    call,
    heard,
    intent,
    sleep,
    spent,
    tell,
    turns,
    watch,
    when,
)


class Echo(Node):
    """Says what it hears."""

    def chat(self, message):
        return message.content


@pytest.mark.parametrize("message", [None, 42, b"bytes", ["a"], {"content": "x"}, Node, object()])
@pytest.mark.parametrize("way", [lambda n, m: list(n.receive(m)), ask, tell])
def test_only_words_and_messages_are_received(message, way):
    """Anything else is refused on every way in, and shown."""
    with pytest.raises(Misused, match="message"):
        way(Echo(), message)


@pytest.mark.parametrize("node", [None, 42, "Bob", Message("x")])
@pytest.mark.parametrize("way", [ask, tell, lambda n, m: list(watch(n, m))])
def test_only_nodes_receive(node, way):
    """A message to something that is no node is `NotANode`, which shows it."""
    with pytest.raises(NotANode):
        way(node, "hello")


@every_driver
@pytest.mark.parametrize("to", [42, "Bob", object(), ["Bob"]])
def test_a_message_addressed_to_no_node(to, drive):
    """It is refused at the `yield`, where the handler can catch it."""

    class Lost(Node):
        def chat(self, message):
            try:
                yield Message("hello", to=to, intent="inform")
            except NotANode:
                yield "nobody there"

    assert drive(lambda: Lost().receive("go")).contents == ["nobody there"]


@every_driver
@pytest.mark.parametrize("word", ["dance", "link", "__init__", "receive", None])
@kinds("generator", "coroutine", "async-generator", "async-generator-awaiting")
def test_an_unknown_intent_is_raised_at_the_ask(handler, word, drive):
    """And it is caught there."""

    class Asker(Node):
        @handler
        def chat(self, message):
            try:
                yield Echo(name="Echo").ask("x", intent=word)
            except UnknownIntent as error:
                return str(error)

    (reply,) = drive(lambda: Asker().receive("go")).contents
    assert "Echo" in reply
    assert "chat" in reply


@every_driver
def test_an_unknown_intent_is_raised_at_the_tell(drive):
    """Nobody waits for what was told, but who tells is told that it cannot be."""

    class Teller(Node):
        def chat(self, message):
            try:
                yield Echo().tell("x", intent="dance")
            except UnknownIntent:
                yield "cannot dance"

    assert drive(lambda: Teller().receive("go")).contents == ["cannot dance"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Message("x", intnet="chat"),
        lambda: Node(nmae="Ann"),
        lambda: Echo().ask("x", itnent="chat"),
        lambda: Echo().tell("x", timeout=3),
        lambda: GroupChatNode(untl=turns(3)),
        lambda: Message("x").but(contnet="y"),
        lambda: Message("x").reply("y", intnet="chat"),
    ],
)
def test_a_typo_in_a_keyword(make):
    """It is an error at once, that names the keyword."""
    with pytest.raises((TypeError, ValueError), match=r"intnet|nmae|itnent|timeout|untl|contnet"):
        make()


def test_a_changed_message():
    """What was said stays said; the error says how to make another."""
    (said,) = Echo().receive("hello")
    with pytest.raises(Said, match=r"but\("):
        said.content = "goodbye"


def test_an_unsaid_message_cannot_be_changed_either():
    """A message is a value."""
    with pytest.raises(Said):
        Message("hello").content = "goodbye"


@pytest.mark.parametrize("other", [None, "Bob", 42, Message("x")])
def test_a_link_to_something_that_is_no_node(other):
    """For all that link: `link`, members, `join`."""
    with pytest.raises(NotANode):
        Echo().link(other)
    with pytest.raises(NotANode):
        MapperNode().join(other)
    for network in (MapperNode, GroupChatNode, Pipeline, Router):
        with pytest.raises(NotANode):
            network(Echo(), other)


@every_driver
def test_an_endless_echo_by_asks_ends(drive):
    """Two who ask each other for ever are a deadlock, not a full stack."""

    class Why(Node):
        def request(self, message):
            answer = yield Message("why?", intent="request")
            return answer

    class Asker(Why):
        def chat(self, message):
            answer = yield why.ask("do it")
            return answer

    why = Why()
    outcome = drive(lambda: Asker().receive("go"))
    assert type(outcome.error).__name__ == "Deadlock"


@every_driver
def test_an_endless_generator_of_words_ends(drive):
    """A handler that never stops speaking stops at the limit of messages."""

    class Endless(Node):
        def chat(self, message):
            return ("bla" for _ in iter(int, 1))

    outcome = drive(lambda: Endless().receive("go", limits=Limits(messages=100)))
    assert type(outcome.error) is LimitReached
    assert len(outcome.replies) == 99


@every_driver
def test_a_list_that_contains_itself_ends(drive):
    """It is endless too."""

    class Snake(Node):
        def chat(self, message):
            snake = ["s"]
            snake.append(snake)
            return snake

    outcome = drive(lambda: Snake().receive("go", limits=Limits(messages=100)))
    assert type(outcome.error) is LimitReached


def test_a_network_that_contains_itself():
    """A table at its own table: the relay to itself is found out."""
    table = MapperNode(Echo())
    table.join(table)
    with pytest.raises(Exception) as caught:
        list(table.receive("go", limits=Limits(messages=1000)))
    assert type(caught.value).__name__ in ("Deadlock", "LimitReached", "Misused")


def test_networks_that_contain_each_other():
    """The circle of two is found out as well: it ends, and says why."""
    one, two = MapperNode(Echo()), MapperNode()
    one.join(two)
    two.join(one)
    with pytest.raises(Exception) as caught:
        list(one.receive("go", limits=Limits(messages=1000)))
    assert type(caught.value).__name__ in ("Deadlock", "LimitReached", "Misused")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: turns(0), "from 1"),
        (lambda: turns(-1), "from 1"),
        (spent, "amount"),
        (lambda: turns(3) | "done", "condition"),
        (lambda: heard("a") & 3, "condition"),
        (lambda: call(3), "function"),
        (lambda: intent("vote"), "method"),
    ],
)
def test_values_that_make_no_sense(make, words):
    """They are refused where they are written."""
    with pytest.raises(Misused, match=words):
        make()


@pytest.mark.parametrize("until", [8, "done", len])
def test_until_is_a_condition(until):
    """`until=8` is refused when the table is made."""
    with pytest.raises((TypeError, ValueError), match="until"):
        GroupChatNode(Echo(), until=until)


@pytest.mark.parametrize("seconds", ["soon", None, [1]])
def test_sleep_needs_a_number_or_a_date(seconds):
    """Something else is refused where it is written, or at the `yield`."""

    class Sleeper(Node):
        def chat(self, message):
            try:
                yield sleep(seconds)
            except TypeError:
                yield "insomnia"

    assert [said.content for said in Sleeper().receive("go")] == ["insomnia"]


@every_driver
def test_an_exception_as_a_value_is_not_raised(drive):
    """Yielding an exception is not raising it: it is none of what a handler may say."""

    class Odd(Node):
        def chat(self, message):
            yield ValueError("oops")

    assert isinstance(drive(lambda: Odd().receive("go")).error, TypeError)


def test_a_class_is_no_handlers_node():
    """`Echo.receive("go")` without a node fails at once."""
    with pytest.raises(TypeError):
        list(Echo.receive("go"))


@every_driver
def test_a_handler_without_a_parameter(drive):
    """The `TypeError` of Python itself reaches the caller."""

    class Odd(Node):
        def chat(self):
            return "?"

    outcome = drive(lambda: Odd().receive("go"))
    assert isinstance(outcome.error, TypeError)
    assert "chat" in str(outcome.error)


@every_driver
def test_news_for_nobody(drive):
    """News that nobody expects are kept, and harm nobody."""

    def open_():
        conversation = Echo().receive("go")
        conversation.news("bell", "rings")
        return conversation

    assert drive(open_).contents == ["go"]


def test_when_takes_a_function():
    """`when(3)` is refused when it is written or when the table is made, not after an hour."""
    with pytest.raises((Misused, TypeError)):
        list(GroupChatNode(Echo(), Echo(), until=when(3)).receive("go"))
