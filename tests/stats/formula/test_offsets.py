"""Offsets of formulas against R 4.2: lm, glm, lme4 1.1-31, emmeans."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, sleepstudy
from transect.errors import InputError
from transect.stats.formula.notation import parse
from transect.stats.formula.offsets import offset_of
from transect.stats.mixed.bootstrap import simulate
from transect.stats.table.comparison import compare
from transect.stats.table.influence import influence
from transect.stats.table.information import residual_quantiles
from transect.stats.table.marginal_means import marginal_means
from transect.stats.table.table_model import TableModel, fit_table
from transect.stats.table.table_prediction import predictions

LINEAR = "reaction ~ days + offset(log1p(days)) + (days | subject)"
COUNTS = "cbind(incidence, healthy) ~ period + offset(log(size)) + (1 | herd)"


def _linear() -> TableModel:
    return fit_table(sleepstudy(), LINEAR)


def _counts(formula: str = COUNTS, method: str = "Laplace") -> TableModel:
    return fit_table(
        cbpp(), formula, family="binomial", method=method, allow_pseudoreplication=True
    )


def test_a_linear_mixed_model_equals_lme4() -> None:
    """lmer: REML criterion to 1e-4, coefficients and standard errors to 1e-6 and 1e-5 relative."""
    model = _linear()
    assert model.fit.criterion == pytest.approx(1743.93819, abs=1e-4)
    assert model.fit.beta.tolist() == pytest.approx([250.9314942, 10.2368792], rel=1e-6)
    assert model.effects["se"].tolist() == pytest.approx([6.82455640, 1.54578889], rel=1e-5)


def test_predictions_hold_the_offset() -> None:
    """fitted(m)[c(1, 2, 180)], predict(m, re.form = NA)[c(1, 10)] of lmer, and what is left of y:
    to 2e-3.
    """
    found = predictions(_linear(), sleepstudy())
    assert found[".fitted"][[0, 1, 179]].tolist() == pytest.approx(
        [253.210466, 273.334943, 369.238423], abs=2e-3
    )
    assert found[".fixed"][[0, 9]].tolist() == pytest.approx([250.931494, 345.365992], abs=1e-4)
    assert (sleepstudy()["reaction"] - found[".fitted"]).tolist() == pytest.approx(
        found[".residual"].tolist()
    )
    assert ((found[".lower"] < found[".fitted"]) & (found[".fitted"] < found[".upper"])).all()


def test_least_squares_equals_lm() -> None:
    """Coefficients and standard errors to 1e-8 relative; a fitted value."""
    model = fit_table(
        sleepstudy(), "reaction ~ days + offset(log1p(days))", allow_pseudoreplication=True
    )
    assert model.fit.beta.tolist() == pytest.approx([250.9314942, 10.2368792], rel=1e-8)
    assert model.effects["se"].tolist() == pytest.approx([6.61181102, 1.23850568], rel=1e-8)
    assert predictions(model, sleepstudy())[".fitted"][1] == pytest.approx(261.861521)


def test_a_binomial_mixed_model_equals_glmer() -> None:
    """With tolPwrss = 1e-13: -2 log L to 1e-6, coefficients to 2e-5, standard errors to 1e-4
    relative, fitted to 1e-5.
    """
    model = _counts()
    assert model.fit.criterion == pytest.approx(187.74342179, abs=1e-6)
    assert model.fit.beta.tolist() == pytest.approx(
        [-4.349946, -0.801962, -0.842019, -1.241534], abs=2e-5
    )
    assert model.effects["se"].tolist() == pytest.approx(
        [0.2715726, 0.3132492, 0.3327587, 0.4367711], rel=1e-4
    )
    assert predictions(model, cbpp())[".fitted"][:2].tolist() == pytest.approx(
        [0.320325674, 0.153372904], abs=1e-5
    )


def test_quadrature_equals_glmer() -> None:
    """nAGQ = 9: coefficients to 1e-3."""
    found = _counts(method="nAGQ=9").fit.beta
    assert found.tolist() == pytest.approx(
        [-4.3503049, -0.8009567, -0.8410382, -1.2402295], abs=1e-3
    )


def test_logistic_regression_equals_glm() -> None:
    """With epsilon = 1e-14: coefficients, standard errors and log likelihood to 1e-6."""
    model = _counts("cbind(incidence, healthy) ~ period + offset(log(size))")
    assert model.fit.beta.tolist() == pytest.approx(
        [-4.27551564, -1.08104425, -1.11868192, -1.62223342], abs=1e-6
    )
    assert model.effects["se"].tolist() == pytest.approx(
        [0.146136676, 0.293068, 0.314342, 0.414739], abs=1e-6
    )
    assert model.fit.criterion == pytest.approx(2 * 107.1292877, abs=1e-6)


def test_marginal_means_are_at_the_offsets_mean() -> None:
    """emmeans(m, "period") of glmer: -1.81, -2.61, -2.65, -3.05; differences are the coefficients."""
    means, differences = marginal_means(_counts(), ["period"])
    assert means["estimate"].tolist() == pytest.approx([-1.81, -2.61, -2.65, -3.05], abs=6e-3)
    assert differences["estimate"][0] == pytest.approx(0.801962, abs=2e-5)


def test_models_with_the_same_offset_are_compared() -> None:
    """anova() of two glmer fits: chi2 14.36927 on 3; another offset is refused."""
    options = {"family": "binomial", "allow_pseudoreplication": True}
    smaller = "cbind(incidence, healthy) ~ 1 + offset(log(size)) + (1 | herd)"
    found = compare(cbpp(), COUNTS, smaller, n=1, family=options["family"])
    assert (found["chi2"], found["df"]) == (pytest.approx(14.3692685, abs=1e-5), 3)
    with pytest.raises(InputError, match="different offsets"):
        compare(
            cbpp(),
            COUNTS,
            "cbind(incidence, healthy) ~ 1 + (1 | herd)",
            n=1,
            family=options["family"],
        )


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_an_offset_in_the_columns_span_changes_nothing_but_their_coefficients(family: str) -> None:
    """offset(days) takes 1 from the slope of days: criterion, residuals, influence and simulated
    responses stay.
    """
    frame = sleepstudy().assign(won=lambda d: (d["reaction"] > 290).astype(int))
    text = f"{'reaction' if family == 'gaussian' else 'won'} ~ days + (1 | subject)"
    plain, other = (
        fit_table(frame, t, family=family, allow_pseudoreplication=True)
        for t in (text, text.replace("(1", "offset(days) + (1"))
    )
    assert (plain.fit.beta - other.fit.beta).tolist() == pytest.approx([0, 1], abs=1e-4)
    assert plain.fit.criterion == pytest.approx(other.fit.criterion, abs=1e-5)
    assert residual_quantiles(plain) == pytest.approx(residual_quantiles(other), abs=1e-3)
    draws = [simulate(m.mixed, np.random.default_rng(1)) for m in (plain, other)]
    expected = draws[1] + (frame["days"] if family == "gaussian" else 0)
    assert draws[0].tolist() == pytest.approx(expected.tolist(), abs=1e-2)
    part = frame.assign(half=np.where(frame["subject"] < "s09", "a", "b"))
    low, high = (
        influence(m, part, ["half"]).left_out.query("term == 'days'")["estimate"]
        for m in (plain, other)
    )
    assert (low.to_numpy() - high.to_numpy()).tolist() == pytest.approx([1, 1], abs=1e-3)


def test_several_offsets_are_added_up() -> None:
    """Wherever they stand, beside terms and random terms; one that is written twice counts once
    (R's terms).
    """
    parsed = parse("y ~ offset(a) + x*z + (1 | g) + offset(log(b)) + offset(a)", offsets=True)
    assert parsed.offsets == ("a", "log(b)")
    assert parsed.fixed == parse("y ~ x*z + (1 | g)").fixed
    assert parsed.columns == ["y", "x", "z", "g", "a", "b"]
    assert offset_of(
        parsed, pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, np.e]})
    ).tolist() == pytest.approx([1, 3])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("y ~ x - offset(z)", "an offset is added"),
        ("y ~ x:offset(z)", "an offset is a term of its own"),
        ("y ~ x + (1 + offset(z) | g)", "an offset is a term of its own"),
        ("y ~ x + offset(factor(z))", "one of its log, log2"),
        ("y ~ x + offset(z + w)", "neither a column nor a transform"),
    ],
)
def test_what_is_no_offset_is_refused(text: str, sentence: str) -> None:
    """In one sentence that says what one is."""
    with pytest.raises(InputError, match=sentence):
        parse(text, offsets=True)


def test_an_analysis_without_offsets_refuses_them() -> None:
    """None is dropped in silence."""
    with pytest.raises(InputError, match="analyses of a study and --relatedness take none"):
        parse("value ~ x + offset(z)")


def test_an_offset_of_text_is_refused() -> None:
    """Levels are no numbers."""
    with pytest.raises(InputError, match=r"offset\(subject\): the column holds text"):
        fit_table(sleepstudy(), "reaction ~ days + offset(subject) + (1 | subject)")
