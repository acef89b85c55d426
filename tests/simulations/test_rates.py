"""The simulated error rates, with reduced counts: `make simulations` counts them in full (docs/simulations.md)."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from simulations.rates import RATES
from simulations.run import rate

N = 120


@pytest.mark.slow
@pytest.mark.parametrize("name", RATES)
def test_rate_lies_in_its_range(name: str) -> None:
    """Within its range, give or take 3 Monte-Carlo standard errors of 120 data sets."""
    with ProcessPoolExecutor(2) as pool:
        found = rate(name, N, pool)
    wanted = RATES[name]
    slack = 3 * np.sqrt(0.05 * 0.95 / N)
    assert wanted.low - slack <= found <= wanted.high + slack
