"""The checks of `make check`, as tests: what they forbid does not come in."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    ["ruff check", "ruff format --check", "mypy", "pyright", "lint-imports --no-logo"],
)
def test_a_check_passes(command):
    """Format, lint, types (mypy strict and pyright) and layers are in order."""
    program, *options = command.split()
    done = subprocess.run(
        [Path(sys.executable).parent / program, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
