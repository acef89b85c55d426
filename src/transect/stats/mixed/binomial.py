"""Generalized linear mixed models for binomial responses with crossed random effects: logit link,
Laplace approximation.

    logit p = X beta + Z b,  b = Lambda(theta) u,  u ~ N(0, I),  y ~ Binomial(n, p)
    -2 log L ~ min over u of [d(y | u) + u'u] + log |Lambda'Z'WZ Lambda + I|,  d = -2 log p(y | u),  W = n p (1 - p)

method "Laplace" (lme4's nAGQ = 1) minimises this over theta and beta; "nAGQ=0" finds beta together
with u and minimises over theta alone: much faster, coefficients some per cent nearer to 0; "nAGQ=9"
takes the integral of each level at 9 points (adaptive Gauss-Hermite quadrature), for one random
effect. No correction of degrees of freedom exists: the intervals are normal (df infinite), and too
narrow with few units; use the parametric bootstrap (stats/mixed/bootstrap.py). A fit is accepted where
the Hessian of the deviance is positive definite and a Newton step would lower it by less than LEFT
(off the edges of theta; lme4 looks at the same quantity, the gradient scaled by the Hessian). The
search is in standard columns (stats/mixed/standard_units.py), so that no number depends on the units of a
predictor. Sources: Breslow & Clayton (1993); Bates et al. (2015), lme4's penalised iteratively
reweighted least squares.
"""

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from transect.errors import InputError
from transect.stats.inference.intervals import t_interval
from transect.stats.inference.linear import column_rank
from transect.stats.mixed.complete_separation import separating_columns
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.df_bound import DfBound
from transect.stats.mixed.laplace import Laplace

MOST_POINTS = 100
STEP = 1e-4  # of the optimiser's differences: the inner iterations end at 1e-13 of the deviance
EDGE = 2e-3  # a standard deviation below this (on the logit scale) counts as 0
INSIDE = (0.03, 0.1, 0.2, 0.4)  # a small variance is found only from nearby
NEAR_EDGE = 1e-2  # below this the search starts again from within
LEFT = 1e-4  # of the deviance, by a Newton step; moves a coefficient by 1e-2 standard errors
NEWTON = 4  # steps at most
NOT_CONVERGED = "the fit did not converge, so nothing is reported; rescale numeric predictors with scale(x), or leave out random slopes"


@dataclass(frozen=True)
class GeneralizedFit:
    """A fitted model; `vcov` of the coefficients on the logit scale, `components` the variances of
    the random effects.
    """

    names: list[str]
    beta: np.ndarray
    vcov: np.ndarray
    theta: np.ndarray
    criterion: float  # -2 log likelihood, constants included
    components: pd.DataFrame
    n: int
    method: str
    laplace: Laplace = field(repr=False)
    left: float = 0.0  # of the deviance, that one more Newton step would gain (Laplace)

    def fixed_part(self) -> np.ndarray:
        """X beta and the offset of every row."""
        return self.laplace.x @ self.beta + self.laplace.offset

    def contrasts(self, weights: np.ndarray, bounds: Sequence[DfBound] = ()) -> pd.DataFrame:
        """One row per row of `weights` [contrast, coefficient]; df: the least of the coarsest
        units' (without: infinite, normal intervals).
        """
        weights, df = np.atleast_2d(weights), min((bound.df for bound in bounds), default=np.inf)
        se = np.sqrt(np.einsum("ij,jk,ik->i", weights, self.vcov, weights))
        return pd.DataFrame(
            [t_interval(e, s, df) for e, s in zip(weights @ self.beta, se, strict=True)]
        )

    def coefficients(self) -> pd.DataFrame:
        table = self.contrasts(np.eye(len(self.beta)))
        table.insert(0, "term", self.names)
        return table


def fit_binomial(
    successes: np.ndarray,
    trials: np.ndarray,
    x: np.ndarray,
    names: Sequence[str],
    terms: Sequence[Grouping],
    method: str = "Laplace",
    start: GeneralizedFit | None = None,
    offset: np.ndarray | None = None,
) -> GeneralizedFit:
    """Fit successes out of trials [row] ~ x + offset + random terms, from the estimates of `start`
    on where it is given.

    Raises InputError for responses that are no counts, all equal, separated by the predictors, for
    columns that are not independent, and for a fit that does not converge.
    """
    successes, trials = np.asarray(successes, float), np.asarray(trials, float)
    if not ((successes >= 0) & (successes <= trials) & (trials > 0)).all():
        raise InputError(
            "a binomial response needs 0 <= successes <= trials, and at least one trial, in every row"
        )
    if successes.sum() in (0, trials.sum()):
        raise InputError(
            "a binomial response that is the same in every trial has nothing to explain"
        )
    if column_rank(x) < x.shape[1]:
        raise InputError(
            f"the fixed effects {', '.join(names)} are not independent: some are aliased"
        )
    lost = [names[j] for j in separating_columns(successes, trials, x)]
    if lost:
        raise InputError(
            f"complete separation: {', '.join([n for n in lost if n != '(Intercept)'] or lost)} tell successes from failures "
            "without error in some rows, so their coefficients have no finite estimate; leave them out or merge levels"
        )
    model = Laplace(successes, trials, x, terms, points_of(method, terms), offset)
    first = (
        model.start
        if start is None
        else model.without.start_from(start.laplace.without, start.theta)
    )
    try:
        fitted = _fitted(model, first, names, method)
    except (
        np.linalg.LinAlgError,
        FloatingPointError,
        ValueError,
    ) as error:  # no factor, or numbers beyond all bounds
        raise InputError(NOT_CONVERGED) from error
    left = fitted.left
    if method == "nAGQ=0":
        left = _left(
            *_quadratic(
                model.joint, fitted.theta, _steps(model.joint, fitted.theta, model.diagonal)
            )
        )[0]
        model.joint(fitted.theta)  # leaves the modes of the estimates behind
    if not left < LEFT:
        raise InputError(NOT_CONVERGED)
    return fitted


