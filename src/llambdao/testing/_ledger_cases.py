"""What is expected of the conversations that a journal keeps."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from llambdao.journal.ledger import Batch, Found, Opening, Stand
from llambdao.testing._ledger_place import (
    NOW,
    SALT,
    TEXTS,
    Place,
    answer,
    case,
    effect,
    ending,
    given,
    keys,
    line,
    opening,
    question,
    stand,
    step,
    whole,
)

# -- conversations -------------------------------------------------------------------------------


@case()
def a_new_store_is_empty(place: Place) -> None:
    """Nothing is in a store that nobody wrote to."""
    ledger = place.owner()
    assert (ledger.meta(), ledger.last_key(), ledger.states(), ledger.ready()) == ({}, 0, {}, [])
    assert (ledger.dues(), ledger.conversation(1), ledger.steps(1)) == ([], None, [])
    assert (ledger.effects(), ledger.expecting("x"), ledger.find("x")) == ([], [], [])
    assert (ledger.conversations(), ledger.questions(), ledger.answer("x")) == ([], [], None)
    assert (ledger.lines(), ledger.letters(), ledger.knocks()) == ([], [], [])
    assert ledger.verify() is None


@case()
def a_batch_of_nothing_may_be_written(place: Place) -> None:
    """It changes nothing."""
    ledger = place.owner()
    ledger.commit(Batch())
    assert ledger.last_key() == 0


@case(("own", opening(1)), ("given", given(1)))
def what_was_opened_is_found_by_its_key(place: Place, opened: Opening) -> None:
    """All of its fields, and that it is ready."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opened]))
    wanted = Found(opened, Stand(1, "ready"))
    assert ledger.conversation(1) == place.open().conversation(1) == wanted
    assert place.again(ledger).conversation(1) == wanted


@case(
    ("node", {"node": "house/3/[1]"}),
    ("way", {"way": "watch"}),
    ("options", {"options": {"limits": {"messages": 3}, "deadline": 1.5, "x": [None, True]}}),
    ("salt", {"salt": 2**31 - 1}),
    ("early", {"at": 0}),
    ("late", {"at": 2**62}),
    ("digest", {"digest": bytes(range(32))}),
    ("id", {"id": "0" * 32}),
    ("short", {"id": "x"}),
    ("shape", {"id": "g" * 32}),
    ("message", {"message": '{"content":"Ünï\\u0000"}'.encode()}),
)
def a_field_of_an_opening_comes_back(place: Place, fields: dict[str, Any]) -> None:
    """As it was, while the conversation is open and, but for the message, when it is over."""
    ledger = place.owner()
    opened = opening(1, **fields)
    ledger.commit(Batch(opened=[opened]))
    found = ledger.conversation(1)
    assert found is not None
    assert found.opening == opened
    ledger.commit(Batch(endings=[ending(1)], lines=[line(1)]))
    found = ledger.conversation(1)
    assert found is not None
    kept = replace(opened, message=b"", digest=found.opening.digest)
    assert found.opening == kept
    assert ledger.find(opened.id) == [found]


