"""`OfflineModel`: a voice without a model, which says so, and still answers what was said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from llambdao.openai._calls import Answer, Tool
from llambdao.openai._labels import SOMEONE
from llambdao.openai._models import Chat, _Whole
from llambdao.openai._prepare import Prepared, Turn
from llambdao.openai._sample import sample
from llambdao.openai._voices import ANYBODY, VOICES, Voice

__all__ = ["OfflineModel", "phrases"]


class OfflineModel(_Whole):
    """The offline voice: sentences written by hand, no model, no network, no key.

    It picks up a phrase of whoever spoke last, and answers, agrees, objects or asks back, by name,
    in the manner of the persona: Rumi, Lao Tzu and Marcus Aurelius have sentences of their own.
    Asked for a summary, it lists who spoke of what. It understands nothing of it. The same
    conversation gets the same answer, and no sentence comes twice within its window.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode
    >>> ann = OpenAINode(name="Ann", model="offline")
    >>> said = ask(ann, "How can we trust the new council?")
    >>> "the new council" in said.content, said.metadata["model"]
    (True, 'offline')
    """

    async def answer(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> Answer:
        """What the voice has to say; it calls no tools."""
        words = self._words(messages)
        return Answer(words if says is None else json.dumps(sample(says["schema"], words)))

    def _words(self, messages: Chat) -> str:
        turns = [turn for turn in _turns(messages) if turn.text.strip()]
        others = [turn for turn in turns if not turn.own]
        last = others[-1] if others else None
        if last is not None and re.search(r"\bsummar|\bminutes\b|\bsum up\b", last.text.lower()):
            return _summary([turn for turn in turns if turn is not last])
        viewer = getattr(messages, "viewer", None) or ""
        return _sentence(viewer, getattr(messages, "persona", ""), turns, last)


def _turns(messages: Chat) -> list[Turn]:
    """Who said what; a plain list tells only one's own words from other people's."""
    if isinstance(messages, Prepared):
        return list(messages.turns)
    return [
        Turn((), SOMEONE, item["role"] == "assistant", str(item["content"] or ""))
        for item in messages
        if item["role"] in ("user", "assistant")
    ]


def _sentence(viewer: str, persona: str, turns: list[Turn], last: Turn | None) -> str:
    """A sentence for this moment: one that nobody has used where we can see it."""
    voice = _voice(viewer, persona)
    seed = crc32("\n".join([viewer, *(f"{turn.speaker}: {turn.text}" for turn in turns)]).encode())
    if last is not None and last.text.rstrip().endswith("?"):
        kinds = [voice.answer, voice.answer, voice.answer, voice.ask]
    else:
        kinds = [voice.agree, voice.object, voice.agree, voice.ask, voice.object]
    kind = kinds[seed % len(kinds)]
    heard = "\n".join(turn.text for turn in turns)
    everything = (kind, voice.answer, voice.agree, voice.object, voice.ask)
    fresh = [[one for one in some if _mark(one) not in heard] for some in everything]
    choice = next((some for some in fresh if some), list(kind))
    sentence = choice[(seed >> 8) % len(choice)]
    said = sentence.format(
        name="friend" if last is None or last.speaker == SOMEONE else last.speaker,
        it="silence" if last is None else _phrase(last, turns, viewer),
        persona=_described(persona, viewer),
    )
    return said[0].upper() + said[1:]


def _mark(sentence: str) -> str:
    """The part of a sentence by which it is known again: the longest without a blank to fill."""
    return max(re.split(r"\{\w+\}", sentence), key=len)


def _voice(viewer: str, persona: str) -> Voice:
    """The manner of the persona if it names one, else that of the name."""
    words = set(re.findall(r"\w+", (persona or viewer).lower()))
    return next((voice for voice in VOICES if voice.known_by & words), ANYBODY)


def _described(persona: str, viewer: str) -> str:
    """The persona as it stands in a sentence: `a pirate`, from "You are a pirate."."""
    first = re.split(r"[.;!?\n]", persona.strip())[0].strip()
    first = re.sub(r"^(?:you are|you're|be|act as|i am)\s+", "", first, flags=re.IGNORECASE)
    if re.match(r"(?:an?|the|one)\s", first, flags=re.IGNORECASE) and len(first) <= 60:
        return first[0].lower() + first[1:]
    return viewer or "one who listens"


def _summary(turns: list[Turn]) -> str:
    """Who spoke of what."""
    spoken: dict[str, list[str]] = {}
    for turn in turns:
        for phrase in phrases(turn.text, turned=False)[:2]:
            if phrase not in spoken.setdefault(turn.speaker, []):
                spoken[turn.speaker].append(phrase)
    if not spoken:
        return "Nothing has been said that I could summarise."
    parts = [f"{who} spoke of {' and '.join(what[:3])}" for who, what in spoken.items()]
    summary = "; ".join(parts) + "."
    return summary[0].upper() + summary[1:]


# -- what somebody spoke of ------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\s]+", text))


BEFORE = _words("the a an my your our his her their every each")
AFTER = _words("about of for with without from against through toward into on upon in")
ADJECTIVES = _words(
    """
    new old good bad true false free own human common inner empty great small big long short first
    last next whole open young real deep dark bright hard soft high low best better poor rich early
    late happy holy daily lonely only single right wrong wild quiet simple plain dull fine other
    sick sad angry tired strange little local dead busy lost broken friendly lovely
    smallest biggest greatest worst longest highest deepest
    """
)
DESCRIBING = re.compile(r".+(?:al|ful|ous|ive|ic|less|able|ible|ern|ish)")
NOT_NAMED = _words(
    """
    i me my mine we us our you your he him his she her it its they them their who whom whose which
    what when where why how the a an this that these those and or but nor so yet if then than as
    because while though although until unless be am is are was were been being do does did done
    doing have has had having can could will would shall should may might must not no never ever
    always often seldom very too quite rather just even still also only again once twice here there
    now today tonight tomorrow yesterday all any some none both either neither few many much more
    most less least every each other another others such same own about of for with without from
    against through toward into on upon in at by to up down out off over under before after behind
    between beyond like unlike one ones thing things something anything nothing everything way ways
    kind sort lot bit somebody anybody nobody everybody someone anyone everyone yes well oh ah say
    says said tell tells told speak speaks spoke talk talks ask asks asked know knows knew known
    think thinks thought mean means meant see sees saw seen look looks want wants wanted let lets
    make makes made go goes went gone come comes came get gets got give gives gave take takes took
    put find finds found keep keeps kept hold holds need needs try friend it's that's don't i'm
    you're what's let's i've you've isn't cannot can't won't two three half inside outside part
    point case side sides rest matter answer question word words end fact time times day days night
    broke fell ran stood rose grew left felt became began held brought spoke slept sank burn burns
    morning noon week year years hour moment place places hundred thousand
    """
)
TURNED = {"my": "your", "your": "my"}
WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?()]|[^\s\w]")  # noqa: RUF001


def phrases(text: str, turned: bool = True) -> list[str]:
    """The things a text speaks of, the most telling first; at worst its own first words.

    If `turned`, they are as the one it was said to would say them: "my job" is "your job".

    >>> phrases("What is the purpose of my life in a big city?")[:2]
    ['the purpose of your life', 'a big city']
    >>> phrases("Well, why not?")
    ['“why not”']
    """
    tokens = WORDS.findall(text)
    found: dict[str, int] = {}
    for place, token in enumerate(tokens):
        word = token.lower()
        if not (word in BEFORE or (word in AFTER and not _is(tokens, place + 1, BEFORE))):
            continue
        noun = _noun(tokens, place + 1)
        after = place + 1 + len(noun)
        if noun and _is(tokens, after, OF) and word != "of":
            opening = tokens[after + 1 : after + 2] if _is(tokens, after + 1, BEFORE) else []
            if more := _noun(tokens, after + 1 + len(opening)):
                noun = [*noun, "of", *opening, *more]
        if not noun or (word == "of" and place and _noun(tokens, place - 1)):
            continue
        phrase = [word, *noun] if word in BEFORE else noun
        if turned:
            phrase = [TURNED.get(one.lower(), one) for one in phrase]
        # Longer is more telling, and so is what is named as something of something.
        score = 2 * ("of" in noun) + (len(noun) > 1) + (len(noun[-1]) > 4)
        found.setdefault(" ".join(phrase), score)
    return sorted(found, key=lambda phrase: -found[phrase]) or [_own_words(text)]


OF = frozenset({"of"})


def _is(tokens: list[str], place: int, words: frozenset[str]) -> bool:
    return place < len(tokens) and tokens[place].lower() in words


def _noun(tokens: list[str], place: int) -> list[str]:
    """The noun that begins here, with what describes it; none if no noun comes."""
    noun: list[str] = []
    for token in tokens[place : place + 3]:
        word = token.lower()
        if not word[0].isalpha() or word in NOT_NAMED:
            break
        noun.append(token)
        if not (word in ADJECTIVES or DESCRIBING.fullmatch(word)):
            break
    return noun if noun and noun[-1].lower() not in ADJECTIVES else []


OPENING = re.compile(
    r"(?:@\S+|(?:well|so|and|but|yes|no|oh|ah|maybe|perhaps|because)\b,?|that\b"
    r"|i (?:do not |don['’]t )?(?:think|believe|feel|guess|suppose|say|mean|would say)\b"  # noqa: RUF001
    r"|it(?:['’]s| is| was)\b|to me\b,?)\s+",  # noqa: RUF001
    re.IGNORECASE,
)


def _own_words(text: str) -> str:
    """What somebody quotes, else the first words of the text, in quotation marks."""
    if quoted := re.search("“([^“”]+)”", text):
        return f"“{quoted[1]}”"
    rest = text.strip()
    while opening := OPENING.match(rest):
        rest = rest[opening.end() :]
    words = re.split(r"[.!?;:\n]", rest)[0].split() or rest.split() or text.split()
    shown = " ".join(words[:7]).strip("\"'“”‘’,.;:!? ")  # noqa: RUF001
    return f"“{shown or text.strip()[:20]}”"


def _phrase(last: Turn, turns: list[Turn], viewer: str) -> str:
    """A phrase of the last speaker: rather one we have not picked up before, and nobody's name."""
    mine = "\n".join(turn.text.lower() for turn in turns if turn.own)
    names = {word for turn in turns for word in turn.speaker.lower().split()}
    names |= set(viewer.lower().split())
    if re.match(r"(?:hello|hi|hey|good (?:morning|evening|day)|greetings)\b", last.text.lower()):
        return "your greeting"
    found = [p for p in phrases(last.text) if not names & set(p.lower().split())]
    new = [phrase for phrase in found if phrase.lower() not in mine]
    return next(iter(new or found), _own_words(last.text))
