"""People sit at tables with nodes: who is asked when, what is shown, and how it looks."""

import io
import json
import re
import sys

import pytest
from pydantic import Field

from llambdao import GroupChatNode, Message, NoAnswer, Node, Reason, ask, heard, turns
from llambdao.console import (
    ConsoleGroupChatNode,
    ConsoleHumanNode,
    ConsoleRoundTableNode,
    Screen,
    addressed,
)
from llambdao.kernel.events import Event

_terminal = pytest.importorskip("llambdao.console._terminal")


class Sage(Node):
    """Says whom it heard, and remembers of whom it was informed."""

    role = "assistant"
    notes: list[str] = Field(default_factory=list)

    def chat(self, message):
        return f"I heard {message.sender}."

    def inform(self, message):
        self.notes = [*self.notes, f"{message.sender}: {message.content}"]


class Silent(Node):
    def chat(self, message):
        return None


def page(text="", **options):
    """A screen that reads these lines, and what is written on it."""
    out = io.StringIO()
    return Screen(io.StringIO(text), out, **options), out


def seat(kind, text, *others, human_first=False, **fields):
    """A table with a person who says these lines: the table, the person, what is written."""
    screen, out = page(text)
    person = ConsoleHumanNode(screen=screen)
    members = [person, *others] if human_first else [*others, person]
    return kind(*members, screen=screen, **fields), person, out


# -- a person by herself -----------------------------------------------------------------------


@pytest.mark.parametrize("intent", ["chat", "request", "query"])
def test_a_person_is_asked_once_for_a_message(intent):
    """She reads it, and what she types is the one reply."""
    screen, out = page("Fine.\nnot read\n")
    person = ConsoleHumanNode(screen=screen)
    answer = ask(person, Message("How are you?", intent=intent))
    assert (answer.content, answer.sender) == ("Fine.", person)
    assert out.getvalue() == "someone: How are you?\n"
    assert screen.lines.readline() == "not read\n"


def test_to_inform_a_person_is_to_show_it():
    """Nothing is read."""
    screen, out = page("mine\n")
    assert list(ConsoleHumanNode(screen=screen).receive(Message("News", intent="inform"))) == []
    assert (out.getvalue(), screen.lines.read()) == ("someone: News\n", "mine\n")


@pytest.mark.parametrize("line", ["\n", "/skip\n", "   \n", ""])
def test_a_person_may_pass(line):
    """An empty line, /skip and the end of the input say nothing; a question stays unanswered."""
    screen, _ = page(line)
    assert list(ConsoleHumanNode(screen=screen).receive("Well?")) == []
    screen, _ = page(line)
    with pytest.raises(NoAnswer):
        ask(ConsoleHumanNode(screen=screen), Message("Well?", intent="query"))


@pytest.mark.parametrize("end", ["", "/quit\nmore\n"])
def test_who_has_left_is_not_asked_again(end):
    """After the end of the input, or /quit, a person is shown things and says nothing."""
    screen, out = page(end)
    person = ConsoleHumanNode(screen=screen)
    assert list(person.receive("One?")) == []
    assert person.has_left
    assert list(person.receive("Two?")) == []
    assert out.getvalue() == "someone: One?\nsomeone: Two?\n"
    assert "more" not in screen.lines.read() or end


def test_lines_that_end_in_a_backslash_are_one_message():
    """Also when the input ends there."""
    screen, _ = page("one \\\ntwo\nthree\\")
    person = ConsoleHumanNode(screen=screen)
    assert [said.content for said in person.receive("Go")] == ["one \ntwo"]
    assert [said.content for said in person.receive("Go")] == ["three"]


def test_commands_are_done_and_the_person_is_asked_again():
    """/who, /help and what does not exist take no turn."""
    table, _, out = seat(ConsoleGroupChatNode, "/who\n/nope\nHello\n", Silent(name="Ann"))
    list(table.receive("Begin"))
    assert out.getvalue() == (
        "someone: Begin\nHere are: Ann, you\nThere is no /nope; /help shows what there is.\n"
        "You: Hello\n"
    )
    screen, out = page("/help\n")
    screen.read(ConsoleHumanNode())
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "/save FILE" in out.getvalue()


def test_what_was_said_can_be_saved(tmp_path, monkeypatch):
    """As text or as data; never over a file that is there, and a bad path is no crash."""
    monkeypatch.chdir(tmp_path)
    lines = "/save\n/save a.txt\n/save a.txt\n/save b.jsonl\n/save no/such\n"
    screen, out = page(lines)
    person = ConsoleHumanNode(screen=screen)
    list(person.receive(Message("Hello", sender=Node(name="Ann"))))
    assert (tmp_path / "a.txt").read_text() == "Ann: Hello\n\n"
    assert Message.parse((tmp_path / "b.jsonl").read_text()).content == "Hello"
    assert out.getvalue().splitlines()[1:] == [
        "Where to? /save FILE",
        "Saved 1 message to a.txt.",
        "a.txt is there already; /save another one.",
        "Saved 1 message to b.jsonl.",
        "Could not save to no/such: No such file or directory.",
    ]