@case(("ready", "ready"), ("waits", "waits"), ("stuck", "stuck"), ("parked", "parked"))
def a_stand_comes_back(place: Place, status: Any) -> None:
    """With all its fields; a later one takes its place."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)]))
    full = stand(1, status, due=NOW, expects=("a", "b c"), attempts=2, why="because\nof that")
    for one in (full, stand(1, "waits"), full):
        ledger.commit(Batch(stands=[one]))
        found = ledger.conversation(1)
        assert found is not None
        assert found.stand == one


@case()
def the_last_stand_of_a_batch_counts(place: Place) -> None:
    """One batch may hold several of one conversation."""
    ledger = place.owner()
    first = stand(1, "ready", expects=("a",))
    ledger.commit(Batch(opened=[opening(1)], stands=[first, stand(1, due=7, expects=("b",))]))
    assert (ledger.ready(), ledger.dues(), ledger.expecting("b")) == ([], [(7, 1)], [1])
    ledger.commit(Batch(stands=[first, stand(1, expects=("c",))]))
    assert (ledger.dues(), ledger.expecting("a"), ledger.expecting("c")) == ([], [], [1])


@case()
def an_ending_takes_all_that_was_open(place: Place) -> None:
    """Steps, effects, questions, timers and expectations go; others keep theirs."""
    ledger = place.owner()
    for key in (1, 2):
        ledger.commit(
            Batch(
                opened=[opening(key)],
                stands=[stand(key, due=key, expects=("news",))],
                steps=[step(key)],
                effects=[effect(key)],
                questions=[question(f"q{key}", key)],
            )
        )
    ledger.commit(Batch(endings=[ending(1)], lines=[line(1)]))
    assert ([s.key for s in ledger.steps(1)], [s.key for s in ledger.steps(2)]) == ([], [2])
    assert [e.key for e in ledger.effects()] == [2]
    assert [q.id for q in ledger.questions()] == ["q2"]
    assert (ledger.dues(), ledger.expecting("news"), ledger.ready()) == ([(2, 2)], [2], [2])
    found = ledger.conversation(1)
    assert found is not None
    assert (found.stand, found.ending) == (Stand(1, "over"), ending(1))


@case(
    ("detail", {"detail": "it said\nno"}),
    ("reason", {"reason": "limit_reached"}),
    ("error", {"error": {"kind": "ValueError", "text": "é\0", "args": [1, None, {"a": [1.5]}]}}),
    ("at", {"at": NOW + 10**12}),
    ("before", {"at": NOW - 10**12}),
)
def a_field_of_an_ending_comes_back(place: Place, fields: dict[str, Any]) -> None:
    """Whether it was open for a while, ended in its first batch, or without a word."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1), opening(4)]))
    ledger.commit(Batch(endings=[ending(1, **fields)], lines=[line(1)]))
    ledger.commit(
        Batch(opened=[opening(2)], endings=[ending(2, **fields)], lines=[line(2), line(2)])
    )
    ledger.commit(Batch(opened=[opening(3)], endings=[ending(3, **fields), ending(4, **fields)]))
    for key in (1, 2, 3, 4):
        found = ledger.conversation(key)
        assert found is not None
        assert found.ending == ending(key, **fields)
    assert keys(ledger.conversations("over")) == [4, 3, 2, 1]
    assert [(one.key, one.seq > 0) for one in ledger.lines()] == [(1, True), (2, True), (2, True)]


@case()
def what_ended_stays_ended(place: Place) -> None:
    """A second ending, and a stand that comes late, change nothing."""
    ledger = place.owner()
    ledger.commit(whole(1))
    ledger.commit(Batch(endings=[ending(1, reason="failed")], stands=[stand(1, "ready")]))
    ledger.commit(Batch(stands=[stand(1, "ready", due=1, expects=())]))
    found = ledger.conversation(1)
    assert found is not None
    assert (found.stand, found.ending) == (Stand(1, "over"), ending(1))
    assert (ledger.ready(), ledger.dues()) == ([], [])


@case()
def the_greatest_key_is_remembered(place: Place) -> None:
    """Also that of a conversation that is over."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(3), opening(7)]))
    assert ledger.last_key() == 7
    ledger.commit(Batch(opened=[opening(9)], endings=[ending(9)]))
    assert ledger.last_key() == 9
    ledger.commit(Batch(endings=[ending(3), ending(7)]))
    assert place.again(ledger).last_key() == 9


# -- found by id ---------------------------------------------------------------------------------


@case()
def an_id_finds_all_that_it_opened(place: Place) -> None:
    """The oldest first, be they open or over; another id finds nothing."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[given(1, "order"), given(2, "order", node="other"), given(3)]))
    ledger.commit(Batch(endings=[ending(1)], lines=[line(1)]))
    assert [f.opening.node for f in ledger.find("order")] == ["clerk", "other"]
    assert [f.ending is not None for f in ledger.find("order")] == [True, False]
    assert keys(ledger.find("order-3")) == [3]
    assert ledger.find("order-4") == ledger.find("") == ledger.find("ORDER") == []


