"""Models that need no server, the offline voice, and how a model is found by its name."""

import asyncio
import json
import re
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llambdao import GroupChatNode, Message, Node, ask, tell, turns
from llambdao.openai import (
    Answer,
    CannotDo,
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
    Tool,
    ToolCall,
    UnknownModel,
    Usage,
    model_from,
    offline,
    prepare_for_openai,
)
from llambdao.openai import _errors as errors
from llambdao.openai._calls import answered
from llambdao.openai._calls import pieces as pieces_of
from llambdao.openai._offline import phrases
from llambdao.openai._sample import sample
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
    with pytest.raises(TypeError, match=r"but got 42"):
        ScriptedModel(("One", 42))


def heard(model, *words, **asked):
    """What a model gives for these words, piece by piece."""

    async def listen():
        said = prepare_for_openai([Message(word) for word in words])
        return [piece async for piece in model.stream(said, **asked)]

    return asyncio.run(listen())


CALL = ToolCall("c1", "add", '{"a": 1}')
COST = Usage("m", 3, 2)
ADD = Tool("add", "Adds.", {"type": "object"})


def test_a_script_may_call_tools_stream_and_cost():
    """A call, an answer, pieces just as they are; what each request asked for is kept."""
    lines = (CALL, Answer("So be it.", (CALL,), COST), ("a b", "c", CALL, COST), "Words.")
    model = ScriptedModel(*lines)
    assert heard(model, "Hi", tools=[ADD]) == [CALL]
    assert heard(model, "Hi") == ["So", " be", " it.", CALL, COST]
    assert heard(model, "Hi") == ["a b", "c", CALL, COST]
    assert model.left == 1
    assert heard(model, "Hi", says={"name": "V"}) == ["Words."]
    assert [one["tools"] for one in model.asked] == [[ADD], (), (), ()]
    assert [one["says"] for one in model.asked] == [None, None, None, {"name": "V"}]


def test_a_script_may_fail_in_the_middle():
    """What came before has come."""
    model = ScriptedModel(("Once ", OSError("gone"), "never"))
    pieces = []

    async def listen():
        pieces.extend([await anext(stream)])
        await anext(stream)

    stream = model.stream([])
    with pytest.raises(OSError, match="gone"):
        asyncio.run(listen())
    assert pieces == ["Once "]
    assert model.left == 0


def test_each_request_to_a_script_may_cost_the_same():
    """Unless its line says otherwise."""
    other = Usage("m", 9, 9)
    model = ScriptedModel("One.", ("Two.", other), CALL, usage=COST)
    assert [asyncio.run(model.answer([])).usage for _ in range(3)] == [COST, other, COST]


def test_usages_add_up():
    """Numbers are added; two models are both named, once."""
    total = COST + Usage("m", 1, 1, cached_tokens=1, requests=2) + Usage("n", 0, 0)
    assert total == Usage("m, n", 4, 3, cached_tokens=1, requests=4)
    assert total + COST == Usage("m, n", 7, 5, 1, 5)
    assert total.tokens == 7


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


@pytest.mark.parametrize(
    "given",
    [CALL, [CALL], Answer("", (CALL,)), Answer("Hm.", (CALL,), COST), ("Hm.", CALL, COST)],
)
def test_a_function_may_call_tools(given):
    """Alone, in a list, in an answer, in pieces."""
    answer = asyncio.run(FunctionModel(lambda messages: given).answer([], tools=[ADD]))
    assert answer.calls == (CALL,)
    assert answer.usage in (None, COST)


def test_a_function_may_give_any_iterator_and_a_generator_is_closed():
    """Who stops listening stops it."""
    closed = []

    class Once:
        def __aiter__(self):
            return self

        async def __anext__(self):
            if closed:
                raise StopAsyncIteration
            closed.append("iterator")
            return "Hm."

    async def endless(messages):
        try:
            while True:
                yield "on "
        finally:
            closed.append("generator")

    async def listen():
        async with aclosing(FunctionModel(endless).stream([])) as words:
            assert await anext(words) == "on "
        assert closed == ["iterator", "generator"]

    assert asyncio.run(FunctionModel(lambda messages: Once()).complete([])) == "Hm."
    asyncio.run(listen())


def test_a_function_is_told_what_it_may_do_if_it_wants_to_know():
    """By the names of its arguments."""

    def tell_tools(messages, *, tools):
        return f"{len(tools)} tools"

    def tell_both(messages, says, tools):
        return f"{len(tools)} tools, {says}"

    assert asyncio.run(FunctionModel(tell_tools).answer([], tools=[ADD])).text == "1 tools"
    assert asyncio.run(FunctionModel(tell_both).complete([])) == "0 tools, None"


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

    assert ask(OpenAINode(model=Own()), "Hello").content == "Hi."
    assert ask(OpenAINode(model=Own(), deltas=False), "Hello").content == "Hi."
    assert asyncio.run(answered(Own(), [])) == Answer("Hi.")


