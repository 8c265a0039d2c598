"""`llambdao` in pipes and files: exact transcripts, clear complaints, honest exit codes."""

import json
import signal
import subprocess

import pytest

from llambdao import GroupChatNode, Message, Node, __version__
from llambdao.cli._session import Session
from llambdao.console import ConsoleHumanNode, Screen

from .conftest import LLAMBDAO

ECHO = """
from llambdao import Node

class Echo(Node):
    def chat(self, message):
        yield f"You said {message.content}"
        yield "Well."

network = Echo(name="Echo")
"""

TABLE = """
from llambdao import GroupChatNode, Node

class Sage(Node):
    def chat(self, message):
        if message.sender is not None and message.sender.role == "user":
            return f"{self.name} hears you"

rumi, lao_tzu = Sage(name="Rumi"), Sage(name="Lao Tzu")
rumi.link(lao_tzu, trust=0.9)
table = GroupChatNode(rumi, lao_tzu, name="table")
"""


# -- help and version --------------------------------------------------------------------------


COMMANDS = ["demo", "run", "chat", "explain", "eval", "graph", "top"]


@pytest.mark.parametrize("command", [[], *([one] for one in COMMANDS if one != "eval")])
def test_help_fits_on_one_screen(llambdao, command):
    """80 columns, 24 lines; `eval` has more options than that."""
    code, out, err = llambdao(*command, "--help", COLUMNS="80")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 23
    assert max(map(len, out.splitlines())) <= 80


def test_help_names_every_command(llambdao):
    """With a few words on each."""
    _, out, _ = llambdao("--help", COLUMNS="80")
    lines = out[out.index("commands:") :].splitlines()
    named = [line.split() for line in lines if line.startswith("    ") and line[4] != " "]
    assert [words[0] for words in named] == COMMANDS
    assert min(map(len, named)) > 3


