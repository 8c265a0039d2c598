"""The founding document tells the truth: every block of its code runs, and does what it says of it.

`docs/founding-document.md` is the document as it was written, byte for byte. A block runs verbatim
where it can; where it cannot, `BLOCKS` lists what had to change, in as few words as possible, and
why. Names the document uses and never shows (`AbstractObject`, imports) are handed to it.
"""

import ast
import contextlib
import datetime as dt
import hashlib
import importlib
import importlib.util
import io
import itertools
import pprint
import re
import textwrap
import typing
from abc import ABC
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pydantic
import pytest

import llambdao
import llambdao.console
import llambdao.openai
import pages
from llambdao import Message, Node, Reason, UnknownIntent, ask, call, tell, turns
from llambdao.console import ConsoleGroupChatNode, ConsoleHumanNode, Screen
from llambdao.kernel.node import CURATED
from llambdao.openai import ScriptedModel, SummaryNode, prepare_for_openai

DOCUMENT = Path(__file__).parents[1] / "docs" / "founding-document.md"
AS_WRITTEN = "93ebfce7bf45156d6a8a171e5cf68ab2dc724cf43d310d75cfd641e57d9c008d"


@dataclass(frozen=True)
class Block:
    """A block of code in the document, by the classes it defines, and what it takes to run it."""

    title: str
    section: str
    changes: tuple[tuple[str, str, str], ...] = ()
    """What had to change: (old, new, reason)."""
    pending: tuple[str, str] | None = None
    """What it waits for: (the module that will ship it, the reason)."""


BLOCKS = (
    Block("Node", "Everything is Connected"),
    Block("FibonacciNode", "Everything is Connected"),
    Block("Message", "Communicating Intents"),
    Block(
        "Node",
        "Communicating Intents",
        (
            (
                "yield from getattr(self, message.intent)(message)",
                "yield super().receive(message)",
                "`getattr` reaches any attribute (`link`, `model_dump`); only handlers may be",
            ),
        ),
    ),
    Block(
        "SummaryNode",
        "Autonomous Agents",
        (
            (
                "openai.ChatCompletion.create(",
                "yield call(model.complete,",
                "that interface left the SDK with version 1; a model is injected, and waited for",
            ),
            (
                "prepare_for_openai(messages)",
                "prepare_for_openai(self.messages)",
                "`messages` is the node's field; there is no variable of that name",
            ),
            (
                'stop=["<STOP>"],\n            engine="chatgpt-3.5",\n        )',
                ")",
                "what belongs to a model is given when it is made",
            ),
            (
                ".response.choices[0].text",
                "",
                "a model returns the text",
            ),
        ),
    ),
    Block(
        "MapperNode, GroupChatNode",
        "Nodes as Networks",
        (
            (
                "while message_i := messages.pop():",
                "while messages and (message_i := messages.pop(0)):",
                "an empty list raises, and the newest first is not `in order`",
            ),
            (
                "self.do(message)",
                "self.do(message_i)",
                "else the first message is sent round for ever, and no reply reaches anybody",
            ),
            (
                "                message_j.reply_to = message_i\n",
                "",
                "a message never changes once said, and its `reply_to` has been filled by then",
            ),
        ),
    ),
    Block(
        "PhilosopherNode",
        "Nodes as Networks",
        (
            (
                "table.chat(",
                "tell(table,",
                "calling a generator method does nothing; `tell` runs the conversation to its end",
            ),
        ),
    ),
    Block(
        "ConsoleHumanNode, ConsoleGroupChatNode",
        "Nodes as Networks",
        (
            (
                "super().__init__(ConsoleHumanNode(), *args, **kwargs)",
                "super().__init__(*args, **kwargs)",
                "a second, hidden human beside the one at the table would be asked again",
            ),
            (
                "            pprint(response.dict())",
                "            pprint(response.dict())\n            yield response",
                "what is printed and not yielded never leaves the table",
            ),
        ),
    ),
    Block(
        "WebSocketNode",
        "Extending LLAMBDAO",
        pending=("llambdao.web", "comes with the page: `pip install llambdao[web]`"),
    ),
    Block(
        "HumanEmailNode",
        "Humans in the Loop",
        pending=("llambdao.email", "comes with e-mail: `pip install llambdao[email]`"),
    ),
)


# -- the document itself ---------------------------------------------------------------------------


def code(block):
    """The text of a block as the document has it, with the changes listed for it."""
    text = pages.blocks(DOCUMENT.read_text("utf-8"))[BLOCKS.index(block)].text
    for old, new, reason in block.changes:
        assert text.count(old) == 1, f"{block.title} has {old!r} not just once"
        assert reason
        text = text.replace(old, new)
    return text


