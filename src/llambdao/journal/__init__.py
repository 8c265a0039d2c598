"""The journal: handlers that survive `kill -9`, and go on at the line after their question."""

from llambdao.journal.effects import effect_key, in_doubt
from llambdao.journal.errors import (
    AlreadyAnswered,
    CorruptRow,
    Differs,
    DuplicateId,
    DuplicateName,
    Fenced,
    InDoubt,
    JournalError,
    MissingNode,
    NoSuchMessage,
    NotAsked,
    NotRecorded,
    OtherJournal,
    OutsideTurn,
    Owned,
    PeerError,
)
from llambdao.journal.journal import Journal
from llambdao.journal.room import Room
from llambdao.journal.talks import leaf

__all__ = [
    "AlreadyAnswered",
    "CorruptRow",
    "Differs",
    "DuplicateId",
    "DuplicateName",
    "Fenced",
    "InDoubt",
    "Journal",
    "JournalError",
    "MissingNode",
    "NoSuchMessage",
    "NotAsked",
    "NotRecorded",
    "OtherJournal",
    "OutsideTurn",
    "Owned",
    "PeerError",
    "Room",
    "effect_key",
    "in_doubt",
    "leaf",
]
