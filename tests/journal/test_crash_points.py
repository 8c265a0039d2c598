"""Killed at every commit, a program comes to the same end."""

import pytest

from deaths import Town
from llambdao.testing import crash_points, replay_always
from mortals import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)


@every_case
def test_killed_at_every_commit_it_comes_to_the_same_end(case):
    """And again at every commit of its next life: each message once, no reply lost or doubled.

    Effects are done at most once more for each death, with the same key.
    """
    crashes = crash_points(case.program, twice=None)
    assert crashes.kills >= crashes.commits


@every_case
def test_every_step_is_the_same_when_it_is_taken_again(case):
    """Replayed after each step it says, calls and leaves behind the same; to the same end."""
    town, whole = Town(), Town().live(case.program)

    async def program(life):
        given = life.runtime
        life.runtime = lambda *nodes, **options: given(
            *nodes, journal=replay_always(life.ledger), **options
        )
        return await case.program(life)

    assert town.live(program) == whole


@every_case
def test_a_second_life_does_nothing_anew(case):
    """The same messages again are the same messages: all is said already."""
    town = Town()
    whole = town.live(case.program)
    done = [*town.outside.done]
    lines = len(town.store.lines)
    assert town.live(case.program) == whole
    assert town.outside.done == done
    assert len(town.store.lines) == lines


@every_case
def test_killed_at_every_commit_to_a_file_it_comes_to_the_same_end(case, tmp_path):
    """As in memory, in SQLite."""
    url = f"sqlite:///{tmp_path}/{{}}.db?synchronous=normal"
    crash_points(case.program, journal=url, twice=0)


@every_case
def test_killed_at_every_commit_to_a_server_it_comes_to_the_same_end(case, postgres):
    """As in memory, in PostgreSQL."""
    url = f"{postgres.url}&schema=crash_{type(case).__name__.lower()}_{{}}&synchronous=normal"
    crash_points(case.program, journal=url, twice=0)
