"""Twins, shared shards and replaced weights: on listings made from the defects that were reported
of real suites, and on clean ones.
"""

from pathlib import Path

import pytest

from tests.registry.audit.listings import (
    PYTHIA,
    Tree,
    audited,
    audited_runs,
    listing,
    project,
    steps,
    tree,
)
from transect.registry.audit import Finding
from transect.registry.run import Run
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED, Project

ROUND = [55000, 60000, 65000, 70000, 80000, 90000, 100000, 103000, 110000, 120000, 130000, 140000]
# EleutherAI/pythia#205: 76 branches of pythia-2.8b are bit-identical to main, ten share a second
# blob, 68 are unique
LIKE_MAIN = [s for s in PYTHIA if s <= 53000] + ROUND
SECOND = [54000, 56000, 57000, 58000, 59000, 61000, 62000, 63000, 64000, 143000]
OF_2_8B = (
    {f"step{s}": "main" for s in LIKE_MAIN}
    | {f"step{s}": "second" for s in SECOND}
    | {"main": "main"}
)
START = {"step1": "step0", "step2": "step0"}  # #83, #198
ONE_RUN = "- {id: m, hub_id: lab/m}"


def of_kind(found: list[Finding], kind: str) -> list[Finding]:
    return [f for f in found if f.kind == kind]


@pytest.fixture
def lab(tmp_path: Path) -> Project:
    return project(tmp_path, ONE_RUN)


def test_nothing_in_a_clean_suite(lab: Project) -> None:
    """154 revisions and main, which is the last one again: no finding at all."""
    assert len(steps()) == 154
    assert audited(lab, {"lab/m": listing([*steps(), "main"], {"main": "step143000"})}) == []


def test_final_weights_in_86_of_154_branches(lab: Project) -> None:
    """The two groups of pythia-2.8b are two findings of 76 (and main) and of 10 revisions; the 68
    others are in none.
    """
    found = audited(lab, {"lab/m": listing([*steps(), "main"], OF_2_8B)})
    assert [f.kind for f in found] == ["identical weights", "identical weights"]
    assert [len(f.revisions) for f in found] == [77, 10]
    assert found[0].revisions == (*steps(LIKE_MAIN), "main")
    assert found[1].revisions == tuple(steps(SECOND))
    assert not any(f.known for f in found)


def test_the_first_three_steps(lab: Project) -> None:
    """Steps 0, 1 and 2 with the same bytes are one finding."""
    found = audited(lab, {"lab/m": listing(steps(), START)})
    assert [f.revisions for f in found] == [("step0", "step1", "step2")]


def test_first_shard_of_the_last_step(lab: Project) -> None:
    """pythia-12b (#206): step50000 and step58000 hold the first of the last step's shards; it is
    named with all three.
    """
    names = [*steps(), "main"]
    trees = listing(names, {"main": "step143000"}, shards=3)
    for step in ("step50000", "step58000"):
        trees[step] = tree(step, shards=3, other={1: "step143000"})
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.files) == ("shared shards", ("model-00001-of-00003.safetensors",))
    assert found.revisions == ("step50000", "step58000", "step143000")
    assert found.found.startswith("1 of 3 files")


def test_three_identical_steps_among_930(tmp_path: Path) -> None:
    """OLMo-2-1124-7B (allenai/OLMo#915): three byte-identical branches, with names that count
    tokens.
    """
    rule = '  olmo: {revision: "stage1-step{step}-tokens{billions}B", billions: ceil, tokens_per_step: 4194304, steps: [{from: 1000, to: 928000, by: 1000}]}'
    where = project(tmp_path, "- {id: m, hub_id: lab/m, checkpoints: olmo}", rules=rule)
    [run] = reading.read(where.root / "model_registry/lab.yaml").runs
    names = [run.rule.revision_of(step) for step in run.rule.steps]
    three = (
        "stage1-step101000-tokens424B",
        "stage1-step175000-tokens735B",
        "stage1-step300000-tokens1259B",
    )
    found = audited(where, {"lab/m": listing(names, dict.fromkeys(three, "x"))})
    assert [f.revisions for f in found] == [three]


