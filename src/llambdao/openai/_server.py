"""`OpenAIModel`: a model on any server that speaks the OpenAI API, by the official SDK."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

from llambdao.openai._bodies import chat_body, responses_body
from llambdao.openai._calls import Answer, Piece, Tool
from llambdao.openai._clients import INSTEAD, Kept, client_of, close_client, sdk
from llambdao.openai._errors import CannotDo, ModelError, NoKey
from llambdao.openai._faults import Place, cut, explained, unknown_model
from llambdao.openai._models import Chat, Model, must_be_online
from llambdao.openai._profiles import (
    OPENAI,
    PROFILES,
    Api,
    Profile,
    System,
    keep_profile,
    kept_profile,
    profile_from,
)
from llambdao.openai._readers import ChatReader, ResponsesReader, no_answer
from llambdao.openai._retries import Retries

__all__ = ["OpenAIModel"]

SDK_OPTIONS = ("extra_headers", "extra_query")
"""Options that say how to send, not what."""

PROBE = 5.0
"""For how many seconds a server may think about which models it has."""


class OpenAIModel(Model):
    """A model on a server that speaks the OpenAI API: OpenAI, Ollama, vLLM, llama.cpp, a gateway.

    `base_url` and `api_key` are those of the environment (`OPENAI_BASE_URL`, `OPENAI_API_KEY`)
    unless given. What the server can do is its `profile`: known by the address, or asked of the
    server once, before the first request; or yours, a `Profile` or the name of one. `api` is
    "chat" or "responses", `alternate` and `system` are those of `prepare_for_openai`; left out,
    the profile's. `timeout` is how many seconds the server may be silent, `retries` how often a
    request that did nothing is sent again: a number, or a `Retries`. `max_tokens` is the longest
    answer; other keywords (`temperature=0.7`) are sent along with each request.

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
        api: Api | None = None,
        profile: Profile | str | None = None,
        timeout: float = 60.0,
        retries: int | Retries = 2,
        alternate: bool | None = None,
        system: System | None = None,
        max_tokens: int | None = None,
        **options: Any,
    ) -> None:
        self.model, self.timeout = model, timeout
        self.max_tokens, self.options = max_tokens, options
        self.retries = Retries(retries) if isinstance(retries, int) else retries
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")
        self.is_openai = self.base_url == OPENAI
        if api not in (None, "chat", "responses"):
            raise ModelError(f'api is "chat" or "responses", or left out, but got {api!r}')
        self._given = profile_from(profile, self.base_url)
        if api == "responses":
            self._must_have_responses()
        wanted: dict[str, Any] = {"api": api, "alternate": alternate, "system": system}
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        key = api_key or os.environ.get("OPENAI_API_KEY")
        if not key and self.profile.needs_key:
            raise NoKey(
                f"no key for {self.base_url}: it answers {model!r} only to those who have one; set"
                " OPENAI_API_KEY, or pass OpenAIModel(..., api_key=...), or name a server that"
                f' needs none, such as model="ollama:llama3"; {INSTEAD}'
            )
        self._key = key or "none"
        sdk()

    def __str__(self) -> str:
        return f"openai:{self.model}" if self.is_openai else f"{self.model} at {self.base_url}"

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, base_url={self.base_url!r})"

    @property
    def profile(self) -> Profile:
        """What the server can do, as far as it is known by now."""
        known = self._given or kept_profile(self.base_url) or PROFILES["unknown"]
        return replace(known, **self._wanted)

    @property
    def api(self) -> Api:
        """Which API is used."""
        return self.profile.api

    @property
    def form(self) -> dict[str, Any]:
        """How it wants a conversation written: keywords for `prepare_for_openai`."""
        known = self.profile
        return {
            "alternate": known.alternate,
            "system": known.system,
            "name_field": known.name_field,
            "strict_calls": known.strict_calls,
        }

    def body(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> dict[str, Any]:
        """The exact body of the request that would be sent; nothing is sent.

        >>> model = OpenAIModel("llama3", base_url="http://localhost:11434/v1", temperature=0)
        >>> model.body([{"role": "user", "content": "Hi"}], stream=False)
        {'model': 'llama3', 'messages': [{'role': 'user', 'content': 'Hi'}], 'temperature': 0}
        """
        write = responses_body if self.api == "responses" else chat_body
        written = write(
            self.profile,
            messages,
            tools=tools,
            says=says,
            stream=stream,
            max_tokens=self.max_tokens,
        )
        extra = {key: value for key, value in self.options.items() if key not in SDK_OPTIONS}
        extra |= extra.pop("extra_body", {})
        return {"model": self.model, **written, **extra}

    async def stream(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Piece]:
        """The answer, piece by piece as the server finds it; `CutOff` if it breaks off."""
        kept = await self._ready(messages, tools, says)
        body = self.body(messages, tools=tools, says=says)
        tries, begun = 0, False
        while True:
            try:
                async with aclosing(self._streamed(kept, body)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
            except ModelError as error:
                if begun:
                    raise
                await self.retries.before(tries, error)
                tries += 1
            else:
                return

    async def answer(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer, all at once; within `timeout` seconds of silence."""
        kept = await self._ready(messages, tools, says)
        body = self.body(messages, tools=tools, says=says, stream=False)
        tries = 0
        while True:
            try:
                with self._explaining():
                    answer = self._reader().whole(await self._send(kept.client, body))
            except ModelError as error:
                await self.retries.before(tries, error)
                tries += 1
            else:
                return answer

    def check(self) -> None:
        """Ask the server whether it is there, accepts the key and knows the model; else raise.

        For before the first turn: it waits for the server, at most five seconds. A server that
        does not list its models is taken to know this one, and so is llama.cpp, which answers to
        any name. What kind of server it is, is known from then on.
        """
        must_be_online(str(self))
        openai = sdk()
        asked = {"api_key": self._key, "base_url": self.base_url, "timeout": PROBE}
        with self._explaining(timeout=PROBE), openai.OpenAI(**asked, max_retries=0) as client:
            try:
                models = _listed(client.models.with_raw_response.list())
            except openai.NotFoundError:
                return
        keep_profile(self.base_url, models)
        known = [str(model.get("id")) for model in models]
        if self.profile.name == "llamacpp":
            return
        if known and self.model not in known and f"{self.model}:latest" not in known:
            raise unknown_model(self._place, f"it knows {', '.join(sorted(known)[:10])}")

    async def close(self) -> None:
        """Close the connections kept for this server and key on this event loop.

        They are closed by themselves when the loop ends; the next request opens new ones.
        """
        await close_client(self.base_url, self._key)

    def _must_have_responses(self) -> None:
        """Raise if it is known that it has not; one nobody knows may be tried."""
        known = self._given or PROFILES["unknown"]
        if not known.responses and known != PROFILES["unknown"]:
            raise CannotDo(
                f"the profile {known.name!r} says that {self.base_url} has no Responses API; leave"
                " api= out, or, if it has, pass profile=dataclasses.replace(profile,"
                f" responses=True); {INSTEAD}"
            )

    # -- one request ---------------------------------------------------------------------------

    async def _ready(
        self, messages: Chat, tools: Sequence[Tool], says: Mapping[str, Any] | None
    ) -> Kept:
        """All that must be known before a request: may it be, can it be, and who is asked."""
        must_be_online(str(self))
        self.body(messages, tools=tools, says=says)
        with self._explaining():
            kept = await client_of(self.base_url, self._key)
        if self._given is None and kept_profile(self.base_url) is None:
            async with kept.probing:
                if kept_profile(self.base_url) is None:
                    await self._probe(kept.client)
        return kept

    async def _probe(self, client: Any) -> None:
        """Ask once who the server is; one that does not say is nobody we know."""
        openai = sdk()
        try:
            async with asyncio.timeout(PROBE):
                models = _listed(await client.models.with_raw_response.list())
                keep_profile(self.base_url, models)
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            return  # the request itself will say so
        except (TimeoutError, openai.APITimeoutError, openai.APIStatusError, ValueError):
            keep_profile(self.base_url, ())
        except openai.OpenAIError:
            return

    async def _streamed(self, kept: Kept, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        reader = self._reader()
        heard: list[str] = []
        with self._explaining():
            events = await self._send(kept.client, body)
        async with events:
            with self._explaining(heard):
                if "html" in events.response.headers.get("content-type", ""):
                    page = await events.response.aread()
                    raise no_answer(str(self), page.decode("utf-8", "replace"))
                async for event in events:
                    for piece in reader.take(event):
                        if isinstance(piece, str):
                            heard.append(piece)
                        yield piece
        if not reader.ended:
            raise cut(self._place, "".join(heard))
        for piece in reader.end():
            yield piece

    async def _send(self, client: Any, body: dict[str, Any]) -> Any:
        """Send just this body, by the SDK."""
        rest = dict(body)
        given: dict[str, Any] = {
            name: rest.pop(name) for name in ("model", "stream") if name in rest
        }
        sent = {name: self.options[name] for name in SDK_OPTIONS if name in self.options}
        sent["timeout"] = self.timeout
        if self.api == "responses":
            return await client.responses.create(**given, **sent, extra_body=rest)
        given["messages"] = rest.pop("messages")
        return await client.chat.completions.create(**given, **sent, extra_body=rest)

    def _reader(self) -> ChatReader | ResponsesReader:
        kind = ResponsesReader if self.api == "responses" else ChatReader
        return kind(str(self), self.model)

    # -- errors --------------------------------------------------------------------------------

    @property
    def _place(self) -> Place:
        return Place(str(self), self.model, self.base_url, self.api, self.timeout)

    @contextmanager
    def _explaining(
        self, heard: list[str] | None = None, timeout: float | None = None
    ) -> Iterator[None]:
        """The errors of the SDK, and of the network under it, as ours; `heard`: of a stream."""
        try:
            yield
        except ModelError:
            raise
        except Exception as error:
            place = self._place if timeout is None else replace(self._place, timeout=timeout)
            ours = explained(place, error, None if heard is None else "".join(heard))
            if ours is None:
                raise
            raise ours from error


def _listed(response: Any) -> list[Mapping[str, Any]]:
    """The models in a list of them; the SDK stumbles over what is none."""
    given = response.http_response.json()
    models = given.get("data") if isinstance(given, Mapping) else None
    return [model for model in models or () if isinstance(model, Mapping)]
