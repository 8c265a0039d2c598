"""A session: a person sits at a network, and talks with it until she leaves."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from llambdao.cli._errors import in_short
from llambdao.cli._run import intent_for
from llambdao.console import ConsoleGroupChatNode, ConsoleHumanNode, Screen, addressed
from llambdao.kernel.events import Event
from llambdao.kernel.graph import reachable
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.networks.groupchat import GroupChatNode

__all__ = ["Session"]

LINE: Any = None
"""What the flow of a session yields when the person is to say something."""


class Session:
    """One person at one network: what she says begins a conversation, she hears what comes of it.

    A group chat gets her as a member, unless there is a person in the network already. In a
    conversation she is asked as the network wills; between conversations she has the word.
    """

    def __init__(self, network: Node, screen: Screen, turns: int | None = None) -> None:
        self.network, self.screen, self.turns = network, screen, turns
        people = [one for one in reachable(network) if isinstance(one, ConsoleHumanNode)]
        self.person = people[0] if people else ConsoleHumanNode()
        if isinstance(network, GroupChatNode) and not people:
            network.join(self.person)
        screen.sit(network, [self.person, *people])
        self.message: Message | None = None
        self.last: Message | None = None
        self.count = 0
        self.task: asyncio.Future[None] | None = None

    def sit(self, first: Message | None = None) -> int:
        """Talk until she leaves; the exit code."""
        flow = self._flow(first)
        if inspect.iscoroutinefunction(self.screen.read):
            with self.screen.quiet():
                asyncio.run(self._on_loop(flow))
        else:
            self._in_line(flow)
        return 130 if self.screen.interrupted > 1 else 0

    def _flow(self, message: Message | None) -> Generator[Any, str | None, None]:
        """What happens in order: yields `LINE` for her words, and conversations to be heard."""
        while True:
            while message is None:
                words = yield LINE
                if words is None:
                    return
                if words:
                    message = self._message(words)
            self.message = self.last = message
            target = self._target(message)
            yield target.receive(message, observe=self._observe)
            message = None
            if self.person.has_left or self._is_over():
                return

    def _message(self, words: str) -> Message:
        intent = intent_for(self.network)
        return Message(words, intent=intent, sender=self.person, reply_to=self.last)

    def _target(self, message: Message) -> Node:
        """Who is to hear it: the network, or the one it is addressed to."""
        if isinstance(self.network, ConsoleGroupChatNode):
            return self.network
        inside = [one for one in reachable(self.network, edges=False) if one.understands("chat")]
        return next(iter(addressed(message.content, inside)), self.network)

    # -- two drivers ---------------------------------------------------------------------------

    def _in_line(self, flow: Generator[Any, str | None, None]) -> None:
        """On the caller's stack: reading and hearing take turns."""
        value: str | None = None
        with suppress(StopIteration):
            while True:
                step, value = flow.send(value), None
                if step is LINE:
                    value = self.screen.read(self.person)
                    continue
                try:
                    for said in step:
                        if self._hear(said):
                            break
                except KeyboardInterrupt:
                    if not self.screen.prompts:
                        raise
                    self._interrupted()
                except Exception as error:  # noqa: BLE001 - whatever the network raises is shown
                    self._failed(error)
                finally:
                    step.close()

    async def _on_loop(self, flow: Generator[Any, str | None, None]) -> None:
        """On an event loop: words may come while she is typing."""
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._stop)
        value: str | None = None
        with suppress(StopIteration):
            while True:
                step, value = flow.send(value), None
                if step is LINE:
                    value = await self.screen.read(self.person)
                    continue
                self.task = asyncio.ensure_future(self._listen(step))
                try:
                    await self.task
                except asyncio.CancelledError:
                    self._interrupted()
                except Exception as error:  # noqa: BLE001 - whatever the network raises is shown
                    self._failed(error)
                finally:
                    self.task = None

    async def _listen(self, conversation: Any) -> None:
        try:
            async for said in conversation:
                if self._hear(said):
                    break
        finally:
            await conversation.aclose()

    def _stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    # -- what both do --------------------------------------------------------------------------

    def _observe(self, event: Event) -> None:
        if event.kind == "said" and self.message is not None and event.message is self.message:
            self.screen.show(self.message)
        self.screen.observe(event)

    def _hear(self, said: Message) -> bool:
        """Show what was said; True if that was enough."""
        self.screen.show(said)
        self.last = said
        self.count += said.sender is not self.person
        return self._is_over()

    def _is_over(self) -> bool:
        return self.turns is not None and self.count >= self.turns

    def _interrupted(self) -> None:
        if self.screen.interrupt():
            self.person.has_left = True

    def _failed(self, error: Exception) -> None:
        """Something went wrong in the network: at a terminal she may say something else."""
        if not self.screen.prompts:
            raise error
        self.screen.note(f"({in_short(error)})")
