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
from collections.abc import Mapping, Sequence

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
    tokens = _Tokens(_tokens(re.sub(r"\[[^\]]*\]", "", text)))
    parents: dict[str, str | None] = {}
    lengths: dict[str, float] = {}
    stack: list[list[str]] = [[]]
    while tokens.next not in ("", ";"):
        if tokens.take("("):
            stack.append([])
            continue
        children: list[str] = []
        if tokens.take(")"):
            if len(stack) == 1:
                raise InputError("the tree has a ')' too many")
            children = stack.pop()
        name, length = _node(tokens, bool(children))
        name = name or f"[{len(parents) + 1}]"
        if name in parents:
            raise InputError(f"the tree holds '{name}' twice")
        parents[name] = None
        parents |= dict.fromkeys(children, name)
        if length is not None:
            lengths[name] = length
        stack[-1].append(name)
        tokens.take(",")
    if len(stack) > 1 or len(stack[0]) != 1:
        raise InputError("the tree is not closed: it has no single root, as in ((a:1,b:1):1,c:2);")
    lengths.setdefault(stack[0][0], 0.0)
    _refuse_gaps(parents, lengths)
    return parents, lengths


def _refuse_gaps(parents: Mapping[str, str | None], lengths: Mapping[str, float]) -> None:
    """Raise InputError where some branches have a length and others none."""
    unknown = [node for node in parents if node not in lengths]
    if 0 < len(unknown) < len(parents) - 1:
        raise InputError(
            f"the tree gives {len(lengths) - 1} branch lengths, but none for '{unknown[0]}'"
        )


def _tokens(text: str) -> list[str]:
    tokens, position, text = [], 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise InputError(
                f"this is no Newick tree: it cannot be read from '{text[position : position + 20]}' on"
            )
        tokens.append(match.group(1).strip())
        position = match.end()
    return tokens


class _Tokens:
    """Tokens that are read one by one; `next` is "" at the end."""

    def __init__(self, tokens: Sequence[str]):
        self.tokens = tokens
        self.position = 0

    @property
    def next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def read(self) -> str:
        """The next token, which is passed."""
        token = self.next
        self.position += 1
        return token

    def take(self, token: str) -> bool:
        """Pass the next token if it is this one; whether it is."""
        same = self.next == token
        if same:
            self.position += 1
        return same


def _node(tokens: _Tokens, inner: bool) -> tuple[str, float | None]:
    """Name and length of the next node; `inner`: it has children and needs no name."""
    name, length = "", None
    if tokens.next and tokens.next not in "(),:;":
        name = tokens.read()
        if name.startswith("'"):
            name = name[1:-1].replace("''", "'")
    elif not inner:
        raise InputError("the tree has a tip without a name")
    if tokens.take(":"):
        value = tokens.read()
        try:
            length = float(value)
        except ValueError:
            raise InputError(
                f"the branch length '{value}' of '{name}' in the tree is no number"
            ) from None
    if tokens.next and tokens.next not in ",);":
        raise InputError(f"the tree lacks a comma before '{tokens.next}'")
    return name, length


def covariance_of(matrix: pd.DataFrame, levels: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The covariance among some levels from a matrix of distances or covariances, and a sentence on
    what it was taken for.
    """
    part = _part(matrix, levels)
    v = part.to_numpy(float)
    if not np.isfinite(v).all() or not np.allclose(v, v.T):
        raise InputError("the matrix must be symmetric and have no gaps")
    variances = np.diag(v)
    if (variances == 0).all():
        try:
            return distance_covariance(part), "distances, 1 - D / largest D"
        except InputError:
            tree = ultrametric(part)
            return distance_covariance(tree), "distances, over their average-linkage tree"
    if (variances <= 0).any():
        raise InputError("the diagonal must be all 0 (distances) or all above 0 (covariances)")
    if np.linalg.eigvalsh(v)[0] < -1e-8 * variances.max():
        raise InputError("this matrix is no covariance: it has a negative eigenvalue")
    return part, "covariances"


def _part(matrix: pd.DataFrame, levels: Sequence[str]) -> pd.DataFrame:
    """The rows and columns of some levels. Raises InputError where there is not one number for
    each pair.
    """
    matrix = matrix.set_axis(matrix.index.astype(str)).set_axis(matrix.columns.astype(str), axis=1)
    both = set(matrix.index) & set(matrix.columns)
    lacking = [level for level in levels if level not in both]
    if lacking:
        raise InputError(
            f"the matrix lacks {len(lacking)} levels, e.g. '{lacking[0]}'.{nearest(lacking[0], matrix.index)}"
        )
    part = matrix.loc[list(levels), list(levels)]
    numbers = all(pd.api.types.is_numeric_dtype(dtype) for dtype in part.dtypes)
    if not numbers or part.shape != (len(levels), len(levels)):
        raise InputError(
            "the matrix must hold one number for each pair of levels, and each level once"
        )
    return part


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
    alike = _alike_in_all(Design(parsed.fixed, rows), rows, group)
    kept = [":".join(term) for term in parsed.fixed if term and term not in alike]
    without_intercept = "" if () in parsed.fixed else " - 1"
    text = f"{parsed.response} ~ {' + '.join(kept) or '1'}{without_intercept}"
    effects, estimated = phylogenetic_regression(rows, text, group, covariance)
    return effects, estimated, [":".join(term) for term in alike]


def _alike_in_all(design: Design, rows: pd.DataFrame, group: str) -> list[Term]:
    """The terms that vary within the levels and whose means others determine, and the interactions
    of these.
    """
    x = design.matrix(rows)
    scaled = x / np.maximum(np.abs(x).max(0), 1e-300)
    by_level = pd.DataFrame(scaled).groupby(rows[group].to_numpy())
    within = (by_level.nunique() > 1).any().to_numpy()
    known = linear.independent_columns(by_level.mean().to_numpy().round(12))
    alike: list[Term] = []
    for j, term in enumerate(design.term_of):
        balanced = within[j] and j not in known
        interaction = any(set(part) < set(term) for part in alike)
        if term not in alike and (balanced or interaction):
            alike.append(term)
    return alike
