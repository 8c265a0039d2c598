"""A journal in PostgreSQL: on a real server, which is restarted and crashes under it."""

import json
import signal
import sys
from contextlib import closing, contextmanager

import psycopg
import pytest

from llambdao.journal import rows
from llambdao.journal.errors import CorruptRow, Fenced, JournalError, OtherJournal, Owned
from llambdao.journal.ledger import Batch, Ending, Line, Opening, Stand
from llambdao.journal.postgres import PostgresLedger
from llambdao.journal.stores import open_ledger

NOW = 1_763_856_139_123_456_789


@pytest.fixture
def schema(request):
    """A schema for each test."""
    return f"t{abs(hash(request.node.nodeid))}"


@contextmanager
def owned(server, schema="llambdao", **options):
    """The journal there, owned."""
    options = {"schema": schema, "patience": 0.2, "timeout": 5, **options}
    with closing(PostgresLedger(server.url, **options)) as ledger:
        ledger.claim()
        yield ledger


def turn(key):
    """A conversation of one commit."""
    said = [
        {"n": 1, "to": "echo", "intent": "request", "content": f"q{key}"},
        {"n": 2, "from": "echo", "intent": "inform", "content": "r", "re": 1, "out": True},
    ]
    opening = Opening(key, f"order-{key}", "echo", b"{}", "ask", key, NOW, b"d", is_given=True)
    return Batch(opened=[opening], lines=[Line(key, NOW, said)], endings=[Ending(key, NOW, "done")])


def told(ledger):
    """The keys of all lines."""
    return [line.key for line in ledger.lines()]


@contextmanager
def directly(server, schema):
    """Another program at the same tables."""
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute(f'set search_path to "{schema}"')
        yield other


# -- the server ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
def test_a_server_that_was_restarted_loses_nothing(own_postgres, how):
    """While it is down a commit fails, loudly; then it goes on, still the owner."""
    with owned(own_postgres) as ledger:
        ledger.commit(turn(1))
        own_postgres.stop(how)
        for _ in range(2):
            with pytest.raises(JournalError, match=r"cannot be reached: .*is the server up"):
                ledger.commit(turn(2))
        with pytest.raises(JournalError, match="cannot be reached"):
            ledger.lines()
        own_postgres.start()
        assert told(ledger) == [1]
        ledger.commit(turn(2))
        assert told(ledger) == [1, 2]
        with (
            closing(PostgresLedger(own_postgres.url, patience=0.1)) as other,
            pytest.raises(Owned),
        ):
            other.claim()
        own_postgres.stop(how)
        own_postgres.start()
        ledger.commit(turn(3))  # it notices as it begins, before there is anything in doubt
        assert (told(ledger), ledger.verify()) == ([1, 2, 3], None)


def test_who_lost_its_server_and_its_place_is_fenced(own_postgres):
    """Another took over while the connection was gone."""
    with owned(own_postgres) as first:
        first.commit(turn(1))
        own_postgres.stop()
        own_postgres.start()
        with owned(own_postgres) as second:
            second.commit(turn(2))
            with pytest.raises(Fenced, match="another process has taken over meanwhile"):
                first.commit(turn(3))
        with pytest.raises(Fenced, match="taken over by process"):
            first.commit(turn(3))
        assert told(first) == [1, 2]


def test_a_connection_that_was_cut_is_made_again(postgres, schema):
    """Between two commits nobody notices; within one it fails, and nothing is written."""
    with owned(postgres, schema) as ledger, directly(postgres, schema) as other:
        ledger.commit(turn(1))
        cut = "select pg_terminate_backend(%s)"
        other.execute(cut, [ledger.connection.info.backend_pid])
        ledger.commit(turn(2))
        batch = turn(3)
        batch.lines = Meanwhile(batch.lines)
        batch.lines.happens = lambda: other.execute(cut, [ledger.connection.info.backend_pid])
        with pytest.raises(JournalError, match="the connection is made again at the next use"):
            ledger.commit(batch)
        assert told(ledger) == [1, 2]
        other.execute(cut, [ledger.connection.info.backend_pid])
        assert ledger.last_key() == 2
        ledger.commit(turn(3))
        assert (told(ledger), ledger.verify()) == ([1, 2, 3], None)


