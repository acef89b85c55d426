"""One measure of one model, without a study: what `transect measure` does."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect import registry, store, units, yaml_file
from transect.errors import InputError, LoadError, NotApplicable, ResourceError, nearest
from transect.grid import check_requires, identity
from transect.jobs import drift, openings
from transect.jobs.measure import check_offered, code_allowed, locate
from transect.jobs.rows_file import kept, with_columns
from transect.jobs.self_check import Checked, SelfCheck
from transect.jobs.stimuli_file import read_stimuli
from transect.project import Project
from transect.run import Checkpoint
from transect.store import Store

DEVICES = ("cpu", "auto", "cuda", "mps", "xpu", "mtia", "hpu")  # what torch calls them
OBJECTIVES = {"causal": "causal", "masked": "masked", "seq2seq": "encoder-decoder"}


@dataclass(frozen=True)
class Loading:
    """How the model is loaded; see lm/loading.py. budget: bytes of activations per batch (None: the engine's own)."""

    device: str = "cpu"
    dtype: str = "float32"
    budget: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Measured:
    """`rows`: model, item, kept columns, metric, value, where they apply, and the error of a refused item.

    `self_check`: see jobs/self_check.py. `opening`: see jobs/openings.py.
    """

    rows: pd.DataFrame
    refused: pd.DataFrame
    self_check: Checked
    opening: Mapping[str, Any]


def measure_model(
    model: str,
    measure: str,
    project: Project,
    *,
    stimuli: str | None = None,
    revision: str | None = None,
    options: Mapping[str, Any] | None = None,
    stimuli_options: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    named: Mapping[str, str] | None = None,
    seed: int = 1,
    loading: Loading = Loading(),
) -> Measured:
    """The rows of a measure of one model.

    `model` is a run of the registry (`revision`: default its last checkpoint), a directory, or a hub id (default main).
    `stimuli` is the name of a set or a file (see jobs/stimuli_file.py); `keep` names columns of it that are copied into the rows,
    `named` what the file calls a column that the measure reads. Raises InputError for what cannot be found or does not fit together,
    LoadError and NotApplicable as loading and measuring do; what can be told without the model is told before it is loaded.
    """
    unit = units.find("measure", measure, project, "--measure")
    check_requires(unit, "--measure")
    unit.check_options(options or {}, "--option")
    _check_stimuli(stimuli, unit, stimuli_options or {}, keep, named or {})
    _check_device(loading.device)
    items = (
        read_stimuli(Path(stimuli), unit["STIMULI"], unit.name, named) if stimuli and Path(stimuli).is_file() else None
    )
    beside = None if items is None else kept(items, keep, str(stimuli))
    path, checkpoint, code = _find(model, revision, project, loading.trust_remote_code, unit)
    if items is None:
        items = _items(stimuli, unit, checkpoint, project, seed, stimuli_options or {})
        beside = kept(items, keep, f"the stimuli {stimuli}")

    loaded = _loaded(path, checkpoint, loading, code)
    if checkpoint is not None:
        same = identity(checkpoint, project)
        drift.check_canary(checkpoint.run, checkpoint.revision, loaded.fingerprint)
        drift.check(Store(project.store), checkpoint.run.id, checkpoint.revision, same, loaded.fingerprint, path.name)
    if loaded.lacks:
        check_offered(unit, loaded)
    _check_offered(unit, loaded.capabilities, model, project)
    scores = SelfCheck(loaded)
    with _without_advice(), scores.note(measure):
        found = unit.load().measure(loaded, items, seed=seed, **(options or {}))
    rows = with_columns(store.as_values("", found).drop(columns="cell"), model, beside)
    return Measured(rows, store.refusals(rows), scores.check(), openings.used(loaded, options or {}))


def _loaded(path: Path, checkpoint: Checkpoint | None, loading: Loading, code: bool) -> Any:
    if checkpoint is not None and checkpoint.run.get("endpoint"):
        from transect.lm.api import ApiModel

        return ApiModel(path, checkpoint.run.get("endpoint"), checkpoint.run.get("api_model"))
    from transect.lm import load

    given: dict[str, Any] = {} if loading.budget is None else {"budget": loading.budget}
    with _without_advice():
        model = load(path, dtype=loading.dtype, device=loading.device, remote_code=code, **given)
    model.opening_token = None if checkpoint is None else checkpoint.run.get("opening")
    return model


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """What transformers advises while it loads and first runs (other kernels, ...) is not shown, unless TRANSFORMERS_VERBOSITY asks for it."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def parse_options(given: list[str], flag: str = "--option") -> dict[str, Any]:
    """``["n=32", "bos=true"]`` -> {"n": 32, "bos": True}; the value is read as YAML, so lists and mappings may be given."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"{flag} {text!r}: write NAME=VALUE, e.g. n=32.")
        if name in found:
            raise InputError(f"{flag} {name} is given twice.")
        found[name] = yaml_file.parse(value, f"{flag} {name}")
    return found


def _find(
    model: str, revision: str | None, project: Project, trust: bool, unit: units.Unit
) -> tuple[Path, Checkpoint | None, bool]:
    """Where the model lies, its checkpoint where the registry knows it, and whether its own code may be run.

    A run of the registry, and a hub id that some run names, follow the registry entry; a directory has none: who names it knows what
    is in it, and the flag decides. Code of a hub id that no entry names is not run.
    """
    if Path(model).is_dir():
        if revision:
            raise InputError(f"--revision {revision!r}: {model} is a directory and has no revisions.")
        return Path(model), None, trust
    runs = registry.load(project).runs
    if model in runs:
        _check_offered(unit, runs[model].capabilities, model, project)  # before a download
        points = {c.revision: c for c in runs[model].checkpoints}
        if revision is not None and revision not in points:
            raise InputError(f"--revision: run {model!r} has no revision {revision!r}.{nearest(revision, points)}")
        code = code_allowed(runs[model], trust)
        checkpoint = points[revision] if revision else runs[model].checkpoints[-1]
        return locate(checkpoint, project, code), checkpoint, code
    if model.count("/") == 1 and not model.startswith((".", "/", "~")) and not model.endswith("/"):
        from transect.lm.hub import resolve

        code = any(code_allowed(run, trust) for run in runs.values() if run.get("hub_id") == model)
        try:
            return resolve(model, revision or "main", code=code), None, code
        except (LoadError, ResourceError) as error:
            raise type(error)(f"{str(error).rstrip('.')}; and there is no folder {model} here.") from error
    if Path(model).is_file():
        raise InputError(f"{model!r} is a file; a model is a folder, the one that holds its config.json.")
    folder = f", and there is no folder {Path(model).absolute()}" if set(model) & set("/.~") else ""
    raise InputError(
        f"{model!r} is no directory, no run of the registry and no hub id (organisation/name){folder}.{nearest(model, runs)}"
    )


def _check_stimuli(
    given: str | None, unit: units.Unit, options: Mapping[str, Any], keep: Sequence[str], named: Mapping[str, str]
) -> None:
    """What --stimuli, --stimuli-option, --keep and --columns say together; InputError before anything is loaded."""
    if named and not (given and Path(given).is_file()):
        raise InputError(f"--columns {next(iter(named))}: it names the columns of a file, and --stimuli names none.")
    if given is None:
        if unit["STIMULI"]:
            raise InputError(f"{unit.name} needs stimuli with the columns {', '.join(unit['STIMULI'])}; add --stimuli FILE_OR_NAME.")  # fmt: skip
        for flag, wrong in (("--stimuli-option", options), ("--keep", keep)):
            if wrong:
                raise InputError(f"{flag} {next(iter(wrong))}: {unit.name} takes no stimuli, so there is nothing that this could be of.")  # fmt: skip
    elif not unit["STIMULI"]:
        raise InputError(f"--stimuli {given}: {unit.name} takes no stimuli; it makes its own sequences.")
    elif Path(given).is_file() and options:
        raise InputError(f"--stimuli-option {next(iter(options))}: options are for a named set of stimuli; the items of {given} are taken as they stand.")  # fmt: skip


def _check_device(device: str) -> None:
    """Raise InputError for what is no device, without torch where the name says so, or is not on this machine."""
    if not re.fullmatch(rf"cpu|auto|({'|'.join(DEVICES[2:])})(:\d+)?", device):
        near = " An NVIDIA GPU is cuda." if device == "gpu" else nearest(device, DEVICES)
        allowed = f"{', '.join(DEVICES)}, or one with its number as cuda:1"
        raise InputError(f"--device {device!r} is no device; allowed are {allowed}.{near}")
    if device not in ("cpu", "auto"):
        from transect.lm.devices import check_device

        check_device(device)


def _check_offered(unit: units.Unit, offered: frozenset[str], model: str, project: Project) -> None:
    """Raise NotApplicable for what a measure REQUIRES and the model does not offer, with the measures that are defined for it."""
    lacking = [name for name in unit["REQUIRES"] if name not in offered]
    if not lacking:
        return
    others = []
    for name in sorted(units.available("measure", project)):
        with contextlib.suppress(InputError):  # a broken file of the user's is not the matter here
            others += [name] if offered.issuperset(units.find("measure", name, project)["REQUIRES"]) else []
    kind = next((word for name, word in OBJECTIVES.items() if name in offered), "other")
    defined = [OBJECTIVES[name] for name in lacking if name in OBJECTIVES]
    what = (
        f"is defined for {defined[0]} models; {model} is {'an' if kind[0] in 'aeiou' else 'a'} {kind} one"
        if defined
        else f"needs {', '.join(lacking)}, which {model} does not offer"
    )
    raise NotApplicable(f"{unit.name} {what}; it can be measured with: {', '.join(others) or 'nothing'}.")


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
        raise InputError(f"--stimuli {given}: there is no column {lacking[0]!r}, which {unit.name} reads; there are {', '.join(items)}."
                         f"{nearest(lacking[0], items)}")  # fmt: skip
    return items


def _make(
    name: str, checkpoint: Checkpoint | None, project: Project, seed: int, options: Mapping[str, Any]
) -> pd.DataFrame:
    """The items of a stimulus set, for the run's factors or those that the options name."""
    if "/" in name or name.endswith((".csv", ".jsonl", ".json", ".tsv", ".txt", ".gz")):
        raise InputError(f"--stimuli: there is no file {name}.")
    unit = units.find("stimuli", name, project, "--stimuli")
    run = checkpoint.run if checkpoint else None
    by = {factor: options.get(factor, run.get(factor) if run else None) for factor in unit.get("BY", [])}
    unknown = [factor for factor, value in by.items() if value is None]
    if unknown:
        raise InputError(f"--stimuli {name}: the items depend on {unknown[0]}, which is not known of this model; add --stimuli-option {unknown[0]}=...")  # fmt: skip
    own = {k: v for k, v in options.items() if k not in by}
    unit.check_options(own, "--stimuli-option")
    return unit.load().items(seed=seed, **by, **own)
