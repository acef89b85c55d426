"""Permutation tests against scipy's, exact where possible; false alarms on null maps; planted
cells.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from transect.errors import InputError
from transect.stats.inference.permutation import exchange_labels, sign_flips, unit_maps

RNG = np.random.default_rng(4)
SAMPLE = RNG.normal(0.4, 1, (8, 2, 3))
GROUPS = ["a"] * 4 + ["b"] * 5
TWO = RNG.normal(0, 1, (9, 6)) + np.array([0.0] * 4 + [0.8] * 5)[:, None]


@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
def test_sign_flips_equal_scipy(side: str) -> None:
    """All 256 sign flips of 8 units, cell by cell: t and p."""
    found = sign_flips(SAMPLE, side)
    assert found.exact and found.n_permutations == 256
    assert found.statistic == pytest.approx(stats.ttest_1samp(SAMPLE, 0).statistic)
    for cell in np.ndindex(2, 3):
        own = (SAMPLE[:, *cell],)
        other = stats.permutation_test(
            own,
            np.mean,
            permutation_type="samples",
            n_resamples=np.inf,
            alternative=side,
            vectorized=False,
        )
        assert found.p_cell[cell] == pytest.approx(other.pvalue)


def _pooled(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(stats.ttest_ind(a, b).statistic))


def test_exchanged_labels_equal_scipy() -> None:
    """All 126 labellings of 4 + 5 units: t and p of |t|; scipy's 'greater' of |t| is the two-sided
    test of a t.
    """
    found = exchange_labels(TWO, GROUPS)
    assert found.exact and found.n_permutations == 126
    assert found.statistic == pytest.approx(stats.ttest_ind(TWO[4:], TWO[:4]).statistic)
    for cell in range(2):
        other = stats.permutation_test(
            (TWO[4:, cell], TWO[:4, cell]),
            _pooled,
            n_resamples=np.inf,
            alternative="greater",
            vectorized=False,
        )
        assert found.p_cell[cell] == pytest.approx(other.pvalue)


def test_three_groups_have_an_f_statistic() -> None:
    """F of scipy; all 1680 labellings of 3 + 3 + 3, of which 6 are the same partition."""
    found = exchange_labels(TWO, list("aaabbbccc"))
    assert found.statistic == pytest.approx(stats.f_oneway(TWO[:3], TWO[3:6], TWO[6:]).statistic)
    assert (found.n_permutations, found.smallest_p) == (1680, pytest.approx(6 / 1680))


def test_the_map_p_is_that_of_the_largest_cell() -> None:
    """By hand: max |t| over the six cells of each of the 256 sign flips."""
    signs = 1 - 2 * (np.arange(256)[:, None] >> np.arange(8) & 1)
    t = np.abs(stats.ttest_1samp(signs[:, :, None] * SAMPLE.reshape(8, 6), 0, axis=1).statistic)
    largest = t.max(1)
    expected = [(largest >= own - 1e-9).mean() for own in t[0]]
    assert sign_flips(SAMPLE).p_map.ravel() == pytest.approx(expected)


def test_random_permutations_approach_the_exact_p() -> None:
    """Monte Carlo with 200 of 256 sign flips, or 100 of 126 labellings: within 4 MC SE, and never
    0.
    """
    for exact, drawn in [
        (sign_flips(SAMPLE), sign_flips(SAMPLE, n_draws=200)),
        (exchange_labels(TWO, GROUPS), exchange_labels(TWO, GROUPS, n_draws=100)),
    ]:
        assert exact.exact and not drawn.exact
        assert np.abs(exact.p_map - drawn.p_map).max() < 4 * np.sqrt(0.25 / drawn.n_permutations)
        assert drawn.p_map.min() >= 1 / (1 + drawn.n_permutations)


def test_too_few_units_are_said() -> None:
    """With 5 runs, all alike and far from 0, two-sided p is 2 / 32 and no smaller; two groups of 3:
    2 / 20.
    """
    found = sign_flips(np.full((5, 2), 3.0))
    assert found.p_map.tolist() == [found.smallest_p] * 2 == [0.0625] * 2
    assert "nothing can reach 0.05" in found.sentence
    two = exchange_labels(
        np.repeat([0.0, 5.0], 3)[:, None] + 0.01 * RNG.normal(size=(6, 1)), list("aaabbb")
    )
    assert two.p_map[0] == two.smallest_p == pytest.approx(0.1)


def test_a_cell_of_nothing_shows_nothing() -> None:
    """Heads that are 0 in every run, or equal in every run: p = 1, and the others keep theirs."""
    maps = np.column_stack([np.zeros(8), SAMPLE[:, 0, 0]])
    assert sign_flips(maps).p_cell[0] == 1
    assert exchange_labels(np.column_stack([np.full(9, 0.1), TWO[:, 0]]), GROUPS).p_cell[0] == 1


def test_a_planted_cell_is_found_and_no_other() -> None:
    """12 runs, 6 layers x 8 heads, one head at 3 sd."""
    maps = np.random.default_rng(1).normal(size=(12, 6, 8))
    maps[:, 2, 5] += 3
    assert np.argwhere(sign_flips(maps).p_map < 0.05).tolist() == [[2, 5]]
    maps[:6, 2, 5] -= 6
    labelled = exchange_labels(maps, ["small"] * 6 + ["large"] * 6)
    assert np.argwhere(labelled.p_map < 0.05).tolist() == [[2, 5]]
    assert labelled.statistic[2, 5] < 0  # the second in sorted order, small, less the first


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signs", "labels"])
def test_null_maps_give_at_most_5_percent_false_alarms(kind: str) -> None:
    """2,000 maps of 60 correlated, heavy-tailed cells in 12 units: any cell below 0.05 in at most 5
    % + 2 MC SE of them.
    """
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(2000):
        maps = rng.standard_t(3, (12, 60)) + rng.normal(size=(12, 1))
        found = (
            sign_flips(maps, n_draws=4096)
            if kind == "signs"
            else exchange_labels(maps, ["a", "b"] * 6)
        )
        alarms += bool(found.p_map.min() < 0.05)
    assert 0.03 < alarms / 2000 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)


def test_maps_of_a_table_are_means_by_unit() -> None:
    """Two items per run and head: one mean per cell, cells in order."""
    frame = pd.DataFrame(
        {
            "run": list("aaaabbbb"),
            "layer": 0,
            "head": [0, 0, 1, 1] * 2,
            "score": [1.0, 3, 5, 7, 2, 2, 4, 8],
        }
    )
    maps, units, cells = unit_maps(frame, "score", "run", ["layer", "head"])
    assert maps.tolist() == [[2, 6], [2, 6]]
    assert list(units) == ["a", "b"] and cells["head"].tolist() == [0, 1]
    with pytest.raises(InputError, match="b in 1 of 2"):
        unit_maps(frame.iloc[:6], "score", "run", ["layer", "head"])
    with pytest.raises(InputError, match="Did you mean 'head'"):
        unit_maps(frame, "score", "run", ["hed"])


def test_what_cannot_be_tested_is_said() -> None:
    """One unit, missing values, an unknown side, one group, F with a side, no draws, groups that do
    not fit.
    """
    for call, message in [
        (lambda: sign_flips(SAMPLE[:1]), "at least 2 units"),
        (lambda: sign_flips(np.array([[1.0], [np.nan]])), "1 values of the maps are missing"),
        (lambda: sign_flips(SAMPLE, "grater"), "Did you mean 'greater'"),
        (lambda: sign_flips(SAMPLE, n_draws=0), "at least 1"),
        (lambda: exchange_labels(TWO, ["a"] * 9), "at least 2 groups"),
        (lambda: exchange_labels(TWO, list("aaabbbccc"), "less"), "has no side"),
        (lambda: exchange_labels(TWO, ["a", "b"]), "need a group each"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
