"""Named contrasts of the registry: which runs are compared in one design factor, and what else
differs between them.

A contrast of a suite file names its runs by a query (`runs`, compared where they agree in the
fields `by`), as `pairs`, or as every run of a query with the run it was trained from (`parent`).
What differs is found from the facts, not believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transect.errors import InputError, nearest
from transect.registry import factors
from transect.registry.run import Run, Suite
from transect.registry.suites import Registry


@dataclass(frozen=True)
class Contrast:
    """`sets`: runs that are compared with each other. `factor`: a design factor, or one field of
    it.

    `also`: design factor -> fields that differ within some set, besides the one that is compared.
    """

    name: str
    suite: str
    factor: str
    kind: str
    sets: tuple[tuple[Run, ...], ...]
    also: Mapping[str, list[str]]
    declared: tuple[str, ...]
    notes: str

    @property
    def undeclared(self) -> list[str]:
        """Factors that differ and that the file does not name."""
        return [f for f in self.also if f not in self.declared]

    @property
    def unseen(self) -> list[str]:
        """Factors that the file names and that no field shows to differ."""
        return [f for f in self.declared if f not in self.also]


def contrasts(registry: Registry) -> dict[str, Contrast]:
    """Every contrast, by name. Raises InputError for an unknown run, factor or field, and for a
    contrast that compares nothing.
    """
    found: dict[str, Contrast] = {}
    for suite in registry.suites:
        for spec in suite.contrasts:
            place = f"{suite.path}, contrast {spec['name']}"
            if spec["name"] in found:
                raise InputError(
                    f"{place}: suite {found[spec['name']].suite} has a contrast of that name."
                )
            found[spec["name"]] = _contrast(spec, suite, registry, place)
    return found


def _contrast(spec: Mapping[str, Any], suite: Suite, registry: Registry, place: str) -> Contrast:
    fields = registry.fields
    bundles = {f.factor for f in fields.values() if f.factor}
    for name in (spec["factor"], *spec.get("also", [])):
        if name not in bundles and not (name in fields and fields[name].factor):
            raise InputError(
                f"{place}: there is no design factor {name!r}; there are {', '.join(sorted(bundles))}.{nearest(name, bundles)}"
            )
    sets = _sets(spec, registry, place)
    differs: dict[str, list[str]] = {}
    for runs in sets:
        for factor, names in factors.differing(runs, fields).items():
            differs[factor] = list(dict.fromkeys(differs.get(factor, []) + names))
    compared = spec["factor"] if spec["factor"] in bundles else str(fields[spec["factor"]].factor)
    if spec["factor"] not in {compared, *differs.get(compared, [])} or compared not in differs:
        raise InputError(
            f"{place}: no runs that are compared are known to differ in {spec['factor']!r}."
        )
    also = {f: names for f, names in differs.items() if f != compared}
    return Contrast(
        spec["name"],
        suite.name,
        spec["factor"],
        spec["kind"],
        sets,
        also,
        tuple(spec.get("also", [])),
        spec.get("notes", ""),
    )


def _sets(spec: Mapping[str, Any], registry: Registry, place: str) -> tuple[tuple[Run, ...], ...]:
    if "pairs" in spec:
        return tuple(tuple(_run(name, registry, place) for name in pair) for pair in spec["pairs"])
    if "parent" in spec:
        children = [run for run in registry.select(spec["parent"], place) if run.get("parent")]
        return tuple((_run(child.facts["parent"], registry, place), child) for child in children)
    runs = (
        registry.select(spec["runs"], place)
        if isinstance(spec["runs"], str)
        else [_run(r, registry, place) for r in spec["runs"]]
    )
    values = registry.factors
    for name in spec.get("by", []):
        if name not in values:
            raise InputError(
                f"{place}: `by` names {name!r}, which no run has.{nearest(name, values)}"
            )
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(
            tuple(registry.values[run.id].get(name) for name in spec.get("by", [])), []
        ).append(run)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _run(name: str, registry: Registry, place: str) -> Run:
    if name not in registry.runs:
        raise InputError(f"{place}: there is no run {name!r}.{nearest(name, registry.runs)}")
    return registry.runs[name]
