"""The form of an architecture's blocks, found in a network of the same class with two layers of
width 32 and random weights.

parallel_residual: attention and MLP read the same residual stream (lm/anatomy/residual.py has the
equations). norm_placement: where a block normalises (lm/describe/placement.py); left out where that is not
clear.
"""

from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from transect.lm.anatomy.identities import checked
from transect.lm.checkpoint import counting
from transect.lm.checkpoint.objectives import MAKERS, Objective
from transect.lm.describe.placement import norm_placement

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
FORMS = ("parallel", "sequential", "post-norm")
# of the matrices: those that training begins with are so small that a norm's epsilon makes the norm
# a constant factor
ORDINARY = 0.25
LARGEST = 50_000_000  # weights of a network that did not become small


def form(config: PreTrainedConfig, objective: Objective) -> dict[str, Any]:
    """parallel_residual and norm_placement, as far as they can be told; empty where the class
    cannot be made small, or its parts not found.
    """
    try:
        small = _small(config)
        if counting.counts(counting.meta_network(small, objective)).params_total > LARGEST:
            return {}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = MAKERS[objective].from_config(small).float().eval()
            with torch.no_grad():
                for matrix in (p for p in network.parameters() if p.dim() > 1):
                    matrix.normal_(std=ORDINARY)
        found = checked(network)
        place = norm_placement(network, found)
    except Exception:  # some classes refuse sizes that others take: then it is not known
        return {}
    told: dict[str, Any] = {"norm_placement": place} if place else {}
    if found.form not in FORMS:
        return told
    return {"parallel_residual": found.form == "parallel"} | told


def _small(config: PreTrainedConfig) -> PreTrainedConfig:
    layers = counting.dimensions(config).get("n_layers")
    given = {name: value for name, value in config.to_dict().items() if value is not None}
    for name, value in SMALL.items():
        given |= {
            place: value
            for n in counting.NAMES[name]
            if (place := counting.field_of(config.model_type, n)) in given
        }
    for name, value in given.items():
        if name.endswith("_token_id") and isinstance(value, int):
            given[name] = min(value, SMALL["vocab_size"] - 1)
        if isinstance(value, list) and len(value) == layers:  # one entry for each layer
            given[name] = (list(dict.fromkeys(value)) * 2)[: SMALL["n_layers"]]
    return AutoConfig.for_model(
        config.model_type, **{k: v for k, v in given.items() if k != "model_type"}
    )
