"""One measure of one model, without a study: what `transect measure` does."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect.cli.model.asked import Flags, Request, requests
from transect.cli.model.progress_line import shown
from transect.cli.model.rows_file import with_columns
from transect.errors import (
    InputError,
    LoadError,
    NotApplicable,
    ResourceError,
    nearest,
    panics_are_errors,
)
from transect.jobs import drift
from transect.jobs.measure import locate
from transect.jobs.offers import check_offered, code_allowed
from transect.jobs.opened import used
from transect.jobs.self_check import Checked, SelfCheck
from transect.registry import suites
from transect.registry.run import Checkpoint, Run
from transect.store import cell_store, units
from transect.store.cell_store import Store
from transect.store.files import yaml_file
from transect.store.project import Project
from transect.study.grid import identity

DEVICES = ("cpu", "auto", "cuda", "mps", "xpu", "mtia", "hpu")  # what torch calls them
OBJECTIVES = {"causal": "causal", "masked": "masked", "seq2seq": "encoder-decoder"}


@dataclass(frozen=True)
class Loading:
    """How the model is loaded; see lm/loading.py. budget: bytes of activations per batch (None: the
    engine's own).
    """

    device: str = "cpu"
    dtype: str = "float32"
    budget: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Measured:
    """`rows`: model, (of several: measure, stimuli,) item, kept columns, metric, value, where they
    apply, and the error of a refused item.

    `self_check`: see jobs/self_check.py. `opening`: see jobs/opened.py. untold: of several
    measures, those that could not be taken, with the reason.
    """

    rows: pd.DataFrame
    refused: pd.DataFrame
    self_check: Checked
    opening: Mapping[str, Any]
    untold: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Where a model lies, its checkpoint where the registry knows it, and whether its own code may
    be run.
    """

    path: Path
    checkpoint: Checkpoint | None
    own_code: bool


def measure_model(
    model: str,
    measures: Sequence[str],
    project: Project,
    *,
    stimuli: Sequence[str] = (),
    revision: str | None = None,
    options: Mapping[str, Any] | None = None,
    stimuli_options: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    named: Mapping[str, str] | None = None,
    seed: int = 1,
    loading: Loading = Loading(),
) -> Measured:
    """The rows of one or several measures of one model, which is loaded once.

    `model` is a run of the registry (`revision`: default its last checkpoint), a directory, or a
    hub id (default main). `stimuli` are names of sets, files (see stimuli/readers/own_file.py) or patterns
    of files; every measure is taken on each of them, one that makes its own items once. `keep`
    names columns of them that are copied into the rows, `named` what a file calls a column that the
    measure reads. Raises InputError for what cannot be found or does not fit together, LoadError
    and NotApplicable as loading and measuring do; what can be told without the model is told before
    it is loaded.
    """
    flags = Flags(stimuli_options or {}, keep, named or {}, seed)
    wanted = requests(measures, stimuli, options or {}, project, flags)
    _check_device(loading.device)
    source = _find(
        model, revision, project, loading.trust_remote_code, [one.unit for one in wanted]
    )
    wanted = [one.made(source.checkpoint, project, flags) for one in wanted]
    loaded = _loaded(source, loading)
    if source.checkpoint is not None:
        _check_drift(source.checkpoint, loaded, source.path, project)
    for one in wanted:
        if loaded.lacks:
            check_offered(one.unit, loaded)
        _check_offered(one.unit, loaded.capabilities, model, project)
    scores = SelfCheck(loaded)
    rows, refusals = _all_rows(wanted, loaded, scores, model, seed)
    return Measured(rows, _refused(rows), scores.check(), used(loaded, options or {}), refusals)


def _check_drift(checkpoint: Checkpoint, loaded: Any, path: Path, project: Project) -> None:
    """Whether these are the weights that were measured under this name before."""
    run, revision = checkpoint.run, checkpoint.revision
    drift.check_canary(run, revision, loaded.fingerprint)
    same = identity(checkpoint, project)
    drift.check(Store(project.store), run.id, revision, same, loaded.fingerprint, path.name)


def _all_rows(
    wanted: Sequence[Request], loaded: Any, scores: SelfCheck, model: str, seed: int
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of all measures; and of several those that could not be taken, with the reason."""
    several = len(wanted) > 1
    parts, refusals = [], []
    for one in wanted:
        try:
            rows = _rows(one, loaded, scores, model, seed)
        except (InputError, NotApplicable) as error:
            if not several:
                raise
            refusals.append(f"{one.place}: {error}")  # the others are kept
            continue
        if several:
            rows.insert(1, "measure", one.unit.name)
            rows.insert(2, "stimuli", one.stimuli)
        parts.append(rows)
    if not parts:
        raise NotApplicable("; ".join(refusals))
    return pd.concat(parts, ignore_index=True), tuple(refusals)


def _rows(one: Request, loaded: Any, scores: SelfCheck, model: str, seed: int) -> pd.DataFrame:
    """The rows of one measure on one set."""
    assert one.items is not None and one.beside is not None
    with _without_advice(), scores.note(one.place), shown(loaded, one.place), panics_are_errors():
        values = one.unit.load().measure(loaded, one.items, seed=seed, **one.options)
    return with_columns(cell_store.as_values("", values).drop(columns="cell"), model, one.beside)


def _loaded(source: _Source, loading: Loading) -> Any:
    checkpoint = source.checkpoint
    if checkpoint is not None and checkpoint.run.get("endpoint"):
        from transect.lm.api import ApiModel

        run = checkpoint.run
        return ApiModel(source.path, run.get("endpoint"), run.get("api_model"))
    from transect.lm import load

    settings: dict[str, Any] = {"dtype": loading.dtype, "device": loading.device}
    if loading.budget is not None:
        settings["budget"] = loading.budget
    with _without_advice():
        model = load(source.path, remote_code=source.own_code, **settings)
    model.opening_token = None if checkpoint is None else checkpoint.run.get("opening")
    return model


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """What transformers advises while it loads and first runs (other kernels, ...) is not shown,
    unless TRANSFORMERS_VERBOSITY asks for it.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def parse_options(given: list[str], flag: str = "--option") -> dict[str, Any]:
    """``["n=32", "bos=true"]`` -> {"n": 32, "bos": True}; the value is read as YAML, so lists and
    mappings may be given.
    """
    options: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"{flag} {text!r}: write NAME=VALUE, e.g. n=32.")
        if name in options:
            raise InputError(f"{flag} {name} is given twice.")
        options[name] = yaml_file.parse(value, f"{flag} {name}")
    return options


def _find(
    model: str, revision: str | None, project: Project, trust: bool, wanted: Sequence[units.Unit]
) -> _Source:
    """Where the model that a user names lies: a directory, a run of the registry, or on the hub.

    A run of the registry, and a hub id that some run names, follow the registry entry; a directory
    has none: who names it knows what is in it, and the flag decides. Code of a hub id that no entry
    names is not run.
    """
    if Path(model).is_dir():
        if revision:
            raise InputError(
                f"--revision {revision!r}: {model} is a directory and has no revisions."
            )
        return _Source(Path(model), None, trust)
    runs = suites.load(project).runs
    if model in runs:
        for unit in wanted:
            _check_offered(unit, runs[model].capabilities, model, project)  # before a download
        return _of_run(runs[model], revision, project, trust)
    if _is_hub_id(model):
        code = any(code_allowed(run, trust) for run in runs.values() if run.get("hub_id") == model)
        return _on_hub(model, revision or "main", code)
    if Path(model).is_file():
        raise InputError(
            f"{model!r} is a file; a model is a folder, the one that holds its config.json."
        )
    folder = f", and there is no folder {Path(model).absolute()}" if set(model) & set("/.~") else ""
    raise InputError(
        f"{model!r} is no directory, no run of the registry and no hub id (organisation/name){folder}.{nearest(model, runs)}"
    )


def _of_run(run: Run, revision: str | None, project: Project, trust: bool) -> _Source:
    """A checkpoint of a run of the registry: the revision's, or the last."""
    points = {checkpoint.revision: checkpoint for checkpoint in run.checkpoints}
    if revision is not None and revision not in points:
        raise InputError(
            f"--revision: run {run.id!r} has no revision {revision!r}.{nearest(revision, points)}"
        )
    code = code_allowed(run, trust)
    checkpoint = points[revision] if revision else run.checkpoints[-1]
    return _Source(locate(checkpoint, project, code), checkpoint, code)


def _is_hub_id(model: str) -> bool:
    """Whether a name has the form organisation/name."""
    return model.count("/") == 1 and not model.startswith((".", "/", "~")) and model[-1] != "/"


def _on_hub(model: str, revision: str, code: bool) -> _Source:
    from transect.store.hub.snapshots import resolve

    try:
        return _Source(resolve(model, revision, code=code), None, code)
    except (LoadError, ResourceError) as error:
        raise type(error)(
            f"{str(error).rstrip('.')}; and there is no folder {model} here."
        ) from error


def _check_device(device: str) -> None:
    """Raise InputError for what is no device, without torch where the name says so, or is not on
    this machine.
    """
    if not re.fullmatch(rf"cpu|auto|({'|'.join(DEVICES[2:])})(:\d+)?", device):
        near = " An NVIDIA GPU is cuda." if device == "gpu" else nearest(device, DEVICES)
        allowed = f"{', '.join(DEVICES)}, or one with its number as cuda:1"
        raise InputError(f"--device {device!r} is no device; allowed are {allowed}.{near}")
    if device not in ("cpu", "auto"):
        from transect.lm.checkpoint.devices import check_device

        check_device(device)


def _check_offered(unit: units.Unit, offered: frozenset[str], model: str, project: Project) -> None:
    """Raise NotApplicable for what a measure REQUIRES and the model does not offer, with the
    measures that are defined for it.
    """
    lacking = [name for name in unit["REQUIRES"] if name not in offered]
    if not lacking:
        return
    others = ", ".join(_measurable(offered, project)) or "nothing"
    what = _not_offered(lacking, offered, model)
    raise NotApplicable(f"{unit.name} {what}; it can be measured with: {others}.")


def _measurable(offered: frozenset[str], project: Project) -> list[str]:
    """The measures that require no more than a model offers."""
    names = []
    for name in sorted(units.available("measure", project)):
        with contextlib.suppress(InputError):  # a broken file of the user's is not the matter here
            if offered.issuperset(units.find("measure", name, project)["REQUIRES"]):
                names.append(name)
    return names


def _not_offered(lacking: Sequence[str], offered: frozenset[str], model: str) -> str:
    """What a model lacks, in words: another objective, or capabilities."""
    defined = [OBJECTIVES[name] for name in lacking if name in OBJECTIVES]
    if not defined:
        return f"needs {', '.join(lacking)}, which {model} does not offer"
    kind = next((word for name, word in OBJECTIVES.items() if name in offered), "other")
    article = "an" if kind[0] in "aeiou" else "a"
    return f"is defined for {defined[0]} models; {model} is {article} {kind} one"


def _refused(rows: pd.DataFrame) -> pd.DataFrame:
    """The refused items, with the measure and set that they were refused in where there are
    several: an id may stand in each set.
    """
    several = [name for name in ("measure", "stimuli") if name in rows]
    if not several:
        return cell_store.refusals(rows)
    parts = []
    for key, part in rows.groupby(several, sort=False, dropna=False):
        place = {name: None if pd.isna(v) else v for name, v in zip(several, key, strict=True)}
        parts.append(cell_store.refusals(part).assign(**place))
    return pd.concat(parts, ignore_index=True)[[*several, "item", "error"]]
