"""A directory in hub layout -> Model. Weights are data from outside: safetensors only, none of
their code unless allowed, no net.

Memory: weights that are wanted in the dtype in which they are stored are mapped from the file, not
copied; others are read tensor by tensor and converted one at a time, so that loading needs the
weights once and one tensor more. What an earlier model has left is given back to the system before
the next one is read, so that a process may load any number of checkpoints one after another.
"""

import ctypes
import gc
import os
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    GenerationConfig,
)

import transect.lm.lstm  # noqa: F401  makes the architecture known to the Auto classes
from transect.errors import (
    InputError,
    LoadError,
    NotApplicable,
    ResourceError,
    UnavailableError,
    nearest,
    panics_are_errors,
)
from transect.lm.checkpoint import foreign_code
from transect.lm.checkpoint.configuring import check_generation, read_config
from transect.lm.checkpoint.devices import check_device, placement
from transect.lm.checkpoint.extent import built
from transect.lm.checkpoint.objectives import Objective, reads_more
from transect.lm.checkpoint.storage import check_storage, named_quantizer
from transect.lm.checkpoint.surplus import check_report, check_tying, quiet, refuse_adapter
from transect.lm.memory import out_of_memory
from transect.lm.model import Model
from transect.lm.network import BUDGET, NetworkModel
from transect.lm.ngram import NgramModel
from transect.lm.text.tokenizer import read_tokenizer
from transect.store.model_files.folder import (
    check_files,
    check_settings,
    configuration,
    places,
    weight_files,
)
from transect.store.model_files.headers import numbers, tensors

# transformers converts in several threads at once, each with a heap of its own that only grows: 60
# MB over 50 checkpoints
os.environ.setdefault("HF_DEACTIVATE_ASYNC_LOAD", "1")

ENGINE_PART = "loading"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
LARGE = 4 * 2**20  # bytes of weights from which it is worth a tenth of a second to tidy up first
PROBED = 5  # tokens of the text on which a model that reads more than text is tried


@panics_are_errors()
def load(
    path: Path | str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    budget: int = BUDGET,
    memory: Mapping[str | int, Any] | None = None,
    remote_code: bool = False,
) -> Model:
    """The model in a directory of config.json, a tokenizer and *.safetensors (or n-gram tables),
    ready to be measured.

    device: see lm/checkpoint/devices.py. budget: bytes of activations per batch. memory: with device auto,
    device -> how much of it the weights may take. remote_code: whether Python files of the
    directory may be run. TF32 is switched off for the process; the caller sets the number of
    threads. Raises InputError for an unknown dtype or device, UnavailableError for a device that is
    not there or code that is not allowed, LoadError when the directory does not hold one whole
    model, ResourceError when memory gives out.
    """
    path = Path(path)
    if dtype not in DTYPES:
        raise InputError(
            f"dtype: unknown {dtype!r}; there are: {', '.join(DTYPES)}.{nearest(dtype, DTYPES)}"
        )
    check_device(device)
    check_files(path)
    refuse_adapter(path)
    config = configuration(path)
    check_settings(path)
    own_code = _own_code(path, config, remote_code)
    tokenizer = read_tokenizer(path)
    if config.get("model_type") == "ngram":
        return NgramModel(path, tokenizer)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    transformers.utils.logging.disable_progress_bar()
    weights = weight_files(path)
    if sum(file.stat().st_size for file in weights) >= LARGE:
        give_back()
    network, objective, headless = _network(
        path, config, weights, DTYPES[dtype], device, memory, own_code
    )
    model = NetworkModel(path, tokenizer, weights, network, objective, budget, headless=headless)
    model._own_code = own_code
    return model


def _own_code(path: Path, config: Mapping[str, Any], allowed: bool) -> bool:
    """Whether the directory's own Python files compute the model. transformers' own class goes
    before code that is not allowed.
    """
    references = places(config.get("auto_map") or {})
    if not references or not allowed and config.get("model_type") in (*CONFIG_MAPPING, "ngram"):
        return False
    foreign = [r for r in references if "--" in r]
    if foreign:
        raise LoadError(
            f"{path}: its code lies in another repository ({foreign[0].split('--')[0]}), which is never run."
        )
    if not allowed:
        files = sorted({f"{r.split('.')[0]}.py" for r in references})
        raise UnavailableError(
            f"{path}: a {config.get('model_type')} model is computed by code of its own ({', '.join(files)}), which is run only where "
            "its registry entry says `remote_code: true` and the flag --trust-remote-code is given."
        )
    return True


