"""`prepare_for_openai`: what was said, as one who took part would have it put to a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from llambdao.kernel.errors import BadMessage
from llambdao.kernel.message import COMMON, Message
from llambdao.openai._labels import Cast, harmless

__all__ = ["Fate", "Prepared", "Report", "Turn", "estimate_tokens", "prepare_for_openai"]

PER_ITEM = 4
"""Tokens that an item costs beside its words."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker said at a time, whole: his words, and his tool calls with their results."""

    messages: tuple[Message, ...]
    speaker: str
    own: bool
    text: str
    calls: tuple[dict[str, str], ...] = ()
    results: tuple[tuple[str, str], ...] = ()

    @property
    def tokens(self) -> int:
        """What it costs, by `estimate_tokens`."""
        texts = [f"{self.speaker}: {self.text}", *(c["name"] + c["arguments"] for c in self.calls)]
        texts += [result for _, result in self.results]
        return sum(PER_ITEM + estimate_tokens(text) for text in texts)


@dataclass(slots=True)
class Item:
    """The intermediate form, which both encoders write out: one item of a request."""

    role: str
    turns: list[Turn] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    calls: tuple[dict[str, str], ...] = ()
    call_id: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """All its words."""
        return "\n\n".join(text for text in self.texts if text)

    @property
    def speakers(self) -> set[str]:
        """Who speaks in it."""
        return {turn.speaker for turn in self.turns}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one message: the place of its item, or None and why it was left out."""

    message: Message
    speaker: str
    item: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Which message became which item, what was merged, left out or added, and the estimated cost.

    `added` names, by place, the items that hold words of ours: system, opener, your turn.

    >>> print(prepare_for_openai([Message("Hello")]).report)
    someone: 'Hello' -> item 0
    about 6 tokens
    """

    fates: tuple[Fate, ...]
    added: dict[int, str]
    tokens: int

    @property
    def dropped(self) -> tuple[Fate, ...]:
        """The messages that were left out."""
        return tuple(fate for fate in self.fates if fate.item is None)

    @property
    def merged(self) -> tuple[Fate, ...]:
        """The messages that share their item with others."""
        items = [fate.item for fate in self.fates]
        return tuple(f for f in self.fates if f.item is not None and items.count(f.item) > 1)

    def __str__(self) -> str:
        lines = [
            f"{fate.speaker}: {fate.message.content[:40]!r} -> "
            + (f"left out: {fate.why}" if fate.item is None else f"item {fate.item}")
            for fate in self.fates
        ]
        lines += [f"added: {note} -> item {place}" for place, note in sorted(self.added.items())]
        return "\n".join([*lines, f"about {self.tokens} tokens"])


class Prepared(list[dict[str, Any]]):
    """The items of a Chat Completions request, with a `report` of what became of each message.

    `viewer` is the label of who is to answer, `turns` are who said what, `instructions` is the
    text of the system message, and `responses()` is the same conversation for the other API.
    """

    def __init__(
        self,
        items: Sequence[Item],
        report: Report,
        *,
        viewer: str | None,
        persona: str,
        instructions: str,
        name_field: bool,
    ) -> None:
        super().__init__(_chat(item, name_field) for item in items)
        self.report = report
        self.viewer = viewer
        self.persona = persona
        self.instructions = instructions
        self.turns = tuple(turn for item in items for turn in item.turns)
        self._items = items

    def responses(self) -> dict[str, Any]:
        """The same for the Responses API: `client.responses.create(model=..., **responses())`.

        Nothing is kept on the server.

        >>> prepare_for_openai([Message("Hello")]).responses()["input"]
        [{'type': 'message', 'role': 'user', 'content': 'Hello'}]
        """
        folded = not any(item.note == "system" for item in self._items)
        instructions = "" if folded else self.instructions
        return {
            **({"instructions": instructions} if instructions else {}),
            "input": [entry for item in self._items for entry in _responses(item)],
            "store": False,
        }