def test_a_program_may_call_it_more_than_once(write, folder, environment):
    """`main` is a function like any other: what it imports is not mistaken for a command."""
    write(ECHO)
    program = (
        "from llambdao.cli import main\n"
        "for words in ('run file.py one', 'run file.py two', 'graph file.py', 'graph file.py',"
        " 'chat file.py', 'chat file.py', 'demo --turns 1', 'demo --turns 1', 'top', 'top'):\n"
        "    code = main(words.split())\n"
        "    print(words.split()[0], code)\n"
    )
    done = subprocess.run(
        [*LLAMBDAO[:3], "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout.splitlines()
    assert said.count("You said one") == said.count("You said two") == 1
    for command, code in (("run", 0), ("graph", 0), ("chat", 0), ("demo", 0), ("top", 1)):
        assert said.count(f"{command} {code}") == 2, done.stdout + done.stderr


def test_the_version_is_said(llambdao):
    """As `llambdao --version`."""
    assert llambdao("--version") == (0, f"llambdao {__version__}\n", "")


def test_help_loads_neither_models_nor_terminals(folder, environment):
    """It is instant."""
    program = (
        "import sys; from llambdao.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in sys.modules if m.split('.')[0] in"
        " ('rich', 'prompt_toolkit', 'openai', 'asyncio', 'networkx') or m == 'llambdao.console'])"
    )
    done = subprocess.run(
        [LLAMBDAO[0], "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["dance"],
        ["run"],
        ["chat"],
        ["demo", "--turns", "0"],
        ["graph", "x", "--json"],
        ["run", "x", "a", "b"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(llambdao, wrong):
    """Exit code 2, and what would have been right."""
    code, out, err = llambdao(*wrong)
    assert (code, out) == (2, "")
    assert "usage: llambdao" in err


# -- run ---------------------------------------------------------------------------------------


def test_run_prints_the_replies(llambdao, write):
    """The words alone, since only one speaks; the message from the command line or the pipe."""
    write(ECHO)
    assert llambdao("run", "file.py", "hello") == (0, "You said hello\nWell.\n", "")
    assert llambdao("run", "file.py", text="from a\npipe\n") == (
        0,
        "You said from a\npipe\nWell.\n",
        "",
    )
    assert llambdao("run", "file.py", "hello", "--turns", "1") == (0, "You said hello\n", "")
    assert llambdao("run", "file.py", "--turns", "1", "hello") == (0, "You said hello\n", "")


def test_run_names_those_who_speak_for_others(llambdao, write):
    """In a network it matters who said what."""
    write(ECHO.replace('Echo(name="Echo")', "MapperNode(Echo(name='Ann'), Echo(name='Bob'))")
          .replace("import Node", "import MapperNode, Node"))  # fmt: skip
    code, out, err = llambdao("run", "file.py", "hi")
    assert (code, err) == (0, "")
    assert out == "Ann: You said hi\nAnn: Well.\nBob: You said hi\nBob: Well.\n"


def test_run_can_give_json_lines(llambdao, write):
    """Each parses as a message."""
    write(ECHO)
    code, out, err = llambdao("run", "file.py", "hello", "--json")
    said = [Message.parse(line) for line in out.splitlines()]
    assert [message.content for message in said] == ["You said hello", "Well."]
    assert [message.sender.name for message in said] == ["Echo", "Echo"]
    assert (code, err) == (0, "")


def test_an_error_in_the_network_is_short_and_says_where(llambdao, write):
    """Exit code 1; all of it only when asked for."""
    write(ECHO.replace('yield "Well."', 'raise ValueError("broken")'))
    code, out, err = llambdao("run", "file.py", "hello")
    assert (code, out) == (1, "You said hello\n")
    assert err == (
        "llambdao: ValueError: broken\n"
        '  file.py:7, in chat: raise ValueError("broken")\n'
        "(--traceback shows more)\n"
    )
    code, out, err = llambdao("run", "file.py", "hello", "--traceback")
    assert code == 1
    assert err.startswith("Traceback (most recent call last)")


def test_a_group_chat_without_an_end_says_why_it_ended(llambdao, write):
    """At its limit; with --turns it ends where it was told to, without a word."""
    write(TABLE.replace('if message.sender is not None and message.sender.role == "user":',
                        "if True:"))  # fmt: skip
    code, out, err = llambdao("run", "file.py", "hi")
    assert (code, len(out.splitlines())) == (0, 100)
    assert "ended after 100 utterances" in err
    code, out, err = llambdao("run", "file.py", "hi", "--turns", "3")
    assert (code, len(out.splitlines()), err) == (0, 3, "")


def test_a_reader_that_has_enough_is_no_error(write, folder, environment):
    """`llambdao run ... | head -1` ends quietly."""
    write("""
from llambdao import Node

class Endless(Node):
    def chat(self, message):
        while True:
            yield "la"

network = Endless()
""")
    child = subprocess.Popen(
        [*LLAMBDAO, "run", "file.py", "go"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "la\n"
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait() == 0
    child.stderr.close()


def test_control_c_leaves_quietly(write, folder, environment):
    """Exit code 130, no traceback."""
    write("""
import time
from llambdao import Node

class Slow(Node):
    def chat(self, message):
        yield "begun"
        while True:
            time.sleep(0.01)

network = Slow()
""")
    child = subprocess.Popen(
        [*LLAMBDAO, "run", "file.py", "go"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate() == ("", "")
    assert child.returncode == 130


# -- chat --------------------------------------------------------------------------------------


def test_chat_reads_lines_from_a_pipe(llambdao, write):
    """Each line begins a conversation; the end of the input ends it."""
    write(ECHO)
    code, out, err = llambdao("chat", "file.py", text="one\n\n/who\ntwo\n")
    assert (code, err) == (0, "")
    assert out == (
        "You: one\nEcho: You said one\nEcho: Well.\nHere are: you\n"
        "You: two\nEcho: You said two\nEcho: Well.\n"
    )


def test_chat_gives_a_person_a_seat_in_a_group_chat(llambdao, write):
    """She is asked in her turn, and can speak to one alone."""
    write(TABLE)
    code, out, err = llambdao("chat", "file.py", text="Hello\nAgain\n@rumi you\n")
    assert (code, err) == (0, "")
    assert out.splitlines()[:5] == [
        "You: Hello",
        "Rumi: Rumi hears you",
        "Lao Tzu: Lao Tzu hears you",
        "You: Again",
        "Rumi: Rumi hears you",
    ]


def test_chat_speaks_json(llambdao, write):
    """What is said by both sides, one message a line."""
    write(ECHO)
    code, out, err = llambdao("chat", "file.py", "--json", text="one\n")
    said = [Message.parse(line) for line in out.splitlines()]
    assert [str(message) for message in said] == [
        "Guest: one",
        "Echo: You said one",
        "Echo: Well.",
    ]
    assert (code, err) == (0, "")


def test_chat_ends_after_so_many_turns(llambdao, write):
    """The person's own words do not count."""
    write(ECHO)
    code, out, _ = llambdao("chat", "file.py", "--turns", "3", text="one\ntwo\nthree\n")
    assert (code, out.splitlines()[-1]) == (0, "Echo: You said two")


def test_a_network_may_ask_the_person_back(llambdao, write):
    """A question to whoever spoke is put to her, and her next line is the answer."""
    write("""
from llambdao import Message, Node

class Clerk(Node):
    def chat(self, message):
        answer = yield Message("Which colour?", intent="query")
        yield f"One {answer.content} chair."

network = Clerk(name="Clerk")
""")
    code, out, err = llambdao("chat", "file.py", text="A chair\nred\n")
    assert (code, err) == (0, "")
    assert out == "You: A chair\nClerk: Which colour?\nClerk: One red chair.\n"


def test_an_error_in_a_piped_chat_ends_it(llambdao, write):
    """With exit code 1: a script must not go on as if nothing had happened."""
    write(ECHO.replace('yield "Well."', 'raise ValueError("broken")'))
    code, out, err = llambdao("chat", "file.py", text="one\ntwo\n")
    assert (code, out) == (1, "You: one\nEcho: You said one\n")
    assert "ValueError: broken\n  file.py:7, in chat" in err


def test_a_model_can_be_chosen_for_a_file(llambdao, write):
    """`--model` is the voice of all nodes that have one."""
    write("""
from llambdao.openai import OpenAINode

network = OpenAINode(name="Ann", model="ollama:none")
""")
    code, out, _ = llambdao("run", "file.py", "hello", "--model", "echo")
    assert (code, out) == (0, "hello\n")
    code, out, err = llambdao("run", "file.py", "hello", "--model", "nobody:x")
    assert (code, out) == (1, "")
    assert err.startswith("llambdao: UnknownModel: no server is known as 'nobody'")


def test_a_person_sits_at_a_group_chat_once():
    """She gets a seat where there is none; who has one keeps it."""
    table = GroupChatNode(Node(name="Ann"))
    assert Session(table, Screen()).person in table
    person = ConsoleHumanNode()
    table = GroupChatNode(GroupChatNode(person))
    assert Session(table, Screen()).person is person
    assert len(table) == 1


# -- graph -------------------------------------------------------------------------------------


def test_graph_draws(llambdao, write):
    """As text, for Mermaid, for Graphviz."""
    write(TABLE)
    text = "table (GroupChatNode)\n  Rumi (Sage)\n  Lao Tzu (Sage)\n\nRumi -> Lao Tzu  trust: 0.9\n"
    assert llambdao("graph", "file.py") == (0, text, "")
    assert llambdao("graph", "file.py", "--format", "mermaid")[1].startswith("flowchart LR\n")
    assert llambdao("graph", "file.py", "--format", "dot")[1].startswith("digraph {\n")


# -- files -------------------------------------------------------------------------------------

NOTHING = "file.py has no node at its top level; it needs one there, such as: network = {}"

BAD = {
    "missing": (None, 2, ["there is no file file.py"]),
    "no node": ("x = 1", 2, [NOTHING.format("GroupChatNode(...)")]),
    "no node by that name": ("network = 3", 2, [NOTHING.format("GroupChatNode(...)")]),
    "only a class": (
        "from llambdao import Node\nclass Ann(Node): pass",
        2,
        [NOTHING.format("Ann()")],
    ),
    "several nodes": (
        "from llambdao import Node\nann, bob = Node(), Node()",
        2,
        ["file.py has several nodes: ann, bob; which one? Call it `network`"],
    ),
    "it ends itself": ("exit(3)", 2, ["file.py ended by itself while it was read: exit(3)"]),
    "a syntax error": (
        "x = (",
        1,
        ["SyntaxError: '(' was never closed (file.py, line 1)", "(--traceback shows more)"],
    ),
    "an import error": (
        "\nimport nothing_like_it",
        1,
        [
            "ModuleNotFoundError: No module named 'nothing_like_it'",
            "  file.py:2, in <module>: import nothing_like_it",
            "(--traceback shows more)",
        ],
    ),
    "an error": (
        "1 / 0",
        1,
        [
            "ZeroDivisionError: division by zero",
            "  file.py:1, in <module>: 1 / 0",
            "(--traceback shows more)",
        ],
    ),
}


@pytest.mark.parametrize("command", ["run", "chat", "graph"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_file_that_will_not_do_is_refused_clearly(llambdao, write, command, bad):
    """What is wrong with it, on one line or two."""
    source, code, complaint = bad
    if source is not None:
        write(source)
    assert llambdao(command, "file.py") == (code, "", "llambdao: " + "\n".join(complaint) + "\n")


def test_a_folder_is_no_file(llambdao):
    """Nor is it a crash."""
    assert llambdao("graph", ".") == (2, "", "llambdao: . is a folder; which file in it?\n")


@pytest.mark.parametrize(
    "source",
    [
        "ann, bob = Node(name='ann'), Node(name='bob')\nhouse = MapperNode(ann, bob, name='it')",
        "ann = Node(name='ann')\nnode = MapperNode(ann, name='it')\nother = MapperNode()",
        "ann = Node(name='it')\nanother_name_for_it = ann",
        "class Team(Node):\n    staff: list\nann = Node()\nteam = Team(name='it', staff=[ann])",
    ],
    ids=["the network they are in", "by its name", "the only one", "the one made of others"],
)
def test_the_node_in_a_file_is_found(llambdao, write, source):
    """The one with a name for it, or the one that is no part of another."""
    write(f"from llambdao import MapperNode, Node\n{source}")
    code, out, err = llambdao("graph", "file.py")
    assert (code, err) == (0, "")
    assert out.startswith("it (")


FILE = "sub/file.py"


def test_a_file_can_import_its_neighbours_and_leaves_nothing_behind(llambdao, write, folder):
    """As it could if Python ran it."""
    (folder / "sub").mkdir()
    write("from llambdao import Node\nclass Ann(Node): pass\n", "sub/neighbour.py")
    write("from __future__ import annotations\nfrom neighbour import Ann\nnetwork = Ann()\n", FILE)
    assert llambdao("graph", FILE) == (0, "Ann (Ann)\n", "")
    assert sorted(file.name for file in folder.rglob("*.py*")) == ["file.py", "neighbour.py"]


# -- demo --------------------------------------------------------------------------------------

NEXT = """
What next?
  llambdao demo --model ollama:llama3.2    the same, with a model on your machine
  llambdao chat FILE.py                    sit down at a network of your own
  llambdao --help                          all there is
"""


def speakers(out):
    """Lists who spoke."""
    return [line.split(": ")[0] for line in out.splitlines() if ": " in line[:20]]


def test_the_demo_holds_a_short_conversation_by_itself(llambdao, folder):
    """With an empty input: two rounds, and how to go on."""
    code, out, err = llambdao("demo")
    assert (code, err) == (0, "")
    sages = ["Rumi", "Lao Tzu", "Marcus Aurelius"]
    assert out.startswith(
        "A round table: Rumi, Lao Tzu, Marcus Aurelius and you.\n"
        "An offline voice speaks for all three: sentences written by hand, no model.\n"
        "\n"
        "You: What is the purpose of life?\n"
    )
    assert speakers(out)[1:] == ["You", *sages, *sages]
    assert out.endswith(NEXT)
    assert list(folder.iterdir()) == []


def test_the_demo_listens(llambdao):
    """Lines from a pipe are said at the table; the others answer to them, whatever they are."""
    answers = set()
    for line in ("My bicycle is broken", "My grandmother is ninety"):
        code, out, err = llambdao("demo", text=f"{line}\n\n")
        assert (code, err) == (0, "")
        told = out.splitlines().index(f"You: {line}")
        answers.add(out.splitlines()[told + 1])
    assert len(answers) == 2
    assert all(answer.startswith("Rumi: ") for answer in answers)


def test_the_demo_speaks_json_and_counts(llambdao):
    """JSON lines alone on the output; words about them beside it."""
    code, out, err = llambdao("demo", "--json", "--turns", "2")
    said = [Message.parse(line) for line in out.splitlines()]
    assert [message.sender.name for message in said] == ["Guest", "Rumi", "Lao Tzu"]
    assert all(json.loads(line)["kind"] == "Message" for line in out.splitlines())
    assert (code, err[-len(NEXT) :]) == (0, NEXT)


def test_turns_are_those_of_the_others(llambdao):
    """What the person says does not count."""
    code, out, _ = llambdao("demo", "--turns", "4", text="Well\n")
    assert (code, speakers(out)[-3:]) == (0, ["Marcus Aurelius", "You", "Rumi"])


def test_the_demo_says_whose_words_they_are(llambdao):
    """A model that is named, or that the environment names, is used and mentioned."""
    code, out, err = llambdao("demo", "--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1")
    assert code == 1
    assert "Their words are found by" in out
    assert err.startswith("llambdao: ")
    assert "Traceback" not in err
