"""Columns and response of a model in standard units, so that nothing that is searched depends on
the units they were given in.

    given = standard @ root,      standard' standard = n I,      root [column, column] upper triangular, its diagonal above 0
For one column this divides by the root mean square; beside an intercept it takes the mean off
first. A model of the given columns with coefficients b is one of the standard columns with root b,
and so is a random term with covariance Sigma one with root Sigma root'. A column of 0, or one that
others determine, becomes 0: its coefficient is no part of the model. The response is what least
squares leaves of it, over its root mean square: whatever its offset and its scale. Source:
Gram-Schmidt orthogonalisation, done twice (Giraud et al. 2005, Numer. Math. 101).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as sl

EXACT = 1e-13  # of the largest response: what is left of it is rounding
NOTHING = 1e-12  # of a column's size: what is left beside the others is rounding


@dataclass(frozen=True)
class StandardColumns:
    """`given` and `standard` [row, column], `root` [column, column]."""

    given: np.ndarray
    standard: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, given: np.ndarray) -> "StandardColumns":
        given = np.asarray(given, float)
        n, k = given.shape
        constant = k == 1 and (given == 1.0).all()
        if k == 0 or n == 0 or constant:  # the usual random intercept needs no copy
            return cls(given, given, np.eye(k))
        size = np.abs(given).max(0)
        size[size == 0] = 1.0
        standard = np.asfortranarray(given / size)
        root = np.zeros((k, k))
        for j in range(k):
            _orthogonalise(standard, root, j)
        return cls(given, standard, root * size)

    @property
    def spread(self) -> np.ndarray:
        """The root mean square of each given column."""
        return np.sqrt((self.root**2).sum(0))

    @property
    def log_determinant(self) -> float:
        """log |root|."""
        return float(np.log(np.diag(self.root)).sum())

    @cached_property
    def inverse(self) -> np.ndarray:
        """root^-1."""
        if not len(self.root):
            return self.root
        return sl.solve_triangular(self.root, np.eye(len(self.root)))

    def coefficients(self, standard: np.ndarray) -> np.ndarray:
        """Of the given columns, from those of the standard ones."""
        return self.inverse @ standard

    def rows(self, given: np.ndarray) -> np.ndarray:
        """Other rows of the given columns (or contrasts of their coefficients), in standard units."""
        return given @ self.inverse


def _orthogonalise(standard: np.ndarray, root: np.ndarray, j: int) -> None:
    """Take the columns before column j off it, twice, and divide it by its root mean square, in
    place; what is taken off goes into root. Only rounding left: 0, and its size before in root.
    """
    column, before = standard[:, j], standard[:, :j]
    n = len(column)
    whole = np.sqrt(column @ column / n)
    for _ in range(2 if j else 0):
        part = before.T @ column / n
        column -= before @ part
        root[:j, j] += part
    own = np.sqrt(column @ column / n)
    if own > NOTHING * whole:
        root[j, j] = own
        column *= 1 / own
    else:
        root[j, j] = whole or 1.0
        column *= 0.0


@dataclass(frozen=True)
class StandardResponse:
    """y = X fitted + size * standard, with `fitted` the least squares coefficients of the standard
    columns.
    """

    standard: np.ndarray
    fitted: np.ndarray
    size: float
    exact: bool  # nothing but rounding is left

    @classmethod
    def of(cls, y: np.ndarray, fixed: StandardColumns) -> "StandardResponse":
        largest = float(np.abs(y).max(initial=0.0)) or 1.0
        residual = y / largest
        fitted = np.zeros(len(fixed.root))
        for _ in range(2):
            # one by one: a large offset goes before the rest is added up
            for j, column in enumerate(fixed.standard.T):
                part = float(column @ residual) / len(residual)
                fitted[j] += part
                residual = residual - part * column
        size = float(np.sqrt(residual @ residual / len(residual)))
        return cls(
            standard=residual / (size or 1.0),
            fitted=largest * fitted,
            size=largest * size,
            exact=size <= EXACT,
        )

    def other(self, y: np.ndarray, fixed: StandardColumns) -> np.ndarray:
        """Another response of the same rows, in the units of this one."""
        return (y - fixed.standard @ self.fitted) / self.size


def lower_triangle(factor: np.ndarray) -> np.ndarray:
    """The lower-triangular L with L L' = F F', its diagonal not below 0."""
    upper: np.ndarray = np.linalg.qr(factor.T).R
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    return (upper * signs[:, None]).T
