"""Whether the cells of a study are what was written: every one is read again and compared with the
digest that was stored.

The files' own records say what was measured; index.parquet is not asked.
"""

from transect.errors import InputError
from transect.store.cell_store import MEASURED, Store, values_digest
from transect.study.study_file import Study


def damages(study: Study) -> tuple[int, list[str]]:
    """How many cells were read, and a sentence for each file or cell that is not what was written.

    A file of which nothing can be told counts, whatever study it is of.
    """
    cells = Store(study.project.store)
    recorded, damaged = cells.recorded()
    wanted = recorded[
        recorded.index.isin([c.key for c in study.cells]) & (recorded["state"] == MEASURED)
    ]
    for file, part in wanted.groupby("file", sort=False):
        try:
            values = dict(iter(cells.read(part).groupby("cell", sort=False)))
        except InputError as error:
            damaged.append(str(error))
            continue
        for key, expected in part["sha256"].items():
            if key not in values or values_digest(values[key]) != expected:
                damaged.append(
                    f"{file}: the values of cell {str(key)[:12]} are not those that were written."
                )
    return len(wanted), damaged
