"""What one process may expect of the store of a journal."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from llambdao.journal.errors import CorruptRow, Fenced, JournalError, Owned
from llambdao.journal.ledger import Batch, Found, Ledger, Line, Opening, Stand
from llambdao.testing._ledger_place import (
    NOW,
    SALT,
    Place,
    answer,
    case,
    effect,
    ending,
    given,
    keys,
    letter,
    line,
    opening,
    question,
    raising,
    stand,
    step,
    whole,
)

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


# -- states and values ---------------------------------------------------------------------------


@case()
def states_are_those_written_last(place: Place) -> None:
    """Node by node; an empty hash is what the program constructed, and need not be kept."""
    ledger = place.owner()
    ledger.commit(Batch(states={"a": "1", "b": "2"}, values={"1": b"1", "2": b"2"}))
    ledger.commit(Batch(states={"b": "1", "c": "2"}))
    assert ledger.states() == {"a": "1", "b": "1", "c": "2"}
    ledger.commit(Batch(states={"a": "", "d": ""}))
    assert {n: h for n, h in place.again(ledger).states().items() if h} == {"b": "1", "c": "2"}


@case()
def values_are_read_by_hash(place: Place) -> None:
    """Many at once; one that is known may be written again."""
    ledger = place.owner()
    values = {f"hash-{n}": b'{"n":%d,"text":"%s"}' % (n, b"x" * n) for n in range(1200)}
    ledger.commit(Batch(values=values))
    ledger.commit(Batch(values={"hash-1": values["hash-1"], "new": b'"new"'}))
    assert ledger.values(values) == values
    assert ledger.values(["new"]) == {"new": b'"new"'}
    assert ledger.values([]) == {}


@case()
def a_value_that_is_missing_is_corrupt(place: Place) -> None:
    """The error names it, and the others can be read."""
    ledger = place.owner()
    ledger.commit(Batch(values={"here": b"1"}))
    with raising(CorruptRow) as errors:
        ledger.values(["here", "gone"])
    assert "gone" in str(errors[0])
    assert ledger.values(["here"]) == {"here": b"1"}


LARGE = ("value", "message", "inputs", "said", "knock")


@case(*((kind, kind) for kind in LARGE))
def large_things_come_back(place: Place, kind: str) -> None:
    """Five megabytes of them."""
    ledger = place.owner()
    text = "é\n" * 1_666_666
    data = f'"{text}"'.replace("\n", "\\n").encode()
    if kind == "value":
        ledger.commit(Batch(values={"big": data}))
        assert place.again(ledger).values(["big"]) == {"big": data}
    elif kind == "message":
        ledger.commit(Batch(opened=[opening(1, message=data)]))
        found = place.again(ledger).conversation(1)
        assert found is not None
        assert found.opening.message == data
    elif kind == "inputs":
        ledger.commit(Batch(opened=[opening(1)], steps=[step(1, inputs=data)]))
        assert place.again(ledger).steps(1) == [step(1, inputs=data)]
    elif kind == "said":
        ledger.commit(Batch(lines=[line(1, text)]))
        assert place.again(ledger).lines()[0].said == line(1, text).said
    else:
        ledger.knock("tell", {"content": text}, NOW)
        assert [one.body for one in place.open().knocks()] == [{"content": text}]


@case()
def what_is_known_of_the_journal_comes_back(place: Place) -> None:
    """Whatever it is called, the last that was written."""
    ledger = place.owner()
    ledger.commit(Batch(meta={"epoch": "x", "owner": "y", "version": "z", "é": "1", "": "empty"}))
    ledger.commit(Batch(meta={"é": "2"}))
    wanted = {"epoch": "x", "owner": "y", "version": "z", "é": "2", "": "empty"}
    assert place.again(ledger).meta() == wanted


# -- history -------------------------------------------------------------------------------------

SAID: Any = (
    ("usual", [{"n": 1, "to": "a", "intent": "request", "content": "q"},
               {"n": 2, "from": "a", "intent": "inform", "content": "r", "re": 1, "out": True}]),
    ("none", []),
    ("later", [{"n": 17, "from": "a", "content": "x"}, {"n": 18, "from": "a", "content": "y"}]),
    ("jumps", [{"n": 4, "from": "a", "content": "x"}, {"n": 9, "from": "b", "content": "y"},
               {"n": 2, "from": "a", "content": "z", "re": 4}]),
    ("id", [{"n": 1, "from": "a", "content": "x", "re": "some-id", "id": "other"}]),
    ("meta", [{"n": 1, "from": "a", "content": "x", "meta": {"a": [1, None, {"b": 1.5}]}}]),
    ("own", [{"n": 1, "from": "a", "content": "x", "kind": "Vote", "aye": True, "head": 1}]),
    ("data", [{"n": 1, "from": "a", "content": {"a": ["b"]}}, {"n": 2, "content": None}]),
    ("odd", [{"content": "x"}, {"n": 1}, {}, {"n": "one", "content": "x"}, {"re": None, "n": 3}]),
    ("nothing", [{"n": 1, "from": "a", "content": "x", "re": None, "to": None}]),
    ("lists", [{"n": 1, "from": "a", "to": ["b", "c"], "content": "x", "re": [1, 2]}]),
)  # fmt: skip


@case(*SAID)
def what_was_said_comes_back(place: Place, said: list[dict[str, Any]]) -> None:
    """Whatever was left out and whatever was there, and the chain holds."""
    ledger = place.owner()
    ledger.commit(Batch(lines=[Line(1, NOW, said), Line(2, NOW, said)]))
    ledger.commit(Batch(lines=[Line(1, NOW, said)]))
    for reader in (ledger, place.open()):
        assert [one.said for one in reader.lines()] == [said] * 3
        assert reader.verify() is None


@case(*TEXTS)
def any_text_can_be_said(place: Place, text: str) -> None:
    """By anybody, and asked, answered, written to meta, laid at the door, and dead."""
    ledger = place.owner()
    said = [{"n": 1, "from": text, "to": text, "intent": text, "content": text}]
    asked = question(text, who=text, asker=text, content=text)
    closed = answer(f"{text}!", by=text, content=text)
    ledger.commit(
        Batch(
            opened=[opening(1)],
            stands=[stand(1, expects=(text,), why=text)],
            effects=[effect(1, name=text, digest=text)],
            lines=[Line(1, NOW, said)],
            questions=[asked],
            answers=[closed],
            letters=[letter(text, error=text)],
            meta={text: text},
            states={"clerk": text, **({text: "hash"} if text else {})},
        )
    )
    ledger.knock(text, {text: text}, NOW)
    ledger = place.again(ledger)
    assert (ledger.lines()[0].said, ledger.verify()) == (said, None)
    assert (ledger.questions(text), ledger.answer(f"{text}!")) == ([asked], closed)
    assert (ledger.expecting(text), ledger.effects()) == ([1], [effect(1, name=text, digest=text)])
    [dead], [knock] = ledger.letters(), ledger.knocks()
    assert (dead.reason, dead.error) == (text, text)
    assert (knock.kind, knock.body) == (text, {text: text})
    assert ledger.meta() == {text: text}
    if text:
        assert ledger.states() == {"clerk": text, text: "hash"}
    found = ledger.conversation(1)
    assert found is not None
    assert (found.stand.why, found.stand.expects) == (text, (text,))


@case()
def history_comes_in_order(place: Place) -> None:
    """Of all or of one conversation, after a line, and no more than were asked for."""
    ledger = place.owner()
    for n in range(6):
        ledger.commit(Batch(lines=[line(n % 2, f"{n}a"), line(n % 2, f"{n}b")]))
    lines = ledger.lines()
    seqs = [one.seq for one in lines]
    assert [one.said[0]["content"] for one in lines] == [f"{n}{x}" for n in range(6) for x in "ab"]
    assert seqs == sorted({*seqs})
    assert [one.seq for one in ledger.lines(after=seqs[3], most=2)] == seqs[4:6]
    assert [one.key for one in ledger.lines(key=1)] == [1] * 6
    assert [one.seq for one in ledger.lines(key=1, after=seqs[2], most=1)] == [seqs[3]]
    assert ledger.lines(after=seqs[-1]) == ledger.lines(most=0) == ledger.lines(key=9) == []


@case()
def every_line_is_bound_to_the_one_before(place: Place) -> None:
    """Each has a chain of its own, of 16 bytes and more, also after a restart."""
    ledger = place.owner()
    ledger.commit(Batch(lines=[line(1), line(1)]))
    ledger = place.again(ledger)
    ledger.commit(Batch(lines=[line(1)]))
    chains = [one.chain for one in ledger.lines()]
    assert len({*chains}) == 3
    assert min(map(len, chains)) >= 16
    assert ledger.verify() is None


@case()
def a_conversation_of_one_commit_is_all_there(place: Place) -> None:
    """Found by id and by key, with its lines, though nothing of it was ever open."""
    ledger = place.owner()
    ledger.commit(
        Batch(
            opened=[opening(1)],
            stands=[stand(1)],
            steps=[step(1)],
            effects=[effect(1)],
            questions=[question("q")],
            lines=[line(1, "a"), line(1, "b")],
            endings=[ending(1)],
        )
    )
    [found] = ledger.find(opening(1).id)
    assert found == ledger.conversation(1)
    assert (found.opening.id, found.opening.node) == (opening(1).id, "clerk")
    assert found.opening.way == "ask"
    assert (found.ending, found.stand) == (ending(1), Stand(1, "over"))
    assert [one.said[0]["content"] for one in ledger.lines(1)] == ["a", "b"]
    assert (ledger.steps(1), ledger.effects(), ledger.questions()) == ([], [], [])


@case()
def many_conversations_share_a_commit(place: Place) -> None:
    """All sixty-four of them are there, in order."""
    ledger = place.owner()
    some = range(1, 65)
    ledger.commit(
        Batch(
            opened=[opening(key) for key in some],
            lines=[line(key) for key in some],
            endings=[ending(key) for key in some],
        )
    )
    assert [one.key for one in ledger.lines()] == [*some]
    assert [keys(ledger.find(opening(key).id)) for key in some] == [[key] for key in some]
    assert ledger.verify() is None


@case()
def thousands_of_nodes_speak(place: Place) -> None:
    """Names need not come again."""
    ledger = place.owner()
    said = [
        {"n": n, "from": f"node-{n}", "to": f"node-{n + 1}", "content": "x"} for n in range(1, 6001)
    ]
    ledger.commit(Batch(lines=[Line(1, NOW, said)]))
    ledger.commit(whole(2, node="another"))
    ledger = place.again(ledger)
    assert ledger.lines(1)[0].said == said
    assert keys(ledger.find(opening(2).id)) == [2]
    assert ledger.verify() is None


# -- letters -------------------------------------------------------------------------------------


@case()
def dead_letters_come_in_order(place: Place) -> None:
    """With growing numbers that never come again, after one, and no more than were asked for."""
    ledger = place.owner()
    ledger.commit(Batch(letters=[letter(f"r{n}", at=n) for n in range(5)]))
    some = ledger.letters()
    assert [(one.reason, one.at) for one in some] == [(f"r{n}", n) for n in range(5)]
    seqs = [one.seq for one in some]
    assert [one.seq for one in ledger.letters(after=seqs[1], most=2)] == seqs[2:4]
    ledger.commit(Batch(buried=[seqs[0], seqs[4]]))
    assert [one.seq for one in ledger.letters()] == seqs[1:4]
    ledger = place.again(ledger)
    ledger.commit(Batch(letters=[letter()]))
    assert ledger.letters()[-1].seq > seqs[4]


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
    before = _everything(ledger)
    with raising(JournalError):
        ledger.commit(_spoil(name))
    assert _everything(ledger) == before
    ledger.commit(whole(3))
    assert keys(ledger.conversations()) == [3, 1]
    assert ledger.verify() is None
    assert place.again(ledger).verify() is None


def _everything(ledger: Ledger) -> tuple[Any, ...]:
    return (
        ledger.conversations(), ledger.steps(2), ledger.effects(), ledger.questions(),
        ledger.answer("q1"), ledger.states(), ledger.lines(), ledger.letters(), ledger.meta(),
        ledger.last_key(), ledger.ready(), ledger.knocks(),
    )  # fmt: skip


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


# -- compacting ----------------------------------------------------------------------------------


@case()
def compacting_keeps_what_is_needed(place: Place) -> None:
    """States, what they name, what those name; and what the steps of open conversations saw."""
    ledger = place.owner()
    values = {
        "state": b'{"xs":{"[":[{"#":"part"},{"v":1}]}}', "part": b'{"deep":{"#":"deeper"}}',
        "deeper": b'"x"', "saw": b'{"a":{"#":"seen"}}', "seen": b"1", "old": b'{"#":"older"}',
        "older": b"2", "ended": b"3", "loop": b'{"a":{"#":"loop"}}',
    }  # fmt: skip
    ledger.commit(
        Batch(
            opened=[opening(1), opening(2)],
            steps=[step(1, saw={"clerk": "saw", "x": ""}), step(2, saw={"clerk": "ended"})],
            states={"clerk": "old"},
            values=values,
        )
    )
    ledger.commit(Batch(states={"clerk": "state"}, endings=[ending(2)]))
    assert ledger.compact()["values"] == 4
    kept = ["state", "part", "deeper", "saw", "seen"]
    assert place.again(ledger).values(kept) == {name: values[name] for name in kept}
    for name in ("old", "older", "ended", "loop"):
        with raising(CorruptRow):
            ledger = place.open()
            ledger.values([name])


@case()
def compacting_without_a_time_keeps_history(place: Place) -> None:
    """And answers, letters, ids and what ended."""
    ledger = place.owner()
    _aged(ledger)
    before = _everything(ledger)
    ledger.compact()
    assert _everything(ledger) == before
    assert keys(ledger.find("old")) == [1]


def _aged(ledger: Ledger) -> None:
    """Something old that is over, something old that is open, something young."""
    ledger.commit(
        Batch(
            opened=[given(1, "old", at=10), opening(2, at=20)],
            lines=[line(1, at=10), line(2, at=20)],
            endings=[ending(1, at=11)],
            answers=[answer("old", at=10)],
            letters=[letter("old", at=10)],
        )
    )
    ledger.commit(
        Batch(
            opened=[given(3, "young", at=1000)],
            lines=[line(3, at=1000)],
            endings=[ending(3, at=1001)],
            answers=[answer("young", at=1000)],
            letters=[letter("young", at=1000)],
        )
    )


@case()
def compacting_forgets_what_is_older(place: Place) -> None:
    """History, answers, letters and what ended; not what is open, and the chain still holds."""
    ledger = place.owner()
    _aged(ledger)
    last = ledger.lines()[-1].seq
    forgotten = ledger.compact(before=500)
    assert [one.key for one in ledger.lines()] == [3]
    assert keys(ledger.conversations()) == [3, 2]
    assert (ledger.answer("old"), ledger.answer("young")) == (None, answer("young", at=1000))
    assert [one.reason for one in ledger.letters()] == ["young"]
    assert forgotten == {
        "lines": 2, "conversations": 1, "answers": 1, "letters": 1, "values": 0,
    }  # fmt: skip
    ledger = place.again(ledger)
    assert ledger.verify() is None
    ledger.commit(whole(4))
    assert ledger.lines()[-1].seq > last
    assert ledger.verify() is None


@case()
def compacting_all_away_leaves_a_journal(place: Place) -> None:
    """The greatest key and the numbers of lines go on from where they were."""
    ledger = place.owner()
    for key in range(1, 4):
        ledger.commit(whole(key))
    last = ledger.lines()[-1].seq
    ledger.compact(before=2**62, seen=2**62)
    assert (ledger.lines(), ledger.conversations(), ledger.verify()) == ([], [], None)
    ledger = place.again(ledger)
    assert ledger.last_key() == 3
    ledger.commit(whole(4))
    assert [one.seq > last for one in ledger.lines()] == [True]
    assert ledger.lines()[0].said == line(4).said
    assert ledger.compact(before=2**62)["lines"] == 1
    assert place.again(ledger).last_key() == 4


@case()
def an_id_is_known_after_its_history_is_forgotten(place: Place) -> None:
    """Until ids of that age are forgotten as well; ids of what is open never are."""
    ledger = place.owner()
    _aged(ledger)
    ledger.commit(Batch(opened=[given(9, "open", at=10)]))
    ledger.compact(before=500)
    [found] = ledger.find("old")
    assert (found.opening.node, found.opening.digest) == ("clerk", b"0123456789abcdef")
    assert (found.opening.key, found.stand.status, found.ending is not None) == (1, "over", True)
    assert ledger.compact(seen=500)["ids"] == 1
    assert [keys(ledger.find(id_)) for id_ in ("old", "young", "open")] == [[], [3], [9]]


@case()
def compacting_twice_forgets_nothing_more(place: Place) -> None:
    """And nothing that a reader knows becomes something else."""
    owner = place.owner()
    reader = place.open()
    for key in range(1, 4):
        owner.commit(whole(key, node=f"n{key}"))
    assert len(reader.lines()) == 3
    owner.compact(before=NOW + 3)
    assert owner.compact(before=NOW + 3)["lines"] == 0
    said = [{"n": 1, "from": "someone", "intent": "new", "content": "x"}]
    batch = Batch(opened=[opening(4, node="n4")], endings=[ending(4)])
    owner.commit(replace(batch, lines=[Line(4, NOW + 4, said)]))
    assert [one.said for one in reader.lines()] == [one.said for one in owner.lines()]
    assert [f.opening.node for f in reader.conversations()] == ["n4", "n3"]


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