def points_of(method: str, terms: Sequence[Grouping]) -> int:
    """Of the quadrature: 1 for the Laplace approximation. Raises InputError for another method, and
    for what has no quadrature.
    """
    match = re.fullmatch(r"nAGQ=(\d+)", method)
    if method == "Laplace" or (match and match.group(1) in ("0", "1")):
        return 1
    if not match or int(match.group(1)) > MOST_POINTS:
        raise InputError(
            f"method '{method}': allowed are Laplace, nAGQ=0 and nAGQ=2 to nAGQ={MOST_POINTS}"
        )
    effects = [f"({effect} | {t.name})" for t in terms for effect in t.effects]
    if len(effects) > 1:
        raise InputError(
            f"adaptive quadrature is for one random effect; the formula has {', '.join(effects)}. Leave it out for the Laplace "
            "approximation"
        )
    return int(match.group(1))


def refit_binomial(fitted: GeneralizedFit, successes: np.ndarray) -> GeneralizedFit:
    """The same model fitted to other successes of the same trials, from the old estimates on
    (bootstrap).

    Its `vcov` is that given theta, also by Laplace: the curvature would cost more than the fit.
    """
    model = copy(fitted.laplace)
    model.set_successes(np.asarray(successes, float))
    theta = np.where(model.diagonal, np.maximum(fitted.theta, 0.2), fitted.theta)
    if fitted.method == "nAGQ=0":
        return _fitted(model, theta, fitted.names, fitted.method)
    model.joint(theta)
    root, beta = np.linalg.cholesky(model.vcov), model.beta.copy()
    best = _descend_all(model, theta, beta, root)
    n = len(theta)
    edge = model.diagonal & (best.x[:n] < NEAR_EDGE)
    if edge.any():  # 0 is stationary, as in `_optimise_theta`
        other = _descend_all(model, np.where(edge, 0.3, best.x[:n]), root @ best.x[n:], root)
        best = other if other.fun < best.fun else best
    theta, beta = best.x[:n], root @ best.x[n:]
    model.joint(theta)
    vcov, criterion = model.vcov, model.at(theta, beta)
    return _given(model, fitted.names, theta, beta, vcov, criterion, fitted.method, np.nan)


def _fitted(model: Laplace, start: np.ndarray, names: Sequence[str], method: str) -> GeneralizedFit:
    theta = _optimise_theta(model, start)
    criterion, left = model.joint(theta), 0.0
    beta, vcov = model.beta.copy(), model.vcov
    if method != "nAGQ=0":
        theta, beta, vcov, criterion, left = _optimise_all(
            model, theta, beta, np.linalg.cholesky(vcov)
        )
    return _given(model, names, theta, beta, vcov, criterion, method, left)


def _given(
    model: Laplace,
    names: Sequence[str],
    theta: np.ndarray,
    beta: np.ndarray,
    vcov: np.ndarray,
    criterion: float,
    method: str,
    left: float,
) -> GeneralizedFit:
    """The fit in the given units, from coefficients of the standard columns."""
    fixed, parts = model.with_beta.fixed, model.components(theta)
    beta, vcov = fixed.coefficients(beta), fixed.inverse @ vcov @ fixed.inverse.T
    return GeneralizedFit(
        list(names), beta, vcov, theta, criterion, parts, len(model.trials), method, model, left
    )


def _optimise_theta(model: Laplace, start: np.ndarray) -> np.ndarray:
    bounds = [(0, None) if d else (None, None) for d in model.diagonal]

    def descend(start: np.ndarray):  # type: ignore[no-untyped-def]
        options = {"ftol": 1e-11, "gtol": 1e-3, "eps": STEP}
        return minimize(model.joint, start, method="L-BFGS-B", bounds=bounds, options=options)

    best = descend(start)
    edge = model.diagonal & (best.x < NEAR_EDGE)
    # the deviance is even in each diagonal element, so 0 is always stationary: look again from
    # within
    if edge.any():
        other = descend(np.where(edge, 0.3, best.x))
        best = other if other.fun < best.fun else best
    within = _within(model, model.joint, best.x, best.fun)
    return best.x if within is None else descend(within).x


