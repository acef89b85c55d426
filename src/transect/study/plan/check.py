"""What a sample of runs can and cannot tell, before anything is computed: the design check of
`transect plan`.

For each design factor (design_factors.py): at which level it varies and over how many units of that
level; whether it can be judged: it must vary, over at least 3 units of its level (design.md), and
not follow from another factor (stats/design/aliasing.py); what varies with it; and which runs of the
registry would tell it apart (design_remedies.py). The seeds are judged against each other only:
their values mean nothing across configurations. A contrast of architectures that is one of
objectives is refused, and so is one of post-training between runs that are not parent and child.
"""

from collections.abc import Mapping, Sequence
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
    """The check of one sample; design_text.py says it in sentences."""

    runs: tuple[Run, ...]
    table: FactorTable
    factors: tuple[FactorCheck, ...]
    aliases: tuple[aliasing.Alias, ...]
    by_form: tuple[tuple[str, str], ...]
    besides: Mapping[
        str, Mapping[str, list[str]]
    ]  # factor -> factor -> fields that tell its levels apart
    alone: Mapping[str, list[pd.DataFrame]]  # factor -> groups of runs that differ in nothing else
    remedies: tuple[Remedy, ...]
    refused: tuple[str, ...]

    def factor(self, name: str) -> FactorCheck:
        return next(f for f in self.factors if f.factor == name)

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
    frame, names = table.frame, table.factors
    design = [n for n in names if n not in SEEDS]
    numeric = [n for n in table.numeric if n in names]
    reports = {r.factor: r for r in aliasing.factor_reports(frame, names, LEVELS, numeric)}
    found = aliasing.aliases(
        frame, design, numeric, levels=LEVELS[:-1], largest=3 if len(runs) <= 400 else 2
    )
    found += aliasing.aliases(frame, [n for n in SEEDS if n in names])
    factors = [_factor_check(reports[n], table, found, runs, within) for n in names]
    factors += [
        FactorCheck(n, (), "", 0, 0, len(runs), "", "no run tells it")
        for n in ("order_seed", "init_seed")
        if n not in names
    ]
    skip = ("size", "amount", *SEEDS)
    varying = [n for n in design if n not in numeric and reports[n].varies]
    beside = {
        n: besides(runs, dict(zip(frame["run"], frame[n], strict=True)), registry.fields, skip)
        for n in varying
    }
    alone = {
        n: groups
        for n in [*varying, *SEEDS]
        if n in names
        and reports[n].varies
        and (groups := aliasing.alone(frame, n, [m for m in names if m != n]))
    }
    few = {
        f.factor: (f.level, FEW - f.n_units if f.n_levels > 1 else 1)
        for f in factors
        if f.n_levels < 2 or f.n_units < FEW
    }
    few = {n: need for n, need in few.items() if need[0] != "checkpoint" and n != "post_training"}
    mended = remedies(Pool(runs, pool, registry, tokens, prices), found, few) if pool else []
    if pool and any(f.factor == "post_training" and f.reason for f in factors):
        mended.append(_kin(runs, pool))
    return DesignCheck(
        tuple(runs),
        table,
        tuple(factors),
        tuple(found),
        tuple(aliasing.told_by_form(_configurations(frame), design, ["size"])),
        beside,
        alone,
        tuple(mended),
        tuple(_refused(found, runs, table)),
    )


