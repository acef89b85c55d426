"""The step that gathers: a study's cells -> measurements, grid, registry and items tables. Factors
are joined later, when analysed.

Measurements hold numbers only: the rows of refused items stay in the store, and the grid counts
those items (n_refused).
"""

from functools import partial
from pathlib import Path

import pandas as pd

from transect.jobs.items import path_of
from transect.registry import factors
from transect.registry.run import UNKNOWN
from transect.report.columns import ITEMS, TABLES
from transect.store import cell_store
from transect.store.cell_store import MISSING, NOT_APPLICABLE, Store
from transect.store.files.whole_files import write_folder
from transect.study.study_file import Study


def gather(study: Study, folder: Path) -> None:
    """Write measurements.parquet, grid.parquet (one row per cell, with its state and reason),
    registry.parquet, and the items by set.
    """
    cells = Store(study.project.store)
    grid = grid_table(study, cells.index())
    cell_store.write_table(folder / "grid.parquet", grid)
    cell_store.write_table(folder / "registry.parquet", registry_table(study))
    cell_store.write_table(folder / "measurements.parquet", _measurements(study, grid, cells))
    write_folder(folder / ITEMS, partial(_write_items, items_tables(study)))


def _write_items(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    for name, items in tables.items():
        cell_store.write_table(folder / f"{name}.parquet", items)
        cell_store.write_csv(folder / f"{name}.csv", items)


def copy_as_csv(folder: Path) -> list[Path]:
    """measurements, grid and registry once more as CSV beside their Parquet files; what is not
    there yet is left out.
    """
    found = [path for name in TABLES if (path := folder / f"{name}.parquet").is_file()]
    for path in found:
        cell_store.write_csv(path.with_suffix(".csv"), cell_store.read_table(path))
    return [path.with_suffix(".csv") for path in found]


def grid_table(study: Study, index: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of the study: what, where, in which of the four states, and why."""
    rows = []
    recorded = index.to_dict("index")
    for cell in study.cells:
        at, known = cell.checkpoint, recorded.get(cell.key, {})
        state, reason = known.get("state", MISSING), known.get("reason", "not measured yet")
        if cell.reason:
            state, reason = NOT_APPLICABLE, cell.reason
        rows.append(
            {
                "cell": cell.key,
                "suite": at.run.suite,
                "run": at.run.id,
                "role": cell.role,
                "revision": at.revision,
                "step": at.step,
                "tokens_seen": at.tokens_seen,
                "measure": cell.entry.measure.name,
                "stimuli": cell.stimuli_name,
                "entry": cell.entry.name,
                "state": state,
                "reason": reason,
                "n_refused": int(known.get("refused", 0)),
                "items": cell.items_digest,
                "file": known.get("file"),
                "sha256": known.get("sha256"),
            }
        )
    return pd.DataFrame(rows).astype({"step": "Int64", "tokens_seen": "Int64"})


def registry_table(study: Study) -> pd.DataFrame:
    """One row per run of the study: every field of a design factor, and each other scalar field
    that some run has.

    What is not known of a run is a missing number, and among names the level `unknown`; true and
    false beside it are names, too.
    """
    ordered = sorted(study.cells, key=lambda cell: cell.checkpoint.step or 0)
    last = {cell.checkpoint.run.id: cell.checkpoint.revision for cell in ordered}
    rows = [
        run.values()
        | {
            "role": study.roles[run.id],
            "configuration": study.registry.configurations[run.id],
            "last_revision": last.get(run.id),
        }
        for run in study.runs
    ]
    table = pd.DataFrame(rows).drop(columns=["id", "label", "checkpoints"], errors="ignore")
    told = factors.of_design()
    own = {name for run in study.runs for name in run.facts} - set(factors.shared_fields())
    table = table.reindex(columns=[*table, *(name for name in told if name not in table)])
    columns = {
        name: _with_unknown(table[name], factor=name in told or name in own) for name in table
    }
    return pd.DataFrame(columns)


def _with_unknown(values: pd.Series, factor: bool) -> pd.Series:
    """factor: a missing name is the level `unknown`; elsewhere (a parent) it is none."""
    numbers = values.dropna().map(lambda v: isinstance(v, int | float) and not isinstance(v, bool))
    if factors.is_number(str(values.name)) or numbers.any():
        return pd.to_numeric(values, errors="coerce").convert_dtypes()
    if factor:
        values = values.where(values.notna(), UNKNOWN)
    truths = values.map(lambda v: isinstance(v, bool))
    if not truths.any() or truths.all():
        return values
    return values.map(lambda v: str(v).lower() if isinstance(v, bool) else v)


def items_tables(study: Study) -> dict[str, pd.DataFrame]:
    """Stimulus set -> its items as they were measured: entry, the registry fields that they depend
    on (language ...), item, texts.

    The rows of the measurements are joined to them by entry, those fields of their run, and item.
    """
    of = {
        (c.entry.name, c.items_digest): c for c in study.cells if c.entry.stimuli and not c.reason
    }
    found: dict[str, list[pd.DataFrame]] = {}
    for (entry, digest), cell in of.items():
        path = path_of(digest, study)
        if path.is_file():
            fields = {"entry": entry} | cell.parameters
            items = cell_store.read_table(path).assign(**fields)
            first = [*fields, *(c for c in items if c not in fields)]
            found.setdefault(cell.stimuli_name, []).append(items[first])
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def _measurements(study: Study, grid: pd.DataFrame, cells: Store) -> pd.DataFrame:
    values = cells.read(grid[grid["file"].notna()].set_index("cell"))
    values = values[values["error"].isna()].drop(columns="error")
    order = pd.Series(range(len(grid)), index=grid["cell"])
    values = values.iloc[values["cell"].map(order).argsort(kind="stable")]
    where = grid.drop(columns=["state", "reason", "n_refused", "file", "sha256"])
    joined = values.merge(where, on="cell", how="left")
    conditions = [_conditions(study, digest) for digest in joined["items"].dropna().unique()]
    conditions = [c for c in conditions if c is not None]
    if conditions:
        joined = joined.merge(
            pd.concat(conditions, ignore_index=True), on=["items", "item"], how="left"
        )
    joined.insert(joined.columns.get_loc("metric") + 1, "unit", _units(study, joined))
    return joined.drop(columns=["cell", "items"]).reset_index(drop=True)


def _units(study: Study, rows: pd.DataFrame) -> pd.Series:
    """The unit of each row's metric, as its measure declares it."""
    measures = {e.measure.name: e.measure for e in study.entries}
    kinds = rows[["measure", "metric"]].drop_duplicates()
    units = [measures[measure].unit_of(metric) for measure, metric in kinds.itertuples(index=False)]
    return rows[["measure", "metric"]].merge(kinds.assign(unit=units), how="left")["unit"]


def _conditions(study: Study, digest: str) -> pd.DataFrame | None:
    """The conditions of a set's items, as columns item_<name>; its texts stay in the store."""
    path = path_of(digest, study)
    if not path.is_file():
        return None
    items = cell_store.read_table(path)
    texts = {"item", "text", "sentence_good", "sentence_bad", "clean", "corrupted"}
    kept = [c for c in items.columns if c not in texts]
    return (
        items[["item", *kept]].rename(columns={c: f"item_{c}" for c in kept}).assign(items=digest)
    )
