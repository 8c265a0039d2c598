"""An assistant with a purse: what it pays needs a person's yes, and a no is what the model hears."""

import io
import sys

from llambdao import Message, Node, intent
from llambdao.console import ConsoleHumanNode, Screen
from llambdao.openai import OpenAINode, ScriptedModel, ToolCall


class Payment(Message):
    payee: str
    euros: int


class Purse(Node):
    euros: int = 100

    @intent
    def look(self, message):
        """See how many euros are left."""
        return str(self.euros)

    @intent
    def pay(self, message: Payment):
        """Pay somebody."""
        self.euros = self.euros - message.euros


# For real: leave out model= and set OPENAI_API_KEY, or name one: model="ollama:llama3.2"; leave out screen=, too.
script = ScriptedModel(
    ToolCall("1", "Purse_look", '{"content": ""}'),
    *(ToolCall("2", "Purse_pay", '{"payee": "Bob", "euros": 90}'), "Eve says that is too much."),
    *(ToolCall("3", "Purse_pay", '{"payee": "Bob", "euros": 9}'), "Bob has his nine euros."),
)
eve = ConsoleHumanNode(name="Eve", screen=Screen(io.StringIO("no, too much\nyes\n"), sys.stdout))
ann, purse = OpenAINode(name="Ann", persona="You run errands.", model=script), Purse()
ann.link(purse, approve={"pay": eve})
print(*ann.receive("Give Bob all but ten euros."), *ann.receive("Nine, then."), f"{purse.euros} are left.", sep="\n")
