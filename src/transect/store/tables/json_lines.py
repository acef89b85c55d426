"""JSON lines: one object per line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from transect.errors import InputError
from transect.store.tables import bounds

JSON_LINES = (".jsonl", ".ndjson")
DEEPEST = 100  # objects and lists in each other
TOO_DEEP = f"its values are nested more than {DEEPEST} deep"


def objects(text: str, place: str) -> list[dict[str, Any]]:
    """The objects of a text; empty lines are none. Raises InputError with the line that is no
    object, and for too many of them.
    """
    bounds.check_objects(text, place)
    rows, names = [], set[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError:
            raise InputError(f"{place}, line {number}: {TOO_DEEP}.") from None
        except ValueError as error:
            raise InputError(f"{place}, line {number}: this is no JSON ({error}).") from None
        if not isinstance(row, dict):
            raise InputError(
                f'{place}, line {number}: a line must be an object, e.g. {{"item": "1", "text": "..."}}.'
            )
        if line.count("[") + line.count("{") > DEEPEST and _is_deep(row):
            raise InputError(f"{place}, line {number}: {TOO_DEEP}.")
        rows.append(row)
        names.update(row)
        bounds.check(len(rows), len(names), place)
    return rows


def _is_deep(row: dict[str, Any]) -> bool:
    """Whether values are nested more than DEEPEST deep, found level by level."""
    level: list[Any] = [row]
    for _ in range(DEEPEST):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    return bool(level)


def as_arrow(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The objects as a table: fields that a row lacks are null, fields of several types are text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _array([row.get(name) for row in rows]) for name in names})


def _array(values: list[Any]) -> pa.Array:
    nested = any(isinstance(v, list | dict) for v in values)
    numbers = all(
        v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values
    )
    try:
        if nested or numbers or len({type(v) for v in values} - {type(None)}) < 2:
            return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if nested:
            return pa.array([[]] * len(values))
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
    )
