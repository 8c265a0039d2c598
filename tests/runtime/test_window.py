"""Through its window other processes see a runtime: the same user's, and nothing but its status."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from llambdao import Message, Misused, Node
from llambdao.runtime import Runtime, window
from llambdao.runtime.status import Status, Tally
from llambdao.runtime.window import windows
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = [
    pytest.mark.timeout(30),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets"),
]


@pytest.fixture(autouse=True)
def place(monkeypatch, caplog):
    """Where sockets are put, under a short name. No event loop has anything to complain of."""
    monkeypatch.delenv("LLAMBDAO_TOP", raising=False)
    with tempfile.TemporaryDirectory(prefix="top") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder) / "llambdao"
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def until(condition):
    """Wait until this is so."""
    while not condition():  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)


class Viewer:
    """Somebody who looks through a window."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def say(self, words):
        self.writer.write(words)

    async def status(self):
        return msgspec.json.decode(await self.reader.readline(), type=Status)

    async def leave(self):
        self.writer.close()
        with suppress(ConnectionError):  # how it was, if it was hung up on
            await self.writer.wait_closed()


@asynccontextmanager
async def viewer(runtime, words=b'{"every": 0.1}\n'):
    """Look through the window of a runtime."""
    one = Viewer(*await asyncio.open_unix_connection(runtime._window.path))
    one.say(words)
    yield one
    await one.leave()


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content


def request(words):
    """A message that asks for something."""
    return Message(words, intent="request")


# -- what is seen ------------------------------------------------------------------------------


@on_a_loop
async def test_a_viewer_sees_a_status_at_once_and_then_every_so_often():
    """What happens meanwhile is counted."""
    async with Runtime(echo := Echo(name="Bob"), top=True) as runtime, viewer(runtime) as ann:
        first = await ann.status()
        assert (first.pid, first.state, first.opened) == (os.getpid(), "running", 0)
        assert [(one.name, one.handled) for one in first.nodes] == [("Bob", 0)]
        for _ in range(5):
            await runtime.ask(echo, request("hi"))
        second = await ann.status()
        assert [(one.name, one.handled, one.failed) for one in second.nodes] == [("Bob", 5, 0)]
        assert (second.opened, second.ended, second.messages, second.open) == (5, 5, 10, 0)
        assert second.counted - first.counted >= 0.05
        assert second.lag is not None


@on_a_loop
async def test_nothing_is_counted_before_the_first_looks_nor_after_the_last_has_left():
    """Two may look, each at their own pace."""
    async with Runtime(Echo(), top=True) as runtime:
        assert runtime._observers == []
        async with viewer(runtime) as ann:
            await ann.status()
            (tally,) = runtime._observers
            assert isinstance(tally, Tally)
            async with viewer(runtime, b'{"every": 3600}\n') as bob:
                await bob.status()
                assert runtime._observers == [tally]
                assert (await ann.status()).counted < (await ann.status()).counted
            assert (await ann.status()).state == "running"
        await until(lambda: runtime._observers == [])
        async with viewer(runtime) as cara:
            assert (await cara.status()).counted < tally.totals()["counted"]


@on_a_loop
async def test_a_viewer_that_vanishes_harms_nobody():
    """In the middle of a line, or with much that it has not read."""
    async with Runtime(echo := Echo(name="Bob"), top=True) as runtime:
        async with viewer(runtime) as ann:
            await ann.status()
            for words in (b'{"every"', b"", b'{"every": 0.1}\n', b'{"every": 3600}\n'):
                caller = socket.socket(socket.AF_UNIX)
                caller.connect(str(runtime._window.path))
                caller.send(words)
                await ann.status()
                caller.close()
            assert str(await runtime.ask(echo, request("hi"))) == "Bob: hi"
            assert (await ann.status()).state == "running"
        await until(lambda: runtime._observers == [] and not runtime._window._viewers)


@on_a_loop
async def test_a_viewer_sees_a_late_event_loop():
    """By how much it was late within the last second."""
    async with Runtime(top=True, watchdog=None) as runtime, viewer(runtime) as ann:
        await ann.status()
        time.sleep(0.3)  # noqa: ASYNC251  # what somebody's handler should not do
        await until(lambda: max(runtime._window.tally.lags) > 0.15)
        assert max([(await ann.status()).lag for _ in range(4)]) > 0.15


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        b"\n",
        b"hello\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"every": 0}\n',
        b'{"every": -1}\n',
        b'{"every": 1e9}\n',
        b'{"every": NaN}\n',
        b'{"every": "1"}\n',
        b'{"every": 1, "node": "Bob"}\n',
        b"{}\n",
        b"[" * 900 + b"\n",
        b'{"every": 1, "x": "' + b"x" * 100_000,
        b"\xff\xfe\n",
    ],
)
@on_a_loop
async def test_who_asks_for_anything_else_is_hung_up_on(words):
    """That one alone, without a word."""
    async with Runtime(Echo(), top=True) as runtime, viewer(runtime) as ann:
        await ann.status()
        caller = Viewer(*await asyncio.open_unix_connection(runtime._window.path))
        caller.say(words)
        with suppress(ConnectionError):  # it had more to say
            assert await caller.reader.read() == b""
        caller.writer.close()
        assert (await ann.status()).state == "running"


