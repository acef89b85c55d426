"""The steps after measuring: an analysis (tables -> tables) and a figure (result tables -> files).
Neither loads a model.
"""

import json
import traceback
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError
from transect.store import cell_store, names, units
from transect.store.files.whole_files import write_text
from transect.store.home import without_home
from transect.study.analyses import options, read_analysis
from transect.study.analysis_options import with_bounds
from transect.study.outcome import label
from transect.study.study_file import Study, measures_needed

FORMATS = ("svg", "pdf", "png")


def analyse(study: Study, name: str, manifest: Path) -> None:
    """Run one analysis; write its tables as Parquet and CSV and a manifest of them. An error goes
    into the manifest and the report.
    """
    unit = units.find("analysis", name, study.project)
    spec = next(s for s in study.data["analyses"] if s["analysis"] == name)
    measures = measures_needed(unit, spec)
    measurements = cell_store.read_table(
        study.results / "measurements.parquet",
        filters=[("measure", "in", measures)] if measures else None,
    )
    registry = cell_store.read_table(study.results / "registry.parquet")
    result: dict[str, Any] = {"analysis": name, "tables": [], "error": ""}
    try:
        given = with_bounds(
            options(spec), {entry.measure.name: entry.measure for entry in study.entries}
        )
        tables = unit.load().tables(measurements, registry, **given)
        _check_tables(tables, name)
        for table, frame in tables.items():
            frame = with_unit(frame, outcome_units(study, spec))
            cell_store.write_table(manifest.parent / f"{table}.parquet", frame)
            cell_store.write_csv(manifest.parent / f"{table}.csv", frame)
        result["tables"] = list(tables)
    except Exception as error:
        result["error"] = without_home(f"{type(error).__name__}: {error}")
        print(traceback.format_exc())
    write_text(manifest, json.dumps(result, indent=1) + "\n")


def _check_tables(tables: dict[str, pd.DataFrame], analysis: str) -> None:
    """The tables of an analysis become files beside each other."""
    for table in tables:
        names.check(table, f"the analysis {analysis} returns the table")
    if alike := names.one_folder(tables):
        raise InputError(
            f"the analysis {analysis} returns the tables {alike[0]!r} and {alike[1]!r}, which are one file on some systems"
        )


def outcome_units(study: Study, spec: dict[str, Any]) -> dict[str, str]:
    """Outcome of an analysis -> unit of its metric, as the measure declares it."""
    measures = {e.measure.name: e.measure for e in study.entries}
    given = [o for o in spec.get("outcomes", []) if o.get("measure") in measures]
    return {label(o): measures[o["measure"]].unit_of(o["metric"]) for o in given}


def with_unit(frame: pd.DataFrame, units_of: dict[str, str]) -> pd.DataFrame:
    """The table with a column `unit` beside `outcome`, where it has outcomes and no such column."""
    if "outcome" not in frame or "unit" in frame:
        return frame
    frame = frame.copy()
    frame.insert(frame.columns.get_loc("outcome") + 1, "unit", frame["outcome"].map(units_of))
    return frame


def draw(study: Study, name: str, manifest: Path) -> None:
    """Draw one figure as SVG, PDF and PNG, with its caption, from result tables alone."""
    from transect.report import style

    unit = units.find("figure", name, study.project)
    result: dict[str, Any] = {"figure": name, "needs": unit["NEEDS"], "caption": "", "error": ""}
    try:
        tables = {analysis: read_analysis(study, analysis).tables for analysis in unit["NEEDS"]}
        if broken := [analysis for analysis, found in tables.items() if not found]:
            raise InputError(
                f"its analysis {broken[0]} ended with an error, so there is nothing to draw"
            )
        module = unit.load()
        style.save(module.figure(tables), manifest.with_suffix(""))
        result["caption"] = module.caption(tables)
    except Exception as error:
        result["error"] = without_home(f"{type(error).__name__}: {error}")
        print(traceback.format_exc())
    write_text(manifest, json.dumps(result, indent=1) + "\n")