@case()
def a_given_id_keeps_its_digest(place: Place) -> None:
    """So that another message of the same id is told from the same, however long it is over."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[given(1, digest=b"\0\xff" * 8)]))
    ledger.commit(Batch(endings=[ending(1)], lines=[line(1)]))
    ledger.commit(Batch(opened=[given(2, digest=b"")], endings=[ending(2)]))
    assert [f.opening.digest for f in ledger.find("order-1")] == [b"\0\xff" * 8]
    assert [(f.opening.digest, f.opening.is_given) for f in ledger.find("order-2")] == [(b"", True)]


@case()
def an_id_of_our_own_finds_what_it_opened(place: Place) -> None:
    """Whatever order the salts are in, also when the process began again."""
    ledger = place.owner()
    salts = [SALT, SALT + 1, SALT + 2, 5, 6, 7, 2**31 - 1, SALT + 3, SALT]
    opened = [opening(key, salt=salt) for key, salt in enumerate(salts, 1)]
    for one in opened[:5]:
        key = one.key
        ledger.commit(Batch(opened=[one], lines=[line(key)], endings=[ending(key)]))
    ledger = place.again(ledger)
    for one in opened[5:]:
        key = one.key
        ledger.commit(Batch(opened=[one], lines=[line(key)], endings=[ending(key)]))
    for reader in (ledger, place.open()):
        assert [keys(reader.find(one.id)) for one in opened] == [[one.key] for one in opened]
        assert [f.opening.salt for f in reader.conversations()] == salts[::-1]
        assert reader.find(opening(99).id) == reader.find("x" + opened[0].id[1:]) == []


@case()
def an_id_of_our_own_finds_what_is_open(place: Place) -> None:
    """Also of several with one salt."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(key, salt=SALT) for key in (1, 2, 3)]))
    assert keys(ledger.find(opening(2, salt=SALT).id)) == [2]


@case(*TEXTS)
def any_text_can_be_an_id(place: Place, text: str) -> None:
    """And the name of a node; both come back as they were."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[given(1, f"{text}!", node=text)]))
    [found] = ledger.find(f"{text}!")
    assert (found.opening.id, found.opening.node) == (f"{text}!", text)
    ledger.commit(Batch(endings=[ending(1)], lines=[line(1)]))
    [found] = place.again(ledger).find(f"{text}!")
    assert (found.opening.id, found.opening.node) == (f"{text}!", text)


# -- lists of conversations ----------------------------------------------------------------------


@case()
def what_is_ready_is_listed_in_order(place: Place) -> None:
    """And what has an effect under way, each once."""
    ledger = place.owner()
    stands = [stand(2), stand(4, "stuck"), stand(5, "parked"), stand(6)]
    ledger.commit(
        Batch(
            opened=[opening(key) for key in (7, 1, 2, 3, 4, 5, 6)],
            stands=stands,
            effects=[effect(6, 0), effect(6, 1), effect(1)],
        )
    )
    assert ledger.ready() == [1, 3, 6, 7]
    ledger.commit(Batch(stands=[stand(3), stand(2, "ready")], settled=[(6, 0), (6, 1)]))
    assert ledger.ready() == [1, 2, 7]


@case()
def what_is_due_is_listed_by_time(place: Place) -> None:
    """Those due first are first; of the same time, the oldest."""
    ledger = place.owner()
    ledger.commit(
        Batch(
            opened=[opening(key) for key in range(1, 6)],
            stands=[stand(k, due=due) for k, due in ((1, 30), (2, 10), (3, 20), (4, 10))],
        )
    )
    assert ledger.dues() == [(10, 2), (10, 4), (20, 3), (30, 1)]
    ledger.commit(Batch(stands=[stand(2), stand(4, due=40)]))
    assert ledger.dues() == [(20, 3), (30, 1), (40, 4)]


@case()
def who_expects_a_word_is_listed_in_order(place: Place) -> None:
    """By exactly this word."""
    ledger = place.owner()
    stands = [
        stand(3, expects=("a", "b")), stand(1, expects=("a",)), stand(2, expects=("A", "a%")),
    ]  # fmt: skip
    ledger.commit(Batch(opened=[opening(key) for key in (3, 1, 2)], stands=stands))
    assert [ledger.expecting(word) for word in ("a", "b", "A", "a%", "")] == [
        [1, 3], [3], [2], [2], [],
    ]  # fmt: skip
    ledger.commit(Batch(stands=[stand(3, expects=("c", "c"))]))
    assert [ledger.expecting(word) for word in ("a", "b", "c")] == [[1], [], [3]]


@case()
def conversations_are_listed_the_youngest_first(place: Place) -> None:
    """All of them or those of one status, and no more than were asked for."""
    ledger = place.owner()
    ledger.commit(
        Batch(
            opened=[opening(key) for key in range(1, 9)],
            stands=[stand(2), stand(4), stand(6, "stuck")],
            endings=[ending(1), ending(8)],
            lines=[line(8), line(1)],
        )
    )
    assert keys(ledger.conversations()) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert keys(ledger.conversations(most=3)) == [8, 7, 6]
    assert keys(ledger.conversations("waits")) == [4, 2]
    assert keys(ledger.conversations("waits", 1)) == [4]
    assert keys(ledger.conversations("over")) == [8, 1]
    assert keys(ledger.conversations("over", 1)) == [8]
    assert keys(ledger.conversations("parked")) == []


# -- steps, effects, questions -------------------------------------------------------------------


@case(
    ("inputs", {"inputs": '[{"é":"\\u0000"}]'.encode()}),
    ("saw", {"saw": {"clerk": "abc", "": ""}}),
    ("notes", {"notes": b'{"a":[1]}'}),
    ("prints", {"prints": "fingerprint"}),
    ("at", {"at": 2**62}),
)
def a_field_of_a_step_comes_back(place: Place, fields: dict[str, Any]) -> None:
    """As it was."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)], steps=[step(1, **fields)]))
    assert ledger.steps(1) == place.open().steps(1) == [step(1, **fields)]


