"""`transect registry audit`: a hub on this machine, saved listings, folders, and what a study
measured.
"""

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.jobs.hub_project import GOOD, PAIRS
from tests.lm.hub_server import serve
from tests.registry.audit.listings import CONFIG, listing, project, steps, tree
from transect.cli import main
from transect.registry import suites
from transect.registry.audit import Holding, measured
from transect.registry.audit.listing import Repository
from transect.registry.recipe import weights_folder
from transect.registry.suite_file import reading
from transect.store.cell_store import MEASURED, Store, as_values
from transect.store.project import Project
from transect.study import study_file as studies

TWIN = {"step5000": "step143000"}
ONE_RUN = "- {id: m, hub_id: lab/m}"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose suite `lab` has the run m of lab/m; no hub is reachable yet."""
    where = project(tmp_path / "project", ONE_RUN)
    monkeypatch.chdir(where.root)
    monkeypatch.delenv("TRANSECT_STORE", raising=False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: refused at once
    return where


def findings(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the findings of one command."""
    code = main.main(["registry", "audit", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)["findings"]


def test_154_revisions_of_the_hub_in_less_than_a_minute(lab, monkeypatch, capsys, tmp_path):
    """With 0.2 s for every answer the real client needs far less than 60 s (measured 4 s); the twin
    is found, nothing is cached.
    """
    trees = {"lab/m": listing([*steps(), "main"], TWIN | {"main": "step143000"})}
    with serve({}, trees=trees, delay=0.2) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        start = time.monotonic()
        code, found = findings(capsys, "lab")
    assert time.monotonic() - start < 60
    assert code == 1
    assert [(f["kind"], f["revisions"], f["known"]) for f in found] == [
        ("identical weights", ["step5000", "step143000"], False)
    ]
    assert not (tmp_path / "cache").exists()


def test_what_the_hub_said_is_saved_and_audited_again_offline(lab, monkeypatch, capsys):
    """The same findings from the file, among them one that rests on what config.json says, and a
    branch that was not read.
    """
    wrong = CONFIG | {"num_hidden_layers": 3}
    trees = {
        "lab/m": listing(
            [*steps(), "main", "cooldown"], TWIN | {"main": "step143000"}, config=wrong
        )
    }
    with serve({}, trees=trees) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        online = findings(capsys, "lab", "--save", "saved.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert json.loads(Path("saved.json").read_text())["lab/m"]["cooldown"] is None
    kinds = [f["kind"] for f in online[1]]
    assert kinds == ["identical weights", "configuration contradicts the entry", "not in the rule"]
    again = findings(capsys, "lab", "--listing", "saved.json")
    assert [f | {"found": ""} for f in again[1]] == [f | {"found": ""} for f in online[1]]


def test_a_revision_that_is_refused_does_not_hide_the_others(lab, monkeypatch, capsys):
    """It is told as not listed; the twin is found all the same."""
    with serve(
        {}, trees={"lab/m": listing(steps(), TWIN)}, broken=frozenset({("lab/m", "step512")})
    ) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        code, found = findings(capsys, "lab")
    assert code == 1
    assert [(f["kind"], f["revisions"]) for f in found] == [
        ("could not be listed", ["step512"]),
        ("identical weights", ["step5000", "step143000"]),
    ]
    assert "HTTP 400 for lab/m at revision 'step512'" in found[0]["found"]


def test_a_gated_repository_among_others(tmp_path, lab, monkeypatch, capsys):
    """Its run is told with the sentence that says what to do; the other run is audited. Where all
    are gated, that is the answer.
    """
    project(lab.root, "- {id: m, hub_id: lab/m}\n- {id: g, hub_id: lab/g}")
    trees = {"lab/m": listing(steps(), TWIN), "lab/g": listing(steps())}
    with serve({}, trees=trees, gated=frozenset({"lab/g"})) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        _, found = findings(capsys, "lab")
        assert [(f["kind"], f["runs"]) for f in found] == [
            ("could not be listed", ["g"]),
            ("identical weights", ["m"]),
        ]
        assert "lab/g is gated: accept its terms" in found[0]["found"]
        assert main.main(["registry", "audit", "lab", "--run", "g"]) == 1
    assert "transect: lab/g is gated" in capsys.readouterr().err


def test_commits_of_a_run_with_one_revision(lab, monkeypatch, capsys):
    """The hub's commits of main are compared where the run is main alone."""
    project(lab.root, "- {id: m, hub_id: lab/m, checkpoints: main}")
    trees = {
        "lab/m": {
            "main": tree("new"),
            "a" * 40: tree("new"),
            "b" * 40: tree("old"),
            "c" * 40: tree(None),
        }
    }
    with serve({}, trees=trees) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        _, found = findings(capsys, "lab")
    assert [(f["kind"], f["revisions"]) for f in found] == [
        ("weights replaced", ["a" * 40, "b" * 40])
    ]


STEPS_ELSEWHERE = """
  elsewhere: {revision: "step{step}", steps: [1, 2, 3], hub_id: lab/m-steps, names: {3: main}}
  each: {revision: "step{step}", steps: [1, 2, 3], hub_id: "lab/m-{step}"}
"""


def test_checkpoints_in_other_repositories(lab, monkeypatch, capsys):
    """Steps in a repository beside the run's, or each in its own: compared under the rule's names,
    with what no rule names.
    """
    project(lab.root, "- {id: m, hub_id: lab/m, checkpoints: elsewhere}", rules=STEPS_ELSEWHERE)
    trees = {
        "lab/m": {"main": tree("c")},
        "lab/m-steps": listing(["main", "step1", "step2", "step9"], {"step2": "step1"}),
    }
    with serve({}, trees=trees) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        _, found = findings(capsys, "lab", "--save", "saved.json")
    told = [("identical weights", ["step1", "step2"]), ("not in the rule", ["step9"])]
    assert [(f["kind"], f["revisions"]) for f in found] == told
    _, again = findings(capsys, "lab", "--listing", "saved.json")
    assert [(f["kind"], f["revisions"]) for f in again] == told


def test_a_repository_for_each_step(lab, monkeypatch, capsys):
    """Main of lab/m-1 and lab/m-2 are steps 1 and 2 of one run; a step whose repository is not
    there is told with the sentence.
    """
    project(lab.root, "- {id: m, hub_id: lab/m, checkpoints: each}", rules=STEPS_ELSEWHERE)
    trees = {f"lab/m-{i}": {"main": tree("same")} for i in (1, 2)} | {
        "lab/m": {"main": tree("last")}
    }
    with serve({}, trees=trees) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        _, found = findings(capsys, "lab")
    assert [(f["kind"], f["revisions"]) for f in found] == [
        ("could not be listed", ["step3"]),
        ("identical weights", ["step1", "step2"]),
    ]
    assert "no model repository 'lab/m-3'" in found[0]["found"]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "told"),
    [
        (["labb"], None, 2, r"There is no suite 'labb' in the registry; .* Did you mean 'lab'\?"),
        (["lab", "--run", "n"], None, 2, r"--run n: the suite 'lab' has no such run"),
        (
            ["lab"],
            None,
            1,
            r"The hub could not be asked about lab/m \(.*\); a saved listing is read with --listing FILE",
        ),
        (["lab", "--listing", "f.json"], None, 2, r"--listing f.json: there is no such file"),
        (
            ["lab", "--listing", "f.json"],
            '{"lab/m": {\n',
            2,
            r"f.json, line 2: this is not valid JSON",
        ),
        (
            ["lab", "--listing", "f.json"],
            '{"lab/n": {"step0": []}}',
            2,
            r"f.json: this lists lab/n; of lab there is none. Did you mean 'lab/m'",
        ),
        (
            ["lab", "--listing", "f.json"],
            '{"lab/m": {"step0": [{"path": 1}]}}',
            2,
            r"f.json: lab/m: revision 'step0', entry 1: path is 1",
        ),
        (["lab", "--measured", "none"], None, 2, r"none"),
    ],
)
def test_bad_input(lab, capsys, arguments, text, code, told):
    """One sentence, with the file and the place; 1 where waiting may help, 2 where the input is
    wrong.
    """
    if text is not None:
        Path("f.json").write_text(text)
    assert main.main(["registry", "audit", *arguments]) == code
    error = capsys.readouterr().err
    assert re.search(told, error)
    assert error.count("\n") == 1


