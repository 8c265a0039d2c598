"""Every example is a program that prints just what stands in the `.out` file beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("program", EXAMPLES, ids=[program.stem for program in EXAMPLES])
def test_an_example_prints_exactly_its_output(program, tmp_path):
    """From any directory, without a word on stderr, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (program.with_suffix(".out").read_text("utf-8"), "")
    assert done.returncode == 0
