"""The cell store: what was measured, shared by all studies; it decides what is stale.

A cell is checkpoint x stimuli x measure and has a key, a digest of everything its values depend on. One file holds what one job
measured of one checkpoint (a row group per cell), written whole or not at all, with checksums that are verified on reading::

    cells/<run>/<revision>/<digest>.parquet        values: cell, item, metric, value, region, word, position, layer, head, error
    provenance/<run>/<revision>/<digest>.json      times, memory, machine, versions, fingerprints of weights and tokenizer
    items/<digest>.parquet                         the items of a stimulus set, as they were measured
    transcripts/<run>.jsonl                        what a model behind an interface was asked and answered (lm/api.py)
    index.parquet                                  one row per cell; a cache, rebuilt from the files where it is absent

A row holds a number or, where the measure refused its item, an error; a cell in which every row is an error has failed.
Files that were written before there were errors lack that column and are read as having none.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from transect import names
from transect.errors import InputError
from transect.files import PART, write_text, write_whole
from transect.home import without_home

MEASURED, NOT_APPLICABLE, MISSING, FAILED = "measured", "not applicable", "missing", "failed"
VALUES = pa.schema([
    ("cell", pa.string()), ("item", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("region", pa.string()),
    ("word", pa.string()), ("position", pa.int32()), ("layer", pa.int32()), ("head", pa.int32()),
    ("error", pa.string()),
])  # fmt: skip
NULLABLE = ("region", "word", "position", "layer", "head", "error")


@dataclass(frozen=True)
class Record:
    """What became of one cell. `kind` tells failures apart: "data" (of model or items), or "resource" (tried again next time)."""

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
    write_whole(path, lambda part: pq.write_table(arrow, part, compression="zstd", write_page_checksum=True))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in one step: text in quotes, a missing value empty without them, every digit of a number.

    So R's read.csv(na.strings = "") and pandas' read_csv(keep_default_na=False, na_values=[""]) read what was written, also levels called
    NA or None; a text without a letter comes back as missing. Lists become texts.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    for i, column in enumerate(arrow.schema):
        if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
            told = [None if v is None else ", ".join(map(str, v)) for v in arrow.column(i).to_pylist()]
            arrow = arrow.set_column(i, column.name, pa.array(told, pa.string()))
    write_whole(path, lambda part: pa_csv.write_csv(arrow, part))


def read_table(path: Path, columns: list[str] | None = None, filters: Any = None) -> pd.DataFrame:
    """Read a table that `write_table` wrote; a damaged page raises InputError."""
    try:
        return pq.read_table(path, columns=columns, filters=filters, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: the table is damaged ({error}); delete it and run the study again.") from None


def as_values(key: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a measure in the store's columns.

    Raises InputError for a missing column, an unknown one, values that are not numbers, and for a row that holds neither a number
    nor an error, or both.
    """
    allowed = set(VALUES.names) - {"cell"}
    missing, extra = {"item", "metric", "value"} - set(rows.columns), set(rows.columns) - allowed
    if missing or extra:
        fault = (
            f"lack {', '.join(sorted(missing))}" if missing else f"hold the unknown column {', '.join(sorted(extra))}"
        )
        raise InputError(f"the rows of a measure {fault}; allowed are {', '.join(VALUES.names[1:])}.")
    full = rows.assign(cell=key, **{c: None for c in NULLABLE if c not in rows})
    try:
        full = full[VALUES.names].astype({"item": str, "metric": str, "value": "float64"})
    except (TypeError, ValueError) as error:
        raise InputError(f"the values of a measure must be numbers ({error}).") from None
    full["error"] = full["error"].where(full["error"].notna() & (full["error"] != ""), None).astype(object)
    empty, told = full["value"].isna(), full["error"].notna()
    for wrong, what in ((empty & ~told, "no number and no error"), (~empty & told, "a number and an error")):
        if wrong.any():
            first = full[wrong].iloc[0]
            raise InputError(
                f"{int(wrong.sum())} of {len(full)} rows of a measure hold {what}, e.g. {first['metric']} of item "
                f"{first['item']}; a refused item has the value NaN and an error, every other one a number."
            )
    return full


def refusals(values: pd.DataFrame) -> pd.DataFrame:
    """The refused items, in order: columns item, error (the first of each)."""
    return values.loc[values["error"].notna(), ["item", "error"]].drop_duplicates("item", ignore_index=True)


def values_digest(values: pd.DataFrame) -> str:
    """sha256 of the values themselves, independent of any file format; without errors it is what it was before there were any."""
    total = hashlib.sha256()
    names = [n for n in VALUES.names[1:] if n != "error" or values["error"].notna().any()]
    for name in names:
        column = values[name]
        if name == "value":
            total.update(column.to_numpy(np.float64).tobytes())
        else:
            # a column of places that has holes is read back as floats: 3.0 is the place 3
            told = int if pa.types.is_integer(VALUES.field(name).type) else str
            total.update("\x1f".join("" if pd.isna(v) else str(told(v)) for v in column).encode())
    return total.hexdigest()


