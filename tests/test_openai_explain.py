"""`explain`: why something was said, to the letter."""

import json

import pytest

from llambdao import GroupChatNode, Message, Node, Pipeline, ask, tell, turns
from llambdao.kernel.errors import Misused
from llambdao.openai import (
    OpenAIModel,
    OpenAINode,
    Price,
    ScriptedModel,
    SummaryNode,
    ToolCall,
    Usage,
    explain,
)
from openai_server import serving


class Verdict(Message, kind="explained.Verdict"):
    """A typed reply."""

    aye: bool


class Clock(Node):
    def query(self, message):
        """The time."""
        return "noon"


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("deltas", [True, False])
def test_the_body_is_what_the_server_got(api, deltas):
    """Exactly, field by field, tools included."""
    with serving("Hello.", kind="openai") as server:
        model = OpenAIModel(
            "llama3", server.url, server.key, api=api, profile="openai", temperature=0.5
        )
        ann = OpenAINode(name="Ann", model=model, deltas=deltas, tools=[Clock(name="clock")])
        said = ask(ann, "Hi")
        [asked] = explain(said).requests
        assert asked.body == server.requests[0]
        assert json.loads(json.dumps(explain(said).dict()))["requests"][0]["body"] == asked.body


def test_a_typed_reply_tells_what_was_asked_for():
    """Of a model that asks no server it is what that was handed."""
    ann = OpenAINode(model=ScriptedModel('{"aye": true}'), says=Verdict)
    [asked] = explain(ask(ann, "Well?")).requests
    assert asked.body["says"]["name"] == "explained_Verdict"
    assert asked.answer.text == '{"aye": true}'


def test_what_was_left_out_and_merged_is_told():
    """With the reason, by message."""
    ann = OpenAINode(name="Ann", model=ScriptedModel(*"12345"), window=2)
    for number in range(3):
        tell(ann, Message(f"News {number}", intent="inform"))
    said = ask(ann, "And?")
    data = explain(said).dict()["requests"][0]
    told = {one["content"]: (one["item"], one["merged"], one["why"]) for one in data["messages"]}
    assert told == {"News 2": (1, True, ""), "And?": (1, True, "")}
    assert "Not shown: 2 earlier messages." in data["body"]["messages"][0]["content"]


def test_each_round_of_tools_is_a_request():
    """In order, with its calls; the cost is that of all."""
    model = ScriptedModel(
        ToolCall("c1", "clock_query", '{"content": "?"}'), "Noon.", usage=Usage("m", 1000, 500)
    )
    ann = OpenAINode(name="Ann", model=model, tools=[Clock(name="clock")], price=Price(1, 2))
    why = explain(ask(ann, "What time is it?"))
    assert [asked.answer.text for asked in why.requests] == ["", "Noon."]
    assert why.requests[0].answer.calls == (ToolCall("c1", "clock_query", '{"content": "?"}'),)
    assert why.requests[1].body["messages"][-1]["content"] == "noon"
    assert (str(why.usd), why.tokens) == ("0.004", 3000)


def test_the_chain_goes_back_to_the_first_cause():
    """Through all who answered, oldest first, as far as is asked for."""
    line = [OpenAINode(name=name, model=ScriptedModel(f"{name} speaks.")) for name in "ABC"]
    said = list(Pipeline(*line).receive("Go!"))[-1]
    assert [str(cause) for cause in explain(said).chain][-1].endswith("speaks.")
    table = GroupChatNode(
        *(OpenAINode(name=name, model=ScriptedModel(*"12345678")) for name in "AB"), until=turns(6)
    )
    last = list(table.receive("Go!"))[-1]
    chain = explain(last).chain
    assert str(chain[0]) == "Go!"
    assert len(explain(last, chain=1).chain) == 1


def test_a_summary_is_explained_as_well():
    """It is said by a model, too."""
    node = SummaryNode(name="minutes", model=ScriptedModel("Nothing happened."))
    said = ask(node, Message("Sum up.", intent="query"))
    assert explain(said).requests[0].answer.text == "Nothing happened."


def test_it_reads_like_a_story():
    """Who said what, because of what, what the model got, what that cost."""
    model = ScriptedModel("Love.", usage=Usage("m", 10, 2))
    said = ask(OpenAINode(name="Rumi", persona="A poet.", model=model), "Why?")
    assert str(explain(said)) == (
        "Rumi: Love.\n\nbecause\n  1. someone: Why?\n\nscripted was asked\n"
        '  {\n    "model": "scripted",\n    "messages": [\n      {\n        "role": "system",\n'
        '        "content": "You are Rumi.\\nA poet.\\nAnswer only as Rumi: speak for nobody else,'
        ' and put no name before your words."\n      },\n      {\n        "role": "user",\n'
        '        "content": "Why?"\n      }\n    ]\n  }\n\n'
        "which is made of\n  someone: 'Why?' -> item 1\n  added: system -> item 0\n"
        "  about 39 tokens\n\nand answered\n  Love.\n\ncost: 12 tokens, 0 usd"
    )


def test_a_node_keeps_only_the_last_requests():
    """As many as `explains` says; what is forgotten is said to be."""
    ann = OpenAINode(name="Ann", model=ScriptedModel(*map(str, range(40))), explains=3)
    said = [ask(ann, "?") for _ in range(40)]
    assert [bool(explain(one).requests) for one in said] == [False] * 37 + [True] * 3
    assert explain(said[0]).missing == "Ann keeps the last 3 it said, explains=3"
    none = OpenAINode(name="Ann", model=ScriptedModel("1"), explains=0)
    assert explain(ask(none, "?")).requests == ()


def test_what_is_kept_is_no_part_of_its_state():
    """Nor of anything that leaves it."""
    ann = OpenAINode(name="Ann", model=ScriptedModel("Secret."))
    ask(ann, "?")
    ann.messages = []
    assert "Secret" not in json.dumps(ann.state()) + ann.model_dump_json()


def test_a_message_from_elsewhere_is_found_within_its_network():
    """Parsed, it knows an address only."""
    ann = OpenAINode(name="Ann", model=ScriptedModel("Yes."))
    said = Message.parse(ask(ann, "?").json())
    assert (
        explain(said).missing
        == "Ann is known by its address only; explain(message, within=network)"
    )
    assert explain(said, within=GroupChatNode(ann)).requests[0].answer.text == "Yes."
    assert explain(said, [Node(), ann]).requests != ()


def test_what_no_model_said_has_causes_all_the_same():
    """And says why there is no request."""
    said = ask(Clock(name="clock"), Message("Time?", intent="query"))
    assert (explain(said).missing, len(explain(said).chain)) == ("clock asks no model", 1)
    assert explain(Message("Hi")).missing == "it came from outside"
    assert "cost: it came from outside" in str(explain(Message("Hi")))
    with pytest.raises(Misused, match="explain takes a message that was said"):
        explain("Hi")
