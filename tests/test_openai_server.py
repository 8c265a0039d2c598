"""A real client and a strict server on this machine: what is sent, heard, refused and cut off."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import openai
import pytest

from llambdao import GroupChatNode, Message, ask, turns
from llambdao.openai import (
    PROFILES,
    Answer,
    BadAnswer,
    Busy,
    CannotDo,
    CutOff,
    ModelError,
    NoKey,
    NoServer,
    NothingSaid,
    OpenAIModel,
    OpenAINode,
    Refused,
    RefusedField,
    Retries,
    ServerFailed,
    TimedOut,
    Tool,
    ToolCall,
    TooLong,
    UnknownModel,
    Usage,
    WrongKey,
    model_from,
    prepare_for_openai,
)
from llambdao.openai import _clients as clients
from llambdao.openai import _profiles as profiles
from openai_server import Wrong, serving

APIS = ["chat", "responses"]
WEATHER = Tool(
    "weather",
    "The weather in a town.",
    {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
)
VERDICT = {
    "name": "Verdict",
    "schema": {
        "type": "object",
        "properties": {"guilty": {"type": "boolean"}},
        "required": ["guilty"],
        "additionalProperties": False,
    },
}
CALLS = [("c1", "weather", '{"town": "Konya"}'), ("c2", "weather", '{"town": "Rome"}')]
CALLED = tuple(ToolCall(*call) for call in CALLS)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment without keys, servers and proxies, in which no server has been met."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(profiles, "_probed", {})


@pytest.fixture
def server():
    """A server that says "Hello there, friend.", and has both APIs."""
    with serving(kind="vllm") as server:
        yield server


def model_at(server, **options):
    """The model of this server, asked once and never again unless told otherwise."""
    options = {"api_key": server.key, "retries": 0, "timeout": 10, **options}
    return OpenAIModel(options.pop("model", server.model), server.url, **options)


def said(*words):
    """These words as a conversation."""
    return prepare_for_openai([Message(word) for word in words])


def answer(model, *words, **asked):
    """Its answer, all at once."""
    return asyncio.run(model.answer(said(*words), **asked))


async def streamed(model, *words, **asked):
    """Its answer, in pieces."""
    return [piece async for piece in model.stream(said(*words), **asked)]


def stream(model, *words, **asked):
    """Its answer, in pieces, on a loop of its own."""
    return asyncio.run(streamed(model, *words, **asked))


both = pytest.mark.parametrize("ask_for", [answer, stream])
apis = pytest.mark.parametrize("api", APIS)


class Waits(list):
    """The seconds that were waited, without waiting."""

    async def sleep(self, seconds):
        self.append(seconds)


# -- what is heard ---------------------------------------------------------------------------------


@apis
def test_an_answer_comes_whole_or_in_pieces(server, api):
    """The same words, and the same tokens counted; news that nobody knows is passed over."""
    model = model_at(server, api=api)
    usage = Usage("llama3", 10, 5, cached_tokens=4)
    assert answer(model, "Hi") == Answer("Hello there, friend.", usage=usage)
    assert stream(model, "Hi") == ["Hello ", "there, ", "friend.", usage]
    assert asyncio.run(model.complete(said("Hi"))) == "Hello there, friend."


@apis
@pytest.mark.parametrize("style", ["openai", "whole"])
def test_tool_calls_come_whole(server, api, style):
    """Put together from their pieces, in order, however the server numbers them."""
    server.calls, server.style = [CALLS, CALLS], style
    model = model_at(server, api=api)
    assert answer(model, "Hi", tools=[WEATHER]).calls == CALLED
    *words, one, two, usage = stream(model, "Hi", tools=[WEATHER])
    assert (one, two) == CALLED
    assert "".join(words) == "Hello there, friend."
    assert isinstance(usage, Usage)


@apis
@both
def test_the_same_call_twice_is_two(server, api, ask_for):
    """If the server says so by two names."""
    server.calls = [[("c1", "weather", "{}"), ("c2", "weather", "{}")]]
    given = ask_for(model_at(server, api=api), "Hi", tools=[WEATHER])
    calls = given.calls if ask_for is answer else given
    assert [call.id for call in calls if isinstance(call, ToolCall)] == ["c1", "c2"]


def test_a_call_that_its_server_does_not_name_gets_a_name(server):
    """One that is the same again, and another for another call."""
    server.calls = [[("", "weather", '{"a": 1}'), ("", "weather", "")]]
    one, two = answer(model_at(server), "Hi", tools=[WEATHER]).calls
    assert (one.id, two.id) == ("call_0_2bd68ca1", "call_1_4cd0d36e")
    assert two.arguments == "{}"


@pytest.mark.parametrize("kind", ["ollama", "vllm", "llamacpp", "mistral", "unknown"])
def test_each_kind_of_server_is_recognised_once_and_served(kind):
    """One look at its models, whatever is asked how often; then nothing it would refuse is sent."""
    with serving(kind=kind) as server:
        server.calls = [CALLS[:1], CALLS[:1], [], []]
        model = model_at(server, max_tokens=100)
        for ask_for in (answer, stream):
            ask_for(model, "Hi", tools=[WEATHER])
        assert model.profile.name == kind
        for ask_for in (answer, stream):
            ask_for(model, "Guilty?", says=VERDICT)
        assert server.probes == 1
        counted = [piece for piece in stream(model, "Hi") if isinstance(piece, Usage)]
        assert counted == ([] if kind == "unknown" else [Usage("llama3", 10, 5, 4)])


@apis
def test_a_server_as_strict_as_openai(api):
    """With its own profile: the other name of a limit, `strict` tools, what it may not store."""
    with serving(kind="openai") as server:
        model = model_at(server, profile="openai", api=api, max_tokens=100)
        assert model.profile == replace(PROFILES["openai"], api=api)
        for ask_for in (answer, stream):
            ask_for(model, "Hi", tools=[replace(WEATHER, strict=True)])
            ask_for(model, "Guilty?", says=VERDICT)
        assert server.probes == 0
        assert all(body["store"] is False for body in server.requests)


def test_typed_replies_are_asked_for_as_the_server_can(server):
    """As a schema it holds the model to; else in words, in the first item."""
    answer(model_at(server), "Guilty?", says=VERDICT)
    answer(model_at(server, api="responses"), "Guilty?", says=VERDICT)
    with serving() as unknown:
        answer(model_at(unknown), "Guilty?", says=VERDICT)
    form = {**VERDICT, "strict": True}
    assert server.requests[0]["response_format"] == {"type": "json_schema", "json_schema": form}
    assert server.requests[1]["text"] == {"format": {"type": "json_schema", **form}}
    [body] = unknown.requests
    [item] = body["messages"]
    assert "response_format" not in body
    assert item["content"].startswith("Answer with one JSON value and nothing else")
    assert item["content"].endswith('"additionalProperties": false}\n\nGuilty?')


def test_a_schema_that_leaves_something_open_is_not_asked_for_to_the_letter(server):
    """The server would refuse it."""
    closed = VERDICT["schema"]
    schemas = [
        {"type": "object", "properties": {"a": {}}},
        {"properties": {"a": {}}, "additionalProperties": True},
        {**closed, "required": []},
        {**closed, "properties": {"guilty": {"type": "object"}}},
        {**closed, "properties": {"guilty": {"type": "boolean", "default": True}}},
        {**closed, "properties": {"guilty": {"type": "array", "items": {"type": "object"}}}},
        {**closed, "$defs": {"Other": {"type": "object"}}},
        {**closed, "properties": {"guilty": {"anyOf": [{"type": "null"}, {"properties": {}}]}}},
    ]
    for loose in schemas:
        model = model_at(server, profile="vllm")
        body = model.body(said("Hm?"), says={"name": "A loose one!", "schema": loose})
        form = body["response_format"]["json_schema"]
        assert (form["strict"], form["name"]) == (False, "A_loose_one_")
    whole = {**closed, "properties": {"default": {"type": "null"}}, "required": ["default"]}
    body = model.body(said("Hm?"), says={"name": "Whole", "schema": whole})
    assert body["response_format"]["json_schema"]["strict"] is True
    asked = model.body(said("Hm?"), says={"name": "", "schema": closed, "strict": False})
    assert asked["response_format"]["json_schema"]["strict"] is False
    assert asked["response_format"]["json_schema"]["name"] == "reply"


def test_who_is_told_in_words_is_told_first():
    """In the system's message, before the first words, or by a message of its own."""
    model = OpenAIModel("llama3", "http://127.0.0.1:9/v1", profile="unknown")

    def told(*roles, **options):
        items = [{"role": role, "content": role} for role in roles]
        return [item["content"][:15] for item in model.body(items, says=VERDICT)["messages"]]

    assert told("user") == ["Answer with one"]
    assert told("assistant", "user") == ["Answer with one", "assistant", "user"]
    [system, _] = model.body(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hm?"}],
        says=VERDICT,
    )["messages"]
    assert system["content"].startswith("Be kind.\n\nAnswer with one JSON value")
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hm?"}]}]
    assert len(model.body(parts, says=VERDICT)["messages"]) == 2
    other = OpenAIModel("llama3", "http://127.0.0.1:9/v1", profile="unknown", api="responses")
    node = OpenAINode(name="Rumi", persona="A poet.", model="echo")
    prepared = prepare_for_openai([Message("Hm?")], node)
    assert "\n\nAnswer with one JSON" in other.body(prepared, says=VERDICT)["instructions"]
    assert other.body(said("Hm?"), says=VERDICT)["instructions"].startswith("Answer with one")


