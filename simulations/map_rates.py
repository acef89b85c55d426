"""Events of maps, trees of hypotheses and trees of groups: false discoveries where nothing is
there, and Pagel's lambda.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from transect.stats.inference.multiplicity import nested_tree, tree_bh
from transect.stats.inference.permutation import exchange_labels, sign_flips
from transect.stats.phylogeny.covariance import Lambda, estimate_lambda, tree_covariance

LAMBDA = 0.6


def _null_maps(rng: np.random.Generator, n_runs: int) -> np.ndarray:
    """Maps of 6 layers x 6 heads of runs: noise with 4 df (heavy tails), half of its variance
    shared by the heads of a layer.
    """
    shape = (n_runs, 6, 6)
    return np.sqrt(0.5) * (rng.standard_t(4, (n_runs, 6, 1)) + rng.standard_t(4, shape))


def false_cell(rng: np.random.Generator) -> bool:
    """Any cell of a null map of 8 runs at p_map <= 0.05; all 256 signs."""
    return bool(sign_flips(_null_maps(rng, 8)).p_map.min() <= 0.05)


def false_difference(rng: np.random.Generator) -> bool:
    """Any cell in which 5 and 5 runs of one population differ at p_map <= 0.05; all 252 labellings."""
    maps = _null_maps(rng, 10)
    return bool(exchange_labels(maps, [0] * 5 + [1] * 5).p_map.min() <= 0.05)


def false_node(shared: float) -> Callable[[np.random.Generator], bool]:
    """Any node of a tree of 6 layers x 8 heads rejected at q = 0.05; one-sided tests whose z
    correlate `shared` within a layer.
    """
    cells = pd.DataFrame(
        [(layer, head) for layer in range(6) for head in range(8)], columns=["layer", "head"]
    )
    parents = nested_tree(cells, ["layer", "head"])
    leaves = list(cells.itertuples(index=False, name=None))

    def event(rng: np.random.Generator) -> bool:
        z = np.sqrt(shared) * np.repeat(rng.normal(size=6), 8) + np.sqrt(1 - shared) * rng.normal(
            size=48
        )
        return bool(tree_bh(parents, dict(zip(leaves, norm.sf(z), strict=True)))["rejected"].any())

    return event


def _lineages(n_levels: int) -> pd.DataFrame:
    """The covariance of 2^n groups, the tips of a tree that forks n times at equal distances."""
    nodes = [format(i, f"0{depth}b") for depth in range(1, n_levels + 1) for i in range(2**depth)]
    parents = {node: node[:-1] or None for node in nodes}
    return tree_covariance(parents, [node for node in nodes if len(node) == n_levels])


def _lambda_of(rng: np.random.Generator, v: pd.DataFrame) -> Lambda:
    """lambda of a trait of groups on a predictor of theirs; planted: LAMBDA."""
    n, shared = len(v), v.to_numpy()
    factor = np.linalg.cholesky(LAMBDA * shared + (1 - LAMBDA) * np.diag(np.diag(shared)))
    return estimate_lambda(
        factor @ rng.normal(size=n), np.column_stack([np.ones(n), rng.normal(size=n)]), v
    )


def coverage_of_lambda(rng: np.random.Generator) -> bool:
    """64 groups: whether the interval holds 0.6."""
    found = _lambda_of(rng, _lineages(6))
    return bool(found.lower <= LAMBDA <= found.upper)


def lambda_of_few_groups(rng: np.random.Generator) -> bool:
    """32 groups: whether it is called uninformative."""
    found = _lambda_of(rng, _lineages(5))
    return not found.informative and "uninformative" in found.sentence