def run(title, section=None, /, **given):
    """Runs the block of this title with the names given; returns the names it then has."""
    [block] = [b for b in BLOCKS if b.title == title and section in (None, b.section)]
    names = {"__name__": __name__, **given}
    exec(compile(code(block), str(DOCUMENT), "exec"), names)
    return names


def test_the_document_is_as_it_was_written():
    """It is the founding document: code follows it, it does not follow the code."""
    assert hashlib.sha256(DOCUMENT.read_bytes()).hexdigest() == AS_WRITTEN


def test_every_block_of_code_is_listed():
    """None is left out, none is in a language nobody looks at, none is skipped."""
    text = DOCUMENT.read_text("utf-8")
    found = pages.blocks(text)
    assert [block.language for block in found] == ["python"] * len(BLOCKS)
    assert not any(block.skipped for block in found)
    lines = text.splitlines()
    for block, expected in zip(found, BLOCKS, strict=True):
        classes = re.findall(r"^class (\w+)", block.text, re.MULTILINE)
        headings = [line for line in lines[: block.line] if line.startswith("### ")]
        assert (", ".join(classes), headings[-1]) == (expected.title, f"### {expected.section}")


def test_only_the_web_socket_and_the_e_mail_are_pending():
    """All else runs now."""
    assert [b.title for b in BLOCKS if b.pending] == ["WebSocketNode", "HumanEmailNode"]
    assert all(reason and not b.changes for b in BLOCKS if b.pending for _, reason in [b.pending])


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.pending], ids=lambda block: block.title)
def test_what_is_pending_is_not_there_yet(block):
    """As soon as the library has the class, its block is to run here like the others."""
    module, _ = block.pending
    assert importlib.util.find_spec(module) is None, f"{module} is there: let its block run"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("llambdao", "Node"),
        ("llambdao", "Message"),
        ("llambdao", "MapperNode"),
        ("llambdao", "GroupChatNode"),
        ("llambdao.console", "ConsoleHumanNode"),
        ("llambdao.console", "ConsoleGroupChatNode"),
        ("llambdao.openai", "SummaryNode"),
        ("llambdao.openai", "prepare_for_openai"),
    ],
)
def test_what_the_document_names_is_there(module, name):
    """Under the name it has there, where its reader would look for it."""
    assert name in importlib.import_module(module).__all__


# -- Everything is Connected -----------------------------------------------------------------------


