"""Faults: the errors of the SDK and of servers, as ours, which say what to do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from llambdao.openai._clients import INSTEAD, sdk
from llambdao.openai._errors import (
    BadAnswer,
    Busy,
    CutOff,
    ModelError,
    NoServer,
    Refused,
    RefusedField,
    ServerFailed,
    TimedOut,
    TooLong,
    UnknownModel,
    WrongKey,
)

__all__ = ["Place", "cut", "explained", "unknown_model"]

TOO_LONG = re.compile(
    r"context.length|context.size|maximum context|context.window|too many tokens"
    r"|prompt is too long|too large for model|exceed_context",
    re.IGNORECASE,
)
FIELD = re.compile(
    r"un(?:known|recognized|supported|expected)[ _](?:\w+ )?(?:fields?|param\w*|arguments?|value)"
    r"|extra_forbidden|extra (?:inputs|fields)|not permitted|invalid (?:type|value|name)"
    r"|not supported",
    re.IGNORECASE,
)
MODEL = re.compile(
    r"model_not_found|(?:invalid|unknown) model|model\b.{0,80}\bnot (?:found|exist)"
    r"|no such model|not a valid model",
    re.IGNORECASE | re.DOTALL,
)
HINTS = (
    (
        r"support tools|auto.tool.choice|--jinja",
        "ask it without tools, name a model that takes them, or start the server so that it does",
    ),
    (r"must alternate", "let them take turns, OpenAIModel(..., alternate=True)"),
    (r"system role|role.{0,9}system", 'put instructions first, OpenAIModel(..., system="user")'),
    (r"after role .?tool|tool.?call.?id", 'say who it is, OpenAIModel(..., profile="mistral")'),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something went wrong: which model, at which address."""

    who: str
    model: str
    base_url: str
    api: str
    timeout: float


def explained(place: Place, error: Exception, heard: str | None) -> ModelError | None:
    """The error as one of ours, if it is of the SDK, of the network, or of what came.

    `heard` is what has come of a stream already; None: there is no stream yet.
    """
    openai = sdk()
    if isinstance(error, openai.APITimeoutError):
        return _late(place, error)
    if isinstance(error, openai.APIStatusError):
        return _status(place, error)
    if isinstance(error, openai.APIConnectionError) or _is_http(error):
        why = str(error.__cause__ or error) or type(error.__cause__ or error).__name__
        if heard is not None:
            return cut(place, heard, why)
        return _nobody(place, why, begun="Connect" not in type(error.__cause__ or error).__name__)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        bad = BadAnswer(
            f"{place.who} gave what is no JSON ({error}); ask again, and look at what stands"
            f" between: a proxy, a wrong base_url; {INSTEAD}"
        )
        bad.text = heard or ""
        return bad
    if isinstance(error, openai.APIError):  # in mid-stream
        return ServerFailed(f"{place.who} failed ({error}); ask again later; {INSTEAD}")
    if isinstance(error, openai.OpenAIError):
        return Refused(f"{place.who} would not answer ({error}); {INSTEAD}")
    return None


def cut(place: Place, text: str, why: str = "no end of the answer came") -> CutOff:
    """An answer that broke off."""
    error = CutOff(
        f"the answer of {place.who} broke off ({why}); ask again: nothing was done by what came"
        f" of it; {INSTEAD}"
    )
    error.text = text
    return error


def unknown_model(place: Place, said: str) -> UnknownModel:
    """A model that is not there."""
    return UnknownModel(
        f"{place.base_url} has no model {place.model!r} ({said}); name another, or bring it there"
        f" (with Ollama: ollama pull {place.model}); {INSTEAD}"
    )


def _is_http(error: BaseException | None) -> bool:
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2")


def _late(place: Place, error: Exception) -> ModelError:
    if "Connect" in type(error.__cause__).__name__:
        return _nobody(place, f"no connection within {place.timeout} seconds")
    return TimedOut(
        f"{place.who} was silent for {place.timeout} seconds; give it more time,"
        f" OpenAIModel(..., timeout=...), or {INSTEAD}"
    )


