"""`Request`: a call of a model, during which its node is busy and lets nobody else in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llambdao.kernel.waits import Call

if TYPE_CHECKING:
    from llambdao.kernel.activation import Activation
    from llambdao.kernel.scheduler import Scheduler

__all__ = ["Request"]


class Request(Call):
    """A call like any other, but the node handles nothing else until it has its answer.

    So whoever is spoken to while he thinks hears it when he has said what he thought, and knows
    it then. `concurrency` says how many may be under way at a node.
    """

    def begin(self, scheduler: Scheduler, act: Activation) -> Any:
        value = Call.begin(self, scheduler, act)
        scheduler._hold(act)
        return value

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        self.let_go()
        Call.take(self, scheduler, branch, value)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        self.let_go()
        Call.fail(self, scheduler, branch, error)

    def drop(self, scheduler: Scheduler) -> None:
        self.let_go()
        Call.drop(self, scheduler)

    def let_go(self) -> None:
        """The node is free again at the end of the turn that comes now."""
        if self.act is not None:
            self.act.running = False
