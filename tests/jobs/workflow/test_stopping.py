"""Ending a process with all that it started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from transect.jobs.workflow import stopping

# a program whose grandchild ignores SIGINT and SIGTERM, in a session of its own: what a server or a
# pool of workers may be
STUBBORN = """
import pathlib, signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
pathlib.Path("ready").touch()
time.sleep(60)
"""
DEEP = """
import subprocess, sys
subprocess.run(["bash", "-c", f"{sys.executable} stubborn.py; true"], start_new_session=True)
"""


def started(folder: Path) -> tuple[subprocess.Popen, list[psutil.Process]]:  # type: ignore[type-arg]
    (folder / "stubborn.py").write_text(STUBBORN)
    process = stopping.start([sys.executable, "-c", DEEP], cwd=folder, stderr=subprocess.DEVNULL)
    while not (folder / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process, psutil.Process(process.pid).children(recursive=True)


def test_children_of_children_end_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one in another session that ignores what can be ignored."""
    monkeypatch.setattr(stopping, "STEPS", tuple((number, 0.5) for number, _ in stopping.STEPS))
    process, family = started(tmp_path)
    assert len(family) >= 2
    stopping.end(process)
    assert process.returncode is not None and not [p for p in family if stopping._lives(p)]


def test_a_second_request_ends_it_at_once(tmp_path: Path) -> None:
    """Who asks twice does not wait for what is being written."""
    process, family = started(tmp_path)
    start = time.monotonic()
    with stopping.stoppable():
        signal.setitimer(signal.ITIMER_REAL, 1)
        before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        try:
            stopping.end(process)
        finally:
            signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 8 and not [p for p in family if stopping._lives(p)]


def test_an_ignored_signal_stays_ignored() -> None:
    """nohup transect run ... is not stopped by the terminal that is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_is_an_exception_with_a_sentence() -> None:
    """SIGTERM within the program; afterwards it means what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(stopping.Stopped, match="stopped by SIGTERM: what is finished is kept"),
        stopping.stoppable(),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_runs_in_the_background_can_be_interrupted() -> None:
    """A shell starts programs behind & with SIGINT ignored; what they start is not to inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = stopping.start(
            [sys.executable, "-c", "import time; time.sleep(60)"], stderr=subprocess.DEVNULL
        )
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) != 0
    finally:
        signal.signal(signal.SIGINT, before)
