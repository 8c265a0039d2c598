"""Profiles: what each kind of server can do, and how it is told which one this is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llambdao.openai._errors import ModelError

__all__ = ["OPENAI", "PROFILES", "Profile", "keep_profile", "kept_profile", "profile_from"]

OPENAI = "https://api.openai.com/v1"
"""Where OpenAI listens."""

Api = Literal["chat", "responses"]
System = Literal["system", "developer", "user"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a server can do, and how it wants a conversation written.

    The defaults are those of a server nobody knows: the least that any of them understands.
    Change one with `dataclasses.replace` and pass it on, `OpenAIModel(..., profile=...)`.

    >>> Profile("mine").alternate, PROFILES["openai"].alternate
    (True, False)
    """

    name: str = "unknown"
    api: Api = "chat"
    """Which API is used, if nobody says."""
    responses: bool = False
    """Whether it has the Responses API."""
    alternate: bool = True
    """Whether user and assistant must take turns."""
    system: System = "system"
    """The role that instructions have."""
    name_field: bool = False
    """Whether names are sent in the field `name`, too; servers refuse or ignore it."""
    strict_calls: bool = True
    """Whether tool calls must be one at a time, under ids of nine letters and digits."""
    tools: bool = True
    """Whether it takes tools."""
    strict_tools: bool = False
    """Whether it takes `strict` with a tool."""
    schema: bool = False
    """Whether it holds a model to a JSON schema; else the model is only told to keep to it."""
    stream_usage: bool = False
    """Whether it must, and can, be asked for the usage of a stream; some tell it anyway."""
    store: bool = False
    """Whether it knows `store` in Chat Completions; in Responses all do."""
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the limit of an answer is called in Chat Completions."""
    needs_key: bool = False
    """Whether nobody is served without a key."""


PROFILES: dict[str, Profile] = {
    "openai": Profile(
        "openai",
        api="responses",
        responses=True,
        alternate=False,
        strict_calls=False,
        strict_tools=True,
        schema=True,
        stream_usage=True,
        store=True,
        max_tokens="max_completion_tokens",
        needs_key=True,
    ),
    "ollama": Profile("ollama", responses=True, schema=True, stream_usage=True, strict_calls=False),
    "vllm": Profile("vllm", responses=True, schema=True, stream_usage=True),
    "llamacpp": Profile("llamacpp", responses=True, schema=True, stream_usage=True),
    "mistral": Profile("mistral", schema=True, needs_key=True),
    "unknown": Profile(),
}
"""The kinds of server we know. The mode of each field is what its documentation says, 2026-11."""

ADDRESSES = {OPENAI: "openai", "https://api.mistral.ai/v1": "mistral"}

OWNERS = {"vllm": "vllm", "llamacpp": "llamacpp", "library": "ollama", "mistralai": "mistral"}
"""How a server shows itself in its list of models, by `owned_by`."""

_probed: dict[str, Profile] = {}


def profile_from(given: Profile | str | None, base_url: str) -> Profile | None:
    """The profile that is meant, or that the address shows; None: the server must be asked."""
    if isinstance(given, Profile):
        return given
    name = ADDRESSES.get(base_url) if given is None else given
    if name is None:
        return None
    if name not in PROFILES:
        raise ModelError(
            f"no server is known as {name!r}: profile= is one of {', '.join(PROFILES)}, or a"
            ' Profile(...) of your own; to go on without a server: model="offline"'
        )
    return PROFILES[name]


def kept_profile(base_url: str) -> Profile | None:
    """What was found out about this address, by this program."""
    return _probed.get(base_url)


def keep_profile(base_url: str, models: Iterable[Mapping[str, Any]]) -> Profile:
    """Find out by its list of models who a server is, and keep it."""
    owners = {str(model.get("owned_by")) for model in models}
    known = {OWNERS[owner] for owner in owners if owner in OWNERS}
    profile = PROFILES[known.pop() if len(known) == 1 else "unknown"]
    return _probed.setdefault(base_url, profile)
