"""DataDecide: 1,100 runs by rule, and how far each seed was trained (allenai/DataDecide
checkpoints/weka_paths.jsonl).
"""

from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from transect.registry.run import Run
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED

# published revisions of a run with the default seed; 13-14, 25-27, 32-33, 38-39 and 51-53 at some
# sizes, where the rule has the common ones
CHECKPOINTS = {
    "4m": 6,
    "6m": 9,
    "8m": 12,
    "10m": 14,
    "14m": 19,
    "16m": 21,
    "20m": 13,
    "60m": 25,
    "90m": 25,
    "150m": 32,
    "300m": 38,
    "530m": 48,
    "750m": 52,
    "1b": 29,
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {
        run.id: run for run in reading.read(SHIPPED / "model_registry" / "datadecide.yaml").runs
    }


def test_the_grid(runs):
    """25 corpora x 14 sizes in 350 repositories; three seeds each, five at 1B."""
    assert len(runs) == 1100 and len({run.get("hub_id") for run in runs.values()}) == 350
    assert Counter(run.get("seed") for run in runs.values()) == {
        6198: 350,
        14: 350,
        15: 350,
        4: 25,
        5: 25,
    }
    assert len({(run.get("corpus"), run.get("corpus_variant")) for run in runs.values()}) == 25


def test_revisions(runs):
    """The README's example of a revision, and the number of checkpoints of each size."""
    run = runs["datadecide-dolma1_7-1b-default"]
    assert run.get("hub_id") == "allenai/DataDecide-dolma1_7-1B"
    assert run.checkpoints[-1].revision == "step69369-seed-default"
    found = {
        label: len(runs[f"datadecide-c4-{label}-default"].checkpoints) for label in CHECKPOINTS
    }
    assert found == CHECKPOINTS


def test_seeds_end_where_they_were_stopped(runs):
    """The auxiliary seeds stop early at 530M and 750M, have an unknown length at 150M and 300M, and
    match the default up to 90M.
    """
    assert (
        runs["datadecide-c4-530m-small-aux-2"].checkpoints[-1].revision
        == "step51411-seed-small-aux-2"
    )
    assert runs["datadecide-falcon-750m-small-aux-3"].checkpoints[-1].step == 28257
    assert runs["datadecide-c4-300m-small-aux-2"].get("train_tokens") == "unknown"
    assert runs["datadecide-c4-300m-small-aux-2"].checkpoints[-1].step == 45000
    assert (
        runs["datadecide-c4-90m-small-aux-2"].rule.steps
        == runs["datadecide-c4-90m-default"].rule.steps
    )
    assert runs["datadecide-c4-1b-large-aux-2"].checkpoints[-1].tokens_seen == 100_015_669_248


def test_the_last_checkpoint_has_seen_all_tokens(runs):
    """Steps times tokens per step are the run's tokens, wherever they are known."""
    known = [run for run in runs.values() if run.get("train_tokens") != "unknown"]
    assert len(known) == 1000
    assert all(run.checkpoints[-1].tokens_seen == run.get("train_tokens") for run in known)


def test_counts_of_the_shape(runs):
    """A Llama of the same shape has the stated count; without the input embedding it is the
    authors' (ladder.py).
    """
    for label in CHECKPOINTS:
        run = runs[f"datadecide-c4-{label}-default"]
        config = LlamaConfig(
            hidden_size=run.get("d_model"),
            num_hidden_layers=run.get("n_layers"),
            num_attention_heads=run.get("n_heads"),
            intermediate_size=run.get("d_ff"),
            vocab_size=run.get("vocab_size"),
        )
        with torch.device("meta"):
            total = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        assert run.get("params_total") == total
        assert run.get("params_stated") == total - run.get("vocab_size") * run.get("d_model")
        assert run.get("params_non_embedding") == total - 2 * run.get("vocab_size") * run.get(
            "d_model"
        )
