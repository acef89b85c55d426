"""The design check in words: a short table, then sentences that a co-author could paste; and the
same as facts for --json.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from transect.stats.design.aliasing import Alias, known
from transect.study.plan.check import PLURAL, DesignCheck, FactorCheck, defects, pairs
from transect.study.plan.factors import SEEDS
from transect.study.plan.remedies import UNSURE, Remedy

NAMES = {
    "amount": "amount of training",
    "init_seed": "seed of the initialisation",
    "order_seed": "data order",
    "post_training": "post-training",
    "training_details": "details of training",
}
SHOWN = 4  # names in a list, before it is cut


def name(factor: str) -> str:
    """A factor as a reader calls it."""
    return NAMES.get(factor, factor.replace("_", " "))


def listed(items: Iterable[str], last: str = "and", shown: int = 100) -> str:
    """a, b and c; of more than `shown` the first, and how many there are besides."""
    names = list(items)
    if len(names) > shown + 1:
        names = [*names[:shown], f"{len(names) - shown} more"]
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def named(factors: Iterable[str]) -> str:
    """a, b and c: factors as a reader calls them."""
    return listed(map(name, factors))


def number(value: float) -> str:
    """Three significant digits: 0.957, 16, 299,892,736,000."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table_rows(check: DesignCheck) -> list[tuple[str, ...]]:
    """(factor, varies over, values, unknown in, can be judged) of every factor."""
    return [_table_row(check, factor) for factor in check.factors]


def _table_row(check: DesignCheck, f: FactorCheck) -> tuple[str, ...]:
    return (
        name(f.factor),
        f"{f.n_units} {_plural(f)}" if f.n_levels > 1 or f.level == "checkpoint" else "-",
        str(f.n_levels) if f.n_levels > 1 else f.value[:40] or "-",
        f"{f.unknown} runs" if f.unknown else "",
        f"no: {_reason(f)}" if f.reason else f"yes{_but(check, f.factor)}",
    )


def _but(check: DesignCheck, factor: str) -> str:
    """What limits a factor that can be judged."""
    twins = [alias.others[0] for alias in check.aliases_of("same", factor)]
    if factor in SEEDS and twins:
        return f", but only together with {named(twins)}"
    near = [a.others[0] for a in check.aliases_of("near", factor) if len(a.others) == 1]
    part = ", in part" if check.aliases_of("partial", factor) else ""
    return part + (f", but it nearly goes with {named(near)}" if near else "")


def _plural(f: FactorCheck) -> str:
    if f.level == "checkpoint":
        return "run, over its checkpoints" if f.n_units == 1 else "runs, over their checkpoints"
    return f.level if f.n_units == 1 and f.level != "pair" else PLURAL[f.level]


def _reason(f: FactorCheck) -> str:
    """The reason with the factors as a reader calls them."""
    return re.sub(r"\b(" + "|".join(NAMES) + r")\b(?! of)", lambda m: NAMES[m[1]], f.reason)


def alias_sentences(check: DesignCheck) -> list[str]:
    """What is aliased with what, each relation once."""
    by_form = [
        f"Each {name(variable)} has one value of {name(factor)}: only the assumed straight line in the logarithm of {name(variable)} tells them apart."
        for factor, variable in check.by_form
    ]
    return [
        *_same_sentences(check),
        *_following_sentences(check),
        *_joint_sentences(check),
        *_near_sentences(check),
        *by_form,
    ]


def _same_sentences(check: DesignCheck) -> list[str]:
    """Groups of factors that always change together."""
    sentences = []
    done: set[str] = set()
    for alias in check.aliases_of("same"):
        if alias.factor not in done:
            twins = [a.others[0] for a in check.aliases_of("same", alias.factor)]
            group = [alias.factor, *twins]
            done |= set(group)
            sentences.append(
                f"{_capital(named(group))} always change together ({_over(alias)}): what differs cannot be put down to one of them."
            )
    return sentences


def _following_sentences(check: DesignCheck) -> list[str]:
    """Factors that follow from others, wholly or, of one other, in part."""
    sentences = []
    for alias in check.aliases:
        subject, others = _capital(name(alias.factor)), named(alias.others)
        if alias.kind == "explained":
            together = " together" if len(alias.others) > 1 else ""
            sentences.append(
                f"{subject} follows from {others}{together} ({_over(alias)}), so an effect of the one cannot be told from the other's."
            )
        elif alias.kind == "partial" and len(alias.others) == 1:
            separate = alias.groups and alias.factor not in SEEDS
            unlinked = f"; nothing links {_groups(check, alias)}" if separate else ""
            sentences.append(
                f"{subject}: {alias.aliased} of {alias.df} contrasts cannot be told from {others} ({_over(alias)}){unlinked}."
            )
    return sentences


