"""Generalizability studies of files: JSON, text, the options of the command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.stats.brennan import scores
from transect.cli.table.gstudy import gstudy, parse_levels, parse_numbers, summary
from transect.errors import InputError


def test_csv_and_parquet_give_the_same(tmp_path: Path) -> None:
    """All values are JSON; a compressed file is read too."""
    frame = scores("p x (i:h)")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    options = {"levels": {"i": [2, 4], "h": [3]}, "costs": {"i": 1.0}}
    found = [
        gstudy(tmp_path / name, "y ~ p x (i:h)", **options) for name in ("t.csv.gz", "t.parquet")
    ]
    assert found[0] == found[1] == json.loads(json.dumps(found[0], allow_nan=False))
    assert [row["cost"] for row in found[0]["d_study"]] == [6, 12]


def test_the_printed_study() -> None:
    """Components, coefficients, plans and the wish, as a reader sees them."""
    result = gstudy(scores("p x i"), "y ~ p x i", wish={"phi": 0.8})
    lines = summary(result).splitlines()
    assert lines[0] == "G study of y ~ p x i: 120 scores, balanced, ANOVA"
    assert lines[1] == "object of measurement p; all facets random"
    assert lines[4].split()[:5] == ["p", "10", "9", "0.8157", "0.05741"]
    assert next(line for line in lines if line.startswith("Phi")).split()[1] == "0.773"
    at = lines.index("the cheapest of all designs with phi >= 0.8")
    assert lines[at + 2].split()[:3] == ["15", "15", "15"]  # items, scores, cost


def test_options_of_the_command_are_read() -> None:
    """Lists and ranges of levels; prices and wishes."""
    assert parse_levels(["item=5,10", "rater=1..3, 7"]) == {"item": [5, 10], "rater": [1, 2, 3, 7]}
    assert parse_numbers(["item=2", "item x rater=0.5"], "--cost") == {
        "item": 2.0,
        "item x rater": 0.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "item",
        "=3",
        "item=a",
        "item=0",
        "item=5..2",
        "item=1..x",
        "item=1..1000000000000",
        "item=\u00b2",
        "item=" + "9" * 5000,
    ],
)
def test_levels_that_cannot_be_read(text: str) -> None:
    """The sentence names the option."""
    with pytest.raises(InputError, match="--levels"):
        parse_levels([text])


def test_numbers_that_cannot_be_read() -> None:
    """A wish has a name of its own."""
    with pytest.raises(InputError, match="Did you mean 'phi'"):
        parse_numbers(["phy=.8"], "--wish")
    with pytest.raises(InputError, match="--cost 'item'"):
        parse_numbers(["item"], "--cost")


def test_a_wish_looks_at_ten_times_the_levels_of_the_table() -> None:
    """120 items with an E rho^2 of some 0.55: 0.8 needs more than those, and is found."""
    rng = np.random.default_rng(1)
    score = rng.normal(0, 0.1, 60)[:, None] + rng.normal(0, 1, (60, 120))
    frame = (
        pd.DataFrame(score).rename_axis("p").reset_index().melt("p", var_name="i", value_name="y")
    )
    best = gstudy(frame, "y ~ p x i", wish={"e_rho2": 0.8})["cheapest"]["designs"][0]
    assert 120 < best["i"] <= 1200


def test_a_wish_out_of_reach_says_how_to_allow_more() -> None:
    """Brennan's p x i has 12 items: looked at are up to 120."""
    with pytest.raises(InputError, match=r"allow more levels, e\.g\. --levels i=1\.\.1200"):
        gstudy(scores("p x i"), "y ~ p x i", wish={"phi": 0.999})


def test_repeats_name_the_option_that_averages_them() -> None:
    """The refusal tells what to write."""
    frame = pd.concat([scores("p x i")] * 2)
    with pytest.raises(InputError, match="--repeats average"):
        gstudy(frame, "y ~ p x i")


def test_no_number_of_levels_helps_without_variance_of_the_object() -> None:
    """Persons that do not differ: more items are not suggested."""
    frame = pd.DataFrame(
        [(p, i, (p * 7 + i * 5) % 11 - p % 2) for p in range(6) for i in range(8)],
        columns=["p", "i", "y"],
    )
    frame["y"] -= frame.groupby("p")["y"].transform("mean")
    with pytest.raises(InputError, match="universe score variance of p is estimated as 0"):
        gstudy(frame, "y ~ p x i", wish={"e_rho2": 0.8})


def test_averaged_cells_are_counted_beside_their_scores() -> None:
    """Every score twice: 120 cells of 240 scores."""
    text = summary(gstudy(pd.concat([scores("p x i")] * 2), "y ~ p x i", repeats="average"))
    assert "120 cells, means of 240 scores" in text.splitlines()[0]


def test_a_negative_component_has_no_certain_interval_and_reml_none() -> None:
    """Persons that differ less than chance leaves: "not above 0"; REML, which is not ANOVA there,
    has no intervals and says why.
    """
    rng = np.random.default_rng(2)
    score = rng.normal(size=(12, 10)) + np.linspace(-1, 1, 10)
    score += 0.1 * np.arange(12)[:, None] / 12 - score.mean(axis=1, keepdims=True)
    frame = (
        pd.DataFrame(score).rename_axis("p").reset_index().melt("p", var_name="i", value_name="y")
    )
    rows = summary(gstudy(frame, "y ~ p x i")).splitlines()
    assert next(line for line in rows if line.startswith("p ")).split()[5:8] == [
        "not",
        "above",
        "0",
    ]
    found = gstudy(frame, "y ~ p x i", method="reml")
    assert all(c["lower"] is None and c["upper"] is None for c in found["components"])
    assert any(
        note.startswith("no intervals: those computed here belong to ANOVA")
        for note in found["notes"]
    )
