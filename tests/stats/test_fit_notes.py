"""What is said of a fitted table beside its numbers."""

import numpy as np
import pandas as pd

from transect.stats.fit_notes import beyond_shares

MEANS = pd.DataFrame({"lower": [0.5, 0.98], "upper": [0.7, 1.02]})


def test_means_of_shares_that_leave_their_range_are_said() -> None:
    """Of a response in [0, 1] the one mean that reaches beyond 1; of any other response none."""
    assert "of 1 of 2 marginal means" in beyond_shares(np.array([0.0, 0.5, 1.0]), MEANS)[0]
    assert beyond_shares(np.array([0.0, 1.2]), MEANS) == []
    assert beyond_shares(np.array([0.0, 1.0]), MEANS[:1]) == []
