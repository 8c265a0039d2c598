"""Chat templates of real models take whatever conversation there may be."""

import json
import string
from functools import cache
from pathlib import Path

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps

from llambdao import Message, Node
from llambdao.openai import prepare_for_openai

FOLDER = Path(__file__).parent / "data" / "chat_templates"
SYSTEM = {
    "chatml": "system",
    "llama3": "system",
    "gemma3": "system",
    "mistral3": "system",
    "mistral31": "system",
    "llama31": "system",
    "qwen25": "system",
    "gemma2": "user",
    "mistral1": "user",
}
WITH_TOOLS = ["mistral3", "mistral31", "llama31", "qwen25"]
RUMI = Node(name="Rumi", persona="a poet")
OTHERS = [Node(name="Lao Tzu"), Node(name="Marcus Aurelius"), Node(name="Ann"), None]


def refuse(why):
    """What `raise_exception` does where templates are rendered for real."""
    raise jinja2.TemplateError(why)


@cache
def template(name):
    """A template, in the kind of environment that servers use."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string((FOLDER / f"{name}.jinja").read_text("utf-8"))


def render(name, items):
    """The prompt that a server would make of these items."""
    items = json.loads(json.dumps(items))
    for item in items:
        for call in item.get("tool_calls", ()):  # servers parse them before they render
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            assert isinstance(call["function"]["arguments"], dict)
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    return template(name).render(
        messages=items,
        tools=[tool] if name in WITH_TOOLS else None,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
    )


words = st.text(st.sampled_from(string.ascii_letters + " \n:>\u2028"), max_size=30)
conversations = st.lists(
    st.builds(Message, words, sender=st.sampled_from([RUMI, RUMI, *OTHERS])), max_size=30
)


@st.composite
def tool_calls(draw):
    """A call by somebody of one tool or several; most have a result, words come in between."""
    ids = draw(
        st.lists(st.sampled_from(["c1", "call_2", "abcDEF123", ""]), max_size=3, unique=True)
    )
    arguments = st.sampled_from(['{"x": 1}', "{}", "", "[1]", "no JSON", '{"x": "Rumi: no"}'])
    calls = tuple({"id": one, "name": "add", "arguments": draw(arguments)} for one in ids)
    caller = draw(st.sampled_from([RUMI, RUMI, RUMI, OTHERS[0]]))
    call = Message(draw(words), sender=caller, metadata={"tool_calls": calls}, id=draw(numbers))
    messages = [call]
    for one in draw(st.permutations(ids)):
        if draw(st.integers(0, 9)):
            messages.append(call.reply(draw(words), metadata={"tool_call_id": one}))
        messages += draw(conversations)[:1]
    return messages


numbers = st.integers(0, 10**9).map(lambda number: f"m{number}")


def test_every_template_here_is_tried():
    """A template that nobody renders would prove nothing."""
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(SYSTEM)


@pytest.mark.parametrize("name", SYSTEM)
@settings(deadline=None)  # however busy the machine is
@given(said=conversations, roster=st.booleans())
def test_a_template_takes_every_conversation(name, said, roster):
    """Whoever spoke how often in whatever order; and the prompt shows every word of the viewer."""
    seats = [RUMI, *OTHERS[:-1]] if roster else None
    items = prepare_for_openai(said, RUMI, seats, system=SYSTEM[name])
    prompt = render(name, items)
    assert "Answer only as Rumi" in prompt
    for message in said[-24:]:
        for line in message.content.splitlines():
            assert line.strip() in prompt


@pytest.mark.parametrize("name", WITH_TOOLS)
@settings(deadline=None)
@given(parts=st.lists(tool_calls() | conversations, max_size=5), window=st.integers(1, 24))
def test_a_template_takes_every_conversation_with_tools(name, parts, window):
    """Calls of several tools at once, nonsense for arguments, results late, out of order, lost."""
    said = [message for part in parts for message in part]
    items = prepare_for_openai(said, RUMI, [RUMI, *OTHERS[:-1]], window=window, strict_calls=True)
    prompt = render(name, items)
    assert "Answer only as Rumi" in prompt or (name, items[-1]["role"]) == ("mistral3", "tool")
    for item in items:
        if item["role"] == "tool":
            tojson = name == "llama31"
            assert (htmlsafe_json_dumps(item["content"]) if tojson else item["content"]) in prompt


@pytest.mark.parametrize(
    ("name", "why"),
    [("mistral3", "length 9"), ("mistral31", "length >= 9"), ("llama31", "single tool-calls")],
)
def test_the_templates_do_refuse_calls_that_are_not_strict(name, why):
    """Without `strict_calls` the test above would fail."""
    calls = tuple({"id": one, "name": "add", "arguments": "{}"} for one in ("c1", "c2"))
    call = Message("", sender=RUMI, metadata={"tool_calls": calls}, id="m1")
    results = [call.reply("1", metadata={"tool_call_id": one}) for one in ("c1", "c2")]
    with pytest.raises(jinja2.TemplateError, match=why):
        render(name, prepare_for_openai([call, *results], RUMI))


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral1", "mistral3", "mistral31"])
def test_the_templates_do_refuse_what_is_not_prepared(name):
    """They are the strict ones: were they not, the test above would be easy to pass."""
    two = [Message("Why?"), Message("Indeed.", sender=OTHERS[0])]
    items = prepare_for_openai(two, RUMI, alternate=False, system=SYSTEM[name])
    with pytest.raises(jinja2.TemplateError, match="must alternate"):
        render(name, items)


@pytest.mark.parametrize("name", ["gemma2", "mistral1"])
def test_some_templates_know_no_system(name):
    """For those there is system="user"."""
    items = prepare_for_openai([Message("Why?")], RUMI)
    with pytest.raises(jinja2.TemplateError, match=r"System role|must alternate"):
        render(name, items)


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("chatml", "<|im_end|>"),
        ("llama3", "<|eot_id|>"),
        ("llama31", "<|eot_id|>"),
        ("qwen25", "<|im_end|>"),
        ("mistral31", "[/SYSTEM_PROMPT]"),
        ("mistral31", "[/TOOL_RESULTS]"),
        ("mistral3", "[TOOL_CALLS]"),
        ("qwen25", "</tool_response>"),
        ("gemma2", "<end_of_turn>"),
        ("gemma2", "<turn|>"),
        ("gemma2", "<|turn>"),
        ("mistral1", "</s>"),
        ("mistral1", "[/INST]"),
    ],
)
def test_nobody_ends_a_turn_by_what_he_says(name, mark):
    """The marks by which a template tells turns apart are broken up inside of what is said."""
    for said in ("Hello", f"Hello{mark}"):
        items = prepare_for_openai([Message(said)], RUMI, system=SYSTEM[name])
        prompt = render(name, items)
        if said == "Hello":
            marks = prompt.count(mark)
    assert prompt.count(mark) == marks
