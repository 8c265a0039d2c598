"""`crash_points`: a program is killed at every commit, and must come to the same each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from llambdao.journal.ledger import Ledger
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.journal.stores import open_ledger
from llambdao.testing._life import Killed, Life, Mortal, Outside, Program, live

__all__ = ["Crashes", "crash_points"]

Make = Callable[[str], Ledger]
Death = tuple[int, str]

WAYS = ("before", "after")
NEVER = (0, "before")


class Crashes:
    """What `crash_points` has done: commits of whole runs, kills, and lives."""

    def __init__(self) -> None:
        self.commits = self.kills = self.lives = 0

    def __str__(self) -> str:
        return f"{self.commits} commits, {self.kills} kills, {self.lives} lives"

    __repr__ = __str__


def crash_points(
    program: Program,
    *,
    journal: str | Make | None = None,
    batches: Iterable[int] = (1, 8),
    twice: int | None = 2,
) -> Crashes:
    """Kill a program at every commit, before and after, let it live again, and compare.

    `async def program(life)` is the whole of it: it builds its nodes, has `life.runtime(*nodes)`
    run them, tells them something *with an id* (the same again is the same message), waits with
    `life.settle(runtime)`, and gives back what came of it. That must be the same however often it
    was killed on the way, and no effect (`life.did`) may be done more than once per life, always
    under the same key. What differs raises AssertionError, which says where it was killed.

    * `journal`: a URL with `{}` for a name that is new in each run, or a function that opens the
      store of a name; in memory unless given;
    * `batches`: how many conversations have their turn in one commit, one run for each;
    * `twice`: after each kill it is killed again at so many first commits of its next life, before
      and after, and then lives in peace; None: at all of them, which takes its time.

    Time is virtual, and nothing is really killed: what a process has in memory is dropped.

    >>> from llambdao import Message, Node, sleep
    >>> class Host(Node):
    ...     guests: int = 0
    ...
    ...     def request(self, message):
    ...         yield sleep(3 * 24 * 3600)
    ...         self.guests += 1
    ...         yield f"Welcome, {message.content}."
    >>> async def program(life):
    ...     host = Host(name="host")
    ...     async with life.runtime(host) as runtime:
    ...         await runtime.tell(host, Message("Ann", intent="request", id="1"))
    ...         await life.settle(runtime)
    ...         return [str(said) for said in await runtime.replies("1")], host.guests
    >>> print(crash_points(program))
    8 commits, 144 kills, 226 lives
    """
    crashes, names = Crashes(), count(1)
    for batch in batches:

        def run(*deaths: Death, batch: int = batch) -> tuple[Any, int]:
            """Live, and die at each of these; then live in peace."""
            name, outside = f"run{next(names)}", Outside()
            opened = opener(journal, name)
            for place, (at, when) in enumerate((*deaths, NEVER)):
                ledger = Mortal(opened(), at, when)
                crashes.lives += 1
                try:
                    outcome = live(program, Life(ledger, outside, batch=batch))
                except Killed:
                    crashes.kills += 1
                    continue
                except Exception as error:
                    if not deaths:
                        raise
                    raise AssertionError(f"{told(deaths, batch)} it failed: {error!r}") from error
                check_effects(outside, place + 1, told(deaths, batch))
                return outcome, ledger.count
            raise AssertionError("the last life has no end")

        whole, commits = run()
        crashes.commits += commits
        for deaths in all_deaths(commits, twice):
            outcome, _ = run(*deaths)
            assert outcome == whole, (
                f"{told(deaths, batch)} it came to {outcome!r}, and undisturbed to {whole!r}"
            )
    return crashes


def all_deaths(commits: int, twice: int | None) -> Iterator[tuple[Death, ...]]:
    """One death, or two."""
    for at in range(1, commits + 1):
        for when in WAYS:
            yield ((at, when),)
            for again in range(1, 1 + (commits if twice is None else twice)):
                for way in WAYS:
                    yield (at, when), (again, way)


def opener(journal: str | Make | None, name: str) -> Callable[[], Any]:
    """What opens one store again and again."""
    if journal is None:
        store = Store()
        return lambda: MemoryLedger(store)
    if isinstance(journal, str):
        url = journal.replace("{}", name)
        return lambda: open_ledger(url)
    return lambda: journal(name)


def told(deaths: tuple[Death, ...], batch: int) -> str:
    """Where it was killed."""
    if not deaths:
        return "undisturbed"
    places = ", then ".join(f"{when} commit {at}" for at, when in deaths)
    return f"killed {places} (with {batch} conversation{'s' * (batch > 1)} a commit)"


def check_effects(outside: Outside, lives: int, where: str) -> None:
    """Each at most once per life, and with one key."""
    for (what, key), times in Counter(outside.done).items():
        assert times <= lives, f"{where} {what!r} ({key}) was done {times} times in {lives} lives"
