"""Trend with size over a few configurations: a slope per decade, and what it predicts of a size
that was left out.

value = a_group + b log10(size) + covariates + e,  one row per configuration, Student's t with n - rank degrees of freedom.
Prediction interval of a new configuration at x:  x'beta +- t sqrt(s^2 (1 + x'(X'X)^+ x)).
Both assume the same spread at every size (two or three sizes cannot say otherwise) and, when
predicting, that the trend goes on as a straight line in log10(size). Of an outcome with bounds the
means of the line keep within them (bounded.py), slopes and predictions are cut at what is possible
(a slope: the bounds' distance over the range of sizes).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from transect.stats.formula.notation import Design, column_of, parse
from transect.stats.inference.bounded import UNBOUNDED, Bounds, bounded, cut, cut_rows
from transect.stats.inference.intervals import MIN_UNITS, t_interval
from transect.stats.inference.linear import least_squares, undetermined


@dataclass(frozen=True)
class Trend:
    """A fitted trend. `refused` is empty or says why nothing is inferred."""

    design: Design
    x: np.ndarray
    y: np.ndarray
    size: str  # the variable, e.g. log10(params_non_embedding)
    refused: str
    bounds: Bounds = UNBOUNDED

    def slope(self) -> dict[str, Any]:
        """The common slope per unit of the size variable (a decade), with interval; NaN where it is
        refused.
        """
        if self.refused:
            return t_interval(np.nan, np.nan, np.nan)
        weights = np.array([float(t == (self.size,)) for t in self.design.term_of])
        row = least_squares(self.y, self.x).contrast(weights, "pooled")
        most = (self.bounds[1] - self.bounds[0]) / float(np.ptp(self.x @ weights))
        return cut({k: float(v) for k, v in row.items() if k != "variance"}, -most, most)

    def mean_at(self, rows: pd.DataFrame) -> dict[str, float]:
        """The fitted mean over `rows` with its interval (a band, not a prediction)."""
        fit = least_squares(self.y, self.x)
        row = bounded(
            fit.contrast(self.design.matrix(rows).mean(axis=0), "pooled"),
            self.bounds,
            at_bound=len(self.y),
        )
        return {k: float(row[k]) for k in ("estimate", "lower", "upper")}

    def residuals(self) -> np.ndarray:
        """What the fit leaves of each configuration's value."""
        return least_squares(self.y, self.x).residuals

    def widest(self, rows: pd.DataFrame, among: Sequence[str]) -> str | None:
        """The category `among` the adjusting factors whose levels the fit puts furthest apart,
        where it determines them; else None.
        """
        beta, apart = least_squares(self.y, self.x).beta, dict[str, float]()
        for variable, levels in (
            (v, levels) for v, levels in self.design.levels.items() if v in among
        ):
            column = column_of(variable)
            means = [
                self.design.matrix(rows.assign(**{column: level})).mean(axis=0) for level in levels
            ]
            if not any(undetermined(weights, self.x).any() for weights in means):
                apart[variable] = float(np.ptp([weights @ beta for weights in means]))
        return max(apart, key=lambda v: apart[v], default=None)

    def predict(self, new: pd.DataFrame) -> pd.DataFrame:
        """estimate, se, df, lower, upper: prediction interval of one new configuration per row of
        `new`.
        """
        fit = least_squares(self.y, self.x)
        at = self.design.matrix(new)
        estimate = at @ fit.beta
        spread = np.einsum("ij,jk,ik->i", at, np.linalg.pinv(self.x.T @ self.x), at) + 1
        se = fit.sigma * np.sqrt(spread) if not self.refused else np.full(len(at), np.nan)
        unknown = [bool(undetermined(row, self.x).any()) for row in at]
        se = np.where(unknown, np.nan, se)
        half = stats.t.ppf(0.975, max(fit.df, 1)) * se
        columns = {"estimate": np.where(unknown, np.nan, estimate), "se": se, "df": float(fit.df)}
        return cut_rows(
            pd.DataFrame(columns | {"lower": estimate - half, "upper": estimate + half}),
            self.bounds,
        )


def trend(
    frame: pd.DataFrame, size: str, adjust: tuple[str, ...] = (), bounds: Bounds = UNBOUNDED
) -> Trend:
    """Fit a trend to one row per configuration: columns value, the size column and those of
    `adjust`.

    `size` is a variable such as log10(params_total). An adjusting factor with a single level is
    left out.
    """
    kept = [a for a in adjust if frame[column_of(a)].nunique() > 1]
    design = Design(parse("value ~ " + " + ".join([size, *kept])).fixed, frame)
    x, y = design.matrix(frame), frame["value"].to_numpy(float)
    return Trend(design, x, y, size, _refused(design, x, size), bounds)


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
