"""Trend with size over a few configurations: a slope per decade, and what it predicts of a size that was left out.

value = a_group + b log10(size) + covariates + e,  one row per configuration, Student's t with n - rank degrees of freedom.
Prediction interval of a new configuration at x:  x'beta +- t sqrt(s^2 (1 + x'(X'X)^+ x)).
Both assume the same spread at every size (two or three sizes cannot say otherwise) and, when predicting, that the trend
goes on as a straight line in log10(size).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from transect.stats.formula import Design, column_of, parse
from transect.stats.intervals import MIN_UNITS, t_interval
from transect.stats.linear import least_squares, undetermined


@dataclass(frozen=True)
class Trend:
    """A fitted trend. `refused` is empty or says why nothing is inferred."""

    design: Design
    x: np.ndarray
    y: np.ndarray
    size: str  # the variable, e.g. log10(params_non_embedding)
    refused: str

    def slope(self) -> dict[str, float]:
        """The common slope per unit of the size variable (a decade), with interval; NaN where it is refused."""
        if self.refused:
            return t_interval(np.nan, np.nan, np.nan)
        weights = np.array([float(t == (self.size,)) for t in self.design.term_of])
        row = least_squares(self.y, self.x).contrast(weights, "pooled")
        return {k: float(v) for k, v in row.items() if k != "variance"}

    def mean_at(self, rows: pd.DataFrame) -> dict[str, float]:
        """The fitted mean over `rows` with its interval (a band, not a prediction)."""
        row = least_squares(self.y, self.x).contrast(self.design.matrix(rows).mean(axis=0), "pooled")
        return {k: float(row[k]) for k in ("estimate", "lower", "upper")}

    def predict(self, new: pd.DataFrame) -> pd.DataFrame:
        """estimate, se, df, lower, upper: prediction interval of one new configuration per row of `new`."""
        fit = least_squares(self.y, self.x)
        at = self.design.matrix(new)
        estimate = at @ fit.beta
        spread = np.einsum("ij,jk,ik->i", at, np.linalg.pinv(self.x.T @ self.x), at) + 1
        se = fit.sigma * np.sqrt(spread) if not self.refused else np.full(len(at), np.nan)
        unknown = [bool(undetermined(row, self.x).any()) for row in at]
        se = np.where(unknown, np.nan, se)
        half = stats.t.ppf(0.975, max(fit.df, 1)) * se
        columns = {"estimate": np.where(unknown, np.nan, estimate), "se": se, "df": float(fit.df)}
        return pd.DataFrame(columns | {"lower": estimate - half, "upper": estimate + half})


def trend(frame: pd.DataFrame, size: str, adjust: tuple[str, ...] = ()) -> Trend:
    """Fit a trend to one row per configuration: columns value, the size column and those of `adjust`.

    `size` is a variable such as log10(params_total). An adjusting factor with a single level is left out.
    """
    kept = [a for a in adjust if frame[column_of(a)].nunique() > 1]
    design = Design(parse("value ~ " + " + ".join([size, *kept])).fixed, frame)
    x, y = design.matrix(frame), frame["value"].to_numpy(float)
    return Trend(design, x, y, size, _refused(design, x, size))


def _refused(design: Design, x: np.ndarray, size: str) -> str:
    position = design.term_of.index((size,))
    sizes = len(np.unique(x[:, position].round(9)))
    free = len(x) - int(np.linalg.matrix_rank(x))
    weights = np.eye(x.shape[1])[position]
    if sizes < 2:
        return f"not identifiable: {sizes} size in {len(x)} configurations"
    if undetermined(weights, x).any():
        return "not identifiable: size is aliased with the factors it is adjusted for"
    if len(x) < MIN_UNITS or free < 1:
        return f"not identifiable: {len(x)} configurations at {sizes} sizes leave {max(free, 0)} degrees of freedom"
    return ""
