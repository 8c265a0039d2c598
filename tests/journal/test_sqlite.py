"""A journal in a file: small, readable, and honest about what is wrong with it."""

import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from llambdao.journal import rows
from llambdao.journal.errors import CorruptRow, JournalError, OtherJournal, Owned
from llambdao.journal.ledger import Batch, Ending, Line, Opening, Question, Stand, Step
from llambdao.journal.sqlite import SqliteLedger
from llambdao.journal.stores import open_ledger

NOW = 1_763_856_139_123_456_789


@pytest.fixture
def path(tmp_path):
    """Where the journal of a test is."""
    return tmp_path / "room.db"


@contextmanager
def owned(path, **options):
    """The journal there, owned."""
    with closing(SqliteLedger(path, **{"synchronous": "normal", **options})) as ledger:
        ledger.claim()
        yield ledger


def turn(key, node="echo"):
    """One ask: 66 bytes of text in a conversation of one commit."""
    at, salt = NOW + key * 1_003_001, 1_234_567_000 + key
    question = f"What is the number {key:06} good for"[:33]
    answer = f"Well {key:06}, it is good for you."[:33].ljust(33, "!")
    said = [
        {"n": 1, "to": node, "intent": "request", "content": question},
        {"n": 2, "from": node, "intent": "inform", "content": answer, "re": 1, "out": True},
    ]
    opening = Opening(
        key=key,
        id=f"{at:016x}{salt:08x}{1:08x}",
        node=node,
        message=json.dumps({"content": question}).encode(),
        way="ask",
        salt=salt,
        at=at,
        digest=b"0123456789abcdef",
    )
    return opening, Line(key, at + 40_000, said), Ending(key, at + 41_000, "done")


def turns(first, last):
    """So many asks in one commit."""
    opened, lines, endings = zip(*(turn(key) for key in range(first, last)), strict=True)
    return Batch(opened=[*opened], lines=[*lines], endings=[*endings])


def waiting(key, **more):
    """A conversation that waits for an answer."""
    opening = turn(key)[0]
    fields = {"status": "waits", "due": NOW + key if key % 2 else None, **more}
    return opening, Stand(key, **fields), Step(key, 0, NOW, b"[]", {"echo": f"hash{key % 9}"})


def spoil(path, sql, *parameters):
    """Change the file behind our back."""
    with closing(sqlite3.connect(path)) as other, other:
        assert other.execute(sql, parameters).rowcount == 1


def size_after(path, many):
    """The bytes of a whole journal of so many asks, once it is closed."""
    with owned(path) as ledger:
        for key in range(1, many + 1):
            ledger.commit(turns(key, key + 1))
        assert ledger.verify() is None
    left = [one for one in path.parent.iterdir() if one.name.startswith(path.name)]
    return sum(one.stat().st_size for one in left)


# -- what it costs -------------------------------------------------------------------------------


def test_a_thousand_asks_stay_under_three_times_their_text(tmp_path):
    """The whole file, audit included; and it grows by the same for each ask."""
    one, two, four = (size_after(tmp_path / f"{n}.db", n * 1000) for n in (1, 2, 4))
    assert one < 3 * 66_000
    assert two - one < 2.5 * 66_000
    assert abs((four - two) / 2 - (two - one)) < 0.02 * one


