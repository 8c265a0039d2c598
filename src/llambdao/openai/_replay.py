"""`ReplayModel`: requests and answers on tape, recorded once and replayed piece by piece."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

import msgspec

from llambdao.openai._calls import Piece, Tool, ToolCall, Usage, pieces
from llambdao.openai._choose import model_from
from llambdao.openai._errors import BadTape, NotRecorded
from llambdao.openai._models import Chat, Model
from llambdao.openai._money import FREE, Price, price_of

__all__ = ["ReplayModel"]

FORMAT = 1
"""The number of the format of tapes; it changes when old ones cannot be read any longer."""

HIDDEN = "***"
"""What is written in place of a key."""

LIKE = 200_000
"""How many characters of a request are compared, at most, to find the nearest one."""


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call, as it stands on a tape."""

    id: str
    name: str
    arguments: str


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A usage, as it stands on a tape."""

    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    requests: int = 1


class Other(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A piece of an answer that is no words: a call, or what it cost."""

    call: Call | None = None
    usage: Spent | None = None


class Take(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request and its answer."""

    request: dict[str, Any]
    answer: list[str | Other]


class Tape(msgspec.Struct, forbid_unknown_fields=True):
    """A file of requests and answers, made for people to read: what is recorded of a model."""

    format: int
    model: str
    form: dict[str, Any]
    takes: list[Take]


class ReplayModel(Model):
    """Answers as another model did when it was recorded; for tests of real traffic without it.

    What is asked is looked up in the tape, a file of readable JSON, and answered with the same
    pieces in the same order. The same request recorded three times is answered in that order,
    and a fourth time it is on no tape. With a `model`, or its name, what is not on the tape is
    asked of that and recorded; the model is made when the first such request comes, so replaying
    needs no key. Without, it is `NotRecorded`, which shows how the nearest request differs.

    Nothing of a request but the conversation, the tools and the typed reply that was asked for is
    written down, and wherever a key stands in these, `***` is written instead. One model writes to
    a tape at a time.

    >>> import tempfile, os
    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ReplayModel, ScriptedModel
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tape = os.path.join(folder, "tape.json")
    ...     first = ask(OpenAINode(model=ReplayModel(tape, ScriptedModel("Hello!"))), "Hi")
    ...     again = ask(OpenAINode(model=ReplayModel(tape)), "Hi")
    >>> again.content
    'Hello!'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Model | str | None = None,
        *,
        base_url: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._model, self._base_url = model, base_url
        self._lock = Lock()
        self._played: Counter[str] = Counter()
        self._tape = _read(self.path)
        self._form = None if self._tape is None else self._tape.form
        if self._tape is None and not self._can_record:
            raise NotRecorded(
                f"there is no tape {self.path}; to record one name a model,"
                f' ReplayModel({self.path.name!r}, model="openai:gpt-5-mini"), and run it once'
            )

    @property
    def _can_record(self) -> bool:
        return self._model is not None or self._base_url is not None

    @property
    def model(self) -> Model | None:
        """The model that is recorded, None if none is."""
        if not self._can_record:
            return None
        if not isinstance(self._model, Model):
            self._model = model_from(self._model, self._base_url)
        return self._model

    @property
    def form(self) -> dict[str, Any]:
        """How a conversation is written: as for the model that was recorded."""
        # The first it was: what a server is like may be known better later, and a request that is
        # written in another way would not be found again.
        if self._form is None:
            self._form = {**getattr(self.model, "form", {})}
        return self._form

    @property
    def price(self) -> Price | None:
        """What is replayed costs nothing; what is recorded costs what its model does."""
        return price_of(self.model) if self._can_record else FREE

    @property
    def takes(self) -> int:
        """How many requests are on the tape."""
        return 0 if self._tape is None else len(self._tape.takes)

    async def stream(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Piece]:
        """The answer on the tape, piece by piece; or a new one, which is recorded once whole."""
        request = _request(messages, tools, says, self._keys())
        take = self._next(request)
        if take is not None:
            for written in take.answer:
                yield _played(written)
            return
        model = self.model
        if model is None:
            raise self._not_recorded(request)
        heard: list[Piece] = []
        answer = pieces(model, messages, tools=tools, says=says)
        try:
            async for piece in answer:
                heard.append(piece)
                yield piece
        finally:
            if isinstance(answer, AsyncGenerator):
                await answer.aclose()
        self._record(model, request, heard)

    def __str__(self) -> str:
        return self._tape.model if self._tape is not None else str(self.model)

    def __repr__(self) -> str:
        return f"ReplayModel({str(self.path)!r})"

    def _keys(self) -> list[str]:
        """What must never be written down."""
        known = [os.environ.get("OPENAI_API_KEY"), getattr(self._model, "_key", None)]
        return [key for key in known if isinstance(key, str) and len(key) > 4]

    def _next(self, request: dict[str, Any]) -> Take | None:
        """What this request was answered, the first time, the second time ..."""
        if self._tape is None:
            return None
        wanted = _text(request)
        with self._lock:
            same = [take for take in self._tape.takes if _text(take.request) == wanted]
            if self._played[wanted] >= len(same):
                return None
            take = same[self._played[wanted]]
            self._played[wanted] += 1
        return take

    def _record(self, model: Model, request: dict[str, Any], heard: Iterable[Piece]) -> None:
        take = Take(request, [_taken(piece, self._keys()) for piece in heard])
        with self._lock:
            if self._tape is None:
                self._tape = Tape(FORMAT, str(model), self.form, [])
            self._tape.takes.append(take)
            self._played[_text(request)] += 1
            _write(self.path, self._tape)

    def _not_recorded(self, request: dict[str, Any]) -> NotRecorded:
        takes = [] if self._tape is None else self._tape.takes
        count = sum(take.request == request for take in takes)
        if count:
            what = f"this request is {count} times on {self.path} and was made once more"
        else:
            what = f"this request is not among the {len(takes)} on {self.path}"
        hint = 'name the model to record it, ReplayModel(..., model="openai:gpt-5-mini")'
        if count or not takes:
            return NotRecorded(f"{what}; {hint}")
        return NotRecorded(
            f"{what}; {hint}. The nearest differs in:\n{_difference(takes, request)}"
        )


# -- what is written down --------------------------------------------------------------------------


def _request(
    messages: Chat, tools: Sequence[Tool], says: Mapping[str, Any] | None, keys: list[str]
) -> dict[str, Any]:
    """A request as plain data, without keys."""
    request: dict[str, Any] = {"messages": [dict(item) for item in messages]}
    if tools:
        request["tools"] = [asdict(tool) for tool in tools]
    if says is not None:
        request["says"] = dict(says)
    hidden: dict[str, Any] = _hidden(json.loads(json.dumps(request)), keys)
    return hidden


def _hidden(data: Any, keys: list[str]) -> Any:
    """The data with `***` wherever a key stands in its texts."""
    if isinstance(data, str):
        for key in keys:
            data = data.replace(key, HIDDEN)
        return data
    if isinstance(data, list):
        return [_hidden(one, keys) for one in data]
    if isinstance(data, dict):
        return {_hidden(name, keys): _hidden(value, keys) for name, value in data.items()}
    return data


def _text(request: Mapping[str, Any]) -> str:
    """A request as lines, the same for the same request."""
    return json.dumps(request, ensure_ascii=False, indent=1, sort_keys=True)


def _taken(piece: Piece, keys: list[str]) -> str | Other:
    if isinstance(piece, str):
        return str(_hidden(piece, keys))
    data = _hidden(asdict(piece), keys)
    return Other(call=Call(**data)) if isinstance(piece, ToolCall) else Other(usage=Spent(**data))


def _played(piece: str | Other) -> Piece:
    if isinstance(piece, str):
        return piece
    if piece.call is not None:
        return ToolCall(**msgspec.structs.asdict(piece.call))
    assert piece.usage is not None
    return Usage(**msgspec.structs.asdict(piece.usage))


def _difference(takes: Iterable[Take], request: dict[str, Any]) -> str:
    """The lines in which a request differs from the one that is nearest to it."""
    wanted = _text(request)
    match = SequenceMatcher(autojunk=False)
    match.set_seq2(wanted[:LIKE].splitlines())
    nearest, best = "", -1.0
    for take in takes:
        text = _text(take.request)
        match.set_seq1(text[:LIKE].splitlines())
        if match.real_quick_ratio() > best and (ratio := match.ratio()) > best:
            nearest, best = text, ratio
    lines = unified_diff(
        nearest.splitlines(), wanted.splitlines(), "tape", "request", "", "", 1, ""
    )
    return "\n".join(line[:400] for _, line in zip(range(60), lines, strict=False))


# -- the file --------------------------------------------------------------------------------------


def _read(path: Path) -> Tape | None:
    """The tape at this path; None if there is none yet."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadTape(f"the tape {path} cannot be read: {error.strerror}") from error
    try:
        tape = msgspec.json.decode(text, type=Tape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTape(
            f"{path} is no tape: {error}; delete it, and record it again with a model"
        ) from error
    for take in tape.takes:
        for piece in take.answer:
            if not isinstance(piece, str) and (piece.call is None) is (piece.usage is None):
                raise BadTape(f"{path} is no tape: a piece is words, or a call, or a usage")
    if tape.format != FORMAT:
        raise BadTape(
            f"{path} is a tape of format {tape.format}, and this release reads {FORMAT}; delete it,"
            " and record it again with a model"
        )
    return tape


def _write(path: Path, tape: Tape) -> None:
    """All of it, or, should something go wrong, nothing: the old tape stays."""
    text = json.dumps(msgspec.to_builtins(tape), ensure_ascii=False, indent=1) + "\n"
    name = None
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            name = file.name
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        if name is not None:
            with suppress(OSError):
                Path(name).unlink()
        raise BadTape(
            f"the tape {path} cannot be written: {error.strerror}; record into a folder that is"
            " there and yours"
        ) from error
