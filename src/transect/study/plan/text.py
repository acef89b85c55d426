"""The design check in words: a short table, then sentences that a co-author could paste; and the
same as facts for --json.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from transect.stats.design.aliasing import Alias, known
from transect.study.plan.check import PLURAL, DesignCheck, FactorCheck, defects, pairs
from transect.study.plan.factors import SEEDS
from transect.study.plan.remedies import Remedy

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
    return (
        names[0]
        if len(names) == 1
        else f"{', '.join(names[:-1])} {last} {names[-1]}"
        if names
        else "none"
    )


def number(value: float) -> str:
    """Three significant digits: 0.957, 16, 299,892,736,000."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table_rows(check: DesignCheck) -> list[tuple[str, ...]]:
    """(factor, varies over, values, unknown in, can be judged) of every factor."""
    return [
        (
            name(f.factor),
            f"{f.n_units} {_plural(f)}" if f.n_levels > 1 or f.level == "checkpoint" else "-",
            str(f.n_levels) if f.n_levels > 1 else f.value[:40] or "-",
            f"{f.unknown} runs" if f.unknown else "",
            f"no: {_reason(f)}" if f.reason else f"yes{_but(check, f.factor)}",
        )
        for f in check.factors
    ]


def _but(check: DesignCheck, factor: str) -> str:
    """What limits a factor that can be judged."""
    twin = [name(a.others[0]) for a in check.aliases if a.factor == factor and a.kind == "same"]
    if factor in SEEDS and twin:
        return f", but only together with {listed(twin)}"
    part = any(a.factor == factor and a.kind == "partial" for a in check.aliases)
    near = [
        name(a.others[0])
        for a in check.aliases
        if a.factor == factor and a.kind == "near" and len(a.others) == 1
    ]
    return ", in part" * part + (f", but it nearly goes with {listed(near)}" if near else "")


def _plural(f: FactorCheck) -> str:
    if f.level == "checkpoint":
        return "run, over its checkpoints" if f.n_units == 1 else "runs, over their checkpoints"
    return f.level if f.n_units == 1 and f.level != "pair" else PLURAL[f.level]


def _reason(f: FactorCheck) -> str:
    """The reason with the factors as a reader calls them."""
    return re.sub(r"\b(" + "|".join(NAMES) + r")\b(?! of)", lambda m: NAMES[m[1]], f.reason)


def alias_sentences(check: DesignCheck) -> list[str]:
    """What is aliased with what, each relation once."""
    told: list[str] = []
    done: set[str] = set()
    for a in check.aliases:
        if a.kind == "same" and a.factor not in done:
            group = [
                a.factor,
                *(b.others[0] for b in check.aliases if b.factor == a.factor and b.kind == "same"),
            ]
            done |= set(group)
            told.append(
                f"{_capital(listed(map(name, group)))} always change together ({_over(a)}): what differs cannot be put down to one of them."
            )
    for a in check.aliases:
        if a.kind == "explained":
            together = " together" if len(a.others) > 1 else ""
            told.append(
                f"{_capital(name(a.factor))} follows from {listed(map(name, a.others))}{together} ({_over(a)}), so an effect of the one cannot be told from the other's."
            )
        elif a.kind == "partial" and len(a.others) == 1:
            told.append(
                f"{_capital(name(a.factor))}: {a.aliased} of {a.df} contrasts cannot be told from {listed(map(name, a.others))} ({_over(a)})"
                + (
                    f"; nothing links {_groups(check, a)}."
                    if a.groups and a.factor not in SEEDS
                    else "."
                )
            )
    sets: dict[str, list[str]] = {}
    for a in check.aliases:
        if a.kind == "partial" and len(a.others) > 1:
            sets.setdefault(a.factor, []).append(
                f"{' + '.join(map(name, a.others))} ({a.aliased} of {a.df})"
            )
    told += [
        f"{_capital(name(f))}: further contrasts cannot be told from others together: {listed(given, shown=SHOWN)}."
        for f, given in sets.items()
    ]
    near: set[frozenset[str]] = set()
    for a in check.aliases:
        key = frozenset((a.factor, *a.others))
        if a.kind == "near" and key not in near:
            near.add(key)
            told.append(
                f"{_capital(name(a.factor))} goes nearly with {listed(map(name, a.others))}: {_share(a)}."
            )
    told += [
        f"Each {name(n)} has one value of {name(f)}: only the assumed straight line in the logarithm of {name(n)} tells them apart."
        for f, n in check.by_form
    ]
    return told


