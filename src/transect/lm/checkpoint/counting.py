"""How many weights a model has, exactly: from its configuration, built on the meta device, where
weights take no memory.

total          = unique trainable tensors of the language model class (ForCausalLM, ForMaskedLM, ForConditionalGeneration), tied ones once
token_embedding = the matrix that ids are looked up in
non_embedding  = total - token embedding - unembedding that is not tied to it - learned absolute positions - token types
active         = total - (1 - k / E) x weights of the routed experts; of E experts a token uses k. Routers and shared experts are whole.

Biases of the unembedding, norms and the transform of a masked model's head are no embeddings. Of an
encoder-decoder model `n_layers` is that of each stack. Source: Kaplan et al. (2020), "Scaling laws
for neural language models", for the non-embedding count.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, cast

import torch
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, PreTrainedModel

from transect.lm.batching import context_length
from transect.lm.checkpoint import foreign_code
from transect.lm.checkpoint.objectives import MAKERS, Objective
from transect.registry.run import CAUSAL, MASKED, SEQ2SEQ, UNKNOWN, Run

# field of the registry -> what transformers' configuration classes call it (the first name goes by
# their attribute_map, too)
NAMES: dict[str, tuple[str, ...]] = {
    "n_layers": ("num_hidden_layers", "num_decoder_layers", "decoder_layers"),
    "d_model": ("hidden_size",),
    "n_heads": ("num_attention_heads", "decoder_attention_heads", "num_heads"),
    "n_kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "d_head": ("head_dim", "kv_channels"),
    "d_ff": (
        *(
            "intermediate_size",
            "ffn_dim",
            "n_inner",
            "d_ff",
            "hidden_dim",
            "dff",
            "ffn_hidden_size",
        ),
        *("encoder_ffn_dim", "decoder_ffn_dim"),
    ),
    "vocab_size": ("vocab_size",),
    "context_length": ("max_position_embeddings", "max_seq_len"),
    "tied_embeddings": ("tie_word_embeddings",),
    "n_experts": (
        "num_local_experts",
        "num_experts",
        "n_routed_experts",
        "moe_num_experts",
        "num_routed_experts",
    ),
    "n_experts_active": ("num_experts_per_tok", "moe_k", "moe_topk"),
}
NO_LEARNED_POSITIONS = ("sinusoidal", "rope", "alibi", "relative-bucket", "none")
OBJECTIVES: dict[str, Objective] = {
    **dict.fromkeys(CAUSAL, "causal"),
    **dict.fromkeys(MASKED, "masked"),
    **dict.fromkeys(SEQ2SEQ, "seq2seq"),
}


NOT_COMPUTED = (
    "architectures",
    "transformers_version",
    "dtype",
    "id2label",
    "label2id",
    "bos_token_id",
    "eos_token_id",
)
COUNTED = ("params_total", "params_non_embedding", "params_active")


class Uncountable(Exception):
    """No configuration, or none that transformers can build; the message is the reason."""


@dataclass(frozen=True)
class Counts:
    """Weights; see the module's text. The names are those of the registry."""

    params_total: int
    params_non_embedding: int
    params_token_embedding: int
    params_active: int


def configuration(run: Run) -> PreTrainedConfig:
    """The transformers configuration that has a run's dimensions and what its field `config` adds
    to them.

    Raises Uncountable for a model_type that transformers lacks, or a dimension that is unknown and
    for which the class has an example.
    """
    kind, own = run.get("model_type"), dict(run.get("config") or {})
    if isinstance(own.get("text_config"), dict):  # the text part of a model that also reads images
        own = dict(own["text_config"])
        kind = own.pop("model_type", kind)
    if run.get("remote_code") or kind not in CONFIG_MAPPING:
        raise Uncountable(
            f"{kind} is no architecture of transformers"
            + ": code of its own" * bool(run.get("remote_code"))
        )
    known = _fields(kind)
    given: dict[str, Any] = {}
    lacking = []
    for name, names in NAMES.items():
        places = [
            place for place in dict.fromkeys(field_of(kind, n) for n in names) if place in known
        ]
        value = run.get(name)
        if value in (None, UNKNOWN):
            needed = not (
                name == "context_length"
                and run.get("position") in NO_LEARNED_POSITIONS
                or name == "n_experts_active"
                and run.get("n_experts") in (None, UNKNOWN)
            )
            lacking += (
                [name] if needed and any(known[place] is not None for place in places) else []
            )
            continue
        if name == "d_head" and value * run.get("n_heads", 0) != run.get("d_model"):
            places = places or [names[0]]  # some classes read one that they do not declare
        given |= dict.fromkeys(
            places,
            value + _positions_before_text(kind, own.get("pad_token_id"))
            if name == "context_length"
            else value,
        )
    extra = {field_of(kind, name): value for name, value in own.items()}
    lacking = [name for name in lacking if not any(field_of(kind, n) in extra for n in NAMES[name])]
    if lacking:
        raise Uncountable(f"{', '.join(lacking)} unknown")
    return _made(kind, given | extra)


