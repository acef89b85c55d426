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
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Candidates:
    """Runs that are not sampled, and what each would cost: seconds of a core, bytes to download."""

    runs: Sequence[Run]
    seconds: Sequence[float]
    sizes: Sequence[int]


@dataclass(frozen=True)
class _Question:
    """What is asked of the sample: terms, which of their factors are numbers, and nuisances."""

    terms: list[str]
    numeric: list[str]
    nuisance: list[str]

    def best(
        self, here: pd.DataFrame, candidates: pd.DataFrame, k: int, criterion: str
    ) -> list[augmentation.Addition]:
        """The k additions to `here` that bring most."""
        return augmentation.rank(
            here, candidates, self.terms, self.numeric, self.nuisance, k=k, criterion=criterion
        )


def suggestions(
    study: Study,
    check: DesignCheck,
    pool: Candidates,
    tokens: Mapping[str, int],
    k: int,
    criterion: str,
    contrasts: Sequence[str],
) -> dict[str, Any]:
    """JSON: the terms, `existing` runs and `untrained` designs, best first. Raises InputError for
    an unknown factor.
    """
    both = factor_table([*check.runs, *pool.runs], study.registry, tokens, sample=check.runs)
    here = both.frame.iloc[: len(check.runs)]
    there = both.frame.iloc[len(check.runs) :].reset_index(drop=True)
    terms = in_question(study, check, both, contrasts)
    factors = {factor for term in terms for factor in term.split(":")}
    question = _question(terms, factors, both)
    allowed = _comparable(study, check, pool.runs, factors)
    places = np.flatnonzero(allowed)
    existing = []
    for addition in question.best(here, there[allowed], k, criterion):
        row = int(places[addition.row])
        new_levels = _fresh(here, there.iloc[row], both)
        existing.append(_gain(addition, terms) | _run(pool, row) | {"brings": new_levels})
    designs = untrained(both, here, there, sorted(factors - set(SEEDS)))
    added = question.best(here, designs, k, criterion) if len(designs) else []
    return {
        "terms": terms,
        "criterion": criterion,
        "known_now": augmentation.estimability(here, terms, question.numeric, question.nuisance),
        "existing": existing,
        "untrained": [_gain(a, terms) | _design(designs.iloc[a.row], both, here) for a in added],
        "not_comparable": int((~allowed).sum()),
        "not_ranked": int((allowed & ~_usable(there, factors).to_numpy()).sum()),
    }


def _question(terms: list[str], factors: set[str], both: FactorTable) -> _Question:
    """The terms, and all other factors as nuisances; so is what the seeds of a configuration share,
    its replicates.
    """
    others = [n for n in both.factors if n not in {*factors, *both.numeric, *SEEDS}]
    numeric = [n for n in both.numeric if n in factors]
    return _Question(terms, numeric, [*others, "family", "configuration"])


def _run(pool: Candidates, row: int) -> dict[str, Any]:
    """A run of the registry and its cost."""
    return {
        "run": pool.runs[row].id,
        "suite": pool.runs[row].suite,
        "download_gb": round(pool.sizes[row] / 1e9, 3),
        "cpu_hours": round(pool.seconds[row] / 3600, 3),
    }


def _comparable(
    study: Study, check: DesignCheck, pool: Sequence[Run], factors: set[str]
) -> np.ndarray:
    """Which runs can be compared: some measure applies, and the objective is a sampled one, if it
    is not in question itself.

    What masked and causal models are scored by are two quantities.
    """
    objectives = {field_value(run, "objective") for run in check.runs}

    def is_comparable(run: Run) -> bool:
        applies = any(not not_applicable(run, entry) for entry in study.entries)
        return applies and ("objective" in factors or field_value(run, "objective") in objectives)

    return np.array([is_comparable(run) for run in pool], dtype=bool)


