"""`import llambdao` gives few names, explains each, and loads no more than they need."""

import inspect
import subprocess
import sys
import types

import pytest

import llambdao


def test_all_is_exactly_the_public_names():
    """What is public is in `__all__`, and what is in `__all__` is there."""
    public = {
        name
        for name, value in vars(llambdao).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public <= set(llambdao.__all__)
    assert [name for name in llambdao.__all__ if not hasattr(llambdao, name)] == []


def test_the_public_names_are_sorted_and_few():
    """A newcomer can read the list: sorted, and no more than 45."""
    assert list(llambdao.__all__) == sorted(set(llambdao.__all__))
    assert len(llambdao.__all__) <= 45


@pytest.mark.parametrize("name", llambdao.__all__)
def test_a_public_name_has_a_docstring_of_its_own(name):
    """Not one that it inherits."""
    value = getattr(llambdao, name)
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert inspect.cleandoc(doc or "")


def public_methods():
    """Lists the methods and properties that the exported classes define."""
    for name in llambdao.__all__:
        value = getattr(llambdao, name)
        for member, inside in vars(value).items() if inspect.isclass(value) else ():
            plain = inside.__func__ if isinstance(inside, classmethod | staticmethod) else inside
            if not member.startswith("_") and isinstance(plain, types.FunctionType | property):
                yield f"{name}.{member}", getattr(value, member)


def test_public_methods_are_explained():
    """In the class itself or, if they override, where they began."""
    methods = dict(public_methods())
    assert methods
    assert [name for name, method in methods.items() if not inspect.getdoc(method)] == []


def test_importing_loads_no_adapter_and_no_event_loop():
    """Who only wants messages does not pay for terminals, models, graphs or asyncio."""
    heavy = {"asyncio", "networkx", "openai", "prompt_toolkit", "rich", "sqlite3", "ssl"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys, llambdao; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "llambdao" in loaded
    assert loaded & heavy == set()
