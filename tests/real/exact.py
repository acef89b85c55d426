"""Sums of log p in float64: sentences of one length share a forward, so that nothing is padded or
packed and weights are widened once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from transect.lm import reference
from transect.lm.network import NetworkModel
from transect.lm.score.scoring import Line

WIDE = 256  # tokens of one forward


def totals(model: NetworkModel, read: Sequence[Line]) -> np.ndarray:
    """The sum of log p over the scored tokens of each line of a causal model, nats [line]."""
    found = np.empty(len(read))
    with _doubled(model):
        for chosen in _batches([len(line.ids) for line in read]):
            sums = reference.in_float64(model, partial(_sums, model, [read[i] for i in chosen]))
            assert sums is not None
            found[chosen] = sums
    return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of equal lengths, of WIDE tokens in all or fewer."""
    for length in sorted(set(lengths)):
        places = [i for i, other in enumerate(lengths) if other == length]
        step = max(1, WIDE // length)
        yield from (places[first : first + step] for first in range(0, len(places), step))


def _sums(model: NetworkModel, read: Sequence[Line]) -> np.ndarray:
    ids = torch.tensor([line.ids for line in read])
    with torch.inference_mode():
        table = torch.log_softmax(model.network(input_ids=ids[:, :-1]).logits, -1)
    assert table.dtype == torch.float64
    chosen = table.gather(2, ids[:, 1:, None])[..., 0].numpy()
    return np.array([row[line.first - 1 :].sum() for row, line in zip(chosen, read, strict=True)])


@contextmanager
def _doubled(model: NetworkModel) -> Iterator[None]:
    """While this is open the weights are held in float64, so that they are not widened anew for
    every forward.
    """
    before = {parameter: parameter.data for parameter in model.network.parameters()}
    for parameter in before:
        parameter.data = parameter.data.double()
    try:
        yield
    finally:
        for parameter, data in before.items():
            parameter.data = data
