"""Tables of any origin: read from a file, printed in columns, turned into plain records for JSON."""

import json
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from transect.errors import InputError, nearest
from transect.store.files.unpacking import OPENED
from transect.store.tables.arrow_table import columns_of
from transect.store.tables.bounds import read_feather, read_parquet
from transect.store.tables.column_types import Column, has_decimal_commas, typed
from transect.store.tables.json_lines import JSON_LINES, as_arrow, objects
from transect.store.tables.text_file import endings, read_text, refuse_workbook
from transect.store.tables.text_table import SEPARATOR_OF, SEPARATORS, read_cells

BLANKS = (".txt", ".dat")  # files whose cells may be separated by runs of blanks
ARROW = {
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".feather": read_feather,
    ".arrow": read_feather,
}
LEAST_P = 1e-300  # near it the distributions end in 0


@dataclass(frozen=True)
class LeftOut:
    """Rows that are not used, each counted once, by its first cause: `column` is `sign` there."""

    column: str
    sign: str
    rows: int

    def __str__(self) -> str:
        return f"{self.rows} row{'s' * (self.rows > 1)}: {self.column} is {self.sign}"


@dataclass(frozen=True)
class TableFile:
    """A table as it was read. `columns`: how each of `frame` was read; `unusable`: what other
    columns hold; `notes` on the file.
    """

    frame: pd.DataFrame
    columns: dict[str, Column]
    unusable: dict[str, str]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "TableFile":
        """A table that is in memory already."""
        missing = {str(c): {"missing": np.flatnonzero(frame[c].isna())} for c in frame}
        return cls(frame, {str(c): Column(frame[c], missing[str(c)]) for c in frame}, {}, ())

    def check(self, used: Sequence[str]) -> None:
        """Raise InputError for a column that is there but cannot be used, and where no row has
        values in all of these columns.
        """
        for name in used:
            if name in self.unusable:
                raise InputError(f"the column '{name}' cannot be used: it {self.unusable[name]}")
        left_out = self.left_out(used)
        if sum(part.rows for part in left_out) == len(self.frame):
            causes = "; ".join(map(str, left_out)) or "it has no rows"
            raise InputError(f"no row of the table is complete ({causes})")

    def left_out(self, used: Sequence[str]) -> list[LeftOut]:
        """What is missing in these columns, in their order; the sum of its rows is the number of
        rows that are not complete.
        """
        counted, found = np.zeros(len(self.frame), bool), []
        for name in dict.fromkeys(n for n in used if n in self.columns):
            for sign, rows in self.columns[name].missing.items():
                new = rows[~counted[rows]]
                counted[new] = True
                found += [LeftOut(name, sign, len(new))] if len(new) else []
        return found

    def notes_on(self, numbers: Sequence[str]) -> list[str]:
        """What is to be said of the file, and of columns that are meant as numbers or levels of an
        effect (not of a grouping).
        """
        doubts = {n: self.columns[n].note for n in dict.fromkeys(numbers) if n in self.columns}
        return [*self.notes, *(f"the column '{n}': {note}" for n, note in doubts.items() if note)]


def read(path: Path) -> TableFile:
    """A table from a file, by how its name ends (case does not matter).

    Text (CSV and its kinds; JSON lines), also compressed; Parquet; Feather. Raises InputError for
    another ending, and for a file that cannot be read or whose rows do not fit its header.
    """
    if not path.is_file():
        raise InputError(
            f"there is no table {path}{' but a folder of this name' if path.is_dir() else ''}.{_near(path)}"
        )
    form, packed = endings(path)
    refuse_workbook(path, str(path))
    if form in SEPARATOR_OF:
        return _written(path, form)
    if form in JSON_LINES:
        text = read_text(path, str(path), guess=False)
        return _table(as_arrow(objects(text.text, str(path))), text.notes)
    if form not in ARROW or packed:
        forms = ", ".join([*SEPARATOR_OF, *JSON_LINES, *ARROW])
        raise InputError(
            f"{path}: a table ends in {forms}; those of text may have {', '.join(OPENED)} behind."
        )
    try:
        return _table(ARROW[form](path), ())
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise InputError(
            f"{path}: this cannot be read as {form[1:]} ({' '.join(str(error).split())})."
        ) from None


