"""Writes docs/reference/: one page for each module that users import, out of its docstrings."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import llambdao

FOLDER = Path(__file__).parent / "reference"
INSIDE = {"__main__", "cli", "kernel", "networks", "protocols"}  # reached through `llambdao` itself


def modules() -> list[ModuleType]:
    """Lists the modules that users import, the package first."""
    names = [found.name for found in pkgutil.iter_modules(llambdao.__path__)]
    names = ["llambdao", *(f"llambdao.{name}" for name in names if name not in INSIDE)]
    return [importlib.import_module(name) for name in names]


def public(module: ModuleType) -> dict[str, object]:
    """Finds what a module offers: its `__all__`, or else what it defines without underscore."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    return {name: getattr(module, name) for name in names}


def text(docstring: str | None) -> str:
    """Turns a docstring into Markdown: its `>>>` examples become fenced blocks."""
    example = re.compile(r"^[ ]*>>>(?:.+\n?)+", re.MULTILINE)
    plain = inspect.cleandoc(docstring or "")
    return example.sub(lambda found: f"```pycon\n{inspect.cleandoc(found[0])}\n```\n", plain)


class Bare(str):
    """An annotation as it is written in the source, without quotes around it."""

    __slots__ = ()
    __repr__ = str.__str__


def bare(annotation: object) -> object:
    """Shows an annotation by the last part of each name in it."""
    if annotation is inspect.Signature.empty:
        return annotation
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return Bare(re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", written))


def signature(name: str, value: Any) -> str:
    """Shows how a thing is called; nothing if it is not."""
    try:
        called = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    given = [one.replace(annotation=bare(one.annotation)) for one in called.parameters.values()]
    called = called.replace(parameters=given, return_annotation=bare(called.return_annotation))
    shown = re.sub(r"<[^<>]* object at 0x\w+>", "...", f"{name}{called}")
    return f"```python\n{shown}\n```\n\n"


def entry(name: str, value: Any, level: int) -> str:
    """Describes one thing, and under a class those of its own members that have a docstring."""
    shown = f"{'#' * level} `{name}` {{#{name}}}\n\n"
    if inspect.isclass(value) or callable(value):
        shown += signature(name.rpartition(".")[2], value)
    shown += f"{text(value.__doc__)}\n\n"
    if inspect.isclass(value):
        for member, inside in vars(value).items():
            plain = inside.__func__ if isinstance(inside, (classmethod, staticmethod)) else inside
            described = inspect.isroutine(plain) or isinstance(plain, property)
            if not member.startswith("_") and described and plain.__doc__:
                shown += entry(f"{name}.{member}", plain, level + 1)
    return shown


def main() -> None:
    """Writes every page anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for module in modules():
        page = f"# `{module.__name__}`\n\n{text(module.__doc__)}\n\n"
        page += "".join(entry(name, value, 2) for name, value in public(module).items())
        (FOLDER / f"{module.__name__}.md").write_text(page.rstrip() + "\n", "utf-8")
        print(f"docs/reference/{module.__name__}.md")


if __name__ == "__main__":
    main()
