"""Servers of the Model Context Protocol as nodes: real ones, over stdio and HTTP."""

import asyncio
import gc
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llambdao import BadMessage, Message, Misused, Node, all_of, ask
from llambdao.mcp import (
    FunctionFailed,
    Functions,
    MCPNode,
    NoServer,
    ServerError,
    TimedOut,
    UnknownFunction,
    Use,
)
from llambdao.openai import OpenAINode, ScriptedModel, ToolCall
from llambdao.runtime import Runtime

SERVER = Path(__file__).parent / "mcp_server.py"


def started(**fields):
    """A node whose server is started by a command."""
    return MCPNode(**{"name": "Adder", "command": [sys.executable, str(SERVER)], **fields})


@pytest.fixture(scope="module")
def adder():
    """One server over stdio, for all who leave it as it is."""
    with started() as node:
        yield node


@pytest.fixture(scope="module")
def url():
    """The address of a server at a port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, SERVER, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while True:
        assert process.poll() is None, "the server did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)  # another process: no clock of ours
    yield f"http://127.0.0.1:{port}/mcp"
    process.terminate()
    process.wait()


def use(node, name, **arguments):
    """What it says when it is asked to do this."""
    return ask(node, Use(function=name, arguments=arguments, intent="do"))


def test_it_tells_what_the_server_can_do(adder):
    """Names, descriptions, parameters."""
    told = ask(adder, Message(intent="functions"))
    assert isinstance(told, Functions)
    assert told.content == "Functions of Adder: add, count, fail, die, wait, draw, whose"
    first = told.functions[0]
    assert (first["name"], first["description"]) == ("add", "Add two numbers.")
    assert first["parameters"]["required"] == ["a"]


def test_it_does_what_it_is_asked_to(adder):
    """As text, and as data; the server keeps its state from one conversation to the next."""
    said = use(adder, "add", a=40)
    assert (said.content, said.metadata, said.sender) == (
        "42",
        {"structured": {"result": 42}},
        adder,
    )
    assert [use(adder, "count").content for _ in range(2)] == ["1", "2"]
    assert use(adder, "draw").content == "a dot\n[image: image/png]"


def test_a_server_may_be_at_a_url(url):
    """By streamable HTTP, with headers that nobody else sees."""
    with MCPNode(name="Remote", url=url, headers={"x-key": "secret"}) as node:
        assert use(node, "add", a=1, b=1).content == "2"
        assert use(node, "whose").content == "secret"
        assert "secret" not in f"{node!r} {node.state()} {node.dict()}"


def test_a_model_calls_its_functions(adder):
    """They are offered with their schema; an error of theirs is told to the model."""
    model = ScriptedModel(
        (ToolCall("1", "Adder_add", '{"a": 40}'), ToolCall("2", "Adder_fail", "{}")), "It is 42."
    )
    ann = OpenAINode(name="Ann", model=model, tools=[adder])
    assert ask(ann, "40 + 2?").content == "It is 42."
    names = [tool.name for tool in model.asked[0]["tools"]]
    assert names[:3] == ["Adder_add", "Adder_count", "Adder_fail"]
    assert model.asked[0]["tools"][0].parameters["properties"]["a"]["type"] == "integer"
    results = [item["content"] for item in model.requests[1] if item["role"] == "tool"]
    assert results[0] == "42"
    assert results[1].endswith("error: FunctionFailed: Error executing tool fail: not today")


def test_a_call_may_need_approval(adder):
    """By the name of the function."""

    class Boss(Node):
        def request(self, message):
            return "no" if message.function == "add" else "yes"

    boss = Boss(name="Eve")
    calls = (ToolCall("1", "Adder_add", '{"a": 1}'), ToolCall("2", "Adder_draw", "{}"))
    model = ScriptedModel(calls, "Well.")
    ann = OpenAINode(name="Ann", model=model)
    ann.link(adder, approve={"add": boss, "draw": boss})
    ask(ann, "Go")
    results = [item["content"] for item in model.requests[1] if item["role"] == "tool"]
    assert results == ["refused by Eve: no", "a dot\n[image: image/png]"]


def test_many_conversations_share_one_server(adder):
    """In a runtime, at once, on its own loop."""

    async def main():
        async with Runtime(adder) as runtime:
            asked = [
                runtime.ask(adder, Use(function="add", arguments={"a": n}, intent="do"))
                for n in range(20)
            ]
            return [said.content for said in await asyncio.gather(*asked)]

    assert asyncio.run(main()) == [str(n + 2) for n in range(20)]


class Both(Node):
    """Asks for two things at once."""

    server: Node

    def chat(self, message):
        given = yield all_of(
            self.server.ask(Use(function="add", arguments={"a": 1}), intent="do"),
            self.server.ask(Use(function="add", arguments={"a": 2}), intent="do"),
        )
        yield " ".join(said.content for said in given)


def test_a_handler_asks_it_as_any_node(adder):
    """Two at once."""
    assert ask(Both(server=adder), "Go").content == "3 4"


# -- what may go wrong -----------------------------------------------------------------------------


def test_what_fails_there_is_an_error_here(adder):
    """Each of its own kind; all of one family."""
    with pytest.raises(FunctionFailed, match="not today"):
        use(adder, "fail")
    with pytest.raises(UnknownFunction, match=r"Adder has no function 'nope'; it has add, count"):
        use(adder, "nope")
    with pytest.raises(FunctionFailed, match="valid integer"):
        use(adder, "add", a="one")
    with pytest.raises(
        BadMessage, match=r"Adder can do a Use\(function=\.\.\., arguments=\.\.\.\)"
    ):
        ask(adder, Message("add", intent="do"))
    assert all(issubclass(one, ServerError) for one in (FunctionFailed, UnknownFunction, NoServer))


def test_a_server_that_dies_is_started_anew_for_the_next_question():
    """What was asked when it died is an error: nobody knows what it has done."""
    with started() as node:
        assert [use(node, "count").content for _ in range(2)] == ["1", "2"]
        with pytest.raises(NoServer, match="is gone"):
            use(node, "die")
        assert use(node, "count").content == "1"


def test_a_silent_server_is_an_error_in_time():
    """The connection stays."""
    with started(timeout=20.0) as node:
        use(node, "count")
        node.session.timeout = 0.05
        with pytest.raises(TimedOut, match=r"silent for 0.05 seconds; .*timeout=\.\.\."):
            use(node, "wait")
        node.session.timeout = 20.0
        assert use(node, "count").content == "2"


def test_who_stops_waiting_lets_the_call_go():
    """The next question is answered."""

    async def main(node):
        async with Runtime(node) as runtime:
            await runtime.ask(node, Use(function="count", intent="do"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runtime.ask(node, Use(function="wait", intent="do")), 0.05)
            return (await runtime.ask(node, Use(function="count", intent="do"))).content

    with started() as node:
        assert asyncio.run(main(node)) == "2"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"command": ["no-such-program-here"]}, "no-such-program-here cannot be had"),
        ({"command": [sys.executable, "-c", "pass"]}, "-c pass cannot be had"),
        ({"url": "http://127.0.0.1:9/mcp"}, "http://127.0.0.1:9/mcp cannot be had"),
    ],
    ids=["no program", "no server", "nobody there"],
)
def test_a_server_that_cannot_be_had_is_an_error_before_the_model_is_asked(fields, what):
    """It says where, why, and what to look at."""
    model = ScriptedModel("Never.")
    ann = OpenAINode(name="Ann", model=model, tools=[MCPNode(**fields)])
    with pytest.raises(NoServer, match=re.escape(what)):
        ask(ann, "Go")
    assert model.requests == []


def test_a_server_is_started_or_reached_and_not_both():
    """When the node is made."""
    for fields in ({}, {"command": []}, {"command": ["x"], "url": "http://x"}):
        with pytest.raises(Misused, match="a server is started or reached"):
            MCPNode(**fields)


# -- its end ---------------------------------------------------------------------------------------


def children():
    """The processes that this one has started."""
    return Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")


def threads():
    """The threads of servers."""
    return [one.name for one in threading.enumerate() if one.name.startswith("mcp ")]


def test_closing_ends_the_server_and_its_thread():
    """Twice is no error, and a question starts it anew."""
    before = threads()
    node = started()
    node.close()
    assert use(node, "count").content == "1"
    assert len(threads()) == len(before) + 1
    node.close()
    node.close()
    assert threads() == before
    assert use(node, "count").content == "1"
    node.close()


def test_a_node_that_nobody_holds_lets_its_server_go():
    """In its own time."""
    before = threads()
    node = started()
    use(node, "count")
    [mine] = [one for one in threading.enumerate() if one.name in {*threads()} - {*before}] or [
        next(one for one in reversed(threading.enumerate()) if one.name.startswith("mcp "))
    ]
    del node
    gc.collect()
    mine.join(20)
    assert not mine.is_alive()


def test_no_server_outlives_the_program(tmp_path):
    """One that is not closed is stopped at the end, without a word on stderr."""
    program = tmp_path / "program.py"
    program.write_text(
        f"from llambdao import ask\nfrom llambdao.mcp import MCPNode, Use\n"
        f"node = MCPNode(command=[{sys.executable!r}, '-c', {PID!r}])\n"
        "print(ask(node, Use(function='pid', intent='do')).content)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


PID = """
import os
from mcp.server.mcpserver import MCPServer
server = MCPServer("Pid", log_level="CRITICAL")
server.tool(name="pid")(lambda: str(os.getpid()))
server.run()
"""


def test_without_the_sdk_it_says_what_to_install(monkeypatch):
    """When the first question comes; the module itself can be imported."""
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ServerError, match=r"pip install 'llambdao\[mcp\]'"):
        use(started(), "count")