def test_no_screen_leaves_a_node():
    """Neither a snapshot nor JSON shows where a person sits."""
    person = ConsoleHumanNode(name="Ann", screen=page()[0])
    assert person.state() == {"name": "Ann", "persona": ""}
    assert set(person.dict()) == {"id", "name", "role"}


# -- tables ------------------------------------------------------------------------------------


def test_a_console_group_chat_is_a_group_chat_that_shows():
    """The transcript is that of a plain group chat, each line shown as it comes."""
    sages = [Sage(name=name) for name in ("Rumi", "Lao Tzu", "Marcus")]
    screen, out = page()
    shown = []
    for said in ConsoleGroupChatNode(*sages, until=turns(7), screen=screen).receive("Why?"):
        shown.append(str(said))
        assert out.getvalue().splitlines()[-1] == str(said)
    plain = [str(said) for said in GroupChatNode(*sages, until=turns(7)).receive("Why?")]
    assert shown == plain
    assert out.getvalue().splitlines() == ["someone: Why?", *plain]


def test_there_is_no_hidden_second_person():
    """Who sits at a table was put there."""
    human, rumi = ConsoleHumanNode(), Sage(name="Rumi")
    assert list(ConsoleGroupChatNode(human, rumi)) == [human, rumi]
    assert list(ConsoleRoundTableNode(rumi)) == [rumi]


def test_a_person_at_a_group_chat_is_asked_once_a_round():
    """Not for each word of the others; and what she says is answered first."""
    sages = [Sage(name="Rumi"), Sage(name="Lao Tzu")]
    table, person, out = seat(
        ConsoleGroupChatNode, "One.\nTwo.\n", *sages, human_first=True, until=heard("two")
    )
    list(table.receive(Message("Why?", intent="chat", sender=person)))
    assert out.getvalue().splitlines() == [
        "You: Why?",
        "Rumi: I heard Guest.",
        "Lao Tzu: I heard Guest.",
        "Lao Tzu: I heard Rumi.",
        "You: One.",
        "Rumi: I heard Guest.",
        "Lao Tzu: I heard Guest.",
        "Rumi: I heard Lao Tzu.",
        "Rumi: I heard Lao Tzu.",
        "Lao Tzu: I heard Rumi.",
        "You: Two.",
    ]


def test_everybody_at_a_round_table_speaks_in_turn():
    """Each hears everything once, in order, and answers the one before."""
    sages = [Sage(name=name) for name in ("Rumi", "Lao Tzu", "Marcus")]
    table, person, out = seat(ConsoleRoundTableNode, "I see.\n\n", *sages, until=turns(8))
    list(table.receive(Message("Why?", intent="chat", sender=person)))
    assert out.getvalue().splitlines() == [
        "You: Why?",
        "Rumi: I heard Guest.",
        "Lao Tzu: I heard Rumi.",
        "Marcus: I heard Lao Tzu.",
        "You: I see.",
        "Rumi: I heard Guest.",
        "Lao Tzu: I heard Rumi.",
        "Marcus: I heard Lao Tzu.",
        "Rumi: I heard Marcus.",
    ]
    marcus = ["Guest: Why?", "Rumi: I heard Guest.", "Guest: I see.", "Rumi: I heard Guest."]
    assert sages[2].notes == [*marcus, "Rumi: I heard Marcus."]
    assert sages[0].notes == [
        "Lao Tzu: I heard Rumi.",
        "Marcus: I heard Lao Tzu.",
        "Lao Tzu: I heard Rumi.",
    ]


def test_a_round_table_ends_when_nobody_has_anything_to_add():
    """All pass, and it is over; without `until` it ends at its limit, and says so."""
    table, person, _ = seat(ConsoleRoundTableNode, "\n", Silent(), Silent())
    conversation = table.receive(Message("Why?", intent="chat", sender=person))
    assert list(conversation) == []
    assert conversation.reason is Reason.DONE
    sages = [Sage(name="Rumi"), Sage(name="Lao Tzu")]
    conversation = ConsoleRoundTableNode(*sages, most=5, screen=page()[0]).receive("Why?")
    assert len(list(conversation)) == 5
    assert conversation.reason is Reason.LIMIT


