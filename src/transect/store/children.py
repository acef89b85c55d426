"""Python processes that Transect starts: none of them imports from the folder that it runs in.

With ``python -m`` the current folder comes first on Python's import path, so that a file random.py
or numpy.py beside a study would be run in the place of the module of that name. An empty entry of
PYTHONPATH means the current folder too.
"""

import os
import sys
from collections.abc import Mapping


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module, with the current folder off its import path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment (default: this process's) under which all further Python processes keep it
    off, whoever starts them.
    """
    found = dict(os.environ if given is None else given)
    paths = [path for path in found.pop("PYTHONPATH", "").split(os.pathsep) if path]
    return (
        found | {"PYTHONSAFEPATH": "1"} | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})
    )
