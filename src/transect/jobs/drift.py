"""The canary: one identity (run and revision) has one set of weights and one tokenizer, for as long
as the store remembers it.

The key of a cell names a checkpoint by hub id and revision, or by the recipe it was trained with:
known before anything is loaded, and silent about what lies there. So every file of cells records
what was loaded: sha256 of the weights, of the ids of a fixed text, of the special tokens and of the
configuration (an epsilon changes numbers too), and of a hub model the commit. A branch that has
moved, a file that was exchanged or a tokenizer that another version of its library cuts otherwise
is noticed at the next load, before anything is measured. Nothing is overwritten. An entry of the
registry may state the digest of the ids itself (tokenizer: canary); then the first load is checked,
too.
"""

import time
from collections.abc import Mapping
from typing import Any

from transect.errors import InputError
from transect.registry.run import Run
from transect.store.cell_store import Store

PARTS = {
    "weights": "weights",
    "tokenizer": "tokenizer",
    "special": "special tokens of the tokenizer",
    "config": "configuration",
    "interface": "model that the interface serves",
}


class DriftError(InputError):
    """What lies at a revision is not what was measured there before."""


def check(
    store: Store,
    run: str,
    revision: str,
    identity: str,
    fingerprint: Mapping[str, str],
    commit: str,
) -> None:
    """Raise DriftError where an earlier measurement of the same identity recorded another
    fingerprint.

    commit: name of the folder that was loaded (of a hub model its commit); it only explains: a
    commit that changes none of these is no drift. A part that a record of an earlier version lacks
    is not compared.
    """
    for file, recorded in store.provenance_of(run, revision).items():
        before = recorded.get("fingerprint", {})
        changed = [
            part
            for part in PARTS
            if part in before and part in fingerprint and before[part] != fingerprint[part]
        ]
        if recorded.get("identity") != identity or not changed:
            continue
        what = " and the ".join(PARTS[part] for part in changed)
        digests = f"{_short(before[changed[0]])} then, {_short(fingerprint[changed[0]])} now"
        moved = recorded.get("path") not in (None, commit) and "@" in identity
        where = (
            f"; the hub's commit was {recorded['path'][:12]} then and is {commit[:12]} now"
            if moved
            else ""
        )
        when = (
            time.strftime("%Y-%m-%d", time.gmtime(recorded["time"]))
            if "time" in recorded
            else "before"
        )
        keep = (
            f"name commit {recorded['path']} as the revision"
            if moved
            else "put back what was there"
        )
        raise DriftError(
            f"{run} at {revision}: the {what} changed since this checkpoint was measured ({digests}; recorded {when} in "
            f"{store.root / 'provenance' / file}{where}). Nothing was measured or overwritten: {keep}, or, to measure "
            f"all of it anew, delete {store.root / 'cells' / run / revision} and {store.root / 'provenance' / run / revision}."
        )


def check_canary(run: Run, revision: str, fingerprint: Mapping[str, str]) -> None:
    """Raise DriftError where the tokenizer cuts the fixed text otherwise than the run's entry
    states (its digest, or how that begins).
    """
    stated = str((run.get("tokenizer") or {}).get("canary") or "")
    if not fingerprint.get("tokenizer", stated).startswith(stated):  # an interface shows none
        raise DriftError(
            f"{run.id} at {revision}: the tokenizer cuts a fixed text otherwise than when the run was added to the registry (canary "
            f"{_short(stated)} in suite {run.suite}, {_short(fingerprint['tokenizer'])} now). Nothing was measured: its files or the version "
            "of transformers or tokenizers changed; put back what was there, or correct the entry."
        )


def _short(value: Any) -> str:
    return str(value) if " " in str(value) else str(value)[:12]  # a name, or a digest
