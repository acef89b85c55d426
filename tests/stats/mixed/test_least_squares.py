"""Formulas without random effects: lm and glm of R 4.2.2 on tables of tests/stats/crossed_data.py."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, sleepstudy
from transect.errors import InputError
from transect.stats.table.table_model import fit_table


def test_equals_lm() -> None:
    """summary(lm(reaction ~ days)): 251.405105 (6.610154), 10.467286 (1.238195), R2 .286471, -2
    logLik 1900.29306.
    """
    found = fit_table(sleepstudy(), "reaction ~ days", allow_pseudoreplication=True)
    effects = found.effects.set_index("term")
    assert effects["estimate"].tolist() == pytest.approx([251.405105, 10.467286], abs=1e-6)
    assert effects["se"].tolist() == pytest.approx([6.61015404, 1.23819530], rel=1e-8)
    assert effects["df"].tolist() == [178, 178] and found.method == "least squares"
    assert found.as_json()["r_squared"]["r_squared"] == pytest.approx(0.286471395, abs=1e-9)
    assert found.as_json()["criterion"] == pytest.approx(1900.29306, abs=1e-5)


def test_equals_glm() -> None:
    """summary(glm(cbind(incidence, healthy) ~ period, binomial)): coefficients, standard errors and
    -2 logLik.
    """
    found = fit_table(
        cbpp(),
        "cbind(incidence, healthy) ~ period",
        family="binomial",
        allow_pseudoreplication=True,
    )
    assert found.effects["estimate"].tolist() == pytest.approx(
        [-1.26902349, -1.17076273, -1.30140533, -1.78227864], abs=1e-7
    )
    assert found.effects["se"].tolist() == pytest.approx(
        [0.144919762, 0.291467788, 0.312881172, 0.413056443], rel=1e-6
    )
    assert found.fit.criterion == pytest.approx(198.058399, abs=1e-5)


@pytest.mark.parametrize("k", [1e-9, 1e-4, 1e5, 1e12])
def test_units_change_nothing(k: float) -> None:
    """t, df and R2 do not depend on the units of a predictor, estimates and standard errors go with
    them.
    """
    frame = sleepstudy()
    one, other = (
        fit_table(
            frame.assign(days=frame["days"] * scale),
            "reaction ~ days",
            allow_pseudoreplication=True,
        )
        for scale in (1.0, k)
    )
    assert other.effects["se"][1] * k == pytest.approx(one.effects["se"][1], rel=1e-9)
    assert other.effects["p"].tolist() == pytest.approx(one.effects["p"].tolist(), rel=1e-9)


def test_rows_of_one_level_are_not_independent() -> None:
    """A predictor of whole subjects is refused against rows, as in a mixed model."""
    frame = sleepstudy().assign(age=lambda t: t["subject"].str[1:].astype(int) % 7 + 20)
    with pytest.raises(
        InputError, match=r"'age' does not vary within subject .* Add \(1 \| subject\)"
    ):
        fit_table(frame, "reaction ~ age")


def test_what_needs_random_effects_says_so() -> None:
    """Random effects of a formula that has none: the formula and what it lacks."""
    found = fit_table(sleepstudy(), "reaction ~ days", allow_pseudoreplication=True)
    with pytest.raises(
        InputError, match=r"'reaction ~ days' has no random term such as \(1 \| item\)"
    ):
        _ = found.mixed


def test_an_exact_line_has_no_error() -> None:
    """y = 2 x: no residual variance."""
    frame = pd.DataFrame({"x": np.arange(9.0), "y": 2 * np.arange(9.0)})
    with pytest.raises(InputError, match="fit the data exactly"):
        fit_table(frame, "y ~ x")


def test_separation_is_refused() -> None:
    """A period without any case."""
    frame = cbpp().assign(incidence=lambda t: t["incidence"].where(t["period"] != "4", 0))
    with pytest.raises(InputError, match=r"complete separation: period\[4\]"):
        fit_table(
            frame.assign(healthy=frame["size"] - frame["incidence"]),
            "cbind(incidence, healthy) ~ period",
            family="binomial",
            allow_pseudoreplication=True,
        )
