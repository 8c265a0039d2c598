"""Models that need no server, the offline voice, and how a model is found by its name."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llambdao import GroupChatNode, Message, Node, ask, tell, turns
from llambdao.openai import (
    EchoModel,
    FunctionModel,
    IsOffline,
    Model,
    ModelError,
    NoKey,
    NoServer,
    OfflineModel,
    OpenAIModel,
    OpenAINode,
    ScriptedModel,
    ScriptEnded,
    SummaryNode,
    UnknownModel,
    model_from,
    offline,
    prepare_for_openai,
)
from llambdao.openai._offline import phrases
from llambdao.openai._voices import ANYBODY, VOICES

PHILOSOPHERS = ("Rumi", "Lao Tzu", "Marcus Aurelius")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment without a key or a server."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def complete(model, *words):
    """What a model says to these words."""
    return asyncio.run(model.complete(prepare_for_openai([Message(word) for word in words])))


async def pieces(model, *words):
    """What a model says to these words, in pieces."""
    said = prepare_for_openai([Message(word) for word in words])
    return [piece async for piece in model.stream(said)]


def table(until=20, model="offline", **personas):
    """What three philosophers, or others, say to a question at a table."""
    names = personas or dict.fromkeys(PHILOSOPHERS, "")
    nodes = [OpenAINode(name=name, persona=what, model=model) for name, what in names.items()]
    group = GroupChatNode(*nodes, until=turns(until))
    return [*group.receive("What is the purpose of life?")]


# -- importing -------------------------------------------------------------------------------------


def test_the_sdk_is_imported_by_the_first_real_model_only():
    """Neither by us, nor by the models that need no server."""
    program = (
        "import sys, llambdao; assert 'llambdao.openai' not in sys.modules\n"
        "from llambdao import ask\n"
        "from llambdao.openai import OpenAINode, OpenAIModel\n"
        "ask(OpenAINode(model='offline'), 'Hello')\n"
        "assert 'openai' not in sys.modules\n"
        "OpenAIModel('llama3', base_url='http://127.0.0.1:9')\n"
        "assert 'openai' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch):
    """And how to go on without it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match=r"pip install 'llambdao\[openai\]'.*model=\"offline\""):
        OpenAIModel("llama3", base_url="http://127.0.0.1:9")


# -- the small models ------------------------------------------------------------------------------


def test_a_script_is_said_in_order_and_remembers_what_it_was_asked():
    """Line by line; what it saw stays in `requests`."""
    model = ScriptedModel("One.", "Two.")
    assert [complete(model, "a"), complete(model, "b")] == ["One.", "Two."]
    assert model.requests == [
        [{"role": "user", "content": "a"}],
        [{"role": "user", "content": "b"}],
    ]


def test_a_script_that_has_run_out_says_so():
    """How many lines it had, and what was asked."""
    model = ScriptedModel("One.")
    complete(model, "a")
    with pytest.raises(ScriptEnded, match=r"has 1 lines, .* request number 2: 'b'"):
        complete(model, "b")


def test_a_script_may_fail():
    """An exception among the lines is raised in its turn."""
    model = ScriptedModel("One.", OSError("gone"))
    complete(model, "a")
    with pytest.raises(OSError, match="gone"):
        complete(model, "b")
    with pytest.raises(TypeError, match=r"made of lines, .* but got \['One'\]"):
        ScriptedModel(["One"])


def test_an_echo_says_what_was_said():
    """The last words of anybody else; nothing to nothing."""
    assert complete(EchoModel(), "a", "b  c") == "a\n\nb  c"
    assert asyncio.run(EchoModel().complete([])) == ""


async def coroutine(messages):
    """A coroutine function as a model."""
    return "Hello there."


async def generator(messages):
    """An async generator function as a model."""
    yield "Hello "
    yield "there."


@pytest.mark.parametrize("function", [lambda messages: "Hello there.", coroutine, generator])
def test_a_function_is_a_model(function):
    """Of any of three kinds: whole or in pieces, the words are the same."""
    assert complete(FunctionModel(function), "Hi") == "Hello there."
    assert "".join(asyncio.run(pieces(FunctionModel(function), "Hi"))) == "Hello there."


def test_a_function_must_give_words():
    """What came instead stands in the error."""
    with pytest.raises(TypeError, match=r"must give a str, .*: 42"):
        complete(FunctionModel(lambda messages: 42), "Hi")
    with pytest.raises(TypeError, match="takes a function"):
        FunctionModel("Hello")


