"""Clients: one is kept for each server, key and event loop, and closed when its loop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import cache
from importlib import import_module
from typing import Any

from llambdao.openai._errors import ModelError

__all__ = ["INSTEAD", "client_of", "close_client", "sdk"]

INSTEAD = 'to go on without a server: model="offline"'

_kept: dict[asyncio.AbstractEventLoop, dict[tuple[str, str], Kept]] = {}


class Kept:
    """A client, and what is needed to close it."""

    def __init__(self, base_url: str, key: str) -> None:
        openai = sdk()
        self.client = openai.AsyncOpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,  # ours know what has been heard of an answer: see Retries
            http_client=openai.DefaultAsyncHttpxClient(verify=_certificates()),
        )
        self.probing = asyncio.Lock()
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None, None]:
        """Lives as long as the loop, which closes it, as it does all asynchronous generators."""
        try:
            yield
        finally:
            await self.client.close()  # not to be used again: see client_of


async def client_of(base_url: str, key: str) -> Kept:
    """The client for this server and key on the running loop."""
    loop = asyncio.get_running_loop()
    for gone in [one for one in list(_kept) if one.is_closed()]:
        _kept.pop(gone, None)
    clients = _kept.setdefault(loop, {})
    kept = clients.get((base_url, key))
    if kept is None or kept.client.is_closed():
        kept = clients[base_url, key] = Kept(base_url, key)
        await anext(kept.life)
    return kept


async def close_client(base_url: str, key: str) -> None:
    """Close the client for this server and key on the running loop, if there is one."""
    kept = _kept.get(asyncio.get_running_loop(), {}).pop((base_url, key), None)
    if kept is not None:
        await kept.life.aclose()


def sdk() -> Any:
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
    below = sdk().DefaultAsyncHttpxClient.__base__.__module__.partition(".")[0]
    return import_module(below).create_ssl_context()  # of the HTTP library of this SDK
