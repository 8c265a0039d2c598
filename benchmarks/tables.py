"""The floor of a journal: one row for the request and one for the reply, and a commit."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.floor import Case

BATCH = 64
TABLE = "create table said (id integer primary key, word text, content text)"
ROW = "insert into said (word, content) values (?, ?)"


def text(number: int) -> str:
    """What is said: 33 characters, never the same."""
    return f"{number:x<33}"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards, on the disk where this runs."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER", ".")) as name:
        yield Path(name)


@contextmanager
def database(place: Path, synchronous: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(place / "raw.db", isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {synchronous}")
        connection.execute(TABLE)
        yield connection


def turns(synchronous: str, batch: int, times: int) -> Case:
    """Both rows of each turn, so many turns in a commit."""
    numbers = count()
    with folder() as place, database(place, synchronous) as connection:
        run = connection.execute
        yield
        while True:
            for _ in range(times):
                run("begin immediate")
                for _ in range(batch):
                    content = text(next(numbers))
                    run(ROW, ("request", content))
                    run(ROW, ("reply", content.upper()))
                run("commit")
            yield times * batch


def turns_full() -> Case:
    """J1: what is committed survives a power cut."""
    return turns("full", 1, 20)


def turns_normal() -> Case:
    """J2: it survives the end of the process."""
    return turns("normal", 1, 200)


def turns_full_64() -> Case:
    """J3: 64 turns in one commit."""
    return turns("full", BATCH, 10)


def stored(n: int) -> float:
    """J4: the bytes of a turn."""
    with folder() as place:
        with database(place, "normal") as connection:
            connection.execute("begin")
            for number in range(n):
                connection.execute(ROW, ("request", text(number)))
                connection.execute(ROW, ("reply", text(number).upper()))
            connection.execute("commit")
        return size(place) / n


def size(place: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def turns_postgres_64() -> Case:
    """J6: 64 turns in one commit, sent in one go."""
    import psycopg

    row: Any = ROW.replace("?", "%s")
    numbers = count()
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute("create temporary table said (word text, content text)")
        connection.execute("drop table if exists raw_said; create table raw_said (like said)")
        row = row.replace("said", "raw_said")
        yield
        while True:
            for _ in range(10):
                rows = []
                for _ in range(BATCH):
                    content = text(next(numbers))
                    rows += [("request", content), ("reply", content.upper())]
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.executemany(row, rows)
            yield 10 * BATCH


def server() -> str:
    """The URL of the server that `python -m benchmarks` has started."""
    url = os.environ.get("BENCH_POSTGRES")
    if not url:
        raise LookupError("no PostgreSQL: `python -m benchmarks` starts one")
    return url
