"""`HumanNode`: a person, who is asked and answers in his own time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from pydantic import Field, field_validator

from llambdao.kernel.errors import Misused, NoAnswer
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
    and in another process. What he is informed of he need not answer. When whoever asked waits no
    longer, the question is withdrawn; an answer after that raises `AlreadyAnswered`, and changes
    nothing.

    * `deadline`, in seconds: a question that is open for so long goes to the `deputy`, whose answer
      comes in his own name; without one it raises `NoAnswer` for whoever asked.
    * `says`: the class of message that an answer is to be. Words are read as such a message, and
      what does not fit raises `BadMessage` for whoever answers; the question stays open.

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

    deadline: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    deputy: Node | None = None
    says: Any = Field(default=None, exclude=True)

    @field_validator("says")
    @classmethod
    def _is_a_message(cls, says: Any) -> Any:
        if says is not None and not (isinstance(says, type) and issubclass(says, Message)):
            raise Misused(f"says= is a class of message, such as Message, but got {says!r:.80}")
        return says

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
                yield (yield self._escalated(message))
                return
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
        return Asked(key=message.id, who=self, message=message, until=until, says=self.says)

    def _escalated(self, message: Message) -> Any:
        """The question to the deputy, now that time is up."""
        if self.deputy is None:
            raise NoAnswer(
                f"{self} did not answer {message.content!r:.60} within {self.deadline:g} seconds;"
                " HumanNode(deputy=...) says who is asked then"
            )
        return self.deputy.ask(message, message.intent)
