"""Labels: the name that stands before what somebody says, and the lines that only look like one."""

# ruff: noqa: RUF001, RUF002  # characters that look like others are what this is about

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from typing import Any

__all__ = ["SOMEONE", "Cast", "fold", "harmless"]

SOMEONE = "someone"
"""Who says a message that names no sender."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "human", "ai")
"""Words that a model takes for a speaker, whoever is there."""

UNSEEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn"))
"""Categories of characters that are not seen, or only change the one before them."""

FILLERS = "\u115f\u1160\u3164\uffa0"
"""Letters, by their category, that nobody sees."""

# One character for all those a reader may take for it; what falls together is only quoted once
# too often. Capitals are folded first, so a Greek capital Mu arrives here as a small one.
LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("∶ː˸։׃܃܄܅܆܇܈꞉᠄᛬⁚⁝⁞፡፤፥፦", ":"),
        **dict.fromkeys("l1|ıіιӏǀⵏꓲ", "i"),
        **dict.fromkeys("0оοσօ", "o"),
        **dict(zip("авеёкмнрстухјѕԁԛԝһүгпи", "abeekmhpctyxjsdqwhyrnu", strict=True)),
        **dict(zip("αβεζηκμνρτυχγ", "abeznkmvptuxy", strict=True)),
        **dict(zip("սհոցյզ", "uhngjq", strict=True)),
        **dict(zip("ɑɡʀᴜᴍᴀᴇᴏꓣꓴꓟꓮꓰꓳ", "agrumaeorumaeo", strict=True)),
    }
)

CONTROL = re.compile(
    r"<(?="  # of ChatML, Llama 3, DeepSeek; of Gemma 4; of Gemma, Qwen, Llama 2
    r"[|｜][^|｜<>\s]{1,40}[|｜]?>|[^|｜<>\s]{1,40}[|｜]>"
    r"|/?(?:start|end)_of_(?:turn|image)>|/?tool_(?:call|response)s?>|/?tools>|/?think>"
    r"|/?s>|(?:bos|eos|pad|unk)>|</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_(?:CALLS|RESULTS|CONTENT)|AVAILABLE_TOOLS"  # of Mistral
    r"|MODEL_SETTINGS|ARGS|CALL_ID|THINK|IMG(?:_BREAK|_END)?|PREFIX|MIDDLE|SUFFIX)\])"
)
"""Where the marks begin by which chat templates tell one turn from the next."""

TOKEN = re.compile(r"[^\W_]+|:")
WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    r"""What a reader takes a text for: without case, accents, unseen characters and look-alikes.

    >>> fold("ＲＵＭＩ：") == fold("r\u200bumí:") == fold("Rumi:")
    True
    """
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(
        " " if c.isspace() else c
        for c in text
        if c.isspace() or (c not in FILLERS and unicodedata.category(c) not in UNSEEN)
    )
    return text.translate(LOOKALIKES)


def harmless(text: str) -> str:
    """The text as it can be sent: valid Unicode, and no mark by which a template ends a turn.

    >>> harmless("<|im_end|>")
    '< |im_end|>'
    """
    text = text.encode("utf-8", "replace").decode()
    return CONTROL.sub(lambda found: found[0] + " ", text)


def clean(name: str) -> str:
    """A name on one line, without a colon, of at most 64 characters."""
    seen = (
        c if unicodedata.category(c) not in UNSEEN and c not in FILLERS else " " * c.isspace()
        for c in unicodedata.normalize("NFC", name)
    )
    line = "".join(" " if ":" in fold(c) or c in "<>|[]" else c for c in seen)
    return " ".join(line.split())[:64].strip()


def key(speaker: Any) -> Any:
    """What tells one speaker from another: the id, or the name of one who has none."""
    return getattr(speaker, "id", speaker)


class Cast:
    """Who takes part, each under a label of his own, and which lines look like one.

    Two whose names read the same get different labels: the viewer keeps his, then the roster
    in its order, then whoever speaks, in the order of speaking.
    """

    def __init__(self, viewer: Any, roster: Iterable[Any], speakers: Iterable[Any]) -> None:
        self.viewer = viewer
        self.labels: dict[Any, str] = {}
        self.taken: set[tuple[str, ...]] = set()
        self.add(None)
        for one in (viewer, *roster, *speakers):
            self.add(one)
        self.solid = {"".join(words) for words in self.taken}
        self.taken |= {tuple(WORD.findall(fold(role))) for role in ROLES}
        self.uncased = tuple(name for name in self.solid if name and name.upper() == name.lower())
        self.longest = max(map(len, self.taken))

    def add(self, speaker: Any) -> None:
        """Give a speaker a label, unless he has one."""
        if key(speaker) in self.labels:
            return
        plain = label = SOMEONE if speaker is None else clean(str(speaker)) or SOMEONE
        number = 1
        while (words := tuple(WORD.findall(fold(label))) or (label,)) in self.taken:
            number += 1
            label = f"{plain} ({number})"
        self.taken.add(words)
        self.labels[key(speaker)] = label

    def label(self, speaker: Any) -> str:
        """The label of one who takes part."""
        return self.labels[key(speaker)]

    def looks_like_label(self, line: str) -> bool:
        """Whether somebody could take this line for the words of one of us, or of the system.

        A name within the first words and a colon soon after it, or a name alone on its line.
        """
        folded = fold(line)
        tokens = [found[0] for found in islice(TOKEN.finditer(folded), 8 + 2 * self.longest)]
        head = tokens[: tokens.index(":")] if ":" in tokens else tokens
        joined = "".join(head)
        if joined in self.solid:
            return True
        if ":" not in tokens:
            return False
        if self.uncased and joined.startswith(self.uncased):
            return True
        # A time of day before the name brings colons of its own: they are no part of a name.
        words = [(place, word) for place, word in enumerate(tokens) if word != ":"]
        for start in range(min(6, len(words))):
            for end in range(start + 1, min(start + self.longest, len(words)) + 1):
                if tuple(word for _, word in words[start:end]) in self.taken:
                    after = words[end - 1][0] + 1
                    if ":" in tokens[after : after + 5]:
                        return True
        return False

    def quoted(self, text: str) -> str:
        r"""The text with `> ` before each line that looks like a speaker's; lines end in `\n`."""
        lines = text.splitlines()
        return "\n".join(f"> {line}" if self.looks_like_label(line) else line for line in lines)

    def is_plain(self, text: str) -> bool:
        """Whether no line of it looks like the label of anybody at all: four words and a colon."""
        for line in text.splitlines():
            words, colon, _ = fold(line).partition(":")
            if self.looks_like_label(line) or (colon and 1 <= len(WORD.findall(words)) <= 4):
                return False
        return True
