"""`llambdao top`: the picture, the live view at a terminal, tables and JSON for pipes."""

import io
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from llambdao.cli import _top, main
from llambdao.runtime.status import ConversationStatus, LetterStatus, NodeStatus, Status

pytest.importorskip("rich")

from rich.cells import cell_len
from rich.console import Console

from llambdao.cli._picture import Picture, amount, duration

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets"),
]

SHOP = """
import asyncio, sys
from llambdao import Message, Node, expect
from llambdao.runtime import Budget, Mailbox, Runtime

class Desk(Node):
    async def request(self, message):
        await asyncio.Event().wait()

class Signer(Node):
    def request(self, message):
        yield expect("a signature")

class Asker(Node):
    peer: Node

    def request(self, message):
        yield self.peer.ask(message.content)

class Broken(Node):
    def inform(self, message):
        raise ValueError("out of ink")

def request(words):
    return Message(words, intent="request")

async def main():
    budget = Budget(usd=5, name="the shop")
    budget.charge(usd="0.25")
    desk, broken = Desk(name="Desk"), Broken(name="Printer")
    boss = Asker(name="Boss", peer=Signer(name="Signer"))
    others = [Node(name=f"Idle {n:02}") for n in range(26)]
    async with Runtime(desk, broken, boss, *others, budget=budget) as runtime:
        runtime.spawn(boss.peer)
        runtime.spawn(desk, mailbox=Mailbox(3, "drop_newest"))
        await runtime.tell(boss, request("a shop in Paris"))
        for n in range(5):
            await runtime.tell(desk, request(f"form {n}"))
            await asyncio.sleep(0)
        print("ready", flush=True)
        lines = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        while not lines.done():
            await runtime.tell(broken, Message("print this", intent="inform"))
            await asyncio.wait([lines], timeout=0.05)
        await runtime.stop(deadline=0)

asyncio.run(main())
"""


@pytest.fixture
def place():
    """Where sockets are put, under a short name."""
    with tempfile.TemporaryDirectory(prefix="top") as folder:
        yield {"XDG_RUNTIME_DIR": folder}


@pytest.fixture
def start(place, write, folder, environment):
    """Starts a program that can be looked at."""
    started = []

    def start(text=SHOP):
        child = subprocess.Popen(
            [sys.executable, "-W", "error", write(text, "shop.py")],
            cwd=folder, env={**environment, **place, "LLAMBDAO_TOP": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def shop(start):
    """A shop of 30 nodes, in which not all is well."""
    return start()


@pytest.fixture
def top(llambdao, place):
    """Runs `llambdao top ...` in a pipe."""
    return lambda *arguments, **more: llambdao("top", *arguments, **{**place, **more})


@pytest.fixture
def top_at_terminal(at_terminal, place):
    """Runs `llambdao top ...` at a terminal."""
    return lambda *arguments, **more: at_terminal("top", *arguments, **{**place, **more})


# -- without a terminal ------------------------------------------------------------------------


def test_help_fits_on_one_screen(llambdao):
    """80 columns, 24 lines."""
    code, out, err = llambdao("top", "--help", COLUMNS="80")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 23
    assert max(map(len, out.splitlines())) <= 80


def test_where_nothing_runs_it_says_how_to_be_seen(top):
    """Exit code 1."""
    how = "a program can be seen if its environment has LLAMBDAO_TOP=1, or with Runtime(top=True)"
    assert top() == (1, "", f"llambdao: there is no program to look at; {how}\n")
    assert top("4711") == (1, "", f"llambdao: there is no 4711 to look at; {how}\n")


@pytest.mark.parametrize("seconds", ["0", "soon", "nan", "3601", "-1"])
def test_a_wrong_interval_is_a_usage_error(top, seconds):
    """Exit code 2, and what would have been right."""
    code, out, err = top("--every", seconds)
    assert (code, out) == (2, "")
    assert "a number of seconds from 0.1 to 3600" in err


ESSENTIAL = [
    r"shop\.py \d+   up \S+ m?s   30 nodes   lag \S+ [mµ]?s",
    r"[456] open, oldest \S+ m?s   per second: \S+ messages, \S+ opened, \S+ ended",
    r"the shop: usd 0\.25 of 5\.00.*",
    r"NODE.*  STATE  WAITING   BUSY   HANDLED  FAILED     MEAN    WORST",
    r"Desk +held full        3      1         0       0        -        -",
    r"Signer +0      1         0       0        -        -",
    r"Printer +[01]      0 +(\d+) +\1 +\S+ [mµ]s +\S+ [mµ]s",
    r" +AGE    SAID  OPENED WITH +AT +WAITS FOR",
    r" +\S+ m?s       2  a shop in Paris? +Boss +Signer: the news expected for 'a.*",
    r" +\S+ m?s       1  form 1 +Desk +Desk: its turn",
    r" +AGE  DEAD LETTER \(\d of \d+\) +FOR +REASON",
    r" +\S+ [mµ]?s  print this +Printer +failed: ValueError\('out of ink'\)",
]
"""What must stand on every picture of the shop, each on a line of its own."""


def stands(patterns, lines):
    """All of these are there, each on a line of its own."""
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line.rstrip()) for line in lines), (pattern, lines)


