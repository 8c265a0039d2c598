"""Many conversations at once, for programs that live: mailboxes, supervisors, budgets, clocks."""

from llambdao.kernel.errors import BudgetReached, MailboxFull, Restarted, Stopped
from llambdao.kernel.mailbox import Mailbox
from llambdao.runtime.blocking import blocking
from llambdao.runtime.budget import Budget, reserve
from llambdao.runtime.conversation import Conversation
from llambdao.runtime.dead import DeadLetters
from llambdao.runtime.observe import JsonFormatter, Logs, Metrics, Observer
from llambdao.runtime.passivation import Passivation
from llambdao.runtime.runtime import Runtime
from llambdao.runtime.schedule import Schedule, every
from llambdao.runtime.script import Script
from llambdao.runtime.supervisor import Supervisor

__all__ = [
    "Budget",
    "BudgetReached",
    "Conversation",
    "DeadLetters",
    "JsonFormatter",
    "Logs",
    "Mailbox",
    "MailboxFull",
    "Metrics",
    "Observer",
    "Passivation",
    "Restarted",
    "Runtime",
    "Schedule",
    "Script",
    "Stopped",
    "Supervisor",
    "blocking",
    "every",
    "reserve",
]
