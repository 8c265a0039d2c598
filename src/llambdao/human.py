"""`HumanNode`: a person, who is asked and answers in his own time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from llambdao.kernel.errors import NoAnswer
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.turn import current
from llambdao.kernel.waits import any_of, sleep
from llambdao.runtime.questions import Asked

__all__ = ["HumanNode"]


class HumanNode(Node):
    """A person: what is asked of him is an open question, until he answers it from any door.

    `await runtime.pending()` has the open questions, `await runtime.answer(id, words, by="Ann")`
    closes one: once, and only by the one who was asked. Under a journal that may be days later,
    and in another process. What he is informed of he need not answer.

    With `deadline`, in seconds, a question that nobody has answered by then goes to the `deputy`;
    without one it raises `NoAnswer` for whoever asked.

    >>> import asyncio
    >>> from llambdao import Runtime
    >>> async def main():
    ...     ann = HumanNode(name="Ann")
    ...     async with Runtime(ann) as runtime:
    ...         asking = asyncio.ensure_future(runtime.ask(ann, "Tea?"))
    ...         await runtime.settle()
    ...         for question in await runtime.pending():
    ...             await runtime.answer(question.id, "Yes, please.", by="Ann")
    ...         return str(await asking)
    >>> asyncio.run(main())
    'Ann: Yes, please.'
    """

    role: ClassVar[str] = "user"

    deadline: float | None = None
    deputy: Node | None = None

    def inform(self, message: Message) -> None:
        """Take note of it."""

    def chat(self, message: Message) -> Generator[Any, Any, Any]:
        """Wait for the answer."""
        asked = self._asked(message)
        if self.deadline is None:
            answer = yield asked
        else:
            place, answer = yield any_of(asked, sleep(self.deadline), which=True)
            if place:
                if self.deputy is None:
                    raise NoAnswer(f"{self} did not answer {message.content!r:.60} in time")
                answer = yield self.deputy.ask(message, message.intent)
        if isinstance(answer, str):
            answer = message.reply(answer)
        elif answer.sender is not self:
            answer = answer.but(sender=self, to=message.sender, reply_to=message)
        yield answer

    request = chat
    query = chat

    def _asked(self, message: Message) -> Asked:
        turn = current()
        until = None
        if self.deadline is not None and turn is not None:
            until = turn[1].now() + round(self.deadline * 1e9)
        return Asked(key=message.id, who=self, message=message, until=until)