@case()
def steps_come_in_order(place: Place) -> None:
    """By their numbers, each conversation's by itself."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1), opening(2)], steps=[step(1, 0), step(2, 0)]))
    ledger.commit(Batch(steps=[step(1, n) for n in (2, 1, 10, 9)] + [step(2, 1)]))
    assert [s.number for s in ledger.steps(1)] == [0, 1, 2, 9, 10]
    assert [s.number for s in ledger.steps(2)] == [0, 1]


@case()
def an_effect_is_under_way_until_it_is_settled(place: Place) -> None:
    """Of one conversation or of all; one that was settled in its batch never was."""
    ledger = place.owner()
    ledger.commit(
        Batch(
            opened=[opening(1), opening(2)],
            effects=[effect(1, 1), effect(1, 0), effect(2, 0, name="é"), effect(2, 1)],
            settled=[(2, 1)],
        )
    )
    assert ledger.effects() == [effect(1, 0), effect(1, 1), effect(2, 0, name="é")]
    assert ledger.effects(1) == [effect(1, 0), effect(1, 1)]
    ledger.commit(Batch(settled=[(1, 0), (7, 7)]))
    assert place.again(ledger).effects() == [effect(1, 1), effect(2, 0, name="é")]


@case()
def an_effect_may_be_about_to_be_done_again(place: Place) -> None:
    """After a crash, under the same number."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)], effects=[effect(1)]))
    ledger.commit(Batch(effects=[effect(1, at=NOW + 9)]))
    assert ledger.effects() == [effect(1, at=NOW + 9)]


@case()
def questions_come_the_oldest_first(place: Place) -> None:
    """All of them, or one."""
    ledger = place.owner()
    asked = [question("b", since=3), question("a", since=2, until=9), question("c", since=1)]
    ledger.commit(Batch(opened=[opening(1)], questions=asked))
    assert ledger.questions() == place.open().questions() == asked[::-1]
    assert ledger.questions("a") == [asked[1]]
    assert ledger.questions("d") == []


@case(("answered", "answered"), ("late", "late"), ("withdrawn", "withdrawn"))
def an_answer_closes_its_question(place: Place, way: str) -> None:
    """It is kept; an answer to what was asked in its batch, too."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)], questions=[question("a"), question("b")]))
    ledger.commit(Batch(answers=[answer("a", way=way, content="é\n", at=5)]))
    assert [q.id for q in ledger.questions()] == ["b"]
    assert ledger.answer("a") == answer("a", way=way, content="é\n", at=5)
    assert ledger.answer("b") is None
    ledger.commit(Batch(questions=[question("c")], answers=[answer("c", way=way)]))
    assert [q.id for q in ledger.questions()] == ["b"]
    assert place.again(ledger).answer("c") == answer("c", way=way)


@case()
def the_first_answer_stays(place: Place) -> None:
    """A second one changes nothing."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)], questions=[question("a")]))
    ledger.commit(Batch(answers=[answer("a", content="yes")]))
    ledger.commit(Batch(answers=[answer("a", content="no")]))
    assert ledger.answer("a") == answer("a", content="yes")


@case()
def an_answer_outlives_its_conversation(place: Place) -> None:
    """Who answers a second time is told so."""
    ledger = place.owner()
    ledger.commit(Batch(opened=[opening(1)], questions=[question("a")]))
    ledger.commit(Batch(answers=[answer("a")], endings=[ending(1)]))
    assert ledger.answer("a") == answer("a")
