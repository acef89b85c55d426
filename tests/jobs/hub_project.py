"""A project whose registry knows two hub models; their snapshots are tiny models in a cache on this
machine.

project = hub_project(tmp_path, monkeypatch)         # the current folder is inside it, and there is no network
publish(project, "lab/plain", tiny_model(...))       # main of lab/plain is now this directory, under a new commit
study = load_study(project); measure_all(study)
"""

import hashlib
import textwrap
from pathlib import Path

import pytest

from transect.jobs.measure import measure
from transect.store.project import Project, find_project
from transect.study import study_file as studies
from transect.study.study_file import Study

REGISTRY = """
suite: lab
title: Two models of a lab
description: For tests.
sources: {here: made by the tests}
checkpoints: {main: {revision: main, steps: [null]}}
defaults: {objective: causal, mixer: attention, architecture: gpt2, checkpoints: main, language: svo-verb, params_total: 10000}
runs:
- {id: plain, model_type: gpt2, hub_id: lab/plain}
- {id: own, model_type: own_sum, hub_id: lab/own, remote_code: true, seed: 2}
"""
STUDY = """
study: small
title: Small
question: Does it work?
population: {where: "run == 'RUN'"}
seed: 1
measures:
- {measure: minimal_pair, stimuli: pairs}
analyses:
- {analysis: emergence, outcomes: [{measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}]}
"""
PAIRS = '''
"""Pairs."""
import pandas as pd
VERSION = 1
COLUMNS = ["item", "sentence_good", "sentence_bad"]


def items(*, seed):
    return pd.DataFrame({"item": ["a", "b", "c"], "sentence_good": GOOD, "sentence_bad": ["the dogs runs .", "cats sleeps", "a cat run"]})
'''
GOOD = ["the dogs run .", "cats sleep", "a cat runs"]


def hub_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, run: str = "plain", good: list[str] = GOOD
) -> Project:
    """The project folder; `run`: which model its study measures; `good`: the first sentences of its
    three pairs.
    """
    root = folder / "project"
    texts = {
        "transect.yaml": "{}\n",
        "model_registry/lab.yaml": REGISTRY,
        "studies/small.yaml": STUDY.replace("RUN", run),
        "stimuli/pairs.py": PAIRS.replace("GOOD", repr(good)),
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text).lstrip())
    monkeypatch.chdir(root)
    monkeypatch.delenv("TRANSECT_STORE", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "modules")
    )
    return find_project(root)


def publish(project: Project, hub_id: str, path: Path) -> str:
    """Put the files of a directory into the hub cache as `main` of a repository; its commit."""
    files = sorted(p for p in path.iterdir() if p.is_file())
    commit = hashlib.sha1(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()
    folder = project.root.parent / "hub" / ("models--" + hub_id.replace("/", "--"))
    (folder / "snapshots" / commit).mkdir(parents=True)
    for file in files:
        (folder / "snapshots" / commit / file.name).write_bytes(file.read_bytes())
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return commit


def load_study(project: Project) -> Study:
    return studies.load("small", project)


def measure_all(study: Study, **options: bool) -> None:
    """Every shard of the study, in this process, as the workflow's jobs do."""
    for shard in study.shards:
        measure(study, shard.name, study.results / f"{shard.name}.done", **options)
