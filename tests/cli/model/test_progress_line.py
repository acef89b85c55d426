"""How far a measure is, on a terminal."""

import re
import sys
from pathlib import Path

import pytest

from tests.shelf import tiny_model
from transect.cli.model import progress_line
from transect.cli.model.progress_line import shown
from transect.lm import load


class Terminal:
    """Standard error that is, or is not, a terminal, and what was written to it."""

    def __init__(self, terminal: bool) -> None:
        self.terminal, self.text = terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> str:
    """What is written while 40 windows of a long text are scored, one batch each."""
    model = load(tiny_model(tmp_path, "gpt2"))
    monkeypatch.setattr(progress_line, "FIRST", 0.0)
    monkeypatch.setattr(progress_line, "EVERY", 0.0)
    written = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", written)
    windows = [[0, 8 + n, *range(8, 20)] for n in range(40)]
    model._packing.allowed = False
    with shown(model, "bits_per_byte on book"):
        model.token_scores(windows, batch_size=1)
    before = written.text
    model.token_scores(windows, batch_size=1)
    assert written.text == before  # nobody is told afterwards
    return before


def test_every_batch_is_told_and_the_line_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares grow to all of the pass's tokens (13 read of each window), and blanks are left."""
    *told, blank, last = scored(tmp_path, monkeypatch, terminal=True).split("\r")[1:]
    shares = [int(re.search(r"(\d+)% of 520 tokens", line)[1]) for line in told]
    assert len(shares) == 40 and shares == sorted(shares) and shares[-1] == 100
    assert (
        told[0].startswith("transect: bits_per_byte on book: ") and not blank.strip() and last == ""
    )


def test_nothing_is_written_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log holds no lines that are written over."""
    assert scored(tmp_path, monkeypatch, terminal=False) == ""
