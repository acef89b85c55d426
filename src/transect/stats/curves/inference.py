"""How sure a curve is: whole groups left out or resampled, whole groups predicted (breaks of a
slope: breakpoints.py).

A group (run, family) is the unit: its rows share what makes it different, so groups are left out or
drawn, never rows. Intervals of parameters are the jackknife's: 95 % ones hold the planted truth
(300 to 600 data sets each; SE 0.01) in
    groups                                    8              15             30
    power law, E, A, a: jackknife             0.96           0.93 - 0.97    0.94 - 0.95
        percentiles of the cluster bootstrap  0.90 - 0.91    0.88 - 0.90    0.925
        wider by t (Hesterberg 2015)          0.96 - 0.97    0.93 - 0.94
        BCa, wider by t                       0.95 - 0.96    0.91 - 0.92
    loss law, E, A, B, a, b: jackknife        0.94 - 0.98    0.93 - 0.97    0.94 - 0.97
        percentiles                           0.96 - 0.98    0.96 - 0.98
        wider by t                            1.00           0.98 - 0.99
        BCa, wider by t                       0.94 - 0.96    0.92 - 0.94
of a power law over 4 and 5 groups 0.95 to 0.97. With 2,000 data sets: docs/simulations.md.
Sources: Miller (1974), Biometrika 61, on the jackknife; Davison & Hinkley (1997), ch. 3.8;
Hesterberg (2015), Am. Stat. 69; Besiroglu et al. (2024) on intervals of scaling laws that were too
narrow; Breiman et al. (1984), Classification and Regression Trees, ch. 3.4, on the rule of one
standard error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from transect.errors import InputError
from transect.stats.curves import loss_law
from transect.stats.curves.forms import FORMS, Curve, fit_curve
from transect.stats.inference.intervals import MIN_UNITS

ENDLESS = 1e6


def parameter_intervals(
    curve: Curve, x: np.ndarray, y: np.ndarray, groups: np.ndarray, level: float = 0.95
) -> pd.DataFrame:
    """Columns parameter, estimate, lower, upper, n_groups: every group left out once (jackknife).

    estimate +- t(G - 1) se,   se^2 = (G - 1) / G sum over groups (estimate without the group - their mean)^2,   of log |A|, log |B|
    (they are powers of an uncertain exponent), cut at 0 where the form is bounded. Raises
    InputError for fewer than 3 groups.
    """
    members = _members(groups)
    n = len(members)
    if n < MIN_UNITS:
        raise InputError(f"intervals need at least {MIN_UNITS} groups; there are {n}")
    left = [np.setdiff1d(np.arange(len(y)), held) for held in members]
    without = np.array(
        [
            list(fit_curve(curve.form.name, x[rows], y[rows], near=curve).parameters.values())
            for rows in left
        ]
    )
    t = float(stats.t.ppf((1 + level) / 2, n - 1))
    found = []
    for (name, estimate), values in zip(curve.parameters.items(), without.T, strict=True):
        logged = name in ("A", "B") and (values * estimate > 0).all()
        middle, values = (
            (np.log(abs(estimate)), np.log(np.abs(values))) if logged else (estimate, values)
        )
        half = t * np.sqrt((n - 1) * values.var())
        with np.errstate(over="ignore"):
            ends = np.array([middle - half, middle + half])
            ends = np.sort(np.sign(estimate) * np.exp(ends)) if logged else ends
        lower, upper = np.maximum(ends, 0.0) if curve.form.positive else ends
        found.append((name, estimate, lower, upper, n))
    return pd.DataFrame(found, columns=["parameter", "estimate", "lower", "upper", "n_groups"])


def doubts(
    curve: Curve, parameters: pd.DataFrame, x: np.ndarray, y: np.ndarray, names: Sequence[str]
) -> list[str]:
    """What speaks against a fit, in sentences: a loss law that does not fall, parameters that the
    data do not determine.

    `parameters`: of `parameter_intervals`; `names`: of the inputs. Not determined is a parameter
    whose estimate is outside its interval, or whose interval is ENDLESS: beyond so many times the
    largest |y| (levels of y) or, of a factor, from one end to the other by so many times.
    """
    found = []
    if curve.form.name == "chinchilla":
        for name, exponent, factor, sizes in zip(names, ("a", "b"), ("A", "B"), x.T, strict=True):
            part = (
                curve.parameters[factor]
                * np.array([sizes.min(), sizes.max()]) ** -curve.parameters[exponent]
            )
            if part[0] - part[1] <= 1e-4 * y.mean():
                found.append(
                    f"the result does not fall with {name} ({exponent}, {factor}); this law is for losses"
                )
            elif curve.parameters[exponent] > loss_law.STEEPEST - 1e-6:
                found.append(
                    f"the exponent {exponent} of {name} is at its bound, {loss_law.STEEPEST:g}"
                )
    if free := [
        str(row.parameter) for row in parameters.itertuples() if _undetermined(row, np.abs(y).max())
    ]:
        found.append(
            f"{', '.join(free)}: not identified by these data (estimate outside its interval, or no end to it)"
        )
    return found


def _undetermined(row: Any, largest: float) -> bool:
    """Whether the interval of a parameter does not hold its estimate or is ENDLESS."""
    ends = np.array([row.estimate, row.lower, row.upper], float)
    slack = 1e-9 * np.abs(ends).max()
    if not np.isfinite(ends).all() or not ends[1] - slack <= ends[0] <= ends[2] + slack:
        return True
    small, large = np.sort(np.abs(ends[1:]))
    if row.parameter in ("E", "lo", "hi"):
        return bool(large > ENDLESS * largest)
    return row.parameter in ("A", "B") and bool(large > ENDLESS * small)


def extrapolation_interval(
    curve: Curve,
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    new: np.ndarray,
    n: int = 1000,
    seed: int = 1,
) -> pd.DataFrame:
    """Columns predicted, lower, upper of a new group's values at `new`: resampled groups plus a
    group's own deviation.

    A new group's deviation is t(groups - 1) times the spread of the groups' mean residuals, its
    rows' the rest of the residuals.
    """
    members = _members(groups)
    residuals = y - curve(x)
    spread = np.std([residuals[rows].mean() for rows in members], ddof=1)
    within = np.concatenate([residuals[rows] - residuals[rows].mean() for rows in members])
    # residuals are smaller than errors, by the parameters that were fitted
    inflate = np.sqrt(len(y) / max(len(y) - curve.form.n_parameters, 1))
    draws = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        rows = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        again = fit_curve(curve.form.name, x[rows], y[rows], near=curve)
        own = spread * rng.standard_t(len(members) - 1) + inflate * rng.choice(
            within, len(np.atleast_1d(new))
        )
        draws.append(again(new) + own)
    lower, upper = np.quantile(np.array(draws), [0.025, 0.975], axis=0)
    return pd.DataFrame({"predicted": curve(new), "lower": lower, "upper": upper})


def leave_groups_out(
    forms: Sequence[str], x: np.ndarray, y: np.ndarray, groups: np.ndarray
) -> pd.DataFrame:
    """Columns form, rmse, se, r2, aicc, n_groups: each group predicted from the others, and AICc of
    the whole fit.

    r2 = 1 - sum (y - predicted)^2 / sum (y - mean of the other groups)^2; forms in order of rmse.
    se: of rmse, over groups, sqrt(G var_g(sum of squared errors in g)) / (2 n rmse). A fit without
    a group descends from the fit with all and from the best point of the grid.
    """
    members = _members(groups)
    if len(members) < 3:
        raise InputError(f"leaving groups out needs at least 3 groups; there are {len(members)}")
    rows = []
    for form in forms:
        whole = fit_curve(form, x, y)
        predicted, baseline = np.empty(len(y)), np.empty(len(y))
        for held in members:
            rest = np.setdiff1d(np.arange(len(y)), held)
            predicted[held] = fit_curve(form, x[rest], y[rest], near=whole, searched=1)(x[held])
            baseline[held] = y[rest].mean()
        errors = np.array([((y - predicted)[held] ** 2).sum() for held in members])
        rmse = float(np.sqrt(errors.sum() / len(y)))
        se = (
            float(np.sqrt(len(members) * errors.var(ddof=1)) / (2 * len(y) * rmse))
            if rmse > 0
            else 0.0
        )
        r2 = 1 - errors.sum() / float(((y - baseline) ** 2).sum())
        rss, k = float(((y - whole(x)) ** 2).sum()), FORMS[form].n_parameters
        rows.append((form, rmse, se, r2, _aicc(rss, len(y), k), len(members)))
    table = pd.DataFrame(rows, columns=["form", "rmse", "se", "r2", "aicc", "n_groups"])
    return table.sort_values("rmse", ignore_index=True)


def simplest(comparison: pd.DataFrame) -> str:
    """The form with the fewest parameters whose rmse is within one standard error of the best
    (Breiman et al. 1984).

    `comparison`: of `leave_groups_out`; of several forms with as few parameters, the best of them.
    """
    near = comparison[comparison["rmse"] <= comparison["rmse"][0] + comparison["se"][0]]
    return str(min(near["form"], key=lambda form: FORMS[form].n_parameters))


def no_better_than_a_constant(comparison: pd.DataFrame, form: str, y: np.ndarray) -> bool:
    """Whether the AICc of a form, fitted to all rows, is not below that of the mean of y."""
    return bool(
        comparison.set_index("form").loc[form, "aicc"]
        >= _aicc(float(((y - y.mean()) ** 2).sum()), len(y), 1)
    )


def _aicc(rss: float, n: int, n_parameters: int) -> float:
    """AICc by the residuals of y itself, also for forms that are fitted to log y."""
    k = n_parameters + 1
    return (
        np.inf
        if n - k - 1 <= 0
        else n * np.log(max(rss, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    )


def _members(groups: np.ndarray) -> list[np.ndarray]:
    codes = pd.factorize(pd.Series(groups))[0]
    return [np.flatnonzero(codes == g) for g in range(codes.max() + 1)]
