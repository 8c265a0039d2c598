"""`check_ledger`: is it a good store of a journal? What all of them promise, case by case."""

from __future__ import annotations

import os
from itertools import count

from llambdao.testing import _ledger_cases, _ledger_faults, _ledger_history, _ledger_owners
from llambdao.testing._ledger_place import CASES, Make, Place

__all__ = ["check_ledger", "ledger_cases"]

_numbers = count(1)

ENTERED = (_ledger_cases, _ledger_faults, _ledger_history, _ledger_owners)
"""The modules whose functions are cases; importing them entered those in `CASES`."""


def check_ledger(make: Make | str, *names: str) -> None:
    """Check that a store keeps what a journal is promised; raises AssertionError naming the case.

    `make` opens the store of a name: a new name is a new and empty store, the same name is the same
    store again, for another process as it were. It is pickled for the cases that need processes, so
    it is a function of a module, or a URL with `{}` where the name goes. Without `names` all cases
    of `ledger_cases()` are run.

    They cover batches (all or nothing, in order, one part undoing another), each thing that is kept
    and how it is asked for, one owner and many doors, zombies, processes killed while they commit,
    compaction, the chain of history, any text, large values.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_ledger(f"sqlite:///{folder}/{{}}.db", "a_knock_waits_for_an_owner")
    """
    unknown = set(names) - CASES.keys()
    assert not unknown, f"no such case: {', '.join(sorted(unknown))}"
    for name in names or CASES:
        with Place(make, f"case{next(_numbers)}_{os.getpid()}") as place:
            try:
                CASES[name](place)
            except AssertionError as error:
                promise = " ".join((CASES[name].__doc__ or "").split())
                raise AssertionError(f"{name}: {promise} {error}") from error


def ledger_cases() -> list[str]:
    """The names of all cases, so that each can be a test of its own.

    >>> len(ledger_cases()) > 100
    True
    """
    return [*CASES]
