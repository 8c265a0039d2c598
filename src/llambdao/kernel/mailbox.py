"""Mailboxes: the turns that wait for a node while a task of its own is under way there."""

from __future__ import annotations

from typing import Any

__all__ = ["Mailboxes"]


class Mailboxes:
    """A node handles its messages one at a time: what comes while it is held waits here.

    A mailbox holds turns, starts and resumptions alike; resumptions (answers, timers) go first.
    Only a task that awaits something foreign holds its node beyond its turn; `concurrency` says
    how many may. No node that nobody holds has a mailbox.
    """

    __slots__ = ("holders", "turns")

    def __init__(self) -> None:
        self.holders: dict[int, int] = {}
        self.turns: dict[int, list[Any]] = {}

    def hold(self, act: Any) -> None:
        """This activation holds its node from now on."""
        if not act.busy and type(act.node).concurrency is not None:
            act.busy = True
            self.holders[id(act.node)] = self.holders.get(id(act.node), 0) + 1

    def put(self, act: Any) -> bool:
        """Put a turn into the mailbox, if others hold the node; False if it may go on at once."""
        most = type(act.node).concurrency
        if act.busy or most is None or self.holders.get(id(act.node), 0) < most:
            return False
        turns = self.turns.setdefault(id(act.node), [])
        resumptions = sum(turn.talk is not None for turn in turns)
        turns.insert(len(turns) if act.talk is None else resumptions, act)
        return True

    def release(self, act: Any) -> Any:
        """This activation lets others in; the turn that comes next, if one waits."""
        act.busy = False
        key = id(act.node)
        self.holders[key] -= 1
        if not self.holders[key]:
            del self.holders[key]
        if (turns := self.turns.get(key)) is None:
            return None
        turn = turns.pop(0)
        if not turns:
            del self.turns[key]
        return turn
