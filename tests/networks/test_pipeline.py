"""`Pipeline`: each stage works on what the one before it answered."""

import pytest

from drivers import every_driver
from kinds import ALL, kinds
from llambdao import Message, NoAnswer, Node, Pipeline, UnknownIntent
from transcript import lines


class Add(Node):
    """Adds a letter."""

    what: str

    def chat(self, message):
        return message.content + self.what

    request = chat


class Mute(Node):
    """Says nothing."""

    def chat(self, message):
        pass


@every_driver
@kinds(*ALL)
def test_each_stage_gets_the_last_reply_of_the_one_before(handler, drive):
    """What the last stage says is what is heard, reply by reply."""

    class Stage(Node):
        @handler
        def chat(self, message):
            yield f"not {self.name}"
            yield message.content + self.name

    line = Pipeline(Stage(name="b"), Stage(name="c"), Stage(name="d"))
    outcome = drive(lambda: line.receive("a"))
    assert outcome.contents == ["not d", "abcd"]


@every_driver
def test_the_intent_stays_the_same_all_the_way(drive):
    """A request remains one, though the answers are informs."""
    line = Pipeline(Add(what="b"), Add(what="c"))
    assert drive(lambda: line.receive(Message("a", intent="request"))).contents == ["abc"]


@every_driver
def test_a_stage_that_says_nothing_is_no_answer(drive):
    """Silence in the line stops it; silence at its end is silence."""
    outcome = drive(lambda: Pipeline(Add(what="b"), Mute(name="M"), Add(what="c")).receive("a"))
    assert type(outcome.error) is NoAnswer
    assert "M" in str(outcome.error)
    assert drive(lambda: Pipeline(Add(what="b"), Mute()).receive("a")).contents == []


@every_driver
def test_an_error_in_a_stage_reaches_the_caller(drive):
    """And the later stages never begin."""

    class Broken(Node):
        def chat(self, message):
            raise ZeroDivisionError

    class Never(Node):
        def chat(self, message):
            raise AssertionError

    outcome = drive(lambda: Pipeline(Add(what="b"), Broken(), Never()).receive("a"))
    assert type(outcome.error) is ZeroDivisionError


def test_a_stage_without_the_intent_is_told():
    """A line with a stage that cannot do it is a mistake."""
    with pytest.raises(UnknownIntent, match="Mute"):
        list(Pipeline(Mute(), Add(what="b")).receive(Message("a", intent="request")))


def test_no_stage_and_one_stage():
    """Nothing is said, or what the one says."""
    assert list(Pipeline().receive("a")) == []
    assert [said.content for said in Pipeline(Add(what="b")).receive("a")] == ["ab"]


def test_the_last_stage_speaks_for_itself():
    """What is heard is signed by it."""
    line = Pipeline(Add(what="b", name="B"), Add(what="c", name="C"), name="line")
    (said,) = line.receive("a")
    assert said.sender.name == "C"
    assert lines([said])[0].startswith("C > ")


def test_pipelines_in_pipelines():
    """A line is a node, so it can be a stage."""
    inner = Pipeline(Add(what="b"), Add(what="c"))
    outer = Pipeline(inner, Add(what="d"), inner)
    assert [said.content for said in outer.receive("a")] == ["abcdbc"]


def test_one_node_may_be_several_stages():
    """Also the last two: it hears its own answer, for that is what its stage works on."""
    add = Add(what="b")
    assert [said.content for said in Pipeline(add, add, add).receive("a")] == ["abbb"]
