"""Runs -> a table of their design factors: one row per run, one column per factor, as a check of
the sample reads it.

A factor is a bundle of fields (factors.py). Its value is

    size        a number: params_non_embedding, or params_total where some run does not know that
    amount      a number: tokens seen at the last checkpoint that is sampled
    tokenizer   its key
    corpus      the corpus, and its variant where that is told and not the usual one
    others      the values, joined, of those of its fields that all sampled runs know and in which they differ; else of those that a
                suite varies by design; else of all known ones. Unknown where one of them is, unless
                another shows the run to differ from all of the sample
The level columns family, suite, configuration and run group the rows from coarse to fine.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from transect.registry.factors import FACTORS, UNKNOWN, fields_of
from transect.registry.run import Field, Run
from transect.registry.suites import Registry

LEVELS = ("family", "suite", "configuration", "run")
SEEDS = ("init_seed", "order_seed")
NUMBERS = {"size": ("params_non_embedding", "params_total"), "amount": ("train_tokens",)}
SAME_AMOUNT = 1.05  # amounts that differ by no more, 300 and 299.9 billion tokens, are one amount
# the second field refines the first, which must be known
REFINED = {"corpus": ("corpus", "corpus_variant")}
USUAL = "standard"  # a variant that is none
SUFFIXES = ("", "k", "M", "B", "T")
# vocab_size counts padding rows too: equal tokenizers may differ in it
LEADING = {"tokenizer": ("tokenizer",)}


@dataclass(frozen=True)
class FactorTable:
    """`frame`: the level columns and one per factor, [run, ...]; `parts`: factor -> the fields
    whose values it joins.
    """

    frame: pd.DataFrame
    parts: Mapping[str, tuple[str, ...]]
    labels: Mapping[tuple[str, str], str]  # (factor, joined value) -> the short one of a reader

    @property
    def factors(self) -> list[str]:
        return list(self.parts)

    @property
    def numeric(self) -> list[str]:
        return [f for f in self.parts if f in NUMBERS]

    def label(self, factor: str, value: Any) -> str:
        """A value as a reader knows it."""
        if factor == "amount" and value == value:
            return f"{float(value):,.0f} tokens"
        text = self.labels.get((factor, str(value)), str(value))
        if factor not in ("architecture", "language"):
            return text
        known = [part for part in text.split(" | ") if part != "?"]
        return known[0] if known else text  # its first field names it


def factor_table(
    runs: Sequence[Run],
    registry: Registry,
    tokens: Mapping[str, int] | None = None,
    sample: Sequence[Run] | None = None,
) -> FactorTable:
    """The table of `runs`. `sample`: the runs by which it is decided what is known (all of them);
    `tokens`: seen at the end, by run id.
    """
    sample = runs if sample is None else sample
    parts = _parts_of_factors(sample, registry)
    columns = _level_columns(runs, registry)
    for name, fields in parts.items():
        sampled = {field: {field_value(run, field) for run in sample} for field in fields}
        columns[name] = [_value(name, fields, run, tokens or {}, sampled) for run in runs]
    frame = pd.DataFrame(columns)
    if "amount" in frame:
        in_sample = frame["run"].isin([run.id for run in sample])
        frame["amount"] = _about(frame["amount"], frame.loc[in_sample, "amount"])
    labels: dict[tuple[str, str], str] = {}
    for name, fields in parts.items():
        labels |= _labels(name, fields, runs, frame)
    return FactorTable(frame, parts, labels)


def _level_columns(runs: Sequence[Run], registry: Registry) -> dict[str, list[Any]]:
    """The columns that group the rows."""
    return {
        "family": [run.get("family") for run in runs],
        "suite": [run.suite for run in runs],
        "configuration": [registry.configurations[run.id] for run in runs],
        "run": [run.id for run in runs],
    }


def _parts_of_factors(sample: Sequence[Run], registry: Registry) -> dict[str, tuple[str, ...]]:
    """Each factor of which a sampled run knows something -> the fields that make up its value."""
    own = {field.factor for field in registry.fields.values() if field.factor}
    names = [*FACTORS, *sorted(own - set(FACTORS))]
    parts = {name: _parts(name, sample, registry.fields) for name in names}
    return {name: fields for name, fields in parts.items() if fields}


def _parts(factor: str, runs: Sequence[Run], fields: Mapping[str, Field]) -> tuple[str, ...]:
    """The fields that make up a factor's value; none where no run knows one."""
    if factor in NUMBERS:
        return _number_field(NUMBERS[factor], runs)
    if factor in REFINED:
        refined, _ = REFINED[factor]
        known = any(field_value(run, refined) for run in runs)
        return REFINED[factor] if known else ()
    return _bundle(list(LEADING.get(factor, fields_of(factor, fields))), runs)


