"""The contrasts that a study's analyses ask for and that are not what they are called
(design_check.refusal): known before computing.

Of each outcome: the runs that it reads (to which its measure applies, of its objective, that
satisfy its `where`) and, for each of its factors that expresses architecture or post-training,
every two of its levels.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transect.registry.run import Run
from transect.study.outcome import objective_of
from transect.study.plan.check import refusal
from transect.study.plan.factors import field_value
from transect.study.study_file import Study

SHOWN = 4  # pairs of levels


def refused(study: Study) -> list[str]:
    """One sentence per outcome, factor and reason, with the pairs of levels that it concerns."""
    pairs: dict[tuple[str, str, str], list[str]] = {}  # of what, between levels of, why not
    for spec in study.data["analyses"]:
        for outcome in spec.get("outcomes", []):
            name = outcome.get("name") or outcome.get("measure") or spec["analysis"]
            runs = _runs(study, outcome)
            terms = spec.get("factors", []) + outcome.get("factors", [])
            for field, factor in _factors(study, terms).items():
                for reason, pair in _refused_pairs(field, factor, runs):
                    key = (f"{spec['analysis']}, {name}", field, reason)
                    pairs.setdefault(key, []).append(pair)
    return [
        f"{what}: contrasts of {field} between {_first_pairs(concerned)} are not that: {reason}."
        for (what, field, reason), concerned in pairs.items()
    ]


def _refused_pairs(field: str, factor: str, runs: list[Run]) -> Iterator[tuple[str, str]]:
    """(Reason, levels) of every two levels of a field whose contrast is not that of the factor."""
    levels: dict[str, list[Run]] = {}
    for run in runs:
        levels.setdefault(field_value(run, field) or "unknown", []).append(run)
    for left, right in itertools.combinations(levels, 2):
        if reason := refusal(factor, levels[left], levels[right]):
            yield reason, f"{left} and {right}"


def _first_pairs(pairs: list[str]) -> str:
    shown = "; ".join(pairs[:SHOWN])
    return f"{shown}; and {len(pairs) - SHOWN} more pairs" if len(pairs) > SHOWN else shown


def _runs(study: Study, outcome: Mapping[str, Any]) -> list[Run]:
    """The runs that an outcome reads: measured, of its objective, and as its `where` says."""
    measured = {
        cell.checkpoint.run.id: cell.checkpoint.run
        for cell in study.cells
        if not cell.reason and cell.entry.measure.name == outcome.get("measure")
    }
    allowed = {
        field: _as_list(value)
        for field, value in outcome.get("where", {}).items()
        if field in study.registry.factors
    }
    objective = outcome.get("objective", objective_of(str(outcome.get("metric", ""))))
    allowed.setdefault("objective", _as_list(objective))
    return [
        run
        for run in measured.values()
        if study.roles[run.id] != "baseline"
        and all(run.values().get(field) in values for field, values in allowed.items())
    ]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _factors(study: Study, terms: list[str]) -> dict[str, str]:
    """Field -> the design factor that it expresses, of the variables of an analysis' terms."""
    names = {name for term in terms for name in re.findall(r"[A-Za-z_]\w*", term)}
    fields = study.registry.fields
    return {
        n: str(fields[n].factor)
        for n in sorted(names)
        if n in fields and fields[n].factor in ("architecture", "post_training")
    }
