"""The commands for a journal: in pipes and at a terminal, beside a program and without one."""

import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pexpect
import pytest

from .conftest import LLAMBDAO

pytestmark = pytest.mark.timeout(60)

LOOKING = ["inbox", "log", "trace", "stuck", "dead", "compact", "audit"]
COMMANDS = [*LOOKING, "replay", "fork", "resume"]

SHOP = """
from llambdao import HumanNode, Node, all_of, call

journal = "sqlite:///shop.db"


def price(what):
    return f"{what} for {len(what)}"


class Clerk(Node):
    bosses: list[Node]

    def request(self, message):
        cost = yield call(price, message.content)
        said = yield all_of(*(one.ask(f"{cost}?") for one in self.bosses))
        yield " ".join(f"{one.sender}={one.content}" for one in said)

    def inform(self, message):
        raise ZeroDivisionError(message.content)


clerk = Clerk(name="clerk", bosses=[HumanNode(name="Ann"), HumanNode(name="Bob")])
"""

POLITE = SHOP.replace("{cost}?", "{cost}, please?")

TELL = (
    "import sys\n"
    "from llambdao import Message\n"
    "from llambdao.journal import Room\n"
    "with Room('sqlite:///shop.db') as room:\n"
    "    room.tell('clerk', Message(sys.argv[1], intent=sys.argv[3], id=sys.argv[2]))\n"
)

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")


@pytest.fixture
def shop(llambdao, write, folder, environment):
    """A shop that was asked for a chair; both bosses are asked, and the program has ended."""
    write(SHOP, "shop.py")
    assert llambdao("resume", "shop.py") == (0, "", "")

    def tell(words, number, intent="request"):
        subprocess.run(
            [*LLAMBDAO[:3], "-c", TELL, words, number, intent],
            cwd=folder,
            env=environment,
            check=True,
        )

    tell("chair", "o1")
    code, out, err = llambdao("resume", "shop.py")
    assert (code, err) == (0, "")
    assert TIME.sub("TIME", out) == (
        "TIME  outside to clerk: chair\n"
        "TIME  clerk to Ann: chair for 5?\n"
        "TIME  clerk to Bob: chair for 5?\n"
        "waits for Ann: chair for 5?\n"
        "waits for Bob: chair for 5?\n"
    )
    return tell


def ids(llambdao):
    """The ids of the open questions, by who is asked."""
    out = llambdao("inbox", "--json")[1]
    return {one["who"]: one["id"] for one in map(json.loads, out.splitlines())}


# -- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_on_one_screen(llambdao, command):
    """80 columns, 24 lines."""
    code, out, err = llambdao(command, "--help", COLUMNS="80")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 23
    assert max(map(len, out.splitlines())) <= 80
    assert f"usage: llambdao {command} " in out


def test_help_names_the_commands(llambdao):
    """On a line of their own, for whoever has a journal."""
    code, out, _ = llambdao("--help", COLUMNS="80")
    assert code == 0
    assert len(out.splitlines()) <= 23
    assert "For a journal: inbox, log, trace, replay, fork, resume, stuck, dead, compact," in out


# -- which journal -------------------------------------------------------------------------------


def test_the_only_journal_of_a_folder_is_meant(llambdao, shop, folder):
    """Else it is named: on the command line, as a URL or a file, or in the environment."""
    whole = llambdao("log")
    assert whole[0] == 0
    assert llambdao("log", "--journal", "shop.db") == whole
    assert llambdao("log", LLAMBDAO_JOURNAL="sqlite:///shop.db") == whole
    (folder / "other.db").write_bytes((folder / "shop.db").read_bytes())
    (folder / "none.db").write_bytes(b"something else")
    assert llambdao("log") == (
        2,
        "",
        "llambdao: which journal? --journal, one of other.db, shop.db\n",
    )
    assert llambdao("log", "--journal", "sqlite:///shop.db") == whole


def test_without_a_journal_there_is_a_lesson(llambdao):
    """What is missing, and what to write."""
    assert llambdao("inbox") == (
        2,
        "",
        "llambdao: there is no journal in this folder; --journal sqlite:///FILE says where it is\n",
    )
    code, out, err = llambdao("inbox", "--journal", "shop.db")
    assert (code, out) == (1, "")
    assert err.startswith("llambdao: there is no journal ")
    code, out, err = llambdao("inbox", "--journal", "ftp://shop.db")
    assert (code, out) == (1, "")
    assert "a journal's URL is sqlite:///room.db" in err