def test_no_network_is_said(lab, monkeypatch, capsys):
    """Where the environment forbids the network, that is the answer."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main.main(["registry", "audit", "lab"]) == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_the_printed_report(lab, capsys):
    """Kinds with their meaning, what was found and expected, and whether it is known."""
    Path("f.json").write_text(json.dumps(listing(steps(), TWIN)))
    assert main.main(["registry", "audit", "lab", "--listing", "f.json"]) == 1
    printed = capsys.readouterr().out
    assert "identical weights: revisions of one run hold the same bytes" in printed
    assert "  m at step5000, step143000 [model.safetensors]" in printed
    assert "lab: 1 runs, 154 revisions compared: 1 new findings, 0 known." in printed


def folder(path: Path, weights: bytes, config: dict[str, Any] = CONFIG) -> Path:
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(weights * 230)
    (path / "tokenizer.json").write_text("{}")
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("place", ["suite/m", "suite/lab/m", "suite"])
def test_folders_on_disk(tmp_path, lab, capsys, place):
    """Folders <name>/<revision>: files are hashed, twins found, revisions that are not there told;
    also the folder of the one run.
    """
    for step in ("step0", "step1", "step2"):
        folder(tmp_path / place / step, (b"same" if step != "step2" else b"else") * 250)
    _, found = findings(capsys, "lab", "--listing", str(tmp_path / "suite"))
    assert [(f["kind"], len(f["revisions"])) for f in found] == [
        ("missing revision", 151),
        ("identical weights", 2),
    ]


def test_a_hub_cache_on_disk(tmp_path, lab, capsys):
    """refs name snapshots whose files are links to blobs: twins are found, and a blob whose content
    is not what its name says.
    """
    cache = tmp_path / "cache" / "models--lab--m"
    for i, (step, weights) in enumerate({"step0": b"a", "step1": b"a", "step2": b"b"}.items()):
        snapshot = folder(cache / "snapshots" / (str(i) * 40), weights * 1000)
        (cache / "refs").mkdir(exist_ok=True)
        (cache / "refs" / step).write_text(snapshot.name)
    blob = cache / "blobs" / hashlib.sha256(b"what it was").hexdigest()
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    _, found = findings(capsys, "lab", "--listing", str(tmp_path / "cache"))
    assert [(f["kind"], f["revisions"]) for f in found if f["kind"] != "missing revision"] == [
        ("identical weights", ["step0", "step1"]),
        ("damaged file", ["step2"]),
    ]


def test_a_run_that_lies_in_a_folder(lab, capsys):
    """A run with a `path` is read where it lies; one whose folder is not there is told."""
    project(
        lab.root,
        "- {id: m, path: models/m, checkpoints: main}\n- {id: n, path: models/none, checkpoints: main}",
    )
    folder(lab.root / "models" / "m", b"x" * 1500)  # three bytes for each weight
    _, found = findings(capsys, "lab")
    assert [(f["kind"], f["runs"]) for f in found] == [
        ("could not be listed", ["n"]),
        ("size contradicts the entry", ["m"]),
    ]
    assert "no weights in" in found[0]["found"]


def test_weights_that_were_trained_here(world, capsys):
    """Two revisions of a run in the project's store that hold the same bytes; the others of the
    suite are not there; counts are none.
    """
    run = suites.load(world).runs["tiny-8-seed0"]
    for step in ("step0", "step6", "step12"):
        folder(weights_folder(run, world) / step, b"same" if step != "step12" else b"else")
    _, found = findings(capsys, "tiny", "--run", "tiny-8-seed0", "--run", "tiny-bigram")
    assert ("identical weights", ["tiny-8-seed0"], ["step0", "step6"]) in [
        (f["kind"], f["runs"], f["revisions"]) for f in found
    ]
    assert not any("tiny-bigram" in f["runs"] for f in found)


def test_an_empty_folder(tmp_path, lab, capsys):
    """Nothing of the suite lies there."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").mkdir()
    assert main.main(["registry", "audit", "lab", "--listing", str(tmp_path / "other")]) == 2
    assert "there is no folder of 'm'; it holds thing" in capsys.readouterr().err


