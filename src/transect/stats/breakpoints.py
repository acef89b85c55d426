"""A break of a line's slope: is there one at all, and where; whole groups of rows may differ.

Rows of a group (run, family) share errors. Errors are taken as group + row (variances t2, s2, by moments), and y and the columns
of each line are divided by them,
    v - theta_g mean of v in g,   theta_g = 1 - sqrt(s2 / (s2 + n_g t2)),
least squares on which is generalized least squares. Simulated errors are residuals over 1 - leverage (I - H_gg, by group), each
group's as a whole times one random weight of mean 0 and variance 1 (wild cluster bootstrap): Rademacher's in the test, Webb's in the
interval. So groups that differ in slope too, or in spread, are no breaks: of 400 lines, 2 to 5 % are called broken with intercepts
by group (16 x 8 rows and two real tables) and 3 to 5 % with slopes by group; normal errors of group and row call 27 to 46 % of the
latter broken, of rows alone 22 % of the former. Rows without groups: normal errors.
Sources: Fuller & Battese (1974), J. Econometrics 2; Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90, with the weights of
Webb (2023), Can. J. Econ. 56; Davies (1987), Biometrika 74, on why a break has no chi-squared test.
"""

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.curves import fit_curve

SIGNS = np.array([-1.0, 1.0])  # Rademacher
WEBB = np.concatenate([-np.sqrt([1.5, 1.0, 0.5]), np.sqrt([0.5, 1.0, 1.5])])


def break_test(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, n: int = 1000, seed: int = 1
) -> dict[str, float]:
    """Whether a line has a break at all: the gain n log(rss_line / rss_segmented) against that of n lines with such errors.

    p = (1 + #{gain* >= gain}) / (1 + n). The chi-squared distribution does not hold: psi is no parameter of a line.
    """
    z, y, group = _rows(x, y, groups)
    theta = _theta(_line(z), y, group)
    plain, values = _basis(_line(z), theta, group), _divided(y[:, None], theta, group)[:, 0]
    fit = plain @ (plain.T @ values)
    noise = _errors(values - fit, plain, group, n, np.random.default_rng(seed), SIGNS)
    every = np.vstack([values, fit + noise])
    broken = np.array([_basis(_bent(z, place), theta, group) for place in _places(z, 60)])
    gains = len(y) * np.log(_rss(every, plain[None])[:, 0] / _rss(every, broken).min(1))
    return {"gain": float(gains[0]), "p": (1 + int((gains[1:] >= gains[0]).sum())) / (1 + n), "n": n}


def breakpoint_interval(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95, n: int = 200, seed: int = 1
) -> dict[str, float]:
    """Interval of the break of a segmented line in log10 x: psi, lower, upper (the range of x where it is not bounded).

    {psi : log(rss(psi) / rss_min) <= c(psi)}, with c(psi) the level's quantile of the same ratio over n responses simulated
    from the best line with its break at psi. The chi-squared quantile covers 89 % instead of 95 % where breaks are weak.
    """
    z, y, group = _rows(x, y, groups)
    first = fit_curve("segmented", x, y).parameters["psi"]
    places, theta = np.unique(np.concatenate([_places(z, 60), [first]])), _theta(_bent(z, first), y, group)
    bases = np.array([_basis(_bent(z, place), theta, group) for place in places])
    values = _divided(y[:, None], theta, group)[:, 0]
    own = np.log(_rss(values[None], bases)[0])
    best = int(own.argmin())
    fit = bases[best] @ (bases[best].T @ values)
    turning = _basis(np.column_stack([_bent(z, places[best]), z > places[best]]), theta, group)
    noise = _errors(values - fit, turning, group, n, np.random.default_rng(seed), WEBB)
    inside = [best]
    for i, basis in enumerate(bases):
        rss = np.log(_rss(basis @ (basis.T @ values) + noise, bases))
        if own[i] - own[best] <= np.quantile(rss[:, i] - rss.min(1), level):
            inside.append(i)
    # a place stands for what lies half way to its neighbours
    middles = np.concatenate([places[:1], (places[1:] + places[:-1]) / 2, places[-1:]])
    return {"psi": float(places[best]), "lower": float(middles[min(inside)]), "upper": float(middles[max(inside) + 1])}


