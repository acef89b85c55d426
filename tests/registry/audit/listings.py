"""Listings from a short description: which weights, tokenizer and configuration lie at which
revision.

tree("a", shards=3)          tree entries whose weights have hashes made from "a/1", "a/2", "a/3"
listing(suite_steps, {"step5000": "step143000"})     every step its own weights, but step5000 those of step143000
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transect.registry.audit import Finding, Holding, audit
from transect.registry.audit.listing import parse
from transect.registry.suite_file import reading
from transect.store.project import Project

PYTHIA = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143001, 1000)]
CONFIG = {
    "model_type": "gpt_neox",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "vocab_size": 100,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
}
PARAMS = 112_896  # of CONFIG
Tree = list[dict[str, Any]]


def tree(
    weights: str | None,
    *,
    shards: int = 1,
    other: Mapping[int, str] | None = None,
    form: str = "model{}.safetensors",
    size: int = 2 * PARAMS + 4000,
    tokenizer: str | None = "t",
    config: Mapping[str, Any] | None = CONFIG,
) -> Tree:
    """The entries of one revision. other: shard (from 1) -> the weights that it is taken from."""
    entries = []
    if weights is not None:
        for i in range(1, shards + 1):
            name = form.format("" if shards == 1 else f"-{i:05d}-of-{shards:05d}")
            sha = hashlib.sha256(f"{(other or {}).get(i, weights)}/{i}".encode()).hexdigest()
            entries.append(
                {
                    "type": "file",
                    "path": name,
                    "size": size // shards,
                    "oid": sha[:40],
                    "lfs": {"oid": sha, "size": size // shards, "pointerSize": 134},
                }
            )
    if tokenizer is not None:
        entries.append(
            {
                "type": "file",
                "path": "tokenizer.json",
                "size": 900,
                "oid": hashlib.sha1(tokenizer.encode()).hexdigest(),
            }
        )
    if config is not None:
        oid = hashlib.sha1(repr(sorted(config.items())).encode()).hexdigest()
        entries.append(
            {
                "type": "file",
                "path": "config.json",
                "size": 600,
                "oid": oid,
                "content": dict(config),
            }
        )
    return [*entries, {"type": "directory", "path": "onnx", "size": 0, "oid": "0" * 40}]


def listing(
    revisions: Iterable[str], same: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Tree]:
    """Every revision with weights of its own; `same`: revision -> that whose weights it serves."""
    return {r: tree((same or {}).get(r, r), **options) for r in revisions}


def steps(numbers: Iterable[int] = PYTHIA, form: str = "step{}") -> list[str]:
    return [form.format(n) for n in numbers]


def project(folder: Path, runs: str, *, rules: str = "", top: str = "") -> Project:
    """A project whose registry holds one suite, `lab`, of these runs (YAML list); the rule of their
    checkpoints is `steps` unless they say otherwise.
    """
    text = f"""
suite: lab
title: A suite for tests
description: Its repositories exist as listings only.
sources: {{HERE: made by the tests}}
{top}
checkpoints:
  steps: {{revision: "step{{step}}", steps: [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, {{from: 1000, to: 143000, by: 1000}}], tokens_per_step: 2097152}}
  main: {{revision: main, steps: [null]}}
{rules}
defaults:
  model_type: gpt_neox
  objective: causal
  mixer: attention
  architecture: gpt_neox
  checkpoints: steps
  n_layers: 2
  d_model: 64
  n_heads: 4
  d_ff: 256
  vocab_size: 100
  tied_embeddings: false
  params_total: {PARAMS}
  language: eng
  sources: {{all: [HERE]}}
runs:
{runs}
"""
    (folder / "model_registry").mkdir(parents=True, exist_ok=True)
    (folder / "model_registry" / "lab.yaml").write_text(text)
    (folder / "transect.yaml").write_text("{}\n")
    return Project(folder)


def audited(where: Project, listings: Mapping[str, Any]) -> list[Finding]:
    """The findings on listings, {hub id: {revision: entries}}, for the runs of `lab` in order."""
    suite = reading.read(where.root / "model_registry" / "lab.yaml")
    return audited_runs(suite.runs, listings, suite.notes)


def audited_runs(
    runs: Iterable[Any], listings: Mapping[str, Any], notes: Iterable[str] = ()
) -> list[Finding]:
    """The findings for these runs, as far as the listings hold their repositories."""
    held = parse(dict(listings), "listing.json")
    runs = [run for run in runs if run.get("hub_id") in held]
    holdings = []
    for run in runs:
        others = {
            o.rule.revision_of(s)
            for o in runs
            if o.get("hub_id") == run.get("hub_id") and o is not run
            for s in o.rule.steps
        }
        holdings.append(
            Holding(
                run,
                held[run.get("hub_id")],
                "in the listing",
                frozenset(others),
                notes=tuple(notes),
            )
        )
    return audit(holdings)
