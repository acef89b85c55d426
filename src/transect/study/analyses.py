"""The analyses of a study: what its file gives to each, the result tables, and the figures drawn
from them.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from transect.store import cell_store, units
from transect.store.files import json_file
from transect.study.study_file import SPEC, Study


@dataclass(frozen=True)
class Written:
    """What an analysis or a figure wrote: its manifest (an empty `error` where it ended well), and
    the tables of an analysis.
    """

    unit: units.Unit
    manifest: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def options(spec: dict[str, Any]) -> dict[str, Any]:
    """What a line of the study's `analyses` gives to the analysis."""
    return {k: v for k, v in spec.items() if k not in SPEC}


def read_analysis(study: Study, name: str) -> Written:
    """What one analysis wrote; without tables where it ended with an error."""
    folder = study.results / "tables" / name
    manifest = json_file.read_object(folder / "manifest.json", "tables")
    tables = {
        table: cell_store.read_table(folder / f"{table}.parquet") for table in manifest["tables"]
    }
    return Written(units.find("analysis", name, study.project), manifest, tables)


def read_figures(study: Study) -> dict[str, Written]:
    """Figure of the study -> what it wrote."""
    folder = study.results / "figures"
    return {
        name: Written(unit, json_file.read_object(folder / f"{name}.json"), {})
        for name, unit in figures_of(study).items()
    }


def figures_of(study: Study) -> dict[str, units.Unit]:
    """The figures of a study: those that it names, or every one whose analyses the study runs."""
    names = [spec["analysis"] for spec in study.data["analyses"]]
    asked = [f for spec in study.data["analyses"] for f in spec.get("figures", [])]
    if asked:
        return {f: units.find("figure", f, study.project, str(study.path)) for f in asked}
    every = {
        f: units.find("figure", f, study.project) for f in units.available("figure", study.project)
    }
    return {f: u for f, u in every.items() if set(u["NEEDS"]) <= set(names)}
