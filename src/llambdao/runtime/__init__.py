"""Many conversations at once, for programs that live: mailboxes, supervisors, budgets, clocks."""

from llambdao.kernel.mailbox import Mailbox
from llambdao.runtime.conversation import Conversation
from llambdao.runtime.dead import DeadLetters
from llambdao.runtime.runtime import Runtime
from llambdao.runtime.supervisor import Supervisor

__all__ = ["Conversation", "DeadLetters", "Mailbox", "Runtime", "Supervisor"]