def of_run(run: Run) -> Counts:
    """The counts of a run of the registry. Raises Uncountable."""
    network = meta_network(configuration(run), OBJECTIVES[run.facts["objective"]])
    return counts(
        cast(PreTrainedModel, network.base_model) if run.get("lm_head", True) is False else network
    )


def contradictions(run: Run, found: Counts) -> dict[str, tuple[int, int]]:
    """Field -> (what the run states, what was counted), where they are unequal. What the run does
    not state contradicts nothing.
    """
    stated = {name: run.get(name) for name in COUNTED}
    counted = asdict(found)
    return {n: (v, counted[n]) for n, v in stated.items() if isinstance(v, int) and v != counted[n]}


def shape_of(run: Run) -> str:
    """What a run's counts follow from, as text: runs of the same one have the same counts."""
    names = ("model_type", "objective", "position", "remote_code", "lm_head", *NAMES, "config")
    return repr([run.get(name) for name in names])


def meta_network(config: PreTrainedConfig, objective: Objective) -> PreTrainedModel:
    """The network without its numbers. Raises Uncountable where transformers has no such class or
    refuses the configuration.
    """
    try:
        with torch.device("meta"):
            return cast(PreTrainedModel, MAKERS[objective].from_config(config))
    except (
        Exception
    ) as error:  # a configuration from outside may be wrong in any way; the message keeps what
        told = " ".join(str(error).split())[:200]
        raise Uncountable(
            f"transformers cannot build this {config.model_type} as a {objective} model ({type(error).__name__}: {told})"
        ) from None