def prepare_for_openai(
    messages: Message | Iterable[Message],
    viewer: Any = None,
    roster: Iterable[Any] | None = None,
    *,
    names: Literal["auto", "always"] = "auto",
    name_field: bool = False,
    window: int | None = 24,
    tokens: int | None = None,
    earlier: int | str = 0,
    alternate: bool = True,
    system: Literal["system", "developer", "user"] = "system",
    strict_calls: bool = False,
) -> Prepared:
    r"""Messages as a chat that a model continues as `viewer`: a list of dicts, with a `.report`.

    It takes a message, a list of them, or a thread (`message.thread()`), oldest first, and it
    shows them all: pass only what the viewer could hear. The same arguments give the same list.

    * The viewer's own words are `assistant`, everybody else's are `user`, whatever their `role`.
    * A name stands before the words, `Rumi: ...`, unless there is just one other speaker, in the
      roster or in what was said, none of whose lines looks like a speaker's label. Lines that do
      get a `> `. `names="always"`: in any case; `name_field`: in the field `name`, too.
    * One system message comes first: the viewer's `persona`, who is there, "answer only as ...".
      `system` is the role it gets; with "user" it opens the first user message instead, for
      models whose template knows no system (Gemma 2, the first Mistral), and names are shown.
    * With `alternate`, the default because most servers are unknown, user and assistant strictly
      take turns, user first and last. Without it each message is an item of its own.
    * At most the last `window` turns are kept, and of these no more than fit into `tokens`, by
      our own estimate (None: no limit); the last one always. `earlier` says what came before
      `messages`: how many, or a summary of it.
    * A tool call is a message of the viewer whose metadata has `tool_calls`, each a dict of `id`,
      `name` and `arguments` (JSON); its result is a message in reply to it whose metadata has
      `tool_call_id`. They are kept or left out together; other people's are left out. With
      `strict_calls` they are as the strictest templates demand: one at a time (Llama 3.1), under
      ids of nine letters and digits (Mistral), the arguments a JSON object.

    >>> from llambdao import Node
    >>> rumi, lao_tzu = Node(name="Rumi", persona="a poet"), Node(name="Lao Tzu")
    >>> said = [Message("Why?"), Message("Why not?", sender=lao_tzu), Message("Ah.", sender=rumi)]
    >>> for item in prepare_for_openai(said, viewer=rumi)[1:]:
    ...     print(item)
    {'role': 'user', 'content': 'someone: Why?\n\nLao Tzu: Why not?'}
    {'role': 'assistant', 'content': 'Ah.'}
    {'role': 'user', 'content': '(Rumi, your turn.)'}
    """
    said = _messages(messages)
    present = list(roster or ())
    cast = Cast(viewer, present, (message.sender for message in said))
    turns, fates = _turns(said, cast)
    instruct = _Instructions(cast, present, said, earlier)
    kept = _window(turns, window, tokens, PER_ITEM + estimate_tokens(instruct.text(0, named=True)))
    missing = len(turns) - len(kept)
    named = names == "always" or system == "user" or _need_names(kept, cast, present)
    text = instruct.text(sum(len(turn.messages) for turn in turns[:missing]), named=named)
    items = _items(kept, cast, named=named, strict_calls=strict_calls)
    if alternate:
        items = _alternating(items, None if viewer is None else cast.label(viewer))
    items = _instructed(items, text, system)
    places = {id(m): at for at, item in enumerate(items) for t in item.turns for m in t.messages}
    fates |= {id(m): "beyond the window" for turn in turns[:missing] for m in turn.messages}
    report = Report(
        fates=tuple(
            Fate(m, cast.label(m.sender), places.get(id(m)), fates.get(id(m), "")) for m in said
        ),
        added={place: item.note for place, item in enumerate(items) if item.note},
        tokens=sum(PER_ITEM + estimate_tokens(item.text) for item in items)
        + sum(estimate_tokens(json.dumps(item.calls)) for item in items if item.calls),
    )
    return Prepared(
        items,
        report,
        viewer=None if viewer is None else cast.label(viewer),
        persona=str(getattr(viewer, "persona", "") or ""),
        instructions=text,
        name_field=name_field,
    )


