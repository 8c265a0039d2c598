"""An endless conversation begins anew under its id, and its steps are forgotten."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from llambdao.journal.conversation import Recorded
from llambdao.journal.ledger import Stand
from llambdao.journal.scheduler import RecordedScheduler
from llambdao.kernel.events import Limits

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["begin_anew", "prepare_again"]


def begin_anew(journal: Journal, c: Recorded) -> None:
    """It has ended, to go on with another message: in the commit that ends it, it begins."""
    before, scheduler, message = c._opening, c._scheduler, c._anew
    encode = journal.codec.encode
    message = message.but(id=before.id)
    journal._last_key += 1
    c._opening = replace(
        before,
        key=journal._last_key,
        salt=journal.runtime.clock.salt(),
        at=c._at,
        message=encode(message, "the message"),
        options={**before.options, "calls": c._n_calls},
    )
    for word, values in (scheduler.kept or {}).items():
        news = (["news", word, msgspec.Raw(encode(one, "the news"))] for one in values)
        c._inputs = (*c._inputs, *news)
    c._anew, c._replies, c._number, c._ahead, c._message = None, None, 0, 0, message
    c._due = None
    journal.live[c._opening.key] = journal.live.pop(before.key)
    c._scheduler = prepare_again(journal, c)
    c._scheduler.observers = scheduler.observers
    c._scheduler.open(c._node, message, c._hearer)
    journal.batch.opened.append(c._opening)
    journal.batch.stands.append(Stand(c._opening.key, "ready"))


def prepare_again(journal: Journal, c: Recorded) -> RecordedScheduler:
    """The scheduler of a conversation that is opened as it was, or as it goes on."""
    opening, runtime = c._opening, journal.runtime
    scheduler = c.prepare(
        opening.salt,
        count(1).__next__,
        limits=Limits(**opening.options.get("limits", {})),
        answerer=runtime.answer_with,
        budget=runtime.budget,
        purse=runtime._purse,
        sleep=runtime.clock.sleep,
    )
    c._n_calls = opening.options.get("calls", 0)
    return scheduler
