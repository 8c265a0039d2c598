"""The errors of models, one tree.

    ModelError
     +- NoKey           a server that wants a key, and none is known (also PermissionError)
     +- WrongKey        the server does not accept the key (also PermissionError)
     +- UnknownModel    nobody there knows a model of that name (also LookupError)
     +- NoServer        nobody answers at that address (also ConnectionError)
     +- TimedOut        the model said nothing for too long (also TimeoutError)
     +- CutOff          an answer broke off before its end (also ConnectionError)
     +- BadAnswer       what came is no answer to what was asked (also ValueError)
     +- CannotDo        a model that cannot do what is asked of it: tools, typed replies
     +- Refused         the server would not, or could not, do what was asked
     |   +- RefusedField    it does not take a field, or its value (also ValueError)
     |   +- TooLong         more than fits into the model's context (also ValueError)
     |   +- Busy            too many requests, or none left of what was paid for
     |   +- ServerFailed    something is wrong at the server itself
     +- NothingSaid     a conversation without a word, which no model can answer (also ValueError)
     +- UnknownPrice    nobody knows what a model costs, and dollars are limited (also LookupError)
     +- NotRecorded     a request that is on no tape (also LookupError)
     +- BadTape         a file that is no tape of requests and answers (also ValueError)
     +- ScriptEnded     a `ScriptedModel` has no line left
     +- IsOffline       a real request, where `with offline()` forbids it

Each says what happened, why, what to do about it, and how to go on without a server.
"""

from __future__ import annotations

from llambdao.kernel.errors import LlambdaoError

__all__ = [
    "BadAnswer",
    "BadTape",
    "Busy",
    "CannotDo",
    "CutOff",
    "IsOffline",
    "ModelError",
    "NoKey",
    "NoServer",
    "NotRecorded",
    "NothingSaid",
    "Refused",
    "RefusedField",
    "ScriptEnded",
    "ServerFailed",
    "TimedOut",
    "TooLong",
    "UnknownModel",
    "UnknownPrice",
    "WrongKey",
]


class ModelError(LlambdaoError):
    """A model could not be had, or did not answer.

    `again` says whether the same request may safely be sent once more, and may then succeed;
    `wait` after how many seconds the server asks for it, if it does.
    """

    again: bool = False
    wait: float | None = None


class NoKey(ModelError, PermissionError):
    """The server wants a key, and none is known."""


class WrongKey(ModelError, PermissionError):
    """The server does not accept the key, or not for this."""


class UnknownModel(ModelError, LookupError):
    """Nobody there knows a model of that name."""


class NoServer(ModelError, ConnectionError):
    """Nobody answers at that address."""


class TimedOut(ModelError, TimeoutError):
    """The model said nothing for too long."""


class CutOff(ModelError, ConnectionError):
    """An answer broke off before its end; what had come of it is in `text`."""

    text: str = ""


class BadAnswer(ModelError, ValueError):
    """What came is no answer to what was asked; it is in `text`, as far as it could be read."""

    text: str = ""


class CannotDo(ModelError, TypeError):
    """A model cannot do what is asked of it: call tools, or give typed replies."""


class Refused(ModelError):
    """The server would not, or could not, do what was asked; it says why."""


class RefusedField(Refused, ValueError):
    """The server does not take a field of the request, or not its value."""


class TooLong(Refused, ValueError):
    """The conversation is more than fits into the model's context."""


class Busy(Refused):
    """Too many requests at a time, or none left of what was paid for."""


class ServerFailed(Refused):
    """Something is wrong at the server itself."""


class NothingSaid(ModelError, ValueError):
    """A conversation without a word, which no model can answer."""


class UnknownPrice(ModelError, LookupError):
    """Nobody knows what a model costs, and the budget is in dollars."""


class NotRecorded(ModelError, LookupError):
    """A request that is on no tape; the error shows how it differs from the nearest that is."""


class BadTape(ModelError, ValueError):
    """A file that is no tape of requests and answers, or cannot be written."""


class ScriptEnded(ModelError):
    """A `ScriptedModel` was asked once more than it has lines."""


class IsOffline(ModelError):
    """Something wanted to make a real request inside `with offline()`."""
