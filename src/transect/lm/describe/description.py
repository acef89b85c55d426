"""What the files of a model say about it, without its weights being read: configuration, sizes of
the tensors, tokenizer.

Counts follow from the configuration (lm/checkpoint/counting.py) and are compared with the numbers that the
weight files hold; of a model that is computed by code of its own only the latter are known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedTokenizerFast

from transect.errors import LoadError, nearest, panics_are_errors
from transect.lm.batching import context_length
from transect.lm.checkpoint import counting
from transect.lm.checkpoint.configuring import read_config
from transect.lm.checkpoint.extent import built
from transect.lm.checkpoint.objectives import MAKERS, reads_more
from transect.lm.checkpoint.storage import check_storage, named_quantizer
from transect.lm.checkpoint.surplus import HEADLESS, check_report, dry_report, refuse_adapter
from transect.lm.describe.features import design
from transect.lm.describe.form import form
from transect.lm.ngram import stated
from transect.lm.text import opening
from transect.lm.text.cutting import ids_of
from transect.lm.text.tokenizer import canary, casing, read_tokenizer
from transect.store.model_files import headers
from transect.store.model_files.folder import (
    check_files,
    check_settings,
    configuration,
    weight_files,
)
from transect.store.model_files.headers import Tensor, tensors

OBJECTIVES = {"causal": "causal", "masked": "masked", "seq2seq": "denoising"}
MODALITIES = {"vision_config": "image", "audio_config": "audio", "video_config": "video"}
HEADS = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForMaskedLM": "masked",
    "ForConditionalGeneration": "denoising",
}


@dataclass
class Description:
    """facts: field of the registry -> value. how: field -> how it is known, where that is not by
    reading it. told: what a person should know.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


@panics_are_errors()
def describe(path: Path, elsewhere: Mapping[str, Tensor] | None = None) -> Description:
    """The facts of a directory in hub layout. elsewhere: its tensors, where the weights are not
    here (None: read from its files' headers).

    Raises LoadError for a directory without a readable configuration, weights or tokenizer,
    NotApplicable for a model that reads more than text and whose text part cannot be run alone.
    """
    check_files(path)
    refuse_adapter(path)
    raw = configuration(path)
    check_settings(path)
    held = tensors(weight_files(path)) if elsewhere is None else elsewhere
    numbers = headers.numbers(held)
    kind = raw.get("model_type")
    if kind == "ngram":
        order, _, vocab_size = stated(path)
        counts = f"{order}-gram counts: {numbers:,} numbers in tables"
        found = Description(
            {"objective": "causal", "mixer": "ngram", "vocab_size": vocab_size}, told=[counts]
        )
    else:
        if kind not in CONFIG_MAPPING and "auto_map" not in raw and not list(path.glob("*.py")):
            raise LoadError(
                f"{path}: transformers has no model_type {kind!r}, and there is no code of its own.{nearest(kind, CONFIG_MAPPING)}"
            )
        found = (
            _architecture(path, raw, held) if kind in CONFIG_MAPPING else _own_code(raw, numbers)
        )
    if how := casing(path):
        found.told.append(how)
    found.facts = {
        "model_type": kind,
        **found.facts,
        "tokenizer": describe_tokenizer(read_tokenizer(path)),
    }
    return found


