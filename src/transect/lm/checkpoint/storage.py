"""Weights that are stored as codes (whole numbers, 8 bits and fewer) mean something only with their
scales, to the quantizer that wrote them.

Read as they stand they are other numbers than the model's. So a configuration names a quantizer
that transformers has, or the files hold floats of 16 bits and more, and no part of a quantizer's:
neither codes nor scales.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, AutoHfQuantizer

from transect.errors import LoadError, nearest
from transect.lm.checkpoint.surplus import BUFFERS, quiet
from transect.store.model_files.folder import CONFIG
from transect.store.model_files.headers import Tensor

FIELDS = ("quantization_config", "compression_config")
ONLINE = ("bitnet",)  # quantizes numbers in every forward
PARTS = re.compile(
    r"(^|[._])(qweight|qzeros|g_idx|qscales?|scales?|weight_scale\w*|scale_inv|input_scale|weight_packed|weight_shape|SCB|weight_format|"
    r"absmax|quant_map|nested_absmax|nested_quant_map|quant_state\w*|bitsandbytes\w*|zero_points?|codebooks?|codes)\Z"
)


def named_quantizer(path: Path, raw: Mapping[str, Any], held: Mapping[str, Tensor]) -> str:
    """The quantizer that a configuration names; empty where it names none.

    Raises LoadError for one that transformers does not have, or without a name, and where the
    weight files hold no codes that it could read.
    """
    given = [
        part[name]
        for part in (raw, raw.get("text_config") or {})
        for name in FIELDS
        if part.get(name) is not None
    ]
    for settings in given:
        if not isinstance(settings, dict):
            raise LoadError(
                f"{path / CONFIG}: quantization_config is {str(settings)[:40]!r}; it must be an object."
            )
        method = settings.get("quant_method")
        try:
            with quiet():
                known = AutoHfQuantizer.supports_quant_method(settings)
        except (ValueError, TypeError, AttributeError):
            known = False
        if not known:
            raise LoadError(
                f"{path / CONFIG}: quantization_config has the quant_method {method!r}, which transformers does not have, so nothing "
                f"says what the stored weights mean; there are: {', '.join(AUTO_QUANTIZER_MAPPING)}.{nearest(method, AUTO_QUANTIZER_MAPPING)}"
            )
        if method not in ONLINE and not any(tensor.dtype is None for tensor in held.values()):
            raise LoadError(
                f"{path / CONFIG}: quantization_config has the quant_method {method!r}, and the weight files hold no codes, only numbers: "
                "config.json is not that of these weights."
            )
    return str(given[0].get("quant_method") or "bitsandbytes") if given else ""


def check_storage(
    path: Path,
    network: PreTrainedModel,
    held: Mapping[str, Tensor],
    unused: Collection[str],
    quantizer: str = "",
) -> None:
    """Raise LoadError for codes among the weights of a network that no quantizer read.

    unused: names that the network does not use. quantizer: the one that config.json names, where
    its codes were made numbers while they were loaded; what it read has its scales beside it, and
    they were used.
    """
    why = (
        f"the quantizer {quantizer!r} did not read them"
        if quantizer
        else "config.json names no quantizer"
    )
    parts = sorted(name for name in unused if PARTS.search(name))
    if parts:
        raise LoadError(
            f"{path}: the weight files hold parts of a quantizer, e.g. {', '.join(parts[:3])}, and {why}: the weights beside them are codes, "
            "not numbers."
        )
    scaled = {_place(name) for name in held if PARTS.search(name)} if quantizer else set()
    used = [name for name, tensor in held.items() if tensor.dtype is None and name not in unused]
    coded = sorted(
        n for n in used if _place(n) not in scaled and not _is_buffer(network, n, held[n].shape)
    )
    if coded:
        kinds = ", ".join(sorted({held[name].stored for name in coded}))
        raise LoadError(
            f"{path}: {len(coded)} weights are stored as {kinds}, e.g. {coded[0]}, and {why}: they are codes, not numbers."
        )


def _is_buffer(network: PreTrainedModel, name: str, shape: tuple[int, ...]) -> bool:
    """Whether a stored tensor is a mask or a table of places, which is no weight and made anew."""
    ignored = getattr(network, "_keys_to_ignore_on_load_unexpected", None) or ()
    known = (
        BUFFERS.search(name)
        or name in dict(network.named_buffers())
        or shape[:2] == (1, 1)
        and len(shape) == 4
    )
    return bool(known) or any(re.search(pattern, name) for pattern in ignored)


def _place(name: str) -> str:
    """The module that a tensor belongs to."""
    return name.rpartition(".")[0]
