"""The step that measures: refused items, the self-check, models with code of their own."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.jobs.hub_project import GOOD, hub_project, load_study, measure_all, publish
from tests.lm.test_loading import own_model
from tests.lm.text.test_cutting import BAD, panicking
from tests.shelf import tiny_model
from transect.jobs.gather import gather
from transect.jobs.measure import measure
from transect.jobs.workflow.runner import outcome
from transect.lm.model import TokenScores
from transect.lm.network import NetworkModel
from transect.report.assemble import hiding
from transect.store.cell_store import FAILED, MEASURED, Store
from transect.store.project import SHIPPED

TOO_LONG = " ".join(["dog"] * 80)  # the tiny models read 64 tokens


def state_of(study) -> pd.Series:
    """The one cell of the study, as the store has it."""
    index = Store(study.project.store).index()
    return index.loc[study.cells[0].key]


def provenance_of(study) -> dict:
    """What was recorded beside it."""
    found = list(Store(study.project.store).provenance_of(study.runs[0].id, "main").values())
    return found[-1]


def test_refused_items_leave_the_others_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty and a too long sentence are errors of their items; the third is measured, the cell
    says how many were refused.
    """
    project = hub_project(tmp_path, monkeypatch, good=[GOOD[0], "", TOO_LONG])
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert (cell["state"], cell["refused"]) == (MEASURED, 2)
    assert cell["reason"].startswith("2 items refused, e.g. b: ")
    rows = Store(project.store).read(Store(project.store).index())
    assert rows[rows["error"].isna()]["item"].unique().tolist() == ["a"]
    assert (
        rows[rows["error"].notna()]
        .groupby("item")["error"]
        .first()
        .str.contains("token|context")
        .all()
    )
    assert rows["value"].isna().equals(rows["error"].notna())


def test_analyses_never_see_refused_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """measurements.parquet holds numbers only and no column `error`; the grid counts the items;
    `status` tells them.
    """
    project = hub_project(tmp_path, monkeypatch, good=[GOOD[0], "", TOO_LONG])
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    gather(study, study.results)
    rows, grid = (
        pd.read_parquet(study.results / f"{name}.parquet") for name in ("measurements", "grid")
    )
    assert set(rows["item"]) == {"a"} and rows["value"].notna().all() and "error" not in rows
    assert grid["n_refused"].tolist() == [2]
    told = outcome(study).refused.iloc[0]
    assert told["measure"] == "minimal_pair" and told["reason"].startswith("2 items refused")


