"""What lies on this machine, as a listing: suites in a folder of their own, hub caches, runs that
were trained here.

A folder holds, for a run, the first of these that is there:
    models--<organisation>--<name>/ (also below hub/)   a hub cache: refs/<revision> names a snapshot
    <name>/<revision>/config.json ...                   <name>: the run's id, its hub id, or the part after the /
    <name>/config.json ...                              a run with a single revision
    <revision>/config.json ...                          where one run is asked for
Every file is hashed: sha256 of weights, sha1 of the git blob of the others, as on the hub.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from transect.errors import InputError
from transect.registry.audit.listing import (
    CONFIGURATION,
    PICKLED,
    SAFE,
    File,
    Repository,
    checkpoints,
)
from transect.registry.run import Checkpoint, Run

MB = 2**20
LARGEST = 16 * MB  # bytes of a configuration


def read_folder(folder: Path, runs: Sequence[Run]) -> dict[str, Repository]:
    """Run id -> what the folder holds of it; runs of which it holds nothing are left out. Raises
    InputError where that is all of them.
    """
    held = {}
    for run in runs:
        if places := _places(folder, run, alone=len(runs) == 1):
            held[run.id] = read_places(places)
    if not held:
        names = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        others = " or another of these runs" if len(runs) > 1 else ""
        raise InputError(
            f"{folder}: there is no folder of {runs[0].id!r}{others}; it holds {names}."
        )
    return held


def read_places(places: dict[str, Path]) -> Repository:
    """The listing of revision -> folder, every file of each hashed."""
    files = [
        (revision, path)
        for revision, place in places.items()
        for path in sorted(place.iterdir())
        if path.is_file()
    ]
    # sha256 lets the other threads run
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        hashed = list(pool.map(_file, [path for _, path in files]))
    revisions: dict[str, list[File]] = {revision: [] for revision in places}
    for (revision, _), file in zip(files, hashed, strict=True):
        revisions[revision].append(file)
    return Repository({revision: tuple(of_one) for revision, of_one in revisions.items()})


def _places(folder: Path, run: Run, alone: bool) -> dict[str, Path]:
    """Revision -> folder: in a hub cache, in a folder of the run's name, else, of a run that is
    `alone`, in the folder itself.
    """
    points = checkpoints(run)
    for cache in (folder, folder / "hub") if run.on_hub else ():
        snapshots = {point.revision: _snapshot(cache, point) for point in points}
        if places := {revision: place for revision, place in snapshots.items() if place}:
            return places
    revisions = [point.revision for point in points]
    for name in _names(run):
        if (folder / name).is_dir():
            return below(folder / name, revisions)
    return below(folder, revisions) if alone else {}


def _names(run: Run) -> list[str]:
    """What a folder of a run may be called."""
    hub_id = str(run.get("hub_id", ""))
    return [run.id, hub_id, hub_id.split("/")[-1]] if hub_id else [run.id]


def _snapshot(cache: Path, point: Checkpoint) -> Path | None:
    """The folder of a checkpoint in a hub cache."""
    repository = cache / ("models--" + point.hub_id.replace("/", "--"))
    ref = repository / "refs" / point.hub_revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else point.hub_revision
    place = repository / "snapshots" / commit
    return place if place.is_dir() else None


def below(folder: Path, revisions: list[str]) -> dict[str, Path]:
    """Revision -> folder of that name; the folder itself where the run has one revision and the
    files lie there.
    """
    if len(revisions) == 1 and (folder / CONFIGURATION).is_file():
        return {revisions[0]: folder}
    folders = (path for path in sorted(folder.rglob("*")) if path.is_dir())
    named = {path.relative_to(folder).as_posix(): path for path in folders}
    return {name: path for name, path in named.items() if name in revisions or _holds(path)}


def _holds(folder: Path) -> bool:
    return any(path.name == CONFIGURATION or SAFE.fullmatch(path.name) for path in folder.iterdir())


def _file(path: Path) -> File:
    """A file with its digest: sha256 of weights, the hash of its git blob of all others."""
    if SAFE.fullmatch(path.name) or PICKLED.fullmatch(path.name):
        return _weights(path)
    size = path.stat().st_size
    blob = hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as opened:
        while part := opened.read(MB):
            blob.update(part)
    file = File(path.name, size, blob.hexdigest())
    return _configuration(path, file) if path.name == CONFIGURATION else file


def _weights(path: Path) -> File:
    """A file of weights; an error where a hub cache names it by another hash than its own."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    error, blob = "", path.resolve()  # in a hub cache a link to a blob that is named by its hash
    is_cached = path.is_symlink() and blob.parent.name == "blobs" and len(blob.name) == 64
    if is_cached and blob.name != digest:
        error = f"its sha256 is {digest[:12]}, its name in the cache {blob.name[:12]}"
    return File(path.name, path.stat().st_size, digest, error=error)


def _configuration(path: Path, file: File) -> File:
    """A config.json with what it says, or why that is not known."""
    if file.size > LARGEST:
        return replace(file, error=f"it has {file.size:,} bytes, and {LARGEST:,} are read at most")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return replace(file, error=f"it is no JSON ({error})")
    if not isinstance(content, dict):
        return replace(file, error="it is no JSON object")
    return replace(file, content=content)