def _joint_sentences(check: DesignCheck) -> list[str]:
    """Factors that follow in part from several others together."""
    joint: dict[str, list[str]] = {}
    for alias in check.aliases_of("partial"):
        if len(alias.others) > 1:
            others = " + ".join(map(name, alias.others))
            contrasts = f"{others} ({alias.aliased} of {alias.df})"
            joint.setdefault(alias.factor, []).append(contrasts)
    return [
        f"{_capital(name(factor))}: further contrasts cannot be told from others together: {listed(others, shown=SHOWN)}."
        for factor, others in joint.items()
    ]


def _near_sentences(check: DesignCheck) -> list[str]:
    """Factors that nearly go together, each pair once."""
    sentences: dict[frozenset[str], str] = {}
    for alias in check.aliases_of("near"):
        sentences.setdefault(
            frozenset((alias.factor, *alias.others)),
            f"{_capital(name(alias.factor))} goes nearly with {named(alias.others)}: {_share(alias)}.",
        )
    return list(sentences.values())


def _share(a: Alias) -> str:
    """What is shared, and what remains."""
    shared = f"{a.share:.1%}" if a.share < 0.9995 else "more than 99.9%"
    rest = "less than two"
    if a.effective_units >= 2:
        rest = f"as much as {number(a.effective_units)}"
    return f"{shared} of it is shared, so {a.n_units} units say {rest} would without the other"


def _over(a: Alias) -> str:
    return f"over {a.n_units} units" + (f", {a.unknown} more unknown" if a.unknown else "")


def _groups(check: DesignCheck, a: Alias) -> str:
    groups = [
        listed([check.table.label(a.factor, value) for value in group], shown=SHOWN)
        for group in a.groups
    ]
    further = [f"{len(groups) - SHOWN} more groups"] if len(groups) > SHOWN else []
    return " | ".join([*groups[:SHOWN], *further])


def beside_sentences(check: DesignCheck) -> list[str]:
    """What differs besides a factor between its levels, field by field."""
    sentences = (_besides(check, factor) for factor in ("architecture", "objective", "language"))
    return [sentence for sentence in sentences if sentence]


def _besides(check: DesignCheck, factor: str) -> str:
    """What differs besides one factor; empty where nothing does."""
    differing = check.besides.get(factor, {})
    own = [field for field in differing.get(factor, []) if field != factor]
    others = [
        name(other) if fields == [other] else f"{name(other)} ({listed(fields)})"
        for other, fields in differing.items()
        if other != factor
    ]
    if own:
        besides = f"; besides, in {listed(others)}" if others else ""
        return f"Levels of {name(factor)} differ in {listed(own)}{besides}."
    return f"With {name(factor)} differ also {listed(others)}." if others else ""


def alone_sentences(check: DesignCheck) -> list[str]:
    """Where a seed or a category varies with nothing else; for seeds also the known defects of the
    runs that it rests on.
    """
    varying = [
        f.factor for f in check.factors if f.n_levels > 1 and f.factor not in check.table.numeric
    ]
    sentences = [_alone(check, factor) for factor in varying if check.alone.get(factor)]
    never = [name(factor) for factor in varying if factor not in check.alone]
    if never:
        vary, which = ("vary", "one of them") if len(never) > 1 else ("varies", "it")
        sentences.append(
            f"{_capital(listed(never))} never {vary} alone: between any two runs that differ in "
            f"{which} something else differs, or is unknown."
        )
    return sentences


def _alone(check: DesignCheck, factor: str) -> str:
    """In which groups of runs one factor varies alone."""
    groups = check.alone[factor]
    ids = [run for group in groups for run in group["run"]]
    plural = "s" if len(groups) > 1 else ""
    of_seed = _defects(check, factor, ids) if factor in SEEDS else ""
    return (
        f"{_capital(name(factor))} varies alone{_only_at(check, groups)}: {len(ids)} runs in {len(groups)} group{plural} "
        f"({listed(ids, shown=SHOWN)}).{of_seed}"
    )


def _only_at(check: DesignCheck, groups: Sequence[pd.DataFrame]) -> str:
    """The sizes of the groups, where they are few and not all of the sample."""
    frame = check.table.frame
    if "size" not in frame:
        return ""
    labels = (check.table.label("size", size) for group in groups for size in group["size"])
    sizes = list(dict.fromkeys(labels))
    few = len(sizes) <= SHOWN and len(sizes) < frame["size"].nunique()
    return f" only at {listed(sizes)}" if few else ""


def _defects(check: DesignCheck, seed: str, ids: Sequence[str]) -> str:
    """Of the runs on which a seed rests, and of those that were meant to vary it and of which it is
    unknown.
    """
    frame = check.table.frame
    unknown = frame.loc[~known(frame[seed]), "run"]
    meant = {*ids, *unknown}
    runs = [run for run in check.runs if run.id in meant]
    by_reason: dict[str, list[str]] = {}
    for run, reason in defects(runs, check.runs).items():
        by_reason.setdefault(reason, []).append(run)
    sentences = [
        f" Known defect of {listed(holders, shown=SHOWN)}: {reason}."
        for reason, holders in by_reason.items()
    ]
    return "".join(sentences)