class AbstractObject(pydantic.BaseModel):
    """What the document never shows: it writes fields as pydantic does."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)


SKETCH = {
    "ABC": ABC,
    "AbstractObject": AbstractObject,
    "Field": pydantic.Field,
    "Metadata": dict,
    "Optional": typing.Optional,
    "datetime": dt.datetime,
    "dedent": textwrap.dedent,
}


def test_nodes_have_edges_which_point_to_other_nodes():
    """Verbatim. "Each Node can have multiple Edges", "they can be linked or unlinked"."""
    sketch = run("Node", "Everything is Connected", **SKETCH)["Node"]
    ann, bob, eve = (Node(name=name) for name in ("Ann", "Bob", "Eve"))
    edge = ann.link(bob, trust=1)
    ann.link(eve)
    assert isinstance(edge, Node.Edge)
    assert [hasattr(edge, name) for name in sketch.Edge.model_fields] == [True, True]
    assert [*sketch.Edge.model_fields] == ["node", "metadata"]
    assert [(e.node, dict(e.metadata)) for e in ann.edges.values()] == [
        (bob, {"trust": 1}),
        (eve, {}),
    ]
    assert (bob.edges, eve.edges) == ({}, {})
    ann.unlink(bob)
    assert [e.node for e in ann.edges.values()] == [eve]


def test_fibonacci_says_its_numbers():
    """Verbatim. "When it receives a Message, it generates Fibonacci numbers"."""
    fibonacci = run("FibonacciNode", Node=Node, Message=Message)["FibonacciNode"]()
    said = list(fibonacci.receive(Message(content="7")))
    assert [m.content for m in said] == ["0", "1", "1", "2", "3", "5", "8"]
    assert {m.sender for m in said} == {fibonacci}
    assert list(fibonacci.receive(Message(content="0"))) == []


# -- Generating Responses --------------------------------------------------------------------------


def test_a_generator_is_paused_and_resumed_as_its_replies_are_taken():
    """A "series of responses over time": of a billion numbers three are computed."""
    fibonacci = run("FibonacciNode", Node=Node, Message=Message)["FibonacciNode"]()
    conversation = fibonacci.receive(Message(content="1000000000"))
    assert [m.content for m in itertools.islice(conversation, 3)] == ["0", "1", "1"]
    assert next(conversation).content == "2"
    conversation.close()
    assert conversation.reason is Reason.STOPPED


# -- Communicating Intents -------------------------------------------------------------------------


def test_a_message_has_the_fields_of_the_document():
    """Verbatim. Each field there is one here, and what is optional there is filled when said."""
    sketch = run("Message", Node=Node, **SKETCH)["Message"]

    class Ann(Node):
        def chat(self, message):
            yield Message("Hello.")

    ann, question = Ann(), Message("Hello?")
    [said] = ann.receive(question)
    filled = {name: getattr(said, name) for name in sketch.model_fields}
    assert filled.pop("timestamp").utcoffset() == dt.timedelta(0)
    assert filled == {"sender": ann, "reply_to": question, "intent": "chat", "content": "Hello."}


def test_the_curated_intents_are_those_of_the_document():
    """Each one it describes names a handler without further ado, and no other does."""
    described = run("Message", Node=Node, **SKETCH)["Message"].model_fields["intent"].description
    assert tuple(re.findall(r"^- (\w+) =", described, re.MULTILINE)) == CURATED
    every = {name: lambda self, message: message.intent for name in CURATED}
    node = type("Versed", (Node,), {"__module__": __name__, **every})()
    assert {*node.intents} == {*CURATED}
    assert [ask(node, Message("?", intent=name)).content for name in CURATED] == [*CURATED]


def test_a_message_is_received_by_the_method_its_intent_names():
    """One change. "An ongoing conversation between nodes", and no way to anything but handlers."""
    base = run(
        "Node", "Communicating Intents", ABC=ABC, AbstractObject=Node, Iterable=typing.Iterable
    )["Node"]

    class Librarian(base):
        def chat(self, message):
            yield "Hush."

        def query(self, message):
            yield "On the third shelf."
            yield "Behind the atlas."

        def inform(self, message):
            self.persona = message.content

    librarian = Librarian()
    for node in (librarian, type("Plain", (Librarian,), {"__module__": __name__})()):
        heard = [said.content for said in node.receive(Message("Where?", intent="query"))]
        assert heard == ["On the third shelf.", "Behind the atlas."]
        assert [said.content for said in node.receive(Message("Hi!", intent="chat"))] == ["Hush."]
        assert tell(node, Message("tired", intent="inform")).reason is Reason.DONE
        assert node.persona == "tired"
        for word in ("link", "receive", "model_dump", "persona", "__init__", "nonsense"):
            with pytest.raises(UnknownIntent, match=f"does not understand '{word}'"):
                list(node.receive(Message("!", intent=word)))


def test_action_is_another_word_for_intent():
    """The text speaks of "action names", and its philosophers write `action=`."""
    assert Message("Why?", action="chat").intent == "chat"
    with pytest.raises(TypeError, match="mood"):
        Message("Why?", mood="chat")


# -- Autonomous Agents -----------------------------------------------------------------------------


def summaries():
    """The document's SummaryNode, its model injected, and the one that is shipped."""
    own = ScriptedModel("They greeted the world.")
    names = run(
        "SummaryNode", Node=Node, Message=Message, List=list, Optional=typing.Optional,
        Field=pydantic.Field, call=call, prepare_for_openai=prepare_for_openai, model=own,
    )  # fmt: skip
    shipped = ScriptedModel("They greeted the world.")
    return [(names["SummaryNode"](), own), (SummaryNode(model=shipped), shipped)]


@pytest.mark.parametrize("which", [0, 1], ids=["the document's", "the shipped one"])
def test_a_summary_node_summarises_what_it_was_informed_of(which):
    """The test that the document says is provided: inform it, then query it, and print."""
    node, model = summaries()[which]
    tell(node, Message("Hello, world!", intent="inform"))
    [response] = node.receive(Message("Summarise.", intent="query"))
    assert response.content == "They greeted the world."
    assert (response.sender, node.summary) == (node, response)
    [request] = model.requests
    assert "Hello, world!" in request[-1]["content"]
    assert request[-1]["role"] == "user"


@pytest.mark.parametrize("which", [0, 1], ids=["the document's", "the shipped one"])
def test_a_summary_node_keeps_the_last_24_messages(which):
    """A query is about "the last 24 messages it was informed of"."""
    node, model = summaries()[which]
    for number in range(30):
        tell(node, Message(f"fact {number:02}", intent="inform"))
    assert [said.content[-2:] for said in node.messages] == [f"{n:02}" for n in range(6, 30)]
    ask(node, Message("Summarise.", intent="query"))
    sent = "\n".join(item["content"] for item in model.requests[0])
    assert re.findall(r"fact (\d\d)", sent) == [f"{n:02}" for n in range(6, 30)]


