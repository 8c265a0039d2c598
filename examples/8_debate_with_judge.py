"""A debate: two speak in turn, a judge gives a typed verdict, and the program goes on with its fields."""

from typing import Literal

from llambdao import Message, Node
from llambdao.openai import OpenAINode, ScriptedModel


def model(*lines):  # for real: leave out every model=, and set OPENAI_API_KEY, or name one: model="ollama:llama3.2"
    return ScriptedModel(*lines)


class Verdict(Message):
    winner: Literal["Ann", "Bob"]
    why: str


class Debate(Node):
    speakers: list[Node]
    judge: Node
    rounds: int = 2

    def request(self, message):
        said = message
        for turn in range(self.rounds * len(self.speakers)):
            speaker = self.speakers[turn % len(self.speakers)]
            said = yield speaker.ask(said.content if turn else f"Speak on: {message.content}")
            yield said  # passed on as it is: signed by its speaker
            yield self.judge.tell(f"{speaker}: {said.content}")
        verdict = yield self.judge.ask(f"Who was better on {message.content}?")
        return f"{verdict.winner} wins: {verdict.why}"


ann = OpenAINode(name="Ann", persona="You are for tea.", model=model("Tea wakes gently.", "Haste is no virtue."))
bob = OpenAINode(name="Bob", persona="You are for coffee.", model=model("Coffee wakes.", "Nor is sleep."))
judge = OpenAINode(name="Judge", says=Verdict, model=model("Bob, I think.", '{"winner": "Bob", "why": "wit"}'))
for said in Debate(name="Table", speakers=[ann, bob], judge=judge).receive(Message("breakfast", intent="request")):
    print(said)
