"""What is said of a fitted table beside its numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from transect.errors import InputError
from transect.stats.table.fit_notes import beyond_shares
from transect.stats.table.table_model import fit_table

MEANS = pd.DataFrame({"lower": [0.5, 0.98], "upper": [0.7, 1.02]})


def test_means_of_shares_that_leave_their_range_are_said() -> None:
    """Of a response in [0, 1] the one mean that reaches beyond 1; of any other response none."""
    assert "of 1 of 2 marginal means" in beyond_shares(np.array([0.0, 0.5, 1.0]), MEANS)[0]
    assert beyond_shares(np.array([0.0, 1.2]), MEANS) == []
    assert beyond_shares(np.array([0.0, 1.0]), MEANS[:1]) == []


def test_levels_of_few_trials_are_said() -> None:
    """80 levels of 2 rows: Laplace's sd is 0.65 to 0.9 of the quadrature's, and a note says so;
    none with 20 rows, or by quadrature.
    """
    found = {}
    for m in (2, 20):
        rng = np.random.default_rng(3)
        codes = np.repeat(np.arange(80), m)
        x = rng.normal(size=len(codes))
        hit = rng.random(len(codes)) < expit(0.5 + 1.5 * rng.normal(size=80)[codes] + x)
        frame = pd.DataFrame({"hit": hit.astype(int), "x": x, "g": [f"g{c}" for c in codes]})
        for method in ("Laplace", "nAGQ=25"):
            found[m, method] = fit_table(
                frame, "hit ~ x + (1 | g)", family="binomial", method=method
            )
    said = {
        key: any("informative trials" in note for note in model.warnings)
        for key, model in found.items()
    }
    assert said == {
        (2, "Laplace"): True,
        (2, "nAGQ=25"): False,
        (20, "Laplace"): False,
        (20, "nAGQ=25"): False,
    }
    sd = {key: model.mixed.components["sd"][0] for key, model in found.items()}
    assert 0.65 < sd[2, "Laplace"] / sd[2, "nAGQ=25"] < 0.9
    assert 0.98 < sd[20, "Laplace"] / sd[20, "nAGQ=25"] < 1


@pytest.mark.parametrize(("spread", "said"), [(1e-2, False), (1e-6, True)])
def test_a_residual_that_is_next_to_nothing_beside_the_groups_is_said(
    spread: float, said: bool
) -> None:
    """12 groups of sd 1: with residuals of 1e-6 lme4's criterion is another by 2e-2 (1e-2: by
    1e-9).
    """
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"g": np.repeat([f"g{i:02d}" for i in range(12)], 20), "x": rng.normal(size=240)}
    )
    frame["y"] = np.repeat(rng.normal(size=12), 20) + spread * rng.normal(size=240)
    notes = fit_table(frame, "y ~ x + (1 | g)").warnings
    assert any("so small beside the random effects that rounding" in note for note in notes) == said


def test_a_residual_that_rounding_has_eaten_is_refused() -> None:
    """1e-7 of the groups' spread: its square is below the digits of theirs."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"g": np.repeat([f"g{i:02d}" for i in range(12)], 20), "x": rng.normal(size=240)}
    )
    frame["y"] = np.repeat(rng.normal(size=12), 20) + 1e-7 * rng.normal(size=240)
    with pytest.raises(InputError, match="what the groups leave of the response is so little"):
        fit_table(frame, "y ~ x + (1 | g)")
