"""The most degrees of freedom that an effect's units leave it.

    df <= V^2 / (sum_o V_o^2 / df_o + (V - sum_o V_o)^2 / df),   and <= the df of every level within which it is constant
V: variance of the estimate; V_o: its part that scales with the variances by grouping o, another
unit that carries the effect and is crossed with the first; all else, the residual's part too,
counts as the first unit's. Without other units: df <= the units'. A condition that differs between
items and has a slope by run is tested against runs as far as its variance comes from runs: with few
runs and most of the variance from many items, the runs' df alone would make its interval too wide.
Source: Satterthwaite (1946), Biometrics Bulletin 2(6), for the df of a sum of independent mean
squares.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Carrier:
    """A further unit of an effect: the groupings whose variance counts as its own, and its df."""

    groupings: frozenset[str]
    df: float


@dataclass(frozen=True)
class DfBound:
    """`df`: of the coarsest unit; `others`: the units crossed with it; `most`: of the levels within
    which the effect is constant.
    """

    df: float
    others: tuple[Carrier, ...] = ()
    most: float = np.inf

    def of(self, variance: float, parts: Mapping[str, float]) -> float:
        """The bound for an estimate with this variance, of which `parts` come from the groupings
        named.
        """
        if not self.others or not variance > 0:
            return self.df
        own = [
            sum(max(parts.get(g, 0.0), 0.0) for g in o.groupings) / variance for o in self.others
        ]
        rest = max(1 - sum(own), 0.0)
        together = rest**2 / self.df + sum(
            share**2 / o.df for share, o in zip(own, self.others, strict=True)
        )
        return min(1 / together, self.most)