@given(st.text())
def test_pieces_joined_are_the_whole(text):
    """However the words are spaced."""
    assert "".join(asyncio.run(pieces(ScriptedModel(text), "Hi"))) == text


def test_anything_with_the_two_methods_is_a_model():
    """No class of ours is needed."""

    class Own:
        async def complete(self, messages):
            return "Hi."

        async def stream(self, messages):
            yield "Hi."

    assert isinstance(Own(), Model)
    assert ask(OpenAINode(model=Own()), "Hello").content == "Hi."
    assert not isinstance(Node(), Model)


# -- the offline voice -----------------------------------------------------------------------------


def test_a_long_conversation_does_not_repeat_itself():
    """Twenty utterances of three philosophers, all different, for any opening."""
    said = [message.content for message in table()]
    assert len(set(said)) == len(said) == 20
    frames = [[one for one in frames_of() if known(one, text)] for text in said]
    assert all(len(found) == 1 for found in frames)
    assert len({found[0] for found in frames}) == 20


def frames_of():
    """All sentences of the voices."""
    for voice in (*VOICES, ANYBODY):
        yield from (*voice.answer, *voice.agree, *voice.object, *voice.ask)


def known(sentence, text):
    """Was this said by filling the blanks of that sentence?"""
    parts = sentence.replace("{it}", "{name}").replace("{persona}", "{name}").split("{name}")
    return all(part[1:] in text for part in parts)


def test_the_voice_is_the_same_again():
    """The same conversation, the same answer: no chance, no clock."""
    assert [m.content for m in table(9)] == [m.content for m in table(9)]


def test_everybody_answers_by_name_and_in_his_own_manner():
    """Whom he answers stands in what he says, and no sentence is another philosopher's."""
    own = dict(zip(PHILOSOPHERS, VOICES, strict=True))
    for message in table():
        asked = message.reply_to.sender
        assert (str(asked) if asked else "friend") in message.content.replace("Friend", "friend")
        voice = own[str(message.sender)]
        sentences = (*voice.answer, *voice.agree, *voice.object, *voice.ask)
        assert any(known(one, message.content) for one in sentences)


def test_the_voice_picks_up_what_was_said():
    """Another topic, other words: what was asked about stands in each first answer."""
    for topic in ("the new bridge", "our sick dog", "a universal income"):
        nodes = [OpenAINode(name=name, model="offline") for name in (*PHILOSOPHERS, "Ann")]
        for node in nodes:
            assert topic in ask(node, f"What do you think about {topic}?").content


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("What is the purpose of my life?", "the purpose of your life"),
        ("We need to talk about your brother.", "my brother"),
        ("I care for justice, nothing else.", "justice"),
        ("Speak!", "“Speak”"),
        ("...", "“...”"),
        ("", "“”"),
    ],
)
def test_a_phrase_is_what_a_text_speaks_of(text, first):
    """The most telling noun, turned to the one who answers; at worst the first words."""
    assert phrases(text)[0] == first


@given(st.text())
def test_the_voice_has_an_answer_to_everything(text):
    """No text makes it fail, fall silent, or leave a blank."""
    said = complete(OfflineModel(), text)
    assert said.strip()
    assert not any(blank in said for blank in ("{name}", "{it}", "{persona}")) or "{" in text


def test_the_voice_speaks_for_nobody_else():
    """Whatever it picks up, no line of it looks like another's."""
    tricky = OpenAINode(name="Rumi", model="offline")
    said = ask(tricky, "Lao Tzu: yes\nMarcus Aurelius: no\nWhat of that?")
    assert not said.content.startswith(PHILOSOPHERS)
    assert "\n" not in said.content


def test_the_persona_counts_more_than_the_name():
    """`be` makes another voice, and back."""
    node = OpenAINode(name="Rumi", model="offline")
    sentences = {"Rumi": VOICES[0], "a pirate": ANYBODY, "You are a stoic": VOICES[2]}
    for persona, voice in sentences.items():
        node.be(persona)
        said = ask(node, "What is courage?").content
        assert any(known(one, said) for one in (*voice.answer, *voice.ask))
    node.be("You are a pirate. Arr!")
    heard = [
        ask(node, f"What about the {n}?").content for n in ("sea", "ship", "crew", "gold", "rum")
    ]
    assert any("as a pirate" in said.lower() for said in heard)


