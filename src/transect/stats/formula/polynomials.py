"""Orthonormal polynomials over the values of a column, R's poly: the columns of poly(x, 2) in a
formula.
"""

import numpy as np

from transect.errors import InputError


class Polynomials:
    """Orthonormal polynomials over the values of a column, as R's poly: the same for new values."""

    def __init__(self, x: np.ndarray, variable: str):
        self.degree = int(variable.rstrip(")").rsplit(",", 1)[1])
        if len(np.unique(x)) <= self.degree:
            raise InputError(
                f"{variable}: the column has {len(np.unique(x))} different values, too few for this degree"
            )
        self.centre, self.alpha, self.norms = x.mean(), [], [float(len(x))]
        before, now = np.zeros_like(x), np.ones_like(x)
        for _ in range(self.degree):
            z = x - self.centre
            self.alpha.append(float((z * now * now).sum() / self.norms[-1]))
            ratio = self.norms[-1] / self.norms[-2] if len(self.norms) > 1 else 0.0
            before, now = now, (z - self.alpha[-1]) * now - ratio * before
            self.norms.append(float((now * now).sum()))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        columns, before, now = [], np.zeros_like(x), np.ones_like(x)
        for k in range(self.degree):
            ratio = self.norms[k] / self.norms[k - 1] if k else 0.0
            before, now = now, (x - self.centre - self.alpha[k]) * now - ratio * before
            columns.append(now / np.sqrt(self.norms[k + 1]))
        return np.column_stack(columns)
