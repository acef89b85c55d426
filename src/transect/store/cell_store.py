"""The cell store: what was measured, shared by all studies; it decides what is stale.

A cell is checkpoint x stimuli x measure and has a key, a digest of everything its values depend on.
One file holds what one job measured of one checkpoint (a row group per cell), written whole or not
at all, with checksums that are verified on reading::

    cells/<run>/<revision>/<digest>.parquet        values: cell, item, metric, value, region, word, position, layer, head, error
    provenance/<run>/<revision>/<digest>.json      times, memory, machine, versions, fingerprints of weights and tokenizer
    items/<digest>.parquet                         the items of a stimulus set, as they were measured
    transcripts/<run>.jsonl                        what a model behind an interface was asked and answered (lm/api.py)
    index.parquet                                  one row per cell; a cache, rebuilt from the files (cell_index.py)

A row holds a number or, where the measure refused its item, an error; a cell in which every row is
an error has failed. Files that were written before there were errors lack that column and are read
as having none.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from transect.errors import InputError, brief
from transect.store import cell_index, names
from transect.store.files import json_file
from transect.store.files.whole_files import PART, check_inside, write_text, write_whole
from transect.store.home import without_home

MEASURED, NOT_APPLICABLE, MISSING, FAILED = "measured", "not applicable", "missing", "failed"
STATES = (MEASURED, NOT_APPLICABLE, FAILED)  # of a record; what has none is missing
VALUES = pa.schema(
    [
        ("cell", pa.string()),
        ("item", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("region", pa.string()),
        ("word", pa.string()),
        ("position", pa.int32()),
        ("layer", pa.int32()),
        ("head", pa.int32()),
        ("error", pa.string()),
    ]
)
NULLABLE = ("region", "word", "position", "layer", "head", "error")


@dataclass(frozen=True)
class Record:
    """What became of one cell. `kind` tells failures apart: "data" (of model or items), or
    "resource" (tried again next time).
    """

    key: str
    run: str
    revision: str
    measure: str
    stimuli: str
    state: str
    reason: str = ""
    kind: str = ""
    rows: int = 0
    sha256: str = ""
    refused: int = 0  # items with an error
    code: str = ""  # state of the measure (unit_code.py); empty where it was not recorded
    stimuli_code: str = ""  # and of the stimuli
    items_sha256: str = ""  # of the items, as `table_digest`


def digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet in one step, the same bytes for the same values."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    write_whole(
        path, lambda part: pq.write_table(arrow, part, compression="zstd", write_page_checksum=True)
    )


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in one step: text in quotes, a missing value empty without them, every
    digit of a number.

    So R's read.csv(na.strings = "") and pandas' read_csv(keep_default_na=False, na_values=[""])
    read what was written, also levels called NA or None; a text without a letter comes back as
    missing. Lists become texts. A text that begins with = stands as it is: spreadsheets take it for
    a formula, and another text would be another value.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    for i, column in enumerate(arrow.schema):
        if not pa.types.is_nested(column.type) and not pa.types.is_null(column.type):
            continue
        values = arrow.column(i).to_pylist()
        texts = pa.array([_joined(value) for value in values], pa.string())
        arrow = arrow.set_column(i, column.name, texts)
    write_whole(path, lambda part: pa_csv.write_csv(arrow, part))


def _joined(values: Iterable[Any] | None) -> str | None:
    return None if values is None else ", ".join(map(str, values))


def read_table(path: Path, columns: list[str] | None = None, filters: Any = None) -> pd.DataFrame:
    """Read a table that `write_table` wrote; a damaged page raises InputError."""
    try:
        return pq.read_table(
            path, columns=columns, filters=filters, page_checksum_verification=True
        ).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: the table is damaged ({error}); delete it and run the study again."
        ) from None


def as_values(key: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a measure in the store's columns.

    Raises InputError for a missing column, an unknown one, values that are not numbers, and for a
    row that holds neither a number nor an error, or both.
    """
    _check_columns(set(rows.columns))
    full = rows.assign(cell=key, **{c: None for c in NULLABLE if c not in rows})
    try:
        full = full[VALUES.names].astype({"item": str, "metric": str, "value": "float64"})
    except (TypeError, ValueError) as error:
        raise InputError(f"the values of a measure must be numbers ({error}).") from None
    has_error = full["error"].notna() & (full["error"] != "")
    full["error"] = full["error"].where(has_error, None).astype(object)
    _check_values(full)
    return full


