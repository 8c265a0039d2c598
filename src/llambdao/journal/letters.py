"""Dead letters, as other processes see them."""

from __future__ import annotations

import ast
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from llambdao.journal.ledger import Letter
from llambdao.journal.recording import error_in
from llambdao.runtime.questions import moment

__all__ = ["Dead", "dead_of", "refusal"]


class Dead(Struct, frozen=True):
    """A dead letter: for which node it was, what it said, why nobody took it, what was raised.

    `room.again(letter.seq)` sends it again.
    """

    seq: int
    at: datetime
    node: str
    content: str
    reason: str
    error: str = ""
    sender: str = ""

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        data = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**data, "at": self.at.isoformat().replace("+00:00", "Z")}

    def __str__(self) -> str:
        return f"{self.seq} to {self.node or 'nobody'}: {self.content!r:.80} ({self.reason})"


def dead_of(letter: Letter) -> Dead:
    """A letter, as it is shown."""
    data = msgspec.json.decode(letter.message)
    said = data["message"] if isinstance(data.get("message"), dict) else data
    said = said["v"] if isinstance(said.get("v"), dict) else said
    return Dead(
        letter.seq,
        moment(letter.at),
        letter.node,
        str(said.get("content", "")),
        letter.reason,
        letter.error,
        str(data.get("from") or data.get("by") or ""),
    )


def refusal(codec: Any, letter: Letter) -> BaseException:
    """The error with which what lay at the door was refused."""
    kind, _, rest = letter.error.partition("(")
    try:
        text = str(ast.literal_eval(rest.removesuffix(")")))
    except (SyntaxError, ValueError):
        text = rest.removesuffix(")")
    return error_in(codec, {"kind": kind, "text": text})
