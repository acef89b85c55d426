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
    if template.count("{step}") != 1:
        raise InputError(
            f"--checkpoints {template!r}: write the names of the folders with {{step}} for the number, e.g. 'step{{step}}'."
        )
    before, after = map(re.escape, template.split("{step}"))
    steps: dict[int, str] = {}
    for name in names:
        if match := re.fullmatch(f"{before}([0-9]+){after}", name):
            if int(match[1]) in steps:
                raise InputError(f"{folder}: {steps[int(match[1])]} and {name} are the same step.")
            steps[int(match[1])] = name
    if not steps:
        raise InputError(
            f"--checkpoints {template!r}: no folder in {folder} is called so and holds a config.json; there are {', '.join(names) or 'none'}."
        )
    ordered = sorted(steps)
    _check_one_network(folder, [steps[step] for step in ordered])
    rule: dict[str, Any] = {"revision": Template(template), "steps": ordered}
    other = {
        step: steps[step]
        for step in ordered
        if steps[step] != template.replace("{step}", str(step))
    }
    rule |= {"names": other} if other else {}
    rule |= {"tokens_per_step": tokens_per_step} if tokens_per_step is not None else {}
    return Curve(rule, folder / steps[ordered[-1]])


def _template(folder: Path, names: list[str]) -> str:
    """What the names of checkpoints have in common, with {step} for the number."""
    prefixes = [match[1] for name in names if (match := STEP.fullmatch(name))]
    alike = sorted(set(prefixes))
    if len(alike) == 1 and len(prefixes) > 1:
        return f"{alike[0]}{{step}}"
    told = " and ".join(repr(f"{prefix}{{step}}") for prefix in alike[:3])
    how = (
        f", or say with --checkpoints that those named {told} are of one training" if alike else ""
    )
    some = ", ".join(names[:6]) + (" ..." if names[6:] else "")
    raise InputError(
        f"{folder} holds no config.json; there are models in its folders {some}: add one of them{how}."
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
            told = f"{names[0]} and {name} are no checkpoints of one training"
            keys = ", ".join(differing[:4])
            raise InputError(
                f"{folder}: {told}: their configurations differ in {keys}; add each by itself."
            )


def _network(folder: Path) -> dict[str, Any]:
    try:
        config = configuration(folder)
    except LoadError as error:
        raise InputError(str(error)) from None
    return {key: value for key, value in config.items() if key not in OF_THE_PROGRAM}
