"""Memory: flat over many checkpoints in one process, and the weights once while one is loaded and
scored.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig

from tests.shelf import word_tokenizer
from transect.jobs.__main__ import ALLOCATOR
from transect.store.project import SHIPPED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"),
]
# MB of activations of one batch: 16 x 39 positions x (20,000 logits as float32, their copy for the
# softmax, 12 x 768 hidden)
BATCH = 16 * 39 * (2 * 20_000 + 12 * 768) * 4 / 2**20


def told(*arguments: str, **environment: str):
    """What tests/lm/loads.py tells."""
    command = [sys.executable, "-m", "tests.lm.loads", *arguments]
    ended = subprocess.run(
        command,
        cwd=SHIPPED,
        env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def saved(path: Path, config, dtype: torch.dtype) -> str:
    """A random model of this configuration, stored in this dtype."""
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("environment", [{}, ALLOCATOR], ids=["as it comes", "as in a job"])
def test_memory_is_flat_over_fifty_checkpoints(
    tmp_path: Path, environment: dict[str, str], capsys
) -> None:
    """50 loads of 38 MB (float32, mapped) and 19 MB (float16, widened to 37) in turn: less than 3
    MB more after the tenth.
    """
    size = {
        "vocab_size": 4000,
        "hidden_size": 320,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
    }
    paths = [
        saved(tmp_path / "a", GPTNeoXConfig(intermediate_size=1280, **size), torch.float32),
        saved(tmp_path / "b", LlamaConfig(intermediate_size=800, **size), torch.float16),
    ]
    found = told("flat", *paths, **environment)
    with capsys.disabled():
        print(
            f"\nresident MB after 1, 10, 20 ... 50 loads: {[round(found[i], 1) for i in (0, 9, 19, 29, 39, 49)]}"
        )
    assert max(found[10:]) - found[9] < 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_peak_is_the_weights_once_and_one_batch(tmp_path: Path, dtype: torch.dtype, capsys) -> None:
    """A model of 442 MB in float32, stored in either dtype: peak below 1.3 x weights + one batch,
    fingerprint included.
    """
    config = GPTNeoXConfig(
        vocab_size=20_000,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
    )
    found = told("peak", saved(tmp_path / "large", config, dtype), str(tmp_path))
    with capsys.disabled():
        print(
            f"\nMB at most, above the imports: { ({k: round(v) for k, v in found.items()}) }; one batch {BATCH:.0f}"
        )
    assert found["weights"] == pytest.approx(441.7, abs=0.1)
    assert found["loaded"] < 1.15 * found["weights"]
    assert found["scored"] < 1.3 * found["weights"] + BATCH
