"""The fewest runs of the registry whose addition would let a sample tell what it cannot tell now.

For an alias: the smallest set of runs after which every contrast of the factor among the sampled
levels is estimable beside those that it is aliased with (stats/design/separation.py). For a factor that
does not vary, or over too few units of its level: the runs that differ from some sampled run in it
and in as little else as can be. Of equal sets first the one that brings fewest new values of other
factors, then the cheapest. What is unknown counts as half a difference.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.registry.run import Run
from transect.registry.suites import Registry
from transect.stats.design.aliasing import Alias, known
from transect.stats.design.separation import separating
from transect.study.plan.factors import LEVELS, SEEDS, FactorTable, factor_table

LIKE = 1.5  # sizes and amounts within this ratio count as equal where runs are compared
UNSURE = " (unknown)"  # after a factor of which it is unknown whether added runs differ in it


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
        # below one difference, also all together
        self.prices = np.asarray(prices, float) / (np.sum(prices) + 1)
        self.differs = {
            name: _differences(self.here[name], self.there[name], name in self.table.numeric)
            for name in self.table.factors
        }

    def apart(self, alias: Alias) -> Remedy:
        """What tells the two sides of an alias apart."""
        sides = (alias.factor, *alias.others)
        numeric = [name for name in self.table.numeric if name in sides]
        fresh = self._fresh(sides)
        weights = (fresh.sum(axis=1) + self.prices).tolist()
        way = separating(self.here, self.there, alias.factor, alias.others, numeric, weights)
        if way is None:
            return Remedy(alias.factor, alias.others, (), (), False)
        chosen = list(way.chosen)
        return Remedy(
            alias.factor,
            alias.others,
            runs=tuple(self.there.loc[chosen, "run"]),
            brings=tuple(name for name in fresh if fresh.loc[chosen, name].any()),
            exact=way.exact,
        )

    def _fresh(self, but: Collection[str]) -> pd.DataFrame:
        """Whether each run that could be added has a value of each other category that no sampled
        one has, [run, category].
        """
        fresh = {}
        for name in self.table.factors:
            if name in but or name in SEEDS or name in self.table.numeric:
                continue
            sampled = set(self.here[name])
            fresh[name] = known(self.there[name]) & ~self.there[name].isin(sampled)
        return pd.DataFrame(fresh, index=self.there.index)

    def varied(self, factor: str, level: str = "run", n: int = 1) -> Remedy:
        """n runs of as many units of a level that are not sampled, each with as few differences as
        can be; one must be in the factor.
        """
        others = [name for name in self.table.factors if name != factor]
        total = np.zeros(self.differs[factor].shape)
        for name in others:
            total = total + self.differs[name]
        total = np.where(self._allowed(factor, level), total + self.prices, np.inf)
        chosen: list[int] = []
        brings: dict[str, None] = {}
        while len(chosen) < n and np.isfinite(total).any():
            i, j = np.unravel_index(np.argmin(total), total.shape)
            chosen.append(int(j))
            brings |= dict.fromkeys(self._brought(int(i), int(j), others))
            used = self.there[level] == self.there.at[j, level]
            total[:, used.to_numpy()] = np.inf
        if len(chosen) < n:
            return Remedy(factor, (), runs=(), brings=(), exact=True)
        added = tuple(self.there.loc[chosen, "run"])
        return Remedy(factor, (), runs=added, brings=tuple(brings), exact=n == 1)

    def _allowed(self, factor: str, level: str) -> np.ndarray:
        """Whether a run that could be added, of a unit of the level that is not sampled, differs in
        the factor from a sampled run, [sample, pool].

        Another unit of a level that is sampled counts as well as one of a new level.
        """
        differs = self.differs[factor]
        new_unit = ~self.there[level].isin(set(self.here[level])).to_numpy()[None, :]
        allowed = differs == 1.0
        if level != "run":
            allowed |= known(self.there[factor]).to_numpy()[None, :] & (differs == 0.0)
        return allowed & new_unit

    def _brought(self, i: int, j: int, factors: Sequence[str]) -> list[str]:
        """The factors in which run j of the pool differs, or may differ, from run i of the sample."""
        differences = {name: self.differs[name][i, j] for name in factors}
        return [
            name if difference == 1.0 else name + UNSURE
            for name, difference in differences.items()
            if difference
        ]


def _differences(here: pd.Series, there: pd.Series, numeric: bool) -> np.ndarray:
    """1 where a run of the pool differs from one of the sample, 0.5 where one of them is unknown,
    [sample, pool].
    """
    if numeric:
        sampled, added = np.log(here.to_numpy(float)), np.log(there.to_numpy(float))
        ratio = sampled[:, None] - added[None, :]
        unknown, differs = np.isnan(ratio), np.abs(ratio) > np.log(LIKE)
    else:
        codes, _ = pd.factorize(pd.concat([here, there]).astype(str))
        sampled, added = codes[: len(here)], codes[len(here) :]
        differs = sampled[:, None] != added[None, :]
        unknown = ~known(here).to_numpy()[:, None] | ~known(there).to_numpy()[None, :]
    return np.where(unknown, 0.5, differs.astype(float))


def remedies(
    pool: Pool, aliases: Sequence[Alias], few: Mapping[str, tuple[str, int]]
) -> list[Remedy]:
    """One for each alias (of those that go both ways, one) and for each factor of `few`: name ->
    (level, units that are wanting).
    """
    separable: dict[Hashable, Alias] = {}
    for alias in aliases:
        if _needs_runs(alias):
            key: Hashable = (alias.factor, alias.others)
            if alias.kind == "same":
                key = frozenset((alias.factor, *alias.others))
            separable.setdefault(key, alias)
    suggested = [pool.apart(alias) for alias in separable.values()]
    for factor, (level, wanting) in few.items():
        if factor in pool.table.factors:
            suggested.append(pool.varied(factor, level if level in LEVELS else "run", wanting))
    return suggested


def _needs_runs(alias: Alias) -> bool:
    """Whether runs are looked for: not for seeds, nor where a factor follows in part from several
    others together.
    """
    joint = alias.kind == "partial" and len(alias.others) > 1
    return alias.factor not in SEEDS and bool(alias.aliased) and not joint
