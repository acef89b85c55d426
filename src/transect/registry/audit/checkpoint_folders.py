"""Checkpoints of a training of one's own: a folder that holds a folder per step, named like step100
or checkpoint-500.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from transect.errors import InputError, LoadError
from transect.registry.suite_file.append import Template
from transect.store.model_files.folder import configuration

STEP = re.compile(r"(.*?)(\d+)")
# what a configuration says of the program that wrote it, not of the network
OF_THE_PROGRAM = ("transformers_version", "_name_or_path", "use_cache", "dtype", "torch_dtype")


class Curve(NamedTuple):
    """rule: the rule of checkpoints as in a suite file. last: the folder of the last one."""

    rule: dict[str, Any]
    last: Path


def curve(folder: Path, template: str | None, tokens_per_step: int | None) -> Curve | None:
    """The checkpoints in a folder; None where it is one model itself and no template was given, or
    holds no folder of one.

    template: their names with {step} for the number; found by itself where two or more folders of
    one configuration are called alike. A folder of a checkpoint holds a config.json. Raises
    InputError for a template that names none, for folders of several such names or networks, and
    for a folder that holds models which are no checkpoints.
    """
    if template is None and (folder / "config.json").is_file():
        return None
    names = sorted(child.name for child in folder.iterdir() if (child / "config.json").is_file())
    if template is None:
        if not names:
            return None
        template = _template(folder, names)
    steps = _steps(folder, template, names)
    _check_one_network(folder, list(steps.values()))
    rule: dict[str, Any] = {"revision": Template(template), "steps": list(steps)}
    odd = {s: name for s, name in steps.items() if name != template.replace("{step}", str(s))}
    if odd:
        rule["names"] = odd
    if tokens_per_step is not None:
        rule["tokens_per_step"] = tokens_per_step
    return Curve(rule, folder / list(steps.values())[-1])


def _steps(folder: Path, template: str, names: list[str]) -> dict[int, str]:
    """Step -> name of its folder, in the order of training. Raises InputError for a template that
    fits none of the names, and for two that are one step.
    """
    if template.count("{step}") != 1:
        raise InputError(
            f"--checkpoints {template!r}: write the names of the folders with {{step}} for the number, e.g. 'step{{step}}'."
        )
    before, after = map(re.escape, template.split("{step}"))
    steps: dict[int, str] = {}
    for name in names:
        match = re.fullmatch(f"{before}([0-9]+){after}", name)
        if match is None:
            continue
        step = int(match[1])
        if step in steps:
            raise InputError(f"{folder}: {steps[step]} and {name} are the same step.")
        steps[step] = name
    if not steps:
        raise InputError(
            f"--checkpoints {template!r}: no folder in {folder} is called so and holds a config.json; there are {', '.join(names) or 'none'}."
        )
    return dict(sorted(steps.items()))


def _template(folder: Path, names: list[str]) -> str:
    """What the names of checkpoints have in common, with {step} for the number."""
    prefixes = [match[1] for name in names if (match := STEP.fullmatch(name))]
    distinct = sorted(set(prefixes))
    if len(distinct) == 1 and len(prefixes) > 1:
        return f"{distinct[0]}{{step}}"
    advice = ""
    if distinct:
        templates = " and ".join(repr(f"{prefix}{{step}}") for prefix in distinct[:3])
        advice = f", or say with --checkpoints that those named {templates} are of one training"
    some = ", ".join(names[:6]) + (" ..." if names[6:] else "")
    raise InputError(
        f"{folder} holds no config.json; there are models in its folders {some}: add one of them{advice}."
    )


def _check_one_network(folder: Path, names: list[str]) -> None:
    """Raise InputError where two folders hold networks of other configurations: they are no
    checkpoints of one training.
    """
    first = _network(folder / names[0])
    for name in names[1:]:
        other = _network(folder / name)
        differing = sorted(key for key in {*first, *other} if first.get(key) != other.get(key))
        if differing:
            keys = ", ".join(differing[:4])
            raise InputError(
                f"{folder}: {names[0]} and {name} are no checkpoints of one training: their configurations differ in {keys}; add each by itself."
            )


def _network(folder: Path) -> dict[str, Any]:
    try:
        config = configuration(folder)
    except LoadError as error:
        raise InputError(str(error)) from None
    return {key: value for key, value in config.items() if key not in OF_THE_PROGRAM}
