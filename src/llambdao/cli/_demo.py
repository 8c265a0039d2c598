"""`llambdao demo`: a round table of three philosophers and whoever sits down with them."""

from __future__ import annotations

from typing import Any

from llambdao.cli._session import Session
from llambdao.console import ConsoleHumanNode, ConsoleRoundTableNode, Screen, screen
from llambdao.kernel.message import Message
from llambdao.openai import Model, OpenAINode, model_from

__all__ = ["demo", "round_table"]

PERSONAS = {
    "Rumi": "Rumi, the poet of Konya: warm, in images, always on the trail of love",
    "Lao Tzu": "Lao Tzu, the old master of the Tao: brief, quiet, fond of water and of paradox",
    "Marcus Aurelius": "Marcus Aurelius, emperor and Stoic: plain, honest, practical",
}

MANNER = (
    "You are {}. You sit at a round table with the others. Answer whoever spoke last, by name, in"
    " two or three sentences; agree, object or ask back, and say nothing twice."
)

QUESTION = "What is the purpose of life?"

NEXT = """
What next?
  llambdao demo --model ollama:llama3.2    the same, with a model on your machine
  llambdao chat FILE.py                    sit down at a network of your own
  llambdao --help                          all there is"""


class Guest(ConsoleHumanNode):
    """Whoever sits down; where the input is empty nobody does, and the others have a round more."""

    has_listened: bool = False

    def _answer(self, number: int | None) -> Any:
        yield from super()._answer(number)
        if self.has_left and self.at.typed is None and not (self.at.prompts or self.has_listened):
            self.has_left, self.has_listened = False, True


def round_table(voice: Model) -> ConsoleRoundTableNode:
    """Rumi, Lao Tzu, Marcus Aurelius and a person."""
    sages = [
        OpenAINode(name=name, persona=MANNER.format(persona), model=voice)
        for name, persona in PERSONAS.items()
    ]
    return ConsoleRoundTableNode(members=[*sages, Guest()], name="Round table")


def demo(given: Any) -> int:
    """Sit down at the round table."""
    where = screen(json=given.json)
    voice = model_from(given.model, given.base_url)
    where.note(introduction(str(voice), where))
    table = round_table(voice)
    session = Session(table, where, given.turns)
    first = Message(QUESTION, intent="chat", sender=session.person)
    code = session.sit(first)
    if code == 0:
        where.note(NEXT)
    return code


def introduction(model: str, where: Screen) -> str:
    """The first lines: who is here, and whose words these are."""
    voice = (
        "An offline voice speaks for all three: sentences written by hand, no model."
        if model == "offline"
        else f"Their words are found by {model}."
    )
    lines = ["A round table: Rumi, Lao Tzu, Marcus Aurelius and you.", voice]
    if where.prompts:
        lines.append("An empty line passes, /help shows more, Ctrl-D leaves.")
    return "\n".join([*lines, ""])
