"""`Place`: a store under examination, the processes at it, and what is laid into it."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Self

from llambdao.journal.errors import JournalError
from llambdao.journal.ledger import (
    Answer,
    Batch,
    Effect,
    Ending,
    Found,
    Ledger,
    Letter,
    Line,
    Opening,
    Question,
    Stand,
    Step,
)
from llambdao.journal.stores import open_ledger

__all__ = ["CASES", "TEXTS", "Child", "Make", "Place", "case"]

Make = Callable[[str], Ledger]

CASES: dict[str, Callable[[Place], None]] = {}
"""Every case by its name."""


def case(*sets: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A case: a function of a place; or several, one for each of these labels and arguments."""

    def enter(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        if not sets:
            CASES[name] = function
        for label, *given in sets:

            def run(place: Place, given: list[Any] = given) -> None:
                function(place, *given)

            run.__doc__ = function.__doc__
            CASES[f"{name}[{label}]"] = run
        return function

    return enter


class Place:
    """Where a case happens: one store, opened as often as needed, also by other processes."""

    def __init__(self, make: Make | str, name: str) -> None:
        self.make, self.name = make, name
        self.opened: list[Ledger] = []
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
        for ledger in self.opened:
            with suppress(JournalError):
                ledger.close()

    def open(self) -> Ledger:
        """Open the store once more."""
        ledger = open_at(self.make, self.name)
        self.opened.append(ledger)
        return ledger

    def owner(self, *, by_force: bool = False) -> Ledger:
        """Open it and own it."""
        ledger = self.open()
        ledger.claim(by_force=True) if by_force else ledger.claim()
        return ledger

    def again(self, ledger: Ledger) -> Ledger:
        """As if the process had ended and another begun."""
        ledger.close()
        return self.owner()

    def child(self, work: Callable[..., None], *arguments: Any) -> Child:
        """Another process, which does this with the store: `work(open, say, *arguments)`."""
        child = Child(pickle.dumps((work, self.make, self.name, arguments)))
        self.children.append(child)
        return child


def open_at(make: Make | str, name: str) -> Ledger:
    """Open the store of a name."""
    return open_ledger(make.format(name)) if isinstance(make, str) else make(name)


class Child:
    """Another process at the same store."""

    def __init__(self, task: bytes) -> None:
        code = "import sys; from llambdao.testing._ledger_place import work; work(sys.argv[1])"
        self.process = subprocess.Popen(  # noqa: S603  # this very Python
            [sys.executable, "-c", code, base64.b64encode(task).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def hear(self) -> str:
        """The next line it says; empty once it has ended."""
        return _pipe(self.process.stdout).readline().strip()

    def tell(self) -> None:
        """Let it go on."""
        pipe = _pipe(self.process.stdin)
        pipe.write("\n")
        pipe.flush()

    def kill(self) -> None:
        """Kill it, as `kill -9` does, wherever it is."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()

    def rest(self) -> list[str]:
        """What else it has said, up to its end."""
        said = _pipe(self.process.stdout).read().split("\n")
        self.process.wait()
        return [line for line in said if line]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def work(task: str) -> None:
    """What a child does."""
    function, make, name, arguments = pickle.loads(base64.b64decode(task))  # noqa: S301  # ours
    function(lambda: open_at(make, name), _say, *arguments)


def _say(word: Any) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


# -- what is laid into it ------------------------------------------------------------------------

NOW = 1_700_000_000_000_000_000
SALT = 1_000_000


def given(key: int, id: str | None = None, **more: Any) -> Opening:  # noqa: A002  # that it is
    """An opening whose id was given."""
    return opening(key, id=id or f"order-{key}", is_given=True, **more)


def opening(key: int, **more: Any) -> Opening:
    """An opening whose id is of our own making."""
    at = more.pop("at", NOW + key)
    salt = more.pop("salt", SALT + key)
    fields: dict[str, Any] = {
        "id": f"{at:016x}{salt:08x}{1:08x}",
        "node": "clerk",
        "message": b'{"content":"Hello"}',
        "way": "ask",
        "digest": b"0123456789abcdef",
        **more,
    }
    return Opening(key=key, salt=salt, at=at, **fields)


def ending(key: int, **more: Any) -> Ending:
    """An ending."""
    return Ending(**{"key": key, "at": NOW + key + 5, "reason": "done", **more})


def line(key: int, *contents: str, **more: Any) -> Line:
    """A line in which this was said."""
    said = [
        {"n": n, "from": "clerk", "intent": "inform", "content": content, "re": n - 1}
        for n, content in enumerate(contents or ("Hello",), 1)
    ]
    return Line(**{"key": key, "at": NOW + key, "said": said, **more})


def step(key: int, number: int = 0, **more: Any) -> Step:
    """A step."""
    return Step(**{"key": key, "number": number, "at": NOW, "inputs": b"[1]", **more})


def effect(key: int, number: int = 0, **more: Any) -> Effect:
    """An effect."""
    fields = {"name": "pay", "digest": "d", "policy": "ask", "at": NOW, **more}
    return Effect(key=key, number=number, **fields)


def question(id: str, key: int = 1, **more: Any) -> Question:  # noqa: A002
    """A question."""
    fields = {"who": "Ann", "asker": "clerk", "content": "May I?", "since": NOW, **more}
    return Question(id=id, key=key, message=b'{"content":"May I?"}', **fields)


def answer(id: str, **more: Any) -> Answer:  # noqa: A002
    """An answer."""
    return Answer(**{"id": id, "way": "answered", "by": "Ann", "at": NOW, "content": "yes", **more})


def letter(reason: str = "cancelled", **more: Any) -> Letter:
    """A dead letter."""
    return Letter(b"{}", reason, "clerk", more.pop("error", ""), more.pop("at", NOW))


def whole(key: int, **more: Any) -> Batch:
    """A conversation of one commit."""
    return Batch(opened=[opening(key, **more)], lines=[line(key)], endings=[ending(key)])


def stand(key: int, status: Any = "waits", **more: Any) -> Stand:
    """A stand."""
    return Stand(key, status, **more)


def keys(found: list[Found]) -> list[int]:
    """Which conversations these are."""
    return [one.opening.key for one in found]


TEXTS = (
    ("plain", "Hello"),
    ("empty", ""),
    ("accents", "Ünï çødé"),
    ("hanzi", "道可道,非常道"),
    ("emoji", "👩‍👩‍👧‍👦 and 🏳️‍🌈"),
    ("quotes", 'O\'Brien "said"; drop table history; --'),
    ("marks", "100 % of ? and %s and :name and $1 and {}"),
    ("backslashes", "C:\\new\\0 \\u0000 \\x01"),
    ("control", "\x01\x02 bell \x07 tab \t line \r\n"),
    ("nul", "before\0after"),
    ("escape", "\x01\\0"),
    ("json", '[1,"a",{"#":"b"}]'),
    ("spaces", "  around  "),
    ("last", "\U0010ffff"),
)
"""Texts that are hard to keep, by what is in them."""


@contextmanager
def raising(kind: type[BaseException]) -> Iterator[list[BaseException]]:
    """This is to raise that; it gives a list with the error."""
    caught: list[BaseException] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
        return
    raise AssertionError(f"it should have raised {kind.__name__}")


def everything(ledger: Ledger) -> tuple[Any, ...]:
    """What can be read of a ledger."""
    return (
        ledger.conversations(), ledger.steps(2), ledger.effects(), ledger.questions(),
        ledger.answer("q1"), ledger.states(), ledger.lines(), ledger.letters(), ledger.meta(),
        ledger.last_key(), ledger.ready(), ledger.knocks(),
    )  # fmt: skip
