"""Reading the JSON files that this program writes beside results: one sentence with the file where
one is damaged.
"""

import json
from pathlib import Path
from typing import Any

from transect.errors import InputError


def read(path: Path) -> Any:
    """The content of a JSON file. Raises InputError for what is no JSON, or too deep for any that
    was written here.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        damage = "it is nested too deep"
    except ValueError as error:  # also what is not UTF-8
        damage = str(error)
    raise InputError(f"{path}: this file is damaged ({damage}).")


def read_object(path: Path, *needed: str) -> dict[str, Any]:
    """The same of a file that holds one object with these names; InputError for anything else."""
    content = read(path)
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: this file is damaged (it holds {type(content).__name__} where an object was written)."
        )
    if lacking := [name for name in needed if name not in content]:
        raise InputError(f"{path}: this file is damaged (it lacks {', '.join(lacking)}).")
    return content
