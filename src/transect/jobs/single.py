"""One measure of one model, without a study: what `transect measure` does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from transect import registry, store, units, yaml_file
from transect.errors import InputError, nearest
from transect.jobs.measure import locate
from transect.project import Project
from transect.registry import Run

READERS = {".jsonl": lambda p: pd.read_json(p, lines=True), ".csv": pd.read_csv}


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
    device: str = "cpu",
    dtype: str = "float32",
) -> pd.DataFrame:
    """The rows of a measure: item, metric, value and where they apply.

    `model` is a run of the registry (`revision`: default its last checkpoint), a directory, or a hub id (default main).
    `stimuli` is the name of a set or a file (JSON lines or CSV, also compressed). Raises InputError for what cannot be found
    or does not fit together, LoadError and NotApplicable as loading and measuring do.
    """
    unit = units.find("measure", measure, project, "--measure")
    unit.check_options(options or {}, "--option")
    path, run = _find(model, revision, project)
    items = _items(stimuli, unit, run, project, seed, stimuli_options or {})

    from transect.lm import load

    loaded = load(path, dtype=dtype, device=device)
    return store.as_values("", unit.load().measure(loaded, items, seed=seed, **(options or {}))).drop(columns="cell")


def parse_options(given: list[str]) -> dict[str, Any]:
    """``["n=32", "bos=true"]`` -> {"n": 32, "bos": True}; the value is read as YAML, so lists and mappings may be given."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"--option {text!r}: write NAME=VALUE, e.g. n=32.")
        found[name] = yaml_file.parse(value, f"--option {name}")
    return found


def _find(model: str, revision: str | None, project: Project) -> tuple[Path, Run | None]:
    """Where the model lies, and its run where the registry knows it."""
    if Path(model).is_dir():
        if revision:
            raise InputError(f"--revision {revision!r}: {model} is a directory and has no revisions.")
        return Path(model), None
    runs = registry.load(project).runs
    if model in runs:
        points = {c.revision: c for c in runs[model].checkpoints}
        if revision is not None and revision not in points:
            raise InputError(f"--revision: run {model!r} has no revision {revision!r}.{nearest(revision, points)}")
        return locate(points[revision] if revision else runs[model].checkpoints[-1], project), runs[model]
    if model.count("/") == 1:
        from transect.lm.hub import resolve

        return resolve(model, revision or "main"), None
    raise InputError(
        f"{model!r} is no directory, no run of the registry and no hub id (organisation/name).{nearest(model, runs)}"
    )


def _items(
    given: str | None, unit: units.Unit, run: Run | None, project: Project, seed: int, options: Mapping[str, Any]
) -> pd.DataFrame:
    needed = list(unit["STIMULI"])
    if given is None:
        if needed:
            raise InputError(
                f"{unit.name} needs stimuli with the columns {', '.join(needed)}; add --stimuli FILE_OR_NAME."
            )
        return pd.DataFrame({"item": []})
    items = _read(Path(given)) if Path(given).is_file() else _make(given, run, project, seed, options)
    lacking = [c for c in needed if c not in items]
    if lacking:
        raise InputError(f"--stimuli {given}: there is no column {lacking[0]!r}, which {unit.name} reads; there are {', '.join(items)}."
                         f"{nearest(lacking[0], items)}")  # fmt: skip
    return items


def _make(name: str, run: Run | None, project: Project, seed: int, options: Mapping[str, Any]) -> pd.DataFrame:
    """The items of a stimulus set, for the run's factors or those that the options name."""
    unit = units.find("stimuli", name, project, "--stimuli")
    by = {factor: options.get(factor, run.get(factor) if run else None) for factor in unit.get("BY", [])}
    unknown = [factor for factor, value in by.items() if value is None]
    if unknown:
        raise InputError(f"--stimuli {name}: the items depend on {unknown[0]}, which is not known of this model; add --stimuli-option {unknown[0]}=...")  # fmt: skip
    own = {k: v for k, v in options.items() if k not in by}
    unit.check_options(own, "--stimuli-option")
    return unit.load().items(seed=seed, **by, **own)


def _read(path: Path) -> pd.DataFrame:
    """A file of items. Without a column `item`, BLiMP's UID and pairID name an item, else its row (from 0)."""
    suffix = next((s for s in path.suffixes if s in READERS), None)
    if suffix is None:
        raise InputError(
            f"--stimuli {path}: a file of stimuli ends in {' or '.join(READERS)} (or that and .gz, .bz2, .xz)."
        )
    try:
        items = READERS[suffix](path)
    except ValueError as error:
        raise InputError(f"--stimuli {path}: this cannot be read as {suffix[1:]} ({error}).") from None
    if "item" not in items:
        named = (
            items["UID"].astype(str) + "-" + items["pairID"].astype(str) if {"UID", "pairID"} <= set(items) else None
        )
        items.insert(0, "item", named if named is not None else [str(i) for i in range(len(items))])
    items["item"] = items["item"].astype(str)
    repeated = items["item"][items["item"].duplicated()]
    if len(repeated):
        raise InputError(
            f"--stimuli {path}: the item {repeated.iloc[0]!r} stands there more than once; items are unique."
        )
    return items