def _share(a: Alias) -> str:
    """What is shared, and what remains."""
    shared = f"{a.share:.1%}" if a.share < 0.9995 else "more than 99.9%"
    left = f"as much as {number(a.effective_units)}" if a.effective_units >= 2 else "less than two"
    return f"{shared} of it is shared, so {a.n_units} units say {left} would without the other"


def _over(a: Alias) -> str:
    return f"over {a.n_units} units" + (f", {a.unknown} more unknown" if a.unknown else "")


def _groups(check: DesignCheck, a: Alias) -> str:
    groups = [listed([check.table.label(a.factor, v) for v in g], shown=SHOWN) for g in a.groups]
    return " | ".join(groups[:SHOWN]) + (
        f" | {len(groups) - SHOWN} more groups" if len(groups) > SHOWN else ""
    )


def beside_sentences(check: DesignCheck) -> list[str]:
    """What differs besides a factor between its levels, field by field."""
    told = []
    for factor in ("architecture", "objective", "language"):
        fields = {f: names for f, names in check.besides.get(factor, {}).items() if f != factor}
        own = [n for n in check.besides.get(factor, {}).get(factor, []) if n != factor]
        means = f"Levels of {name(factor)} differ in {listed(own)}" if own else ""
        more = listed(
            f"{name(f)} ({listed(names)})" if names != [f] else name(f)
            for f, names in fields.items()
        )
        if own or fields:
            told.append(
                (
                    f"{means}; besides, in {more}."
                    if means
                    else f"With {name(factor)} differ also {more}."
                )
                if fields
                else f"{means}."
            )
    return told


def alone_sentences(check: DesignCheck) -> list[str]:
    """Where a seed or a category varies with nothing else; for seeds also the known defects of the
    runs that it rests on.
    """
    told = []
    varying = [
        f.factor for f in check.factors if f.n_levels > 1 and f.factor not in check.table.numeric
    ]
    for factor in varying:
        groups = check.alone.get(factor, [])
        if not groups:
            continue
        ids = [i for g in groups for i in g["run"]]
        sizes = (
            list(dict.fromkeys(check.table.label("size", v) for g in groups for v in g["size"]))
            if "size" in groups[0]
            else []
        )
        every = check.table.frame["size"].nunique() if "size" in check.table.frame else 1
        where = f" only at {listed(sizes)}" if len(sizes) <= SHOWN and len(sizes) < every else ""
        told.append(
            f"{_capital(name(factor))} varies alone{where}: {len(ids)} runs in {len(groups)} group{'s' * (len(groups) > 1)} "
            f"({listed(ids, shown=SHOWN)}).{_defects(check, factor, ids) if factor in SEEDS else ''}"
        )
    never = [name(f) for f in varying if f not in check.alone]
    if never:
        told.append(
            f"{_capital(listed(never))} never var{'y' if len(never) > 1 else 'ies'} alone: between any two runs that differ in "
            f"{'one of them' if len(never) > 1 else 'it'} something else differs, or is unknown."
        )
    return told


def _defects(check: DesignCheck, factor: str, ids: Sequence[str]) -> str:
    """Of the runs on which a factor rests, and, for a seed, of those that were meant to vary it and
    of which it is unknown.
    """
    frame = check.table.frame
    meant = set(ids) | (set(frame.loc[~known(frame[factor]), "run"]) if factor in SEEDS else set())
    found = defects([r for r in check.runs if r.id in meant], check.runs)
    by_reason: dict[str, list[str]] = {}
    for run, reason in found.items():
        by_reason.setdefault(reason, []).append(run)
    return "".join(
        f" Known defect of {listed(runs, shown=SHOWN)}: {reason}."
        for reason, runs in by_reason.items()
    )


