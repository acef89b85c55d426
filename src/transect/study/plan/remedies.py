"""The fewest runs of the registry whose addition would let a sample tell what it cannot tell now.

For an alias: the smallest set of runs after which every contrast of the factor among the sampled
levels is estimable beside those that it is aliased with (stats/design/separation.py). For a factor that
does not vary, or over too few units of its level: the runs that differ from some sampled run in it
and in as little else as can be. Of equal sets first the one that brings fewest new values of other
factors, then the cheapest. What is unknown counts as half a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.registry.run import Run
from transect.registry.suites import Registry
from transect.stats.design.aliasing import Alias, known
from transect.stats.design.separation import separating
from transect.study.plan.factors import LEVELS, SEEDS, FactorTable, factor_table

LIKE = 1.5  # sizes and amounts within this ratio count as equal where runs are compared


@dataclass(frozen=True)
class Remedy:
    """`runs` would tell `factor` from `others`, or, without others, let it vary; empty where no run
    of the registry does.
    """

    factor: str
    others: tuple[str, ...]
    runs: tuple[str, ...]
    brings: tuple[str, ...]  # other factors in which these runs differ from what is sampled
    exact: bool  # no smaller set does it


class Pool:
    """The runs of the sample and those that could be added, with their factors and prices."""

    def __init__(
        self,
        runs: Sequence[Run],
        pool: Sequence[Run],
        registry: Registry,
        tokens: Mapping[str, int] | None,
        prices: Sequence[float],
    ):
        self.table: FactorTable = factor_table([*runs, *pool], registry, tokens, sample=runs)
        self.here = self.table.frame.iloc[: len(runs)]
        self.there = self.table.frame.iloc[len(runs) :].reset_index(drop=True)
        self.prices = np.asarray(prices, float) / (
            np.sum(prices) + 1
        )  # below one difference, also all together
        self.differs = {
            name: _differences(self.here[name], self.there[name], name in self.table.numeric)
            for name in self.table.factors
        }

    def apart(self, alias: Alias) -> Remedy:
        """What tells the two sides of an alias apart."""
        names = [
            n
            for n in self.table.factors
            if n not in (*SEEDS, *self.table.numeric, alias.factor, *alias.others)
        ]
        fresh = pd.DataFrame(
            {n: known(self.there[n]) & ~self.there[n].isin(set(self.here[n])) for n in names},
            index=self.there.index,
        )
        numeric = [n for n in self.table.numeric if n in (alias.factor, *alias.others)]
        weights = (fresh.sum(axis=1) + self.prices).tolist()
        way = separating(self.here, self.there, alias.factor, alias.others, numeric, weights)
        chosen = list(way.chosen) if way else []
        brings = tuple(n for n in names if fresh.loc[chosen, n].any())
        return Remedy(
            alias.factor,
            alias.others,
            tuple(self.there.loc[chosen, "run"]),
            brings,
            bool(way and way.exact),
        )

    def varied(self, factor: str, level: str = "run", n: int = 1) -> Remedy:
        """n runs of as many units of a level that are not sampled, each with as few differences as
        can be; one must be in the factor.
        """
        others = [m for m in self.table.factors if m != factor]
        total = (
            sum((self.differs[m] for m in others), np.zeros(self.differs[factor].shape))
            + self.prices
        )
        allowed = self.differs[factor] == 1.0
        allowed &= ~self.there[level].isin(set(self.here[level])).to_numpy()[None, :]
        if (
            level != "run"
        ):  # another unit of a level that is sampled counts as well as one of a new level
            same = known(self.there[factor]).to_numpy()[None, :] & (self.differs[factor] == 0.0)
            allowed |= same & ~self.there[level].isin(set(self.here[level])).to_numpy()[None, :]
        total = np.where(allowed, total, np.inf)
        chosen: list[int] = []
        brings: dict[str, None] = {}
        for _ in range(n):
            if not np.isfinite(total).any():
                break
            i, j = np.unravel_index(np.argmin(total), total.shape)
            chosen.append(int(j))
            brings |= dict.fromkeys(
                m if self.differs[m][i, j] == 1.0 else f"{m} (unknown)"
                for m in others
                if self.differs[m][i, j]
            )
            total[:, (self.there[level] == self.there.at[j, level]).to_numpy()] = np.inf
        if len(chosen) < n:
            return Remedy(factor, (), (), (), True)
        return Remedy(factor, (), tuple(self.there.loc[chosen, "run"]), tuple(brings), n == 1)


def _differences(here: pd.Series, there: pd.Series, numeric: bool) -> np.ndarray:
    """1 where a run of the pool differs from one of the sample, 0.5 where one of them is unknown,
    [sample, pool].
    """
    if numeric:
        ratio = np.log(here.to_numpy(float))[:, None] - np.log(there.to_numpy(float))[None, :]
        return np.where(np.isnan(ratio), 0.5, (np.abs(ratio) > np.log(LIKE)).astype(float))
    codes, _ = pd.factorize(pd.concat([here, there]).astype(str))
    other = (codes[: len(here), None] != codes[None, len(here) :]).astype(float)
    unknown = ~known(here).to_numpy()[:, None] | ~known(there).to_numpy()[None, :]
    return np.where(unknown, 0.5, other)


def remedies(
    pool: Pool, aliases: Sequence[Alias], few: Mapping[str, tuple[str, int]]
) -> list[Remedy]:
    """One for each alias (of those that go both ways, one) and for each factor of `few`: name ->
    (level, units that are wanting).
    """
    found: list[Remedy] = []
    done = set()
    for alias in aliases:
        key = (
            frozenset((alias.factor, *alias.others))
            if alias.kind == "same"
            else (alias.factor, alias.others)
        )
        if (
            alias.factor not in SEEDS
            and alias.aliased
            and key not in done
            and not (alias.kind == "partial" and len(alias.others) > 1)
        ):
            done.add(key)
            found.append(pool.apart(alias))
    for factor, (level, wanting) in few.items():
        if factor in pool.table.factors:
            found.append(pool.varied(factor, level if level in LEVELS else "run", wanting))
    return found