def test_the_shipped_summary_node_remembers_even_if_the_caller_stops_listening():
    """It "also updates its own `summary` attribute": before it speaks, so it is never lost."""
    node, _ = summaries()[1]
    tell(node, Message("Hello, world!", intent="inform"))
    conversation = node.receive(Message("Summarise.", intent="query"))
    said = next(conversation)
    conversation.close()
    assert node.summary == said


def test_prepare_for_openai_makes_dictionaries_of_messages():
    """It "transforms our `Message` objects into OpenAI-compatible dictionaries"."""
    assert prepare_for_openai([Message("Hello")]) == [{"role": "user", "content": "Hello"}]


# -- Nodes as Networks -----------------------------------------------------------------------------


def networks():
    """The document's own MapperNode and GroupChatNode, and those that are shipped."""
    own = run(
        "MapperNode, GroupChatNode", Node=Node, Message=Message, Iterable=typing.Iterable,
        itertools=itertools,
    )  # fmt: skip
    return {name: [own[name], getattr(llambdao, name)] for name in ("MapperNode", "GroupChatNode")}


class Worker(Node):
    """Says what it did."""

    def do(self, message):
        yield f"{self.name} did {message.content}"
        yield f"{self.name} rests"


@pytest.mark.parametrize("which", [0, 1], ids=["the document's", "the shipped one"])
def test_a_mapper_sends_the_message_to_all_it_is_linked_with(which):
    """Verbatim. All hear it once, in order; whoever sent it does not."""
    ann, bob, eve = (Worker(name=name) for name in ("Ann", "Bob", "Eve"))
    mapper = networks()["MapperNode"][which](ann, bob, eve)
    assert [mapper.edges[one.id].node for one in (ann, bob, eve)] == [ann, bob, eve]
    assert [one.edges[mapper.id].node for one in (ann, bob, eve)] == [mapper] * 3
    said = mapper.receive(Message("the dishes", intent="do", sender=bob))
    assert [m.content for m in said] == [
        "Ann did the dishes", "Ann rests", "Eve did the dishes", "Eve rests",
    ]  # fmt: skip


class Listener(Node):
    """Says whose words it heard; each word of the table is different."""

    def chat(self, message):
        yield f"{self.name}<{message.content}"


@pytest.mark.parametrize("which", [0, 1], ids=["the document's", "the shipped one"])
def test_a_group_chat_passes_each_utterance_on_to_the_others_in_order(which):
    """Three changes. What the document's group chat says is, word for word, what ours says."""
    table = networks()["GroupChatNode"][which](*(Listener(name=name) for name in "abc"))
    said = list(itertools.islice(table.receive(Message("?", intent="chat")), 11))
    assert [m.content for m in said] == [
        "a<?", "b<?", "c<?", "b<a<?", "c<a<?", "a<b<?", "c<b<?", "a<c<?", "b<c<?",
        "a<b<a<?", "c<b<a<?",
    ]  # fmt: skip
    assert [m.reply_to.content for m in said[3:5]] == ["a<?", "a<?"]


QUESTION = "What is the purpose of life?"