def test_a_hundred_thousand_open_conversations_open_in_a_second(path):
    """Owning, who can go on, what is due, what nodes know: by processor time."""
    with owned(path) as ledger:
        for first in range(1, 100_001, 10_000):
            opened, stands, steps = zip(
                *(waiting(key) for key in range(first, first + 10_000)), strict=True
            )
            ledger.commit(Batch(opened=[*opened], stands=[*stands], steps=[*steps]))
        ledger.commit(Batch(stands=[Stand(77, "ready")], states={"echo": "x"}))
    begun = time.process_time()
    with owned(path) as ledger:
        assert ledger.ready() == [77]
        assert len(ledger.dues()) == 49_999
        assert (ledger.states(), ledger.last_key()) == ({"echo": "x"}, 100_000)
        found = ledger.conversation(100_000)
        assert ledger.find(found.opening.id) == [found]
        assert [step.key for step in ledger.steps(100_000)] == [100_000]
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.ready(),
        lambda ledger: ledger.dues(),
        lambda ledger: ledger.states(),
        lambda ledger: ledger.last_key(),
        lambda ledger: ledger.conversation(1),
        lambda ledger: ledger.find(turn(1)[0].id),
        lambda ledger: ledger.find(turn(1002)[0].id),
        lambda ledger: ledger.find("order-7"),
        lambda ledger: ledger.steps(1),
        lambda ledger: ledger.effects(1),
        lambda ledger: ledger.expecting("news"),
        lambda ledger: ledger.questions("q"),
        lambda ledger: ledger.answer("q"),
        lambda ledger: ledger.lines(1),
        lambda ledger: ledger.lines(after=7, most=3),
        lambda ledger: ledger.conversations(most=3),
        lambda ledger: ledger.conversations("waits", most=3),
        lambda ledger: ledger.commit(turns(1, 2)),
        lambda ledger: ledger.commit(Batch(endings=[Ending(1001, NOW, "done")])),
    ],
    ids=lambda ask: "",
)
def test_nothing_is_asked_for_by_reading_a_whole_table(path, ask):
    """Of the tables that grow: SQLite says for each statement that an index finds the rows."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
        opening, stand, step = waiting(1001)
        ledger.commit(Batch(opened=[opening], stands=[stand], steps=[step]))
        asked = []
        ledger.connection.set_trace_callback(asked.append)
        ask(ledger)
        ledger.connection.set_trace_callback(None)
        plans = [
            (row[-1], sql)
            for sql in asked
            if sql.startswith(("select", "update", "delete"))
            for row in ledger.connection.execute(f"explain query plan {sql}")
        ]
    assert plans
    small = ("SCAN meta", "SCAN state", "SCAN word", "SCAN effect")  # none grows with use
    assert [
        (plan, sql)
        for plan, sql in plans
        if plan.startswith("SCAN") and not plan.startswith(small)
        if not ("order by" in sql and ("limit" in sql or "due is not null" in sql))  # to its end
    ] == []
    assert [sql for plan, sql in plans if "TEMP B-TREE" in plan] == []


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_it_waits_for_the_disk_as_it_was_told(path, synchronous, level):
    """`full` waits at each commit; readers never wait for writers."""
    with closing(SqliteLedger(path, synchronous=synchronous)) as ledger:
        assert ledger.connection.execute("pragma synchronous").fetchone() == (level,)
        assert ledger.connection.execute("pragma journal_mode").fetchone() == ("wal",)


# -- read with other tools -----------------------------------------------------------------------


def test_history_can_be_read_with_sqlite3_and_jq(path):
    """The view `log` has nothing abbreviated: who said what to whom, as JSON."""
    rest = [
        {"n": 7, "from": "a", "content": 'é\n"x"', "re": 6, "meta": {"a": [1, None]}},
        {"n": 8, "from": "a", "content": {"x": [1]}, "re": 2},
        {"content": "bare"},
        {"n": 11, "from": "a", "kind": "Vote", "content": "", "aye": True},
    ]
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
        ledger.commit(Batch(lines=[Line(9, NOW, rest)]))
        wanted = [(one.seq, one.key, one.at, one.said) for one in ledger.lines()]
    assert wanted[-1][-1] == rest
    with closing(sqlite3.connect(path)) as other:
        told = other.execute("select seq, key, at, said from log").fetchall()
        times = other.execute("select time from log").fetchall()
    assert [(*row[:3], json.loads(row[3])) for row in told] == wanted
    assert times[-1] == ("2025-11-23 00:02:19",)


def test_nothing_in_the_file_is_pickled(path):
    """What is stored is text, numbers, and hashes."""
    with owned(path) as ledger:
        opening, stand, step = waiting(5)
        ledger.commit(turns(1, 3))
        ledger.commit(Batch(opened=[opening], stands=[stand], steps=[step], values={"a": b'"b"'}))
        blobs = [
            (table, column)
            for (table,) in ledger.connection.execute(
                "select name from sqlite_master where type = 'table'"
            ).fetchall()
            for _, column, kind, *_ in ledger.connection.execute(f"pragma table_info({table})")
            if kind.lower() == "blob"
        ]
    assert blobs == [("conversation", "digest"), ("known", "digest"), ("history", "chain")]


# -- what is wrong with a file -------------------------------------------------------------------


def refused(kind, path, **options):
    """The words with which a file is refused."""
    with pytest.raises(kind) as caught:
        SqliteLedger(path, **options)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_file_of_something_else_is_left_as_it_is(path):
    """Text, or a database of another program."""
    path.write_text("Dear diary,\n" * 1000)
    before = path.read_bytes()
    assert "is not a journal, but a file of something else" in refused(OtherJournal, path)
    assert path.read_bytes() == before
    path.unlink()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("create table recipe (name text)")
    before = path.read_bytes()
    assert "is not a journal, but a file of something else" in refused(OtherJournal, path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_journal(path):
    """As one that was made for it."""
    path.touch()
    with owned(path) as ledger:
        ledger.commit(turns(1, 2))


def test_a_newer_version_is_refused(path):
    """With the way out."""
    with owned(path):
        pass
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma user_version = 99")
    said = refused(OtherJournal, path)
    assert "tables are of version 99, this one knows 1; pip install --upgrade llambdao" in said


def test_an_older_version_is_brought_up_to_date(path, monkeypatch):
    """Once, with all that is in it, and not while a process runs it that knows the old one."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
        wanted = ledger.lines()
        monkeypatch.setattr("llambdao.journal.sqlite.VERSION", 3)
        monkeypatch.setitem(rows.MIGRATIONS, 1, ["create table extra (a integer)"])
        monkeypatch.setitem(rows.MIGRATIONS, 2, ["alter table extra add column b integer"])
        assert "is run by process" in refused(Owned, path)
    for _ in range(2):
        with owned(path) as ledger:
            assert ledger.lines() == wanted
            assert ledger.connection.execute("select a, b from extra").fetchall() == []
            assert ledger.connection.execute("pragma user_version").fetchone() == (3,)


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    """The old version can still open it."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
    with monkeypatch.context() as patch:
        patch.setattr("llambdao.journal.sqlite.VERSION", 2)
        patch.setitem(rows.MIGRATIONS, 1, ["drop table door", "alter table nothing add a"])
        assert "nothing" in refused(JournalError, path)
    with owned(path) as ledger:
        assert (len(ledger.lines()), ledger.knocks()) == (2, [])


def test_a_truncated_file_is_named(path):
    """With what to do about it."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 500))
    os.truncate(path, path.stat().st_size // 2)
    damaged = pytest.raises(JournalError, match=r"room.db is damaged .*\.recover")
    with damaged as caught, owned(path) as ledger:
        ledger.lines()
        ledger.commit(turns(500, 501))
    assert type(caught.value) is JournalError


@pytest.mark.parametrize("name", ["missing/room.db", "."])
def test_a_place_where_no_file_can_be_is_named(tmp_path, name):
    """A folder that is not there, or the folder itself."""
    said = refused(JournalError, tmp_path / name)
    assert "is there such a folder, and may this user write it?" in said


def test_to_look_makes_no_journal(path):
    """With `create=False` it must be there."""
    assert f"there is no journal {path}" in refused(JournalError, path, create=False)
    assert not path.exists()


@contextmanager
def as_nobody():
    """Without the rights of root, whom no file refuses."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such rights")
def test_a_read_only_file_is_named(tmp_path, path):
    """Whoever may not write is told so, with what to do, and can still look."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
    modes = {one: one.stat().st_mode for one in (path, *path.parents)}
    closed = [one for one in path.parents if os.geteuid() == 0 and modes[one] & 0o5 != 0o5]
    for one in closed:
        one.chmod(0o755)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    refused = pytest.raises(JournalError, match="allow this user to write")
    try:
        with as_nobody(), refused, owned(path) as ledger:
            ledger.commit(turns(3, 4))
    finally:
        for one in (path, path.parent, *closed):
            one.chmod(modes[one])
    with owned(path) as ledger:
        assert len(ledger.lines()) == 2


def test_a_full_disk_is_named_and_loses_nothing(path):
    """The batch is not written; with room again it goes on."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 3))
        [pages] = ledger.connection.execute("pragma page_count").fetchone()
        ledger.connection.execute(f"pragma max_page_count = {pages + 2}")
        with pytest.raises(JournalError, match="the disk is full: make room, then go on"):
            ledger.commit(turns(3, 100))
        assert len(ledger.lines()) == 2
        ledger.connection.execute("pragma max_page_count = 1000000")
        ledger.commit(turns(3, 100))
        assert len(ledger.lines()) == 99
        assert ledger.verify() is None


def test_a_locked_file_is_named(path):
    """After the time that was given, and it can be tried again."""
    with owned(path, timeout=0) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            with pytest.raises(JournalError, match="another process writes to it"):
                ledger.commit(turns(1, 3))
            with pytest.raises(JournalError, match="another process writes to it"):
                ledger.knock("tell", {}, NOW)
            other.execute("rollback")
        ledger.commit(turns(1, 3))
        assert len(ledger.lines()) == 2


# -- rows that are not as they were written ------------------------------------------------------


@pytest.fixture
def written(path):
    """A journal with some of everything; two of each."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 5))
        for key in (11, 12):
            opening, stand, step = waiting(key)
            message = b'{"content":"May I?"}'
            asked = Question(f"q{key}", key, "Ann", "echo", "May I?", message, NOW)
            ledger.commit(
                Batch(
                    opened=[opening],
                    stands=[stand],
                    steps=[step],
                    questions=[asked],
                    values={f"v{key}": b'{"a":1}'},
                )
            )
    return path


@pytest.mark.parametrize(
    ("sql", "read", "name"),
    [
        ("update conversation set message = '{}' where key = 11",
         lambda ledger, key: ledger.conversation(key), "row 11 of table conversation"),
        ("update conversation set node = 'other' where key = 11",
         lambda ledger, key: ledger.conversation(key), "row 11 of table conversation"),
        ("update conversation set status = 'lost' where key = 11",
         lambda ledger, key: ledger.conversation(key), "row 11 of table conversation"),
        ("update conversation set due = 'noon' where key = 11",
         lambda ledger, key: ledger.conversation(key), "row 11 of table conversation"),
        ("update conversation set expects = '[1' where key = 11",
         lambda ledger, key: ledger.conversation(key), "row 11 of table conversation"),
        ("update step set inputs = '[1]' where key = 11",
         lambda ledger, key: ledger.steps(key), "row '11/0' of table step"),
        ("update step set saw = '{' where key = 11",
         lambda ledger, key: ledger.steps(key), "row '11/0' of table step"),
        ("update step set at = 'noon' where key = 11",
         lambda ledger, key: ledger.steps(key), "row '11/0' of table step"),
        ("update value set body = '{\"a\":2}' where hash = 'v11'",
         lambda ledger, key: ledger.values([f"v{key}"]), "row 'v11' of table value"),
        ("update value set body = x'ff' where hash = 'v11'",
         lambda ledger, key: ledger.values([f"v{key}"]), "row 'v11' of table value"),
        ("delete from value where hash = 'v11'",
         lambda ledger, key: ledger.values([f"v{key}"]), "row 'v11' of table value"),
        ("update question set since = 'noon' where key = 11",
         lambda ledger, key: ledger.questions(f"q{key}"), "row 'q11' of table question"),
        ("update question set who = 5 where key = 11",
         lambda ledger, key: ledger.questions(f"q{key}"), None),
        ("update question set who = x'00' where key = 11",
         lambda ledger, key: ledger.questions(f"q{key}"), "row 'q11' of table question"),
    ],
    ids=lambda value: value.split(" where")[0].replace(" ", "-") if isinstance(value, str) else "",
)  # fmt: skip
def test_a_corrupt_row_is_named_and_others_are_read(written, sql, read, name):
    """By its table and key; the conversation can still be ended."""
    spoil(written, sql)
    with owned(written) as ledger:
        assert read(ledger, 12)
        if name is None:
            assert read(ledger, 11)  # a number among texts is a text
        else:
            with pytest.raises(CorruptRow) as caught:
                read(ledger, 11)
            assert str(caught.value).startswith(f"{name} is not as it was written: ")
        assert ledger.ready() in ([], [11])
        ledger.commit(Batch(stands=[Stand(11, "stuck", why="corrupt")]))
        ledger.commit(Batch(endings=[Ending(11, NOW, "cancelled")]))
        assert ledger.conversation(11).ending.reason == "cancelled"
        assert ledger.steps(11) == ledger.questions("q11") == []
        assert ledger.verify() is None


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("update history set said = replace(said, 'good', 'evil') where seq = 2", 2),
        ("update history set said = '[' where seq = 2", 2),
        ("update history set said = null where seq = 2", 2),
        ("update history set at = at + 1 where seq = 3", 3),
        ("update history set key = 9 where seq = 3", 3),
        ("update history set until = 0 where seq = 3", 3),
        ("update history set head = null where seq = 3", 3),
        ("update history set chain = x'00' where seq = 1", 1),
        ("delete from history where seq = 2", 3),
        ("update history set seq = 7 where seq = 2", 3),
        ("update history set seq = 9 where seq = 4", 9),
        ("insert into history (seq, key, at, said, chain) values (5, 1, 1, '[]', x'00')", 5),
        ("update word set body = replace(body, 'echo', 'evil') where id = 1", 1),
        ("update word set body = replace(body, 'done', 'dome') where body like '%ahead%'", 2),
        ("delete from word where id = 1", 1),
    ],
)
def test_history_that_was_changed_is_found_out(written, sql, first):
    """The first line that is not as it was written."""
    with closing(SqliteLedger(written)) as ledger:
        assert ledger.verify() is None
    spoil(written, sql)
    with closing(SqliteLedger(written)) as ledger:
        assert ledger.verify() == first


