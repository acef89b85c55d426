"""The registry's parameter counts against configurations that transformers builds on the meta device."""

import functools

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, Olmo2Config

from transect import registry
from transect.project import SHIPPED, Project
from transect.registry import Run

HUB_SUITES = ("pythia", "olmo2", "goldfish")
REGISTRY = registry.load(Project(SHIPPED))
RUNS = [run for run in REGISTRY.runs.values() if run.suite in HUB_SUITES]


def configuration(run: Run):
    """The transformers configuration that has the run's dimensions."""
    if run.get("model_type") == "gpt2":
        return GPT2Config(
            n_layer=run.get("n_layers"),
            n_embd=run.get("d_model"),
            n_head=run.get("n_heads"),
            n_inner=run.get("d_ff"),
            vocab_size=run.get("vocab_size"),
            n_positions=run.get("context_length"),
            tie_word_embeddings=run.get("tied_embeddings"),
        )
    shared = {
        "num_hidden_layers": run.get("n_layers"),
        "hidden_size": run.get("d_model"),
        "num_attention_heads": run.get("n_heads"),
        "intermediate_size": run.get("d_ff"),
        "vocab_size": run.get("vocab_size"),
        "max_position_embeddings": run.get("context_length"),
        "tie_word_embeddings": run.get("tied_embeddings"),
    }
    if run.get("model_type") == "gpt_neox":
        return GPTNeoXConfig(use_parallel_residual=run.get("parallel_residual"), **shared)
    return Olmo2Config(num_key_value_heads=run.get("n_kv_heads"), **shared)


@functools.cache
def counted(description: str, run: Run) -> tuple[int, int]:
    """Unique weights in all, and without token embedding, untied unembedding and learned positions."""
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(configuration(run))
    weights = {id(p): p for p in network.parameters()}
    outside = [network.get_input_embeddings().weight, network.get_output_embeddings().weight]
    outside += [p for name, p in network.named_parameters() if name.endswith("wpe.weight")]
    total = sum(p.numel() for p in weights.values())
    return total, total - sum(p.numel() for p in {id(p): p for p in outside}.values())


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_counts(run):
    """params_total and params_non_embedding are exact; runs of one shape are counted once."""
    shape = ("model_type", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size", "context_length")
    key = " ".join(str(run.get(name)) for name in shape)
    first = next(r for r in RUNS if " ".join(str(r.get(name)) for name in shape) == key)
    assert (run.get("params_total"), run.get("params_non_embedding")) == counted(key, first)


def test_pythia_steps():
    """154 published checkpoints: 0, the powers of two to 512, every 1,000 to 143,000 (README of EleutherAI/pythia)."""
    rule = REGISTRY.runs["pythia-70m"].rule
    assert len(rule.steps) == 154
    assert rule.revision_of(143000) == "step143000"
    assert REGISTRY.runs["pythia-70m"].checkpoints[-1].tokens_seen == 299_892_736_000


@pytest.mark.parametrize(
    ("run", "step", "revision"),
    [
        ("olmo2-1b", 1907359, "stage1-step1907359-tokens4001B"),
        ("olmo2-7b", 928646, "stage1-step928646-tokens3896B"),
        ("olmo2-7b", 101000, "stage1-step101000-tokens424B"),
        ("olmo2-13b", 596057, "stage1-step596057-tokens5001B"),
        ("olmo2-32b", 721901, "stage1-step721901-tokens6056B"),
    ],
)
def test_olmo2_revisions(run, step, revision):
    """Names of branches that stand in the README of allenai/OLMo and in allenai/OLMo#915."""
    assert REGISTRY.runs[run].rule.revision_of(step) == revision


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_steps_rise_and_exclusions_exist(run):
    """Steps stand in the order of training without repetition; what is excluded is a revision that the rule makes."""
    steps = list(run.rule.steps)
    assert steps == [None] or steps == sorted(set(steps))
    assert set(run.excluded) <= {run.rule.revision_of(step) for step in steps}


def test_known_defects_are_excluded():
    """What registry users reported: see exclude_revisions and notes of the suite files for the issues."""
    runs = REGISTRY.runs
    assert len(runs["pythia-2.8b"].excluded) == 85 and runs["pythia-2.8b"].checkpoints[0].revision == "step66000"
    assert {"step50000", "step58000"} <= set(runs["pythia-12b"].excluded)
    assert "step40000" in runs["pythia-410m-seed9"].excluded
    assert "stage1-step175000-tokens735B" in runs["olmo2-7b"].excluded
    assert runs["olmo2-13b"].checkpoints[0].step == 102500
    assert all({"step1", "step2"} <= set(r.excluded) or "weight" in r.id for r in RUNS if r.suite == "pythia")


def test_seeds_are_one_configuration():
    """The ten runs of a PolyPythias size are one configuration; a half seed and another corpus are others."""
    label = REGISTRY.configurations
    assert len({label[f"pythia-70m-seed{seed}"] for seed in range(1, 10)} | {label["pythia-70m"]}) == 1
    assert len({label[f"pythia-160m{end}"] for end in ("", "-deduped", "-data-seed1", "-weight-seed1")}) == 4
