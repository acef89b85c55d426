"""The model registry: all suites of a project, its own and the shipped ones, and runs selected by
property.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transect.errors import InputError
from transect.registry import factors, query
from transect.registry.run import Field, Run, Suite
from transect.registry.suite_file import lines, reading
from transect.store import names
from transect.store.project import Project


@dataclass(frozen=True)
class Registry:
    """All suites of a project, its own and the shipped ones."""

    suites: tuple[Suite, ...]

    @cached_property
    def runs(self) -> dict[str, Run]:
        return {run.id: run for suite in self.suites for run in suite.runs}

    @cached_property
    def factors(self) -> list[str]:
        """Every factor name that some run knows."""
        return sorted(set().union(*self.values.values()))

    @cached_property
    def values(self) -> dict[str, dict[str, Any]]:
        """Run -> what queries and analyses see of it: `Run.values` and its configuration."""
        return {
            run.id: run.values() | {"configuration": self.configurations[run.id]}
            for run in self.runs.values()
        }

    @cached_property
    def held(self) -> dict[str, set[Any]]:
        """Factor -> the values that some run has."""
        return held(self.values.values())

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Every field that a suite file may hold: the shared ones and those that suites declare."""
        own = [factors.own_fields(suite.fields) for suite in self.suites]
        return {
            **factors.shared_fields(),
            **{name: field for fields in own for name, field in fields.items()},
        }

    @cached_property
    def configurations(self) -> dict[str, str]:
        """Run -> label of its configuration: the runs of one suite that differ in the seed only
        (the first one's id).

        A run whose seed is unknown is a configuration of its own: what else tells it from another
        is unknown as well.
        """
        apart = {
            f.name
            for f in self.fields.values()
            if f.group in ("identity", "seed", "release") and f.name != "family"
        }
        label: dict[Any, str] = {}
        names = {}
        for run in self.runs.values():
            facts = frozenset((k, repr(v)) for k, v in run.facts.items() if k not in apart)
            key = (run.suite, facts, run.id if run.get("seed") is None else None)
            names[run.id] = run.get("configuration") or label.setdefault(key, run.id)
        return names

    def suite_of(self, run: Run) -> Suite:
        return next(suite for suite in self.suites if suite.name == run.suite)

    def select(self, where: str, place: str = "where") -> list[Run]:
        """The runs for which a query holds (see query.py), in the registry's order.

        Raises InputError for a query that cannot be read, or that names a factor or a value which
        no run has.
        """
        test = query.parse(where, self.factors, place, self.held)
        return [run for run in self.runs.values() if test(self.values[run.id])]


def held(values: Iterable[Mapping[str, Any]]) -> dict[str, set[Any]]:
    """Factor -> the values that some of the runs have. values: of each run, as queries see it."""
    values_of: dict[str, set[Any]] = {}
    for of_run in values:
        for name, value in of_run.items():
            values_of.setdefault(name, set()).add(value)
    return values_of


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's garbage collector at rest while many objects are built that all stay: its passes
    over them would find nothing and take a fifth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@collector_paused()
def load(project: Project) -> Registry:
    """Read and check every suite file.

    Raises InputError that names file, line, field and the allowed values; also for two runs with
    one id.
    """
    files = [
        path for root in project.roots for path in sorted((root / "model_registry").glob("*.yaml"))
    ]
    suites = [reading.read(path) for path in files if path.name != "schema.yaml"]
    seen: dict[str, Path] = {}
    for suite in suites:
        for run in suite.runs:
            if run.id in seen:
                places = dict.fromkeys(
                    [
                        *lines.entries(seen[run.id], run.id),
                        *lines.entries(suite.path, run.id),
                    ]
                )
                raise InputError(
                    f"The run id {run.id!r} stands twice: {' and '.join(places)}; ids are unique."
                )
            seen[run.id] = suite.path
    if alike := names.one_folder(seen):
        where = " and ".join(
            dict.fromkeys(place for name in alike for place in lines.entries(seen[name], name))
        )
        raise InputError(
            f"The run ids {alike[0]!r} and {alike[1]!r} ({where}) differ in capitals only, which is "
            "one folder on some systems; give one of them another id."
        )
    return Registry(tuple(suites))
