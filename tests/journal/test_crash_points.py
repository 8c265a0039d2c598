"""Killed at every commit, a program comes to the same end."""

import pytest
from mortals import CASES
from deaths import Clock, World, run


def fingerprint(world):
    """What was done outside, at least once each."""
    return sorted(set(world.done))


def whole(case):
    world, clock = World(), Clock()
    result, commits = run(case, world, clock=clock)
    return result, commits, fingerprint(world), world


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)
def test_it_runs_and_again_it_only_tells_what_was(case):
    """A second life with the same messages does nothing anew."""
    result, _, done, world = whole(case)
    assert result is not None
    before = world.store.commits, len(world.done)
    again, _ = run(case, world, clock=Clock())
    assert again[:2] == result[:2]
    assert len(world.done) == before[1]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)
def test_killed_at_every_commit_it_comes_to_the_same_end(case, when):
    """Each message once, no reply lost or doubled, effects at most once more with the same key."""
    expected, commits, done, _ = whole(case)
    for at in range(1, commits + 1):
        world, clock = World(), Clock()
        run(case, world, at, when, clock)
        result, _ = run(case, world, clock=clock)
        assert result[:2] == expected[:2], f"killed {when} commit {at} of {commits}"
        assert fingerprint(world) == done
        assert max([world.done.count(one) for one in world.done], default=0) <= 2
