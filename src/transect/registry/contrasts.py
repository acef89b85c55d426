"""Named contrasts of the registry: which runs are compared in one design factor, and what else
differs between them.

A contrast of a suite file names its runs by a query (`runs`, compared where they agree in the
fields `by`), as `pairs`, or as every run of a query with the run it was trained from (`parent`).
What differs is found from the facts, not believed.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    by_name: dict[str, Contrast] = {}
    for suite in registry.suites:
        for spec in suite.contrasts:
            place = f"{suite.path}, contrast {spec['name']}"
            if spec["name"] in by_name:
                raise InputError(
                    f"{place}: suite {by_name[spec['name']].suite} has a contrast of that name."
                )
            by_name[spec["name"]] = _contrast(spec, suite, registry, place)
    return by_name


def _contrast(spec: Mapping[str, Any], suite: Suite, registry: Registry, place: str) -> Contrast:
    named, declared = spec["factor"], spec.get("also", [])
    factor_of = _factor_of(registry)
    for name in (named, *declared):
        if name not in factor_of:
            bundles = set(factor_of.values())
            raise InputError(
                f"{place}: there is no design factor {name!r}; there are {', '.join(sorted(bundles))}.{nearest(name, bundles)}"
            )
    sets = _sets(spec, registry, place)
    differing = _differing(sets, registry)
    compared = factor_of[named]
    if named not in {compared, *differing.get(compared, [])} or compared not in differing:
        raise InputError(f"{place}: no runs that are compared are known to differ in {named!r}.")
    also = {factor: fields for factor, fields in differing.items() if factor != compared}
    return Contrast(
        spec["name"],
        suite.name,
        named,
        spec["kind"],
        sets,
        also,
        tuple(declared),
        spec.get("notes", ""),
    )


def _factor_of(registry: Registry) -> dict[str, str]:
    """Field -> its design factor; each factor has its own."""
    of_fields = {name: field.factor for name, field in registry.fields.items() if field.factor}
    return {**of_fields, **{factor: factor for factor in of_fields.values()}}


def _differing(sets: Iterable[tuple[Run, ...]], registry: Registry) -> dict[str, list[str]]:
    """Design factor -> its fields that differ within some set."""
    differing: dict[str, list[str]] = {}
    for runs in sets:
        for factor, fields in factors.differing(runs, registry.fields).items():
            differing[factor] = list(dict.fromkeys([*differing.get(factor, []), *fields]))
    return differing


def _sets(spec: Mapping[str, Any], registry: Registry, place: str) -> tuple[tuple[Run, ...], ...]:
    """The runs that are compared with each other: pairs, parents with children, or runs that agree
    in the fields `by`.
    """
    if "pairs" in spec:
        return tuple(_runs(pair, registry, place) for pair in spec["pairs"])
    if "parent" in spec:
        children = [run for run in registry.select(spec["parent"], place) if run.get("parent")]
        return tuple((_run(child.facts["parent"], registry, place), child) for child in children)
    if isinstance(spec["runs"], str):
        runs = registry.select(spec["runs"], place)
    else:
        runs = list(_runs(spec["runs"], registry, place))
    return _agreeing(runs, spec.get("by", []), registry, place)


def _agreeing(
    runs: Sequence[Run], by: Sequence[str], registry: Registry, place: str
) -> tuple[tuple[Run, ...], ...]:
    """Sets of two and more runs with the same values of some fields."""
    for name in by:
        if name not in registry.factors:
            raise InputError(
                f"{place}: `by` names {name!r}, which no run has.{nearest(name, registry.factors)}"
            )
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        values = registry.values[run.id]
        groups.setdefault(tuple(values.get(name) for name in by), []).append(run)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _runs(ids: Sequence[str], registry: Registry, place: str) -> tuple[Run, ...]:
    return tuple(_run(name, registry, place) for name in ids)


def _run(name: str, registry: Registry, place: str) -> Run:
    if name not in registry.runs:
        raise InputError(f"{place}: there is no run {name!r}.{nearest(name, registry.runs)}")
    return registry.runs[name]
