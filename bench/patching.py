"""Activation patching: the clean run's activation put into the corrupted run, everywhere, one place
at a time.

Result: the mean over pairs of logit(answer) - logit(foil) at the last position, [layer, position]
for the residual stream before each block, [layer, head] for each head's output at all positions.
given: path, component (residual, head), stimuli (columns clean, corrupted, answer, foil, for the
measure), the same as ids (clean and corrupted [pair][position], answer and foil [pair]), device.
All programs but the measure patch all pairs of one place in one forward, as their documentation
does it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Given = dict[str, Any]
Run = Callable[[], np.ndarray]


def transect(given: Given) -> Run:
    """The measure activation_patching: values per pair, averaged here."""
    import pandas as pd

    from transect.lm import load
    from transect.measures.mechanism import activation_patching

    model = load(given["path"], device=given["device"])
    items = pd.DataFrame(given["stimuli"]).assign(item=lambda table: table.index.map(str))
    column = "position" if given["component"] == "residual" else "head"

    def run() -> np.ndarray:
        rows = activation_patching.measure(model, items, seed=0, component=given["component"])
        rows = rows[rows["metric"] == "logit_difference"]
        return rows.groupby(["layer", column])["value"].mean().unstack().to_numpy(dtype=float)

    return run


def transformer_lens(given: Given) -> Run:
    """Its patching module."""
    from transformer_lens import patching

    from bench.transformer_lens_bridge import bridge

    model, work = bridge(given["path"], given["device"]), _Work(given)
    patch = patching.get_act_patch_resid_pre
    if given["component"] == "head":
        patch = patching.get_act_patch_attn_head_out_all_pos

    @torch.no_grad()
    def run() -> np.ndarray:
        _, cache = model.run_with_cache(work.clean)
        return (
            patch(model, work.corrupted, cache, lambda logits: work.difference(logits[:, -1]))
            .cpu()
            .numpy()
        )

    return run


def nnsight(given: Given) -> Run:
    """One trace per place, on the modules' own names."""
    from nnsight import LanguageModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given["path"])
    tokenizer.pad_token = tokenizer.eos_token
    network = AutoModelForCausalLM.from_pretrained(given["path"]).eval().to(given["device"])
    model, work = LanguageModel(network, tokenizer=tokenizer), _Work(given)
    layers, width = range(network.config.num_hidden_layers), network.config.hidden_size
    size = width // network.config.num_attention_heads
    residual = given["component"] == "residual"

    @torch.no_grad()
    def run() -> np.ndarray:
        blocks = model.gpt_neox.layers
        with model.trace(work.clean):
            kept: Any = []
            for layer in layers:
                place = blocks[layer] if residual else blocks[layer].attention.dense
                kept.append(place.input.save())
            kept.save()
        found = np.zeros((len(layers), work.clean.shape[1] if residual else width // size))
        for layer, k in np.ndindex(*found.shape):
            with model.trace(work.corrupted):
                if residual:
                    blocks[layer].input[:, k] = kept[layer][:, k]
                else:
                    part = slice(k * size, (k + 1) * size)
                    blocks[layer].attention.dense.input[:, :, part] = kept[layer][:, :, part]
                logits = model.lm_head.output[:, -1].save()
            found[layer, k] = float(work.difference(logits))
        return found

    return run


def naive(given: Given) -> Run:
    """One hooked forward per place, full logits: the usual notebook."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(given["path"]).eval().to(given["device"])
    work, blocks = _Work(given), network.gpt_neox.layers
    residual = given["component"] == "residual"
    places = blocks if residual else [block.attention.dense for block in blocks]
    width = network.config.hidden_size
    size = width // network.config.num_attention_heads

    @torch.no_grad()
    def run() -> np.ndarray:
        kept: dict[int, torch.Tensor] = {}
        hooks = [
            place.register_forward_pre_hook(
                lambda _, args, layer=layer: kept.__setitem__(layer, args[0])
            )
            for layer, place in enumerate(places)
        ]
        network(work.clean)
        for hook in hooks:
            hook.remove()
        found = np.zeros((len(blocks), work.clean.shape[1] if residual else width // size))
        for layer, k in np.ndindex(*found.shape):
            at = (slice(None), k) if residual else (..., slice(k * size, (k + 1) * size))

            def change(_: Any, args: Any, layer: int = layer, at: Any = at) -> Any:
                value = args[0].clone()
                value[at] = kept[layer][at]
                return value, *args[1:]

            hook = places[layer].register_forward_pre_hook(change)
            found[layer, k] = float(
                work.difference(network(work.corrupted, use_cache=False).logits[:, -1])
            )
            hook.remove()
        return found

    return run


class _Work:
    """The pairs as tensors."""

    def __init__(self, given: Given) -> None:
        names = ("clean", "corrupted", "answer", "foil")
        self.clean, self.corrupted, self.answer, self.foil = (
            torch.tensor(given["ids"][name], device=given["device"]) for name in names
        )

    def difference(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean over pairs; logits [pair, vocabulary]."""
        return (
            logits.gather(1, self.answer[:, None]) - logits.gather(1, self.foil[:, None])
        ).mean()


IMPLEMENTATIONS = {
    "transect": ("transect", transect),
    "TransformerLens": ("transformer_lens", transformer_lens),
    "nnsight, a trace per place": ("nnsight", nnsight),
    "transformers, a hook per place": ("transect", naive),
}


def smaller(given: Given) -> Given:
    """Two pairs."""
    ids = {name: values[:2] for name, values in given["ids"].items()}
    return {
        **given,
        "stimuli": {name: values[:2] for name, values in given["stimuli"].items()},
        "ids": ids,
    }
