"""Trend with size and prediction of a size that was left out."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from transect.stats.effects.scaling import trend


def _sample(
    rng: np.random.Generator, sizes=(1e4, 1e5, 1e6, 1e7), each=2, noise=0.1
) -> pd.DataFrame:
    size = np.repeat(sizes, each)
    group = ["a", "b"] * (len(size) // 2)
    value = (
        1
        + 0.5 * np.log10(size)
        + np.where(np.array(group) == "b", 0.3, 0)
        + rng.normal(0, noise, len(size))
    )
    return pd.DataFrame({"size": size, "group": group, "value": value})


def test_slope_equals_that_of_statsmodels() -> None:
    """Estimate and interval of the adjusted slope, n - 3 df."""
    frame = _sample(np.random.default_rng(0))
    row = trend(frame, "log10(size)", ("group",)).slope()
    other = smf.ols("value ~ np.log10(size) + group", frame).fit()
    assert row["estimate"] == pytest.approx(other.params.iloc[2])
    assert [row["lower"], row["upper"]] == pytest.approx(other.conf_int().iloc[2].tolist())


def test_the_line_of_a_share_keeps_its_range() -> None:
    """Accuracies that rise to 1 with size: the band of the mean and the prediction end at 1, the
    slope at 1 over the decades.
    """
    frame = _sample(np.random.default_rng(3), noise=0.2).drop(columns="group")
    frame["value"] = np.minimum(frame["value"] / 5 + 0.1, 1.0)
    fitted = trend(frame, "log10(size)", bounds=(0.0, 1.0))
    band, new = (
        fitted.mean_at(frame.assign(size=3e7)),
        fitted.predict(frame.assign(size=1e8)).iloc[0],
    )
    assert 0.7 < band["lower"] < band["estimate"] <= band["upper"] <= 1
    assert (new["estimate"], new["upper"], new["cut"]) == (1.0, 1.0, "estimate, upper")


def test_the_factor_that_is_shown_is_the_widest() -> None:
    """Groups 0.3 apart and halves 0.05 apart; a factor that the sample does not tell apart is not
    shown.
    """
    frame = _sample(np.random.default_rng(4), noise=0.001)
    frame["half"] = ["x", "x", "y", "y"] * 2
    frame["value"] += 0.05 * (frame["half"] == "y")
    frame["same"] = frame["group"]
    assert (
        trend(frame, "log10(size)", ("half", "group")).widest(frame, ["half", "group"]) == "group"
    )
    assert trend(frame, "log10(size)", ("same", "group")).widest(frame, ["same", "group"]) is None


def test_prediction_equals_that_of_statsmodels() -> None:
    """Prediction interval of a new configuration at ten times the largest size."""
    frame, new = _sample(np.random.default_rng(1)), pd.DataFrame({"size": [1e8], "group": ["b"]})
    row = trend(frame, "log10(size)", ("group",)).predict(new).iloc[0]
    other = (
        smf.ols("value ~ np.log10(size) + group", frame)
        .fit()
        .get_prediction(new)
        .summary_frame()
        .iloc[0]
    )
    assert [row["estimate"], row["lower"], row["upper"]] == pytest.approx(
        [other["mean"], other["obs_ci_lower"], other["obs_ci_upper"]]
    )


def test_prediction_intervals_hold_95_per_cent() -> None:
    """500 samples of six configurations at three sizes: 95 +- 3 % hold the configuration that was
    left out.
    """
    rng, inside = np.random.default_rng(2), 0
    for _ in range(500):
        frame = _sample(rng)
        plain = trend(
            frame[:-2].assign(value=lambda f: f["value"] - 0.3 * (f["group"] == "b")), "log10(size)"
        )
        row = plain.predict(frame[-2:-1]).iloc[0]
        inside += row["lower"] <= frame["value"].iloc[-2] <= row["upper"]
    assert inside / 500 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("frame", "adjust", "reason"),
    [
        (pd.DataFrame({"size": [1.0, 1, 1], "value": [1.0, 2, 3]}), (), "1 size in 3"),
        (pd.DataFrame({"size": [1.0, 10], "value": [1.0, 2]}), (), "0 degrees of freedom"),
        (
            pd.DataFrame({"size": [1.0, 1, 10, 10], "g": list("aabb"), "value": [1.0, 2, 3, 4]}),
            ("g",),
            "aliased",
        ),
    ],
)
def test_what_is_not_identifiable_is_refused(
    frame: pd.DataFrame, adjust: tuple[str, ...], reason: str
) -> None:
    """One size, no degree of freedom, a factor that changes with the size."""
    found = trend(frame, "log10(size)", adjust)
    assert reason in found.refused
    assert np.isnan(found.slope()["lower"])
