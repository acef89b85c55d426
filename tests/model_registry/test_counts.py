"""The registry's parameter counts against configurations that transformers builds on the meta
device; its rules and exclusions.
"""

import re
from functools import cache

import pytest

from transect.lm.checkpoint import counting
from transect.registry import suites
from transect.store.project import SHIPPED, Project

REGISTRY = suites.load(Project(SHIPPED))
HUB = [suite for suite in REGISTRY.suites if not any(run.trained_here for run in suite.runs)]
RUNS = [run for suite in HUB for run in suite.runs]
FIRST = {counting.shape_of(run): run for run in reversed(RUNS)}
# what may keep a run from being counted: nothing else
REASONS = re.compile(
    r".* is no architecture of transformers.*|[a-z_, ]+ unknown|the run itself is no network.*"
)


@cache
def counted(shape: str) -> counting.Counts | str:
    """The counts of all runs of one shape; the reason where it cannot be built."""
    try:
        return counting.of_run(FIRST[shape])
    except counting.Uncountable as reason:
        return str(reason)


@pytest.mark.parametrize("suite", HUB, ids=lambda suite: suite.name)
def test_counts(suite):
    """Total, non-embedding and active weights that a run states are exact, for every run that
    transformers can build.
    """
    found = {run.id: counted(counting.shape_of(run)) for run in suite.runs}
    wrong = {
        run.id: counting.contradictions(run, found[run.id])
        for run in suite.runs
        if not isinstance(found[run.id], str) and counting.contradictions(run, found[run.id])
    }
    assert not wrong, wrong
    reasons = {r for r in found.values() if isinstance(r, str)}
    assert not [r for r in reasons if not REASONS.fullmatch(r)]


def test_what_is_counted():
    """A run of an architecture of transformers that states its weights has the dimensions from
    which they follow.
    """
    found = {run.id: counted(counting.shape_of(run)) for run in RUNS}
    known = [
        r
        for r in RUNS
        if r.get("model_type") in counting.CONFIG_MAPPING and not r.get("remote_code")
    ]
    assert not {
        r.id: found[r.id]
        for r in known
        if isinstance(r.get("params_total"), int) and isinstance(found[r.id], str)
    }


def test_pythia_steps():
    """154 published checkpoints: 0, the powers of two to 512, every 1,000 to 143,000 (README of
    EleutherAI/pythia).
    """
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


@pytest.mark.parametrize("suite", HUB, ids=lambda suite: suite.name)
def test_steps_rise_and_exclusions_exist(suite):
    """Steps stand in the order of training without repetition; what is excluded is a revision that
    the rule makes.
    """
    for run in suite.runs:
        steps = list(run.rule.steps)
        assert steps == [None] or steps == sorted(set(steps)), run.id
        assert set(run.excluded) <= {run.rule.revision_of(step) for step in steps}, run.id


def test_known_defects_are_excluded():
    """What registry users reported: see exclude_revisions and notes of the suite files for the
    issues.
    """
    runs = REGISTRY.runs
    assert (
        len(runs["pythia-2.8b"].excluded) == 85
        and runs["pythia-2.8b"].checkpoints[0].revision == "step66000"
    )
    assert {"step50000", "step58000"} <= set(runs["pythia-12b"].excluded)
    assert "step40000" in runs["pythia-410m-seed9"].excluded
    assert "stage1-step175000-tokens735B" in runs["olmo2-7b"].excluded
    assert runs["olmo2-13b"].checkpoints[0].step == 102500
    assert all(
        {"step1", "step2"} <= set(r.excluded) or "weight" in r.id
        for r in RUNS
        if r.suite == "pythia"
    )


def test_seeds_are_one_configuration():
    """The ten runs of a PolyPythias size are one configuration; a half seed and another corpus are
    others.
    """
    label = REGISTRY.configurations
    assert (
        len({label[f"pythia-70m-seed{seed}"] for seed in range(1, 10)} | {label["pythia-70m"]}) == 1
    )
    assert (
        len(
            {label[f"pythia-160m{end}"] for end in ("", "-deduped", "-data-seed1", "-weight-seed1")}
        )
        == 4
    )
