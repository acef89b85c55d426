"""What a weight file holds that the network does not use, or lacks that it needs: a configuration
that is not that of the weights.

Whoever ignores a stored bias computes another model. So every stored parameter must be used, but
for

buffers       masks and frequencies that older versions stored: not trained, made anew
other heads   a pooler, a classifier, next-sentence or value heads, parts for images or sound, further-token heads: they
              give other outputs and no part of the logits
copies        a second copy of the token embedding or the unembedding

A headless checkpoint holds everything but the language-model head: it has hidden states and no
logits.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from transect.errors import LoadError
from transect.lm.checkpoint.objectives import has_language_model_class

BUFFERS = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|cos_cached|sin_cached|masked_bias|position_ids|token_type_ids|causal_mask|"
    r"num_batches_tracked|rotary_emb\.\w+)\Z"
)
OTHER_HEADS = re.compile(
    r"(^|[._])(pooler|seq_relationship|sop_classifier|classifier|pre_classifier|classification_head|qa_outputs|score|"
    r"multiple_choice_head|summary|sequence_summary|v_head|value_head|reward_head|discriminator_predictions|mask_predictions|"
    r"vision\w*|visual\w*|image\w*|audio\w*|multi_modal\w*|mm_projector|mtp\w*|nextn\w*)(\.|\Z)"
)
SCALES = re.compile(
    r"\.(input_scale|activation_scale|k_scale|v_scale)\Z"
)  # of quantized activations
WHOLE_NUMBERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
HEADLESS = "without its language-model head: hidden-state measures only"
ADAPTER = "adapter_config.json"


def refuse_adapter(path: Path) -> None:
    """Raise LoadError where a folder holds an adapter, alone or beside whole weights."""
    if (path / ADAPTER).is_file():
        raise LoadError(
            f"{path}: {ADAPTER} says that this is an adapter (PEFT), whose weights are not merged here; merge it into its base "
            "model first (PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(new_folder)), and measure that."
        )


def headless(network: PreTrainedModel, missing: Iterable[str]) -> bool:
    """Whether what the file lacks is the language-model head, the whole of it and nothing else, and
    no class speaks against it.
    """
    lacking, body = set(map(str, missing)), f"{network.base_model_prefix}."
    own = {name for name, _ in network.named_parameters() if not name.startswith(body)}
    own -= set(getattr(network, "all_tied_weights_keys", {}))  # not in the file, and not missing
    inside = any(name.startswith(body) for name in lacking)
    return (
        bool(own) and own <= lacking and not inside and not has_language_model_class(network.config)
    )


def check_report(
    path: Path,
    network: PreTrainedModel,
    report: Mapping[str, Any],
    stored: Callable[[str], torch.Tensor | None],
) -> bool:
    """Whether the checkpoint is headless. Raises LoadError for parameters that are missing, of
    another shape, or unused.

    report: what transformers says of a load. stored: a tensor of the files by its name, None where
    there is none of that name; on the meta device only its shape and type are looked at.
    """
    without = headless(network, report["missing_keys"])
    for what in ("missing_keys", "mismatched_keys"):
        if report[what] and not (what == "missing_keys" and without):
            # transformers would go on with random weights in their place
            names = ", ".join(sorted(map(_named, report[what]))[:3])
            raise LoadError(
                f"{path}: {len(report[what])} weights are {what.split('_')[0]}, e.g. {names}."
            )
    surplus = sorted(
        name
        for name in map(str, report["unexpected_keys"])
        if _parameter(network, name, stored(name))
    )
    if surplus:
        raise LoadError(
            f"{path}: the weight files hold {len(surplus)} parameters that the configuration's {type(network).__name__} does not "
            f"use, e.g. {', '.join(surplus[:3])}: config.json is not that of these weights."
        )
    return without


def check_tying(path: Path, network: PreTrainedModel, held: Collection[str]) -> None:
    """Raise LoadError where the configuration ties the unembedding to the embedding and the files
    hold another one.

    Versions of transformers differ in which of the two then counts.
    """
    if not getattr(network.config.get_text_config(), "tie_word_embeddings", False):
        return
    parts = (network.get_input_embeddings(), network.get_output_embeddings())
    token, output = (getattr(part, "weight", None) for part in parts)
    if token is None or output is None or output is token or _equal(output, token):
        return
    names = {id(p): name for name, p in network.named_parameters()}
    stored = [name for part in (token, output) if (name := names.get(id(part), "")) in held]
    if len(stored) == 2 and token.shape == output.shape:
        raise LoadError(
            f"{path}: config.json ties the unembedding to the embedding (tie_word_embeddings), and the weight files hold another one, "
            f"{stored[1]}: set tie_word_embeddings to false, or take that weight out."
        )


def _named(key: Any) -> str:
    """A weight as the report has it: its name, or its name with the stored shape and the
    configuration's.
    """
    return (
        str(key)
        if isinstance(key, str)
        else f"{key[0]} ({' where the configuration has '.join(str(list(shape)) for shape in key[1:])})"
    )


def _parameter(network: PreTrainedModel, name: str, tensor: torch.Tensor | None) -> bool:
    """Whether a stored tensor that the network does not use is a parameter of the language model."""
    if BUFFERS.search(name) or OTHER_HEADS.search(name) or name in dict(network.named_buffers()):
        return False
    if getattr(network.config, "quantization_config", None) is not None and SCALES.search(name):
        return False
    if tensor is None:
        return True
    if tensor.dtype in WHOLE_NUMBERS or (tensor.dim() == 4 and tensor.shape[:2] == (1, 1)):
        return False  # a mask [1, 1, position, position]
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    return not any(_equal(tensor, getattr(table, "weight", None)) for table in tables)


def _equal(tensor: torch.Tensor, weight: torch.Tensor | None) -> bool:
    if weight is None or tensor.shape != weight.shape:
        return False
    if tensor.device.type == "meta" or weight.device.type == "meta":
        return True  # only the shape is known
    return torch.equal(tensor.to(weight), weight)


def dry_report(
    config: Any, maker: Any, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A network without numbers, and the report of a load of tensors of these shapes: nothing is
    read.
    """
    with torch.device("meta"):
        kind = type(maker.from_config(config))
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
    with quiet():
        network, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=state,
            output_loading_info=True,
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,
        )
    return network, report


@contextmanager
def quiet():  # type: ignore[no-untyped-def]
    """transformers does not print its own table of what is missing."""
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)
