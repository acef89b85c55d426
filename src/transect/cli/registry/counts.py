"""The parameter counts of the registry, recomputed: what `transect registry check --counts` does."""

from dataclasses import dataclass, field

from transect.errors import InputError
from transect.lm.checkpoint import counting
from transect.registry.run import Run
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
    result = recompute(registry)
    if result.errors:
        raise InputError("\n".join(result.errors))
    sentences = [f"the weights of {result.counted} runs were counted anew: all as stated."]
    for reason, runs in sorted(result.not_counted.items(), key=lambda item: -len(item[1])):
        others = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
        sentences.append(f"not counted: {', '.join(runs[:NAMED])}{others}: {reason}.")
    return sentences


def recompute(registry: Registry) -> Recomputed:
    """Build every distinct shape once, without its numbers, and compare it with what its runs
    state.
    """
    of_shape: dict[str, counting.Counts | str] = {}
    result = Recomputed()
    for suite in registry.suites:
        for run in suite.runs:
            counts = _counts(run, of_shape)
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


def _counts(run: Run, of_shape: dict[str, counting.Counts | str]) -> counting.Counts | str:
    """The counts of a run, or why there are none; of_shape: those that are known, to which it is
    added.
    """
    if run.trained_here:
        return TRAINED_HERE
    shape = counting.shape_of(run)
    if shape not in of_shape:
        try:
            of_shape[shape] = counting.of_run(run)
        except counting.Uncountable as reason:
            of_shape[shape] = str(reason)
    return of_shape[shape]
