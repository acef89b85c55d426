"""How exact a model's log-probabilities can be: what rounding alone may change, in nats.

unit       = eps(dtype) x max(1, largest |logit|) x sqrt(max(1, layers / 32))
of_token   = LARGEST x unit               the most by which log p of one token is off
of_sum     = TYPICAL x unit x sqrt(n)     n tokens: errors add like the steps of a random walk

eps: of the dtype in which the network computes. Every number on the way is rounded by as much,
relative to its size, so the errors of log p follow the size of the logits. The largest logit is
that of a fixed text; logits 100 nats below the best of their position are left out (some networks
mask tokens by huge negative numbers). A model that is no network computes in float64, its logits
counted as 100. The factors are measured against the same weights in float64. Errors of log p in
float32 were at most 17 units of SmolLM2-135M (30 layers; 1.9 in the mean square), 5 of Gemma 3 270M
(0.8), 29 of fifty random networks of two layers (3.3); in bfloat16 and float16 11 and 5 units of
SmolLM2 (0.9 and 0.5). In half precision a sum's is about one standard error: at four of them a
third of BLiMP's pairs would be ties.
"""

import math
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from transect.lm.model import Model

ENGINE_PART = "rounding"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change

LARGEST = {torch.float64: 64.0, torch.float32: 64.0, torch.float16: 16.0, torch.bfloat16: 16.0}
TYPICAL = {torch.float64: 12.0, torch.float32: 12.0, torch.float16: 1.0, torch.bfloat16: 1.0}
LAYERS = 32  # up to so many the factors hold as they stand
MASKED_OUT = 100.0  # nats below the best token: no logit of a distribution
TEXT = "The keys to the cabinet are on the table, and nobody who was here in 1987 knows why they were left there."

_units: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


def of_token(model: Model) -> float:
    """The largest error of one token's log-probability that is rounding, nats."""
    return LARGEST[_dtype(model)] * unit(model)


def of_sum(model: Model, n: int) -> float:
    """The error of a sum of n tokens' log-probabilities, or of the difference of two such sums of n
    in all, that is rounding, nats.
    """
    return TYPICAL[_dtype(model)] * unit(model) * math.sqrt(max(1, n))


def unit(model: Model) -> float:
    """One unit (see above), nats; the text is run once per network."""
    network = getattr(model, "network", None)
    if network is None:
        return float(torch.finfo(torch.float64).eps) * MASKED_OUT
    if network not in _units:
        deep = math.sqrt(max(1.0, (model.n_layers or 1) / LAYERS))
        _units[network] = (
            float(torch.finfo(network.dtype).eps) * max(1.0, _largest_logit(model, network)) * deep
        )
    return _units[network]


def _dtype(model: Model) -> torch.dtype:
    network = getattr(model, "network", None)
    return torch.float64 if network is None else network.dtype


def _largest_logit(model: Model, network: PreTrainedModel) -> float:
    """The largest |logit| after any token of the text; 0 where none is a number."""
    first = [token for token in (model.decoder_start_id, model.bos_id) if token is not None][:1]
    ids = [*first, *(token for token in model.encode(TEXT) if token < model.vocab_size)][
        : model.context_length
    ]
    if not ids:
        return 0.0
    read = torch.tensor([ids], device=network.device)
    inputs = {"input_ids": read} | (
        {"decoder_input_ids": read} if model.decoder_start_id is not None else {}
    )
    with torch.inference_mode():
        logits = network(**inputs).logits[0].float()
    logits = torch.where(logits.isfinite(), logits, -torch.inf)
    counted = logits > logits.amax(-1, keepdim=True) - MASKED_OUT
    return float(logits[counted].abs().max()) if counted.any() else 0.0
