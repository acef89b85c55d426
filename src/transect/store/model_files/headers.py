"""What weight files hold, from their headers: the names, shapes and types of the tensors, without a
number of them being read.

A safetensors file is 8 bytes (the header's length), a header (JSON: name -> dtype, shape,
data_offsets), and the numbers. The library checks that offsets fit shapes and fill the file; that a
name stands once is checked here, in a file and between files: the last one would count, in silence.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from transect.errors import LoadError, ResourceError

FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


class Tensor(NamedTuple):
    """Shape, and the type as the file names it ("F32", "I8", ...)."""

    shape: tuple[int, ...]
    stored: str

    @property
    def dtype(self) -> torch.dtype | None:
        """None: not a float that numbers are stored in as they are."""
        return FLOATS.get(self.stored)


def tensors(weights: list[Path]) -> dict[str, Tensor]:
    """Name -> what the files hold of it. Raises LoadError for a file that is none of safetensors,
    or not all of it, and for a name twice.
    """
    found: dict[str, Tensor] = {}
    for file in weights:
        held = _header(file)
        if twice := sorted(held.keys() & found.keys()):
            raise LoadError(
                f"{file}: {twice[0]!r} stands in another of the weight files, too; which one counts is not known."
            )
        found |= held
    return found


def numbers(held: Mapping[str, Tensor]) -> int:
    """How many numbers the tensors are."""
    return sum(math.prod(tensor.shape) for tensor in held.values())


def _header(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt"):  # checks shapes, offsets and the file's length
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length), object_pairs_hook=_once)
    except SafetensorError as error:
        raise LoadError(
            f"{file}: this is no safetensors file, or not all of it ({error})."
        ) from None
    except _Twice as name:
        raise LoadError(
            f"{file}: {str(name)!r} stands twice in the header; which one counts is not known."
        ) from None
    except MemoryError:
        raise ResourceError(f"{file}: memory gave out while its header was read.") from None
    except OSError as error:
        raise LoadError(f"{file}: this cannot be read ({error.strerror or error}).") from None
    header.pop("__metadata__", None)
    return {name: Tensor(tuple(entry["shape"]), entry["dtype"]) for name, entry in header.items()}


class _Twice(Exception):
    """A name that an object of JSON has twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found
