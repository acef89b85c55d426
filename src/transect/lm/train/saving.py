"""What a training run leaves on disk: checkpoints in hub layout, the state to resume from, and
done.json. Written whole or not at all.

root/recipe.json          the digest of the recipe: weights of another recipe are thrown away, not continued
root/<revision>/          config.json, model.safetensors, tokenizer files
root/resume.pt            while training: everything the next step depends on, always written after the checkpoint
    of its step
root/done.json            at the end: revision -> SHA-256 of model.safetensors
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from transect.store.files.json_file import read_object
from transect.store.files.whole_files import PART, recover, write_text, write_whole

WEIGHTS = "model.safetensors"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The content, or nothing where there is no such file."""
    return read_object(path) if path.is_file() else {}


def prepare(root: Path, digest: str, revisions: list[str]) -> bool:
    """Make the folder ready for this recipe; True if the run is already done. Files of another
    recipe and unfinished ones are removed: one process at a time works on a run
    (jobs/training_lease.py).
    """
    root.mkdir(parents=True, exist_ok=True)
    if read_json(root / "recipe.json").get("digest") != digest:
        for name in ("done.json", "resume.pt"):
            (root / name).unlink(missing_ok=True)
        for revision in revisions:
            shutil.rmtree(root / revision, ignore_errors=True)
        write_json(root / "recipe.json", {"digest": digest})
    for revision in revisions:
        recover(root / revision)
    for path in list(root.rglob(f"{PART}*")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return bool(read_json(root / "done.json")) and all(
        (root / revision / WEIGHTS).is_file() for revision in revisions
    )


def finish(root: Path, revisions: list[str]) -> None:
    """Write done.json and remove the resume state."""
    digests = {
        revision: hashlib.sha256((root / revision / WEIGHTS).read_bytes()).hexdigest()
        for revision in revisions
    }
    write_json(root / "done.json", digests)
    (root / "resume.pt").unlink(missing_ok=True)


def save_state(root: Path, state: Mapping[str, Any]) -> None:
    write_whole(root / "resume.pt", lambda unfinished: torch.save(dict(state), unfinished))


def load_state(root: Path, device: torch.device) -> dict[str, Any] | None:
    """The state to resume from, or None."""
    path = root / "resume.pt"
    return torch.load(path, map_location=device, weights_only=True) if path.is_file() else None
