"""One process at a time trains a run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transect.errors import ResourceError
from transect.jobs import training_lease
from transect.jobs.training_lease import NAME, lease
from transect.store.project import SHIPPED

HOLD = """import sys, time
from pathlib import Path
from transect.jobs.training_lease import lease
with lease(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the lease for so long."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SHIPPED / "src")},
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    """It is told so, goes on when the other has ended, and leaves no lock behind."""
    first, waited = holder(tmp_path, 1.5), []
    with lease(tmp_path, lambda: waited.append(first.poll())):
        assert first.wait(10) == 0
    assert waited and waited[0] is None
    assert not list(tmp_path.iterdir())


def test_a_dead_holder_is_followed_within_three_seconds(tmp_path: Path) -> None:
    """kill -9 of a process of this machine leaves its lock; the next one does not wait for it to
    grow old.
    """
    first = holder(tmp_path, 600)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / NAME).exists()
    start = time.monotonic()
    with lease(tmp_path, lambda: None) as mine:
        mine.check()
        assert time.monotonic() - start < 3


def test_a_silent_holder_loses_it_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that sleeps (as one of another machine that is gone) is followed after its silence;
    awake again, it stops.
    """
    monkeypatch.setattr(training_lease, "SECONDS", 1.0)
    script = HOLD.replace(
        "with lease", "import transect.jobs.training_lease as of; of.SECONDS = 1.0\nwith lease"
    )
    script = script.replace("lambda: None):", "lambda: None) as mine:") + "    mine.check()\n"
    monkeypatch.setattr(sys.modules[__name__], "HOLD", script)
    first = holder(tmp_path, 1.5)
    first.send_signal(signal.SIGSTOP)
    with lease(tmp_path, lambda: None):
        first.send_signal(signal.SIGCONT)
        assert first.wait(20) != 0  # ResourceError, tested below by its text
    assert not (tmp_path / NAME).exists()


def test_a_lost_lease_is_a_matter_of_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job fails with one sentence and is tried again, when it finds the run trained or waits."""
    monkeypatch.setattr(training_lease, "SECONDS", 0.3)
    with lease(tmp_path, lambda: None) as mine:
        (tmp_path / NAME).unlink()
        deadline = time.monotonic() + 5
        with pytest.raises(ResourceError, match=r"another process has taken over this training"):
            while time.monotonic() < deadline:
                mine.check()
                time.sleep(0.05)
