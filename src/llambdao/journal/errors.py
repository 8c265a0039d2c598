"""The errors of a journal.

LlambdaoError
 +- DuplicateId           the same id came again, with other content
 +- DuplicateName         two nodes have one address
 +- MissingNode           known to the journal, and gone from the program
 +- OutsideTurn           a node's field was changed, but not by its own handler
 +- NotAsked              whoever answers is not the one who was asked, or nobody asked
 |   +- AlreadyAnswered   ... or somebody was before him
 +- NoSuchMessage         the journal knows no message, conversation or letter of this id
 +- NotRecorded           a fork has no result of a call, and may not do it
 +- PeerError             an error of a class that cannot come back as itself
 +- InDoubt               was it done before the process died? Nobody knows
 +- Differs               replayed, a handler says something else than it did
 +- JournalError          the journal cannot be opened, read or written
     +- Owned             another process runs it
     +- Fenced            another process has taken it over meanwhile
     +- OtherJournal      it was written by another program, or a newer version
     +- CorruptRow        a row is not as it was written
"""

from __future__ import annotations

from llambdao.kernel.errors import LlambdaoError
from llambdao.runtime.questions import AlreadyAnswered, NotAsked

__all__ = [
    "AlreadyAnswered",
    "CorruptRow",
    "Differs",
    "DuplicateId",
    "DuplicateName",
    "Fenced",
    "InDoubt",
    "JournalError",
    "MissingNode",
    "NoSuchMessage",
    "NotAsked",
    "NotRecorded",
    "OtherJournal",
    "OutsideTurn",
    "Owned",
    "PeerError",
]


class DuplicateId(LlambdaoError, ValueError):
    """The id of an earlier message came again, with other content."""


class DuplicateName(LlambdaoError, ValueError):
    """Two nodes have one address in the journal; give one of them another name."""


class MissingNode(LlambdaoError, LookupError):
    """The journal knows a node that the program no longer has; it names what still waits there."""


class NoSuchMessage(LlambdaoError, LookupError):
    """The journal knows no message, conversation or dead letter of this id."""


class NotRecorded(LlambdaoError):
    """A fork comes to a call of which no result was recorded, and was not allowed to do it."""


class OutsideTurn(LlambdaoError):
    """A field of a node was changed otherwise than by its own handler, which no replay can know."""


class PeerError(LlambdaoError):
    """What failed, where its own class cannot come back: it says which class, and its words."""


class InDoubt(LlambdaoError):
    """The process died while this was being done: nobody knows whether it was."""


class Differs(LlambdaoError):
    """Replayed, a handler says something else than it did; the text shows both."""


class JournalError(LlambdaoError):
    """The journal cannot be opened, read or written."""


class Owned(JournalError):
    """Another process runs this journal."""


class Fenced(JournalError):
    """Another process has taken this journal over: nothing more is written from here."""


class OtherJournal(JournalError):
    """It was written by another program, or by a newer version of this library."""


class CorruptRow(JournalError):
    """A row is not as it was written."""
