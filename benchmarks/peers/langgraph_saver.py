"""LangGraph with a saver: graphs of one node, of which every turn is saved before it ends."""

from __future__ import annotations

import operator
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypedDict

os.environ["LANGSMITH_TRACING"] = "false"
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from benchmarks.floor import Case
from benchmarks.tables import BATCH, folder, server, size, text

CONNECTIONS = 16


class State(TypedDict):
    """Of the last turn alone: what is saved does not grow."""

    said: str
    turns: int


def answer(state: State) -> State:
    return {"said": state["said"].upper(), "turns": state.get("turns", 0) + 1}


class Thread(TypedDict):
    """Of all turns."""

    said: Annotated[list[str], operator.add]


def answer_last(state: Thread) -> Thread:
    return {"said": [state["said"][-1].upper()]}


def graph(schema: Any, node: Any, saver: Any) -> Any:
    return StateGraph(schema).add_node("clerk", node).add_edge(START, "clerk").compile(saver)


@contextmanager
def saver_in(place: Path, synchronous: str) -> Iterator[SqliteSaver]:
    with closing(sqlite3.connect(place / "saver.db", check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        saver.setup()  # which switches to write-ahead
        connection.execute(f"pragma synchronous = {synchronous}")
        yield saver


def turn(app: Any, thread: int, number: int) -> None:
    config = {"configurable": {"thread_id": str(thread)}}
    end = app.invoke({"said": text(number)}, config, durability="sync")
    assert end["said"] == text(number).upper()


def turns(synchronous: str) -> Case:
    with folder() as place, saver_in(place, synchronous) as saver:
        app, numbers = graph(State, answer, saver), count()
        yield
        while True:
            for _ in range(10):
                turn(app, 0, next(numbers))
            yield 10


def turns_full() -> Case:
    return turns("full")


def turns_normal() -> Case:
    return turns("normal")


def at_once(app: Any) -> Case:
    """So many threads, each of which takes one turn after the other."""
    numbers = count()

    def talk(thread: int) -> None:
        for _ in range(2):
            turn(app, thread, next(numbers))

    with ThreadPoolExecutor(BATCH) as pool:
        yield
        while True:
            list(pool.map(talk, range(BATCH)))
            yield 2 * BATCH


def turns_full_64() -> Case:
    with folder() as place, saver_in(place, "full") as saver:
        yield from at_once(graph(State, answer, saver))


def turns_postgres_64() -> Case:
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    with ConnectionPool(server(), max_size=CONNECTIONS, kwargs=options) as pool:
        saver: Any = PostgresSaver(pool)  # type: ignore[arg-type]
        saver.setup()
        yield from at_once(graph(State, answer, saver))


def thread(n: int) -> float:
    """The bytes of a turn of n in one thread, which keeps what was said."""
    with folder() as place:
        with saver_in(place, "normal") as saver:
            app: Any = graph(Thread, answer_last, saver)
            config = {"configurable": {"thread_id": "0"}}
            for number in range(n):
                app.invoke({"said": [text(number)]}, config, durability="sync")
        return size(place) / n
