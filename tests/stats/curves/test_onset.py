"""Onsets: brackets, censoring, pooling."""

import numpy as np
import pytest
from scipy import stats

from transect.stats.curves.onset import Onset, onset, pool

TOKENS = [0, 1e5, 1e6, 1e7]


def test_a_crossing_lies_between_its_checkpoints() -> None:
    """The bracket is that of the checkpoints, the estimate half way in log tokens."""
    assert onset(TOKENS, [0, 0, 1, 1], 0.5) == Onset("interval", 1e5, 1e6, pytest.approx(10**5.5))


def test_never_reached_is_censored_at_the_last_checkpoint() -> None:
    """The onset lies beyond the training, which is not the same as missing."""
    assert onset(TOKENS, [0, 0, 0.1, 0.2], 0.5) == Onset(
        "right", 1e7, np.inf, pytest.approx(np.nan, nan_ok=True)
    )


def test_above_from_the_start() -> None:
    """Before the first checkpoint."""
    assert onset(TOKENS[1:], [0.9, 1, 1], 0.5).status == "left"


def test_a_passing_peak_does_not_count() -> None:
    """The threshold has to hold at the next checkpoint too; hold = 1 takes the peak."""
    assert onset(TOKENS, [0, 0.9, 0.1, 0.9], 0.5).lower == 1e6
    assert onset(TOKENS, [0, 0.9, 0.1, 0.9], 0.5, hold=1).upper == 1e5


def test_the_order_of_checkpoints_does_not_matter() -> None:
    """Rows of a table come in any order."""
    assert onset(TOKENS[::-1], [1, 1, 0, 0], 0.5) == onset(TOKENS, [0, 0, 1, 1], 0.5)


def _brackets(log10: np.ndarray, width: float) -> list[Onset]:
    return [Onset("interval", 10 ** (x - width / 2), 10 ** (x + width / 2), 10**x) for x in log10]


def test_narrow_brackets_give_students_interval() -> None:
    """With exact onsets the profile interval is mean +- t s / sqrt(n)."""
    x = np.random.default_rng(0).normal(5, 0.3, 7)
    found = pool(_brackets(x, 1e-4))
    expected = stats.t.interval(0.95, 6, x.mean(), x.std(ddof=1) / np.sqrt(7))
    assert found.mu == pytest.approx(x.mean(), abs=1e-4)
    assert (found.lower, found.upper) == pytest.approx(expected, abs=1e-3)


def test_equal_brackets_are_not_more_precise_than_the_checkpoints() -> None:
    """Five runs in one bracket [5, 5.5]: the interval covers it."""
    found = pool([Onset("interval", 10**5.0, 10**5.5, 10**5.25)] * 5)
    assert found.lower <= 5.0 + 0.02 and found.upper >= 5.5 - 0.02


def test_coverage_of_the_pooled_interval() -> None:
    """95 +- 5 % of 120 samples of 8 runs, true onset 5.1, sd 0.3, checkpoints 0.2 decades apart,
    training ends at 5.4.
    """
    rng, hit = np.random.default_rng(2), 0
    grid = np.arange(4.0, 5.41, 0.2)
    for _ in range(120):
        brackets = []
        for x in rng.normal(5.1, 0.3, 8):
            i = int(np.searchsorted(grid, x))
            low, high = (
                (0.0 if i == 0 else 10 ** grid[i - 1]),
                (np.inf if i == len(grid) else 10 ** grid[i]),
            )
            brackets.append(Onset("right" if i == len(grid) else "interval", low, high, np.nan))
        found = pool(brackets)
        hit += found.lower <= 5.1 <= found.upper
    assert hit / 120 == pytest.approx(0.95, abs=0.05)


def test_never_in_any_run_is_said() -> None:
    """No estimate, a lower bound, and the reason in words."""
    found = pool([Onset("right", 1e7, np.inf, np.nan)] * 4)
    assert (found.reason, found.lower) == ("not reached in any of 4 runs", 7.0)


def test_two_units_are_too_few() -> None:
    """Seeds of two configurations are two units."""
    assert pool(
        _brackets(np.array([5, 5.1, 5.2, 5.3]), 0.1), units=["a", "a", "b", "b"]
    ).reason.startswith("not identifiable: 2 units")


def test_more_seeds_of_the_same_configurations_narrow_nothing() -> None:
    """Six configurations with four equal seeds each give the interval of the six (units count
    once).
    """
    six = _brackets(np.array([5.0, 5.1, 5.2, 5.3, 5.4, 5.6]), 0.1)
    once, often = (
        pool(six),
        pool(
            [o for o in six for _ in range(4)], units=[str(i) for i in range(6) for _ in range(4)]
        ),
    )
    assert (often.lower, often.upper) == pytest.approx((once.lower, once.upper), abs=1e-3)
