"""The canary: what lies at a revision is what was measured there before, or the run stops."""

import json
import shutil
from pathlib import Path

import pytest

from tests.jobs.hub_project import hub_project, load_study, measure_all, publish
from tests.shelf import tiny_model
from transect.cli import main
from transect.jobs.drift import DriftError
from transect.jobs.measure import STOPPED
from transect.lm.text.tokenizer import canary, read_tokenizer
from transect.store.cell_store import Store
from transect.store.project import Project


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose model was measured, and whose study then asks for one more cell of it."""
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path / "first", "gpt2"))
    measure_all(load_study(project))
    file = project.root / "studies/small.yaml"
    more = "- {measure: copying, options: {n: 2, conditions: [{length: 4}]}}"
    file.write_text(file.read_text().replace("analyses:", f"{more}\nanalyses:"))
    return project


def files(project: Project) -> dict[str, bytes]:
    """Everything that the store holds of the model."""
    return {
        str(p): p.read_bytes()
        for part in ("cells", "provenance")
        for p in (project.store / part).rglob("*")
        if p.is_file()
    }


def test_the_same_weights_are_measured_again(measured: Project) -> None:
    """Another cell of the same checkpoint: nothing has changed, so it is measured."""
    measure_all(load_study(measured))
    assert set(Store(measured.store).index()["measure"]) == {"minimal_pair", "copying"}


def test_a_branch_that_moved_stops_the_run(measured: Project, tmp_path: Path) -> None:
    """Other weights under the same revision: one sentence with what, where, both commits and what
    to do; nothing is written.
    """
    before = files(measured)
    first = (tmp_path / "hub/models--lab--plain/refs/main").read_text()
    second = publish(measured, "lab/plain", tiny_model(tmp_path / "second", "gpt2", seed=1))
    study = load_study(measured)
    with pytest.raises(DriftError) as told:
        measure_all(study)
    text = str(told.value)
    assert text.startswith("plain at main: the weights changed since this checkpoint was measured")
    assert (
        first[:12] in text
        and second[:12] in text
        and f"name commit {first} as the revision" in text
    )
    assert (
        "delete" in text
        and "\n" not in text
        and (study.results / STOPPED / "plain.txt").read_text().strip() == text
    )
    assert files(measured) == before


def test_a_changed_tokenizer_stops_the_run(measured: Project, tmp_path: Path) -> None:
    """Two words swapped, weights the same: the tokenizer is named and the weights are not."""
    path = tiny_model(tmp_path / "second", "gpt2")
    text = json.loads((path / "tokenizer.json").read_text())
    words = text["model"]["vocab"]
    words["the"], words["syl7"] = words["syl7"], words["the"]
    text["model"]["vocab"] = words
    (path / "tokenizer.json").write_text(json.dumps(text))
    publish(measured, "lab/plain", path)
    with pytest.raises(DriftError, match="plain at main: the tokenizer changed"):
        measure_all(load_study(measured))


def test_another_opening_token_stops_the_run(measured: Project, tmp_path: Path) -> None:
    """The ids of a text stay, the token that opens it changes: that is told too."""
    path = tiny_model(tmp_path / "second", "gpt2")
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": "<pad>"}))
    publish(measured, "lab/plain", path)
    with pytest.raises(DriftError, match="the special tokens of the tokenizer changed"):
        measure_all(load_study(measured))


def test_a_commit_that_changes_neither_is_no_drift(measured: Project, tmp_path: Path) -> None:
    """A new model card moves the branch; weights and tokenizer are the same, so the run goes on."""
    path = tiny_model(tmp_path / "second", "gpt2")
    (path / "README.md").write_text("A card.")
    publish(measured, "lab/plain", path)
    measure_all(load_study(measured))
    assert len(Store(measured.store).index()) == 2


def test_measuring_without_a_study_asks_the_store_too(
    measured: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`transect measure RUN` of a run that was measured before, with other weights: exit code 2 and
    the sentence.
    """
    publish(measured, "lab/plain", tiny_model(tmp_path / "second", "gpt2", seed=1))
    options = [
        "--option",
        "n=2",
        "--option",
        "conditions=[{length: 4}]",
        "--out",
        str(tmp_path / "x.parquet"),
    ]
    assert main.main(["measure", "plain", "--measure", "copying", *options]) == 2
    assert (
        "the weights changed" in capsys.readouterr().err and not (tmp_path / "x.parquet").exists()
    )


def test_deleting_what_was_measured_goes_on(measured: Project, tmp_path: Path) -> None:
    """The advice of the sentence works."""
    publish(measured, "lab/plain", tiny_model(tmp_path / "second", "gpt2", seed=1))
    for part in ("cells", "provenance"):
        shutil.rmtree(measured.store / part / "plain" / "main")
    measure_all(load_study(measured))
    assert set(Store(measured.store).index()["measure"]) == {"minimal_pair", "copying"}


def test_another_configuration_stops_the_run(measured: Project, tmp_path: Path) -> None:
    """An epsilon is no weight and changes every number; a record from before it was taken down is
    not compared.
    """
    path = tiny_model(tmp_path / "second", "gpt2")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 0.01}))
    publish(measured, "lab/plain", path)
    with pytest.raises(DriftError, match="plain at main: the configuration changed"):
        measure_all(load_study(measured))
    for file in (measured.store / "provenance/plain/main").glob("*.json"):
        told = json.loads(file.read_text())
        del told["fingerprint"]["config"]
        file.write_text(json.dumps(told))
    measure_all(load_study(measured))
    assert len(Store(measured.store).index()) == 2


def test_a_canary_that_the_entry_states_is_checked_at_the_first_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was measured before: ids that differ from the registry's digest stop the run all the
    same; equal ones are measured.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", path := tiny_model(tmp_path / "first", "gpt2"))
    file = project.root / "model_registry/lab.yaml"
    text = file.read_text()
    file.write_text(
        text.replace("{id: plain,", "{id: plain, tokenizer: {canary: 0123456789abcdef},")
    )
    with pytest.raises(
        DriftError,
        match="plain at main: the tokenizer cuts a fixed text otherwise .*canary 0123456789ab in suite lab",
    ):
        measure_all(load_study(project))
    assert not files(project)
    file.write_text(
        text.replace(
            "{id: plain,",
            f"{{id: plain, tokenizer: {{canary: {canary(read_tokenizer(path))[:16]}}},",
        )
    )
    measure_all(load_study(project))
    assert set(Store(project.store).index()["state"]) == {"measured"}
