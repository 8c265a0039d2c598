"""Many conversations of every kind, for long: nothing is left behind. See `benchmarks/soak.py`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOAK = [sys.executable, "-m", "benchmarks.soak"]
HARMLESS = "asks,asks at once,streams taken slowly,tells,sleeps"


def soak(*options):
    """Run it to its end."""
    return subprocess.run([*SOAK, *options], cwd=ROOT, capture_output=True, text=True)


def test_a_short_mixed_load_leaves_nothing_behind():
    """Asks, streams, tells, failures, time limits, cancellations: all that they took is let go."""
    done = soak("--operations", "3000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("nothing grew\n")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_mixed_load_of_ten_minutes_leaves_nothing_behind():
    """The same for ten minutes."""
    done = soak("--minutes", "10")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_leak_is_noticed():
    """What is kept though it is over is named, and it is an error."""
    done = soak("--operations", "600", "--only", HARMLESS, "--leak")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "grew: objects of Conversation: " in done.stdout


def test_ctrl_c_ends_a_soak_with_its_report():
    """Who has seen enough still gets to know what was counted."""
    with subprocess.Popen(
        [*SOAK, "--minutes", "1", "--only", HARMLESS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "operations" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said, shown = process.communicate(timeout=30)
    assert process.returncode == 0, said + shown
    assert "too few to say whether anything grows" in said
