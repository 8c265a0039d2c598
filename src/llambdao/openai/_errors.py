"""The errors of models, one tree.

    ModelError
     +- NoKey           a server that wants a key, and none is known (also PermissionError)
     +- WrongKey        the server does not accept the key (also PermissionError)
     +- UnknownModel    nobody there knows a model of that name (also LookupError)
     +- NoServer        nobody answers at that address (also ConnectionError)
     +- TimedOut        the model said nothing for too long (also TimeoutError)
     +- CutOff          an answer broke off before its end (also ConnectionError)
     +- Refused         the server would not, or could not, do what was asked
     +- ScriptEnded     a `ScriptedModel` has no line left
     +- IsOffline       a real request, where `with offline()` forbids it

Each says what happened, why, what to do about it, and how to go on without a server.
"""

from __future__ import annotations

from llambdao.kernel.errors import LlambdaoError

__all__ = [
    "CutOff",
    "IsOffline",
    "ModelError",
    "NoKey",
    "NoServer",
    "Refused",
    "ScriptEnded",
    "TimedOut",
    "UnknownModel",
    "WrongKey",
]


class ModelError(LlambdaoError):
    """A model could not be had, or did not answer."""


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


class Refused(ModelError):
    """The server would not, or could not, do what was asked; it says why."""


class ScriptEnded(ModelError):
    """A `ScriptedModel` was asked once more than it has lines."""


class IsOffline(ModelError):
    """Something wanted to make a real request inside `with offline()`."""
