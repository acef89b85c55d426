"""Tables of any origin: read from CSV, TSV or Parquet, printed in columns, turned into plain records for JSON."""

import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError

READERS = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t"), ".parquet": pd.read_parquet}
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")  # of CSV and TSV
LEAST_P = 1e-300  # near it the distributions end in 0


def read(path: Path) -> pd.DataFrame:
    """A table from a CSV, TSV or Parquet file (CSV and TSV also compressed), by how its name ends."""
    if not path.is_file():
        raise InputError(f"there is no table {path}.")
    packed = path.suffix in COMPRESSED
    suffix = Path(path.stem).suffix if packed else path.suffix
    if suffix not in READERS or (packed and suffix == ".parquet"):
        raise InputError(
            f"{path}: a table ends in {', '.join(READERS)}; .csv and .tsv may have {', '.join(COMPRESSED)}."
        )
    try:
        return READERS[suffix](path)
    except (ValueError, OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: this cannot be read as {suffix[1:]} ({' '.join(str(error).split())}).") from None


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with plain types; None where a value is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in row.items()} for row in rows]


def table_lines(frame: pd.DataFrame) -> list[str]:
    """A header and one line per row; text to the left, numbers to the right."""
    shown = pd.DataFrame({c: [_cell(v, str(c)) for v in frame[c]] for c in frame})
    widths = {c: max(len(str(c)), *(len(v) for v in shown[c])) for c in shown}
    text = {c for c in shown if frame[c].map(lambda v: isinstance(v, str)).all()}

    def line(cells: dict[Any, str]) -> str:
        return "  ".join(cells[c].ljust(widths[c]) if c in text else cells[c].rjust(widths[c]) for c in shown).rstrip()

    return [" " + line(row) for row in [{c: str(c) for c in shown}, *shown.to_dict("records")]]


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
    return f"{value:.1f}" if column == "df" and np.isfinite(value) else f"{value:.5g}"
