"""Deliberate bugs in a copy of the journal: the tests of its faults find each of them."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from journal_mutants import MUTANTS

ROOT = Path(__file__).parents[2]

FINDERS = ["crash_points", "effects", "faults", "changes", "killers", "endless"]
"""The tests that must find them."""

LEFT_OUT = "not a_file and not thousand"


def found(mutant, folder):
    """What the tests find wrong in a copy of the sources with this bug; nothing, if nothing."""
    copy = folder / str(MUTANTS.index(mutant)) if mutant else folder / "none"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        file = copy / "llambdao" / mutant.file
        text = file.read_text("utf-8")
        assert text.count(mutant.text) == 1, f"{mutant.name}: the text is not there once any more"
        file.write_text(text.replace(mutant.text, mutant.otherwise), "utf-8")
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no",
            "--timeout=20", "-k", LEFT_OUT,
            *(str(ROOT / "tests" / "journal" / f"test_{name}.py") for name in FINDERS),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_deliberate_bugs_are_found(tmp_path):
    """Each of them; and nothing where there is no bug."""
    with ThreadPoolExecutor(2) as pool:
        wrong = pool.map(lambda one: found(one, tmp_path), [None, *MUTANTS])
        outputs = dict(zip(["no bug", *(one.name for one in MUTANTS)], wrong, strict=True))
    assert outputs.pop("no bug") == ""
    assert [name for name, output in outputs.items() if not output] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_the_text_of_each_bug_is_there(mutant):
    """Once: else it tests nothing."""
    text = (ROOT / "src" / "llambdao" / mutant.file).read_text("utf-8")
    assert text.count(mutant.text) == 1
