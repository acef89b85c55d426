"""Profile likelihood intervals against those that lme4's documentation and confint() print."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import dyestuff, penicillin, sleepstudy
from transect.stats.mixed import fit_formula
from transect.stats.profile import profile_intervals

# confint(lmer(...), method = "profile"), as published in Bates et al. (2015) and in lme4's help pages
LME4 = {
    "dyestuff": (dyestuff, "yield_g ~ 1 + (1 | batch)", [(1486.4515, 1568.5485), (12.1985, 84.0631), (38.2300, 67.6577)]),
    "sleepstudy": (
        sleepstudy, "reaction ~ days + (1 + days | subject)",
        [(237.681, 265.130), (7.3587, 13.5759), (14.3814, 37.7160), (3.8012, 8.7534), (-0.4815, 0.6850), (22.8983, 28.8580)],
    ),
    "penicillin": (
        penicillin, "diameter ~ 1 + (1 | plate) + (1 | sample)",
        [(21.26663, 24.67782), (0.63357, 1.18210), (1.09579, 3.55629), (0.48585, 0.62945)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LME4)
def test_intervals_equal_lme4(name: str) -> None:
    """Coefficients, standard deviations, correlation, residual: to 3e-4 relative: lme4 reads its ends off a spline."""
    data, formula, expected = LME4[name]
    found = profile_intervals(fit_formula(formula, data()))
    assert found[["lower", "upper"]].to_numpy() == pytest.approx(np.array(expected), rel=3e-4, abs=1e-4)


def test_a_variance_of_nothing_ends_at_zero() -> None:
    """Groups that do not differ: the lower bound of their standard deviation is 0 and the upper above it."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"y": rng.normal(size=60), "g": np.tile(list("abcdef"), 10)})
    found = profile_intervals(fit_formula("y ~ 1 + (1 | g)", frame)).set_index("parameter")
    assert found.loc["sd g (Intercept)", "lower"] == 0
    assert 0 < found.loc["sd g (Intercept)", "upper"] < 1
