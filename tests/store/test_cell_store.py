"""The cell store."""

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transect.errors import InputError
from transect.store import cell_store
from transect.store.cell_store import FAILED, MEASURED, Record, Store
from transect.store.files.whole_files import PART

ROWS = pd.DataFrame({"item": ["a", "b"], "metric": "correct", "value": [1.0, 0.0]})


def record(key: str, state: str = MEASURED, **more: str) -> Record:
    return Record(key, "run-1", "step0", "minimal_pair", "agreement", state, **more)  # type: ignore[arg-type]


def written(tmp_path: Path) -> Store:
    cells = Store(tmp_path)
    values = {
        "k1": cell_store.as_values("k1", ROWS),
        "k2": cell_store.as_values("k2", ROWS.assign(layer=[0, 1])),
    }
    cells.write(
        [record("k1"), record("k2"), record("k3", FAILED, reason="no", kind="data")],
        values,
        {"seconds": 1},
    )
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
    cells.write([record("k3")], {"k3": cell_store.as_values("k3", ROWS)}, {})
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
    files = [
        next((written(tmp_path / name).root / "cells").glob("*/*/*.parquet")) for name in ("a", "b")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (ROWS.drop(columns="value"), "lack value"),
        (ROWS.assign(mood=1), "unknown column mood"),
        (ROWS.assign(value=["yes", "no"]), "values of a measure must be numbers"),
        (
            ROWS.assign(value=[1.0, np.nan]),
            "1 of 2 rows of a measure hold no number and no error, e.g. correct of item b",
        ),
        (
            ROWS.assign(error=["too long", None]),
            "hold a number and an error, e.g. correct of item a",
        ),
        (ROWS.assign(value=[1.0, np.nan], error=["", ""]), "no number and no error"),
    ],
)
def test_rows_are_checked(rows: pd.DataFrame, fault: str) -> None:
    """A measure that returns other columns is told which."""
    with pytest.raises(InputError, match=fault):
        cell_store.as_values("k", rows)


def test_digest_of_values_depends_on_values_alone() -> None:
    """The digest changes with a value and not with the key of the cell."""
    one = cell_store.values_digest(cell_store.as_values("k1", ROWS))
    assert one == cell_store.values_digest(cell_store.as_values("k2", ROWS))
    assert one != cell_store.values_digest(
        cell_store.as_values("k1", ROWS.assign(value=[1.0, 0.5]))
    )


REFUSED = ROWS.assign(value=[1.0, np.nan], error=[None, "it is empty"])


def test_refused_items_are_counted_and_come_back(tmp_path: Path) -> None:
    """A row with an error is stored as such; the record counts items, not rows."""
    cells = Store(tmp_path)
    rows = pd.concat([REFUSED, REFUSED.assign(metric="other")])
    cells.write([record("k1")], {"k1": cell_store.as_values("k1", rows)}, {})
    assert cells.index().loc["k1", "refused"] == 1
    back = cells.read(cells.index())
    assert back["error"].fillna("").tolist() == ["", "it is empty"] * 2
    assert cell_store.refusals(back).to_dict("records") == [{"item": "b", "error": "it is empty"}]


def test_digest_depends_on_errors() -> None:
    """Another reason is another digest; without errors it is that of a table which has no such
    column (files of before).
    """
    plain = cell_store.as_values("k", ROWS)
    one, two = (
        cell_store.values_digest(cell_store.as_values("k", REFUSED.replace("it is empty", e)))
        for e in ("it is empty", "x")
    )
    assert one != two
    # computed by version 0.1.0 of this project, before the column was there
    assert (
        cell_store.values_digest(plain)
        == "308f802c95c4ef221a1c23a0d65275731848e0412501581edb9c2688f3754089"
    )


def test_files_without_the_column_of_errors_are_read(tmp_path: Path) -> None:
    """A store of before (no `error`, no `refused`, an index without it): values and index come
    back, and can be added to.
    """
    cells = written(tmp_path)
    file = next(tmp_path.glob("cells/*/*/*.parquet"))
    old = pq.read_table(file)
    metadata = old.schema.metadata[b"transect"].replace(b', "refused": 0', b"")
    assert b"refused" not in metadata
    table = old.drop(["error"]).replace_schema_metadata({"transect": metadata})
    pq.write_table(table, file, write_page_checksum=True)
    index = (
        cells.index().reset_index().drop(columns="refused").assign(modified=file.stat().st_mtime_ns)
    )
    pq.write_table(pa.Table.from_pandas(index, preserve_index=False), tmp_path / "index.parquet")
    cells.write([record("k4")], {"k4": cell_store.as_values("k4", REFUSED)}, {})
    now = cells.index()
    assert now["refused"].to_dict() == {"k1": 0, "k2": 0, "k3": 0, "k4": 1}
    assert cells.read(now)["error"].notna().sum() == 1
    digests = {key: cell_store.values_digest(rows) for key, rows in cells.read(now).groupby("cell")}
    assert digests == now.loc[list(digests), "sha256"].to_dict()


