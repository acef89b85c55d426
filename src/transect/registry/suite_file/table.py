"""The table of an entry: a CSV file beside the suite file, one run per row, a column per field."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry import factors
from transect.store.files.yaml_bounds import LARGEST

NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{1,100})?([eE][+-]?\d{1,3})?")


def rows(source: Path, own: Mapping[str, Any], named_at: object) -> list[dict[str, Any]]:
    """Field -> value of every row; an empty cell is an unknown fact, left out; so is an empty line.

    own: the fields that the suite declares. named_at: the place, in words, that names the table.
    Raises InputError with the table's line.
    """
    lines = _lines(source, named_at)
    if len(lines) < 2:
        raise InputError(
            f"{source}: the table has no row; it needs a header of fields and one row per run."
        )
    header = lines[0][1]
    _check_header(header, own, source)
    for line, cells in lines:
        if len(cells) != len(header):
            raise InputError(
                f"{source}, line {line}: {len(cells)} cells, where the header has {len(header)}."
            )
    _check_values(header, lines[1:], source)
    return [_facts(header, cells) for _, cells in lines[1:]]


def _lines(source: Path, named_at: object) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty. Raises InputError for what cannot be read."""
    if source.exists() and not source.is_file():
        raise InputError(f"{named_at}: the table {source} is no file.")
    try:
        if (size := source.stat().st_size) > LARGEST:
            raise InputError(
                f"{named_at}: the table {source} has {size:,} bytes; at most {LARGEST:,} are read."
            )
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise InputError(f"{named_at}: there is no table {source.name!r} beside it.") from None
    except OSError as error:
        raise InputError(
            f"{named_at}: the table {source} cannot be read ({error.strerror})."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{source}: this is not UTF-8 text.") from None
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: this is not CSV ({error}).") from None


def _facts(header: list[str], cells: list[str]) -> dict[str, Any]:
    return {field: _cell(text) for field, text in zip(header, cells, strict=True) if text}


def _check_header(header: list[str], own: Mapping[str, Any], source: Path) -> None:
    known = set(factors.shared_fields()) | set(own)
    for i, name in enumerate(header):
        if name not in known:
            raise InputError(f"{source}, line 1: unknown field {name!r}.{nearest(name, known)}")
        if name in header[:i]:
            raise InputError(f"{source}, line 1: the field {name!r} stands twice in the header.")


def _check_values(header: list[str], lines: list[tuple[int, list[str]]], source: Path) -> None:
    """Each distinct value of a column once: large tables repeat few. Templates are filled in later."""
    for i, name in enumerate(header):
        first_line = {cells[i]: line for line, cells in reversed(lines)}
        for text, line in first_line.items():
            if not text or "{" in text:
                continue
            if fault := factors.fault(name, _cell(text)):
                raise InputError(f"{source}, line {line}: {name} {fault}")


def _cell(text: str) -> Any:
    if NUMBER.fullmatch(text):
        return float(text) if set(text) & set(".eE") else int(text)
    return {"true": True, "false": False}.get(text, text)