def _number_field(fields: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """The first field that all runs know as a number, else the first if any run does."""
    everywhere = [field for field in fields if all(_number(run, field) for run in runs)]
    field = everywhere[0] if everywhere else fields[0]
    return (field,) if any(_number(run, field) for run in runs) else ()


def _bundle(fields: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """The fields of a bundle that are joined: those that all know and that vary; else those that a
    suite varies by design, although some others do not know them; else all that are known to all;
    else the one that most runs know.
    """
    values = {field: [field_value(run, field) for run in runs] for field in fields}
    whole = [field for field, of_runs in values.items() if None not in of_runs]
    varying = [field for field in whole if len(set(values[field])) > 1]
    if varying:
        return tuple(varying)
    return tuple(_by_design(values, runs) or whole or _best_known(values))


def _by_design(values: Mapping[str, list[str | None]], runs: Sequence[Run]) -> list[str]:
    """The fields that a suite varies and that at most half of the runs, but some, do not know."""
    return [
        field
        for field, of_runs in values.items()
        if 0 < 2 * of_runs.count(None) <= len(runs) and _varies_within(field, runs)
    ]


def _best_known(values: Mapping[str, list[str | None]]) -> list[str]:
    """The field that most runs know, if any is known."""
    known = [field for field, of_runs in values.items() if any(of_runs)]
    return sorted(known, key=lambda field: values[field].count(None))[:1]


def _about(amounts: pd.Series, sampled: pd.Series) -> pd.Series:
    """Each amount as the nearest of the sampled ones that is about the same, if there is one; of
    sampled ones about the same the smallest stands for all.
    """
    anchors: list[float] = []
    for amount in sorted(sampled.dropna().unique()):
        if not anchors or amount > SAME_AMOUNT * anchors[-1]:
            anchors.append(float(amount))
    return amounts.map({amount: _nearest(amount, anchors) for amount in amounts.dropna().unique()})


def _nearest(amount: float, anchors: Sequence[float]) -> float:
    """The nearest anchor that is about the same, else the amount itself."""
    alike = [anchor for anchor in anchors if 1 / SAME_AMOUNT <= amount / anchor <= SAME_AMOUNT]
    return min(alike, key=lambda anchor: abs(anchor - amount), default=amount)


def _varies_within(field: str, runs: Sequence[Run]) -> bool:
    """Whether some suite has more than one known value of a field."""
    values: dict[str, set[str]] = {}
    for run in runs:
        value = field_value(run, field)
        if value is not None:
            values.setdefault(run.suite, set()).add(value)
    return any(len(in_suite) > 1 for in_suite in values.values())


def _value(
    factor: str,
    fields: Sequence[str],
    run: Run,
    tokens: Mapping[str, int],
    sampled: Mapping[str, set[str | None]],
) -> Any:
    """`sampled`: field -> its values in the sample."""
    if factor in NUMBERS:
        seen = tokens.get(run.id) if factor == "amount" else None
        return seen or _number(run, fields[0]) or float("nan")
    values = {field: field_value(run, field) for field in fields}
    if factor in REFINED:
        return _refined(list(values.values()))
    return _joined(values, sampled)


def _joined(values: Mapping[str, str | None], sampled: Mapping[str, set[str | None]]) -> str:
    """The values of a bundle; unknown where one is, unless another is none of the sample's."""
    known = {field: value for field, value in values.items() if value is not None}
    new = any(value not in sampled[field] for field, value in known.items())
    if len(known) < len(values) and not new:
        return UNKNOWN
    return " | ".join(known.get(field, "?") for field in values)


def _refined(values: Sequence[str | None]) -> str:
    """A value with what refines it: what is not known of a corpus is taken to be as usual."""
    if not values[0]:
        return UNKNOWN
    return " | ".join(value for value in values if value is not None and value != USUAL)


def field_value(run: Run, field: str) -> str | None:
    """A field's value as a text that is equal where the value is; None where it is unknown."""
    value = run.facts.get(field)
    if value is None or value == UNKNOWN:
        return None
    if field == "languages":
        return " ".join(sorted(entry["iso"] for entry in value))
    if field == "tokenizer" and value.get("key"):
        return str(value["key"])
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _number(run: Run, field: str) -> int | None:
    """A field's value where it is a number above 0."""
    value = run.facts.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if value > 0 else None


def _labels(
    factor: str, fields: Sequence[str], runs: Sequence[Run], frame: pd.DataFrame
) -> dict[tuple[str, str], str]:
    """Of sizes the name in the suite (160m), of joined values the first field that tells them
    apart.
    """
    if factor == "size":
        return {
            (factor, str(size)): _size(run, size)
            for run, size in zip(runs, frame[factor], strict=True)
        }
    if factor in REFINED or len(fields) < 2:
        return {}
    values = frame[factor].astype(str)
    for field in fields:
        own = [field_value(run, field) or UNKNOWN for run in runs]
        matched = dict.fromkeys(zip(values, own, strict=True))
        if len(matched) == len(set(own)) == values.nunique():
            return {(factor, value): text for value, text in matched}
    return {}


def _size(run: Run, value: float) -> str:
    """The size in the run's label (160m), else the number with a suffix."""
    label = str(run.get("label", ""))
    named = re.fullmatch(r"[\d.]+[kmb]", label, re.IGNORECASE)
    if named or pd.isna(value):
        return label or "unknown"
    thousands = min(int(math.log10(value) // 3), len(SUFFIXES) - 1)
    return f"{value / 1000**thousands:.3g}{SUFFIXES[thousands]}"


def besides(
    runs: Iterable[Run], groups: Mapping[str, Any], fields: Mapping[str, Field], skip: Iterable[str]
) -> dict[str, list[str]]:
    """Design factor -> its fields whose known values two groups of runs have none in common of, so
    that each tells the groups apart.

    `groups`: run id -> group. `skip`: factors that vary within groups by design (size, seeds,
    amount).
    """
    runs = list(runs)
    separating: dict[str, list[str]] = {}
    for field in fields.values():
        if field.factor is None or field.factor in skip:
            continue
        if _separates(field.name, runs, groups):
            separating.setdefault(field.factor, []).append(field.name)
    return separating


def _separates(field: str, runs: Iterable[Run], groups: Mapping[str, Any]) -> bool:
    """Whether two groups have no known value of a field in common."""
    values: dict[Any, set[str]] = {}
    for run in runs:
        value = field_value(run, field)
        if value is not None:
            values.setdefault(groups[run.id], set()).add(value)
    return any(a.isdisjoint(b) for a, b in combinations(values.values(), 2))
