"""Attention patterns of many sequences, reduced as they arise; what one sequence does stays with
it.

A sequence whose pattern is not numbers, or on which the network's forward raises, is read once more
alone and then refused by itself.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from transect.errors import ForwardError, NotApplicable
from transect.lm.anatomy import attention
from transect.lm.anatomy.anatomy import Anatomy
from transect.lm.batching import run_halving
from transect.lm.score.alone import TRIED

NOT_NUMBERS = "the model's attention is not numbers (NaN)"


def reduced(
    network: PreTrainedModel,
    anatomy: Anatomy,
    ids: np.ndarray,
    reduce: Callable[[torch.Tensor], torch.Tensor],
    batches: Sequence[Sequence[int]],
    halved: Callable[[int], None],
) -> tuple[np.ndarray, dict[int, str]]:
    """reduce(A) of every layer, float64 [layer, sequence, head], and why a sequence has no numbers
    (all of its are NaN).

    ids: [sequence, position]; batches: their numbers, as they run together. Raises NotApplicable
    where not every layer has a pattern, ForwardError where the forward raises on every sequence.
    """
    found: dict[int, np.ndarray] = {}  # of each sequence [layer, head]
    layers = list(range(getattr(network.config, "num_hidden_layers", None) or 0))

    def read(batch: Sequence[int]) -> None:
        part: dict[int, np.ndarray] = {}

        def keep(layer: int, pattern: torch.Tensor) -> None:
            part[layer] = reduce(pattern).double().cpu().numpy()

        attention.read(
            network, anatomy, torch.as_tensor(ids[list(batch)], device=network.device), keep
        )
        if sorted(part) != layers:
            raise NotApplicable(f"attention was read in layers {sorted(part)} of {len(layers)}")
        found.update(zip(batch, np.stack([part[layer] for layer in layers], axis=1), strict=True))

    for batch in batches:
        try:
            run_halving(batch, read, halved)
        except ForwardError:
            continue  # each of them runs alone
    told: dict[int, str] = {}
    single = {batch[0] for batch in batches if len(batch) == 1}
    for i in range(len(ids)):
        if i in found and (i in single or np.isfinite(found[i]).all()):
            continue
        try:
            run_halving([i], read, halved)
        except ForwardError as error:
            told[i] = str(error)
            if not found and len(told) >= min(TRIED, len(ids)):
                raise
    told |= {
        i: NOT_NUMBERS
        for i, values in found.items()
        if i not in told and not np.isfinite(values).all()
    }
    nothing = np.full_like(next(iter(found.values())), np.nan)
    return np.stack([nothing if i in told else found[i] for i in range(len(ids))], axis=1), told
