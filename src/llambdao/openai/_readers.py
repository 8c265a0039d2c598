"""Readers: what comes from a server, in the words of either API, as pieces and answers."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from llambdao.openai._calls import Answer, Piece, ToolCall, Usage
from llambdao.openai._errors import BadAnswer, Busy, ModelError, Refused, ServerFailed

__all__ = ["ChatReader", "ResponsesReader", "no_answer"]


class ChatReader:
    """Reads the answer to one Chat Completions request, whole or chunk by chunk."""

    def __init__(self, who: str, model: str) -> None:
        self.who, self.model = who, model
        self.ended = False
        self._why = ""
        self._calls: list[dict[str, str]] = []
        self._places: dict[int, dict[str, str]] = {}
        self._usage: Usage | None = None
        self._spoke = False

    def take(self, chunk: Any) -> list[Piece]:
        """The words in a chunk."""
        if (usage := getattr(chunk, "usage", None)) is not None:
            self._usage = _chat_usage(self.model, usage)  # some repeat it, counting on
        if not getattr(chunk, "choices", None):
            return []
        choice = chunk.choices[0]
        delta = choice.delta
        for call in getattr(delta, "tool_calls", None) or ():
            self._add(call)
        if choice.finish_reason is not None:
            self.ended, self._why = True, choice.finish_reason
        words = getattr(delta, "content", None) or getattr(delta, "refusal", None) or ""
        self._spoke = self._spoke or bool(words)
        return [words] if words else []

    def end(self) -> list[Piece]:
        """What is known only at the end: the calls, each whole, and the usage."""
        if self.ended and not self._spoke and not self._calls:
            _check_reason(self.who, self._why)
        calls = [_call(place, call) for place, call in enumerate(self._calls)]
        return [*calls, *([self._usage] if self._usage is not None else ())]

    def whole(self, answer: Any) -> Answer:
        """An answer that came all at once."""
        if not getattr(answer, "choices", None):
            raise no_answer(self.who, answer)
        choice = answer.choices[0]
        said = choice.message
        for call in said.tool_calls or ():
            self._add(call)
        text = said.content or getattr(said, "refusal", None) or ""
        if not text and not self._calls:
            _check_reason(self.who, choice.finish_reason)
        usage = getattr(answer, "usage", None)
        return Answer(
            text,
            tuple(_call(place, call) for place, call in enumerate(self._calls)),
            None if usage is None else _chat_usage(self.model, usage),
        )

    def _add(self, piece: Any) -> None:
        """A piece of a call: its place says which, unless a new id says that it is another."""
        place = getattr(piece, "index", None)
        place = len(self._calls) if place is None else place
        call = self._places.get(place)
        given = getattr(piece, "id", None) or ""
        if call is None or (given and call["id"] and given != call["id"]):
            call = self._places[place] = {"id": "", "name": "", "arguments": ""}
            self._calls.append(call)
        function = getattr(piece, "function", None)
        call["id"] = call["id"] or given
        call["name"] = call["name"] or getattr(function, "name", None) or ""
        call["arguments"] += getattr(function, "arguments", None) or ""


class ResponsesReader:
    """Reads the answer to one Responses request, whole or event by event."""

    def __init__(self, who: str, model: str) -> None:
        self.who, self.model = who, model
        self.ended = False
        self._spoke = False
        self._called: set[str] = set()
        self._usage: Usage | None = None

    def take(self, event: Any) -> list[Piece]:
        """The words, or the whole call, in an event."""
        kind = getattr(event, "type", "")
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._spoke = self._spoke or bool(event.delta)
            return [event.delta] if event.delta else []
        if kind == "response.output_item.done" and event.item.type == "function_call":
            return self._call(event.item)
        if kind in ("response.failed", "error"):
            raise _failed(self.who, getattr(event, "response", event), kind)
        if kind in ("response.completed", "response.incomplete"):
            self.ended = True
            return self._rest(event.response)
        return []

    def end(self) -> list[Piece]:
        """What is known only at the end: the usage."""
        return [self._usage] if self._usage is not None else []

    def whole(self, answer: Any) -> Answer:
        """An answer that came all at once."""
        if not hasattr(answer, "output"):
            raise no_answer(self.who, answer)
        if getattr(answer, "status", None) == "failed":
            raise _failed(self.who, answer, "failed")
        pieces = self._rest(answer)
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        calls = tuple(piece for piece in pieces if isinstance(piece, ToolCall))
        return Answer(text, calls, self._usage)

    def _rest(self, response: Any) -> list[Piece]:
        """What a whole response holds beyond what has come of it already."""
        if (usage := getattr(response, "usage", None)) is not None:
            details = getattr(usage, "input_tokens_details", None)
            self._usage = Usage(
                self.model,
                usage.input_tokens or 0,
                usage.output_tokens or 0,
                getattr(details, "cached_tokens", None) or 0,
            )
        pieces: list[Piece] = []
        for item in response.output or ():
            if item.type == "function_call":
                pieces += self._call(item)
            elif item.type == "message" and not self._spoke:
                said = ((part.type, part) for part in item.content)
                words = (
                    part.refusal if kind == "refusal" else getattr(part, "text", "")
                    for kind, part in said
                )
                pieces += [text for text in words if text]
        if not pieces and not self._spoke and not self._called:
            details = getattr(response, "incomplete_details", None)
            _check_reason(self.who, getattr(details, "reason", None) or "")
        return pieces

    def _call(self, item: Any) -> list[Piece]:
        key = item.call_id or f"{item.name}{item.arguments}"
        if key in self._called:
            return []
        self._called.add(key)
        call = {"id": item.call_id, "name": item.name, "arguments": item.arguments}
        return [_call(len(self._called) - 1, call)]


def _call(place: int, call: dict[str, str]) -> ToolCall:
    """A call; one that its server did not name is named after what it is."""
    name = f"call_{place}_{crc32((call['name'] + call['arguments']).encode()):08x}"
    return ToolCall(call["id"] or name, call["name"], call["arguments"] or "{}")


def _chat_usage(model: str, usage: Any) -> Usage:
    details = getattr(usage, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    return Usage(model, usage.prompt_tokens or 0, usage.completion_tokens or 0, cached)


def _check_reason(who: str, reason: str | None) -> None:
    """Raise, if this is why an answer holds nothing at all."""
    if reason in ("length", "max_output_tokens", "model_length"):
        raise BadAnswer(
            f"{who} used up all it may write before its first word, thinking perhaps; allow it"
            ' more, OpenAIModel(..., max_tokens=...); to go on without a server: model="offline"'
        )
    if reason == "content_filter":
        raise Refused(
            f"{who} was kept from answering by a filter; ask otherwise, or ask another model; to"
            ' go on without a server: model="offline"'
        )


def no_answer(who: str, answer: Any) -> BadAnswer:
    error = BadAnswer(
        f"{who} gave what is no answer: {answer!s:.80}; correct base_url, which mostly ends in"
        ' /v1; to go on without a server: model="offline"'
    )
    error.text = str(answer)
    return error


def _failed(who: str, given: Any, kind: str) -> ModelError:
    error = getattr(given, "error", None) or given
    said, code = getattr(error, "message", None) or kind, getattr(error, "code", None)
    busy = code == "rate_limit_exceeded"
    failed = (Busy if busy else ServerFailed)(
        f'{who} failed ({said}); ask again later; to go on without a server: model="offline"'
    )
    failed.again = busy or code == "server_error"
    return failed
