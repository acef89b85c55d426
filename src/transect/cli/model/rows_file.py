"""The file that `transect measure` writes: the rows of a measure with the model's name and columns
of the stimuli, Parquet or CSV.

The columns are model, item, those of --keep, and the store's others. CSV is UTF-8 with a head; a
place that a row lacks is an empty cell. Text stands in quotes, as R writes it: the word "NA" is
none that is missing.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from transect.errors import InputError, nearest
from transect.store import cell_store
from transect.store.files.whole_files import PART

FORMS = (".parquet", ".csv")
TAKEN = ("model", *cell_store.VALUES.names[1:])
OF_SEVERAL = ("measure", "stimuli")  # beside them, where several measures or sets are taken


def check_out(path: Path, option: str = "--out") -> None:
    """Raise InputError for a file that cannot be written, before the work is done: a folder,
    another form, no right to write.
    """
    if path.is_dir():
        raise InputError(
            f"{option} {path}: this is a folder; name a file, e.g. {path / 'rows.parquet'}."
        )
    if path.suffix.lower() not in FORMS:
        raise InputError(
            f"{option} {path}: the rows are written as {' or '.join(FORMS)}; name a file that ends so."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PART):
            pass
    except OSError as error:
        raise InputError(f"{option} {path}: this cannot be written ({error.strerror}).") from None


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write them in the form that the file's name says, whole or not at all."""
    if path.suffix.lower() == ".csv":
        cell_store.write_csv(path, rows)
    else:
        cell_store.write_table(path, rows)


def kept(items: pd.DataFrame, columns: Sequence[str], source: str) -> pd.DataFrame:
    """The columns of the items that are copied into the rows, by item. Raises InputError for one
    that is not there or has a taken name.

    A column whose values are of several types is kept as JSON texts: a column of a table has one
    type.
    """
    for name in columns:
        if name in (*TAKEN, *OF_SEVERAL):
            raise InputError(
                f"--keep {name}: the rows have a column {name!r} of their own; name it otherwise in {source}."
            )
        if name not in items:
            raise InputError(
                f"--keep {name}: there is no such column in {source}; there are {', '.join(map(str, items))}.{nearest(name, items)}"
            )
    table = items.drop_duplicates("item").set_index(items["item"].drop_duplicates().astype(str))[
        list(columns)
    ]
    return table.apply(_of_one_type)


def with_columns(rows: pd.DataFrame, model: str, beside: pd.DataFrame) -> pd.DataFrame:
    """The rows with `model` before them and the kept columns beside their items."""
    first = rows[["item"]].assign(
        **{str(name): rows["item"].map(values) for name, values in beside.items()}
    )
    first.insert(0, "model", model)
    return pd.concat([first, rows.drop(columns="item")], axis=1)


def _of_one_type(values: pd.Series) -> pd.Series:
    try:
        pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return values.map(_text)
    return values


def _text(value: Any) -> str | None:
    missing = value is None or isinstance(value, float) and value != value
    return None if missing else json.dumps(value, ensure_ascii=False, default=str)
