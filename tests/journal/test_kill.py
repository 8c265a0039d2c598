"""A real process, killed with SIGKILL again and again, that writes into a file."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = '''
import asyncio, sys
from pathlib import Path
from llambdao import Message, Node, Runtime, all_of, call, sleep
from llambdao.journal import effect_key

FOLDER, MOST = Path(sys.argv[1]), int(sys.argv[2])

def effect(what):
    """Leaves a mark outside, with its key."""
    with open(FOLDER / "effects", "a") as file:
        file.write(f"{what} {effect_key()}\\n")
    return what

class Worker(Node):
    done: list[str] = []

    def request(self, message):
        yield f"begin {message.content}"
        first, second = yield all_of(call(effect, f"a{message.content}"), sleep(0.005))
        answer = yield self.checker.ask(message.content)
        self.done.append(message.content)
        yield f"{answer.content} {first}"

    checker: Node

class Checker(Node):
    count: int = 0

    def request(self, message):
        yield sleep(0.003)
        self.count += 1
        yield (yield call(effect, f"b{message.content}"))

async def main():
    worker = Worker(name="worker", checker=Checker(name="checker"))
    async with Runtime(worker, journal=f"sqlite:///{FOLDER}/room.db", watchdog=None) as runtime:
        told = (FOLDER / "told").read_text().split() if (FOLDER / "told").exists() else []
        for number in range(len(told), MOST):
            await runtime.tell(worker, Message(str(number), intent="request", id=f"m{number}"))
            with open(FOLDER / "told", "a") as file:  # acknowledged
                file.write(f"{number}\\n")
        while len(worker.done) < MOST:
            await asyncio.sleep(0.01)
        await runtime.settle()
        assert len(worker.done) == MOST == worker.checker.count, (worker.done, worker.checker.count)
        for number in range(MOST):
            said = [one.content for one in await runtime.replies(f"m{number}")]
            assert said == [f"begin {number}", f"b{number} a{number}"], said

asyncio.run(main())
'''


def killed_again_and_again(folder, seconds, most, seed):
    """Live until the end, and be killed on the way: how often it was."""
    chance, deaths, until = random.Random(seed), 0, time.monotonic() + seconds
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, str(folder), str(most)]
    while True:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        try:
            last = time.monotonic() > until
            _, errors = process.communicate(timeout=120 if last else 0.35 + chance.random() * 0.5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            deaths += 1
            continue
        assert process.returncode == 0, errors.decode()
        return deaths


def check(folder, most, deaths):
    """Each effect once, and at most once more for each death, under one key."""
    lines = (Path(folder) / "effects").read_text().splitlines()
    effects = [line.split() for line in lines]
    keys = {}
    for what, key in effects:
        keys.setdefault(what, set()).add(key)
    assert keys.keys() == {f"{letter}{number}" for letter in "ab" for number in range(most)}
    assert all(len(found) == 1 for found in keys.values())
    assert len(effects) <= len(keys) + deaths * 64
    with sqlite3.connect(Path(folder) / "room.db") as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()


def test_killed_for_some_seconds_it_loses_and_doubles_nothing(tmp_path):
    """What was acknowledged is done, each reply said once."""
    deaths = killed_again_and_again(tmp_path, 4, 300, 1)
    assert deaths
    check(tmp_path, 300, deaths)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_killed_for_minutes_it_loses_and_doubles_nothing(tmp_path, seed):
    """Many more times."""
    deaths = killed_again_and_again(tmp_path, 60, 20_000, seed)
    check(tmp_path, 20_000, deaths)
