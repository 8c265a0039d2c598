"""`Transcript`: a conversation under a virtual clock, and all that came of it."""

from __future__ import annotations

from typing import Unpack

from msgspec import Struct, field

from llambdao.kernel.events import Event, Reason
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import Conversation, Options
from llambdao.testing._clock import VirtualClock

__all__ = ["Transcript", "capture"]


class Transcript(Struct):
    """What a conversation came to: who said what, in order, and why it ended.

    `replies` is what the caller heard, `messages` everything that was said, `events` everything
    that happened, `error` what was raised.
    """

    replies: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reason: Reason | None = None
    error: Exception | None = None

    @property
    def messages(self) -> list[Message]:
        """Everything that was said, in order."""
        return [event.message for event in self.events if event.kind == "said"]

    @property
    def lines(self) -> list[str]:
        """What the caller heard, a line each, such as `Rumi: Welcome.`."""
        return [str(said) for said in self.replies]

    def __str__(self) -> str:
        ending = f"({self.reason})" if self.error is None else f"({self.reason}: {self.error!r})"
        return "\n".join([*self.lines, ending])


def capture(node: Node, message: Message | str, **options: Unpack[Options]) -> Transcript:
    """Run a conversation to its end, under a virtual clock, and keep all of it.

    What it raises is kept as `error`, not raised.

    >>> class Echo(Node):
    ...     def chat(self, message):
    ...         return message.content * 2
    >>> print(capture(Echo(name="Ann"), "ho"))
    Ann: hoho
    (done)
    """
    transcript = Transcript()
    given = options.get("observe")

    def observe(event: Event) -> None:
        transcript.events.append(event)
        if given is not None:
            given(event)

    options["observe"] = observe
    options.setdefault("clock", VirtualClock())
    conversation = Conversation(node, message, options)
    try:
        for said in conversation:
            transcript.replies.append(said)
    except Exception as error:
        transcript.error = error
    transcript.reason = conversation.reason
    return transcript