# -- what is sent ----------------------------------------------------------------------------------


def test_the_exact_body_of_a_chat_completion(server):
    """The model, the messages, what was asked for; nothing else."""
    answer(model_at(server, temperature=0.5, top_k=4), "Hi")
    model = model_at(server)
    stream(model, "Hi")
    messages = [{"role": "user", "content": "Hi"}]
    counting = {"include_usage": True}
    assert server.requests == [
        {"model": "llama3", "messages": messages, "temperature": 0.5, "top_k": 4},
        {"model": "llama3", "messages": messages, "stream": True, "stream_options": counting},
    ]
    assert model.body(said("Hi")) == server.requests[1]


@apis
def test_a_body_is_sent_as_it_is_shown(server, api):
    """What `body` gives is what arrives, to the letter, with tools and without."""
    model = model_at(server, api=api, temperature=0, extra_body={"stop": ["."]}, profile="vllm")
    if api == "responses":
        model = model_at(server, api=api, extra_body={"temperature": 0}, profile="vllm")
    shown = [
        model.body(said("Hi"), tools=[WEATHER]),
        model.body(said("Hi"), says=VERDICT, stream=False),
    ]
    stream(model, "Hi", tools=[WEATHER])
    answer(model, "Hi", says=VERDICT)
    assert server.requests == shown