# -- inbox ---------------------------------------------------------------------------------------


def test_the_inbox_shows_who_is_asked_what(llambdao, shop):
    """In columns, or as lines of JSON; of all, or of one."""
    code, out, err = llambdao("inbox")
    number = re.search(r"\w{32}", out)[0]
    assert (code, err) == (0, "")
    assert TIME.sub("TIME", out).replace(number[:-1], "ID") == (
        f"ID{' ' * 32}WHO        ASKED BY  QUESTION      SINCE             UNTIL\n"
        "ID2  clerk/Ann  clerk     chair for 5?  TIME\n"
        "ID3  clerk/Bob  clerk     chair for 5?  TIME\n"
    )
    one = json.loads(llambdao("inbox", "--json", "--by", "Bob")[1])
    assert {name: one[name] for name in ("who", "asker", "content", "until")} == {
        "who": "clerk/Bob",
        "asker": "clerk",
        "content": "chair for 5?",
        "until": None,
    }
    assert llambdao("inbox", "--by", "Eve") == (0, "nobody is asked anything\n", "")


def test_the_inbox_answers(llambdao, shop):
    """Once, by who was asked; the program goes on with it when it runs next."""
    asked = ids(llambdao)
    ann = asked["clerk/Ann"]
    code, out, err = llambdao("inbox", "answer", ann, "yes", "--by", "Bob")
    assert (code, out) == (1, "")
    assert err == "llambdao: Ann was asked 'chair for 5?', not Bob: nobody else answers\n"
    assert llambdao("inbox", "answer", ann, "yes,", "please", "--by", "Ann") == (
        0,
        f"{ann}: it lies at the door, until the program runs\n",
        "",
    )
    code, out, err = llambdao("inbox", "answer", ann, "no", "--by", "Ann")
    assert (code, out) == (1, "")
    assert "was answered by clerk/Ann; it takes no more answers" in err
    assert llambdao("inbox", "answer", "3", "no", "--by", "Bob", "--json")[:2] == (
        0,
        json.dumps(
            {"id": asked["clerk/Bob"], "done": "it lies at the door, until the program runs"}
        )
        + "\n",
    )
    out = llambdao("resume", "shop.py")[1]
    assert TIME.sub("TIME", out) == (
        "TIME  Ann to clerk: yes, please\n"
        "TIME  Bob to clerk: no\n"
        "TIME  clerk: Ann=yes, please Bob=no\n"
    )
    assert llambdao("inbox") == (0, "nobody is asked anything\n", "")


@pytest.mark.parametrize(
    ("wrong", "lesson"),
    [
        (["answer"], "who answers what? llambdao inbox answer ID WORDS --by NAME"),
        (["answer", "x", "yes"], "who answers what? llambdao inbox answer ID WORDS --by NAME"),
        (["dance"], "inbox can `answer`, not 'dance'"),
        (["answer", "z", "yes", "--by", "Ann"], "there is no question 'z'"),
        (["answer", "18", "yes", "--by", "Ann"], "'18' may be any of 2: 18"),
    ],
)
def test_what_cannot_be_answered_says_why(llambdao, shop, wrong, lesson):
    """And what to write."""
    code, out, err = llambdao("inbox", *wrong)
    assert code in (1, 2)
    assert out == ""
    assert lesson in err


def test_at_a_terminal_what_is_missing_is_asked_for(at_terminal, llambdao, shop):
    """Who she is, then her answer to each question; an empty one leaves it open."""
    child = at_terminal("inbox", "answer")
    child.expect("Who are you\\? ")
    child.sendline("Ann")
    child.expect("clerk asks clerk/Ann: chair for 5\\?")
    child.expect("your answer \\(nothing: later\\)> ")
    child.sendline("yes")
    child.expect("it lies at the door, until the program runs")
    child.expect(pexpect.EOF)
    child = at_terminal("inbox", "answer", "--by", "Bob")
    child.expect("your answer")
    child.sendline("")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert "waits for Bob" in llambdao("resume", "shop.py")[1]


def test_at_a_terminal_ctrl_c_leaves(at_terminal, shop):
    """Without a trace of how it was made."""
    child = at_terminal("inbox", "answer", "--by", "Ann")
    child.expect("your answer")
    for _ in range(20):  # just before it reads, Python does not hear it
        child.sendintr()
        if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1) == 0:
            break
    child.wait()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before