def remedy_sentences(check: DesignCheck) -> list[str]:
    """Which runs of the registry would help."""
    told = []
    hopeless: dict[str, list[str]] = {}
    for r in check.remedies:
        if r.runs:
            step = "" if r.exact else " (found step by step: fewer may do)"
            told.append(
                f"To {_aim(check, r.factor, map(name, r.others))}: add {listed(r.runs)}{_brought(r)}{step}."
            )
        else:
            hopeless.setdefault(r.factor, []).extend(
                [listed(map(name, r.others))] if r.others else []
            )
    told += [
        f"No runs of the registry would {_aim(check, factor, others, 'or')}."
        for factor, others in hopeless.items()
    ]
    return told


def _aim(check: DesignCheck, factor: str, others: Iterable[str], last: str = "and") -> str:
    names = list(others)
    if names:
        return f"tell {name(factor)} from {listed(names, last)}"
    return (
        f"give {name(factor)} enough units"
        if check.factor(factor).n_levels > 1
        else f"let {name(factor)} vary"
    )


def _brought(r: Remedy) -> str:
    """What comes with the runs of a remedy."""
    unknown = [name(b.removesuffix(" (unknown)")) for b in r.brings if b.endswith("(unknown)")]
    other = [name(b) for b in r.brings if not b.endswith("(unknown)")]
    parts = [f"another {listed(other)}"] * bool(other) + [
        f"{listed(unknown)} of which it is unknown whether the same"
    ] * bool(unknown)
    return f", which brings {'; and '.join(parts)}" if parts else ""


def cannot_show(check: DesignCheck) -> list[str]:
    """What this sample cannot show, in sentences."""
    told = []
    constant = [f for f in check.factors if f.n_levels < 2 and f.level != "checkpoint" and f.value]
    if constant:
        n = len(check.runs)
        told.append(
            f"{_capital(listed(name(f.factor) for f in constant))} cannot be judged: {'all ' + str(n) + ' runs' if n > 1 else 'the run'} have one value "
            f"({listed(f'{name(f.factor)} {f.value[:40]}' for f in constant)})."
        )
    unknown = [
        name(f.factor)
        for f in check.factors
        if f.n_levels < 2 and not f.value and f.level != "checkpoint"
    ]
    if unknown:
        told.append(f"{_capital(listed(unknown))} cannot be judged: no run tells.")
    told += [
        f"{_capital(name(f.factor))} cannot be judged: {_reason(f)}."
        for f in check.factors
        if f.reason and f.n_levels > 1
    ]
    part = [f for f in check.factors if f.unknown and f.n_levels > 1]
    told += [
        f"{_capital(name(f.factor))} is unknown in {f.unknown} of {len(check.runs)} runs; nothing is said of these."
        for f in part
    ]
    if not any(check.factor(s).n_levels > 1 for s in SEEDS):
        told.append(
            "How much a result varies from seed to seed is unknown here, so no difference between two single runs can be told from chance."
        )
    return told + list(check.refused)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def facts(check: DesignCheck) -> dict[str, Any]:
    """All of the check as values of JSON."""
    aliases = [
        {
            "factor": a.factor,
            "others": list(a.others),
            "kind": a.kind,
            "share": a.share,
            "contrasts": a.df,
            "aliased": a.aliased,
            "units": a.n_units,
            "unknown": a.unknown,
            "effective_units": a.effective_units,
            "groups": [list(g) for g in a.groups],
        }
        for a in check.aliases
    ]
    return {
        "runs": len(check.runs),
        "factors": [
            {
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
            for f in check.factors
        ],
        "aliases": aliases,
        "told_apart_by_form_only": [list(p) for p in check.by_form],
        "besides": {f: dict(b) for f, b in check.besides.items()},
        "varies_alone": {f: [list(g["run"]) for g in groups] for f, groups in check.alone.items()},
        "parents_and_children": [[a.id, b.id] for a, b in pairs(check.runs)],
        "remedies": [
            {
                "factor": r.factor,
                "others": list(r.others),
                "runs": list(r.runs),
                "brings": list(r.brings),
                "exact": r.exact,
            }
            for r in check.remedies
        ],
        "refused": list(check.refused),
        "aliased": alias_sentences(check),
        "cannot_show": cannot_show(check),
    }
