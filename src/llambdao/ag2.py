"""`AG2Node`: an `Agent` of AG2, once AutoGen, as a node."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field, field_validator

from llambdao.agents import AgentNode
from llambdao.kernel.errors import Misused

try:
    from ag2 import Agent, MemoryStream
except ImportError as error:
    raise ImportError("llambdao.ag2 needs ag2: pip install 'llambdao[ag2]'") from error

__all__ = ["AG2Node"]


class AG2Node(AgentNode):
    """An `Agent` of AG2, the AutoGen that goes on, as a node; its tools are its own.

    What was said so far is in `history`, in the form of AG2, and not in the node's state. Its
    answer comes whole.

    >>> from llambdao import ask
    >>> from ag2.testing import TestConfig
    >>> agent = Agent("ann", config=TestConfig("Hello there."))
    >>> ask(AG2Node(name="Ann", agent=agent), "Hi").content
    'Hello there.'
    """

    agent: Any = Field(exclude=True)
    history: Any = Field(default=None, exclude=True)

    @field_validator("agent")
    @classmethod
    def _an_agent(cls, agent: Any) -> Any:
        if not isinstance(agent, Agent):
            raise Misused(f"agent= takes an Agent of ag2, but got {agent!r:.80}")
        return agent

    async def talk(self, words: str) -> AsyncGenerator[Any, None]:
        """Its answer, and what it cost."""
        if self.history is None:
            self.history = MemoryStream()
        about = self.instructions()
        prompt = [*self.agent.system_prompt, about] if about else []
        reply = await self.agent.ask(words, stream=self.history, prompt=prompt)
        yield reply.body or ""
        usage = reply.response.usage
        yield {
            "model": reply.response.model,
            "input_tokens": _whole(usage.prompt_tokens),
            "output_tokens": _whole(usage.completion_tokens),
        }


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
