"""A model that does exactly what a test plants: the truth is known, whatever a measure says of it."""

from pathlib import Path

import numpy as np
import torch

from tests.shelf import word_tokenizer
from transect.lm.model import Model, TokenScores


class StandIn(Model):
    """Log-probabilities and attention by two functions that the test gives."""

    objective = "causal"
    capabilities = frozenset({"logits", "causal", "attention", "heads"})
    context_length = None
    n_layers, n_heads = 1, 2

    def __init__(self, logprob=None, pattern=None):
        super().__init__(Path("stand_in"), word_tokenizer(), [])
        self.vocab_size = len(self.tokenizer)
        self._logprob, self._pattern = logprob, pattern

    def token_scores(self, sequences, prefix_lengths=None, *, top1=False, batch_size=None):
        """logprob(ids, t) of every position t >= 1; the token is the most probable one where that
        is above log 0.5.
        """
        result = []
        for index, ids in enumerate(sequences):
            start = 1 if prefix_lengths is None else prefix_lengths[index]
            values = np.array(
                [np.nan if t < start else self._logprob(list(ids), t) for t in range(len(ids))]
            )
            result.append(TokenScores(values, values > np.log(0.5)))
        return result

    def attention(self, ids, reduce, *, batch_size=None):
        """reduce of one layer, whose pattern(n) is [head, query, key] for rows of n tokens."""
        pattern = torch.as_tensor(self._pattern(ids.shape[1])).expand(len(ids), -1, -1, -1)
        return reduce(pattern).numpy()[None]
