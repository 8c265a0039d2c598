"""`Screen`: where a person reads and writes, line by line."""

from __future__ import annotations

import os
import re
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from llambdao.kernel.events import Event
from llambdao.kernel.message import Delta, Message
from llambdao.kernel.node import Node

__all__ = ["Screen", "screen", "seen"]

WINDOW = 4096
"""How many of the last messages are known to be shown already, and can be saved."""

HELP = """\
Enter sends; a \\ at the end of a line, or Alt-Enter, begins another line
an empty line passes         @Rumi ...    is for Rumi, who alone is asked
/skip   say nothing          /who         who is here
/quit   leave                /save FILE   keep what was said (.jsonl: as data)
Ctrl-C  cancels what you type or they say, twice leaves; Ctrl-D leaves"""

UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Screen:
    r"""Lines in, lines out: for pipes and files, and for terminals where the extra is missing.

    Each message is shown once, however often it is handed over. With `json` it is one line of JSON.

    >>> plain = Screen(out=sys.stdout)
    >>> plain.show(Message("Hello,\nall", sender=Node(name="Ann")))
    Ann: Hello,
      all
    1
    """

    def __init__(
        self,
        lines: TextIO | None = None,
        out: TextIO | None = None,
        *,
        json: bool = False,
        prompts: bool = False,
    ) -> None:
        self.lines, self.out, self.json = lines, out, json
        self.prompts = prompts
        """Does a person type at it? Then her own words stand on it already."""
        self.typed: str | None = None
        self.table: Node | None = None
        self.people: list[Node] = []
        self.log: deque[Message] = deque(maxlen=WINDOW)
        self.count = 0
        self.numbers: OrderedDict[str, int] = OrderedDict()
        self.interrupted = 0

    # -- what is shown -------------------------------------------------------------------------

    def sit(self, table: Node, people: Iterable[Node]) -> None:
        """From now on it shows what is said here; these are the people who read it."""
        self.table = table
        self.people += [person for person in people if person not in self.people]

    def show(self, said: Message) -> int:
        """Show a message, unless it was shown; its number among all that were."""
        if said.id is not None and (number := self.numbers.get(said.id)) is not None:
            return number
        self.count += 1
        if said.id is not None:
            self.numbers[said.id] = self.count
            if len(self.numbers) > WINDOW:
                self.numbers.popitem(last=False)
        self.log.append(said)
        if self.prompts and said.content == self.typed and said.sender in self.people:
            self.typed = None
        else:
            self.put(said)
        return self.count

    def put(self, said: Message) -> None:
        """Write a message down."""
        if self.json:
            self.write(said.json())
        else:
            self.write(f"{self.name(said)}: {seen(said.content)}".replace("\n", "\n  "))

    def name(self, said: Message | Delta) -> str:
        """Who says it, as the person at the screen knows them."""
        if said.sender is None:
            return "someone"
        if said.sender in self.people and not said.sender.name:
            return "You"
        return seen(str(said.sender)).replace("\n", " ")[:40]

    def note(self, text: str) -> None:
        """Write what the program itself has to say; beside the data, where that is JSON."""
        if self.json:
            sys.stderr.write(f"{text}\n")
        else:
            self.write(text)

    def write(self, text: str) -> None:
        """Write lines."""
        out = self.out or sys.stdout
        out.write(f"{text}\n")
        out.flush()

    def observe(self, event: Event) -> None:
        """See what happens in a conversation, such as words that are still being said."""

    def quiet(self) -> AbstractContextManager[None]:
        """Inside it, what is typed before it is asked for waits unseen."""
        return nullcontext()

    # -- what is read --------------------------------------------------------------------------

    def read(self, person: Node, number: int | None = None) -> Any:
        """What the person says: her words, "" if she passes, None when she leaves.

        With the number of a message she is asked about that one, if she was not yet.
        """
        if not self.begin(person, number):
            return ""
        dialogue = self.dialogue()
        step: Callable[[Any], Any] = dialogue.send
        value: Any = None
        while True:
            try:
                prompt = step(value)
            except StopIteration as stop:
                return stop.value
            try:
                step, value = dialogue.send, self.line(prompt)
            except KeyboardInterrupt as interrupt:
                if not self.prompts:
                    raise
                self.write("")
                step, value = dialogue.throw, interrupt

    def begin(self, person: Any, number: int | None) -> bool:
        """Note that this person is being asked; False if there is nothing to ask her."""
        self.people += [person] if person not in self.people else []
        if person.has_left or (number is not None and number <= person.has_seen):
            return False
        person.has_seen = self.count
        return True

    def line(self, prompt: str) -> str | None:
        """One line; None at the end of the input."""
        if self.prompts and self.lines is None:
            try:
                return input(f"{prompt}> ")
            except EOFError:
                self.write("")
                return None
        line = (self.lines or sys.stdin).readline()
        return line.rstrip("\r\n") if line else None

    def dialogue(self) -> Generator[str, str | None, str | None]:
        """How a person is asked: yields prompts, is sent lines; returns what she says at last."""
        begun: list[str] = []
        while True:
            try:
                line = yield "..." if begun else "You"
            except KeyboardInterrupt:
                begun.clear()
                if self.interrupt():
                    return None
                continue
            if line is None:
                return "\n".join(begun).strip() or None
            self.interrupted = 0
            if line.endswith("\\"):
                begun.append(line[:-1])
                continue
            words = "\n".join([*begun, line]).strip()
            begun.clear()
            if not words.startswith("/"):
                self.typed = words
                return words
            name, _, rest = words[1:].partition(" ")
            if name == "skip":
                return ""
            if name == "quit":
                return None
            self.command(name, rest.strip())

    def interrupt(self) -> bool:
        """Ctrl-C: what was under way is cancelled; True if it is the second in a row."""
        self.interrupted += 1
        if self.interrupted == 1:
            self.note("(Cancelled. Ctrl-C again leaves.)")
        return self.interrupted > 1

    def command(self, name: str, rest: str) -> None:
        """Do what a line such as `/who` says."""
        if name == "help":
            self.note(HELP)
        elif name == "who":
            names = [
                str(one) for one in getattr(self.table, "members", ()) if one not in self.people
            ]
            self.note("Here are: " + ", ".join([*names, "you"]))
        elif name == "save":
            self.note(self.save(rest))
        else:
            self.note(f"There is no /{name}; /help shows what there is.")

    def save(self, file: str) -> str:
        """Keep what was said in a file, as text, or as lines of JSON; says what became of it."""
        if not file:
            return "Where to? /save FILE"
        try:
            with Path(file).open("x", encoding="utf-8") as out:
                for said in self.log:
                    text = said.json() if file.endswith(".jsonl") else f"{said}\n"
                    out.write(f"{text}\n")
        except FileExistsError:
            return f"{file} is there already; /save another one."
        except OSError as error:
            return f"Could not save to {file}: {error.strerror}."
        number = len(self.log)
        return f"Saved {number} {'message' if number == 1 else 'messages'} to {file}."


def seen(text: str) -> str:
    r"""The text without what would move the cursor or turn the line around.

    >>> seen("a\x1b[2Jb\r\nc")
    'a\ufffd[2Jb\nc'
    """
    return UNSEEN.sub("\ufffd", text.replace("\r\n", "\n").expandtabs(4))


_SCREENS: list[Screen] = []


def screen(*, json: bool = False) -> Screen:
    """The console of this process: a terminal where input and output both are one."""
    if not _SCREENS:
        _SCREENS.append(_screen(json))
    return _SCREENS[0]


def _screen(json: bool) -> Screen:
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Screen(json=json)
    if os.environ.get("TERM", "dumb") != "dumb":
        try:
            from llambdao.console._terminal import Terminal
        except ImportError:
            pass
        else:
            return Terminal()
    return Screen(prompts=True)
