"""`GroupChatNode`: each utterance reaches everybody else once, breadth first, and it ends."""

import pytest

from clock import FakeClock
from drivers import every_driver
from kinds import ALL, SPEAKING, kinds
from llambdao import (
    GroupChatNode,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    ask,
    heard,
    sleep,
    turns,
)


class Sage(Node):
    """Says who it is and what it heard from whom."""

    def chat(self, message):
        return f"{self.name}<{message.content[:8]}"


def said(node, message="go", **options):
    """What comes back, as words."""
    return [one.content for one in node.receive(message, **options)]


def sages(names="ABC", cls=Sage):
    """One for each letter."""
    return [cls(name=name) for name in names]


@every_driver
@kinds(*ALL)
def test_breadth_first(handler, drive):
    """Everybody answers the opening, then each answer goes round, the oldest first."""

    class Talker(Node):
        @handler
        def chat(self, message):
            yield f"{self.name}<{message.content[:3]}"

    table = GroupChatNode(*sages(cls=Talker), until=turns(11))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == [
        "A<go",
        "B<go",
        "C<go",
        "B<A<g",
        "C<A<g",
        "A<B<g",
        "C<B<g",
        "A<C<g",
        "B<C<g",
        "A<B<A",
        "C<B<A",
    ]


@every_driver
def test_the_round_table_of_the_founding_document(drive):
    """Three philosophers, five turns: word for word."""

    class Philosopher(Node):
        def chat(self, message):
            yield Message(f"{self.name} wonders: {message.content}", intent="chat")

    names = ("Rumi", "Lao Tzu", "Marcus Aurelius")
    table = GroupChatNode(*sages(names, Philosopher), until=turns(5) | heard("silence"))
    outcome = drive(lambda: table.receive(Message("Why?", intent="chat")))
    assert outcome.contents == [
        "Rumi wonders: Why?",
        "Lao Tzu wonders: Why?",
        "Marcus Aurelius wonders: Why?",
        "Lao Tzu wonders: Rumi wonders: Why?",
        "Marcus Aurelius wonders: Rumi wonders: Why?",
    ]


@every_driver
def test_each_utterance_reaches_everybody_else_exactly_once(drive):
    """Nobody hears itself; nobody hears anything twice."""
    ears = []

    class Listener(Node):
        left: int = 3

        def chat(self, message):
            ears.append((self.name, message.content))
            if self.left:
                self.left = self.left - 1
                yield f"{self.name}{3 - self.left}"

    table = GroupChatNode(*sages("ABCD", Listener))
    outcome = drive(lambda: table.receive("go"))
    assert sorted(outcome.contents) == [f"{n}{i}" for n in "ABCD" for i in (1, 2, 3)]
    assert outcome.reason == "done"
    expected = [(n, "go") for n in "ABCD"]
    expected += [(n, f"{m}{i}") for n in "ABCD" for m in "ABCD" if m != n for i in (1, 2, 3)]
    assert sorted(ears) == sorted(expected)


@every_driver
def test_it_ends_when_nobody_has_more_to_say(drive):
    """An empty queue is the end, not an error."""

    class Shy(Node):
        def chat(self, message):
            if message.content == "go":
                yield f"{self.name} says hello"

    outcome = drive(lambda: GroupChatNode(*sages("AB", Shy)).receive("go"))
    assert outcome.contents == ["A says hello", "B says hello"]
    assert outcome.reason == "done"


@every_driver
@pytest.mark.parametrize("most", [1, 2, 3, 4, 17, 150])
def test_turns_stop_exactly(most, drive):
    """`until` is asked at each utterance, so it stops in the middle of a round as well."""
    table = GroupChatNode(*sages(), until=turns(most))
    outcome = drive(lambda: table.receive("go"))
    assert len(outcome.contents) == most
    assert outcome.reason == "done"


@every_driver
@kinds(*SPEAKING)
def test_nobody_speaks_behind_the_end(handler, drive):
    """Who was about to say more when it ended is cancelled."""
    log = []

    class Talker(Node):
        @handler
        def chat(self, message):
            try:
                for number in range(3):
                    log.append(f"{self.name}{number}")
                    yield f"{self.name}{number}"
            finally:
                log.append(f"{self.name} over")

    table = GroupChatNode(*sages("AB", Talker), until=turns(2))
    assert drive(lambda: table.receive("go")).contents == ["A0", "A1"]
    assert log == ["A0", "A1", "A over"]


