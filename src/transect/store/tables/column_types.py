"""What a column of written cells holds: numbers, true and false, or text; one type per column, and
every missing value with its sign.

Numbers: every cell is one or a sign for a missing one (SIGNS), and one has digits (inf, None and
null alone are words). Text: only an empty cell and NA without quotes are missing; None, nan and
null are words (a language, a kind of positions) as "NA" in quotes is. So are numbers of which two
would become one: 1 and 01, or ids beyond 2^53 with gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# of a missing number, in lower case: those of R, Python, SQL, Excel, SPSS and of the hand
SIGNS = (
    "",
    "na",
    "n/a",
    "<na>",
    "nan",
    "-nan",
    "null",
    "none",
    ".",
    "-",
    "--",
    "?",
    "#n/a",
    "#na",
    "#div/0!",
    "#value!",
    "#num!",
    "#ref!",
    "#null!",
    "#name?",
)
EMPTY = "empty"
POINT = r"\."
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
_WITH_UNIT = r"^[+-]?[0-9.,]+ ?(?i:ms|s|sec|min|h|k|m|b|t|g|bn|kb|mb|gb|hz|khz|mm|cm|px|bits?|nats?|params|tokens)$"
MINUS = "\u2212"  # the sign of typesetters
DATES = "it holds dates or times, which are read as text; for a trend take the days since the first"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$|^[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}$"
_WHOLE = r"^[+-]?[0-9]+$"
_COMMA = r"^[+-]?([0-9]+(,[0-9]+)?|,[0-9]+)([eE][+-]?[0-9]+)?$"
_THOUSANDS = r"^[+-]?[1-9][0-9]{0,2}(%s[0-9]{3})+$"
_WITH_SEPARATORS = (
    r"^[+-]?([0-9]{1,3}([,.'\x{00a0}\x{202f} ][0-9]{3})+([.,][0-9]+)?|[0-9]*,[0-9]+|[0-9.]+ ?%)$"
)


@dataclass(frozen=True)
class Column:
    """`missing`: sign -> rows (from 0). `note`: a sentence on how it was read, for who takes it as
    a number.
    """

    values: pd.Series
    missing: dict[str, np.ndarray] = field(default_factory=dict)
    note: str = ""


def typed(cells: pa.ChunkedArray, comma: bool = False) -> Column:
    """The values of written cells (null: NA without quotes). comma: whether 1,5 is a number here,
    and 1.5 is not.
    """
    encoded = cells.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    levels = pc.replace_substring(pc.utf8_trim_whitespace(encoded.dictionary), MINUS, "-")
    numbers, signs = _matches(levels, _COMMA if comma else _NUMBER), _is_sign(levels)
    logical = _is_logical(levels)
    values: np.ndarray | None = None
    note = ""
    if (numbers & _matches(levels, "[0-9]")).any() and (numbers | signs).all():
        values = _as_numbers(levels, numbers, codes, comma)
        note = "its numbers stay text, because two of them would become one, as 1 and 01 do"
    elif logical.any() and (logical | signs).all():
        values = _as_logical(levels, logical, codes)
    if values is not None:
        return Column(pd.Series(values), _rows_by_sign(levels, signs, codes))
    empty = pc.equal(levels, "")
    words = pc.if_else(empty, pa.scalar(None, pa.string()), encoded.dictionary).take(
        encoded.indices
    )
    return Column(
        words.to_pandas(),
        _rows_by_sign(levels, empty.to_numpy(zero_copy_only=False), codes),
        note or _doubt(levels, numbers),
    )


def has_decimal_commas(columns: Sequence[pa.ChunkedArray], separator: str) -> bool:
    """Whether 1,5 is a number in this table: a column holds such numbers only, and none has points
    in its own.

    Under a separator other than the semicolon (Excel's, where the decimal sign is a comma) numbers
    that may be thousands do not tell.
    """
    if separator == ",":
        return False
    with_comma, with_point, sure = False, False, separator == ";"
    for cells in columns:
        levels = pc.utf8_trim_whitespace(cells.combine_chunks().dictionary_encode().dictionary)
        levels = levels.filter(pa.array(~_is_sign(levels)))
        if len(levels) and _matches(levels, ",").any() and _matches(levels, _COMMA).all():
            with_comma = True
            sure |= not _matches(levels, rf"{_THOUSANDS % ','}|{_WHOLE}").all()
        elif len(levels) and _matches(levels, r"\.").any() and _matches(levels, _NUMBER).all():
            with_point |= not _matches(levels, rf"{_THOUSANDS % POINT}|{_WHOLE}").all()
    return with_comma and sure and not with_point


def number_words(cells: pa.ChunkedArray) -> str:
    """The note on text every value of which reads as a number; else empty."""
    levels = pc.utf8_trim_whitespace(pc.drop_null(pc.unique(cells)))
    numbers = _matches(levels, _NUMBER)
    if numbers.any() and numbers.all():
        return f"it holds numbers as text, e.g. {levels[0].as_py()!r}; write the table with a type of numbers"
    return _doubt(levels, numbers)


def _as_numbers(
    levels: pa.Array, numbers: np.ndarray, codes: np.ndarray, comma: bool
) -> np.ndarray | None:
    """[row] int64, or float64 where there are gaps or fractions; None for whole numbers of which
    two would become one.
    """
    written = pc.replace_substring_regex(levels.filter(pa.array(numbers)), r"^\+|^-(0+)$", r"\1")
    if comma:
        written = pc.replace_substring(written, ",", ".")
    known = numbers[codes] & (codes >= 0)
    whole = bool(_matches(written, _WHOLE).all())
    try:
        values = written.cast(pa.int64() if whole and known.all() else pa.float64())
    except pa.ArrowInvalid:  # beyond int64
        values = written.cast(pa.float64())
    if whole and len(pc.unique(values)) < len(pc.unique(written)):
        return None
    of_level = np.zeros(len(levels), values.type.to_pandas_dtype())
    of_level[numbers] = values.to_numpy()
    found = of_level[codes]
    if not known.all():
        found[~known] = np.nan
    return found


def _as_logical(levels: pa.Array, logical: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[row] bool, or objects with None where there are gaps."""
    known = logical[codes] & (codes >= 0)
    found = pc.equal(pc.utf8_lower(levels), "true").to_numpy(zero_copy_only=False)[codes]
    if not known.all():
        found = found.astype(object)
        found[~known] = None
    return found


def _rows_by_sign(
    levels: pa.Array, missing: np.ndarray, codes: np.ndarray
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for j in [*np.flatnonzero(missing), *([-1] if (codes < 0).any() else [])]:
        sign = "NA" if j < 0 else levels[int(j)].as_py() or EMPTY
        found[sign] = np.sort(
            np.concatenate([found.get(sign, np.empty(0, int)), np.flatnonzero(codes == j)])
        )
    return dict(sorted(found.items(), key=lambda part: part[1][0]))


def _doubt(levels: pa.Array, numbers: np.ndarray) -> str:
    """What may be wrong where text holds numbers; else an empty text."""
    others = levels.filter(pa.array(~(numbers | _is_sign(levels))))
    if len(others) and _matches(others, _WITH_SEPARATORS).all():
        return f"it holds numbers with separators, e.g. {others[0].as_py()!r}, which are read as text; write them without"
    if len(others) and _matches(others, _DATE).all():
        return DATES
    if len(others) and _matches(others, _WITH_UNIT).all():
        return f"it holds numbers with units, e.g. {others[0].as_py()!r}, which are read as text; a number stands without its unit"
    if len(others) and numbers.any():
        return f"it holds numbers, but {others[0].as_py()!r} is none, so all of it is read as text"
    return ""


def _matches(levels: pa.Array, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(levels, pattern).to_numpy(zero_copy_only=False).astype(bool)


def _is_sign(levels: pa.Array) -> np.ndarray:
    return (
        pc.is_in(pc.utf8_lower(levels), value_set=pa.array(SIGNS))
        .to_numpy(zero_copy_only=False)
        .astype(bool)
    )


def _is_logical(levels: pa.Array) -> np.ndarray:
    """As R, Python and JSON write it, in one way: TRUE, True or true."""
    return _matches(levels, "^(TRUE|FALSE|True|False|true|false)$")
