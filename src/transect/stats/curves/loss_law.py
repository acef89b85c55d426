"""Descent of the loss law over size and data, on the log scale: log L = logsumexp(e, log A - a log
N, log B - b log D).

    minimise sum huber(log L(N, D) - log y)  over  e = log E, log A, log B, a, b >= 0
by L-BFGS with the gradient, which is bounded by the weights exp(part - log L) of the three parts;
huber(r) is r^2 / 2 up to HUBER and HUBER (|r| - HUBER / 2) beyond. A part that the data do not need
goes to exp(FLOOR). A refit from a near point takes 2 to 4 ms. Source: Hoffmann et al. (2022),
appendix D.2.
"""

import numpy as np
from scipy.optimize import minimize

HUBER = 1e-3  # of log y, as in Hoffmann et al. (2022): robust against the odd bad run
FLOOR, CEILING = -40.0, 40.0  # of log E, log A, log B, with inputs divided by their geometric mean
STEEPEST = 10.0  # exponent


def descend(log_x: np.ndarray, log_y: np.ndarray, start: np.ndarray) -> tuple[float, np.ndarray]:
    """The cost and the point (E, A, B, a, b) from a starting point, inputs [row, N and D] scaled by
    the caller.
    """
    level = float(np.exp(log_y.mean()))
    begin = np.append(
        np.log(np.maximum(start[:3], 1e-4 * level)), np.clip(start[3:], 0.0, STEEPEST)
    )
    bounds = [(FLOOR, CEILING)] * 3 + [(0.0, STEEPEST)] * 2
    options = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 20}
    found = minimize(
        _cost, begin, (log_x, log_y), "L-BFGS-B", jac=True, bounds=bounds, options=options
    )
    return HUBER * float(found.fun), np.append(np.exp(found.x[:3]), found.x[3:])


def _cost(point: np.ndarray, log_x: np.ndarray, log_y: np.ndarray) -> tuple[float, np.ndarray]:
    """The sum of Huber losses in units of HUBER, and its gradient."""
    parts = np.stack(
        [
            np.full(len(log_y), point[0]),
            point[1] - point[3] * log_x[:, 0],
            point[2] - point[4] * log_x[:, 1],
        ]
    )
    top = parts.max(0)
    shares = np.exp(parts - top)
    total = shares.sum(0)
    residual = top + np.log(total) - log_y
    pull = np.clip(residual / HUBER, -1.0, 1.0)
    size = np.abs(residual)
    cost = np.where(size <= HUBER, 0.5 * size * size / HUBER, size - 0.5 * HUBER).sum()
    by_part = shares / total * pull
    sums = by_part.sum(1)
    return float(cost), np.append(sums, [-by_part[1] @ log_x[:, 0], -by_part[2] @ log_x[:, 1]])
