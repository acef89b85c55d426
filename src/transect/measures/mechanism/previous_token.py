"""Previous-token heads: how much each head looks one token back.

previous_token[layer, head] = mean over sequences and over positions t >= 1 of A[layer, head, t, t-1],  in [0, 1]
The BOS, where there is one, is position 0: looked at from t = 1, never looking.
The sequences are those of induction for the same options and seed (lm/repeats.py): random tokens,
so that only place can be followed.
Source: Elhage et al. (2021), A mathematical framework for transformer circuits; Olsson et al.
(2022).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from transect.lm.head_table import COLUMNS, means
from transect.lm.model import Model
from transect.lm.repeats import repeats

VERSION = 1
UNIT = {"previous_token": "attention mass"}
BOUNDS = {"previous_token": [0, 1]}
SOURCE = "Elhage et al. 2021; Olsson et al. 2022"
REQUIRES = ["attention", "heads", "causal"]
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
    """One row per condition, layer, head (0-based): columns item, metric, value, layer, head,
    error. `items` is not used.

    A sequence without numbers is refused (item <condition>#<number>, an error and no value), and
    the means are of the others.
    """
    tables = [
        means(model, condition, "previous_token", model.attention(condition.ids, _one_back))
        for condition in repeats(model, conditions, n=n, seed=seed, tokens=tokens, bos=bos)
    ]
    return (
        pd.concat(tables, ignore_index=True)
        .reindex(columns=COLUMNS)
        .astype({"layer": "Int64", "head": "Int64"})
    )


def _one_back(pattern: torch.Tensor) -> torch.Tensor:
    return pattern.diagonal(-1, -2, -1).double().mean(-1)