def test_the_exact_body_of_a_response(server):
    """Typed items, and nothing is stored."""
    node = OpenAINode(name="Rumi", model=model_at(server, api="responses"))
    ask(node, "Hi")
    [body] = server.requests
    assert body.pop("instructions").startswith("You are Rumi.\n")
    items = [{"type": "message", "role": "user", "content": "Hi"}]
    assert body == {"model": "llama3", "input": items, "store": False, "stream": True}


@apis
def test_a_plain_list_of_items_will_do(server, api):
    """Calls and results among them; each API gets them its own way, and takes them."""
    function = {"name": "weather", "arguments": "{}"}
    call = {"id": "c1", "type": "function", "function": function}
    items = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Fine."},
        {"role": "assistant", "content": "And?", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
    ]
    assert asyncio.run(model_at(server, api=api).complete(items)) == "Hello there, friend."
    sent = server.requests[0].get("messages") or server.requests[0]["input"]
    shown = [
        (one.get("role") or one["type"], one.get("content", one.get("output"))) for one in sent
    ]
    calls = [("function_call", None)] if api == "responses" else []
    result = "function_call_output" if calls else "tool"
    silent = calls or [("assistant", None)]
    assert shown == [
        ("user", "Hi"),
        *silent,
        (result, "Fine."),
        ("assistant", "And?"),
        *calls,
        (result, "Rain."),
    ]