STUDY = """
study: curves
title: Curves
question: Does it hold?
population: {where: "suite == 'lab'"}
seed: 1
measures:
- {measure: minimal_pair, stimuli: pairs}
analyses:
- {analysis: emergence, outcomes: [{measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}]}
"""


def measure_lab(lab: Project, swapped: dict[int, int]) -> None:
    """Put the values of a curve of losses with little noise into the store, as cells of 47 steps;
    swapped: step -> whose values.
    """
    few = "  few: {revision: 'step{step}', steps: [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, {from: 1000, to: 141000, by: 4000}]}"
    project(lab.root, "- {id: m, hub_id: lab/m, checkpoints: few}", rules=few)
    (lab.root / "studies").mkdir(exist_ok=True)
    (lab.root / "stimuli").mkdir(exist_ok=True)
    (lab.root / "studies/curves.yaml").write_text(STUDY)
    (lab.root / "stimuli/pairs.py").write_text(PAIRS.replace("GOOD", repr(GOOD)))
    study = studies.load("curves", lab)
    rng = np.random.default_rng(5)
    values = {
        step: 2
        + 8 * (1 + step / 300) ** -0.5
        + 0.01 * rng.standard_normal(3)
        + np.array([0, 0.3, 0.6])
        for step in [c.checkpoint.step for c in study.cells]
    }
    for cell in study.cells:
        step = cell.checkpoint.step
        numbers = values[swapped.get(step, step)]
        rows = pd.DataFrame({"item": ["a", "b", "c"], "metric": "surprisal_bits", "value": numbers})
        right = pd.DataFrame({"item": ["a", "b", "c"], "metric": "correct", "value": 1.0})
        table = as_values(cell.key, pd.concat([rows, right], ignore_index=True))
        Store(lab.store).write([cell.record(MEASURED)], {cell.key: table}, {})


