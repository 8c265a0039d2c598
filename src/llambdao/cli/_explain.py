"""`llambdao explain`: tell a network something, and say why it said what it said."""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import Any

from llambdao.cli._errors import Unusable
from llambdao.cli._run import intent_for
from llambdao.kernel.events import Event
from llambdao.kernel.graph import reachable
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.openai import Explanation, explain

__all__ = ["why"]

KEPT = 1000
"""How many messages of a conversation are remembered, to choose from."""


def why(network: Node, given: Any) -> int:
    """Print why the last message was said, or the one that was chosen."""
    for node in reachable(network):
        if "explains" in type(node).model_fields:
            node.explains = KEPT
    said: deque[Message] = deque(maxlen=KEPT)

    def take_note(event: Event) -> None:
        if event.kind == "said" and isinstance(event.message, Message):
            said.append(event.message)

    words = sys.stdin.read().rstrip("\n") if given.message is None else given.message
    conversation = network.receive(Message(words, intent=intent_for(network)), observe=take_note)
    replies: deque[Message] = deque(maxlen=KEPT)
    for count, reply in enumerate(conversation, 1):
        replies.append(reply)
        if count == given.turns:
            break
    conversation.close()
    chosen = [*said] if given.inner else [*replies]
    if not chosen:
        raise Unusable("nothing was said, so there is nothing to explain")
    if given.number > len(chosen):
        raise Unusable(f"{len(chosen)} messages were said; there is no number {given.number}")
    message = chosen[given.number - 1] if given.number else chosen[-1]
    _show(explain(message, within=network), as_json=given.json)
    return 0


def _show(explanation: Explanation, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(explanation.dict(), ensure_ascii=False, default=str))
    else:
        print("\n".join(map(_harmless, str(explanation).split("\n"))))


def _harmless(line: str) -> str:
    """The line without what could steer a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)
