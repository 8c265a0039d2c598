"""`open_ledger`: a journal's URL, and the store behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from llambdao.journal.errors import JournalError
from llambdao.journal.ledger import Ledger

__all__ = ["open_ledger"]

FORMS = (
    "a journal's URL is sqlite:///room.db (a file in this folder), sqlite:////var/lib/room.db (one"
    " anywhere) or postgresql://user@host/database"
)

SQLITE = {"synchronous": "full or normal", "timeout": "seconds"}
POSTGRES = {**SQLITE, "schema": "a name", "patience": "seconds"}


def open_ledger(url: str, *, create: bool = True) -> Ledger:
    """Open the store that a URL names; with `create=False` it must be there.

    * `sqlite:///room.db` (relative), `sqlite:////var/lib/room.db` (absolute)
    * `postgresql://user:password@host/database`, with `?schema=room` for one of several

    Options stand behind a `?`, with `&` between them: `synchronous=normal` commits faster and may
    lose the last commits in a power cut, never in a crash; `timeout` is how many seconds to wait
    for other processes; `patience`, for PostgreSQL, how many for a former owner to be gone. All
    others are handed to PostgreSQL. Raises `JournalError`.

    >>> open_ledger("room.db")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    llambdao.journal.errors.JournalError: 'room.db' is no journal: ... sqlite:///room.db ...
    """
    scheme, separator, _ = str(url).partition("://")
    if separator and scheme == "sqlite":
        return _sqlite(url, create=create)
    if separator and scheme in ("postgresql", "postgres"):
        return _postgres(url, create=create)
    raise JournalError(f"{url!r} is no journal: {FORMS}")


def _sqlite(url: str, *, create: bool) -> Ledger:
    from llambdao.journal.sqlite import SqliteLedger

    place, _, query = url.removeprefix("sqlite://").partition("?")
    options, others = _options(query, SQLITE)
    if others:
        raise _unknown(url, [*others], SQLITE)
    path = unquote(place[1:])
    if not place:
        raise JournalError(f"{url!r} names no file: {FORMS}; for tests, take one in a temp folder")
    if place[0] != "/":
        raise JournalError(f"{url!r} names a host, but a file has none: {FORMS}")
    if not path or path == ":memory:" or path.endswith("/") or "\0" in path:
        raise JournalError(f"{url!r} names no file that could outlive the process: {FORMS}")
    return SqliteLedger(path, create=create, **options)


def _postgres(url: str, *, create: bool) -> Ledger:
    from llambdao.journal.postgres import PostgresLedger

    parts = urlsplit(url)
    options, others = _options(parts.query, POSTGRES)
    target = urlunsplit(parts._replace(query=urlencode(others)))
    return PostgresLedger(target, create=create, **options)


def _options(query: str, known: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Our options, checked, and the others."""
    ours: dict[str, Any] = {}
    others: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            others[name] = text
            continue
        value: Any = text
        try:
            if known[name] == "seconds":
                value = float(text)
                assert 0 <= value < 10**6
            elif name == "synchronous":
                assert text in ("full", "normal")
            else:
                assert 0 < len(text.encode()) < 64
                assert "\0" not in text
        except (ValueError, AssertionError):
            raise JournalError(
                f"{name}={text} in a journal's URL: it takes {known[name]}"
            ) from None
        ours[name] = value
    return ours, others


def _unknown(url: str, names: list[str], known: dict[str, str]) -> JournalError:
    takes = ", ".join(f"{name} ({what})" for name, what in known.items())
    return JournalError(f"{url!r}: there is no option {names[0]!r}; there are {takes}")
