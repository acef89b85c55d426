"""Claims of a study file against the tables that its analyses made."""

import pandas as pd

from transect.report.assemble import judged
from transect.report.claims import claims_view, verdict_counts

TABLES = {
    "size_trend": {
        "slopes": pd.DataFrame(
            [
                {
                    "outcome": "bits per byte",
                    "estimate": -0.2,
                    "se": 0.02,
                    "df": 9.0,
                    "lower": -0.25,
                    "upper": -0.15,
                }
            ]
        )
    }
}
CLAIM = {
    "claim": "Larger is better.",
    "analysis": "size_trend",
    "table": "slopes",
    "region": {"below": -0.1},
}


def test_a_misspelt_row_is_an_error_and_no_finding() -> None:
    """`where` that names no row: not 'not identifiable', but cannot be judged, with the nearest
    guess; the other claim stands.
    """
    wrong = CLAIM | {"claim": "Misspelt.", "where": {"outcome": "bits per bite"}}
    found = judged([wrong, CLAIM | {"where": {"outcome": "bits per byte"}}], TABLES)
    assert found["verdict"].tolist() == ["supported", "cannot be judged"]
    said = found["reason"].iloc[1]
    assert (
        "no row with outcome = 'bits per bite'" in said and "Did you mean 'bits per byte'" in said
    )
    assert claims_view(found)[1]["symbol"] == "!"
    assert dict(verdict_counts(found)) == {
        "supported": 1,
        "rejected": 0,
        "unresolved": 0,
        "not identifiable": 0,
        "cannot be judged": 1,
    }


def test_the_verdict_is_not_told_of_where_no_claim_has_it() -> None:
    """A report without errors has four verdicts."""
    assert "cannot be judged" not in dict(verdict_counts(judged([CLAIM], TABLES)))
