"""A PostgreSQL for the time of a run: that of the tests, which here waits for its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from benchmarks.environments import PROJECT


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server of our own; `LookupError` if there are no programs for one."""
    spec: Any = spec_from_file_location("conftest", PROJECT / "tests/journal/conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.Server(fsync="on")
    try:
        yield server.url
    finally:
        server.remove()
