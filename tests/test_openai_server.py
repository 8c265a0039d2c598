"""A real client and a strict server on this machine: what is sent, heard, refused and cut off."""

import asyncio

import pytest

from llambdao import GroupChatNode, Message, ask, turns
from llambdao.openai import (
    CutOff,
    NoServer,
    OpenAIModel,
    OpenAINode,
    Refused,
    TimedOut,
    UnknownModel,
    WrongKey,
    model_from,
    prepare_for_openai,
)
from openai_server import serving

APIS = ["chat", "responses"]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment without keys, servers and proxies."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server():
    """A server that says "Hello there, friend."."""
    with serving() as server:
        yield server


def model_at(server, **options):
    """The model of this server, asked once and never again unless told otherwise."""
    options = {"api_key": server.key, "retries": 0, "timeout": 10, **options}
    return OpenAIModel(options.pop("model", server.model), server.url, **options)


def complete(model, *words):
    """Its answer, all at once."""
    return asyncio.run(model.complete(prepare_for_openai([Message(word) for word in words])))


async def stream(model, *words):
    """Its answer, in pieces."""
    said = prepare_for_openai([Message(word) for word in words])
    return [piece async for piece in model.stream(said)]


both = pytest.mark.parametrize("ask_for", [complete, lambda *given: asyncio.run(stream(*given))])


@pytest.mark.parametrize("api", APIS)
def test_an_answer_comes_whole_or_in_pieces(server, api):
    """The same words; news of events that nobody knows is passed over."""
    model = model_at(server, api=api)
    assert complete(model, "Hi") == "Hello there, friend."
    assert asyncio.run(stream(model, "Hi")) == ["Hello ", "there, ", "friend."]


def test_the_exact_body_of_a_chat_completion(server):
    """The model, the messages, what was asked for; nothing else."""
    complete(model_at(server, temperature=0.5), "Hi")
    asyncio.run(stream(model_at(server), "Hi"))
    messages = [{"role": "user", "content": "Hi"}]
    assert server.requests == [
        {"model": "llama3", "messages": messages, "temperature": 0.5},
        {"model": "llama3", "messages": messages, "stream": True},
    ]


def test_the_exact_body_of_a_response(server):
    """Typed items, and nothing is stored."""
    node = OpenAINode(name="Rumi", model=model_at(server, api="responses"))
    ask(node, "Hi")
    [body] = server.requests
    assert body.pop("instructions").startswith("You are Rumi.\n")
    items = [{"type": "message", "role": "user", "content": "Hi"}]
    assert body == {"model": "llama3", "input": items, "store": False, "stream": True}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("deltas", [True, False])
def test_a_whole_table_on_a_strict_server(server, api, deltas):
    """Roles that alternate, no unknown field, nothing empty: the server refuses none of it."""
    model = model_at(server, api=api)
    names = ("Rumi", "Lao Tzu", "Marcus Aurelius")
    nodes = [OpenAINode(name=name, model=model, deltas=deltas) for name in names]
    table = GroupChatNode(*nodes, until=turns(8))
    assert len([*table.receive("Why?")]) == 8
    assert len(server.requests) in (8, 9)  # two are asked at once: one may come too late


def test_the_server_is_strict(server):
    """Were it not, the test above would prove nothing."""
    said = prepare_for_openai([Message("a"), Message("b")], alternate=False)
    with pytest.raises(Refused, match=r"roles must alternate"):
        asyncio.run(model_at(server).complete(said))
    with pytest.raises(Refused, match=r"unknown fields: \['top_k'\]"):
        complete(model_at(server, extra_body={"top_k": 1}), "Hi")
    with pytest.raises(Refused, match=r"invalid name 'Lao Tzu'"):
        asyncio.run(
            model_at(server).complete([{"role": "user", "content": "a", "name": "Lao Tzu"}])
        )


