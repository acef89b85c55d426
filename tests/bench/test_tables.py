"""Tests of the bench's tables: planted rounds. The bench itself is run by `make bench`."""

import csv

import numpy as np
import pytest

from bench.cases import cases
from bench.tables import Table, write


def spent(*seconds):
    """Rounds of these CPU seconds, half of it by the clock."""
    return [{"cpu_seconds": s, "wall_seconds": s / 2, "peak_bytes": 2e6} for s in seconds]


@pytest.fixture
def table():
    """Ours takes 1 s and another 3, in the middle of three rounds; one of two decisions differs."""
    loaded = {"resident_bytes": 1e6, "ready": 4.0, "flop": 1_000}
    measured = {"transect": (loaded, spent(1, 2, 0.5)), "other": (loaded, spent(3, 2, 4))}
    results = {"transect": np.array([1.0, 0, 1, 0]), "other": np.array([1.0, 0, 1, 1.5])}
    (case,) = (case for case in cases(100, 20) if case.name == "pairs")
    return Table(
        case,
        "cpu",
        measured,
        results,
        lambda values: values[::2] > values[1::2],
        {"third": "no such module"},
    )


def test_ratios_are_of_medians_and_their_range_is_over_rounds(table):
    """3 s over 1 s; the rounds' own ratios are 3, 1 and 8."""
    ours, other = table.rows({})
    assert (ours["cpu_ratio"], other["cpu_ratio"], other["cpu_ratio_range"]) == (
        "1.00",
        "3.00",
        "1.00-8.00",
    )
    assert (
        other["per_cpu_second"] == f"{1000 / 3:.4g}"
    )  # 5 paradigms x 100 pairs are 1,000 sentences


def test_differences_and_decisions_are_counted(table):
    """The largest difference to ours, and the pairs whose order it turns."""
    other = table.rows({})[1]
    assert (other["largest_difference"], other["decisions_that_differ"]) == ("1.5e+00", "1 of 2")


def test_share_of_peak_is_of_the_wall_time(table):
    """1,000 operations in half a second where 4,000 a second are possible."""
    assert table.rows({"float32": 4000.0})[0]["share_of_peak"] == "50.0%"


def test_tables_say_what_did_not_run(tmp_path, table):
    """In words in the readable table; the CSV has a row for each that ran."""
    write(tmp_path, [table], "a machine", {})
    assert "third did not run: no such module" in (tmp_path / "tables.md").read_text()
    with (tmp_path / "pairs_cpu.csv").open() as file:
        assert [row["implementation"] for row in csv.DictReader(file)] == ["transect", "other"]
