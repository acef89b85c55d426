"""BERT, its miniatures, MultiBERTs, RoBERTa and the BabyLM and HPLT models: what is special in how
they were released.
"""

from itertools import product

import pytest

from transect.registry.run import Run
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED, Project
from transect.study import grid

SUITES = (
    "bert",
    "bert_miniatures",
    "multiberts",
    "roberta",
    "babylm",
    "hplt",
    "hplt_corpora",
    "hplt_bert",
)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    suites = [reading.read(SHIPPED / "model_registry" / f"{name}.yaml") for name in SUITES]
    return {run.id: run for suite in suites for run in suite.runs}


def test_checkpoints_of_multiberts_are_repositories(runs):
    """28 of seeds 0 to 4 and a step 0 of seeds 0 and 2 (cards), each in a repository of its own
    whose main is read.
    """
    assert {s: len(runs[f"multiberts-{s}"].checkpoints) for s in range(25)} == {
        0: 29,
        1: 28,
        2: 29,
        3: 28,
        4: 28,
    } | dict.fromkeys(range(5, 25), 1)
    first, *_, last = runs["multiberts-3"].checkpoints
    assert (first.hub_id, first.hub_revision) == ("google/multiberts-seed_3-step_20k", "main")
    assert (last.revision, last.tokens_seen) == ("step_2000k", 262_144_000_000)
    assert grid.identity(first, Project(SHIPPED)) == "google/multiberts-seed_3-step_20k@main"
    (only,) = runs["multiberts-7"].checkpoints
    assert (only.hub_id, only.hub_revision) == ("google/multiberts-seed_7", "main")


def test_miniatures_are_a_full_grid(runs):
    """Every depth with every width; the largest has the shape of BERT base."""
    shapes = {
        (r.get("n_layers"), r.get("d_model")) for r in runs.values() if r.suite == "bert_miniatures"
    }
    assert shapes == set(product((2, 4, 6, 8, 10, 12), (128, 256, 512, 768)))
    assert runs["bert-l12-h768"].get("hub_id") == "google/bert_uncased_L-12_H-768_A-12"
    assert runs["bert-l12-h768"].get("params_total") == runs["bert-base-uncased"].get(
        "params_total"
    )


def test_babylm_counts_words(runs):
    """chck_1M to chck_1000M on 100 million words, to chck_100M on 10; tokens are unknown at each
    (evaluation-pipeline-2025).
    """
    long, short = (
        runs["babylm-gpt2-100m"].checkpoints,
        runs["babylm-gpt-bert-mixed-10m"].checkpoints,
    )
    assert [c.revision for c in long[:2] + long[-2:]] == [
        "chck_1M",
        "chck_2M",
        "chck_900M",
        "chck_1000M",
    ]
    assert (len(long), len(short), short[-1].revision) == (28, 19, "chck_100M")
    assert {c.tokens_seen for c in long} == {None}


def test_hplt_languages_differ_in_nothing_else(runs):
    """27 of the 38 languages, one shape; Chinese is zhos in the repository's name."""
    hplt = [run for run in runs.values() if run.suite == "hplt"]
    assert len({run.get("language") for run in hplt}) == len(hplt) == 27
    assert {run.get("params_total") for run in hplt} == {2_147_584_000}
    assert runs["hplt-zho"].get("hub_id") == "HPLT/hplt2c_zhos_checkpoints"
    assert (
        runs["hplt-2b-fra-hplt-3.0-top"].get("hub_id")
        == "HPLT/hplt-3.0-fra_Latn-top-llama-2b-100bt"
    )
