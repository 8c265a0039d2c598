"""`llambdao inbox`, `log`, `trace`, `stuck`, `dead`, `compact`, `audit`: looking into a journal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llambdao.cli._errors import Unusable
from llambdao.console._screen import seen
from llambdao.journal.errors import NoSuchMessage
from llambdao.journal.handles import Said
from llambdao.journal.room import Room
from llambdao.journal.sqlite import APPLICATION
from llambdao.kernel.errors import LlambdaoError

__all__ = [
    "audit",
    "compact",
    "dead",
    "inbox",
    "journal_of",
    "line",
    "log",
    "picked",
    "stuck",
    "table",
    "trace",
]

PATIENCE = 2.0
"""How many seconds a program that runs is given to take in what was laid at its door."""


def inbox(given: Any) -> int:
    """Show the open questions, or answer one."""
    with _room(given) as room:
        if given.what:
            if given.what[0] != "answer":
                raise Unusable(f"inbox can `answer`, not {given.what[0]!r}")
            return _answer(room, given)
        questions = [one for one in room.pending() if given.by in (None, one.who.id, str(one.who))]
        if given.json:
            _lines(_question(one) for one in questions)
        elif not questions:
            print("nobody is asked anything")
        else:
            rows = [
                (one.id, one.who.id, str(one.asker or ""), one.content, one.since, one.until)
                for one in questions
            ]
            table(("ID", "WHO", "ASKED BY", "QUESTION", "SINCE", "UNTIL"), rows)
    return 0


def log(given: Any) -> int:
    """Print what was said."""
    with _room(given) as room:
        number = None if given.id is None else picked(given.id, _ids(room))
        for said in room.log(number, last=given.last, follow=given.follow):
            print(json.dumps(said.dict(), ensure_ascii=False) if given.json else line(said))
            if given.follow:
                sys.stdout.flush()
    return 0


def trace(given: Any) -> int:
    """Print a message with what it came from and what came of it."""
    with _room(given) as room:
        try:
            found = room.trace(given.id)
        except NoSuchMessage:
            found = room.trace(picked(given.id, _ids(room)))
        if given.json:
            _lines([found.dict()])
        elif _is_pretty():
            _grow(found)
        else:
            for depth, cause in enumerate(found.causes):
                print(f"{'   ' * max(0, depth - 1)}{'└─ ' if depth else ''}{_short(cause)}")
            print(seen(str(found)))
    return 0


def stuck(given: Any) -> int:
    """Show the conversations that are stuck, and why; or help one on."""
    with _room(given) as room:
        some = room.stuck()
        if not given.what:
            if given.json:
                _lines(one.dict() for one in some)
            elif not some:
                print("nothing is stuck")
            for one in [] if given.json else some:
                print(f"{one.id} ({one.status}) at {one.node}, since {_time(one.since)}")
                print("".join(f"  {seen(row)}\n" for row in one.why.splitlines()))
            return 0
        what, ids = _what(given, ("retry", "restart", "cancel"), [one.id for one in some])
        act = getattr(room, what)
        return _each(ids, lambda one, wait: act(one, wait=wait), room, given, DONE[what])


def dead(given: Any) -> int:
    """Show the dead letters, or send one again."""
    with _room(given) as room:
        letters = room.dead()
        if given.what:
            _, ids = _what(given, ("again",), [str(one.seq) for one in letters])
            return _each(
                ids, lambda one, wait: room.again(int(one), wait=wait), room, given, "sent"
            )
        if given.json:
            _lines(one.dict() for one in letters)
        elif not letters:
            print("there are no dead letters")
        else:
            rows = [
                (one.seq, one.at, one.sender, one.node, one.content, one.error or one.reason)
                for one in letters
            ]
            table(("NUMBER", "SINCE", "FROM", "TO", "WHAT", "WHY"), rows)
    return 0


def compact(given: Any) -> int:
    """Forget what nobody needs."""
    days = {"before": given.before, "seen": given.seen}
    spans = {name: timedelta(days=n) for name, n in days.items() if n is not None}
    with _room(given) as room:
        wait = PATIENCE if given.wait is None else given.wait
        forgotten = room.compact(**spans, wait=wait)
    if given.json:
        _lines([{} if forgotten is None else forgotten])
    elif forgotten is None:
        print("the program that runs this journal has done it")
    else:
        some = [f"{count} {what}" for what, count in forgotten.items() if count]
        print(f"forgotten: {', '.join(some) or 'nothing'}")
    return 0


def audit(given: Any) -> int:
    """Say whether history is as it was written."""
    with _room(given) as room:
        broken = room.audit()
    if given.json:
        _lines([{"whole": broken is None, "broken": broken}])
    elif broken is None:
        print("history is as it was written")
    else:
        print(f"history is not as it was written, from line {broken} on")
    return int(broken is not None)


# -- which journal, which one of it --------------------------------------------------------------


def _room(given: Any) -> Room:
    return Room(journal_of(given))


def journal_of(given: Any, names: dict[str, Any] | None = None) -> str:
    """The URL of the journal that is meant: given, of the file, of the environment, or found."""
    chosen = given.journal or (names or {}).get("journal") or os.environ.get("LLAMBDAO_JOURNAL")
    if chosen:
        return str(chosen) if "://" in str(chosen) else f"sqlite:///{chosen}"
    found = [path for path in sorted(Path().iterdir()) if _is_journal(path)]
    if len(found) == 1:
        return f"sqlite:///{found[0]}"
    if found:
        names_ = ", ".join(str(path) for path in found)
        raise Unusable(f"which journal? --journal, one of {names_}")
    raise Unusable("there is no journal in this folder; --journal sqlite:///FILE says where it is")


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head[:6] == b"SQLite" and int.from_bytes(head[68:72]) == APPLICATION


def picked(part: str, ids: Sequence[str]) -> str:
    """The one of these ids that begins or ends so; else what was given."""
    if part in ids:
        return part
    some = sorted({one for one in ids if one.startswith(part) or one.endswith(part)})
    if len(some) > 1:
        raise Unusable(f"{part!r} may be any of {len(some)}: {', '.join(some[:3])}, ...")
    return some[0] if some else part


def _ids(room: Room) -> list[str]:
    return [one.id for one in room.conversations()]


def _what(given: Any, words: tuple[str, ...], ids: list[str]) -> tuple[str, list[str]]:
    """What is to be done, and with which: `retry ID`."""
    what, *rest = given.what
    if what not in words or len(rest) != 1:
        choice = " or ".join(words)
        raise Unusable(f"expected {given.command} {choice}, and one ID or `all`")
    return what, ids if rest[0] == "all" else [picked(rest[0], ids)]


DONE = {"retry": "goes on", "restart": "begins again", "cancel": "is ended"}


def _each(ids: list[str], act: Any, room: Room, given: Any, done: str) -> int:
    """Do it with each, and say what came of it."""
    failed = 0
    for number in ids:
        try:
            how = _wait(lambda wait, number=number: act(number, wait), room, given, done)
            row = {"id": number, "done": how}
        except LlambdaoError as error:  # the others are done all the same
            failed, how = 1, str(error)
            row = {"id": number, "error": how}
        print(json.dumps(row) if given.json else f"{number}: {seen(how)}")
    return failed


def _wait(act: Any, room: Room, given: Any, done: str) -> str:
    """Lay something at the door; wait for the program to take it in, if it seems to run."""
    is_alive = room.ledger.meta().get("alive") == "1"
    wait = given.wait if given.wait is not None else PATIENCE if is_alive else 0.0
    try:
        act(wait)
    except TimeoutError:
        return "it lies at the door, until the program runs"
    return done


# -- answering -----------------------------------------------------------------------------------


def _answer(room: Room, given: Any) -> int:
    _, *rest = given.what
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if (len(rest) < 2 or given.by is None) and not is_terminal:
        raise Unusable("who answers what? llambdao inbox answer ID WORDS --by NAME")
    open_ = room.pending()
    number = picked(rest[0], [one.id for one in open_]) if rest else None
    by = given.by
    if by is None:
        by = input("Who are you? ").strip()
    if len(rest) > 1:
        return _one_answer(room, given, number, " ".join(rest[1:]), by)
    mine = [one for one in open_ if number == one.id or (not rest and _is_for(one, by))]
    if not mine:
        print(f"{seen(by)} is asked nothing" if not rest else f"{seen(rest[0])} is not open")
        return 0
    code = 0
    for one in mine:
        print(f"{seen(str(one.asker or 'someone'))} asks {seen(one.who.id)}: {seen(one.content)}")
        try:
            words = input("  your answer (nothing: later)> ")
        except EOFError:
            print()
            break
        if words.strip():
            code |= _one_answer(room, given, one.id, words, by)
    return code


def _is_for(question: Any, by: str) -> bool:
    return by in (question.who.id, str(question.who))


def _one_answer(room: Room, given: Any, number: Any, words: str, by: str) -> int:
    how = _wait(lambda wait: room.answer(number, words, by=by, wait=wait), room, given, "answered")
    if given.json:
        _lines([{"id": number, "done": how}])
    else:
        print(f"{number}: {how}")
    return 0


# -- how it looks --------------------------------------------------------------------------------


def line(said: Said) -> str:
    """Something that was said, on one line."""
    return f"{_time(said.at, 'seconds')}  {_short(said)}"


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: drawn at a terminal, else in columns."""
    cells = [[_cell(one) for one in row] for row in rows]
    if _is_pretty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        ids = [row[0] for row in cells]
        for row in cells:
            drawn.add_row(*map(Text, [_unique(row[0], ids), *row[1:]]))
        Console(highlight=False).print(drawn)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in [[*heads], *cells]:
        print("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip())


def _unique(number: str, ids: list[str]) -> str:
    """The end of an id by which it can be told from the others."""
    if len(number) <= 12:
        return number
    for length in range(8, len(number)):
        if sum(one.endswith(number[-length:]) for one in ids) == 1:
            return number[-length:]
    return number


def _grow(found: Any) -> None:
    """A tree, drawn at a terminal."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def text(said: Said, style: str = "") -> Text:
        words = Text(_short(said), style=style)
        if said.is_out:
            words.append("  (said to the outside)", style="dim")
        return words

    branch = top = None
    for cause in found.causes:
        fresh = Tree(text(cause, "dim"), guide_style="dim")
        top = top or fresh
        branch = fresh if branch is None else branch.add(text(cause, "dim"))
    chain: list[Any] = []
    for depth, said in found:
        del chain[depth:]
        label = text(said, "bold" if depth == 0 and found.causes else "")
        parent = chain[-1] if chain else branch
        chain.append(Tree(label, guide_style="dim") if parent is None else parent.add(label))
    Console(highlight=False).print(top or chain[0])


def _is_pretty() -> bool:
    return sys.stdout.isatty() and find_spec("rich") is not None


def _short(said: Said) -> str:
    return " ".join(seen(str(said)).split())


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return _time(value)
    return "" if value is None else " ".join(seen(str(value)).split())


def _time(at: datetime, to: str = "minutes") -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", to)


def _question(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "who": one.who.id,
        "asker": getattr(one.asker, "id", None),
        "content": one.content,
        "since": one.since.isoformat(),
        "until": None if one.until is None else one.until.isoformat(),
    }


def _lines(data: Iterable[Any]) -> None:
    for one in data:
        print(json.dumps(one, ensure_ascii=False, default=str))
