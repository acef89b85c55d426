"""Conditional modes and explained variance against lme4 and MuMIn."""

import pytest

from tests.stats.crossed_data import cbpp, penicillin, sleepstudy
from transect.stats.mixed.gaussian import fit_formula
from transect.stats.mixed.random_effects import conditional_modes, r_squared, residuals
from transect.stats.table.table_model import fit_table


def test_modes_of_slopes_equal_lme4() -> None:
    """ranef(lmer(Reaction ~ Days + (Days | Subject))): the first subject, and condsd 12.0709 and
    2.3048 of every one.
    """
    found = conditional_modes(fit_formula("reaction ~ days + (1 + days | subject)", sleepstudy()))
    assert found["mode"].to_list()[:4] == pytest.approx(
        [2.25856550, 9.19897190, -40.39857692, -8.61970318], abs=2e-4
    )
    assert found["se"].to_list()[:2] == pytest.approx([12.0709, 2.3048], abs=1e-3)


def test_modes_carry_the_labels_of_crossed_groups() -> None:
    """Penicillin: plate p00 0.804547 (lme4), and six samples beside 24 plates."""
    found = conditional_modes(
        fit_formula("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin())
    )
    assert found.groupby("group").size().to_dict() == {"plate": 24, "sample": 6}
    assert found.set_index("level").loc["p00", "mode"] == pytest.approx(0.804547, abs=1e-5)


def test_r_squared_equals_mumin() -> None:
    """MuMIn::r.squaredGLMM of the sleepstudy model with slopes: 0.2787 and 0.7992."""
    found = r_squared(fit_formula("reaction ~ days + (1 + days | subject)", sleepstudy()))
    assert found["marginal"] == pytest.approx(0.2787, abs=1e-4)
    assert found["conditional"] == pytest.approx(0.7992, abs=1e-4)


def test_modes_of_a_binomial_model_equal_glmer() -> None:
    """ranef(glmer(cbpp), condVar = TRUE), tolPwrss 1e-12: the first four herds; to 2e-3, the
    optimisers' difference.
    """
    fitted = fit_table(
        cbpp(), "cbind(incidence, healthy) ~ period + (1 | herd)", family="binomial"
    ).fit
    found = conditional_modes(fitted).iloc[:4]
    assert found["level"].to_list() == ["a", "b", "c", "d"]
    assert found["mode"].to_list() == pytest.approx(
        [0.59002002, -0.29889721, 0.40625557, 0.03927732], abs=2e-3
    )
    assert found["se"].to_list() == pytest.approx(
        [0.34826505, 0.3655582, 0.29731849, 0.41638818], abs=1e-3
    )


def test_residuals_are_what_the_modes_leave() -> None:
    """sleepstudy: response less fixed part less the mode of the subject, each by hand."""
    frame = sleepstudy()
    plain = fit_formula("reaction ~ days + (1 | subject)", frame)
    modes = conditional_modes(plain).set_index("level")["mode"]
    by_hand = (
        frame["reaction"]
        - plain.beta[0]
        - plain.beta[1] * frame["days"]
        - frame["subject"].map(modes)
    )
    assert residuals(plain, frame["reaction"].to_numpy()) == pytest.approx(
        by_hand.to_numpy(), abs=1e-8
    )