def test_measured_values_betray_a_swapped_checkpoint(lab, capsys):
    """One step holds another's weights (equal values), two hold each other's (off the curve); the
    metric that is all 1 says nothing.
    """
    measure_lab(lab, {5000: 141000, 29000: 121000, 121000: 29000})
    code, found = findings(capsys, "lab", "--measured", "curves")
    assert code == 1
    assert [(f["kind"], f["revisions"]) for f in found] == [
        ("equal values", ["step5000", "step141000"]),
        ("off the curve", ["step5000"]),
        ("off the curve", ["step29000"]),
        ("off the curve", ["step121000"]),
    ]
    assert "nearest to step141000" in found[1]["found"]


def test_clean_measured_values(lab, capsys):
    """Nothing in a clean run; how many curves were judged is told."""
    measure_lab(lab, {})
    assert main.main(["registry", "audit", "lab", "--measured", "curves"]) == 0
    printed = capsys.readouterr().out
    assert "1 curves of 1 runs were judged" in printed
    assert "47 revisions compared: no findings" in printed


def test_a_study_that_has_measured_nothing(lab, capsys):
    """The sentence says which command does it."""
    measure_lab(lab, {})
    for path in (lab.store / "cells").rglob("*.parquet"):
        path.unlink()
    assert main.main(["registry", "audit", "lab", "--measured", "curves"]) == 2
    assert "`transect run curves` does" in capsys.readouterr().err


def test_values_that_are_equal_by_their_nature(tmp_path):
    """Counts and shares of right answers coincide between checkpoints; they are no twins, nor is
    one value by itself.
    """
    where = project(tmp_path, ONE_RUN)
    [run] = reading.read(where.root / "model_registry/lab.yaml").runs
    rows = [
        ("m", f"step{s}", s, "pairs", "set", metric, "a", value)
        for s in (1000, 2000)
        for metric, value in [("correct", 1.0), ("loss", 0.5)]
    ]
    table = pd.DataFrame(
        rows, columns=["run", "revision", "step", "measure", "stimuli", "metric", "item", "value"]
    )
    table = table.assign(layer=None, head=None)
    judged = measured.judge([Holding(run, Repository(), "measured")], table)
    assert (judged.findings, judged.curves, judged.short) == ([], 0, 1)
