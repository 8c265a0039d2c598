"""Every store of a journal keeps what a journal is promised."""

import pytest

from llambdao.testing import check_ledger, ledger_cases


def test_there_are_enough_cases():
    """A hundred and more."""
    assert len(ledger_cases()) >= 100


@pytest.mark.parametrize("name", ledger_cases())
@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_sqlite_is_a_good_store(name, synchronous, tmp_path):
    """The same cases with each setting."""
    check_ledger(f"sqlite:///{tmp_path}/{{}}.db?synchronous={synchronous}", name)


@pytest.mark.parametrize("name", ledger_cases())
def test_postgres_is_a_good_store(name, postgres):
    """A real server, a schema for each."""
    check_ledger(f"{postgres.url}&schema={{}}&patience=0.2", name)
