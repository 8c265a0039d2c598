"""Every example is a program that prints just what stands in the `.out` file beside it.

Where that begins with `$ python ...` the program is run line by line, in one folder.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PROMPT = "$ python "


def run(program, folder, *arguments):
    """What a program prints, without a word on stderr, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", program, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.mark.parametrize("program", EXAMPLES, ids=[program.stem for program in EXAMPLES])
def test_an_example_prints_exactly_its_output(program, tmp_path):
    """From any directory, each of its lines in a process of its own."""
    expected = program.with_suffix(".out").read_text("utf-8")
    if not expected.startswith(PROMPT):
        assert run(program, tmp_path) == expected
        return
    shown = ""
    for line in expected.splitlines(keepends=True):
        if line.startswith(PROMPT):
            name, *arguments = shlex.split(line.removeprefix(PROMPT))
            assert name == program.name
            shown += line + run(program, tmp_path, *arguments)
    assert shown == expected
