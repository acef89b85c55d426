"""The columns of a table that has types of its own (Parquet, Feather, JSON lines), as a model can
use them.

Numbers, decimals too, are numbers; durations are seconds; categories keep the order of their
levels; dates are text, as in CSV; of lists, structs and bytes only the kind is told, so that a
table may hold them where nothing uses them. Missing are null and, in numbers, NaN.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from transect.store.tables.column_types import DATES, Column, number_words

INDEX = "__index_level_0__"  # how pandas writes an index that has no name


def columns_of(table: pa.Table) -> Iterator[tuple[str, Column | str]]:
    """Name and column of each; of a column that no model can use, what it holds. An index of
    numbers that pandas wrote is none.
    """
    counted, meant = Counter(table.column_names), _meant_as_categories(table)
    for name, values in zip(table.column_names, table.columns, strict=True):
        if name == INDEX and types.is_integer(values.type):
            continue
        values = _encoded(values) if name in meant else values
        yield (
            name,
            column_of(values)
            if counted[name] == 1
            else f"stands in the table {counted[name]} times",
        )


def column_of(values: pa.ChunkedArray) -> Column | str:
    """The values as a model can use them, or what the column holds instead."""
    for is_kind, reader in READERS:
        if is_kind(values.type):
            return reader(values)
    return f"holds values of the type {str(values.type).split('<')[0]}"


def _meant_as_categories(table: pa.Table) -> set[str]:
    """Columns of numbers that were categories in pandas: Parquet keeps the type of text categories
    only.
    """
    known = (table.schema.pandas_metadata or {}).get("columns", [])
    return {c["name"] for c in known if c["pandas_type"] == "categorical"}


def _encoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Levels for a column that has none, in the order of size."""
    if types.is_dictionary(values.type):
        return values
    levels = pc.unique(values.drop_null()).sort()
    codes = pc.index_in(values, value_set=levels)
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(chunk, levels) for chunk in codes.chunks]
    )


def _category(values: pa.ChunkedArray) -> Column:
    """Text with its levels in the order of the dictionary."""
    found = values.to_pandas()
    return Column(
        found.cat.rename_categories([str(level) for level in found.cat.categories]), _null(values)
    )


def _whole(values: pa.ChunkedArray) -> Column:
    """int64, or float64 with gaps; text where two numbers would become one as float64."""
    if not values.null_count and not types.is_uint64(values.type):
        return Column(values.cast(pa.int64()).to_pandas())
    floats = values.cast(pa.float64(), safe=False)
    if len(pc.unique(floats)) == len(pc.unique(values)):
        return Column(floats.to_pandas(), _null(values))
    note = "its numbers are too long for a number with gaps, so they are read as text"
    return Column(values.cast(pa.string()).to_pandas(), _null(values), note)


def _decimal(values: pa.ChunkedArray) -> Column:
    try:
        return _whole(values.cast(pa.int64()))
    except pa.ArrowInvalid:  # fractions, or beyond int64
        fractions = values.cast(pa.string()).cast(
            pa.float64()
        )  # the nearest float64, which a direct cast misses
    if values.type.scale <= 0 and len(pc.unique(fractions)) < len(pc.unique(values)):
        return Column(
            values.cast(pa.string()).to_pandas(),
            _null(values),
            "its numbers are too long to stay apart as numbers, so they are read as text",
        )
    return Column(fractions.to_pandas(), _null(values))


def _floats(values: pa.ChunkedArray) -> Column:
    floats = values.cast(pa.float64())
    missing = _null(values)
    nan = np.flatnonzero(pc.fill_null(pc.is_nan(floats), False).to_numpy())
    return Column(floats.to_pandas(), missing | ({"NaN": nan} if len(nan) else {}))


def _seconds(values: pa.ChunkedArray) -> Column:
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[values.type.unit]
    seconds = pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), per_second)
    return Column(
        seconds.to_pandas(), _null(values), "it holds durations, which are read in seconds"
    )


def _dates(values: pa.ChunkedArray) -> Column:
    return Column(values.cast(pa.string()).to_pandas(), _null(values), DATES)


def _text(values: pa.ChunkedArray) -> Column:
    """Text as it stands: "NA" and "" too."""
    cells = values.cast(pa.string())
    return Column(cells.to_pandas(), _null(values), number_words(cells))


def _plain(values: pa.ChunkedArray) -> Column:
    return Column(values.to_pandas(), _null(values))


def _null(values: pa.ChunkedArray) -> dict[str, np.ndarray]:
    rows = np.flatnonzero(values.is_null().to_numpy())
    return {"null": rows} if len(rows) else {}


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.ChunkedArray], Column]], ...] = (
    (types.is_dictionary, _category),
    (_is_text, _text),
    (types.is_boolean, _plain),
    (types.is_timestamp, _plain),  # who uses them says what is wrong
    (types.is_integer, _whole),
    (types.is_decimal, _decimal),
    (types.is_floating, _floats),
    (types.is_duration, _seconds),
    (types.is_date, _dates),
    (types.is_time, _dates),
    (types.is_null, lambda values: Column(pd.Series(np.full(len(values), np.nan)), _null(values))),
)
