"""Intervals of a G study against exact ones, and their coverage."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.brennan import scores
from tests.stats.generalizability.planted_scores import planted
from transect.stats.generalizability import g_study as generalizability
from transect.stats.generalizability.facets import Effect, parse_design
from transect.stats.generalizability.g_study import GStudy, g_study


def study(design: str, frame: pd.DataFrame | None = None, seed: int = 1) -> GStudy:
    return g_study(scores(design) if frame is None else frame, "y", parse_design(design), seed=seed)


def test_the_interval_of_one_facet_is_feldts() -> None:
    """E rho^2 of p x i: 1 - (1 - alpha) F, df 9 and 99 (Feldt 1965), to the Monte Carlo error of
    20,000 draws.
    """
    row = study("p x i").precision().set_index("quantity").loc["e_rho2"]
    low, high = (1 - (1 - row["estimate"]) * stats.f.ppf(q, 9, 99) for q in (0.975, 0.025))
    assert (row["lower"], row["upper"]) == pytest.approx((low, high), abs=0.01)


def test_the_interval_of_the_residual_is_chi_square() -> None:
    """SS / chi2(99), to 2 %."""
    found = study("p x i")
    row = found.components().iloc[2]
    exact = found.anova.ss[2] / stats.chi2.ppf([0.975, 0.025], 99)
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(exact), rel=0.02)


def test_no_interval_where_a_mean_square_is_not_positive() -> None:
    """p x i x o with a quarter of its cells empty and hardly a residual: estimates, but no
    interval, and the reason.
    """
    design, rng = parse_design("p x i x o"), np.random.default_rng(0)
    truth = dict.fromkeys(design.effects(), 1.0) | {frozenset("pio"): 0.01}
    frame = planted(design, {"p": 6, "i": 4, "o": 4}, truth, rng)
    found = study("p x i x o", frame[rng.random(len(frame)) > 0.3])
    assert found.notes[-1].startswith("no intervals: a mean square is not positive")
    assert found.precision()[["lower", "upper"]].isna().all(axis=None)
    assert found.precision()["estimate"].notna().all()


def test_equal_seeds_give_equal_intervals() -> None:
    """Simulated and chi-square draws alike."""
    for design in ("p x i", "p x (i:h)"):
        pd.testing.assert_frame_equal(
            study(design, seed=5).precision(), study(design, seed=5).precision()
        )


DESIGNS = {d: parse_design(d) for d in ("p x i", "p x i x o", "p x (i:h)", "(m:f) x i")}


def _variance(design: str, *values: float) -> dict[Effect, float]:
    return dict(zip(DESIGNS[design].effects(), values, strict=True))


COVERED: list[tuple[str, dict[str, int], tuple[float, ...], Callable | None]] = [
    ("p x i", {"p": 10, "i": 12}, (0.06, 0.08, 0.13), None),
    ("p x i x o", {"p": 12, "i": 6, "o": 3}, (0.5, 0.4, 0.05, 0.5, 0.1, 0.1, 0.9), None),
    ("p x i x o", {"p": 8, "i": 6, "o": 4}, (0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 1.0), None),
    (
        "p x (i:h)",
        {"p": 12, "h": 5, "i": 4},
        (1, 1, 1, 0.3, 0.8),
        lambda t: ~((t.h == 0) & (t.i > 1) | (t.h == 1) & (t.i > 2)),
    ),
    ("(m:f) x i", {"f": 6, "m": 4, "i": 10}, (0.3, 0.2, 0.2, 0.1, 0.8), lambda t: t.m <= t.f % 4),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "levels", "values", "keep"), COVERED, ids=[f"{c[0]} {c[2][0]}" for c in COVERED]
)
def test_intervals_cover(
    design: str,
    levels: dict[str, int],
    values: tuple[float, ...],
    keep: Callable | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """95 % intervals of all components, errors and coefficients hold the planted value in 92-99 %
    of 400 tables, unbalanced ones too.
    """
    monkeypatch.setattr(generalizability, "DRAWS", 2000)
    monkeypatch.setattr(generalizability, "SIMULATED", (400, 600))
    rng, hits = np.random.default_rng(8), []
    truth = _variance(design, *values)
    for k in range(400):
        found = study(design, planted(DESIGNS[design], levels, truth, rng, keep), seed=k)
        weights = generalizability.observed_weights(found)
        planted_values = generalizability._quantities(np.array(values, float), weights)
        tables = [
            (found.components(), np.array(values)),
            (found.precision(weights), planted_values),
        ]
        hits.append(
            np.concatenate([((t["lower"] <= v) & (v <= t["upper"])).to_numpy() for t, v in tables])
        )
    rates = np.mean(hits, axis=0)
    assert ((rates >= 0.92) & (rates <= 0.99)).all(), rates


@pytest.mark.parametrize("design", ["p x i", "p x i x o"])
def test_estimates_lie_in_their_intervals_where_a_component_is_negative(design: str) -> None:
    """Components of 0 by chance below it, in 20 tables each: lower <= estimate <= upper for all but
    the coefficients at 0.
    """
    levels = {"p": 8, "i": 6, "o": 4} if "o" in design else {"p": 8, "i": 6}
    truth = _variance(
        design, *([0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 1.0] if "o" in design else [0.0, 0.3, 1.0])
    )
    negative = 0
    for seed in (26, 28, *range(18)):  # the estimates of 26 and 28 lay above their intervals
        found = study(design, planted(DESIGNS[design], levels, truth, np.random.default_rng(seed)))
        negative += (found.estimates < 0).any()
        table = found.precision()
        assert ((table["lower"] <= table["estimate"]) & (table["estimate"] <= table["upper"]))[
            table["estimate"] >= 0
        ].all()
    assert negative >= 5
