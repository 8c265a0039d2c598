"""What can be written on the command line about a journal."""

from __future__ import annotations

import argparse
import sys
from typing import Any

__all__ = ["add_journal"]


def add_journal(commands: Any) -> None:
    """The commands for a journal; `llambdao --help` names them on one line."""
    door, shared = _shared()

    inbox = _add(
        commands, "inbox", [door, shared], "Who is asked what, and has not answered. `inbox answer`"
        " answers: once, and only by the one who was asked. ID may be any part that only one has;"
        " at a terminal what is missing is asked for.",
        "llambdao inbox [answer [ID [WORDS ...]]] [--by NAME] [options]",
    )  # fmt: skip
    inbox.add_argument("what", nargs="*", metavar="answer ID WORDS", help="answer a question")
    inbox.add_argument("--by", metavar="NAME", help="who answers, or whose questions are shown")

    log = _add(commands, "log", [shared], "What was said, line by line.")
    log.add_argument("id", nargs="?", metavar="ID", help="only in this conversation")
    log.add_argument("--last", metavar="N", type=_number, help="only the last so many steps")
    log.add_argument("--follow", action="store_true", help="go on with what is said from now on")

    trace = _add(
        commands, "trace", [shared], "What a message came from, and all that came of it, as a tree."
    )
    trace.add_argument("id", metavar="ID", help="of a message")

    replay = _add(
        commands, "replay", [shared], "Take all steps of an open conversation again, with the"
        " program in FILE as it is now: the steps, or what is different. Nothing is done outside.",
    )  # fmt: skip
    replay.add_argument("id", metavar="ID", help="of a conversation")
    fork = _add(
        commands, "fork", [shared], "What if something else had been said? A conversation of"
        " the program in FILE goes on from there, in memory. Calls come to what they came to then.",
    )  # fmt: skip
    fork.add_argument("id", metavar="ID", help="of a conversation")
    fork.add_argument("--say", metavar="WORDS", required=True, help="what is said instead")
    fork.add_argument(
        "--at", metavar="MESSAGE", help="the id of the message; unless given: the first one"
    )
    fork.add_argument("--effects", action="store_true", help="do its calls, whatever they do")

    resume = _add(
        commands, "resume", [shared], "Run the program in FILE on its journal: everybody who"
        " can go on does, until all wait for people, timers or messages.",
    )  # fmt: skip
    for one in (replay, fork, resume):
        one.add_argument("file", metavar="FILE", help="Python, with the nodes of the program in it")
    resume.add_argument("--forever", action="store_true", help="until Ctrl-C or SIGTERM")

    stuck = _add(
        commands, "stuck", [door, shared], "The conversations that cannot go on, because the"
        " program does something else now than it did, or has died with them. retry: with the"
        " program as it is now; restart: from their first message, so that calls are done again;"
        " cancel: end them. ID may be `all`.",
        "llambdao stuck [(retry | restart | cancel) ID] [options]",
    )  # fmt: skip
    stuck.add_argument("what", nargs="*", metavar="retry ID", help="or restart, or cancel")

    dead = _add(
        commands, "dead", [door, shared], "The messages that nobody could or would handle;"
        " `dead again` sends one of them again, by its number, or `all`.",
        "llambdao dead [again NUMBER] [options]",
    )  # fmt: skip
    dead.add_argument("what", nargs="*", metavar="again NUMBER", help="send one again")

    compact = _add(
        commands, "compact", [door, shared], "Forget what nobody needs: what nodes knew once;"
        " with --before also history, answers, dead letters and ended conversations.",
    )  # fmt: skip
    compact.add_argument(
        "--before", metavar="DAYS", type=_days, help="forget what is older than so many days"
    )
    compact.add_argument(
        "--seen", metavar="DAYS", type=_days, help="take an older message that comes again as new"
    )
    _add(commands, "audit", [shared], "Is history as it was written? Ends with 1 if it is not.")


def _add(
    commands: Any, name: str, parents: list[Any], description: str, usage: str | None = None
) -> Any:
    parser = commands.add_parser(name, parents=parents, description=description, usage=usage)
    parser.set_defaults(act=_act, command=name)
    return parser


def _shared() -> tuple[argparse.ArgumentParser, ...]:
    door, shared = (argparse.ArgumentParser(add_help=False) for _ in range(2))
    door.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, help="for the program to take it in"
    )
    shared.add_argument(
        "--journal", metavar="URL", help="unless given: $LLAMBDAO_JOURNAL, or the only journal in"
        " this folder",
    )  # fmt: skip
    shared.add_argument("--json", action="store_true", help="print lines of JSON")
    shared.add_argument("--traceback", action="store_true", help="show all of an error")
    return door, shared


def _act(given: Any) -> int:
    from llambdao.cli import _forks, _rooms
    from llambdao.kernel.errors import LlambdaoError

    act = getattr(_rooms, given.command, None) or getattr(_forks, given.command)
    try:
        return int(act(given))
    except LlambdaoError as error:
        if given.traceback:
            raise
        sys.stderr.write(f"llambdao: {error}\n")
        return 1


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text!r}")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= 36500:
        raise argparse.ArgumentTypeError(f"a number of days, not {text!r}")
    return days


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"a number of seconds up to 86400, not {text!r}")
    return seconds
