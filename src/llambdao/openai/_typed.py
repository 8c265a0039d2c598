"""Typed replies: what a model must fill in, and how that becomes a message, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llambdao.kernel.errors import BadMessage
from llambdao.kernel.message import COMMON, Message
from llambdao.openai._errors import BadAnswer

__all__ = ["BadReply", "fill_in", "mend", "read", "wanted", "words_of"]

FENCED = re.compile(r"```\w*\s*\n(.*?)\n?\s*```", re.DOTALL)


class BadReply(BadAnswer, BadMessage):
    """A model asked for a typed reply gave none, not even when told what was wrong with it."""


def wanted(kind: type[Message]) -> dict[str, Any]:
    """What a model is asked for: the name and the JSON schema of a class of messages.

    >>> class Verdict(Message):
    ...     aye: bool
    >>> wanted(Verdict)["schema"]["required"]
    ['aye']
    """
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", kind.kind).strip("_") or "reply"
    return {"name": name[:64], "schema": kind.json_schema()}


def read(kind: type[Message], text: str) -> Message:
    """The message that a model's words fill in; `BadMessage` says what is wrong with them.

    Models like to put a fence around JSON, or a word before it: that is taken off.

    >>> class Ballot(Message, kind="doc.Ballot"):
    ...     aye: bool
    >>> read(Ballot, 'Here: {"aye": true}').aye
    True
    """
    fenced = FENCED.search(text)
    begun, end = text.find("{"), text.rfind("}")
    for part in (text, fenced[1] if fenced else "", text[begun : end + 1] if begun >= 0 else ""):
        try:
            data = json.loads(part)
        except ValueError:
            continue
        return fill_in(kind, data)
    raise BadMessage(f"expected {kind.kind} as a JSON object, which {text!r:.80} is not")


def fill_in(kind: type[Message], data: Any) -> Message:
    """A message of this class from its own fields, and no others: nobody else's name, no id.

    >>> fill_in(Message, {"content": "Hello", "sender": "Ann"})
    Traceback (most recent call last):
    ...
    llambdao.kernel.errors.BadMessage: Message has no field 'sender'; it has content
    """
    if not isinstance(data, Mapping):
        raise BadMessage(f"expected an object with the fields of {kind.kind}, but got {data!r:.80}")
    schema = kind.json_schema()
    known, required = schema.get("properties", {}), schema.get("required", ())
    for name in data:
        if name not in known:
            raise BadMessage(f"{kind.kind} has no field {name!r}; it has {', '.join(known)}")
    # A blank is as good as nothing where there is a default.
    given = {name: data[name] for name in data if data[name] is not None or name in required}
    return kind._validated(given)


def mend(kind: type[Message], error: BadMessage) -> str:
    """What a model is told whose words fill in nothing."""
    schema = json.dumps(kind.json_schema(), ensure_ascii=False)
    return (
        f"That was no {kind.kind}: {error}. Say it again as one JSON object that fits this schema,"
        f" with nothing before or after it: {schema}"
    )


def words_of(message: Message) -> str:
    """What a message says, to a model that hears of it: its words, or its own fields as JSON."""
    own = message.__struct_fields__[COMMON:]
    if not own:
        return str(message.content)
    data = message.dict()
    fields = json.dumps({name: data[name] for name in own}, ensure_ascii=False)
    return f"{message.content} {fields}".strip()