@pytest.mark.parametrize("kind", [ConsoleGroupChatNode, ConsoleRoundTableNode])
def test_a_table_ends_when_every_person_has_left(kind):
    """Nobody speaks on behind her back."""
    table, person, _ = seat(kind, "/quit\n", Sage(name="Rumi"), Sage(name="Lao Tzu"))
    conversation = table.receive(Message("Why?", intent="chat", sender=person))
    said = list(conversation)
    assert len(said) <= 3
    assert conversation.reason is Reason.STOPPED
    assert str(table) in conversation.detail


@pytest.mark.parametrize("kind", [ConsoleGroupChatNode, ConsoleRoundTableNode])
def test_who_is_addressed_is_asked_and_nobody_else(kind):
    """Words that begin with @ and a name are for that one."""
    sages = [Sage(name=name) for name in ("Rumi", "Lao Tzu", "Marcus Aurelius")]
    table, person, _ = seat(kind, "", *sages, until=turns(1))
    first = Message("@marcus, and you?", intent="chat", sender=person)
    assert [str(said) for said in table.receive(first)] == ["Marcus Aurelius: I heard Guest."]


@pytest.mark.parametrize(
    ("words", "who"),
    [
        ("@Rumi hello", ["Rumi"]),
        ("  @lao tzu: hello", ["Lao Tzu"]),
        ("@tzu", ["Lao Tzu"]),
        ("@Rumination", []),
        ("Rumi, hello", []),
        ("@", []),
        ("@Ann", []),
    ],
)
def test_a_name_is_understood(words, who):
    """A whole name, or a word that only one name has; capitals do not matter."""
    nodes = [Node(name=name) for name in ("Rumi", "Lao Tzu", "Ann A", "Ann B")]
    assert [node.name for node in addressed(words, nodes)] == who


def test_a_question_at_a_round_table_is_answered_by_the_table():
    """And the answers are shown, like all that is said."""

    class Curious(Node):
        def chat(self, message):
            answer = yield Message("Which way?", intent="query")
            yield f"So {answer.content}"

    class Guide(Node):
        def chat(self, message):
            return "left" if "?" in message.content else None

    screen, out = page()
    table = ConsoleRoundTableNode(Curious(name="Ann"), Guide(name="Bob"), screen=screen)
    list(table.receive("Go"))
    assert out.getvalue().splitlines()[:4] == [
        "someone: Go",
        "Ann: Which way?",
        "Bob: left",
        "Ann: So left",
    ]


# -- screens -----------------------------------------------------------------------------------


def test_a_message_is_shown_once():
    """However many show it; without an id it is another one each time."""
    screen, out = page()
    said = Message("Hello", id="m1")
    assert (screen.show(said), screen.show(said), screen.show(Message("x"))) == (1, 1, 2)
    assert out.getvalue() == "someone: Hello\nsomeone: x\n"


def test_nobody_can_write_as_somebody_else():
    """Further lines are indented, and what moves the cursor or turns the line is taken out."""
    screen, out = page()
    screen.show(Message("a\nBob: b\r\n\x1b[2J\u202ec\x85", sender=Node(name="Ann\nBob")))
    assert out.getvalue() == "Ann Bob: a\n  Bob: b\n  \ufffd[2J\ufffdc\ufffd\n"


def test_json_lines_parse_and_notes_stay_out_of_them(capsys):
    """Data goes to the output, words about it to the error stream."""
    screen, out = page("/who\nHi\n", json=True)
    table = ConsoleGroupChatNode(ConsoleHumanNode(screen=screen), Silent(), screen=screen)
    list(table.receive("Hello"))
    lines = out.getvalue().splitlines()
    assert [Message.parse(line).content for line in lines] == ["Hello", "Hi"]
    assert all(json.loads(line)["kind"] == "Message" for line in lines)
    assert capsys.readouterr().err == "Here are: Silent, you\n"