@apis
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
    """Were it not, the tests above would prove nothing."""

    def refused(items, why, api="chat", **options):
        with pytest.raises(Refused, match=why):
            asyncio.run(model_at(server, api=api, **options).complete(items))

    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    user, calling = {"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "b"}
    refused([user, user], r"roles must alternate .* alternate=True")
    refused([user, {"role": "assistant", "content": "b"}], "Expected last role")
    refused([user, result], "must follow one with 'tool_calls'")
    refused([user, calling, user], "no tool messages for these")
    refused([user], r"Unknown parameter: 'sampler'", extra_body={"sampler": 1})
    refused([{**user, "name": "Lao Tzu"}], r"invalid name 'Lao Tzu'")
    refused([{**user, "mood": "glad"}], r"messages\[\]\.mood")
    refused([user, result], "No tool call found", api="responses")
    refused([user, {**calling, "content": ""}], "No tool output found", api="responses")
    server.kind = "mistral"
    long = {**call, "id": "call_1234567890"}
    refused(
        [user, {**calling, "tool_calls": [long]}, {**result, "tool_call_id": long["id"]}],
        r"Tool call id was call_1234567890 .* profile=\"mistral\"",
        profile="vllm",
    )


# -- connections -----------------------------------------------------------------------------------


def test_one_connection_is_kept_as_long_as_the_loop(server):
    """Ten requests and the look at its models take one; another loop has its own."""

    async def ten():
        for _ in range(5):
            await model_at(server).answer(said("Hi"))
            await streamed(model_at(server), "Hi")

    asyncio.run(ten())
    assert (len(server.requests), server.connections) == (10, 1)
    asyncio.run(ten())
    assert (len(server.requests), server.connections) == (20, 2)


def test_a_client_is_closed_when_its_loop_ends_or_when_told():
    """Nothing stays open; and what was closed too early is opened again."""
    kept = []

    async def twice():
        model = model_at(server)
        await model.answer(said("Hi"))
        kept.append(await clients.client_of(server.url, server.key))
        await model.close()
        assert kept[0].client.is_closed()
        await model.answer(said("Hi"))
        kept.append(await clients.client_of(server.url, server.key))
        assert not kept[1].client.is_closed()

    with serving() as server:
        asyncio.run(twice())
    assert kept[0] is not kept[1]
    assert kept[1].client.is_closed()


def test_keys_do_not_share_a_connection(server):
    """Nor servers: what is kept is kept for just this server and key."""

    async def two():
        await model_at(server).answer(said("Hi"))
        with pytest.raises(WrongKey):
            await model_at(server, api_key="wrong").answer(said("Hi"))

    asyncio.run(two())
    assert server.connections == 2


@apis
@pytest.mark.parametrize(("fault", "whole"), [("hang", True), ("hang", False), ("drip", False)])
def test_who_is_cancelled_closes_the_request(server, api, fault, whole):
    """The server sees its client go, whether it had begun to speak or not."""
    model = model_at(server, api=api)

    async def cancelled():
        await model.answer(said("Hi"))  # so that the next request is the one that is cancelled
        server.faults.append(fault)
        server.asked.clear()
        begun = asyncio.Event()

        async def listen():
            if whole:
                await model.answer(said("Hi"))
            async for _ in model.stream(said("Hi")):
                begun.set()

        task = asyncio.create_task(listen())
        if fault == "drip":
            await begun.wait()
        assert await asyncio.to_thread(server.asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 10)
        assert (await model.answer(said("Hi"))).text == "Hello there, friend."

    asyncio.run(cancelled())


@apis
def test_who_stops_listening_closes_the_request(server, api):
    """By closing the stream; from a node too, when its conversation is closed."""
    server.faults += ["drip", "drip"]

    async def one():
        async with aclosing(model_at(server, api=api).stream(said("Hi"))) as pieces:
            assert await anext(pieces) == "Hello "
        assert await asyncio.to_thread(server.left.wait, 10)

    asyncio.run(one())
    server.left.clear()
    conversation = OpenAINode(model=model_at(server, api=api)).receive("Hi", deltas=True)
    assert next(conversation).content == "Hello "
    conversation.close()
    assert server.left.wait(10)


# -- asking again ----------------------------------------------------------------------------------


@apis
@both
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_fails_is_asked_again(server, api, ask_for, status):
    """As often as `retries` says, after longer and longer waits, while nothing has come yet."""
    waits = Waits()
    server.faults += [Wrong(status, f"injected {status}")] * 5
    model = model_at(server, api=api, retries=Retries(2, sleep=waits.sleep))
    with pytest.raises(Refused, match=f"injected {status}"):
        ask_for(model, "Hi")
    assert len(server.requests) == 3
    assert [low <= wait <= low * 1.25 for wait, low in zip(waits, (0.5, 1.0), strict=True)]
    ask_for(model, "Hi")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, None),
        ({"retry-after": "soon"}, 0.5),
        ({}, 0.5),
    ],
)
def test_it_waits_as_long_as_the_server_asks_for(server, headers, wait):
    """In seconds, in milliseconds, until a date; too long is not waited for at all."""
    waits = Waits()
    server.faults.append(Wrong(429, "slow down", headers=headers))
    model = model_at(server, retries=Retries(1, sleep=waits.sleep))
    if wait is None:
        with pytest.raises(Busy, match="slow down") as caught:
            answer(model, "Hi")
        assert caught.value.wait > 3600
        assert waits == []
    else:
        answer(model, "Hi")
        assert wait <= waits[0] <= wait * (1 if headers and wait != 0.5 else 1.25)


