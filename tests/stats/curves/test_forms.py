"""Curve forms recover what was planted."""

import numpy as np
import pytest

from transect.errors import InputError
from transect.stats.curves import loss_law
from transect.stats.curves.forms import fit_curve

NOISE = 0.005
PLANTED = {
    "line": ({"c0": 3.0, "c1": -0.1}, lambda x: 3 - 0.1 * np.log10(x)),
    "power": ({"E": 1.7, "a": 0.2}, lambda x: 1.7 + 40 * x**-0.2),
    "logistic": (
        {"lo": 0.25, "hi": 0.85, "k": 3.0, "m": 8.5},
        lambda x: 0.25 + 0.6 / (1 + np.exp(-3 * (np.log10(x) - 8.5))),
    ),
    "segmented": (
        {"psi": 8.7, "c2": 0.3},
        lambda x: 0.3 + 0.02 * np.log10(x) + 0.3 * np.maximum(0, np.log10(x) - 8.7),
    ),
    "broken": (
        {"a": 0.1, "c": 0.3, "log10_x0": 9.0},
        lambda x: 1 + 30 * x**-0.1 * (1 + (x / 1e9) ** (1 / 0.3)) ** -0.09,
    ),
}


def _x(n: int = 80) -> np.ndarray:
    return 10 ** np.random.default_rng(0).uniform(6, 11, n)


@pytest.mark.parametrize("form", PLANTED)
def test_planted_parameters_are_found(form: str) -> None:
    """80 points with noise of 0.005: every planted parameter to 3 %, and residuals no larger than
    the noise.
    """
    truth, function = PLANTED[form]
    x = _x()
    found = fit_curve(form, x, function(x) + np.random.default_rng(1).normal(0, NOISE, len(x)))
    assert np.sqrt(found.rss / len(x)) < 1.2 * NOISE
    for name, value in truth.items():
        assert found.parameters[name] == pytest.approx(value, rel=0.03), name


@pytest.mark.parametrize("form", ["power", "logistic", "segmented"])
def test_aicc_prefers_the_form_that_was_planted(form: str) -> None:
    """Against line and the other three-to-four-parameter forms."""
    x = _x()
    y = PLANTED[form][1](x) + np.random.default_rng(2).normal(0, NOISE, len(x))
    scores = {f: fit_curve(f, x, y).aicc for f in ("line", "power", "logistic", "segmented")}
    assert min(scores, key=lambda f: scores[f]) == form


def test_a_loss_surface_over_size_and_data_is_found() -> None:
    """E 1.69, A 406.4, B 410.7, a .34, b .28 (Hoffmann et al. 2022) without noise: to 1e-3."""
    rng = np.random.default_rng(3)
    x = np.column_stack([10 ** rng.uniform(7.5, 10.2, 120), 10 ** rng.uniform(9, 11.8, 120)])
    y = 1.69 + 406.4 * x[:, 0] ** -0.34 + 410.7 * x[:, 1] ** -0.28
    found = fit_curve("chinchilla", x, y).parameters
    for name, value in {"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name


def test_units_of_the_inputs_do_not_matter() -> None:
    """Sizes in millions instead of ones: the same exponent and the same predictions."""
    x = _x()
    y = PLANTED["power"][1](x)
    ones, millions = fit_curve("power", x, y), fit_curve("power", x / 1e6, y)
    assert millions.parameters["a"] == pytest.approx(ones.parameters["a"], rel=1e-4)
    assert millions(x / 1e6) == pytest.approx(ones(x), abs=1e-6)


@pytest.mark.parametrize(
    ("form", "x", "message"),
    [
        ("powr", [1.0, 2, 3], "Did you mean 'power'"),
        ("power", [0.0, 1, 2, 3, 4], "above 0"),
        ("power", [1.0, 2, 3], "too few"),
    ],
)
def test_what_cannot_be_fitted_is_refused(form: str, x: list[float], message: str) -> None:
    """Unknown forms, sizes of 0, too few rows."""
    with pytest.raises(InputError, match=message):
        fit_curve(form, np.array(x), np.arange(len(x), dtype=float))


def test_exponents_of_the_loss_law_are_not_negative() -> None:
    """Results that rise with size and data: both exponents at least 0."""
    rng = np.random.default_rng(4)
    x = 10 ** rng.uniform(7, 11, (80, 2))
    found = fit_curve("chinchilla", x, 0.1 * np.log10(x).sum(1))
    assert found.parameters["a"] >= 0 and found.parameters["b"] >= 0


def test_the_gradient_of_the_loss_law_is_that_of_its_cost() -> None:
    """Against central differences, to 1e-4, among small and large residuals."""
    rng = np.random.default_rng(5)
    log_x, log_y = rng.normal(size=(20, 2)), 1 + rng.normal(0, 0.002, 20)
    point = np.array([0.6, -1.2, -1.0, 0.3, 0.2])
    steps = 1e-7 * np.eye(5)
    slopes = [
        (loss_law._cost(point + s, log_x, log_y)[0] - loss_law._cost(point - s, log_x, log_y)[0])
        / 2e-7
        for s in steps
    ]
    assert loss_law._cost(point, log_x, log_y)[1] == pytest.approx(slopes, abs=1e-4)


@pytest.mark.parametrize("form", ["line", "power", "logistic", "segmented"])
@pytest.mark.parametrize(("factor", "offset"), [(1e-20, 0.0), (1e12, 0.0), (1.0, 1e3)])
def test_units_of_y_do_not_matter(form: str, factor: float, offset: float) -> None:
    """y in another unit has the same fitted values (1e-4 of the noise) and residuals (1e-6), in
    that unit.
    """
    x = _x()
    planted = (
        1 / (1 + np.exp(-2 * (np.log10(x) - 8.5))) if form == "logistic" else 1.7 + 40 * x**-0.2
    )
    y = planted + np.random.default_rng(4).normal(0, 0.01, len(x))
    found, other = fit_curve(form, x, y), fit_curve(form, x, y * factor + offset)
    assert other.rss == pytest.approx(found.rss * factor**2, rel=1e-6)
    assert (other(x) - offset) / factor == pytest.approx(found(x), abs=1e-6)
