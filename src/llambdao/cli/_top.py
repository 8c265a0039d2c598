"""`llambdao top`: a running program at a glance, again and again."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.json import decode, encode

from llambdao.cli._errors import Unusable
from llambdao.console import seen
from llambdao.kernel.errors import LlambdaoError
from llambdao.runtime.status import ConversationStatus, LetterStatus, NodeStatus, Status
from llambdao.runtime.window import Request, windows

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

__all__ = ["Feed", "Picture", "top"]

PATIENCE = 10.0
"""How many seconds a program has to answer."""

LOOK = 0.25
"""How often, in seconds, it is looked whether the terminal has another size."""

SORTS: dict[str, Callable[[NodeStatus], Any]] = {
    "n": lambda node: (node.name.casefold(), node.name),
    "w": lambda node: (-node.waiting, -(node.handlers or 0), -(node.handled or 0)),
    "h": lambda node: (-(node.handled or 0), -node.waiting),
    "f": lambda node: (-(node.failed or 0), -(node.handled or 0)),
}
"""What the nodes are sorted by, for each key that can be pressed."""

WORDS = {"n": "name", "w": "waiting", "h": "handled", "f": "failed"}

HOW = "a program lets itself be seen with LLAMBDAO_TOP=1 in its environment, or Runtime(top=True)"


def top(given: Any) -> int:
    """Show how a running program is doing, until it ends or somebody has seen enough."""
    path = _chosen(given.pid)
    if path is None:
        return 1
    if given.json:
        return _as_json(Feed(path, given.every), given.once)
    try:
        import rich.live  # noqa: F401
    except ImportError:
        raise Unusable(
            "the tables need a library that is not installed: pip install 'llambdao[console]';"
            " --json does without"
        ) from None
    feed = Feed(path, given.every)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if given.once or not is_terminal or os.environ.get("TERM", "dumb") == "dumb":
        return _once(feed)
    return _live(feed)


# -- which program -----------------------------------------------------------------------------


def _chosen(pid: str | None) -> Path | None:
    """The window of this program, or of the only one; None if there is none, which was said."""
    if not hasattr(socket, "AF_UNIX"):
        raise Unusable("top needs Unix sockets, which this system does not have")
    found = windows()
    named = [path for path in found if pid in (None, path.name)]
    if len(named) == 1:
        return named[0]
    if not named:
        which = "no program" if pid is None else f"no program with the number {pid}"
        sys.stderr.write(f"llambdao: there is {which} to look at; {HOW}\n")
        if found:
            _list(found)
        return None
    _list(named)
    raise Unusable("which of these? llambdao top PID")


def _list(paths: Iterable[Path]) -> None:
    print(f"{'PID':>9}  {'UP':>7}  {'OPEN':>7}  PROGRAM")
    for path in paths:
        try:
            one = decode(Feed(path, 3600).line(1) or b"null", type=Status | None)
        except (EOFError, OSError):
            continue
        up, many, name = ("?", "?", "does not answer") if one is None else _in_short(one)
        print(f"{path.name:>9}  {up:>7}  {many:>7}  {name}")


def _in_short(one: Status) -> tuple[str, str, str]:
    return duration(one.uptime), number(one.open), seen(one.name)


class Feed:
    """What a program says of itself, line by line, every so many seconds."""

    def __init__(self, path: Path, every: float) -> None:
        self.path = path
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._socket.sendall(encode(Request(every)) + b"\n")

    def fileno(self) -> int:
        """For `select`: is there something to read?"""
        return self._socket.fileno()

    def line(self, seconds: float) -> bytes | None:
        """The next line, None if it does not come in time; EOFError at the end of the program."""
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

    def sure(self, seconds: float = PATIENCE) -> bytes:
        """The next line, which must come."""
        line = self.line(seconds)
        if line is None:
            raise Silent(
                f"the program {self.path.name} does not answer; something blocks its event loop"
            )
        return line


class Silent(LlambdaoError):
    """A program does not say how it is."""


# -- what becomes of it ------------------------------------------------------------------------


def _as_json(feed: Feed, once: bool) -> int:
    try:
        line = feed.sure()
        if once:
            line = feed.sure(3600)
            print(line.decode())
            return 0
        while True:
            print(line.decode(), flush=True)
            line = feed.sure(3600 + PATIENCE)
    except EOFError:
        return 0


def _once(feed: Feed) -> int:
    """One picture; it takes two looks, for something to have happened in between."""
    from rich.console import Console

    picture = Picture()
    try:
        picture.take(feed.sure())
        picture.take(feed.sure(3600 + PATIENCE))
    except EOFError:
        picture.is_over = True
    if picture.status is not None:
        console = Console(highlight=False)
        console.print(picture.drawn(console.width))
    return 0


def _live(feed: Feed) -> int:
    """A picture that changes, on a screen of its own, until the program ends or somebody quits."""
    from rich.console import Console
    from rich.live import Live

    console, picture = Console(highlight=False), Picture()
    picture.take(feed.sure())
    with _terminal() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        shown: Any = None
        while not picture.is_over:
            state = (console.size, picture.version, picture.sort, picture.silence())
            if state != shown:
                shown = state
                live.update(picture.drawn(*console.size), refresh=True)
            select.select([feed, keys], [], [], LOOK)
            for key in _pressed(keys):
                if key == "q":
                    return 0
                picture.sort = key if key in SORTS else picture.sort
            try:
                while (line := feed.line(0)) is not None:
                    picture.take(line)
            except EOFError:
                picture.is_over = True
    console.print(picture.drawn(console.width))
    console.print(f"The program {feed.path.name} has ended.")
    return 0


@contextmanager
def _terminal() -> Generator[int, None, None]:
    """Inside it keys are read one by one; whatever ends it, the terminal is as it was before."""
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    signals = {signal.SIGTERM: _leave, signal.SIGHUP: _leave, signal.SIGTSTP: signal.SIG_IGN}
    handlers = {number: signal.signal(number, handler) for number, handler in signals.items()}
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _pressed(keys: int) -> str:
    """The keys that were pressed; the end of the terminal is as good as q."""
    if not select.select([keys], [], [], 0)[0]:
        return ""
    pressed = os.read(keys, 64).decode(errors="replace") or "q"
    return "" if pressed.startswith("\x1b") else pressed


# -- the picture -------------------------------------------------------------------------------


class Picture:
    """How a program is doing, as it is drawn: from its last status, and the one before."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self.before: Status | None = None
        self.version = 0
        self.sort = "w"
        self.is_over = False
        self._taken = time.monotonic()

    def take(self, line: bytes) -> None:
        """Here is news."""
        self.before, self.status = self.status, decode(line, type=Status)
        self.version += 1
        self._taken = time.monotonic()

    def silence(self) -> int:
        """For how many seconds there has been no news though there should; 0 is fine."""
        if self.status is None or self.before is None or self.is_over:
            return 0
        due = (self.status.counted or 0) - (self.before.counted or 0)
        late = time.monotonic() - self._taken - due
        return int(late) if late >= 2 else 0

    def drawn(self, width: int, height: int | None = None) -> Group:
        """The picture, in so many columns and lines; None: as many lines as there is to tell."""
        from rich.console import Group

        status = self.status
        assert status is not None, "something has been taken"
        nodes = sorted(status.nodes, key=SORTS[self.sort])
        head = [self._program(status), self._pace(status)]
        head += [_line([(seen(line), "")]) for line in status.budget[: 20 if height is None else height // 8]]
        wants = [len(nodes), len(status.conversations), len(status.letters)]
        if height is not None:
            room = height - len(head) - 1 - sum(1 for want in wants if want) - 1
            wants = shares(max(0, room), wants)
        parts: list[Any] = [*head]
        tables = (_nodes(nodes[: wants[0]], status, self.sort),
            _conversations(status.conversations[: wants[1]], status),
            _letters(status.letters[: wants[2]], status))
        parts += [table for table, want in zip(tables, wants) if want]
        return Group(*parts)