def _within(
    model: Laplace, f: Callable[[np.ndarray], float], point: np.ndarray, value: float
) -> np.ndarray | None:
    """Where a deviance of theta (and more) is smallest near its edges, on either side of them; None
    where that is no lower.
    """
    n = len(model.diagonal)
    near = []
    for size in INSIDE:
        for i in np.flatnonzero(model.diagonal & (point[:n] < NEAR_EDGE)):
            near.append(np.where(np.arange(len(point)) == i, size, point))
        near += [
            np.append(theta, point[n:]) for theta in model.without.across_the_edge(point[:n], size)
        ]
    best = min(near, key=f, default=None)
    return best if best is not None and f(best) < value - 1e-6 else None


def _descend_all(model: Laplace, theta: np.ndarray, beta: np.ndarray, root: np.ndarray):  # type: ignore[no-untyped-def]
    """theta and root^-1 beta at the minimum; root a factor of beta's covariance, by which its
    elements hardly depend on each other.
    """
    n = len(theta)
    bounds = [
        (0, None) if d else (None, None)
        for d in np.append(model.diagonal, np.zeros(len(beta), bool))
    ]
    return minimize(
        lambda z: model.at(z[:n], root @ z[n:]),
        np.append(theta, np.linalg.solve(root, beta)),
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-11, "gtol": 1e-3, "eps": STEP},
    )


def _optimise_all(
    model: Laplace, theta: np.ndarray, beta: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """theta, beta, its covariance (the curvature over theta and beta, as in lme4), the deviance at
    the minimum, and `_left`.
    """
    n = len(theta)

    def at(z: np.ndarray) -> float:
        return model.at(z[:n], root @ z[n:])

    diagonal = np.append(model.diagonal, np.zeros(len(beta), bool))
    best = _descend_all(model, theta, beta, root)
    if (within := _within(model, at, best.x, best.fun)) is not None:
        best = _descend_all(model, within[:n], root @ within[n:], root)
    point, value = best.x.copy(), best.fun
    for _ in range(NEWTON):
        steps = _steps(at, point, diagonal)
        gradient, hessian = _quadratic(at, point, steps)
        left, step = _left(gradient, hessian)
        candidate = point.copy()
        candidate[steps > 0] -= step
        if (candidate[diagonal] < 0).any() or (new := at(candidate)) > value:
            break
        point, value = candidate, new
        if left < LEFT / 10:  # of this step; the next one would gain about the square of that
            break
    value = at(point)
    covariance = 2 * root @ np.linalg.pinv(hessian)[-len(beta) :, -len(beta) :] @ root.T
    return point[:n], root @ point[n:], covariance, value, left


def _left(gradient: np.ndarray, hessian: np.ndarray) -> tuple[float, np.ndarray]:
    """What a Newton step lowers a deviance by (infinite where it is no bowl there), and that step."""
    step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
    bowl = len(hessian) == 0 or np.linalg.eigvalsh(hessian)[0] > 0
    return (float(gradient @ step) / 2 if bowl else np.inf), step


def _steps(f, point: np.ndarray, diagonal: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Steps of the differences: 0.01, at most 0.03 standard errors and short of the edge at 0; 0
    for what lies on it.

    With many trials 0.01 may be a whole standard error of theta, and the third derivative would
    pass for a slope.
    """
    sizes, middle = (
        np.where(diagonal, np.where(point < EDGE, 0.0, np.minimum(1e-2, point / 2)), 1e-2),
        f(point),
    )
    for i, e in enumerate(np.diag(sizes)):
        bend = f(point + e) - 2 * middle + f(point - e) if sizes[i] else 0.0
        sizes[i] *= min(1.0, 0.03 * np.sqrt(2 / bend)) if bend > 0 else 1.0
    return sizes


def _quadratic(f, x: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Gradient and Hessian over the elements with a step above 0, by central differences."""
    steps, h = np.diag(size)[size > 0], size[size > 0]
    middle = f(x)
    up, down = np.array([f(x + e) for e in steps]), np.array([f(x - e) for e in steps])
    gradient = (up - down) / (2 * h)
    hessian = np.diag((up - 2 * middle + down) / h**2)
    for i in range(len(steps)):
        for j in range(i):
            both = f(x + steps[i] + steps[j]) - f(x + steps[i] - steps[j])
            mixed = both - f(x - steps[i] + steps[j]) + f(x - steps[i] - steps[j])
            hessian[i, j] = hessian[j, i] = mixed / (4 * h[i] * h[j])
    return gradient, hessian
