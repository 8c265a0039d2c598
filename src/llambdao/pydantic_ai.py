"""`PydanticAINode`: an `Agent` of pydantic-ai as a node."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter, field_validator

from llambdao.agents import AgentNode
from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Message

try:
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
    from pydantic_ai.run import AgentRunResultEvent
except ImportError as error:
    raise ImportError(
        "llambdao.pydantic_ai needs pydantic-ai: pip install 'llambdao[pydantic_ai]'"
    ) from error

__all__ = ["PydanticAINode"]


class PydanticAINode(AgentNode):
    """An `Agent` of pydantic-ai as a node: its tools, its output and its history as they are.

    What was said so far is in `history`, in the form of pydantic-ai, and not in the node's state.
    An output that is a message is said as it is, any other that is no text as JSON. `deps` are
    handed to the agent.

    >>> from llambdao import ask
    >>> from pydantic_ai import Agent
    >>> from pydantic_ai.models.test import TestModel
    >>> agent = Agent(TestModel(custom_output_text="Hello there."))
    >>> ask(PydanticAINode(name="Ann", agent=agent), "Hi").content
    'Hello there.'
    """

    agent: Any = Field(exclude=True)
    deps: Any = Field(default=None, exclude=True)
    history: list[Any] = Field(default_factory=list, exclude=True)

    @field_validator("agent")
    @classmethod
    def _an_agent(cls, agent: Any) -> Any:
        if not isinstance(agent, AbstractAgent):
            raise Misused(f"agent= takes an Agent of pydantic-ai, but got {agent!r:.80}")
        return agent

    async def talk(self, words: str) -> AsyncGenerator[Any, None]:
        """Its answer in pieces, or whole if it is no text, and what it cost."""
        options = {"deps": self.deps, "instructions": self.instructions() or None}
        asked = self.agent.run_stream_events(words, message_history=self.history, **options)
        pieces, result = "", None
        async with asked as events:
            async for event in events:
                if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                    pieces += event.part.content
                    yield event.part.content
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    pieces += event.delta.content_delta
                    yield event.delta.content_delta
                elif isinstance(event, AgentRunResultEvent):
                    result = event.result
        assert result is not None, "a run ends with its result"
        self.history = result.all_messages()
        if isinstance(result.output, Message):
            yield result.output
        elif result.output != pieces:
            yield Message(_text(result.output))
        usage = result.usage
        yield {
            "model": result.response.model_name,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }


def _text(output: Any) -> str:
    """An output as words: text as it is, anything else as JSON."""
    if isinstance(output, str):
        return output
    if isinstance(output, BaseModel):
        return output.model_dump_json()
    return TypeAdapter(Any).dump_json(output).decode()
