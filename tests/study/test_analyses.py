"""What a study's analyses and figures wrote, read back."""

import json
from pathlib import Path

import pandas as pd
import pytest

from transect.errors import InputError
from transect.store import cell_store
from transect.store.project import Project
from transect.study import study_file
from transect.study.analyses import figures_of, options, read_analysis, read_figures


def manifest(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_an_analysis_is_read_with_its_tables(world: Project) -> None:
    """The tables of the manifest and no other file of its folder."""
    study = study_file.load("tiny", world)
    folder = study.results / "tables" / "emergence"
    manifest(folder / "manifest.json", analysis="emergence", tables=["curves"], error="")
    for table in ("curves", "stray"):
        cell_store.write_table(folder / f"{table}.parquet", pd.DataFrame({"a": [1, 2]}))
    written = read_analysis(study, "emergence")
    assert list(written.tables) == ["curves"] and written.tables["curves"]["a"].tolist() == [1, 2]
    assert written.unit.name == "emergence"


def test_a_damaged_manifest_is_named(world: Project) -> None:
    """One sentence with the file and what it lacks."""
    study = study_file.load("tiny", world)
    manifest(study.results / "tables" / "emergence" / "manifest.json", error="")
    with pytest.raises(InputError, match=r"manifest\.json: this file is damaged \(it lacks tables"):
        read_analysis(study, "emergence")


def test_figures_are_those_whose_analyses_are_run(world: Project) -> None:
    """Each with its manifest, also where it ended with an error."""
    study = study_file.load("tiny", world)
    for name in figures_of(study):
        manifest(study.results / "figures" / f"{name}.json", figure=name, error="planted")
    drawn = read_figures(study)
    assert drawn and {written.manifest["error"] for written in drawn.values()} == {"planted"}
    assert all(set(written.unit["NEEDS"]) <= {"emergence"} for written in drawn.values())


def test_a_line_of_the_study_gives_options(world: Project) -> None:
    """All but the name of the analysis and what the report reads: title and figures."""
    (spec,) = study_file.load("tiny", world).data["analyses"]
    assert set(options(spec | {"title": "T", "figures": []})) == {"outcomes"}
