"""Rule 3: blanks are filled when a message is said; what was said never changes."""

from datetime import UTC, datetime

import pytest

from clock import FakeClock
from kinds import ALL, kinds
from llambdao import MapperNode, Message, Node, Said, sleep, watch


def replies(node, message="go", **options):
    """Everything that comes back."""
    return list(node.receive(message, **options))


@kinds(*ALL)
@pytest.mark.parametrize("words", ["hi", Message("hi")], ids=["str", "Message"])
def test_blanks_are_filled_when_it_is_said(handler, words):
    """Rule 3: sender, receiver, what it answers, intent, time, id; of words and messages alike."""

    class Peer(Node):
        @handler
        def chat(self, message):
            yield Message("hi") if words != "hi" else words

    peer, asker = Peer(), Node()
    opening = Message("go", sender=asker)
    (said,) = replies(peer, opening, clock=FakeClock())
    assert (said.sender, said.to, said.reply_to) == (peer, asker, opening)
    assert said.sender is peer
    assert said.reply_to is opening
    assert said.intent == "chat"
    assert said.timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert isinstance(said.id, str)


@pytest.mark.parametrize("word", ["request", "query", "inform", "do", "step"])
def test_the_intent_of_a_reply_is_inform_except_to_a_chat(word):
    """Rule 3: `chat` in answer to a chat, else `inform`."""

    def handler(self, message):
        yield "a"
        yield Message("b")
        yield message.reply("c")

    cls = type("Peer", (Node,), {word: handler, "chat": handler, "__module__": __name__})
    assert [said.intent for said in replies(cls(), Message("go", intent=word))] == ["inform"] * 3
    assert [said.intent for said in replies(cls())] == ["chat"] * 3


def test_what_was_given_is_kept():
    """Rule 3: only blanks are filled."""
    when = datetime(2000, 1, 1, tzinfo=UTC)
    other = Message("earlier", id="m0")

    class Peer(Node):
        def chat(self, message):
            yield Message("x", id="m1", timestamp=when, intent="do", reply_to=other)

    (said,) = replies(Peer())
    assert (said.id, said.timestamp, said.intent, said.reply_to) == ("m1", when, "do", other)


def test_ids_have_a_fixed_length_and_sort_by_time():
    """Rule 3: in the order said, whoever said it."""

    class Peer(Node):
        def chat(self, message):
            for number in range(100):
                yield str(number)
                if number % 10 == 0:
                    yield sleep(0.5)

    opening = Message("go")
    ids = [one.id for one in [opening, *replies(Peer(), opening, clock=FakeClock())]]
    ids[0] = opening.id
    assert len({len(one) for one in ids}) == 1
    assert len(set(ids)) == 101
    assert sorted(ids) == ids


def test_the_same_program_and_clock_give_the_same_ids():
    """Rule 3 and 15: the id comes from the time and a counter, so it is the same at replay."""

    class Peer(Node):
        def chat(self, message):
            yield "a"
            yield sleep(1)
            yield "b"

    once = [(said.id, said.timestamp) for said in replies(Peer(), clock=FakeClock())]
    again = [(said.id, said.timestamp) for said in replies(Peer(), clock=FakeClock())]
    assert once == again


def test_two_conversations_at_the_same_time_share_no_id():
    """Rule 3: the salt of the clock tells them apart."""

    class Peer(Node):
        def chat(self, message):
            return ["a", "b"]

    clock = FakeClock()
    ids = [said.id for _ in range(50) for said in replies(Peer(), clock=clock)]
    assert len(set(ids)) == 100


def test_the_first_time_a_message_is_signed_in_place():
    """Rule 3: the object that was yielded is the object that is heard."""

    class Peer(Node):
        def chat(self, message):
            self.mine = Message("hello")
            assert self.mine.id is None
            yield self.mine
            assert self.mine.id is not None

    peer = Peer()
    (said,) = replies(peer)
    assert said is peer.mine


def test_saying_it_again_says_a_copy_with_a_new_id():
    """Rule 3: the first is not changed by that."""

    class Motto(Message, kind="rule3.Motto"):
        lang: str

    class Peer(Node):
        def chat(self, message):
            motto = Motto("per aspera", lang="la")
            yield motto
            yield motto
            yield motto

    one, two, three = replies(Peer())
    assert len({one.id, two.id, three.id}) == 3
    assert type(two) is Motto
    assert (two.content, two.lang, two.intent) == (one.content, one.lang, one.intent)


def test_what_another_said_is_passed_on_as_it_is():
    """Rule 3: the same message, its author's name and id on it."""

    class Author(Node):
        def request(self, message):
            return "original"

    class Porter(Node):
        def chat(self, message):
            answer = yield author.ask("?")
            self.heard = answer
            yield answer

    author, porter = Author(), Porter()
    (said,) = replies(porter)
    assert said is porter.heard
    assert said.sender is author


