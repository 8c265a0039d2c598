"""Finding the node in a Python file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from llambdao.cli._errors import Unusable
from llambdao.kernel.graph import reachable
from llambdao.kernel.node import Node

__all__ = ["find", "load", "names_in", "roots", "voice"]

NAMES = ("network", "node", "table", "room")
"""What the node in a file may be called; the first of these that is there is taken."""


def load(file: str) -> Node:
    """The node that a Python file defines: under one of `NAMES`, or the only one."""
    return find(names_in(file), file)


def names_in(file: str) -> dict[str, Any]:
    """What a Python file defines; run once more, it defines all of it anew."""
    return vars(_module(file))


def find(names: dict[str, Any], file: str) -> Node:
    """The node among the variables of a file."""
    for name in NAMES:
        if isinstance(names.get(name), Node):
            return names[name]  # type: ignore[no-any-return]
    nodes = {name: value for name, value in names.items() if isinstance(value, Node)}
    found = {node.id: node for node in nodes.values()}
    parts = {p.id for node in found.values() for p in reachable(node, edges=False)[1:]}
    whole = [node for node in found.values() if node.id not in parts]
    if len(whole) == 1:
        return whole[0]
    if not nodes:
        raise Unusable(_nothing(names, file))
    several = ", ".join(name for name, node in nodes.items() if node in whole or not whole)
    raise Unusable(f"{file} has several nodes: {several}; which one? Call it `network`")


def roots(names: dict[str, Any], file: str) -> list[Node]:
    """All nodes among the variables of a file that are not parts of others."""
    nodes = {id(node): node for node in names.values() if isinstance(node, Node)}
    parts = {id(p) for node in nodes.values() for p in reachable(node, edges=False)[1:]}
    whole = [node for number, node in nodes.items() if number not in parts]
    if not nodes:
        raise Unusable(_nothing(names, file))
    return whole or [find(names, file)]


def _nothing(names: dict[str, Any], file: str) -> str:
    """Why there is no node in this file."""
    own = [
        name
        for name, value in names.items()
        if isinstance(value, type)
        and issubclass(value, Node)
        and value.__module__ == names.get("__name__")
    ]
    hint = f"network = {own[-1]}()" if own else "network = GroupChatNode(...)"
    return f"{file} has no node at its top level; it needs one there, such as: {hint}"


def _module(file: str) -> ModuleType:
    """The file, run as a module; nothing is written beside it."""
    path = Path(file)
    if path.is_dir():
        raise Unusable(f"{file} is a folder; which file in it?")
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise Unusable(f"there is no file {file}") from None
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror}") from None
    known = sys.modules.get(path.stem)
    ours = known is None or getattr(known, "__file__", None) == str(path)
    name = path.stem if ours else f"_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    code = compile(source, file, "exec")
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's file is what we are for
    except SystemExit as error:
        raise Unusable(f"{file} ended by itself while it was read: exit({error.code})") from error
    return module


def voice(network: Node, model: str | None, base_url: str | None) -> Node:
    """The network, with this model for all its nodes that have one."""
    if model is not None or base_url is not None:
        from llambdao.openai import model_from

        speaks = model_from(model, base_url)
        for node in reachable(network):
            if "model" in type(node).model_fields:
                node.model = speaks
    return network