@both
def test_nobody_there_is_asked_again_too(ask_for):
    """A server may just be starting; then the error says where nobody was."""
    waits = Waits()
    with serving() as gone:
        model = model_at(gone, retries=Retries(3, sleep=waits.sleep))
    with pytest.raises(
        NoServer, match=r"nobody answers at http://127.*failed\).*base_url.*offline"
    ):
        ask_for(model, "Hi")
    assert len(waits) == 3
    with serving(kind="vllm") as server:
        server.faults += ["drop", "drop"]
        ask_for(model_at(server, retries=Retries(2, sleep=waits.sleep)), "Hi")
        assert len(server.requests) == 3
        server.faults.append("drop")
        with pytest.raises(NoServer, match=r"/v1 hung up before it answered \(\w.*\).*offline"):
            ask_for(model_at(server), "Hi")


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 504])
def test_what_would_not_help_is_not_asked_again(server, ask_for, status):
    """A refusal stays one, a wrong key stays wrong; and a gateway's patience says nothing."""
    server.faults.append(status)
    with pytest.raises(ModelError):
        ask_for(model_at(server, retries=5), "Hi")
    assert len(server.requests) == 1


@apis
@pytest.mark.parametrize("fault", ["cut", "short", "broken"])
def test_nothing_is_asked_again_after_the_first_piece(server, api, fault):
    """Somebody has heard it already."""
    server.faults.append(fault)
    with pytest.raises((CutOff, ServerFailed)):
        stream(model_at(server, api=api, retries=5), "Hi")
    assert len(server.requests) == 1


@both
def test_what_has_failed_before_its_first_word_is_asked_again(server, ask_for):
    """Nobody has heard anything of it."""
    server.faults.append("failed")
    model = model_at(server, api="responses", retries=Retries(1, sleep=Waits().sleep))
    ask_for(model, "Hi")
    assert len(server.requests) == 2


def test_an_empty_purse_is_not_asked_again(server):
    """It is as empty a second later."""
    server.faults.append(Wrong(429, "You exceeded your quota", code="insufficient_quota"))
    with pytest.raises(Busy, match=r"nothing left for this key \(You exceeded.*offline"):
        answer(model_at(server, retries=5), "Hi")
    assert len(server.requests) == 1


# -- what goes wrong -------------------------------------------------------------------------------


@both
def test_a_wrong_key(server, ask_for):
    """Asked once only, whatever `retries` says."""
    model = model_at(server, api_key="wrong", retries=2)
    with pytest.raises(WrongKey, match=r"does not accept the key .*OPENAI_API_KEY.*offline"):
        ask_for(model, "Hi")
    with pytest.raises(WrongKey):
        model.check()


def test_no_key_where_one_is_needed():
    """Known by the address, before anything is sent."""
    with pytest.raises(NoKey, match=r"no key for https://api.mistral.ai/v1.*offline"):
        OpenAIModel("mistral-small", "https://api.mistral.ai/v1")


@both
def test_an_unknown_model(server, ask_for):
    """What to do about it, with Ollama too; whatever status the server has for it."""
    model = model_at(server, model="gpt-9")
    with pytest.raises(UnknownModel, match=r"no model 'gpt-9' .*ollama pull gpt-9.*offline"):
        ask_for(model, "Hi")
    server.faults += [Wrong(400, "Invalid model: gpt-9"), Wrong(403, "No such model")]
    for _ in range(2):
        with pytest.raises(UnknownModel):
            ask_for(model, "Hi")


def test_check_asks_before_the_first_turn(server):
    """Is it there, is the key right, does it know the model, who is it: no turn is spent."""
    model_at(server).check()
    assert model_at(server).profile.name == "vllm"
    with pytest.raises(UnknownModel, match="it knows llama3"):
        model_at(server, model="gpt-9").check()
    assert server.requests == []
    with serving() as gone:
        model = model_at(gone)
    with pytest.raises(NoServer, match="nobody answers"):
        model.check()