def counts(network: PreTrainedModel) -> Counts:
    """The counts of a network, on any device."""
    sizes = {id(p): p.numel() for p in network.parameters() if p.requires_grad}
    token, output = network.get_input_embeddings(), network.get_output_embeddings()
    tables = [module for name, module in network.named_modules() if _is_table(name, module)]
    outside = {id(part.weight) for part in (token, output, *tables) if part is not None}
    total = sum(sizes.values())
    size = dimensions(network.config)
    experts, used = size.get("n_experts", 0), size.get("n_experts_active", 0)
    routed = sum(sizes.get(key, 0) for key in _routed(network, experts)) if experts and used else 0
    return Counts(
        params_total=total,
        params_non_embedding=total - sum(sizes.get(key, 0) for key in outside),
        params_token_embedding=sizes.get(id(token.weight), 0),
        params_active=total - (routed * (experts - used) // experts if routed else 0),
    )


def facts(content: Mapping[str, Any]) -> dict[str, object]:
    """Field of the registry -> value, of a config.json: as transformers reads it, else from the
    names that it uses.
    """
    kind = str(content.get("model_type"))
    named = {"model_type": kind} if "model_type" in content else {}
    if kind in CONFIG_MAPPING:
        with suppress(Exception):  # what transformers refuses is read by its names
            return named | dimensions(AutoConfig.for_model(**content))
    found = {
        field: next((content[n] for n in names if n in content), None)
        for field, names in NAMES.items()
    }
    return named | {field: value for field, value in found.items() if value is not None}


def dimensions(config: PreTrainedConfig) -> dict[str, Any]:
    """Field of the registry -> value, for what a configuration says; `context_length` as its table
    of positions has it.
    """
    kind = config.model_type
    known = _fields(kind)
    found: dict[str, Any] = {}
    for name, names in NAMES.items():
        value = next(
            (
                getattr(config, n, None)
                for n in names
                if field_of(kind, n) in known or name == "d_head"
            ),
            None,
        )
        if isinstance(value, int):
            found[name] = value
    if found.get("n_experts", 0) <= 1:
        found.pop("n_experts", None), found.pop("n_experts_active", None)
    if "d_model" in found and "n_heads" in found:
        found.setdefault("d_head", found["d_model"] // found["n_heads"])
        if getattr(config, "num_attention_heads", None) is not None:
            found.setdefault(
                "n_kv_heads", 1 if getattr(config, "multi_query", False) else found["n_heads"]
            )
    if "d_model" in found and any(field_of(kind, n) in known for n in NAMES["d_ff"]):
        found.setdefault(
            "d_ff", 4 * found["d_model"]
        )  # what None means wherever transformers allows it
    return found


def differences(config: PreTrainedConfig) -> dict[str, Any]:
    """Fields of a configuration that are neither a dimension nor what its class has as example:
    plain values, as YAML can hold them.
    """
    kind = config.model_type
    told = {field_of(kind, n) for name in dimensions(config) for n in NAMES[name]}
    example, common = AutoConfig.for_model(kind).to_dict(), PreTrainedConfig().to_dict()
    own = {n: v for n, v in config.to_dict().items() if n not in told and v != example.get(n)}
    return {
        n: v
        for n, v in own.items()
        if isinstance(v, bool | int | float | str | list | dict)
        and n not in NOT_COMPUTED
        and (n not in common or n == "pad_token_id")
    }


def _made(kind: str, given: Mapping[str, Any]) -> PreTrainedConfig:
    rows = given.get("vocab_size")
    # of a small vocabulary: special tokens of the class's example lie outside, and torch refuses
    # such a padding
    outside = [
        n
        for n, v in _fields(kind).items()
        if n.endswith("_token_id") and isinstance(v, int) and rows and v >= rows
    ]
    if told := foreign_code.fault(given):
        raise Uncountable(f"its configuration {told}")
    try:
        return AutoConfig.for_model(kind, **{**dict.fromkeys(outside, 0), **given})
    except Exception as error:  # strict classes raise what their fields' checks raise
        told = " ".join(str(error).split())[:200]
        raise Uncountable(
            f"transformers refuses the configuration ({type(error).__name__}: {told})"
        ) from None


@lru_cache(maxsize=256)
def _fields(kind: str) -> dict[str, Any]:
    """The names that a configuration class knows, and their defaults."""
    made = AutoConfig.for_model(kind)
    declared = {f.name: f.default for f in fields(type(made))}
    return (
        declared
        if "hidden_size" in declared or made.attribute_map
        else {**made.to_dict(), **declared}
    )


def field_of(kind: str, name: str) -> str:
    """What a configuration class calls the field that transformers knows under a common name."""
    return (
        name if name in _fields(kind) else str(CONFIG_MAPPING[kind].attribute_map.get(name, name))
    )


@lru_cache(maxsize=256)
def _positions_before_text(kind: str, padding: int | None) -> int:
    """Rows of the table of positions that no text uses: RoBERTa counts from the padding's id + 1."""
    rows, known = 64, _fields(kind)
    places = [place for n in NAMES["context_length"] if (place := field_of(kind, n)) in known]
    if not places or not isinstance(known.get("pad_token_id"), int):
        return 0
    layers = [place for n in NAMES["n_layers"] if (place := field_of(kind, n)) in known]
    try:
        pad = {} if padding is None else {"pad_token_id": padding}
        small = _made(kind, {places[0]: rows, **dict.fromkeys(layers, 1), **pad})
        objective: Objective = "seq2seq" if small.is_encoder_decoder else "masked"
        return rows - (context_length(meta_network(small, objective)) or rows)
    except Uncountable:  # no masked model: it has no such table
        return 0


def _is_table(name: str, module: torch.nn.Module) -> bool:
    """Whether a module is a table outside the blocks, and not one of relative positions: of tokens,
    absolute positions or token types.
    """
    path = name.split(".")
    if any(part.isdigit() for part in path) or "rel" in path[-1]:
        return False
    return "Embedding" in type(module).__name__ and isinstance(
        getattr(module, "weight", None), torch.Tensor
    )


def _routed(network: PreTrainedModel, experts: int) -> set[int]:
    """The ids of the parameters of routed experts: in a module that is called experts, or whose
    class is, one of a list of modules or one stack of matrices or vectors for all; not those of the
    router.
    """
    places, routers = [], []
    for name, module in network.named_modules():
        kind, last = type(module).__name__, name.split(".")[-1]
        if last in ("router", "gate") or any(word in kind for word in ("Router", "Gating")):
            routers.append(f"{name}.")
        elif last == "experts" or "Experts" in kind:
            places.append(f"{name}.")
    found = set()
    for name, p in network.named_parameters():
        inside = next(
            (name.removeprefix(place) for place in places if name.startswith(place)), None
        )
        if inside is None or name.startswith(tuple(routers)):
            continue
        stacked = p.shape[0] == experts or p.ndim == 2 and p.shape[0] % experts == 0
        if inside.split(".")[0].isdigit() or stacked:
            found.add(id(p))
    return found
