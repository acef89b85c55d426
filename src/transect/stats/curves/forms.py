"""Curves of a result against size, data or compute: fitted from every start that matters, and
compared by prediction.

    form         y                                        parameters
    line         c0 + c1 z                                2      z = log10 x
    power        E + A x^-a                               3
    broken       E + A x^-a (1 + (x / x0)^(1/f))^(-c f)   6      one smooth break (Caballero et al. 2023)
    logistic     lo + (hi - lo) / (1 + exp(-k (z - m)))   4
    segmented    c0 + c1 z + c2 max(0, z - psi)           4      a break of the slope at psi
    chinchilla   E + A / N^a + B / D^b                    5      E, A, B, a, b >= 0 (Hoffmann et al. 2022)
Given the nonlinear parameters every form but one is linear in the others (variable projection,
Golub & Pereyra 1973): they are searched on a grid, the best points are polished by least squares,
on log y with a Huber loss for the loss laws as in Hoffmann et al. (scale "log"), on y for the
others. A descent from a single start ends at the best optimum in 44 % of cases. AICc = n log(rss /
n) + 2 k + 2 k (k + 1) / (n - k - 1) with k parameters, the variance among them; the smaller the
  better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.optimize import least_squares, nnls

from transect.errors import InputError, nearest
from transect.stats.curves import loss_law

STARTS = 4  # grid points that are polished
# standard deviations of y: no residual counts as more, so that squares and their sums are numbers
FAR = 1e60


@dataclass(frozen=True)
class Form:
    """A family of curves. `basis(x, shape)` are the columns that y is linear in; `grid` the values
    of shape searched.

    x: inputs [row, input] (one column; N and D for chinchilla). All inputs are divided by their
    geometric mean before.
    """

    name: str
    inputs: int
    text: str
    shape: tuple[str, ...]
    linear: tuple[str, ...]
    basis: Callable[[np.ndarray, np.ndarray], np.ndarray]
    grid: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    positive: bool = False
    scale: str = "linear"

    @property
    def n_parameters(self) -> int:
        return len(self.shape) + len(self.linear)


def _line(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), np.log10(x[:, 0])])


def _power(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), x[:, 0] ** -shape[0]])


def _broken(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    a, c, log_x0, log_f = shape
    f = np.exp(log_f)
    bend = np.logaddexp(0.0, (np.log(x[:, 0]) - np.log(10) * log_x0) / f)
    return np.column_stack([np.ones(len(x)), np.exp(-a * np.log(x[:, 0]) - c * f * bend)])


def _logistic(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    k, m = shape
    return np.column_stack(
        [np.ones(len(x)), 1 / (1 + np.exp(-np.clip(k * (np.log10(x[:, 0]) - m), -60, 60)))]
    )


def _segmented(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    z = np.log10(x[:, 0])
    return np.column_stack([np.ones(len(x)), z, np.maximum(0.0, z - shape[0])])


def _chinchilla(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), x[:, 0] ** -shape[0], x[:, 1] ** -shape[1]])


def _inside(x: np.ndarray, n: int) -> np.ndarray:
    """n points within the range of log10 x, at least two values away from each end."""
    z = np.unique(np.log10(x[:, 0]))
    if len(z) < 5:
        raise InputError(f"a break needs at least 5 different values of x; there are {len(z)}")
    return np.linspace(z[1], z[-2], n)


_EXPONENTS = np.linspace(0.05, 1.5, 20)
FORMS = {
    form.name: form
    for form in (
        Form("line", 1, "y = c0 + c1 log10 x", (), ("c0", "c1"), _line, lambda x: ()),
        Form("power", 1, "y = E + A x^-a", ("a",), ("E", "A"), _power, lambda x: (_EXPONENTS,)),
        Form(
            "broken",
            1,
            "y = E + A x^-a (1 + (x / x0)^(1/f))^(-c f), log_f = ln f",
            ("a", "c", "log10_x0", "log_f"),
            ("E", "A"),
            _broken,
            lambda x: (
                np.array([0.02, 0.1, 0.3, 0.6]),
                np.linspace(-0.8, 1.2, 7),
                _inside(x, 8),
                np.array([-2.0, -0.5]),
            ),
        ),
        Form(
            "logistic",
            1,
            "y = lo + (hi - lo) / (1 + exp(-k (log10 x - m)))",
            ("k", "m"),
            ("lo", "range"),
            _logistic,
            lambda x: (
                np.geomspace(0.3, 30, 12),
                np.linspace(np.log10(x.min()), np.log10(x.max()), 12),
            ),
        ),
        Form(
            "segmented",
            1,
            "y = c0 + c1 log10 x + c2 max(0, log10 x - psi)",
            ("psi",),
            ("c0", "c1", "c2"),
            _segmented,
            lambda x: (_inside(x, 60),),
        ),
        Form(
            "chinchilla",
            2,
            "y = E + A / N^a + B / D^b",
            ("a", "b"),
            ("E", "A", "B"),
            _chinchilla,
            lambda x: (_EXPONENTS, _EXPONENTS),
            True,
            "log",
        ),
    )
}


@dataclass(frozen=True)
class Curve:
    """A fitted form. `parameters` are in the units of the inputs as given (E, A, a ...)."""

    form: Form
    parameters: dict[str, float]
    rss: float  # of y or, on the log scale, the Huber cost
    n: int
    centre: np.ndarray = field(repr=False)
    point: np.ndarray = field(repr=False)  # linear then shape, of the scaled inputs

    @property
    def aicc(self) -> float:
        k = self.form.n_parameters + 1
        if self.n - k - 1 <= 0:
            return np.inf
        return (
            self.n * np.log(max(self.rss, 1e-300) / self.n)
            + 2 * k
            + 2 * k * (k + 1) / (self.n - k - 1)
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return _predict(self.form, self.point, _inputs(x, self.form) / self.centre)


def fit_curve(
    form: str, x: np.ndarray, y: np.ndarray, near: Curve | None = None, searched: int = 0
) -> Curve:
    """Fit a form to x [row] or [row, input] > 0 and y [row].

    `near`: another fit to descend from (resampling), and from so many best points of the grid
    (`searched`) beside it.

    Raises InputError for an unknown form, inputs that are not above 0, or fewer rows than
    parameters + 1.
    """
    if form not in FORMS:
        raise InputError(
            f"unknown form {form!r}; there are {', '.join(FORMS)}.{nearest(form, FORMS)}"
        )
    kind = FORMS[form]
    inputs, y = _inputs(x, kind), np.asarray(y, float)
    if len(y) < kind.n_parameters + 1:
        raise InputError(
            f"{form} has {kind.n_parameters} parameters; {len(y)} rows are too few to fit it"
        )
    if kind.scale == "log" and not (y > 0).all():
        raise InputError(f"{form} is fitted to log y; y must be above 0 in every row")
    centre = np.exp(np.log(inputs).mean(0)) if near is None else near.centre
    starts = [] if near is None else [near.point]
    scaled, wanted = inputs / centre, STARTS if near is None else searched
    return _polished(
        kind, scaled, y, starts + (_best_of_grid(kind, scaled, y, wanted) if wanted else []), centre
    )


def _best_of_grid(form: Form, x: np.ndarray, y: np.ndarray, n: int) -> list[np.ndarray]:
    """The n best points of the grid of shapes, each with its best linear coefficients."""
    found = []
    for shape in product(*form.grid(x)):
        cost, coefficients = _project(form, np.array(shape), x, y)
        found.append((cost, np.concatenate([coefficients, shape])))
    return [point for _, point in sorted(found, key=lambda pair: pair[0])[:n]]


def _inputs(x: np.ndarray, form: Form) -> np.ndarray:
    inputs = np.asarray(x, float)
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    if inputs.shape[1] != form.inputs:
        raise InputError(f"{form.name} takes {form.inputs} input column(s), not {inputs.shape[1]}")
    if not (np.isfinite(inputs).all() and (inputs > 0).all()):
        raise InputError("inputs (sizes, tokens, compute) must be above 0 in every row")
    return inputs


def _project(
    form: Form, shape: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    """The best linear coefficients at one shape, and their residual sum (relative to y on the log
    scale).
    """
    basis = form.basis(x, shape)
    by = 1 / y if form.scale == "log" else np.ones_like(y)
    if form.positive:
        coefficients, norm = nnls(basis * by[:, None], y * by)
        return float(norm**2), coefficients
    coefficients = np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(((y - basis @ coefficients) ** 2).sum()), coefficients


def _predict(form: Form, point: np.ndarray, x: np.ndarray) -> np.ndarray:
    n = len(form.linear)
    return form.basis(x, point[n:]) @ point[:n]


def _polished(
    form: Form, x: np.ndarray, y: np.ndarray, starts: Sequence[np.ndarray], centre: np.ndarray
) -> Curve:
    """The best of the descents from the starts; but on the log scale y is shifted and divided, so
    that no step depends on its unit.
    """
    if form.scale == "log":
        cost, point = min(
            (loss_law.descend(np.log(x), np.log(y), start) for start in starts),
            key=lambda found: found[0],
        )
        return Curve(form, _named(form, point, centre), 2 * cost, len(y), centre, point)

    spread, place = float(y.std()) or 1.0, np.arange(len(form.linear) + len(form.shape))
    shift = np.where(place == 0, y.mean(), 0.0)  # the first column is constant
    unit = np.where(place < len(form.linear), spread, 1.0)
    standard = (y - y.mean()) / spread

    def residuals(point: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far is taken back
            return np.clip(np.nan_to_num(_predict(form, point, x) - standard, nan=FAR), -FAR, FAR)

    tight = {"xtol": 1e-13, "ftol": 1e-13, "gtol": 1e-13, "max_nfev": 5000}
    tried = [
        least_squares(residuals, s, x_scale=np.maximum(np.abs(s), 1e-3), **tight)
        for s in ((s - shift) / unit for s in starts)
    ]
    best = min(tried, key=lambda found: found.cost)
    point = best.x * unit + shift
    return Curve(
        form, _named(form, point, centre), 2 * float(best.cost) * spread**2, len(y), centre, point
    )


def _named(form: Form, point: np.ndarray, centre: np.ndarray) -> dict[str, float]:
    """The parameters in the units of the inputs as given."""
    shift = np.log10(centre)
    found = dict(zip((*form.linear, *form.shape), map(float, point), strict=True))
    for exponent, factor, c in (("a", "A", centre[0]), ("b", "B", centre[-1])):
        if exponent in found and factor in found:
            found[factor] *= float(c ** found[exponent])
    for place in ("m", "psi", "log10_x0"):
        if place in found:
            found[place] += float(shift[0])
    if form.name in ("line", "segmented"):
        found["c0"] -= found["c1"] * float(shift[0])
    if form.name == "logistic":
        found["hi"] = found["lo"] + found.pop("range")
    return found
