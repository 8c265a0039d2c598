"""A research team: a lead whose tools are a library, a colleague and a network of critics."""

from llambdao import MapperNode, Message, Node, intent
from llambdao.openai import OpenAINode, ScriptedModel, ToolCall

SHELF = {"modems": "Modems peaked in 1998.", "fax": "Fax peaked in 1997."}


class Search(Message):  # its fields are the parameters of a function
    word: str
    most: int = 3


class Library(Node):
    @intent
    def search(self, message: Search):
        """Search the shelf for a word."""
        found = [text for word, text in SHELF.items() if word == message.word]
        return "\n".join(found[: message.most]) or "nothing"


# For real: leave out every model=, and set OPENAI_API_KEY, or name one: model="ollama:llama3.2".
eve = OpenAINode(name="Eve", persona="You write plainly.", model=ScriptedModel("Both peaked before 1999."))
ada = OpenAINode(name="Ada", persona="You doubt all numbers.", model=ScriptedModel("Says who?"))
ben = OpenAINode(name="Ben", persona="You cut all texts.", model=ScriptedModel("The shelf says so. Leave it."))
script = ScriptedModel(
    (ToolCall("1", "Library_search", '{"word": "modems"}'), ToolCall("2", "Library_search", '{"word": "fax"}')),
    ToolCall("3", "Eve_request", '{"content": "Modems 1998, fax 1997: one sentence, please."}'),
    ToolCall("4", "Critics_request", '{"content": "Both peaked before 1999."}'),
    "Modems and fax both peaked before 1999.",
)
team = [Library(), eve, MapperNode(ada, ben, name="Critics")]
lead = OpenAINode(name="Lead", persona="You lead a research team.", tools=team, model=script)
print(*lead.receive("When did modems and fax peak?"))
for heard in lead.messages:
    if tool := heard.metadata.get("tool"):
        print(f"  {tool} said: {heard.content!r}")
