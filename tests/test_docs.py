"""The pages tell the truth: every block of code on them runs. `pages.py` says how."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llambdao

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"  # made from docstrings: test_docstrings.py
QUOTED = ROOT / "docs" / "founding-document.md"  # as it was written: test_founding_document.py
PAGES = [ROOT / "README.md"] + [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page != QUOTED and REFERENCE not in page.parents
]


def run(page, folder):
    """Runs a page in a process of its own, warnings being errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests" / "pages.py", page],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_block_of_a_page_runs(page, tmp_path):
    """Whoever copies the blocks of a page one after the other sees what the page shows."""
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr


def fence(language, text):
    """Writes a block."""
    return f"```{language}\n{text}\n```\n"


WRONG = {
    "an error": (fence("python", "1 / 0"), 'page.md", line 2'),
    "a warning": (fence("python", "import warnings; warnings.warn('old')"), "UserWarning: old"),
    "another output": (fence("python", "print(1)") + fence("text", "2"), "what came is\n1"),
    "an output not shown": (fence("python", "print(1)"), "what came is\n1"),
    "an output that never comes": (fence("python", "x = 1") + fence("text", "1"), "shows\n1"),
    "another result": (fence("python", ">>> 1 + 1\n3"), "Got:\n    2"),
    "a command that fails": (fence("console", "$ llambdao --no-such"), "ended with 2"),
    "another answer": (fence("console", "$ llambdao --version\n42"), "shows\n42"),
    "a command nobody runs": (fence("console", "$ pip install x"), "only `$ llambdao ...` is run"),
    "a language nobody runs": (fence("bash", "ls"), "nobody runs 'bash'"),
    "no language": (fence("", "print(1)"), "nobody runs ''"),
    "no reason": ("<!-- no-run -->\n" + fence("python", "1 / 0"), "write <!-- no-run: reason -->"),
    "a reason too far away": ("<!-- no-run: x -->\n\nSo:\n" + fence("python", "1 / 0"), "line 5"),
    "indented code": ("So:\n\n    print(1)\n", "indented code is never run"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG)
def test_a_page_that_is_wrong_is_found_out(text, complaint, tmp_path):
    """Pages cannot rot unseen: each way of being wrong is noticed, and named."""
    page = tmp_path / "page.md"
    page.write_text(text)
    done = run(page, tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_a_page_that_is_right_passes(tmp_path):
    """Blocks share a namespace, outputs are compared, and a reason lets a block be."""
    page = tmp_path / "page.md"
    page.write_text(
        fence("python", "x = 1\nprint(x)")
        + fence("text", "1")
        + fence("python", ">>> x = x + 1\n>>> x\n2")
        + fence("python", "assert (x, __name__) == (2, '__main__')")
        + "<!-- no-run: it would never end -->\n"
        + fence("python", "while True: ...")
        + fence("toml", "x = 1")
    )
    done = run(page, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_site_is_built_with_every_public_name(tmp_path):
    """`make docs` works, and its reference shows every name that `llambdao` exports."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("reference"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for command in (
        [sys.executable, "docs/gen_reference.py"],
        [sys.executable, "-m", "zensical", "build", "--strict"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "llambdao" / "index.html").read_text("utf-8")
    assert [name for name in llambdao.__all__ if f'id="{name}"' not in reference] == []
