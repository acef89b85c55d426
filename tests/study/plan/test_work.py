"""`transect plan`: the work, the design check, power and suggestions, as JSON and in words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transect.cli import main
from transect.store.cell_store import MEASURED, Store, as_values
from transect.store.project import Project
from transect.study import study_file

SUITE = """
suite: demo
title: Demo
description: Sizes and corpora, crossed; one run of another corpus, language or mixer each.
sources: {here: a test}
checkpoints: {main: {revision: main, steps: [null]}}
defaults:
  model_type: gpt2
  objective: causal
  mixer: attention
  architecture: gpt2
  checkpoints: main
  corpus: web
  language: eng
  train_tokens: 1000000000
  tokenizer: {key: t}
  stage: base
  sources: {all: [here]}
tables:
- by: [label]
  rows:
  - {label: 1m, params_total: 1000000, params_non_embedding: 900000}
  - {label: 10m, params_total: 10000000, params_non_embedding: 9000000}
  - {label: 100m, params_total: 100000000, params_non_embedding: 90000000}
runs:
- {id: "web-{label}", hub_id: "o/web-{label}", each: {label: [1m, 10m, 100m]}}
- {id: "books-{label}", hub_id: "o/books-{label}", corpus: books, each: {label: [1m, 10m, 100m]}}
- {id: "news-{label}", hub_id: "o/news-{label}", corpus: news, each: {label: [1m, 10m, 100m]}}
- {id: spanish, label: 10m, hub_id: o/spanish, language: spa}
- {id: spanish-other, label: 10m, hub_id: o/so, language: spa, tokenizer: {key: u}, corpus: libros, architecture: llama}
"""
STUDY = """
study: asked
title: Asked
question: Does size matter?
population: {where: "suite == 'demo' and language == 'eng' and corpus != 'news'"}
seed: 1
design: {terms: [params_non_embedding, corpus], numeric: [params_non_embedding]}
measures:
- {measure: copying, options: {n: 8, conditions: [{length: 6, gap: 2}]}}
analyses:
- {analysis: size_trend, outcomes: [{measure: copying, metric: copy_top1}]}
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of six runs, and five that it does not sample; nothing is on any hub."""
    for folder, name, text in (
        ("model_registry", "demo.yaml", SUITE),
        ("studies", "asked.yaml", STUDY),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "transect.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRANSECT_STORE", raising=False)
    return Project(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main.main(["plan", "asked", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_plan_is_facts_and_words(asked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes with and without keeping weights, the jobs, what varies and what does not; the text
    says the same.
    """
    told = planned(capsys, "--cores", "2")
    weights = 4 * 2 * 111_000_000 / 1e9
    assert told["download_gb"] == pytest.approx(weights) == told["disk_gb"]
    assert told["disk_without_keeping_gb"] == pytest.approx(2 * 0.4)
    assert sum(job["cells"] for job in told["jobs_to_run"]) == told["cells_to_measure"] == 6
    assert all(job["memory_gb"] > 4 * 1e6 / 1e9 for job in told["jobs_to_run"])
    factors = {f["factor"]: f for f in told["design_check"]["factors"]}
    assert factors["size"]["judged"] and (
        factors["corpus"]["units"],
        factors["corpus"]["level"],
    ) == (
        6,
        "configuration",
    )
    assert not factors["architecture"]["judged"]
    assert main.main(["plan", "asked"]) == 0
    text = capsys.readouterr().out
    for part in (
        "0.888 GB if weights are kept",
        "What varies",
        "Power",
        "What this sample cannot show",
        "not calibrated yet",
    ):
        assert part in text
    assert not (asked.root / "results").exists()


