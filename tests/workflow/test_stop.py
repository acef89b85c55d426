"""A request to stop (a time limit, preemption, a closed terminal) while training, measuring,
analysing: all ends, and goes on to the same bytes.
"""

import fcntl
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.workflow.test_kill import fresh, kill_tree, outcome
from tests.workflow.test_workflow import transect

pytestmark = pytest.mark.slow
# of each moment: a file that is there then, the signal, the program's exit code
MOMENTS = [
    ("results/tiny/progress/train-*.json", signal.SIGTERM, 143),
    ("results/tiny/progress/measure-*.json", signal.SIGTERM, 143),
    ("results/tiny/log/analyse/*.log", signal.SIGHUP, 129),
]


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen]:  # type: ignore[type-arg]
    """`transect run tiny` in the folder; whatever happens nothing of it is left."""
    command = [sys.executable, "-m", "transect.cli.main", "run", "tiny", "-j", "2"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        kill_tree(process)


def until(folder: Path, pattern: str, process: subprocess.Popen) -> None:  # type: ignore[type-arg]
    while not list(folder.glob(pattern)):
        assert process.poll() is None, f"the run ended before there was {pattern}"
        time.sleep(0.05)


def inside(folder: Path) -> list[str]:
    """The processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_run_that_is_asked_to_stop_ends_and_goes_on(tmp_path: Path) -> None:
    """At three moments: within 30 s, with a sentence that says what is kept, nothing left running,
    the lock free; the end is as undisturbed.
    """
    undisturbed, folder = fresh(tmp_path / "undisturbed"), fresh(tmp_path / "world")
    assert transect(undisturbed, "run", "tiny", "-j", "2").returncode == 0
    for pattern, number, code in MOMENTS:
        shutil.rmtree(folder / "results/tiny/progress", ignore_errors=True)
        with running(folder) as process:
            until(folder, pattern, process)
            asked = time.monotonic()
            process.send_signal(number)
            out, error = process.communicate(timeout=60)
            took = time.monotonic() - asked
        print(f"{pattern}: {took:.1f} s; {error.strip()}")
        assert took < 30 and process.returncode == code, out + error
        assert (
            f"stopped by {signal.Signals(number).name}: " in error
            and "of 26 cells are kept, and the same command goes on from here" in error
        )
        assert error.count("\n") == 1 and inside(folder) == []
        with (folder / "results/tiny/.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    result = transect(folder, "run", "tiny", "-j", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert outcome(folder) == outcome(undisturbed)
