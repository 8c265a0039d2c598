"""`Terminal`: a screen with names beside the words, Markdown, colours and an editable line."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.markdown import Markdown

from llambdao.console._screen import Screen, seen
from llambdao.kernel.events import Event
from llambdao.kernel.message import Delta, Message
from llambdao.kernel.node import Node

__all__ = ["Terminal"]

HISTORY = Path(".llambdao")
"""Where the lines typed are remembered, in the file `history`, if this folder is there."""

NARROWEST, WIDEST = 3, 16
"""How wide the names beside the words may be."""

INVISIBLE = re.compile(r"\x1b\[[\d;]*m|\s")

COLOURS = ("36", "35", "33", "32", "34", "31")
"""Of the names, in the order in which they first speak: cyan, magenta, yellow, green, blue, red."""


class Terminal(Screen):
    """A screen that a person sits at. What stands on it stays; nothing is drawn twice."""

    def __init__(self) -> None:
        super().__init__(prompts=True)
        self.width = NARROWEST
        self.colours: dict[str, str] = {}
        self.speech: Speech | None = None
        self.waiting: list[Message] = []  # said while somebody else is speaking
        self.session: PromptSession[str] | None = None
        self.lock = asyncio.Lock()
        self.colour_system: Any = Console().color_system

    # -- what is shown -------------------------------------------------------------------------

    def sit(self, table: Node, people: Iterable[Node]) -> None:
        super().sit(table, people)
        for one in getattr(table, "members", (table,)):
            self.widen(str(one) if one not in self.people else "You")

    def put(self, said: Message) -> None:
        if self.speech is None:
            Speech(self, said).finish(said.content)
        elif self.speech.is_of(said):
            self.fall_silent(said.content)
        else:
            self.waiting.append(said)

    def fall_silent(self, whole: str | None = None) -> None:
        """Whoever is speaking has ended; now those are shown who did meanwhile."""
        speech, self.speech = self.speech, None
        if speech is not None:
            speech.finish(whole)
        waiting, self.waiting = self.waiting, []
        for said in waiting:
            self.put(said)

    def observe(self, event: Event) -> None:
        """Let words be seen while they are said: of one speaker at a time."""
        if event.kind == "delta":
            delta: Delta = event.message
            if self.speech is None:
                self.speech = Speech(self, delta)
            if self.speech.is_of(delta):
                self.speech.go_on(delta.content)
        elif self.speech is not None and event.kind in ("failed", "ended", "over"):
            ended = event.message is None or event.message is self.speech.reply_to
            if ended and event.node in (None, self.speech.sender):
                self.fall_silent()

    def note(self, text: str) -> None:
        for line in text.split("\n"):
            self.write(f"\x1b[2m{line}\x1b[0m")

    def widen(self, name: str) -> None:
        """Make room for this name."""
        self.width = min(WIDEST, max(self.width, len(name)))

    def gutter(self, name: str, key: str) -> str:
        """What stands beside the first line of somebody's words."""
        colour = "1"
        if key:
            colour = "1;" + self.colours.setdefault(key, COLOURS[len(self.colours) % len(COLOURS)])
        if "NO_COLOR" in os.environ:
            colour = "1"
        text = name if len(name) <= self.width else f"{name[: self.width - 1]}…"
        return f"\x1b[{colour}m{text:>{self.width}}\x1b[0m \x1b[2m│\x1b[0m "

    @property
    def margin(self) -> str:
        """What stands beside the other lines."""
        return f"{'':{self.width}} \x1b[2m│\x1b[0m "

    def rendered(self, text: str) -> list[str]:
        """Markdown as lines that fit beside the names."""
        columns = shutil.get_terminal_size().columns
        out = io.StringIO()
        page = Console(
            file=out,
            width=max(20, columns - self.width - 4),
            force_terminal=True,
            color_system=self.colour_system,
            highlight=False,
        )
        page.print(Markdown(as_written(text), code_theme="ansi_dark", hyperlinks=False))
        lines = out.getvalue().split("\n")
        lines = [re.sub(r"( |\x1b\[0m)*$", "\x1b[0m" * ("\x1b" in line), line) for line in lines]
        while len(lines) > 1 and not INVISIBLE.sub("", lines[-1]):
            lines.pop()
        while len(lines) > 1 and not INVISIBLE.sub("", lines[0]):
            lines.pop(0)
        return lines

    @contextmanager
    def quiet(self) -> Iterator[None]:
        try:
            import termios
        except ImportError:  # another system, which has another kind of terminal
            yield
            return
        before = termios.tcgetattr(sys.stdin.fileno())
        now = [*before]
        now[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, now)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)

    # -- what is read --------------------------------------------------------------------------

    async def read(self, person: Node, number: int | None = None) -> str | None:
        async with self.lock:
            if not self.begin(person, number):
                return ""
            dialogue = self.dialogue()
            step: Callable[[Any], Any] = dialogue.send
            value: Any = None
            while True:
                try:
                    prompt = step(value)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                try:
                    step, value = dialogue.send, await self._line(prompt)
                except KeyboardInterrupt as interrupt:
                    step, value = dialogue.throw, interrupt

    async def _line(self, prompt: str) -> str | None:
        if self.session is None:
            output: Any = create_output(sys.stdout)
            output.enable_cpr = False  # it would wait for an answer that may never come
            self.session = PromptSession(
                history=_history(), key_bindings=_keys(), multiline=True, output=output
            )
        with patch_stdout(raw=True):
            try:
                return await self.session.prompt_async(
                    ANSI(self.gutter(prompt, "")),
                    prompt_continuation=ANSI(self.margin),
                    handle_sigint=False,
                )
            except EOFError:
                return None