def test_reply_fills_sender_and_to_at_once():
    """Rule 3: `message.reply(...)` is signed by the node whose handler runs, before it is said."""

    class Peer(Node):
        def chat(self, message):
            answer = message.reply("hello", metadata={"mood": "good"})
            seen.append((answer.sender, answer.to, answer.reply_to))
            yield answer

    seen, peer, asker = [], Peer(), Node()
    opening = Message("go", sender=asker)
    (said,) = replies(peer, opening)
    assert seen == [(peer, asker, opening)]
    assert said.metadata["mood"] == "good"


@kinds(*ALL)
def test_reply_knows_whose_handler_runs(handler):
    """Rule 3: in every kind of handler, also for a message that was relayed to somebody else."""

    class Peer(Node):
        @handler
        def chat(self, message):
            yield message.reply(f"I am {message.reply('').sender}")

    network = MapperNode(Peer(name="Ann"), Peer(name="Bob"))
    assert [said.content for said in replies(network)] == ["I am Ann", "I am Bob"]


@pytest.mark.parametrize(
    "field", ["content", "intent", "sender", "to", "reply_to", "timestamp", "metadata", "id"]
)
def test_assigning_to_what_was_said_raises(field):
    """Rule 3: and says what to do instead: `message.but(...)`."""

    class Peer(Node):
        def chat(self, message):
            return "hello"

    (said,) = replies(Peer())
    before = said.json()
    with pytest.raises(Said, match="but"):
        setattr(said, field, "changed")
    with pytest.raises(AttributeError):
        delattr(said, field)
    assert said.json() == before


def test_an_unknown_attribute_raises_too():
    """Rule 3: nothing is hung on a message."""
    with pytest.raises(AttributeError):
        Message("hello").mood = "good"


def test_metadata_is_read_only():
    """Rule 3: after it was said; and the dictionary it came from has no hold on it."""
    given = {"mood": "good"}

    class Peer(Node):
        def chat(self, message):
            yield Message("hello", metadata=given)

    (said,) = replies(Peer())
    with pytest.raises(TypeError):
        said.metadata["mood"] = "bad"
    given["mood"] = "bad"
    assert dict(said.metadata) == {"mood": "good"}


def test_the_metadata_of_one_message_is_not_that_of_another():
    """Rule 3: messages without any share nothing that can be changed."""
    one = Message("a")
    with pytest.raises(TypeError):
        one.metadata["x"] = 1
    assert dict(Message("b").metadata) == {}


def test_but_makes_another_with_a_new_id():
    """Rule 3: the same in all that is not named, and unsaid again."""

    class Peer(Node):
        def chat(self, message):
            yield Message("hello", metadata={"mood": "good"})
            yield said_before.but(content="bye")

    said_before = Message("hello", intent="do", metadata={"mood": "good"})
    _, other = replies(Peer())
    assert other.content == "bye"
    assert other.intent == "do"
    assert other.metadata["mood"] == "good"
    assert other.id != said_before.id
    assert said_before.content == "hello"


def test_but_of_a_message_that_was_said():
    """Rule 3: it keeps who said it to whom, and gets an id and a time when it is said."""

    class Peer(Node):
        def chat(self, message):
            return "hello"

    (said,) = replies(Peer())
    other = said.but(content="bye")
    assert (other.id, other.timestamp) == (None, None)
    assert other != said
    assert (other.sender, other.reply_to, other.intent) == (said.sender, said.reply_to, "chat")


def test_but_with_a_field_that_does_not_exist_is_an_error():
    """Rule 3: a typo is told."""
    with pytest.raises(TypeError, match="contents"):
        Message("a").but(contents="b")


def test_the_opening_message_is_signed_too():
    """Rule 3: what comes from outside gets an id, a time, a receiver and an intent."""

    class Peer(Node):
        def chat(self, message):
            pass

    peer, opening = Peer(), Message("go")
    replies(peer, opening, clock=FakeClock())
    assert opening.id
    assert (opening.to, opening.intent, opening.sender) == (peer, "chat", None)
    assert opening.timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_the_same_message_may_open_many_conversations():
    """Rule 3: it is said once; sent again it is the same message."""

    class Peer(Node):
        def chat(self, message):
            return f"{message.id} for {message.to}"

    opening = Message("go")
    (one,) = replies(Peer(name="Ann"), opening)
    (two,) = replies(Peer(name="Bob"), opening)
    assert one.reply_to == two.reply_to == opening


def test_timestamps_come_from_the_clock_and_are_aware():
    """Rule 3: UTC, and later when time has passed."""

    class Peer(Node):
        def chat(self, message):
            yield "a"
            yield sleep(1.5)
            yield "b"

    one, two = replies(Peer(), clock=FakeClock())
    assert one.timestamp.tzinfo is UTC
    assert (two.timestamp - one.timestamp).total_seconds() == 1.5


def test_told_messages_are_signed_by_the_teller():
    """Rule 3: an ask or a tell is signed as any other message: who, to whom, in answer to what."""

    class Peer(Node):
        def inform(self, message):
            pass

    class Teller(Node):
        def chat(self, message):
            yield peer.tell("news")

    peer, teller, opening = Peer(), Teller(), Message("go")
    first, news = watch(teller, opening)
    assert first is opening
    assert (news.sender, news.to, news.reply_to) == (teller, peer, opening)
    assert news.intent == "inform"
