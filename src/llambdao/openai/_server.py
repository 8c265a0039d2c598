"""`OpenAIModel`: a model on any server that speaks the OpenAI API, by the official SDK."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, Literal

from llambdao.openai._errors import (
    CutOff,
    ModelError,
    NoKey,
    NoServer,
    Refused,
    TimedOut,
    UnknownModel,
    WrongKey,
)
from llambdao.openai._models import Chat, Model, must_be_online
from llambdao.openai._prepare import Prepared

__all__ = ["OPENAI", "OpenAIModel"]

OPENAI = "https://api.openai.com/v1"
INSTEAD = 'to go on without a server: model="offline"'


class OpenAIModel(Model):
    """A model on a server that speaks the OpenAI API: OpenAI, Ollama, vLLM, llama.cpp, a gateway.

    `base_url` and `api_key` are those of the environment (`OPENAI_BASE_URL`, `OPENAI_API_KEY`)
    unless given; only OpenAI itself must have a key. `api` is "chat" or "responses". `timeout` is
    how many seconds the server may be silent, `retries` how often a request that was not begun is
    sent again (never after a wrong key). `alternate` and `system` are those of
    `prepare_for_openai`; other keywords (`temperature=0.7`) are sent along with each request.

    Making one raises `NoKey` where one is needed; `check()` asks the server whether it is there,
    accepts the key and knows the model. What goes wrong later is a `ModelError`, too.

    >>> OpenAIModel("llama3", base_url="http://localhost:11434/v1")
    OpenAIModel('llama3', base_url='http://localhost:11434/v1')
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        api: Literal["chat", "responses"] = "chat",
        timeout: float = 60.0,
        retries: int = 2,
        alternate: bool | None = None,
        system: Literal["system", "developer", "user"] = "system",
        **options: Any,
    ) -> None:
        self.model, self.api, self.timeout, self.retries = model, api, timeout, retries
        self.options = options
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")
        self.is_openai = self.base_url == OPENAI
        key = api_key or os.environ.get("OPENAI_API_KEY")
        if not key and self.is_openai:
            raise NoKey(
                f"no key for {self.base_url}: it answers {model!r} only to those who have one; set"
                " OPENAI_API_KEY, or pass OpenAIModel(..., api_key=...), or name a server that"
                f' needs none, such as model="ollama:llama3"; {INSTEAD}'
            )
        self._key = key or "none"
        strict = not self.is_openai if alternate is None else alternate
        self.form: dict[str, Any] = {"alternate": strict, "system": system}
        _sdk()

    def __str__(self) -> str:
        return f"openai:{self.model}" if self.is_openai else f"{self.model} at {self.base_url}"

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, base_url={self.base_url!r})"

    async def stream(self, messages: Chat) -> AsyncIterator[str]:
        """The answer, piece by piece as the server finds it; `CutOff` if it breaks off."""
        must_be_online(str(self))
        heard: list[str] = []
        ended = False
        async with self._client() as client:
            with self._explaining():
                events = await self._create(client, messages, True)
            async with events:
                with self._explaining(heard):
                    async for event in events:
                        piece, over = self._piece(event)
                        ended = ended or over
                        if piece:
                            heard.append(piece)
                            yield piece
        if not ended:
            raise self._cut("".join(heard))

    async def complete(self, messages: Chat) -> str:
        """The answer, all at once."""
        must_be_online(str(self))
        with self._explaining():
            async with self._client() as client:
                answer = await self._create(client, messages, False)
        if self.api == "responses":
            return str(answer.output_text)
        if not answer.choices:
            raise Refused(f"{self} answered with nothing to choose from; {INSTEAD}")
        said = answer.choices[0].message
        return said.content or getattr(said, "refusal", None) or ""

    def check(self) -> None:
        """Ask the server whether it is there, accepts the key and knows the model; else raise.

        For before the first turn: it waits for the server, at most five seconds. A server that
        does not list its models is taken to know this one.
        """
        must_be_online(str(self))
        sdk = _sdk()
        asked = {"api_key": self._key, "base_url": self.base_url, "timeout": 5.0, "max_retries": 0}
        with self._explaining(), sdk.OpenAI(**asked) as client:
            try:
                known = [model.id for model in client.models.list()]
            except sdk.NotFoundError:
                return
        if known and self.model not in known and f"{self.model}:latest" not in known:
            raise self._unknown(f"it knows {', '.join(sorted(known)[:10])}")

    def _client(self) -> Any:
        """A client for one request: event loops come and go, and no connection outlives its own."""
        sdk = _sdk()
        return sdk.AsyncOpenAI(
            api_key=self._key,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=self.retries,
            http_client=sdk.DefaultAsyncHttpxClient(verify=_certificates(), timeout=self.timeout),
        )

    async def _create(self, client: Any, messages: Chat, stream: bool) -> Any:
        asked: dict[str, Any] = {"model": self.model, **self.options}
        if stream:
            asked["stream"] = True
        if self.api == "responses":
            same = messages.responses() if isinstance(messages, Prepared) else _input(messages)
            return await client.responses.create(**same, **asked)
        if self.is_openai:  # others may not know the field
            asked["store"] = False
        return await client.chat.completions.create(messages=list(messages), **asked)

    def _piece(self, event: Any) -> tuple[str, bool]:
        """The words in an event of a stream, and whether it is the last."""
        if self.api == "chat":
            if not event.choices:
                return "", False
            choice = event.choices[0]
            words = choice.delta.content or getattr(choice.delta, "refusal", None) or ""
            return words, choice.finish_reason is not None
        if event.type in ("response.output_text.delta", "response.refusal.delta"):
            return event.delta, False
        if event.type in ("response.failed", "error"):
            error = getattr(event, "response", event)
            why = getattr(getattr(error, "error", error), "message", event.type)
            raise Refused(f"{self} failed: {why}; {INSTEAD}")
        return "", event.type in ("response.completed", "response.incomplete")

    # -- errors --------------------------------------------------------------------------------

    @contextmanager
    def _explaining(self, heard: list[str] | None = None) -> Iterator[None]:
        """The errors of the SDK, and of the network under it, as ours; `heard`: of a stream."""
        sdk = _sdk()
        try:
            yield
        except sdk.OpenAIError as error:
            raise self._explained(sdk, error, heard) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
                raise
            raise self._cut("".join(heard or ()), str(error)) from error

    def _explained(self, sdk: Any, error: Any, heard: list[str] | None) -> ModelError:
        said = str(getattr(error, "message", error))
        if isinstance(error, sdk.APITimeoutError):
            return TimedOut(
                f"{self} was silent for {self.timeout} seconds; give it more time,"
                f" OpenAIModel(..., timeout=...), or {INSTEAD}"
            )
        if isinstance(error, sdk.APIConnectionError):
            why = str(error.__cause__ or said)
            if heard is not None:
                return self._cut("".join(heard), why)
            return NoServer(
                f"nobody answers at {self.base_url} ({why}); start the server there, or correct"
                f" base_url; {INSTEAD}"
            )
        if isinstance(error, sdk.AuthenticationError | sdk.PermissionDeniedError):
            return WrongKey(
                f"{self.base_url} does not accept the key ({said}); correct OPENAI_API_KEY or"
                f" api_key=...; {INSTEAD}"
            )
        if isinstance(error, sdk.NotFoundError):
            return self._unknown(said)
        return Refused(f"{self} would not answer ({said}); {INSTEAD}")

    def _unknown(self, said: str) -> UnknownModel:
        return UnknownModel(
            f"{self.base_url} has no model {self.model!r} ({said}); name another, or bring it"
            f" there (with Ollama: ollama pull {self.model}); {INSTEAD}"
        )

    def _cut(self, text: str, why: str = "no end of the answer came") -> CutOff:
        cut = CutOff(
            f"the answer of {self} broke off ({why}); ask again: nothing was done by what came"
            f" of it; {INSTEAD}"
        )
        cut.text = text
        return cut


def _input(messages: Chat) -> dict[str, Any]:
    """A plain list of chat items for the Responses API."""
    items = [{"type": "message", "role": m["role"], "content": m["content"]} for m in messages]
    return {"input": items, "store": False}


def _sdk() -> Any:
    """The official SDK, imported when the first real model is made."""
    try:
        import openai
    except ImportError as error:
        raise ModelError(
            "a model on a server needs the openai package: pip install 'llambdao[openai]';"
            f" {INSTEAD}"
        ) from error
    return openai


@cache
def _certificates() -> Any:
    """Whom to trust, read once: that takes longer than all the rest of making a client."""
    below = _sdk().DefaultAsyncHttpxClient.__base__.__module__.partition(".")[
        0
    ]  # the HTTP library of this SDK
    return import_module(below).create_ssl_context()
