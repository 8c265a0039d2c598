"""`llambdao` at a real terminal: typing, commands, Ctrl-C, Ctrl-D, words that arrive meanwhile."""

import io
import os
import re

import pexpect
import pytest

pytest.importorskip("prompt_toolkit")

PROMPT = "You.*│"

ECHO = """
from llambdao import Node

class Echo(Node):
    role = "assistant"

    def chat(self, message):
        yield f"<{message.content}>"

network = Echo(name="Echo")
"""


@pytest.fixture
def demo(at_terminal):
    """The demo, when it is the person's turn for the first time."""
    child = at_terminal("demo")
    child.expect("An offline voice speaks")
    child.expect("Marcus Aurelius.*│")
    child.expect(PROMPT)
    return child


def ends(child, code):
    """The program ends with this exit code."""
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == code
    assert "Traceback" not in child.before


def test_a_person_talks_with_the_table(demo):
    """She types, the others answer, it is her turn again; Ctrl-D leaves."""
    demo.send("My bicycle is broken\r")
    for name in ("Rumi", "Lao Tzu", "Marcus Aurelius"):
        demo.expect(f"{name}.*│")
    demo.expect(PROMPT)
    demo.sendeof()
    demo.expect("What next")
    ends(demo, 0)


def test_commands_take_no_turn(demo):
    """/who and what does not exist are answered, /quit leaves."""
    demo.send("/who\r")
    demo.expect("Here are: Rumi, Lao Tzu, Marcus Aurelius, you")
    demo.send("/nope\r")
    demo.expect("There is no /nope")
    demo.send("/help\r")
    demo.expect("Ctrl-D leaves")
    demo.send("/quit\r")
    ends(demo, 0)


@pytest.mark.parametrize("line", ["/skip\r", "\r"])
def test_who_passes_hears_the_others_go_on(demo, line):
    """They have another round, then she is asked again."""
    demo.send(line)
    demo.expect("Rumi.*│")
    demo.expect("Marcus Aurelius.*│")
    demo.expect(PROMPT)
    demo.sendeof()
    ends(demo, 0)


def test_control_c_once_drops_what_was_typed_and_twice_leaves(demo):
    """A line in between begins the count anew."""
    for _ in range(2):
        demo.send("never said")
        demo.expect("never said")
        demo.sendintr()
        demo.expect("Ctrl-C again leaves")
        demo.expect(PROMPT)
        demo.send("/who\r")
        demo.expect("Here are")
        demo.expect(PROMPT)
    demo.sendintr()
    demo.expect("Ctrl-C again leaves")
    demo.expect(PROMPT)
    demo.sendintr()
    ends(demo, 130)


def test_a_message_may_have_several_lines(at_terminal, write):
    """By a backslash, or by Alt-Enter."""
    child = at_terminal("chat", write(ECHO))
    child.expect(PROMPT)
    child.send("one \\\r")
    child.expect(r"\.\.\..*│")
    child.send("two\x1b\rthree\r")
    child.expect(r"Echo.*│.*<one[^e]*\n[^e]*two[^e]*\n[^e]*three>")
    child.sendeof()
    ends(child, 0)


def test_the_words_of_the_person_stand_there_once(at_terminal, write):
    """As she typed them; nobody repeats them."""
    child = at_terminal("chat", write(ECHO.replace('f"<{message.content}>"', '"Aha"')))
    child.expect(PROMPT)
    child.send("unmistakable\r")
    child.expect("Echo.*│.*Aha")
    margin = "\x1b[2m│\x1b[0m "  # as we write it; the line being typed is drawn otherwise
    assert f"{margin}Aha" in child.before + child.after
    assert f"{margin}unmistakable" not in child.before + child.after
    child.expect(PROMPT)
    child.sendeof()
    ends(child, 0)


SLOW = """
import asyncio
from pathlib import Path
from llambdao import Node
from llambdao.console import ConsoleGroupChatNode, ConsoleHumanNode

class Pipe(Node):
    role = "assistant"

    async def chat(self, message):
        if message.sender.role == "user" and "stop" not in message.content:
            yield "begun"
        elif message.content == "begun":
            news = await asyncio.to_thread(Path("news").read_text)
            for line in news.splitlines():
                yield line

class Starter(Node):
    def chat(self, message):
        return "begun" if message.sender.role == "user" else None

person = ConsoleHumanNode()
network = ConsoleGroupChatNode(Starter(name="Starter"), Pipe(name="Pipe"), person)
"""


def test_typing_survives_words_that_arrive(at_terminal, write, folder):
    """What others say appears above the line, and the line is sent whole."""
    os.mkfifo(folder / "news")
    child = at_terminal("chat", write(SLOW))
    child.logfile_read = io.StringIO()
    child.expect(PROMPT)
    child.send("go\r")
    child.expect("Pipe.*│.*begun")
    child.expect(PROMPT)
    child.send("hello ")
    child.expect("hello")
    with (folder / "news").open("w") as news:
        news.write("first news\nsecond news\n")
    child.expect("first news")
    child.expect("hello")
    child.send("stop\r")
    child.expect("hello stop")
    assert "?[" not in child.logfile_read.getvalue()  # what becomes of colours in the wrong hands


STUCK = """
import asyncio
from llambdao import Node

class Stuck(Node):
    role = "assistant"

    async def chat(self, message):
        if message.content == "wait":
            yield "Let me think"
            await asyncio.Event().wait()
        yield f"<{message.content}>"

network = Stuck(name="Stuck")
"""


def test_control_c_cancels_what_the_others_are_saying(at_terminal, write):
    """She has the word again; the network is as good as before."""
    child = at_terminal("chat", write(STUCK))
    child.expect(PROMPT)
    child.send("wait\r")
    child.expect("Let me think")
    child.sendintr()
    child.expect("Ctrl-C again leaves")
    child.expect(PROMPT)
    child.send("more\r")
    child.expect("<more>")
    child.expect(PROMPT)
    child.send("wait\r")
    child.expect("Let me think")
    child.sendintr()
    child.expect(PROMPT)
    child.sendintr()
    ends(child, 130)


def test_an_error_does_not_end_a_chat_at_a_terminal(at_terminal, write):
    """It is shown, and she may say something else."""
    child = at_terminal("chat", write(ECHO.replace("yield", "1 / len(message.content[1:]); yield")))
    child.expect(PROMPT)
    child.send("x\r")
    child.expect("ZeroDivisionError: division by zero")
    child.expect(PROMPT)
    child.send("fine\r")
    child.expect("<fine>")
    child.sendeof()
    ends(child, 0)


@pytest.mark.parametrize(("no_color", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_respected(at_terminal, no_color, coloured):
    """No colour is set at all; bold and dim stay."""
    child = at_terminal("demo", **no_color)
    child.expect("Marcus Aurelius.*│")
    child.expect(PROMPT)
    seen = child.before + child.after
    child.sendeof()
    child.expect(pexpect.EOF)
    seen += child.before
    assert bool(re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)[;m]", seen)) is coloured


def test_the_plain_console_can_do_it_too(at_terminal, write):
    """Where the terminal is a dumb one: `input`, names and colons; Ctrl-C and Ctrl-D as ever."""
    child = at_terminal("chat", write(ECHO), TERM="dumb")
    child.expect("You> ")
    child.sendline("hello")
    child.expect("Echo: <hello>")
    child.expect("You> ")
    child.sendintr()
    child.expect("Ctrl-C again leaves")
    child.expect("You> ")
    child.sendeof()
    ends(child, 0)
