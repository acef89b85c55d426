"""The files that `transect fit` writes beside what it prints."""

from pathlib import Path

import pandas as pd

from transect.cli.model.rows_file import check_out, write_rows
from transect.errors import InputError
from transect.stats.table.table_model import TableModel
from transect.stats.table.table_prediction import COLUMNS, predictions
from transect.store.tables.reading import read


def check_predictions(out: Path | None, new: Path | None, table: Path) -> None:
    """Raise InputError before the fit for a file that cannot be written or is read too, and for
    rows without one.
    """
    if out is not None:
        check_out(out, "--predict")
        if read_too := [path for path in (table, new) if path and path.resolve() == out.resolve()]:
            raise InputError(
                f"--predict {out}: this would replace the table {read_too[0]}; name another file"
            )
    elif new is not None:
        raise InputError(f"--new {new}: name the file for its predictions with --predict OUT.csv")


def write_predictions(
    model: TableModel, frame: pd.DataFrame, out: Path, new: Path | None
) -> dict[str, int]:
    """Predictions beside the columns of the table, or of `new`; rows: those written, predicted:
    those with all predictors.
    """
    rows = frame if new is None else read(new).frame
    if taken := [name for name in COLUMNS if name in rows]:
        raise InputError(
            f"--predict {out}: the table has a column '{taken[0]}' of its own; name it otherwise"
        )
    predicted = predictions(model, rows, own=new is None)
    write_rows(out, pd.concat([rows, predicted], axis=1))
    return {"rows": len(rows), "predicted": int(predicted[".fixed"].notna().sum())}
