"""DBOS: a conversation is a workflow, and a turn is a step of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from dbos import DBOS, DBOSConfig

from benchmarks.floor import Case
from benchmarks.tables import BATCH, folder, server, size, text

numbers = count()


@DBOS.step()
def turn(said: str) -> str:
    return said.upper()


@DBOS.workflow()
def conversation(times: int) -> None:
    for _ in range(times):
        said = text(next(numbers))
        assert turn(said) == said.upper()


@contextmanager
def launched(url: str) -> Iterator[None]:
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": url,
        "run_admin_server": False,
        "log_level": "ERROR",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


def file(place: Path) -> str:
    return f"sqlite:///{place.absolute()}/dbos.sqlite"


def turns_full() -> Case:
    """Its file is written with a rollback journal; there is no other setting."""
    with folder() as place, launched(file(place)):
        yield
        while True:
            conversation(50)
            yield 50


def at_once() -> Case:
    with ThreadPoolExecutor(BATCH) as pool:
        yield
        while True:
            list(pool.map(conversation, [10] * BATCH))
            yield 10 * BATCH


def turns_full_64() -> Case:
    with folder() as place, launched(file(place)):
        yield from at_once()


def turns_postgres_64() -> Case:
    with launched(server()):
        yield from at_once()


def thread(n: int) -> float:
    """The bytes of a step of n in one workflow."""
    with folder() as place:
        with launched(file(place)):
            conversation(n)
        return size(place) / n
