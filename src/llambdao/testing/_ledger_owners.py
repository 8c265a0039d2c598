"""What is expected of batches, owners and doors of a journal."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from llambdao.journal.errors import Fenced, JournalError, Owned
from llambdao.journal.ledger import Batch, Line
from llambdao.testing._ledger_place import (
    NOW,
    Place,
    answer,
    case,
    effect,
    ending,
    everything,
    keys,
    letter,
    line,
    opening,
    question,
    raising,
    step,
    whole,
)

# -- all or nothing ------------------------------------------------------------------------------

SPOILED = (
    "said", "surrogate", "letters", "steps", "opened", "values", "huge", "meta", "questions",
)  # fmt: skip


def _spoil(name: str) -> Batch:
    """A batch of everything, of which one part cannot be written."""
    batch = Batch(
        opened=[opening(2)],
        steps=[step(2)],
        effects=[effect(2)],
        questions=[question("q2", 2)],
        answers=[answer("q1")],
        states={"b": "2"},
        values={"2": b"2"},
        lines=[line(2, "new")],
        letters=[letter("new")],
        meta={"b": "2"},
        endings=[ending(1)],
    )
    bad: Any = object()
    spoiled: dict[str, Any] = {
        "said": [Line(2, NOW, [{"n": 1, "from": "a", "content": bad}])],
        "surrogate": [Line(2, NOW, [{"n": 1, "from": "a", "content": "\ud800"}])],
        "letters": [letter(bad)],
        "steps": [step(2, 1), step(2, 1)],
        "opened": [opening(2), opening(2)],
        "values": {"x": b"\xff\xfe"},
        "huge": [step(2, 1, at=2**70)],
        "meta": {"x": bad},
        "questions": [question("q3", 2), question("q3", 2)],
    }
    field = {"said": "lines", "surrogate": "lines", "huge": "steps"}.get(name, name)
    return replace(batch, **{field: spoiled[name]})


@case(*((name, name) for name in SPOILED))
def a_batch_that_fails_leaves_no_trace(place: Place, name: str) -> None:
    """It raises a JournalError, nothing of it is there, and the next batch is written."""
    ledger = place.owner()
    ledger.commit(
        Batch(
            opened=[opening(1)],
            questions=[question("q1")],
            states={"a": "1"},
            values={"1": b"1"},
            lines=[line(1, "old")],
        )
    )
    before = everything(ledger)
    with raising(JournalError):
        ledger.commit(_spoil(name))
    assert everything(ledger) == before
    ledger.commit(whole(3))
    assert keys(ledger.conversations()) == [3, 1]
    assert ledger.verify() is None
    assert place.again(ledger).verify() is None


# -- owners --------------------------------------------------------------------------------------


@case()
def who_did_not_claim_cannot_commit(place: Place) -> None:
    """Nor compact; but reading and knocking take no claim."""
    ledger = place.open()
    with raising(JournalError):
        ledger.commit(whole(1))
    with raising(JournalError):
        ledger.compact()
    assert ledger.conversations() == []
    assert ledger.knock("tell", {}, NOW) > 0


@case()
def there_is_one_owner(place: Place) -> None:
    """A second one is told so, and the first goes on."""
    first, second = place.owner(), place.open()
    with raising(Owned):
        second.claim()
    first.commit(whole(1))
    assert keys(second.conversations()) == [1]


@case()
def each_owner_has_a_greater_epoch(place: Place) -> None:
    """Owning ends with `close`."""
    ledger = place.open()
    first = ledger.claim()
    ledger.close()
    ledger = place.open()
    second = ledger.claim()
    ledger.close()
    assert place.open().claim() > second > first


@case()
def a_zombie_cannot_commit(place: Place) -> None:
    """Once another has taken over, whatever it writes is refused, and it is told why."""
    zombie = place.owner()
    zombie.commit(whole(1))
    heir = place.owner(by_force=True)
    for batch in (whole(2), Batch(taken=[1]), Batch(meta={"a": "b"})):
        with raising(Fenced):
            zombie.commit(batch)
    with raising(Fenced):
        zombie.compact()
    heir.commit(whole(2))
    with raising(Fenced):
        zombie.commit(whole(3))
    assert keys(heir.conversations()) == [2, 1]
    assert heir.verify() is None


@case()
def a_zombie_may_knock(place: Place) -> None:
    """As any other process; and end without harm."""
    zombie = place.owner()
    heir = place.owner(by_force=True)
    assert zombie.knock("tell", {"a": 1}, NOW) == heir.knocks()[0].seq
    zombie.close()
    heir.commit(whole(1))
    assert keys(heir.conversations()) == [1]


# -- the door ------------------------------------------------------------------------------------


@case()
def knocks_come_in_order_until_they_are_taken(place: Place) -> None:
    """Their numbers grow, and never come again."""
    owner, door = place.owner(), place.open()
    numbers = [door.knock("tell", {"n": n, "é": [None, 1.5]}, n) for n in range(3)]
    assert numbers == sorted({*numbers})
    knocks = owner.knocks()
    assert [(k.seq, k.kind, k.body, k.at) for k in knocks] == [
        (seq, "tell", {"n": n, "é": [None, 1.5]}, n) for n, seq in enumerate(numbers)
    ]
    owner.commit(Batch(taken=numbers))
    assert owner.knocks() == []
    assert door.knock("cancel", {}, NOW) > numbers[-1]


@case()
def a_knock_is_taken_with_what_it_led_to(place: Place) -> None:
    """Both or neither."""
    owner, door = place.owner(), place.open()
    number = door.knock("tell", {"a": 1}, NOW)
    with raising(JournalError):
        owner.commit(Batch(taken=[number], lines=[Line(1, NOW, [{"n": object()}])]))
    assert [k.seq for k in owner.knocks()] == [number]
    owner.commit(replace(whole(1), taken=[number]))
    assert (owner.knocks(), keys(owner.conversations())) == ([], [1])


@case()
def a_knock_waits_for_an_owner(place: Place) -> None:
    """As long as there is none."""
    door = place.open()
    door.knock("answer", {"id": "q"}, NOW)
    door.close()
    assert [k.body for k in place.owner().knocks()] == [{"id": "q"}]


@case()
def a_knock_that_cannot_be_written_is_refused(place: Place) -> None:
    """With an error of ours, and nothing lies there."""
    door = place.open()
    bad: Any = {"a": object()}
    with raising(JournalError):
        door.knock("tell", bad, NOW)
    assert door.knocks() == []


@case()
def a_change_by_another_is_noticed(place: Place) -> None:
    """A knock by the owner, a commit by who looks; and after that there is quiet."""
    owner, other = place.owner(), place.open()
    owner.has_changed()
    other.has_changed()
    assert not owner.has_changed()
    assert not other.has_changed()
    other.knock("tell", {}, NOW)
    assert owner.has_changed()
    assert not owner.has_changed()
    other.has_changed()
    owner.commit(whole(1))
    assert other.has_changed()
    assert not other.has_changed()


@case()
def a_reader_sees_each_commit(place: Place) -> None:
    """Heads that were new since, too."""
    owner, reader = place.owner(), place.open()
    for key in range(1, 5):
        owner.commit(Batch(opened=[opening(key, node=f"n{key}")], lines=[Line(key, NOW, [
            {"n": 1, "from": f"n{key}", "content": "x"}])], endings=[ending(key)]))  # fmt: skip
        assert [one.said[0]["from"] for one in reader.lines(key)] == [f"n{key}"]
        assert keys(reader.conversations()) == [*range(key, 0, -1)]


# -- closed --------------------------------------------------------------------------------------


@case()
def closing_twice_is_no_error(place: Place) -> None:
    """And what is closed says so when it is used."""
    ledger = place.owner()
    ledger.close()
    ledger.close()
    with raising(JournalError):
        ledger.commit(whole(1))
    with raising(JournalError):
        ledger.lines()


@case()
def what_is_read_belongs_to_the_reader(place: Place) -> None:
    """Changing it changes nothing that is read later, nor does changing what was written."""
    ledger = place.owner()
    told, opened = line(1), opening(1, options={"a": [1]})
    ledger.commit(Batch(opened=[opened], lines=[told]))
    told.said[0]["content"] = "changed"
    opened.options["a"].append(2)
    ledger.lines()[0].said[0]["content"] = "changed"
    found = ledger.conversation(1)
    assert found is not None
    found.opening.options["a"].append(3)
    again = ledger.conversation(1)
    assert again is not None
    assert again.opening.options == {"a": [1]}
    assert ledger.lines()[0].said[0]["content"] == "Hello"
