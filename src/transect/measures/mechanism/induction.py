"""Induction heads: how much each head looks from a repeated token to what followed it the first
time.

prefix_matching[layer, head] = mean over sequences and over the last `length` queries q of A[layer,
head, q, q -
distance + 1], in [0, 1] uniform_attention            = mean over the same queries of 1 / (q + 1): what a head scores
that looks everywhere alike

The last `length` queries are the whole second occurrence. Its last token is among them: what
followed it the first time is the first filler token or, without a gap, the first token of the
second occurrence. Its first token is among them too, since the head reads only the current token's
match; where copying can pay off is another question (measure copying leaves it out).
Source: Olsson et al. (2022), In-context learning and induction heads, prefix matching score.
Departures: filler between the two occurrences, so that a head that looks a fixed distance back can
be told apart (compare distances); all tokens of a row differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from transect.lm.head_table import COLUMNS, head_rows, means
from transect.lm.model import Model
from transect.lm.repeats import repeats

VERSION = 1
UNIT = {
    "prefix_matching": "attention mass",
    "prefix_matching_by_sequence": "attention mass",
    "uniform_attention": "attention mass",
}
BOUNDS = {
    "prefix_matching": [0, 1],
    "prefix_matching_by_sequence": [0, 1],
    "uniform_attention": [0, 1],
}
SOURCE = "Olsson et al. 2022"
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
    sequences: bool = False,
) -> pd.DataFrame:
    """Per condition (item) one row prefix_matching for each layer and head (0-based), and one row
    uniform_attention.

    With `sequences` also each sequence's own score, on which heads are tested: item
    <condition>#<number>. A sequence without numbers is refused under that name, with an error and
    no value, and the means are of the others. Columns item, metric, value, layer, head, error.
    `items` is not used; see lm/repeats.py for the options.
    """
    tables = []
    for condition in repeats(model, conditions, n=n, seed=seed, tokens=tokens, bos=bos):
        length, offset = condition.length, 1 - condition.distance

        def diagonal(
            pattern: torch.Tensor, length: int = length, offset: int = offset
        ) -> torch.Tensor:
            return pattern.diagonal(offset, -2, -1)[..., -length:].double().mean(-1)

        scores = model.attention(condition.ids, diagonal)  # [layer, sequence, head]
        queries = np.arange(condition.ids.shape[1])[-length:]
        uniform = {
            "item": [condition.name],
            "metric": ["uniform_attention"],
            "value": [float((1 / (queries + 1)).mean())],
        }
        tables += [means(model, condition, "prefix_matching", scores), pd.DataFrame(uniform)]
        if sequences:
            kept = np.flatnonzero(np.isfinite(scores).all((0, 2)))
            tables += [
                head_rows(f"{condition.name}#{i}", "prefix_matching_by_sequence", scores[:, i])
                for i in kept
            ]
    return (
        pd.concat(tables, ignore_index=True)
        .reindex(columns=COLUMNS)
        .astype({"layer": "Int64", "head": "Int64"})
    )
