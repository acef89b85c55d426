"""Points that do not belong to a smooth curve: a checkpoint that holds the weights of another step,
in a curve of losses.

For point i, in order of x, what its neighbours expect there is the interval spanned by four
predictions that leave i out:
    the median of the `SIDE` points to its left, the same to its right, and at x_i a line and a
    parabola through the `SIDE` points of each side (fitted by least squares, again after the
    neighbour furthest from the fit is left out)
A steep or bent curve widens that interval, so that shape alone puts no point outside it. With d_i
the distance of y_i to the interval
    z_i = d_i / s_i,   s_i = 1.4826 times the largest of
        the median of |e_j| over the `WINDOW` points nearest in order, half the median of that over
        all points, and, because a bend without noise is no fault, the median of |e_j| over the
        `BEND` points to each side
where e_j is the distance of y_j to the line between its two neighbours at x_j, divided by what
white noise makes of it. A point is off the curve when z_i > LIMIT; the furthest one is taken away,
and what is left is judged again, so that it does not bend its neighbours' expectation; at most a
quarter of the points are. With fewer than `LEAST` points nothing is judged. LIMIT was chosen by
simulation (tests/stats/curves/test_off_curve.py): 2 of 200 clean, noisy curves of losses with 154
checkpoints have an alarm. A checkpoint before step 40,000 of 143,000 that holds the last weights is
found in 98 of 100, one after step 80,000 in half. Neighbours that are both wrong hide each other.
Source: the median absolute deviation as a scale, Rousseeuw and Croux (1993), JASA 88: 1273-1283.
"""

import numpy as np

SIDE = 4
WINDOW = 31
BEND = 3
LEAST = 12
LIMIT = 5.0


def off_curve(x: np.ndarray, y: np.ndarray, limit: float = LIMIT) -> dict[int, float]:
    """Index of each point off the curve -> z, with the sign of y minus what was expected; furthest
    first.

    x: increasing, e.g. the logarithm of the step; y: finite. Raises ValueError for other input.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x and y must be two finite vectors of one length")
    if (np.diff(x) <= 0).any():
        raise ValueError("x must increase")
    left = np.arange(len(x))
    found: dict[int, float] = {}
    while len(left) >= LEAST and len(found) < len(x) / 4:
        z = _distances(x[left], y[left])
        worst = int(np.argmax(np.abs(z)))
        if abs(z[worst]) <= limit:
            break
        found[int(left[worst])] = float(z[worst])
        left = np.delete(left, worst)
    return found


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of every point."""
    low, high = _expected(x, y)
    return (np.maximum(0, y - high) - np.maximum(0, low - y)) / _scales(x, y)


def _expected(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval in which the neighbours of each point expect it."""
    offsets = np.r_[-SIDE:0, 1 : SIDE + 1]
    near = np.arange(len(x))[:, None] + offsets
    there = (near >= 0) & (near < len(x))
    near = np.clip(near, 0, len(x) - 1)
    distance = (x[near] - x[:, None]) * there
    told = [_medians(y, near[:, side], there[:, side]) for side in (offsets < 0, offsets > 0)]
    told += [_predicted(distance, y[near], there, degree) for degree in (1, 2)]
    return np.nanmin(told, axis=0), np.nanmax(told, axis=0)


def _medians(y: np.ndarray, near: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The median of the neighbours on one side; NaN at the end that has none."""
    found = np.full(len(y), np.nan)
    some = there.any(axis=1)
    found[some] = np.nanmedian(np.where(there, y[near], np.nan)[some], axis=1)
    return found


def _predicted(x: np.ndarray, y: np.ndarray, there: np.ndarray, degree: int) -> np.ndarray:
    """In each row the value at 0 of a polynomial through the points that are there, but for the one
    that is furthest from it.
    """
    scaled = x / np.abs(x).max(axis=1, keepdims=True)
    basis = scaled[:, :, None] ** np.arange(degree + 1) * there[:, :, None]
    values = (y * there)[:, :, None]
    away = np.abs(values - basis @ (np.linalg.pinv(basis) @ values))[:, :, 0]
    rows = np.arange(len(x))
    basis[rows, away.argmax(axis=1)] = 0
    values[rows, away.argmax(axis=1)] = 0
    return (np.linalg.pinv(basis) @ values)[:, 0, 0]


def _scales(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    line = (1 - share) * y[:-2] + share * y[2:]
    noise = np.abs(y[1:-1] - line) / np.sqrt(1 + share**2 + (1 - share) ** 2)
    noise = np.r_[noise[:1], noise, noise[-1:]]
    n, width = len(noise), min(WINDOW, len(noise))
    starts = np.clip(np.arange(n) - width // 2, 0, n - width)
    local = np.array([np.median(noise[start : start + width]) for start in starts])
    bend = [
        np.median(np.r_[noise[max(0, i - BEND) : i], noise[i + 1 : i + 1 + BEND]]) for i in range(n)
    ]
    rounding = 8 * float(np.finfo(float).eps * max(1.0, np.abs(y).max()))
    return 1.4826 * np.maximum.reduce(
        [local, np.array(bend), np.full(n, max(0.5 * float(np.median(local)), rounding))]
    )
