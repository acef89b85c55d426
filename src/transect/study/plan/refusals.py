"""The contrasts that a study's analyses ask for and that are not what they are called
(design_check.refusal): known before computing.

Of each outcome: the runs that it reads (to which its measure applies, of its objective, that
satisfy its `where`) and, for each of its factors that expresses architecture or post-training,
every two of its levels.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from transect.registry.run import Run
from transect.study.outcome import objective_of
from transect.study.plan.check import refusal
from transect.study.plan.factors import field_value
from transect.study.study_file import Study


def refused(study: Study) -> list[str]:
    """One sentence per outcome, factor and reason, with the pairs of levels that it concerns."""
    told: dict[str, list[str]] = {}
    for spec in study.data["analyses"]:
        for outcome in spec.get("outcomes", []):
            runs = _runs(study, outcome)
            for field, factor in _factors(
                study, spec.get("factors", []) + outcome.get("factors", [])
            ).items():
                levels: dict[str, list[Run]] = {}
                for run in runs:
                    levels.setdefault(field_value(run, field) or "unknown", []).append(run)
                for left, right in itertools.combinations(levels, 2):
                    reason = refusal(factor, levels[left], levels[right])
                    if reason:
                        name = outcome.get("name") or outcome.get("measure") or spec["analysis"]
                        key = f"{spec['analysis']}, {name}: contrasts of {field} between %s are not that: {reason}."
                        told.setdefault(key, []).append(f"{left} and {right}")
    return [
        key.replace(
            "%s",
            "; ".join(pairs[:4]) + (f"; and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""),
        )
        for key, pairs in told.items()
    ]


def _runs(study: Study, outcome: Mapping[str, Any]) -> list[Run]:
    found = {
        c.checkpoint.run.id: c.checkpoint.run
        for c in study.cells
        if not c.reason
        and c.entry.measure.name == outcome.get("measure")
        and study.roles[c.checkpoint.run.id] != "baseline"
    }
    where = {
        k: v if isinstance(v, list) else [v]
        for k, v in outcome.get("where", {}).items()
        if k in study.registry.factors
    }
    spoken_of = outcome.get("objective", objective_of(str(outcome.get("metric", ""))))
    where.setdefault("objective", spoken_of if isinstance(spoken_of, list) else [spoken_of])
    return [
        r
        for r in found.values()
        if all(r.values().get(k) in allowed for k, allowed in where.items())
    ]


def _factors(study: Study, terms: list[str]) -> dict[str, str]:
    """Field -> the design factor that it expresses, of the variables of an analysis' terms."""
    names = {name for term in terms for name in re.findall(r"[A-Za-z_]\w*", term)}
    fields = study.registry.fields
    return {
        n: str(fields[n].factor)
        for n in sorted(names)
        if n in fields and fields[n].factor in ("architecture", "post_training")
    }
