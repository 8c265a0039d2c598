"""What several processes may expect of the store of a journal, and what outlives a killed one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from llambdao.journal.errors import JournalError, Owned
from llambdao.journal.ledger import Batch, Ledger
from llambdao.testing._ledger_place import (
    NOW,
    Child,
    Place,
    case,
    ending,
    keys,
    line,
    opening,
    raising,
    stand,
    step,
    whole,
)

Open = Callable[[], Ledger]
Say = Callable[[Any], None]


def _wait() -> None:
    """Wait until the parent says go on."""
    sys.stdin.readline()


def _own(open_: Open, say: Say) -> None:
    ledger = open_()
    ledger.claim()
    ledger.commit(whole(1))
    say("owns")
    _wait()
    try:
        ledger.commit(whole(2))
        say("committed")
    except JournalError as error:
        say(type(error).__name__)


def _try_to_own(open_: Open, say: Say) -> None:
    ledger = open_()
    say("open")
    _wait()
    try:
        ledger.claim()
        say("owns")
    except Owned:
        say("Owned")
    _wait()


def _leave(open_: Open, say: Say) -> None:
    ledger = open_()
    ledger.claim()
    ledger.commit(whole(1))
    say("leaves")
    os._exit(3)


def _knock(open_: Open, say: Say, name: str, many: int) -> None:
    ledger = open_()
    say("open")
    _wait()
    for number in range(many):
        ledger.knock("tell", {"name": name, "number": number}, NOW)
        say(number)


def _create(open_: Open, say: Say) -> None:
    say("begun")
    _wait()
    say(open_().knock("tell", {}, NOW))


def pair(key: int) -> Batch:
    """Two conversations that begin and end together, the second of an earlier batch's."""
    return Batch(
        opened=[opening(key), opening(key + 1)],
        stands=[stand(key + 1, due=key)],
        steps=[step(key + 1, saw={"clerk": f"v{key}"})],
        lines=[line(key, f"{key}"), line(key + 1, f"{key + 1}")],
        endings=[ending(key), *([ending(key - 1)] if key > 1 else [])],
        states={"clerk": f"v{key}"},
        values={f"v{key}": b"%d" % key},
        meta={"last": f"{key}"},
    )


def _commit(open_: Open, say: Say, first: int) -> None:
    ledger = open_()
    ledger.claim()
    for key in range(first, first + 100_000, 2):
        ledger.commit(pair(key))
        say(key)


def _compact(open_: Open, say: Say) -> None:
    ledger = open_()
    ledger.claim()
    say("compacts")
    ledger.compact(before=2**62)
    say("compacted")
    _wait()


# -- one owner -----------------------------------------------------------------------------------


@case()
def another_process_cannot_own_it_too(place: Place) -> None:
    """As long as the one that does is alive; looking and knocking are free."""
    child = place.child(_own)
    assert child.hear() == "owns"
    ledger = place.open()
    with raising(Owned):
        ledger.claim()
    assert keys(ledger.conversations()) == [1]
    ledger.knock("tell", {}, NOW)
    child.tell()
    assert child.hear() == "committed"
    assert keys(ledger.conversations()) == [2, 1]


@case()
def a_killed_owner_owns_it_no_longer(place: Place) -> None:
    """Whoever comes next need not wait, and finds all that was committed."""
    child = place.child(_own)
    assert child.hear() == "owns"
    child.kill()
    ledger = place.owner()
    assert keys(ledger.conversations()) == [1]
    ledger.commit(whole(2))
    assert ledger.verify() is None


@case()
def who_leaves_without_closing_owns_it_no_longer(place: Place) -> None:
    """As after a kill."""
    child = place.child(_leave)
    assert child.hear() == "leaves"
    assert child.rest() == []
    assert keys(place.owner().conversations()) == [1]


@case()
def a_zombie_of_another_process_cannot_commit(place: Place) -> None:
    """It was paused, another took over; when it goes on it is refused."""
    child = place.child(_own)
    assert child.hear() == "owns"
    heir = place.owner(by_force=True)
    heir.commit(whole(5))
    child.tell()
    assert child.hear() == "Fenced"
    assert keys(heir.conversations()) == [5, 1]


@case()
def of_many_that_claim_one_owns(place: Place) -> None:
    """All others are told so."""
    place.open()
    children = [place.child(_try_to_own) for _ in range(3)]
    assert [child.hear() for child in children] == ["open"] * 3
    for child in children:
        child.tell()
    assert sorted(child.hear() for child in children) == ["Owned", "Owned", "owns"]


# -- many doors ----------------------------------------------------------------------------------


