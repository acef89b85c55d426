"""Linear mixed models with crossed random effects: REML or ML, Satterthwaite degrees of freedom.

    fit_formula("y ~ arch + log10(params) + (1 | item) + (1 | run)", frame).coefficients()

The search (stats/mixed/deviance_search.py) is in standard units (stats/mixed/standard_units.py), so that no
number depends on the units of a column or of y; all is given back in theirs.
Agreement with lme4 1.1-31 / lmerTest 3.1-3 (tests/stats/mixed/test_gaussian.py): criterion 1e-6,
coefficients and standard errors 1e-5 relative, df 1e-3. Sources: Bates et al. (2015); Kuznetsova et
al. (2017), J. Stat. Software 82(13).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from transect.errors import InputError
from transect.stats.formula.notation import Design, Random, level_text, parse, values
from transect.stats.inference.intervals import t_interval
from transect.stats.inference.linear import column_rank
from transect.stats.mixed.crossed_cholesky import Deviance, Grouping
from transect.stats.mixed.deviance_search import (
    converged,
    curvature,
    merge,
    optimise,
    rounding,
    search,
    spread_start,
)
from transect.stats.mixed.df_bound import DfBound
from transect.stats.mixed.standard_units import StandardResponse

FAR_APART = 6  # powers of ten between weights, from which rounding may matter
ROUNDED, SPOILT = (
    1e-4,
    0.5,
)  # what rounding may make of the deviance: that weights may not, that nothing may


@dataclass(frozen=True)
class MixedFit:
    """A fitted model. `vcov` is (X'V^-1 X)^-1 at the estimates, `components` the variances, in
    units of y squared.

    sigma: sd of a residual of weight 1; scale: of the spherical random effects (sigma, where there
    are no weights). `theta`, `deviance` and `response` are in standard units.
    """

    names: list[str]
    beta: np.ndarray
    vcov: np.ndarray
    sigma: float
    theta: np.ndarray
    criterion: float  # -2 log (restricted) likelihood
    components: pd.DataFrame
    n: int
    deviance: Deviance = field(repr=False)
    response: StandardResponse = field(repr=False)
    scale: float

    def contrasts(self, weights: np.ndarray, bounds: Sequence[DfBound] = ()) -> pd.DataFrame:
        """One row per row of `weights` [contrast, coefficient]; df = Satterthwaite's, or the least
        of `bounds`.
        """
        weights = np.atleast_2d(weights)
        estimates = weights @ self.beta
        variances = self._variances(weights)
        df = self.satterthwaite(weights)
        for i, variance in enumerate(variances if bounds else ()):
            parts = {group: part[i] for group, part in self.variance_parts(weights).items()}
            df[i] = min(df[i], *(bound.of(variance, parts) for bound in bounds))
        return pd.DataFrame(
            [t_interval(*row) for row in zip(estimates, np.sqrt(variances), df, strict=True)]
        )

    def coefficients(self) -> pd.DataFrame:
        table = self.contrasts(np.eye(len(self.beta)))
        table.insert(0, "term", self.names)
        return table

    def satterthwaite(self, weights: np.ndarray) -> np.ndarray:
        """df = 2 v^2 / (g' A g): v the variance of the contrast, g its gradient and A the
        covariance of (theta, sigma).
        """
        slopes, covariance = self._sensitivity
        standard = self.deviance.fixed.rows(weights)
        gradient = np.einsum("ij,ajk,ik->ai", standard, slopes, standard)
        spread = np.einsum("ai,ab,bi->i", gradient, covariance, gradient)
        variance = self._variances(weights) / self.response.size**2
        return 2 * variance**2 / np.where(spread > 0, spread, np.nan)

    def variance_parts(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Of each contrast's variance V, by grouping: 1/2 sum of theta_a dV / dtheta_a over its
        theta; the residual's part is what is left of V.
        """
        slopes, _ = self._sensitivity
        owners = np.repeat(
            [t.name for t in self.deviance.terms],
            [t.k * (t.k + 1) // 2 for t in self.deviance.terms],
        )
        kept, standard = self._free, self.deviance.fixed.rows(weights)
        each = (
            self.theta[kept, None] / 2 * np.einsum("ij,ajk,ik->ai", standard, slopes[:-1], standard)
        )
        each *= self.response.size**2
        return {name: each[owners[kept] == name].sum(0) for name in dict.fromkeys(owners.tolist())}

    @cached_property
    def left(self) -> float:
        """What one more Newton step would lower the deviance by, g' H^-1 g / 2 off the edges of
        theta: 0 at an optimum.
        """
        free = self._free

        def gradient(z: np.ndarray) -> np.ndarray:
            return self.deviance.gradient(merge(self.theta, z, free))[1][free]

        at = gradient(self.theta[free])
        return (
            float(at @ np.linalg.pinv(curvature(gradient, self.theta[free])) @ at / 2)
            if free.any()
            else 0.0
        )

    @property
    def _free(self) -> np.ndarray:
        """Which elements of theta are off the edge."""
        return ~(self.deviance.diagonal & (self.theta < 1e-6))

    def _variances(self, weights: np.ndarray) -> np.ndarray:
        """Of each contrast."""
        root = np.linalg.solve(
            self.deviance.solve(self.theta).rx, self.deviance.fixed.rows(weights).T
        )
        return self.scale**2 * (root**2).sum(0)

    @cached_property
    def _sensitivity(self) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the standard columns' vcov [parameter, coefficient, coefficient], and the
        covariance of the parameters off the boundary, both for the standard response."""
        point = np.append(self.theta, self.scale / self.response.size)
        keep = np.append(self._free, True)

        def full(z: np.ndarray) -> np.ndarray:
            return merge(point, z, keep)

        def vcov(z: np.ndarray) -> np.ndarray:
            inverse = np.linalg.inv(self.deviance.solve(full(z)[:-1]).rx)
            return full(z)[-1] ** 2 * inverse.T @ inverse

        z0 = point[keep]
        hessian = curvature(
            lambda z: self.deviance.gradient_with_sigma(full(z)[:-1], full(z)[-1])[keep], z0
        )
        steps = np.diag(1e-4 * np.maximum(0.1, np.abs(z0)))
        slopes = np.array([(vcov(z0 + e) - vcov(z0 - e)) / (2 * e.sum()) for e in steps])
        return slopes, 2 * np.linalg.pinv(hessian)


def fit_formula(formula: str, frame: pd.DataFrame, reml: bool = True) -> MixedFit:
    """Fit a formula with at least one random term to the rows without missing values."""
    parsed = parse(formula)
    if not parsed.random:
        raise InputError(f"formula '{formula}' has no random term such as (1 | item)")
    design = Design(parsed.fixed, frame)
    y = values(parsed.response, frame).to_numpy(float)
    return fit(y, design.matrix(frame), design.names, groupings(parsed.random, frame), reml)


def groupings(random: Sequence[Random], frame: pd.DataFrame) -> list[Grouping]:
    """The random terms of a formula, those without correlations as one for each column."""
    found = []
    for term in random:
        whole = grouping(term, frame)
        columns = [[j] for j in range(whole.k)] if term.apart else [list(range(whole.k))]
        found += [
            replace(
                whole, columns=whole.columns[:, own], effects=tuple(whole.effects[j] for j in own)
            )
            for own in columns
        ]
    return found


def grouping(random: Random, frame: pd.DataFrame) -> Grouping:
    """The levels and columns of one random term."""
    parts = [pd.factorize(values(v, frame), sort=True) for v in random.group]
    cells = np.column_stack([codes for codes, _ in parts])
    found, codes = (
        np.unique(cells, axis=0, return_inverse=True)
        if len(parts) > 1
        else (np.arange(len(parts[0][1]))[:, None], cells)
    )
    labels = tuple(
        ":".join(level_text(levels[k]) for k, (_, levels) in zip(cell, parts, strict=True))
        for cell in found
    )
    design = Design(random.terms, frame)
    name = ":".join(random.group)
    return Grouping(
        name, codes.ravel(), len(found), design.matrix(frame), tuple(design.names), labels
    )


def fit(
    y: np.ndarray,
    x: np.ndarray,
    names: Sequence[str],
    terms: Sequence[Grouping],
    reml: bool = True,
    near: "MixedFit | None" = None,
    weights: np.ndarray | None = None,
    start: "MixedFit | None" = None,
) -> MixedFit:
    """Fit y ~ x + random terms; Var(residual) = sigma^2 / weight. Raises InputError where nothing
    can be estimated (collinear columns, no residual).

    `near`: a fit of the same scalar terms to nearly the same data; one short descent from there
    (jackknife), variances to 1e-3. `start`: a fit of any terms, from whose estimates the full
    search sets out.
    """
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise InputError(
            "the model's variables have missing or infinite values; drop those rows first"
        )
    if column_rank(x) < x.shape[1]:
        raise InputError(
            f"the fixed effects {', '.join(names)} are not independent: some are aliased"
        )
    size = (
        1.0 if weights is None else float(np.exp(np.mean(np.log(weights))))
    )  # one huge weight moves it little
    deviance = Deviance(
        np.zeros(len(y)), x, terms, reml, None if weights is None else np.asarray(weights) / size
    )
    response = StandardResponse.of(y, deviance.fixed)
    if response.exact:
        raise InputError(
            "the fixed effects fit the data exactly: no residual variance can be estimated"
        )
    deviance.set_y(response.standard)
    first = (
        spread_start(deviance)
        if start is None
        else deviance.start_from(start.deviance, start.theta)
    )
    return _fitted(deviance, _searched(deviance, first, near, weights), names, response, size)


def _searched(
    deviance: Deviance, first: np.ndarray, near: "MixedFit | None", weights: np.ndarray | None
) -> np.ndarray:
    """theta at the smallest deviance. Raises InputError where the search does not end in one, or
    rounding decides where it does.
    """
    settled, rounded = False, 0.0
    try:
        theta = search(deviance, first) if near is None else _from_near(deviance, near)
        settled = near is not None or converged(deviance, theta)
        rounded = rounding(deviance, theta)
    except np.linalg.LinAlgError:
        pass
    apart = weights is not None and np.ptp(np.log10(weights)) > FAR_APART
    if weights is not None and apart and not (settled and rounded < ROUNDED):
        raise InputError(
            f"the weights lie between {np.min(weights):g} and {np.max(weights):g}, so far apart that rounding decides the fit; make "
            "the largest smaller (a residual that is next to 0 needs no more), or leave those rows out"
        )
    if rounded > SPOILT:
        raise InputError(
            "what the groups leave of the response is so little beside them (less than 1e-6) that rounding decides the fit; take the "
            "difference from each group's mean, or from a column that tells the groups' level"
        )
    if not settled:
        raise InputError(
            "the fit did not converge, so nothing is reported; leave out random terms, slopes first"
        )
    return theta


def refit(fitted: MixedFit, y: np.ndarray) -> MixedFit:
    """The same model fitted to another response of the same rows, from the old estimates on
    (bootstrap).
    """
    deviance = fitted.deviance.with_y(fitted.response.other(y, fitted.deviance.fixed))
    # 0 is stationary: a variance that was 0 must start off the edge to become anything else
    start = np.where(deviance.diagonal, np.maximum(fitted.theta, 0.2), fitted.theta)
    theta = optimise(deviance, start)
    return _fitted(
        deviance, theta, fitted.names, fitted.response, (fitted.sigma / fitted.scale) ** 2
    )


def _fitted(
    deviance: Deviance,
    theta: np.ndarray,
    names: Sequence[str],
    response: StandardResponse,
    weight: float,
) -> MixedFit:
    """The fit in the given units; `weight`: the geometric mean of the weights, which is 1 within."""
    s = deviance.solve(theta)
    scale = response.size * float(np.sqrt(s.rss / deviance.dof))
    sigma = scale * float(np.sqrt(weight))
    inverse = np.linalg.inv(s.rx) @ deviance.fixed.inverse.T
    return MixedFit(
        list(names),
        deviance.fixed.coefficients(response.fitted + response.size * s.beta),
        scale**2 * inverse.T @ inverse,
        sigma,
        theta,
        deviance.given(deviance(theta)) + 2 * deviance.dof * float(np.log(response.size)),
        _components(deviance, theta, scale, sigma),
        deviance.n,
        deviance,
        response,
        scale,
    )


def _components(deviance: Deviance, theta: np.ndarray, scale: float, sigma: float) -> pd.DataFrame:
    """group, effect, variance, sd, n_levels: the variances of the random effects and of the
    residual.
    """
    rows = []
    for term, factor in zip(deviance.terms, deviance.factors(theta), strict=True):
        for effect, sd in zip(term.effects, scale * np.sqrt((factor**2).sum(1)), strict=True):
            rows.append((term.name, effect, sd**2, sd, term.n_levels))
    rows.append(("residual", "", sigma**2, sigma, deviance.n))
    return pd.DataFrame(rows, columns=["group", "effect", "variance", "sd", "n_levels"])


def _from_near(deviance: Deviance, near: MixedFit) -> np.ndarray:
    relative = dict(zip(near.components["group"], near.components["sd"] / near.scale, strict=True))
    spreads = [
        relative[t.name] * float(c.root[0, 0])
        for t, c in zip(deviance.terms, deviance.columns, strict=True)
    ]
    start = np.maximum(spreads, 0.05)
    bounds = [(0, None)] * len(start)
    return minimize(
        deviance.gradient,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"ftol": 1e-10},
    ).x
