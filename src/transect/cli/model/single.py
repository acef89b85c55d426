"""One measure of one model, without a study: what `transect measure` does."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect.cli.model.asked import Asked, Given, asked
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
from transect.jobs.self_check import Checked, SelfCheck
from transect.registry import suites
from transect.registry.run import Checkpoint
from transect.store import cell_store, units
from transect.store.cell_store import Store
from transect.store.files import yaml_file
from transect.store.project import Project
from transect.study import openings
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

    `self_check`: see jobs/self_check.py. `opening`: see study/openings.py. untold: of several
    measures, those that could not be taken, with the reason.
    """

    rows: pd.DataFrame
    refused: pd.DataFrame
    self_check: Checked
    opening: Mapping[str, Any]
    untold: tuple[str, ...] = ()


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
    given = Given(stimuli_options or {}, keep, named or {}, seed)
    wanted = asked(measures, stimuli, options or {}, project, given)
    _check_device(loading.device)
    path, checkpoint, code = _find(
        model, revision, project, loading.trust_remote_code, [one.unit for one in wanted]
    )
    wanted = [one.made(checkpoint, project, given) for one in wanted]

    loaded = _loaded(path, checkpoint, loading, code)
    if checkpoint is not None:
        same = identity(checkpoint, project)
        drift.check_canary(checkpoint.run, checkpoint.revision, loaded.fingerprint)
        drift.check(
            Store(project.store),
            checkpoint.run.id,
            checkpoint.revision,
            same,
            loaded.fingerprint,
            path.name,
        )
    for one in wanted:
        if loaded.lacks:
            check_offered(one.unit, loaded)
        _check_offered(one.unit, loaded.capabilities, model, project)
    scores = SelfCheck(loaded)
    parts, untold = [], []
    for one in wanted:
        try:
            parts.append(_rows(one, loaded, scores, model, seed, told=len(wanted) > 1))
        except (InputError, NotApplicable) as error:
            if len(wanted) == 1:
                raise
            untold.append(f"{one.place}: {error}")  # the others are kept
    if not parts:
        raise NotApplicable("; ".join(untold))
    rows = pd.concat(parts, ignore_index=True)
    return Measured(
        rows, _refused(rows), scores.check(), openings.used(loaded, options or {}), tuple(untold)
    )


def _rows(
    one: Asked, loaded: Any, scores: SelfCheck, model: str, seed: int, told: bool
) -> pd.DataFrame:
    """The rows of one measure on one set; `told`: with the columns measure and stimuli after the
    model.
    """
    assert one.items is not None and one.beside is not None
    with _without_advice(), scores.note(one.place), shown(loaded, one.place), panics_are_errors():
        found = one.unit.load().measure(loaded, one.items, seed=seed, **one.options)
    rows = with_columns(cell_store.as_values("", found).drop(columns="cell"), model, one.beside)
    if told:
        rows.insert(1, "measure", one.unit.name)
        rows.insert(2, "stimuli", one.stimuli)
    return rows


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
    model: str, revision: str | None, project: Project, trust: bool, wanted: Sequence[units.Unit]
) -> tuple[Path, Checkpoint | None, bool]:
    """Where the model lies, its checkpoint where the registry knows it, and whether its own code
    may be run.

    A run of the registry, and a hub id that some run names, follow the registry entry; a directory
    has none: who names it knows what is in it, and the flag decides. Code of a hub id that no entry
    names is not run.
    """
    if Path(model).is_dir():
        if revision:
            raise InputError(
                f"--revision {revision!r}: {model} is a directory and has no revisions."
            )
        return Path(model), None, trust
    runs = suites.load(project).runs
    if model in runs:
        for unit in wanted:
            _check_offered(unit, runs[model].capabilities, model, project)  # before a download
        points = {c.revision: c for c in runs[model].checkpoints}
        if revision is not None and revision not in points:
            raise InputError(
                f"--revision: run {model!r} has no revision {revision!r}.{nearest(revision, points)}"
            )
        code = code_allowed(runs[model], trust)
        checkpoint = points[revision] if revision else runs[model].checkpoints[-1]
        return locate(checkpoint, project, code), checkpoint, code
    if model.count("/") == 1 and not model.startswith((".", "/", "~")) and not model.endswith("/"):
        from transect.store.hub.snapshots import resolve

        code = any(code_allowed(run, trust) for run in runs.values() if run.get("hub_id") == model)
        try:
            return resolve(model, revision or "main", code=code), None, code
        except (LoadError, ResourceError) as error:
            raise type(error)(
                f"{str(error).rstrip('.')}; and there is no folder {model} here."
            ) from error
    if Path(model).is_file():
        raise InputError(
            f"{model!r} is a file; a model is a folder, the one that holds its config.json."
        )
    folder = f", and there is no folder {Path(model).absolute()}" if set(model) & set("/.~") else ""
    raise InputError(
        f"{model!r} is no directory, no run of the registry and no hub id (organisation/name){folder}.{nearest(model, runs)}"
    )


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
    others = []
    for name in sorted(units.available("measure", project)):
        with contextlib.suppress(InputError):  # a broken file of the user's is not the matter here
            others += (
                [name]
                if offered.issuperset(units.find("measure", name, project)["REQUIRES"])
                else []
            )
    kind = next((word for name, word in OBJECTIVES.items() if name in offered), "other")
    defined = [OBJECTIVES[name] for name in lacking if name in OBJECTIVES]
    what = (
        f"is defined for {defined[0]} models; {model} is {'an' if kind[0] in 'aeiou' else 'a'} {kind} one"
        if defined
        else f"needs {', '.join(lacking)}, which {model} does not offer"
    )
    raise NotApplicable(
        f"{unit.name} {what}; it can be measured with: {', '.join(others) or 'nothing'}."
    )


def _refused(rows: pd.DataFrame) -> pd.DataFrame:
    """The refused items, with the measure and set that they were refused in where there are
    several: an id may stand in each set.
    """
    several = [name for name in ("measure", "stimuli") if name in rows]
    if not several:
        return cell_store.refusals(rows)
    parts = rows.groupby(several, sort=False, dropna=False)
    found = [
        cell_store.refusals(part).assign(
            **{name: None if pd.isna(v) else v for name, v in zip(several, key, strict=True)}
        )
        for key, part in parts
    ]
    return pd.concat(found, ignore_index=True)[[*several, "item", "error"]]
