"""`Window`: a socket through which other processes of the same user see how a runtime is doing."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import DecodeError, Meta, Struct
from msgspec.json import decode, encode

from llambdao.kernel.errors import Misused
from llambdao.runtime.status import Tally, status

if TYPE_CHECKING:
    from llambdao.runtime.runtime import Runtime

__all__ = ["Request", "Window", "windows"]

BEAT = 0.1
"""How many seconds the beats of the event loop are apart by which its lag is told."""

PATIENCE, LONGEST = 10.0, 1024
"""How many seconds a viewer has to say what it wants, and how many bytes."""

NAMING = threading.Lock()
"""Held by whoever looks for a free name, until it is taken."""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """All that can be asked through a window: a status, every so many seconds."""

    every: Annotated[float, Meta(ge=0.1, le=3600)]


class Window:
    """A Unix socket through which other processes of the same user see how a runtime is doing.

    Who sends a line such as `{"every": 1.0}` gets a `Status` at once, and then every so many
    seconds: lines of JSON. Nothing else can be asked; who tries is hung up on. Nothing is counted
    before somebody looks, nor after the last one has left.

    Its name is that of the process, with a number behind it if there are several: `4711`, `4711.2`.
    Where nobody can have a socket, or its folder belongs to others, it raises `Misused`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.pid = runtime, os.getpid()
        self.tally: Tally | None = None
        self._viewers: set[asyncio.Task[None]] = set()
        self._looking = 0
        self._loop = asyncio.get_running_loop()
        self._socket = _listen()
        self.path = Path(self._socket.getsockname())
        self._loop.add_reader(self._socket, self._come)

    async def close(self) -> None:
        """Take it away; those who look see the end."""
        if os.getpid() == self.pid:
            self.path.unlink(missing_ok=True)
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for viewer in self._viewers:
            viewer.cancel()
        if self._viewers:
            await asyncio.wait([*self._viewers])

    def _come(self) -> None:
        """Somebody has come."""
        try:
            caller, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # and has left
            return
        except OSError:  # too many files are open: nobody is let in for a while
            self._loop.remove_reader(self._socket)
            self._loop.call_later(1, self._come_again)
            return
        caller.setblocking(False)
        viewer = self._loop.create_task(self._serve(caller))
        self._viewers.add(viewer)
        viewer.add_done_callback(self._viewers.discard)
        viewer.add_done_callback(lambda _: caller.close())

    def _come_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._come)

    async def _serve(self, caller: socket.socket) -> None:
        with suppress(ConnectionError):  # when it leaves
            every = await self._asked(caller)
            if every is not None:
                await self._show(caller, every)

    async def _asked(self, caller: socket.socket) -> float | None:
        """Every how many seconds somebody wants a status; None if it asks for anything else."""
        line = b""
        with suppress(TimeoutError, ValueError, DecodeError):
            async with asyncio.timeout(PATIENCE):
                while not line.endswith(b"\n"):
                    piece = await self._loop.sock_recv(caller, LONGEST)
                    line += piece
                    if not piece or len(line) >= LONGEST:
                        return None
            return decode(line, type=Request).every
        return None

    async def _show(self, caller: socket.socket, every: float) -> None:
        with self._counting() as tally:
            leaves = self._loop.create_task(self._leaves(caller))
            try:
                await tally.adopt(self.runtime.conversations)
                while not leaves.done():
                    line = encode(status(self.runtime, tally)) + b"\n"
                    await self._loop.sock_sendall(caller, line)
                    await asyncio.wait([leaves], timeout=every)
            finally:
                leaves.cancel()
                await asyncio.wait([leaves])

    async def _leaves(self, caller: socket.socket) -> None:
        """Wait until a viewer has left, or says something more, which is none of its business."""
        with suppress(ConnectionError):
            await self._loop.sock_recv(caller, 1)

    @contextmanager
    def _counting(self) -> Generator[Tally, None, None]:
        """Inside it, it is counted what happens."""
        if self.tally is None:
            self.tally = Tally()
            self.runtime._observers.append(self.tally)
            self._beat(self.tally, self._loop.time())
        tally = self.tally
        self._looking += 1
        try:
            yield tally
        finally:
            self._looking -= 1
            if not self._looking:
                self.runtime._observers.remove(tally)
                self.tally = None

    def _beat(self, tally: Tally, due: float) -> None:
        """Note how late the event loop is, from now on."""
        if self.tally is tally:
            now = self._loop.time()
            tally.lags.append(max(0.0, now - due))
            self._loop.call_at(now + BEAT, self._beat, tally, now + BEAT)


def _listen() -> socket.socket:
    """A socket that listens, in a folder that nobody else may open."""
    if not hasattr(socket, "AF_UNIX"):
        raise Misused("Runtime(top=True) needs Unix sockets, which this system does not have")
    folder = _folders()[0]
    listening = socket.socket(socket.AF_UNIX)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_mine(folder):
            raise PermissionError("that is no folder which only you can open")
        with NAMING:
            path = _free_name(folder)
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen()
            listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise Misused(
            f"Runtime(top=True) could not put a socket into {folder}: {error}; another place can be"
            " given as XDG_RUNTIME_DIR"
        ) from error
    return listening


def _free_name(folder: Path) -> Path:
    """The name of this process, with a number if another runtime in it has that already."""
    pid = os.getpid()
    names = (folder / (f"{pid}" if number == 1 else f"{pid}.{number}") for number in count(1))
    path = next(path for path in names if not _answers(path))
    path.unlink(missing_ok=True)
    return path


def windows() -> list[Path]:
    """The windows of this user's processes, the newest last; those of dead processes are removed.

    They are in `$XDG_RUNTIME_DIR/llambdao`, where there is such a place, and else in a folder
    among the temporary files.
    """
    found = []
    for path in (path for folder in _folders() if _is_mine(folder) for path in folder.iterdir()):
        with suppress(OSError):
            about = path.lstat()
            if stat.S_ISSOCK(about.st_mode) and about.st_uid == os.getuid():
                if _answers(path):
                    found.append((about.st_mtime_ns, path))
                elif not _is_alive(path.name):
                    path.unlink()
    return [path for _, path in sorted(found)]


def _folders() -> list[Path]:
    """Where windows can be, the best place first."""
    here = os.environ.get("XDG_RUNTIME_DIR", "")
    own = [Path(here) / "llambdao"] if here and Path(here).is_dir() else []
    return [*own, Path(tempfile.gettempdir()) / f"llambdao-{os.getuid()}"]


def _is_mine(folder: Path) -> bool:
    """Is it a folder that nobody else may open?"""
    try:
        about = folder.lstat()
    except OSError:
        return False
    mode = about.st_mode
    return stat.S_ISDIR(mode) and about.st_uid == os.getuid() and not stat.S_IMODE(mode) & 0o077


def _answers(path: Path) -> bool:
    """Does anybody listen at this socket?"""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0.2)
        try:
            caller.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (BlockingIOError, TimeoutError):  # too busy to answer
            return True
        return True


def _is_alive(name: str) -> bool:
    """Does the process live that such a window belongs to?"""
    try:
        os.kill(int(name.partition(".")[0]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True
