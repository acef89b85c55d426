"""Tables for readers: sensible digits to look at, the full value behind them.

A cell has a text (what is printed) and, where that is less than the value, the raw value (its
title, its sort key and what the CSV holds). A unit that ends a column's name stands in the header:
`peak_memory_mib` -> "peak memory (MiB)".
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

FIRST_ROWS = 200  # rows shown before "show all"
WRAPPED = 44  # longer texts wrap; names, which a reader compares, do not
SIGNIFICANT = 3  # digits of a typical value of a column
# columns whose values span more than this get significant digits per value, not one number of
# decimals
SPREAD = 1e3
UNITS = {
    **{unit: unit for unit in ("nats", "bits", "bytes", "logits")},
    **{
        "milliseconds": "ms",
        "seconds": "s",
        "hours": "h",
        "mb": "MB",
        "gb": "GB",
        "mib": "MiB",
        "gib": "GiB",
    },
    **{"percent": "%", "flop": "FLOP", "flops": "FLOP", "kwh": "kWh", "usd": "USD"},
}
OWN = -1  # a column chooses its own number of decimals
ALIKE = {
    "estimate",
    "lower",
    "upper",
    "standard_error",
    "se",
}  # compared along a row: the same decimals for all
PLAIN_INTEGERS = re.compile(
    r"(^|_)(seed|step|id|year|revision|layer|head|position|item)\Z"
)  # names, not amounts
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Table:
    """A frame with its caption; `units` overrides or adds to the unit that a column's name ends
    with.
    """

    frame: pd.DataFrame
    caption: str
    units: Mapping[str, str] = field(default_factory=dict)


class Cell(NamedTuple):
    text: str
    raw: str | None  # None: the text is the value
    # "n" number, "t" text, "w" text long enough to wrap, "x" nothing there ("n x" among numbers)
    kind: str


def table_view(
    key: str, table: Table, full: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The template's variables: id, caption, columns (name, label, unit, numeric) and rows of
    cells.

    `full`: for columns whose text was shortened, the whole text of every row.
    """
    frame = table.frame.reset_index(drop=True)
    alike = [c for c in frame.columns if c in ALIKE and _is_numeric(frame[c])]
    places = _decimals([size for c in alike for size in _sizes(frame[c].dropna())])
    columns, cells = [], []
    for position, name in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, position]
        numeric = _is_numeric(values)
        label, unit = header(name, table.units)
        columns.append({"name": name, "label": label, "unit": unit, "numeric": numeric})
        if numeric:
            column = number_cells(name, values, places if name in alike else OWN)
        else:
            column = [_text_cell(value) for value in values]
        cells.append(_with_raw(column, full[name]) if full and name in full else column)
    return {
        "id": key,
        "caption": table.caption,
        "columns": columns,
        "rows": list(zip(*cells, strict=True)),
        "first": FIRST_ROWS,
    }


def _sizes(numbers: Iterable[float]) -> list[float]:
    """The absolute values of the finite numbers that are not 0."""
    return [abs(float(v)) for v in numbers if math.isfinite(v) and v != 0]


def _with_raw(column: list[Cell], texts: Sequence[str]) -> list[Cell]:
    """The cells with the whole texts behind them, where these say more."""
    return [
        cell._replace(raw=text if text != cell.text else None)
        for cell, text in zip(column, texts, strict=True)
    ]


def header(name: str, units: Mapping[str, str]) -> tuple[str, str]:
    """(label, unit): the unit given, else the one that the name ends with, else none."""
    stem, _, ending = name.rpartition("_")
    if name in units:
        unit = units[name]
        return _spaced(stem if UNITS.get(ending) == unit else name), unit
    if stem and stem != "n" and not stem.endswith("_per") and ending in UNITS:
        return _spaced(stem), UNITS[ending]
    return _spaced(name), ""


def _spaced(name: str) -> str:
    return re.sub("^n_", "n\u00a0", name).replace("_", " ")  # "n" stays with what it counts


def number_cells(name: str, values: pd.Series, places: int | None = OWN) -> list[Cell]:
    """Numbers of one column with `places` decimals (OWN: as suits the column; None: significant
    digits).
    """
    numbers = [math.nan if v is None or pd.isna(v) else v for v in values.tolist()]
    if places == OWN and _are_whole(numbers):
        return [_whole_cell(name, value) for value in numbers]
    if re.match(r"^p(\Z|_value|_holm|_adjusted)", name):
        return [_cell(value, _probability(value)) for value in numbers]
    decimals = _decimals(_sizes(numbers)) if places == OWN else places
    return [_cell(value, number(value, decimals)) for value in numbers]


