"""Contrasts: weights that answer the question asked."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.formula.contrasts import effects, means
from transect.stats.formula.notation import Design, parse

FRAME = pd.DataFrame({"a": ["p", "q"] * 6, "b": ["s", "s", "t", "t"] * 3, "x": np.arange(12.0)})
TRUTH = {("p", "s"): 1.0, ("p", "t"): 2.0, ("q", "s"): 4.0, ("q", "t"): 9.0}


def _answers(found, formula: str) -> dict[str, float]:
    design = Design(parse(formula).fixed, FRAME)
    y = (
        np.array([TRUTH[a, b] for a, b in zip(FRAME["a"], FRAME["b"], strict=True)])
        + 0.5 * FRAME["x"]
    )
    beta = np.linalg.lstsq(design.matrix(FRAME), y, rcond=None)[0]
    return {c.label: float(c.weights @ beta) for c in found(design, FRAME)}


def test_effects_of_planted_cells() -> None:
    """Differences average over the other factor; simple effects and the interaction are the cells'
    own.
    """
    found = _answers(effects, "y ~ a + b + x + a:b")
    expected = {
        "a[q - p]": 5.0,
        "b[t - s]": 3.0,
        "x": 0.5,
        "a[q - p] in b[s]": 3.0,
        "a[q - p] in b[t]": 7.0,
        "b[t - s] in a[p]": 1.0,
        "b[t - s] in a[q]": 5.0,
        "a[q - p] x b[t - s]": 4.0,
    }
    assert found == pytest.approx(expected)


def test_means_of_planted_cells() -> None:
    """Marginal means weigh the cells equally, numbers at their mean (x = 5.5 adds 2.75)."""
    found = _answers(means, "y ~ a + b + x + a:b")
    assert found["all"] == pytest.approx(4 + 2.75)
    assert found["a[q]"] == pytest.approx(6.5 + 2.75)
    assert found["a[q], b[t]"] == pytest.approx(9 + 2.75)