def in_question(
    study: Study, check: DesignCheck, both: FactorTable, contrasts: Sequence[str]
) -> list[str]:
    """The terms, in names of design factors; a term of a seed or of a field that expresses no
    factor is left out.
    """
    for contrast in contrasts:
        if not set(contrast.split(":")) <= set(both.factors):
            raise InputError(
                f"--contrast: {contrast!r} is no design factor of this sample; there are: {', '.join(both.factors)}."
                f"{nearest(contrast, both.factors)}"
            )
    wanted = list(contrasts) or study.data.get("design", {}).get("terms", [])
    terms = [_in_factors(term, study, both) for term in wanted]
    terms = [term for term in dict.fromkeys(terms) if term] or _varying(check) or ["size"]
    # an interaction needs its factors
    mains = [factor for term in terms for factor in term.split(":")]
    return list(dict.fromkeys([*mains, *terms]))


def _in_factors(term: str, study: Study, both: FactorTable) -> str:
    """A term of factors and fields in design factors; "" where one expresses none, or a seed."""
    fields = study.registry.fields
    parts = [
        name if name in both.factors or name not in fields else fields[name].factor
        for name in term.split(":")
    ]
    if not set(parts) <= set(both.factors) - set(SEEDS):
        return ""
    return ":".join(dict.fromkeys(map(str, parts)))


def _varying(check: DesignCheck) -> list[str]:
    """Every factor of which the sample has several levels, if it says what a model is."""
    uninteresting = (*SEEDS, "training_details", "modality")
    return [f.factor for f in check.factors if f.n_levels > 1 and f.factor not in uninteresting]


def _usable(there: pd.DataFrame, factors: set[str]) -> pd.Series:
    return pd.concat([aliasing.known(there[n]) for n in sorted(factors)], axis=1).all(axis=1)


def _gain(addition: augmentation.Addition, terms: Sequence[str]) -> dict[str, Any]:
    return {
        "d_gain": addition.d_gain,
        "d_efficiency_gain": addition.d_gain / max(len(terms), 1),
        "a_gain": addition.a_gain,
        "resolved": list(addition.resolved),
    }


def _fresh(here: pd.DataFrame, row: pd.Series, both: FactorTable) -> list[str]:
    """The factors of which a run has a value that no sampled run has."""
    names = [n for n in both.factors if n not in (*SEEDS, *both.numeric)]
    return [n for n in names if row[n] != "unknown" and row[n] not in set(here[n])]


def untrained(
    both: FactorTable, here: pd.DataFrame, there: pd.DataFrame, factors: Sequence[str]
) -> pd.DataFrame:
    """Sampled runs with one factor changed to a level of another run, where no run of the registry
    is like that.

    Columns of the factors, and `like` (the sampled run), `changed` (the factor). A number is
    changed to three times the largest sampled.
    """
    identity = [n for n in both.factors if n not in SEEDS]
    whole = pd.concat([here, there], ignore_index=True)
    distinct = here.drop_duplicates(identity)
    designs = []
    for factor in factors:
        levels = _new_levels(factor, both, here, whole)
        for _, run in distinct.iterrows():
            designs += [
                dict(run) | {factor: level, "like": run["run"], "changed": factor}
                for level in _possible(levels, factor, run, both, whole)
            ]
    if not designs:
        return pd.DataFrame(columns=[*whole.columns, "like", "changed"])
    fresh = _without_trained(pd.DataFrame(designs).drop_duplicates(identity), both, whole)
    # a model that would be trained is a configuration of its own
    return fresh.assign(configuration=[f"untrained-{i}" for i in range(len(fresh))])


def _without_trained(designs: pd.DataFrame, both: FactorTable, whole: pd.DataFrame) -> pd.DataFrame:
    """The designs that no run of the registry has."""
    plain = [n for n in both.factors if n not in {*SEEDS, *both.numeric}]
    trained = {key: part for key, part in whole.groupby([whole[n].astype(str) for n in plain])}
    fresh = [not _exists(row, trained, plain, both.numeric) for _, row in designs.iterrows()]
    return designs[fresh].reset_index(drop=True)


def _new_levels(
    factor: str, both: FactorTable, here: pd.DataFrame, whole: pd.DataFrame
) -> list[Any]:
    """The levels that an untrained design could take: the most frequent ones; of a number three
    times the largest sampled.
    """
    if factor in both.numeric:
        largest = float(here[factor].max())
        return [] if pd.isna(largest) else [largest * 3]
    values = whole.loc[aliasing.known(whole[factor]), factor]
    return values.value_counts().index[:ELSEWHERE].tolist()


