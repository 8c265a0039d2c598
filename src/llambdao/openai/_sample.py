"""`sample`: the plainest value that fits a JSON schema, for models that only pretend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["sample"]

DEPTH = 20
"""How deep a schema that speaks of itself is followed."""


def sample(schema: Mapping[str, Any], words: str = "") -> Any:
    """A value that fits: the first choice, the smallest number, `words` where text may stand.

    Only what is required is filled in. Patterns of text are not looked at.

    >>> sample({"type": "object", "properties": {"aye": {"type": "boolean"},
    ...         "why": {"type": "string"}}, "required": ["aye", "why"]}, "So be it.")
    {'aye': False, 'why': 'So be it.'}
    """
    return _sample(schema, schema, words, DEPTH)


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], words: str, depth: int) -> Any:
    if depth == 0:
        return None
    if "$ref" in schema:
        found: Any = root
        for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if step else found
        return _sample(found, root, words, depth - 1)
    for one in ("const", "default"):
        if one in schema:
            return schema[one]
    for many in ("enum", "examples"):
        if schema.get(many):
            return schema[many][0]
    for some in ("anyOf", "oneOf", "allOf"):
        if schema.get(some):
            return _sample(schema[some][0], root, words, depth - 1)
    return _of_kind(schema, root, words, depth)


def _of_kind(schema: Mapping[str, Any], root: Mapping[str, Any], words: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        known = schema.get("properties", {})
        return {
            name: _sample(known.get(name, {}), root, words, depth - 1)
            for name in schema.get("required", ())
        }
    if kind == "array":
        one = schema.get("prefixItems") or [schema.get("items", {})] * schema.get("minItems", 0)
        return [_sample(item, root, words, depth - 1) for item in one]
    if kind == "string":
        return _text(schema, words)
    if kind in ("integer", "number"):
        return _number(schema)
    return False if kind == "boolean" else None


def _text(schema: Mapping[str, Any], words: str) -> str:
    text = words[: schema.get("maxLength")]
    return text.ljust(schema.get("minLength", 0), ".")


def _number(schema: Mapping[str, Any]) -> Any:
    whole = schema.get("type") != "number"
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and below is not None and not whole:
        return (above + below) / 2
    low = above + 1 if above is not None else low
    high = below - 1 if below is not None else high
    value = 0
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high
    step = schema.get("multipleOf", 1 if whole else 0)
    if step and value % step:
        value += step - value % step
    return int(value) if whole else value