@on_a_loop
async def test_a_viewer_says_one_thing_only():
    """Who says more is hung up on."""
    async with Runtime(top=True) as runtime, viewer(runtime) as ann:
        await ann.status()
        ann.say(b'{"every": 0.2}\n')
        with suppress(ConnectionError):  # the end may come as a reset
            async for _ in ann.reader:
                pass


@on_a_loop
async def test_who_says_nothing_is_hung_up_on(monkeypatch):
    """After a while."""
    monkeypatch.setattr(window, "PATIENCE", 0.05)
    async with Runtime(top=True) as runtime, viewer(runtime, b"") as ann:
        assert await ann.reader.read() == b""


# -- where it is -------------------------------------------------------------------------------


@on_a_loop
async def test_only_the_same_user_can_look(place):
    """Nobody else can open the socket, nor the folder it is in; both names are as announced."""
    async with Runtime(top=True) as runtime:
        path = runtime._window.path
        assert path == place / str(os.getpid())
        assert windows() == [path]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not path.exists()
    assert windows() == []


@pytest.mark.parametrize("what", ["folder", "link", "file"])
@on_a_loop
async def test_a_folder_that_others_can_open_is_refused(place, what):
    """Or that is none; the nodes are free for another runtime, and nothing listens."""
    if what == "folder":
        place.mkdir()
        place.chmod(0o750)
    elif what == "link":
        (place.parent / "real").mkdir(mode=0o700)
        place.symlink_to(place.parent / "real")
    else:
        place.touch()
    echo = Echo(name="Bob")
    with pytest.raises(Misused, match=r"could not put a socket into .*XDG_RUNTIME_DIR"):
        Runtime(echo, top=True).start()
    assert windows() == []
    async with Runtime(echo) as runtime:
        assert str(await runtime.ask(echo, request("hi"))) == "Bob: hi"


@on_a_loop
async def test_a_place_with_too_long_a_name_is_refused(place, monkeypatch):
    """A socket has a name of a hundred characters at most."""
    long = place.parent / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(Misused, match="too long"):
        Runtime(top=True).start()


