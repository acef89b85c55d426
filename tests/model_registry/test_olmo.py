"""OLMo 1, 2 and 3, and Amber: names of revisions, tokens over stages, published steps, lineages."""

import json
import os
from pathlib import Path

import pytest

from transect.registry.run import Run
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED

MIRROR = os.environ.get("TRANSECT_MIRROR")
STEPS = Path(MIRROR).parent / "registry_facts" / "olmo_checkpoints.json" if MIRROR else None
STAGES = {
    "stage1": "",
    "stage1_pretraining": "",
    "stage2_midtraining": "-stage2",
    "stage_3_longcontext": "-stage3",
    "stage3_longcontext": "-stage3",
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    suites = [
        reading.read(SHIPPED / "model_registry" / f"{name}.yaml")
        for name in ("olmo1", "olmo2", "olmo3", "amber")
    ]
    return {run.id: run for suite in suites for run in suite.runs}


@pytest.mark.parametrize(
    ("run", "step", "revision"),
    [
        ("olmo1-7b", 452000, "step452000-tokens2000B"),  # card of OLMo-1B
        ("olmo1-7b", 556000, "step556000-tokens2460B"),
        (
            "olmo2-1b-stage2-3",
            23852,
            "stage2-ingredient3-step23852-tokens51B",
        ),  # names used in public code
        ("olmo2-7b-stage2-1", 6000, "stage2-ingredient1-step6000-tokens26B"),
        (
            "olmo2-7b-stage2-1",
            11931,
            "stage2-ingredient1-step11931-tokens50B",
        ),  # README of allenai/OLMo
        ("olmo2-13b-stage2-1", 11931, "stage2-ingredient1-step11931-tokens101B"),
        ("olmo2-13b-stage2-4", 9000, "stage2-ingredient4-step9000-tokens76B"),
        ("olmo2-32b-stage2-2", 9000, "stage2-ingredient2-step9000-tokens76B"),
        ("olmo3-7b", 1413814, "stage1-step1413814"),
        ("amber-7b", 7, "ckpt_007"),
        ("amber-7b", 359, "main"),
    ],
)
def test_revisions(runs, run, step, revision):
    """Names of branches as their sources write them."""
    assert runs[run].rule.revision_of(step) == revision


def test_tokens_go_on_over_the_stages(runs):
    """Tokens seen in stage 2 include stage 1 (OLMo 2), and are those of the published lists (Olmo
    3).
    """
    for name in ("olmo2-1b", "olmo2-7b", "olmo2-13b", "olmo2-32b"):
        before = runs[name].checkpoints[-1].tokens_seen
        second = runs[f"{name}-stage2-1"]
        assert (
            before == runs[name].get("train_tokens") and second.checkpoints[0].tokens_seen > before
        )
        assert second.checkpoints[-1].tokens_seen == second.get("train_tokens")
    assert runs["olmo3-7b-stage2"].checkpoints[-1].tokens_seen == 6_027_869_159_424
    assert runs["olmo3-7b-stage3"].checkpoints[-1].tokens_seen == 6_073_675_153_408
    assert runs["amber-7b"].checkpoints[-1].tokens_seen == pytest.approx(1.25913e12, rel=1e-6)


def test_post_training_descends_from_what_main_holds(runs):
    """Each step names the one before; the first the average of stage 2, at 1B the third run of it
    (README).
    """

    def line(name: str) -> list[str]:
        parent = runs[name].get("parent")
        return [name, *(line(parent) if parent and parent != "unknown" else [])]

    assert line("olmo2-7b-instruct") == [
        "olmo2-7b-instruct",
        "olmo2-7b-dpo",
        "olmo2-7b-sft",
        "olmo2-7b-soup",
        "olmo2-7b",
    ]
    assert line("olmo2-1b-sft")[1:] == ["olmo2-1b-stage2-3", "olmo2-1b"]
    assert line("olmo3-7b-think")[-3:] == ["olmo3-7b-stage3", "olmo3-7b-stage2", "olmo3-7b"]
    assert line("amber-7b-safe") == ["amber-7b-safe", "amber-7b-chat", "amber-7b"]


@pytest.mark.skipif(
    STEPS is None or not STEPS.is_file(), reason="no published step lists beside TRANSECT_MIRROR"
)
def test_steps_are_the_published_ones(runs):
    """Every list of allenai/OLMo and OLMo-core; stage 1 of 13B from the first branch on the hub, 7B
    with the README's last step.
    """
    found = {
        run.get("hub_id").split("/")[1]: name
        for name, run in runs.items()
        if run.get("stage") == "base"
    }
    compared = 0
    for hub_id, stages in json.loads(STEPS.read_text(encoding="utf-8")).items():
        name = found[
            (hub_id.split("/")[1] + "-hf") if "OLMo-7B" in hub_id else hub_id.split("/")[1]
        ]
        flat = {k: v for k, v in stages.items() if isinstance(v, list)}
        flat |= {f"-stage2-{k[-1]}": v for k, v in stages.get("stage2", {}).items() if k != "soup"}
        for stage, published in flat.items():
            if "souped" in stage:
                continue
            ingredient = stage.startswith("-stage2") or "ingredient" in stage
            rule = runs[name + (f"-stage2-{stage[-1]}" if ingredient else STAGES[stage])].rule
            points = [tuple(p) if isinstance(p, list) else (p, None) for p in published]
            steps = [
                step
                for step, _ in points
                if name != "olmo2-13b" or stage != "stage1" or step >= 102500
            ]
            assert list(rule.steps) == steps + [928646] * (
                name == "olmo2-7b" and stage == "stage1"
            ), (name, stage)
            assert all(
                tokens in (None, rule.tokens_at(step))
                for step, tokens in points
                if step in rule.steps
            )
            compared += 1
    assert compared == 25
