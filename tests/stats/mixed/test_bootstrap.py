"""The parametric bootstrap against profile intervals and known null distributions."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, simulate, sleepstudy
from transect.errors import InputError
from transect.stats.mixed.bootstrap import bootstrap_intervals, bootstrap_test
from transect.stats.mixed.gaussian import fit_formula
from transect.stats.table.table_model import fit_table


def test_intervals_agree_with_the_profile() -> None:
    """sleepstudy's slope of days: [7.36, 13.58] by profile (lme4); 500 samples agree to 0.5."""
    found = bootstrap_intervals(
        fit_formula("reaction ~ days + (1 + days | subject)", sleepstudy()), 500, seed=1
    )
    days = found.set_index("parameter").loc["days"]
    assert days["lower"] == pytest.approx(7.36, abs=0.5)
    assert days["upper"] == pytest.approx(13.58, abs=0.5)


def test_the_same_seed_gives_the_same_intervals() -> None:
    """And another seed others."""
    fit = fit_formula("reaction ~ days + (1 | subject)", sleepstudy())
    first, again, other = (bootstrap_intervals(fit, 20, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["lower"].equals(other["lower"])


def test_the_chi_squared_test_is_too_lenient_with_few_groups() -> None:
    """30 models in 6 families: chi-squared p 0.0056 (lme4's LRT is 7.69); the bootstrap's is
    larger.
    """
    frame = simulate(30, 200)
    full, reduced = (
        fit_formula(
            f"y ~ log_params + arch{more} + (1 | model) + (1 | item) + (1 | family)",
            frame,
            reml=False,
        )
        for more in (" + log_tokens", "")
    )
    found = bootstrap_test(full, reduced, 100, seed=1)
    assert found["lr"] == pytest.approx(7.686, abs=2e-3)
    assert found["p_chi2"] == pytest.approx(0.00556, abs=1e-4)
    assert found["p"] > found["p_chi2"]


def test_binomial_models_are_bootstrapped() -> None:
    """The interval of the herds' standard deviation holds its estimate and does not hold 2."""
    fit = fit_table(
        cbpp(),
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        family="binomial",
        method="nAGQ=0",
    ).fit
    sd = bootstrap_intervals(fit, 60, seed=3).iloc[-1]
    assert sd["lower"] < sd["estimate"] < sd["upper"] < 2


def test_fits_by_reml_are_not_compared() -> None:
    """Their criteria depend on the fixed effects."""
    full, reduced = (
        fit_formula(f"reaction ~ {x} + (1 | subject)", sleepstudy()) for x in ("days", "1")
    )
    with pytest.raises(InputError, match="maximum likelihood"):
        bootstrap_test(full, reduced, 5)


def test_simulated_responses_have_the_model_s_covariance() -> None:
    """Over 400 draws the variance of a response is that of the model: z' Sigma z + sigma^2, to 15
    %.
    """
    from transect.stats.mixed.bootstrap import simulate as draw

    fit = fit_formula("reaction ~ days + (1 + days | subject)", sleepstudy())
    draws = np.array([draw(fit, np.random.default_rng([5, i])) for i in range(400)])
    at_day_9 = draws[:, 9::10].var()
    sd = fit.components["sd"].to_numpy()
    expected = sd[0] ** 2 + 81 * sd[1] ** 2 + 2 * 9 * 0.0656 * sd[0] * sd[1] + fit.sigma**2
    assert at_day_9 == pytest.approx(expected, rel=0.15)
