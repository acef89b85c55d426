"""Whether the numbers of a configuration can be those of a model, before anything is made of them.

layers       at most LAYERS; positions at most POSITIONS
sizes        layers, width, heads, vocabulary, positions: whole numbers of at least 1 (a list has one for each layer)
counts       of layers, heads, experts, labels, ...: at most COUNT, more than any model has: lists are made of them
epsilons     finite and not negative;     bases of rotations and their factors: finite and above 0
dropouts     shares, from 0 to 1 (no measure uses them)
NaN is refused with the file (store/model_files/folder.py).
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from transect.errors import LoadError, nearest
from transect.lm.checkpoint.counting import NAMES, dimensions
from transect.store.model_files.folder import CONFIG

COUNT, LAYERS, WHOLE = 100_000, 1_000, 2**53
POSITIONS = 2**24  # the longest context that is published has 10 million
IN_LISTS = 2**24  # lists repeat what stands beside such a number
SIZES = (
    "n_layers",
    "d_model",
    "n_heads",
    "n_kv_heads",
    "d_head",
    "d_ff",
    "vocab_size",
    "context_length",
)
COUNTS = re.compile(
    r"(^|_)(layers?|blocks?|heads?|experts?|groups?|labels?|stages?|codebooks?|levels?|depth|buckets)(_|\Z)"
)
# of a field with such a word the number is a length or an id, not a count
NOT_COUNTED = re.compile(
    r"(^|_)(size|dim|embd|ids?|ctx|positions?|length|tokens?|window|inner|state|steps|vocab|seq|len)(_|\Z)"
)
EPSILON = re.compile(r"(^|_)(eps|epsilon)\Z")
POSITIVE = re.compile(r"(^|_)(theta|emb_base|base_freq|pre_attn_scalar)\Z|^rope_base\Z")
FACTOR = re.compile(r"(^|_)((?<!rotary_)factor|beta_fast|beta_slow)\Z")
DROPOUT = r"(drop|pdrop|dropout|layerdrop|drop_rate|dropout_prob|dropout_rate)\Z"
SHARE = re.compile(rf"{DROPOUT}|(^|_)(partial_rotary_factor|rotary_pct|rope_pct)\Z")
WINDOWS = (
    "sliding_window",
    "attention_window_size",
    "window_size",
    "local_attention",
    "attention_chunk_size",
)
ROPE = ("rope_parameters", "rope_scaling")
ROPE_TYPES = ("default", *ROPE_INIT_FUNCTIONS)
OWN_ROPE_TYPES = ("mrope", "su", "axial")  # of single architectures, which read or rename them


def check_numbers(path: Path, raw: Mapping[str, Any]) -> None:
    """Raise LoadError for a number of a raw configuration that no model has; see above."""
    known = {name: most for kind in _kinds(raw) for name, most in _sizes(kind).items()}
    for place, name, value in _fields(raw, ""):
        if told := _fault(name, value, known.get(name), any(f"{rope}." in place for rope in ROPE)):
            raise LoadError(f"{path / CONFIG}: {place} is {str(value)[:60]}; {told}.")
    for place, _, value in _fields(raw, ""):
        if place.split(".")[-1] in ("rope_type",) or place.endswith(
            ("rope_scaling.type", "rope_parameters.type")
        ):
            _check_rope_type(path, place, value)


def check_parts(path: Path, config: Any) -> None:
    """Raise LoadError for parts that do not go together, by the names that all configurations
    share; config: of the text.

    Groups of heads share one head of keys; a token goes to some of the experts; a window holds a
    position at least (null: none).
    """
    sizes = dimensions(config) if config.model_type in CONFIG_MAPPING else {}
    heads, shared = sizes.get("n_heads"), sizes.get("n_kv_heads")
    if heads and shared and heads % shared:
        raise LoadError(
            f"{path / CONFIG}: {heads} heads cannot share {shared} heads of keys and values; the one must be a multiple of the other."
        )
    experts, used = sizes.get("n_experts"), sizes.get("n_experts_active")
    if experts and used is not None and not 1 <= used <= experts:
        raise LoadError(f"{path / CONFIG}: a token cannot go to {used} of {experts} experts.")
    windowed = any("full" not in str(kind) for kind in getattr(config, "layer_types", None) or ())
    for name in WINDOWS:
        value = getattr(config, name, None)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (value < 0 or windowed and value == 0)
        ):
            raise LoadError(
                f"{path / CONFIG}: {name} is {value}; a window has at least 1 position, and null is for none."
            )


def _fault(name: str, value: Any, most: int | None, rotation: bool) -> str:
    """What a field must be, where it is not that; else empty. most: what a size may be at most,
    None for what is no size.
    """
    if isinstance(value, list):
        if any(isinstance(one, int) and abs(one) > IN_LISTS for one in value):
            return f"no whole number in a list may be above {IN_LISTS:,}"
        return next((told for one in value if (told := _fault(name, one, most, rotation))), "")
    if isinstance(value, bool):
        return "it must be a whole number" if most else ""
    if isinstance(value, str):
        numeric = most or any(form.search(name) for form in (EPSILON, POSITIVE, SHARE))
        return "it must be a number" if numeric else ""
    if not isinstance(value, int | float):
        return ""
    return next((told for wrong, told in _rules(name, value, most, rotation) if wrong), "")


def _rules(
    name: str, value: int | float, most: int | None, rotation: bool
) -> Iterator[tuple[Any, str]]:
    """(whether a number breaks a rule, the rule), the first that it breaks is told."""
    whole = isinstance(value, int)
    counted = whole and not NOT_COUNTED.search(name)
    base = POSITIVE.search(name) or (rotation and FACTOR.search(name))
    yield (
        most and not (whole and 1 <= value <= most),
        f"it must be a whole number from 1 to {most or 0:,}",
    )
    yield counted and abs(value) > WHOLE, f"no whole number may be above {WHOLE:,}"
    yield counted and value > COUNT and COUNTS.search(name), f"no model has more than {COUNT:,}"
    yield EPSILON.search(name) and not 0 <= value < math.inf, "it must be finite and not negative"
    yield base and not 0 < value < math.inf, "it must be finite and above 0"
    yield SHARE.search(name) and not 0 <= value <= 1, "it must be a share, from 0 to 1"


def _fields(part: Mapping[str, Any], place: str) -> Iterator[tuple[str, str, Any]]:
    """(place, name, value) of every field, those of inner configurations too; lists within lists as
    one list.
    """
    for name, value in part.items():
        here = f"{place}.{name}" if place else name
        if isinstance(value, dict):
            yield from _fields(value, here)
        else:
            yield here, name, list(_flat(value)) if isinstance(value, list) else value


def _flat(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        yield value
        return
    for one in value:
        yield from _flat(one)


def _kinds(raw: Mapping[str, Any]) -> set[str]:
    inner = (value for value in raw.values() if isinstance(value, dict))
    return {str(part.get("model_type")) for part in (raw, *inner)}


def _sizes(kind: str) -> dict[str, int]:
    """What the sizes of a model_type are called, by all architectures and by its own class, and
    what each may be at most.
    """
    own = CONFIG_MAPPING[kind].attribute_map if kind in CONFIG_MAPPING else {}
    most = {"n_layers": LAYERS, "context_length": POSITIONS, "n_heads": COUNT, "n_kv_heads": COUNT}
    return {
        spelled: most.get(field, WHOLE)
        for field in SIZES
        for name in NAMES[field]
        for spelled in (name, own.get(name, name))
    }


def _check_rope_type(path: Path, place: str, value: Any) -> None:
    if value is not None and value not in (*ROPE_TYPES, *OWN_ROPE_TYPES):
        raise LoadError(
            f"{path / CONFIG}: {place} is {str(value)[:40]!r}; there are: {', '.join(ROPE_TYPES)}.{nearest(value, ROPE_TYPES)}"
        )
