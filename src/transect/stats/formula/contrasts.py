"""The questions that a model with factors answers, each as weights on its coefficients.

    mean         A[a]                     marginal mean at level a
    difference   A[a - r]                 level a minus the reference level r; a number: its slope
    simple       A[a - r] in B[b]         the same within one level of B (wherever A:B is in the model)
    interaction  A[a - r] x B[b - s]      difference of the differences
Averages over the levels of the other factors give every level the same weight (estimated marginal
means; Searle, Speed & Milliken 1980), numbers stand at their mean over the rows of the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from transect.stats.formula.notation import Design, Term, values

Choice = dict[str, dict[str | float, float]]  # variable -> value on the grid -> weight


@dataclass(frozen=True)
class Contrast:
    """`levels` says which rows of the table stand behind it: variable -> levels compared or held
    (numbers are left out).
    """

    label: str
    kind: str
    variables: Term
    weights: np.ndarray
    levels: dict[str, tuple[str, ...]]


class Grid:
    """Turns a choice of values per variable into weights on the columns of a design."""

    def __init__(self, design: Design, frame: pd.DataFrame):
        self.design = design
        self.variables = list(dict.fromkeys(v for term in design.terms for v in term))
        self.average: Choice = {}
        for variable in self.variables:
            levels = design.levels.get(variable)
            mean = float(values(variable, frame).mean()) if levels is None else 0.0
            self.average[variable] = (
                {mean: 1.0} if levels is None else {level: 1 / len(levels) for level in levels}
            )

    def weights(self, choice: Choice) -> np.ndarray:
        """On the columns of the design; NaN where its rows do not determine the answer (a cell
        without rows).
        """
        parts = [list((self.average | choice)[v].items()) for v in self.variables]
        cells = list(product(*parts))
        frame = pd.DataFrame(
            [[value for value, _ in cell] for cell in cells],
            columns=self.variables,
            index=range(len(cells)),
        )
        each = np.array([np.prod([weight for _, weight in cell]) for cell in cells])
        return self.design.estimable(each @ self.design.whole.matrix(frame, transformed=True))

    def differences(
        self, variable: str
    ) -> Iterator[tuple[str, dict[str | float, float], tuple[str, ...]]]:
        """(label, weights, levels) of each level against the reference; of a number its slope."""
        if variable not in self.design.levels:
            yield variable, {0.0: -1.0, 1.0: 1.0}, ()
            return
        reference, *others = self.design.levels[variable]
        for level in others:
            yield (
                f"{variable}[{level} - {reference}]",
                {level: 1.0, reference: -1.0},
                (level, reference),
            )


def effects(design: Design, frame: pd.DataFrame) -> list[Contrast]:
    """Differences of every term, then the simple effects and interactions of every two-way term."""
    grid = Grid(design, frame)
    found = []
    for single in (t for t in design.terms if len(t) == 1):
        for label, weights, levels in grid.differences(single[0]):
            kind = "difference" if levels else "slope"
            found.append(
                Contrast(
                    label,
                    kind,
                    single,
                    grid.weights({single[0]: weights}),
                    {single[0]: levels} if levels else {},
                )
            )
    for term in (t for t in design.terms if len(t) == 2):
        found += _simple(grid, term) + _simple(grid, term[::-1]) + _interactions(grid, term)
    return found


def _simple(grid: Grid, term: Term) -> list[Contrast]:
    moved, held = term
    found = []
    for level in grid.design.levels.get(held, []):
        for label, weights, levels in grid.differences(moved):
            both = grid.weights({moved: weights, held: {level: 1.0}})
            behind = {held: (level,)} | ({moved: levels} if levels else {})
            found.append(Contrast(f"{label} in {held}[{level}]", "simple", term, both, behind))
    return found


def _interactions(grid: Grid, term: Term) -> list[Contrast]:
    found = []
    for (label1, weights1, levels1), (label2, weights2, levels2) in product(
        *(grid.differences(v) for v in term)
    ):
        behind = {v: levels for v, levels in zip(term, (levels1, levels2), strict=True) if levels}
        both = grid.weights({term[0]: weights1, term[1]: weights2})
        found.append(Contrast(f"{label1} x {label2}", "interaction", term, both, behind))
    return found


def means(design: Design, frame: pd.DataFrame) -> list[Contrast]:
    """The overall mean, the mean at every level of every category, and of every cell of two that
    interact.
    """
    grid = Grid(design, frame)
    found = [Contrast("all", "mean", (), grid.weights({}), {})]
    categories = [
        t for t in design.terms if t and len(t) <= 2 and all(v in design.levels for v in t)
    ]
    for term in categories:
        for cell in product(*(design.levels[v] for v in term)):
            label = ", ".join(f"{v}[{level}]" for v, level in zip(term, cell, strict=True))
            weights = grid.weights({v: {level: 1.0} for v, level in zip(term, cell, strict=True)})
            found.append(
                Contrast(
                    label,
                    "mean",
                    term,
                    weights,
                    {v: (level,) for v, level in zip(term, cell, strict=True)},
                )
            )
    return found
