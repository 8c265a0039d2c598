"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import llambdao

RUN = """
import doctest, importlib, sys, types

runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
name = sys.argv[1]
for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
    main = sys.modules["__main__"] = types.ModuleType("__main__")  # as if a user typed it
    test.globs.pop("annotations", None)  # whose program has no `from __future__`
    vars(main).update(test.globs, __name__="__main__")
    test.globs = vars(main)
    runner.run(test, clear_globs=False)
sys.exit(runner.failures != 0)
"""


def modules_with_examples():
    """Lists the modules of the package that show something."""
    names = [module.name for module in pkgutil.walk_packages(llambdao.__path__, "llambdao.")]
    for name in ["llambdao", *names]:
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            if any(test.examples for test in doctest.DocTestFinder().find(module, name)):
                yield name


MODULES = list(modules_with_examples())


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, tmp_path):
    """Each `>>>` in a docstring gives what stands below it, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, name],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_examples_at_all():
    """Were the finder blind, nothing above would run."""
    assert MODULES
