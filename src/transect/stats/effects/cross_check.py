"""The cross-check of an effect of a design factor: ordinary least squares on the means of its
units, by statsmodels.

    mean of y over unit u = (mean of the model matrix over u) beta + error of u,   unit = configuration, each run of equal weight
Another program and the simplest model: one variance for all units, df = units - rank. Where every
unit has the same rows and groups vary alike it equals the model beside it; where not, the
difference shows what rests on the model. An effect that varies within runs, and one that the means
do not determine, has no cross-check (NaN).
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
import statsmodels.api as sm

from transect.stats.formula.contrasts import Contrast
from transect.stats.formula.notation import Design
from transect.stats.inference.linear import independent_columns, undetermined

COLUMNS = ["ols_estimate", "ols_lower", "ols_upper", "ols_p"]


class OnUnitMeans:
    """The fit to the means of configurations; `within`: the variables that vary within runs."""

    def __init__(self, rows: pd.DataFrame, design: Design, within: Collection[str]):
        table = pd.DataFrame(np.column_stack([rows["value"].to_numpy(float), design.matrix(rows)]))
        keys = [rows["configuration"].to_numpy(), rows["run"].to_numpy()]
        runs = table.groupby(keys).mean()
        means = runs.groupby(level=0).mean().to_numpy()
        self.x, self.within = means[:, 1:].round(12), set(within)  # a mean of equal values is equal
        # a contrast that the means determine is the same with the aliased coefficients at 0
        self.kept = independent_columns(self.x)
        self.fit = (
            sm.OLS(means[:, 0], self.x[:, self.kept]).fit() if len(means) > len(self.kept) else None
        )

    def row(self, contrast: Contrast) -> dict[str, float]:
        """The columns `COLUMNS` of one contrast."""
        compared = set(contrast.variables) - {
            v for v, levels in contrast.levels.items() if len(levels) == 1
        }
        if (
            self.fit is None
            or compared & self.within
            or undetermined(contrast.weights, self.x).any()
        ):
            return dict.fromkeys(COLUMNS, float("nan"))
        tested = self.fit.t_test(contrast.weights[self.kept])
        lower, upper = tested.conf_int()[0]
        return dict(
            zip(COLUMNS, map(float, (tested.effect[0], lower, upper, tested.pvalue)), strict=True)
        )