def test_one_picture_for_a_pipe(top, shop):
    """All there is to tell, in so many columns; what happened meanwhile is counted."""
    code, out, err = top("--once", "--every", "0.5", COLUMNS="100")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    stands([*ESSENTIAL, r"counted for \d+ ms|counted for \S+ s"], lines)
    assert max(map(len, lines)) <= 100
    assert {f"Idle {n:02}" for n in range(26)} <= {line[:7] for line in lines}
    assert "\x1b" not in out


def test_without_a_terminal_there_is_one_picture(top, shop):
    """As with --once."""
    code, out, err = top("--every", "0.2", TERM="xterm")
    assert (code, err) == (0, "")
    stands(ESSENTIAL[:5], out.splitlines())


def test_json_for_programs(top, shop):
    """--once gives one line, in which something has happened."""
    code, out, err = top("--json", "--once", "--every", "0.5")
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    status = msgspec.json.decode(line, type=Status)
    assert (status.name, status.pid) == ("shop.py", shop.pid)
    assert status.counted >= 0.4
    assert status.messages > 0


def test_json_goes_on_to_the_end_of_the_program(shop, folder, environment, place):
    """A line every so often; the end is no error."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "llambdao", "top", "--json", "--every", "0.1"],
        cwd=folder, env={**environment, **place},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first, second = (msgspec.json.decode(child.stdout.readline(), type=Status) for _ in range(2))
    assert first.counted < second.counted
    shop.communicate("\n")
    rest, err = child.communicate()
    assert (child.returncode, err) == (0, "")
    assert all(
        msgspec.json.decode(line, type=Status).pid == shop.pid for line in rest.split("\n")[:-1]
    )


def test_of_several_programs_one_must_be_chosen(top, start):
    """They are listed; exit code 2, and 1 if there is none of that number."""
    one, other = start(), start()
    code, out, err = top()
    assert (code, err) == (2, "llambdao: which one? llambdao top PID\n")
    table = f"      PID  PROGRAM\n{one.pid:>9}  shop.py\n{other.pid:>9}  shop.py\n"
    assert out == table
    code, out, err = top("4711")
    assert (code, out) == (1, table)
    assert err.startswith("llambdao: there is no 4711 to look at; ")
    code, out, err = top(str(other.pid), "--once", "--json", "--every", "0.1")
    assert (code, msgspec.json.decode(out, type=Status).pid) == (0, other.pid)


def test_a_program_that_does_not_answer_is_an_error(monkeypatch, place):
    """It says what may be the matter."""
    monkeypatch.setattr(_top, "PATIENCE", 0.05)
    path = Path(place["XDG_RUNTIME_DIR"]) / "4711"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        with (
            _top.Feed(path, 0.1) as feed,
            pytest.raises(_top.Silent, match="4711 does not answer: something blocks"),
        ):
            feed.sure()
    with pytest.raises(_top.Silent, match="4711 cannot be looked at any longer"):
        _top.Feed(path, 0.1)


def test_without_the_library_for_tables_it_says_what_to_install(monkeypatch, capsys):
    """Exit code 2; --json needs none."""
    monkeypatch.setattr(_top, "windows", lambda: [Path("/tmp/4711")])
    monkeypatch.setattr(_top, "find_spec", lambda name: None)
    assert main(["top"]) == 2
    assert (
        "pip install 'llambdao[console]' for this; --json does without" in capsys.readouterr().err
    )


def test_a_system_without_unix_sockets_says_so(monkeypatch, capsys):
    """Exit code 2."""
    monkeypatch.delattr(socket, "AF_UNIX")
    assert main(["top"]) == 2
    assert "top needs Unix sockets, which this system does not have" in capsys.readouterr().err


# -- at a terminal -----------------------------------------------------------------------------


HOME, LEFT = "\x1b[H", "\x1b[?1049l"


def shown(child, pattern):
    """The lines of the first whole screen on which this can be read."""
    frame = ""
    while not re.search(pattern, frame):
        child.expect_exact(HOME)
        child.expect(r"f failed[^\n]*?(   |…)[^\x1b]*")
        frame = plain(child.before + child.after)
    return frame.split("\n")


def plain(text):
    """What remains on a screen of what was written to it."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text)


