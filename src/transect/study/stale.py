"""Which cells of a study must be measured, by what the store holds."""

import pandas as pd

from transect.store.cell_store import FAILED
from transect.study.grid import Cell


def stale(cell: Cell, index: pd.DataFrame, retry_failed: bool = False) -> bool:
    """Whether a cell must be measured: it is not in the store, or its failure is one that is tried
    again.
    """
    if cell.key not in index.index:
        return True
    state, kind = index.at[cell.key, "state"], index.at[cell.key, "kind"]
    if state != FAILED or retry_failed or kind == "resource":
        return bool(state == FAILED)
    # what failed in other code of the project may go well in this
    now = {"code": cell.entry.code, "stimuli_code": cell.entry.stimuli_code}
    return any("=" in code and index.at[cell.key, column] != code for column, code in now.items())
