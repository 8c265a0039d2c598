"""`llambdao top`: a running program at a glance, again and again."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from msgspec.json import decode, encode

from llambdao.cli._errors import Unusable
from llambdao.console._screen import seen
from llambdao.kernel.errors import LlambdaoError
from llambdao.runtime.status import Status
from llambdao.runtime.window import Request, windows

__all__ = ["Feed", "Silent", "top"]

PATIENCE = 10.0
"""How many seconds later than it should be an answer may come."""

LOOK = 0.25
"""How many seconds it takes at most to see that the terminal has another size."""

HOW = "a program can be seen if its environment has LLAMBDAO_TOP=1, or with Runtime(top=True)"


def top(given: Any) -> int:
    """Show how a running program is doing, until it ends or somebody has seen enough."""
    path = _chosen(given.pid)
    if path is None:
        return 1
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    show = _live
    if given.json:
        show = _as_json_once if given.once else _as_json
    elif find_spec("rich") is None:
        raise Unusable("pip install 'llambdao[console]' for this; --json does without")
    elif given.once or not is_terminal or os.environ.get("TERM", "dumb") == "dumb":
        show = _once
    with Feed(path, given.every) as feed:
        return show(feed)


# -- which program -----------------------------------------------------------------------------


def _chosen(name: str | None) -> Path | None:
    """The window of that name, or the only one; None if there is none, which has been said."""
    if not hasattr(socket, "AF_UNIX"):
        raise Unusable("top needs Unix sockets, which this system does not have")
    found = windows()
    named = [path for path in found if name in (None, path.name)]
    if len(named) == 1:
        return named[0]
    if named:
        _list(named)
        raise Unusable("which one? llambdao top PID")
    what = "there is no program to look at" if name is None else f"there is no {name} to look at"
    sys.stderr.write(f"llambdao: {what}; {HOW}\n")
    if found:
        _list(found)
    return None


def _list(paths: Iterable[Path]) -> None:
    print(f"{'PID':>9}  PROGRAM")
    for path in paths:
        try:
            with Feed(path, 3600) as feed:
                line = feed.line(1)
        except (EOFError, Silent):  # it has just ended
            continue
        name = "does not answer" if line is None else seen(decode(line, type=Status).name)
        print(f"{path.name:>9}  {name}")


class Feed:
    """What a program says of itself every so many seconds, line by line."""

    def __init__(self, path: Path, every: float) -> None:
        self.name, self.every = path.name, every
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(str(path))
            self._socket.sendall(encode(Request(every)) + b"\n")
        except OSError as error:
            self._socket.close()
            raise Silent(f"{self.name} cannot be looked at any longer: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def line(self, seconds: float) -> bytes | None:
        """The next line, None if it does not come in time; EOFError when the program has ended."""
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if not select.select([self], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            try:
                piece = self._socket.recv(1 << 16)
            except ConnectionError:
                piece = b""
            if not piece:
                raise EOFError
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def sure(self) -> bytes:
        """The next line, which must come."""
        if (line := self.line(self.every + PATIENCE)) is None:
            raise Silent(f"{self.name} does not answer: something blocks its event loop")
        return line


class Silent(LlambdaoError):
    """A program does not say how it is doing."""


# -- what becomes of it ------------------------------------------------------------------------


def _as_json(feed: Feed) -> int:
    try:
        while True:
            print(feed.sure().decode(), flush=True)
    except EOFError:
        return 0


def _as_json_once(feed: Feed) -> int:
    """Of two looks the second, for then something has happened."""
    line = feed.sure()
    with suppress(EOFError):
        line = feed.sure()
    print(line.decode())
    return 0


def _once(feed: Feed) -> int:
    """One picture: of two looks, for something to have happened in between."""
    from rich.console import Console

    from llambdao.cli._picture import Picture

    picture = Picture(feed.every)
    try:
        picture.take(feed.sure())
        picture.take(feed.sure())
    except EOFError:
        picture.is_over = True
    console = Console(highlight=False)
    console.print(picture.drawn(console.width))
    return 0


def _live(feed: Feed) -> int:
    """A picture that changes, on a screen of its own, until somebody leaves or the program ends."""
    from rich.console import Console
    from rich.live import Live

    from llambdao.cli._picture import SORTS, Picture

    console, picture = Console(highlight=False), Picture(feed.every)
    try:
        picture.take(feed.sure())
        with _terminal() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            shown: Any = None
            while True:
                state = console.size, picture.count, picture.sort, picture.silence()
                if state != shown:
                    shown = state
                    live.update(picture.drawn(*console.size), refresh=True)
                select.select([feed.fileno(), keys], [], [], LOOK)
                for key in _pressed(keys):
                    if key == "q":
                        return 0
                    picture.sort = key if key in SORTS else picture.sort
                while (line := feed.line(0)) is not None:
                    picture.take(line)
    except EOFError:
        picture.is_over = True
    console.print(picture.drawn(console.width))
    console.print(f"{feed.name} has ended.")
    return 0


@contextmanager
def _terminal() -> Generator[int, None, None]:
    """Inside it keys come one by one; whatever ends it, the terminal is as it was before."""
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    wanted: dict[int, Any] = {
        signal.SIGTERM: _leave,
        signal.SIGHUP: _leave,
        signal.SIGTSTP: signal.SIG_IGN,
    }
    handlers = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    tty.setcbreak(keys, termios.TCSANOW)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)


def _pressed(keys: int) -> str:
    """The keys that were pressed; the end of the terminal is as good as q."""
    if not select.select([keys], [], [], 0)[0]:
        return ""
    pressed = os.read(keys, 64).decode(errors="replace") or "q"
    return "" if pressed.startswith("\x1b") else pressed