def _network(
    path: Path,
    raw: Mapping[str, Any],
    weights: list[Path],
    dtype: torch.dtype,
    device: str,
    memory: Any,
    own_code: bool,
) -> tuple[Any, Objective, bool]:
    """The network, its objective, and whether the files lack its language-model head."""
    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": own_code}
    config, objective, maker = read_config(path, raw, own_code)
    check_generation(path)
    held = tensors(weights)
    quantizer = named_quantizer(path, raw, held)
    kind = type(built(path, raw, config, maker, held, quantized=bool(quantizer), own_code=own_code))
    try:
        place = placement(device, numbers(held) * dtype.itemsize, memory)
        given |= {
            "dtype": dtype,
            "output_loading_info": True,
            "ignore_mismatched_sizes": True,
        }  # told by name afterwards
        with quiet():
            if not place and {tensor.dtype for tensor in held.values()} != {dtype}:
                network, report = _converted(path, weights, config, kind, given)
            else:
                network, report = maker.from_pretrained(
                    path, config=config, use_safetensors=True, **given, **place
                )
        if "offload_folder" in place:
            weakref.finalize(network, shutil.rmtree, place["offload_folder"], True)
            _tell_device(network)
    except (InputError, LoadError, NotApplicable):
        raise
    except (
        Exception
    ) as error:  # anything may be wrong with a directory from outside; the message keeps what
        if out_of_memory(error):
            raise ResourceError(f"{path}: out of memory while loading ({error}).") from error
        raise LoadError(f"{path}: cannot be loaded ({foreign_code.told(error)}).") from error
    if not quantizer or getattr(network, "hf_quantizer", None) is None:
        check_storage(path, network, held, report["unexpected_keys"], quantizer)
    check_tying(path, network, held)
    files = [safe_open(file, framework="pt") for file in weights]

    def tensor(name: str) -> torch.Tensor | None:
        return next((file.get_tensor(name) for file in files if name in file.keys()), None)

    headless = check_report(path, network, report, tensor)
    return (text_tower(network) if reads_more(config) else network), objective, headless


def text_tower(network: Any) -> Any:
    """The causal language model within a model that also reads images: its decoder and unembedding,
    in the class that has only these.

    That the whole model computes the same of a text is tried on a short one. Raises NotApplicable
    where it does not (some read a prompt in both directions).
    """
    config = network.config.get_text_config()
    with torch.device("meta"):
        text = AutoModelForCausalLM.from_config(config)
    decoder, unembedding = network.get_decoder(), network.get_output_embeddings()
    if type(decoder) is not type(text.base_model) or unembedding is None:
        raise NotApplicable(
            f"the text part of {type(network).__name__} is no {type(text).__name__}"
        )
    setattr(text, text.base_model_prefix, decoder)
    text.set_output_embeddings(unembedding)
    text.generation_config = network.generation_config
    special = {
        v for k, v in network.config.to_dict().items() if k.endswith(("_token_id", "_token_index"))
    }
    ids = torch.tensor(
        [[i for i in range(config.vocab_size) if i not in special][:PROBED]], device=text.device
    )
    with torch.no_grad():
        both = [
            part.eval()(input_ids=ids, use_cache=False).logits.float() for part in (network, text)
        ]
    if not torch.allclose(both[0], both[1], atol=1e-3):
        told = f"{type(network).__name__} computes a text without an image otherwise than its {type(text).__name__} does"
        raise NotApplicable(told)
    return text


class _Stored:
    """One tensor of a file, read (not mapped: converted pages would stay in memory) when it is
    asked for.
    """

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name = file, name

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self.file.get_tensor(self.name)[index]

    def get_shape(self) -> list[int]:
        return self.file.get_slice(self.name).get_shape()

    def get_dtype(self) -> str:
        return self.file.get_slice(self.name).get_dtype()


def _converted(
    path: Path, weights: list[Path], config: Any, kind: Any, given: dict[str, Any]
) -> Any:
    """`from_pretrained` on the CPU into another dtype than the stored one, without holding the
    weights in both.
    """
    files = [safe_open(file, framework="pt", backend="pread") for file in weights]
    state = {name: _Stored(file, name) for file in files for name in file.keys()}
    options = {k: v for k, v in given.items() if k != "trust_remote_code"}
    network, report = kind.from_pretrained(None, config=config, state_dict=state, **options)
    if (path / "generation_config.json").is_file():
        network.generation_config = GenerationConfig.from_pretrained(path, local_files_only=True)
    return network, report


def give_back() -> None:
    """Free what earlier models left: modules and hooks that refer to each other, and the C
    library's empty blocks.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        return


def _tell_device(network: Any) -> None:
    """Have a spread network name the device that its inputs go to: its first weights may lie on the
    disk, which is no such place.
    """
    if network.device.type == "meta":
        places = [p for p in network.hf_device_map.values() if p != "disk"]
        device = torch.device(places[0] if places else "cpu")
        network.__class__ = type(
            type(network).__name__, (type(network),), {"device": property(lambda _: device)}
        )