@every_driver
def test_heard_stops_with_the_word(drive):
    """The utterance with the word is the last."""

    class Talker(Node):
        def chat(self, message):
            yield (
                f"{self.name} is DONE"
                if message.content.startswith("A")
                else f"{self.name} goes on"
            )

    table = GroupChatNode(*sages("ABC", Talker), until=heard("done"))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == ["A goes on", "B goes on", "C goes on", "B is DONE"]


def test_the_opening_is_no_utterance():
    """What came from outside is not counted, nor looked at by `until`."""
    assert len(said(GroupChatNode(*sages(), until=turns(2)), "go")) == 2

    class Mumbler(Node):
        def chat(self, message):
            return "hm"

    table = GroupChatNode(*sages("AB", Mumbler), until=heard("done") | turns(4))
    assert len(said(table, "done")) == 4


def test_one_table_for_many_conversations():
    """`until` keeps no count of its own: each conversation begins at the beginning."""
    table = GroupChatNode(*sages(), until=turns(4))
    assert said(table) == said(table)


@every_driver
def test_a_member_may_say_several_things(drive):
    """Each of them is an utterance."""

    class Talker(Node):
        def chat(self, message):
            if message.content == "go":
                yield f"{self.name}1"
                yield f"{self.name}2"

    table = GroupChatNode(*sages("AB", Talker))
    assert drive(lambda: table.receive("go")).contents == ["A1", "A2", "B1", "B2"]


@every_driver
def test_members_that_do_not_chat_are_not_addressed(drive):
    """They are no hindrance, either."""

    class Deaf(Node):
        def query(self, message):
            raise AssertionError

    table = GroupChatNode(Sage(name="A"), Deaf(), Sage(name="B"), until=turns(3))
    assert drive(lambda: table.receive("go")).contents == ["A<go", "B<go", "B<A<go"]


@every_driver
def test_whatever_is_said_is_passed_on_as_chat(drive):
    """Its own intent is kept in the metadata; what the caller hears is as it was said."""

    class Informer(Node):
        def chat(self, message):
            if message.content == "go":
                yield Message("news", intent="inform")

    class Listener(Node):
        def chat(self, message):
            ears.append((message.content, message.intent, message.metadata.get("intent")))

    ears = []
    table = GroupChatNode(Informer(), Listener())
    outcome = drive(lambda: table.receive("go"))
    assert [(one.content, one.intent) for one in outcome.replies] == [("news", "inform")]
    assert ears == [("go", "chat", None), ("news", "chat", "inform")]


def test_the_author_is_kept():
    """Whoever hears an utterance hears whose it is, and what it answers."""
    ears = []

    class Listener(Node):
        def chat(self, message):
            ears.append((self.name, message.sender and message.sender.name, message.reply_to))
            if message.content == "go":
                yield f"hello from {self.name}"

    opening = Message("go")
    said(GroupChatNode(*sages("AB", Listener)), opening)
    assert ears == [
        ("A", None, None),
        ("B", None, None),
        ("B", "A", opening),
        ("A", "B", opening),
    ]


@every_driver
def test_an_opening_from_a_member_is_not_told_to_that_member(drive):
    """Left out is the author, also of the opening."""
    a, b, c = sages()
    table = GroupChatNode(a, b, c, until=turns(3))
    outcome = drive(lambda: table.receive(Message("hi", sender=a)))
    assert outcome.contents == ["B<hi", "C<hi", "A<B<hi"]


@every_driver
def test_who_thinks_longer_speaks_later(drive):
    """Replies of a round come as they arrive; nobody waits for the slow one."""

    class Thinker(Node):
        seconds: float = 0

        def chat(self, message):
            if message.content == "go":
                yield sleep(self.seconds)
                yield self.name

    table = GroupChatNode(
        Thinker(name="A", seconds=2), Thinker(name="B"), Thinker(name="C", seconds=1)
    )
    outcome = drive(lambda: table.receive("go", clock=FakeClock()))
    assert outcome.contents == ["B", "C", "A"]


# -- nested ------------------------------------------------------------------------------------


@every_driver
def test_a_group_in_a_group_does_a_single_round_per_utterance(drive):
    """`until` belongs to the outermost; left out is the member through which it came."""
    inner = GroupChatNode(*sages("BC"), name="inner")
    table = GroupChatNode(Sage(name="A"), inner, until=turns(9))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == [
        "A<go",
        "B<go",
        "C<go",
        "B<A<go",
        "C<A<go",
        "A<B<go",
        "A<C<go",
        "A<B<A<go",
        "A<C<A<go",
    ]