class Speech:
    """What somebody is saying: shown block by block, plain prose also line by line."""

    def __init__(self, terminal: Terminal, said: Message | Delta) -> None:
        self.terminal = terminal
        self.sender, self.reply_to = said.sender, said.reply_to
        name = terminal.name(said)
        terminal.widen(name)
        self.head = terminal.gutter(name, "" if name == "You" else name)
        self.text = ""  # what has been said and is not shown for good
        self.heard = ""  # all that has been said
        self.lines = 0  # how many lines of that text are shown
        self.fresh = True
        self.gap = False

    def is_of(self, said: Any) -> bool:
        """Tell whether this belongs to the same utterance."""
        return self.sender == said.sender and (
            self.reply_to is said.reply_to or self.reply_to == said.reply_to
        )

    def go_on(self, piece: str) -> None:
        """Say some more."""
        self.text += piece
        self.heard += piece
        while (cut := end_of_block(self.text)) is not None:
            self._show(self.text[:cut], done=True)
            self.text = self.text[cut:].lstrip("\n")
        if is_prose(self.text):
            self._show(self.text, done=False)

    def finish(self, whole: str | None = None) -> None:
        """End it; if what was said is not what had been heard, say it all again."""
        if whole is not None and whole.strip() != self.heard.strip():
            if self.heard.startswith(whole[: len(self.heard)]) and whole.startswith(self.heard):
                self.text += whole[len(self.heard) :]
            else:
                self.text, self.lines, self.gap = whole, 0, False
        if self.text.strip() or self.fresh:
            self._show(self.text, done=True)
        self.text = ""

    def _show(self, text: str, *, done: bool) -> None:
        lines = self.terminal.rendered(seen(text.strip("\n")))
        if self.gap and (len(lines) > 1 or done):
            self.terminal.write(self.terminal.margin.rstrip())
            self.gap = False
        for line in lines[self.lines : None if done else -1]:
            beside = self.head if self.fresh else self.terminal.margin
            self.terminal.write(f"{beside}{line}".rstrip())
            self.fresh = False
        self.lines = 0 if done else max(self.lines, len(lines) - 1)
        self.gap = done or self.gap


def end_of_block(text: str) -> int | None:
    r"""Where the first block of Markdown ends for certain; None if it may go on.

    >>> end_of_block("One.\n\nTwo"), end_of_block("```\n\nTwo")
    (4, None)
    """
    fenced = False
    place = 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            if not fenced and line.endswith("\n"):
                return place + len(line)
        elif not fenced and not line.strip() and line.endswith("\n") and place:
            return place - 1
        place += len(line)
    return None


def is_prose(text: str) -> bool:
    """Tell whether these are plain words, whose lines stay as they are when more words come.

    >>> is_prose("Love is the bridge."), is_prose("- a list"), is_prose("a **bold")
    (True, False, False)
    """
    if re.match(r"\s*([-+*#>|=~`]|\d+[.)])", text) or "\n" in text.strip():
        return False
    return not any(mark in text for mark in "*_`[<")


def as_written(text: str) -> str:
    r"""Markdown that keeps what people write: line ends, `<` signs; headings are bold lines.

    >>> as_written("# Hi\na < b\nc")
    '**Hi**  \na \\< b  \nc'
    """
    fenced = False
    lines = []
    for line in text.split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        lines.append(line if fenced or line.startswith(("|", "```", "~~~")) else _as_written(line))
    return "\n".join(lines).rstrip()


def _as_written(line: str) -> str:
    line = re.sub(r"^#{1,6}\s+(.*?)\s*#*$", r"**\1**", line)
    parts = re.split(r"(`+[^`]*`+)", line)
    line = "".join(part if i % 2 else part.replace("<", "\\<") for i, part in enumerate(parts))
    return f"{line}  " if line.strip() else line


def _history() -> History:
    return FileHistory(str(HISTORY / "history")) if HISTORY.is_dir() else InMemoryHistory()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