def test_check_takes_whatever_a_server_may_say(server, monkeypatch):
    """No list: it may know the model. A page, or silence, is an error; any name is llama.cpp's."""
    monkeypatch.setattr("llambdao.openai._server.PROBE", 0.05)
    server.listing = "none"
    model_at(server, model="any").check()
    server.listing = "page"
    with pytest.raises(BadAnswer, match=r"no JSON.*a wrong base_url.*offline"):
        model_at(server).check()
    server.listing = "hang"
    with pytest.raises(TimedOut, match=r"silent for 0.05 seconds"):
        model_at(server).check()
    with serving(kind="llamacpp") as other:
        model_at(other, model="any").check()


@pytest.mark.parametrize("listing", ["none", "page", "hang"])
def test_a_server_whose_list_says_nothing_is_asked_all_the_same(server, monkeypatch, listing):
    """It is nobody we know, and not asked for its models again."""
    monkeypatch.setattr("llambdao.openai._server.PROBE", 0.05)
    server.listing, model = listing, model_at(server)
    assert answer(model, "Hi").text == "Hello there, friend."
    assert answer(model, "Hi").text == "Hello there, friend."
    assert (model.profile.name, server.probes) == ("unknown", 1)


@both
def test_a_refused_field(server, ask_for):
    """Which one, and what to do: leave it out, or say what the server can."""
    with pytest.raises(RefusedField, match=r"does not take sampler .*leave it out.*offline"):
        ask_for(model_at(server, sampler=1), "Hi")
    with pytest.raises(ValueError, match=r"does not take max_tokens .*profile="):
        ask_for(model_at(serving_as(server, "openai"), profile="vllm", max_tokens=5), "Hi")


@both
@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("registry/gemma:2b is a model that does not support tools", "name a model that takes"),
        ('"auto" tool choice requires --enable-auto-tool-choice', "start the server so that"),
        ("tools param requires --jinja flag", "start the server so that"),
        ("System role not supported", r'system="user"'),
        ("Only user roles; got role: system", r'system="user"'),
        ("Conversation roles must alternate user/assistant", "alternate=True"),
        ("Unexpected role 'user' after role 'tool'", r'profile="mistral"'),
    ],
)
def test_a_refusal_that_we_know_says_what_helps(server, ask_for, why, hint):
    """Beside what the server itself has to say."""
    server.faults.append(Wrong(400, why))
    with pytest.raises(Refused, match=rf"would not answer \(.*{hint}.*offline") as caught:
        ask_for(model_at(server), "Hi")
    assert why in str(caught.value)
    assert type(caught.value) is Refused


@both
def test_a_refusal_in_other_words(server, ask_for):
    """By the name of a field alone; in a page; at length; in no words at all."""
    wrongs = [Wrong(400, "no", param="sampler"), *(Wrong(500, "") for _ in range(3))]
    for wrong, body in zip(wrongs[1:], (b"<html>broken</html>", b'"x" ' * 500, b""), strict=True):
        wrong.body = body
    server.faults += wrongs
    with pytest.raises(RefusedField, match=r"does not take sampler \(no\)"):
        ask_for(model_at(server), "Hi")
    with pytest.raises(ServerFailed, match=r"failed \(500: <html>broken</html>\)"):
        ask_for(model_at(server), "Hi")
    with pytest.raises(ServerFailed, match=r'failed \(500: ("x" ){75} \.\.\.\)'):
        ask_for(model_at(server), "Hi")
    with pytest.raises(ServerFailed, match=r"failed \(500: \w.+\); ask"):
        ask_for(model_at(server), "Hi")


def serving_as(server, kind):
    """The same server, as strict as another."""
    server.kind = kind
    return server


@both
@pytest.mark.parametrize(
    "wrong",
    [
        Wrong(400, "too much", code="context_length_exceeded", param="messages"),
        Wrong(400, "This model's maximum context length is 4096 tokens. However, you ..."),
        Wrong(400, "the request exceeds the available context size", kind="exceed_context_size"),
        Wrong(400, "Prompt contains 66385 tokens, too large for model with 32768 maximum"),
        Wrong(413, "Payload Too Large"),
    ],
)
def test_an_overlong_conversation(server, ask_for, wrong):
    """In the words of each server: show it less, or name another model."""
    server.faults.append(wrong)
    with pytest.raises(TooLong, match=r"too long for llama3 at .*window=.*offline"):
        ask_for(model_at(server, retries=5), "Hi")