class Meanwhile(list):
    """Lines: while they are written something happens."""

    def __iter__(self):
        self.happens()
        return super().__iter__()


def test_who_takes_over_waits_for_a_commit_under_way(postgres, schema):
    """Else the zombie, which has seen that the journal is its own, would write after its heir."""
    with owned(postgres, schema) as zombie:
        heir = PostgresLedger(postgres.url, schema=schema, timeout=0.05, patience=0.05)
        batch = turn(1)
        batch.lines = Meanwhile(batch.lines)
        refused = []

        def take_over():
            with pytest.raises(JournalError, match="another process writes to it") as caught:
                heir.claim(by_force=True)
            refused.append(caught)

        batch.lines.happens = take_over
        with closing(heir):
            zombie.commit(batch)
            assert refused
            heir.claim(by_force=True)
            with pytest.raises(Fenced):
                zombie.commit(turn(2))
            assert told(heir) == [1]


def test_a_server_that_cannot_be_reached_is_named_without_the_password():
    """Whatever the driver says."""
    with pytest.raises(JournalError) as caught:
        open_ledger("postgresql://ann:s3cret@127.0.0.1:9/room?timeout=2&connect_timeout=2")
    assert "postgresql://ann:***@127.0.0.1:9/room" in str(caught.value)
    assert "is the server up, and is the URL right?" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_without_its_driver_it_says_what_to_install(monkeypatch):
    """`psycopg` comes with an extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalError, match=r"pip install 'llambdao\[postgres\]'"):
        open_ledger("postgresql://localhost/room")


@pytest.mark.parametrize(("synchronous", "setting"), [("full", "on"), ("normal", "off")])
def test_it_waits_for_the_disk_as_it_was_told(postgres, schema, synchronous, setting):
    """`full` waits at each commit."""
    url = f"{postgres.url}&schema={schema}&synchronous={synchronous}"
    with closing(open_ledger(url)) as ledger:
        assert ledger.connection.execute("show synchronous_commit").fetchone() == (setting,)


# -- the database --------------------------------------------------------------------------------


def test_a_database_holds_many_journals(postgres, schema):
    """Each in its schema, whatever that is called, with an owner of its own."""
    names = [f"{schema}a", f'{schema} "B"; drop schema public; %s ?']
    for name in names:
        with owned(postgres, names[0]) as first, owned(postgres, name + "x") as second:
            first.commit(Batch(meta={"name": name}))
            second.commit(turn(1))
            assert first.lines() == []
            assert (first.meta(), second.meta()) == ({"name": name}, {})


def test_tables_of_something_else_are_left_as_they_are(postgres, schema):
    """In that schema there is no place for a journal."""
    with directly(postgres, schema) as other:
        other.execute(f"create schema {schema}")
        other.execute("create table recipe (name text)")
        with pytest.raises(OtherJournal, match="holds tables that are not a journal's: name ano"):
            PostgresLedger(postgres.url, schema=schema)
        other.execute("create table meta (name text, body text)")
        with pytest.raises(OtherJournal):
            PostgresLedger(postgres.url, schema=schema)
        assert other.execute(
            "select count(*) from information_schema.tables where table_schema = %s", [schema]
        ).fetchone() == (2,)


def test_to_look_makes_no_journal(postgres, schema):
    """With `create=False` it must be there."""
    with pytest.raises(JournalError, match="there is no journal postgresql://"):
        open_ledger(f"{postgres.url}&schema={schema}", create=False)
    with directly(postgres, schema) as other:
        assert (
            other.execute("select 1 from pg_namespace where nspname = %s", [schema]).fetchone()
            is None
        )


def test_a_newer_version_is_refused(postgres, schema):
    """With the way out."""
    with owned(postgres, schema):
        pass
    with directly(postgres, schema) as other:
        other.execute("update meta set body = '99' where name = 'version'")
    with pytest.raises(OtherJournal, match="version 99, this one knows 1; pip install --upgrade"):
        PostgresLedger(postgres.url, schema=schema)


def test_an_older_version_is_brought_up_to_date(postgres, schema, monkeypatch):
    """Once, and not while a process runs it that knows the old one."""
    with owned(postgres, schema) as ledger:
        ledger.commit(turn(1))
        monkeypatch.setattr("llambdao.journal.postgres.VERSION", 2)
        monkeypatch.setitem(rows.MIGRATIONS, 1, ["create table extra (a integer)"])
        with pytest.raises(Owned, match="is run by process"):
            PostgresLedger(postgres.url, schema=schema, patience=0.1)
    for _ in range(2):
        with owned(postgres, schema) as ledger:
            assert told(ledger) == [1]
            assert ledger.connection.execute("select * from extra").fetchall() == []
            assert ledger.meta() == {}


def test_a_database_that_may_only_be_read_is_named(postgres, schema):
    """It can still be looked at."""
    with owned(postgres, schema) as ledger:
        ledger.commit(turn(1))
        ledger.connection.execute("set default_transaction_read_only = on")
        with pytest.raises(JournalError, match="the server may only be read"):
            ledger.commit(turn(2))
        assert told(ledger) == [1]
        ledger.connection.execute("set default_transaction_read_only = off")
        ledger.commit(turn(2))
        assert told(ledger) == [1, 2]


def test_a_user_without_rights_is_named(postgres, schema):
    """With what to grant."""
    with owned(postgres, schema):
        pass
    with directly(postgres, schema) as other:
        other.execute(f"create role {schema} login")
        other.execute(f"grant usage on schema {schema} to {schema}")
    url = postgres.url.replace("postgres@", f"{schema}@")
    with pytest.raises(JournalError) as caught:
        PostgresLedger(url, schema=schema)
    assert "grant this user all on the schema" in str(caught.value)


def test_a_lock_that_is_not_given_up_is_named(postgres, schema):
    """After the time that was given; then it goes on."""
    with owned(postgres, schema, timeout=0.05) as ledger:
        with directly(postgres, schema) as other, other.transaction():
            other.execute("lock table history")
            with pytest.raises(JournalError, match="another process writes to it"):
                ledger.commit(turn(1))
        ledger.commit(turn(1))
        assert told(ledger) == [1]


def test_a_corrupt_row_is_named_and_others_are_read(postgres, schema):
    """As in a file."""
    some = [Opening(key, f"o{key}", "echo", b"{}", "ask", 1, NOW, b"") for key in (1, 2)]
    with owned(postgres, schema) as ledger, directly(postgres, schema) as other:
        ledger.commit(Batch(opened=some, lines=turn(1).lines))
        other.execute("update conversation set message = 'x' where key = 1")
        with pytest.raises(CorruptRow, match="row 1 of table conversation is not as it was"):
            ledger.conversation(1)
        assert ledger.conversation(2).opening == some[1]
        ledger.commit(Batch(stands=[Stand(1, "stuck")]))
        other.execute("update history set said = replace(said, 'q1', 'q2')")
        assert ledger.verify() == 1


def test_history_can_be_read_with_psql_and_jq(postgres, schema):
    """The view `log` has nothing abbreviated."""
    rest = [
        {"n": 7, "from": "a", "content": 'é\n"x"\\u0000', "re": 6, "meta": {"a": [1, None]}},
        {"n": 8, "from": "a", "content": {"x": [1]}, "re": 2},
        {"content": "bare"},
        {"n": 11, "from": "a", "kind": "Vote", "content": "", "aye": True},
    ]
    with owned(postgres, schema) as ledger, directly(postgres, schema) as other:
        ledger.commit(turn(1))
        ledger.commit(Batch(lines=[Line(9, NOW, [{"n": 1, "from": "a", "content": "nul \0!"}])]))
        ledger.commit(Batch(lines=[Line(9, NOW, rest)]))
        read = other.execute("select seq, key, at, said from log order by seq").fetchall()
        wanted = [(one.seq, one.key, one.at, one.said) for one in ledger.lines()]
    assert wanted[-1][-1] == rest
    told_ = [(*row[:3], json.loads(row[3])) for row in read]
    assert (told_[0], told_[1][3][0]["content"]) == (wanted[0], "nul \ufffd!")
    assert told_[2][3][1:] == rest[1:]
