"""What is expected of the states, the history and the letters that a journal keeps."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from llambdao.journal.errors import CorruptRow
from llambdao.journal.ledger import Batch, Ledger, Line, Stand
from llambdao.testing._ledger_place import (
    NOW,
    TEXTS,
    Place,
    answer,
    case,
    effect,
    ending,
    everything,
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


@case()
def what_is_dropped_is_gone(place: Place) -> None:
    """The rest is there; what is dropped may be written again."""
    ledger = place.owner()
    ledger.commit(Batch(values={"old": b"1", "kept": b"2"}))
    ledger.commit(Batch(values={"new": b"3"}, dropped=["old"]))
    assert ledger.values(["kept", "new"]) == {"kept": b"2", "new": b"3"}
    with raising(CorruptRow):
        ledger.values(["old"])
    ledger.commit(Batch(values={"old": b"1"}))
    assert ledger.values(["old"]) == {"old": b"1"}


@case()
def what_was_written_in_an_earlier_epoch_is_not_dropped(place: Place) -> None:
    """Somebody may need it who sleeps; also if it has been written again since."""
    ledger = place.owner()
    ledger.commit(Batch(values={"old": b"1", "again": b"2"}))
    ledger = place.again(ledger)
    ledger.commit(Batch(values={"again": b"2"}))
    ledger.commit(Batch(dropped=["old", "again"]))
    assert ledger.values(["old", "again"]) == {"old": b"1", "again": b"2"}


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
    before = everything(ledger)
    ledger.compact()
    assert everything(ledger) == before
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
