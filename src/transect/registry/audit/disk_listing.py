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
    found = {}
    for run in runs:
        if places := _places(folder, run, alone=len(runs) == 1):
            found[run.id] = read_places(places)
    if not found:
        names = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise InputError(
            f"{folder}: there is no folder of {runs[0].id!r}{' or another of these runs' * (len(runs) > 1)}; it holds {names}."
        )
    return found


def read_places(places: dict[str, Path]) -> Repository:
    """The listing of revision -> folder, every file of each hashed."""
    files = [
        (revision, path)
        for revision, place in places.items()
        for path in sorted(place.iterdir())
        if path.is_file()
    ]
    with ThreadPoolExecutor(
        min(4, os.cpu_count() or 1)
    ) as pool:  # sha256 lets the other threads run
        hashed = list(pool.map(_file, [path for _, path in files]))
    revisions: dict[str, list[File]] = {revision: [] for revision in places}
    for (revision, _), file in zip(files, hashed, strict=True):
        revisions[revision].append(file)
    return Repository({revision: tuple(found) for revision, found in revisions.items()})


def _places(folder: Path, run: Run, alone: bool) -> dict[str, Path]:
    """Revision -> folder."""
    hub_id = str(run.get("hub_id", ""))
    points = checkpoints(run)
    for cache in (folder, folder / "hub") if run.on_hub else ():
        found = {p.revision: place for p in points if (place := _snapshot(cache, p)) is not None}
        if found:
            return found
    revisions = [p.revision for p in points]
    for name in (run.id, hub_id, hub_id.split("/")[-1]) if hub_id else (run.id,):
        if (folder / name).is_dir():
            return below(folder / name, revisions)
    return below(folder, revisions) if alone else {}


def _snapshot(cache: Path, point: Checkpoint) -> Path | None:
    """The folder of a checkpoint in a hub cache."""
    repository = cache / ("models--" + point.hub_id.replace("/", "--"))
    ref = repository / "refs" / point.hub_revision
    place = (
        repository
        / "snapshots"
        / (ref.read_text(encoding="utf-8").strip() if ref.is_file() else point.hub_revision)
    )
    return place if place.is_dir() else None


def below(folder: Path, revisions: list[str]) -> dict[str, Path]:
    """Revision -> folder of that name; the folder itself where the run has one revision and the
    files lie there.
    """
    if len(revisions) == 1 and (folder / CONFIGURATION).is_file():
        return {revisions[0]: folder}
    inner = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_dir() and (p.relative_to(folder).as_posix() in revisions or _holds(p))
    ]
    return {p.relative_to(folder).as_posix(): p for p in inner}


def _holds(folder: Path) -> bool:
    return any(path.name == CONFIGURATION or SAFE.fullmatch(path.name) for path in folder.iterdir())


def _file(path: Path) -> File:
    size = path.stat().st_size
    if SAFE.fullmatch(path.name) or PICKLED.fullmatch(path.name):
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        named = path.resolve().name  # in a hub cache a link to a blob that is named by its hash
        cached = path.is_symlink() and path.resolve().parent.name == "blobs" and len(named) == 64
        error = (
            f"its sha256 is {digest[:12]}, its name in the cache {named[:12]}"
            if cached and named != digest
            else ""
        )
        return File(path.name, size, digest, error=error)
    blob = hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as opened:
        while part := opened.read(MB):
            blob.update(part)
    file = File(path.name, size, blob.hexdigest())
    if path.name != CONFIGURATION:
        return file
    if size > LARGEST:
        return replace(file, error=f"it has {size:,} bytes, and {LARGEST:,} are read at most")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return replace(file, error=f"it is no JSON ({error})")
    return (
        replace(file, content=data)
        if isinstance(data, dict)
        else replace(file, error="it is no JSON object")
    )