def table_digest(table: pd.DataFrame) -> str:
    """sha256 of the cells of a table, whatever file it is kept in."""
    return digest({str(name): [None if _absent(v) else str(v) for v in table[name]] for name in sorted(table, key=str)})


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


class Store:
    """A folder of cells."""

    def __init__(self, root: Path):
        self.root = root

    def transcript(self, run: str) -> Path:
        return self.root / "transcripts" / f"{names.check(run, 'the run')}.jsonl"

    def write(self, records: list[Record], values: Mapping[str, pd.DataFrame], provenance: dict[str, Any]) -> None:
        """Add the finished cells of one checkpoint. `values` maps the key of each measured cell to `as_values` rows."""
        place = self._place(records[0].run, records[0].revision)
        name = digest(sorted(r.key for r in records))[:16]
        filled = []
        for record in records:
            table = values.get(record.key)
            change: dict[str, Any] = {"reason": without_home(record.reason)}
            if table is not None:
                change |= {"rows": len(table), "sha256": values_digest(table), "refused": len(refusals(table))}
            filled.append(Record(**{**asdict(record), **change}))
        write_text(
            self.root / "provenance" / place / f"{name}.json",
            without_home(json.dumps(provenance, indent=1, sort_keys=True, default=str)) + "\n",
        )
        schema = VALUES.with_metadata({"transect": json.dumps([asdict(r) for r in filled])})

        def write(part: Path) -> None:
            with pq.ParquetWriter(part, schema, compression="zstd", write_page_checksum=True) as writer:
                for record in filled:
                    if record.key in values:
                        writer.write_table(pa.Table.from_pandas(values[record.key], schema, preserve_index=False))

        write_whole(self.root / "cells" / place / f"{name}.parquet", write)

    def _place(self, run: str, revision: str) -> Path:
        """The folder of a checkpoint within cells and provenance. Raises InputError for a name that would lead elsewhere."""
        return Path(names.check(run, "the run")) / names.check_revision(revision, f"the revision of run {run!r},")

    def index(self) -> pd.DataFrame:
        """One row per cell (columns of Record, and its file), the best record of each key: measured before failed, late before early."""
        path, columns = self.root / "index.parquet", [*Record.__dataclass_fields__, "file", "modified"]
        files = {}
        # a revision may be several folders deep (refs/pr/1)
        for file in (self.root / "cells").rglob("*.parquet"):
            if not file.name.startswith(PART):  # another job's, or what a killed one left
                files[str(file.relative_to(self.root))] = file.stat().st_mtime_ns
        try:
            known = pq.read_table(path).to_pandas()
        except (OSError, pa.ArrowInvalid):
            known = pd.DataFrame()
        if not {*columns} <= set(known):  # none, or of an earlier version
            known = pd.DataFrame(columns=columns)
        known = known[known["file"].map(files) == known["modified"]]
        read = set(known["file"])
        new = [self._records(f, m) for f, m in sorted(files.items()) if f not in read]
        if new:
            known = pd.concat([known, *new], ignore_index=True)
            with suppress(OSError):  # a cache; a store that may only be read is planned from as well
                write_table(path, known)
        ordered = known.assign(bad=known["state"] == FAILED).sort_values(["bad", "modified"], ascending=[True, False])
        return ordered.drop_duplicates("key").drop(columns="bad").set_index("key")

    def read(self, index: pd.DataFrame) -> pd.DataFrame:
        """The values of the measured cells of (a part of) the index, in the index's order."""
        parts = []
        measured = index[index["state"] == MEASURED]
        for file, cells in measured.groupby("file", sort=False):
            table = read_table(self.root / str(file)).reindex(columns=VALUES.names)
            parts.append(table[table["cell"].isin(cells.index)])
        return pd.concat(parts, ignore_index=True) if parts else VALUES.empty_table().to_pandas()

    def provenance(self, files: Iterable[str]) -> list[dict[str, Any]]:
        """What was recorded beside the values of these files."""
        found = []
        for file in dict.fromkeys(files):
            path = self.root / "provenance" / Path(file).relative_to("cells").with_suffix(".json")
            if path.is_file():
                found.append(json.loads(path.read_text(encoding="utf-8")))
        return found

    def provenance_of(self, run: str, revision: str) -> dict[str, dict[str, Any]]:
        """File -> what was recorded, for every file of one checkpoint, in name order."""
        root = self.root / "provenance"
        files = sorted(p for p in (root / self._place(run, revision)).glob("*.json") if not p.name.startswith(PART))
        return {str(p.relative_to(root)): json.loads(p.read_text(encoding="utf-8")) for p in files}

    def _records(self, file: str, modified: int) -> pd.DataFrame:
        try:
            metadata = pq.read_schema(self.root / file).metadata or {}
            found = pd.DataFrame(json.loads(metadata[b"transect"]))
        except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
            raise InputError(
                f"{self.root / file}: this file of cells is damaged ({type(error).__name__}: {error}); delete it, and "
                "the next run of its study measures its cells again."
            ) from None
        later = {
            "refused": 0,
            "code": "",
            "stimuli_code": "",
            "items_sha256": "",
        }  # what files of earlier versions lack
        return found.assign(**{n: found.get(n, v) for n, v in later.items()}, file=file, modified=modified)
