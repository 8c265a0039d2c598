"""Runs what a Markdown page shows, and complains where the page is wrong: python pages.py PAGE.

    ```python     is run, in the order of the page, all blocks of a page in one namespace. What
                  it prints must stand, exactly, in the ```text block right after it. A block
                  that begins with `>>>` is a session as in a docstring.
    ```console    each `$ llambdao ...` is run; the lines below it, if any, are its exact output.
    <!-- no-run: reason -->    right before a block: it is not run.

The languages in `SHOWN` are only shown. Any other is an error, so that no code hides.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

SHOWN = {"text", "html", "http", "ini", "json", "make", "mermaid", "sql", "toml", "xml", "yaml"}
NO_RUN = re.compile(r"<!--\s*no-run:\s*(?P<reason>\S.*?)\s*-->")


class PageError(AssertionError):
    """A page shows what is not so."""


@dataclass
class Block:
    """A fenced block: language, text, the line it starts at, and the text block after it."""

    language: str
    text: str
    line: int
    skipped: bool
    output: str | None = None


def blocks(page: str) -> list[Block]:
    """Lists the fenced blocks of a page in order."""
    found: list[Block] = []
    before = None
    skip = False
    for token in MarkdownIt("commonmark").parse(page):
        if token.type == "fence":
            language = token.info.split()[0] if token.info.strip() else ""
            if language == "text" and before is not None and before.language == "python":
                before.output = token.content
            found.append(Block(language, token.content, token.map[0] + 2, skip))
            before, skip = found[-1], False
        elif token.type == "code_block":
            raise PageError(f"line {token.map[0] + 1}: indented code is never run: use a fence")
        elif token.type == "html_block" and "no-run" in token.content:
            if not (NO_RUN.fullmatch(token.content.strip())):
                raise PageError(f"line {token.map[0] + 1}: write <!-- no-run: reason -->")
            before, skip = None, True
        elif token.level == 0:
            before, skip = None, False
    return found


def run_page(path: Path) -> None:
    """Runs a page in the present directory, its Python as the main module."""
    sys.modules["__main__"] = types.ModuleType("__main__")
    namespace = vars(sys.modules["__main__"])
    for block in blocks(path.read_text("utf-8")):
        where = f"{path.name}:{block.line}"
        if block.skipped:
            continue
        if block.language == "python":
            run_python(block, namespace, path, where)
        elif block.language == "console":
            run_console(block, where)
        elif block.language not in SHOWN:
            raise PageError(f"{where}: nobody runs {block.language!r}; see tests/pages.py")


def run_python(block: Block, namespace: dict[str, object], path: Path, where: str) -> None:
    """Runs one block and compares what it printed."""
    if block.text.startswith(">>>"):
        parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
        session = parser.get_doctest(block.text, namespace, path.name, str(path), block.line)
        said = io.StringIO()
        if runner.run(session, out=said.write, clear_globs=False).failed:
            raise PageError(f"{where}: {said.getvalue()}")
        namespace.update(session.globs)
        return
    code = compile("\n" * (block.line - 1) + block.text, str(path), "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    compare(where, block.output or "", printed.getvalue())


def run_console(block: Block, where: str) -> None:
    """Runs each command of a terminal session and compares the output that is shown."""
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb"}
    for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        if shlex.split(command)[0] != "llambdao":
            raise PageError(f"{where}: only `$ llambdao ...` is run, not {command!r}")
        done = subprocess.run(
            command,
            shell=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise PageError(f"{where}: {command!r} ended with {done.returncode}\n{done.stdout}")
        if shown.strip():
            compare(f"{where}: {command}", shown, done.stdout)


def compare(where: str, shown: str, printed: str) -> None:
    """Both texts must be equal but for blank space at their ends."""
    if shown.strip() != printed.strip():
        raise PageError(f"{where}: the page shows\n{shown}\nbut what came is\n{printed}")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
