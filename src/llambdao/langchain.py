"""`LangChainNode`: a `Runnable` of LangChain, or a graph of LangGraph, as a node."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pydantic import Field, field_validator

from llambdao.agents import AgentFailed, AgentNode
from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Message

try:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import (
        AIMessage,
        AIMessageChunk,
        BaseMessage,
        HumanMessage,
        SystemMessage,
    )
    from langchain_core.runnables import Runnable
except ImportError as error:
    raise ImportError(
        "llambdao.langchain needs langchain-core: pip install 'llambdao[langchain]'"
    ) from error

__all__ = ["LangChainNode"]

HISTORY = ("history", "chat_history")
"""What the blank for earlier messages is called in prompts."""


class LangChainNode(AgentNode):
    """A `Runnable` of LangChain as a node: a chat model, a chain, an agent, a graph of LangGraph.

    What it takes is found by asking it: messages, a state with `messages`, one blank to fill (and
    a second one, `history`), or text; where that is wrong, `input` is a function from the list of
    messages to what it takes. Its answer is a text, a message, or the last of the `messages`.

    The last `window` messages said and heard are in `history` and given to it each time, but not
    to a graph that has a checkpointer and so remembers by itself: that gets a `thread_id` of its
    own, the id of this node, unless `config` names one.

    >>> from llambdao import ask
    >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
    >>> node = LangChainNode(name="Ann", runnable=FakeListChatModel(responses=["Hello there."]))
    >>> ask(node, "Hi").content
    'Hello there.'
    """

    runnable: Any = Field(exclude=True)
    input: Any = Field(default=None, exclude=True)
    """A function from the messages to what it takes; None to find out."""

    config: dict[str, Any] = Field(default_factory=dict, exclude=True)
    window: int = Field(default=24, ge=1)
    history: list[Any] = Field(default_factory=list, exclude=True)

    @field_validator("runnable")
    @classmethod
    def _a_runnable(cls, runnable: Any) -> Any:
        if not isinstance(runnable, Runnable):
            raise Misused(f"runnable= takes a Runnable of LangChain, but got {runnable!r:.80}")
        return runnable

    async def talk(self, words: str) -> AsyncGenerator[Any, None]:
        """Its answer in pieces, and what it cost."""
        remembers = bool(getattr(self.runnable, "checkpointer", None))
        said: list[BaseMessage] = [*([] if remembers else self.history), HumanMessage(words)]
        about = self.instructions()
        messages = [SystemMessage(about), *said] if about else said
        given = self.input(messages) if self.input is not None else _input(self.runnable, messages)
        config = {**self.config}
        if remembers:
            config["configurable"] = {"thread_id": self.id, **config.get("configurable", {})}
        is_graph = hasattr(self.runnable, "stream_channels")
        options = {"stream_mode": ["messages", "values"]} if is_graph else {}
        whole: Any = None
        pieces = ""
        async for part in self.runnable.astream(given, config or None, **options):
            if is_graph and part[0] == "values":
                whole = part[1]
                continue
            if is_graph:
                piece_of, _ = part[1]
            else:
                piece_of = part
                whole = part if whole is None else whole + part
            if isinstance(piece_of, str | AIMessageChunk) and (piece := _text(piece_of)):
                pieces += piece
                yield piece
        answer = _answer(whole)
        text = _text(answer)
        if text != pieces:
            yield Message(text)
        self.history = [*said, AIMessage(text)][-self.window :]
        yield _cost(answer)


def _input(runnable: Any, messages: list[BaseMessage]) -> Any:
    """What this runnable takes, made of the messages."""
    if isinstance(runnable, BaseChatModel):
        return messages
    schema = runnable.get_input_jsonschema()
    blanks = schema.get("properties")
    if not isinstance(blanks, Mapping):
        return messages[-1].text if schema.get("type") == "string" else messages
    if "messages" in blanks:
        return {"messages": messages}
    filled: dict[str, Any] = {name: messages[:-1] for name in HISTORY if name in blanks}
    left = [name for name in blanks if name not in filled]
    if len(left) != 1:
        raise AgentFailed(
            f"which of {', '.join(left) or 'no blanks'} is the question? Say how it is asked,"
            ' LangChainNode(..., input=lambda messages: {"question": messages[-1].content, ...})'
        )
    return {**filled, left[0]: messages[-1].text}


def _answer(given: Any) -> Any:
    """The text or the message in what a runnable gave."""
    if isinstance(given, Mapping):
        messages = given.get("messages")
        if messages:
            return messages[-1]
        for name in ("output", "answer", "result"):
            if name in given:
                return given[name]
    if isinstance(given, str | BaseMessage):
        return given
    raise AgentFailed(
        f"the runnable gave {given!r:.80}, which is no text and no message; let it end in one, with"
        " StrOutputParser() for example"
    )


def _text(given: Any) -> str:
    return given if isinstance(given, str) else str(given.text)


def _cost(answer: Any) -> dict[str, Any]:
    """Whose words they are and what they cost, as far as the message tells."""
    usage = getattr(answer, "usage_metadata", None) or {}
    about = getattr(answer, "response_metadata", None) or {}
    return {
        "model": about.get("model_name"),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
    }