def test_at_a_terminal_there_are_tables_and_trees(at_terminal, shop):
    """Drawn, as wide as it is, with ids short enough to type."""
    pytest.importorskip("rich")
    child = at_terminal("inbox", size=(24, 100))
    child.expect(pexpect.EOF)
    shown = re.sub(r"\x1b\[[\d;]*m", "", child.before)
    assert "───" in shown
    assert max(map(len, shown.splitlines())) <= 100
    [short] = {row.split()[0] for row in shown.splitlines() if "clerk/Bob" in row}
    assert len(short) == 8
    child = at_terminal("trace", "o1")
    child.expect(pexpect.EOF)
    shown = re.sub(r"\x1b\[[\d;]*m", "", child.before)
    assert shown.splitlines() == [
        "outside to clerk: chair",
        "├── clerk to Ann: chair for 5?",
        "└── clerk to Bob: chair for 5?",
    ]


def test_what_was_said_cannot_steer_the_terminal(at_terminal, llambdao, shop):
    """Control characters are shown as what they are."""
    shop("a\x1b[2Jchair\nand more", "o2")
    for command in (["resume", "shop.py"], ["log"], ["trace", "o2"], ["inbox"]):
        out = llambdao(*command)[1]
        assert "\x1b" not in out
    child = at_terminal("trace", "o2")
    child.expect(pexpect.EOF)
    assert "\x1b[2J" not in child.before


# -- log and trace -------------------------------------------------------------------------------


def test_the_log_is_what_was_said(llambdao, shop):
    """All, one conversation, the last steps; as text or as JSON."""
    code, out, err = llambdao("log")
    assert (code, err) == (0, "")
    assert TIME.sub("TIME", out) == (
        "TIME  outside to clerk: chair\n"
        "TIME  clerk to Ann: chair for 5?\n"
        "TIME  clerk to Bob: chair for 5?\n"
    )
    assert llambdao("log", "o1") == (0, out, "")
    assert llambdao("log", "--last", "1")[1] == "".join(out.splitlines(keepends=True)[1:])
    first, *_ = map(json.loads, llambdao("log", "--json")[1].splitlines())
    assert {name: first[name] for name in ("conversation", "id", "content", "intent", "out")} == {
        "conversation": "o1",
        "id": "o1",
        "content": "chair",
        "intent": "request",
        "out": False,
    }
    assert llambdao("log", "o7") == (
        1,
        "",
        "llambdao: no conversation was opened by a message with the id 'o7'\n",
    )


def test_the_log_can_be_followed(at_terminal, llambdao, shop):
    """It goes on with what is said, until Ctrl-C."""
    child = at_terminal("log", "--follow")
    child.expect("clerk to Bob: chair for 5")
    shop("lamp", "o2")
    assert llambdao("resume", "shop.py")[0] == 0
    child.expect("clerk to Bob: lamp for 4")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130


def test_a_trace_shows_what_came_of_a_message_and_what_it_came_from(llambdao, shop):
    """By the id of any message, or a part of the id of a conversation."""
    assert llambdao("trace", "o1") == (
        0,
        "outside to clerk: chair\n├─ clerk to Ann: chair for 5?\n└─ clerk to Bob: chair for 5?\n",
        "",
    )
    data = json.loads(llambdao("trace", "o1", "--json")[1])
    assert [one["content"] for one in data["children"]] == ["chair for 5?", "chair for 5?"]
    inner = data["children"][0]["id"]
    assert llambdao("trace", inner)[1] == "outside to clerk: chair\nclerk to Ann: chair for 5?\n"
    assert llambdao("trace", "zz") == (
        1,
        "",
        "llambdao: there is no message 'zz' in this journal\n",
    )


# -- replay, fork, resume ------------------------------------------------------------------------