def test_two_identical_steps_of_pickles(tmp_path: Path) -> None:
    """bloom-7b1-intermediate: global_step100000 = global_step200000, also where the weights are
    pickled.
    """
    rule = '  bloom: {revision: "global_step{step}", steps: [1000, 10000, 100000, 200000, 300000, 395000]}'
    where = project(tmp_path, "- {id: m, hub_id: lab/m, checkpoints: bloom}", rules=rule)
    names = steps([1000, 10000, 100000, 200000, 300000, 395000], "global_step{}")
    found = audited(
        where,
        {
            "lab/m": listing(
                names, {"global_step200000": "global_step100000"}, form="pytorch_model{}.bin"
            )
        },
    )
    twins = of_kind(found, "identical weights")
    assert [f.revisions for f in twins] == [("global_step100000", "global_step200000")]


def test_two_generations_under_one_name(tmp_path: Path) -> None:
    """salamandra: one hub id, two generations of weights: the commits at which they lie; known once
    the commit is pinned.
    """
    commits = {
        "a" * 40: tree("new"),
        "b" * 40: tree("new", tokenizer="u"),
        "c" * 40: tree("old"),
        "d" * 40: tree(None),
    }
    trees = {"lab/m": {"main": tree("new"), **commits}}
    run = "- {id: m, hub_id: lab/m, checkpoints: main%s}"
    [found] = audited(project(tmp_path, run % ""), trees)
    assert (found.kind, found.known) == ("weights replaced", False)
    assert found.revisions == ("a" * 40, "c" * 40)
    [pinned] = audited(project(tmp_path, run % f", commit: {'a' * 40}"), trees)
    assert (pinned.known, pinned.reason) == (True, "pinned to commit aaaaaaaaaaaa")


def test_a_conversion_is_no_new_generation(tmp_path: Path) -> None:
    """A commit that adds safetensors to the pickles, as converters do, replaced nothing."""
    before = tree("w", form="pytorch_model{}.bin")
    where = project(tmp_path, "- {id: m, hub_id: lab/m, checkpoints: main}")
    trees = {"main": [*tree("v"), before[0]], "a" * 40: [*tree("v"), before[0]], "b" * 40: before}
    assert audited(where, {"lab/m": trees}) == []


def test_twins_across_runs(tmp_path: Path) -> None:
    """One checkpoint under the names of two runs is found; two whole repositories with the same
    content are one finding.
    """
    where = project(tmp_path, "- {id: 'm{seed}', hub_id: 'lab/m{seed}', each: {seed: [1, 2]}}")
    first, second = listing([f"step{s}" for s in PYTHIA]), {r: tree(f"other {r}") for r in steps()}
    second["step5000"] = tree("step7000")
    [found] = audited(where, {"lab/m1": first, "lab/m2": second})
    assert (found.kind, found.revisions) == (
        "identical weights across runs",
        ("m1@step7000", "m2@step5000"),
    )
    [copy] = audited(where, {"lab/m1": first, "lab/m2": first})
    assert (copy.found, len(copy.revisions)) == ("154 sets of twins", 308)


def test_the_same_in_many_runs_is_one_finding(tmp_path: Path) -> None:
    """Runs whose first steps are equal, each in itself: one finding that names the runs."""
    where = project(tmp_path, "- {id: 'm{seed}', hub_id: 'lab/m{seed}', each: {seed: [1, 2, 3]}}")
    trees = {f"lab/m{i}": {r: tree(f"{i} {START.get(r, r)}") for r in steps()} for i in (1, 2, 3)}
    [found] = audited(where, trees)
    assert (found.runs, found.revisions) == (("m1", "m2", "m3"), ("step0", "step1", "step2"))


def test_a_shared_start_is_expected(tmp_path: Path) -> None:
    """Two runs of one initialisation have the same step 0: told, as known; the same at another step
    is not.
    """
    runs = "- {id: 'm{order_seed}', hub_id: 'lab/m{order_seed}', init_seed: 7, each: {order_seed: [1, 2]}}"
    where = project(tmp_path, runs)
    for step, known in (("step0", True), ("step4", False)):
        second = {r: tree(f"other {r}") for r in steps()} | {step: tree(step)}
        [found] = audited(where, {"lab/m1": listing(steps()), "lab/m2": second})
        assert (found.kind, found.known) == ("identical weights across runs", known)
    assert "init_seed 7" not in found.reason