@pytest.mark.parametrize("size", [(24, 80), (40, 120), (15, 60)])
def test_the_live_view_fills_the_screen_and_no_more(top_at_terminal, shop, size):
    """Each line in one row, all rows; q leaves, and the terminal is as it was."""
    child = top_at_terminal("--every", "0.2", size=size)
    lines = shown(child, r"counted for 1\.\d s" if size[1] >= 80 else "Desk")
    assert len(lines) == size[0]
    assert max(map(cell_len, lines)) <= size[1]
    if size[1] >= 80:
        stands([*ESSENTIAL, "q leaves   sort by n name  w waiting  h handled  f failed .*"], lines)
    assert not child.getecho()
    child.send("q")
    child.expect_exact(LEFT)
    child.wait()
    assert child.exitstatus == 0
    assert child.getecho()


def test_control_c_leaves_too(top_at_terminal, shop):
    """As everywhere; exit code 130."""
    child = top_at_terminal()
    shown(child, "Desk")
    child.sendintr()
    child.expect_exact(LEFT)
    child.wait()
    assert child.exitstatus == 130
    assert child.getecho()


def test_the_terminal_is_as_before_if_it_is_told_to_end(top_at_terminal, shop):
    """SIGTERM."""
    child = top_at_terminal()
    shown(child, "Desk")
    child.kill(signal.SIGTERM)
    child.expect_exact(LEFT)
    child.wait()
    assert child.exitstatus == 128 + signal.SIGTERM
    assert child.getecho()


def test_keys_sort_the_nodes(top_at_terminal, shop):
    """By name, by what waits, handled or failed; other keys do nothing."""
    child = top_at_terminal("--every", "0.2")
    for key, first in (
        ("n", "Boss"),
        ("x\x1b[A", "Boss"),
        ("f", "Printer"),
        ("w", "Desk"),
        ("h", "Printer"),
    ):
        child.send(key)
        shown(child, rf"NODE [^\n]*\n{first} ")


def test_another_size_is_seen_at_once(top_at_terminal, shop):
    """Whatever the interval."""
    child = top_at_terminal("--every", "60")
    assert len(shown(child, "Desk")) == 24
    child.setwinsize(40, 120)
    while len(lines := shown(child, "Desk")) != 40:
        pass
    assert max(map(cell_len, lines)) <= 120
    child.send("q")
    child.expect_exact(LEFT)


def test_when_the_program_ends_the_last_picture_stays(top_at_terminal, shop):
    """On the screen where one goes on working; exit code 0."""
    child = top_at_terminal("--every", "0.2")
    shown(child, r"counted for 1\.\d s")
    shop.stdin.write("\n")
    shop.stdin.flush()
    child.expect_exact(LEFT)
    child.expect(rf"{shop.pid} has ended\.\r\n")
    stands([*ESSENTIAL, "counted for .*"], plain(child.before).split("\n"))
    child.wait()
    assert child.exitstatus == 0
    assert child.getecho()


def test_a_blocked_event_loop_is_told(top_at_terminal, shop):
    """When news is late; and it goes on when that is over."""
    child = top_at_terminal("--every", "0.1")
    shown(child, "Desk")
    shop.send_signal(signal.SIGSTOP)
    shown(child, r"no news for [23] s: is its event loop blocked\?")
    shop.send_signal(signal.SIGCONT)
    shown(child, r"30 nodes   lag \S+ m?s")


def test_a_dumb_terminal_gets_one_picture(top_at_terminal, shop):
    """And no control characters."""
    child = top_at_terminal("--every", "0.1", TERM="dumb")
    child.expect("Desk +held full")
    child.expect("counted for")
    child.wait()
    assert child.exitstatus == 0


