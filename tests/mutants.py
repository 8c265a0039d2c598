"""Deliberate bugs: texts of the sources, and how they would be wrong if they read otherwise.

`tests/runtime/test_seeds.py` puts each into a copy of the sources, where the programs of
`worlds.py` must find it. A text that is not there, once, is an error: write the bug anew.
"""

from dataclasses import dataclass

SCHEDULER, MAILBOX, WAITS, TASKS, FANS = (
    f"kernel/{name}.py" for name in ("scheduler", "mailbox", "waits", "tasks", "fans")
)
CONVERSATION, QUEUE, SUPERVISOR = (
    f"runtime/{name}.py" for name in ("conversation", "queue", "supervisor")
)


@dataclass(frozen=True)
class Mutant:
    """A bug: what reads otherwise, and where."""

    name: str
    file: str
    text: str
    otherwise: str


MUTANTS = [
    Mutant(
        "the order of tells is reversed",
        MAILBOX,
        ".senders.setdefault(act.message.sender, deque()).append(act)\n        return",
        ".senders.setdefault(act.message.sender, deque()).appendleft(act)\n        return",
    ),
    Mutant(
        "a told message is handled and kept",
        SCHEDULER,
        "act: Activation = self.told.popleft()",
        "act: Activation = self.told[0]; len(self.told) > 2 or self.told.popleft()",
    ),
    Mutant(
        "a released node is not handed on",
        MAILBOX,
        "        box.holders -= 1\n        self._hand_on(act.node, box)",
        "        box.holders -= 1",
    ),
    Mutant(
        "a node is never released",
        MAILBOX,
        "        box.holders -= 1\n",
        "",
    ),
    Mutant(
        "a wake-up is lost",
        MAILBOX,
        "                if scheduler.home is not None:\n                    scheduler.home.wake()",
        "",
    ),
    Mutant(
        "one too many is let in",
        MAILBOX,
        "return most is None or box.holders < most",
        "return most is None or box.holders <= most",
    ),
    Mutant(
        "starts go before resumptions",
        MAILBOX,
        "            if box.turns:\n                scheduler, turn",
        "            if box.turns and not box.parked:\n                scheduler, turn",
    ),
    Mutant(
        "what one sender says is not kept in order",
        MAILBOX,
        "return mine is None or mine[0] is act",
        "return True",
    ),
    Mutant(
        "a mailbox takes more than it has room for",
        MAILBOX,
        "+ self.promised >= size",
        "+ self.promised >= size + 1",
    ),
    Mutant(
        "the newest makes room, not the oldest",
        MAILBOX,
        "other, oldest = next(iter(box.arrived.values()))",
        "other, oldest = next(reversed(box.arrived.values()))",
    ),
    Mutant(
        "an answer is delivered twice",
        WAITS,
        "            self.child = None\n            self.owner.take(",
        "            self.child = None\n"
        "            self.owner.take(scheduler, self.branch, self.answer)\n"
        "            self.owner.take(",
    ),
    Mutant(
        "a question has no timeout",
        WAITS,
        "        scheduler.cancel(self.child)\n        self.fail(",
        "        return\n        self.fail(",
    ),
    Mutant(
        "whoever loses is left running",
        WAITS,
        "            if part.state == BEGUN:\n                scheduler.abandon(part)",
        "            if part.state == BEGUN:\n                pass",
    ),
    Mutant(
        "a turn that failed is not undone",
        SCHEDULER,
        "            act.node._restore(undo)",
        "            undo.clear()",
    ),
    Mutant(
        "timers ring too early",
        SCHEDULER,
        "while self.timers and self.timers[0][0] <= now:",
        "while self.timers and self.timers[0][0] <= now + 10**9:",
    ),
    Mutant(
        "what is cancelled goes on",
        SCHEDULER,
        "                if act.closed or (self.mailboxes",
        "                if (self.mailboxes",
    ),
    Mutant(
        "what was told in a closed conversation vanishes",
        SCHEDULER,
        '                self.bury(act.message, "cancelled", act.node)',
        "                pass",
    ),
    Mutant(
        "a cancelled handler holds its node for ever",
        SCHEDULER,
        "                    self.release(one)\n                else:",
        "                    pass\n                else:",
    ),
    Mutant(
        "members beyond the sixteenth are forgotten",
        SCHEDULER,
        "                acts[-1].more = True",
        "                pass",
    ),
    Mutant(
        "a task that is over counts as busy",
        TASKS,
        "        self.set_level(IDLE)\n        if not self.act.closed:",
        "        if not self.act.closed:",
    ),
    Mutant(
        "a conversation has no deadline",
        CONVERSATION,
        "self._deadline is not None and self._deadline <= now",
        "False",
    ),
    Mutant(
        "who was restarted keeps its fields",
        SUPERVISOR,
        "            values.clear()",
        "            return",
    ),
    Mutant(
        "who goes on next is left to chance",
        QUEUE,
        "        self.ready.append(conversation)",
        "        import random\n\n"
        "        random.choice((self.ready.append, self.ready.appendleft))(conversation)",
    ),
]