@case()
def many_may_create_it_at_once(place: Place) -> None:
    """None fails, and there is one store."""
    children = [place.child(_create) for _ in range(3)]
    assert [child.hear() for child in children] == ["begun"] * 3
    for child in children:
        child.tell()
    numbers = [int(child.hear() or 0) for child in children]
    assert sorted(numbers) == [one.seq for one in place.open().knocks()]
    assert 0 not in numbers


@case()
def many_processes_knock_while_the_owner_commits(place: Place) -> None:
    """Each knock is taken once, those of one process in their order."""
    owner = place.owner()
    names, many = ("a", "b", "c"), 30
    children = [place.child(_knock, name, many) for name in names]
    assert [child.hear() for child in children] == ["open"] * 3
    for child in children:
        child.tell()
    taken: list[dict[str, Any]] = []
    key = 0
    while len(taken) < len(names) * many:
        knocks = owner.knocks()
        key += 1
        owner.commit(Batch(taken=[one.seq for one in knocks], lines=[line(key)]))
        taken += [one.body for one in knocks]
    for child, name in zip(children, names, strict=True):
        assert child.rest() == [f"{number}" for number in range(many)]
        numbers = [one["number"] for one in taken if one["name"] == name]
        assert numbers == [*range(many)]
    assert owner.knocks() == []


@case()
def an_acknowledged_knock_survives_a_kill(place: Place) -> None:
    """Those after it may be there or not, in order."""
    child = place.child(_knock, "a", 100_000)
    assert child.hear() == "open"
    child.tell()
    for number in range(20):
        assert child.hear() == f"{number}"
    child.kill()
    numbers = [one.body["number"] for one in place.owner().knocks()]
    assert numbers == [*range(len(numbers))]
    assert len(numbers) >= 20


@case()
def who_reads_sees_whole_batches(place: Place) -> None:
    """Of what another process commits meanwhile: never a part, always a beginning."""
    child = place.child(_commit, 1)
    assert child.hear() == "1"
    reader = place.open()
    seen = 0
    while seen < 60:
        said = [int(one.said[0]["content"]) for one in reader.lines()]
        assert said == [*range(1, len(said) + 1)]
        assert len(said) % 2 == 0
        assert len(said) >= seen
        seen = len(said)
    child.kill()


# -- killed --------------------------------------------------------------------------------------


@case(("1", 1), ("2", 2), ("3", 3), ("7", 7), ("20", 20))
def what_was_acknowledged_survives_a_kill(place: Place, many: int) -> None:
    """Killed while it commits, three times in a row: each batch is there whole or not at all."""
    first = 1
    for _ in range(3):
        child = place.child(_commit, first)
        acknowledged = 0
        for _ in range(many):
            acknowledged = int(child.hear())
        child.kill()
        first = _check(place, acknowledged)


def _check(place: Place, acknowledged: int) -> int:
    """All is as after a last batch: the next key."""
    ledger = place.owner()
    last = int(ledger.meta()["last"])
    assert last >= acknowledged
    assert (ledger.states(), ledger.last_key()) == ({"clerk": f"v{last}"}, last + 1)
    assert ledger.values([f"v{last}"]) == {f"v{last}": b"%d" % last}
    assert keys(ledger.conversations("waits")) == [last + 1]
    assert ledger.dues() == [(last, last + 1)]
    assert [one.saw for one in ledger.steps(last + 1)] == [{"clerk": f"v{last}"}]
    said = [int(one.said[0]["content"]) for one in ledger.lines()]
    assert said == [*range(1, last + 2)]
    assert keys(ledger.conversations("over", 10**6)) == [*range(last, 0, -1)]
    assert ledger.verify() is None
    ledger.close()
    return last + 2


@case()
def compacting_is_all_or_nothing(place: Place) -> None:
    """Killed on its way it is as if it never ran, or had come to its end."""
    ledger = place.owner()
    some = range(1, 400)
    ledger.commit(
        Batch(
            opened=[opening(key) for key in some],
            lines=[line(key) for key in some],
            endings=[ending(key) for key in some],
            values={f"v{key}": b"%d" % key for key in some},
            states={"clerk": "v7"},
        )
    )
    for turn in range(4):
        ledger.close()
        child: Child = place.child(_compact)
        assert child.hear() == "compacts"
        if turn == 3:
            assert child.hear() == "compacted"
        child.kill()
        ledger = place.owner()
        lines = len(ledger.lines())
        assert lines in (0, len(some))
        assert len(ledger.conversations()) == lines
        assert ledger.values(["v7"]) == {"v7": b"7"}
        if lines:
            assert len(ledger.values([f"v{key}" for key in some])) == len(some)
        assert (ledger.last_key(), ledger.verify()) == (399, None)
        if not lines:
            break
    assert not ledger.lines()
