"""How far a model's scores of sequences taken together are from those of each one alone."""

import numpy as np

from transect.lm import reference
from transect.lm.network import NetworkModel


def apart(model: NetworkModel, sequences: list[list[int]]) -> float:
    """Largest |log p as scored together - log p by the network's plain forward of each sequence|
    over the tokens, nats.
    """
    together = model.token_logprobs(sequences)
    alone = [reference.token_scores(model, ids, 1) for ids in sequences]
    return float(np.nanmax(np.abs(np.concatenate(together) - np.concatenate(alone))))
