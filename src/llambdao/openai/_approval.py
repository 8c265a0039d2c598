"""Approval: who is asked before a tool is called, and what counts as a yes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Address, Message
from llambdao.kernel.node import Node
from llambdao.kernel.waits import Ask

__all__ = ["Approval", "approvers", "asking", "refusal", "says_yes"]

YES = frozenset(
    [
        "yes",
        "y",
        "yep",
        "yeah",
        "aye",
        "ok",
        "okay",
        "sure",
        "agree",
        "agreed",
        "approve",
        "approved",
        "granted",
    ]
)
RESERVED = frozenset(
    [
        "no",
        "not",
        "don't",
        "dont",
        "never",
        "nothing",
        "but",
        "if",
        "unless",
        "only",
        "except",
        "after",
        "before",
        "first",
        "then",
        "when",
        "once",
        "until",
        "instead",
        "wait",
        "later",
    ]
)
"""Words that make a yes something else."""


class Approval(Message, kind="llambdao.Approval"):
    """The question whether a tool may be called: of which node, with which intent, with what.

    Its `content` says so in words. A yes is "yes", or a message with a field `aye` that is true.

    >>> question = Approval("May I?", tool="Bank", function="do", arguments='{"euros": 5}')
    >>> question.tool
    'Bank'
    """

    tool: str
    function: str
    arguments: str


def approvers(metadata: Mapping[str, Any], word: str) -> tuple[Node, ...]:
    """Whom the `approve` of an edge names for this function: nobody, one node, or several.

    It may be a node, a list of nodes, or a dict of these by the name of the function.
    """
    named = metadata.get("approve")
    if isinstance(named, Mapping):
        named = named.get(word)
    some = () if named is None else (named,) if isinstance(named, Node) else named
    found: tuple[Any, ...] = (some,)
    if isinstance(some, Iterable) and not isinstance(some, str):
        found = tuple(some)
    for one in found:
        if not isinstance(one, Node | Address):
            raise Misused(
                "approve= names who is asked: link(tool, approve=person), a list of nodes, or a"
                f" dict of these by intent, but got {one!r:.80}"
            )
    return found


def asking(tool: Any, word: str, arguments: str, node: Any) -> Ask:
    """The question to one approver; a network is asked for all its votes."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in arguments)
    question = Approval(
        f"May I use {tool}: {word}({shown})? Answer yes or no.",
        tool=str(tool),
        function=word,
        arguments=arguments,
    )
    return Ask(node, question, "request", bool(getattr(node, "members", ())))


def refusal(asked: Sequence[Node], answers: Sequence[Any]) -> str:
    """Why it may not be, and who said so; nothing if more than half of the votes are ayes."""
    votes = [
        vote for who, answer in zip(asked, answers, strict=True) for vote in _votes(who, answer)
    ]
    against = [said for aye, said in votes if not aye]
    if 2 * (len(votes) - len(against)) > len(votes):
        return ""
    if len(votes) == 1:
        return f"refused by {against[0]}"
    return f"refused, {len(votes) - len(against)} of {len(votes)} agreed; against: " + "; ".join(
        against
    )


def _votes(who: Any, answer: Any) -> Iterator[tuple[bool, str]]:
    """Each vote in an answer, and who cast it with which words."""
    if isinstance(answer, Exception) or not answer:
        yield False, f"{who} (no answer)"
        return
    for reply in answer if isinstance(answer, list) else [answer]:
        words = " ".join(str(reply.content).split())
        yield says_yes(reply), f"{reply.sender or who}" + (f": {words}" if words else "")


def says_yes(reply: Message) -> bool:
    """Is this a yes, without any reservation?

    >>> [says_yes(Message(words)) for words in ("Yes.", "OK, go ahead", "yes, but not all", "why?")]
    [True, True, False, False]
    """
    aye = getattr(reply, "aye", None)
    if isinstance(aye, bool):
        return aye
    words = re.findall(r"[\w']+", str(reply.content).lower().replace("\u2019", "'"))
    return bool(words) and words[0] in YES and not RESERVED & {*words}
