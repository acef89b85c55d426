"""Names that tell apart the lines of a study's `measures` that take the same measure on the same
stimuli with other options.

A name reaches the grid, the rows, outcomes and the report. It is no part of a cell's key, so
renaming measures nothing. An entry that stands alone needs none. Entries without a name that never
meet at a checkpoint (`all but last` and `last`) are one series, and have none either.
"""

import ast
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from transect.store.files import yaml_file
from transect.store.units import Unit
from transect.study.grid import Entry

LONGEST = 30  # characters of a value in a name


def named(entries: Sequence[Entry], meet: Callable[[Entry, Entry], bool]) -> tuple[Entry, ...]:
    """The entries, those without a name named by what differs among them (`bos=false`) where they
    have to be told apart.

    meet: whether two entries are measured at one checkpoint.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(entries):
        alike.setdefault((entry.measure.name, entry.stimuli_name), []).append(index)
    found = list(entries)
    for places in alike.values():
        group = [entries[i] for i in places]
        if any(e.name for e in group) or any(meet(a, b) for a, b in combinations(group, 2)):
            for place, name in zip(places, _differences(group), strict=True):
                found[place] = replace(entries[place], name=entries[place].name or name)
    return tuple(found)


def by_stimuli(entries: Iterable[Entry], measure: str) -> dict[str, list[str]]:
    """Stimulus set -> the names under which a measure stands on it, in the order of the study."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.measure.name == measure and entry.name not in found.setdefault(
            entry.stimuli_name, []
        ):
            found[entry.stimuli_name].append(entry.name)
    return found


def _differences(group: Sequence[Entry]) -> list[str]:
    """Of each entry the settings that are not the same in all of them; their checkpoints where
    nothing else differs.
    """
    settings = [_settings(entry) for entry in group]
    keys = [
        k
        for k in dict.fromkeys(k for s in settings for k in s)
        if len({s.get(k) for s in settings}) > 1
    ]
    if not keys:
        settings, keys = (
            [{"checkpoints": yaml_file.inline(e.checkpoints or "all")} for e in group],
            ["checkpoints"],
        )
    return [", ".join(f"{k}={_short(s[k])}" for k in keys if k in s) for s in settings]


def _settings(entry: Entry) -> dict[str, str]:
    """Every option of measure and stimuli, as it was given or by its default."""
    given = _with_defaults(entry.measure, entry.options)
    if entry.stimuli is not None:
        given = _with_defaults(entry.stimuli, entry.stimuli_options) | given
    return {name: yaml_file.inline(value) for name, value in given.items()}


def _with_defaults(unit: Unit, given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, default in unit.options().items():
        if default is not None:
            found[option] = default
            with contextlib.suppress(ValueError):  # computed: told as it is written
                found[option] = ast.literal_eval(default)
    return found | dict(given)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