def test_a_corrupt_line_is_named_and_others_are_read(written):
    """Of history, too."""
    spoil(written, "update history set said = '[[77,\"x\"]]' where seq = 2")
    with closing(SqliteLedger(written)) as ledger:
        with pytest.raises(CorruptRow, match="row 2 of table history is not as it was written"):
            ledger.lines()
        assert [one.seq for one in ledger.lines(after=2)] == [3, 4]
        assert [one.key for one in ledger.lines(1)] == [1]
        assert ledger.conversation(2).ending.reason == "done"


def test_compacting_stops_at_what_is_corrupt(written):
    """What a value names cannot be known then, so nothing is forgotten."""
    with owned(written) as ledger:
        ledger.commit(Batch(states={"echo": "v11"}, values={"old": b"1"}))
    spoil(written, "update value set body = '{' where hash = 'v11'")
    with owned(written) as ledger:
        with pytest.raises(CorruptRow, match="row 'v11' of table value"):
            ledger.compact(before=2**62)
        assert len(ledger.lines()) == 4
        assert ledger.values(["old"]) == {"old": b"1"}


def test_what_was_forgotten_is_given_back_to_the_system(path):
    """The file shrinks."""
    with owned(path) as ledger:
        ledger.commit(turns(1, 2000))
        ledger.commit(Batch(values={f"v{n}": b'"%s"' % (b"x" * 500) for n in range(500)}))
    before = path.stat().st_size
    with owned(path) as ledger:
        assert ledger.compact(before=NOW + 1900 * 1_003_001)["values"] == 500
        assert ledger.verify() is None
    assert path.stat().st_size < before / 5


