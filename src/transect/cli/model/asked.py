"""What `transect measure` asks of one load of a model: measures, each with its options, on stimuli
that are files, patterns or named sets.
"""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect.cli.model.rows_file import kept
from transect.errors import InputError, nearest
from transect.registry.run import Checkpoint
from transect.stimuli.readers.own_file import read_stimuli
from transect.store import units
from transect.store.project import Project
from transect.study.grid import check_requires


@dataclass(frozen=True)
class Given:
    """What the flags say of stimuli and options; see cli/model/single.py: measure_model."""

    stimuli_options: Mapping[str, Any]
    keep: Sequence[str]
    named: Mapping[str, str]
    seed: int


@dataclass(frozen=True)
class Asked:
    """One measure on one set of stimuli (None: it makes its own). `items` and `beside` (the kept
    columns): None until they are made.
    """

    unit: units.Unit
    options: Mapping[str, Any]
    stimuli: str | None
    items: pd.DataFrame | None = None
    beside: pd.DataFrame | None = None

    @property
    def place(self) -> str:
        """For sentences: the measure, and on what."""
        return f"{self.unit.name} on {self.stimuli}" if self.stimuli else self.unit.name

    def made(self, checkpoint: Checkpoint | None, project: Project, given: Given) -> "Asked":
        """With its items."""
        if self.items is not None:
            return self
        items = _items(
            self.stimuli, self.unit, checkpoint, project, given.seed, given.stimuli_options
        )
        return Asked(
            self.unit,
            self.options,
            self.stimuli,
            items,
            kept(items, given.keep, f"the stimuli {self.stimuli}"),
        )


def asked(
    measures: Sequence[str],
    stimuli: Sequence[str],
    options: Mapping[str, Any],
    project: Project,
    given: Given,
) -> list[Asked]:
    """Every measure on every set of stimuli, in the order given; a measure that makes its own items
    once.

    Of several measures each takes the options that it knows. Raises InputError for all that can be
    told before a model is loaded.
    """
    found = [units.find("measure", name, project, "--measure") for name in measures]
    if repeated := [name for name in measures if list(measures).count(name) > 1]:
        raise InputError(f"--measure {repeated[0]} is given twice.")
    files = [name for pattern in stimuli for name in _files(pattern)]
    if repeated := [name for name in files if files.count(name) > 1]:
        raise InputError(f"--stimuli {repeated[0]} is given twice.")
    if len(found) > 1:
        _check_shared(found, files, options)
    result = []
    for unit in found:
        check_requires(unit, "--measure")
        own = (
            options
            if len(found) == 1
            else {k: v for k, v in options.items() if k in unit.options()}
        )
        unit.check_options(own, "--option")
        sets: list[str | None] = [*files] or [None]
        for name in sets if unit["STIMULI"] or len(found) == 1 else [None]:
            if len(found) == 1 or unit["STIMULI"]:
                _check_stimuli(name, unit, given.stimuli_options, given.keep, given.named)
            result.append(_read(Asked(unit, own, name), given))
    return result


def _check_shared(
    found: Sequence[units.Unit], files: Sequence[str], options: Mapping[str, Any]
) -> None:
    """Options and stimuli that are for none of several measures."""
    known = {option for unit in found for option in unit.options()}
    names = ", ".join(unit.name for unit in found)
    for option in options:
        if option not in known:
            raise InputError(
                f"--option: none of {names} has an option {option!r}; they have {', '.join(sorted(known)) or 'none'}.{nearest(option, known)}"
            )
    if files and not any(unit["STIMULI"] for unit in found):
        raise InputError(
            f"--stimuli {files[0]}: none of {names} takes stimuli; they make their own sequences."
        )


def _files(pattern: str) -> list[str]:
    """The files that a pattern (*, ?, [], **) names, in the order of their names; a name without
    one as it stands.
    """
    if Path(pattern).is_file() or not glob.has_magic(pattern):
        return [pattern]
    found = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
    if not found:
        raise InputError(f"--stimuli {pattern!r}: no file is called so.")
    return found


def _read(one: Asked, given: Given) -> Asked:
    """With the items of its file, where it names one."""
    if one.stimuli is None or not Path(one.stimuli).is_file():
        return one
    items = read_stimuli(Path(one.stimuli), one.unit["STIMULI"], one.unit.name, given.named)
    return Asked(one.unit, one.options, one.stimuli, items, kept(items, given.keep, one.stimuli))


def _check_stimuli(
    given: str | None,
    unit: units.Unit,
    options: Mapping[str, Any],
    keep: Sequence[str],
    named: Mapping[str, str],
) -> None:
    """What --stimuli, --stimuli-option, --keep and --columns say together; InputError before
    anything is loaded.
    """
    if named and not (given and Path(given).is_file()):
        raise InputError(
            f"--columns {next(iter(named))}: it names the columns of a file, and --stimuli names none."
        )
    if given is None:
        if unit["STIMULI"]:
            raise InputError(
                f"{unit.name} needs stimuli with the columns {', '.join(unit['STIMULI'])}; add --stimuli FILE_OR_NAME."
            )
        for flag, wrong in (("--stimuli-option", options), ("--keep", keep)):
            if wrong:
                raise InputError(
                    f"{flag} {next(iter(wrong))}: {unit.name} takes no stimuli, so there is nothing that this could be of."
                )
    elif not unit["STIMULI"]:
        raise InputError(
            f"--stimuli {given}: {unit.name} takes no stimuli; it makes its own sequences."
        )
    elif Path(given).is_file() and options:
        raise InputError(
            f"--stimuli-option {next(iter(options))}: options are for a named set of stimuli; the items of {given} are taken as they stand."
        )


def _items(
    given: str | None,
    unit: units.Unit,
    checkpoint: Checkpoint | None,
    project: Project,
    seed: int,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """The items of a named set, or of a measure that makes its own."""
    if given is None:
        return pd.DataFrame({"item": []})
    needed, items = list(unit["STIMULI"]), _make(given, checkpoint, project, seed, options)
    lacking = [c for c in needed if c not in items]
    if lacking:
        raise InputError(
            f"--stimuli {given}: there is no column {lacking[0]!r}, which {unit.name} reads; there are {', '.join(items)}."
            f"{nearest(lacking[0], items)}"
        )
    return items


def _make(
    name: str,
    checkpoint: Checkpoint | None,
    project: Project,
    seed: int,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """The items of a stimulus set, for the run's factors or those that the options name."""
    if "/" in name or name.endswith((".csv", ".jsonl", ".json", ".tsv", ".txt", ".gz")):
        raise InputError(f"--stimuli: there is no file {name}.")
    unit = units.find("stimuli", name, project, "--stimuli")
    run = checkpoint.run if checkpoint else None
    by = {
        factor: options.get(factor, run.get(factor) if run else None)
        for factor in unit.get("BY", [])
    }
    unknown = [factor for factor, value in by.items() if value is None]
    if unknown:
        raise InputError(
            f"--stimuli {name}: the items depend on {unknown[0]}, which is not known of this model; add --stimuli-option {unknown[0]}=..."
        )
    own = {k: v for k, v in options.items() if k not in by}
    unit.check_options(own, "--stimuli-option")
    return unit.load().items(seed=seed, **by, **own)
