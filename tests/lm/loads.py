"""A process of its own that loads models and tells its memory as JSON: ``python -m tests.lm.loads
flat|peak DIRECTORY ...``.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from tests.shelf import random_sequences, tiny_model
from transect.lm import load
from transect.lm.loading import give_back

MB = 2**20


def resident() -> float:
    """MB of this process that lie in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB


def highest() -> float:
    """MB that lay in memory at most, so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def flat(paths: list[Path], n: int = 50) -> list[float]:
    """Resident MB after each of n models was loaded, measured (scores, attention, fingerprint), let
    go and tidied up after.
    """
    found = []
    for i in range(n):
        model = load(paths[i % len(paths)])
        ids = random_sequences(32, model.vocab_size, longest=40)
        model.token_logprobs(ids)
        model.attention(
            np.array([row[:5] for row in ids if len(row) >= 5]),
            lambda pattern: pattern.mean((-1, -2)),
        )
        assert model.fingerprint
        del model
        give_back()  # as the next load does
        found.append(resident())
    return found


def peak(path: Path, scratch: Path) -> dict[str, float]:
    """MB: weights, what loading and fingerprint took at most, and loading and one batch together."""
    load(tiny_model(scratch, "gpt_neox")).token_logprobs(
        [[1, 2, 3]]
    )  # what torch loads when it is first used
    give_back()
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    model = load(path)
    assert model.fingerprint
    weights = sum(p.numel() * p.element_size() for p in model.network.parameters()) / MB
    loaded = highest() - before
    model.token_logprobs(
        random_sequences(16, model.vocab_size, shortest=40, longest=40), batch_size=16
    )
    return {"weights": weights, "loaded": loaded, "scored": highest() - before}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folders = [Path(name) for name in sys.argv[2:]]
    print(json.dumps(flat(folders) if sys.argv[1] == "flat" else peak(*folders)))
