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
        key = (entry.measure.name, entry.stimuli_name)
        alike.setdefault(key, []).append(index)
    result = list(entries)
    for places in alike.values():
        group = [entries[place] for place in places]
        has_name = any(entry.name for entry in group)
        if not has_name and not any(meet(a, b) for a, b in combinations(group, 2)):
            continue
        for place, entry, name in zip(places, group, _differences(group), strict=True):
            result[place] = replace(entry, name=entry.name or name)
    return tuple(result)


def by_stimuli(entries: Iterable[Entry], measure: str) -> dict[str, list[str]]:
    """Stimulus set -> the names under which a measure stands on it, in the order of the study."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        if entry.measure.name == measure:
            of_set = names.setdefault(entry.stimuli_name, [])
            if entry.name not in of_set:
                of_set.append(entry.name)
    return names


def _differences(group: Sequence[Entry]) -> list[str]:
    """Of each entry the settings that are not the same in all of them; their checkpoints where
    nothing else differs.
    """
    settings = [_settings(entry) for entry in group]
    differing = []
    for key in dict.fromkeys(key for own in settings for key in own):
        values = {own.get(key) for own in settings}
        if len(values) > 1:
            differing.append(key)
    if not differing:
        return [f"checkpoints={_checkpoints(entry)}" for entry in group]
    return [_in_words(own, differing) for own in settings]


def _in_words(settings: Mapping[str, str], keys: Iterable[str]) -> str:
    """The settings of these keys, of those that there are."""
    parts = []
    for key in keys:
        if key in settings:
            parts.append(f"{key}={_short(settings[key])}")
    return ", ".join(parts)


def _checkpoints(entry: Entry) -> str:
    return _short(yaml_file.inline(entry.checkpoints or "all"))


def _settings(entry: Entry) -> dict[str, str]:
    """Every option of measure and stimuli, as it was given or by its default."""
    options = _with_defaults(entry.measure, entry.options)
    if entry.stimuli is not None:
        options = _with_defaults(entry.stimuli, entry.stimuli_options) | options
    return {name: yaml_file.inline(value) for name, value in options.items()}


def _with_defaults(unit: Unit, given: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for option, default in unit.options().items():
        if default is not None:
            options[option] = default
            with contextlib.suppress(ValueError):  # computed: it stays as it is written
                options[option] = ast.literal_eval(default)
    return options | dict(given)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
