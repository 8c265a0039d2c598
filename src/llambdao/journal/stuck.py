"""What becomes of the conversations that cannot go on, and of letters that nobody took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.errors import Differs, NoSuchMessage
from llambdao.journal.handles import message_of
from llambdao.journal.ledger import Answer, Ending, Found, Knock, Stand
from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.errors import Misused, Unreachable
from llambdao.kernel.events import Limits, Reason

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["STUCK", "again", "cancel", "restart", "retry"]

STUCK = ("stuck", "parked")


def retry(journal: Journal, number: str) -> Any:
    """Try again to go on, with the program as it is now; `Differs` if that still does not fit."""
    found = _stuck(journal, number)
    key = found.opening.key
    journal.batch.stands.append(Stand(key, "ready"))
    journal.commit()
    conversation = journal.rouse(key)
    if conversation is None:
        now = journal.ledger.conversation(key)
        raise Differs(f"it is stuck again: {now.stand.why if now else 'it is gone'}")
    return conversation


def restart(journal: Journal, number: str) -> Any:
    """Begin it again with its first message; what it has done outside may be done once more."""
    found = _stuck(journal, number)
    opening, runtime = found.opening, journal.runtime
    node = _node(journal, opening.node)
    message = journal.codec.decode(opening.message).but(id=opening.id)
    limits = opening.options.get("limits")
    options = {"limits": Limits(**limits)} if limits else {}
    hearer = None if opening.way == "tell" else OUTSIDE
    conversation = runtime._conversation(node, message, options, hearer)
    runtime._open(conversation)
    ending = ("endings", _ending(journal, found, "begun again"))
    conversation._errands = (ending, *_withdrawn(journal, found))
    return conversation


def cancel(journal: Journal, found: Found, detail: str) -> None:
    """End it, whether it could go on or not."""
    is_stuck = found.stand.status in STUCK
    if not is_stuck and (conversation := journal.rouse(found.opening.key)) is not None:
        conversation.end(Reason.CANCELLED, detail)
        return
    batch = journal.batch
    batch.endings.append(_ending(journal, found, detail))
    batch.answers += [answer for _, answer in _withdrawn(journal, found)]
    journal.commit()


def again(journal: Journal, seq: int) -> Any:
    """Send a dead letter again, as a new message to the same node."""
    letters = journal.ledger.letters(after=seq - 1, most=1)
    if not letters or letters[0].seq != seq:
        raise NoSuchMessage(f"there is no dead letter {seq}; llambdao dead lists them")
    [letter] = letters
    data = msgspec.json.decode(letter.message)
    kind = letter.reason.removesuffix(" refused")
    if letter.reason.endswith(" refused"):
        conversation = journal.door.take_in(Knock(0, kind, data, letter.at))
    elif "content" not in data or "$" in data:
        raise Misused(f"the letter {seq} is a conversation that is parked: llambdao stuck retry")
    else:
        node = _node(journal, letter.node)
        message = message_of({**data, "id": None}, letter.at, journal).but(timestamp=None)
        conversation = journal.runtime._conversation(node, message, None, None)
        journal.runtime._open(conversation)
    if conversation is None:
        journal.batch.buried.append(seq)
    else:
        conversation._errands = (*conversation._errands, ("buried", seq))
    return conversation


def _stuck(journal: Journal, number: str) -> Found:
    found: list[Found] = [one for one in journal.ledger.find(number) if one.ending is None]
    if not found:
        raise NoSuchMessage(
            f"there is no open conversation {number!r:.80}; llambdao stuck lists the stuck ones"
        )
    if found[-1].stand.status not in STUCK:
        raise Misused(f"{number} is not stuck, it {found[-1].stand.status}")
    return found[-1]


def _node(journal: Journal, address: str) -> Any:
    node = journal.addresses.node(journal.renamed.get(address, address))
    if node is None:
        raise Unreachable(f"there is no node {address!r:.80} in this program")
    return node


def _ending(journal: Journal, found: Found, detail: str) -> Ending:
    now = journal.runtime.clock.now()
    return Ending(found.opening.key, now, str(Reason.CANCELLED), detail)


def _withdrawn(journal: Journal, found: Found) -> list[tuple[str, Answer]]:
    now, key = journal.runtime.clock.now(), found.opening.key
    return [
        ("answers", Answer(one.id, "withdrawn", "", now))
        for one in journal.ledger.questions()
        if one.key == key
    ]
