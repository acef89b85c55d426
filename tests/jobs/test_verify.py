"""Whether the cells of a study are what was written."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transect.jobs.verify import damages
from transect.store import cell_store
from transect.store.cell_store import MEASURED, Store
from transect.store.project import Project
from transect.study import study_file as studies
from transect.study.study_file import Study

ROWS = pd.DataFrame({"item": ["a", "b"], "metric": "correct", "value": [1.0, 0.0]})


@pytest.fixture
def measured(world: Project) -> Study:
    """A study of which two checkpoints are measured, a file each of two cells."""
    study = studies.load("tiny", world)
    for checkpoint in list(dict.fromkeys(c.checkpoint for c in study.cells))[:2]:
        cells = [c for c in study.cells if c.checkpoint == checkpoint][:2]
        values = {c.key: cell_store.as_values(c.key, ROWS) for c in cells}
        Store(world.store).write([c.record(MEASURED) for c in cells], values, {})
    return study


def files(study: Study) -> list[Path]:
    return sorted((study.project.store / "cells").rglob("*.parquet"))


def test_what_was_written_is_whole(measured: Study) -> None:
    """Four cells are read, none is damaged."""
    assert damages(measured) == (4, [])


@pytest.mark.parametrize("state", ["not applicable", "failed"])
def test_an_edited_index_keeps_no_cell_from_being_read(measured: Study, state: str) -> None:
    """Rows that call every cell by another state: all are read nevertheless, and without an index
    too.
    """
    path = measured.project.store / "index.parquet"
    Store(measured.project.store).index()
    table = pq.read_table(path)
    at = table.column_names.index("state")
    pq.write_table(
        table.set_column(
            at, table.schema.field(at), pa.array([state] * len(table), table.schema.field(at).type)
        ),
        path,
    )
    assert damages(measured) == (4, [])
    path.unlink()
    assert damages(measured) == (4, []) and not path.exists()


def test_a_cell_without_its_values_is_damaged(measured: Study) -> None:
    """A record that says measured, and no row of it in the file."""
    file = files(measured)[0]
    table = pq.read_table(file)
    gone = table["cell"][0].as_py()
    pq.write_table(
        table.filter(pa.compute.not_equal(table["cell"], gone)), file, write_page_checksum=True
    )
    n, told = damages(measured)
    assert n == 4 and len(told) == 1 and gone[:12] in told[0]


def test_another_value_is_found(measured: Study) -> None:
    """A value that was exchanged, in a file that is whole."""
    file = files(measured)[0]
    table = pq.read_table(file)
    at = table.column_names.index("value")
    values = pa.array([0.5, *table["value"].to_pylist()[1:]])
    pq.write_table(
        table.set_column(at, table.schema.field(at), values), file, write_page_checksum=True
    )
    n, told = damages(measured)
    assert n == 4 and len(told) == 1 and "are not those that were written" in told[0]


def test_a_file_without_records_is_told_and_the_others_are_read(measured: Study) -> None:
    """Its cells are not counted as read."""
    file = files(measured)[0]
    table = pq.read_table(file).replace_schema_metadata({"transect": json.dumps([{"key": None}])})
    pq.write_table(table, file)
    n, told = damages(measured)
    assert n == 2 and len(told) == 1 and f"{file}: this file of cells is damaged" in told[0]
