"""Whether predictors separate the successes of a binomial response from its failures, so that no
finite estimate exists.

    there is a direction d with   x_i'd >= 0 for every row with successes only,   x_i'd <= 0 for every row with failures only,
    x_i'd = 0 for every row with both,   and not all of them 0
Along d the likelihood grows without end, with random effects too (at variance 0): coefficients and
standard errors that a program prints then say only where it stopped. Found by linear programming
over -1 <= d <= 1, on a sample of the rows first: what does not separate these does not separate
all. Sources: Albert & Anderson (1984), Biometrika 71; Konis (2007), thesis.
"""

import numpy as np
import pandas as pd
from scipy.linalg import null_space
from scipy.optimize import linprog

SAMPLES = (2000, 20_000)  # rows looked at before all of them


def separating_columns(successes: np.ndarray, trials: np.ndarray, x: np.ndarray) -> list[int]:
    """Columns of x [row, column] whose coefficients run off to infinity together; empty where
    estimates are finite.

    With up to 20,000 different rows no column of the answer can be left out without losing the
    separation.
    """
    rows, won, lost = _different(successes, trials, x)
    found = _separating(rows, won, lost)
    for j in found[::-1] if len(rows) <= SAMPLES[-1] else []:
        fewer = [k for k in found if k != j]
        if fewer and (inner := _separating(rows[:, fewer], won, lost)):
            found = [fewer[k] for k in inner]
    return found


def _different(
    successes: np.ndarray, trials: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different rows of x, its columns scaled to 1, with their successes and failures."""
    columns = list(range(x.shape[1]))
    counts = pd.DataFrame(x / np.maximum(np.abs(x).max(0), 1e-300)).assign(
        won=successes, lost=trials - successes
    )
    counts = counts.groupby(columns, sort=False, as_index=False).sum()
    return counts[columns].to_numpy(), counts["won"].to_numpy(), counts["lost"].to_numpy()


def _separating(rows: np.ndarray, won: np.ndarray, lost: np.ndarray) -> list[int]:
    both = (won > 0) & (lost > 0)
    free = null_space(rows[both], rcond=1e-10) if both.any() else np.eye(rows.shape[1])
    pure = np.where(won > 0, 1.0, -1.0)[~both, None] * rows[~both] @ free
    if not pure.size:
        return []
    order = np.random.default_rng(0).permutation(len(pure))
    for size in (*(s for s in SAMPLES if s < len(pure)), len(pure)):
        sample = pure[order[:size]]
        direction = _direction(sample)
        if direction is None and (
            size == len(pure) or np.linalg.matrix_rank(sample) == pure.shape[1]
        ):
            return []
    assert direction is not None  # the last sample is all rows
    moved = np.abs(free @ direction)
    return np.flatnonzero(moved > 1e-6 * moved.max()).tolist()


def _direction(pure: np.ndarray) -> np.ndarray | None:
    """z with pure z >= 0 and not 0 everywhere; None where there is none."""
    found = linprog(-pure.sum(0), A_ub=-pure, b_ub=np.zeros(len(pure)), bounds=(-1, 1))
    return found.x if found.status == 0 and -found.fun > 1e-7 * len(pure) ** 0.5 else None