def test_a_replay_shows_steps_and_differences(llambdao, write, shop):
    """0 if the program does it again, 1 and both ways if not."""
    code, out, err = llambdao("replay", "o1", "shop.py")
    assert (code, err) == (0, "")
    assert TIME.sub("TIME", out) == (
        "step 0, TIME: it began\n"
        "  outside to clerk: chair\n"
        "  calls price\n"
        'step 1, TIME: price came to "chair for 5"\n'
        "  clerk to Ann: chair for 5?\n"
        "  clerk to Bob: chair for 5?\n"
        "\n"
        "shop.py does all of it again\n"
    )
    write(POLITE, "shop.py")
    code, out, err = llambdao("replay", "o1", "shop.py")
    assert (code, err) == (1, "")
    assert "- clerk to clerk/Ann: request 'chair for 5?'\n" in out
    assert "+ clerk to clerk/Ann: request 'chair for 5, please?'\n" in out
    data = json.loads(llambdao("replay", "o1", "shop.py", "--json")[1])
    assert [step["inputs"] for step in data["steps"]] == [[], ['price came to "chair for 5"']]
    assert data["difference"].startswith("clerk does something else now than it did in step 1")


def test_a_fork_goes_on_from_what_was_not_said(llambdao, write, shop):
    """The edited message is marked, and what comes of it; the journal stays as it is."""
    before = llambdao("log")
    assert llambdao("fork", "o1", "shop.py", "--say", "chair") == (
        0,
        (
            "* outside to clerk: chair\n"
            "+ clerk to Ann: chair for 5?\n"
            "+ clerk to Bob: chair for 5?\n"
            "? waits for clerk/Ann: chair for 5?\n"
            "? waits for clerk/Bob: chair for 5?\n"
        ),
        "",
    )
    code, out, err = llambdao("fork", "o1", "shop.py", "--say", "lamp")
    assert (code, out) == (1, "* outside to clerk: lamp\n")
    assert err.startswith("llambdao: NotRecorded: price is called, but of this call nothing is")
    code, out, err = llambdao("fork", "o1", "shop.py", "--say", "lamp", "--effects", "--json")
    said = [*map(json.loads, out.splitlines())]
    assert [(one["content"], one["edited"]) for one in said] == [
        ("lamp", True),
        ("lamp for 4?", False),
        ("lamp for 4?", False),
    ]
    assert llambdao("log") == before


@pytest.mark.parametrize("command", [["replay", "o1"], ["fork", "o1", "--say", "x"], ["resume"]])
def test_a_program_is_needed(llambdao, write, shop, command):
    """A file that is not there, or has no node, is refused in a line."""
    assert llambdao(*command, "none.py") == (2, "", "llambdao: there is no file none.py\n")
    write("x = 1", "empty.py")
    code, out, err = llambdao(*command, "empty.py", "--journal", "shop.db")
    assert (code, out) == (2, "")
    assert err.startswith("llambdao: empty.py has no node at its top level")


