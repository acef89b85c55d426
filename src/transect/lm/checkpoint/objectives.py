"""What kind of language model a configuration is of: causal, masked or encoder-decoder, and the
class that computes it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

Objective = Literal["causal", "masked", "seq2seq"]
MAKERS: dict[str, Any] = {
    "causal": AutoModelForCausalLM,
    "masked": AutoModelForMaskedLM,
    "seq2seq": AutoModelForSeq2SeqLM,
}
TABLES: dict[Objective, Mapping[str, Any]] = {
    "causal": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "masked": MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "seq2seq": MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}


def objective_of(config: Any) -> Objective:
    """By the class that the checkpoint was saved from, else by what transformers has for its
    model_type.

    A class that computes both ways (XLM) is causal where its configuration says `causal`. Raises
    ValueError for what is no language model.
    """
    if reads_more(config):
        return "causal"
    for name in config.architectures or []:
        if found := _of_class(str(name), config):
            return found
    if found := _one_of(_of_type(config.model_type), config):
        return found
    raise ValueError(
        f"model_type {config.model_type!r} is neither a causal, a masked nor an encoder-decoder language model"
    )


def has_language_model_class(config: Any) -> bool:
    """Whether the checkpoint was saved from a class with a language-model head, or does not tell
    from which.
    """
    names = config.architectures or []
    return not names or reads_more(config) or any(_of_class(str(name), config) for name in names)


def _of_class(name: str, config: Any) -> Objective | None:
    """The objective of a class; of one that transformers does not have (code of its own) by the end
    of its name.
    """
    found = _one_of(
        {objective for objective, table in TABLES.items() if _holds(table, name)}, config
    )
    if found is None and name.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    if found is None and name.endswith("ForMaskedLM"):
        return "masked"
    if (
        found is None
        and name.endswith("ForConditionalGeneration")
        and getattr(config, "is_encoder_decoder", False)
    ):
        return "seq2seq"
    return found


def _holds(table: Mapping[str, Any], name: str) -> bool:
    """Whether a table of transformers, model_type -> class or classes, holds a class."""
    return any(
        name == names or not isinstance(names, str) and name in names for names in table.values()
    )


def _of_type(kind: str) -> set[Objective]:
    """The objectives that transformers has a class of this model_type for."""
    return {objective for objective, table in TABLES.items() if kind in table}


def _one_of(possible: set[Objective], config: Any) -> Objective | None:
    """Of several objectives the one that the configuration speaks for."""
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq" if "seq2seq" in possible else None
    possible = possible - {"seq2seq"}
    if len(possible) > 1:
        ahead = not (getattr(config, "causal", False) or getattr(config, "is_decoder", False))
        return "masked" if ahead else "causal"
    return next(iter(possible), None)


def reads_more(config: Any) -> bool:
    """Whether a configuration is of a model that reads images, sound or the like besides text, with
    a decoder of its own for the text.
    """
    return not config.is_encoder_decoder and config.get_text_config() is not config


def lacks_text_class(config: Any) -> str:
    """Why the text part of a model that reads more cannot be run alone, in words; empty where it
    can.
    """
    kind = config.get_text_config().model_type
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return ""
    return f"{config.model_type} reads more than text, and transformers has no causal class for its text alone ({kind})"
