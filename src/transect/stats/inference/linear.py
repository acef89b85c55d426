"""Least squares on a few independent units, with contrasts that are refused where the design does
not determine them.

beta = (X'X)^+ X'y.  Two variances of a contrast l, with weights w = X (X'X)^+ l, residuals e and leverages h:
    pooled  s^2 w'w, df = n - rank(X)
    hc2     sum_i w_i^2 v_i, v_i = e_i^2 / (1 - h_i), df = min over V of tr(S)^2 / tr(S^2), S = A M V M, M = I - H,
            A = diag(w^2 / (1 - h)), with V = I (Bell & McCaffrey) and V = diag(v), where the
            squares v_i^2 in tr(S^2) are divided by 3 (E e^4 = 3 sigma^4). V = I alone gives 7 to 10
            % false alarms where one group varies 20 times more (test_linear.py), the smaller of the
            two 4 to 6.5 %.
hc2 does not assume that all groups vary equally; for two groups it is Welch's test. Where a unit
that the contrast needs has leverage 1 (a level with a single unit) hc2 does not exist and the
pooled variance is used, which `variance` says. Sources: MacKinnon & White (1985); Bell & McCaffrey
(2002); Imbens & Kolesar (2016), Rev. Econ. Stat. 98.
"""

from dataclasses import dataclass

import numpy as np

from transect.stats.inference.intervals import t_interval

TOLERANCE = 1e-8
LONG = 50_000  # rows


@dataclass(frozen=True)
class LinearFit:
    """A least squares fit. `hat` is H [unit, unit], `pinv` is X^+ [column, unit]."""

    x: np.ndarray
    pinv: np.ndarray
    hat: np.ndarray
    beta: np.ndarray
    residuals: np.ndarray
    rank: int

    @property
    def df(self) -> int:
        """Residual degrees of freedom: units - rank."""
        return len(self.x) - self.rank

    @property
    def sigma(self) -> float:
        return (
            float(np.sqrt(self.residuals @ self.residuals / self.df))
            if self.df > 0
            else float("nan")
        )

    def contrast(self, weights: np.ndarray, variance: str = "hc2") -> dict[str, float | str]:
        """Estimate, interval and the `variance` that was used. NaN without residual degrees of
        freedom.
        """
        w = weights @ self.pinv
        estimate = float(weights @ self.beta)
        leverage = np.diag(self.hat)
        alone = (leverage > 1 - 1e-6) & (np.abs(w) > TOLERANCE)
        if variance == "pooled" or alone.any() or self.df < 1:
            return t_interval(estimate, self.sigma * np.sqrt(w @ w), self.df) | {
                "variance": "pooled"
            }
        scale = np.where(leverage > 1 - 1e-6, 0.0, w**2 / np.maximum(1 - leverage, 1e-6))
        df = min(
            self._df(scale, np.ones(len(w))),
            self._df(scale, self.residuals**2 / np.maximum(1 - leverage, 1e-6), 2 / 3),
        )
        return t_interval(estimate, np.sqrt(scale @ self.residuals**2), df) | {"variance": "hc2"}

    def _df(self, scale: np.ndarray, variances: np.ndarray, excess: float = 0.0) -> float:
        """tr(S)^2 / (tr(S^2) - excess * the part of single squares); infinite for residuals of 0,
        which the other df bounds.
        """
        m = np.eye(len(scale)) - self.hat
        s = scale[:, None] * m * variances @ m
        squares = s * s.T
        below = squares.sum() - excess * np.trace(squares)
        return float(np.trace(s) ** 2 / below) if below > 0 else np.inf


def least_squares(y: np.ndarray, x: np.ndarray) -> LinearFit:
    """Fit y [unit] on x [unit, column]; collinear columns are allowed (see `undetermined`)."""
    size = _sizes(x)
    inverse = np.linalg.pinv(x / size, rcond=1e-10)
    hat, pinv = (x / size) @ inverse, inverse / size[:, None]
    beta = pinv @ y
    return LinearFit(x, pinv, hat, beta, y - hat @ y, column_rank(x))


def undetermined(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The part of contrasts [..., column] that the rows of x do not determine, per column; all 0
    for an estimable contrast.
    """
    size = _sizes(x)
    scaled = weights / size  # on the coefficients of x / size
    rest = scaled - (scaled @ np.linalg.pinv(x / size, rcond=1e-10)) @ (x / size)
    return np.where(np.abs(rest) > 1e-6 * np.abs(scaled).max(-1, keepdims=True), rest * size, 0.0)


def column_rank(x: np.ndarray) -> int:
    """The rank of x [row, column], whatever units its columns are in (1e21 operations beside an
    intercept of 1).
    """
    return int(np.linalg.matrix_rank(_scaled(x)))


def independent_columns(x: np.ndarray) -> list[int]:
    """The first columns, in order, that are linearly independent: the others are aliased with them."""
    x, kept = _scaled(x), list[int]()
    for j in range(x.shape[1]):
        if np.linalg.matrix_rank(x[:, [*kept, j]]) > len(kept):
            kept.append(j)
    return kept


def _scaled(x: np.ndarray) -> np.ndarray:
    """Each column over its largest element; of a long x its factor, which is as good and small."""
    x = column_factor(x) if len(x) > LONG else x
    return x / _sizes(x)


def _sizes(x: np.ndarray) -> np.ndarray:
    size: np.ndarray = np.abs(x).max(0, initial=0.0)
    return np.where(size > 0, size, 1.0)


def column_factor(x: np.ndarray) -> np.ndarray:
    """R of X = QR, [column, column]: its columns depend on each other as those of x do, at any
    number of rows.
    """
    factors = [
        np.linalg.qr(x[i : i + LONG], mode="r") for i in range(0, len(x), LONG)
    ]  # little memory at a time
    factor = np.linalg.qr(np.concatenate(factors), mode="r") if len(factors) > 1 else factors[0]
    # what is left of a dependent column is rounding, which grows with the rows and not with the
    # size of R
    return np.where(np.abs(factor) < 1e-10 * np.abs(factor).max(0), 0.0, factor)