@contextlib.contextmanager
def console(*lines):
    """A console at which these lines are typed, and after them the end of the input."""
    out = io.StringIO()
    where = Screen(io.StringIO("".join(f"{line}\n" for line in lines)), out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llambdao.console._screen._SCREENS", [where])
        yield out


SHIPPED = {
    "Node": Node,
    "Message": Message,
    "tell": tell,
    "ConsoleHumanNode": ConsoleHumanNode,
    "ConsoleGroupChatNode": ConsoleGroupChatNode,
}


def test_the_philosophers_talk_and_the_table_shows_it():
    """One change. The person is asked once all have answered; when she leaves, it is over."""
    with console() as out:
        run("PhilosopherNode", **SHIPPED)
    others = [f"{name}: {QUESTION}" for name in ("Rumi", "Lao Tzu", "Marcus Aurelius")]
    assert out.getvalue().splitlines() == [f"You: {QUESTION}", *others, *others[1:]]


def test_the_user_joins_the_discussion():
    """She "can essentially join the discussion": her words go round like all others."""
    with console("Love?") as out:
        names = run("PhilosopherNode", **SHIPPED)
        shown = out.getvalue().splitlines()
    mine = shown.index("You: Love?")
    assert "Love?" not in "".join(shown[:mine])
    echoes = [line for line in shown[mine:] if line.endswith(": Love?")]
    assert echoes[:4] == ["You: Love?", "Rumi: Love?", "Lao Tzu: Love?", "Marcus Aurelius: Love?"]
    assert names["human"].has_left


def test_every_utterance_reaches_the_others_once():
    """Nobody hears it twice, nobody misses it, and nobody hears himself."""
    with console("Love?", "", "Really?"):
        names = run("PhilosopherNode", **SHIPPED)
    table, human = names["table"], names["human"]
    delivered = defaultdict(list)

    def observe(event):
        if event.kind == "delivered" and event.node is not table:
            delivered[event.message].append(event.node)

    human.has_left, human.has_seen = False, 0
    with console(*map(str, range(40))):
        conversation = table.receive(
            Message(QUESTION, action="chat", sender=human), observe=observe
        )
        said = list(conversation)
    assert (len(said), conversation.reason) == (100, Reason.LIMIT)
    assert {m.sender for m in said} == {*table.members}
    whole = [*delivered][:-1]  # the last one was being passed on when the table ended
    assert len(whole) > 30
    assert {*whole[1:]} < {*said}
    for utterance in whole:
        others = [member for member in table.members if member is not utterance.sender]
        assert delivered[utterance] == others


def consoles(typed):
    """The document's own console classes, on its own group chat; whoever is asked says `typed`."""
    shown = []
    names = run(
        "ConsoleHumanNode, ConsoleGroupChatNode",
        Node=Node, Message=Message, GroupChatNode=networks()["GroupChatNode"][0],
        pprint=lambda data: shown.append(pprint.pformat(data)), input=lambda prompt: typed,
    )  # fmt: skip
    return names, shown


def test_a_console_human_shows_what_it_hears_and_says_what_is_typed():
    """Verbatim. "It receives messages, pretty prints them out, and then inputs a response"."""
    names, shown = consoles("Love.")
    human, question = names["ConsoleHumanNode"](name="Ann"), Message(QUESTION)
    [said] = human.receive(question)
    assert (said.content, said.sender, said.intent) == ("Love.", human, "chat")
    assert said.reply_to is question
    [printed] = map(ast.literal_eval, shown)
    assert (printed["content"], printed["intent"]) == (QUESTION, "chat")


def test_a_console_group_chat_pretty_prints_every_message():
    """Two changes. The document's table, its human and the philosophers: all is shown once."""
    names, shown = consoles("Love.")

    class Sage(Node):
        def chat(self, message):
            yield f"{self.name} heard {message.sender}"

    human, sages = (
        names["ConsoleHumanNode"](name="Ann"),
        [Sage(name=n) for n in ("Rumi", "Lao Tzu")],
    )
    table = names["ConsoleGroupChatNode"](human, *sages, name="table")
    said = list(itertools.islice(table.receive(Message(QUESTION, action="chat", sender=human)), 4))
    assert [str(m) for m in said] == [
        "Rumi: Rumi heard Ann", "Lao Tzu: Lao Tzu heard Ann", "Ann: Love.",
        "Lao Tzu: Lao Tzu heard Rumi",
    ]  # fmt: skip
    printed = [(p["sender"]["name"], p["content"]) for p in map(ast.literal_eval, shown)]
    assert printed[:2] == [("Ann", QUESTION), ("Rumi", "Rumi heard Ann")]
    assert [p for p in printed if p[0] == "Lao Tzu"] == [
        ("Lao Tzu", "Lao Tzu heard Ann"), ("Lao Tzu", "Lao Tzu heard Rumi"),
    ]  # fmt: skip


def test_the_shipped_table_has_no_hidden_members_and_an_end():
    """What the changes above are about is so in the library without them."""
    with console():
        sages = [Listener(name=name) for name in "ab"]
        table = ConsoleGroupChatNode(*sages, until=turns(3))
        assert table.members == sages
        assert [m.content for m in table.receive("?")] == ["a<?", "b<?", "b<a<?"]


def test_a_message_carries_references_only():
    """`pprint(message.dict())` shows who speaks, not all that this node has and knows."""
    secret = type("Keeper", (Node,), {"__module__": __name__, "__annotations__": {"key": str}})
    keeper = secret(name="Ann", key="sesame")
    keeper.link(Node(name="Bob"))
    data = Message("Hi", sender=keeper).dict()
    assert data["sender"] == {"id": keeper.id, "name": "Ann", "role": "system"}
    assert "sesame" not in pprint.pformat(data)
