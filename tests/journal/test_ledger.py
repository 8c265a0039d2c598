"""Every store of a journal keeps what a journal is promised."""

import pytest

from llambdao.testing import check_ledger, ledger_cases

PROCESSES = [name for name in ledger_cases() if "kill" in name or "process" in name]


def test_there_are_enough_cases():
    """A hundred and more, some of them with processes that are killed."""
    assert len(ledger_cases()) >= 100
    assert len(PROCESSES) >= 10


@pytest.mark.parametrize("name", ledger_cases())
def test_sqlite_is_a_good_store(name, tmp_path):
    """In a file, where the system may write later what it was given."""
    check_ledger(f"sqlite:///{tmp_path}/{{}}.db?synchronous=normal", name)


@pytest.mark.parametrize("name", PROCESSES)
def test_sqlite_is_a_good_store_when_it_waits_for_the_disk(name, tmp_path):
    """In a file, where each commit waits."""
    check_ledger(f"sqlite:///{tmp_path}/{{}}.db", name)


@pytest.mark.parametrize("name", ledger_cases())
def test_postgres_is_a_good_store(name, postgres):
    """A real server, and a schema for each."""
    check_ledger(f"{postgres.url}&schema={{}}&patience=0.2", name)