def test_resume_forever_ends_when_it_is_told_to(folder, environment, llambdao, shop):
    """What comes meanwhile is handled and printed; other processes need not wait for long."""
    process = subprocess.Popen(
        [*LLAMBDAO, "resume", "shop.py", "--forever"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 20
        while not is_run(folder / "shop.db"):
            assert time.monotonic() < until
        code, out, err = llambdao("inbox", "answer", "3", "yes", "--by", "Bob", "--wait", "20")
        assert (code, err) == (0, "")
        assert out.endswith(": answered\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "Bob to clerk: yes" in out
    assert out.endswith("waits for Ann: chair for 5?\n")


def is_run(path):
    """Does a process run this journal?"""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select body from meta where name = '.alive'").fetchone() == ("1",)


def test_a_second_owner_is_refused(folder, environment, llambdao, shop):
    """And told what can be done beside the first."""
    process = subprocess.Popen(
        [*LLAMBDAO, "resume", "shop.py", "--forever"], cwd=folder, env=environment
    )
    try:
        until = time.monotonic() + 20
        while not is_run(folder / "shop.db"):  # who asks for it would be the first
            assert time.monotonic() < until
        err = llambdao("resume", "shop.py")[2]
        assert err.startswith("llambdao: the journal ")
        assert "end that one first" in err
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


# -- stuck and dead ------------------------------------------------------------------------------


@pytest.fixture
def changed(llambdao, write, shop):
    """The shop after a change of its program, with which its conversation is stuck."""
    number = ids(llambdao)["clerk/Ann"]
    assert llambdao("inbox", "answer", number, "yes", "--by", "Ann")[0] == 0
    write(POLITE, "shop.py")
    out = llambdao("resume", "shop.py")[1]
    assert out == (
        "waits for Ann: chair for 5?\nwaits for Bob: chair for 5?\no1 is stuck: llambdao stuck\n"
    )


def test_what_is_stuck_is_shown_with_the_difference(llambdao, changed):
    """Its id, where, since when; as JSON, too."""
    code, out, err = llambdao("stuck")
    assert (code, err) == (0, "")
    assert TIME.sub("TIME", out).splitlines()[:2] == [
        "o1 (stuck) at clerk, since TIME",
        "  clerk does something else now than it did in step 1 of o1:",
    ]
    assert "  + clerk to clerk/Ann: request 'chair for 5, please?'" in out
    assert json.loads(llambdao("stuck", "--json")[1])["status"] == "stuck"


def test_what_is_stuck_is_helped_on(llambdao, write, changed):
    """Given back to the old program, the answer is sent again, and all is as if nothing was."""
    assert llambdao("stuck", "retry", "o1") == (
        0,
        "o1: it lies at the door, until the program runs\n",
        "",
    )
    code, out, _ = llambdao("dead")
    assert code == 0
    assert "answer refused" in out or "is stuck" in out
    assert llambdao("dead", "again", "all")[0] == 0
    write(SHOP, "shop.py")
    assert TIME.sub("TIME", llambdao("resume", "shop.py")[1]) == (
        "TIME  Ann to clerk: yes\nwaits for Bob: chair for 5?\n"
    )
    assert llambdao("stuck") == (0, "nothing is stuck\n", "")
    assert llambdao("dead") == (0, "there are no dead letters\n", "")


def test_what_is_stuck_is_begun_again_or_ended(llambdao, changed):
    """`restart` asks anew, `cancel` ends it."""
    assert llambdao("stuck", "restart", "all")[0] == 0
    assert TIME.sub("TIME", llambdao("resume", "shop.py")[1]) == (
        "TIME  outside to clerk: chair\n"
        "TIME  clerk to Ann: chair for 5, please?\n"
        "TIME  clerk to Bob: chair for 5, please?\n"
        "waits for Ann: chair for 5, please?\n"
        "waits for Bob: chair for 5, please?\n"
    )


def test_what_is_stuck_can_be_ended(llambdao, changed):
    """And its questions are closed."""
    assert llambdao("stuck", "cancel", "o1")[0] == 0
    assert llambdao("resume", "shop.py") == (0, "", "")
    assert llambdao("inbox") == (0, "nobody is asked anything\n", "")


@pytest.mark.parametrize(
    "wrong",
    [["stuck", "dance", "o1"], ["stuck", "retry"], ["dead", "again"], ["dead", "again", "1", "2"]],
)
def test_a_wrong_word_is_a_usage_error(llambdao, shop, wrong):
    """Exit code 2, and what would have been right."""
    code, out, err = llambdao(*wrong)
    assert (code, out) == (2, "")
    assert f"llambdao: expected {wrong[0]} " in err


def test_what_is_not_stuck_is_not_helped_on(llambdao, shop):
    """Exit code 1, and why."""
    code, out, err = llambdao("stuck", "retry", "o1")
    assert (code, err) == (1, "")
    assert out == "o1: o1 is not stuck: it is waits\n"


# -- housekeeping --------------------------------------------------------------------------------


def test_history_is_audited(llambdao, folder, shop):
    """0 if it is as it was written, else 1 and from where on it is not."""
    assert llambdao("audit") == (0, "history is as it was written\n", "")
    assert json.loads(llambdao("audit", "--json")[1]) == {"whole": True, "broken": None}
    import sqlite3

    with sqlite3.connect(folder / "shop.db") as journal:
        journal.execute("update history set said = replace(said, 'chair', 'throne')")
    journal.close()
    assert llambdao("audit") == (1, "history is not as it was written, from line 1 on\n", "")


def test_what_is_old_is_forgotten(llambdao, shop):
    """What was forgotten is counted."""
    assert llambdao("compact") == (0, "forgotten: nothing\n", "")
    code, out, err = llambdao("compact", "--before", "0", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["lines"] == 2
    assert llambdao("log") == (0, "", "")
    assert llambdao("compact", "--before", "-1")[0] == 2


def test_a_pipe_that_is_closed_is_no_error(folder, environment, shop):
    """`llambdao log | head -1`."""
    done = subprocess.run(
        f"{' '.join(map(repr, LLAMBDAO))} log | head -1",
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert "outside to clerk: chair" in done.stdout
