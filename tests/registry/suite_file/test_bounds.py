"""What a suite file may expand to is counted before it is built."""

import itertools
from types import SimpleNamespace

import pytest

from transect.registry.suite_file import bounds
from transect.registry.suite_file.bounds import TooMany, counted, steps


def span(first: int, last: int, by: int = 1) -> dict[str, int]:
    return {"from": first, "to": last, "by": by}


def test_ranges_are_written_out() -> None:
    """Both ends are steps; a range that is shorter than its stride has its ends (which do not rise
    where they are one too many).
    """
    assert steps([None, 0, span(1, 3), span(10, 30, 10)]) == [None, 0, 1, 2, 3, 10, 20, 30]


@pytest.mark.parametrize(
    "parts",
    [
        [span(0, 10**12)],
        [span(0, 10**30)],
        [span(1, 60_000), span(60_001, 110_000)],
        list(range(100_001)),
    ],
    ids=["range", "beyond int64", "two", "listed"],
)
def test_no_rule_has_more_than_100_000_steps(parts: list[object]) -> None:
    """None of a range is made before its length is known."""
    with pytest.raises(TooMany, match="has more than 100,000 steps"):
        steps(parts)


def test_runs_and_checkpoints_are_counted() -> None:
    """Of runs without end no more are asked for than are allowed."""
    run = SimpleNamespace(rule=SimpleNamespace(steps=(1, 2)))
    assert len(list(counted([run] * 3, []))) == 3
    with pytest.raises(TooMany, match="more than 20,000 runs"):
        list(counted(itertools.repeat(run), []))
    long = SimpleNamespace(rule=SimpleNamespace(steps=range(100_000)))
    with pytest.raises(TooMany, match="more than 1,000,000 checkpoints"):
        list(counted([long] * 11, []))
    with pytest.raises(TooMany, match="joins tables of 6,000,000 rows to 2 runs"):
        list(counted([run] * 3, [{"rows": range(bounds.JOINED * 6 // 10)}]))
