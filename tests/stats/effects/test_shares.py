"""Shares of factors."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from transect.stats.effects.shares import factor_shares


def _sample(n: int, seed: int, noise: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.choice(["p", "q", "r"], n),
            "b": rng.choice(["s", "t"], n),
            "x": rng.normal(size=n),
        }
    )
    return frame.assign(
        value=2.0 * (frame["a"] == "q") + 1.0 * frame["x"] + noise * rng.normal(size=n)
    )


def test_shares_sum_to_the_adjusted_r_squared() -> None:
    """Shapley values are efficient: their sum is what all factors explain together (statsmodels)."""
    frame = _sample(40, 0)
    shares = factor_shares(frame, ["a", "b", "x", "a:b"])
    other = smf.ols("value ~ a * b + x", frame).fit()
    assert sum(shares.values()) == pytest.approx(other.rsquared_adj)


def test_orthogonal_factors_keep_their_own() -> None:
    """In a balanced design without noise the shares are those of the sums of squares."""
    frame = pd.DataFrame(
        [
            {"a": a, "b": b, "value": 2.0 * a + 1.0 * b}
            for a in (0, 1)
            for b in (0, 1)
            for _ in range(50)
        ]
    )
    shares = factor_shares(frame, ["a", "b"])
    assert [shares["a"], shares["b"]] == pytest.approx([0.8, 0.2], abs=0.005)


def test_noise_gets_nothing_on_average() -> None:
    """A factor without an effect has a mean share of 0 +- 0.01 over 200 samples."""
    assert np.mean(
        [factor_shares(_sample(25, s), ["a", "b", "x"])["b"] for s in range(200)]
    ) == pytest.approx(0, abs=0.01)


def test_an_interaction_enters_after_its_parts() -> None:
    """A pure product of two signs: all of it belongs to the interaction."""
    frame = pd.DataFrame(
        [
            {"a": a, "b": b, "value": a * b + 0.01 * k}
            for a in (-1, 1)
            for b in (-1, 1)
            for k in range(5)
        ]
    ).astype({"a": str, "b": str})
    shares = factor_shares(frame, ["a", "b", "a:b"])
    assert shares["a:b"] == pytest.approx(1, abs=0.15)  # adjusted: its parts come out at -0.06 each
    assert abs(shares["a"]) < 0.07
