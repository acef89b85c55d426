"""A project with two suites of planted differences, for tests of contrasts, kinship and checks."""

from pathlib import Path

from transect.registry import suites
from transect.store.project import Project

SMALL = """
suite: small
title: Small
description: Two sizes, two corpora, a chat model made from one of them.
sources: {here: a test}
checkpoints: {last: {revision: main, steps: [null]}}
defaults: {family: one, model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: last, tied_embeddings: true, stage: base,
  sources: {all: [here]}}
runs:
- {id: "small-{d_model}-{corpus}", hub_id: "org/small-{d_model}-{corpus}", each: {d_model: [64, 128], corpus: [pile, web]}}
- {id: small-chat, hub_id: org/chat, d_model: 128, corpus: web, stage: sft, parent: small-128-web}
- {id: small-chat-rl, hub_id: org/rl, d_model: 128, corpus: web, stage: rl, parent: small-chat}
contrasts:
- {name: corpus_small, factor: corpus, runs: "suite == 'small' and stage == 'base'", by: [d_model], kind: clean}
- {name: chat_small, factor: post_training, parent: "suite == 'small' and stage == 'sft'", kind: clean}
"""
OTHER = """
suite: other
title: Other
description: A state-space model, and an encoder that nothing can be loaded of.
sources: {here: a test}
checkpoints: {last: {revision: main, steps: [null]}}
defaults: {family: two, model_type: mamba, objective: causal, mixer: selective-ssm, architecture: mamba, checkpoints: last, corpus: pile}
runs:
- {id: other-64, hub_id: org/other, d_model: 64, tied_embeddings: false, vocab_size: 300, train_tokens: 1000, params_non_embedding: 10,
   training_flop: 1.0e+6, sources: {all: [here]}}
- {id: other-closed, model_type: bert, objective: masked, mixer: attention, architecture: bert, access: api, params_total: unknown}
contrasts:
- {name: mixer_near, factor: architecture, pairs: [[small-64-pile, other-64]], also: [amount], kind: near}
"""


def kin_registry(folder: Path, small: str = SMALL, other: str = OTHER) -> suites.Registry:
    """Both suites, beside the shipped ones."""
    (folder / "model_registry").mkdir(exist_ok=True)
    (folder / "model_registry" / "small.yaml").write_text(small)
    (folder / "model_registry" / "other.yaml").write_text(other)
    return suites.load(Project(folder))
