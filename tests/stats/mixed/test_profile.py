"""Profile likelihood intervals against those that lme4's documentation and confint() print."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import dyestuff, penicillin, sleepstudy
from transect.stats.mixed.gaussian import fit_formula
from transect.stats.mixed.profile import (
    _bound,
    _constrained,
    _NoMinimum,
    _spreads,
    profile_intervals,
)

# confint(lmer(...), method = "profile"), as published in Bates et al. (2015) and in lme4's help
# pages
LME4 = {
    "dyestuff": (
        dyestuff,
        "yield_g ~ 1 + (1 | batch)",
        [(1486.4515, 1568.5485), (12.1985, 84.0631), (38.2300, 67.6577)],
    ),
    "sleepstudy": (
        sleepstudy,
        "reaction ~ days + (1 + days | subject)",
        [
            (237.681, 265.130),
            (7.3587, 13.5759),
            (14.3814, 37.7160),
            (3.8012, 8.7534),
            (-0.4815, 0.6850),
            (22.8983, 28.8580),
        ],
    ),
    "penicillin": (
        penicillin,
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        [(21.26663, 24.67782), (0.63357, 1.18210), (1.09579, 3.55629), (0.48585, 0.62945)],
    ),
}


@pytest.mark.parametrize("name", LME4)
def test_intervals_equal_lme4(name: str) -> None:
    """Coefficients, standard deviations, correlation, residual: to 3e-4 relative: lme4 reads its
    ends off a spline.
    """
    data, formula, expected = LME4[name]
    found = profile_intervals(fit_formula(formula, data()))
    assert found[["lower", "upper"]].to_numpy() == pytest.approx(
        np.array(expected), rel=3e-4, abs=1e-4
    )


def test_a_variance_of_nothing_ends_at_zero() -> None:
    """Groups that do not differ: the lower bound of their standard deviation is 0 and the upper
    above it.
    """
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"y": rng.normal(size=60), "g": np.tile(list("abcdef"), 10)})
    found = profile_intervals(fit_formula("y ~ 1 + (1 | g)", frame)).set_index("parameter")
    assert found.loc["sd g (Intercept)", "lower"] == 0
    assert 0 < found.loc["sd g (Intercept)", "upper"] < 1


def _parabola(failing: tuple[float, ...]):
    """x^2 - 4, whose bounds are -2 and 2, without a minimum found at some places."""

    def f(v: float) -> float:
        if any(abs(v - place) < 1e-9 for place in failing):
            raise _NoMinimum
        return v * v - 4

    return f


def test_a_search_that_fails_is_no_rejection() -> None:
    """Where no minimum is found at the first step, 1.5, other steps lead to the same bound; where
    none is found at all, there is none.
    """
    assert _bound(_parabola((1.5,)), 0.0, 1.5, -np.inf, np.inf) == pytest.approx(2)
    assert _bound(_parabola((-1.5, -0.555)), 0.0, -1.5, -np.inf, np.inf) == pytest.approx(-2)
    assert np.isnan(_bound(_parabola((1.5, 0.555, 0.165)), 0.0, 1.5, -np.inf, np.inf))


def test_a_value_that_cannot_be_reached_has_no_deviance() -> None:
    """A standard deviation of -1: an exception, not an infinite deviance, which would count as
    rejected.
    """
    fitted = fit_formula("yield_g ~ 1 + (1 | batch)", dyestuff())
    deviance, point = (
        fitted.deviance.by_likelihood(),
        np.append(fitted.theta, fitted.sigma / fitted.response.size),
    )
    value = _spreads(deviance)[0][1]
    with pytest.raises(_NoMinimum):
        _constrained(deviance, point, value, -1.0, point[-1])
    at_the_estimate = _constrained(deviance, point, value, value(point), point[-1])
    assert at_the_estimate == pytest.approx(deviance(fitted.theta), abs=0.5)


def test_intervals_do_not_depend_on_the_unit_of_the_response() -> None:
    """Tonnes instead of grams: the bounds divided by 1e6, to 1e-5."""
    frame = dyestuff()
    whole, small = (
        profile_intervals(
            fit_formula("yield_g ~ 1 + (1 | batch)", frame.assign(yield_g=frame["yield_g"] * unit))
        )
        for unit in (1.0, 1e-6)
    )
    columns = ["estimate", "lower", "upper"]
    assert small[columns].to_numpy() * 1e6 == pytest.approx(whole[columns].to_numpy(), rel=1e-5)
