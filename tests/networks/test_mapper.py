"""`MapperNode`: what it is told goes to all its members; what they answer comes back."""

import pytest

from drivers import every_driver
from kinds import kinds
from llambdao import (
    Address,
    GroupChatNode,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    NotPermitted,
    UnknownIntent,
    ask,
    intent,
)
from llambdao.testing import capture
from transcript import lines

RELAYED = ("chat", "request", "query", "inform", "proxy", "step", "do")


class Member(Node):
    """Answers everything curated but `be`."""

    def chat(self, message):
        return f"{self.name}: {message.intent} {message.content}"

    request = query = inform = proxy = step = do = chat


class Chatter(Node):
    """Understands only `chat`."""

    def chat(self, message):
        return f"{self.name} chats"


def said(node, message, **options):
    """What comes back, as words."""
    return [one.content for one in node.receive(message, **options)]


@every_driver
@pytest.mark.parametrize("word", RELAYED)
def test_it_relays_every_curated_intent_that_it_does_not_define(word, drive):
    """Each of the seven, to each member, the intent as it is."""
    network = MapperNode(Member(name="A"), Member(name="B"))
    outcome = drive(lambda: network.receive(Message("x", intent=word)))
    assert outcome.contents == [f"A: {word} x", f"B: {word} x"]


def test_be_is_not_relayed():
    """What members are cannot be changed through their network."""

    class Actor(Node):
        def be(self, message):
            raise AssertionError

    with pytest.raises((NotPermitted, UnknownIntent)):
        said(MapperNode(Actor()), Message("x", intent="be"))


def test_what_it_defines_itself_is_its_own():
    """A subclass that answers an intent answers it alone."""

    class Chair(MapperNode):
        def query(self, message):
            return f"{len(self.members)} members"

    chair = Chair(Member(name="A"), Member(name="B"))
    assert said(chair, Message("?", intent="query")) == ["2 members"]
    assert said(chair, "x") == ["A: chat x", "B: chat x"]


def test_an_intent_of_ones_own_is_not_relayed_unless_marked():
    """Only the curated ones are; others need a handler in the network."""

    class Voter(Node):
        @intent
        def vote(self, message):
            return "aye"

    with pytest.raises(UnknownIntent):
        said(MapperNode(Voter()), Message("x", intent="vote"))

    class Assembly(MapperNode):
        @intent
        def vote(self, message):
            return self.relay(message)

    assert said(Assembly(Voter(), Voter()), Message("x", intent="vote")) == ["aye", "aye"]


@every_driver
def test_members_without_that_intent_are_not_addressed(drive):
    """`do` reaches those who do; nobody fails because somebody cannot."""
    network = MapperNode(Chatter(name="A"), Member(name="B"), Chatter(name="C"))
    outcome = drive(lambda: network.receive(Message("x", intent="do")))
    assert outcome.contents == ["B: do x"]


def test_if_no_member_understands_it_the_caller_is_told():
    """Silence would hide a mistake: `UnknownIntent` names what they do understand."""
    with pytest.raises(UnknownIntent, match=r"do.*A understands chat"):
        said(MapperNode(Chatter(name="A")), Message("x", intent="do"))


def test_no_members_no_replies():
    """An empty network says nothing; an ask of it is not answered."""
    assert said(MapperNode(), "x") == []
    with pytest.raises(NoAnswer):
        ask(MapperNode(), "x")


@every_driver
def test_the_author_is_left_out(drive):
    """A member that speaks to its own network is not told what it said itself."""

    class Speaker(Chatter):
        def do(self, message):
            answers = yield network.ask("x", intent="chat", every=True)
            yield from (answer.content for answer in answers)

    speaker = Speaker(name="A")
    network = MapperNode(speaker, Chatter(name="B"), Chatter(name="C"))
    outcome = drive(lambda: speaker.receive(Message("go", intent="do")))
    assert outcome.contents == ["B chats", "C chats"]


def test_an_author_known_by_address_is_left_out_too():
    """An address stands for its node."""
    a, b = Chatter(name="A"), Chatter(name="B")
    network = MapperNode(a, b)
    assert said(network, Message("x", sender=Address(a.id, "A"))) == ["B chats"]


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_the_replies_are_the_members_own(handler, drive):
    """Signed by them, to whoever spoke to the network."""

    class Sayer(Node):
        @handler
        def chat(self, message):
            yield f"to {message.sender or 'you'}"

    network = MapperNode(MapperNode(Sayer(name="A")), Sayer(name="B"), name="net")
    outcome = drive(lambda: network.receive("x"))
    assert lines(outcome.replies) == ["A > you: to you (chat)", "B > you: to you (chat)"]


