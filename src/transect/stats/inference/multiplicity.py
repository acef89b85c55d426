"""Many hypotheses at once: adjusted p values (Holm, Benjamini-Hochberg) and false-discovery control
over a tree.

    Holm   adjusted p_(i) = max over j <= i of min(1, (k - j + 1) p_(j))      any wrong rejection at most alpha
    BH     adjusted p_(i) = min over j >= i of min(1, k p_(j) / j)            expected share of wrong rejections at most q
    tree   from the top: the children of a rejected node (and the nodes without a parent) are one family, tested by BH at
           q * prod over its rejected ancestors a, itself included, of (rejected siblings of a, a
           among them) / (siblings) A node without a p of its own gets Simes' p of its children, min
           over i of k p_(i) / i, from the leaves upwards.
The tree controls, level by level, the expected share of wrong rejections of a family averaged over
the families tested there (the selective FDR), not the share over all leaves pooled; where every
hypothesis is true, any rejection at all has a probability of at most q. Proven for independent p
values (and Simes where it is valid: positive dependence), one p per node. With Simes' p a rejected
node has a rejected child. Two levels: Benjamini & Bogomolov (2014). Sources: Holm (1979), Scand. J.
Stat. 6; Benjamini & Hochberg (1995); Simes (1986); Benjamini & Bogomolov (2014), JRSS B 76;
Bogomolov, Peterson, Benjamini & Sabatti (2021), Biometrika 108 (TreeBH; theirs too: Simes of the
children).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjusted p, in the order given. Raises InputError for a p outside [0, 1] or missing."""
    every = _checked(p)
    order = np.argsort(every, kind="stable")
    adjusted = np.maximum.accumulate(np.minimum(1.0, every[order] * np.arange(len(every), 0, -1)))
    return adjusted[np.argsort(order, kind="stable")]


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """Adjusted p, in the order given: reject where it is at most q. Raises InputError for a p
    outside [0, 1] or missing.
    """
    every = _checked(p)
    order = np.argsort(every, kind="stable")
    raw = every[order] * len(every) / np.arange(1, len(every) + 1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(raw[::-1])[::-1])
    return adjusted[np.argsort(order, kind="stable")]


def simes(p: Sequence[float]) -> float:
    """p of the hypothesis that all are true: the smallest of their BH-adjusted p."""
    if len(p) == 0:
        raise InputError("Simes' test needs at least one p value")
    return float(benjamini_hochberg(p).min())


def nested_tree(frame: pd.DataFrame, levels: Sequence[str]) -> pd.Series:
    """The parent of every node (index) of a tree of nested columns, coarsest first; None above the
    first column.

    A node is the tuple of its levels, (layer, head); the leaf of a row is the tuple of all. Raises
    InputError where a column is unknown or two rows are the same leaf.
    """
    for column in levels:
        if column not in frame:
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, frame))}.{nearest(column, frame)}"
            )
    leaves = list(frame[list(levels)].itertuples(index=False, name=None))
    if len(set(leaves)) < len(leaves):
        raise InputError(
            f"{len(leaves) - len(set(leaves))} rows repeat a combination of {', '.join(levels)}"
        )
    parents: dict[tuple, tuple | None] = {}
    for depth in range(1, len(levels) + 1):
        for leaf in leaves:
            parents.setdefault(leaf[:depth], leaf[: depth - 1] or None)
    index = pd.Index(_objects(list(parents)), dtype=object, tupleize_cols=False)
    return pd.Series(_objects(list(parents.values())), index=index, dtype=object)


def tree_bh(parents: Mapping, p: Mapping, q: float = 0.05) -> pd.DataFrame:
    """Columns node, parent, depth (0: no parent), p, at (the BH level of its family; NaN: not
    tested), rejected.

    parents: of every node its parent or None; p: of every leaf, and of inner nodes that have a test
    of their own. Raises InputError where a leaf has no p, a p is out of range or belongs to no
    node, a parent is no node, or nodes form a circle.
    """
    if not 0 < q < 1:
        raise InputError(f"q is {q:g}; the false discovery rate must lie between 0 and 1")
    children = _children(parents)
    order = _downwards(children, len(parents))
    own = _combined(order, children, p)
    at: dict = {}
    rejected: dict = {}
    families = [(children.get(None, []), q)]
    while families:
        family, level = families.pop()
        found = benjamini_hochberg([own[node] for node in family]) <= level
        share = found.sum() / len(family)
        for node, hit in zip(family, found, strict=True):
            at[node], rejected[node] = level, bool(hit)
            if hit and node in children:
                families.append((children[node], level * share))
    rows = [
        (node, parents[node], depth, own[node], at.get(node, np.nan), rejected.get(node, False))
        for node, depth in order.items()
    ]
    table = {
        name: _objects(column) if name in ("node", "parent") else list(column)
        for name, column in zip(
            ["node", "parent", "depth", "p", "at", "rejected"], zip(*rows, strict=True), strict=True
        )
    }
    return pd.DataFrame(table)


def _checked(p: Sequence[float]) -> np.ndarray:
    every = np.asarray(p, float)
    wrong = every[~((every >= 0) & (every <= 1))]
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(every)} p values are missing or outside 0 to 1, e.g. {wrong[0]:g}"
        )
    return every


def _children(parents: Mapping) -> dict:
    """Of every inner node, and of None, its children in the order given."""
    if not len(parents):
        raise InputError("the tree has no nodes")
    found: dict = {}
    for node, parent in parents.items():
        if parent is not None and parent not in parents:
            raise InputError(f"node {node!r}: its parent {parent!r} is no node of the tree")
        found.setdefault(parent, []).append(node)
    return found


def _downwards(children: Mapping, n_nodes: int) -> dict:
    """Every node with its depth, parents before children."""
    depth = dict.fromkeys(children.get(None, []), 0)
    waiting = list(depth)
    for node in waiting:  # grows while it is read
        for child in children.get(node, []):
            depth[child] = depth[node] + 1
            waiting.append(child)
    if len(depth) < n_nodes:
        raise InputError(
            f"{n_nodes - len(depth)} of {n_nodes} nodes have no way up to a node without a parent: a circle"
        )
    return depth


def _combined(order: Mapping, children: Mapping, p: Mapping) -> dict:
    """p of every node: its own, else Simes' of its children."""
    strangers = [node for node in p.keys() if node not in order]
    if strangers:
        raise InputError(f"p is given for {strangers[0]!r}, which is no node of the tree")
    found: dict = {}
    for node in reversed(list(order)):
        if node in p:
            found[node] = float(_checked([p[node]])[0])
        elif node in children:
            found[node] = simes([found[child] for child in children[node]])
        else:
            raise InputError(f"the leaf {node!r} has no p value")
    return found


def _objects(values: Sequence) -> np.ndarray:
    """One object per value: tuples stay tuples."""
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array