def test_a_cell_of_refused_items_only_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was measured, so the cell is failed, with the first error."""
    project = hub_project(tmp_path, monkeypatch, good=["", "", TOO_LONG])
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert (cell["state"], cell["kind"]) == (FAILED, "data")
    assert cell["reason"].startswith("every item was refused, e.g. a: ")


def test_a_text_that_the_tokenizer_gives_up_on_is_an_error_of_its_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's panic, which no `except Exception` catches, used to end the job three times and
    to read as "out of memory?".
    """
    project = hub_project(tmp_path, monkeypatch, good=[GOOD[0], BAD, GOOD[0]])
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2", tokenizer=panicking()))
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert (cell["state"], cell["refused"]) == (MEASURED, 1)
    assert (
        cell["reason"].startswith("1 items refused, e.g. b: ")
        and "the tokenizer cannot cut the text" in cell["reason"]
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n_layer": 1000}, "asks for more than"),
        ({"auto_map": [1]}, "auto_map is a list"),
    ],
)
def test_a_folder_that_is_no_model_fails_its_cell(
    fields: dict, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the data, which is not tried again, with the sentence; the job ends well."""
    project = hub_project(tmp_path, monkeypatch)
    path = tiny_model(tmp_path, "gpt2")
    raw = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(raw | fields))
    publish(project, "lab/plain", path)
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert (
        (cell["state"], cell["kind"]) == (FAILED, "data")
        and told in cell["reason"]
        and "config.json: " in cell["reason"]
    )


def test_the_self_check_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once per checkpoint: difference (within 1e-5 nats for a tiny model in float32), tolerance,
    number of sequences.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    told = provenance_of(study)["self_check"]
    assert 0 <= told["difference_nats"] < 1e-5 < told["tolerance_nats"] < 1e-4
    assert (told["sequences"], told["against_float64"], told["cells_failed"]) == (4, 0, 0)


def test_code_of_its_own_waits_for_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --trust-remote-code its cells are failed with the flag's name and nothing of it is
    run; with the flag they are measured.
    """
    project = hub_project(tmp_path, monkeypatch, run="own")
    path = own_model(tmp_path)
    publish(project, "lab/own", path)
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert (
        cell["state"] == FAILED
        and "`remote_code: true`" in cell["reason"]
        and "--trust-remote-code" in cell["reason"]
    )
    assert not (path / "ran").exists()
    measure_all(study, trust_remote_code=True)
    assert state_of(study)["state"] == MEASURED and (path / "ran").exists()


def test_scores_that_are_not_the_networks_fail_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-3 nats added to the last token of every sequence: the cell is failed with the number, and
    no value is kept.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    right = NetworkModel.token_scores

    def wrong(*args: Any, **options: Any) -> list[TokenScores]:
        found = right(*args, **options)
        return [s._replace(logprob=np.append(s.logprob[:-1], s.logprob[-1] + 1e-3)) for s in found]

    monkeypatch.setattr(NetworkModel, "token_scores", wrong)
    study = load_study(project)
    measure_all(study)
    cell = state_of(study)
    assert cell["state"] == FAILED and cell["rows"] == 0
    assert cell["reason"].startswith("self-check: ") and "0.001 nats" in cell["reason"]


def test_rows_that_see_each_other_are_scored_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that lets the rows of a batch see each other: found out when it is loaded, so the
    self-check has nothing to say.
    """
    project = hub_project(tmp_path, monkeypatch, run="own")
    path = own_model(tmp_path, kind="own_leak")
    code = path / "modeling_own.py"
    text = code.read_text()
    old = "self.head(self.model(input_ids).last_hidden_state)"
    assert old in text
    code.write_text(text.replace(old, f"(lambda x: x + 0.01 * x.mean((0, 1)))({old})"))
    publish(project, "lab/own", path)
    study = load_study(project)
    measure_all(study, trust_remote_code=True)
    cell = state_of(study)
    assert cell["state"] == MEASURED and cell["rows"] > 0
    assert provenance_of(study)["self_check"]["difference_nats"] < 1e-5


def test_a_measure_that_gives_nan_without_an_error_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is no number does not count as measured."""
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    (project.root / "measures").mkdir()
    (project.root / "measures/holes.py").write_text(
        '"""Holes."""\nimport pandas as pd\nVERSION = 1\nUNIT = {"n": "items"}\nREQUIRES = ["logits"]\nSTIMULI: list[str] = []\n'
        'def measure(model, items, *, seed):\n    return pd.DataFrame({"item": ["x"], "metric": "n", "value": [float("nan")]})\n'
    )
    study_file = project.root / "studies/small.yaml"
    study_file.write_text(
        study_file.read_text().replace(
            "- {measure: minimal_pair, stimuli: pairs}",
            "- {measure: holes}\n- {measure: minimal_pair, stimuli: pairs}",
        )
    )
    study = load_study(project)
    measure_all(study)
    states = Store(project.store).index().set_index("measure")["state"]
    assert states.to_dict() == {"holes": FAILED, "minimal_pair": MEASURED}
    assert (
        "no number and no error"
        in Store(project.store).index().set_index("measure").loc["holes", "reason"]
    )


def test_what_the_model_lacks_is_not_applicable_at_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry promises attention, the model that lies there has none: not applicable, with the
    reason.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "mamba2"))
    study_file = project.root / "studies/small.yaml"
    text = study_file.read_text().replace(
        "measures:",
        "measures:\n- {measure: previous_token, options: {n: 2, conditions: [{length: 4}]}}",
    )
    study_file.write_text(text)
    measure_all(load_study(project))
    cell = Store(project.store).index().set_index("measure").loc["previous_token"]
    assert cell["state"] == "not applicable" and "needs attention, heads" in cell["reason"]