def _are_whole(numbers: Iterable[float]) -> bool:
    """Whether all finite numbers are."""
    return all(float(v).is_integer() for v in numbers if math.isfinite(v))


def _whole_cell(name: str, value: float) -> Cell:
    """A cell of a column whose finite numbers are whole: amounts in groups of three digits, names
    as they are.
    """
    if not math.isfinite(value):
        return _cell(value, number(value))
    raw = str(int(value))
    text = raw.replace("-", "−") if PLAIN_INTEGERS.search(name) else count(int(value))
    return Cell(text, raw if text != raw else None, "n")


def _cell(value: float, text: str) -> Cell:
    """A number and its text; the exact value stands behind it where the text is not that."""
    if math.isnan(value):
        return Cell("–", "", "n x")
    raw = repr(float(value))
    return Cell(text, raw if text != raw else None, "n")


def _probability(p: float) -> str:
    return "<0.001" if p < 0.001 else number(p, 3)


def number(value: float, places: int | None = None) -> str:
    """`value` with `places` decimals, or with three significant digits (None, or where it would
    round to nothing).
    """
    value = float(value)
    if not math.isfinite(value):
        return _not_finite(value)
    if places is not None and (value == 0 or round(abs(value), places) != 0):
        text = f"{value:,.{places}f}" if abs(value) >= 10_000 else f"{value:.{places}f}"
    elif value == 0:
        text = "0"
    elif 1e-4 <= abs(value) < 1e6:
        text = f"{value:.{max(0, SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))}f}"
    else:
        mantissa, _, exponent = f"{value:.{SIGNIFICANT - 1}e}".partition("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return text.replace("-", "−")


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if value > 0 else "−∞"


def count(value: int) -> str:
    """A whole number: in full below ten million (grouped from 10,000), else three digits and M, B
    or T.
    """
    if abs(value) < 10_000_000:
        text = f"{value:,}" if abs(value) >= 10_000 else str(value)
    else:
        rounded = float(
            f"{value:.{SIGNIFICANT - 1}e}"
        )  # first, so that 999,999,999 is 1.00B and not 1000M
        power = min(4, math.floor(math.log10(abs(rounded))) // 3)
        scaled = rounded / 1000**power
        text = (
            f"{scaled:.{max(0, SIGNIFICANT - 1 - math.floor(math.log10(abs(scaled))))}f}"
            + " kMBT"[power]
        )
    return text.replace("-", "−")


def decimals_of_interval(low: float, high: float) -> int | None:
    """Decimals that leave two significant digits of the interval's width; None where there is no
    width.
    """
    width = high - low
    if not math.isfinite(width) or width <= 0:
        return None
    return min(6, max(0, 1 - math.floor(math.log10(width))))


def _decimals(finite: list[float]) -> int | None:
    """One number of decimals for a column, by its median; None where its values differ by more than
    SPREAD.
    """
    if not finite:
        return 0
    ordered = sorted(finite)
    low, middle, high = (ordered[int(q * (len(ordered) - 1))] for q in (0.1, 0.5, 0.9))
    if high > SPREAD * low:
        return None
    return min(6, max(0, SIGNIFICANT - 1 - math.floor(math.log10(middle))))


def _is_numeric(values: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(values):
        return False
    if pd.api.types.is_numeric_dtype(values):
        return True
    present = [v for v in values if not _absent(v)]
    return bool(present) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in present
    )


def _absent(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _text_cell(value: Any) -> Cell:
    if _absent(value):
        return Cell("–", "", "x")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", None, "t")
    text = as_text(value)
    if re.fullmatch(
        r"[0-9a-f]{40,}", text
    ):  # a digest tells a reader nothing more than its beginning
        return Cell(text[:12] + "…", text, "t")
    return Cell(text, None, "w" if len(text) > WRAPPED else "t")


def as_text(value: Any) -> str:
    """A value as text; nothing for what is absent."""
    if isinstance(value, list | tuple | set):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {as_text(v)}" for k, v in value.items())
    if value is None or pd.isna(value):
        return ""
    return str(value)
