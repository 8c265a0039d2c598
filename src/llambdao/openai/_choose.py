"""`model_from`: the model that a name, or the environment, stands for."""

from __future__ import annotations

import os

from llambdao.openai._errors import ModelError, UnknownModel
from llambdao.openai._models import EchoModel, Model, is_offline
from llambdao.openai._offline import OfflineModel
from llambdao.openai._profiles import OPENAI, PROFILES
from llambdao.openai._server import OpenAIModel

__all__ = ["model_from"]

LOCAL = {
    "ollama": "http://localhost:11434/v1",
    "vllm": "http://localhost:8000/v1",
    "llamacpp": "http://localhost:8080/v1",
    "lmstudio": "http://localhost:1234/v1",
}
"""Where servers on one's own machine listen unless told otherwise; they need no key."""

DEFAULT = "gpt-5-mini"
"""The model at OpenAI, unless one is named, here or in `OPENAI_MODEL`."""


def model_from(model: Model | str | None = None, base_url: str | None = None) -> Model:
    """The model that is meant: a model itself, a name, or None for what the environment offers.

    * `"offline"`: the offline voice; `"echo"`: an `EchoModel`
    * `"ollama:llama3"`, and so `vllm:`, `llamacpp:`, `lmstudio:`: a server on this machine
    * `"openai:gpt-5-mini"`, or any other name together with `base_url`: that server
    * None: the server of `base_url`, `OPENAI_BASE_URL` or `OPENAI_API_KEY`, with the model that
      `OPENAI_MODEL` names; without any of these, or `with offline()`, the offline voice

    >>> model_from("offline")
    OfflineModel()
    >>> model_from("ollama:llama3")
    OpenAIModel('llama3', base_url='http://localhost:11434/v1')
    """
    if model is None:
        return _of_environment(base_url)
    if not isinstance(model, str):
        if callable(getattr(model, "stream", None)):
            return model
        raise ModelError(
            f"expected a model, which has a `stream`, or the name of one: {_NAMES};"
            f" but got {model!r:.80}"
        )
    if model == "offline":
        return OfflineModel()
    if model == "echo":
        return EchoModel()
    server, colon, name = model.partition(":")
    if colon and name and server in LOCAL:
        known = server if server in PROFILES else None
        return OpenAIModel(name, base_url or LOCAL[server], api_key="none", profile=known)
    if colon and name and server == "openai":
        return OpenAIModel(name, base_url)
    if model and (base_url or not colon or "OPENAI_BASE_URL" in os.environ):
        return OpenAIModel(model, base_url)
    raise UnknownModel(f"no server is known as {server!r}, in {model!r}; write {_NAMES}")


_NAMES = '"offline", "echo", "ollama:llama3", "openai:gpt-5-mini", or a name and base_url=...'


def _of_environment(base_url: str | None) -> Model:
    base_url = base_url or os.environ.get("OPENAI_BASE_URL")
    if is_offline() or not (base_url or os.environ.get("OPENAI_API_KEY")):
        return OfflineModel()
    name = os.environ.get("OPENAI_MODEL")
    if name is None and base_url is not None and base_url.rstrip("/") != OPENAI:
        raise UnknownModel(
            f"which model at {base_url}? Set OPENAI_MODEL, or name it: model=...; to go on"
            ' without a server: model="offline"'
        )
    return OpenAIModel(name or DEFAULT, base_url)
