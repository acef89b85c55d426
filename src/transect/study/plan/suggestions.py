"""What would teach most: runs of the registry, and designs of models that nobody has trained, by
what they add (stats/design/augmentation.py).

The contrasts in question are the terms of the study's `design` (a field counts for the design
factor that it expresses), those that the user names, or else every factor that the sample varies.
All other factors are nuisances, so that a run which brings many new things along gains little. An
untrained design is a sampled run with one factor at a level that the registry has elsewhere, and
that no run of the registry combines so: "as pythia-160m, but language spa". What it would cost is
told as 6 N D operations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.registry.run import Run
from transect.stats.design import aliasing, augmentation
from transect.study.grid import not_applicable
from transect.study.plan.check import DesignCheck
from transect.study.plan.factors import SEEDS, FactorTable, factor_table, field_value
from transect.study.plan.text import listed, name, number
from transect.study.study_file import Study

LIKE = 1.25  # a size or an amount within this ratio of another is the same design
OF_A_LANGUAGE = ("corpus", "tokenizer")
ELSEWHERE = (
    12  # levels of a factor, the most frequent ones of the registry, that untrained designs take
)


def suggestions(
    study: Study,
    check: DesignCheck,
    pool: Sequence[Run],
    prices: Sequence[float],
    sizes: Sequence[int],
    tokens: Mapping[str, int],
    k: int,
    criterion: str,
    contrasts: Sequence[str],
) -> dict[str, Any]:
    """JSON: the terms, `existing` runs and `untrained` designs, best first. Raises InputError for
    an unknown factor.
    """
    both = factor_table([*check.runs, *pool], study.registry, tokens, sample=check.runs)
    here = both.frame.iloc[: len(check.runs)]
    there = both.frame.iloc[len(check.runs) :].reset_index(drop=True)
    terms = in_question(study, check, both, contrasts)
    factors = {n for term in terms for n in term.split(":")}
    numeric = [n for n in both.numeric if n in factors]
    nuisance = [
        n for n in both.factors if n not in factors and n not in both.numeric and n not in SEEDS
    ] + ["family"]
    # the seeds of a configuration are its replicates: what they share is one more nuisance
    nuisance = [*nuisance, "configuration"]
    allowed = _comparable(study, check, pool, factors)
    ranked = augmentation.rank(
        here, there[allowed], terms, numeric, nuisance, k=k, criterion=criterion
    )
    places = np.flatnonzero(allowed)
    ranked = [replace(a, row=int(places[a.row])) for a in ranked]
    existing = [
        _gain(a, terms)
        | {
            "run": pool[a.row].id,
            "suite": pool[a.row].suite,
            "download_gb": round(sizes[a.row] / 1e9, 3),
            "cpu_hours": round(prices[a.row] / 3600, 3),
            "brings": _fresh(here, there.iloc[a.row], both),
        }
        for a in ranked
    ]
    designs = untrained(check, both, here, there, sorted(factors - set(SEEDS)))
    added = (
        augmentation.rank(here, designs, terms, numeric, nuisance, k=k, criterion=criterion)
        if len(designs)
        else []
    )
    return {
        "terms": terms,
        "criterion": criterion,
        "known_now": augmentation.estimability(here, terms, numeric, nuisance),
        "existing": existing,
        "untrained": [_gain(a, terms) | _design(designs.iloc[a.row], both, here) for a in added],
        "not_comparable": int((~allowed).sum()),
        "not_ranked": int((allowed & ~_usable(there, factors).to_numpy()).sum()),
    }


def _comparable(
    study: Study, check: DesignCheck, pool: Sequence[Run], factors: set[str]
) -> np.ndarray:
    """Which runs can be compared: some measure applies, and the objective is a sampled one, if it
    is not in question itself.

    What masked and causal models are scored by are two quantities.
    """
    objectives = {field_value(r, "objective") for r in check.runs}
    return np.array(
        [
            any(not not_applicable(r, entry) for entry in study.entries)
            and ("objective" in factors or field_value(r, "objective") in objectives)
            for r in pool
        ],
        dtype=bool,
    )


def in_question(
    study: Study, check: DesignCheck, both: FactorTable, contrasts: Sequence[str]
) -> list[str]:
    """The terms, in names of design factors; a term of a seed or of a field that expresses no
    factor is left out.
    """
    for asked in contrasts:
        if not set(asked.split(":")) <= set(both.factors):
            raise InputError(
                f"--contrast: {asked!r} is no design factor of this sample; there are: {', '.join(both.factors)}."
                f"{nearest(asked, both.factors)}"
            )
    given = list(contrasts) or study.data.get("design", {}).get("terms", [])
    terms = []
    for term in given:
        parts = [
            n if n in both.factors else f.factor if (f := study.registry.fields.get(n)) else None
            for n in term.split(":")
        ]
        if all(p in both.factors and p not in SEEDS for p in parts):
            terms.append(":".join(dict.fromkeys(str(p) for p in parts)))
    varying = [
        f.factor
        for f in check.factors
        if f.n_levels > 1 and f.factor not in (*SEEDS, "training_details", "modality")
    ]
    found = list(dict.fromkeys(terms)) or varying or ["size"]
    # an interaction needs its factors
    return list(dict.fromkeys([*(p for t in found for p in t.split(":")), *found]))


def _usable(there: pd.DataFrame, factors: set[str]) -> pd.Series:
    return pd.concat([aliasing.known(there[n]) for n in sorted(factors)], axis=1).all(axis=1)


def _gain(a: augmentation.Addition, terms: Sequence[str]) -> dict[str, Any]:
    return {
        "d_gain": a.d_gain,
        "d_efficiency_gain": a.d_gain / max(len(terms), 1),
        "a_gain": a.a_gain,
        "resolved": list(a.resolved),
    }


def _fresh(here: pd.DataFrame, row: pd.Series, both: FactorTable) -> list[str]:
    """The factors of which a run has a value that no sampled run has."""
    names = [n for n in both.factors if n not in (*SEEDS, *both.numeric)]
    return [n for n in names if row[n] != "unknown" and row[n] not in set(here[n])]


def untrained(
    check: DesignCheck,
    both: FactorTable,
    here: pd.DataFrame,
    there: pd.DataFrame,
    factors: Sequence[str],
) -> pd.DataFrame:
    """Sampled runs with one factor changed to a level of another run, where no run of the registry
    is like that.

    Columns of the factors, and `like` (the sampled run), `changed` (the factor). A number is
    changed to three times the largest sampled.
    """
    design = [n for n in both.factors if n not in SEEDS]
    whole = pd.concat([here, there], ignore_index=True)
    plain = [n for n in design if n not in both.numeric]
    made = []
    for factor in factors:
        values = whole.loc[aliasing.known(whole[factor]), factor]
        if factor in both.numeric:
            top = float(here[factor].max())
            levels: list[Any] = [top * 3] if pd.notna(top) else []
        else:
            levels = values.value_counts().index[:ELSEWHERE].tolist()
        for _, run in here.drop_duplicates(design).iterrows():
            # a corpus and a tokenizer are of a language: no English corpus for a Spanish model
            near = (
                whole[whole["language"] == run["language"]]
                if factor in OF_A_LANGUAGE and "language" in whole
                else whole
            )
            own = (
                levels
                if factor in both.numeric
                else [v for v in levels if v in set(near[factor]) and "?" not in v]
            )
            made += [
                dict(run) | {factor: v, "like": run["run"], "changed": factor}
                for v in own
                if v != run[factor]
            ]
    if not made:
        return pd.DataFrame(columns=[*whole.columns, "like", "changed"])
    designs = pd.DataFrame(made).drop_duplicates(design).reset_index(drop=True)
    trained = {key: part for key, part in whole.groupby([whole[n].astype(str) for n in plain])}
    fresh = [not _exists(row, trained, plain, both.numeric) for _, row in designs.iterrows()]
    designs = designs[fresh].reset_index(drop=True)
    # a model that would be trained is a configuration of its own
    return designs.assign(configuration=[f"untrained-{i}" for i in range(len(designs))])


def _exists(
    row: pd.Series,
    trained: Mapping[Any, pd.DataFrame],
    plain: Sequence[str],
    numeric: Sequence[str],
) -> bool:
    """Whether the registry has a run of the same levels and about this size and amount."""
    key = tuple(str(row[n]) for n in plain)
    part = trained.get(key if len(plain) > 1 else key[0])
    if part is None:
        return False
    near = pd.Series(True, index=part.index)
    for n in numeric:
        ratio = part[n].astype(float) / float(row[n])
        near &= ratio.between(1 / LIKE, LIKE) | ratio.isna()
    return bool(near.any())


def _design(row: pd.Series, both: FactorTable, here: pd.DataFrame) -> dict[str, Any]:
    factor, value = row["changed"], row[row["changed"]]
    told = number(float(value)) if factor in both.numeric else both.label(factor, value)
    if told == both.label(
        factor, here.loc[here["run"] == row["like"], factor].iloc[0]
    ):  # they differ in what the label leaves out
        told = str(value)
    flop = (
        6 * float(row["size"]) * float(row["amount"])
        if {"size", "amount"} <= set(row.index)
        else float("nan")
    )
    return {
        "like": row["like"],
        "changed": factor,
        "to": told,
        "training_flop": None if pd.isna(flop) else flop,
    }


def text(found: Mapping[str, Any]) -> list[str]:
    """The lists, then what they mean."""
    known = ", ".join(f"{name(t)} {share:.0%}" for t, share in found["known_now"].items())
    lines = [
        f"Contrasts in question, and how much of each (its worst contrast) this sample tells: {known}.",
        "",
        "Runs of the registry, each given those above it:",
    ]
    for i, row in enumerate(found["existing"], 1):
        brings = f"; brings another {listed(map(name, row['brings']))}" if row["brings"] else ""
        resolved = (
            f"; makes {listed(map(name, row['resolved']))} estimable" if row["resolved"] else ""
        )
        lines.append(
            f"{i:2}. {row['run']} ({row['suite']}): {_amount(row, found['criterion'])}, {row['download_gb']:.3g} GB, {row['cpu_hours']:.3g} core hours{resolved}{brings}."
        )
    lines += ["", "Models that nobody has trained, as far as the registry knows:"]
    for i, row in enumerate(found["untrained"], 1):
        flop = (
            f", about {row['training_flop']:.1e} operations to train"
            if row["training_flop"]
            else ""
        )
        resolved = (
            f"; makes {listed(map(name, row['resolved']))} estimable" if row["resolved"] else ""
        )
        lines.append(
            f"{i:2}. as {row['like']}, but {name(row['changed'])} {row['to']}: {_amount(row, found['criterion'])}{flop}{resolved}."
        )
    lines += [
        "",
        f"Gain: {_meaning(found['criterion'])}. What is not in question counts as a nuisance as large as the error.",
    ]
    if found["not_ranked"]:
        lines.append(
            f"{found['not_ranked']} runs are not ranked: a factor in question is unknown of them."
        )
    if found["not_comparable"]:
        lines.append(
            f"{found['not_comparable']} runs are left out: no measure applies, or they have another objective, which is not in question."
        )
    return lines


def _amount(row: Mapping[str, Any], criterion: str) -> str:
    return f"gain {row['d_gain']:.3g}" if criterion == "D" else f"gain {row['a_gain']:.3g}"


def _meaning(criterion: str) -> str:
    return (
        "by how much the log determinant of the information on these contrasts grows (D-criterion)"
        if criterion == "D"
        else (
            "by how much the summed variance of these contrasts falls, in error variances (A-criterion)"
        )
    )
