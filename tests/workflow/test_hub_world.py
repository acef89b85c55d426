"""The small world of the hub suites is found, loads and is measured as the real hub would be,
without a network.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.workflow import hub_world
from transect.lm import load
from transect.measures.behaviour import bits_per_byte, minimal_pair
from transect.measures.mechanism import induction
from transect.registry import suites
from transect.store.hub import snapshots
from transect.store.project import SHIPPED, Project, find_project
from transect.study.study_file import load as load_study

RUNS = (
    "pythia-14m",
    "pythia-14m-seed1",
    "olmo2-1b",
    "goldfish-eng_latn-5mb",
    "goldfish-spa_latn-100mb",
)
PAIRS = pd.DataFrame(
    {
        "item": ["a"],
        "sentence_good": ["The children swim there."],
        "sentence_bad": ["The children swims there."],
    }
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Five runs of the registry, first, second and last checkpoint of each."""
    runs = suites.load(Project(SHIPPED)).runs
    every = [runs[name].checkpoints for name in RUNS]
    folder = tmp_path_factory.mktemp("hub")
    assert (
        hub_world.build(
            folder, [c for found in every for c in dict.fromkeys(found[:2] + found[-1:])]
        )
        == 11
    )
    return folder


@pytest.fixture(autouse=True)
def offline(cache, monkeypatch):
    """No network: the world must do."""
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(
    ("hub_id", "revision", "model_type"),
    [
        ("EleutherAI/pythia-14m", "step143000", "gpt_neox"),
        ("allenai/OLMo-2-0425-1B", "stage1-step1907359-tokens4001B", "olmo2"),
        ("goldfish-models/spa_latn_100mb", "main", "gpt2"),
    ],
)
def test_loads_and_measures(hub_id, revision, model_type):
    """Behaviour and mechanism of each architecture, from id and revision."""
    path = snapshots.resolve(hub_id, revision)
    assert path.name == hub_world.commit(hub_id, revision) == snapshots.commit_of(hub_id, revision)
    model = load(path)
    assert model.network.config.model_type == model_type
    assert {"logits", "causal", "attention", "heads"} <= model.capabilities
    rows = minimal_pair.measure(model, PAIRS, seed=1)
    assert (
        np.isfinite(rows["value"]).all()
        and abs(rows.set_index("metric")["value"]["difference_nats"]) > 1e-3
    )
    text = pd.DataFrame({"item": ["a"], "text": ["El río pasa despacio."]})
    assert (
        bits_per_byte.measure(model, text, seed=1).set_index("metric")["value"]["bits_per_byte"] > 0
    )
    heads = induction.measure(
        model, pd.DataFrame({"item": []}), seed=1, n=4, conditions=[{"length": 8, "gap": 4}]
    )
    assert (heads["metric"] == "prefix_matching").sum() == hub_world.LAYERS * hub_world.HEADS


def test_every_revision_has_weights_of_its_own():
    """Equal bytes under two revisions would be a defect of the world (design: duplicates are
    refused).
    """
    revisions = [("EleutherAI/pythia-14m", r) for r in ("step0", "step4", "step143000")]
    revisions += [("EleutherAI/pythia-14m-seed1", r) for r in ("step0", "step143000")]
    assert len({load(snapshots.resolve(*at)).fingerprint["weights"] for at in revisions}) == 5


def test_goldfish_reads_a_word_it_never_saw():
    """The unigram tokenizer opens with [CLS] and covers the alphabet, so that no text is unknown
    throughout.
    """
    model = load(snapshots.resolve("goldfish-models/spa_latn_100mb"))
    assert model.tokenizer.convert_ids_to_tokens([model.bos_id]) == ["[CLS]"]
    ids = model.encode("¿Quién comió las uvas?")
    assert (
        model.tokenizer.unk_token_id not in ids
        and model.tokenizer.decode(ids) == "¿Quién comió las uvas?"
    )


def small_study() -> dict:
    """studies/suites.yaml at four of its runs, three checkpoints of each and few items."""
    study = yaml.safe_load((SHIPPED / "studies" / "suites.yaml").read_text(encoding="utf-8"))
    few = {
        "ud_pud": {"sentences": 20},
        "blimp_agreement": {"sample": 5},
        "ud_agreement": {"sample_per_cell": 5},
    }
    for entry in study["measures"]:
        if "stimuli" in entry:
            entry["stimuli_options"] = few[entry["stimuli"]]
        else:
            entry["options"] = entry["options"] | {"n": 4}
    smallest = "params_total < 2e7 and seed in [1234, 1] or suite == 'olmo2' or budget == '5mb'"
    study["population"] = {
        "where": f"({study['population']['where']}) and ({smallest})",
        "checkpoints": {"spaced": 3},
    }
    return study | {"study": "small"}


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("TRANSECT_MIRROR"), reason="TRANSECT_MIRROR names no folder with the stimuli"
)
def test_the_study_of_the_suites_runs(tmp_path):
    """`transect run`, offline, on the world: every cell is measured or not applicable, and there is
    a report.
    """
    (tmp_path / "studies").mkdir()
    (tmp_path / "transect.yaml").write_text("cores: 2\n")
    (tmp_path / "studies" / "small.yaml").write_text(yaml.safe_dump(small_study(), sort_keys=False))
    grid = load_study("small", find_project(tmp_path))
    hub_world.build(tmp_path / "hub", dict.fromkeys(cell.checkpoint for cell in grid.cells))
    offline = {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "TRANSECT_CACHE": str(tmp_path / "sources"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "transect.cli.main", "run", "small"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "TRANSECT_STORE"} | offline,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    states = pd.read_parquet(tmp_path / "results" / "small" / "grid.parquet")[
        "state"
    ].value_counts()
    # 2 Pythia and 1 OLMo at 3 checkpoints, 2 Goldfish at 1; 6 entries; no BLiMP in Spanish
    assert states.to_dict() == {"measured": 11 * 6 - 1, "not applicable": 1}
    assert (tmp_path / "results" / "small" / "report.html").stat().st_size > 10_000
