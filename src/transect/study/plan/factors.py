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
from typing import Any

import pandas as pd

from transect.registry.factors import FACTORS, UNKNOWN, Field, fields_of
from transect.registry.run import Run
from transect.registry.suites import Registry

LEVELS = ("family", "suite", "configuration", "run")
SEEDS = ("init_seed", "order_seed")
NUMBERS = {"size": ("params_non_embedding", "params_total"), "amount": ("train_tokens",)}
SAME_AMOUNT = 1.05  # amounts that differ by no more, 300 and 299.9 billion tokens, are one amount
REFINED = {
    "corpus": ("corpus", "corpus_variant")
}  # the second refines the first, which must be known
USUAL = "standard"  # a variant that is none
LEADING = {
    "tokenizer": ("tokenizer",)
}  # vocab_size counts padding rows too: equal tokenizers may differ in it


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
        if factor in ("architecture", "language"):  # its first field names it
            return next((part for part in text.split(" | ") if part != "?"), text)
        return text


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
    names = [
        *FACTORS,
        *sorted({f.factor for f in registry.fields.values() if f.factor} - set(FACTORS)),
    ]
    parts = {name: found for name in names if (found := _parts(name, sample, registry.fields))}
    columns: dict[str, list[Any]] = {name: [] for name in parts}
    here = {f: {field_value(r, f) for r in sample} for fields in parts.values() for f in fields}
    for run in runs:
        for name, fields in parts.items():
            columns[name].append(_value(name, fields, run, tokens or {}, here))
    levels = {
        "family": [r.get("family") for r in runs],
        "suite": [r.suite for r in runs],
        "configuration": [registry.configurations[r.id] for r in runs],
        "run": [r.id for r in runs],
    }
    frame = pd.DataFrame({**levels, **columns})
    if "amount" in frame:
        frame["amount"] = _about(
            frame["amount"], frame.loc[frame["run"].isin({r.id for r in sample}), "amount"]
        )
    labels = {
        pair: text
        for name, fields in parts.items()
        for pair, text in _labels(name, fields, runs, frame).items()
    }
    return FactorTable(frame, parts, labels)


def _parts(factor: str, runs: Sequence[Run], fields: Mapping[str, Field]) -> tuple[str, ...]:
    """The fields that make up a factor's value; none where no run knows one."""
    if factor in NUMBERS:
        known = [f for f in NUMBERS[factor] if all(_number(r, f) for r in runs)] or list(
            NUMBERS[factor]
        )
        return (known[0],) if any(_number(r, known[0]) for r in runs) else ()
    if factor in REFINED:
        return REFINED[factor] if any(field_value(r, REFINED[factor][0]) for r in runs) else ()
    bundle = list(LEADING.get(factor, fields_of(factor, fields)))
    values = {f: [field_value(r, f) for r in runs] for f in bundle}
    whole = [f for f in bundle if None not in values[f]]
    varying = [f for f in whole if len(set(values[f])) > 1]
    # what a suite varies by design counts, although other suites do not tell it, where nothing that
    # all tell varies
    told = [
        f
        for f in bundle
        if f not in whole and 2 * values[f].count(None) <= len(runs) and _varies_within(f, runs)
    ]
    part = max(
        (f for f in bundle if any(values[f])),
        key=lambda f: len(runs) - values[f].count(None),
        default=None,
    )
    return tuple(varying or told or whole or ([part] if part else []))


def _about(amounts: pd.Series, sampled: pd.Series) -> pd.Series:
    """Each amount as the smallest sampled one that is about the same, if there is one."""
    anchors: list[float] = []
    for amount in sorted(sampled.dropna().unique()):
        if not anchors or amount > SAME_AMOUNT * anchors[-1]:
            anchors.append(float(amount))
    near = {
        a: [b for b in anchors if 1 / SAME_AMOUNT <= a / b <= SAME_AMOUNT]
        for a in amounts.dropna().unique()
    }
    return amounts.map(
        {a: min(bs, key=lambda b: abs(b - a)) if bs else a for a, bs in near.items()}
    )


