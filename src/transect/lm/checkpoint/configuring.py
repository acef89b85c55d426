"""config.json -> the configuration that transformers makes of it, its objective, and the Auto class
that computes it.

Where transformers fails on the file, the sentence names the field: the one without which it would
not.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForMultimodalLM,
    GenerationConfig,
    PreTrainedConfig,
)

from transect.errors import InputError, LoadError, NotApplicable, nearest
from transect.lm.checkpoint import foreign_code
from transect.lm.checkpoint.objectives import (
    MAKERS,
    Objective,
    lacks_text_class,
    objective_of,
    reads_more,
)
from transect.lm.checkpoint.plausible import check_numbers, check_parts
from transect.store.model_files.folder import CONFIG

PLAIN = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
}  # what a forward gives back
GENERATION = "generation_config.json"
OF_THE_CLASS = ("attribute_map", "sub_configs")  # beside its methods: what no file may say


def read_config(
    path: Path, raw: Mapping[str, Any], own_code: bool = False
) -> tuple[Any, Objective, Any]:
    """The configuration, its objective and the Auto class of its networks. raw: config.json as it
    was read.

    Raises LoadError for a configuration that no model has or that is of no language model,
    NotApplicable for one that reads more than text and whose text part cannot be run alone.
    """
    foreign_code.refuse(path)
    _check_names(path, raw)
    check_numbers(path, raw)
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=own_code)
        foreign_code.replace(config)
        text = config.get_text_config()
    except InputError:
        raise
    except Exception as error:  # strict classes raise what their fields' checks raise
        raise refusal(path, raw, error, lambda config: None) from error
    if not isinstance(text, PreTrainedConfig):
        raise LoadError(
            f"{path / CONFIG}: a {config.model_type} model has no inner configuration, and this one does."
        )
    for name, value in PLAIN.items():
        setattr(config, name, value)
    if reads_more(config) and (reason := lacks_text_class(config)):
        raise NotApplicable(f"{path}: {reason}")
    try:
        objective = objective_of(config)
    except ValueError as error:
        raise LoadError(f"{path}: {error}.") from None
    check_parts(path, text)
    return config, objective, AutoModelForMultimodalLM if reads_more(config) else MAKERS[objective]


def check_generation(path: Path) -> None:
    """Raise LoadError for a generation configuration that transformers cannot read."""
    if not (path / GENERATION).is_file():
        return
    try:
        GenerationConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise LoadError(
            f"{path / GENERATION}: this is no generation configuration ({told})."
        ) from error


def refusal(
    path: Path, raw: Mapping[str, Any], error: Exception, make: Callable[[Any], Any]
) -> LoadError:
    """The error in words for what transformers cannot make of a file, with the field to blame where
    one alone is.

    make: what failed, of a configuration.
    """
    kind = raw.get("model_type")
    told = " ".join(foreign_code.told(error).split())[:200]
    if kind not in CONFIG_MAPPING:
        near = nearest(kind, CONFIG_MAPPING) if kind else ""
        return LoadError(
            f"{path / CONFIG}: transformers has no model_type {kind!r}, and no code of its own may be run.{near}"
        )
    blamed = _blamed(str(kind), {n: v for n, v in raw.items() if n != "model_type"}, error, make)
    why = (
        f"{blamed} is {str(raw[blamed])[:60]!r}, which a {kind} model cannot have"
        if blamed
        else f"transformers makes no {kind} model of it"
    )
    return LoadError(f"{path / CONFIG}: {why} ({told}).")


def _blamed(
    kind: str, fields: Mapping[str, Any], error: Exception, make: Callable[[Any], Any]
) -> str:
    """The field without which something is made of the fields, where with all of them it is not;
    else empty. By zero divides one that is 0.
    """

    def fails(given: Mapping[str, Any]) -> bool:
        try:
            make(AutoConfig.for_model(kind, **given))
        except Exception:
            return True
        return False

    if not fails(fields):
        return ""
    by_zero = isinstance(error, ZeroDivisionError)
    zeros = [
        name for name, value in fields.items() if by_zero and type(value) is int and value == 0
    ]
    others = (name for name in fields if not fails({n: v for n, v in fields.items() if n != name}))
    return next(others, next((name for name in zeros if not name.endswith("_id")), ""))


def _check_names(path: Path, raw: Mapping[str, Any]) -> None:
    """Raise LoadError for a field that would take the place of a method of the class."""
    for name in raw:
        if (
            name.startswith("__")
            or name in OF_THE_CLASS
            or callable(getattr(PreTrainedConfig, name, None))
        ):
            raise LoadError(f"{path / CONFIG}: {name[:60]!r} is no field of a configuration.")
