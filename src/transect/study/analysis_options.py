"""What a study file asks of an analysis, checked when the study is planned: hours before the
analysis runs, without importing it.

An analysis declares its options as literals: OPTIONS {name: default} of the whole and OWN {name:
default} of each of its outcomes (... marks one that must be given). Names of options, of metrics
and of the columns that factors and groups read are compared with what there is. An analysis that
declares no OPTIONS is not checked.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from transect.errors import InputError, nearest
from transect.registry.query import UNKNOWN, not_held
from transect.stats.formula.notation import column_of, parse
from transect.store.units import Unit
from transect.study.entry_names import by_stimuli
from transect.study.grid import Entry
from transect.study.outcome import Outcome, read_options, read_outcome

TERMS = ("factors", "adjust", "slopes")  # options that hold terms of a formula
COLUMNS = (
    "by",
    "match",
    "items_by",
    "influence",
    "size",
    "balance",
    "sets",
)  # and names of columns
METRICS = ("against", "sequences")  # and metrics of the outcome's measure
MEASURED = {
    *(
        "measure",
        "metric",
        "stimuli",
        "entry",
        "item",
        "region",
        "word",
        "position",
        "layer",
        "head",
    ),
    *("run", "role", "revision", "step", "tokens_seen"),
}


def check_analysis(
    analysis: Unit,
    given: Mapping[str, Any],
    entries: Sequence[Entry],
    factors: Collection[str],
    place: str,
) -> None:
    """Raise InputError for an option, metric, entry or column that `analysis` does not know, and
    for a required one that is missing.

    given: the options of the study's line; entries: the measures that it takes; factors: the
    columns of the registry.
    """
    if "OPTIONS" not in analysis.declared:
        return
    known = {*factors, *MEASURED}
    place = f"{place}: {analysis.name}"
    chosen = read_options(given, analysis["OPTIONS"], place)
    for name, value in chosen.items():
        _check_option(name, value, known, place)
    outcomes = chosen.get("outcomes", [])
    if not isinstance(outcomes, list) or not all(isinstance(o, Mapping) for o in outcomes):
        raise InputError(
            f"{place}: outcomes must be a list of mappings such as {{measure: ..., metric: ...}}"
        )
    for number, spec in enumerate(outcomes, start=1):
        here = f"{place}, outcome {number}"
        outcome, own = read_outcome(spec, analysis.get("OWN", {}), here)
        _check_outcome(outcome, own, entries, known, here)


def _check_outcome(
    outcome: Outcome,
    own: Mapping[str, Any],
    entries: Sequence[Entry],
    known: Collection[str],
    place: str,
) -> None:
    """One outcome of an analysis; own: the options that the analysis has of each."""
    for name, value in own.items():
        _check_option(name, value, known, place)
    _check_columns(outcome.where, known, f"{place}: where")
    _check_entry(outcome, by_stimuli(entries, outcome.measure), place)
    measures = {entry.measure.name: entry.measure for entry in entries}
    for metric in [outcome.metric, *(own[name] for name in METRICS if own.get(name))]:
        _check_metric(outcome.measure, metric, measures, place)


def check_where(
    outcomes: Iterable[Any],
    held: Mapping[str, Collection[Any]],
    entries: Sequence[Entry],
    place: str,
) -> None:
    """Raise InputError for an outcome that speaks of what the study does not have: it would
    silently speak of less, or of nothing.

    held: column of the registry -> the values that the study's runs have.
    """
    for number, outcome in enumerate((o for o in outcomes if isinstance(o, Mapping)), start=1):
        here = f"{place}, outcome {number}"
        _check_values(outcome.get("where", {}), held, f"{here}: where")
        sets = by_stimuli(entries, str(outcome.get("measure")))
        stimuli = outcome.get("stimuli")
        if stimuli and sets and stimuli not in sets:
            raise InputError(
                f"{here}: the study does not take {outcome['measure']} on the stimuli {stimuli!r}; it takes it on "
                f"{', '.join(sorted(sets))}.{nearest(stimuli, sets)}"
            )


def _check_values(where: Any, held: Mapping[str, Collection[Any]], place: str) -> None:
    """The values that an outcome is restricted to are those of some run."""
    if not isinstance(where, Mapping):
        return
    for column, values in where.items():
        for value in _as_list(values) if column in held else ():
            if value == UNKNOWN:
                continue
            if fault := not_held(column, value, held, "no run of the study"):
                raise InputError(f"{place}: {fault}")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_option(name: str, value: Any, known: Collection[str], place: str) -> None:
    """The columns that an option names are known ones."""
    values = [] if value is None else _as_list(value)
    if name in TERMS:
        try:
            terms = parse("value ~ " + " + ".join(map(str, values or ["1"]))).fixed
        except InputError as error:
            raise InputError(f"{place}: {name}: {error}") from None
        values = [column_of(variable) for term in terms for variable in term]
    elif name == "groups" and isinstance(value, Mapping):
        values = [column for column in value.values() if column is not None]
    elif name not in COLUMNS:
        return
    _check_columns(values, known, f"{place}: {name}")


def _check_columns(names: Iterable[Any], known: Collection[str], place: str) -> None:
    for name in names:
        # conditions of items are known once they are made
        if name not in known and not str(name).startswith("item_"):
            raise InputError(
                f"{place}: no run and no measure has a column '{name}'.{nearest(str(name), known)}"
            )


def _check_entry(outcome: Outcome, names: Mapping[str, list[str]], place: str) -> None:
    """names: stimulus set -> the entries of the outcome's measure on it."""
    chosen = {s: names[s] for s in names if outcome.stimuli in (None, s)}
    known = list(dict.fromkeys(filter(None, itertools.chain(*chosen.values()))))
    for name in outcome.entry:
        if name not in known:
            raise InputError(
                f"{place}: the study has no entry {name!r} of {outcome.measure}; it has {', '.join(known) or 'one, without a name'}."
                f"{nearest(name, known)}"
            )
    if outcome.entry:
        return
    for stimuli, entries in chosen.items():
        if len(entries) > 1:
            raise InputError(
                f"{place}: {' on '.join(filter(None, (outcome.measure, stimuli)))} stands {len(entries)} times in the study; say which is "
                f"meant with `entry`: {', '.join(map(repr, entries))}."
            )


def _check_metric(measure: str, metric: str, measures: Mapping[str, Unit], place: str) -> None:
    unit = measures.get(measure)
    listed = unit["UNIT"] if unit is not None else None
    if isinstance(listed, Mapping) and metric not in listed:
        raise InputError(
            f"{place}: measure '{measure}' has no metric '{metric}'; it has {', '.join(listed)}.{nearest(metric, listed)}"
        )


def with_bounds(given: Mapping[str, Any], measures: Mapping[str, Unit]) -> dict[str, Any]:
    """The options of an analysis, each of its outcomes with the bounds that its measure declares of
    the metric (BOUNDS).

    What is no outcome of one of the measures (a user's own analysis may list anything) stays as it
    is.
    """

    def bound(outcome: Any) -> Any:
        unit = measures.get(outcome.get("measure", "")) if isinstance(outcome, Mapping) else None
        declared = unit.get("BOUNDS", {}).get(outcome.get("metric")) if unit else None
        return {"bounds": declared} | dict(outcome) if declared else outcome

    outcomes = given.get("outcomes")
    if not isinstance(outcomes, list):
        return dict(given)
    return dict(given) | {"outcomes": [bound(outcome) for outcome in outcomes]}
