"""The exact requests: two to five who speak, both APIs, every kind of server.

The files in `data/openai_bodies` are compared to the letter, and held against a strict server of
their kind. LLAMBDAO_GOLDEN=1 writes them anew; look at the difference before you keep it.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from llambdao import Message, Node
from llambdao.openai import PROFILES, OpenAIModel, Tool, prepare_for_openai
from openai_server import check_chat, check_responses

FOLDER = Path(__file__).parent / "data" / "openai_bodies"
CASES = [(name, "chat") for name in PROFILES]
CASES += [(name, "responses") for name, profile in PROFILES.items() if profile.responses]

RUMI = Node(name="Rumi", persona="A poet of love.")
LAO_TZU, MARCUS, ANN = Node(name="Lao Tzu"), Node(name="Marcus Aurelius"), Node(name="Ann")
TOOL = Tool(
    "weather",
    "The weather in a town.",
    {
        "type": "object",
        "properties": {"town": {"type": "string"}},
        "required": ["town"],
        "additionalProperties": False,
    },
    strict=True,
)
SAYS = {
    "name": "Verdict",
    "schema": {
        "type": "object",
        "properties": {"guilty": {"type": "boolean"}, "why": {"type": "string"}},
        "required": ["guilty", "why"],
        "additionalProperties": False,
    },
}


def said(*lines):
    """Messages from pairs of speaker and words."""
    return [Message(words, sender=node) for node, words in lines]


def called():
    """The viewer calls two tools; somebody speaks meanwhile."""
    calls = tuple(
        {"id": f"call_{town}", "name": "weather", "arguments": json.dumps({"town": town})}
        for town in ("Konya", "Rome")
    )
    call = Message("Let me look.", sender=RUMI, metadata={"tool_calls": calls}, id="m1")
    results = [
        call.reply(f"Sun in {one['id'][5:]}.", metadata={"tool_call_id": one["id"]})
        for one in calls
    ]
    asked = Message("Is it warm in Konya, or in Rome?", sender=ANN)
    return [asked, call, results[0], Message("Hurry!", sender=ANN), results[1]]


CONVERSATIONS = {
    "nobody has spoken": ([], {}),
    "two speak": (said((ANN, "Why?"), (RUMI, "Love."), (ANN, "And then?")), {}),
    "three speak": (
        said((ANN, "Why?"), (LAO_TZU, "Why not?"), (RUMI, "Love."), (LAO_TZU, "Hm.\nRumi: No.")),
        {},
    ),
    "four speak, one is nobody": (
        said((RUMI, "I begin."), (RUMI, "So."), (None, "Who?"), (MARCUS, "He."), (ANN, "Oh.")),
        {},
    ),
    "five speak, the viewer last": (
        said((None, "a"), (LAO_TZU, "b"), (MARCUS, "c"), (ANN, "d"), (RUMI, "e")),
        {},
    ),
    "tools are called": (called(), {"tools": [TOOL]}),
    "a typed reply is asked for": (said((ANN, "Is he guilty?")), {"says": SAYS}),
    "all at once": (said((ANN, "Why?")), {"stream": False}),
}


def bodies(name, api):
    """What would be sent, conversation by conversation."""
    model = OpenAIModel(
        "llama3", "http://127.0.0.1:9/v1", "key", api=api, profile=name, max_tokens=200
    )
    return {
        title: model.body(prepare_for_openai(messages, RUMI, **model.form), **asked)
        for title, (messages, asked) in CONVERSATIONS.items()
    }


@pytest.mark.parametrize(("name", "api"), CASES)
def test_the_bodies_are_these_to_the_letter(name, api):
    """Who said what, under which role and name, and which fields this server gets."""
    path = FOLDER / f"{name}-{api}.json"
    found = json.dumps(bodies(name, api), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("LLAMBDAO_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8")


@pytest.mark.parametrize(("name", "api"), CASES)
def test_a_strict_server_of_that_kind_takes_them(name, api):
    """No field it does not know, no order it does not like, no result without its call."""
    server = SimpleNamespace(kind=name, alternate=name != "openai")
    for body in bodies(name, api).values():
        (check_chat if api == "chat" else check_responses)(json.loads(json.dumps(body)), server)


def test_names_may_be_sent_in_their_field_too():
    """If the profile says so: without spaces, and a strict server takes them."""
    named = replace(PROFILES["openai"], name_field=True)
    model = OpenAIModel("m", "http://127.0.0.1:9/v1", "key", api="chat", profile=named)
    messages, _ = CONVERSATIONS["three speak"]
    body = model.body(prepare_for_openai(messages, RUMI, **model.form))
    assert [item.get("name") for item in body["messages"]] == [
        None, "Ann", "Lao_Tzu", None, "Lao_Tzu",
    ]  # fmt: skip
    check_chat(body, SimpleNamespace(kind="openai", alternate=False))


def test_there_is_a_file_for_each_case_and_no_other():
    """What nobody compares would prove nothing."""
    assert {path.stem for path in FOLDER.iterdir()} == {f"{name}-{api}" for name, api in CASES}