@apis
@pytest.mark.parametrize("items", [[], [{"role": "user", "content": ""}]])
def test_an_empty_conversation(server, api, items):
    """Nothing is sent."""
    model = model_at(server, api=api)
    for failing in (model.answer(items), streamed_items(model, items)):
        with pytest.raises(NothingSaid, match=r"nothing to answer.*prepare_for_openai"):
            asyncio.run(failing)
    assert server.requests == []


async def streamed_items(model, items):
    """These items' answer, in pieces."""
    return [piece async for piece in model.stream(items)]


@both
def test_a_tool_that_no_server_takes(server, ask_for):
    """By its name, by its name twice, by the profile: nothing is sent."""
    with pytest.raises(RefusedField, match=r"a tool called 'the weather'.*letters"):
        ask_for(model_at(server), "Hi", tools=[replace(WEATHER, name="the weather")])
    with pytest.raises(RefusedField, match=r"'weather'.*name of its own"):
        ask_for(model_at(server), "Hi", tools=[WEATHER, WEATHER])
    none = replace(PROFILES["vllm"], name="mine", tools=False)
    with pytest.raises(CannotDo, match=r"'mine' says .* takes no tools.*replace\(profile"):
        ask_for(model_at(server, profile=none), "Hi", tools=[WEATHER])
    assert server.requests == []


@apis
@both
@pytest.mark.parametrize("fault", ["malformed", "page"])
def test_what_is_no_answer(server, api, ask_for, fault):
    """Half a JSON, a page of HTML: it says so, and where to look."""
    server.faults.append(fault)
    why = {"malformed": r"no JSON.*offline", "page": r"no answer: <html>Please .*/v1.*offline"}
    with pytest.raises(BadAnswer, match=why[fault]) as caught:
        ask_for(model_at(server, api=api, retries=5), "Hi")
    assert caught.value.text == ("" if fault == "malformed" else "<html>Please log in.</html>")
    assert len(server.requests) == 1


@apis
@both
def test_an_answer_that_is_used_up_before_its_first_word(server, api, ask_for):
    """By thinking, mostly; a filter is another matter."""
    server.faults += ["length", "filter"]
    model = model_at(server, api=api, retries=5)
    with pytest.raises(BadAnswer, match=r"before its first word.*max_tokens=.*offline"):
        ask_for(model, "Hi")
    with pytest.raises(Refused, match=r"kept from answering by a filter.*offline"):
        ask_for(model, "Hi")


@apis
@both
def test_an_answer_that_is_cut_short_by_its_limit_is_one(server, api, ask_for):
    """Whoever allows little gets little: words, or a call."""
    server.faults += ["long", "long"]
    model = model_at(server, api=api)
    assert "Hello " in str(ask_for(model, "Hi"))
    server.words, server.calls = [""], [CALLS]
    assert str(CALLED[0]) in str(ask_for(model, "Hi", tools=[WEATHER]))


@apis
@both
def test_a_server_that_says_nothing(server, api, ask_for):
    """Seconds of silence, then an error that says how many; it is not asked again."""
    ask_for(model_at(server), "Hi")
    server.faults.append("hang")
    with pytest.raises(TimedOut, match=r"silent for 0.05 seconds.*offline"):
        ask_for(model_at(server, api=api, timeout=0.05, retries=5), "Hi")
    assert len(server.requests) == 2
    assert server.left.wait(10)


@apis
@both
def test_a_server_that_is_slow_to_begin(server, api, ask_for):
    """Within its time it may think as long as it likes."""
    server.faults.append("slow")
    model = model_at(server, api=api)

    async def patient():
        task = asyncio.create_task(
            model.answer(said("Hi")) if ask_for is answer else streamed(model, "Hi")
        )
        assert await asyncio.to_thread(server.asked.wait, 10)
        assert not task.done()
        server.go.set()
        return await task

    assert asyncio.run(patient())


