"""Stopping a run: a signal to the program becomes an exception, and with the program everything
ends that it started.
"""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

ASKED = (
    signal.SIGTERM,
    signal.SIGHUP,
)  # a time limit, preemption, scancel; a terminal that was closed
# seconds that each signal is given: jobs write what is finished, and Snakemake takes back what it
# gave to a cluster
STEPS = ((signal.SIGINT, 12.0), (signal.SIGTERM, 4.0), (signal.SIGKILL, 4.0))


class Stopped(KeyboardInterrupt):
    """The program was asked to stop by a signal, as Ctrl-C does."""

    def __init__(self, number: int, kept: str = "what is finished is kept"):
        super().__init__(
            f"stopped by {signal.Signals(number).name}: {kept}, and the same command goes on from here."
        )
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise Stopped, except where the program was started to ignore
    them (nohup).
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():  # signals belong to the main one
        yield
        return
    before = {number: signal.getsignal(number) for number in ASKED}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start(command: list[str], **options) -> subprocess.Popen:  # type: ignore[no-untyped-def, type-arg]
    """Start a process in a group of its own, so that a Ctrl-C of the terminal reaches it by way of
    `end` alone.

    A program that a shell started in the background ignores SIGINT, and so would all its children.
    """
    ignored = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    )
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, start_new_session=True, **options)
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def end(process: subprocess.Popen) -> None:  # type: ignore[type-arg]
    """End a process and all its descendants, within 20 s: by SIGINT, then SIGTERM, then SIGKILL; at
    once by a second request to stop.
    """
    family: set[psutil.Process] = set()
    steps = list(STEPS)
    while steps:
        number, seconds = steps.pop(0)
        try:
            family |= _family(process)
            for member in family:
                with suppress(
                    psutil.NoSuchProcess
                ):  # also where its number means another process now
                    member.send_signal(number)
            _, alive = psutil.wait_procs(family, timeout=seconds)
            if not [p for p in alive if _lives(p)]:
                break
        except KeyboardInterrupt:
            steps = [STEPS[-1]]
    process.wait()


def _family(process: subprocess.Popen) -> set[psutil.Process]:  # type: ignore[type-arg]
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        return {first, *first.children(recursive=True)}
    return set()


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
