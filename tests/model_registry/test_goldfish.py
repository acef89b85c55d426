"""Goldfish: 1,154 models by a table (numbers of tylerachang/goldfish model_details.json)."""

from collections import Counter

import pytest

from transect.registry.run import Run
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {run.id: run for run in reading.read(SHIPPED / "model_registry" / "goldfish.yaml").runs}


def test_every_language_and_budget(runs):
    """350 languages in their scripts, 325 codes; each has 5 MB, and either 1,000 MB or all that
    there was.
    """
    assert Counter(run.get("budget") for run in runs.values()) == {
        "5mb": 350,
        "10mb": 288,
        "100mb": 166,
        "1000mb": 83,
        "full": 267,
    }
    assert len({(run.get("language"), run.get("script")) for run in runs.values()}) == 350
    assert len({run.get("language") for run in runs.values()}) == 325
    assert sum(run.get("macrolanguage") for run in runs.values()) == 152


def test_a_row_is_a_run(runs):
    """One model's published numbers, and what follows from its row: id, repository, languages,
    seeds, depth.
    """
    run = runs["goldfish-spa_latn-1000mb"]
    assert (run.get("hub_id"), run.get("languages")) == (
        "goldfish-models/spa_latn_1000mb",
        [{"iso": "spa"}],
    )
    assert (run.get("train_tokens"), run.get("unique_tokens")) == (2_217_907_200, 221_790_720)
    assert (run.get("corpus_megabytes"), run.get("byte_premium")) == (1083.83, 1.0838)
    assert (run.get("n_layers"), run.get("init_seed"), run.checkpoints[0].revision) == (
        12,
        43,
        "main",
    )
    assert runs["goldfish-eng_latn-5mb"].get("vocab_size") == 45056  # 44,666 pieces, padded


def test_amounts_are_consistent(runs):
    """Ten epochs; scaled megabytes are those of the text over the byte premium, to the rounding of
    both.
    """
    for run in runs.values():
        assert run.get("train_tokens") == run.get("epochs") * run.get("unique_tokens")
        assert run.get("corpus_megabytes") / run.get("byte_premium") == pytest.approx(
            run.get("scaled_megabytes"), rel=1e-3, abs=0.01
        )
        assert run.get("pieces") < run.get("vocab_size")
