"""A runtime for scripts that have no event loop: the same ways in, which wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llambdao.kernel.errors import Misused, Stopped
from llambdao.kernel.events import Event
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node

if TYPE_CHECKING:
    from llambdao.runtime.conversation import Conversation
    from llambdao.runtime.dead import DeadLetters
    from llambdao.runtime.questions import Question
    from llambdao.runtime.runtime import Runtime
    from llambdao.runtime.schedule import Schedule

__all__ = ["Script"]


class Script:
    """What `with Runtime(...) as runtime:` gives: a runtime on an event loop in its own thread.

    Every method is that of `Runtime` and waits for what that would be awaited for. Ctrl-C cancels
    what is waited for.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llambdao", daemon=True)
        self._thread.start()
        try:
            self._do(runtime.__aenter__())
        except BaseException:
            self._end()
            raise

    def ask(self, node: Node, message: Message | str, **options: Any) -> Any:
        """Ask and wait for the last reply."""
        return self._call(self.runtime.ask, node, message, **options)

    def send(self, node: Node, message: Message | str, **options: Any) -> Iterator[Message]:
        """Send a message, and hear the replies as they come: `for reply in ...`."""
        return self._iterate(lambda: self.runtime.send(node, message, **options))

    def tell(self, node: Node, message: Message | str, **options: Any) -> Conversation:
        """Tell a node something; returns as soon as it is in the mailbox."""
        conversation: Conversation = self._call(self.runtime.tell, node, message, **options)
        return conversation

    def watch(self, node: Node | None = None) -> Iterator[Event]:
        """Every `Event` from now on, in order, or those of one node."""
        return self._iterate(lambda: self.runtime.watch(node))

    def settle(self) -> None:
        """Wait until everything that can run has run."""
        self._call(self.runtime.settle)

    def stop(self, node: Node | None = None, *, deadline: float = 10.0) -> None:
        """Stop a node, or the whole runtime."""
        self._call(self.runtime.stop, node, deadline=deadline)

    def spawn(self, node: Node, **options: Any) -> Node:
        """Have a node live in this runtime."""
        spawned: Node = self._call(self.runtime.spawn, node, **options)
        return spawned

    def news(self, key: str, value: Any) -> None:
        """News from outside for every conversation that waits for `expect(key)`."""
        self._call(self.runtime.news, key, value)

    def pending(self) -> list[Question]:
        """The open questions, the oldest first."""
        found: list[Question] = self._call(self.runtime.pending)
        return found

    def answer(self, question: str, words: Message | str, *, by: Any) -> None:
        """Answer an open question, by its id: once, and only by the one who was asked."""
        self._call(self.runtime.answer, question, words, by=by)

    def replies(self, id: str) -> Any:  # noqa: A002  # that is what it is
        """What was said to the outside in answer to the message with this id."""
        return self._call(self.runtime.replies, id)

    @property
    def schedules(self) -> list[Schedule]:
        """What is due again and again: the methods marked `@every`."""
        found: list[Schedule] = self._call(lambda: self.runtime.schedules)
        return found

    @property
    def dead_letters(self) -> DeadLetters:
        """The messages that nobody could or would handle."""
        return self.runtime.dead_letters

    def close(self, error: BaseException | None = None) -> None:
        """Stop the runtime and its event loop."""
        try:
            self._do(self.runtime.__aexit__(type(error) if error else None, error, None))
        finally:
            self._end()

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            value = function(*args, **options)
            return await value if hasattr(value, "__await__") else value

        return self._do(call())

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._loop.is_closed():
            coroutine.close()
            raise Stopped("this runtime is stopped; its block is over")
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise Misused(
                "a handler does not go through the runtime: `answer = yield node.ask(...)` keeps it"
                " in the same conversation"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _iterate(self, open_: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
        source: Any = self._call(open_)
        try:
            with suppress(StopAsyncIteration):
                while True:
                    yield self._call(source.__anext__)
        finally:
            self._call(source.aclose)

    def _end(self) -> None:
        self._do(self._loop.shutdown_asyncgens())
        self._do(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
