"""The cell store."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from transect import store
from transect.errors import InputError
from transect.files import PART
from transect.store import FAILED, MEASURED, Record, Store

ROWS = pd.DataFrame({"item": ["a", "b"], "metric": "correct", "value": [1.0, 0.0]})


def record(key: str, state: str = MEASURED, **more: str) -> Record:
    return Record(key, "run-1", "step0", "minimal_pair", "agreement", state, **more)  # type: ignore[arg-type]


def written(tmp_path: Path) -> Store:
    cells = Store(tmp_path)
    values = {"k1": store.as_values("k1", ROWS), "k2": store.as_values("k2", ROWS.assign(layer=[0, 1]))}
    cells.write([record("k1"), record("k2"), record("k3", FAILED, reason="no", kind="data")], values, {"seconds": 1})
    return cells


def test_values_come_back(tmp_path: Path) -> None:
    """What was written is read, with nulls where a column does not apply."""
    cells = written(tmp_path)
    back = cells.read(cells.index().loc[["k1", "k2"]])
    assert back["value"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert back["layer"].isna().tolist() == [True, True, False, False]


def test_index_is_rebuilt(tmp_path: Path) -> None:
    """The index is a cache: without it the files say the same."""
    cells = written(tmp_path)
    first = cells.index()
    (tmp_path / "index.parquet").unlink()
    pd.testing.assert_frame_equal(cells.index(), first)
    assert first.loc["k3", "reason"] == "no"


def test_unfinished_files_are_passed_over(tmp_path: Path) -> None:
    """What a killed writer left, or another job is writing, is no cell and no error."""
    cells = written(tmp_path)
    next(tmp_path.glob("cells/*/*/*.parquet")).with_name(f"{PART}x.parquet").touch()
    assert len(cells.index()) == 3


def test_measured_wins_over_failed(tmp_path: Path) -> None:
    """A cell that failed and was measured later counts as measured, whichever file is newer."""
    cells = written(tmp_path)
    cells.write([record("k3")], {"k3": store.as_values("k3", ROWS)}, {})
    assert cells.index().loc["k3", "state"] == MEASURED


def test_damage_is_found(tmp_path: Path) -> None:
    """A flipped byte in the values is noticed when they are read."""
    cells = written(tmp_path)
    file = next(tmp_path.glob("cells/*/*/*.parquet"))
    position = pq.ParquetFile(file).metadata.row_group(0).column(2).data_page_offset + 20
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        cells.read(cells.index())


def test_same_values_same_bytes(tmp_path: Path) -> None:
    """Two stores with the same cells hold the same bytes."""
    files = [next((written(tmp_path / name).root / "cells").glob("*/*/*.parquet")) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("rows", "fault"), [(ROWS.drop(columns="value"), "lack value"), (ROWS.assign(mood=1), "unknown column mood")]
)
def test_rows_are_checked(rows: pd.DataFrame, fault: str) -> None:
    """A measure that returns other columns is told which."""
    with pytest.raises(InputError, match=fault):
        store.as_values("k", rows)


def test_digest_of_values_depends_on_values_alone() -> None:
    """The digest changes with a value and not with the key of the cell."""
    one = store.values_digest(store.as_values("k1", ROWS))
    assert one == store.values_digest(store.as_values("k2", ROWS))
    assert one != store.values_digest(store.as_values("k1", ROWS.assign(value=[1.0, 0.5])))