def _nobody(place: Place, why: str, begun: bool = False) -> NoServer:
    error = NoServer(
        f"{place.base_url} hung up before it answered ({why}); ask again, or look at the server's"
        f" own log; {INSTEAD}"
        if begun
        else f"nobody answers at {place.base_url} ({why}); start the server there, or correct"
        f" base_url; {INSTEAD}"
    )
    error.again = True
    return error


def _status(place: Place, error: Any) -> ModelError:
    """What the server says, by its status and its words."""
    status: int = error.status_code
    said, code, field = _said(error)
    everything = f"{code} {said}"
    if status in (401, 403) and not MODEL.search(everything):
        return WrongKey(
            f"{place.base_url} does not accept the key ({said}); correct OPENAI_API_KEY or"
            f" api_key=...; {INSTEAD}"
        )
    if status in (429, 503, 529):
        return _busy(place, error, said, code)
    if status >= 500:
        failed = ServerFailed(
            f"{place.who} failed ({status}: {said}); ask again later, or look at the server's own"
            f" log; {INSTEAD}"
        )
        failed.again = status in (500, 502)
        failed.wait = _wait(error)
        return failed
    if status == 413 or TOO_LONG.search(everything):
        return TooLong(
            f"the conversation is too long for {place.who} ({said}); show it less of it:"
            f" OpenAINode(..., window=..., tokens=...), or name a model with a longer context;"
            f" {INSTEAD}"
        )
    if MODEL.search(everything) or (status == 404 and place.model in said):
        return unknown_model(place, said)
    if status == 404:
        other = "chat" if place.api == "responses" else "responses"
        return Refused(
            f"{place.base_url} has no such address ({said}); base_url mostly ends in /v1; or it"
            f" knows only the other API, OpenAIModel(..., api={other!r}); {INSTEAD}"
        )
    hint = next((hint for sign, hint in HINTS if re.search(sign, said, re.IGNORECASE)), "")
    if not hint and (field or FIELD.search(everything)):
        return RefusedField(
            f"{place.who} does not take {field or 'a field of the request'} ({said}); leave it out"
            " of OpenAIModel(...), or say what the server can do: OpenAIModel(...,"
            f" profile=...); {INSTEAD}"
        )
    return Refused(f"{place.who} would not answer ({said}); {f'{hint}; ' if hint else ''}{INSTEAD}")


def _busy(place: Place, error: Any, said: str, code: str) -> Busy:
    empty = "insufficient_quota" in code
    busy = Busy(
        f"{place.who} has nothing left for this key ({said}); pay for more, or {INSTEAD}"
        if empty
        else f"{place.who} is too busy ({said}); ask later, or fewer at a time; {INSTEAD}"
    )
    busy.wait = _wait(error)
    busy.again = not empty and error.response.headers.get("x-should-retry") != "false"
    return busy


def _wait(error: Any) -> float | None:
    """How many seconds the server asks us to wait: in a number, or until a date."""
    headers = error.response.headers
    try:
        if given := headers.get("retry-after-ms"):
            return max(float(given) / 1000, 0.0)
        if given := headers.get("retry-after"):
            return max(float(given), 0.0)
    except ValueError:
        return _until(headers)
    return None


def _until(headers: Any) -> float | None:
    """Seconds from the server's date to the one it names, both by its own clock."""
    try:
        then = parsedate_to_datetime(headers["retry-after"])
        return max((then - parsedate_to_datetime(headers["date"])).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None


def _said(error: Any) -> tuple[str, str, str]:
    """What the server says in words, its code or kind, and the field it means."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        inner = inner if isinstance(inner, dict) else {"message": str(inner)}
        said = inner.get("message") or inner.get("detail") or body
        code = " ".join(str(inner[key]) for key in ("code", "type") if inner.get(key))
        return _short(said), code, str(inner.get("param") or "")
    return _short(body or error.message), "", ""


def _short(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
