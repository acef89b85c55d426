"""The floor of scoring: what nobody who scores these sequences with this network can save.

Each distinct prefix (but for whole sequences: final tokens are only predicted) once through the
body, in dense batches without padding or a mask beyond the causal one; each of them once through
the unembedding, into memory that is there already. Counted, not scored: the ids are of the right
number and drawn at random, and no probability is taken from the logits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from transect.lm import load
from transect.lm.network import NetworkModel

ROW, ROWS, PRODUCT = (
    64,
    64,
    1024,
)  # cells of a row, rows of a batch, positions of a product: what measured fastest


def distinct_prefixes(sequences: Sequence[Sequence[int]]) -> int:
    """How many different prefixes the tokens of the sequences are predicted from."""
    return len({tuple(ids[:n]) for ids in sequences for n in range(1, len(ids))})


def floor(
    network: PreTrainedModel, sequences: Sequence[Sequence[int]], *, normalise: bool = False
) -> Callable[[], None]:
    """A function that does the floor's work for a network whose unembedding is one product without
    a bias.

    normalise: with the logsumexp of the logits, which every log-probability needs.
    """
    n = distinct_prefixes(sequences)
    head = network.get_output_embeddings().weight.t()
    buffer = torch.empty(PRODUCT, head.shape[1], dtype=head.dtype, device=head.device)

    @torch.inference_mode()
    def run() -> None:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(0, head.shape[1], (-(-n // ROW), ROW), generator=generator).to(
            head.device
        )
        left = n
        for first in range(0, len(rows), ROWS):
            hidden = network.base_model(
                rows[first : first + ROWS], use_cache=False
            ).last_hidden_state.flatten(0, 1)
            for part in hidden[:left].split(PRODUCT):
                logits = torch.mm(part, head, out=buffer[: len(part)])
                if normalise:
                    for few in logits.split(4):
                        torch.logsumexp(few, 1)
            left -= len(hidden)

    return run


def prepare(path: Path | str, sentences: Sequence[str], device: str = "cpu") -> Callable[[], None]:
    """The floor of scoring sentences after a BOS with the model in a directory."""
    model = cast(NetworkModel, load(path, device=device))
    head = [] if model.bos_id is None else [model.bos_id]
    return floor(model.network, [[*head, *ids] for ids in model.encodings(sentences)["input_ids"]])
