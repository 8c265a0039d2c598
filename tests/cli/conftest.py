"""Running the command line as a person or a pipe would, in a folder of its own."""

import os
import subprocess
import sys

import pexpect
import pytest

LLAMBDAO = [sys.executable, "-W", "error", "-m", "llambdao"]
MODELS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")


@pytest.fixture
def folder(tmp_path):
    """Where it runs."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def environment(tmp_path):
    """No key, no server, and a home of which nothing may be left changed."""
    home = tmp_path / "home"
    home.mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in MODELS}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        clean.pop(name, None)
    yield {
        **clean,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TERM": "xterm",
    }
    assert list(home.iterdir()) == []


@pytest.fixture
def llambdao(folder, environment):
    """Runs `llambdao ...` with these lines as input."""

    def run(*arguments, text="", **more):
        done = subprocess.run(
            [*LLAMBDAO, *arguments],
            cwd=folder,
            env={**environment, **more},
            input=text,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def at_terminal(folder, environment):
    """Runs `llambdao ...` at a terminal."""
    started = []

    def spawn(*arguments, size=(24, 80), **more):
        child = pexpect.spawn(
            LLAMBDAO[0],
            [*LLAMBDAO[1:], *arguments],
            cwd=str(folder),
            env={**environment, **more},
            dimensions=size,
            encoding="utf-8",
            timeout=20,
        )
        started.append(child)
        return child

    yield spawn
    for child in started:
        child.close(force=True)


@pytest.fixture
def write(folder):
    """Writes a file into the folder."""

    def write(text, name="file.py"):
        (folder / name).write_text(text)
        return name

    return write
