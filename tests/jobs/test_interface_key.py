"""The key of an interface that gives it back in every dress: it stands in no file of the project
and in no line of output.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.jobs.hub_project import hub_project, load_study, measure_all
from tests.lm.chat_server import KEY, Chat, answer, serve
from tests.store.hub.test_post import dresses
from transect.cli import main
from transect.jobs.analyse import analyse, draw
from transect.jobs.gather import gather
from transect.report.assemble import render
from transect.store.cell_store import FAILED, MEASURED
from transect.store.project import Project
from transect.study.analyses import figures_of

RUN = (
    "- {{id: {id}, model_type: unknown, params_total: unknown, access: api, endpoint: {url!r}, api_model: tiny, "
    "checkpoints: main}}\n"
)
STUDY = """
study: small
title: Small
question: Does it work?
population: {where: "suite == 'lab' and access == 'api'"}
seed: 1
measures:
- {measure: forced_choice, stimuli: pairs, options: {max_new_tokens: 1}}
analyses:
- {analysis: population}
"""


def answered(text: str) -> bytes:
    """An answer of a server that calls its model by the key."""
    choice = {"message": {"content": text}}
    return answer(
        json.dumps({"choices": [choice], "model": KEY, "system_fingerprint": KEY.upper()}).encode()
    )


def sent() -> list[bytes]:
    """What the healthy server sends: the canary, then for each of six prompts three errors and an
    answer, in all dresses.
    """
    worn = iter(dresses().values())
    found = [answered("yes")]
    for _ in range(6):
        for status in ("500 No", "429 No", "503 No"):
            body = json.dumps({"error": {"message": f"bad key {next(worn, KEY)}"}}).encode()
            found.append(answer(body, status, Retry_After="0"))
        found.append(answered(f"1\n{next(worn, KEY)}"))
    return found


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Chat]]:
    """Three servers, each a run of the project's registry: one answers in the end, one refuses, one
    speaks another language.
    """
    monkeypatch.setenv("TRANSECT_API_KEY", KEY)
    project = hub_project(tmp_path, monkeypatch)
    with serve(str.upper) as healthy, serve(str.upper) as locked, serve(str.upper) as other:
        chats = {"healthy": healthy, "locked": locked, "other": other}
        registry = project.root / "model_registry/lab.yaml"
        registry.write_text(
            registry.read_text()
            + "".join(RUN.format(id=name, url=chat.url) for name, chat in chats.items())
        )
        (project.root / "studies/small.yaml").write_text(STUDY.lstrip())
        healthy.raw = sent()
        locked.raw = [
            answer(json.dumps({"error": {"message": "x" * 180 + KEY}}).encode(), "401 No")
        ] * 9
        other.raw = [answer(f"Invalid key: {KEY}".encode())] * 9
        yield chats


def told(project: Project) -> dict[str, str]:
    """The text of every file of the project; of Parquet its schema and rows."""
    found = {}
    for path in (p for p in project.root.rglob("*") if p.is_file()):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            text += str(pq.read_schema(path).metadata) + pd.read_parquet(path).to_json()
        found[str(path.relative_to(project.root))] = text
    return found


def check(texts: dict[str, str]) -> None:
    """No text holds the key, in any casing, its beginning or end, nor its base64; some hold the
    mask.
    """
    secrets = [
        KEY,
        KEY[:8],
        KEY[-8:],
        KEY[::-1],
        base64.b64encode(KEY.encode()).decode()[:16],
        KEY.encode().hex(),
    ]
    assert any("***" in text for text in texts.values())
    assert [
        name for name, text in texts.items() for secret in secrets if secret.lower() in text.lower()
    ] == []


def test_a_study_holds_no_key(servers: dict[str, Chat], capfd: pytest.CaptureFixture[str]) -> None:
    """Store, transcripts, provenance, tables and report of a study over the three; two of its cells
    failed with what their server said.
    """
    from transect.store.project import find_project

    project = find_project()
    study = load_study(project)
    measure_all(study, last_attempt=True)
    gather(study, study.results)
    analyse(study, "population", study.results / "tables/population/manifest.json")
    for figure in figures_of(study):
        draw(study, figure, study.results / f"figures/{figure}.json")
    render(study, study.results / "report.html")
    assert servers["healthy"].raw == [] and servers["healthy"].keys == [f"Bearer {KEY}"] * 25
    grid = pd.read_parquet(study.results / "grid.parquet").set_index("run")
    assert grid["state"].to_dict() == {"healthy": MEASURED, "locked": FAILED, "other": FAILED}
    assert (
        "HTTP 401" in grid.loc["locked", "reason"]
        and "Invalid key: ***" in grid.loc["other", "reason"]
    )
    texts = told(project)
    assert "Invalid key: ***" in texts["results/small/report.html"]
    check(texts | {"output": str(capfd.readouterr())})


def test_the_command_measures_without_showing_it(
    servers: dict[str, Chat], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`transect measure` of each of the three, and `status`: the rows, the transcript and all
    output.
    """
    from transect.store.project import find_project

    options = ["--stimuli", "pairs", "--option", "max_new_tokens=1"]
    ended = [
        main.main(["measure", name, "--measure", "forced_choice", *options, "--out", f"{name}.csv"])
        for name in servers
    ]
    output = str(capfd.readouterr())
    assert ended == [0, 2, 2] and "HTTP 401" in output and "Invalid key: ***" in output
    check(told(find_project()) | {"output": output})


@pytest.mark.slow
def test_the_workflow_holds_no_key(
    servers: dict[str, Chat], capfd: pytest.CaptureFixture[str]
) -> None:
    """`transect run` from end to end, with its logs, and `status --json`."""
    from transect.store.project import find_project

    assert main.main(["run", "small", "--cores", "1"]) == 1
    assert main.main(["status", "small", "--json"]) == 1
    assert servers["healthy"].raw == []
    check(told(find_project()) | {"output": str(capfd.readouterr())})
