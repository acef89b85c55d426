"""From cells to tables that people read: a measure beside itself, units, items, CSV; all of a study
in one process.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.jobs.hub_project import GOOD, hub_project, load_study, measure_all, publish
from tests.shelf import tiny_model
from transect.jobs.analyse import analyse, draw
from transect.jobs.gather import copy_as_csv, gather
from transect.jobs.workflow.runner import outcome
from transect.report.assemble import render
from transect.store import cell_store
from transect.store.cell_store import Store
from transect.store.project import Project, find_project
from transect.study.analyses import figures_of
from transect.study.stale import stale
from transect.study.study_file import Study

LINE = "- {measure: minimal_pair, stimuli: pairs}\n"
BARE = "- {measure: minimal_pair, stimuli: pairs, options: {bos: false}}\n"
OUTCOME = "{measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}"


# the model is causal
SILENT = "{entry: bos=auto, measure: minimal_pair, metric: pll_correct, size: params_total}"


def finish(study: Study) -> None:
    """What the workflow does after measuring."""
    gather(study, study.results)
    for spec in study.data["analyses"]:
        analyse(
            study, spec["analysis"], study.results / "tables" / spec["analysis"] / "manifest.json"
        )
    for name in figures_of(study):
        draw(study, name, study.results / "figures" / f"{name}.json")
    render(study, study.results / "report.html")


def edit(project: Project, *changes: tuple[str, str]) -> Study:
    """The study with these texts replaced."""
    path = project.root / "studies/small.yaml"
    for old, new in changes:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    return load_study(project)


def entry(name: str) -> str:
    return OUTCOME.replace("metric", f"entry: {name}, metric")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Minimal pairs with and without the opening token, of one model, measured and told in a
    report; tests only read.
    """
    folder = tmp_path_factory.mktemp("twice")
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = hub_project(folder, monkeypatch)
        publish(made, "lab/plain", tiny_model(folder, "gpt2"))
        trend = [
            f"{{entry: bos={bos}, measure: minimal_pair, metric: correct, size: params_total}}"
            for bos in ("auto", "false")
        ]
        trend.append(SILENT)
        study = edit(
            made,
            (LINE, LINE + BARE),
            (
                OUTCOME + "]}",
                f"{entry('bos=auto')}]}}\n- {{analysis: size_trend, outcomes: [{', '.join(trend)}]}}",
            ),
        )
        measure_all(study)
        finish(study)
        yield made


@pytest.fixture(scope="module")
def study(project: Project) -> Study:
    return load_study(project)


def table(study: Study, name: str) -> pd.DataFrame:
    return pd.read_parquet(study.results / f"{name}.parquet")


def test_one_measure_stands_beside_itself(study: Study) -> None:
    """Rows, outcomes, status and page hold both entries by their names; the opening token changes
    every log-probability.
    """
    rows = (
        table(study, "measurements")
        .query("metric == 'logprob_good_nats'")
        .pivot(index="item", columns="entry", values="value")
    )
    assert (
        list(rows) == ["bos=auto", "bos=false"]
        and (rows["bos=auto"] != rows["bos=false"]).all()
        and len(rows) == 3
    )
    assert table(study, "grid")["entry"].tolist() == ["bos=auto", "bos=false"]
    points = table(study, "tables/size_trend/points")
    assert points["outcome"].tolist() == [
        "minimal_pair correct bos=auto",
        "minimal_pair correct bos=false",
    ]
    assert set(points["unit"]) == {"proportion"}
    page = (study.results / "report.html").read_text()
    assert (
        "minimal_pair on pairs (bos=false)" in page and "minimal_pair on pairs (bos=auto)" in page
    )
    assert outcome(study).measures["entry"].tolist() == ["bos=auto", "bos=false"]


