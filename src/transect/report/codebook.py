"""The codebook of a study: every column of every table that it writes, with its meaning and unit,
found where each is declared.

Result tables: TABLES of their analysis; runs: the schema of the registry and the fields of the
suites; items: COLUMNS of the stimulus set, where it is {column: meaning}; all else:
src/transect/report/columns.py. A column that nobody declares stands there without a meaning.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from transect.registry.factors import own_fields, shared_fields
from transect.report.columns import ITEMS, SHARED, TABLES, meaning_and_unit
from transect.store import cell_store, units
from transect.store.files import json_file
from transect.study.study_file import Study

FILE = "codebook.csv"
COLUMNS = ["table", "column", "type", "meaning", "unit"]


def write(study: Study) -> Path:
    """Write codebook.csv into the study's results."""
    cell_store.write_csv(study.results / FILE, codebook(study))
    return study.results / FILE


def codebook(study: Study) -> pd.DataFrame:
    """One row per table and column. table: its path in the study's results, without the ending."""
    fields = _fields(study)
    items = _conditions(study)
    rows = []
    for table, path, declared in _tables(study, fields):
        for column in pq.read_schema(path):
            text = (
                declared.get(column.name)
                or SHARED.get(column.name)
                or items.get(column.name)
                or fields.get(column.name, "")
            )
            rows.append((table, column.name, _kind(column.type), *meaning_and_unit(text)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _tables(
    study: Study, fields: Mapping[str, str]
) -> Iterator[tuple[str, Path, Mapping[str, str]]]:
    """Name, file, and what is declared of its columns alone."""
    for name in TABLES:
        path = study.results / f"{name}.parquet"
        if path.is_file():
            yield name, path, fields if name == "registry" else {}
    for path in sorted((study.results / ITEMS).glob("*.parquet")):
        unit = units.find("stimuli", path.stem, study.project)
        yield f"{ITEMS}/{path.stem}", path, _declared(unit)
    for spec in study.data["analyses"]:
        name = spec["analysis"]
        folder = study.results / "tables" / name
        tables = units.find("analysis", name, study.project).get("TABLES", {})
        for table in json_file.read_object(folder / "manifest.json", "tables")["tables"]:
            yield f"tables/{name}/{table}", folder / f"{table}.parquet", tables.get(table, {})


def _fields(study: Study) -> dict[str, str]:
    """Registry column -> meaning [unit]: what the schema and the suites of the study say of it."""
    fields = dict(shared_fields())
    sampled = {run.suite for run in study.runs}
    for suite in study.registry.suites:
        if suite.name in sampled:
            fields |= own_fields(suite.fields)
    told_here = {
        name: f"{f.description} [{f.unit}]" if f.unit else f.description
        for name, f in fields.items()
    }
    return told_here | {name: SHARED[name] for name in ("model_class", "tokenizer", "checkpoints")}


def _conditions(study: Study) -> dict[str, str]:
    """item_<name> -> meaning, of every stimulus set of the study."""
    return {
        f"item_{name}": text
        for entry in study.entries
        if entry.stimuli is not None
        for name, text in _declared(entry.stimuli).items()
    }


def _declared(unit: units.Unit) -> Mapping[str, str]:
    columns = unit["COLUMNS"]
    return columns if isinstance(columns, dict) else {}


def _kind(kind: pa.DataType) -> str:
    """text, integer, number, true/false, or what Parquet calls it."""
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "true/false"
    return (
        "text"
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
        else str(kind)
    )
