"""Fields of a run and the design factors that they express, as model_registry/schema.yaml and the
suites declare them.

A *field* is one fact (n_layers), a *design factor* a bundle of fields that say one thing (size).
Two runs differ in a factor if both know a field of it and the values are unequal.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from transect.registry.run import UNKNOWN, Field, Run
from transect.store.files import yaml_file
from transect.store.project import SHIPPED

# the order in which factors are told; `modality` and what a suite declares follow
FACTORS = (
    "size",
    "architecture",
    "objective",
    "corpus",
    "language",
    "amount",
    "tokenizer",
    "init_seed",
    "order_seed",
    "post_training",
    "training_details",
    "modality",
)


# fields of a design factor that are lists; what follows from them (n_languages, language_family)
# has fields of its own
OF_LISTS = ("languages", "modalities", "config")


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """model_registry/schema.yaml."""
    read: dict[str, Any] = yaml_file.read(SHIPPED / "model_registry" / "schema.yaml")
    return read


@lru_cache(maxsize=1)
def shared_fields() -> dict[str, Field]:
    """The fields that every suite may use."""
    return {
        name: _field(name, spec) for name, spec in schema()["$defs"]["fields"]["properties"].items()
    }


def of_design() -> list[str]:
    """The shared fields that express a design factor and have one value: what an analysis may name,
    whether a run knows it or not.
    """
    return [
        name for name, field in shared_fields().items() if field.factor and name not in OF_LISTS
    ]


def is_number(name: str) -> bool:
    """Whether a field of schema.yaml holds numbers alone (or says unknown)."""
    spec = schema()["$defs"]["fields"]["properties"].get(name, {})
    if spec.get("$ref") == "#/$defs/count":
        return True
    types = {kind for one in (spec, *spec.get("anyOf", [])) for kind in _types(one)} - {"null"}
    return bool(types) and types <= {"integer", "number"}


def _types(spec: Mapping[str, Any]) -> list[str]:
    types = spec.get("type", [])
    return [types] if isinstance(types, str) else types


def fault(name: str, value: Any) -> str:
    """What schema.yaml has against a value of a field, as the end of a sentence; empty where it has
    nothing, or does not know the field.
    """
    error = _validator(name).error(value)
    return "" if error is None else yaml_file.fault(error)


@cache
def _validator(name: str) -> yaml_file.Validator:
    definitions = schema()["$defs"]
    return yaml_file.Validator(
        {"$defs": definitions, **definitions["fields"]["properties"].get(name, {})}
    )


def own_fields(declared: Mapping[str, Any]) -> dict[str, Field]:
    """The fields that a suite file declares under `fields`."""
    return {
        name: _field(name, spec if isinstance(spec, dict) else {"description": spec})
        for name, spec in declared.items()
    }


def _field(name: str, spec: Mapping[str, Any]) -> Field:
    return Field(
        name,
        spec.get("description", ""),
        spec.get("group", "training"),
        spec.get("factor"),
        spec.get("unit", ""),
    )


def fields_of(factor: str, fields: Mapping[str, Field]) -> list[str]:
    """The fields that express a design factor; the field itself where `factor` is a field's name."""
    bundle = [f.name for f in fields.values() if f.factor == factor]
    return bundle or [factor] * (factor in fields)


def differing(runs: Sequence[Run], fields: Mapping[str, Field]) -> dict[str, list[str]]:
    """Design factor -> the fields of it in which some of the runs differ (both values known)."""
    names: dict[str, list[str]] = {}
    for field in fields.values():
        if field.factor is None:
            continue
        values = {repr(value) for value in known(runs, field.name)}
        if len(values) > 1:
            names.setdefault(field.factor, []).append(field.name)
    return {factor: names[factor] for factor in sorted(names, key=_rank)}


def _rank(factor: str) -> tuple[int, str]:
    """The place of a factor in FACTORS; others follow, by name."""
    place = FACTORS.index(factor) if factor in FACTORS else len(FACTORS)
    return place, factor


def known(runs: Iterable[Run], field: str) -> list[Any]:
    """The values of a field in the runs that know it."""
    values = (run.facts.get(field) for run in runs)
    return [v for v in values if v is not None and v != UNKNOWN]
