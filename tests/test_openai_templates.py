"""Chat templates of real models take whatever conversation there may be."""

import string
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llambdao import Message, Node
from llambdao.openai import prepare_for_openai

FOLDER = Path(__file__).parent / "data" / "chat_templates"
SYSTEM = {
    "chatml": "system",
    "llama3": "system",
    "gemma3": "system",
    "mistral3": "system",
    "gemma2": "user",
    "mistral1": "user",
}
RUMI = Node(name="Rumi", persona="a poet")
OTHERS = [Node(name="Lao Tzu"), Node(name="Marcus Aurelius"), Node(name="Ann"), None]


def refuse(why):
    """What `raise_exception` does where templates are rendered for real."""
    raise jinja2.TemplateError(why)


def template(name):
    """A template, in the kind of environment that servers use."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string((FOLDER / f"{name}.jinja").read_text("utf-8"))


def render(name, items):
    """The prompt that a server would make of these items."""
    return template(name).render(
        messages=items, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )


words = st.text(st.sampled_from(string.ascii_letters + " \n:>\u2028"), max_size=30)
conversations = st.lists(
    st.builds(Message, words, sender=st.sampled_from([RUMI, RUMI, *OTHERS])), max_size=30
)


def test_every_template_here_is_tried():
    """A template that nobody renders would prove nothing."""
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(SYSTEM)


@pytest.mark.parametrize("name", SYSTEM)
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


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral1", "mistral3"])
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
        ("gemma2", "<end_of_turn>"),
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
