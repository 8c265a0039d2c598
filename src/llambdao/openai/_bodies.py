"""Bodies: what is sent to a server, exactly, in the words of either of the two APIs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llambdao.openai._calls import Tool
from llambdao.openai._errors import CannotDo, NothingSaid, RefusedField
from llambdao.openai._models import Chat
from llambdao.openai._prepare import Prepared
from llambdao.openai._profiles import Profile

__all__ = ["chat_body", "responses_body"]

Says = Mapping[str, Any]

LOOSE = {"allOf", "default", "if", "not", "oneOf", "patternProperties", "prefixItems"}
"""What may not stand in a schema that is to be kept to the letter."""


def chat_body(
    profile: Profile,
    messages: Chat,
    *,
    tools: Sequence[Tool],
    says: Says | None,
    stream: bool,
    max_tokens: int | None,
) -> dict[str, Any]:
    """The body of a Chat Completions request, without the model and the user's own options."""
    _check(profile, messages, tools)
    items = [dict(item) for item in messages]
    body: dict[str, Any] = {"messages": items}
    if says is not None and profile.schema:
        body["response_format"] = {"type": "json_schema", "json_schema": _format(says)}
    elif says is not None:
        _instruct(items, says)
    if tools:
        body["tools"] = [_chat_tool(tool, profile) for tool in tools]
    if max_tokens is not None:
        body[profile.max_tokens] = max_tokens
    if stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if profile.store:
        body["store"] = False
    return body


def responses_body(
    profile: Profile,
    messages: Chat,
    *,
    tools: Sequence[Tool],
    says: Says | None,
    stream: bool,
    max_tokens: int | None,
) -> dict[str, Any]:
    """The body of a Responses request, without the model and the user's own options."""
    _check(profile, messages, tools)
    body: dict[str, Any] = {}
    if isinstance(messages, Prepared):
        body |= messages.responses()
    else:
        body |= {"input": [*_plain_input(messages)], "store": False}
    if says is not None and profile.schema:
        body["text"] = {"format": {"type": "json_schema", **_format(says)}}
    elif says is not None and "instructions" in body:
        body["instructions"] += f"\n\n{_instruction(says)}"
    elif says is not None:
        body["instructions"] = _instruction(says)
    if tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
            for tool in tools
        ]
    if max_tokens is not None:
        body["max_output_tokens"] = max_tokens
    if stream:
        body["stream"] = True
    return body


# -- what cannot be sent ---------------------------------------------------------------------------


def _check(profile: Profile, messages: Chat, tools: Sequence[Tool]) -> None:
    """Raise before a request is spent on what no server would take."""
    if not any(item.get("content") or item.get("tool_calls") for item in messages):
        raise NothingSaid(
            "there is nothing to answer: the conversation holds no words; say something, or pass"
            " it through prepare_for_openai(..., viewer=node), which asks the viewer to begin"
        )
    if tools and not profile.tools:
        raise CannotDo(
            f"the profile {profile.name!r} says that its server takes no tools; ask without them,"
            " or, if it does, pass profile=dataclasses.replace(profile, tools=True)"
        )
    seen: set[str] = set()
    for tool in tools:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.name) or tool.name in seen:
            raise RefusedField(
                f"no server takes a tool called {tool.name!r}: each needs a name of its own, of at"
                " most 64 letters, digits, _ and -"
            )
        seen.add(tool.name)


# -- typed replies ---------------------------------------------------------------------------------


def _format(says: Says) -> dict[str, Any]:
    """A schema as both APIs take it: to the letter, if it is one of those that can be."""
    strict = says["strict"] if "strict" in says else _is_closed(says["schema"])
    return {"name": _named(says["name"]), "schema": says["schema"], "strict": strict}


def _named(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "reply"


def _is_closed(schema: Any) -> bool:
    """Whether every object in it lists all it may hold, which is what `strict` demands."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    if LOOSE & set(schema):
        return False
    named = {**schema.get("properties", {}), **schema.get("$defs", {})}
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            return False
    rest = [schema[key] for key in ("items", "anyOf") if key in schema]
    return all(map(_is_closed, [*named.values(), *rest]))


def _instruction(says: Says) -> str:
    """The schema as words, for servers that cannot hold a model to it."""
    schema = json.dumps(says["schema"], ensure_ascii=False)
    return (
        "Answer with one JSON value and nothing else, no words before or after it and no code"
        f" fence. It must fit this JSON schema: {schema}"
    )


def _instruct(items: list[dict[str, Any]], says: Says) -> None:
    """Add the instruction to the first item, which is the system's, or opens the conversation."""
    first = items[0]
    if first["role"] in ("system", "developer", "user") and isinstance(first["content"], str):
        both = [first["content"], _instruction(says)]
        first["content"] = "\n\n".join(both[::-1] if first["role"] == "user" else both)
    else:
        items.insert(0, {"role": "system", "content": _instruction(says)})


# -- parts -----------------------------------------------------------------------------------------


def _chat_tool(tool: Tool, profile: Profile) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if tool.strict and profile.strict_tools:
        function["strict"] = True
    return {"type": "function", "function": function}


def _plain_input(messages: Chat) -> Iterable[dict[str, Any]]:
    """A plain list of chat items for the Responses API."""
    for item in messages:
        if item["role"] == "tool":
            output = {"call_id": item["tool_call_id"], "output": item["content"]}
            yield {"type": "function_call_output", **output}
            continue
        if item.get("content") or not item.get("tool_calls"):
            yield {"type": "message", "role": item["role"], "content": item["content"]}
        for call in item.get("tool_calls") or ():
            yield {"type": "function_call", "call_id": call["id"], **call["function"]}