def describe_tokenizer(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """algorithm; vocab: entries, added ones included; bos, eos: what it puts around a text by
    itself; byte_fallback: no text is unknown to it; prefix_space: a word that begins a text is cut
    as after a space; canary: lm/text/tokenizer.py.
    """
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model, steps = (
        parts["model"],
        [parts.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")],
    )
    pipeline = json.dumps(steps, ensure_ascii=False)
    by_bytes = '"ByteLevel"' in pipeline
    if model["type"] == "BPE":
        pieces = "▁" in pipeline or model.get("byte_fallback")
        merged = bool(model.get("merges"))
        algorithm = (
            ("bpe-byte" if merged else "byte")
            if by_bytes
            else "bpe-sentencepiece"
            if pieces
            else "bpe"
            if merged
            else "char"
        )
    else:
        algorithm = {"Unigram": "unigram", "WordPiece": "wordpiece", "WordLevel": "word"}.get(
            model["type"], model["type"]
        )
    around = [tokenizer.convert_ids_to_tokens(ids) for ids in opening.around(tokenizer)]
    plain, first, second = (ids_of(tokenizer, text) or [] for text in ("the dog", "the", "dog"))
    return {
        "algorithm": algorithm,
        "vocab": len(tokenizer),
        **dict(zip(("bos", "eos"), (" ".join(tokens) or "none" for tokens in around), strict=True)),
        "byte_fallback": by_bytes or bool(model.get("byte_fallback")),
        "prefix_space": plain == [*first, *second],
        "canary": canary(tokenizer),
    }


def _architecture(path: Path, raw: Mapping[str, Any], held: Mapping[str, Tensor]) -> Description:
    """Of an architecture that transformers computes."""
    quantizer = named_quantizer(path, raw, held)
    config, objective, maker = read_config(path, raw)
    found, text = Description(), config.get_text_config() if reads_more(config) else config
    whole = built(path, raw, config, maker, held, quantized=bool(quantizer))
    network: Any = whole if text is config else counting.meta_network(text, objective)
    headless = _compare(path, config, MAKERS[objective], held)
    if headless:
        network = network.base_model
    counts = counting.counts(network)
    if text is not config:
        found.facts["modalities"] = [
            "text",
            *(m for name, m in MODALITIES.items() if getattr(config, name, None)),
        ]
        found.facts["config"] = {"text_config": {"model_type": text.model_type}}
        found.told.append(
            f"reads more than text: measured, described and counted by its text part ({text.model_type}) alone"
        )
    if headless:
        found.facts["lm_head"] = False
        found.told.append(f"{'an encoder' if objective == 'masked' else 'a decoder'} {HEADLESS}")
    found.facts |= {"objective": OBJECTIVES[objective], **form(text, objective), **design(network)}
    found.facts |= _sizes(text, network, counts)
    found.facts |= _beyond(found.facts, text, counts, OBJECTIVES[objective])
    found.how = dict.fromkeys(("params_total", "params_non_embedding", "params_active"), "count")
    if objective != "causal" or headless:
        found.how["objective"] = "inferred"
    numbers, asked = (
        headers.numbers(held),
        sum(p.numel() for p in (network if headless else whole).parameters()),
    )
    found.told.append(f"the weight files hold {numbers:,} numbers, {_compared(numbers, asked)}")
    return found


def _compare(path: Path, config: Any, maker: Any, held: Mapping[str, Tensor]) -> bool:
    """Whether the files lack the language-model head alone. Raises LoadError as loading does where
    they are not those of the configuration; nothing is compared where they are packed (quantized),
    or read by a class for more than text.
    """
    if reads_more(config) or getattr(config, "quantization_config", None) is not None:
        return False
    network, report = dry_report(
        config, maker, {name: tensor.shape for name, tensor in held.items()}
    )
    check_storage(path, network, held, report["unexpected_keys"])
    return check_report(
        path,
        network,
        report,
        lambda name: torch.empty(held[name].shape, device="meta") if name in held else None,
    )


def _compared(numbers: int, whole: int) -> str:
    if numbers == whole:
        return "as many as the configuration has"
    reason = (
        "buffers, tied matrices or other heads that were stored"
        if numbers > whole
        else "they are packed, or another model's"
    )
    return f"the configuration {whole:,}: {reason}"


def _sizes(config: Any, network: Any, counts: counting.Counts) -> dict[str, Any]:
    longest = context_length(network)
    found = counting.dimensions(config) | {"context_length": longest}
    found |= {
        "params_total": counts.params_total,
        "params_non_embedding": counts.params_non_embedding,
    }
    if counts.params_active != counts.params_total:
        found["params_active"] = counts.params_active
    output, token = network.get_output_embeddings(), network.get_input_embeddings()
    found["tied_embeddings"] = output is not None and output.weight is token.weight
    return {name: value for name, value in found.items() if value is not None}


def _beyond(
    facts: dict[str, Any], config: Any, counts: counting.Counts, objective: str
) -> dict[str, Any]:
    """`config` of the entry: the fields of the configuration that are neither in its dimensions nor
    the class's examples, where counts need them.
    """
    from transect.registry.run import Rule, Run

    given = dict(facts.get("config", {}))

    def right(extra: Mapping[str, Any]) -> bool:
        inner = {"text_config": {**given["text_config"], **extra}} if given else extra
        run = Run(
            "",
            "",
            Rule("", (None,)),
            {"model_type": config.model_type, **facts, "objective": objective, "config": inner},
        )
        try:
            return counting.of_run(run) == counts
        except counting.Uncountable:
            return False

    extra = counting.differences(config)
    if right({}) or not right(extra):
        return {}
    for name in list(extra):  # the fewest that give the counts
        fewer = {k: v for k, v in extra.items() if k != name}
        if right(fewer):
            extra = fewer
    return {"config": {"text_config": {**given["text_config"], **extra}} if given else extra}


def _own_code(raw: Mapping[str, Any], numbers: int) -> Description:
    """Of a model that is computed by Python files of its own: what the configuration says in words
    that others use, too.
    """
    heads = [
        HEADS[end] for name in raw.get("architectures") or [] for end in HEADS if name.endswith(end)
    ]
    found = Description(
        {"remote_code": True, "params_total": numbers}, {"params_total": "inferred"}
    )
    if heads:
        found.facts["objective"] = heads[0]
    for name, names in counting.NAMES.items():
        value = next(
            (raw[n] for n in (*names, *OTHER_NAMES.get(name, ())) if isinstance(raw.get(n), int)),
            None,
        )
        if value is not None:
            found.facts[name] = value
    found.how |= {name: "inferred" for name in found.facts if name in counting.NAMES}
    found.told.append(
        "is computed by code of its own, which was not run: the weights were counted in the weight files, where a tied matrix may stand twice"
    )
    return found


# what configurations outside transformers call the dimensions
OTHER_NAMES = {
    "n_layers": ("n_layer", "n_layers", "num_layers"),
    "d_model": ("d_model", "n_embd", "dim"),
    "n_heads": ("n_head", "n_heads"),
    "context_length": ("n_positions", "max_sequence_length", "n_ctx", "block_size"),
    "d_ff": ("mlp_hidden_size",),
}