def _varies_within(field: str, runs: Sequence[Run]) -> bool:
    found: dict[str, set[str | None]] = {}
    for run in runs:
        found.setdefault(run.suite, set()).add(field_value(run, field))
    return any(len(values - {None}) > 1 for values in found.values())


def _value(
    factor: str,
    fields: Sequence[str],
    run: Run,
    tokens: Mapping[str, int],
    here: Mapping[str, set[str | None]],
) -> Any:
    """`here`: field -> its values in the sample."""
    if factor == "amount":
        return tokens.get(run.id) or _number(run, fields[0]) or float("nan")
    if factor in NUMBERS:
        return _number(run, fields[0]) or float("nan")
    values = [field_value(run, f) for f in fields]
    if factor in REFINED:  # what is not told of a corpus is taken to be as usual
        told = [v for v in values if v is not None and v != USUAL]
        return " | ".join(told) if field_value(run, fields[0]) else UNKNOWN
    new = any(v is not None and v not in here[f] for f, v in zip(fields, values, strict=True))
    return (
        UNKNOWN
        if None in values and not new
        else " | ".join("?" if v is None else v for v in values)
    )


def field_value(run: Run, field: str) -> str | None:
    """A field's value as a text that is equal where the value is; None where it is unknown."""
    value = run.facts.get(field)
    if value is None or value == UNKNOWN:
        return None
    if field == "tokenizer":
        return str(value.get("key") or json.dumps(value, sort_keys=True))
    if field == "languages":
        return " ".join(sorted(entry["iso"] for entry in value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _number(run: Run, field: str) -> int | None:
    value = run.facts.get(field)
    return (
        int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        else None
    )


def _labels(
    factor: str, fields: Sequence[str], runs: Sequence[Run], frame: pd.DataFrame
) -> dict[tuple[str, str], str]:
    """Of sizes the name in the suite (160m), of joined values the first field that tells them
    apart.
    """
    if factor in REFINED:
        return {}
    if factor == "size":
        return {(factor, str(v)): _size(r, v) for r, v in zip(runs, frame[factor], strict=True)}
    values = frame[factor].astype(str)
    for field in fields:
        own = [field_value(r, field) or UNKNOWN for r in runs]
        if (
            len(fields) > 1
            and len(set(zip(values, own, strict=True))) == len(set(own)) == values.nunique()
        ):
            return {(factor, value): text for value, text in zip(values, own, strict=True)}
    return {}


def _size(run: Run, value: float) -> str:
    """The size in the run's label (160m), else the number with a suffix."""
    label = str(run.get("label", ""))
    if re.fullmatch(r"[\d.]+[kmb]", label, re.IGNORECASE) or pd.isna(value):
        return label or "unknown"
    exponent = min(int(math.log10(value) // 3), 4)
    return f"{value / 1000**exponent:.3g}{['', 'k', 'M', 'B', 'T'][exponent]}"


def besides(
    runs: Iterable[Run], groups: Mapping[str, Any], fields: Mapping[str, Field], skip: Iterable[str]
) -> dict[str, list[str]]:
    """Design factor -> its fields whose known values two groups of runs have none in common of, so
    that each tells the groups apart.

    `groups`: run id -> group. `skip`: factors that vary within groups by design (size, seeds,
    amount).
    """
    found: dict[str, list[str]] = {}
    rows = [(groups[r.id], r) for r in runs]
    for field in fields.values():
        if field.factor is None or field.factor in skip:
            continue
        sets: dict[Any, set[str]] = {}
        for group, run in rows:
            value = field_value(run, field.name)
            if value is not None:
                sets.setdefault(group, set()).add(value)
        known = list(sets.values())
        if any(not a & b for i, a in enumerate(known) for b in known[:i]):
            found.setdefault(field.factor, []).append(field.name)
    return found
