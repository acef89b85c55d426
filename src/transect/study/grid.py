"""The parts of a study's grid: cells, the shards in which they are computed, and what a cell's key
is made of.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry.recipe import recipe_digest
from transect.registry.run import CAPABILITIES, Checkpoint, Run
from transect.store import cell_store, unit_code, units
from transect.store.project import Project


@dataclass(frozen=True)
class Entry:
    """One line of a study's `measures`: a measure, its stimuli and options, at which checkpoints,
    and its name (entry_names.py).
    """

    measure: units.Unit
    stimuli: units.Unit | None
    stimuli_options: dict[str, Any]
    options: dict[str, Any]
    checkpoints: Any
    name: str = ""

    @property
    def stimuli_name(self) -> str:
        return self.stimuli.name if self.stimuli else ""

    @cached_property
    def code(self) -> str:
        """The state of the measure now; see unit_code.py."""
        return unit_code.state(self.measure, self.options)

    @cached_property
    def stimuli_code(self) -> str:
        """The state of the stimuli now."""
        return unit_code.state(self.stimuli, self.stimuli_options)


@dataclass(frozen=True)
class Cell:
    """One checkpoint x stimuli x measure. `reason` is set where the measure does not apply (decided
    here, from the registry).
    """

    checkpoint: Checkpoint
    entry: Entry
    parameters: dict[str, Any] = field(hash=False)
    items_digest: str
    key: str
    role: str
    reason: str = ""

    @property
    def stimuli_name(self) -> str:
        return self.entry.stimuli_name

    def record(self, state: str, **more: Any) -> cell_store.Record:
        at, name = self.checkpoint, self.entry.measure.name
        made_of: dict[str, Any] = {"code": self.entry.code, "stimuli_code": self.entry.stimuli_code}
        return cell_store.Record(
            self.key, at.run.id, at.revision, name, self.stimuli_name, state, **made_of, **more
        )


@dataclass(frozen=True)
class Shard:
    """The work of one job: some checkpoints and all their cells of this study. Its digest is in the
    name of its marker file.
    """

    name: str
    cells: tuple[Cell, ...]

    @cached_property
    def digest(self) -> str:
        return cell_store.digest(sorted(c.key for c in self.cells))[:12]

    @property
    def runs(self) -> list[Run]:
        return list({c.checkpoint.run.id: c.checkpoint.run for c in self.cells}.values())

    @property
    def target(self) -> str:
        return f"{self.name}.{self.digest}"


@dataclass(frozen=True)
class Batch:
    """The runs that one training job trains, one after another."""

    name: str
    runs: tuple[Run, ...]
    project: Project = field(hash=False)

    @property
    def target(self) -> str:
        return f"{self.name}.{cell_store.digest([recipe_digest(r, self.project) for r in self.runs])[:12]}"


def choose(run: Run, which: Any, path: Path) -> list[Checkpoint]:
    """The checkpoints of a run that a study asks for: all, last, first, all but last, {spaced: n}
    or {steps: [...]}.

    `spaced` takes n of them at equal distances in log2(step + 1), the first and the last among
    them.
    """
    every = list(run.checkpoints)
    if isinstance(which, str):
        return {"all": every, "last": every[-1:], "first": every[:1], "all but last": every[:-1]}[
            which
        ]
    if "spaced" in which and len(every) > which["spaced"]:
        logs = [math.log2((c.step or 0) + 1) for c in every]
        wanted = [
            logs[0] + (logs[-1] - logs[0]) * i / (which["spaced"] - 1)
            for i in range(which["spaced"])
        ]
        taken: list[int] = []
        for target in wanted:  # nearest that is still free, so that exactly n are taken
            free = [i for i in range(len(every)) if i not in taken]
            taken.append(min(free, key=lambda i: abs(logs[i] - target)))
        return [every[i] for i in sorted(taken)]
    if "steps" in which:
        found = [c for c in every if c.step in which["steps"]]
        if not found:
            raise InputError(
                f"{path}: run {run.id!r} has none of the steps {which['steps']}; it has {', '.join(str(c.step) for c in every[:12])} ..."
            )
        return found
    return every


def identity(checkpoint: Checkpoint, project: Project, recipe: str = "") -> str:
    """What tells one set of weights from another before it is loaded: recipe and step, hub id and
    revision, or folder and revision; of a model behind an interface its name and the endpoint.

    A branch of the hub may come to mean another commit. That is not known before it is asked, so it
    is no part of this; the commit and fingerprints are recorded with the cells, and a later load
    that finds others stops the run (jobs/drift.py). recipe: the digest of the run's recipe, where
    it is known already.
    """
    run = checkpoint.run
    if run.trained_here:
        return f"{recipe or recipe_digest(run, project)}/{checkpoint.revision}"
    if run.get("endpoint"):
        return f"{run.get('api_model')} of {run.get('endpoint')}"
    return f"{checkpoint.hub_id or run.get('path', run.id)}@{checkpoint.hub_revision}"


def narrow(sampled: list[Checkpoint], which: Any, run: Run, path: Path) -> list[Checkpoint]:
    """A measure's own choice, among the checkpoints that the population was sampled at."""
    if isinstance(which, str):
        return {
            "all": sampled,
            "last": sampled[-1:],
            "first": sampled[:1],
            "all but last": sampled[:-1],
        }[which]
    return [c for c in choose(run, which, path) if c in sampled]


def not_applicable(run: Run, entry: Entry) -> str:
    """Why a measure does not apply to a run, by the registry alone; empty where it does."""
    if run.lacks:
        return run.lacks
    lacking = [name for name in entry.measure["REQUIRES"] if name not in run.capabilities]
    if lacking:
        needs = f"{entry.measure.name} needs {', '.join(lacking)}"
        if not run.loadable:
            return f"{needs}; {run.id} offers text only, through an interface (access: api)"
        if run.get("lm_head") is False:
            return f"{needs}; the weights of {run.id} lack the language-model head (lm_head: false): hidden states only"
        return f"{needs}, which a {run.get('objective')} {run.get('mixer')} model does not offer"
    for factor, values in (entry.stimuli.get("APPLIES", {}) if entry.stimuli else {}).items():
        if run.get(factor) not in values:
            return f"{entry.stimuli.name if entry.stimuli else ''} exists for {factor} {', '.join(map(str, values))}, not {run.get(factor)}"
    return ""


def check_requires(measure: units.Unit, place: str) -> None:
    """Raise InputError for a REQUIRES that no model could offer: misspelt, it would make every cell
    not applicable.
    """
    for name in measure["REQUIRES"]:
        if name not in CAPABILITIES:
            raise InputError(
                f"{place}: {measure.path} requires {name!r} of a model (REQUIRES); there are: {', '.join(CAPABILITIES)}."
                f"{nearest(name, CAPABILITIES)}"
            )
