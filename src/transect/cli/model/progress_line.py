"""How far a measure is, on a terminal: one line of standard error that is written over, and gone at
the end.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FIRST, EVERY = 2.0, 1.0  # seconds: when it is shown first, and how often


@contextmanager
def shown(model: Any, what: str) -> Iterator[None]:
    """While this is open it is shown how many tokens of a pass the model has read; a measure may
    need several passes.

    Nothing is written where standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield
        return
    line = _Line(what)
    model.watch(line.say)
    try:
        yield
    finally:
        model.watch(None)
        line.clear()


class _Line:
    def __init__(self, what: str) -> None:
        self.what, self.next, self.width = what, time.monotonic() + FIRST, 0

    def say(self, done: int, total: int) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + EVERY
            text = f"transect: {self.what}: {done / total:.0%} of {total:,} tokens"
            sys.stderr.write("\r" + text.ljust(self.width))
            sys.stderr.flush()
            self.width = len(text)

    def clear(self) -> None:
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
