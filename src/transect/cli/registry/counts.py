"""The parameter counts of the registry, recomputed: what `transect registry check --counts` does."""

from dataclasses import dataclass, field

from transect.errors import InputError
from transect.lm.checkpoint import counting
from transect.registry.suite_file.lines import place
from transect.registry.suites import Registry

TRAINED_HERE = "trained here, so counted when it is trained"
NAMED = 3  # runs that a sentence names


@dataclass
class Recomputed:
    """counted: runs whose counts were recomputed. errors: one sentence per contradicting value.
    not_counted: reason -> runs.
    """

    counted: int = 0
    errors: list[str] = field(default_factory=list)
    not_counted: dict[str, list[str]] = field(default_factory=dict)


def check_counts(registry: Registry) -> list[str]:
    """Sentences on what was counted and what could not be, with the reasons. Raises InputError
    where an entry contradicts its configuration.
    """
    found = recompute(registry)
    if found.errors:
        raise InputError("\n".join(found.errors))
    told = [f"the weights of {found.counted} runs were counted anew: all as stated."]
    for reason, runs in sorted(found.not_counted.items(), key=lambda item: -len(item[1])):
        more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
        told.append(f"not counted: {', '.join(runs[:NAMED])}{more}: {reason}.")
    return told


def recompute(registry: Registry) -> Recomputed:
    """Build every distinct shape once, without its numbers, and compare it with what its runs
    state.
    """
    found: dict[str, counting.Counts | str] = {}
    result = Recomputed()
    for suite in registry.suites:
        for run in suite.runs:
            counts = TRAINED_HERE if run.trained_here else found.get(counting.shape_of(run))
            if counts is None:
                try:
                    counts = counting.of_run(run)
                except counting.Uncountable as reason:
                    counts = str(reason)
                found[counting.shape_of(run)] = counts
            if isinstance(counts, str):
                result.not_counted.setdefault(counts, []).append(run.id)
                continue
            result.counted += 1
            for name, (stated, computed) in counting.contradictions(run, counts).items():
                where = place(suite.path, run.id, name)
                result.errors.append(
                    f"{where}: run {run.id!r} states {name} {stated:,}, but its configuration has {computed:,}."
                )
    return result
