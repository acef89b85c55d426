"""Separation of successes and failures: planted, quasi-complete, and absent however near."""

import numpy as np
import pytest

from transect.stats.mixed.complete_separation import separating_columns


def _rows(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(n), rng.normal(size=n), rng.normal(size=n), np.arange(n) % 3 == 0])
    return x, (rng.random(n) < 0.5).astype(float)


def test_overlapping_rows_are_not_separated() -> None:
    """Random responses."""
    x, y = _rows()
    assert separating_columns(y, np.ones(60), x) == []


def test_a_threshold_names_its_column() -> None:
    """y = x1 > 0.3: intercept and x1 run off together, the others stay out of it."""
    x, _ = _rows()
    assert separating_columns((x[:, 1] > 0.3).astype(float), np.ones(60), x) == [0, 1]


def test_one_overlapping_row_is_enough() -> None:
    """The same with one success among the failures at the far end: finite estimates."""
    x, _ = _rows()
    y = (x[:, 1] > 0.3).astype(float)
    y[x[:, 1].argmin()] = 1
    assert separating_columns(y, np.ones(60), x) == []


def test_a_level_without_failures_is_separated() -> None:
    """Quasi-complete: the indicator runs off, and says nothing of the other rows."""
    x, y = _rows()
    y[x[:, 3] == 1] = 1
    assert separating_columns(y, np.ones(60), x) == [3]


def test_rows_with_both_outcomes_settle_it() -> None:
    """Counts: every row holds successes and failures, whatever the predictors."""
    x, _ = _rows()
    assert separating_columns(np.ones(60), np.full(60, 3.0), x) == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_many_rows_in_large_units(sign: float) -> None:
    """30,000 rows, of which a sample decides, x in 1e18ths: separated by the sign of x; not with 20
    rows turned round.
    """
    x = np.column_stack(
        [np.ones(30_000), sign * 1e18 * np.random.default_rng(1).normal(size=30_000)]
    )
    y = (x[:, 1] > 0).astype(float)
    assert 1 in separating_columns(y, np.ones(30_000), x)
    extreme = np.argsort(x[:, 1])[-20:]
    y[extreme] = 0
    assert separating_columns(y, np.ones(30_000), x) == []
