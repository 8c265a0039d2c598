"""`AgentNode`: what the nodes have in common that are agents of other libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import Field

from llambdao.kernel.errors import LlambdaoError
from llambdao.kernel.message import Delta, Message
from llambdao.kernel.node import Node
from llambdao.runtime.budget import reserve

__all__ = ["AgentFailed", "AgentNode", "AgentTimedOut"]


class AgentFailed(LlambdaoError):
    """An agent of another library raised an error, or gave what is no answer."""


class AgentTimedOut(AgentFailed, TimeoutError):
    """An agent said nothing for too long."""


class AgentNode(Node):
    """Somebody whose words an agent of another library finds; subclass it with a `talk`.

    It answers `chat`, `request` and `query`; to `inform` it only listens, and tells its agent with
    the next question. As soon as it has heard more than one speaker, names stand before what they
    say; further lines of theirs are indented, so that none looks like another's. Pieces of the
    answer come as `Delta`s, if the library gives any. A `persona` is told to the agent beside its
    own instructions. Tokens are charged to the budget of the conversation when they are known,
    that is afterwards; an agent that has none left is not asked.

    >>> from llambdao import ask
    >>> class Parrot(AgentNode):
    ...     async def talk(self, words):
    ...         yield words
    >>> ask(Parrot(), "Hello").content
    'Hello'
    """

    role: ClassVar[str] = "assistant"

    timeout: float = 120.0
    """For how many seconds the agent may be silent."""

    heard: list[Message] = Field(default_factory=list)
    """What it was informed of since it was last asked."""

    speakers: list[str] = Field(default_factory=list)
    """Whom it has heard so far."""

    def talk(self, words: str) -> AsyncGenerator[Any, None]:
        """Ask the agent: pieces of the answer as it finds them, in the end what it all cost.

        A `str` is a piece. A mapping is metadata of the answer, such as `input_tokens` and
        `output_tokens`. A `Message` is the whole answer, in place of the pieces.
        """
        raise NotImplementedError

    def instructions(self) -> str:
        """What the agent is told of who it is; nothing unless it has a persona."""
        return f"You are {self}. {self.persona}" if self.persona else ""

    def inform(self, message: Message) -> None:
        """Listen."""
        self.heard = [*self.heard, message]

    async def chat(self, message: Message) -> AsyncGenerator[Any, Any]:
        """Answer, word by word if the agent does, then with the whole message."""
        words = self._words([*self.heard, message])
        self.heard = []
        text, whole = "", None
        metadata: dict[str, Any] = {}
        with (yield reserve(calls=1, tokens=1)) as ticket:
            async with aclosing(self._in_time(words)) as parts:
                async for part in parts:
                    if isinstance(part, str):
                        text += part
                        yield Delta(part)
                    elif isinstance(part, Mapping):
                        metadata |= {k: value for k, value in part.items() if value is not None}
                    else:
                        whole = part
            used = [metadata.get(name, 0) for name in ("input_tokens", "output_tokens")]
            if any(used):
                metadata["tokens"] = sum(used)
            ticket.settle(calls=1, tokens=sum(used))
        if whole is not None:
            text = whole.content
            about = {"sender": self, "to": message.sender, "reply_to": message}
            yield whole.but(**about, metadata=metadata)
        elif text.strip():
            yield message.reply(text, metadata=metadata)

    request = chat
    query = chat

    def _words(self, messages: list[Message]) -> str:
        """What was said, as the agent reads it."""
        said = [(str(m.sender or "someone"), m.content) for m in messages if m.content.strip()]
        self.speakers = list(dict.fromkeys([*self.speakers, *(who for who, _ in said)]))
        if len(self.speakers) < 2:
            return "\n\n".join(words for _, words in said)
        return "\n\n".join(f"{who}: " + "\n  ".join(words.splitlines()) for who, words in said)

    async def _in_time(self, words: str) -> AsyncGenerator[Any, None]:
        """What the agent says, each piece in time; its errors as ours."""
        async with aclosing(self.talk(words)) as parts:
            while True:
                try:
                    async with asyncio.timeout(self.timeout):
                        part = await anext(parts, None)
                except TimeoutError as error:
                    raise AgentTimedOut(
                        f"the agent of {self} was silent for {self.timeout} seconds; give it more"
                        f" time, {type(self).__name__}(timeout=...)"
                    ) from error
                except LlambdaoError:
                    raise
                except Exception as error:
                    raise AgentFailed(
                        f"the agent of {self} failed: {type(error).__name__}: {error}"
                    ) from error
                if part is None:
                    return
                yield part
