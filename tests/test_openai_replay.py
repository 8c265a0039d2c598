"""Tapes: real traffic recorded once, replayed piece by piece, and clear about what is missing."""

import asyncio
import json
import os
import sys

import pytest

from llambdao import Message, Node, ask, tell
from llambdao.openai import (
    BadTape,
    IsOffline,
    NotRecorded,
    OpenAIModel,
    OpenAINode,
    Refused,
    ReplayModel,
    ScriptedModel,
    Tool,
    ToolCall,
    Usage,
    offline,
    price_of,
)
from llambdao.testing import check_node
from openai_server import serving

CHAT = [{"role": "user", "content": "Hi"}]
TOOL = Tool("add", "Adds.", {"type": "object", "properties": {}})


@pytest.fixture
def path(tmp_path):
    """Where a tape is to be."""
    return tmp_path / "tape.json"


def heard(model, messages=CHAT, **asked):
    """All pieces of an answer."""

    async def hear():
        return [piece async for piece in model.stream(messages, **asked)]

    return asyncio.run(hear())


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_what_a_real_server_said_is_replayed_without_it(path, api, kind):
    """The same pieces in the same order; nobody is asked again."""
    with serving("Hello ", "there, ", "friend.", kind=kind) as server:
        real = OpenAIModel("llama3", server.url, server.key, api=api)
        recording = talk(ReplayModel(path, real))
        assert len(server.requests) == 3
    with offline():
        assert talk(ReplayModel(path)) == recording
    words = [said for said, _ in recording[:4]]
    assert words == ["Hello ", "there, ", "friend.", "Hello there, friend."]
    assert ReplayModel(path).takes == 3


def talk(model):
    """What is said to three questions, in pieces, and what it cost."""
    rumi = OpenAINode(name="Rumi", model=model)
    tell(rumi, Message("It rains.", intent="inform"))
    return [
        (one.content, getattr(one, "metadata", {}).get("tokens"))
        for words in ("Why?", "Why not?", "Why?")
        for one in rumi.receive(words, deltas=True)
    ]


class Learning(ScriptedModel):
    """Knows only after its first answer how it wants a conversation written."""

    @property
    def form(self):
        """In turns at first, then as it was."""
        return {"alternate": not self.requests}


def test_what_is_learned_of_a_server_meanwhile_changes_no_request(path):
    """A conversation is written the same way from the first request on, then and later."""
    recorded = talk(ReplayModel(path, Learning("1", "2", "3")))
    assert talk(ReplayModel(path)) == recorded


def test_calls_and_costs_are_on_the_tape_too(path):
    """Each where it came."""
    call, usage = ToolCall("c1", "add", '{"a": 1'), Usage("m", 10, 5, 4)
    model = ScriptedModel(("Let me ", call, "see.", usage))
    recorded = heard(ReplayModel(path, model), tools=[TOOL])
    assert recorded == ["Let me ", call, "see.", usage]
    assert heard(ReplayModel(path), tools=[TOOL]) == recorded


def test_the_tape_is_made_for_people_to_read(path):
    """Indented JSON with the letters as they are."""
    heard(ReplayModel(path, ScriptedModel("Grüße, 老子.")), [{"role": "user", "content": "道?"}])
    assert path.read_text("utf-8") == (
        '{\n "format": 1,\n "model": "scripted",\n "form": {},\n "takes": [\n  {\n'
        '   "request": {\n    "messages": [\n     {\n      "role": "user",\n'
        '      "content": "道?"\n     }\n    ]\n   },\n'
        '   "answer": [\n    "Grüße,",\n    " 老子."\n   ]\n  }\n ]\n}\n'
    )


def test_the_same_request_is_answered_in_the_order_of_recording(path):
    """And once more than that is one too many."""
    recording = ReplayModel(path, ScriptedModel("One.", "Two."))
    assert [heard(recording), heard(recording)] == [["One."], ["Two."]]
    replaying = ReplayModel(path)
    assert [heard(replaying), heard(replaying)] == [["One."], ["Two."]]
    with pytest.raises(NotRecorded, match=r"this request is 2 times on .* and was made once more"):
        heard(replaying)


def test_a_request_that_is_not_on_the_tape_is_shown_beside_the_nearest(path):
    """What differs, line by line."""
    recording = ReplayModel(path, ScriptedModel("1", "2"))
    heard(recording, [{"role": "user", "content": "Something else altogether"}] * 5)
    heard(recording, [{"role": "system", "content": "Be kind."}, *CHAT])
    with pytest.raises(NotRecorded) as caught:
        heard(ReplayModel(path), [{"role": "system", "content": "Be brief."}, *CHAT])
    assert str(caught.value) == (
        f"this request is not among the 2 on {path}; name the model to record it,"
        ' ReplayModel(..., model="openai:gpt-5-mini"). The nearest differs in:\n'
        "--- tape\n+++ request\n@@ -3,3 +3,3 @@\n   {\n"
        '-   "content": "Be kind.",\n+   "content": "Be brief.",\n    "role": "system"'
    )


