"""What R's summaries show beside the effects: AIC, BIC and log likelihood of lmer, glmer and lm (R
4.2.2, lme4 1.1-31).
"""

import pytest

from tests.stats.crossed_data import cbpp, conditions, sleepstudy
from transect.stats.table.information import (
    codings,
    effect_covariance,
    information,
    residual_quantiles,
)
from transect.stats.table.table_model import fit_table

CROSSED = "(1 + cond | model) + (1 | item)"


@pytest.mark.parametrize(
    ("fixed", "log_likelihood", "aic", "bic"),
    [
        ("arch*cond + log_params", -768.59411, 1561.1882, 1616.1392),
        ("arch*log_params + cond", -770.81558, 1565.6312, 1620.5822),
    ],
)
def test_equals_lmer(fixed: str, log_likelihood: float, aic: float, bic: float) -> None:
    """REML; to 1e-3."""
    found = information(fit_table(conditions(), f"y ~ {fixed} + {CROSSED}"))
    assert [found[k] for k in ("log_likelihood", "aic", "bic")] == pytest.approx(
        [log_likelihood, aic, bic], abs=1e-3
    )


def test_equals_glmer() -> None:
    """AIC 194.05313 and BIC 204.17989, of a minimum 6e-4 above ours."""
    formula = "cbind(incidence, healthy) ~ period + (1 | herd)"
    found = information(fit_table(cbpp(), formula, family="binomial", allow_pseudoreplication=True))
    assert [found["aic"], found["bic"]] == pytest.approx([194.05313, 204.17989], abs=1e-3)


def test_equals_lm() -> None:
    """AIC 1906.29306 of lm(reaction ~ days)."""
    found = information(fit_table(sleepstudy(), "reaction ~ days", allow_pseudoreplication=True))
    assert found["aic"] == pytest.approx(1906.29306, abs=1e-5) and found["n_parameters"] == 3


def test_scaled_residuals_equal_lmer() -> None:
    """summary(lmer(Reaction ~ Days + (Days | Subject))): -3.9536, -0.4634, 0.0231, 0.4634, 5.1793."""
    found = residual_quantiles(fit_table(sleepstudy(), "reaction ~ days + (days | subject)"))
    assert list(found.values()) == pytest.approx(
        [-3.9536, -0.4634, 0.0231, 0.4634, 5.1793], abs=2e-4
    )


def test_the_reference_level_and_the_coding_are_said() -> None:
    """A treatment coding against the first level, a sum coding against none, all levels without an
    intercept.
    """
    frame = conditions()
    found = codings(fit_table(frame, f"y ~ arch + C(cond, sum) + log_params + {CROSSED}"))
    assert [(f["factor"], f["coding"], f["reference"]) for f in found] == [
        ("arch", "treatment", "dense"),
        ("C(cond, sum)", "sum", ""),
    ]
    (every,) = codings(fit_table(frame, f"y ~ 0 + arch + log_params + {CROSSED}"))
    assert every["coding"] == "every level" and every["levels"] == ["dense", "moe", "ssm"]


def test_the_covariance_of_effects_holds_their_standard_errors() -> None:
    """The roots of its diagonal."""
    model = fit_table(conditions(), f"y ~ arch + log_params + {CROSSED}")
    found = effect_covariance(model)
    assert list(found) == model.effects["term"].tolist()
    assert (found.to_numpy().diagonal() ** 0.5).tolist() == pytest.approx(
        model.effects["se"].tolist()
    )
