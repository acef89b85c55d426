"""The search for the smallest deviance of a linear mixed model, over theta in standard units
(stats/mixed/standard_units.py).

A boundary estimate (a variance of 0) is a legitimate optimum, but also a trap: the deviance is even
in each diagonal element of theta, so 0 is always stationary. The optimiser therefore leaves the
edge twice, keeps the best fit, and looks just off the edge whether the deviance falls there, also
beyond it (a column of theta has either sign). Where correlated effects end on an edge, or nothing
converges, it sets out from elsewhere too.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from transect.stats.mixed.crossed_cholesky import Deviance

EDGE = (
    1e-3  # a relative standard deviation below this counts as 0 when the optimiser leaves the edge
)
OFF_EDGE = 1e-3  # from here the slope tells whether the deviance falls away from the edge
ELSEWHERE = (0.05, 5.0)  # further starts: so many residual standard deviations for every effect
NEAR_EDGE = (0.003, 0.01, 0.03, 0.1, 0.3)
# weights that differ by more: the residual's size, in which theta is told, is another in every row
APART = 100.0


def spread_start(deviance: Deviance) -> np.ndarray:
    """Where the search sets out: effects of one residual standard deviation; of weights far apart
    that of the row with which the deviance is smallest, by powers of ten from the least to the
    largest."""
    weights = deviance.weights
    if weights is None or weights.max() < APART * weights.min():
        return deviance.start
    low, high = np.log10(1 / weights.max()) / 2, np.log10(1 / weights.min()) / 2
    return min(
        (10**k * deviance.start for k in np.arange(np.floor(low), np.ceil(high) + 1)), key=deviance
    )


def rounding(deviance: Deviance, theta: np.ndarray) -> float:
    """What float64 may make of the deviance: dof times the rounding of y'Wy over the sum of squares
    that is left of it.
    """
    return float(
        deviance.dof * np.finfo(float).eps * deviance.c[-1, -1] / deviance.solve(theta).rss
    )


def search(deviance: Deviance, start: np.ndarray) -> np.ndarray:
    """theta at the smallest deviance; from elsewhere too where correlated effects end on an edge,
    or nothing converges.
    """
    theta = optimise(deviance, start)
    edge = deviance.diagonal & (theta < EDGE)
    if not edge[deviance.correlated].any() and converged(deviance, theta):
        return theta
    found = [theta, *(optimise(deviance, size * deviance.start) for size in ELSEWHERE)]
    settled = [other for other in found if converged(deviance, other)]
    return min(settled or found, key=deviance)


def converged(deviance: Deviance, theta: np.ndarray) -> bool:
    """Whether a Newton step would lower the deviance by less than about 1e-4: gradient^2 / number
    of levels, or the step itself.
    """
    free = ~(deviance.diagonal & (theta < 1e-6))

    def gradient(z: np.ndarray) -> np.ndarray:
        return deviance.gradient(merge(theta, z, free))[1][free]

    at = gradient(theta[free])
    if (at**2 < 1e-4 * sum(t.n_levels for t in deviance.terms)).all():
        return True
    hessian = curvature(gradient, theta[free])
    return bool(np.linalg.eigvalsh(hessian)[0] > 0 and at @ np.linalg.solve(hessian, at) < 2e-4)


def optimise(deviance: Deviance, start: np.ndarray) -> np.ndarray:
    """theta at the smallest deviance."""

    def descend(start: np.ndarray, floor: np.ndarray) -> OptimizeResult:
        bounds = [
            (low, None) if d else (None, None)
            for d, low in zip(deviance.diagonal, floor, strict=True)
        ]
        options = {"ftol": 1e-13, "gtol": 1e-6, "maxiter": 200}
        return minimize(
            deviance.gradient, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options
        )

    ground = np.zeros(len(start))
    best = descend(start, ground)
    for restart in (0.1, 0.5):  # leave the edge and look again (see the head of the file)
        edge = deviance.diagonal & (best.x < EDGE)
        if not edge.any():
            break
        other = descend(np.where(edge, restart, best.x), ground)
        best = other if other.fun < best.fun else best
    for _ in range(int(deviance.diagonal.sum())):
        away = _away_from_edge(deviance, best.x)
        if not (away > 0).any():
            break
        other = descend(np.where(away > 0, away, best.x), np.where(away > 0, OFF_EDGE, 0.0))
        if other.fun >= best.fun:
            break
        best = other
    for _ in range(int(deviance.diagonal.sum())):
        beyond = [
            point
            for point in deviance.across_the_edge(best.x, OFF_EDGE)
            if deviance(point) < best.fun
        ]
        if not beyond:
            break
        best = descend(min(beyond, key=deviance), ground)
    return _polish(deviance, best.x)


def _away_from_edge(deviance: Deviance, theta: np.ndarray) -> np.ndarray:
    """For each element on the edge from which the deviance falls outwards, where it is smallest
    along that element; else 0.

    At 0 the slope is 0 whatever lies beyond, and a large first step leads back to it: a small
    variance is found only from nearby.
    """
    found = np.zeros(len(theta))
    for i in np.flatnonzero(deviance.diagonal & (theta < EDGE)):

        def at(value: float, i: int = int(i)) -> np.ndarray:
            return merge(theta, np.array([value]), np.arange(len(theta)) == i)

        if deviance.gradient(at(OFF_EDGE))[1][i] < 0:
            found[i] = min(NEAR_EDGE, key=lambda value: deviance(at(value)))
    return found


def _polish(deviance: Deviance, theta: np.ndarray) -> np.ndarray:
    """Two Newton steps on the elements off the boundary: the optimiser stops about 1e-5 short."""
    free = ~(deviance.diagonal & (theta < 1e-6))
    for _ in range(2 if free.any() else 0):

        def gradient(z: np.ndarray, theta: np.ndarray = theta) -> np.ndarray:
            return deviance.gradient(merge(theta, z, free))[1][free]

        try:
            step = np.linalg.solve(curvature(gradient, theta[free]), gradient(theta[free]))
            candidate = merge(theta, theta[free] - step, free)
        except np.linalg.LinAlgError:
            return theta
        if (candidate[deviance.diagonal] < 0).any() or deviance(candidate) > deviance(theta) + 1e-9:
            return theta
        theta = candidate
    return theta


def merge(full: np.ndarray, part: np.ndarray, where: np.ndarray) -> np.ndarray:
    """full, with part in the places of where."""
    out = full.copy()
    out[where] = part
    return out


def curvature(gradient: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """The Hessian by central differences of the gradient, step 1e-4 of each element (at least
    1e-5).
    """
    steps = np.diag(1e-4 * np.maximum(0.1, np.abs(x)))
    rows = np.array([(gradient(x + e) - gradient(x - e)) / (2 * e.sum()) for e in steps])
    return (rows + rows.T) / 2