def test_what_is_missing_is_recorded_where_a_model_is_named(path):
    """Only that; the rest is replayed."""
    heard(ReplayModel(path, ScriptedModel("One.")))
    model = ScriptedModel("New.")
    both = ReplayModel(path, model)
    other = [{"role": "user", "content": "Else?"}]
    assert (heard(both), heard(both, other)) == (["One."], ["New."])
    assert len(model.requests) == 1
    assert heard(ReplayModel(path), other) == ["New."]


def test_what_failed_is_not_recorded(path):
    """Nor what broke off."""
    model = ReplayModel(path, ScriptedModel(Refused("no"), ("Half", Refused("cut")), "Whole."))
    for _ in range(2):
        with pytest.raises(Refused):
            heard(model)
    assert not path.exists()
    assert heard(model) == ["Whole."]
    assert ReplayModel(path).takes == 1


def test_a_key_is_never_on_the_tape(path, monkeypatch):
    """Wherever it stands; the request is found again all the same."""
    with serving("Your key is right-key.") as server:
        server.key = "right-key"
        real = OpenAIModel("llama3", server.url, server.key)
        recorded = heard(ReplayModel(path, real), [{"role": "user", "content": "right-key?"}])
        assert recorded == ["Your key is right-key."]
        monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
        asked = [{"role": "user", "content": "What is sk-environment?"}]
        heard(ReplayModel(path, real), asked)
    assert "right-key" not in path.read_text()
    assert "sk-environment" not in path.read_text()
    assert heard(ReplayModel(path), asked) == ["Your key is ***."]


def test_the_model_is_made_when_it_is_needed(path, monkeypatch):
    """Replaying needs no key, even where a model is named."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    heard(ReplayModel(path, ScriptedModel("One.")))
    assert heard(ReplayModel(path, "openai:gpt-5-mini")) == ["One."]


def test_offline_nothing_is_recorded(path):
    """The model that would be asked says so."""
    with serving() as server:
        model = ReplayModel(path, OpenAIModel("llama3", server.url, server.key))
        with offline(), pytest.raises(IsOffline):
            heard(model)
        assert server.requests == []


def test_what_is_replayed_is_free(path):
    """What is recorded costs what its model does."""
    recording = ReplayModel(path, OpenAIModel("gpt-5-mini", api_key="k", base_url=None))
    assert price_of(recording).input > 0
    heard(ReplayModel(path, ScriptedModel("One.")))
    assert price_of(ReplayModel(path)).input == 0


def test_a_node_with_a_tape_is_a_good_node(path):
    """By the conformance suite."""
    message = Message("Hi", intent="chat")
    ask(OpenAINode(name="Ann", model=ReplayModel(path, ScriptedModel("Hello."))), message.but())
    check_node(lambda: OpenAINode(name="Ann", model=ReplayModel(path)), [message])


def test_many_may_record_at_once(path):
    """Of one model; nothing is lost."""

    class Crowd(Node):
        nodes: list[Node]

        async def chat(self, message):
            await asyncio.gather(*(node.ask(f"{n}?") for n, node in enumerate(self.nodes)))
            yield "Done."

    model = ReplayModel(path, ScriptedModel(*map(str, range(20))))
    ask(Crowd(nodes=[OpenAINode(model=model) for _ in range(20)]), "Go")
    assert ReplayModel(path).takes == 20


WRONG = {
    "nothing": "",
    "no JSON": "{",
    "another JSON": '{"a": 1}',
    "a list": "[]",
    "bytes": b"\xff\xfe\x00",
    "another format": '{"format": 2, "model": "m", "form": {}, "takes": []}',
    "a piece that is none": json.dumps(
        {"format": 1, "model": "m", "form": {}, "takes": [{"request": {}, "answer": [{}]}]}
    ),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_tape_is_refused(path, text):
    """By name, and it is not written over."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadTape, match=str(path)):
        ReplayModel(path, ScriptedModel("Hi"))


def test_without_a_tape_and_a_model_there_is_nothing_to_replay(path):
    """Said when it is made."""
    with pytest.raises(NotRecorded, match=f"there is no tape {path}; to record one name a model"):
        ReplayModel(path)
    with pytest.raises(BadTape, match="cannot be read"):
        ReplayModel(path.parent)


def test_a_tape_that_cannot_be_written_is_an_error(path):
    """And what was on it is still there."""
    model = ReplayModel(path.parent / "no" / "tape.json", ScriptedModel("Hi"))
    with pytest.raises(BadTape, match="cannot be written: No such file"):
        heard(model)
    if sys.platform != "win32" and os.geteuid() != 0:
        heard(ReplayModel(path, ScriptedModel("One.")))
        path.parent.chmod(0o500)
        with pytest.raises(BadTape):
            heard(ReplayModel(path, ScriptedModel("Two.")), [*CHAT, *CHAT])
        path.parent.chmod(0o700)
        assert heard(ReplayModel(path)) == ["One."]
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
