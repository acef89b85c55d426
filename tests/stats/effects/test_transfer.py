"""Tests of predicting whole groups, with planted truth."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from transect.stats.effects.transfer import transfer

SCALE = ["log10(size)"]


def units(
    effect: float = 0.0, slope: float = 1.0, noise: float = 0.05, shift: float = 0.0, seed: int = 1
) -> pd.DataFrame:
    """Six languages x four sizes x two variants: value = slope log10(size) + effect [b] + shift per
    language + noise.
    """
    rng = np.random.default_rng(seed)
    rows = [
        {
            "language": f"l{i}",
            "size": 10.0**s,
            "variant": v,
            "value": slope * s + effect * (v == "b") + shift * level,
        }
        for i, level in enumerate(rng.normal(0, 1, 6))
        for s in (1, 2, 3, 4)
        for v in "ab"
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(value=frame["value"] + rng.normal(0, noise, len(frame)))


def test_a_factor_that_reaches_other_languages_adds_to_scale() -> None:
    """Planted: variance 1.25 of size, 1 of the factor (effect 2): R2 of size 0.56, of both 1, and
    delta 0.44, in every language.
    """
    row, delta, _ = transfer(units(effect=2.0), "language", SCALE, ["variant"])
    assert row["r2"] == pytest.approx(1, abs=0.01) and row["r2_scale_only"] == pytest.approx(
        1.25 / 2.25, abs=0.02
    )
    assert row["r2_over_scale"] == pytest.approx(1, abs=0.01)
    found = delta.iloc[0]
    assert (
        found["delta"] == pytest.approx(1 / 2.25, abs=0.02)
        and 0 < found["lower"] < found["delta"] < found["upper"]
    )


def test_a_factor_without_effect_adds_nothing() -> None:
    """Planted effect 0: delta is 0 or below, since a useless coefficient can only mislead."""
    _, delta, _ = transfer(units(noise=0.5), "language", SCALE, ["variant"])
    assert abs(delta["delta"].iloc[0]) < 0.03


def test_what_differs_between_languages_does_not_reach_a_new_one() -> None:
    """Language levels of sd 3 beside a slope of 0: nothing is known of the language left out, R2 at
    most 0.
    """
    row, *_ = transfer(units(slope=0.0, shift=3.0), "language", SCALE, [])
    assert row["r2"] < 0.05 and row["r2_lower"] < 0


def test_coverage_is_nominal_where_the_model_holds() -> None:
    """95 % of left-out units inside their intervals, over 60 data sets: 95 +- 1.5 % (Monte-Carlo
    error 0.4 %).
    """
    found = [
        transfer(units(effect=1.0, noise=0.3, seed=s), "language", SCALE, ["variant"])[0][
            "coverage"
        ]
        for s in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.95, abs=0.015)


def test_predictions_equal_statsmodels_without_the_group() -> None:
    """The prediction of one language by OLS of the five others."""
    frame = units(effect=1.0)
    _, _, rows = transfer(frame, "language", SCALE, ["variant"])
    x = np.column_stack(
        [np.ones(len(frame)), np.log10(frame["size"]), frame["variant"] == "b"]
    ).astype(float)
    out = (frame["language"] == "l2").to_numpy()
    by_hand = sm.OLS(frame["value"][~out], x[~out]).fit().predict(x[out])
    assert rows.loc[rows["left_out"] == "l2", "predicted"].to_numpy() == pytest.approx(
        by_hand, abs=1e-10
    )


def test_jackknife_of_the_ratio_by_hand() -> None:
    """Pseudo-values of R2 over the six languages, Student's t with 5 df (computed here)."""
    row, _, rows = transfer(units(effect=1.0, noise=0.4), "language", SCALE, ["variant"])
    held, y = rows["left_out"], rows["observed"]
    mean = (y.sum() - y.groupby(held).transform("sum")) / (len(y) - 8)
    sums = (
        pd.DataFrame({"e": (y - rows["predicted"]) ** 2, "m": (y - mean) ** 2}).groupby(held).sum()
    )
    r2 = [
        1 - part["e"].sum() / part["m"].sum() for part in (sums.drop(index=g) for g in sums.index)
    ]
    se = (6 * row["r2"] - 5 * np.array(r2)).std(ddof=1) / np.sqrt(6)
    assert row["r2_lower"] == pytest.approx(row["r2"] - 2.5705818 * se, abs=1e-6)


def test_fewer_than_three_levels_are_refused_in_words() -> None:
    """Two variants: the row says so and has no number."""
    row, delta, rows = transfer(units(), "variant", SCALE, [])
    assert row["reason"] == "not identifiable: 2 levels of variant, fewer than 3"
    assert "r2" not in row and delta.empty and rows.empty


def test_the_category_that_is_left_out_does_not_enter_its_own_prediction() -> None:
    """A level's own coefficient cannot be known from the others."""
    row, delta, _ = transfer(units(shift=1.0), "language", SCALE, ["language", "variant"])
    assert row["left_out_terms"] == "language" and row["model"] == "value ~ log10(size) + variant"
    assert "do not determine" in delta.loc[delta["factor"] == "language", "reason"].iloc[0]