def test_the_budget_of_a_study_sets_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numerics.batch_mb is stated by the study, recorded, reaches the model, and leaves the keys
    and values (1e-5 nats) alone.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    file, found, keys = project.root / "studies/small.yaml", [], []
    text = file.read_text()
    for budget in (256, 1):
        file.write_text(text + f"numerics: {{batch_mb: {budget}}}\n")
        study = load_study(project)
        measure_all(study)
        assert provenance_of(study)["numerics"]["batch_mb"] == budget
        found.append(Store(project.store).read(Store(project.store).index())["value"])
        keys.append(study.cells[0].key)
        for part in ("cells", "provenance"):
            shutil.rmtree(project.store / part)
    assert keys[0] == keys[1] and (found[0] - found[1]).abs().max() < 1e-5


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed with the sentence, but as what may be there next time: another machine may have the
    device.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    file = project.root / "studies/small.yaml"
    text = file.read_text()
    file.write_text(text + "numerics: {device: cuda}\n")
    measure_all(load_study(project))
    cell = state_of(load_study(project))
    assert (cell["state"], cell["kind"]) == (
        FAILED,
        "resource",
    ) and "'cuda' is not on this machine" in cell["reason"]
    file.write_text(text)
    measure_all(load_study(project))
    assert state_of(load_study(project))["state"] == MEASURED


def test_provenance_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity (hub id and revision), commit, and four fingerprints."""
    project = hub_project(tmp_path, monkeypatch)
    commit = publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    told = provenance_of(study)
    assert (told["identity"], told["path"]) == ("lab/plain@main", commit)
    assert set(told["fingerprint"]) == {"weights", "tokenizer", "special", "config"}
    assert json.dumps(told)  # all of it is JSON


def test_memory_that_gives_out_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's errors, too: first the job ends with it; at the last attempt it is recorded, and the
    next run tries again.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):

        def fail(*args: object, told: Exception = error, **options: object) -> None:
            raise told

        with monkeypatch.context() as planted:
            planted.setattr("transect.lm.network.NetworkModel.token_scores", fail)
            with pytest.raises(type(error)):
                measure(study, study.shards[0].name, tmp_path / "marker")
            measure(study, study.shards[0].name, tmp_path / "marker", last_attempt=True)
        assert tuple(state_of(study)[["state", "kind"]]) == (FAILED, "resource")
    measure_all(study)
    assert state_of(study)["state"] == MEASURED


def test_a_unit_in_the_place_of_a_shipped_one_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's minimal_pair: its file stands in the provenance of its cells and in a table of
    the report; of others nothing is said.
    """
    told = "Of this project, in the place of shipped ones"
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    assert "in the place of shipped units" not in provenance_of(study) and not hiding(study)

    own = project.root / "measures/minimal_pair.py"
    own.parent.mkdir()
    shipped = (SHIPPED / "src/transect/measures/behaviour/minimal_pair.py").read_text()
    own.write_text(re.sub("^VERSION = .*", "VERSION = 99", shipped, flags=re.MULTILINE))
    study = load_study(project)
    measure_all(study)
    assert provenance_of(study)["in the place of shipped units"] == {"minimal_pair": str(own)}
    row = hiding(study)[told].iloc[0]
    assert row.to_dict() == {
        "kind": "measure",
        "name": "minimal_pair",
        "file": "measures/minimal_pair.py",
    }