@pytest.mark.external
@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_it_looks_right_in_tmux(shop, folder, environment, place, size):
    """As a person sees it; q leaves everything as it was."""
    name, (columns, rows) = f"top{os.getpid()}", size

    def tmux(*arguments):
        done = subprocess.run(
            ["tmux", "-L", name, "-f", os.devnull, *arguments],
            cwd=folder, env={**environment, **place}, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    def until(condition):
        end = time.monotonic() + 20
        while not condition(lines := tmux("capture-pane", "-p").splitlines()):
            assert time.monotonic() < end, lines
            select.select([], [], [], 0.1)
        return lines

    command = f"{sys.executable} -m llambdao top --every 0.2; echo left; sleep 60"
    tmux("new-session", "-d", "-x", f"{columns}", "-y", f"{rows}", command)
    try:
        lines = until(lambda lines: any(re.search(r"counted for 1\.\d s", line) for line in lines))
        stands([*ESSENTIAL, "q leaves   sort by n name  w waiting  h handled  f failed .*"], lines)
        assert len(lines) == rows
        tmux("send-keys", "q")
        until(lambda lines: [line for line in lines if line] == ["left"])
    finally:
        tmux("kill-server")


# -- the picture -------------------------------------------------------------------------------


def node(name, **more):
    """A node as a status tells of it."""
    fields = {"waiting": 0, "room": 10, "is_held": False, "is_stopped": False, **more}
    return NodeStatus(name=name, id=name, **fields)


def status(**more):
    """A status."""
    fields = {
        "name": "x.py", "pid": 1, "uptime": 1, "state": "running", "open": 0, "oldest": None,
        "residents": 0, "nodes": (), "conversations": (), "due": None, "budget": (), "dead": 0,
        "letters": (), **more,
    }  # fmt: skip
    return Status(**fields)


def drawn(*some, width=80, height=None, sort="w"):
    """The lines of a picture after these."""
    picture = Picture(1)
    picture.sort = sort
    for one in some:
        picture.take(msgspec.json.encode(one))
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(picture.drawn(width, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_an_empty_runtime_exactly():
    """No tables of nothing."""
    assert drawn(status()) == [
        "x.py 1   up 1.0 s   0 nodes   lag -",
        "0 open   per second: - messages, - opened, - ended",
        "counted for -",
    ]


def test_rates_are_differences_by_the_second():
    """Of two looks, by the clock of who counts."""
    before = status(counted=1, messages=10, opened=5, ended=5)
    after = status(counted=3, messages=1010, opened=6, ended=5, lag=0.25, due=90, state="stopping")
    assert drawn(before, after)[:2] == [
        "x.py 1   up 1.0 s   stopping   0 nodes   lag 250 ms   next timer in 1m 30s",
        "0 open   per second: 500 messages, 0.5 opened, 0.0 ended",
    ]


def test_what_programs_say_is_shown_as_it_is():
    """No markup, no escapes, no second lines; wide letters count twice."""
    nodes = (node("[bold]Ann[/bold]"), node("\x1b[31mBob\n"), node("会計の担当者" * 6))
    lines = drawn(status(nodes=nodes, residents=3), width=60, sort="n")
    assert [line.split("  ")[0] for line in lines[3:6]] == [
        "\N{REPLACEMENT CHARACTER}[31mBob", "[bold]Ann[/bol…", "会計の担当者会…",
    ]  # fmt: skip
    assert all(cell_len(line) <= 60 for line in lines)
    assert len(lines) == 7


def test_too_few_lines_are_shared():
    """Most for nodes, then for conversations; each table says how many it leaves out."""
    conversation = ConversationStatus(
        id="1", words="go", node="Ann", age=1, waits=("Ann: x", "Bob: y"), more=3, messages=2
    )
    letter = LetterStatus(words="lost", intent="chat", node="Ann", reason="stopped", age=2)
    full = status(
        nodes=tuple(node(f"{n:02}") for n in range(50)), residents=1000,
        conversations=(conversation,) * 20, open=1234, oldest=1, letters=(letter,) * 5, dead=7,
    )  # fmt: skip
    lines = drawn(full, height=24)
    assert len(lines) == 24
    assert [line[:2] for line in lines[3:12]] == [f"{n:02}" for n in range(9)]
    assert lines[2].startswith("NODE (9 of 1,000)")
    assert lines[13] == "  1.0 s       2  go                Ann         Ann: x; Bob: y (and 3 more)"
    assert lines[19].startswith("    AGE  DEAD LETTER (3 of 7)")
    assert len(drawn(full, height=5)) <= 5
    assert len(drawn(full)) == 2 + 51 + 21 + 6 + 1


def test_trouble_stands_out():
    """A full mailbox, a stopped node, failures: bold and red, which is all there is of colour."""
    picture = Picture(1)
    nodes = (
        node("full", waiting=10, is_held=True),
        node("stopped", is_stopped=True),
        node("failing", handlers=0, handled=2, failed=1, mean=0.1, worst=0.2),
        node("fine", handlers=0, handled=2, failed=0, mean=0.1, worst=0.2),
    )
    picture.take(msgspec.json.encode(status(nodes=nodes, residents=4)))
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(picture.drawn(80))
    red = re.findall(r"\x1b\[1;31m *([^\x1b]+?) *\x1b", console.file.getvalue())
    assert red == ["held full", "10", "1", "stopped"]
    assert set(re.findall(r"\x1b\[([\d;]+)m", console.file.getvalue())) == {
        "0",
        "1",
        "7",
        "1;7",
        "1;31",
    }


def test_durations_and_amounts_are_short():
    """At most seven characters."""
    assert all(len(duration(10**n * d)) <= 7 for n in range(-7, 9) for d in (1, 5, 9.99))
    assert all(len(amount(10**n)) <= 7 for n in range(12))