def estimate_tokens(text: str) -> int:
    """About how many tokens a text costs, reckoned without a network, rather too many than too few.

    A token for every three and a half ASCII characters, and one for every other character.

    >>> estimate_tokens("Hello, world!"), estimate_tokens("道可道")
    (4, 3)
    """
    plain = sum(map(str.isascii, text))
    return -(-plain * 2 // 7) + len(text) - plain


# -- from messages to turns ------------------------------------------------------------------------


def _messages(messages: Message | Iterable[Message]) -> list[Message]:
    said = [messages] if isinstance(messages, Message) else list(messages)
    for message in said:
        if not isinstance(message, Message):
            raise BadMessage(
                f"expected a message, a list of messages or a thread, but it holds {message!r:.80}"
            )
    return said


def _text(message: Message) -> str:
    """The words of a message; the fields of a typed one as JSON after them."""
    own = message.__struct_fields__[COMMON:]
    if not own:
        return harmless(str(message.content))
    data = message.dict()
    fields = json.dumps({name: data[name] for name in own}, ensure_ascii=False)
    return harmless(f"{message.content} {message.kind} {fields}".strip())


def _turns(said: list[Message], cast: Cast) -> tuple[list[Turn], dict[int, str]]:
    """Whole turns in order, and why the other messages are left out, by `id()`."""
    turns: list[Turn] = []
    why: dict[int, str] = {}
    used: set[int] = set()
    for place, message in enumerate(said):
        if id(message) in used:
            continue
        own = cast.viewer is not None and message.sender == cast.viewer
        if message.metadata.get("tool_calls"):
            turn = _called(message, said[place + 1 :], cast) if own else None
            if turn is None:
                why[id(message)] = (
                    "a tool call without its result" if own else "another's tool call"
                )
                continue
            used |= {id(one) for one in turn.messages}
        elif "tool_call_id" in message.metadata:
            why[id(message)] = "the result of no tool call here"
            continue
        else:
            turn = Turn((message,), cast.label(message.sender), own, _text(message))
            if not turn.text.strip():
                why[id(message)] = "empty"
                continue
        turns.append(turn)
    return turns, why


def _called(message: Message, later: list[Message], cast: Cast) -> Turn | None:
    """The viewer's tool calls with all their results; None if one is missing."""
    calls = tuple(
        {name: harmless(str(call.get(name, ""))) for name in ("id", "name", "arguments")}
        for call in message.metadata["tool_calls"]
    )
    results: dict[str, Message] = {}
    for other in later:
        answered = other.reply_to is not None and (
            other.reply_to is message or other.reply_to == message
        )
        if answered and (called := other.metadata.get("tool_call_id")) is not None:
            results.setdefault(str(called), other)
    if any(call["id"] not in results for call in calls):
        return None
    found = [results[call["id"]] for call in calls]
    outputs = tuple((call["id"], _text(one)) for call, one in zip(calls, found, strict=True))
    label = cast.label(message.sender)
    return Turn((message, *found), label, True, _text(message), calls, outputs)


def _window(turns: list[Turn], most: int | None, tokens: int | None, spent: int) -> list[Turn]:
    """The last turns that fit, whole; the last one in any case."""
    kept = 0
    for turn in reversed(turns):
        spent += turn.tokens
        full = (most is not None and kept >= most) or (tokens is not None and spent > tokens)
        if kept and full:
            break
        kept += 1
    return turns[len(turns) - kept :]


def _need_names(turns: list[Turn], cast: Cast, roster: list[Any]) -> bool:
    others = {turn.speaker for turn in turns if not turn.own}
    others |= {cast.label(one) for one in roster if cast.viewer is None or one != cast.viewer}
    return len(others) > 1 or any(not cast.is_plain(turn.text) for turn in turns if not turn.own)


# -- what the viewer is told -----------------------------------------------------------------------


class _Instructions:
    """The system message: who the viewer is, who is there, what is not shown."""

    def __init__(
        self, cast: Cast, roster: list[Any], said: list[Message], earlier: int | str
    ) -> None:
        self.cast, self.earlier = cast, earlier
        present = dict.fromkeys(
            cast.label(one)
            for one in (*roster, *(message.sender for message in said))
            if one is not None and (cast.viewer is None or one != cast.viewer)
        )
        self.present = list(present)

    def text(self, missing: int, *, named: bool) -> str:
        """All of it, a line each."""
        return "\n".join(line for line in self.lines(missing, named=named) if line)

    def lines(self, missing: int, *, named: bool) -> Iterable[str]:
        """The lines of it, some of them empty."""
        viewer = self.cast.viewer
        if viewer is not None:
            label = self.cast.label(viewer)
            yield f"You are {label}."
            yield harmless(str(getattr(viewer, "persona", "") or "").strip())
            shown = ", ".join(self.present[:50])
            more = len(self.present) - 50
            yield shown and f"With you: {shown}{f' and {more} others' if more > 0 else ''}."
            if named:
                yield (
                    "In what you read, a name and a colon stand before the words of each speaker;"
                    " a line that begins with > is quoted by that speaker."
                )
            yield (
                f"Answer only as {label}: speak for nobody else, and put no name before your words."
            )
        if isinstance(self.earlier, str):
            summary = self.cast.quoted(harmless(self.earlier.strip()))
            yield summary and f"What was said earlier, in short: {summary}"
        else:
            missing += self.earlier
        if missing:
            yield f"Not shown: {missing} earlier {'message' if missing == 1 else 'messages'}."


# -- from turns to items ---------------------------------------------------------------------------


def _items(turns: list[Turn], cast: Cast, *, named: bool, strict_calls: bool) -> list[Item]:
    items: list[Item] = []
    for turn in turns:
        if turn.own:
            text = cast.quoted(turn.text)
        else:
            text = f"{turn.speaker}: {cast.quoted(turn.text)}" if named else turn.text
        item = Item("assistant" if turn.own else "user", [turn], [text], turn.calls)
        results = [
            Item("tool", texts=[cast.quoted(result)], call_id=call) for call, result in turn.results
        ]
        if turn.calls and strict_calls:
            items += _one_by_one(item, results)
        else:
            items += [item, *results]
    return items


def _one_by_one(item: Item, results: list[Item]) -> Iterable[Item]:
    """The calls of an item one at a time, each with its result, as strict templates have them."""
    for place, (call, result) in enumerate(zip(item.calls, results, strict=True)):
        result.call_id = _short(call["id"])
        strict = {**call, "id": result.call_id, "arguments": _an_object(call["arguments"])}
        first = place == 0
        yield Item("assistant", item.turns if first else [], item.texts if first else [], (strict,))
        yield result


def _an_object(arguments: str) -> str:
    """The arguments as they are, if they are a JSON object; templates stumble over others."""
    try:
        fine = isinstance(json.loads(arguments), dict)
    except ValueError:
        fine = False
    return arguments if fine else json.dumps({"not_an_object": arguments})


def _short(call: str) -> str:
    """The id of a call as nine letters and digits: as it is, or another for another."""
    if re.fullmatch(r"[A-Za-z0-9]{9}", call):
        return call
    return blake2b(call.encode("utf-8", "replace"), digest_size=8).hexdigest()[:9]


def _alternating(items: list[Item], viewer: str | None) -> list[Item]:
    """User and assistant in strict turns: runs merged, the user first and last."""
    merged: list[Item] = []
    for item in items:
        last = merged[-1] if merged else None
        if last is not None and last.role == item.role != "tool":
            last.turns += item.turns
            last.texts += item.texts
            last.calls = item.calls
        else:
            if last is not None and (last.role, item.role) == ("tool", "user"):
                merged.append(Item("assistant", texts=["(I see.)"], note="between tool and user"))
            merged.append(item)
    if not merged:
        text = f"({viewer}, your turn.)" if viewer else "(Nobody has spoken yet.)"
        return [Item("user", texts=[text], note="your turn")]
    if merged[0].role == "assistant":
        merged.insert(0, Item("user", texts=[f"({viewer} begins.)"], note="opener"))
    if merged[-1].role == "assistant":
        merged.append(Item("user", texts=[f"({viewer}, your turn.)"], note="your turn"))
    return merged


def _instructed(items: list[Item], text: str, role: str) -> list[Item]:
    """The items after their instructions."""
    if not text:
        return items
    if role != "user":
        return [Item(role, texts=[text], note="system"), *items]
    if items and items[0].role == "user":
        items[0].texts.insert(0, text)
        items[0].note = "instructions, before the first words"
        return items
    return [Item("user", texts=[text], note="instructions"), *items]


# -- the two encoders ------------------------------------------------------------------------------


def _chat(item: Item, name_field: bool) -> dict[str, Any]:
    if item.role == "tool":
        return {"role": "tool", "tool_call_id": item.call_id, "content": item.text}
    entry: dict[str, Any] = {"role": item.role, "content": item.text}
    if name_field and len(item.speakers) == 1 and item.role == "user":
        entry["name"] = _field_name(*item.speakers)
    if item.calls:
        entry["content"] = item.text or None
        entry["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in item.calls
        ]
    return entry


def _responses(item: Item) -> Iterable[dict[str, Any]]:
    if item.note == "system":
        return
    if item.role == "tool":
        yield {"type": "function_call_output", "call_id": item.call_id, "output": item.text}
        return
    if item.text or not item.calls:
        yield {"type": "message", "role": item.role, "content": item.text}
    for call in item.calls:
        named = {"name": call["name"], "arguments": call["arguments"]}
        yield {"type": "function_call", "call_id": call["id"], **named}


def _field_name(label: str) -> str:
    """A label as servers accept it in `name`: letters, digits, `_` and `-`, another for another."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", label).strip("_")
    if name == label.replace(" ", "_"):
        return name[:64]
    code = "".join(f"{ord(char):x}" for char in label if not re.match(r"[A-Za-z0-9_ -]", char))
    return f"{name}-{code}".strip("-_")[:64]
