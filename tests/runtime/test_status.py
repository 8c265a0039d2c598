"""`status` says how a runtime is doing: exactly, as plain data, and in no time."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
from functools import wraps
from itertools import count
from pathlib import Path

import msgspec
import pytest

from llambdao import MapperNode, Message, Node, all_of, call, expect, sleep
from llambdao.runtime import Budget, Mailbox, Runtime, blocking
from llambdao.runtime import status as module
from llambdao.runtime.status import ConversationStatus, LetterStatus, NodeStatus, Status, Tally
from llambdao.runtime.status import status as status_of
from llambdao.testing import VirtualClock

pytestmark = pytest.mark.timeout(30)
FILE = Path(__file__).name


def on_a_loop(test):
    """Run this test on an event loop of its own, for ten seconds at most."""

    @wraps(test)
    def run(*args, **named):
        async def bounded():
            async with asyncio.timeout(20):
                await test(*args, **named)

        asyncio.run(bounded())

    return run


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def turns(many=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(many):
        await asyncio.sleep(0)


def request(words):
    """A message that asks for something."""
    return Message(words, intent="request")


def node_of(status, node):
    """What a status says of a node."""
    return next(one for one in status.nodes if one.id == node.id)


class Desk(Node):
    """Works on one message after the other, on each until it is allowed to end it."""

    async def request(self, message):
        await self.gate.wait()
        return "done"

    inform = request

    def model_post_init(self, context):
        self.gate = asyncio.Event()


AWAIT = f"await at {FILE}:{Desk.request.__code__.co_firstlineno + 1}"


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    inform = request


class Asker(Node):
    """Asks its peer."""

    peer: Node

    def request(self, message):
        answer = yield self.peer.ask(message.content)
        return answer.content


class Waiter(Node):
    """Waits for what `wait` makes."""

    def request(self, message):
        yield self.wait()
        yield "done"


def waiter(wait):
    """Somebody who waits for this."""
    one = Waiter(name="Ann")
    one.wait = wait
    return one


# -- what conversations wait for ---------------------------------------------------------------


DESK = Desk(name="Bob")


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (lambda: expect("a signature"), "Ann: the news expected for 'a signature'"),
        (lambda: sleep(60), "Ann: a sleep of 60 s"),
        (lambda: all_of(expect("a"), expect("b")),
         "Ann: all of the news expected for 'a', the news expected for 'b'"),
        (lambda: Waiter(name="Bob").ask("?"), "Bob: the news expected for 'x'"),
        (lambda: Asker(peer=Waiter(name="Bob")).ask("?"), "Bob: the news expected for 'x'"),
        (lambda: Desk(name="Bob").ask("?"), f"Bob: {AWAIT}"),
    ],
    ids=["news", "sleep", "all of", "ask", "asks in a row", "a task"],
)  # fmt: skip
@on_a_loop
async def test_it_says_what_the_innermost_handler_waits_for(monkeypatch, wait, said):
    """Whoever began the conversation waits for those in between: they are not named."""
    monkeypatch.setattr(Waiter, "wait", lambda self: expect("x"), raising=False)
    ann = waiter(wait)
    async with home(ann) as runtime:
        runtime.clock.sleep(0)
        conversation = await runtime.tell(ann, request("go"))
        while not conversation._scheduler.root.waits():
            await asyncio.sleep(0)
        await turns(8)
        (one,) = status_of(runtime).conversations
        assert (one.waits, one.more) == ((said,), 0)
        await runtime.stop(deadline=0)
