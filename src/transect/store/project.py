"""Where things lie: the shipped repository, a user's own project folder, the cell store, the
weights, the mirror.

A project folder is made by `transect init DIR`. Its studies/, model_registry/, stimuli/, measures/,
corpora/ and analyses/ are read beside those that are shipped; its settings stand in transect.yaml.
In the repository itself the project is the repository.

What lies in these folders may be code. So they are read only where transect.yaml says that this is
a project: in the current folder, or in one above it that belongs to the same user and that not
everybody may write to. In any other folder there are the shipped ones.
"""

import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.store.files import yaml_file

PACKAGE = Path(__file__).resolve().parents[1]
# the registry, studies, analyses and workflow that come with the package: a folder of an installed
# one (see pyproject.toml), the repository of a checkout
SHIPPED = PACKAGE / "shipped" if (PACKAGE / "shipped").is_dir() else PACKAGE.parents[1]
SETTINGS_FILE = "transect.yaml"
SETTINGS: dict[str, str] = {
    "store": "folder of the cell store and the weights (default results/store)",
    "mirror": "folder with local copies of the declared sources (default: download)",
    "keep_weights": "false: delete a checkpoint that came from the hub once it is measured (default true)",
    "cores": "cores that `transect run` may use (default: all)",
}

KINDS = {
    "store": (str, "the path of a folder"),
    "mirror": (str, "the path of a folder"),
    "keep_weights": (bool, "true or false"),
    "cores": (int, "a whole number of at least 1"),
}
# folders of a project, and what in them is read
FOLDERS = {
    "studies": "*.yaml",
    "model_registry": "*.yaml",
    **dict.fromkeys(("stimuli", "measures", "corpora", "analyses", "analyses/figures"), "*.py"),
}


@dataclass(frozen=True)
class Project:
    """One place of work: `root` holds results; units are looked up in `roots` (own first, then
    shipped). plain: it is no project folder.
    """

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    plain: bool = False

    @property
    def has_own(self) -> bool:
        """Whether studies, suites and units of its own are read beside those that are shipped."""
        return self.root != SHIPPED and not self.plain

    @property
    def roots(self) -> tuple[Path, ...]:
        return (self.root, SHIPPED) if self.has_own else (SHIPPED,)

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
        path = os.environ.get(variable) or self.settings.get(setting)
        if "://" in str(path):
            raise InputError(
                f"The setting `{setting}` ({variable}) is an address; it is a folder on this machine."
            )
        return (self.root / Path(str(path)).expanduser()).resolve() if path else None


def find_project(start: Path | None = None) -> Project:
    """The project whose folder contains `start` (default: the current folder); else the shipped
    repository, if we stand in it.

    A folder is a project if it holds transect.yaml; one that may be another's is not, which is
    told. Anywhere else results go to ./results, and only what is shipped is read.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            fault = _fault(folder, folder == here)
            if not fault:
                return Project(folder, _read_settings(folder / SETTINGS_FILE))
            tell(
                f"{folder / SETTINGS_FILE} is not used: {fault}, so it could run another's code as yours."
            )
        if folder == SHIPPED:
            return Project(SHIPPED)
    unread = [name for name, form in FOLDERS.items() if any((here / name).glob(form))]
    if unread:
        tell(
            f"{here} is no project: it has no {SETTINGS_FILE} of yours, so {', '.join(f'{name}/' for name in unread)} in it "
            f"{'is' if len(unread) == 1 else 'are'} not read. `transect init {here}` makes it one, if you trust what lies there."
        )
    return Project(here, plain=True)


def tell(line: str) -> None:
    """Say something on stderr, once in a process."""
    if line not in _told:
        _told.add(line)
        print(f"transect: {line}", file=sys.stderr)


_told: set[str] = set()


def _fault(folder: Path, current: bool) -> str:
    """Why the settings in a folder may be another user's; empty where they are not. The current
    folder may be a colleague's, not everybody's.
    """
    places = [place.stat() for place in (folder, folder / SETTINGS_FILE)]
    if any(place.st_mode & stat.S_IWOTH for place in places) and not (
        current and places[1].st_uid == os.geteuid()
    ):
        return "everybody may write there"
    if not current and any(place.st_uid != os.geteuid() for place in places):
        return "it belongs to another user"
    return ""


def _read_settings(path: Path) -> dict[str, Any]:
    settings = yaml_file.read(path) or {}
    if not isinstance(settings, dict):
        raise InputError(
            f"{path}: expected settings as `name: value`, one per line; allowed: {', '.join(SETTINGS)}."
        )
    for name in settings:
        if name not in SETTINGS:
            raise InputError(
                f"{path}: unknown setting {name!r}; allowed: {', '.join(SETTINGS)}.{nearest(name, SETTINGS)}"
            )
        kind, allowed = KINDS[name]
        value = settings[name]
        wrong = type(value) is not kind or value == "" or (type(value) is int and value < 1)
        if value is not None and wrong:
            raise InputError(f"{path}: {name} is {str(value)[:60]!r}; it must be {allowed}.")
    return settings
