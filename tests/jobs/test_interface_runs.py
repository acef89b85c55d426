"""A study over a model behind an interface and an open one: marked, dated, replayed from the
transcript, stopped by a silent change.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.jobs.hub_project import hub_project, load_study, measure_all, publish
from tests.lm.chat_server import Chat, answering_model, serve
from transect.cli import main
from transect.jobs.drift import DriftError
from transect.jobs.gather import gather
from transect.lm import load
from transect.lm.generate.generation import answers
from transect.store.cell_store import FAILED, MEASURED, NOT_APPLICABLE, Store
from transect.store.project import Project

BEHIND = "- {{id: behind, model_type: unknown, params_total: unknown, access: api, endpoint: {url!r}, api_model: tiny}}\n"
MEASURES = "- {measure: forced_choice, stimuli: pairs, options: {max_new_tokens: 1}}\n"
OTHERS = (
    "options: {max_new_tokens: 1}",
    "options: {max_new_tokens: 1, question: Which one?}",
)  # a change that asks anew
TABLES = ("measurements", "grid", "registry")


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    """A server of a tiny model that answers with 1 or 2."""
    model = load(answering_model(tmp_path / "served"))
    with serve(lambda prompt: answers(model, [prompt], max_new_tokens=1)[0].text) as served:
        yield served


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: Chat) -> Project:
    """A study of two runs, the one behind the interface and the open one; both are the same tiny
    model.
    """
    monkeypatch.delenv("TRANSECT_API_KEY", raising=False)
    monkeypatch.setattr("transect.lm.api.WAIT", 0.0)
    made = hub_project(tmp_path, monkeypatch)
    publish(made, "lab/plain", answering_model(tmp_path / "open"))
    registry, study = made.root / "model_registry/lab.yaml", made.root / "studies/small.yaml"
    registry.write_text(registry.read_text() + BEHIND.format(url=chat.url))
    text = study.read_text().replace("run == 'plain'", "run == 'plain' or run == 'behind'")
    study.write_text(text.replace("measures:\n", "measures:\n" + MEASURES))
    return made


def tables(project: Project) -> dict[str, bytes]:
    """Measure what is stale and gather: the result tables, byte by byte."""
    study = load_study(project)
    measure_all(study, last_attempt=True)
    gather(study, study.results)
    return {name: (study.results / f"{name}.parquet").read_bytes() for name in TABLES}


def forget(project: Project) -> None:
    """All that was measured, but not the transcripts."""
    for part in ("cells", "provenance", "items"):
        shutil.rmtree(project.store / part)
    (project.store / "index.parquet").unlink()
    shutil.rmtree(load_study(project).results)


def test_a_study_replays_from_its_transcript(project: Project, chat: Chat) -> None:
    """Once measured, all but the transcript is deleted: no request is sent again, and every table
    has the same bytes.
    """
    first = tables(project)
    sent = len(chat.asked)
    assert sent == 1 + 2 * 3  # the canary, three items in two orders
    forget(project)
    chat.reply = lambda prompt: "none of these"
    assert tables(project) == first and len(chat.asked) == sent


def test_what_needs_more_than_text_is_not_applicable(project: Project) -> None:
    """minimal_pair of the run behind the interface: its state and reason; forced_choice is measured
    of both, with equal values.
    """
    tables(project)
    results = load_study(project).results
    grid = pd.read_parquet(results / "grid.parquet").set_index(["run", "measure"])
    states = grid["state"].to_dict()
    assert states.pop(("behind", "minimal_pair")) == NOT_APPLICABLE and set(states.values()) == {
        MEASURED
    }
    reason = (
        "minimal_pair needs logits; behind offers text only, through an interface (access: api)"
    )
    assert grid.loc[("behind", "minimal_pair"), "reason"] == reason
    rows = pd.read_parquet(results / "measurements.parquet").query("measure == 'forced_choice'")
    values = rows.pivot(index=["item", "metric"], columns="run", values="value")
    assert len(values) == 6 and (values["behind"] == values["plain"]).all()


def test_access_is_marked(project: Project) -> None:
    """In the registry table, and beside the values with the model's name, its fingerprint and the
    date.
    """
    tables(project)
    study = load_study(project)
    registry = pd.read_parquet(study.results / "registry.parquet").set_index("run")
    assert (
        registry.loc["behind", "access"] == "api" and registry.loc["behind", "api_model"] == "tiny"
    )
    (told,) = Store(project.store).provenance_of("behind", "main").values()
    assert told["access"] == "api" and told["fingerprint"] == {
        "interface": "tiny-1 (fingerprint fp_1)"
    }
    assert told["identity"].startswith("tiny of http://127.0.0.1") and told["time"] > 0


def test_another_model_under_the_name_stops_its_cells(project: Project, chat: Chat) -> None:
    """The interface changes, then another question is asked: that cell fails with the reason, the
    finished one and the open run stand.

    When the old model is back, the next run measures it.
    """
    before = tables(project)
    study = project.root / "studies/small.yaml"
    study.write_text(study.read_text().replace(*OTHERS))
    chat.served["system_fingerprint"] = "fp_2"
    tables(project)
    grid = pd.read_parquet(load_study(project).results / "grid.parquet").set_index(
        ["run", "measure"]
    )
    assert grid.loc[("behind", "forced_choice"), "state"] == FAILED
    assert grid.loc[("behind", "forced_choice"), "reason"].startswith(
        "the interface now serves another model: tiny-1 (fingerprint fp_2)"
    )
    assert grid.loc[("plain", "forced_choice"), "state"] == MEASURED
    study.write_text(study.read_text().replace(*reversed(OTHERS)))
    assert tables(project) == before
    study.write_text(study.read_text().replace(*OTHERS))
    chat.served["system_fingerprint"] = "fp_1"
    tables(project)
    grid = pd.read_parquet(load_study(project).results / "grid.parquet").set_index(
        ["run", "measure"]
    )
    assert grid.loc[("behind", "forced_choice"), "state"] == MEASURED


def test_a_transcript_cannot_be_dropped_from_under_its_cells(project: Project, chat: Chat) -> None:
    """Without it the new model would be taken for the old one; the cells remember which they are
    of, and the run stops.
    """
    tables(project)
    Store(project.store).transcript("behind").unlink()
    study = project.root / "studies/small.yaml"
    study.write_text(study.read_text().replace(*OTHERS))
    chat.served["model"] = "tiny-2"
    with pytest.raises(
        DriftError,
        match="behind at main: the model that the interface serves changed .*tiny-1 .* then, tiny-2 .* now",
    ):
        tables(project)


def test_the_command_measures_it_too(
    project: Project, chat: Chat, capsys: pytest.CaptureFixture[str]
) -> None:
    """`transect measure` asks the same interface and keeps the same transcript; what needs more is
    not applicable.
    """
    out, pairs = project.root / "rows.parquet", ["--stimuli", "pairs"]
    options = ["--option", "max_new_tokens=1", "--out", str(out)]
    assert main.main(["measure", "behind", "--measure", "forced_choice", *pairs, *options]) == 0
    assert pd.read_parquet(out)["value"].notna().all()
    transcript = Store(project.store).transcript("behind").read_text().splitlines()
    assert (
        len(transcript) == len(chat.asked) == 7
        and json.loads(transcript[0])["served"]["model"] == "tiny-1"
    )
    assert (
        main.main(["measure", "behind", "--measure", "minimal_pair", *pairs, "--out", str(out)])
        != 0
    )
    assert "needs logits" in capsys.readouterr().err


@pytest.mark.slow
def test_the_workflow_replays_without_the_server(project: Project, chat: Chat) -> None:
    """`transect run` after all but the transcript was deleted, with a server that refuses
    everything: finished, with the same tables.
    """
    study = project.root / "studies/small.yaml"
    study.write_text(
        study.read_text().partition("analyses:")[0] + "analyses:\n- {analysis: population}\n"
    )
    first = tables(project)
    forget(project)
    chat.refusals = [(403, "no")]
    assert main.main(["run", "small", "--cores", "1"]) == 0
    results = load_study(project).results
    assert {name: (results / f"{name}.parquet").read_bytes() for name in TABLES} == first and len(
        chat.refusals
    ) == 1
