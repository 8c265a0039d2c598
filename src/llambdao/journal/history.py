"""History as it lies in a table: small, readable, and each line bound to the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from llambdao.journal.ledger import Ending, Found, Opening, Stand

__all__ = [
    "Facts",
    "Words",
    "facts_of",
    "found_in",
    "id_of",
    "link",
    "number_of",
    "plain",
    "said_in",
    "said_out",
    "words_in",
]

HEAD = ("from", "to", "intent", "kind", "out")
"""What many messages have in common."""

COLUMNS = frozenset({*HEAD, "n", "content", "re"})

BEFORE = -1
"""As `re` in a head: it answers the message whose number is one less than its own."""

FIRST = 1
"""The number of the first message of a conversation."""

MOST = 4096
"""So many heads are written once and named by a number; later ones stand where they are."""

Facts = tuple[int | None, int | None, int | None, int | None, str | None]
"""The columns of an end: head, salt, since when (before the line), until when (after it), rest."""

encode = msgspec.json.Encoder().encode
sort = msgspec.json.Encoder(order="sorted").encode
decode = msgspec.json.Decoder().decode


class Words:
    """Texts that come again and again, each written once.

    `load` reads those that are in the table; `fresh` are those that are not there yet.
    """

    def __init__(self, load: Callable[[], Iterable[tuple[int, str]]]) -> None:
        self.load = load
        self.forget()

    def forget(self) -> None:
        """The table may be another than we think."""
        self.numbers: dict[str, int] = {}
        self.texts: dict[int, Any] = {}
        self.fresh: list[tuple[int, str]] = []
        self.last: int | None = None
        self.ahead: int | None = None  # by how much the salt of the last conversation was

    def number(self, head: dict[str, Any]) -> int:
        """The number of a head; 0 if there are too many to give it one."""
        text = encode(head).decode()
        number = self.numbers.get(text)
        if number is not None:
            return number
        if self.last is None:
            self.read()
            return self.number(head)
        if len(self.numbers) >= MOST:
            return 0
        self.last += 1
        self._know(self.last, text)
        self.fresh.append((self.last, text))
        return self.last

    def head(self, number: int) -> dict[str, Any]:
        """The head of this number. KeyError if there is none."""
        if number not in self.texts:
            self.read()
        head: dict[str, Any] = self.texts[number]
        return head

    def read(self) -> None:
        """Read all there are."""
        self.last = 0
        for number, text in [*self.load(), *self.fresh]:
            self._know(number, text)
            self.last = max(self.last, number)

    def _know(self, number: int, text: str) -> None:
        self.numbers[text] = number
        self.texts[number] = decode(text)

    def keys(self, salt: int) -> set[int]:
        """The keys that a conversation of this salt may have, if its salt was not written."""
        return {salt - head["ahead"] for head in self.texts.values() if "ahead" in head}


# -- what was said -------------------------------------------------------------------------------


def plain(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was said, as it will be read: no two ways of writing it have two chains."""
    one: list[dict[str, Any]] = decode(encode(said))
    return one


def said_out(words: Words, said: list[dict[str, Any]]) -> str:
    """What was said, as JSON: `[head, content, n, rest]` for each, or the whole of it.

    `n` is left out where the messages are numbered one after the other.
    """
    first = said[0].get("n", FIRST) if said else FIRST
    if type(first) is not int:
        return encode(said).decode()
    pieces = [_piece(words, one, first + place) for place, one in enumerate(said)]
    if first != FIRST and type(pieces[0]) is list and len(pieces[0]) == 2:
        pieces[0].append(first)
    return encode(pieces).decode()


def _piece(words: Words, one: dict[str, Any], expected: int) -> Any:
    n = one.get("n")
    if type(n) is not int or "content" not in one:
        return one
    head = {name: one[name] for name in HEAD if name in one}
    if not head:
        return one
    rest = {name: value for name, value in one.items() if name not in COLUMNS}
    if "re" in one:
        (head if one["re"] == n - 1 else rest)["re"] = BEFORE if one["re"] == n - 1 else one["re"]
    number = words.number(head)
    if not number:
        return one
    piece = [number, one["content"]]
    if rest:
        piece += [n, rest]
    elif n != expected:
        piece.append(n)
    return piece