def test_renaming_measures_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other names: no cell is stale, and tables and page have the new ones."""
    shutil.copytree(project.root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    renamed = find_project(tmp_path / "copy")
    study = edit(
        renamed,
        (LINE, LINE.replace("{m", "{name: opened, m")),
        (BARE, BARE.replace("{m", "{name: bare, m")),
        ("bos=auto", "opened"),
        ("bos=false", "bare"),
    )
    index = Store(renamed.store).index()
    assert not any(stale(cell, index) for cell in study.cells)
    finish(study)
    assert set(table(study, "measurements")["entry"]) == {"opened", "bare"}
    assert "minimal_pair on pairs (opened)" in (study.results / "report.html").read_text()


def test_a_value_stands_beside_its_unit(study: Study) -> None:
    """The units that minimal_pair declares, metric by metric."""
    rows = table(study, "measurements")
    assert dict(zip(rows["metric"], rows["unit"], strict=True)) == {
        "logprob_good_nats": "nats",
        "logprob_bad_nats": "nats",
        "difference_nats": "nats",
        "correct": "proportion",
    }
    assert rows["unit"].notna().all()


def test_the_sentences_have_a_readable_name(study: Study) -> None:
    """results/small/items/pairs.csv: every item of each entry with its sentences, joined to the
    rows by entry and item.
    """
    items = pd.read_csv(study.results / "items/pairs.csv")
    assert list(items) == ["entry", "item", "sentence_good", "sentence_bad"]
    assert items[items["entry"] == "bos=auto"]["sentence_good"].tolist() == GOOD and len(items) == 6
    joined = table(study, "measurements").merge(items, on=["entry", "item"], how="left")
    assert joined["sentence_good"].notna().all()


def test_csv_is_the_parquet_file_again(study: Study) -> None:
    """Every digit of every number, every text; a column of texts is quoted, a missing value is
    empty and not quoted.
    """
    copied = copy_as_csv(study.results)
    assert [p.name for p in copied] == ["measurements.csv", "grid.csv", "registry.csv"]
    for path in copied:
        parquet = pd.read_parquet(path.with_suffix(".parquet"))
        kinds = {
            c: str(t) for c, t in parquet.dtypes.items() if str(t) in ("Int64", "object", "float64")
        }
        csv = pd.read_csv(
            path,
            keep_default_na=False,
            na_values=[""],
            dtype={c: k for c, k in kinds.items() if k != "float64"},
        )
        for column in parquet:
            expected = [None if pd.isna(v) or v == "" else v for v in parquet[column]]
            assert [None if pd.isna(v) else v for v in csv[column]] == expected, column


def test_levels_called_na_and_none_come_back(tmp_path: Path) -> None:
    """R takes a quoted NA for a text and an empty field for missing; 0.1 + 0.2 has 17 digits, 2^53
    + 1 no exact float.
    """
    written = pd.DataFrame(
        {
            "level": ["NA", "None", None, 'a "b", c'],
            "x": [0.1 + 0.2, 1e-300, np.nan, 3.0],
            "n": pd.array([1, None, 3, 2**53 + 1], dtype="Int64"),
            "parts": [["b", "c"], None, ["a"], []],
        }
    )
    cell_store.write_csv(tmp_path / "t.csv", written)
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        '"level","x","n","parts"',
        '"NA",0.30000000000000004,1,"b, c"',
        '"None",1e-300,,',
        ',,3,"a"',
        '"a ""b"", c",3,9007199254740993,""',
    ]


def test_every_column_is_explained(study: Study) -> None:
    """codebook.csv: every column of every table, with a meaning; the outcome's unit, the unit of a
    size, the type of a text.
    """
    book = pd.read_csv(study.results / "codebook.csv")
    assert book["meaning"].notna().all()
    for name in ("measurements", "grid", "registry", "items/pairs", "tables/emergence/curves"):
        assert book.loc[book["table"] == name, "column"].tolist() == list(
            pd.read_parquet(study.results / f"{name}.parquet")
        )
    known = book.set_index(["table", "column"])
    assert known.loc[("registry", "params_total"), ["type", "unit"]].tolist() == [
        "integer",
        "parameters",
    ]
    assert known.loc[("tables/emergence/onsets", "estimate"), "unit"] == "tokens"
    assert known.loc[("tables/size_trend/slopes", "estimate"), "unit"] == "outcome per tenfold size"


def test_an_outcome_without_a_number_is_said(study: Study) -> None:
    """Pseudo-log-likelihoods of a causal model: the analysis ends well, and the page says that it
    tells nothing of them.
    """
    assert (study.results / "tables/size_trend/slopes.parquet").is_file()
    page = (study.results / "report.html").read_text()
    assert (
        "The analysis size_trend tells nothing of minimal_pair pll_correct bos=auto: it was measured in none of the runs"
        in page
    )


def test_the_page_says_where_figures_and_numbers_lie(study: Study) -> None:
    """Each figure links the folder of its data; the last section names the files beside the page."""
    page = (study.results / "report.html").read_text().replace("<wbr>", "")
    assert (
        'href="tables/emergence/"' in page
        and "codebook.csv" in page
        and "transect run STUDY --csv" in page
    )