# -- the terminal's way of writing -------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch, capsys):
    """A terminal of 40 columns without colours, and a function that gives what stands on it."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = _terminal.Terminal()
    terminal.sit(GroupChatNode(Sage(name="Rumi"), Sage(name="Ann"), name="table"), [])

    def shown():
        return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()

    return terminal, shown


def test_words_stand_beside_a_name(terminal):
    """The name once, the words wrapped beside it; a new line stays a new line."""
    terminal, shown = terminal
    terminal.show(Message("Love is the bridge between you and everything.\nSo?\n\nYes.",
                          sender=Node(name="Rumi")))  # fmt: skip
    assert shown() == [
        "Rumi │ Love is the bridge between you",
        "     │ and everything.",
        "     │ So?",
        "     │",
        "     │ Yes.",
    ]


def test_markdown_is_rendered_and_nothing_of_it_is_lost(terminal):
    """Headings, emphasis, lists and code; < is no HTML."""
    terminal, shown = terminal
    terminal.show(Message("# Way\n**bold** `<b>` <i>\n\n- one\n- two\n\n```\nx = 1\n\ny = 2\n```",
                          sender=Node(name="Ann")))  # fmt: skip
    text = "\n".join(shown())
    for part in (" Ann │ Way", "bold <b> <i>", "• one", "• two", "x = 1", "y = 2"):
        assert part in text
    assert "**" not in text
    assert "```" not in text


WORDS = "Love is the bridge between you and everything. It was never anything else, my friend."


def stream(terminal, pieces, sender, whole=None):
    """Lets somebody say this piece by piece, as an observer sees it; yields after each."""
    question = Message("Why?", id="q")
    for piece in pieces:
        delta = _terminal.Delta(piece, sender, question)
        terminal.observe(Event("delta", sender, delta))
        yield
    said = Message("".join(pieces) if whole is None else whole, sender=sender, reply_to=question)
    terminal.show(said)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "text",
    [WORDS, f"{WORDS}\n\n{WORDS}\n\n- a\n- b\n", "```\na\n\nb\n```\nthen", "**b** and `c`\n\nend"],
)
def test_words_that_come_in_pieces_end_up_as_if_they_came_at_once(terminal, text, size):
    """Nothing is drawn twice and nothing is missing, however the pieces are cut."""
    terminal, shown = terminal
    ann = Node(name="Ann")
    terminal.show(Message(text, sender=ann))
    at_once = [line for line in shown() if line.strip(" │")]
    for _ in stream(terminal, [text[i : i + size] for i in range(0, len(text), size)], ann):
        pass
    assert [line for line in shown() if line.strip(" │")] == at_once


def test_lines_are_seen_as_soon_as_they_are_full(terminal):
    """Nobody waits for the end of a paragraph."""
    terminal, shown = terminal
    steps = stream(terminal, WORDS.split(" "), Node(name="Ann"))
    seen = [line for _ in steps for line in [shown()] if line]
    assert len(seen) >= 1


def test_two_who_speak_at_once_are_not_mixed(terminal):
    """The second one is shown when it is done, after what the first has said so far."""
    terminal, shown = terminal
    ann, rumi = Node(name="Ann"), Node(name="Rumi")
    first = stream(terminal, re.findall(r"\S+ ?", WORDS), ann)
    second = stream(terminal, ["No."], rumi)
    for _ in first:
        next(second, None)
    assert shown() == [
        " Ann │ Love is the bridge between you",
        "     │ and everything. It was never",
        "     │ anything else, my friend.",
        "Rumi │ No.",
    ]


def test_words_that_break_off_stay_and_the_next_ones_begin_anew(terminal):
    """A failure in the middle of a speech leaves what was heard."""
    terminal, shown = terminal
    ann = Node(name="Ann")
    next(stream(terminal, ["Well, "], ann))
    terminal.observe(Event("over"))
    assert shown() == [" Ann │ Well,"]
    terminal.show(Message("Again.", sender=ann))
    assert shown() == [" Ann │ Again."]


def test_without_colours_there_are_none(monkeypatch, capsys):
    """NO_COLOR leaves bold and dim, and no colour."""
    for value in ("1", None):
        monkeypatch.setenv("NO_COLOR", "1") if value else monkeypatch.delenv("NO_COLOR")
        terminal = _terminal.Terminal()
        terminal.colour_system = "standard"
        terminal.show(Message("`code` [a](http://b)", sender=Node(name="Ann")))
        colours = re.findall(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d[;m]", capsys.readouterr().out)
        assert bool(colours) is (value is None)


def test_history_is_kept_in_the_folder_or_not_at_all(tmp_path, monkeypatch):
    """In `.llambdao`, if somebody made that folder."""
    monkeypatch.chdir(tmp_path)
    assert not isinstance(_terminal._history(), _terminal.FileHistory)
    (tmp_path / ".llambdao").mkdir()
    assert _terminal._history().filename == ".llambdao/history"


def test_the_plain_console_serves_where_the_extra_is_missing(monkeypatch):
    """At a terminal without rich or prompt_toolkit lines are asked for by `input`."""
    from llambdao.console import _screen

    class Tty(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Tty("Hello\n"))
    monkeypatch.setattr(sys, "stdout", out := Tty())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "llambdao.console._terminal", None)
    screen = _screen._screen(json=False)
    assert (type(screen), screen.prompts) == (Screen, True)
    person = ConsoleHumanNode(screen=screen)
    assert [said.content for said in person.receive("Well?")] == ["Hello"]
    assert out.getvalue() == "someone: Well?\nYou> "
