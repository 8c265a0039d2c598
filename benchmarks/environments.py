"""A virtual environment for each system, made on first use under `.bench/`."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
HOME = PROJECT / ".bench"

PEERS = {
    "pykka": "pykka==4.5.0",
    "thespian": "thespian==4.0.1",
    "llegos": "llegos==0.1.0",
    "autogen_core": "autogen-core==0.7.5",
    "langgraph": "langgraph==1.2.22",
    "langgraph_saver": "langgraph==1.2.22 langgraph-checkpoint-sqlite==3.1.2"
    " langgraph-checkpoint-postgres==3.2.0 psycopg[binary]==3.3.9",
    "dbos": "dbos==3.4.0 psycopg[binary]==3.3.9",
}
AGENTS = ("llegos", "autogen_core", "langgraph")  # those of them that are agent frameworks
AWAITED = ("pykka", "autogen_core")  # those that programs on an event loop can await
LASTING = ("langgraph_saver", "dbos")  # those that survive the end of their process
OURS = "llambdao"
OURS_DURABLE = "llambdao_durable"  # with what it takes for PostgreSQL


def ready(system: str) -> Path:
    """The Python that has this system installed; ours anew when its source has changed."""
    place = HOME / system
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = place / ".installed", f"{sys.version} {PEERS.get(system) or newest_source()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    HOME.mkdir(exist_ok=True)
    (HOME / ".gitignore").write_text("*\n")
    if not python.exists():
        venv.create(place, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    extra = "[postgres]" * (system == OURS_DURABLE)
    what = PEERS.get(system, "").split() or [f"{PROJECT}{extra}"]  # it is always installed again
    done = subprocess.run([*pip, *what], check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if "Error: " in line]
        raise RuntimeError(f"{system} cannot be installed: {(lines or ['pip fails'])[0]}")
    stamp.write_text(wanted)
    return python


def newest_source() -> float:
    """When our own source last changed: what is measured is a copy of that moment."""
    files = [PROJECT / "pyproject.toml", *(PROJECT / "src").rglob("*.py")]
    return max(file.stat().st_mtime for file in files)