def test_a_revision_may_be_several_folders_deep(tmp_path: Path) -> None:
    """refs/pr/1 of the hub: its cells are found, and its provenance."""
    cells = Store(tmp_path)
    cells.write(
        [Record("k", "run-1", "refs/pr/1", "m", "s", MEASURED)],
        {"k": cell_store.as_values("k", ROWS)},
        {"a": 1},
    )
    index = cells.index()
    assert index.loc["k", "revision"] == "refs/pr/1" and cells.read(index)["value"].tolist() == [
        1.0,
        0.0,
    ]
    assert (
        list(cells.provenance_of("run-1", "refs/pr/1").values())
        == cells.provenance(index["file"])
        == [{"a": 1}]
    )


def with_records(file: Path, records: str) -> None:
    """A file of cells whose metadata are these."""
    pq.write_table(
        pq.read_table(file).replace_schema_metadata({"transect": records}),
        file,
        write_page_checksum=True,
    )


GOOD = {
    "key": "k9",
    "run": "run-1",
    "revision": "step0",
    "measure": "m",
    "stimuli": "s",
    "state": MEASURED,
}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Parquet file size is 0"),
        (b"PAR1garbage", "Parquet"),
        (None, "no list of records"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[1, 2]", "record 1 is int, no object"),
        ("{}", "no list of records"),
        ("[]", "no list of records"),
        ("not json", "JSONDecodeError"),
        *(
            (json.dumps([GOOD, GOOD | change]), told)
            for change, told in [
                ({"key": None}, "record 2 has key 'None'"),
                ({"key": ["x"]}, "record 2 has key"),
                ({"key": ""}, "record 2 has key ''"),
                (
                    {"state": "done"},
                    "record 2 has the state 'done'; there are measured, not applicable, failed",
                ),
                ({"state": "missing"}, "state 'missing'"),
                ({"rows": "3"}, "rows '3'"),
                ({"rows": True}, "rows 'True'"),
                ({"rows": 10**30}, "rows '1000"),
                ({"reason": "\ud800"}, "record 2 has reason"),
            ]
        ),
        (json.dumps([{k: v for k, v in GOOD.items() if k != "key"}]), "record 1 has no key"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_read(
    tmp_path: Path, content: bytes | str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off, or without the records that the store writes: one sentence with the file and what to
    do, once; nothing else is lost.
    """
    cells = written(tmp_path)
    cells.write([record("other")], {"other": cell_store.as_values("other", ROWS)}, {})
    file = next(f for f in tmp_path.glob("cells/*/*/*.parquet") if pq.read_table(f).num_rows > 2)
    if isinstance(content, str):
        with_records(file, content)
    elif content is None:
        pq.write_table(pa.table({"a": [1]}), file)
    else:
        file.write_bytes(content)
    assert list(cells.index().index) == list(Store(tmp_path).index().index) == ["other"]
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and f"{file}: this file of cells is damaged" in said
        and told in said
        and "delete it" in said
    )
    found, faults = cells.recorded()
    assert list(found.index) == ["other"] and len(faults) == 1


def kept(root: Path) -> pa.Table:
    return pq.read_table(root / "index.parquet")


def changed(table: pa.Table, column: str, value: object) -> pa.Table:
    """The first row with another value, everything else as it was, the metadata too."""
    values = table[column].to_pylist()
    at = table.column_names.index(column)
    return table.set_column(
        at, table.schema.field(at), pa.array([value, *values[1:]], table.schema.field(at).type)
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: changed(t, "state", "not applicable"),
        lambda t: changed(t, "state", "failed"),
        lambda t: changed(t, "key", "invented"),
        lambda t: changed(t, "sha256", "0" * 64),
        lambda t: changed(t, "file", "cells/gone/main/x.parquet"),
        lambda t: changed(t, "stamp", "1 2 3 4"),
        lambda t: t.slice(1),
        lambda t: t.slice(0, 0),
        lambda t: pa.concat_tables([t, changed(t, "key", "invented").slice(0, 1)]),
        lambda t: t.replace_schema_metadata({}),
        lambda t: t.drop(["stamp"]),
        lambda t: pa.table({"key": [1]}),
    ],
)
def test_an_edited_index_hides_nothing_and_invents_nothing(
    tmp_path: Path, edit: Callable[[pa.Table], pa.Table]
) -> None:
    """Whatever stands in index.parquet, the files say what was measured; the index is made anew."""
    honest = written(tmp_path).index()
    pq.write_table(edit(kept(tmp_path)), tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(Store(tmp_path).index().sort_index(), honest.sort_index())
    assert sorted(kept(tmp_path)["key"].to_pylist()) == ["k1", "k2", "k3"]


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(1000) + b"PAR1", b"x"])
def test_an_index_that_is_no_table_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """It is a cache."""
    honest = written(tmp_path).index()
    (tmp_path / "index.parquet").write_bytes(content)
    pd.testing.assert_frame_equal(Store(tmp_path).index(), honest)


def test_a_file_that_changes_within_its_time_is_read_again(tmp_path: Path) -> None:
    """Another content of the same size at the same path, its modified time put back: the new
    records count.
    """
    cells = written(tmp_path)
    file = next(tmp_path.glob("cells/*/*/*.parquet"))
    records = pq.read_schema(file).metadata[b"transect"].decode()
    with_records(file, records)
    assert cells.index().loc["k3", "reason"] == "no"
    before = file.stat()
    time.sleep(0.05)  # more than the clock of any file system takes to go on
    with_records(file, records.replace('"reason": "no"', '"reason": "ja"'))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert cells.index().loc["k3", "reason"] == "ja"


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    """A pipe would be waited for, a link may lead nowhere, a file may go while the index is read."""
    cells = written(tmp_path)
    folder = next(tmp_path.glob("cells/*/*"))
    os.mkfifo(folder / "pipe.parquet")
    (folder / "link.parquet").symlink_to(tmp_path / "nowhere.parquet")
    (folder / "folder.parquet").mkdir()
    assert len(cells.index()) == 3


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "{", "\xff"])
def test_damaged_provenance_is_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is reported leaves it out with a sentence; what is compared with it is refused."""
    cells = written(tmp_path)
    file = next(tmp_path.glob("provenance/*/*/*.json"))
    file.write_text(content)
    assert cells.provenance(cells.index()["file"]) == [] and str(file) in capsys.readouterr().err
    with pytest.raises(InputError, match=f"{file}: this file is damaged"):
        cells.provenance_of("run-1", "step0")


@pytest.mark.parametrize(
    ("run", "revision"),
    [("../out", "main"), ("m", "../../../out"), ("m", "/out"), ("/out", "main"), ("m", "main\n")],
)
def test_nothing_is_written_outside(tmp_path: Path, run: str, revision: str) -> None:
    """Whoever reads names checks them, and so does the store, before it makes a folder."""
    cells = Store(tmp_path / "a/b/store")
    with pytest.raises(InputError, match="the run|the revision"):
        cells.write(
            [Record("k", run, revision, "m", "s", MEASURED)],
            {"k": cell_store.as_values("k", ROWS)},
            {},
        )
    with pytest.raises(InputError):
        cells.provenance_of(run, revision)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="the run"):
        cells.transcript("../x")


@pytest.mark.parametrize("kind", ["cells", "provenance"])
def test_a_link_in_the_store_leads_nothing_outside(tmp_path: Path, kind: str) -> None:
    """Where a run's folder is a link to another place, nothing is written there."""
    (tmp_path / "outside").mkdir()
    cells = Store(tmp_path / "store")
    (tmp_path / "store" / kind).mkdir(parents=True)
    (tmp_path / "store" / kind / "run-1").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="symbolic link"):
        cells.write([record("k1")], {"k1": cell_store.as_values("k1", ROWS)}, {})
    assert not list((tmp_path / "outside").iterdir())


def test_texts_that_a_spreadsheet_takes_for_formulas_stand_as_they_are(tmp_path: Path) -> None:
    """Values are those of the model or the item, in CSV as in Parquet: a sign put before them would
    be another text.
    """
    texts = ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "=1\n2", "'=1"]
    table = pd.DataFrame({"=item": texts})
    cell_store.write_csv(tmp_path / "t.csv", table)
    cell_store.write_table(tmp_path / "t.parquet", table)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["=item"], *([text] for text in texts)]
    assert cell_store.read_table(tmp_path / "t.parquet")["=item"].tolist() == texts
