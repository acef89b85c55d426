"""A network is built only as far as its weight files can fill it.

A configuration of a few hundred bytes may ask for a billion layers, or for a table of a billion
rows. So the network is built first without numbers (on the meta device), and building ends as soon
as it registers more tensors or more numbers than the headers of the files allow. Allowed are
several times what they hold: tied matrices are registered once for each place before they are one,
and what is packed (quantized) has fewer numbers in the file. What is missing in the end, or of
another shape, loading itself tells by name.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules import module as hooks
from transformers import PreTrainedModel

from transect.errors import InputError, LoadError, NotApplicable
from transect.lm.checkpoint.configuring import refusal
from transect.store.model_files.folder import CONFIG
from transect.store.model_files.headers import Tensor, numbers

PLACES = (
    4  # an encoder-decoder registers one embedding as shared, encoder's, decoder's and unembedding
)
SPARE_TENSORS, SPARE_NUMBERS = 5_000, 2**22
MODULES = 10  # to a tensor, at most: activations, dropouts and containers have none
PACKED = 16  # numbers in one that is stored, at most: 2 bits in 32
BUFFERS = 2**30  # bytes of masks and tables that are made anew, beside as many as the weights have


class TooLarge(LoadError):
    """The configuration asks for more than the weight files hold."""


def built(
    path: Path,
    raw: Mapping[str, Any],
    config: Any,
    maker: Any,
    held: Mapping[str, Tensor],
    *,
    quantized: bool = False,
    own_code: bool = False,
) -> PreTrainedModel:
    """The network of a configuration, without its numbers. maker: an Auto class; raw: config.json
    as it was read.

    Raises LoadError for one that the tensors cannot fill, or that transformers cannot build.
    """
    limits, told = _limits(held, PACKED if quantized else 1)

    def make(config: Any) -> PreTrainedModel:
        with _counted(path, limits, told), torch.device("meta"):
            network: PreTrainedModel = maker.from_config(config, trust_remote_code=own_code)
        return network

    try:
        return make(config)
    except (LoadError, NotApplicable, InputError):
        raise
    except Exception as error:  # a configuration from outside may be wrong in any way
        raise refusal(path, raw, error, make) from error


def _limits(held: Mapping[str, Tensor], packed: int) -> tuple[dict[str, int], str]:
    """What may be registered, and a clause on what the files hold. packed: numbers in one that is
    stored, at most.
    """
    stored = numbers(held)
    limits = {
        "tensors": PLACES * len(held) + SPARE_TENSORS,
        "modules": MODULES * (PLACES * len(held) + SPARE_TENSORS),
        "numbers": PLACES * stored * packed + SPARE_NUMBERS,
        "bytes of buffers": PLACES * stored * packed + BUFFERS,
    }
    return limits, f"{len(held):,} tensors of {stored:,} numbers"


@contextmanager
def _counted(path: Path, limits: dict[str, int], held: str) -> Iterator[None]:
    """Raise TooLarge within, as soon as more is registered than the limits allow."""
    seen = dict.fromkeys(limits, 0)

    def count(what: str, n: int) -> None:
        seen[what] += n
        if seen[what] > limits[what]:
            raise TooLarge(
                f"{path / CONFIG}: the configuration is not that of the weights: it asks for more than {limits[what]:,} {what}, and the "
                f"weight files hold {held}."
            )

    def parameter(module: Any, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            count("tensors", 1)
            count("numbers", value.numel())

    def buffer(module: Any, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            count("bytes of buffers", value.numel() * value.element_size())

    handles = [
        hooks.register_module_parameter_registration_hook(parameter),
        hooks.register_module_buffer_registration_hook(buffer),
        hooks.register_module_module_registration_hook(
            lambda module, name, inner: count("modules", 1)
        ),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