def said_in(words: Words, text: str | bytes) -> list[dict[str, Any]]:
    """What was said, out of its JSON."""
    pieces = decode(text)
    first = FIRST
    if pieces and isinstance(pieces[0], list) and len(pieces[0]) > 2:
        first = pieces[0][2]
    return [
        piece if isinstance(piece, dict) else _said(words, piece, first + place)
        for place, piece in enumerate(pieces)
    ]


def _said(words: Words, piece: list[Any], expected: int) -> dict[str, Any]:
    number, content, *more = piece
    n = more[0] if more else expected
    one = {"n": n, **words.head(number), "content": content}
    if len(more) > 1:
        one.update(more[1])
    if one.get("re") == BEFORE:
        one["re"] = n - 1
    return one


def words_in(text: str) -> Iterable[int]:
    """The numbers of the heads that this names."""
    return (piece[0] for piece in decode(text) if isinstance(piece, list))


# -- how a conversation ended --------------------------------------------------------------------


def id_of(at: int, salt: int, number: int) -> str:
    """The id of a message that we named ourselves."""
    return f"{at:016x}{salt:08x}{number:08x}"


def number_of(opening: Opening) -> int | None:
    """Which message of its conversation opened it, if its id can be told from that."""
    id_ = opening.id
    if opening.is_given or id_[:24] != f"{opening.at:016x}{opening.salt:08x}":
        return None
    try:
        number = int(id_[24:], 16)
    except ValueError:
        return None
    return number if id_[24:] == f"{number:08x}" else None


def facts_of(words: Words, opening: Opening, ending: Ending, at: int) -> Facts:
    """An ended conversation in the columns of a line of this time."""
    o, number = opening, number_of(opening)
    common = {"node": o.node, "way": o.way, "reason": ending.reason, "number": number}
    rest: dict[str, Any] = {}
    if number is None:
        common["number"], rest["id"] = int(o.is_given), o.id
    salt: int | None = o.salt
    if o.salt - o.key == words.ahead:  # a process gives one salt after the other
        common["ahead"], salt = words.ahead, None
    words.ahead = o.salt - o.key
    head = words.number(common)
    if not head:
        rest["head"] = common
    if o.options:
        rest["options"] = o.options
    if ending.detail:
        rest["detail"] = ending.detail
    if ending.error is not None:
        rest["error"] = ending.error
    text = encode(rest).decode() if rest else None
    return head, salt, at - o.at, ending.at - at, text


def found_in(words: Words, key: int, at: int, facts: Facts) -> Found:
    """An ended conversation, out of the columns of its last line."""
    head, salt, since, until, text = facts
    if since is None or until is None:
        raise ValueError("half of its end is missing")
    rest = decode(text) if text else {}
    common = words.head(head) if head else rest["head"]
    salt = key + common["ahead"] if salt is None else salt
    opened, number = at - since, common["number"]
    opening = Opening(
        key=key,
        id=rest["id"] if "id" in rest else id_of(opened, salt, number),
        node=common["node"],
        message=b"",
        way=common["way"],
        salt=salt,
        at=opened,
        digest=b"",
        options=rest.get("options", {}),
        is_given="id" in rest and bool(number),
    )
    ending = Ending(key, at + until, common["reason"], rest.get("detail", ""), rest.get("error"))
    return Found(opening, Stand(key, "over"), ending)


# -- the chain -----------------------------------------------------------------------------------


def link(words: Words, chain: bytes, line: tuple[int, int, Any], facts: Facts) -> bytes:
    """The hash of a line (key, time, what was said) and so of all that came before it."""
    end: Any = None
    head, salt, since, until, rest = facts
    if head is not None:
        end = [words.head(head) if head else None, salt, since, until, rest and decode(rest)]
    return blake2b(chain + sort([*line, end]), digest_size=16).digest()
