"""The drivers under test: each runs a program to its end and tells what came of it.

A driver is a function `(open_, take=None) -> Outcome`: `open_()` begins a conversation, `take` is
the number of replies after which the caller has heard enough. To add one, add a line to `DRIVERS`.
"""

import asyncio
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from llambdao import Limits, Node
from llambdao.journal import Journal
from llambdao.journal import conversation as recorded
from llambdao.journal.addresses import Addresses
from llambdao.journal.memory import MemoryLedger
from llambdao.kernel.run import SYSTEM, WATCHER
from llambdao.runtime import Mailbox, Runtime


@dataclass
class Outcome:
    """What the caller heard, the error it got if any, and the conversation."""

    replies: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    conversation: Any = None

    @property
    def contents(self):
        """The words alone; raises the error if there was one that the test does not ask for."""
        if self.error is not None:
            raise self.error
        return [said.content for said in self.replies]

    @property
    def before(self):
        """The words that were heard before the error, if there was one."""
        return [said.content for said in self.replies]

    @property
    def reason(self):
        """Why the conversation ended."""
        return self.conversation.reason


def plain(open_, take=None):
    """`for reply in node.receive(message)`."""
    outcome = Outcome(conversation=open_())
    try:
        with closing(iter(outcome.conversation)) as replies:
            for said in replies if take != 0 else ():
                outcome.replies.append(said)
                if len(outcome.replies) == take:
                    break
    except Exception as error:  # noqa: BLE001  # whatever the program raises is its outcome
        outcome.error = error
    return outcome


def aiter_(open_, take=None):
    """`async for reply in node.receive(message)`, on an event loop."""

    async def main():
        outcome = Outcome(conversation=open_())
        try:
            async with aclosing(aiter(outcome.conversation)) as replies:
                async for said in replies:
                    outcome.replies.append(said)
                    if len(outcome.replies) == take:
                        break
        except Exception as error:  # noqa: BLE001  # as above
            outcome.error = error
        return outcome

    return asyncio.run(main())


def plain_in_loop(open_, take=None):
    """`for` where an event loop is running already, as in a notebook."""

    async def main():
        return plain(open_, take)

    return asyncio.run(main())


def runtime(open_, take=None, **options_of_runtime):
    """`async for reply in runtime.send(node, message)`."""

    async def main():
        asked = open_()
        asked._closed = True  # it is opened below
        options = {**(asked._options or {})}
        clock = options.pop("clock", SYSTEM)
        room = Mailbox(options.get("limits", Limits()).mailbox)
        async with Runtime(clock=clock, mailbox=room, watchdog=None, **options_of_runtime) as home:
            if "choose" in options:
                home._queue.choose = options.pop("choose")
            conversation = home._conversation(
                asked._node, asked._message, options, asked._hearer, takes=True
            )
            for key, value in asked._news:
                conversation.news(key, value)
            outcome = Outcome(conversation=conversation)
            try:
                async with aclosing(conversation) as replies:
                    async for said in replies:
                        outcome.replies.append(said)
                        if len(outcome.replies) == take:
                            break
            except Exception as error:  # noqa: BLE001  # as above
                outcome.error = error
            return outcome

    return asyncio.run(main())


class Lenient(Addresses):
    """Calls also those nodes something that a program would have to give a name."""

    def unnamed(self, owner, node, word, number):
        return f"{word}{number}"

    def of(self, node):
        if isinstance(node, Node) and id(node) not in self._of:
            self.add(node)
        return super().of(node)

    def _call(self, node, address):
        while address in self:
            address += "'"
        super()._call(node, address)


class LenientJournal(Journal):
    """For programs that were not written for a journal: replies are taken one by one."""

    def __init__(self, url):
        super().__init__(url)
        self.addresses = Lenient()

    def seen(self, node, *, is_leaf=False):
        """Such programs keep one log for all their nodes."""
        return self.states.hash(node)


def journal(open_, take=None):
    """`async for reply in runtime.send(node, message)`, written down in a journal."""
    asked = open_()
    if asked._hearer is WATCHER:  # a runtime is watched by runtime.watch()
        return runtime(lambda: asked, take)
    ahead = recorded.AHEAD
    if take is not None:  # who leaves early has not let anybody go ahead
        recorded.AHEAD = 1
    try:
        return runtime(lambda: asked, take, journal=LenientJournal(MemoryLedger()))
    finally:
        recorded.AHEAD = ahead


DRIVERS = {
    "plain": plain,
    "aiter": aiter_,
    "plain-in-loop": plain_in_loop,
    "runtime": runtime,
    "journal": journal,
}

every_driver = pytest.mark.parametrize("drive", DRIVERS.values(), ids=DRIVERS)

ALONE = {name: drive for name, drive in DRIVERS.items() if name not in ("runtime", "journal")}
every_driver_of_its_own = pytest.mark.parametrize("drive", ALONE.values(), ids=ALONE)
"""Those that drive one conversation and know nothing else from which news or help could come."""

OF_TASKS = {name: drive for name, drive in DRIVERS.items() if name != "journal"}
every_driver_of_tasks = pytest.mark.parametrize("drive", OF_TASKS.values(), ids=OF_TASKS)
"""Those under which handlers may await anything: a journal could not bring that back."""
