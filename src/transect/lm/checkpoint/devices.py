"""Where a network's weights lie: on one device, or spread over several where it does not fit one.

A device is cpu, the machine's accelerator (cuda, cuda:1, mps ...), or auto: the first accelerator
if the weights fit on it, else the CPU if they fit there, else spread by accelerate over all
accelerators, the CPU's memory and the disk, in that order. "Fit" counts the memory that a device
has, never what happens to be free: the same machine always places a model alike.
"""

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import torch

from transect.errors import InputError, UnavailableError, nearest

ROOM = 0.8  # of a device's memory that weights may take; the rest is for activations


def check_device(device: str) -> None:
    """Raise InputError for what is no device, UnavailableError for one that this machine does not
    have.
    """
    known = devices()
    if device.startswith("mps"):
        raise UnavailableError(
            f"device: {device!r} computes no float64, in which sums are kept here; use cpu."
        )
    if device in (*known, "auto"):
        return
    try:
        torch.device(device)
    except RuntimeError:
        allowed = [*known, "auto"]
        raise InputError(
            f"device: {device!r} is no device; there are: {', '.join(allowed)}.{nearest(device, allowed)}"
        ) from None
    raise UnavailableError(
        f"device: {device!r} is not on this machine; there are: {', '.join(known)} (or auto)."
    )


def devices() -> list[str]:
    """The devices of this machine by the names that torch gives them; cpu is the first."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    accelerator = torch.accelerator.current_accelerator()
    kind = accelerator.type if accelerator else "cuda"
    if kind == "mps":  # see check_device
        return ["cpu"]
    return ["cpu", kind, *(f"{kind}:{i}" for i in range(torch.accelerator.device_count()))]


def placement(
    device: str, weight_bytes: int, memory: Mapping[str | int, Any] | None = None
) -> dict[str, Any]:
    """What `from_pretrained` is told of the place: device_map and, where it is spread, max_memory
    and offload_folder.

    weight_bytes: of all weights in the dtype in which they are wanted. memory: device -> how much
    of it may be used, as accelerate reads it ("2GB", bytes; cpu and the accelerators' numbers);
    given only with device auto, and then always obeyed.
    """
    check_device(device)
    if memory is not None and device != "auto":
        raise InputError(f"memory: a limit for each device goes with device auto, not {device!r}.")
    if device == "cpu":
        return {}
    if device != "auto":
        return {"device_map": {"": device}}
    if memory is None:
        accelerator = devices()[1:2]
        if accelerator and weight_bytes <= ROOM * _accelerator_bytes(accelerator[0]):
            return {"device_map": {"": accelerator[0]}}
        if not accelerator and weight_bytes <= ROOM * os.sysconf("SC_PAGE_SIZE") * os.sysconf(
            "SC_PHYS_PAGES"
        ):
            return {}
    limits = {} if memory is None else {"max_memory": dict(memory)}
    return {
        "device_map": "auto",
        "offload_folder": tempfile.mkdtemp(prefix="transect-offload-"),
        **limits,
    }


def _accelerator_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.startswith("xpu"):
        return int(torch.xpu.get_device_properties(device).total_memory)
    return 0  # unknown, so accelerate decides