class Own(Model):
    """A model as people write them: it takes the messages and nothing else."""

    async def stream(self, messages):
        yield "Hi."


def test_a_model_that_knows_nothing_of_tools_serves_as_long_as_none_are_asked_for():
    """Then the error says how to write it; and before anything is said."""
    assert asyncio.run(Own().answer([])) == Answer("Hi.")
    assert asyncio.run(answered(Own(), [], tools=(), says=None)) == Answer("Hi.")
    for asked, what in [({"tools": [ADD]}, "tools"), ({"says": {"name": "V"}}, "typed replies")]:
        with pytest.raises(CannotDo, match=rf"Own.* knows nothing of {what}.*offline"):
            asyncio.run(Own().answer([], **asked))
        with pytest.raises(CannotDo, match=r"`async def stream\(self, messages, \*, tools=\(\)"):
            pieces_of(Own(), [], **asked)


def test_who_brings_a_complete_of_his_own_is_asked_by_it_for_words():
    """And by the stream for all else."""

    class Both:
        async def complete(self, messages):
            return "Whole."

        async def stream(self, messages, *, tools=()):
            yield "In pieces."

    assert asyncio.run(answered(Both(), [])) == Answer("Whole.")
    assert asyncio.run(answered(Both(), [], tools=[ADD])) == Answer("In pieces.")
    with pytest.raises(CannotDo, match="typed replies"):
        asyncio.run(answered(Both(), [], says={"name": "V"}))


def test_a_stream_of_anything_else_is_an_error_and_closed():
    """What came stands in it."""
    closed = []

    class Odd(Model):
        async def stream(self, messages):
            try:
                yield 42
            finally:
                closed.append(True)

    async def ask_it():
        with pytest.raises(TypeError, match=r"yields str, ToolCall and Usage, .* 42"):
            await Odd().answer([])
        assert closed == [True]

    asyncio.run(ask_it())


def test_a_model_may_take_whatever_it_is_asked():
    """By name, or all of it at once."""

    class Wide(Model):
        async def stream(self, messages, **asked):
            yield f"{sorted(asked)}"

    assert asyncio.run(Wide().answer([], tools=[ADD])).text == "['tools']"
    assert asyncio.run(answered(Wide(), [], says={"name": "V"})).text == "['says']"
    assert asyncio.run(Wide().complete([])) == "[]"


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


def test_it_gives_typed_replies():
    """The plainest value that fits the schema, its own words where words may stand."""
    schema = {
        "type": "object",
        "properties": {"aye": {"type": "boolean"}, "why": {"type": "string"}, "x": {}},
        "required": ["aye", "why"],
    }
    said = asyncio.run(OfflineModel().answer([], says={"name": "Vote", "schema": schema})).text
    vote = json.loads(said)
    assert vote == {"aye": False, "why": vote["why"]}
    assert vote["why"].strip()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 5, "type": "integer"}, 5),
        ({"type": ["null", "string"]}, None),
        ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]}, 3),
        ({"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5}, 5),
        ({"type": "number", "maximum": -1.5}, -1.5),
        ({"type": "number", "exclusiveMaximum": 0, "minimum": -9}, -1),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "string", "minLength": 12}, "Hello there."),
        ({"type": "string", "maxLength": 5}, "Hello"),
        ({"type": "string", "default": "x"}, "x"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": "array", "prefixItems": [{"type": "null"}, {"const": 1}]}, [None, 1]),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "boolean"}}}, False),
        ({"properties": {"a": {}}, "required": ["a"]}, {"a": None}),
    ],
)
def test_a_sample_fits_its_schema(schema, value):
    """Whatever kind of thing is asked for."""
    assert sample(schema, "Hello there") == value


def test_a_schema_that_speaks_of_itself_has_a_sample_too():
    """Even if it can never be filled in."""
    one = {"$ref": "#"}
    schema = {"type": "object", "properties": {"next": one}, "required": ["next"]}
    assert json.dumps(sample(schema)).count("next") == 10


# -- errors ----------------------------------------------------------------------------------------


def test_the_page_draws_the_tree_of_errors_as_the_module_does():
    """And in it stand all there are, each below what it is derived from."""
    page = (Path(__file__).parents[1] / "docs" / "adapters" / "openai.md").read_text("utf-8")
    drawn = re.search(r" *ModelError\n(?: +[+|].*\n)+", errors.__doc__)[0]
    shown = "".join(line[4:] + "\n" for line in drawn.splitlines())
    assert shown.splitlines() == re.search(r"ModelError\n(?: [+|].*\n)+", page)[0].splitlines()
    branches = re.findall(r"^ +(\|? *)\+- (\w+)", drawn, re.MULTILINE)
    assert {name for _, name in branches} == {*errors.__all__} - {"ModelError"}
    for inner, name in branches:
        above = errors.Refused if inner.strip() else errors.ModelError
        assert above in vars(errors)[name].__bases__


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
