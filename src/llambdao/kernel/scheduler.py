"""The scheduler: mailboxes, a run queue of activations, waits and limits. It does no I/O.

Whoever drives it tells it what happened outside (*deliver this*, *this call came to that*, *it is
now t*) and does what it asks for (*reply to outside*, *start this coroutine*, *do this call*,
*wake me at t*). It reads no clock but the one it is given, and starts no task.

Asks and relays are run from a stack, so ten thousand nested networks need no recursion;
what came from outside comes next, then what was told, first in first out.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from heapq import heappop, heappush
from types import GeneratorType, MappingProxyType
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from llambdao.kernel.activation import OUTSIDE, PENDING, TAIL, Activation, spread
from llambdao.kernel.chain import DEEP, Chains
from llambdao.kernel.dispatch import (
    GENERATOR,
    GUARDED,
    PLAIN,
    SPEAKER,
    TABLES,
    find_handler,
    nobody,
)
from llambdao.kernel.errors import BudgetReached, Deadlock, LimitReached, Misused, NotANode
from llambdao.kernel.events import LIMITS, DeadLetter, Event, Exhausted, Limits, Reason
from llambdao.kernel.mailbox import GOES_IN, Mailboxes
from llambdao.kernel.message import NOTHING, Address, Delta, Ink, Message, cut, sign
from llambdao.kernel.turn import LOOPS
from llambdao.kernel.waits import (
    BEGUN,
    ITSELF,
    OVER,
    WAITING,
    Ask,
    Question,
    Tell,
    Unanswerable,
    Wait,
)

__all__ = ["Scheduler"]

QUESTIONS = frozenset({"request", "query"})
"""The intents whose messages wait for an answer when they are yielded."""

WINDOW = 512
"""How many handled messages keep what they answered in reach, at least."""


SAYS, WORDS, NOTHING_SAID, WAITS, PENDS, PIECE = range(6)
"""What a handler may yield: a message, words, nothing, a wait; and what only talks give back."""


class End:
    """The class of what a generator gives that has ended."""


END: Any = End()

SORTS: dict[type, int] = {
    Message: SAYS,
    str: WORDS,
    type(None): NOTHING_SAID,
    type(PENDING): PENDS,
    Delta: PIECE,
    End: NOTHING_SAID,
}
"""The sort of what is yielded, by its class; subclasses enter themselves when first met."""


def sort_of(said: Any) -> int | None:
    """The sort of something whose class has not been met; None for what cannot be said."""
    for base, sort in ((Message, SAYS), (Wait, WAITS)):
        if isinstance(said, base):
            return SORTS.setdefault(type(said), sort)
    return None


worded: Callable[..., Any] = Message
"""What makes words a message; to type checkers anything, as all that is said."""

DONE = Reason.DONE

CHUNK = 16
"""How many members of a network are set going at a time."""


PAUSE: Any = object()
"""What `run` yields when others should have their turn: the driver comes back later."""

PARK: Any = object()
"""What is sent to `run` when nobody takes the reply yet: its speaker waits, the others go on."""

SLICE = 64
"""How many messages a conversation may say in a row where it shares its driver with others."""


class Scheduler(Struct, eq=False):
    """Everything under way in one conversation.

    In a runtime many of them share their mailboxes, and a `home` hears what matters to others.
    """

    now: Callable[[], int]
    salt: int
    serial: Callable[[], int]
    limits: Limits = LIMITS
    start_task: Any = None  # (scheduler, act, source, kind) -> talk: *start this coroutine*
    idle: Any = None  # called when nobody can go on; None: the driver is told by a None
    finish: Any = None  # called at the end
    host: Any = None  # where the driver keeps the tasks of this scheduler
    home: Any = None  # the conversation of a runtime, where there is one
    budget: Any = None  # what its calls are charged to
    purse: Any = None  # where it takes its messages from, some at a time
    credit: int = 0  # the number of messages at which to look at the limits, or at the others
    sleep: Any = time.sleep  # how the driver lets time pass
    settling: Any = None  # the talk whose task has just been let go on
    choose: Any = None  # who goes on next, of so many; None: the one on top
    begun: Any = ()  # what that task has set going
    observers: Any = ()  # called with every event
    answerer: Any = None  # who answers questions that reach the outside
    deltas: bool = False  # does the outside want to hear deltas?
    watched: bool = False  # is everything that is said to be shown to the outside?
    seen: Any = None  # what has not been shown yet
    stack: list[Activation] = field(default_factory=list)
    ready: Any = ()
    told: Any = ()
    timers: Any = ()
    calls: Any = ()  # *do this call*
    dropped: Any = ()  # calls that nobody waits for any longer
    pieces: Any = ()  # what calls have said meanwhile, for the outside
    under_way: int = 0  # calls and tasks the driver is busy with
    perhaps: int = 0  # tasks that wait for nodes, and perhaps for something else too
    parked: int = 0  # turns that wait in a mailbox
    expected: Any = None
    kept: Any = None  # news that nobody expected yet
    questions: Any = None
    opening: Any = None  # the message from outside
    root: Any = None  # what that began
    roots: Any = None  # what was told and has begun
    turn: Any = None  # who speaks to the outside
    mailboxes: Any = None
    queued: Any = None  # how many told messages wait for each node
    room: Any = None  # who waits for room there
    chains: Any = None
    deep_from: int = DEEP
    young: Any = ()
    old: Any = ()
    ink: Any = None
    dead: Any = ()
    reason: Any = None
    detail: str = ""

    # -- the ways in ---------------------------------------------------------------------------

    def open(self, node: Any, message: Any, hearer: Any) -> Activation:
        """A message from outside: the beginning of a conversation."""
        self.ink = ink = Ink(None, node, None, "chat", self.salt)
        self.credit = most = self.limits.messages
        if most > SLICE and (self.home is not None or self.purse is not None):
            self.credit = SLICE
        if self.purse is not None:
            wanted, self.credit = self.credit, 0
            self.credit = self.purse.take(wanted)
        if self.limits is not LIMITS:
            self.deep_from = min(DEEP, self.limits.chain // 2, self.limits.hops or DEEP)
        if message.ink is None:
            if message._intent is None and message._action is None:
                force_setattr(message, "_intent", "chat")
            if message.metadata is not NOTHING:
                self._freeze(message)
            sign(message, self.now(), self.serial(), ink)
        self.opening = message
        handler = TABLES.get(type(node), NOTHING).get(message._intent or message.intent)
        if handler is None or handler[1] == GUARDED:
            handler = find_handler(node, message)
        if self.observers or self.watched:
            self.observe("said", message._sender, message)
        self.root = root = Activation(node, message, handler, None, hearer, 0, None, 0)
        self.stack.append(root)
        self.young = [message]
        return root

    def tick(self) -> None:
        """It is later now: wake those whose time has come."""
        now = self.now()
        while self.timers and self.timers[0][0] <= now:
            wait = heappop(self.timers)[2]
            if wait.state == BEGUN:
                self._input(wait.due)

    def done(self, wait: Any, value: Any) -> None:
        """A call came to this value."""
        if self.pieces:  # which it said before
            self.pieces.append((wait.take, value))
        else:
            self.under_way -= 1
            self._input(wait.take, 0, value)

    def broke(self, wait: Any, error: BaseException) -> None:
        """A call came to this error."""
        if self.pieces:
            self.pieces.append((wait.fail, error))
        else:
            self.under_way -= 1
            self._input(wait.fail, 0, error)

    def piece(self, wait: Any, delta: Delta) -> None:
        """A call says a piece of a message: it is heard as if its handler had said it."""
        act = wait.act
        if wait.state == BEGUN and not act.closed:
            mark = len(self.stack)
            if self._delta(act, delta):
                self.pieces = self.pieces or deque()
                self.pieces.append(delta)
            self.promote(mark)

    def news(self, key: str, value: Any) -> None:
        """News from outside; kept until somebody expects it."""
        waiting = (self.expected or {}).get(key)
        while waiting:
            wait = waiting.popleft()
            if wait.state == BEGUN:
                self._input(wait.take, 0, value)
                return
        self.kept = self.kept or {}
        self.kept.setdefault(key, deque()).append(value)

    def close(self, reason: Reason = Reason.STOPPED, detail: str = "") -> None:
        """End it all: everybody is cancelled, innermost first; what was told is a dead letter."""
        if self.reason is None:
            self.reason, self.detail = reason, detail
        errors: list[BaseException] = []
        self.bury_unbegun()
        for act in reversed(self.everybody()):
            self.shut(act, errors)
        if self.home is not None:  # members that were to begin next, whom nobody keeps
            for act in (*self.stack, *self.ready):
                if not act.closed:
                    self.shut(act, errors)
        self.roots = None
        self.stack.clear()
        self.told = self.ready = ()
        self._settle()
        if errors:
            raise errors[0]

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> Generator[Any, Any, bool]:  # noqa: C901, PLR0912, PLR0915
        """Resume handlers until nobody can go on; yields what the outside is to hear.

        Yields None when nobody can go on before something happens outside: do the `calls`, let the
        tasks run, wait until `next_due`, then resume it. In a runtime, where many wait, it returns
        True instead: run it anew then.
        """
        # The one long function: what every message passes through, so that each pays no calls.
        stack, seen, observers, choose = self.stack, self.seen, self.observers, self.choose
        now, serial, most, watched = self.now, self.serial, self.credit, self.watched
        deep, on_loop = self.deep_from, self.idle is None
        act: Any = None
        try:
            while True:
                if seen:
                    yield seen.popleft()
                    continue
                if choose is not None and (stack or self.ready or self.told):
                    act = self._chosen(choose)
                elif stack:
                    act = stack.pop()
                elif self.ready:
                    act = self.ready.popleft()
                elif self.told:
                    act = self._next_told()
                elif self.pieces:
                    if (piece := self._next_piece()) is not None:
                        yield piece
                    continue
                elif self.root.closed and not (
                    self.calls or self.under_way or self.timers or self.roots or self.perhaps
                ):  # what is parked in a mailbox is among the roots
                    break
                elif self.idle is not None:
                    self._outside_is_busy()
                    self.idle(self)
                    continue
                elif self._outside_is_busy():
                    if self.home is not None:
                        return True
                    yield None
                    continue
                else:
                    break
                if act.closed or (self.mailboxes is not None and self.mailboxes.put(self, act)):
                    continue
                node, talk, value, error = act.node, act.talk, act.value, act.error
                if act.running:
                    act.running = False
                elif node._undo:
                    node._undo.clear()
                if value is not None:
                    act.value = None
                says_only = False
                over = talk is TAIL and value is None and error is None
                while not over:  # one turn: until the handler waits, ends or fails
                    ended = False
                    try:
                        if talk is not None:
                            if says_only and value is None and error is None:
                                says_only = False  # most say one thing, and end
                                if (said := next(talk, END)) is END:  # no exception to raise
                                    ended = True
                            elif error is None:
                                said = talk.send(value)
                            else:
                                act.error, thrown, error = None, error, None
                                said = talk.throw(thrown)
                        else:
                            if act.fan:
                                if act.parent.state == OVER:
                                    break
                                if act.more and not act.parent.ordered:
                                    act.more = False
                                    stack += self.following(act.parent)[::-1]
                            if observers:
                                self.observe("delivered", node, act.message, act.asker)
                            function, kind = act.handler
                            if kind == PLAIN:
                                talk, ended = TAIL, True
                                said = function(node, act.message)
                            elif kind == SPEAKER:
                                act.talk = talk = function(node, act.message)
                                says_only = True
                                if (said := next(talk, END)) is END:
                                    ended = True
                            elif kind == GENERATOR:
                                act.talk = talk = function(node, act.message)
                                said = talk.send(None)
                            else:
                                source = function(node, act.message)
                                act.talk = talk = self.start_task(self, act, source, kind)
                                said = talk.send(None)
                    except StopIteration as stop:
                        if ended:
                            self._failed(act, RuntimeError(f"{act} raised StopIteration"))
                            break
                        said, ended = stop.value, True
                    except Exception as failure:
                        self._failed(act, failure)
                        break
                    value = None
                    kind = type(said)
                    if kind is Message:
                        sort: int | None = SAYS
                    elif (sort := SORTS.get(kind)) is None:
                        sort = sort_of(said)
                    is_new = True
                    if sort == SAYS:
                        if said.ink is None:
                            word = said._intent or said._action
                            if said._to is None and (word is None or word not in QUESTIONS):
                                wait = None
                            else:
                                wait = self._addressed(act, said)
                            if wait is None:
                                if said.metadata is not NOTHING:
                                    self._freeze(said)
                                if (number := serial()) > most:
                                    most = self._more(number)
                                force_setattr(said, "ink", act.ink or self._ink(act))
                                force_setattr(said, "said_at", now())
                                force_setattr(said, "number", number)
                                if said._reply_to is not None:
                                    self._remember(said)
                            else:
                                said, sort = wait, WAITS
                        elif said.sender is node:
                            said = self._again(act, said)
                        else:
                            is_new = False
                    elif sort == WORDS:
                        if (number := serial()) > most:
                            most = self._more(number)
                        ink = act.ink or self._ink(act)
                        said = worded(
                            said,
                            None,
                            None,
                            None,
                            None,
                            None,
                            NOTHING,
                            None,
                            None,
                            now(),
                            number,
                            ink,
                        )
                    elif sort == NOTHING_SAID:
                        if ended:
                            over = True
                            break
                        continue
                    elif sort == PENDS:
                        self._hold(act)
                        while self.settling is not None:
                            if self.idle is None:
                                yield None
                            else:
                                self.idle(self)
                        break
                    elif sort == PIECE:
                        if self._delta(act, said):
                            yield said
                        continue
                    elif sort is None:
                        says_only = False
                        error = spread(self, act, said, TAIL if ended else talk)
                        if error is None:
                            talk = act.talk
                        elif ended:
                            self._failed(act, error)
                            break
                        continue
                    if sort == WAITS:
                        mark = len(stack)
                        if ended:
                            act.talk = talk = TAIL
                        try:
                            value = said.start(self, act, act)
                        except Exception as failure:
                            error = failure
                            continue
                        finally:
                            if len(stack) > mark + 1:  # what it set going runs in that order
                                begun = stack[mark:]
                                begun.reverse()
                                stack[mark:] = begun
                        if value is not WAITING:
                            if seen:
                                if self.home is not None and not watched:
                                    self._hold(act)
                                act.value = value
                                stack.append(act)
                                break
                            continue
                        act.wait = said
                        if act.fan and not act.kept:
                            act.parent.keep(act)
                        if act.depth > deep:
                            self._long_chains().count(act)
                        if observers:
                            self.observe("waits", node, act.message, said)
                        break
                    # a reply
                    if is_new and (observers or watched):
                        self.observe("said", node, said)
                    hearer = act.hearer
                    if hearer is OUTSIDE:
                        if on_loop:
                            self.turn = act
                        parked = (yield said) is PARK
                        if act.closed:
                            break
                        if parked:
                            if ended:
                                act.talk = TAIL
                            if act.fan and not act.kept:
                                act.parent.keep(act)
                            break
                        if node._undo:
                            node._undo.clear()
                    elif hearer is None:
                        self._unheard(act, said)
                    elif not hearer.hear(self, act, said):
                        if ended:
                            act.talk = TAIL
                        break
                    if ended:
                        over = True
                        break
                    if seen:
                        if self.home is not None and not watched:
                            self._hold(act)  # others have their turn, but nobody at this node
                        stack.append(act)
                        break
                if over:
                    act.closed = True
                    if act.others or act.deep:
                        self._tidy(act)
                    if observers:
                        self.observe("ended", node, act.message)
                    if (parent := act.parent) is not None:
                        if act.fan and parent.left > 1 and not act.kept:
                            parent.left -= 1
                        else:
                            parent.ended(self, act)
                    elif self.roots:
                        self.roots.pop(id(act), None)
                if act.busy and not act.running:
                    self.release(act)
            if self.reason is None:
                self.reason = DONE
            self._settle()
        except BaseException as error:
            self.turn = act
            self.close(*ending(error))
            if isinstance(error, Exhausted):
                raise LimitReached(str(error)) from None
            raise
        finally:
            if self.host is not None and self.finish is not None:
                self.finish(self)
        return False

    # -- what waits call -----------------------------------------------------------------------

    def ask(self, wait: Any, asker: Activation) -> Activation:
        """Put a question to a node: it is handled next, and heard by the wait."""
        node, words = wait.node, wait.words
        if type(words) is str and not self.observers and not self.watched:
            message: Any = self._words(asker, node, words, wait.intent or "request")
        else:
            message = self.address(asker, node, words, wait.intent, "request")
        return self.deliver(node, message, wait, wait, asker)

    def deliver(
        self, node: Any, message: Any, parent: Any, hearer: Any, asker: Activation
    ) -> Activation:
        """Let a node handle a message next, on behalf of `asker`."""
        handler = TABLES.get(type(node), NOTHING).get(message._intent or message.intent)
        if handler is None or handler[1] == GUARDED:
            handler = find_handler(node, message)
        depth = asker.depth + 1
        if depth > self.deep_from:
            self._check_chain(node, handler, asker)
        if self.queued and id(node) in self.queued:
            self._not_before(message.sender, node)
        act = Activation(node, message, handler, parent, hearer, 0, asker, depth)
        self.stack.append(act)
        self._remember(message)
        if self.home is not None and id(node) in self.mailboxes.boxes:
            self.mailboxes.announce(act)
        return act

    def delegate(self, handler: Any, wait: Any, asker: Activation) -> Activation:
        """Let another handler of the same node handle the same message next."""
        node, message, place = asker.node, asker.message, asker.place
        act = Activation(node, message, handler, wait, asker.hearer, place, asker, asker.depth + 1)
        self.stack.append(act)
        return act

    def continue_as(self, act: Activation, wait: Any) -> None:
        """The first handler ends, and another message takes the place of the first.

        With a journal that comes when all has ended: then nothing has to be remembered.
        """
        if act is not self.root or wait.node is not act.node:
            raise Misused(
                f"{act} cannot continue as something else: that is for the handler of the message"
                " that opened the conversation, `yield self.continue_as(message)`"
            )
        words, word = wait.message, act.message.intent
        message: Any = Message(words) if isinstance(words, str) else words.but(sender=None, to=None)
        message = message.but(intent=message.intent or word, reply_to=None)
        handler = find_handler(act.node, message)
        failed: list[BaseException] = []
        self.cancel(act, failed)
        if failed:
            raise failed[0]
        if (continues := getattr(self.home, "continues", None)) is not None:
            continues(message)
            return
        self._freeze(message)
        sign(message, self.now(), self._count(), self.ink)
        if self.observers or self.watched:
            self.observe("said", None, message)
        self.root = Activation(act.node, message, handler, None, act.hearer, 0, None, 0)
        self.stack.append(self.root)
        self._remember(message)

    def question(self, stream: Any, asker: Activation) -> None:
        """Put a question to a node, whose replies are heard one by one."""
        node = stream.nodes[0]
        message = self.address(asker, node, stream.message, stream.intent, "request")
        self.deliver(node, message, stream, stream, asker).fan = True
        stream.left = 1

    def relay(self, fan: Any, asker: Activation) -> None:
        """Let nodes handle a message next: those who understand it, its author left out.

        They are heard by `fan` if that is a stream, else by whoever hears the asker.
        """
        message, intent = fan.message, fan.intent
        if type(message) is str:
            message = self.address(asker, asker.node, message, intent, "chat")
        elif message.ink is None:
            message = self.address(asker, asker.node, message, ITSELF, "chat")
        word = message._intent or message.intent
        if intent is not None and word != intent:
            own = {**message.metadata, "intent": word}
            message = message.but(intent=intent, metadata=MappingProxyType(own))
            sign(message, self.now(), self.serial(), self.ink)
            word = intent
        if not self.young or self.young[-1] is not message:
            self._remember(message)
        if asker.depth > self.deep_from:
            self._check_chain(asker.node, asker.handler, asker)
        fan.message, fan.asker = message, asker
        self.stack += self.following(fan, word)
        if not fan.left and asker.asker is None and not fan.hears:
            others = [node for node in fan.nodes if node is not message.sender]
            if others:
                raise nobody(asker.node, others, word)

    def following(self, fan: Any, word: str | None = None) -> list[Activation]:
        """The next few of those a message is relayed to."""
        nodes, message, asker, hears = fan.nodes, fan.message, fan.asker, fan.hears
        hearer, place = (fan, fan.place) if hears else (asker.hearer, asker.place)
        author = message._sender
        if author is None:
            author = message.ink.sender
        if type(author) is Address:
            author = next((node for node in nodes if node == author), None)
        word, depth = word or message._intent or message.intent, asker.depth + 1
        first, most = fan.place, 1 if fan.ordered else CHUNK
        acts: list[Activation] = []
        for node in (
            nodes if not first and len(nodes) <= most else self._some(fan, first, most, acts)
        ):
            try:
                handler = TABLES[type(node)].get(word)
            except KeyError:
                raise NotANode(f"expected a node to relay to, but got {node!r:.80}") from None
            if handler is not None and node is not author:
                acts.append(
                    Activation(node, message, handler, fan, hearer, place, asker, depth, True)
                )
            if hears:
                place += 1
        if self.queued:
            for act in acts:
                if id(act.node) in self.queued:
                    self._not_before(message.sender, act.node)
        if acts:
            fan.left += len(acts)
        return acts

    def _some(
        self, fan: Any, first: int, most: int, acts: list[Activation]
    ) -> Generator[Any, None, None]:
        """Members from there on, until so many have been set going and the rest must wait."""
        for place in range(first, len(fan.nodes)):
            if len(acts) == most:
                acts[-1].more = True
                fan.place = place
                return
            yield fan.nodes[place]

    def address(self, act: Activation, node: Any, words: Any, intent: Any, default: str) -> Message:
        """The message that a question or a tell sends: fresh words, or a copy of a message."""
        if type(words) is str:
            message = self._words(act, node, words, intent or default)
        elif isinstance(words, Message):
            ink = self.ink
            if intent is ITSELF:
                message, ink = words, act.ink or self._ink(act)
            else:
                message = words.but(
                    intent=intent or words.intent or default,
                    sender=act.node,
                    to=node,
                    reply_to=act.message,
                )
            self._freeze(message)
            sign(message, self.now(), self._count(), ink)
        else:
            raise Misused(f"expected words or a Message for {node}, but got {words!r:.80}")
        if self.observers or self.watched:
            self.observe("said", act.node, message)
        return message

    def tell(self, node: Any, message: Message, wait: Any) -> Any:
        """Put a message into a node's mailbox; `WAITING` when that is full."""
        handler = find_handler(node, message)
        act = Activation(node, message, handler, None, None, 0, None, 0)
        if not isinstance(self.told, deque):
            self.told, self.queued = deque(), {}
        outcome = None if self.home is None else self.mailboxes.arrive(self, act)
        if outcome not in GOES_IN:
            if act.closed or wait is None:
                return None
            raise outcome
        self.told.append(act)
        waiting = self.queued[id(node)] = self.queued.get(id(node), 0) + 1
        if wait is None:
            return None
        if self.home is not None:
            if outcome is None:
                return None
            self.mailboxes.wait_for_room(act, partial(self.granted, wait))
        elif waiting <= self.limits.mailbox:
            return None
        else:
            self.room = self.room or {}
            self.room.setdefault(id(node), deque()).append(wait)
        return WAITING

    def granted(self, wait: Any) -> None:
        """There is room for what was told."""
        if wait.state == BEGUN:
            self._input(wait.due)
            self.home.wake()

    def wake(self, due: int, wait: Any) -> None:
        """Call `wait.due` when it is that late."""
        if self.home is not None:
            self.home.minds_time()
        if not self.timers:
            self.timers = []
        heappush(self.timers, (due, self.serial(), wait))

    def expect(self, wait: Any) -> Any:
        """The news under this key, now or when it comes."""
        if kept := (self.kept or {}).get(wait.key):
            return kept.popleft()
        self.expected = self.expected or {}
        self.expected.setdefault(wait.key, deque()).append(wait)
        if self.home is not None:
            self.home.expects(wait.key)
        return WAITING

    def abandon(self, wait: Any) -> None:
        """Nobody waits for this any longer: cancel what runs on its behalf."""
        for act in [*wait.children()]:
            self.cancel(act)
        wait.drop(self)

    def cancel(self, act: Activation, errors: list[BaseException] | None = None) -> None:
        """Close an activation and all that run on its behalf, the innermost first."""
        failed: list[BaseException] = [] if errors is None else errors
        for one in reversed(act.family()):
            self.shut(one, failed)
        if failed and errors is None:
            raise failed[0]

    def everybody(self) -> list[Activation]:
        """All who are under way, the outermost first."""
        family: list[Activation] = []
        for root in (self.root, *(self.roots or {}).values()):
            if root is not None:
                family += root.family()
        if self.turn is not None and not self.turn.closed and self.turn not in family:
            family.append(self.turn)
        return family

    def shut(self, one: Activation, failed: list[BaseException]) -> None:
        """Close one activation."""
        if not one.closed:
            one.closed = True
            for wait in one.waits():
                wait.drop(self)
            ending = None
            if one.talk is not None:
                try:
                    ending = one.talk.close()
                except Exception as error:
                    failed.append(error)
            if one.deep:
                self.chains.forget(one)
            if self.settling is not None and self.settling is one.talk:
                self.settling = None
                self.stack.extend(reversed(self.begun))
                self.begun = ()
            if one.busy:
                if isinstance(one.talk, GeneratorType) or ending is None:
                    self.release(one)
                else:  # a task, which holds the node until it has cleaned up
                    ending.add_done_callback(lambda _: self.release(one))
            if self.home is not None and one.talk is None:
                self.mailboxes.forget(one)
            if self.roots:
                self.roots.pop(id(one), None)
            if self.observers:
                self.observe("ended", one.node, one.message, "cancelled")

    def refuse(self, act: Activation, error: Exception, reason: str) -> None:
        """A node does not take this message: a dead letter, and an error for who asked."""
        act.closed = True
        if act.busy and act.talk is None:
            self.release(act)
        self.bury(act.message, reason, act.node, error)
        if self.roots:
            self.roots.pop(id(act), None)
        if act.parent is not None:
            self._input(act.parent.failed, act, error)
        elif act is self.root:
            self.reason, self.detail = Reason.FAILED, repr(error)
            self.home.refused(error)
        if self.home is not None:
            self.home.wake()

    def resume(self, act: Activation) -> None:
        """This turn can go on, after those before it."""
        if not isinstance(self.ready, deque):
            self.ready = deque()
        self.ready.append(act)

    def promote(self, mark: int) -> None:
        """What is on the stack from here on came from outside: it is ready, after the others."""
        if len(self.stack) > mark:
            for act in self.stack[mark:]:
                self.resume(act)
            del self.stack[mark:]

    def cleanup_failed(self, error: BaseException) -> None:
        """A handler that was cancelled raised while it cleaned up: said, for nobody waits."""
        warnings.warn(f"a cancelled handler failed to clean up: {error!r}", RuntimeWarning, 2)

    # -- what a driver reads -------------------------------------------------------------------

    @property
    def next_due(self) -> int | None:
        """When the next timer is due, in ns since 1970; None if there is none."""
        while self.timers and self.timers[0][2].state != BEGUN:
            heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def observe(self, kind: str, node: Any, message: Any, detail: Any = None) -> None:
        """Let the observers see what happened; an observer that fails harms nobody else."""
        if self.watched and kind == "said":
            self.seen.append(message)
        if self.observers:
            event = Event(kind, node, message, detail, self.opening)
            for observer in self.observers:
                try:
                    observer(event)
                except Exception as error:
                    warnings.warn(f"observer {observer} failed: {error!r}", RuntimeWarning, 2)

    def bury_unbegun(self) -> None:
        """All that was told and has not begun never will: dead letters, in the order told."""
        acts = [act for act in self.everybody() if act is not self.turn]
        acts = [act for act in acts if act.talk is act.parent is act.hearer is None]
        for act in sorted((*acts, *self.told), key=_number):
            if not act.closed:
                act.closed = True
                if act.busy:
                    self.release(act)
                if self.home is not None:
                    self.mailboxes.forget(act)
                self.bury(act.message, "cancelled", act.node)

    def bury(self, message: Message, reason: str, node: Any = None, error: Any = None) -> None:
        """Keep a message that nobody could or would handle, among the last thousand of them."""
        letter = DeadLetter(message, reason, node, error)
        if self.home is not None:
            self.home.bury(letter)
        if not self.dead:
            self.dead = deque(maxlen=1000)
        self.dead.append(letter)
        if self.observers:
            self.observe("dead", node, message, reason)

    # -- inside --------------------------------------------------------------------------------

    def _next_piece(self) -> Delta | None:
        """The next piece that a call has said; None if it has come to its end."""
        piece = self.pieces.popleft()
        if isinstance(piece, tuple):
            self.under_way -= 1
            self._input(piece[0], 0, piece[1])
            return None
        self.turn = None  # nobody is to go on when it has been taken
        return piece  # type: ignore[no-any-return]

    def _words(self, act: Activation, node: Any, words: str, word: str) -> Message:
        """Fresh words of one node to another."""
        return Message(
            words,
            word,
            act.node,
            node,
            act.message,
            None,
            NOTHING,
            None,
            None,
            self.now(),
            self._count(),
            self.ink,
        )

    def _count(self) -> int:
        number: int = self.serial()
        if number > self.credit:
            self._more(number)
        return number

    def _settle(self) -> None:
        """It is over: what it did not say is given back."""
        if self.purse is not None:
            self.purse.give(max(0, self.credit + 1 - self.serial()))
            self.purse = None
        if self.observers:
            self.observe("over", None, None, str(self.reason))

    def _more(self, number: int) -> int:
        """The credit is used up: to how many messages may it go on? Others come first."""
        if number > self.limits.messages:
            raise Exhausted(
                f"this conversation was ended after {self.limits.messages:,} messages;"
                " to allow more: limits=Limits(messages=...)"
            )
        credit = min(number + SLICE, self.limits.messages)
        if self.purse is not None:
            credit = self.credit + self.purse.take(credit - self.credit)
        if self.home is not None:
            self.seen.append(PAUSE)
        self.credit = credit
        return credit

    def _remember(self, message: Any) -> None:
        """Keep a message within the window; the older half of it lets go of what it answered."""
        young = self.young
        if not young or young[-1] is not message:
            young.append(message)
            if len(young) > WINDOW:
                for old in self.old:
                    cut(old)
                self.old, self.young = young, []

    def _ink(self, act: Activation) -> Ink:
        message = act.message
        word = message._intent or message.intent
        sender = message._sender
        if sender is None:
            sender = message.ink.sender
        act.ink = ink = Ink(
            act.node, sender, message, "chat" if word == "chat" else "inform", self.salt
        )
        return ink

    def _freeze(self, message: Any) -> None:
        if type(message.metadata) is not MappingProxyType:
            force_setattr(message, "metadata", MappingProxyType({**message.metadata}))

    def _again(self, act: Activation, said: Message) -> Any:
        """Said once more by its author: a copy with an id of its own."""
        again = said.but()
        sign(again, self.now(), self._count(), act.ink or self._ink(act))
        return again

    def _addressed(self, act: Activation, said: Any) -> Wait | None:
        """The wait that an addressed message, or a question, stands for; None if it is a reply."""
        asker = act.message.sender
        to = said._to
        if said.intent not in QUESTIONS:
            if to is asker or to == asker or said._reply_to is act.message:
                return None
            return Tell(to, said, ITSELF)
        if to is not None or (asker is not None and not getattr(act.hearer, "table", False)):
            return Ask(to if to is not None else asker, said, ITSELF)
        ink = act.ink or self._ink(act)
        self._freeze(said)
        sign(said, self.now(), self._count(), ink)
        if self.observers or self.watched:
            self.observe("said", act.node, said)
        if getattr(act.hearer, "table", False):
            question = Question(said)
            self.questions = self.questions or {}
            self.questions[id(said)] = question
            return question
        if self.answerer is not None:
            return Question(said, self.answerer)
        return Unanswerable(said)

    def _unheard(self, act: Activation, said: Any) -> None:
        """A reply that nobody waits for: news for the teller, or an acknowledgement."""
        teller = act.message.sender
        own = said.ink is act.ink and (said._intent or said._action) is not None
        if not own or teller is None:
            return
        if not isinstance(teller, Address) and teller.understands(said.intent):
            self.tell(teller, said, None)
        else:
            self.bury(said, f"{teller} does not understand {said.intent!r}", teller)

    def _delta(self, act: Activation, delta: Delta) -> bool:
        """A piece of a message: for observers, and for the hearer if it asked for pieces."""
        delta.sender, delta.reply_to = act.node, act.message
        if self.observers:
            self.observe("delta", act.node, delta)
        if act.hearer is OUTSIDE:
            return self.deltas
        if getattr(act.hearer, "deltas", False) and act.hearer.hear(self, act, delta) is False:
            act.hearer.parked.remove(act)
        return False

    def _tidy(self, act: Activation) -> None:
        """An activation has ended: what it left open is cancelled."""
        if act.others:
            for wait in act.waits():
                self.abandon(wait)
        if act.deep:
            self.chains.forget(act)

    def _failed(self, act: Activation, error: BaseException) -> None:
        """A handler raised: undo this turn's assignments; the error goes to whoever waits."""
        act.closed = True
        undo = act.node._undo
        if undo:
            act.node._restore(undo)
        for wait in act.waits():
            self.abandon(wait)
        if act.deep:
            self.chains.forget(act)
        if self.observers:
            self.observe("failed", act.node, act.message, error)
        if act.busy:
            self.release(act)
        is_settled = self.home is not None and self.home.supervise(act, error)
        if act.parent is None:
            if self.roots:
                self.roots.pop(id(act), None)
            if not is_settled:
                raise error
            return
        act.parent.failed(self, act, error)

    def _chosen(self, choose: Callable[[int], int]) -> Activation:
        """Any of those who could go on; what one node told another stays in order."""
        some: list[Activation] = []
        firsts: dict[tuple[int, int], Activation] = {}
        for act in (*reversed(self.stack), *self.ready, *self.told):
            if act.talk is not None:
                some.append(act)
                continue
            key = (id(act.message.sender), id(act.node))
            if _number(act) < _number(firsts.setdefault(key, act)):
                firsts[key] = act
        some += firsts.values()
        chosen = some[choose(len(some))]
        for queue in (self.stack, self.ready):
            if chosen in queue:
                queue.remove(chosen)
                return chosen
        self.told.remove(chosen)
        self.told.appendleft(chosen)
        return self._next_told()

    def _next_told(self) -> Activation:
        """The message that was told first."""
        act: Activation = self.told.popleft()
        self._told_begins(act)
        return act  # closed, if it was dropped from a full mailbox

    def _told_begins(self, act: Activation) -> None:
        key = id(act.node)
        self.queued[key] -= 1
        if not self.queued[key]:
            del self.queued[key]
        while waiting := (self.room or {}).get(key):
            wait = waiting.popleft()
            if wait.state == BEGUN:
                self._input(wait.due)
                break
        if act.closed:
            return
        if self.roots is None:
            self.roots = {}
        self.roots[id(act)] = act
        self._remember(act.message)

    def _not_before(self, sender: Any, node: Any) -> None:
        """What the same sender told this node before comes first."""
        first = [a for a in self.told if a.node is node and a.message.sender is sender]
        for act in first:
            self.told.remove(act)
            self._told_begins(act)
        self.stack += first

    def _input(self, put: Callable[..., None], *args: Any) -> None:
        """Something happened outside: whoever can go on now is ready, after those before it."""
        mark = len(self.stack)
        put(self, *args)
        self.promote(mark)

    def _outside_is_busy(self) -> bool:
        """Can anything still come from outside? If not, and somebody waits: `Deadlock`."""
        if self.calls or self.under_way or self.perhaps or self.next_due is not None:
            return True
        if self.home is not None and (self.parked or self.expected or self.home.waits()):
            return True  # for others, for news, or for who hears it
        if self.roots or not self.root.closed:
            stuck = [f"{a} waits for {w}" for a in self.everybody() for w in a.waits()]
            raise Deadlock("nobody can go on: " + "; ".join(stuck[:10]))
        return False

    def _check_chain(self, node: Any, handler: Any, asker: Activation) -> None:
        most = self.limits.hops
        if most is not None and asker.depth >= most:
            raise LimitReached(
                f"{asker} is {most} hops away from the first message, and may go no further;"
                " to allow more: limits=Limits(hops=...)"
            )
        self._long_chains().check(node, handler, asker)

    def _long_chains(self) -> Chains:
        if self.chains is None:
            self.chains = Chains(self.limits.chain, self.deep_from)
        chains: Chains = self.chains
        return chains

    def _hold(self, act: Activation) -> None:
        """A task of this activation is under way."""
        act.running = True
        if act.fan and not act.kept:
            act.parent.keep(act)
        if not act.others:
            if self.mailboxes is None:
                self.mailboxes = Mailboxes()
            self.mailboxes.hold(act)

    def release(self, act: Activation) -> None:
        """Let others in at the node of a task that waits."""
        self.mailboxes.release(act)


def _number(act: Activation) -> int:
    """The place of its message among all of its conversation."""
    number: int = act.message.number
    return number


def ending(error: BaseException) -> tuple[Reason, str]:
    """Why a conversation ends that is ended by this."""
    if isinstance(error, GeneratorExit):
        return Reason.STOPPED, ""
    if isinstance(error, Exhausted):
        return Reason.LIMIT, str(error)
    if isinstance(error, BudgetReached):
        return Reason.BUDGET, str(error)
    if isinstance(error, LimitReached):
        return Reason.LIMIT, str(error)
    if isinstance(error, Deadlock):
        return Reason.DEADLOCK, str(error)
    if isinstance(error, KeyboardInterrupt):
        return Reason.CANCELLED, repr(error)
    return Reason.FAILED, repr(error)


LOOPS.add(Scheduler.run.__code__)
