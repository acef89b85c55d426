"""Which cells must be measured."""

import pytest

from transect.store.cell_store import FAILED, NOT_APPLICABLE, Store
from transect.store.project import Project
from transect.study import study_file
from transect.study.stale import stale


@pytest.mark.parametrize(
    ("state", "kind", "again", "after_retry"),
    [
        (FAILED, "resource", True, True),
        (FAILED, "data", False, True),
        (NOT_APPLICABLE, "", False, False),
    ],
)
def test_a_cell_is_tried_again_by_the_kind_of_its_failure(
    world: Project, state: str, kind: str, again: bool, after_retry: bool
) -> None:
    """A resource that gave out always, data that were wrong where failures are retried, another
    state never; a cell that the store does not hold is stale.
    """
    cell, other = study_file.load("tiny", world).shards[0].cells[:2]
    store = Store(world.store)
    store.write([cell.record(state, reason="planted", kind=kind)], {}, {})
    index = store.index()
    assert stale(cell, index) is again
    assert stale(cell, index, retry_failed=True) is after_retry
    assert stale(other, index)