def remedy_sentences(check: DesignCheck) -> list[str]:
    """Which runs of the registry would help."""
    sentences = []
    hopeless: dict[str, list[str]] = {}
    for remedy in check.remedies:
        if remedy.runs:
            aim = _aim(check, remedy.factor, map(name, remedy.others))
            step = "" if remedy.exact else " (found step by step: fewer may do)"
            sentences.append(f"To {aim}: add {listed(remedy.runs)}{_brought(remedy)}{step}.")
            continue
        others = hopeless.setdefault(remedy.factor, [])
        if remedy.others:
            others.append(named(remedy.others))
    sentences += [
        f"No runs of the registry would {_aim(check, factor, others, 'or')}."
        for factor, others in hopeless.items()
    ]
    return sentences


def _aim(check: DesignCheck, factor: str, others: Iterable[str], last: str = "and") -> str:
    names = list(others)
    if names:
        return f"tell {name(factor)} from {listed(names, last)}"
    if check.factor(factor).n_levels > 1:
        return f"give {name(factor)} enough units"
    return f"let {name(factor)} vary"


def _brought(remedy: Remedy) -> str:
    """What comes with the runs of a remedy."""
    unknown = [b.removesuffix(UNSURE) for b in remedy.brings if b.endswith(UNSURE)]
    other = [b for b in remedy.brings if not b.endswith(UNSURE)]
    parts = []
    if other:
        parts.append(f"another {named(other)}")
    if unknown:
        parts.append(f"{named(unknown)} of which it is unknown whether the same")
    return f", which brings {'; and '.join(parts)}" if parts else ""


def cannot_show(check: DesignCheck) -> list[str]:
    """What this sample cannot show, in sentences."""
    varying = [factor for factor in check.factors if factor.n_levels > 1]
    sentences = _constant_sentences(check)
    sentences += [
        f"{_capital(name(f.factor))} cannot be judged: {_reason(f)}." for f in varying if f.reason
    ]
    sentences += [
        f"{_capital(name(f.factor))} is unknown in {f.unknown} of {len(check.runs)} runs; nothing is said of these."
        for f in varying
        if f.unknown
    ]
    if not any(factor.factor in SEEDS for factor in varying):
        sentences.append(
            "How much a result varies from seed to seed is unknown here, so no difference between two single runs can be told from chance."
        )
    return sentences + list(check.refused)


def _constant_sentences(check: DesignCheck) -> list[str]:
    """The factors that have one value, and those that no run knows."""
    constant = [f for f in check.factors if f.n_levels < 2 and f.level != "checkpoint"]
    valued = {name(f.factor): f.value[:40] for f in constant if f.value}
    unknown = [f.factor for f in constant if not f.value]
    sentences = []
    if valued:
        n = len(check.runs)
        runs = f"all {n} runs" if n > 1 else "the run"
        values = listed(f"{factor} {value}" for factor, value in valued.items())
        sentences.append(
            f"{_capital(listed(valued))} cannot be judged: {runs} have one value ({values})."
        )
    if unknown:
        sentences.append(f"{_capital(named(unknown))} cannot be judged: no run tells.")
    return sentences


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def facts(check: DesignCheck) -> dict[str, Any]:
    """All of the check as values of JSON."""
    return {
        "runs": len(check.runs),
        "factors": [_factor_facts(f) for f in check.factors],
        "aliases": [_alias_facts(a) for a in check.aliases],
        "told_apart_by_form_only": [list(pair) for pair in check.by_form],
        "besides": {f: dict(b) for f, b in check.besides.items()},
        "varies_alone": {f: [list(g["run"]) for g in groups] for f, groups in check.alone.items()},
        "parents_and_children": [[a.id, b.id] for a, b in pairs(check.runs)],
        "remedies": [_remedy_facts(r) for r in check.remedies],
        "refused": list(check.refused),
        "aliased": alias_sentences(check),
        "cannot_show": cannot_show(check),
    }


def _factor_facts(f: FactorCheck) -> dict[str, Any]:
    return {
        "factor": f.factor,
        "fields": list(f.fields),
        "level": f.level if f.n_levels > 1 or f.level == "checkpoint" else None,
        "units": f.n_units,
        "values": f.n_levels,
        "unknown": f.unknown,
        "value": f.value or None,
        "judged": not f.reason,
        "reason": f.reason or None,
    }


def _alias_facts(a: Alias) -> dict[str, Any]:
    return {
        "factor": a.factor,
        "others": list(a.others),
        "kind": a.kind,
        "share": a.share,
        "contrasts": a.df,
        "aliased": a.aliased,
        "units": a.n_units,
        "unknown": a.unknown,
        "effective_units": a.effective_units,
        "groups": [list(group) for group in a.groups],
    }


def _remedy_facts(r: Remedy) -> dict[str, Any]:
    return {
        "factor": r.factor,
        "others": list(r.others),
        "runs": list(r.runs),
        "brings": list(r.brings),
        "exact": r.exact,
    }
