"""The form of an architecture's blocks, found in a network of the same class with two layers of width 32 and random weights.

parallel_residual: attention and MLP read the same residual stream. norm_placement: post, where a block normalises what it has summed.
Whether a block that sums first normalises before, after or around its parts is not told here. See lm/residual.py for the equations.
"""

from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from transect.lm import counting
from transect.lm.identities import checked
from transect.lm.objectives import MAKERS, Objective

SMALL = {
    "n_layers": 2,
    "d_model": 32,
    "n_heads": 2,
    "n_kv_heads": 2,
    "d_head": 16,
    "d_ff": 40,
    "vocab_size": 64,
    "context_length": 64,
}
LARGEST = 50_000_000  # weights of a network that did not become small


def form(config: PreTrainedConfig, objective: Objective) -> dict[str, Any]:
    """parallel_residual and norm_placement, as far as they can be told; empty where the class cannot be made small, or its parts not found."""
    try:
        small = _small(config)
        if counting.counts(counting.meta_network(small, objective)).params_total > LARGEST:
            return {}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found = checked(MAKERS[objective].from_config(small).eval()).form
    except Exception:  # some classes refuse sizes that others take: then it is not known
        return {}
    if found not in ("parallel", "sequential", "post-norm"):
        return {}
    return {"parallel_residual": found == "parallel"} | ({"norm_placement": "post"} if found == "post-norm" else {})


def _small(config: PreTrainedConfig) -> PreTrainedConfig:
    layers = counting.dimensions(config).get("n_layers")
    given = {name: value for name, value in config.to_dict().items() if value is not None}
    for name, value in SMALL.items():
        given |= {
            place: value for n in counting.NAMES[name] if (place := counting.field_of(config.model_type, n)) in given
        }
    for name, value in given.items():
        if name.endswith("_token_id") and isinstance(value, int):
            given[name] = min(value, SMALL["vocab_size"] - 1)
        if isinstance(value, list) and len(value) == layers:  # one entry for each layer
            given[name] = (list(dict.fromkeys(value)) * 2)[: SMALL["n_layers"]]
    return AutoConfig.for_model(config.model_type, **{k: v for k, v in given.items() if k != "model_type"})