def _configurations(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop_duplicates("configuration")


def _factor_check(
    report: aliasing.FactorReport,
    table: FactorTable,
    found: Sequence[aliasing.Alias],
    runs: Sequence[Run],
    within: Sequence[str],
) -> FactorCheck:
    name, level, n_units = report.factor, report.level or "run", report.n_units
    known = table.frame.loc[aliasing.known(table.frame[name]), name]
    value = table.label(name, known.iloc[0]) if len(known) and not report.varies else ""
    if name == "amount" and within:
        return FactorCheck(
            name,
            table.parts[name],
            "checkpoint",
            len(within),
            0,
            report.unknown,
            "",
            "" if len(within) >= FEW else _few(len(within), "run"),
        )
    if name == "post_training" and report.varies:
        level, n_units = "pair", len(pairs(runs))
    whole = [a for a in found if a.factor == name and a.kind in UNJUDGED and name not in SEEDS]
    reason = ""
    if not report.varies:
        reason = "it does not vary" if len(known) else "it is not known for any run"
    elif level == "pair" and not n_units:
        reason = "no run is sampled together with the run that it was trained from"
    elif n_units < FEW:
        reason = _few(n_units, level)
    elif whole:
        reason = "it cannot be told from " + ", nor from ".join(
            " and ".join(a.others) for a in whole
        )
    return FactorCheck(
        name, table.parts[name], level, n_units, report.n_levels, report.unknown, value, reason
    )


def _kin(runs: Sequence[Run], pool: Sequence[Run]) -> Remedy:
    """A run that was trained from a sampled one, or from which a sampled one was trained:
    post-training is compared over such pairs.
    """
    ids, parents = {r.id for r in runs}, {r.facts.get("parent") for r in runs}
    kin = [r.id for r in pool if r.facts.get("parent") in ids or r.id in parents]
    return Remedy("post_training", (), tuple(kin[:1]), (), True)


def _few(n: int, level: str) -> str:
    return f"it varies over {n} {PLURAL[level] if n != 1 else level} only, fewer than {FEW}"


def pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """(parent, child) where both are among the runs: the only comparisons of post-training."""
    by_id = {r.id: r for r in runs}
    return [(by_id[r.facts["parent"]], r) for r in runs if r.facts.get("parent") in by_id]


def refusal(factor: str, left: Sequence[Run], right: Sequence[Run]) -> str:
    """Why a contrast of two groups of runs is not one of this factor; empty where it may be read as
    such.

    Objective and architecture are two factors: a masked model against a causal one says nothing of
    architecture. Post-training compares a run with the one that it was trained from.
    """
    if factor == "architecture":
        objectives = [
            sorted({field_value(r, "objective") or "unknown" for r in side})
            for side in (left, right)
        ]
        if not set(objectives[0]) & set(objectives[1]) - {"unknown"}:
            return (
                f"architecture is aliased with objective here: {', '.join(objectives[0])} on one side, "
                f"{', '.join(objectives[1])} on the other, so a difference may be either's"
            )
    if factor == "post_training":
        ids = [{r.id for r in side} for side in (left, right)]
        strangers = [
            r.id
            for side, other in ((left, 1), (right, 0))
            for r in side
            if r.facts.get("parent") not in ids[other]
            and not any(c.facts.get("parent") == r.id for c in (left, right)[other])
        ]
        if strangers:
            return f"post-training is compared between parent and child only, and {', '.join(strangers[:3])} has neither on the other side"
    return ""


def _refused(found: Sequence[aliasing.Alias], runs: Sequence[Run], table: FactorTable) -> list[str]:
    """The contrasts of this sample that are not of the factor whose name they bear."""
    refused = []
    frame = table.frame
    by_id = {r.id: r for r in runs}
    alias = next(
        (
            a
            for a in found
            if a.factor == "architecture" and a.others == ("objective",) and a.aliased
        ),
        None,
    )
    if alias is not None:
        groups = [[by_id[i] for i in part["run"]] for _, part in frame.groupby("objective")]
        reason = refusal("architecture", groups[0], groups[1])
        if reason:
            refused.append(f"A contrast of architectures across objectives is refused: {reason}.")
    if "post_training" in table.parts and frame["post_training"].nunique() > 1:
        lone = [r.id for r in runs if not any(r in pair for pair in pairs(runs))]
        if lone:
            told = ", ".join(lone[:5]) + (f" and {len(lone) - 5} more" if len(lone) > 5 else "")
            refused.append(
                f"Post-training is compared between parent and child only ({len(pairs(runs))} pairs here), so it cannot be "
                f"compared over these: {told}."
            )
    return refused


def defects(runs: Sequence[Run], every: Sequence[Run]) -> dict[str, str]:
    """Run -> the reference of a defect that not all runs of the sample share."""

    def known(run: Run) -> set[str]:
        return {
            f"{entry['reason']} ({entry['source']})"
            for entry in run.facts.get("exclude_revisions", [])
            if entry.get("source")
        }

    common = set.intersection(*(known(r) for r in every)) if every else set()
    shared = {
        reason
        for reason in set().union(*(known(r) for r in every))
        if sum(reason in known(r) for r in every) > len(every) / 2
    }
    return {r.id: "; ".join(sorted(own)) for r in runs if (own := known(r) - common - shared)}
