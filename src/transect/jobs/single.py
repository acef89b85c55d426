"""One measure of one model, without a study: what `transect measure` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect import registry, store, units, yaml_file
from transect.errors import InputError, nearest
from transect.grid import check_requires, identity
from transect.jobs import drift
from transect.jobs.measure import check_offered, code_allowed, locate
from transect.jobs.self_check import TOLERANCE, SelfCheck
from transect.jobs.stimuli_file import read_stimuli
from transect.project import Project
from transect.registry import Checkpoint
from transect.store import Store


@dataclass(frozen=True)
class Loading:
    """How the model is loaded; see lm/loading.py. budget: bytes of activations per batch (None: the engine's own)."""

    device: str = "cpu"
    dtype: str = "float32"
    budget: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Measured:
    """`rows`: item, metric, value, where they apply, and the error of a refused item. `self_check`: see jobs/self_check.py, nats."""

    rows: pd.DataFrame
    refused: pd.DataFrame
    self_check: float
    tolerance: float

    @property
    def fault(self) -> str:
        """A sentence where the scores are not to be trusted; else empty."""
        if self.self_check <= self.tolerance:
            return ""
        return f"self-check: a token's score differs by {self.self_check:.2g} nats from that of its sequence alone (tolerance {self.tolerance:g})."


def measure_model(
    model: str,
    measure: str,
    project: Project,
    *,
    stimuli: str | None = None,
    revision: str | None = None,
    options: Mapping[str, Any] | None = None,
    stimuli_options: Mapping[str, Any] | None = None,
    seed: int = 1,
    loading: Loading = Loading(),
) -> Measured:
    """The rows of a measure of one model.

    `model` is a run of the registry (`revision`: default its last checkpoint), a directory, or a hub id (default main).
    `stimuli` is the name of a set or a file (JSON lines or CSV, also compressed). Raises InputError for what cannot be found
    or does not fit together, LoadError and NotApplicable as loading and measuring do.
    """
    unit = units.find("measure", measure, project, "--measure")
    check_requires(unit, "--measure")
    unit.check_options(options or {}, "--option")
    path, checkpoint, code = _find(model, revision, project, loading.trust_remote_code)
    items = _items(stimuli, unit, checkpoint, project, seed, stimuli_options or {})

    from transect.lm import load

    given: dict[str, Any] = {} if loading.budget is None else {"budget": loading.budget}
    loaded = load(path, dtype=loading.dtype, device=loading.device, remote_code=code, **given)
    if checkpoint is not None:
        same = identity(checkpoint, project)
        drift.check(Store(project.store), checkpoint.run.id, checkpoint.revision, same, loaded.fingerprint, path.name)
    check_offered(unit, loaded)
    scores = SelfCheck(loaded)
    with scores.note(measure):
        found = unit.load().measure(loaded, items, seed=seed, **(options or {}))
    rows = store.as_values("", found).drop(columns="cell")
    return Measured(rows, store.refusals(rows), scores.difference()[0], TOLERANCE[loading.dtype])


def parse_options(given: list[str]) -> dict[str, Any]:
    """``["n=32", "bos=true"]`` -> {"n": 32, "bos": True}; the value is read as YAML, so lists and mappings may be given."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"--option {text!r}: write NAME=VALUE, e.g. n=32.")
        found[name] = yaml_file.parse(value, f"--option {name}")
    return found


def _find(model: str, revision: str | None, project: Project, trust: bool) -> tuple[Path, Checkpoint | None, bool]:
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
        points = {c.revision: c for c in runs[model].checkpoints}
        if revision is not None and revision not in points:
            raise InputError(f"--revision: run {model!r} has no revision {revision!r}.{nearest(revision, points)}")
        code = code_allowed(runs[model], trust)
        checkpoint = points[revision] if revision else runs[model].checkpoints[-1]
        return locate(checkpoint, project, code), checkpoint, code
    if model.count("/") == 1 and not model.startswith((".", "/")):
        from transect.lm.hub import resolve

        code = any(code_allowed(run, trust) for run in runs.values() if run.get("hub_id") == model)
        return resolve(model, revision or "main", code=code), None, code
    raise InputError(
        f"{model!r} is no directory, no run of the registry and no hub id (organisation/name).{nearest(model, runs)}"
    )


def _items(
    given: str | None,
    unit: units.Unit,
    checkpoint: Checkpoint | None,
    project: Project,
    seed: int,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    needed = list(unit["STIMULI"])
    if given is None:
        if needed:
            raise InputError(
                f"{unit.name} needs stimuli with the columns {', '.join(needed)}; add --stimuli FILE_OR_NAME."
            )
        return pd.DataFrame({"item": []})
    if Path(given).is_file():
        return read_stimuli(Path(given), needed, unit.name)
    items = _make(given, checkpoint, project, seed, options)
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
