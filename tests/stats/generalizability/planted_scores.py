"""Scores with planted variance components, for any design."""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd

from transect.stats.generalizability.facets import Effect, FacetDesign


def planted(
    design: FacetDesign,
    levels: Mapping[str, int],
    variance: Mapping[Effect, float],
    rng: np.random.Generator,
    keep: Callable[[pd.DataFrame], pd.Series] | None = None,
) -> pd.DataFrame:
    """A column per facet (nested ones numbered anew within their nest) and normal scores `y`;
    `keep` picks the cells that are there.
    """
    table = pd.DataFrame(list(product(*(range(n) for n in levels.values()))), columns=list(levels))
    if keep is not None:
        table = table[keep(table)].reset_index(drop=True)
    y = np.zeros(len(table))
    for effect in design.effects():
        level = table.groupby(sorted(effect)).ngroup().to_numpy()
        y += np.sqrt(variance[effect]) * rng.standard_normal(level.max() + 1)[level]
    return table.assign(y=y)