def test_openai_itself_is_asked_not_to_store(monkeypatch):
    """`store` goes to OpenAI only, for others may not know it; and its roles need not alternate."""
    real = OpenAIModel("gpt-5-mini", api_key="secret")
    assert real.form == {"alternate": False, "system": "system"}
    sent = {}

    class Client:
        class chat:  # noqa: N801
            class completions:  # noqa: N801
                @staticmethod
                async def create(**body):
                    sent.update(body)

    asyncio.run(real._create(Client, prepare_for_openai([Message("Hi")]), False))
    assert sent.pop("store") is False
    assert set(sent) == {"model", "messages"}


# -- what goes wrong -------------------------------------------------------------------------------


@both
def test_a_wrong_key(server, ask_for):
    """Asked once only, whatever `retries` says."""
    model = model_at(server, api_key="wrong", retries=2)
    with pytest.raises(WrongKey, match=r"does not accept the key .*OPENAI_API_KEY.*offline"):
        ask_for(model, "Hi")
    with pytest.raises(WrongKey):
        model.check()


@both
def test_an_unknown_model(server, ask_for):
    """What to do about it, with Ollama too."""
    with pytest.raises(UnknownModel, match=r"no model 'gpt-9' .*ollama pull gpt-9.*offline"):
        ask_for(model_at(server, model="gpt-9"), "Hi")


def test_check_asks_before_the_first_turn(server):
    """Is it there, is the key right, does it know the model: no turn is spent."""
    model_at(server).check()
    with pytest.raises(UnknownModel, match="it knows llama3"):
        model_at(server, model="gpt-9").check()
    assert server.requests == []
    with serving() as gone:
        model = model_at(gone)
    with pytest.raises(NoServer, match="nobody answers"):
        model.check()


@both
def test_no_server(ask_for):
    """The address, and what to do."""
    with serving() as gone:
        model = model_at(gone)
    with pytest.raises(NoServer, match=r"nobody answers at http://127.*base_url.*offline"):
        ask_for(model, "Hi")


@both
def test_a_server_that_fails_is_asked_again(server, ask_for):
    """As often as `retries` says, while nothing has come yet; then it is an error."""
    server.faults.extend([500, 500])
    assert "".join(ask_for(model_at(server, retries=2), "Hi")) == "Hello there, friend."
    server.faults.extend([500, 500])
    with pytest.raises(Refused, match="injected 500"):
        ask_for(model_at(server, retries=1), "Hi")
    assert len(server.requests) == 5


@both
def test_a_server_that_says_nothing(server, ask_for):
    """Seconds of silence, then an error that says how many."""
    server.faults.append("hang")
    with pytest.raises(TimedOut, match=r"silent for 0.05 seconds"):
        ask_for(model_at(server, timeout=0.05), "Hi")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", ["cut", "short"])
def test_an_answer_that_breaks_off_is_no_answer(server, api, fault):
    """Whether the line breaks or the stream ends too soon; deltas came, a message does not."""
    server.faults.append(fault)
    node = OpenAINode(name="Rumi", model=model_at(server, api=api))
    pieces = []
    with pytest.raises(CutOff, match=r"broke off .* ask again") as caught:
        pieces.extend(piece.content for piece in node.receive("Hi", deltas=True))
    assert caught.value.text == "Hello there, "
    assert node.messages == []
    assert ask(node, "Hi").content == "Hello there, friend."


def test_the_error_comes_from_the_sdk(server):
    """What was known below stays known: it is raised from the cause."""
    with pytest.raises(WrongKey) as caught:
        complete(model_at(server, api_key="wrong"), "Hi")
    assert type(caught.value.__cause__).__name__ == "AuthenticationError"


def test_a_server_of_the_environment(server, monkeypatch):
    """Three variables, and a node of which nothing is said uses that server."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    monkeypatch.setenv("OPENAI_MODEL", server.model)
    assert ask(OpenAINode(name="Rumi"), "Hi").content == "Hello there, friend."
    assert str(model_from()) == f"llama3 at {server.url}"


def test_a_key_of_the_environment_stays_at_home(server, monkeypatch):
    """A server on one's own machine that needs no key is not sent the one for OpenAI."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server.key = "none"
    assert ask(OpenAINode(model="ollama:llama3", base_url=server.url), "Hi").content
