"""From the facts of a run to an untrained network: the transformers configuration of each
architecture that is trained here.

To add an architecture is to add one function to CONFIGURATIONS; the run's `model_type` chooses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    GPTNeoXConfig,
    Mamba2Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from transect.errors import InputError, nearest
from transect.lm.checkpoint import foreign_code
from transect.lm.lstm import LstmConfig
from transect.registry.recipe import Recipe
from transect.registry.run import Run

ROPE = {
    "rope_type": "default",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
}  # on all dimensions of a head
NOT_HIDDEN = (
    "embed",
    "lm_head",
    "decoder",
)  # parts of the names of matrices that Muon does not train


def gpt_neox(run: Run, common: dict[str, Any]) -> PreTrainedConfig:
    """GPT-NeoX: attention and MLP read the same input (parallel residual) or follow one another
    (sequential), all else equal.
    """
    own: dict[str, Any] = {
        "num_attention_heads": run.get("n_heads"),
        "intermediate_size": run.get("d_ff", 4 * run.get("d_model")),
        "max_position_embeddings": run.get("context_length"),
        "use_parallel_residual": run.get("parallel_residual", True),
        "rope_parameters": ROPE,
        "use_cache": False,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
    }
    return GPTNeoXConfig(**own | common)


def bert(run: Run, common: dict[str, Any]) -> PreTrainedConfig:
    """BERT: bidirectional attention, learned positions, no dropout (the corpora are never seen
    often enough to need it).
    """
    own: dict[str, Any] = {
        "num_attention_heads": run.get("n_heads"),
        "intermediate_size": run.get("d_ff", 4 * run.get("d_model")),
        "max_position_embeddings": run.get("context_length"),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BertConfig(**own | common)


def mamba2(run: Run, common: dict[str, Any]) -> PreTrainedConfig:
    """Mamba 2: state-space layers of twice the width (expand 2), split into n_heads heads; no MLP."""
    own: dict[str, Any] = {
        "expand": 2,
        "num_heads": run.get("n_heads"),
        "head_dim": 2 * run.get("d_model") // run.get("n_heads"),
        "n_groups": 1,
        "use_cache": False,
    }
    return Mamba2Config(**own | common)


def lstm(run: Run, common: dict[str, Any]) -> PreTrainedConfig:
    """Long short-term memory: recurrent layers of the embedding's width; see lm/lstm.py."""
    return LstmConfig(**{"dropout": 0.0} | common)


CONFIGURATIONS: dict[str, Callable[[Run, dict[str, Any]], PreTrainedConfig]] = {
    "gpt_neox": gpt_neox,
    "bert": bert,
    "mamba2": mamba2,
    "lstm": lstm,
}


def configuration(run: Run, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """The configuration of a run. Raises InputError for an architecture that cannot be trained
    here, or a vocabulary of another size.
    """
    model_type = run.get("model_type")
    if model_type not in CONFIGURATIONS:
        allowed = ", ".join(CONFIGURATIONS)
        raise InputError(
            f"Run {run.id!r}: model_type {model_type!r} cannot be trained here; allowed are {allowed}."
            f"{nearest(model_type, CONFIGURATIONS)}"
        )
    if run.get("vocab_size", len(tokenizer)) != len(tokenizer):
        raise InputError(
            f"Run {run.id!r}: vocab_size is {run.get('vocab_size')}, "
            f"but the tokenizer of its corpus has {len(tokenizer)} tokens."
        )
    if told := foreign_code.fault(dict(recipe.config)):
        raise InputError(f"Run {run.id!r}: its recipe's config {told}.")
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": run.get("d_model"),
        "num_hidden_layers": run.get("n_layers"),
        "tie_word_embeddings": run.get("tied_embeddings", False),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id
        if tokenizer.eos_token_id is not None
        else tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CONFIGURATIONS[model_type](run, common | dict(recipe.config))


def network(run: Run, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The untrained network in float32, from torch's current random state; attention as the recipe
    says, where there is any.
    """
    kind = AutoModelForCausalLM if run.get("objective") == "causal" else AutoModelForMaskedLM
    options = {"attn_implementation": recipe.attention} if run.get("mixer") == "attention" else {}
    return kind.from_config(configuration(run, recipe, tokenizer), **options)


def count_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """(params_total, params_non_embedding): unique weights; and those without token, position and
    token-type embeddings and an untied output matrix.
    """
    output = model.get_output_embeddings()
    outside = {id(output.weight)} if output is not None else set()
    outside |= {id(p) for name, p in model.named_parameters() if "embed" in name and p.ndim == 2}
    sizes = {id(p): p.numel() for p in model.parameters()}
    return sum(sizes.values()), sum(n for key, n in sizes.items() if key not in outside)


def split_for_muon(model: PreTrainedModel) -> tuple[list[Any], list[Any]]:
    """(hidden matrices, all other parameters): Muon is for maps between hidden states, not for
    embeddings, outputs, filters or vectors.
    """
    hidden = [
        p
        for name, p in model.named_parameters()
        if p.ndim == 2 and not any(part in name for part in NOT_HIDDEN)
    ]
    chosen = {id(p) for p in hidden}
    return hidden, [p for p in model.parameters() if id(p) not in chosen]
