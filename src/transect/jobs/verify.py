"""Whether the cells of a study are what was written: every one is read again and compared with the digest that was stored."""

from transect.errors import InputError
from transect.store import MEASURED, Store, values_digest
from transect.study import Study


def damages(study: Study) -> tuple[int, list[str]]:
    """How many cells were read, and a sentence for each file or cell that is not what was written."""
    cells = Store(study.project.store)
    index = cells.index()
    expected = index["sha256"].to_dict()
    wanted = index[index.index.isin([c.key for c in study.cells]) & (index["state"] == MEASURED)]
    damaged = []
    for file, part in wanted.groupby("file", sort=False):
        try:
            values = cells.read(part)
        except InputError as error:
            damaged.append(str(error))
            continue
        for key, rows in values.groupby("cell", sort=False):
            if values_digest(rows) != expected[key]:
                damaged.append(f"{file}: the values of cell {str(key)[:12]} are not those that were written.")
    return len(wanted), damaged