def _rows(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """log10 x, y and the codes of groups [row]; None where every row stands alone."""
    z, y = np.log10(np.asarray(x, float)).reshape(len(y)), np.asarray(y, float)
    codes = None if groups is None else pd.factorize(pd.Series(groups))[0]
    return z, y, None if codes is None or codes.max() + 1 == len(y) else codes


def _theta(columns: np.ndarray, y: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """What is taken from each row of its group's mean [row], by the errors of y about the columns."""
    if group is None:
        return np.zeros(len(y))
    t2, s2 = _moments(columns, y, group)
    return (1 - np.sqrt(s2 / (s2 + np.bincount(group) * t2)))[group]


def _divided(columns: np.ndarray, theta: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    return columns if group is None else columns - theta[:, None] * _means(columns, group)


def _basis(columns: np.ndarray, theta: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """Orthonormal basis of the columns, divided."""
    return np.linalg.qr(_divided(columns, theta, group))[0]


def _errors(
    residuals: np.ndarray,
    basis: np.ndarray,
    group: np.ndarray | None,
    n: int,
    rng: np.random.Generator,
    weights: np.ndarray,
) -> np.ndarray:
    """Simulated errors [draw, row] from the residuals of a fit with this basis, all divided."""
    if group is None:
        sd = np.sqrt((residuals**2).sum() / max(len(residuals) - basis.shape[1], 1))
        return sd * rng.standard_normal((n, len(residuals)))
    errors = np.empty_like(residuals)
    for code in range(group.max() + 1):
        rows = np.flatnonzero(group == code)
        own = basis[rows] @ basis[rows].T
        errors[rows] = np.linalg.lstsq(np.eye(len(rows)) - own, residuals[rows], rcond=1e-8)[0]
    n_groups = group.max() + 1
    return np.sqrt(n_groups / (n_groups - 1)) * errors * rng.choice(weights, (n, n_groups))[:, group]


def _moments(columns: np.ndarray, y: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Variances of groups, not below 0, and of rows about a fit (Fuller & Battese's fitting constants).

    s2 = rss with an intercept by group / its df;   t2 = (rss - (n - k) s2) / (n - tr(Q' Z Z' Q)), Q spanning the k columns.
    """
    n, basis = len(y), np.linalg.qr(columns)[0]
    inner = np.column_stack([y, columns]) - _means(np.column_stack([y, columns]), group)
    slopes, _, rank, _ = np.linalg.lstsq(inner[:, 1:], inner[:, 0], rcond=1e-10)
    rss, df = y @ y - ((basis.T @ y) ** 2).sum(), n - group.max() - 1 - rank
    if df < 1:
        return 0.0, 1.0
    s2 = ((inner[:, 0] - inner[:, 1:] @ slopes) ** 2).sum() / df
    sums = np.column_stack([np.bincount(group, column) for column in basis.T])
    t2 = max((rss - (n - columns.shape[1]) * s2) / (n - (sums**2).sum()), 0.0)
    return float(t2), float(max(s2, 1e-9 * t2))


def _means(columns: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of each row, the means of its group [row, column]."""
    sums = np.zeros((group.max() + 1, columns.shape[1]))
    np.add.at(sums, group, columns)
    return (sums / np.bincount(group)[:, None])[group]


def _line(z: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(z)), z])


def _bent(z: np.ndarray, place: float) -> np.ndarray:
    return np.column_stack([_line(z), np.maximum(0, z - place)])


def _places(z: np.ndarray, n: int) -> np.ndarray:
    """Where a break may lie: within the values of z, at least two of them away from each end."""
    inner = np.unique(z)
    if len(inner) < 5:
        raise InputError(f"a break needs at least 5 different values of x; there are {len(inner)}")
    return np.linspace(inner[1], inner[-2], n)


def _rss(y: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Residual sums of squares [draw, place] of responses [draw, row]."""
    return (y * y).sum(1)[:, None] - ((y @ bases) ** 2).sum(2).T