def _check_columns(columns: set[Any]) -> None:
    """The rows of a measure have the columns that they need, and no unknown one."""
    missing = {"item", "metric", "value"} - columns
    extra = columns - (set(VALUES.names) - {"cell"})
    fault = ""
    if missing:
        fault = f"lack {', '.join(sorted(missing))}"
    elif extra:
        fault = f"hold the unknown column {', '.join(sorted(extra))}"
    if fault:
        raise InputError(
            f"the rows of a measure {fault}; allowed are {', '.join(VALUES.names[1:])}."
        )


def _check_values(full: pd.DataFrame) -> None:
    """Every row has a number or an error, and not both."""
    empty, refused = full["value"].isna(), full["error"].notna()
    for wrong, what in (
        (empty & ~refused, "no number and no error"),
        (~empty & refused, "a number and an error"),
    ):
        if wrong.any():
            first = full[wrong].iloc[0]
            raise InputError(
                f"{int(wrong.sum())} of {len(full)} rows of a measure hold {what}, e.g. {first['metric']} of item "
                f"{first['item']}; a refused item has the value NaN and an error, every other one a number."
            )


def refusals(values: pd.DataFrame) -> pd.DataFrame:
    """The refused items, in order: columns item, error (the first of each)."""
    return values.loc[values["error"].notna(), ["item", "error"]].drop_duplicates(
        "item", ignore_index=True
    )


def values_digest(values: pd.DataFrame) -> str:
    """sha256 of the values themselves, independent of any file format; without errors it is what it
    was before there were any.
    """
    total = hashlib.sha256()
    names = [n for n in VALUES.names[1:] if n != "error" or values["error"].notna().any()]
    for name in names:
        column = values[name]
        if name == "value":
            total.update(column.to_numpy(np.float64).tobytes())
            continue
        # a column of places that has holes is read back as floats: 3.0 is the place 3
        kind = int if pa.types.is_integer(VALUES.field(name).type) else str
        texts = ["" if pd.isna(value) else str(kind(value)) for value in column]
        total.update("\x1f".join(texts).encode())
    return total.hexdigest()


def table_digest(table: pd.DataFrame) -> str:
    """sha256 of the cells of a table, whatever file it is kept in."""
    columns = {}
    for name in sorted(table, key=str):
        columns[str(name)] = [None if _absent(value) else str(value) for value in table[name]]
    return digest(columns)


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


