"""A user's own items: a file of JSON lines or CSV -> a table with a column `item`.

Texts stay what they are: a cell of CSV is a string ("NA", "null" and "007" too), an empty one the empty string. In JSON lines every line
is an object; a field that a line lacks is an empty string in the columns that the measure reads. Both may be compressed.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
FORMS = (".jsonl", ".csv")


def read_stimuli(path: Path, columns: Sequence[str], measure: str) -> pd.DataFrame:
    """The items of a file, with the columns that a measure reads as texts.

    Without a column `item`, BLiMP's UID and pairID name an item, else its row (from 0). Raises InputError that names the file, and the
    line where one is wrong: an unknown form, a line that cannot be read, a column that is not there, a text that is not one, an item
    that occurs twice, no items at all.
    """
    place = f"--stimuli {path}"
    form = next((s for s in path.suffixes if s in FORMS), None)
    if form is None:
        raise InputError(f"{place}: a file of stimuli ends in {' or '.join(FORMS)} (or that and {', '.join(OPENERS)}).")
    try:
        text = _text(path)
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise InputError(f"{place}: this cannot be read as UTF-8 text ({error}).") from None
    items = _json_lines(text, place) if form == ".jsonl" else _csv(text, place)
    if items.empty:
        raise InputError(f"{place}: there are no items in it.")
    lacking = [c for c in columns if c not in items]
    if lacking:
        raise InputError(f"{place}: there is no column {lacking[0]!r}, which {measure} reads; there are {', '.join(map(str, items))}."
                         f"{nearest(lacking[0], items)}")  # fmt: skip
    for column in columns:
        items[column] = items[column].where(items[column].notna(), "")
        strange = [i for i, value in enumerate(items[column]) if not isinstance(value, str)]
        if strange:
            value = items[column].iloc[strange[0]]
            raise InputError(f"{place}: {column} of item {strange[0]} (from 0) is {value!r}; it must be a text.")
    return _named(items, place)


def _text(path: Path) -> str:
    opener = OPENERS.get(path.suffix)
    with opener(path, "rb") if opener else path.open("rb") as file:
        return file.read().decode("utf-8-sig")


def _json_lines(text: str, place: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place}, line {number}: this is no JSON ({error}).") from None
        if not isinstance(row, dict):
            raise InputError(f'{place}, line {number}: a line must be an object, e.g. {{"item": "1", "text": "..."}}.')
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _csv(text: str, place: str) -> pd.DataFrame:
    csv.field_size_limit(2**31 - 1)  # a document may be longer than the module's 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader, [])
        rows = []
        for row in reader:
            # the csv module reads an empty line as no cell at all; where there is one column it is an empty text
            row = row or [""] * (len(head) == 1)
            if row and len(row) != len(head):
                raise InputError(f"{place}, line {reader.line_num}: {len(row)} cells where the head has {len(head)}; a text with a comma needs quotes.")  # fmt: skip
            rows += [row] if row else []
    except csv.Error as error:
        raise InputError(f"{place}, line {reader.line_num}: this is no CSV ({error}).") from None
    repeated = [name for name in head if head.count(name) > 1]
    if repeated:
        raise InputError(f"{place}: the column {repeated[0]!r} stands there twice.")
    return pd.DataFrame(rows, columns=head, dtype=object)


def _named(items: pd.DataFrame, place: str) -> pd.DataFrame:
    if "item" not in items:
        blimp = {"UID", "pairID"} <= set(items)
        names = (
            items["UID"].astype(str) + "-" + items["pairID"].astype(str) if blimp else list(map(str, range(len(items))))
        )
        items.insert(0, "item", names)
    items["item"] = items["item"].astype(str)
    repeated = items["item"][items["item"].duplicated()]
    if len(repeated):
        raise InputError(f"{place}: the item {repeated.iloc[0]!r} stands there more than once; items are unique.")
    return items
