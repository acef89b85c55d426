"""Labels of jumps with planted truth: a threshold on a smooth latent, a step of the latent,
neither, and what cannot be told.
"""

import numpy as np
import pytest
from scipy.special import expit

from transect.errors import InputError
from transect.stats.curves.metric_step import MetricStep, metric_step

RUNS, SIZES, ITEMS = 6, 10, 40
RUN, SIZE, ITEM = (
    g.ravel() for g in np.meshgrid(*map(np.arange, (RUNS, SIZES, ITEMS)), indexing="ij")
)
X = 2.0**SIZE


def _latent(curve: np.ndarray, seed: int = 1) -> np.ndarray:
    """Latents [run x size x item] around a curve over sizes; noise of runs 0.01, items and rest
    0.02.
    """
    rng = np.random.default_rng(seed)
    noise = (
        rng.normal(0, 0.01, RUNS)[RUN]
        + rng.normal(0, 0.02, ITEMS)[ITEM]
        + rng.normal(0, 0.02, len(RUN))
    )
    return curve[SIZE] + noise


def _step(share: float) -> np.ndarray:
    """A line with a step between the fifth and the sixth size, which takes `share` of the rise."""
    return (1 - share) * np.linspace(0, 1, SIZES) + share * (np.arange(SIZES) > 4)


def _thresholded(latent: np.ndarray) -> MetricStep:
    return metric_step(X, latent > 0.5, latent, RUN)


def test_a_line_under_a_threshold_is_metric_induced() -> None:
    """Items cross the threshold in the gap between 16 and 32: one step of doubling, in every run."""
    found = _thresholded(_latent(_step(0.0)))
    assert found.label == "metric-induced"
    assert (found.below, found.above, found.n_agree, found.n_groups) == (
        pytest.approx(16),
        pytest.approx(32),
        6,
        6,
    )
    assert found.gap == pytest.approx(np.log10(2))
    assert found.explained["estimate"] == pytest.approx(1, abs=0.1)


def test_a_latent_that_steps_is_told() -> None:
    """60 % of the rise in one gap."""
    found = _thresholded(_latent(_step(0.6)))
    assert found.label == "in the continuous metric too"
    assert found.sensitivity["estimate"] == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_share_of_a_step_is_what_was_planted(share: float, sign: int) -> None:
    """Without noise, of a metric that rises or falls (a loss): to 1e-9; the thresholded metric is
    all step.
    """
    curve = _step(share)
    z = np.tile(curve, 3)
    found = metric_step(
        np.tile(2.0 ** np.arange(SIZES), 3), z > 0.5, sign * z, np.repeat(np.arange(3), SIZES)
    )
    assert found.continuous["estimate"] == pytest.approx(share, abs=1e-9)
    assert found.thresholded["estimate"] == pytest.approx(1, abs=1e-9)


def test_both_metrics_smooth_is_no_step() -> None:
    """One logistic over eight of ten sizes in both metrics: the change is no jump at this
    resolution.
    """
    curve = expit((np.arange(SIZES) - 4.5) / 1.5)
    assert metric_step(X, curve[SIZE], _latent(curve), RUN).label == "no step"


def test_a_jump_that_the_continuous_metric_does_not_make_is_undecided() -> None:
    """Right answers drawn apart from a smooth latent of the items: it explains next to nothing,
    though it has no step.
    """
    rng = np.random.default_rng(4)
    latent = np.linspace(0, 1, SIZES)[SIZE] + rng.normal(0, 0.5, len(RUN))
    found = metric_step(X, rng.random(len(RUN)) < np.where(SIZE > 4, 0.9, 0.1), latent, RUN)
    assert found.label == "undecided"
    assert "does not account for" in found.reason
    assert found.explained["estimate"] < 0.2


def test_much_noise_between_runs_is_undecided() -> None:
    """A step of 30 % under noise of 20 % of the range in each run's continuous metric: on either
    side of a quarter.
    """
    noise = np.random.default_rng(5).normal(0, 0.2, (RUNS, SIZES))[RUN, SIZE]
    found = metric_step(X, SIZE > 4, _latent(_step(0.3)) + noise, RUN)
    assert found.label == "undecided"
    assert "either side" in found.reason


def test_families_with_sizes_of_their_own() -> None:
    """15 families of 4 sizes each, means only: the distance of neighbouring x is that within
    families.
    """
    rng = np.random.default_rng(6)
    family = np.repeat(np.arange(15), 4)
    z = rng.uniform(7, 8, 15)[family] + np.tile(np.arange(4.0), 15)
    latent = z - 9 + rng.normal(0, 0.05, 60)
    found = metric_step(10**z, expit(30 * latent), latent, family)
    assert found.label == "metric-induced"
    assert found.gap == pytest.approx(1)
    assert found.rows_per_cell == 1


def test_a_step_that_is_not_known_is_undecided() -> None:
    """No step in either metric under noise of 30 % of the range: the share's interval reaches
    beyond a quarter.
    """
    noise = np.random.default_rng(6).normal(0, 0.3, (RUNS, SIZES))[RUN, SIZE]
    latent = _latent(_step(0.0)) + noise
    found = metric_step(X, latent, latent, RUN)
    assert found.thresholded["lower"] <= 0.25 <= found.thresholded["upper"]
    assert found.label == "undecided"


def test_few_sizes_get_a_simpler_curve() -> None:
    """A line with 5 values of x, a parabola with 6, a cubic from 7 on."""
    for n, degree in ((5, 1), (6, 2), (7, 3), (10, 3)):
        kept = n > SIZE
        found = metric_step(
            X[kept], (SIZE > n // 2 - 1)[kept], _latent(_step(0.0))[kept], RUN[kept]
        )
        assert (found.n_x, found.degree) == (n, degree)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (RUN < 2, "there are 2 and 10"),
        (SIZE < 4, "there are 6 and 4"),
        (SIZE < 5, "the thresholded metric is 0 in every row"),
    ],
)
def test_what_is_too_little_is_said(rows: np.ndarray, message: str) -> None:
    """Groups, values of x, a metric that never changes."""
    latent = _latent(_step(0.0))
    with pytest.raises(InputError, match=message):
        metric_step(X[rows], (SIZE > 4)[rows], latent[rows], RUN[rows])
