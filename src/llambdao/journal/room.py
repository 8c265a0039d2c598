"""`Room`: a door into a journal, from any process, whether or not its owner runs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from llambdao.journal.addresses import Addresses
from llambdao.journal.directory import Directory
from llambdao.journal.door import Door
from llambdao.journal.errors import (
    DuplicateId,
    JournalError,
    NoSuchMessage,
    NotAsked,
    Owned,
)
from llambdao.journal.forks import forked
from llambdao.journal.handles import Hearing, Past, Replies, Said
from llambdao.journal.journal import digest_of_message
from llambdao.journal.ledger import Line
from llambdao.journal.letters import Dead, dead_of, refusal
from llambdao.journal.replays import Replayed, replayed
from llambdao.journal.stores import open_ledger
from llambdao.journal.trace import Trace, trace_of
from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Address, Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import SYSTEM, Clock
from llambdao.runtime.codec import Codec
from llambdao.runtime.questions import Question, answer_of, closed, is_asked, moment

__all__ = ["Fork", "Room"]

T = TypeVar("T")

LOOK = 0.02
"""Every so many seconds who waits looks whether its owner has taken in what was laid there."""

PAGE = 500
"""So many lines of history are read at a time."""


class Room:
    """A door into a journal: whoever has its URL can look, tell, answer and cancel.

    It reads everything, and writes only to the door, where things lie until the owner of the
    journal, the `Runtime`, takes them in: within a twentieth of a second if it runs, else when it
    runs next. Looking never takes ownership. `wait=` gives so many seconds for that: what the owner
    refuses is raised here, `TimeoutError` says that nobody has taken it yet; it still lies there.

    Nodes are named by their address (`clerk/Ann`) or, where only one is called so, by their name.
    Errors are those of the runtime, where they can be known here. A room is used by one thread.

    >>> import tempfile, pathlib
    >>> from llambdao.journal.sqlite import SqliteLedger
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "room.db"
    >>> SqliteLedger(path).close()
    >>> with Room(f"sqlite:///{path}") as room:
    ...     id = room.tell("clerk", "Buy 3 chairs")
    ...     room.pending(), room.replies(id).open
    ([], True)
    >>> folder.cleanup()
    """

    def __init__(self, url: Any, *, clock: Clock = SYSTEM) -> None:
        self.url, self.clock = url, clock
        self.ledger: Any = url if hasattr(url, "knock") else open_ledger(str(url), create=False)
        self.codec, self.addresses = Codec(), Addresses()

    def close(self) -> None:
        """Let go of it."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- looking -------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Address]:
        """Whom one can tell: the nodes of the program that ran this journal last."""
        return self._directory().addresses()

    def pending(self) -> list[Question]:
        """Who is asked what, and has not answered: the open questions, the oldest first."""
        return [
            Question(
                one.id,
                _address(one.who),
                _address(one.asker) if one.asker else None,
                one.content,
                moment(one.since),
                None if one.until is None else moment(one.until),
            )
            for one in self.ledger.questions()
        ]

    def replies(self, id: str) -> Replies:  # noqa: A002  # that is what it is
        """What was said to the outside in answer to the message with this id; it can be followed.

        Of an id that nobody has told there are none.
        """
        return Replies(self, id)

    def conversations(self, status: Any = None, most: int = 1000) -> list[Past]:
        """The youngest conversations, or those of one status: ready, waits, stuck, parked, over."""
        return [Past(self, found) for found in self.ledger.conversations(status, most)]

    def conversation(self, id: str) -> Past:  # noqa: A002
        """The conversation that the message with this id has opened; the last, if it is several."""
        if not (found := self.ledger.find(id)):
            raise NoSuchMessage(f"no conversation was opened by a message with the id {id!r:.80}")
        return Past(self, found[-1])

    def log(
        self,
        id: str | None = None,  # noqa: A002
        *,
        last: int | None = None,
        follow: bool = False,
    ) -> Iterator[Said]:
        """All that was said, in order; in one conversation, or the last so many lines.

        A line is what was said in one step of a conversation. With `follow` it goes on with what
        is said from now on, and never ends by itself.
        """
        key = None if id is None else self.conversation(id).found.opening.key
        after = 0 if last is None else self._before_last(last, key)
        hearings: dict[int, Hearing | None] = {}
        while True:
            lines = self.ledger.lines(key, after, PAGE)
            for line in lines:
                yield from self._heard(line, hearings, is_whole=last is None)
                after = line.seq
            if len(lines) < PAGE:
                if not follow:
                    return
                time.sleep(LOOK)

    def trace(self, id: str) -> Trace:  # noqa: A002
        """What came of a message, and what it came from; a message of any id that history has."""
        found = self.ledger.find(id)
        if found:
            said = Past(self, found[-1]).said()
            if not said:
                raise NoSuchMessage(f"what was said in {id} has been forgotten (compact)")
            return trace_of(said, said[0])
        for one in self.log():
            if one.message.id == id:
                said = self.conversation(one.conversation).said()
                return trace_of(said, next(each for each in said if each.message.id == id))
        raise NoSuchMessage(f"there is no message {id!r:.80} in this journal")

    def stuck(self) -> list[Past]:
        """The conversations that cannot go on: their `why` says what is different now."""
        return self.conversations("stuck") + self.conversations("parked")

    def dead(self) -> list[Dead]:
        """The dead letters, the oldest first."""
        found: list[Dead] = []
        while letters := self.ledger.letters(after=found[-1].seq if found else 0):
            found += [dead_of(one) for one in letters]
        return found

    def audit(self) -> int | None:
        """The `seq` of the first line of history that is not as it was written; None if all are."""
        return self.ledger.verify()  # type: ignore[no-any-return]

    # -- what if -------------------------------------------------------------------------------

    def replay(
        self,
        id: str,  # noqa: A002
        *nodes: Node,
        renamed: Mapping[str, str] | None = None,
    ) -> Replayed:
        """Take all steps of an open conversation again, with the nodes of a program.

        Nothing is done outside, and nothing is written. `difference` says where the program does
        something else now than it did then; it is empty where it does not.
        """
        return replayed(self.ledger, self.conversation(id).found, nodes, renamed)

    def fork(
        self,
        id: str,  # noqa: A002
        *nodes: Node,
        says: Message | str,
        at: str | None = None,
        effects: bool = False,
        renamed: Mapping[str, str] | None = None,
    ) -> Fork:
        """What if something else had been said? The conversation goes on from there, in memory.

        `at` is the id of the message that is edited to `says`, the first one unless given; of an
        ended conversation no other can be. Calls come to what they came to then: one of which
        nothing is recorded raises `NotRecorded` where it is called, unless `effects` allows to do
        it. Who is asked the same again answers the same; other questions stay open. Nobody waits
        for time to pass. The journal stays as it is.
        """
        found = self.conversation(id).found
        return Fork(
            *_run(forked(self.ledger, found, nodes, says, at=at, effects=effects, renamed=renamed))
        )

    # -- the door ------------------------------------------------------------------------------

    def tell(self, node: Any, message: Message | str, *, wait: float | None = None) -> str:
        """Tell a node something; the id of the message, with which its `replies` can be read.

        The same message with the same id again is the same; with other content it raises
        `DuplicateId`.
        """
        if isinstance(message, str):
            message = Message(message)
        elif not isinstance(message, Message):
            raise Misused(f"expected a message or its words, but got {message!r:.80}")
        directory = self._directory()
        address = directory.find(node)
        directory.understands(address, message.intent or "chat")
        if message.id is None:
            message = message.but(id=f"{self.clock.now():016x}{secrets.token_hex(8)}")
        number = str(message.id)
        if not self._is_known(address, message):
            self._knock("tell", {"node": address, "message": message.dict(), "id": number}, wait)
        return number

    def answer(self, id: str, words: Message | str, *, by: Any, wait: float | None = None) -> None:  # noqa: A002
        """Answer an open question, by its id: once, and only by the one who was asked.

        `by` is that node, its address or its name. Another one raises `NotAsked`, a second answer
        `AlreadyAnswered`.
        """
        answer_of(words)
        question = next((one for one in self.pending() if one.id == id), None)
        if question is None:
            if (how := self.ledger.answer(id)) is not None:
                raise closed(id, how.by)
            raise NotAsked(f"there is no question {id!r:.80}; pending() has those that are open")
        is_asked(question, by, self._directory())
        if any(one.kind == "answer" and one.body.get("id") == id for one in self.ledger.knocks()):
            raise closed(id, question.who.id)
        said = {"content": words} if isinstance(words, str) else {"message": words.dict()}
        who = by if isinstance(by, str) else by.id
        self._knock("answer", {"id": id, "by": who, **said}, wait)
        if wait is not None and (how := self.ledger.answer(id)) is not None and not how.by:
            raise closed(id, "")  # it was withdrawn just then

    def cancel(self, id: str, detail: str = "", *, wait: float | None = None) -> None:  # noqa: A002
        """End the conversations that the message with this id has opened."""
        is_open = any(one.ending is None for one in self.ledger.find(id))
        if not is_open and not self.lies_at_the_door(id):
            raise NoSuchMessage(f"there is no open conversation {id!r:.80}")
        self._knock("cancel", {"id": id, "detail": detail}, wait)

    def retry(self, id: str, *, wait: float | None = None) -> None:  # noqa: A002
        """Have a stuck conversation try again, with the program as it is now."""
        self._is_stuck(id)
        self._knock("retry", {"id": id}, wait)

    def restart(self, id: str, *, wait: float | None = None) -> None:  # noqa: A002
        """Have a stuck conversation begin again: what it has done outside may be done once more."""
        self._is_stuck(id)
        self._knock("restart", {"id": id}, wait)

    def again(self, letter: int, *, wait: float | None = None) -> None:
        """Have a dead letter sent again, by its `seq`."""
        if not any(one.seq == letter for one in self.ledger.letters(after=letter - 1, most=1)):
            raise NoSuchMessage(f"there is no dead letter {letter}; dead() has those there are")
        self._knock("again", {"seq": letter}, wait)

    def compact(
        self, *, before: Any = None, seen: Any = None, wait: float | None = None
    ) -> dict[str, int] | None:
        """Forget what nobody needs: how much, by kind; None if a running owner does it.

        What is unused goes. With `before`, a datetime or how long ago as a timedelta, also history,
        answers, letters and ended conversations older than that; with `seen` the ids by which a
        message that comes again is known to be the same.
        """
        times = {"before": self._time(before), "seen": self._time(seen)}
        own = open_ledger(str(self.url), create=False)
        try:
            own.claim()
            return own.compact(**times)
        except Owned:
            self._knock("compact", {k: v for k, v in times.items() if v is not None}, wait)
            return None
        finally:
            own.close()

    def lies_at_the_door(self, number: str) -> bool:
        """Was this message told, and not taken in yet?"""
        return Door.holds(self.ledger, number)

    # -- how -----------------------------------------------------------------------------------

    def _directory(self) -> Directory:
        return Directory(self.ledger.meta())

    def _knock(self, kind: str, body: dict[str, Any], wait: float | None) -> None:
        token = secrets.token_hex(8)
        seq = self.ledger.knock(kind, {**body, "token": token}, self.clock.now())
        if wait is None:
            return
        until = time.monotonic() + wait
        while any(one.seq == seq for one in self.ledger.knocks()):
            if time.monotonic() >= until:
                raise TimeoutError(
                    f"nobody has taken it in within {wait:g} seconds: it lies at the door, until"
                    " the program that owns the journal runs"
                )
            time.sleep(LOOK)
        for letter in self.ledger.letters(most=10**9):
            if letter.reason == f"{kind} refused" and token in letter.message.decode():
                raise refusal(self.codec, letter)

    def _is_known(self, address: str, message: Message) -> bool:
        """Was it told before? `DuplicateId` if that was something else."""
        digest = digest_of_message(message)
        known = [
            one.opening.digest
            for one in self.ledger.find(message.id)
            if one.opening.node == address and one.opening.is_given
        ]
        known += [
            digest_of_message(Message.parse(one.body["message"]))
            for one in self.ledger.knocks()
            if one.kind == "tell"
            and (one.body.get("node"), one.body.get("id")) == (address, message.id)
        ]
        if known and known[-1] and known[-1] != digest:
            raise DuplicateId(
                f"{address} was sent a message with the id {message.id!r} before, with other"
                " content; an id is for one message"
            )
        return bool(known)

    def _is_stuck(self, number: str) -> None:
        conversation = self.conversation(number)
        if conversation.status not in ("stuck", "parked"):
            raise JournalError(f"{number} is not stuck: it is {conversation.status}")

    def _time(self, when: Any) -> int | None:
        if when is None:
            return None
        if isinstance(when, timedelta):
            return self.clock.now() - round(when.total_seconds() * 1e9)
        if isinstance(when, datetime) and when.tzinfo is not None:
            return round(when.timestamp() * 1e9)
        raise Misused(f"expected an aware datetime, or how long ago as a timedelta, not {when!r}")

    def _heard(
        self, line: Line, hearings: dict[int, Hearing | None], *, is_whole: bool
    ) -> list[Said]:
        if line.key not in hearings:
            found = self.ledger.conversation(line.key)
            hearing = hearings[line.key] = None if found is None else Hearing(found.opening, self)
            if hearing is not None and not is_whole:
                for earlier in self.ledger.lines(line.key):
                    if earlier.seq < line.seq:
                        hearing(earlier)
        hearing = hearings[line.key]
        return [] if hearing is None else hearing(line)

    def _before_last(self, many: int, key: int | None) -> int:
        """The seq after which there are so many lines."""
        if key is not None:
            seqs = [0, *(one.seq for one in self.ledger.lines(key))]
            return seqs[-many - 1] if many < len(seqs) else 0
        low, high = 0, 1
        while self.ledger.lines(None, high, 1):
            low, high = high, high * 2
        while low < high:  # the last seq
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.ledger.lines(None, middle, 1) else (low, middle)
        return max(0, low - many)


class Fork(Room):
    """A room whose journal is in memory, with one conversation in which something else was said.

    `id` is that of the conversation, `edited` the number of the message that was edited.
    """

    def __init__(self, id: str, edited: int, ledger: Any) -> None:  # noqa: A002
        super().__init__(ledger)
        self.id, self.edited = id, edited


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, also where an event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _address(address: str) -> Address:
    return Address(address, address.rpartition("/")[2])
