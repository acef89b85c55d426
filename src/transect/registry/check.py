"""What a registry that keeps to the schema may still get wrong: values without a source, contrasts,
parents, exclusions, stated operations.

Operations: training a model takes about 6 N D (N weights without embeddings, D tokens; Kaplan et
al. 2020); a stated number that is more than twice or less than half of that is named.
"""

from transect.registry.contrasts import Contrast, contrasts
from transect.registry.run import UNKNOWN, Run
from transect.registry.suites import Registry

FLOP_PER_WEIGHT_AND_TOKEN = 6
FACTOR = 2.0


def findings(registry: Registry) -> list[str]:
    """One sentence each; errors (unknown runs in contrasts or as parents) are raised as InputError
    by the parts.
    """
    sentences = [
        *_without_source(registry),
        *_parents(registry),
        *_exclusions(registry),
        *_operations(registry),
    ]
    for contrast in contrasts(registry).values():
        sentences += _of_contrast(contrast)
    return sentences


def _of_contrast(contrast: Contrast) -> list[str]:
    where = f"suite {contrast.suite}, contrast {contrast.name} ({contrast.factor})"
    sentences = []
    if contrast.undeclared:
        others = [f"{f} ({', '.join(contrast.also[f])})" for f in contrast.undeclared]
        sentences.append(
            f"{where}: differs as well, and is not declared under `also`: {'; '.join(others)}."
        )
    if contrast.unseen:
        names = ", ".join(contrast.unseen)
        sentences.append(f"{where}: declared under `also`, but no field differs: {names}.")
    if contrast.kind == "clean" and contrast.also:
        names = ", ".join(contrast.also)
        sentences.append(f"{where}: is called clean, and these differ as well: {names}.")
    return sentences


def without_source(run: Run, registry: Registry) -> list[str]:
    """The fields of a run whose values are known and rest on no source."""
    names = []
    for name, value in run.facts.items():
        field = registry.fields.get(name)
        if field is None or field.group == "identity" or value in (None, UNKNOWN):
            continue
        if not run.sources_of(field):
            names.append(name)
    return names


def _without_source(registry: Registry) -> list[str]:
    sentences = []
    for suite in registry.suites:
        lacking = [fields for run in suite.runs if (fields := without_source(run, registry))]
        if lacking:
            names = ", ".join(sorted(set().union(*lacking)))
            sentences.append(f"suite {suite.name}: no source for {names} in {len(lacking)} runs.")
    return sentences


def _parents(registry: Registry) -> list[str]:
    circular, unheld = [], []
    for run in registry.runs.values():
        parent = run.get("parent")
        if not parent:
            continue
        place = f"suite {run.suite}: run {run.id} was trained from"
        if _descends_from_itself(run, registry):
            circular.append(f"{place} itself, by its parents.")
        if parent != UNKNOWN and parent not in registry.runs:
            unheld.append(f"{place} {parent}, which the registry does not hold.")
    return circular + unheld


def _descends_from_itself(run: Run, registry: Registry) -> bool:
    seen = {run.id}
    above = registry.runs.get(run.get("parent"))
    while above is not None and above.id not in seen:
        seen.add(above.id)
        above = registry.runs.get(above.get("parent"))
    return above is not None and above.id == run.id


def _exclusions(registry: Registry) -> list[str]:
    sentences = []
    for run in registry.runs.values():
        if not run.excluded:
            continue
        named = {"main", *map(run.rule.revision_of, run.rule.steps)}
        for revision in run.excluded:
            if revision not in named:
                sentences.append(
                    f"suite {run.suite}: run {run.id} excludes {revision}, which its rule of checkpoints does not name."
                )
    return sentences


def _operations(registry: Registry) -> list[str]:
    sentences = []
    for run in registry.runs.values():
        stated = run.get("training_flop")
        weights, tokens = run.get("params_non_embedding"), run.get("train_tokens")
        if not all(isinstance(v, int | float) for v in (stated, weights, tokens)):
            continue
        expected = FLOP_PER_WEIGHT_AND_TOKEN * weights * tokens
        ratio = stated / expected
        if not 1 / FACTOR <= ratio <= FACTOR:
            sentences.append(
                f"suite {run.suite}: run {run.id} states {stated:.3g} operations of training, which is {ratio:.2g} times "
                f"6 x {weights:,} weights x {tokens:,} tokens."
            )
    return sentences