def test_the_relayed_message_is_the_message_itself():
    """Not a copy: its id, its sender and its thread are as they were."""
    heard = []

    class Listener(Node):
        def chat(self, message):
            heard.append(message)

    opening = Message("x")
    said(MapperNode(MapperNode(Listener()), Listener()), opening)
    assert [one.id for one in heard] == [opening.id] * 2


def test_relay_to_some_and_with_another_intent():
    """`self.relay(message, to=..., intent=...)`; the own intent is kept in the metadata."""

    class Chair(MapperNode):
        def request(self, message):
            yield self.relay(message, to=self.members[1:], intent="do")

    class Doer(Node):
        def do(self, message):
            return f"{self.name} {message.metadata['intent']}"

    chair = Chair(*(Doer(name=name) for name in "ABC"))
    assert said(chair, Message("x", intent="request")) == ["B request", "C request"]


# -- members -----------------------------------------------------------------------------------


def test_members_are_linked_both_ways():
    """Those it was made of, in their order."""
    a, b = Chatter(name="A"), Chatter(name="B")
    network = MapperNode(a, b)
    assert network.members == [a, b]
    assert list(network.edges) == [a.id, b.id]
    assert list(a.edges) == [network.id]


def test_join_and_leave():
    """Joining twice is joining once; leaving takes the edges along; a stranger is no error."""
    a, b = Chatter(name="A"), Chatter(name="B")
    network = MapperNode(a)
    network.join(b)
    network.join(b)
    assert said(network, "x") == ["A chats", "B chats"]
    network.leave(a)
    network.leave(a)
    assert said(network, "x") == ["B chats"]
    assert a.edges == {}
    assert a.id not in network.edges


def test_link_on_a_network_is_an_ordinary_edge():
    """Membership is what it was made of, or `join`."""
    network = MapperNode(Chatter(name="A"))
    network.link(Chatter(name="B"), may={"be"})
    assert said(network, "x") == ["A chats"]


def test_lookup_by_name_and_path():
    """`table["Rumi"]`, `house["table/Rumi"]`; an error lists the names."""
    rumi = Chatter(name="Rumi")
    table = GroupChatNode(rumi, Chatter(name="Lao Tzu"), name="table")
    house = MapperNode(table, Chatter(name="cat"), name="house")
    assert table["Rumi"] is rumi
    assert house["table/Rumi"] is rumi
    for path in ("Socrates", "table/Socrates", "cat/Rumi"):
        with pytest.raises(KeyError):
            house[path]
    with pytest.raises(KeyError, match="Rumi, Lao Tzu"):
        table["Socrates"]


def test_lookup_of_a_name_that_two_bear():
    """It is refused: which one would be chance."""
    network = MapperNode(Chatter(name="A"), Chatter(name="A"))
    with pytest.raises(KeyError, match="2 members"):
        network["A"]


def test_in_len_iter_and_truth():
    """A network is a collection of its members, and never false."""
    a = Chatter(name="A")
    network = MapperNode(a)
    assert a in network
    assert a.address in network
    assert Chatter(name="A") not in network
    assert (len(network), list(network), bool(MapperNode())) == (1, [a], True)


def test_members_may_change_while_it_relays():
    """Who joins in the middle hears the next message."""

    class Inviting(Node):
        def chat(self, message):
            network.join(Chatter(name="new"))
            return "invited"

    network = MapperNode(Inviting(), Chatter(name="A"))
    assert said(network, "x") == ["invited", "A chats"]
    assert said(network, "x") == ["invited", "A chats", "new chats"]


def test_members_as_a_field():
    """`MapperNode(members=[...])` is the same."""
    network = MapperNode(members=[Chatter(name="A")])
    assert said(network, "x") == ["A chats"]


@pytest.mark.parametrize("words", ["news", Message("news"), Message("news", intent="chat")])
def test_a_network_may_relay_words_of_its_own(words):
    """They are signed by the network, and said once for all members."""

    class Herald(MapperNode):
        def chat(self, message):
            yield self.relay(words if isinstance(words, str) else words.but())

    class Ear(Node):
        def chat(self, message):
            return f"{self.name} heard {message.content} from {message.sender}"

    herald = Herald(Ear(name="Ann"), Ear(name="Bob"), name="Herald")
    transcript = capture(herald, "go")
    assert [said.content for said in transcript.replies] == [
        "Ann heard news from Herald",
        "Bob heard news from Herald",
    ]
    assert [str(said) for said in transcript.messages][1] == "Herald: news"
    assert len({said.id for said in transcript.messages}) == 4
