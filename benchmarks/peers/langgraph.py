"""LangGraph: state graphs without a saver (W7: with the one in memory)."""

from __future__ import annotations

import operator
import os
from collections import deque
from time import time_ns
from typing import Annotated, Any, TypedDict

os.environ["LANGSMITH_TRACING"] = "false"
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from benchmarks.floor import Case, Message

IMPORT = "langgraph.graph"
MOST = {"fan": 1_000, "hops": 1_000, "thread": 1_000}


class State(TypedDict, total=False):
    message: Message
    said: Annotated[list[Message], operator.add]


def pong(state: State) -> State:
    return {"message": Message("pong", "inform", "ponger", state["message"], time_ns())}


def ping(state: State) -> State:
    return {"message": Message("ping", "query", "asker", None, time_ns())}


def ask_outside() -> Case:
    graph = StateGraph(State)
    graph.add_node("asker", ping).add_node("ponger", pong)
    graph.add_edge(START, "asker").add_edge("asker", "ponger")
    app = graph.compile()
    yield
    while True:
        for _ in range(50):
            assert app.invoke({})["message"].content == "pong"
        yield 50


def count(state: State) -> State:
    write = get_stream_writer()
    for _ in range(1_000):
        write(Message("tick", "inform", "counter", state["message"], time_ns()))
    return {}


def counter() -> Any:
    return StateGraph(State).add_node("counter", count).add_edge(START, "counter").compile()


def stream() -> Case:
    app = counter()
    yield
    while True:
        go: State = {"message": Message("go", "query", None, None, time_ns())}
        assert len(list(app.stream(go, stream_mode="custom"))) == 1_000
        yield 1_000


def first() -> Case:
    app = counter()
    yield
    while True:
        go: State = {"message": Message("go", "query", None, None, time_ns())}
        replies = app.stream(go, stream_mode="custom")
        next(replies)
        yield 1
        deque(replies, maxlen=0)
        yield


def fan(n: int) -> Case:
    graph = StateGraph(State)
    graph.add_node("child", lambda state: {"said": [pong(state)["message"]]})
    graph.add_conditional_edges(
        START, lambda state: [Send("child", ping(state)) for _ in range(n)], ["child"]
    )
    app = graph.compile()
    yield
    while True:
        assert len(app.invoke({"said": []})["said"]) == n
        yield n


class Talk(TypedDict, total=False):
    message: Message
    turns: int


class Delivery(TypedDict):
    member: int
    message: Message


def hear(delivery: Delivery) -> Talk:
    number, message = delivery["member"], delivery["message"]
    if message.content != str((number - 1) % 8):
        return {}
    return {"message": Message(str(number), "chat", number, message, time_ns())}


def group_chat(turns: int = 200) -> Case:
    def deliver(talk: Talk) -> list[Send] | str:
        said = talk["message"]
        if talk["turns"] > turns:
            return END
        others = [number for number in range(8) if number != said.sender]
        return [Send("member", {"member": number, "message": said}) for number in others]

    graph = StateGraph(Talk)
    graph.add_node("room", lambda talk: {"turns": talk["turns"] + 1}).add_node("member", hear)
    graph.add_edge(START, "room").add_edge("member", "room")
    graph.add_conditional_edges("room", deliver, ["member", END])
    app = graph.compile()
    yield
    while True:
        start: Talk = {"message": Message("7", "chat", 7, None, time_ns()), "turns": 0}
        end = app.invoke(start, {"recursion_limit": 10 * turns})
        assert end["message"].content == str((turns - 1) % 8)
        yield 7 * turns


def hops(n: int) -> Case:
    """Nested subgraphs."""
    node: Any = pong
    for _ in range(n):
        node = StateGraph(State).add_node("inner", node).add_edge(START, "inner").compile()
    yield
    while True:
        assert node.invoke(ping({}))["message"].content == "pong"
        yield n


class Thread(TypedDict):
    messages: Annotated[list[str], operator.add]


def thread(n: int) -> Case:
    """Turns of two messages each, their list saved in memory."""
    graph = StateGraph(Thread)
    graph.add_node("player", lambda _: {"messages": ["ball"]}).add_edge(START, "player")
    yield
    while True:
        app = graph.compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "one"}}
        for _ in range(n // 2):
            end = app.invoke({"messages": ["ball"]}, config, durability="sync")
        assert len(end["messages"]) == n // 2 * 2
        yield n
