"""Rows that are written as CSV come back as they were."""

from pathlib import Path

import pandas as pd

from transect.cli.model.rows_file import write_rows
from transect.store.tables.reading import read


def test_words_that_look_missing_come_back(tmp_path: Path) -> None:
    """NA, nan, None and 007 as items; a layer that a row lacks is missing; numbers are exact."""
    rows = pd.DataFrame(
        {
            "item": ["NA", "nan", "None", "007", 'say "NA"', "a,b"],
            "layer": pd.array([0, 1, None, 3, 4, 5], dtype="Int64"),
            "value": [0.1, 0.1 + 0.2, -1e-300, 1e22, 3.0, None],
            "good": [True, False, True, True, False, True],
        }
    )
    write_rows(tmp_path / "rows.csv", rows)
    found = read(tmp_path / "rows.csv")
    assert found.frame["item"].tolist() == rows["item"].tolist()
    assert found.frame["value"].tolist()[:5] == rows["value"].tolist()[:5]
    assert found.frame["good"].tolist() == rows["good"].tolist()
    assert [str(part) for part in found.left_out(["item", "layer", "value"])] == [
        "1 row: layer is empty",
        "1 row: value is empty",
    ]
