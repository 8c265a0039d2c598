"""`llambdao run`: tell a network something, print what it replies."""

from __future__ import annotations

import sys
from typing import Any

from llambdao.console import screen
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node

__all__ = ["intent_for", "run"]

INTENTS = ("chat", "request", "query", "do", "step", "inform")
"""What is said from outside is meant as: the first of these that is understood."""


def run(network: Node, given: Any) -> int:
    """Print the replies: the words alone, or with a name before them where another one speaks."""
    where = screen(json=given.json)
    words = sys.stdin.read().rstrip("\n") if given.message is None else given.message
    conversation = network.receive(Message(words, intent=intent_for(network)))
    for count, said in enumerate(conversation, 1):
        if said.sender is network and not given.json:
            where.write(said.content)
        else:
            where.show(said)
        if count == given.turns:
            break
    conversation.close()
    if conversation.detail and given.turns is None:
        sys.stderr.write(f"llambdao: {conversation.detail}\n")
    return 0


def intent_for(node: Node) -> str:
    """The intent with which to speak to a node."""
    fit = (word for word in (*INTENTS, *node.intents) if node.understands(word))
    return next(fit, "chat")
