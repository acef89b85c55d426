"""An outcome: which measured rows an analysis speaks of, as one number per checkpoint or per item.

An analysis names its outcomes in the study file:
    name       label in tables and figures (default: measure, metric, and what is chosen of them)
    measure    a measure of the study          metric     one of its metrics
    stimuli    one stimulus set (default: all that the measure was given)
    entry      the name of an entry, where the measure stands several times in the study with other options; a list of them is
               for entries that complete each other, and for an analysis that compares them (by: or
               sets: entry)
    item       one item or a list of items     where      {column: value or list}: any condition or registry column
    reduce     mean (default): over items; max_head: mean over items for each head, then the largest over layers and heads;
               max_min_head: smallest over items for each head, then the largest: a head that does
               it at every distance
    at         last (default), first, or a number of tokens (the last checkpoint that has seen no more)
    bounds     [least, most] that a value can take, null for none (default: what the measure declares as BOUNDS, by metric);
               every reduction keeps them, and so do the intervals of means
A masked model's pll_* metrics are another quantity than log-probabilities, so an outcome speaks of
models of one objective: masked for pll_* metrics, causal for all others, unless `objective` says so
(one, or a list of them for a measure that means the same under each, as attention does).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.registry.query import not_held
from transect.registry.run import UNKNOWN
from transect.stats.formula.notation import column_of
from transect.stats.inference.bounded import UNBOUNDED, Bounds, trials_of

CHECKPOINT = ["run", "revision", "step", "tokens_seen"]
REDUCTIONS = ["mean", "max_head", "max_min_head"]


@dataclass(frozen=True)
class Outcome:
    """See the head of the file."""

    name: str
    measure: str
    metric: str
    stimuli: str | None = None
    entry: tuple[str, ...] = ()
    item: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    reduce: str = "mean"
    at: str | int = "last"
    objective: str | Sequence[str] = "causal"
    bounds: Bounds = UNBOUNDED

    def select(
        self,
        measurements: pd.DataFrame,
        registry: pd.DataFrame,
        roles: Iterable[str] = ("population",),
    ) -> pd.DataFrame:
        """The measured rows of the outcome, without missing values.

        Raises InputError for an unknown metric or column, and for an item or a condition that was
        measured nowhere.
        """
        runs = self._runs(registry, roles)["run"]
        measured = measurements[measurements["measure"] == self.measure]
        self._check_held(measured[measured["metric"] == self.metric])
        rows = self._of_metric(measured[measured["run"].isin(runs)])
        if self.stimuli:
            rows = rows[rows["stimuli"] == self.stimuli]
        if "entry" in rows:
            rows = self._of_entry(rows)
        if self.item:
            rows = rows[rows["item"].isin(self.item)]
        for column, wanted in self.where.items():
            if column in rows:
                rows = rows[rows[column].isin(_levels(wanted, rows[column]))]
            elif column not in registry:
                known = sorted({*measurements.columns, *registry.columns})
                raise InputError(
                    f"outcome '{self.name}': 'where' names an unknown column '{column}'.{nearest(column, known)}"
                )
        return rows

    def _of_metric(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the metric, without missing values, of those of the measure."""
        of_metric = rows["metric"] == self.metric
        if len(rows) and not of_metric.any():
            known = sorted(rows["metric"].unique())
            raise InputError(
                f"outcome '{self.name}': measure '{self.measure}' has no metric '{self.metric}'; it has {', '.join(known)}.{nearest(self.metric, known)}"
            )
        return rows[of_metric & rows["value"].notna()]

    def _of_entry(self, rows: pd.DataFrame) -> pd.DataFrame:
        if self.entry:
            return rows[rows["entry"].isin(self.entry)]
        for stimuli, part in rows.groupby("stimuli")["entry"]:
            if part.nunique() > 1:
                raise InputError(
                    f"outcome '{self.name}': measure '{self.measure}' has several entries{f' on {stimuli}' if stimuli else ''}; say which with "
                    f"`entry`: {', '.join(map(repr, part.unique()))}"
                )
        return rows

    def _alone(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows; InputError where several entries meet at a checkpoint, so that a mean would mix
        them.
        """
        if len(self.entry) < 2:
            return rows
        entries = rows.groupby(["run", "revision", "stimuli"])["entry"].nunique()
        if (entries > 1).any():
            raise InputError(
                f"outcome '{self.name}': the entries {', '.join(map(repr, self.entry))} meet at a checkpoint, and this analysis would take "
                "their mean; name one of them, or compare them (acquisition_order with `sets: entry`)"
            )
        return rows

    def _check_held(self, rows: pd.DataFrame) -> None:
        """Raise InputError for an item, or a value of a measured column, that no row has: a
        misspelt one would silently be left out.
        """
        if rows.empty:
            return
        chosen = {column: self.where[column] for column in self.where if column in rows}
        chosen["item"] = self.item
        for column, wanted in chosen.items():
            values = _listed(wanted)
            known = set(rows[column].dropna().unique()) if values else set()
            for value in values:
                fault = not_held(column, value, {column: known}, f"no row of {self.measure}")
                if fault:
                    raise InputError(f"outcome '{self.name}': {fault}")

    def _runs(self, registry: pd.DataFrame, roles: Iterable[str]) -> pd.DataFrame:
        """The rows of the registry that the outcome speaks of."""
        runs = registry[registry["objective"].isin(_listed(self.objective))]
        if "role" in runs:
            runs = runs[runs["role"].isin(list(roles))]
        for column, wanted in self.where.items():
            if column in runs:
                chosen = runs[column].isin(_levels(wanted, runs[column]))
                if "role" in runs:
                    # a baseline has no size or layers: what is not known of it does not leave it out
                    unknown = runs[column].isna() | (runs[column] == UNKNOWN)
                    chosen |= unknown & (runs["role"] == "baseline")
                runs = runs[chosen]
        return runs

    def per_checkpoint(
        self,
        measurements: pd.DataFrame,
        registry: pd.DataFrame,
        roles: Iterable[str] = ("population",),
    ) -> pd.DataFrame:
        """One row per checkpoint: run, revision, step, tokens_seen, value, n_items, trials; sorted
        by run and tokens.

        trials: the rows behind a mean where every row of the outcome is right or wrong
        (bounded.py), else infinite.
        """
        rows = self._alone(self.select(measurements, registry, roles))
        if self.reduce in ("max_head", "max_min_head"):
            by_head = rows.groupby([*CHECKPOINT, "layer", "head"], dropna=False)["value"]
            heads = (by_head.mean() if self.reduce == "max_head" else by_head.min()).reset_index()
            values = heads.groupby(CHECKPOINT, dropna=False)["value"].max()
        else:
            values = rows.groupby(CHECKPOINT, dropna=False)["value"].mean()
        grouped = rows.groupby(CHECKPOINT, dropna=False)
        counted = self.reduce == "mean" and math.isfinite(trials_of(rows["value"], self.bounds))
        trials = grouped.size().astype(float) if counted else math.inf
        out = pd.DataFrame(
            {"value": values, "n_items": grouped["item"].nunique(), "trials": trials}
        ).reset_index()
        return out.sort_values(["run", "tokens_seen", "step"], ignore_index=True)

    def per_run(
        self,
        measurements: pd.DataFrame,
        registry: pd.DataFrame,
        roles: Iterable[str] = ("population",),
    ) -> pd.DataFrame:
        """One row per run: the checkpoint that `at` names, with every registry column joined."""
        return self._at(self.per_checkpoint(measurements, registry, roles), registry).merge(
            registry, on="run", how="left"
        )

    def per_item(
        self,
        measurements: pd.DataFrame,
        registry: pd.DataFrame,
        roles: Iterable[str] = ("population",),
        apart: Collection[str] = (),
    ) -> pd.DataFrame:
        """One row per run and item at the checkpoint that `at` names, with conditions and every
        registry column joined.

        apart: the columns by which the analysis tells rows apart; where `entry` is among them,
        entries may meet at a checkpoint.
        """
        rows = self.select(measurements, registry, roles)
        rows = rows if "entry" in apart else self._alone(rows)
        chosen = self._at(
            rows[CHECKPOINT].drop_duplicates().sort_values(["run", "tokens_seen", "step"]), registry
        )
        conditions = [c for c in rows if c.startswith("item_")]
        rows = rows.merge(chosen[["run", "revision"]], on=["run", "revision"])
        keys = [*CHECKPOINT, "stimuli", *(["entry"] if "entry" in rows else []), "item"]
        out = rows.groupby(keys, dropna=False)[["value", *conditions]].agg(
            {"value": "mean"} | dict.fromkeys(conditions, "first")
        )
        return out.reset_index().merge(registry, on="run", how="left")

    def _at(self, checkpoints: pd.DataFrame, registry: pd.DataFrame) -> pd.DataFrame:
        """One checkpoint per run. A run whose last sampled checkpoint was not measured has no last
        one: it is left out.
        """
        if self.at == "last" and "last_revision" in registry:
            last = registry.set_index("run")["last_revision"]
            return checkpoints[checkpoints["revision"] == checkpoints["run"].map(last)]
        if self.at == "last":
            return checkpoints.groupby("run").tail(1)
        if self.at == "first":
            return checkpoints.groupby("run").head(1)
        return checkpoints[checkpoints["tokens_seen"] <= int(self.at)].groupby("run").tail(1)


def objective_of(metric: str) -> str:
    """The training objective of the models that an outcome speaks of where it does not say so."""
    return "masked" if metric.startswith("pll_") else "causal"


def label(spec: Mapping[str, Any]) -> str:
    """What an outcome is called in tables and figures: its name, or its measure and metric and what
    is chosen of them.
    """
    if spec.get("name"):
        return str(spec["name"])
    entries, items = _listed(spec.get("entry", [])), _listed(spec.get("item", []))
    parts = [spec["measure"], spec["metric"], *entries, *items, *spec.get("where", {}).values()]
    return " ".join(map(str, parts))


def read_outcome(
    spec: Mapping[str, Any], extra: Mapping[str, Any], place: str
) -> tuple[Outcome, dict[str, Any]]:
    """An outcome and the analysis's own options of it. `extra`: allowed own options -> default (...
    = required).
    """
    missing = {"measure", "metric"} - set(spec)
    if missing:
        raise InputError(
            f"{place}: an outcome needs {' and '.join(sorted(missing))}; given: {', '.join(map(str, spec))}"
        )
    own = {field.name for field in fields(Outcome)}
    chosen, others = {}, {}
    for name, value in spec.items():
        if name in own:
            chosen[name] = value
        else:
            others[name] = value
    options = read_options(others, extra, place, also=own)
    for several in ("entry", "item"):
        names = _listed(chosen.get(several, []))
        chosen[several] = tuple(map(str, names))
    chosen["name"] = label(chosen)
    chosen.setdefault("objective", objective_of(chosen["metric"]))
    _check_reduction(chosen, place)
    bounds = chosen.get("bounds", [None, None])
    chosen["bounds"] = _bounds(bounds, place)
    return Outcome(**chosen), options


def _check_reduction(chosen: Mapping[str, Any], place: str) -> None:
    """`reduce` and `at` are ones that there are."""
    reduce, at_tokens = chosen.get("reduce", "mean"), chosen.get("at", 0)
    if reduce not in REDUCTIONS:
        raise InputError(
            f"{place}: unknown reduce '{reduce}'; allowed: {', '.join(REDUCTIONS)}.{nearest(reduce, REDUCTIONS)}"
        )
    if not isinstance(at_tokens, int) and at_tokens not in ("last", "first"):
        raise InputError(f"{place}: 'at' is last, first or a number of tokens, not '{at_tokens}'")


def _bounds(pair: Any, place: str) -> Bounds:
    """A pair of numbers, infinite for None."""
    if isinstance(pair, list) and len(pair) == 2:
        if all(bound is None or isinstance(bound, int | float) for bound in pair):
            least, most = (
                default if bound is None else float(bound)
                for bound, default in zip(pair, UNBOUNDED, strict=True)
            )
            if least < most:
                return least, most
    raise InputError(
        f"{place}: 'bounds' is [least, most], each a number or null, e.g. [0, 1]; given: {pair}"
    )


def read_options(
    options: Mapping[str, Any], allowed: Mapping[str, Any], place: str, also: Iterable[str] = ()
) -> dict[str, Any]:
    """The options with their defaults; ... marks a required one. Raises InputError for unknown and
    missing ones.
    """
    known = sorted({*allowed, *also})
    for name in options:
        if name not in allowed:
            raise InputError(
                f"{place}: unknown option '{name}'; allowed: {', '.join(known)}.{nearest(name, known)}"
            )
    for name, default in allowed.items():
        if default is ... and name not in options:
            raise InputError(f"{place}: option '{name}' is missing")
    return {**allowed, **options}


def filled(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    """The rows (mappings or frames) as one table that has these columns even where nothing was
    measured; all others follow.
    """
    frames = [part for part in rows if isinstance(part, pd.DataFrame) and len(part)]
    if frames:
        table = pd.concat(frames, ignore_index=True)
    else:
        table = pd.DataFrame([row for row in rows if not isinstance(row, pd.DataFrame)])
    others = [column for column in table if column not in columns]
    return table.reindex(columns=[*columns, *others])


def with_known(frame: pd.DataFrame, terms: Iterable[str]) -> tuple[pd.DataFrame, str]:
    """The rows of which every number among the columns of the terms is known; a missing name is the
    level `unknown`.

    Second: how many rows were left out for which column, as the end of a sentence; empty where none
    was.
    """
    losses = []
    variables = [variable for term in terms for variable in term.split(":")]
    for column in dict.fromkeys(map(column_of, variables)):
        if column not in frame:
            continue  # whoever fits the terms says so
        known = frame[column].notna()
        if pd.api.types.is_numeric_dtype(frame[column]):
            if not known.all():
                losses.append(f"{int((~known).sum())} of unknown {column}")
            frame = frame[known]
        else:
            frame = frame.assign(**{column: frame[column].where(known, UNKNOWN)})
    return frame, f" (left out: {', '.join(losses)})" if losses else ""


def group_labels(frame: pd.DataFrame, by: Sequence[str], otherwise: str = "all runs") -> pd.Series:
    """The group of each row as text: the levels of `by`, a number with the name of its factor;
    `otherwise` without any.
    """
    if not by or frame.empty:
        return pd.Series(otherwise, index=frame.index, dtype=object)
    parts = []
    for column in by:
        values = frame[column]
        levels = values.astype(str).where(values.notna(), UNKNOWN)
        if pd.api.types.is_numeric_dtype(values):
            factor = column.replace("_", " ")
            levels = factor + " " + levels
        parts.append(levels)
    return pd.concat(parts, axis=1).agg(", ".join, axis=1)


def _levels(wanted: Any, column: pd.Series) -> list[Any]:
    """The wanted levels as the column writes them: true and false are names where some are unknown
    (jobs/gather.py).
    """
    levels = _listed(wanted)
    if pd.api.types.is_bool_dtype(column):
        return levels
    return [str(level).lower() if isinstance(level, bool) else level for level in levels]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
