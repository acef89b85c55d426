"""Copying: how much better a random sequence is predicted the second time.

copying_gain_bits = mean of - log2 p over the first occurrence  -  mean of - log2 p over the second
copy_top1         = share of the second occurrence's tokens that are the most probable next token
Both over tokens 2 to `length` of an occurrence: at the first token of the second occurrence nothing
says yet that it is a repeat.
Bits per token; the sequences are those of lm/repeats.py, the same as induction's for the same
options and seed. Source: Olsson et al. (2022), In-context learning and induction heads; Elhage et
al. (2021). The gain alone does not show copying (a model that expects recent tokens again gains
too): read it beside copy_top1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from transect.lm.model import Model
from transect.lm.repeats import Repeats, refused, repeats

VERSION = 1
UNIT = {"copying_gain_bits": "bits/token", "copy_top1": "proportion"}
BOUNDS = {"copy_top1": [0, 1]}
SOURCE = "Olsson et al. 2022"
REQUIRES = ["logits", "causal"]
STIMULI: list[str] = []
EXAMPLE = {"conditions": [{"length": 32, "gap": 0}]}


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    conditions: Sequence[Mapping[str, Any]],
    n: int = 128,
    tokens: str | Mapping[str, Any] | None = None,
    bos: str | bool = "auto",
) -> pd.DataFrame:
    """Two rows per condition (item), means over n sequences: columns item, metric, value, error.

    A sequence without numbers is refused (item <condition>#<number>, an error and no value), and
    the means are of the others; where none has any, the condition is. `items` is not used.
    """
    rows: list[tuple[str, str, float, str | None]] = []
    for condition in repeats(model, conditions, n=n, seed=seed, tokens=tokens, bos=bos):
        first, second, best = _scores(model, condition)
        lacking = np.isnan(first + second).any(1)
        kept = ~lacking
        if kept.any():
            rows.append(
                (
                    condition.name,
                    "copying_gain_bits",
                    float(first[kept].mean() - second[kept].mean()),
                    None,
                )
            )
            rows.append((condition.name, "copy_top1", float(best[kept].mean()), None))
        for item, told in refused(model, condition, lacking) if lacking.any() else ():
            rows += [(item, metric, math.nan, told) for metric in UNIT]
    return pd.DataFrame(rows, columns=["item", "metric", "value", "error"])


def _scores(model: Model, condition: Repeats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[sequence, token] without the first token: bits of the first occurrence and of the second,
    and where that is most probable.
    """
    scores = model.token_scores(condition.ids.tolist(), top1=True)
    bits = -np.stack([s.logprob for s in scores]) / np.log(2)  # [row, position]
    best = np.stack([s.top1 for s in scores if s.top1 is not None])
    first = slice(condition.start + 1, condition.start + condition.length)
    second = slice(first.start + condition.distance, first.stop + condition.distance)
    return bits[:, first], bits[:, second], best[:, second]
