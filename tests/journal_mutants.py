"""Deliberate bugs of the journal: texts of its sources, and how they would be wrong otherwise."""

from dataclasses import dataclass

CONVERSATION, REPLAYING, STATES, SCHEDULER, JOURNAL, WRITING, EFFECTS, SUSPECTS, DOUBTS, ANEW = (
    f"journal/{name}.py"
    for name in (
        "conversation", "replaying", "states", "scheduler", "journal", "writing", "effects",
        "suspects", "doubts", "anew",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A bug: what reads otherwise, and where."""

    name: str
    file: str
    text: str
    otherwise: str


MUTANTS = [
    Mutant(
        "replies are shown before they are written",
        JOURNAL,
        "        self.after.append(partial(self._show, conversation, status, said, begun))",
        "        self._show(conversation, status, said, begun)",
    ),
    Mutant(
        "calls are done before they are written",
        WRITING,
        "            batch.effects.append(Effect(key, number, name, digest, in_doubt_of(wait), c._at))",  # noqa: E501
        "            c._start_call(number, wait)",
    ),
    Mutant(
        "the state of a node is not written",
        JOURNAL,
        "                    if after != before:\n                        self.batch",
        "                    if False:\n                        self.batch",
    ),
    Mutant(
        "what came in is not written",
        WRITING,
        "msgspec.json.encode(inputs), saw,",
        "msgspec.json.encode([]), saw,",
    ),
    Mutant(
        "a step has the time of its replay",
        REPLAYING,
        "c.take_step(step.at, read_inputs(step.inputs))",
        "c.take_step(c._runtime.clock.now(), read_inputs(step.inputs))",
    ),
    Mutant(
        "replayed nodes stay as they were then",
        REPLAYING,
        "        self.journal.replaying = None\n        self.back()",
        "        self.journal.replaying = None",
    ),
    Mutant(
        "replayed nodes are as they are now",
        REPLAYING,
        '        states.restore(node, self._saw.get(address, ""))',
        "        pass",
    ),
    Mutant(
        "a known message is accepted again",
        JOURNAL,
        "        if message._id is None or message.ink is not None:\n            return None",
        "        return None",
    ),
    Mutant(
        "other words under a known id are the same message",
        JOURNAL,
        "        if opening.digest and opening.digest != digest:",
        "        if False:",
    ),
    Mutant(
        "the key of an effect is another one each time",
        CONVERSATION,
        '        return f"{whose}/{number}"',
        '        return f"{whose}/{number}/{self._runtime.clock.salt()}"',
    ),
    Mutant(
        "what was done is not crossed off",
        WRITING,
        'if one[0] in ("done", "broke")]',
        'if one[0] == "nothing"]',
    ),
    Mutant(
        "what is in doubt is done again, whatever its policy",
        DOUBTS,
        'effect.policy == "raise"',
        'effect.policy == "never"',
    ),
    Mutant(
        "what is in doubt is never done",
        DOUBTS,
        "            c._start_call(number, wait)\n\n",
        "            pass\n\n",
    ),
    Mutant(
        "timers are forgotten",
        WRITING,
        "Stand(key, stand, due, expects, c._attempts)",
        "Stand(key, stand, None, expects, c._attempts)",
    ),
    Mutant(
        "who waits for news is forgotten",
        WRITING,
        "Stand(key, stand, due, expects, c._attempts)",
        "Stand(key, stand, due, (), c._attempts)",
    ),
    Mutant(
        "who can go on is not written",
        WRITING,
        'stand: Any = "ready" if can_go_on else "waits"',
        'stand: Any = "waits"',
    ),
    Mutant(
        "what is said otherwise at replay goes unnoticed",
        REPLAYING,
        'if (status == "over") != ends or step.prints not in said:',
        'if (status == "over") != ends:',
    ),
    Mutant(
        "who ends otherwise at replay goes unnoticed",
        REPLAYING,
        'if (status == "over") != ends or step.prints not in said:',
        "if step.prints not in said:",
    ),
    Mutant(
        "an ending is not written",
        WRITING,
        '        if status == "over":\n            self.ending(c)\n            return step',
        '        if status == "over":\n            return step',
    ),
    Mutant(
        "a failed turn is undone but for what is in lists",
        SCHEDULER,
        "        self.host.undo_turn(act.node)\n",
        "",
    ),
    Mutant(
        "nobody counts with whom the process has died",
        SUSPECTS,
        "replace(found.stand, attempts=attempts + 1)",
        "replace(found.stand, attempts=attempts)",
    ),
    Mutant(
        "all suspects are tried at once",
        SUSPECTS,
        "            if self._is_at_work(conversation):\n                self._trial",
        "            if False:\n                self._trial",
    ),
    Mutant(
        "who waits for room in a mailbox waits for ever",
        SCHEDULER,
        "            if has_begun or self.shared.arrive(scheduler, act) is None:\n                grant()",  # noqa: E501
        "            if self.shared.arrive(scheduler, act) is None:\n                pass",
    ),
    Mutant(
        "what was parked is forgotten",
        SCHEDULER,
        '            host.note("put", self.count, "parked")',
        "            pass",
    ),
    Mutant(
        "a failed commit is a success",
        JOURNAL,
        "                    self._fails(error)\n                    return",
        "                    pass",
    ),
    Mutant(
        "after a failed commit nodes stay as they are",
        JOURNAL,
        "            self.states.again(self.ledger.states())\n",
        "",
    ),
    Mutant(
        "a change from outside goes unnoticed",
        JOURNAL,
        "        if field is not None:\n            self.batch.states[address] = self.states.take(node)",  # noqa: E501
        "        if False:\n            self.batch.states[address] = self.states.take(node)",
    ),
    Mutant(
        "edges are not put back",
        STATES,
        '            object.__setattr__(node, "_edges", edges)\n        elif',
        "            pass\n        elif",
    ),
    Mutant(
        "who begins anew counts its effects from one",
        ANEW,
        'opening.options.get("calls", 0)',
        "0",
    ),
    Mutant(
        "patched is told another time at replay",
        CONVERSATION,
        "                self._patched[change] = bool(noted)",
        "                self._patched[change] = True",
    ),
    Mutant(
        "what was told is acknowledged before it is written",
        JOURNAL,
        "        await self.recorded(conversation)\n        return conversation",
        "        return conversation",
    ),
]