def _possible(
    levels: list[Any], factor: str, run: pd.Series, both: FactorTable, whole: pd.DataFrame
) -> list[Any]:
    """Those of the levels that a run like this one, but of another level, could have."""
    others = [level for level in levels if level != run[factor]]
    if factor in both.numeric:
        return others
    near = whole
    if factor in OF_A_LANGUAGE and "language" in whole:
        # a corpus and a tokenizer are of a language: no English corpus for a Spanish model
        near = whole[whole["language"] == run["language"]]
    present = set(near[factor])
    return [level for level in others if level in present and "?" not in level]


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
    """An untrained design: what it changes in which run, and what it costs."""
    flop = None
    if {"size", "amount"} <= set(row.index):
        flop = 6 * float(row["size"]) * float(row["amount"])
    return {
        "like": row["like"],
        "changed": row["changed"],
        "to": _level_text(row, both, here),
        "training_flop": None if pd.isna(flop) else flop,
    }


def _level_text(row: pd.Series, both: FactorTable, here: pd.DataFrame) -> str:
    """The changed level as a reader knows it; in full where the short form is that of the run too."""
    factor, level = row["changed"], row[row["changed"]]
    text = number(float(level)) if factor in both.numeric else both.label(factor, level)
    before = here.loc[here["run"] == row["like"], factor].iloc[0]
    return str(level) if text == both.label(factor, before) else text


def text(advice: Mapping[str, Any]) -> list[str]:
    """The lists, then what they mean."""
    known = ", ".join(f"{name(term)} {share:.0%}" for term, share in advice["known_now"].items())
    criterion = advice["criterion"]
    lines = [
        f"Contrasts in question, and how much of each (its worst contrast) this sample tells: {known}.",
        "",
        "Runs of the registry, each given those above it:",
        *(f"{i:2}. {_run_text(row, criterion)}." for i, row in enumerate(advice["existing"], 1)),
        "",
        "Models that nobody has trained, as far as the registry knows:",
        *(
            f"{i:2}. {_design_text(row, criterion)}."
            for i, row in enumerate(advice["untrained"], 1)
        ),
        "",
        f"Gain: {_meaning(criterion)}. What is not in question counts as a nuisance as large as the error.",
    ]
    if advice["not_ranked"]:
        lines.append(
            f"{advice['not_ranked']} runs are not ranked: a factor in question is unknown of them."
        )
    if advice["not_comparable"]:
        lines.append(
            f"{advice['not_comparable']} runs are left out: no measure applies, or they have another objective, which is not in question."
        )
    return lines


def _run_text(row: Mapping[str, Any], criterion: str) -> str:
    brings = f"; brings another {listed(map(name, row['brings']))}" if row["brings"] else ""
    cost = f"{row['download_gb']:.3g} GB, {row['cpu_hours']:.3g} core hours"
    return (
        f"{row['run']} ({row['suite']}): {_amount(row, criterion)}, {cost}{_resolved(row)}{brings}"
    )


def _design_text(row: Mapping[str, Any], criterion: str) -> str:
    flop = row["training_flop"]
    cost = f", about {flop:.1e} operations to train" if flop else ""
    change = f"{name(row['changed'])} {row['to']}"
    return f"as {row['like']}, but {change}: {_amount(row, criterion)}{cost}{_resolved(row)}"


def _resolved(row: Mapping[str, Any]) -> str:
    return f"; makes {listed(map(name, row['resolved']))} estimable" if row["resolved"] else ""


def _amount(row: Mapping[str, Any], criterion: str) -> str:
    return f"gain {row['d_gain' if criterion == 'D' else 'a_gain']:.3g}"


def _meaning(criterion: str) -> str:
    if criterion == "D":
        return "by how much the log determinant of the information on these contrasts grows (D-criterion)"
    return (
        "by how much the summed variance of these contrasts falls, in error variances (A-criterion)"
    )
