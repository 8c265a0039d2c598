"""Killed at every commit, a program comes to the same end."""

import pytest

from llambdao.testing import crash_points
from mortals import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)


@every_case
def test_killed_at_every_commit_it_comes_to_the_same_end(case):
    """Each message once, no reply lost or doubled, effects at most once more with the same key."""
    crashes = crash_points(case.program)
    assert crashes.kills >= crashes.commits
