"""Small runs of the registry's form that train in a second, for the tests of this folder."""

from typing import Any

from transect.registry.run import Rule, Run

RECIPE: dict[str, Any] = {
    "recipe": "neural",
    "steps": 6,
    "batch_size": 4,
    "context_length": 64,
    "optimizer": "muon",
    "lr": 0.01,
    "warmup_steps": 2,
    "schedule": "wsd",
    "device": "cpu",
}
FACTS: dict[str, Any] = {
    "model_type": "gpt_neox",
    "objective": "causal",
    "mixer": "attention",
    "architecture": "gpt_neox parallel",
    "parallel_residual": True,
    "n_layers": 1,
    "d_model": 8,
    "n_heads": 2,
    "context_length": 64,
    "corpus": "grammar",
    "corpus_variant": "bursty",
    "word_order": "SVO",
    "marking": "verb",
    "seed": 0,
}


def small_run(
    steps: tuple[int | None, ...] = (0, 3, 6), recipe: dict[str, Any] | None = None, **facts: Any
) -> Run:
    """A run with these checkpoints; `recipe` and `facts` replace or add single entries."""
    trained_here = RECIPE | (recipe or {})
    return Run(
        "small",
        "tests",
        Rule("step{step}", steps, 256),
        FACTS | {"trained_here": trained_here} | facts,
    )