def test_main_that_is_an_earlier_step(lab: Project) -> None:
    """A `main` that serves a step before the last one, or a step that serves main's weights where
    the last does not, is found.
    """
    [found] = audited(lab, {"lab/m": listing([*steps(), "main"], {"main": "step90000"})})
    assert found.revisions == ("step90000", "main")


def test_known_twins_are_reported_as_known(tmp_path: Path) -> None:
    """Excluded steps are told with their reason; a further twin of theirs makes it new and is
    named.
    """
    runs = "- {id: m, hub_id: lab/m, exclude_revisions: [{revisions: [step1, step2], reason: the same weights as step0}]}"
    where = project(tmp_path, runs)
    [found] = audited(where, {"lab/m": listing(steps(), START)})
    assert (found.known, found.reason) == (True, "the same weights as step0")
    [found] = audited(where, {"lab/m": listing(steps(), START | {"step4": "step0"})})
    assert not found.known
    assert found.reason == "not excluded: step0, step4; known: the same weights as step0"


def of_run(run: Run, same: dict[str, str], **options: int) -> dict[str, Tree]:
    """A listing of every revision of a run's rule, and main; `same`: revision -> that whose weights
    it serves.
    """
    names = [run.rule.revision_of(step) for step in run.rule.steps]
    assert set(same) <= {*names, "main"}
    return {r: tree(f"{run.id} {same.get(r, r)}", **options) for r in [*names, "main"]}


def test_the_shipped_registry_knows_what_was_reported() -> None:
    """The reported defects of Pythia 2.8b, 12b and 410m, OLMo 2 7B and BLOOM 7B1 are found, and
    each is known by the shipped exclusions.
    """
    lost = {
        "pythia-410m-seed9": "step40000",
        "pythia-410m-seed6": "step88000",
        "pythia-410m-seed2": "step111000",
    }
    three = (
        "stage1-step101000-tokens424B",
        "stage1-step175000-tokens735B",
        "stage1-step300000-tokens1259B",
    )
    same = {
        "pythia-2.8b": OF_2_8B,
        "pythia-12b": START,
        **dict.fromkeys(lost, START),
        "olmo2-7b": dict.fromkeys(three, "one"),
        "bloom-7b1": {"global_step100000": "global_step200000"},
    }
    files = [SHIPPED / "model_registry" / f"{name}.yaml" for name in ("pythia", "olmo2", "bloom")]
    runs = {r.id: r for file in files for r in reading.read(file).runs if r.id in same}
    trees = {
        name: of_run(run, same[name], shards=3 if name == "pythia-12b" else 1)
        for name, run in runs.items()
    }
    for step in ("step50000", "step58000"):
        trees["pythia-12b"][step] = tree(
            f"12b {step}", shards=3, other={1: "pythia-12b step143000"}
        )
    for name, step in lost.items():
        del trees[name][step]
    about = ("identical weights", "shared shards", "missing revision")
    found = audited_runs(
        runs.values(), {run.get("hub_id"): trees[name] for name, run in runs.items()}
    )
    found = [f for f in found if f.kind.removesuffix(" across runs") in about]
    numbers = {kind: len(of_kind(found, kind)) for kind in about}
    assert numbers == {
        "identical weights": 2 + 1 + 1 + 2,
        "shared shards": 1,
        "missing revision": 3,
    }  # the three seeds start alike
    assert [f for f in found if not f.known or not f.reason] == []


def test_the_format_in_which_they_are_twins_is_named(lab: Project) -> None:
    """Two steps whose pickles are the same and whose safetensors are not: the finding names the
    pickles.
    """
    trees = listing(steps())
    for step in ("step4", "step8"):
        trees[step] = [*trees[step], tree("x", form="pytorch_model{}.bin")[0]]
    [found] = audited(lab, {"lab/m": trees})
    assert (found.revisions, found.files) == (("step4", "step8"), ("pytorch_model.bin",))
