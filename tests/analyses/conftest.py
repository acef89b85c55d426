"""The simulated study, measured once."""

import pandas as pd
import pytest

from tests.analyses import simulated


@pytest.fixture(scope="session")
def registry() -> pd.DataFrame:
    return simulated.registry()


@pytest.fixture(scope="session")
def measured(registry: pd.DataFrame) -> pd.DataFrame:
    return simulated.measurements(registry, n_items=20)
