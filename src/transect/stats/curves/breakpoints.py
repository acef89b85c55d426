"""A break of a line's slope: is there one at all, and where; each group of rows has a line of its
own.

Of every group g (run, family) one number is kept, the part of its y along a direction d that its
own line (intercept and slope by group) leaves free,
    c_g = d_g' y_g / |d_g|,    d_g = d without the columns of the line,
and the c_g are tested as G independent numbers of mean 0 by Student's t with G - 1 df. Nothing is
assumed of the errors within a group, so noise may fall with x and groups may differ in level and
slope. The size is exact for normal errors where groups have the same x, or the same noise at every
row, and at most nominal elsewhere: 0.046 to 0.054 of 20,000 lines of 3 to 16 groups x 5 or 9 sizes
are called broken at 0.05, with equal noise and with noise that falls to a fifth. (A cluster
bootstrap with Rademacher weights calls 27 to 31 % of lines of 3 groups broken, 5 % only from 16
groups on.) Rows without groups are dealt out in the order of x to interleaved sets of about 5,
which then are the groups: with normal errors of equal spread, as a simulated F test assumes, 17 to
59 % of lines whose noise falls with x would be called broken. Sources: Ibragimov & Mueller (2010),
J. Bus. Econ. Stat. 28, with Bakirov & Szekely (2006), J. Math. Sci. 139, for t over few groups;
Laeuter (1996), Biometrics 52, for directions that are chosen by the sums of squares of the same
numbers.
"""

import numpy as np
import pandas as pd
from scipy import stats

from transect.errors import InputError
from transect.stats.inference.intervals import MIN_UNITS

PER_SET = 5  # rows of a set of rows without groups: a line, a break, and a number that is left
PLACES = 61
FREE = 1e-6  # share of a direction's square that a line must leave free, to tell it from rounding


def break_test(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> dict[str, float]:
    """Whether the slope against log10 x changes at all: estimate (mean of c_g), t, df = G - 1, p,
    n_groups.

    d: the square of log10 x, as a break anywhere inside bends a line. Raises InputError where fewer
    than 3 groups have three different x.
    """
    z, y, group = _rows(x, y, groups)
    numbers = []
    for rows in _members(group):
        line = np.linalg.qr(_line(z[rows]))[0]
        square = (z[rows] - z.mean()) ** 2
        free = square - line @ (line.T @ square)
        if free @ free > FREE * (square @ square):
            numbers.append(free @ y[rows] / np.sqrt(free @ free))
    if len(numbers) < MIN_UNITS:
        raise InputError(
            f"a break of the slope is tested over at least {MIN_UNITS} groups with three different x or more; "
            f"there {'is' if len(numbers) == 1 else 'are'} {len(numbers)}"
        )
    n, spread = len(numbers), float(np.std(numbers, ddof=1))
    if not spread > 1e-12 * np.abs(y).max():
        raise InputError(
            "all groups bend alike to the last digit: nothing tells a break of the slope from noise"
        )
    t = float(np.mean(numbers) / (spread / np.sqrt(n)))
    return {
        "estimate": float(np.mean(numbers)),
        "t": t,
        "df": n - 1,
        "p": float(2 * stats.t.sf(abs(t), n - 1)),
        "n_groups": n,
    }


def breakpoint_interval(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95
) -> dict[str, float]:
    """Interval of the break of a segmented line in log10 x: psi, lower, upper, from the least to
    the largest place not refused.

    A place psi is refused where, beside a break there (of any size by group), a second one
    elsewhere is significant: d is the broken line, of all places, that takes most of the squares,
    sum_g c_g^2 (a choice that leaves the t test exact). psi: of the places that stay, the one with
    the least squares of one break for all groups. An end that lies at the second or last but one x
    is not bounded by the data; lower and upper are NaN where no place stays, so no single break
    fits.
    """
    z, y, group = _rows(x, y, groups)
    places, middles = _places(z)
    gains, squares = _free_parts(z, y, group, places)
    stays = np.array([_p_of_another(gains, squares, i) > 1 - level for i in range(len(places))])
    explained = gains.sum(0) ** 2 / np.maximum(squares.sum(0).diagonal(), 1e-300)
    psi = float(places[np.where(stays | ~stays.any(), explained, -1).argmax()])
    if not stays.any():
        return {"psi": psi, "lower": np.nan, "upper": np.nan}
    kept = np.flatnonzero(stays)
    return {"psi": psi, "lower": float(middles[kept[0]]), "upper": float(middles[kept[-1] + 1])}


def _free_parts(
    z: np.ndarray, y: np.ndarray, group: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """h' y [group, place] and h' h [group, place, place] of the broken lines h, without the line of
    the group.
    """
    gains, squares = [], []
    for rows in _members(group):
        line = np.linalg.qr(_line(z[rows]))[0]
        bent = np.maximum(0, z[rows, None] - places)
        free = bent - line @ (line.T @ bent)
        free[:, (free**2).sum(0) <= FREE * (bent**2).sum(0)] = 0
        gains.append(free.T @ y[rows])
        squares.append(free.T @ free)
    return np.array(gains), np.array(squares)


def _p_of_another(gains: np.ndarray, squares: np.ndarray, i: int) -> float:
    """p of a second break beside that at place i; 1 where too few groups could show one."""
    own = np.einsum("gkk->gk", squares)
    at = own[:, i, None]
    share = np.divide(
        squares[:, :, i], at, out=np.zeros_like(gains), where=at > 0
    )  # nothing to take where i bends nothing
    left = own - share**2 * at
    told = left > FREE * own
    n = told.sum(0)
    numbers = np.where(
        told, (gains - share * gains[:, i, None]) / np.sqrt(np.where(told, left, 1)), 0
    )
    taken = np.where(n >= MIN_UNITS, (numbers**2).sum(0), -1)
    best = int(taken.argmax())
    if taken[best] <= 0:
        return 1.0
    chosen = numbers[told[:, best], best]
    spread = chosen.std(ddof=1)
    if spread == 0:
        return 0.0
    return float(
        2 * stats.t.sf(abs(chosen.mean()) / (spread / np.sqrt(len(chosen))), len(chosen) - 1)
    )


def _rows(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log10 x, y and the codes of groups [row]; rows that stand alone are dealt out."""
    z, y = np.log10(np.asarray(x, float)).reshape(len(y)), np.asarray(y, float)
    if groups is not None:
        codes = pd.factorize(pd.Series(groups))[0]
        if codes.max() + 1 < len(y):
            return z, y, codes
    dealt = np.empty(len(y), int)
    dealt[np.argsort(z, kind="stable")] = np.arange(len(y)) % max(MIN_UNITS, len(y) // PER_SET)
    return z, y, dealt


def _members(group: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(group == code) for code in range(group.max() + 1)]


def _line(z: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(z)), z])


def _places(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a break may lie, between the second and the last but one value of z, and the borders of
    what each place stands for.
    """
    inner = np.unique(z)
    if len(inner) < 5:
        raise InputError(f"a break needs at least 5 different values of x; there are {len(inner)}")
    borders = np.linspace(inner[1], inner[-2], PLACES + 1)
    return (borders[1:] + borders[:-1]) / 2, borders
