"""Program 5, each of its lines killed half way, for real: it comes to the same."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

DIES = """
import os, runpy, signal, sys
from llambdao.journal.sqlite import SqliteLedger
at, when, *sys.argv = sys.argv[1:]
commit, count = SqliteLedger.commit, 0

def mortal(self, batch):
    global count
    count += 1
    if count == int(at) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, batch)
    if count == int(at):
        os.kill(os.getpid(), signal.SIGKILL)

SqliteLedger.commit = mortal
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def lines():
    """The lines of the example, each with its output."""
    found = []
    for line in (EXAMPLES / "5_approval.out").read_text("utf-8").splitlines(keepends=True):
        if line.startswith("$ python "):
            found.append((shlex.split(line)[2:], ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def run(folder, *command):
    """What a command prints, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, -9), done.stderr
    return done.stdout, done.returncode


def test_there_is_something_to_kill():
    """The example has its six lines."""
    assert [words[0] for words, _ in lines()] == ["5_approval.py"] * 6


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_line_killed_half_way_and_said_again_has_its_output(place, tmp_path):
    """Killed at any commit, just before and just after: said again it prints what it would have."""
    folder = tmp_path / "first"
    folder.mkdir()
    shutil.copy(EXAMPLES / "5_approval.py", folder)
    for words, expected in lines()[:place]:
        assert run(folder, *words) == (expected, 0)
    words, expected = lines()[place]
    kills = 0
    for at in range(1, 20):
        for when in ("before", "after"):
            again = tmp_path / f"{at}-{when}"
            shutil.copytree(folder, again)
            _, code = run(again, "-c", DIES, str(at), when, *words)
            kills += code == -9
            if code == -9:
                said = run(again, *words)[0]
                assert said == expected, f"killed {when} commit {at}"
        if code != -9:
            break
    assert kills >= 4
