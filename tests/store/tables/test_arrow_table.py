"""Tables with types of their own: numbers stay numbers, levels keep their order, and what no model
can use is told where it is used.
"""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transect.errors import InputError
from transect.store.tables.reading import LeftOut, TableFile, read


def parquet(folder: Path, **columns: Any) -> TableFile:
    pq.write_table(pa.table(columns), folder / "t.parquet")
    return read(folder / "t.parquet")


def one(folder: Path, values: list[Any], kind: pa.DataType | None = None) -> pd.Series:
    return parquet(folder, x=pa.array(values, kind)).frame["x"]


@pytest.mark.parametrize(
    ("values", "kind", "right"),
    [
        ([Decimal("1.25"), Decimal("-3.5")], pa.decimal128(10, 2), [1.25, -3.5]),
        ([Decimal("1.25"), Decimal("-3.5")], pa.decimal256(50, 2), [1.25, -3.5]),
        ([Decimal(7), Decimal(2**53 + 1)], pa.decimal128(38, 0), [7, 2**53 + 1]),
        ([timedelta(milliseconds=1500), timedelta(minutes=1)], pa.duration("ns"), [1.5, 60.0]),
        ([timedelta(seconds=2)], pa.duration("s"), [2.0]),
        ([1, -2], pa.int8(), [1, -2]),
        ([1, 2**63], pa.uint64(), [1.0, 2.0**63]),
        ([1.5, 2.0], pa.float16(), [1.5, 2.0]),
        ([0.5, 0.25], pa.float32(), [0.5, 0.25]),
        ([2**53 + 1, 2**53], pa.int64(), [2**53 + 1, 2**53]),
        ([True, False], pa.bool_(), [True, False]),
        (["NA", "", "None", "nan"], pa.string(), ["NA", "", "None", "nan"]),
        (["a", "b"], pa.large_string(), ["a", "b"]),
        ([date(2024, 1, 2), date(2024, 1, 3)], pa.date32(), ["2024-01-02", "2024-01-03"]),
    ],
)
def test_values_stay_what_they_are(
    values: list[Any], kind: pa.DataType, right: list[Any], tmp_path: Path
) -> None:
    """Numbers of any type are numbers (durations in seconds), text of any type is text."""
    found = one(tmp_path, values, kind)
    assert found.tolist() == right
    assert pd.api.types.is_numeric_dtype(found) == (not isinstance(right[0], str))


def test_ids_beyond_2_53_stay_apart_beside_a_gap(tmp_path: Path) -> None:
    """As float64 two of them would be one."""
    assert one(tmp_path, [2**53 + 1, 2**53, None], pa.int64()).nunique() == 2


def test_levels_keep_their_order(tmp_path: Path) -> None:
    """A category of levels (b, a) stays so, unused levels and missing values too."""
    values = pa.DictionaryArray.from_arrays(
        pa.array([1, 0, None, 1], pa.int8()), pa.array(["b", "a", "never"])
    )
    found = parquet(tmp_path, x=values)
    assert found.frame["x"].cat.categories.tolist() == ["b", "a", "never"]
    assert found.frame["x"].tolist()[:2] == ["a", "b"] and found.left_out(["x"]) == [
        LeftOut("x", "null", 1)
    ]


@pytest.mark.parametrize(("form", "levels"), [("feather", ["10", "2"]), ("parquet", ["2", "10"])])
def test_levels_that_are_numbers_are_categories(
    form: str, levels: list[str], tmp_path: Path
) -> None:
    """As their owner made them; Parquet has lost the order of theirs, which is then that of size."""
    frame = pd.DataFrame({"x": pd.Categorical([10, 2, 10], categories=[10, 2])})
    getattr(frame, f"to_{form}")(tmp_path / f"t.{form}")
    found = read(tmp_path / f"t.{form}").frame["x"]
    assert found.cat.categories.tolist() == levels and found.tolist() == ["10", "2", "10"]


def test_missing_numbers_have_their_sign(tmp_path: Path) -> None:
    """null and NaN are two causes."""
    found = parquet(tmp_path, x=pa.array([1.0, None, float("nan")]), g=pa.array([None, "a", "b"]))
    assert found.left_out(["x", "g"]) == [
        LeftOut("x", "null", 1),
        LeftOut("x", "NaN", 1),
        LeftOut("g", "null", 1),
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[1, 2], [3]], pa.list_(pa.int64())),
        ([{"a": 1}, {"a": 2}], pa.struct([("a", pa.int64())])),
        ([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        ([b"a", b"b"], pa.binary()),
    ],
)
def test_what_no_model_uses_is_told_where_it_is_used(
    values: list[Any], kind: pa.DataType, tmp_path: Path
) -> None:
    """Lists, structs, maps and bytes may be in the table; who names the column is told what it
    holds.
    """
    found = parquet(tmp_path, y=[1.0, 2.0], toks=pa.array(values, kind))
    assert list(found.frame) == ["y"]
    found.check(["y"])
    with pytest.raises(
        InputError, match="the column 'toks' cannot be used: it holds values of the type"
    ):
        found.check(["y", "toks"])


def test_the_index_of_pandas(tmp_path: Path) -> None:
    """Numbers of rows are no column; an index with a name is one."""
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "g": ["a", "b", "c"]})
    frame.iloc[[0, 2]].to_parquet(tmp_path / "rows.parquet")
    assert list(read(tmp_path / "rows.parquet").frame) == ["y", "g"]
    frame.set_index("g").to_parquet(tmp_path / "named.parquet")
    assert sorted(read(tmp_path / "named.parquet").frame) == ["g", "y"]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (pa.array(["1", "2"]), "it holds numbers as text, e.g. '1'"),
        (pa.array(["1,000", "2,000"]), "it holds numbers with separators"),
        (pa.array([timedelta(seconds=1)] * 2), "it holds durations, which are read in seconds"),
        (pa.array([date(2024, 1, 2)] * 2), "it holds dates or times"),
        (pa.array([time(1, 2)] * 2), "it holds dates or times"),
        (pa.array(["a", "b"]), ""),
        (pa.array([datetime(2024, 1, 2)] * 2), ""),  # refused by who uses it
    ],
)
def test_doubts_are_said_of_what_is_meant_as_a_number(
    values: pa.Array, note: str, tmp_path: Path
) -> None:
    """One note per column at most, none on columns that are only groupings."""
    found = parquet(tmp_path, x=values, y=[1.0, 2.0])
    assert [n.removeprefix("the column 'x': ")[: len(note)] for n in found.notes_on(["x"])] == [
        note
    ] * bool(note)
    assert found.notes_on(["y"]) == []
