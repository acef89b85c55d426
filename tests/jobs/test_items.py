"""The items of a cell, kept in the store."""

import json

from transect.jobs.items import items_of, path_of
from transect.store import cell_store
from transect.store.project import Project
from transect.study import study_file as studies


def test_items_that_somebody_changed_are_made_again(world: Project) -> None:
    """The kept table is believed only with the digest that was written beside it; then nothing is
    made anew.
    """
    study = studies.load("tiny", world)
    cell = next(c for c in study.cells if c.entry.stimuli is not None)
    true, digest = items_of(cell, study)
    path = path_of(cell.items_digest, study)
    before = path.stat().st_mtime_ns
    assert items_of(cell, study)[1] == digest and path.stat().st_mtime_ns == before
    edited = true.assign(sentence_good=true["sentence_bad"])
    cell_store.write_table(path, edited)
    again, same = items_of(cell, study)
    assert same == digest and again.equals(true) and cell_store.read_table(path).equals(true)
    assert json.loads(path.with_suffix(".json").read_text())["sha256"] == digest
