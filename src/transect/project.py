"""Where things lie: the shipped repository, a user's own project folder, the cell store, the weights, the mirror.

A project folder is made by `transect init DIR`. Its studies/, model_registry/, stimuli/, measures/, corpora/ and analyses/ are read
beside those that are shipped; its settings stand in transect.yaml. In the repository itself the project is the repository.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transect import yaml_file
from transect.errors import InputError, nearest

SHIPPED = Path(__file__).resolve().parents[2]
SETTINGS_FILE = "transect.yaml"
SETTINGS: dict[str, str] = {
    "store": "folder of the cell store and the weights (default results/store)",
    "mirror": "folder with local copies of the declared sources (default: download)",
    "keep_weights": "false: delete a checkpoint that came from the hub once it is measured (default true)",
    "cores": "cores that `transect run` may use (default: all)",
}


@dataclass(frozen=True)
class Project:
    """One place of work: `root` holds results; units are looked up in `roots` (own first, then shipped)."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[Path, ...]:
        return (self.root,) if self.root == SHIPPED else (self.root, SHIPPED)

    @property
    def store(self) -> Path:
        return self._path("store", "TRANSECT_STORE") or self.root / "results" / "store"

    @property
    def mirror(self) -> Path | None:
        return self._path("mirror", "TRANSECT_MIRROR")

    @property
    def cores(self) -> int:
        return int(self.settings.get("cores") or os.cpu_count() or 1)

    def results(self, study: str) -> Path:
        return self.root / "results" / study

    def _path(self, setting: str, variable: str) -> Path | None:
        given = os.environ.get(variable) or self.settings.get(setting)
        if "://" in str(given):
            raise InputError(f"The setting `{setting}` ({variable}) is an address; it is a folder on this machine.")
        return (self.root / Path(str(given)).expanduser()).resolve() if given else None


def find_project(start: Path | None = None) -> Project:
    """The project whose folder contains `start` (default: the current folder); else the shipped repository, if we stand in it.

    A folder is a project if it holds transect.yaml. Anywhere else the current folder itself serves as the project: its results
    go to ./results.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return Project(folder, _read_settings(folder / SETTINGS_FILE))
        if folder == SHIPPED:
            return Project(SHIPPED)
    return Project(here)


def _read_settings(path: Path) -> dict[str, Any]:
    settings = yaml_file.read(path) or {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: expected settings as `name: value`, one per line; allowed: {', '.join(SETTINGS)}.")
    for name in settings:
        if name not in SETTINGS:
            raise InputError(
                f"{path}: unknown setting {name!r}; allowed: {', '.join(SETTINGS)}.{nearest(name, SETTINGS)}"
            )
    return settings