# -- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("room.db", "'room.db' is no journal: a journal's URL is sqlite:///room.db"),
        ("", "'' is no journal"),
        ("redis://localhost", "'redis://localhost' is no journal"),
        ("sqlite:room.db", "'sqlite:room.db' is no journal"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file that could outlive the process"),
        ("sqlite:///:memory:", "names no file that could outlive the process"),
        ("sqlite:////var/", "names no file that could outlive the process"),
        ("sqlite://room.db", "names a host, but a file has none"),
        ("sqlite:///x.db?sync=full", "there is no option 'sync'; there are synchronous (full or"),
        ("sqlite:///x.db?synchronous=off", "synchronous=off in a journal's URL: it takes full or"),
        ("sqlite:///x.db?timeout=soon", "timeout=soon in a journal's URL: it takes seconds"),
        ("sqlite:///x.db?timeout=-1", "timeout=-1 in a journal's URL: it takes seconds"),
        ("postgresql://h/d?schema=", "schema= in a journal's URL: it takes a name"),
    ],
)  # fmt: skip
def test_a_url_that_names_no_journal_is_explained(url, words, tmp_path, monkeypatch):
    """With the forms there are."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalError) as caught:
        open_ledger(url)
    assert words in str(caught.value)
    assert [*tmp_path.iterdir()] == []


def test_a_url_names_a_file(tmp_path, monkeypatch):
    """In this folder or anywhere, whatever letters are in its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    for url in ("sqlite:///room.db", f"sqlite:///{tmp_path}/a%20b/ü%3F.db?synchronous=normal"):
        with closing(open_ledger(url)) as ledger:
            ledger.claim()
    with pytest.raises(JournalError, match="there is no journal"):
        open_ledger("sqlite:///other.db", create=False)
    assert (tmp_path / "room.db").exists()
    assert (tmp_path / "a b" / "ü?.db").exists()