@apis
@pytest.mark.parametrize("fault", ["cut", "short"])
def test_an_answer_that_breaks_off_is_no_answer(server, api, fault):
    """Whether the line breaks or the stream ends too soon; deltas came, a message does not."""
    server.faults.append(fault)
    node = OpenAINode(name="Rumi", model=model_at(server, api=api))
    pieces = []
    with pytest.raises(CutOff, match=r"broke off .* ask again") as caught:
        pieces.extend(piece.content for piece in node.receive("Hi", deltas=True))
    assert caught.value.text == "Hello there, "
    assert ask(node, "Hi").content == "Hello there, friend."


@apis
def test_a_server_that_fails_in_mid_stream(server, api):
    """It says so itself."""
    server.faults.append("broken")
    with pytest.raises(ServerFailed, match=r"failed \(it failed\).*offline"):
        stream(model_at(server, api=api), "Hi")


def test_a_server_without_that_api():
    """The error names the other one, and how an address mostly ends."""
    with serving() as server:
        with pytest.raises(Refused, match=r"no such address.*api='chat'.*offline"):
            answer(model_at(server, api="responses"), "Hi")
        lost = OpenAIModel(server.model, server.url.removesuffix("/v1"), server.key, retries=0)
        with pytest.raises(Refused, match=r"no such address.*mostly ends in /v1"):
            answer(lost, "Hi")


def test_the_error_comes_from_the_sdk(server):
    """What was known below stays known: it is raised from the cause."""
    with pytest.raises(WrongKey) as caught:
        answer(model_at(server, api_key="wrong"), "Hi")
    assert type(caught.value.__cause__).__name__ == "AuthenticationError"


def test_what_is_no_fault_of_a_server_is_raised_as_it_is(server, monkeypatch):
    """A bug stays a bug; what the SDK alone knows of is a refusal."""
    model = model_at(server, profile="vllm")
    for error, ours in [(KeyError("bug"), KeyError), (openai.OpenAIError("odd"), Refused)]:

        async def fail(*given, error=error):
            raise error

        monkeypatch.setattr(model, "_send", fail)
        for ask_for in (answer, stream):
            with pytest.raises(ours, match=r"bug|odd"):
                ask_for(model, "Hi")


def test_a_profile_or_an_api_that_nobody_knows():
    """The error lists those there are."""
    with pytest.raises(ModelError, match=r"known as 'olama'.*openai, ollama, vllm.*offline"):
        OpenAIModel("llama3", "http://127.0.0.1:9/v1", profile="olama")
    with pytest.raises(ModelError, match=r"api is \"chat\" or \"responses\".*'assistants'"):
        OpenAIModel("llama3", "http://127.0.0.1:9/v1", api="assistants")
    with pytest.raises(CannotDo, match=r"'mistral' says .* no Responses API.*responses=True"):
        OpenAIModel("m", "http://127.0.0.1:9/v1", profile="mistral", api="responses", api_key="k")
    has = replace(PROFILES["mistral"], responses=True)
    model = OpenAIModel("m", "http://127.0.0.1:9/v1", profile=has, api="responses", api_key="k")
    assert model.api == "responses"


# -- who is asked ----------------------------------------------------------------------------------


def test_a_server_that_shows_no_models_is_nobody_we_know(server):
    """It is asked as carefully as any unknown one, and not asked for its models again."""
    server.model, model = "llama3", model_at(server)
    model.base_url = server.url.replace("/v1", "/v2")
    with pytest.raises(Refused):
        answer(model, "Hi")
    with pytest.raises(Refused):
        answer(model, "Hi")
    assert (model.profile.name, server.probes) == ("unknown", 1)


def test_a_hundred_at_once_look_once(server):
    """The others wait for what the first one finds."""

    async def hundred():
        await asyncio.gather(*(model_at(server).answer(said("Hi")) for _ in range(100)))

    asyncio.run(hundred())
    assert (len(server.requests), server.probes) == (100, 1)


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
    assert server.probes == 0


def test_openai_itself_is_known_by_its_address():
    """Its roles need not alternate, it is asked for responses, and not to store them."""
    real = OpenAIModel("gpt-5-mini", api_key="secret")
    assert (real.profile, real.api) == (PROFILES["openai"], "responses")
    assert real.form == {
        "alternate": False,
        "system": "system",
        "name_field": False,
        "strict_calls": False,
    }
    assert real.body(said("Hi"))["store"] is False
    chat = OpenAIModel("gpt-5-mini", api_key="secret", api="chat")
    assert set(chat.body(said("Hi"), stream=False)) == {"model", "messages", "store"}