def is_table(path: Path) -> bool:
    """Whether a name ends as that of a table does, and not as that of a plain text may (a tree)."""
    form = endings(path)[0]
    return form in ARROW or form in JSON_LINES or form in (".csv", ".tsv", ".tab")


def _near(path: Path) -> str:
    return (
        nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
    )


def _written(path: Path, form: str) -> TableFile:
    text = read_text(path, str(path), guess=True)
    table = read_cells(text.text, str(path), SEPARATOR_OF[form], blanks=form in BLANKS)
    _refuse_one_column(table.names, path)
    comma = has_decimal_commas(table.columns, table.separator)
    read_so = ["decimal commas are read: 1,5 is one and a half"] if comma else []
    counted = Counter(table.names)
    unusable = {
        n: f"stands in the header {times} times" for n, times in counted.items() if times > 1
    }
    columns = {
        name: typed(cells, comma)
        for name, cells in zip(table.names, table.columns, strict=True)
        if name not in unusable
    }
    return TableFile(_frame(columns), columns, unusable, (*text.notes, *table.notes, *read_so))


def _refuse_one_column(names: Sequence[str], path: Path) -> None:
    held = (
        [word for sign, word in SEPARATORS.items() if sign in names[0]] if len(names) == 1 else []
    )
    if held:
        raise InputError(
            f"{path}: the table has one column, {names[0]!r}, whose name holds {held[0]}; is it separated by {held[0]}? "
            f"{'Then let its name end in .txt.' if ' ' in names[0] else 'Then every row needs as many as the header.'}"
        )


def _table(table: pa.Table, notes: tuple[str, ...]) -> TableFile:
    found = dict(columns_of(table))
    columns = {name: column for name, column in found.items() if isinstance(column, Column)}
    return TableFile(
        _frame(columns), columns, {n: c for n, c in found.items() if isinstance(c, str)}, notes
    )


def _frame(columns: dict[str, Column]) -> pd.DataFrame:
    return pd.DataFrame({name: column.values for name, column in columns.items()})


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with plain types; None where a value is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in row.items()} for row in rows]


def json_text(value: Any) -> str:
    """Valid JSON, indented: a number that is not finite is null, which every reader of JSON knows
    (NaN is none of its words).
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def table_lines(frame: pd.DataFrame) -> list[str]:
    """A header and one line per row; text to the left, numbers to the right with their decimal
    points below each other.
    """
    columns = []
    for name in frame:
        cells = [_cell(v, str(name)) for v in frame[name]]
        text = all(isinstance(v, str) for v in frame[name])
        cells = cells if text else _aligned(cells)
        width = max(len(str(name)), *(len(cell) for cell in cells))
        columns.append(
            [cell.ljust(width) if text else cell.rjust(width) for cell in (str(name), *cells)]
        )
    return [" " + "  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _aligned(cells: Sequence[str]) -> list[str]:
    """Numbers as texts, filled up behind so that the decimal points of a column stand below each
    other.
    """
    behind = [cell[cell.index(".") :] if "." in cell else "" for cell in cells]
    width = max((len(part) for part in behind), default=0)
    return [cell + " " * (width - len(part)) for cell, part in zip(cells, behind, strict=True)]


def p_text(p: float) -> str:
    """A p value: four decimals, powers of ten below 1e-4, never 0."""
    return f"{p:.4f}" if p >= 1e-4 else f"{p:.1e}" if p >= LEAST_P else f"<{LEAST_P:g}"


def _cell(value: Any, column: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(value)
    if pd.isna(value):
        return ""
    if column == "p" or column.startswith("p_"):
        return p_text(value)
    return f"{value:.1f}" if column in ("df", "den_df") and np.isfinite(value) else f"{value:.5g}"
