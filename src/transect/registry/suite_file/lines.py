"""Where a value of a run stands: the file and line that a person has to change."""

import csv
import math
from pathlib import Path
from typing import Any

from transect.registry.suite_file import reading
from transect.store.files import yaml_file


def entries(path: Path, run: str) -> list[str]:
    """``FILE, line N`` of every entry that a run of this id comes from."""
    data = yaml_file.read(path)
    return [
        str(yaml_file.Place(path, "runs", index))
        for index, entry in enumerate(data["runs"])
        if any(facts["id"] == run for facts in reading.expand(entry, data, path, index))
    ]


def place(path: Path, run: str, field: str) -> str:
    """``FILE, line N`` of a field of a run: in the CSV table of its entry, the entry, a joined
    table or the defaults of its suite file.

    What an anchor brings in stands at the line of the entry that names the anchor.
    """
    data = yaml_file.read(path)
    for index, entry in enumerate(data["runs"]):
        for number, facts in enumerate(reading.expand(entry, data, path, index)):
            if facts["id"] != run:
                continue
            in_table = _place_in_table(path, entry, number, field)
            if in_table:
                return in_table
            keys: list[str | int] = ["runs", index]
            in_entry = _keys_in_entry(entry, field)
            if in_entry:
                keys += in_entry
            else:
                keys = _joined(data, facts, field) or keys
            return str(yaml_file.Place(path, *keys))
    return str(path)


def _place_in_table(path: Path, entry: dict[str, Any], number: int, field: str) -> str:
    """``FILE, line N`` of a field of an entry's run with this number, in its CSV table; empty where
    it does not stand there.
    """
    each = entry.get("each", {})
    if "table" not in entry or field in each:
        return ""
    runs_per_row = math.prod(len(values) for values in each.values())
    table = path.parent / entry["table"]
    line = _cell_line(table, number // runs_per_row, field)
    return f"{table}, line {line}" if line else ""


def _keys_in_entry(entry: dict[str, Any], field: str) -> list[str]:
    """The keys to a field within an entry; none where the entry does not give it."""
    if field in entry.get("each", {}):
        return ["each", field]
    return [field] if field in entry else []


def _cell_line(table: Path, row: int, field: str) -> int:
    """The line of a row of a CSV table, from 1; 0 where its cell of the field is empty or there is
    none.
    """
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for number, cells in enumerate(reader):
            if number == row:
                return reader.line_num if cells.get(field) else 0
    return 0


def _joined(data: dict[str, Any], facts: dict[str, Any], field: str) -> list[str | int]:
    """The keys to a field in the last table whose row is joined to a run, or in the defaults."""
    keys: list[str | int] = ["defaults", field] if field in data.get("defaults", {}) else []
    for i, table in enumerate(data.get("tables", [])):
        for j, row in enumerate(table["rows"]):
            if field in row and all(facts.get(name) == row.get(name) for name in table["by"]):
                keys = ["tables", i, "rows", j, field]
    return keys
