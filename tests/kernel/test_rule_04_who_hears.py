"""Rule 4: a reply is heard by the one who waits; if nobody waits, politeness is no endless loop."""

from itertools import islice

from drivers import every_driver
from kinds import SPEAKING, kinds
from llambdao import MapperNode, Message, Node, tell, watch
from transcript import Notebook, lines


class Peer(Node):
    """Says two things, to whatever it is asked."""

    def request(self, message):
        yield "one"
        yield "two"


@every_driver
@kinds(*SPEAKING)
def test_the_asker_hears_the_replies(handler, drive):
    """Rule 4: what the asked one says goes to the asker, not to the caller outside."""

    class Asker(Node):
        @handler
        def chat(self, message):
            yield "asking"
            answer = yield Peer().ask("well?")
            yield f"heard {answer.content}"

    assert drive(lambda: Asker().receive("go")).contents == ["asking", "heard two"]


@every_driver
def test_the_relayers_own_hearer_hears_the_replies(drive):
    """Rule 4: what members say to a relayed message goes to whoever hears the relayer."""

    class Asker(Node):
        def chat(self, message):
            answers = yield network.ask("well?", every=True)
            return " ".join(answer.content for answer in answers)

    network = MapperNode(MapperNode(Peer()), Peer())
    assert drive(lambda: Asker().receive("go")).contents == ["one two one two"]
    outcome = drive(lambda: network.receive(Message("well?", intent="request")))
    assert outcome.contents == ["one", "two", "one", "two"]


@every_driver
def test_the_caller_outside_hears_the_replies(drive):
    """Rule 4: the caller outside hears them as they are said, signed by their author."""
    peer = Peer(name="Bob")
    outcome = drive(lambda: peer.receive(Message("well?", intent="request")))
    assert lines(outcome.replies) == ["Bob > you: one (inform)", "Bob > you: two (inform)"]


@every_driver
def test_a_named_reply_to_a_tell_is_delivered_to_the_teller(drive):
    """Rule 4: a ping answered by a pong goes on as ping-pong."""

    class Player(Node):
        @staticmethod
        def other(word):
            return "pong" if word == "ping" else "ping"

        def inform(self, message):
            log.append(f"{self.name}: {message.content}")
            if len(log) < 5:
                yield Message(self.other(message.content), intent="inform")

    class Referee(Node):
        def chat(self, message):
            yield Message("ping", sender=ann, to=bob, intent="inform")

    log, ann, bob = [], Player(name="Ann"), Player(name="Bob")
    outcome = drive(lambda: Referee().receive("go"))
    assert outcome.contents == []
    assert log == ["Bob: ping", "Ann: pong", "Bob: ping", "Ann: pong", "Bob: ping"]


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_an_acknowledgement_wakes_nobody(handler, drive):
    """Rule 4: a reply with a blank intent to a tell is seen by observers; nobody is woken."""

    class Polite(Node):
        @handler
        def inform(self, message):
            heard.append(message.content)
            yield f"Thank you for {message.content}."

    class Teller(Polite):
        def chat(self, message):
            yield Polite(name="Bob").tell("the news")
            yield "told"

    heard, log = [], Notebook()
    outcome = drive(lambda: Teller(name="Ann").receive("go", observe=log))
    assert outcome.contents == ["told"]
    assert heard == ["the news"]
    assert log.said == [
        "you > Ann: go (chat)",
        "Ann > Bob: the news (inform)",
        "Ann > you: told (chat)",
        "Bob > Ann: Thank you for the news. (inform)",
    ]
    assert outcome.conversation.dead_letters == []


@every_driver
def test_a_blank_message_is_an_acknowledgement_too(drive):
    """Rule 4: it is the blank intent that matters, not whether it was a `str` or a `Message`."""

    class Polite(Node):
        def inform(self, message):
            heard.append(message.content)
            yield Message("Thanks.")
            yield message.reply("Thanks again.")

    class Teller(Polite):
        def chat(self, message):
            yield Polite().tell("the news")

    heard = []
    outcome = drive(lambda: Teller().receive("go"))
    assert heard == ["the news"]
    assert outcome.conversation.dead_letters == []


@every_driver
def test_a_named_reply_that_the_teller_does_not_understand_is_a_dead_letter(drive):
    """Rule 4: a reply by name of intent to a teller without such a handler is a dead letter."""

    class Bold(Node):
        def inform(self, message):
            yield Message("Do it!", intent="do")

    class Teller(Node):
        def chat(self, message):
            yield Bold(name="Bob").tell("the news")

    outcome = drive(lambda: Teller(name="Ann").receive("go"))
    assert outcome.contents == []
    (letter,) = outcome.conversation.dead_letters
    assert letter.message.content == "Do it!"
    assert "Ann does not understand 'do'" in letter.reason


@every_driver
def test_a_named_reply_by_message_reply_is_delivered_too(drive):
    """Rule 4: `message.reply(..., intent=...)` names an intent as well."""

    class Bob(Node):
        def inform(self, message):
            yield message.reply("Why?", intent="chat")

    class Ann(Node):
        def do(self, message):
            yield Bob().tell("news")

        def chat(self, message):
            heard.append(message.content)

    heard = []
    drive(lambda: Ann().receive(Message("go", intent="do")))
    assert heard == ["Why?"]


@every_driver
def test_what_is_told_inside_an_ask_is_not_heard_by_the_asker(drive):
    """Rule 4: replies to a tell belong to no ask that happens to be open."""

    class Gossip(Node):
        def inform(self, message):
            yield "I knew it!"

    class Middle(Node):
        def request(self, message):
            yield Gossip().tell("psst")
            yield "the answer"

    class Asker(Node):
        def chat(self, message):
            answers = yield Middle().ask("?", every=True)
            return ", ".join(answer.content for answer in answers)

    assert drive(lambda: Asker().receive("go")).contents == ["the answer"]


@every_driver
def test_a_named_reply_to_an_asker_is_the_answer_not_a_message(drive):
    """Rule 4: the asker waits, so a named reply is heard there, and starts no handler."""

    class Peer(Node):
        def request(self, message):
            yield Message("pong", intent="inform")

    class Asker(Node):
        def inform(self, message):
            raise AssertionError("nobody tells me")

        def chat(self, message):
            answer = yield Peer().ask("ping")
            return f"{answer.content} ({answer.intent})"

    assert drive(lambda: Asker().receive("go")).contents == ["pong (inform)"]


def test_nobody_hears_the_replies_of_what_was_told_from_outside():
    """Rule 4 and 14: the caller who tells does not wait; the replies wake nobody."""
    log = Notebook()
    tell(Peer(name="Bob"), Message("well?", intent="request"), observe=log)
    assert log.said == [
        "you > Bob: well? (request)",
        "Bob > you: one (inform)",
        "Bob > you: two (inform)",
    ]


def test_a_teller_named_as_sender_hears_what_is_answered_by_name():
    """Rule 4: told from outside in the name of a node, that node is the teller."""

    class Player(Node):
        def inform(self, message):
            yield Message({"ping": "pong", "pong": "ping"}[message.content], intent="inform")

    ann, bob = Player(name="Ann"), Player(name="Bob")
    serve = Message("ping", sender=ann, intent="inform")
    assert lines(islice(watch(bob, serve), 4)) == [
        "Ann > Bob: ping (inform)",
        "Bob > Ann: pong (inform)",
        "Ann > Bob: ping (inform)",
        "Bob > Ann: pong (inform)",
    ]
