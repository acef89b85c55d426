"""What `transect measure` asks of one load of a model: measures, each with its options, on stimuli
that are files, patterns or named sets.
"""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from transect.cli.model.rows_file import kept
from transect.errors import InputError, nearest
from transect.registry.run import Checkpoint
from transect.stimuli.readers.own_file import read_stimuli
from transect.store import units
from transect.store.project import Project
from transect.study.grid import check_requires


@dataclass(frozen=True)
class Flags:
    """What the flags say of stimuli and options; see cli/model/single.py: measure_model."""

    stimuli_options: Mapping[str, Any]
    keep: Sequence[str]
    named: Mapping[str, str]
    seed: int


@dataclass(frozen=True)
class Request:
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

    def made(self, checkpoint: Checkpoint | None, project: Project, flags: Flags) -> "Request":
        """With its items."""
        if self.items is not None:
            return self
        items = _items(self, checkpoint, project, flags)
        beside = kept(items, flags.keep, f"the stimuli {self.stimuli}")
        return replace(self, items=items, beside=beside)


def requests(
    measures: Sequence[str],
    stimuli: Sequence[str],
    options: Mapping[str, Any],
    project: Project,
    flags: Flags,
) -> list[Request]:
    """Every measure on every set of stimuli, in the order given; a measure that makes its own items
    once.

    Of several measures each takes the options that it knows. Raises InputError for all that can be
    told before a model is loaded.
    """
    chosen = [units.find("measure", name, project, "--measure") for name in measures]
    _check_named_once(measures, "--measure")
    files = [name for pattern in stimuli for name in _files(pattern)]
    _check_named_once(files, "--stimuli")
    if len(chosen) == 1:
        return _on_sets(chosen[0], options, [*files] or [None], flags)
    _check_shared(chosen, files, options)
    pairs = []
    for unit in chosen:
        own = {name: value for name, value in options.items() if name in unit.options()}
        if unit["STIMULI"]:
            pairs += _on_sets(unit, own, [*files] or [None], flags)
        else:
            _check_options(unit, own)
            pairs.append(Request(unit, own, None))
    return pairs


def _check_named_once(names: Sequence[str], flag: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"{flag} {name} is given twice.")


def _check_options(unit: units.Unit, options: Mapping[str, Any]) -> None:
    check_requires(unit, "--measure")
    unit.check_options(options, "--option")


def _on_sets(
    unit: units.Unit, options: Mapping[str, Any], sets: Sequence[str | None], flags: Flags
) -> list[Request]:
    """One measure on each of these sets, whose files are read."""
    _check_options(unit, options)
    pairs = []
    for name in sets:
        _check_stimuli(name, unit, flags)
        pairs.append(_read(Request(unit, options, name), flags))
    return pairs


def _check_shared(
    chosen: Sequence[units.Unit], files: Sequence[str], options: Mapping[str, Any]
) -> None:
    """Options and stimuli that are for none of several measures."""
    known = {option for unit in chosen for option in unit.options()}
    names = ", ".join(unit.name for unit in chosen)
    for option in options:
        if option not in known:
            raise InputError(
                f"--option: none of {names} has an option {option!r}; they have {', '.join(sorted(known)) or 'none'}.{nearest(option, known)}"
            )
    if files and not any(unit["STIMULI"] for unit in chosen):
        raise InputError(
            f"--stimuli {files[0]}: none of {names} takes stimuli; they make their own sequences."
        )


def _files(pattern: str) -> list[str]:
    """The files that a pattern (*, ?, [], **) names, in the order of their names; a name without
    one as it stands.
    """
    if Path(pattern).is_file() or not glob.has_magic(pattern):
        return [pattern]
    files = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
    if not files:
        raise InputError(f"--stimuli {pattern!r}: no file is called so.")
    return files


def _read(one: Request, flags: Flags) -> Request:
    """With the items of its file, where it names one."""
    if not _is_file(one.stimuli):
        return one
    items = read_stimuli(Path(one.stimuli), one.unit["STIMULI"], one.unit.name, flags.named)
    return replace(one, items=items, beside=kept(items, flags.keep, one.stimuli))


def _is_file(stimuli: str | None) -> TypeGuard[str]:
    return stimuli is not None and Path(stimuli).is_file()


def _check_stimuli(stimuli: str | None, unit: units.Unit, flags: Flags) -> None:
    """What --stimuli, --stimuli-option, --keep and --columns say together; InputError before
    anything is loaded.
    """
    if flags.named and not _is_file(stimuli):
        raise InputError(
            f"--columns {next(iter(flags.named))}: it names the columns of a file, and --stimuli names none."
        )
    if stimuli is None:
        _check_without_stimuli(unit, flags)
    elif not unit["STIMULI"]:
        raise InputError(
            f"--stimuli {stimuli}: {unit.name} takes no stimuli; it makes its own sequences."
        )
    elif _is_file(stimuli) and flags.stimuli_options:
        raise InputError(
            f"--stimuli-option {next(iter(flags.stimuli_options))}: options are for a named set of stimuli; the items of {stimuli} are taken as they stand."
        )


def _check_without_stimuli(unit: units.Unit, flags: Flags) -> None:
    """A measure that reads stimuli needs them; one that makes its own takes no flag about them."""
    if unit["STIMULI"]:
        raise InputError(
            f"{unit.name} needs stimuli with the columns {', '.join(unit['STIMULI'])}; add --stimuli FILE_OR_NAME."
        )
    for flag, names in (("--stimuli-option", flags.stimuli_options), ("--keep", flags.keep)):
        if names:
            raise InputError(
                f"{flag} {next(iter(names))}: {unit.name} takes no stimuli, so there is nothing that this could be of."
            )


def _items(
    one: Request, checkpoint: Checkpoint | None, project: Project, flags: Flags
) -> pd.DataFrame:
    """The items of a named set, or of a measure that makes its own."""
    if one.stimuli is None:
        return pd.DataFrame({"item": []})
    items = _make(one.stimuli, checkpoint, project, flags.seed, flags.stimuli_options)
    for column in one.unit["STIMULI"]:
        if column not in items:
            raise InputError(
                f"--stimuli {one.stimuli}: there is no column {column!r}, which {one.unit.name} reads; there are {', '.join(items)}."
                f"{nearest(column, items)}"
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
    facts: Mapping[str, Any] = checkpoint.run.facts if checkpoint else {}
    factors = {factor: options.get(factor, facts.get(factor)) for factor in unit.get("BY", [])}
    for factor, value in factors.items():
        if value is None:
            raise InputError(
                f"--stimuli {name}: the items depend on {factor}, which is not known of this model; add --stimuli-option {factor}=..."
            )
    own = {option: value for option, value in options.items() if option not in factors}
    unit.check_options(own, "--stimuli-option")
    return unit.load().items(seed=seed, **factors, **own)
