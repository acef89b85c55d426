"""A user's own items: a file of JSON lines, CSV or one of its kinds -> a table with a column
`item`.

Texts stay what they are: a cell of CSV is a string ("NA", "null" and "007" too), an empty one the
empty string. In JSON lines every line is an object; a field that a line lacks is an empty string in
the columns that the measure reads. All may be compressed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc

from transect.errors import InputError, listed, nearest
from transect.store.files.unpacking import OPENED
from transect.store.tables.json_lines import JSON_LINES, objects
from transect.store.tables.text_file import endings, read_text, refuse_workbook
from transect.store.tables.text_table import SEPARATOR_OF, read_cells


def read_stimuli(
    path: Path, columns: Sequence[str], measure: str, named: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The items of a file, with the columns that a measure reads as texts. named: of a column that
    is read, what the file calls it.

    Without a column `item`, BLiMP's UID and pairID name an item, else its row (from 0). Raises
    InputError that names the file, and the line where one is wrong: an unknown form, a line that
    cannot be read, a column that is not there, a text that is not one, an item that occurs twice,
    no items at all.
    """
    place = f"--stimuli {path}"
    form, _ = endings(path)
    refuse_workbook(path, place)
    if form not in (*JSON_LINES, *SEPARATOR_OF):
        forms = ", ".join([*JSON_LINES, *SEPARATOR_OF])
        raise InputError(
            f"{place}: a file of stimuli ends in {forms} (or one of these and {', '.join(OPENED)})."
        )
    text = read_text(path, place, guess=False).text
    items = (
        pd.DataFrame(objects(text, place), dtype=object)
        if form in JSON_LINES
        else _cells(text, place, form)
    )
    if items.empty:
        raise InputError(f"{place}: there are no items in it.")
    items = _renamed(items, named or {}, columns, measure, place)
    for column in columns:
        _check(items, column, measure, place)
    return _with_item(items, place)


def parse_names(given: Sequence[str]) -> dict[str, str]:
    """``["sentence_good=good"]`` -> {"sentence_good": "good"}, for --columns."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, own = (part.strip() for part in text.partition("="))
        if not (name and sign and own):
            raise InputError(f"--columns {text!r}: write NAME=COLUMN, e.g. sentence_good=good.")
        if name in found:
            raise InputError(f"--columns {name} is given twice.")
        found[name] = own
    return found


def _cells(text: str, place: str, form: str) -> pd.DataFrame:
    """Every cell as it is written."""
    if not text.strip():
        return pd.DataFrame()
    table = read_cells(text, place, SEPARATOR_OF[form], row_names=False)
    repeated = [name for name, times in Counter(table.names).items() if times > 1]
    if repeated:
        raise InputError(f"{place}: the column {repeated[0][:200]!r} stands there twice.")
    columns = [pc.fill_null(cells, "NA").to_pandas().astype(object) for cells in table.columns]
    return pd.DataFrame(dict(zip(table.names, columns, strict=True)))


def _renamed(
    items: pd.DataFrame, named: Mapping[str, str], columns: Sequence[str], measure: str, place: str
) -> pd.DataFrame:
    """The items with a copy of each column under the name that the measure reads."""
    for name, own in named.items():
        if name not in (*columns, "item"):
            raise InputError(
                f"--columns {name}={own}: {measure} reads {', '.join(columns)}, and item.{nearest(name, columns)}"
            )
        if own not in items:
            raise InputError(
                f"--columns {name}={own}: there is no column {own!r} in {place.split()[-1]}; there are {listed(items)}."
                f"{nearest(own, items)}"
            )
        if name in items and name != own:
            raise InputError(
                f"--columns {name}={own}: the file has a column {name!r} as well; rename one of the two."
            )
    return items.assign(**{name: items[own] for name, own in named.items()})


def _check(items: pd.DataFrame, column: str, measure: str, place: str) -> None:
    """Fill the gaps of a column that is read with empty texts; raise InputError where it is not
    there or holds something else.
    """
    if column not in items:
        raise InputError(
            f"{place}: there is no column {column!r}, which {measure} reads; there are {listed(items)}."
            f"{nearest(column, items)} Where a column has another name, add --columns {column}=NAME."
        )
    items[column] = items[column].where(items[column].notna(), "")
    strange = [i for i, value in enumerate(items[column]) if not isinstance(value, str)]
    if strange:
        value = items[column].iloc[strange[0]]
        raise InputError(
            f"{place}: {column} of item {strange[0]} (from 0) is {repr(value)[:200]}; it must be a text."
        )


def _with_item(items: pd.DataFrame, place: str) -> pd.DataFrame:
    if "item" not in items:
        blimp = {"UID", "pairID"} <= set(items)
        names = (
            items["UID"].astype(str) + "-" + items["pairID"].astype(str)
            if blimp
            else list(map(str, range(len(items))))
        )
        items.insert(0, "item", names)
    items["item"] = items["item"].astype(str)
    repeated = items["item"][items["item"].duplicated()]
    if len(repeated):
        raise InputError(
            f"{place}: the item {repeated.iloc[0][:200]!r} stands there more than once; items are unique."
        )
    return items
