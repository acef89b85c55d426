"""Missing revisions, weights that are not whole or only pickled, and what no rule names."""

from pathlib import Path

import pytest

from tests.registry.audit.listings import audited, listing, project, steps, tree
from transect.store.project import Project

ONE_RUN = "- {id: m, hub_id: lab/m}"


@pytest.fixture
def lab(tmp_path: Path) -> Project:
    return project(tmp_path, ONE_RUN)


def test_missing_revisions(lab: Project) -> None:
    """pythia-410m-seed9 (#202): a step that is not there, in one finding with others that are not."""
    trees = listing(s for s in steps() if s not in ("step40000", "step41000"))
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions) == ("missing revision", ("step40000", "step41000"))


def test_no_branches_before_a_step(tmp_path: Path) -> None:
    """OLMo-2-1124-13B (allenai/OLMo#842): the 108 steps before 102500 that the published list names
    are one finding.
    """
    early = "150, 300, 600, 700, 850, 900, {from: 1000, to: 102000, by: 1000}"
    rule = '  olmo: {revision: "stage1-step{step}-tokens{billions}B", tokens_per_step: 8388608, steps: [%s, {from: 102500, to: 105500, by: 500}]}'
    where = project(tmp_path, "- {id: m, hub_id: lab/m, checkpoints: olmo}", rules=rule % early)
    late = [f"stage1-step{s}-tokens{-(-s * 8388608 // 10**9)}B" for s in range(102500, 105501, 500)]
    [found] = audited(where, {"lab/m": listing(late)})
    assert (found.kind, len(found.revisions)) == ("missing revision", 108)


def test_known_and_new_missing_ones_are_two_findings(tmp_path: Path) -> None:
    """What is excluded is told with its reason, apart from what is not."""
    runs = "- {id: m, hub_id: lab/m, exclude_revisions: [{revision: step40000, reason: the weights are missing}]}"
    trees = listing(s for s in steps() if s not in ("step40000", "step41000"))
    found = audited(project(tmp_path, runs), {"lab/m": trees})
    assert [(f.revisions, f.known, f.reason) for f in found] == [
        (("step41000",), False, ""),
        (("step40000",), True, "the weights are missing"),
    ]


@pytest.mark.parametrize(
    ("notes", "known"),
    [
        ('notes: ["m step40000 was lost in a fire"]', True),
        ('notes: ["of m the steps 1000 and 40000 were lost"]', True),
        ('notes: ["m-large step40000 was lost"]', False),
        ('notes: ["m step400000 was lost"]', False),
        ('notes: ["something else"]', False),
    ],
)
def test_a_note_of_the_suite_that_names_run_and_step_is_known(
    tmp_path: Path, notes: str, known: bool
) -> None:
    """The note is the reason; one of another run or another step is not."""
    trees = listing(s for s in steps() if s != "step40000")
    [found] = audited(project(tmp_path, ONE_RUN, top=notes), {"lab/m": trees})
    assert found.known is known
    assert found.reason.startswith("noted: ") is known


def test_a_branch_without_weights(lab: Project) -> None:
    """The branch is there, its weights are not."""
    trees = listing(steps()) | {"step40000": tree(None)}
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions) == ("no weights", ("step40000",))


def test_a_lost_shard(lab: Project) -> None:
    """The names of the others say how many there are."""
    trees = listing(steps(), shards=3)
    trees["step512"] = [
        e for e in trees["step512"] if e["path"] != "model-00002-of-00003.safetensors"
    ]
    found = [f for f in audited(lab, {"lab/m": trees}) if f.kind == "incomplete weights"]
    assert [(f.revisions, f.files) for f in found] == [
        (("step512",), ("model-00002-of-00003.safetensors",))
    ]


def test_pickles_only(lab: Project) -> None:
    """Revisions that hold nothing but pickled weights, and which."""
    trees = listing(steps()) | {
        s: tree(s, form="pytorch_model{}.bin") for s in ("step1000", "step2000")
    }
    found = [f for f in audited(lab, {"lab/m": trees}) if f.kind == "weights only pickled"]
    assert [(f.revisions, f.files) for f in found] == [
        (("step1000", "step2000"), ("pytorch_model.bin",))
    ]


def test_revisions_that_no_rule_names(tmp_path: Path) -> None:
    """What is there beyond the rules of all runs of a repository, once; commits and main are none
    of it.
    """
    runs = "- {id: 'm{seed}', hub_id: lab/m, checkpoints: 'r{seed}', each: {seed: [1, 2]}}"
    rules = '  r1: {revision: "seed1-step{step}", steps: [1, 2]}\n  r2: {revision: "seed2-step{step}", steps: [1, 2]}'
    names = [f"seed{i}-step{j}" for i in (1, 2) for j in (1, 2)]
    trees = {
        "lab/m": {**listing([*names, "main", "a" * 40]), "cooldown": None, "seed3-step1": None}
    }
    [found] = audited(project(tmp_path, runs, rules=rules), trees)
    assert (found.kind, found.runs, found.revisions) == (
        "not in the rule",
        ("m1", "m2"),
        ("cooldown", "seed3-step1"),
    )


def test_what_could_not_be_listed(lab: Project) -> None:
    """A revision that was refused is a finding with the reason, no missing one; the others are
    compared.
    """
    trees = listing(steps(), {"step2000": "step1000"}) | {
        "step512": {"error": "The hub answered HTTP 500."}
    }
    found = audited(lab, {"lab/m": trees})
    assert [(f.kind, f.revisions) for f in found] == [
        ("could not be listed", ("step512",)),
        ("identical weights", ("step1000", "step2000")),
    ]
    assert found[0].found == "The hub answered HTTP 500."


def test_a_repository_that_could_not_be_listed(lab: Project) -> None:
    """One finding, with the reason, and no missing revisions."""
    [found] = audited(lab, {"lab/m": {"error": "lab/m is gated"}})
    assert (found.kind, found.found) == ("could not be listed", "lab/m is gated")
