"""Tests between models against R: anova() of lme4 1.1-31, PBmodcomp of pbkrtest 0.5.2."""

from typing import Any

import pytest

from tests.stats.crossed_data import cbpp, conditions, sleepstudy
from transect.errors import InputError
from transect.stats.table.comparison import compare

CASES: dict[str, tuple[Any, str, str, dict[str, Any], float, int, float]] = {
    "fixed": (
        sleepstudy,
        "reaction ~ days + (1 + days | subject)",
        "reaction ~ 1 + (1 + days | subject)",
        {},
        23.53654,
        1,
        1.2256e-06,
    ),
    "variance": (
        sleepstudy,
        "reaction ~ days + (1 + days | subject)",
        "reaction ~ days + (1 | subject)",
        {},
        42.1393,
        2,
        7.0724e-10,
    ),
    "binomial": (
        cbpp,
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        "cbind(incidence, healthy) ~ 1 + (1 | herd)",
        {"family": "binomial"},
        25.610063,
        3,
        1.1509367e-05,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_chi_squared_equals_lme4(name: str) -> None:
    """anova(larger, smaller), both by maximum likelihood: chi2 to 1e-4, df, p to 1e-3 relative."""
    data, larger, smaller, options, chi2, df, p = CASES[name]
    found = compare(data(), larger, smaller, n=1, **options)
    assert found["chi2"] == pytest.approx(chi2, abs=2e-4)
    assert (found["df"], found["same_fixed"]) == (df, name == "variance")
    assert found["p_chi2"] == pytest.approx(p, rel=1e-3)


def test_the_bootstrap_agrees_with_pbkrtest() -> None:
    """1,000 samples of PBmodcomp: p 0.0210 (SE 0.0045), where chi-squared says 0.01097; 150 here:
    within 3 SE of both.
    """
    formulas = (
        "y ~ arch + log_params + (1 | model) + (1 | item)",
        "y ~ log_params + (1 | model) + (1 | item)",
    )
    found = compare(conditions(), *formulas, n=150, seed=2)
    assert found["chi2"] == pytest.approx(9.0249249, abs=1e-4)
    assert found["p"] == pytest.approx(0.0210, abs=3 * (found["p_se"] + 0.0045))
    assert found["p_se"] == pytest.approx((found["p"] * (1 - found["p"]) / 150) ** 0.5)


@pytest.mark.parametrize(
    ("smaller", "message"),
    [
        ("reaction ~ days", "has no random term"),
        ("reaction ~ age + (1 | subject)", "not nested: age"),
        ("reaction ~ days + (1 | half)", "is in no random term"),
        ("reaction ~ 1 + (1 + age | subject)", "is in no random term"),
        ("age ~ days + (1 | subject)", "different responses"),
        ("reaction ~ days + (1 | subject) + (0 + days | subject)", "as many parameters"),
        (
            "reaction ~ gap + (1 | subject)",
            r"different rows \(180 and 179\), for missing values in gap",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(smaller: str, message: str) -> None:
    """One sentence for each."""
    frame = sleepstudy().assign(
        age=lambda t: t["days"] ** 2 % 7, half=lambda t: t["days"].map("d{}".format)
    )
    frame["gap"] = frame["days"].astype(float).where(frame.index != 3)
    with pytest.raises(InputError, match=message):
        compare(frame, "reaction ~ days + (1 | subject) + (0 + days | subject)", smaller, n=1)


def test_correlated_slopes_contain_uncorrelated_ones() -> None:
    """One parameter, the correlation; the other way round is refused."""
    formulas = ("reaction ~ days + (1 + days | subject)", "reaction ~ days + (1 + days || subject)")
    assert compare(sleepstudy(), *formulas, n=1)["df"] == 1
    with pytest.raises(InputError, match="not nested"):
        compare(sleepstudy(), *formulas[::-1], n=1)
