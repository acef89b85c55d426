"""Suites with a few checkpoints or only their last weights: what their sources state, run by run."""

import pytest

from transect.registry import suites
from transect.store.project import SHIPPED, Project

RUNS = suites.load(Project(SHIPPED)).runs
# runs that the authors released, as the sources of each suite file list them
RELEASED = {
    "albeto": 5,
    "beto": 2,
    "bloom": 6,
    "cerebras_gpt": 7,
    "eurollm": 5,
    "gemma2": 6,
    "gpt2": 4,
    "gpt_neo": 3,
    "llama3_2": 4,
    "mamba": 6,
    "mistral_gpt2": 10,
    "opt": 8,
    "qwen2_5": 14,
    "rwkv4_pile": 6,
    "salamandra": 4,
    "smollm2": 6,
    "tinystories": 7,
    "xglm": 5,
}


@pytest.mark.parametrize("suite", RELEASED)
def test_every_released_run_is_entered(suite):
    """The number of runs of each suite."""
    assert sum(run.suite == suite for run in RUNS.values()) == RELEASED[suite]


def test_names_on_the_hub_are_entered_once():
    """No two runs without revisions of their own load the same weights."""
    mine = [run for run in RUNS.values() if run.suite in RELEASED]
    assert len({run.get("hub_id") for run in mine}) == len(mine)


def ramped_tokens(step: int, batch: int, increment: int) -> int:
    """Tokens after `step` by Megatron's --rampup-batch-size 192 `increment` 9765625
    (tr11-176B-ml.slurm and its siblings).
    """
    seen, sequences = 0, 9_765_625 / ((batch - 192) / increment)
    for done in range(step):
        if seen > 9_765_625:
            return (seen + (step - done) * batch) * 2048
        seen += min(batch, 192 + int(seen / sequences) * increment)
    return seen * 2048


@pytest.mark.parametrize(
    ("run", "batch", "increment"),
    [
        ("bloom-560m", 256, 32),
        ("bloom-1b1", 256, 16),
        ("bloom-7b1", 512, 32),
        ("bloom-176b", 2048, 16),
    ],
)
def test_bloom_tokens_follow_the_growing_batch(run, batch, increment):
    """Tokens of each checkpoint, counted step by step; those of the last weights within a step of
    what is stated.
    """
    rule = RUNS[run].rule
    counted = [ramped_tokens(step or 0, batch, increment) for step in rule.steps]
    assert list(rule.tokens[:-1]) == counted[:-1]
    assert rule.tokens[-1] == pytest.approx(counted[-1], abs=2048 * batch)
    assert rule.tokens[-1] == pytest.approx(RUNS[run].get("train_tokens"), rel=0.002)


def test_bloom_revisions():
    """Tags that the card of bloom-intermediate names, and those that users report to be wrong (see
    the suite file).
    """
    assert "global_step93000" in [c.revision for c in RUNS["bloom-176b"].checkpoints]
    assert set(RUNS["bloom-560m"].excluded) == {"global_step500000", "global_step600000"}
    assert set(RUNS["bloom-7b1"].excluded) == {"global_step100000", "global_step200000"}
    assert [c.revision for c in RUNS["bloom-7b1"].checkpoints] == ["main"]


def test_mistral_checkpoints():
    """The schedule in stanford-crfm/mistral's README ("about 600"), 512 x 1,024 tokens a step;
    arwen has no history (#199).
    """
    run = RUNS["alias-gpt2-small-x21"]
    assert len(run.checkpoints) == 609
    assert {c.step for c in run.checkpoints} > {
        0,
        10,
        100,
        150,
        1950,
        2000,
        2100,
        19900,
        20000,
        21000,
        399000,
    }
    assert run.checkpoints[-1].tokens_seen == run.get("train_tokens") == 209_715_200_000
    assert [c.revision for c in RUNS["arwen-gpt2-medium-x21"].checkpoints] == ["checkpoint-400000"]
    assert {RUNS[r].get("seed") for r in RUNS if RUNS[r].suite == "mistral_gpt2"} == {
        21,
        49,
        81,
        343,
        777,
    }


def test_cerebras_tokens_are_steps_times_batch():
    """About 20 tokens per parameter, from the steps and batches of the model zoo's configurations."""
    for run in (r for r in RUNS.values() if r.suite == "cerebras_gpt"):
        if run.get("batch_tokens"):
            assert run.get("train_tokens") == run.get("max_steps") * run.get("batch_tokens")
        assert run.get("train_tokens") / run.get("params_total") == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(
    ("run", "first", "last"),
    [
        (
            "bloom-560m",
            "bigscience/bloom-560m-intermediate@global_step1000",
            "bigscience/bloom-560m@main",
        ),
        (
            "smollm2-135m",
            "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints@step-1200000",
            "HuggingFaceTB/SmolLM2-135M@main",
        ),
        (
            "multiberts-0",
            "google/multiberts-seed_0-step_0k@main",
            "google/multiberts-seed_0-step_2000k@main",
        ),
    ],
)
def test_one_training_in_several_repositories(run, first, last):
    """Checkpoints in repositories of their own are points of the same run, not another run (names:
    the suites' sources).
    """
    points = RUNS[run].checkpoints
    assert [f"{p.hub_id}@{p.hub_revision}" for p in (points[0], points[-1])] == [first, last]


def test_closed_models_say_what_is_unknown():
    """No weights, no count but GPT-3's, nothing that claims to have been read."""
    closed = [run for run in RUNS.values() if run.suite == "closed"]
    assert {run.get("access") for run in closed} == {"api", "closed"}
    assert [run.id for run in closed if isinstance(run.get("params_total"), int)] == [
        "gpt-3-davinci"
    ]
    assert all(run.get("verified")["all"] == "memory" for run in closed)


def test_gpt3_operations():
    """6 N D against the 3.14e23 operations of the paper's table D.1: 3.13e23 without embeddings."""
    run = RUNS["gpt-3-davinci"]
    operations = 6 * run.get("params_non_embedding") * run.get("train_tokens")
    assert operations == pytest.approx(run.get("training_flop"), rel=0.01)