def test_asked_for_a_summary_it_lists_who_spoke_of_what():
    """So a `SummaryNode` is of use without a server."""
    node = SummaryNode(model="offline")
    for name, words in [("Ann", "I fear for the old bridge."), ("Bob", "Think of the cost!")]:
        tell(node, Message(words, sender=Node(name=name), intent="inform"))
    summary = ask(node, Message("Summarise.", intent="query"))
    assert summary.content == "Ann spoke of the old bridge; Bob spoke of the cost."


def test_it_says_that_it_is_offline():
    """In its name, and in the metadata of all it says."""
    assert str(OfflineModel()) == "offline"
    assert {message.metadata["model"] for message in table(4)} == {"offline"}


def test_it_takes_a_plain_list_too():
    """Chat items that nobody prepared."""
    said = asyncio.run(OfflineModel().complete([{"role": "user", "content": "About duty?"}]))
    assert "duty" in said


# -- by name ---------------------------------------------------------------------------------------


def test_a_model_is_found_by_its_name():
    """Each spelling, and where it leads."""
    assert isinstance(model_from("offline"), OfflineModel)
    assert isinstance(model_from("echo"), EchoModel)
    for name, url in [("ollama", 11434), ("vllm", 8000), ("llamacpp", 8080), ("lmstudio", 1234)]:
        model = model_from(f"{name}:llama3:8b")
        assert (model.model, model.base_url) == ("llama3:8b", f"http://localhost:{url}/v1")
    away = model_from("ollama:llama3", base_url="http://10.0.0.7/v1/")
    assert (away.model, away.base_url) == ("llama3", "http://10.0.0.7/v1")
    tagged = model_from("llama3:8b", base_url="http://10.0.0.7/v1")
    assert tagged.model == "llama3:8b"
    own = ScriptedModel()
    assert model_from(own) is own


def test_a_name_that_leads_nowhere_is_an_error_that_lists_the_others():
    """And so is what is no name at all."""
    with pytest.raises(UnknownModel, match=r"no server is known as 'gemini'.*\"ollama:llama3\""):
        model_from("gemini:pro")
    with pytest.raises(UnknownModel):
        model_from("")
    with pytest.raises(ModelError, match=r"expected a model.* but got 42"):
        model_from(42)
    with pytest.raises(ModelError, match="got 42"):
        OpenAINode(model=42)


def test_nothing_named_means_what_the_environment_offers(monkeypatch):
    """The offline voice; with a key, OpenAI; with an address, that server and its model."""
    assert isinstance(model_from(), OfflineModel)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert str(model_from()) == "openai:gpt-5-mini"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(UnknownModel, match=r"which model at .* Set OPENAI_MODEL"):
        model_from()
    monkeypatch.setenv("OPENAI_MODEL", "llama3")
    assert repr(model_from()) == "OpenAIModel('llama3', base_url='http://127.0.0.1:9/v1')"
    assert model_from("some:model").model == "some:model"
    with offline():
        assert isinstance(model_from(), OfflineModel)


def test_no_key_is_an_error_before_the_first_turn():
    """When the node is made; it names the variable, the argument, a free server."""
    with pytest.raises(NoKey, match="OPENAI_API_KEY") as caught:
        OpenAINode(name="Rumi", model="openai:gpt-5-mini")
    for hint in ("api_key=", "ollama:llama3", 'model="offline"'):
        assert hint in str(caught.value)


def test_a_key_is_never_shown():
    """Not by the model, nor by a node that has it, nor by its state."""
    model = OpenAIModel("llama3", base_url="http://127.0.0.1:9", api_key="secret")
    node = OpenAINode(model=model)
    shown = (
        f"{model} {model!r} {node!r} {node.state()} {node.model_dump()} {node.model_dump_json()}"
    )
    assert "secret" not in shown


def test_offline_forbids_real_requests_wherever_they_are_made():
    """In the loop that a plain conversation starts, too; and no longer than the block."""
    node = OpenAINode(model="nobody", base_url="http://127.0.0.1:9")
    with offline(), offline():
        pass
    with offline():
        with pytest.raises(IsOffline, match="would be asked for real"):
            ask(node, "Hello")
        with pytest.raises(IsOffline):
            asyncio.run(node.model.complete([]))
        with pytest.raises(IsOffline):
            node.model.check()
    with pytest.raises(NoServer):
        node.model.check()
