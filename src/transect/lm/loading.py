"""A directory in hub layout -> Model. Weights are data from outside: safetensors only, none of their code, no net."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from transect.errors import InputError, LoadError, ResourceError, nearest
from transect.lm.model import Model
from transect.lm.network import BUDGET, NetworkModel
from transect.lm.ngram import NgramModel

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def load(path: Path | str, *, dtype: str = "float32", device: str = "cpu", budget: int = BUDGET) -> Model:
    """The model in a directory of config.json, tokenizer.json and *.safetensors (or ngram.npz), ready to be measured.

    budget: bytes of activations per batch. TF32 is switched off for the process. The caller sets the number of threads.
    Raises LoadError when the directory does not hold one whole model, ResourceError when memory gives out.
    """
    path = Path(path)
    if dtype not in DTYPES:
        raise InputError(f"dtype: unknown {dtype!r}; there are: {', '.join(DTYPES)}.{nearest(dtype, DTYPES)}")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"{path}: no readable config.json ({error}).") from None
    tokenizer = _tokenizer(path)
    if config.get("model_type") == "ngram":
        return NgramModel(path, tokenizer)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    transformers.utils.logging.disable_progress_bar()
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise LoadError(f"{path}: no *.safetensors file; weights in other formats are not loaded, they can run code.")
    network, objective = _network(path, DTYPES[dtype])
    return NetworkModel(path, tokenizer, weights, network.to(device), objective, budget)


def _tokenizer(path: Path) -> PreTrainedTokenizerFast:
    # The serialised pipeline itself: the class that AutoTokenizer picks by model_type may rebuild another one.
    if not (path / "tokenizer.json").is_file():
        raise LoadError(f"{path}: no tokenizer.json; only fast tokenizers give the offsets that scoring needs.")
    try:
        return PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise LoadError(f"{path}: the tokenizer cannot be read ({type(error).__name__}: {error}).") from error


def _network(path: Path, dtype: torch.dtype) -> tuple[Any, Literal["causal", "masked"]]:
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        objective = _objective(config)
        maker: Any = AutoModelForMaskedLM if objective == "masked" else AutoModelForCausalLM
        network, report = maker.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ResourceError(f"{path}: out of memory while loading ({error}).") from error
    except Exception as error:  # anything may be wrong with a directory from outside; the message keeps what
        raise LoadError(f"{path}: cannot be loaded ({type(error).__name__}: {error}).") from error
    for what in ("missing_keys", "mismatched_keys"):
        if report[what]:
            # transformers would go on with random weights in their place
            names = ", ".join(sorted(map(str, report[what]))[:3])
            raise LoadError(f"{path}: {len(report[what])} weights are {what.split('_')[0]}, e.g. {names}.")
    return network, objective


def _objective(config: Any) -> Literal["causal", "masked"]:
    """By the class that the checkpoint was saved from, else by what transformers has for its model_type."""
    for name in config.architectures or []:
        if name.endswith(("ForCausalLM", "LMHeadModel")):
            return "causal"
        if name.endswith("ForMaskedLM"):
            return "masked"
    kind = config.model_type
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        return "masked"
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "causal"
    raise ValueError(f"model_type {kind!r} is neither a causal nor a masked language model")
