"""The command line: `llambdao demo`, `run`, `chat` and the others that `--help` names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from io import TextIOWrapper
from typing import Any

from llambdao.cli._errors import Unusable, report
from llambdao.cli._journal import add_journal

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code.

    0 is fine, 1 an error in a network, 2 a command line that cannot be followed, 130 Ctrl-C.
    """
    given = None
    try:
        given = _parsed(parser(), argv)
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        return int(given.act(given))
    except Unusable as error:
        sys.stderr.write(f"llambdao: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read us has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - whatever a network raises is reported
        report(error, given)
        return 1


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, in which MESSAGE may stand after the options too.

    Before Python 3.13 argparse takes an optional argument only where it stands before them.
    """
    given, rest = parser.parse_known_args(argv)
    if len(rest) == 1 and getattr(given, "message", "") is None and not rest[0].startswith("-"):
        given.message = rest.pop()
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return given


def parser() -> argparse.ArgumentParser:
    """What can be written on the command line."""
    main = argparse.ArgumentParser(
        prog="llambdao",
        description="Agents, people and networks of both: everything is a node.",
        epilog="For a journal: inbox, log, trace, replay, fork, resume, stuck, dead, compact,"
        " audit; llambdao COMMAND --help says more. FILE is a Python file with a node in it:"
        " `network = GroupChatNode(...)`.",
    )
    main.add_argument("--version", action=Version, nargs=0, help="say the version and end")
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)
    file, models, common, turns = _shared()

    demo = commands.add_parser(
        "demo", help="sit at a table with three philosophers", parents=[models, turns, common],
        description="A round table of Rumi, Lao Tzu, Marcus Aurelius and you. Without a model they"
        " speak with an offline voice; nothing leaves this machine.",
    )  # fmt: skip
    demo.set_defaults(act=_sit_down)
    run = commands.add_parser(
        "run", help="tell the network in a file something, print what it replies",
        parents=[file, models, turns, common],
        description="Tell the network in FILE something and print its replies, as they come.",
    )  # fmt: skip
    run.add_argument("message", nargs="?", metavar="MESSAGE", help="unless given: the input")
    run.set_defaults(act=_tell)
    chat = commands.add_parser(
        "chat", help="sit down at the network in a file", parents=[file, models, turns, common],
        description="Talk with the network in FILE; a group chat keeps a seat for you."
        " /help shows what you can type. Lines from a pipe will do as well.",
    )  # fmt: skip
    chat.set_defaults(act=_talk)
    _add_explain(commands, [file, models, turns, common])
    _add_eval(commands, [file, models, common])
    graph = commands.add_parser(
        "graph", help="draw the network in a file", parents=[file],
        description="Draw the nodes in FILE and the links between them.",
    )  # fmt: skip
    graph.add_argument(
        "--format", choices=("text", "mermaid", "dot"), default="text", help="unless given: text"
    )
    _traceback(graph)
    graph.set_defaults(act=_draw)
    top = commands.add_parser(
        "top", help="look at a program that is running, live",
        description="Show the nodes, conversations and costs of a running program. It lets itself"
        " be seen if its environment has LLAMBDAO_TOP=1, or with Runtime(top=True).",
    )  # fmt: skip
    top.add_argument("pid", metavar="PID", nargs="?", help="which one; unless given: the only one")
    top.add_argument("--once", action="store_true", help="print one table and end")
    top.add_argument("--json", action="store_true", help="print all as lines of JSON")
    top.add_argument(
        "--every", metavar="SECONDS", type=_seconds, default=1.0, help="how often; unless given: 1"
    )
    _traceback(top)
    top.set_defaults(act=_look)
    add_journal(commands)
    return main


def _add_explain(commands: Any, shared: list[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain", help="tell the network in a file something, say why it said that",
        parents=shared,
        description="Tell the network in FILE something, and show why its last reply was said:"
        " what caused it, the exact request to the model, what was left out, what it cost.",
    )  # fmt: skip
    explain.add_argument("message", nargs="?", metavar="MESSAGE", help="unless given: the input")
    explain.add_argument(
        "--number", metavar="N", type=_number, default=0, help="not the last reply but this one"
    )
    explain.add_argument("--inner", action="store_true", help="count all that was said inside, too")
    explain.set_defaults(act=_say_why)


def _add_eval(commands: Any, shared: list[argparse.ArgumentParser]) -> None:
    rate = commands.add_parser(
        "eval", help="try the network in a file on a data set", parents=shared,
        description="Ask the network in FILE each case of a data set, made anew for each, and"
        " score what it says. Ends with 1 if the score is too low or not all could be tried.",
    )  # fmt: skip
    rate.add_argument(
        "--data", metavar="CASES", required=True,
        help=".jsonl, .json or .csv, with `input` and `expected`",
    )  # fmt: skip
    rate.add_argument(
        "--judge", metavar="NAME", action="append",
        help="exact, contains, or a node or function in FILE; unless given: its `judges`",
    )  # fmt: skip
    rate.add_argument("--min", metavar="SCORE", type=_share, default=0.0, help="from 0 to 1")
    rate.add_argument("--usd", metavar="N", type=_amount, help="spend no more than this")
    rate.add_argument(
        "--tokens", metavar="N", type=_number, default=5_000_000, help="unless given: 5,000,000"
    )
    rate.add_argument(
        "--concurrency", metavar="N", type=_number, default=4, help="cases at once; unless given: 4"
    )
    rate.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="for each case")
    rate.add_argument("--out", metavar="RESULTS", help="write the results there, as JSON")
    rate.set_defaults(act=_rate)


def _shared() -> list[argparse.ArgumentParser]:
    """The arguments that several commands have."""
    file, models, common, turns = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    file.add_argument(
        "file", metavar="FILE", help="Python; its node is called network, node, table or room"
    )
    models.add_argument(
        "--model", metavar="NAME", help="offline, ollama:NAME or openai:NAME;"
        " unless given: what the environment offers"
    )  # fmt: skip
    models.add_argument("--base-url", metavar="URL", help="the server that has the model")
    turns.add_argument("--turns", metavar="N", type=_number, help="end after so many utterances")
    common.add_argument("--json", action="store_true", help="print messages as lines of JSON")
    _traceback(common)
    return [file, models, common, turns]


def _traceback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--traceback", action="store_true", help="show all of an error")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"a number from 0 to 1, not {text!r}")
    return share


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise argparse.ArgumentTypeError(f"an amount of dollars, not {text!r}")
    return amount


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0.1 to 3600, not {text!r}")
    return seconds


class Version(argparse.Action):
    """Says the version, which nobody else needs to look up."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from llambdao import __version__

        print(f"llambdao {__version__}")
        parser.exit()


# -- the commands: each imports what it needs ------------------------------------------------------
# None is called as a module beside this file is: importing that puts it in the function's place.


def _sit_down(given: Any) -> int:
    from llambdao.cli._demo import demo

    return demo(given)


def _talk(given: Any) -> int:
    from llambdao.cli._load import load, voice
    from llambdao.cli._session import Session
    from llambdao.console import screen

    where = screen(json=given.json)
    network = voice(load(given.file), given.model, given.base_url)
    return Session(network, where, given.turns).sit()


def _tell(given: Any) -> int:
    from llambdao.cli._load import load, voice
    from llambdao.cli._run import run

    if given.message is None and sys.stdin.isatty():
        raise Unusable(f"tell it what? llambdao run {given.file} 'MESSAGE', or from a pipe")
    return run(voice(load(given.file), given.model, given.base_url), given)


def _draw(given: Any) -> int:
    from llambdao.cli._load import load
    from llambdao.kernel.graph import to_graphviz, to_mermaid, to_text

    draw = {"text": to_text, "mermaid": to_mermaid, "dot": to_graphviz}[given.format]
    print(draw(load(given.file)))
    return 0


def _look(given: Any) -> int:
    from llambdao.cli._top import top

    return top(given)


def _say_why(given: Any) -> int:
    from llambdao.cli._explain import why
    from llambdao.cli._load import load, voice

    if given.message is None and sys.stdin.isatty():
        raise Unusable(f"tell it what? llambdao explain {given.file} 'MESSAGE', or from a pipe")
    return why(voice(load(given.file), given.model, given.base_url), given)


def _rate(given: Any) -> int:
    from llambdao.cli._evals import rate

    return rate(given)
