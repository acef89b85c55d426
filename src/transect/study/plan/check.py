"""What a sample of runs can and cannot tell, before anything is computed: the design check of
`transect plan`.

For each design factor (design_factors.py): at which level it varies and over how many units of that
level; whether it can be judged: it must vary, over at least 3 units of its level (design.md), and
not follow from another factor (stats/design/aliasing.py); what varies with it; and which runs of the
registry would tell it apart (design_remedies.py). The seeds are judged against each other only:
their values mean nothing across configurations. A contrast of architectures that is one of
objectives is refused, and so is one of post-training between runs that are not parent and child.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from transect.registry.run import Run
from transect.registry.suites import Registry
from transect.stats.design import aliasing
from transect.study.plan.factors import (
    LEVELS,
    SEEDS,
    FactorTable,
    besides,
    factor_table,
    field_value,
)
from transect.study.plan.remedies import Pool, Remedy, remedies

FEW = 3  # units at its level, below which a factor cannot be judged
MANY = 400  # runs, above which aliases with at most 2 factors together are looked for, not 3
SHOWN = 5  # runs that a sentence lists before it is cut
PLURAL = {
    "family": "families",
    "suite": "suites",
    "configuration": "configurations",
    "run": "runs",
    "pair": "pairs of parent and child",
}
UNJUDGED = ("same", "explained")


@dataclass(frozen=True)
class FactorCheck:
    """One factor. `reason` says why it cannot be judged; empty where it can."""

    factor: str
    fields: tuple[str, ...]
    level: str
    n_units: int
    n_levels: int
    unknown: int
    value: str  # the one value of a factor that does not vary
    reason: str


@dataclass(frozen=True)
class DesignCheck:
    """The check of one sample; design_text.py says it in sentences.

    `besides`: factor -> factor -> fields that separate its levels; `alone`: factor -> groups of runs
    that differ in nothing else.
    """

    runs: tuple[Run, ...]
    table: FactorTable
    factors: tuple[FactorCheck, ...]
    aliases: tuple[aliasing.Alias, ...]
    by_form: tuple[tuple[str, str], ...]
    besides: Mapping[str, Mapping[str, list[str]]]
    alone: Mapping[str, list[pd.DataFrame]]
    remedies: tuple[Remedy, ...]
    refused: tuple[str, ...]

    def factor(self, name: str) -> FactorCheck:
        return next(f for f in self.factors if f.factor == name)

    def aliases_of(self, kind: str, factor: str | None = None) -> list[aliasing.Alias]:
        """The aliases of a kind (same, explained, partial, near), of one factor or of all."""
        return [a for a in self.aliases if a.kind == kind and factor in (None, a.factor)]

    @property
    def unjudged(self) -> list[str]:
        return [f.factor for f in self.factors if f.reason]


def check(
    runs: Sequence[Run],
    registry: Registry,
    *,
    tokens: Mapping[str, int] | None = None,
    within: Sequence[str] = (),
    pool: Sequence[Run] = (),
    prices: Sequence[float] = (),
) -> DesignCheck:
    """The check of `runs`. `within`: ids of runs that are sampled at several checkpoints; `tokens`:
    seen at each one's last.

    `pool`: the runs that could be added, `prices` what each would cost (any unit, ties are broken
    by it).
    """
    table = factor_table(runs, registry, tokens)
    aliases = _aliases(table, len(runs))
    reports = aliasing.factor_reports(table.frame, table.factors, LEVELS, table.numeric)
    factors = [_factor_check(report, table, aliases, runs, within) for report in reports]
    factors += [
        FactorCheck(seed, (), "", 0, 0, len(runs), "", "no run tells it")
        for seed in reversed(SEEDS)
        if seed not in table.factors
    ]
    varying = {report.factor for report in reports if report.varies}
    suggested: list[Remedy] = []
    if pool:
        candidates = Pool(runs, pool, registry, tokens, prices)
        suggested = _suggested(candidates, aliases, factors, runs, pool)
    configurations = table.frame.drop_duplicates("configuration")
    return DesignCheck(
        runs=tuple(runs),
        table=table,
        factors=tuple(factors),
        aliases=tuple(aliases),
        by_form=tuple(aliasing.told_by_form(configurations, _without_seeds(table), ["size"])),
        besides=_besides(varying, table, runs, registry),
        alone=_alone(varying, table),
        remedies=tuple(suggested),
        refused=tuple(_refused(aliases, runs, table)),
    )


def _without_seeds(table: FactorTable) -> list[str]:
    return [name for name in table.factors if name not in SEEDS]


def _categories(varying: Collection[str], table: FactorTable) -> list[str]:
    """The factors that vary and are neither numbers nor seeds."""
    names = _without_seeds(table)
    return [name for name in names if name in varying and name not in table.numeric]


def _aliases(table: FactorTable, n_runs: int) -> list[aliasing.Alias]:
    """The aliases of the factors, and those of the seeds among each other."""
    seeds = [seed for seed in SEEDS if seed in table.factors]
    among_factors = aliasing.aliases(
        table.frame,
        _without_seeds(table),
        table.numeric,
        levels=LEVELS[:-1],
        largest=3 if n_runs <= MANY else 2,
    )
    return among_factors + aliasing.aliases(table.frame, seeds)


def _besides(
    varying: Collection[str], table: FactorTable, runs: Sequence[Run], registry: Registry
) -> dict[str, dict[str, list[str]]]:
    """Of each category that varies, the fields of other factors that separate its levels."""
    skip = ("size", "amount", *SEEDS)
    separated = {}
    for name in _categories(varying, table):
        levels = dict(zip(table.frame["run"], table.frame[name], strict=True))
        separated[name] = besides(runs, levels, registry.fields, skip)
    return separated


def _alone(varying: Collection[str], table: FactorTable) -> dict[str, list[pd.DataFrame]]:
    """Of each category and seed that varies alone, the groups of runs in which it does."""
    seeds = [seed for seed in SEEDS if seed in varying]
    alone = {}
    for name in [*_categories(varying, table), *seeds]:
        others = [other for other in table.factors if other != name]
        groups = aliasing.alone(table.frame, name, others)
        if groups:
            alone[name] = groups
    return alone


def _suggested(
    candidates: Pool,
    aliases: Sequence[aliasing.Alias],
    factors: Sequence[FactorCheck],
    runs: Sequence[Run],
    pool: Sequence[Run],
) -> list[Remedy]:
    """What would help with the aliases, with too few units and with runs without parent."""
    wanting = {}
    for factor in factors:
        constant = factor.n_levels < 2
        too_few = constant or factor.n_units < FEW
        if too_few and factor.level != "checkpoint" and factor.factor != "post_training":
            wanting[factor.factor] = (factor.level, 1 if constant else FEW - factor.n_units)
    suggested = remedies(candidates, aliases, wanting)
    if any(f.factor == "post_training" and f.reason for f in factors):
        suggested.append(_kin(runs, pool))
    return suggested


def _factor_check(
    report: aliasing.FactorReport,
    table: FactorTable,
    aliases: Sequence[aliasing.Alias],
    runs: Sequence[Run],
    within: Sequence[str],
) -> FactorCheck:
    name, level, n_units = report.factor, report.level or "run", report.n_units
    fields = table.parts[name]
    if name == "amount" and within:
        n_runs = len(within)
        reason = _few(n_runs, "run") if n_runs < FEW else ""
        return FactorCheck(name, fields, "checkpoint", n_runs, 0, report.unknown, "", reason)
    if name == "post_training" and report.varies:
        level, n_units = "pair", len(pairs(runs))
    known = table.frame.loc[aliasing.known(table.frame[name]), name]
    if report.varies:
        value, reason = "", _too_little(level, n_units) or _inseparable(name, aliases)
    elif len(known):
        value, reason = table.label(name, known.iloc[0]), "it does not vary"
    else:
        value, reason = "", "it is not known for any run"
    return FactorCheck(name, fields, level, n_units, report.n_levels, report.unknown, value, reason)


def _too_little(level: str, n_units: int) -> str:
    """Why the units of a factor that varies are too few; empty where they are not."""
    if level == "pair" and not n_units:
        return "no run is sampled together with the run that it was trained from"
    return _few(n_units, level) if n_units < FEW else ""


def _inseparable(name: str, aliases: Sequence[aliasing.Alias]) -> str:
    """From which factors one cannot be separated at all; empty for a seed."""
    if name in SEEDS:
        return ""
    whole = [" and ".join(a.others) for a in aliases if a.factor == name and a.kind in UNJUDGED]
    return "it cannot be told from " + ", nor from ".join(whole) if whole else ""


def _kin(runs: Sequence[Run], pool: Sequence[Run]) -> Remedy:
    """A run that was trained from a sampled one, or from which a sampled one was trained:
    post-training is compared over such pairs.
    """
    ids = {run.id for run in runs}
    parents = {run.facts.get("parent") for run in runs}
    kin = [run.id for run in pool if run.facts.get("parent") in ids or run.id in parents]
    first = tuple(kin[:1])
    return Remedy("post_training", others=(), runs=first, brings=(), exact=True)


def _few(n: int, level: str) -> str:
    units = level if n == 1 else PLURAL[level]
    return f"it varies over {n} {units} only, fewer than {FEW}"


def pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """(parent, child) where both are among the runs: the only comparisons of post-training."""
    by_id = {run.id: run for run in runs}
    children = [run for run in runs if run.facts.get("parent") in by_id]
    return [(by_id[child.facts["parent"]], child) for child in children]


def refusal(factor: str, left: Sequence[Run], right: Sequence[Run]) -> str:
    """Why a contrast of two groups of runs is not one of this factor; empty where it may be read as
    such.

    Objective and architecture are two factors: a masked model against a causal one says nothing of
    architecture. Post-training compares a run with the one that it was trained from.
    """
    if factor == "architecture":
        return _across_objectives(left, right)
    if factor == "post_training":
        return _without_kin(left, right)
    return ""


def _across_objectives(left: Sequence[Run], right: Sequence[Run]) -> str:
    """Why two groups that share no known objective do not contrast architectures."""
    ours, theirs = (
        {field_value(run, "objective") or "unknown" for run in side} for side in (left, right)
    )
    if ours & theirs - {"unknown"}:
        return ""
    return (
        f"architecture is aliased with objective here: {', '.join(sorted(ours))} on one side, "
        f"{', '.join(sorted(theirs))} on the other, so a difference may be either's"
    )


def _without_kin(left: Sequence[Run], right: Sequence[Run]) -> str:
    """Why two groups do not contrast post-training: runs with neither parent nor child opposite."""
    strangers = [*_strangers(left, right), *_strangers(right, left)]
    if not strangers:
        return ""
    return f"post-training is compared between parent and child only, and {', '.join(strangers[:3])} has neither on the other side"


def _strangers(side: Sequence[Run], opposite: Sequence[Run]) -> list[str]:
    """The runs of one side without parent and without child on the other."""
    ids = {run.id for run in opposite}
    parents = {run.facts.get("parent") for run in opposite}
    return [run.id for run in side if run.facts.get("parent") not in ids and run.id not in parents]


def _refused(
    aliases: Sequence[aliasing.Alias], runs: Sequence[Run], table: FactorTable
) -> list[str]:
    """The contrasts of this sample that are not of the factor whose name they bear."""
    refused = []
    if any(_of_architecture_and_objective(alias) for alias in aliases):
        by_id = {run.id: run for run in runs}
        groups = [list(group["run"]) for _, group in table.frame.groupby("objective")]
        left, right = ([by_id[run] for run in group] for group in groups[:2])
        reason = refusal("architecture", left, right)
        if reason:
            refused.append(f"A contrast of architectures across objectives is refused: {reason}.")
    if "post_training" in table.parts and table.frame["post_training"].nunique() > 1:
        refused += _lone_runs(runs)
    return refused


def _lone_runs(runs: Sequence[Run]) -> list[str]:
    """A sentence on the runs that are sampled without parent and without child, if any are."""
    kin = pairs(runs)
    lone = [run.id for run in runs if not any(run in pair for pair in kin)]
    if not lone:
        return []
    further = f" and {len(lone) - SHOWN} more" if len(lone) > SHOWN else ""
    return [
        f"Post-training is compared between parent and child only ({len(kin)} pairs here), so it cannot be "
        f"compared over these: {', '.join(lone[:SHOWN])}{further}."
    ]


def _of_architecture_and_objective(alias: aliasing.Alias) -> bool:
    between = alias.factor == "architecture" and alias.others == ("objective",)
    return between and bool(alias.aliased)


def defects(runs: Sequence[Run], every: Sequence[Run]) -> dict[str, str]:
    """Run -> the reference of a defect that not all runs of the sample share."""
    holders = Counter(reason for run in every for reason in _known_defects(run))
    usual = {reason for reason, n in holders.items() if n > len(every) / 2}
    own = {run.id: _known_defects(run) - usual for run in runs}
    return {run: "; ".join(sorted(reasons)) for run, reasons in own.items() if reasons}


def _known_defects(run: Run) -> set[str]:
    """The reasons, with source, for which checkpoints of a run are excluded."""
    entries = run.facts.get("exclude_revisions", [])
    return {f"{entry['reason']} ({entry['source']})" for entry in entries if entry.get("source")}
