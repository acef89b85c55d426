"""How a run is trained: its `trained_here` entry in the registry, checked, and the digest of all
that determines its weights.

Planning reads this file, so it imports neither torch nor a corpus.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry.run import Run
from transect.store import names, units
from transect.store.project import SHIPPED, Project

# Raise it whenever the same recipe gives other weights: every run that was trained here becomes
# stale.
TRAINER_VERSION = 1

# files beside the weights of a run: why its training broke, what it took, and that it is finished
ERROR, COST, DONE = "error.txt", "cost.json", "done.json"

# Facts of a run that change its weights. Its name, sources and licence do not.
DETERMINING = (
    "model_type",
    "objective",
    "n_layers",
    "d_model",
    "n_heads",
    "n_kv_heads",
    "d_ff",
    "parallel_residual",
    "vocab_size",
    "tied_embeddings",
    "context_length",
    "corpus",
    "seed",
)
CHOICES = {
    "recipe": ("neural", "ngram"),
    "optimizer": ("adamw", "muon"),
    "schedule": ("constant", "linear", "wsd"),
    "precision": ("float32", "bfloat16"),
    "rows": ("documents", "stream"),
    "attention": ("sdpa", "eager"),
    "device": ("auto", "cpu", "cuda"),
    "smoothing": ("kneser_ney", "absolute"),
}


@dataclass(frozen=True)
class Recipe:
    """Training options, with the unit or meaning of each.

    `neural` trains a network by gradient descent. `ngram` counts the whole corpus once and reads
    only `order` and `smoothing`.
    """

    recipe: str  # neural | ngram
    steps: int = 0  # optimiser steps
    batch_size: int = 16  # rows a step
    context_length: int = 64  # tokens a row
    # a row is one document, cut or padded; or a window of the stream of all documents
    rows: str = "documents"
    optimizer: str = "adamw"  # muon: Muon on the hidden matrices, AdamW on the rest
    lr: float = 1e-3  # of AdamW
    muon_lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0  # of matrices; vectors are never decayed
    clip: float = 1.0  # largest norm of the gradient
    warmup_steps: int = 0
    schedule: str = (
        "constant"  # after the warm-up. wsd: constant, then linear over the last quarter
    )
    final_lr: float = 0.02  # of linear and wsd, as a share of the peak
    # largest decay of the average of the weights that is saved instead of them; 0: the weights
    ema: float = 0.0
    mask_rate: float = 0.3  # of masked models
    precision: str = "float32"  # bfloat16: autocast
    attention: str = "sdpa"
    device: str = "auto"
    threads: int = 1  # of the CPU: another number gives other rounding
    order: int = 1  # of an n-gram model: 1 unigram, 2 bigram
    smoothing: str = "kneser_ney"  # of an n-gram model
    batched: bool = True  # whether a small run shares its process with others; changes no weights
    config: Mapping[str, Any] = field(
        default_factory=dict
    )  # further fields of the transformers configuration

    def lr_factor(self, step: int) -> float:
        """Learning rate of step 0, 1, ... as a share of its peak."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        left = (self.steps - step) / self.steps
        decay = {"constant": 1.0, "linear": left, "wsd": min(1.0, 4 * left)}[self.schedule]
        return warm * max(self.final_lr, decay)


def read(run: Run) -> Recipe:
    """The recipe of a run.

    Raises InputError that names the run and the option: unknown, without an allowed value, or steps
    that end at another checkpoint.
    """
    given = dict(run.trained_here or {})
    known = {f.name: f for f in fields(Recipe)}
    for name, value in given.items():
        if name not in known:
            raise InputError(
                f"Run {run.id!r}: unknown trained_here option {name!r}; allowed are {', '.join(known)}."
                f"{nearest(name, known)}"
            )
        if name in CHOICES and value not in CHOICES[name]:
            allowed = CHOICES[name]
            raise InputError(
                f"Run {run.id!r}: trained_here.{name} is {value!r}; allowed are {', '.join(allowed)}."
                f"{nearest(value, allowed)}"
            )
    if "recipe" not in given:
        raise InputError(
            f"Run {run.id!r} has no trained_here.recipe, so it cannot be trained here."
        )
    if "betas" in given:
        given["betas"] = tuple(given["betas"])
    recipe = Recipe(**given)
    last = run.rule.steps[-1]
    if recipe.recipe == "neural" and (recipe.steps < 1 or last != recipe.steps):
        raise InputError(
            f"Run {run.id!r}: trained_here.steps is {recipe.steps}, but its last checkpoint is step {last}; "
            "they must agree."
        )
    return recipe


def corpus_unit(run: Run, project: Project | None = None) -> units.Unit:
    """The corpus that the run is trained on, found by the run's field `corpus`."""
    return units.find(
        "corpus", run.get("corpus", ""), project or Project(SHIPPED), f"run {run.id!r}"
    )


def corpus_factors(run: Run, corpus: units.Unit) -> dict[str, Any]:
    """The run's values of the factors that the corpus declares in BY. Raises InputError for one
    that the run lacks.
    """
    for name in corpus.get("BY", []):
        if run.get(name) is None:
            raise InputError(
                f"Run {run.id!r} lacks the field {name!r}, which the corpus {corpus.name!r} depends on."
            )
    return {name: run.get(name) for name in corpus.get("BY", [])}


def recipe_digest(run: Run, project: Project | None = None) -> str:
    """SHA-256 over all that determines the run's weights: its facts, its recipe, its checkpoints,
    the declared corpus and TRAINER_VERSION.
    """
    corpus = corpus_unit(run, project)
    determined = {
        "facts": {name: run.get(name) for name in DETERMINING},
        "recipe": {k: v for k, v in (run.trained_here or {}).items() if k != "batched"},
        "steps": run.rule.steps,
        "corpus": corpus.declared,
        "factors": corpus_factors(run, corpus),
        "trainer": TRAINER_VERSION,
    }
    return hashlib.sha256(json.dumps(determined, sort_keys=True, default=str).encode()).hexdigest()


def weights_folder(run: Run, project: Project) -> Path:
    """Where the checkpoints of a run that is trained here lie: another recipe, another folder."""
    suite, name = names.check(run.suite, "the suite"), names.check(run.id, "the run")
    return project.store / "weights" / suite / name / recipe_digest(run, project)[:16]
