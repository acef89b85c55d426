"""Checkpoints of a training of one's own: a folder that holds a folder per step, named like step100 or checkpoint-500."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from transect.errors import InputError
from transect.suite_append import Template

STEP = re.compile(r"(.*?)(\d+)")


class Curve(NamedTuple):
    """rule: the rule of checkpoints as in a suite file. last: the folder of the last one."""

    rule: dict[str, Any]
    last: Path


def curve(folder: Path, template: str | None, tokens_per_step: int | None) -> Curve | None:
    """The checkpoints in a folder; None where it is one model itself and no template was given, or holds none.

    template: their names with {step} for the number; found by itself where all of them are called alike. A folder of a checkpoint holds a
    config.json. Raises InputError for a template that names none, or for folders of several such names.
    """
    if template is None and (folder / "config.json").is_file():
        return None
    names = sorted(child.name for child in folder.iterdir() if (child / "config.json").is_file())
    if template is None:
        alike = sorted({match[1] for name in names if (match := STEP.fullmatch(name))})
        if len(alike) > 1:
            told = " and ".join(repr(f"{prefix}{{step}}") for prefix in alike[:3])
            raise InputError(f"{folder} holds checkpoints named {told}; say which with --checkpoints.")
        if not alike:
            return None
        template = f"{alike[0]}{{step}}"
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
        raise InputError(f"--checkpoints {template!r}: no folder in {folder} is called so and holds a config.json; there are {', '.join(names) or 'none'}.")  # fmt: skip
    ordered = sorted(steps)
    rule: dict[str, Any] = {"revision": Template(template), "steps": ordered}
    other = {step: steps[step] for step in ordered if steps[step] != template.replace("{step}", str(step))}
    rule |= {"names": other} if other else {}
    rule |= {"tokens_per_step": tokens_per_step} if tokens_per_step is not None else {}
    return Curve(rule, folder / steps[ordered[-1]])