@every_driver
def test_a_group_in_a_mapper_in_a_group_is_a_group_in_a_group(drive):
    """Networks that only relay make no difference."""
    inner = GroupChatNode(*sages("BC"), name="inner")
    table = GroupChatNode(Sage(name="A"), MapperNode(inner), until=turns(5))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == ["A<go", "B<go", "C<go", "B<A<go", "C<A<go"]


@every_driver
def test_a_group_with_an_until_of_its_own_talks_until_then(drive):
    """Also inside another one."""
    inner = GroupChatNode(*sages("BC"), until=turns(3), name="inner")
    table = GroupChatNode(Sage(name="A"), inner, until=turns(5))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == ["A<go", "B<go", "C<go", "C<B<go", "B<A<go"]


@every_driver
def test_a_group_in_a_mapper_alone_is_the_outermost(drive):
    """It talks to its end: nobody else's `until` covers it."""
    table = GroupChatNode(*sages("AB"), most=5)
    outcome = drive(lambda: MapperNode(table).receive("go"))
    assert len(outcome.contents) == 5


@every_driver
def test_a_group_that_is_asked_is_the_outermost(drive):
    """A handler that asks a table waits for all it says; the answer is the last of it."""

    class Asker(Node):
        def chat(self, message):
            answers = yield table.ask("go", intent="chat", every=True)
            return f"{len(answers)} {answers[-1].content}"

    table = GroupChatNode(*sages("AB"), until=turns(3))
    assert drive(lambda: Asker().receive("x")).contents == ["3 B<A<go"]
    assert ask(table, "go").content == "B<A<go"


# -- questions -----------------------------------------------------------------------------------


@every_driver
@kinds("generator", "async-generator")
def test_a_question_goes_to_the_table(handler, drive):
    """A question without `to` is heard by everybody else at once; the last answer goes back."""

    class Asker(Node):
        @handler
        def chat(self, message):
            if message.content == "go":
                answer = yield Message("who?", intent="query")
                yield f"so it was {answer.content}"

    class Knows(Node):
        def chat(self, message):
            if message.content == "who?":
                yield f"{self.name}!"

    table = GroupChatNode(Asker(name="A"), *sages("BC", Knows))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == ["who?", "B!", "C!", "so it was C!"]


@every_driver
def test_a_question_that_the_table_cannot_answer_raises_no_answer(drive):
    """Silence is `NoAnswer` at the `yield`."""

    class Asker(Node):
        def chat(self, message):
            if message.content == "go":
                try:
                    yield Message("who?", intent="query")
                except NoAnswer:
                    yield "nobody knows"

    class Mute(Node):
        def chat(self, message):
            pass

    outcome = drive(lambda: GroupChatNode(Asker(), Mute()).receive("go"))
    assert outcome.contents == ["who?", "nobody knows"]


@every_driver
def test_a_question_counts_as_an_utterance(drive):
    """So `until` may end the talk at the question: who asked is cancelled, and hears nothing."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield Message("who?", intent="query")
                log.append("answered")
            finally:
                log.append("over")

    log = []
    table = GroupChatNode(Asker(), Sage(name="B"), until=turns(1))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.contents == ["who?"]
    assert log == ["over"]


# -- errors --------------------------------------------------------------------------------------


@every_driver
def test_a_member_that_fails_does_not_silence_the_others(drive):
    """The others' replies of that round still come, then the error."""

    class Broken(Node):
        def chat(self, message):
            raise ZeroDivisionError

    table = GroupChatNode(Broken(), Sage(name="B"), until=turns(5))
    outcome = drive(lambda: table.receive("go"))
    assert outcome.before == ["B<go"]
    assert type(outcome.error) is ZeroDivisionError


def test_an_empty_table_and_a_table_for_one():
    """Nobody has anything to say, or one has it all."""
    assert said(GroupChatNode()) == []
    assert said(GroupChatNode(Sage(name="A"))) == ["A<go"]


def test_other_intents_are_relayed():
    """A group chat chats; whatever else comes in it relays like a mapper."""

    class Knows(Node):
        def query(self, message):
            return self.name

    table = GroupChatNode(*sages("AB", Knows))
    assert said(table, Message("?", intent="query")) == ["A", "B"]
