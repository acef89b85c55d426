"""How the levels of a column are related, from a Newick tree or a matrix; the effects between them
with and without it.

    ((pythia-70m:1,pythia-160m:1)pythia:0.5,gpt2:1.5);      tips and inner nodes are levels; a length stands after each colon
Without any lengths every branch is 1 long; the root has none unless it is given. A matrix has the
levels as rows and columns: distances (0 on the diagonal, turned into 1 - D / max D, over the
average-linkage tree where that is no covariance) or covariances (above 0 on it). Left out of the
regression of the levels' means: terms that vary within the levels and whose means others determine
(a condition that is balanced in each), and their interactions. Sources: Felsenstein's Newick
standard (1986); Pagel (1999); see stats/phylogeny/covariance.py.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Design, Term, parse
from transect.stats.inference import linear
from transect.stats.phylogeny.covariance import (
    Lambda,
    distance_covariance,
    phylogenetic_regression,
    tree_covariance,
    ultrametric,
)
from transect.stats.table.model_input import complete_rows

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[(),:;]|[^\s(),:;'\[\]][^(),:;\[\]]*)")


def read_newick(text: str) -> tuple[dict[str, str | None], dict[str, float]]:
    """The parent of every node (None of the root) and the branch lengths that are given. Raises
    InputError for what is no tree.

    Nodes without a name are named by their number in brackets. Underscores stay as they are.
    """
    tokens = _tokens(re.sub(r"\[[^\]]*\]", "", text))
    parents: dict[str, str | None] = {}
    lengths: dict[str, float] = {}
    stack: list[list[str]] = [[]]
    position = 0
    while position < len(tokens) and tokens[position] != ";":
        if tokens[position] == "(":
            stack.append([])
            position += 1
            continue
        children: list[str] = []
        if tokens[position] == ")":
            if len(stack) == 1:
                raise InputError("the tree has a ')' too many")
            children = stack.pop()
            position += 1
        name, length, position = _node(tokens, position, bool(children))
        name = name or f"[{len(parents) + 1}]"
        if name in parents:
            raise InputError(f"the tree holds '{name}' twice")
        parents[name] = None
        parents |= dict.fromkeys(children, name)
        lengths |= {} if length is None else {name: length}
        stack[-1].append(name)
        if position < len(tokens) and tokens[position] == ",":
            position += 1
    if len(stack) > 1 or len(stack[0]) != 1:
        raise InputError("the tree is not closed: it has no single root, as in ((a:1,b:1):1,c:2);")
    lengths.setdefault(stack[0][0], 0.0)
    unknown = [node for node in parents if node not in lengths]
    if 0 < len(unknown) < len(parents) - 1:
        raise InputError(
            f"the tree gives {len(lengths) - 1} branch lengths, but none for '{unknown[0]}'"
        )
    return parents, lengths


def _tokens(text: str) -> list[str]:
    found, position, text = [], 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise InputError(
                f"this is no Newick tree: it cannot be read from '{text[position : position + 20]}' on"
            )
        found.append(match.group(1).strip())
        position = match.end()
    return found


def _node(tokens: Sequence[str], position: int, inner: bool) -> tuple[str, float | None, int]:
    """Name and length of the node at a position, and the position after it."""
    name, length = "", None
    if position < len(tokens) and tokens[position] not in "(),:;":
        name = tokens[position]
        name = name[1:-1].replace("''", "'") if name.startswith("'") else name
        position += 1
    elif not inner:
        raise InputError("the tree has a tip without a name")
    if position < len(tokens) and tokens[position] == ":":
        value = tokens[position + 1] if position + 1 < len(tokens) else ""
        try:
            length = float(value)
        except ValueError:
            raise InputError(
                f"the branch length '{value}' of '{name}' in the tree is no number"
            ) from None
        position += 2
    if position < len(tokens) and tokens[position] not in ",);":
        raise InputError(f"the tree lacks a comma before '{tokens[position]}'")
    return name, length, position


def covariance_of(matrix: pd.DataFrame, levels: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The covariance among some levels from a matrix of distances or covariances, and a sentence on
    what it was taken for.
    """
    matrix = matrix.set_axis(matrix.index.astype(str)).set_axis(matrix.columns.astype(str), axis=1)
    lacking = [v for v in levels if v not in matrix.index or v not in matrix.columns]
    if lacking:
        raise InputError(
            f"the matrix lacks {len(lacking)} levels, e.g. '{lacking[0]}'.{nearest(lacking[0], matrix.index)}"
        )
    part = matrix.loc[list(levels), list(levels)]
    if part.shape != (len(levels), len(levels)) or not all(
        pd.api.types.is_numeric_dtype(t) for t in part.dtypes
    ):
        raise InputError(
            "the matrix must hold one number for each pair of levels, and each level once"
        )
    v = part.to_numpy(float)
    if not np.isfinite(v).all() or not np.allclose(v, v.T):
        raise InputError("the matrix must be symmetric and have no gaps")
    if (np.diag(v) == 0).all():
        try:
            return distance_covariance(part), "distances, 1 - D / largest D"
        except InputError:
            return distance_covariance(
                ultrametric(part)
            ), "distances, over their average-linkage tree"
    if (np.diag(v) <= 0).any():
        raise InputError("the diagonal must be all 0 (distances) or all above 0 (covariances)")
    if np.linalg.eigvalsh(v)[0] < -1e-8 * np.diag(v).max():
        raise InputError("this matrix is no covariance: it has a negative eigenvalue")
    return part, "covariances"


def tree_of(text: str, levels: Sequence[str]) -> pd.DataFrame:
    """The covariance among some levels of a Newick tree: the length of the path they share."""
    parents, lengths = read_newick(text)
    lacking = [v for v in levels if v not in parents]
    if lacking:
        raise InputError(
            f"the tree lacks {len(lacking)} levels, e.g. '{lacking[0]}'.{nearest(lacking[0], parents)}"
        )
    return tree_covariance(parents, levels, lengths)


def related_effects(
    frame: pd.DataFrame, formula: str, group: str, covariance: pd.DataFrame
) -> tuple[pd.DataFrame, Lambda, list[str]]:
    """`phylogenetic_regression` of the formula's fixed part, lambda, and the terms left out, as
    above.
    """
    parsed = parse(formula)
    rows = complete_rows(frame, [*parsed.columns, group])[0]
    rows = rows.copy()  # no assign: a column may be called self
    rows[group] = rows[group].astype(str)
    design = Design(parsed.fixed, rows)
    x = design.matrix(rows)
    columns = pd.DataFrame(x / np.maximum(np.abs(x).max(0), 1e-300)).groupby(rows[group].to_numpy())
    within = (columns.nunique() > 1).any().to_numpy()
    known = linear.independent_columns(columns.mean().to_numpy().round(12))
    alike: list[Term] = []
    for j, term in enumerate(design.term_of):
        if term not in alike and (
            (within[j] and j not in known) or any(set(t) < set(term) for t in alike)
        ):
            alike.append(term)
    kept = [":".join(t) for t in parsed.fixed if t and t not in alike]
    text = f"{parsed.response} ~ {' + '.join(kept) or '1'}{'' if () in parsed.fixed else ' - 1'}"
    effects, found = phylogenetic_regression(rows, text, group, covariance)
    return effects, found, [":".join(t) for t in alike]