@pytest.mark.parametrize("given", ["", "/no/such/folder"])
@on_a_loop
async def test_without_a_folder_of_its_own_it_is_among_the_temporary_files(
    place, monkeypatch, given
):
    """In a folder that only this user can open."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    monkeypatch.setattr(tempfile, "tempdir", str(place.parent))
    async with Runtime(top=True) as runtime:
        folder = runtime._window.path.parent
        assert folder == place.parent / f"llambdao-{os.getuid()}"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.parent))  # as who looks may have it
        assert windows() == [runtime._window.path]


@on_a_loop
async def test_several_runtimes_of_a_process_have_several_windows(place):
    """The second one has a number; each goes with its runtime."""
    async with Runtime(top=True) as first:
        async with Runtime(top=True) as second:
            assert second._window.path == place / f"{os.getpid()}.2"
            assert windows() == [first._window.path, second._window.path]
        assert windows() == [first._window.path]


def test_what_dead_processes_left_is_removed(place):
    """When it is found; what is no socket, or belongs to a living process, is left alone."""
    place.mkdir(mode=0o700)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (dead.pid, f"{dead.pid}.2", os.getppid(), "no number"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(place / str(name)))
    (place / "4711").touch()
    assert windows() == []
    assert {path.name for path in place.iterdir()} == {str(os.getppid()), "no number", "4711"}


@on_a_loop
async def test_what_an_earlier_process_of_this_number_left_is_replaced(place):
    """Numbers of processes come again."""
    place.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place / str(os.getpid())))
    async with Runtime(top=True) as runtime, viewer(runtime) as ann:
        assert runtime._window.path == place / str(os.getpid())
        assert (await ann.status()).pid == os.getpid()


# -- when it is there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "options", "is_there"),
    [
        (None, {}, False),
        ("1", {}, True),
        ("0", {}, False),
        ("", {}, False),
        ("1", {"top": False}, False),
        ("0", {"top": True}, True),
        ("1", {"clock": VirtualClock()}, False),
        (None, {"clock": VirtualClock(), "top": True}, True),
    ],
)
@on_a_loop
async def test_it_is_there_if_that_is_wanted(monkeypatch, variable, options, is_there):
    """By the program, or by the environment, unless the program says no, or time is virtual."""
    if variable is not None:
        monkeypatch.setenv("LLAMBDAO_TOP", variable)
    async with Runtime(**options) as runtime:
        assert [runtime._window is not None, len(windows())] == [is_there, is_there]


def test_a_script_has_one_too():
    """On the event loop of its own."""
    with Runtime(echo := Echo(name="Bob"), top=True) as runtime:
        (path,) = windows()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.send(b'{"every": 60}\n')
            line = caller.makefile().readline()
            assert [node["name"] for node in json.loads(line)["nodes"]] == ["Bob"]
            assert str(runtime.ask(echo, request("hi"))) == "Bob: hi"
    assert windows() == []


@on_a_loop
async def test_who_looks_sees_it_stop():
    """First that it is stopping, then the end."""

    class Slow(Node):
        async def request(self, message):
            await asyncio.sleep(0.5)

    async with Runtime(slow := Slow(), top=True) as runtime:
        ann = Viewer(*await asyncio.open_unix_connection(runtime._window.path))
        ann.say(b'{"every": 0.1}\n')
        await runtime.tell(slow, request("go"))
        states = [(await ann.status()).state]
        stopping = asyncio.ensure_future(runtime.stop())
        states += [msgspec.json.decode(line, type=Status).state async for line in ann.reader]
        await stopping
    assert sorted(set(states)) == ["running", "stopping"]
    await ann.leave()


@on_a_loop
async def test_it_goes_when_the_program_fails():
    """With those who look, and those who have just come."""
    caller = socket.socket(socket.AF_UNIX)
    with suppress(ZeroDivisionError):
        async with Runtime(top=True) as runtime:
            ann = Viewer(*await asyncio.open_unix_connection(runtime._window.path))
            ann.say(b'{"every": 0.1}\n')
            await ann.status()
            caller.connect(str(runtime._window.path))
            raise ZeroDivisionError
    assert windows() == []
    assert await ann.reader.read() == b""
    caller.close()
    await ann.leave()


@on_a_loop
async def test_a_system_without_unix_sockets_says_so(monkeypatch):
    """Such as Windows."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(Misused, match="needs Unix sockets, which this system does not have"):
        Runtime(top=True).start()


# -- from another process ----------------------------------------------------------------------


PROGRAM = """
import asyncio
from llambdao import Message, Node, expect
from llambdao.runtime import Runtime

class Clerk(Node):
    def request(self, message):
        yield expect("a signature")

async def main():
    clerk = Clerk(name="Bob")
    async with Runtime(clerk) as runtime:
        await runtime.tell(clerk, Message("Sign this", intent="request"))
        await runtime.settle()
        print("ready", flush=True)
        await asyncio.to_thread(input)
        for conversation in runtime.conversations:
            conversation.news("a signature", "Ann")

asyncio.run(main())
"""


@pytest.fixture
def program(tmp_path):
    """A program that can be looked at, and waits for a line to end."""
    (tmp_path / "signing.py").write_text(PROGRAM)
    child = subprocess.Popen(
        [sys.executable, "-W", "error", tmp_path / "signing.py"],
        env={**os.environ, "LLAMBDAO_TOP": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.communicate()


def test_another_process_is_seen_to_its_end(program):
    """Who it is, what its conversations wait for, and that it has ended, with nothing left."""
    (path,) = windows()
    assert path.name == str(program.pid)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.send(b'{"every": 0.1}\n')
        lines = caller.makefile()
        status = msgspec.json.decode(lines.readline(), type=Status)
        assert (status.name, status.pid, status.open) == ("signing.py", program.pid, 1)
        (one,) = status.conversations
        assert (one.words, one.node) == ("Sign this", "Bob")
        assert one.waits == ("Bob: the news expected for 'a signature'",)
        assert [(node.name, node.handlers) for node in status.nodes] == [("Bob", 1)]
        program.stdin.write("\n")
        program.stdin.flush()
        for _ in lines:
            pass
    assert program.communicate()[1] == ""
    assert program.returncode == 0
    assert not path.exists()


def test_a_process_that_was_killed_leaves_nothing_for_long(program):
    """Whoever looks next removes its socket."""
    (path,) = windows()
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert path.exists()
    assert windows() == []
    assert not path.exists()