def test_power_of_a_stated_effect(asked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Two corpora of three sizes each, size in the model: 3 df, se = sd sqrt(2 / 3); statsmodels'
    noncentral t gives the power.
    """
    from scipy import stats

    rows = {
        r["factor"]: r for r in planned(capsys, "--effect", "0.3", "--sd", "0.1")["power"]["rows"]
    }
    delta, critical = 0.3 / (0.1 * np.sqrt(2 / 3)), stats.t.ppf(0.975, 3)
    expected = stats.nct.sf(critical, 3, delta) + stats.nct.cdf(-critical, 3, delta)
    assert (rows["corpus"]["df"], rows["corpus"]["units"], rows["corpus"]["beside"]) == (
        3,
        6,
        ["size"],
    )
    assert rows["corpus"]["power"] == pytest.approx(expected, abs=1e-4)
    # a tenfold of size: slope with sum of squares 4 about the mean
    assert rows["size"]["detectable"] / rows["corpus"]["detectable"] == pytest.approx(
        np.sqrt(1 / 4) / np.sqrt(2 / 3)
    )


def test_sd_from_finished_cells(asked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --sd it is what is left between the configurations of finished cells: residuals of a
    fit by numpy.
    """
    of = study_file.load("asked", asked)
    accuracy = {}
    rng = np.random.default_rng(0)
    for cell in of.cells:
        items = rng.random(40) < 0.7
        accuracy[cell.checkpoint.run.id] = items.mean()
        rows = as_values(
            cell.key,
            pd.DataFrame(
                {"item": map(str, range(40)), "metric": "copy_top1", "value": items.astype(float)}
            ),
        )
        Store(asked.store).write(
            [cell.record(MEASURED)], {cell.key: rows}, {"cells": {cell.key: {"cpu_seconds": 1.0}}}
        )
    told = planned(capsys)
    assert told["calibrated_by_cells"] == 6
    row = next(r for r in told["power"]["rows"] if r["factor"] == "corpus")
    runs = list(accuracy)
    x = np.column_stack(
        [
            np.ones(6),
            [r.startswith("web") for r in runs],
            [np.log10(int(r.split("-")[1][:-1])) for r in runs],
        ]
    ).astype(float)
    y = np.array([accuracy[r] for r in runs])
    residuals = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert row["outcome"] == "copying, copy_top1"
    assert (
        row["sd"] == pytest.approx(np.sqrt(residuals @ residuals / 3))
        and row["sd_lower"] < row["sd"] < row["sd_upper"]
    )


def test_suggestions_rank_runs_and_designs(
    asked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a contrast of languages: the Spanish run that is like the others first; among untrained
    designs a Spanish one.
    """
    told = planned(capsys, "--suggest", "2", "--contrast", "language", "--contrast", "size")[
        "suggestions"
    ]
    first = told["existing"][0]
    assert (
        first["run"] == "spanish"
        and "language" in first["resolved"]
        and first["brings"] == ["language"]
    )
    assert first["download_gb"] == pytest.approx(0.04) and told["known_now"]["language"] < 0.5
    untrained = told["untrained"][0]
    assert (
        untrained["changed"] == "language"
        and untrained["to"] == "spa"
        and untrained["like"] != "web-10m"
    )
    assert untrained["training_flop"] == pytest.approx(
        6e9 * {"1m": 9e5, "100m": 9e7, "10m": 9e6}[untrained["like"].split("-")[1]]
    )


def test_suggestions_by_the_design_of_the_study(
    asked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --contrast the terms of the study's design count, by the factors that their fields
    express; in words, too.
    """
    told = planned(capsys, "--suggest", "3", "--criterion", "A")["suggestions"]
    assert told["terms"] == ["size", "corpus"] and told["criterion"] == "A"
    gains = [row["a_gain"] for row in told["existing"]]
    assert gains == sorted(gains, reverse=True) and gains[0] > 0
    assert main.main(["plan", "asked", "--suggest", "1"]) == 0
    assert "Models that nobody has trained" in capsys.readouterr().out


def test_an_unknown_contrast_is_refused(asked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence with the nearest name, code 2; a standard deviation below 0 likewise."""
    assert main.main(["plan", "asked", "--suggest", "1", "--contrast", "langage"]) == 2
    assert "Did you mean 'language'" in capsys.readouterr().err
    assert main.main(["plan", "asked", "--sd", "-1"]) == 2
    assert "must be a number above 0" in capsys.readouterr().err


def test_an_analysis_that_asks_for_a_false_contrast_is_told(
    asked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """BERT against GPT as an effect of architecture: told before anything is computed, with the
    reason.
    """
    suite = asked.root / "model_registry" / "demo.yaml"
    suite.write_text(
        suite.read_text()
        + "- {id: mask, label: 1m, hub_id: o/mask, objective: masked, architecture: bert}\n"
    )
    text = STUDY.replace(
        "copying, options: {n: 8, conditions: [{length: 6, gap: 2}]}",
        "minimal_pair, stimuli: blimp_agreement",
    )
    outcome = "measure: minimal_pair, metric: correct, objective: [causal, masked], factors: [architecture, log10(params_total)]"
    text = text.replace("measure: copying, metric: copy_top1", outcome).replace(
        "size_trend", "attribution"
    )
    (asked.root / "studies" / "asked.yaml").write_text(text)
    (sentence,) = planned(capsys)["refused_contrasts"]
    assert (
        "between gpt2 and bert" in sentence and "architecture is aliased with objective" in sentence
    )
    assert main.main(["plan", "asked"]) == 0 and "cannot be told" in capsys.readouterr().out
    (asked.root / "studies" / "asked.yaml").write_text(
        text.replace("objective: [causal, masked], ", "")
    )
    assert not planned(capsys)[
        "refused_contrasts"
    ]  # an outcome speaks of causal models where it does not say otherwise