class Store:
    """A folder of cells."""

    def __init__(self, root: Path):
        self.root = root

    def transcript(self, run: str) -> Path:
        path = self.root / "transcripts" / f"{names.check(run, 'the run')}.jsonl"
        check_inside(path.parent, path)
        return path

    def write(
        self, records: list[Record], values: Mapping[str, pd.DataFrame], provenance: dict[str, Any]
    ) -> None:
        """Add the finished cells of one checkpoint. `values` maps the key of each measured cell to
        `as_values` rows.
        """
        place = self._place(records[0].run, records[0].revision)
        for kind in ("cells", "provenance"):
            check_inside(self.root / kind, self.root / kind / place)
        name = digest(sorted(r.key for r in records))[:16]
        filled = []
        for record in records:
            table = values.get(record.key)
            change: dict[str, Any] = {"reason": brief(without_home(record.reason))}
            if table is not None:
                change |= {
                    "rows": len(table),
                    "sha256": values_digest(table),
                    "refused": len(refusals(table)),
                }
            filled.append(Record(**{**asdict(record), **change}))
        write_text(
            self.root / "provenance" / place / f"{name}.json",
            without_home(json.dumps(provenance, indent=1, sort_keys=True, default=str)) + "\n",
        )
        schema = VALUES.with_metadata({"transect": json.dumps([asdict(r) for r in filled])})

        def write(part: Path) -> None:
            with pq.ParquetWriter(
                part, schema, compression="zstd", write_page_checksum=True
            ) as writer:
                for record in filled:
                    if record.key in values:
                        writer.write_table(
                            pa.Table.from_pandas(values[record.key], schema, preserve_index=False)
                        )

        write_whole(self.root / "cells" / place / f"{name}.parquet", write)

    def _place(self, run: str, revision: str) -> Path:
        """The folder of a checkpoint within cells and provenance. Raises InputError for a name that
        would lead elsewhere.
        """
        return Path(names.check(run, "the run")) / names.check_revision(
            revision, f"the revision of run {run!r},"
        )

    def index(self) -> pd.DataFrame:
        """One row per cell (columns of Record, and its file), the best record of each key: measured
        before failed, late before early.

        A damaged file is told on standard error, once, and passed over: its cells count as missing,
        and are measured again.
        """
        records, faults = cell_index.read(self.root, Record.__dataclass_fields__, self._records)
        for fault in faults:
            _tell(fault)
        return _best(records)

    def recorded(self) -> tuple[pd.DataFrame, list[str]]:
        """The same table from the files alone, whatever index.parquet says, and a sentence for each
        damaged file.
        """
        records, faults = cell_index.read(
            self.root, Record.__dataclass_fields__, self._records, kept=False
        )
        return _best(records), faults

    def read(self, index: pd.DataFrame) -> pd.DataFrame:
        """The values of the measured cells of (a part of) the index, in the index's order."""
        parts = []
        measured = index[index["state"] == MEASURED]
        for file, cells in measured.groupby("file", sort=False):
            table = read_table(self.root / str(file)).reindex(columns=VALUES.names)
            parts.append(table[table["cell"].isin(cells.index)])
        return pd.concat(parts, ignore_index=True) if parts else VALUES.empty_table().to_pandas()

    def provenance(self, files: Iterable[str]) -> list[dict[str, Any]]:
        """What was recorded beside the values of these files; a damaged record is told on standard
        error, once, and left out.
        """
        records = []
        for file in dict.fromkeys(files):
            path = self.root / "provenance" / Path(file).relative_to("cells").with_suffix(".json")
            if path.is_file():
                try:
                    records.append(json_file.read_object(path))
                except InputError as error:
                    _tell(str(error))
        return records

    def provenance_of(self, run: str, revision: str) -> dict[str, dict[str, Any]]:
        """File -> what was recorded, for every file of one checkpoint, in name order. Raises
        InputError for a damaged one.
        """
        root = self.root / "provenance"
        records = {}
        for path in sorted((root / self._place(run, revision)).glob("*.json")):
            if not path.name.startswith(PART):
                records[str(path.relative_to(root))] = json_file.read_object(path)
        return records

    def _records(self, file: str) -> pd.DataFrame:
        """The records in the metadata of a file of cells. Raises InputError with the file where
        they are not what is written there.
        """
        try:
            metadata = pq.read_schema(self.root / file).metadata or {}
            records = _checked(json.loads(metadata.get(b"transect", b"null")))
            return pd.DataFrame([asdict(record) for record in records])
        except RecursionError:
            damage = "its records are nested too deep"
        except (OSError, pa.ArrowException, ValueError) as error:
            damage = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{self.root / file}: this file of cells is damaged ({damage}) and passed over; delete it, and the next run of its study "
            "measures its cells again."
        )


def _checked(records: Any) -> list[Record]:
    """Records from the JSON of a file; what files of earlier versions lack has its default. Raises
    ValueError for any other form.
    """
    if not isinstance(records, list) or not records:
        raise ValueError("it has no list of records")
    return [_record(values, number) for number, values in enumerate(records, 1)]


def _record(values: Any, number: int) -> Record:
    """One record; number: its place in the file, for errors."""
    if not isinstance(values, dict):
        raise ValueError(f"record {number} is {type(values).__name__}, no object")
    fields = Record.__dataclass_fields__
    known = {name: values[name] for name in fields if name in values}
    for name, field in fields.items():
        value = known.get(name, field.default)
        empty_key = name == "key" and not value
        if type(value) is not field.type or empty_key or not _storable(value):
            what = f"{name} {str(value)[:40]!r}" if name in known else f"no {name}"
            raise ValueError(f"record {number} has {what}")
    if known["state"] not in STATES:
        raise ValueError(
            f"record {number} has the state {known['state'][:40]!r}; there are {', '.join(STATES)}"
        )
    return Record(**known)


def _storable(value: str | int) -> bool:
    """Whether a value of a record is one that a table can hold: a count, or text in UTF-8."""
    if isinstance(value, int):
        return 0 <= value < 2**53
    return value.encode("utf-8", "replace").decode("utf-8") == value


def _best(records: pd.DataFrame) -> pd.DataFrame:
    """One row per key."""
    ordered = records.assign(bad=records["state"] == FAILED).sort_values(
        ["bad", "modified"], ascending=[True, False]
    )
    return ordered.drop_duplicates("key").drop(columns=["bad", "stamp"]).set_index("key")


@cache
def _tell(sentence: str) -> None:
    """Once in a process: an index is read many times."""
    print(f"transect: {sentence}", file=sys.stderr)
