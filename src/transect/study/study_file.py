"""A study file -> the grid of cells, each with its key, and the shards in which they are computed.

A cell's key is a digest of everything its values depend on: the checkpoint's identity, the stimuli
(VERSION, parameters, declared sources), the measure (VERSION, options, seed), the engine parts it
requires, and the numerics. All of it is known without importing torch, downloading anything or
loading a model. Environment and fingerprints are recorded and checked, not part of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry import factors
from transect.registry import suites as registry
from transect.registry.recipe import recipe_digest
from transect.registry.run import Checkpoint, Run
from transect.registry.suites import Registry
from transect.store import cell_store, names, units
from transect.store.files import yaml_file
from transect.store.files.yaml_file import Place
from transect.store.project import SHIPPED, Project, tell
from transect.study import engine_parts
from transect.study.analysis_options import check_analysis, check_where
from transect.study.entry_names import named
from transect.study.grid import (
    Batch,
    Cell,
    Entry,
    Shard,
    check_requires,
    choose,
    identity,
    narrow,
    not_applicable,
)

# weights that one job loads before it hands over to the next, so that jobs last minutes rather than
# hours
SHARD_PARAMETERS = 2e9
# small runs that are trained here share a process: its start costs some 4 CPU-s of imports
RUNS_PER_BATCH = 3
SMALL = 5e6  # parameters
# of a line of `analyses`; all else are options of the analysis
SPEC = ("analysis", "title", "figures")


@dataclass(frozen=True)
class Study:
    """A study file, read and checked against registry and units."""

    name: str
    path: Path
    data: dict[str, Any] = field(hash=False)
    project: Project = field(hash=False)
    registry: Registry = field(hash=False)
    entries: tuple[Entry, ...] = field(hash=False)
    roles: dict[str, str] = field(hash=False)  # run id -> population, held_out or baseline

    @property
    def seed(self) -> int:
        return self.data["seed"]

    @property
    def numerics(self) -> dict[str, Any]:
        defaults = {
            "dtype": "float32",
            "threads": 1,
            "memory_gb": 2,
            "batch_mb": 256,
            "device": "cpu",
        }
        return defaults | self.data.get("numerics", {})

    @property
    def results(self) -> Path:
        return self.project.results(self.name)

    @cached_property
    def runs(self) -> list[Run]:
        return [r for r in self.registry.runs.values() if r.id in self.roles]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for run in self.runs for cell in self._cells_of(run))

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        grouped: dict[str, list[Cell]] = {}
        for cell in self.cells:
            grouped.setdefault(self._shard_name(cell.checkpoint), []).append(cell)
        return tuple(Shard(name, tuple(cells)) for name, cells in grouped.items())

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        grouped: dict[str, list[Run]] = {}
        for run in self.runs:
            if run.trained_here:
                grouped.setdefault(self._batch_name(run), []).append(run)
        return tuple(Batch(name, tuple(runs), self.project) for name, runs in grouped.items())

    @cached_property
    def _position(self) -> dict[str, int]:
        """The place of each run in its suite's file: batches follow the registry, so that a run
        added at the end moves no other.
        """
        return {run.id: i for suite in self.registry.suites for i, run in enumerate(suite.runs)}

    def _batch_name(self, run: Run) -> str:
        may_share = run.get("trained_here", {}).get("batched", True)
        if not may_share or (run.get("params_total") or 0) >= SMALL:
            return run.id
        return f"{run.suite}-{self._position[run.id] // RUNS_PER_BATCH:03d}"

    def _shard_name(self, checkpoint: Checkpoint) -> str:
        run = checkpoint.run
        if run.trained_here:
            return self._batch_name(run)
        size = run.get("params_total")
        if not isinstance(size, int | float):
            size = 1e9
        per_job = max(1, int(SHARD_PARAMETERS // size))
        if per_job >= len(run.checkpoints):
            return run.id
        index = run.checkpoints.index(checkpoint) // per_job
        return f"{run.id}-{index:03d}"

    def _cells_of(self, run: Run) -> Iterable[Cell]:
        recipe = recipe_digest(run, self.project) if run.trained_here else ""
        for entry in self.entries:
            yield from self._cells(run, entry, recipe)

    def _cells(self, run: Run, entry: Entry, recipe: str) -> Iterable[Cell]:
        """The cells of a run and an entry: one per checkpoint, all but that the same in their keys.
        recipe: the digest of the run's recipe.
        """
        reason = not_applicable(run, entry)
        by = entry.stimuli.get("BY", []) if entry.stimuli else []
        parameters = {} if reason else {name: run.get(name) for name in by}
        items = {} if entry.stimuli is None else self._items(entry, parameters)
        made_of = {
            "stimuli": items,
            "measure": [entry.measure.name, entry.measure["VERSION"]],
            "options": entry.options,
            "seed": self.seed,
            "engine": engine_parts.versions(entry.measure, run),
            "numerics": {"dtype": self.numerics["dtype"]},
        }
        if run.get("opening"):
            made_of["opening"] = run.get("opening")
        items_digest, role = cell_store.digest(items), self.roles[run.id]
        for checkpoint in self._checkpoints(run, entry):
            weights = identity(checkpoint, self.project, recipe)
            key = cell_store.digest({"checkpoint": weights, **made_of})
            yield Cell(checkpoint, entry, parameters, items_digest, key, role, reason)

    def _checkpoints(self, run: Run, entry: Entry) -> list[Checkpoint]:
        part = self.data["baselines" if self.roles[run.id] == "baseline" else "population"]
        sampled = choose(run, part.get("checkpoints", "all"), self.path)
        if entry.checkpoints is None:
            return sampled
        return narrow(sampled, entry.checkpoints, run, self.path)

    def meet(self, one: Entry, other: Entry) -> bool:
        """Whether two entries are measured at one checkpoint."""
        return any(
            set(self._checkpoints(run, one)) & set(self._checkpoints(run, other))
            for run in self.runs
        )

    def _items(self, entry: Entry, parameters: dict[str, Any]) -> dict[str, Any]:
        """What the items of a stimulus set depend on, known before any of them is made or
        downloaded.
        """
        assert entry.stimuli is not None
        corpus = None
        if name := entry.stimuli.get("CORPUS"):
            corpus = [name, units.find("corpus", name, self.project)["VERSION"]]
        return {
            "stimuli": [entry.stimuli.name, entry.stimuli["VERSION"]],
            "source": entry.stimuli.get("SOURCE"),
            "corpus": corpus,
            "parameters": parameters,
            "options": entry.stimuli_options,
            "seed": self.seed,
        }


@registry.collector_paused()
def load(name: str, project: Project) -> Study:
    """Read a study by its name (looked up in studies/) or path, and check all that it names.

    Raises InputError for an unknown study, measure, stimulus set or analysis; for stimuli without a
    column that the measure reads; for an empty population; for an analysis that needs a measure
    which the study does not take, or has no such option.
    """
    path = _find(name, project)
    data = yaml_file.read(path)
    validator = yaml_file.Validator(yaml_file.read(SHIPPED / "studies" / "schema.yaml"))
    yaml_file.check(data, validator, path)
    if data["study"] != path.stem:
        raise InputError(
            f"{path}: field study is {data['study']!r}; it must be the file's name, {path.stem!r}."
        )
    _check_name(data["study"], path, project)
    entries = tuple(_entry(spec, path, i, project) for i, spec in enumerate(data["measures"]))
    every = registry.load(project)
    study = Study(data["study"], path, data, project, every, entries, _roles(data, path, every))
    if not {"population", "held_out"} & set(study.roles.values()):
        raise InputError(
            f"{Place(path, 'population', 'where')}: the population is empty: no run of the registry "
            f"satisfies {data['population']['where']!r} (`transect registry list` shows what there is)."
        )
    study = replace(study, entries=named(study.entries, study.meet))
    if "where" in data.get("design", {}):
        place = f"{Place(path, 'design', 'where')}: design.where"
        study.registry.select(data["design"]["where"], place)
    _check_cells(study)
    _check_analyses(study)
    _check_claims(study)
    return study


def _roles(data: dict[str, Any], path: Path, every: Registry) -> dict[str, str]:
    """Run id -> the part that it has in the study: population, held_out or baseline."""
    roles = {}
    for part, role in (("baselines", "baseline"), ("population", "population")):
        if part in data:
            place = f"{Place(path, part, 'where')}: {part}.where"
            for run in every.select(data[part]["where"], place):
                held_out = role == "population" and run.get("held_out")
                roles[run.id] = "held_out" if held_out else role
    return roles


def _check_name(name: str, path: Path, project: Project) -> None:
    """The name is that of the folder of the results, which are made anew: it must not be the
    store's.
    """
    place = f"{Place(path, 'study')}: the study"
    results, kept = project.results(names.check(name, place)).resolve(), project.store.resolve()
    if kept.is_relative_to(results) or results.is_relative_to(kept):
        raise InputError(
            f"{place} {name!r} would write its results to {results}, where the cell store lies ({kept}); give it another name."
        )


def _entry(spec: dict[str, Any], path: Path, index: int, project: Project) -> Entry:
    place = f"{Place(path, 'measures', index)}: measures"
    measure = units.find("measure", spec["measure"], project, place)
    stimuli = units.find("stimuli", spec["stimuli"], project, place) if "stimuli" in spec else None
    _check_columns(measure, stimuli, place)
    check_requires(measure, place)
    options, stimuli_options = spec.get("options", {}), spec.get("stimuli_options", {})
    measure.check_options(options, place)
    if stimuli is not None:
        stimuli.check_options(stimuli_options, place)
    checkpoints, name = spec.get("checkpoints"), spec.get("name", "")
    return Entry(measure, stimuli, stimuli_options, options, checkpoints, name)


def _check_columns(measure: units.Unit, stimuli: units.Unit | None, place: str) -> None:
    """The stimuli have the columns that a measure reads."""
    needed = list(measure["STIMULI"])
    if stimuli is None:
        if needed:
            raise InputError(
                f"{place}: {measure.name} needs stimuli with the columns {', '.join(needed)}; add `stimuli: NAME`."
            )
        return
    columns = stimuli["COLUMNS"]
    for column in needed:
        if column not in columns:
            raise InputError(
                f"{place}: {measure.name} reads the column {column!r}, which the stimuli {stimuli.name} lack; "
                f"they have {', '.join(columns)}.{nearest(column, columns)}"
            )


def _check_cells(study: Study) -> None:
    """Two entries that meet at a checkpoint must differ in name, else their rows could not be told
    apart, and in what they measure.
    """
    names_taken: set[tuple[str, ...]] = set()
    keys_taken: set[tuple[str, ...]] = set()
    for cell in study.cells:
        entry, run, revision = cell.entry, cell.checkpoint.run.id, cell.checkpoint.revision
        name = (run, revision, entry.measure.name, entry.stimuli_name, entry.name)
        key = (run, revision, cell.key)
        if name in names_taken or key in keys_taken:
            line = study.entries.index(entry)
            own_name = study.data["measures"][line].get("name")
            only_name = own_name and key not in keys_taken
            same = f"the name {own_name!r}" if only_name else "the same options"
            raise InputError(
                f"{Place(study.path, 'measures', line)}: measures: {entry.measure.name} {entry.stimuli_name} "
                f"stands twice for {run} at {revision} with {same}; give the "
                "entries different checkpoints (`all but last` and `last`), or different options and names (`name: ...`)."
            )
        names_taken.add(name)
        keys_taken.add(key)


def _check_analyses(study: Study) -> None:
    """Every analysis has the measures, options and columns that it needs."""
    registry_values = [study.registry.values[run.id] for run in study.runs]
    held = registry.held(registry_values)
    columns = {*study.registry.factors, *factors.of_design()}
    for index, spec in enumerate(study.data["analyses"]):
        place = f"{Place(study.path, 'analyses', index)}: analyses"
        unit = units.find("analysis", spec["analysis"], study.project, place)
        _check_measures(unit, spec, study, place)
        options = {}
        for name, value in spec.items():
            if name not in SPEC:
                options[name] = value
        check_analysis(unit, options, study.entries, columns, place)
        outcomes = spec.get("outcomes", [])
        if isinstance(outcomes, list):
            check_where(outcomes, held, study.entries, f"{place}: {unit.name}")


def _check_measures(unit: units.Unit, spec: Any, study: Study, place: str) -> None:
    """The study takes the measures that an analysis needs."""
    measures = {entry.measure.name for entry in study.entries}
    for name in measures_needed(unit, spec):
        if name not in measures:
            raise InputError(
                f"{place}: the analysis {unit.name} needs the measure {name!r}, which the study does not take; "
                f"it takes {', '.join(sorted(measures))}.{nearest(name, measures)}"
            )


def _check_claims(study: Study) -> None:
    """Every claim rests on an analysis of the study."""
    names = [spec["analysis"] for spec in study.data["analyses"]]
    for index, claim in enumerate(study.data.get("claims", [])):
        if claim["analysis"] not in names:
            raise InputError(
                f"{Place(study.path, 'claims', index)}: the claim rests on the analysis "
                f"{claim['analysis']!r}, which the study does not run; it runs {', '.join(names)}.{nearest(claim['analysis'], names)}"
            )


def measures_needed(unit: units.Unit, spec: Any) -> list[str]:
    """The measures that an analysis reads: those that it declares, and those that its options in a
    study name as `measure`.
    """
    measures = list(unit["NEEDS"])
    parts = [spec]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if isinstance(part.get("measure"), str):
                measures.append(part["measure"])
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return list(dict.fromkeys(measures))


def _find(name: str, project: Project) -> Path:
    if Path(name).suffix in (".yaml", ".yml"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"There is no study file {name!r}.")
        return path.resolve()
    paths = {
        path.stem: path
        for root in reversed(project.roots)
        for path in (root / "studies").glob("*.yaml")
        if path.stem != "schema"
    }
    if name not in paths:
        raise InputError(
            f"There is no study {name!r}; there are: {', '.join(sorted(paths))}.{nearest(name, paths)}"
        )
    shipped = SHIPPED / "studies" / paths[name].name
    if paths[name] != shipped and shipped.is_file():
        tell(f"the study {name!r} is that of {paths[name]}, in the place of the shipped one.")
    return paths[name]
