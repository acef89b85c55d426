"""What a registry that keeps to the schema may still get wrong: values without a source, contrasts,
parents, exclusions, stated operations.

Operations: training a model takes about 6 N D (N weights without embeddings, D tokens; Kaplan et
al. 2020); a stated number that is more than twice or less than half of that is named.
"""

from transect.registry.contrasts import contrasts
from transect.registry.run import UNKNOWN, Run
from transect.registry.suites import Registry

FLOP_PER_WEIGHT_AND_TOKEN = 6
FACTOR = 2.0


def findings(registry: Registry) -> list[str]:
    """One sentence each; errors (unknown runs in contrasts or as parents) are raised as InputError
    by the parts.
    """
    found = [
        *_without_source(registry),
        *_parents(registry),
        *_exclusions(registry),
        *_operations(registry),
    ]
    for contrast in contrasts(registry).values():
        where = f"suite {contrast.suite}, contrast {contrast.name} ({contrast.factor})"
        if contrast.undeclared:
            told = "; ".join(f"{f} ({', '.join(contrast.also[f])})" for f in contrast.undeclared)
            found.append(f"{where}: differs as well, and is not declared under `also`: {told}.")
        if contrast.unseen:
            found.append(
                f"{where}: declared under `also`, but no field differs: {', '.join(contrast.unseen)}."
            )
        if contrast.kind == "clean" and contrast.also:
            found.append(
                f"{where}: is called clean, and these differ as well: {', '.join(contrast.also)}."
            )
    return found


def without_source(run: Run, registry: Registry) -> list[str]:
    """The fields of a run whose values are known and rest on no source."""
    fields = registry.fields
    return [
        name
        for name, value in run.facts.items()
        if name in fields
        and fields[name].group != "identity"
        and value not in (None, UNKNOWN)
        and not run.sources_of(fields[name])
    ]


def _without_source(registry: Registry) -> list[str]:
    found = []
    for suite in registry.suites:
        lacking = {run.id: without_source(run, registry) for run in suite.runs}
        names = sorted({name for fields in lacking.values() for name in fields})
        if names:
            n = sum(bool(fields) for fields in lacking.values())
            found.append(f"suite {suite.name}: no source for {', '.join(names)} in {n} runs.")
    return found


def _parents(registry: Registry) -> list[str]:
    circular = [
        run
        for run in registry.runs.values()
        if run.get("parent") and _descends_from_itself(run, registry)
    ]
    found = [
        f"suite {run.suite}: run {run.id} was trained from itself, by its parents."
        for run in circular
    ]
    return found + [
        f"suite {run.suite}: run {run.id} was trained from {run.get('parent')}, which the registry does not hold."
        for run in registry.runs.values()
        if run.get("parent")
        and run.get("parent") != UNKNOWN
        and run.get("parent") not in registry.runs
    ]


def _descends_from_itself(run: Run, registry: Registry) -> bool:
    above, seen = registry.runs.get(run.get("parent")), {run.id}
    while above is not None and above.id not in seen:
        seen.add(above.id)
        above = registry.runs.get(above.get("parent"))
    return above is not None and above.id == run.id


def _exclusions(registry: Registry) -> list[str]:
    found = []
    for run in registry.runs.values():
        if run.excluded:
            every = {"main", *(run.rule.revision_of(step) for step in run.rule.steps)}
            found += [
                f"suite {run.suite}: run {run.id} excludes {revision}, which its rule of checkpoints does not name."
                for revision in run.excluded
                if revision not in every
            ]
    return found


def _operations(registry: Registry) -> list[str]:
    found = []
    for run in registry.runs.values():
        stated, weights, tokens = (
            run.get(f) for f in ("training_flop", "params_non_embedding", "train_tokens")
        )
        if not all(isinstance(v, int | float) for v in (stated, weights, tokens)):
            continue
        expected = FLOP_PER_WEIGHT_AND_TOKEN * weights * tokens
        if not 1 / FACTOR <= stated / expected <= FACTOR:
            found.append(
                f"suite {run.suite}: run {run.id} states {stated:.3g} operations of training, which is {stated / expected:.2g} times "
                f"6 x {weights:,} weights x {tokens:,} tokens."
            )
    return found
