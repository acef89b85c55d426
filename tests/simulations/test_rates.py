"""The simulated error rates, with reduced counts: `make simulations` counts them in full
(docs/simulations.md).
"""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from simulations.rates import RATES
from simulations.run import OUT, experiments, merged, row, shares

N = 120


@pytest.mark.slow
@pytest.mark.parametrize("first", experiments())
def test_rate_lies_in_its_range(first: str) -> None:
    """Of one experiment all rates within their ranges, give or take 3 Monte-Carlo standard errors
    of 120 data sets.
    """
    with ProcessPoolExecutor(2) as pool:
        found = shares(first, N, pool)
    slack = 3 * np.sqrt(0.05 * 0.95 / N)
    outside = {
        name: share
        for name, share in found.items()
        if not RATES[name].low - slack <= share <= RATES[name].high + slack
    }
    assert not outside


def test_every_rate_is_counted_once() -> None:
    """Rates of one event are one experiment, named by its first."""
    counted = [name for names in experiments().values() for name in names]
    assert sorted(counted) == sorted(RATES)
    assert len(experiments()) < len(RATES)


def test_rates_counted_again_replace_their_rows_only() -> None:
    """The others stay, in the order of RATES; a row of an unknown rate goes."""
    first, second = list(RATES)[:2]
    page = merged("", {name: row(name, RATES[name], 0.05, 2000) for name in (second, first)})
    again = merged(
        page + "| a rate of old | 2000 |\n", {second: row(second, RATES[second], 0.2, 4000)}
    )
    rows = [line for line in again.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        row(first, RATES[first], 0.05, 2000),
        f"| {second} | 4000 | 0.200 | 0.006 | 0.035 to 0.065 | no |",
    ]


def test_the_page_holds_every_rate() -> None:
    """docs/simulations.md has a row of each, and of no other."""
    rows = [
        line.removeprefix("| ").split(" | ")[0]
        for line in OUT.read_text().splitlines()
        if line.startswith("| ")
    ]
    assert rows[1:] == list(RATES)
