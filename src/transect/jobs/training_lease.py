"""One process at a time trains a run, whatever study it works for; the next one waits, or goes on
where the first died.

The lease is a file in the run's folder (filelock's SoftFileLease: made in one step, so that it
holds on a network's disk without flock). Its holder renews it. A holder whose process is gone from
this machine loses it at once, one that nothing was heard of for SECONDS (another machine, one that
sleeps) after that; a holder that wakes up again finds it lost and stops at its next checkpoint. Two
that train at once all the same cost time alone: what they write is whole (files.py) and equal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from transect.errors import ResourceError

NAME = "training.lock"
SECONDS = 120.0  # of silence; it is renewed every third of that
LOOK_SECONDS = 0.5  # between two looks of one who waits
TELL_SECONDS = (1.0, 15.0)  # after which it says that it waits: at first, and from then on


class Lease:
    """The right to train one run."""

    def __init__(self, lease: SoftFileLease, folder: Path):
        self._lease = lease
        self._folder = folder

    def check(self) -> None:
        """Raise ResourceError where another process has taken the run over."""
        if self._lease.compromise is not None:
            raise ResourceError(
                f"{self._folder}: another process has taken over this training, because this one was not heard of for {SECONDS:.0f} s."
            )


@contextmanager
def lease(folder: Path, waiting: Callable[[], object]) -> Iterator[Lease]:
    """Hold the lease of the run whose weights lie in a folder. `waiting` is called now and then
    while it is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = SoftFileLease(folder / NAME, lease_duration=SECONDS)
    patience, later = TELL_SECONDS
    while True:
        try:
            held.acquire(timeout=patience, poll_interval=LOOK_SECONDS)
            break
        except Timeout:
            waiting()
            patience = later
    try:
        yield Lease(held, folder)
    finally:
        held.release()
