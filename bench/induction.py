"""Induction: prefix matching [layer, head] on random sequences of which each occurs twice, by four
programs.

given: path, ids [row][position] (BOS, sequence, sequence), length (of a sequence), device; for the
measure also n and seed, from which it draws the same ids by itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Given = dict[str, Any]
Run = Callable[[], np.ndarray]

REPEATS = 5  # in a round: half a second each


def transect(given: Given) -> Run:
    """The measure induction: the patterns are reduced where they arise, and the unembedding is not
    run.
    """
    import pandas as pd

    from transect.lm import load
    from transect.measures.mechanism import induction

    model = load(given["path"], device=given["device"])
    nothing = pd.DataFrame({"item": []})

    def run() -> np.ndarray:
        options = {
            "conditions": [{"length": given["length"]}],
            "n": given["n"],
            "seed": given["seed"],
        }
        rows = induction.measure(model, nothing, **options)
        rows = rows[rows["metric"] == "prefix_matching"]
        return rows.pivot(index="layer", columns="head", values="value").to_numpy(dtype=float)

    return run


def _score(pattern: torch.Tensor, length: int) -> torch.Tensor:
    return pattern.diagonal(1 - length, -2, -1)[..., -length:].mean((0, -1))


def transformer_lens(given: Given, cached: bool) -> Run:
    """Its hooks on hook_pattern (no logits asked for), or its run_with_cache."""
    from bench.transformer_lens_bridge import bridge

    model, ids = (
        bridge(given["path"], given["device"]),
        torch.tensor(given["ids"], device=given["device"]),
    )

    @torch.no_grad()
    def run() -> np.ndarray:
        found: dict[int, torch.Tensor] = {}
        if cached:
            _, cache = model.run_with_cache(ids)
            found = {
                layer: _score(cache["pattern", layer], given["length"])
                for layer in range(model.cfg.n_layers)
            }
        else:

            def keep(pattern: torch.Tensor, hook: Any) -> None:
                found[hook.layer()] = _score(pattern, given["length"])

            hooks = [(lambda name: name.endswith("attn.hook_pattern"), keep)]
            model.run_with_hooks(ids, return_type=None, fwd_hooks=hooks)
        return torch.stack([found[layer] for layer in sorted(found)]).cpu().numpy()

    return run


def output_attentions(given: Given) -> Run:
    """transformers' own output_attentions=True on the eager model."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(
        given["path"], attn_implementation="eager"
    ).eval()
    network.to(given["device"])
    ids = torch.tensor(given["ids"], device=given["device"])

    @torch.no_grad()
    def run() -> np.ndarray:
        patterns = network(ids, output_attentions=True, use_cache=False).attentions
        return torch.stack([_score(pattern, given["length"]) for pattern in patterns]).cpu().numpy()

    return run


IMPLEMENTATIONS = {
    "transect": ("transect", transect),
    "TransformerLens, hooks": ("transformer_lens", lambda given: transformer_lens(given, False)),
    "TransformerLens, run_with_cache": (
        "transformer_lens",
        lambda given: transformer_lens(given, True),
    ),
    "transformers, output_attentions": ("transect", output_attentions),
}


def smaller(given: Given) -> Given:
    """The same work: it is short, and a warm-up must meet the same shapes."""
    return given
