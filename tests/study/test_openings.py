"""What texts were opened with: in every cell's provenance, in the plan, in the report, on the
command line.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.model.conftest import PAIRS
from tests.jobs.hub_project import hub_project, load_study, measure_all, publish
from tests.shelf import byte_tokenizer, tiny_model
from transect.cli.main import main
from transect.jobs.gather import gather
from transect.report import assemble
from transect.store.cell_store import Store
from transect.study import openings

TOLD = "puts nothing before a text itself; '<s>' is the one that it declares"


def opened(study) -> list[dict]:
    """Opening and doubt of every cell that was measured, by the provenance."""
    recorded = Store(study.project.store).provenance_of(study.runs[0].id, "main").values()
    return [
        {k: c[k] for k in ("opening", "opening_doubt")}
        for p in recorded
        for c in p["cells"].values()
    ]


def with_option(project, text: str):
    """The study, its measure with this option."""
    file = project.root / "studies" / "small.yaml"
    file.write_text(
        file.read_text().replace("stimuli: pairs}", f"stimuli: pairs, options: {{{text}}}}}")
    )
    return load_study(project)


def test_every_cell_keeps_its_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The declared BOS with the reason to doubt it; a named token, none, in other cells. The report
    has a row of each.
    """
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    study = load_study(project)
    measure_all(study)
    (found,) = opened(study)
    assert found["opening"] == ["<s>"] and TOLD in found["opening_doubt"]
    gather(study, study.results)
    shown = assemble._provenance(study, pd.read_parquet(study.results / "grid.parquet"))[
        "What texts were opened with"
    ]
    assert shown[["run", "opened with", "measures"]].to_numpy().tolist() == [
        ["plain", "<s>", "minimal_pair"]
    ]
    named = with_option(project, 'bos: "<mask>"')
    assert named.cells[0].key != study.cells[0].key
    measure_all(named)
    assert {"opening": ["<mask>"], "opening_doubt": ""} in opened(named)
    recorded = [*Store(project.store).provenance_of("plain", "main").values()]
    grid = pd.DataFrame(
        [
            {"cell": s.cells[0].key, "run": "plain", "measure": "minimal_pair"}
            for s in (study, named)
        ]
    )
    table = openings.table(recorded, grid)
    assert table["opened with"].tolist() == ["<mask>", "<s>"] and set(table["measures"]) == {
        "minimal_pair"
    }
    assert table["what speaks against it"].str.contains(TOLD, regex=False).tolist() == [False, True]
    assert openings.table([], grid).columns.tolist() == openings.COLUMNS


def test_the_registry_names_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`opening` of a run: what `bos: auto` takes, part of the key; without it keys are as before."""
    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path, "gpt2"))
    before = load_study(project).cells[0].key
    suite = project.root / "model_registry" / "lab.yaml"
    suite.write_text(
        suite.read_text().replace("hub_id: lab/plain", 'hub_id: lab/plain, opening: "<pad>"')
    )
    study = load_study(project)
    assert study.cells[0].key != before
    measure_all(study)
    assert opened(study) == [{"opening": ["<pad>"], "opening_doubt": ""}]


def test_the_plan_tells_which_tokenizers_put_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the registry alone, for runs whose opening nobody names."""
    project = hub_project(tmp_path, monkeypatch)
    suite = project.root / "model_registry" / "lab.yaml"
    assert openings.planned(load_study(project)) == []
    text = suite.read_text()
    suite.write_text(
        text.replace("hub_id: lab/plain", "hub_id: lab/plain, tokenizer: {key: a, bos: none}")
    )
    (told,) = openings.planned(load_study(project))
    assert told.startswith("The tokenizers of 1 runs put nothing before a text (plain)")
    assert openings.planned(with_option(project, "bos: false")) == []
    suite.write_text(
        text.replace(
            "hub_id: lab/plain", 'hub_id: lab/plain, opening: "<s>", tokenizer: {key: a, bos: none}'
        )
    )
    assert openings.planned(load_study(project)) == []


def test_measure_warns_and_takes_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doubt on stderr, the opening in --json; no doubt where the token is named; an unknown one
    is exit code 2.
    """
    monkeypatch.chdir(tmp_path)
    pairs = tmp_path / "order.jsonl"
    pairs.write_text("\n".join(map(json.dumps, PAIRS)))
    model = tiny_model(tmp_path / "bytes", "gpt2", tokenizer=byte_tokenizer())
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs),
        "--out",
        "rows.csv",
        "--json",
    ]
    assert main(given) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["opening"] == ["<|endoftext|>"]
    assert "'<|endoftext|>' is the one that it declares" in told.err
    assert main([*given, "--option", "bos=<|endoftext|>"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*given, "--option", "bos=<|endoftex|>"]) == 2
    assert "Did you mean '<|endoftext|>'?" in capsys.readouterr().err
