"""Effects at the level at which a factor varies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from transect.stats.effects.attribution import attribute


def _sample(
    rng: np.random.Generator,
    sizes=(1, 2, 3, 4),
    seeds=9,
    effect=0.0,
    sd_configuration=0.3,
    n_items=0,
) -> pd.DataFrame:
    """A grid of sizes x seeds, one number per run (or per run and item); configurations differ by
    chance.
    """
    rows = []
    items = rng.normal(0, 1, max(n_items, 1))
    for size in sizes:
        own = effect * size + rng.normal(0, sd_configuration)
        for seed in range(seeds):
            run = own + rng.normal(0, 0.1)
            for k in range(max(n_items, 1)):
                noise = items[k] + rng.normal(0, 0.5) if n_items else 0.0
                rows.append(
                    {
                        "configuration": f"c{size}",
                        "run": f"c{size}s{seed}",
                        "item": str(k),
                        "size": float(size),
                        "value": run + noise,
                    }
                )
    frame = pd.DataFrame(rows)
    return frame if n_items else frame.drop(columns="item")


def test_size_effect_has_two_df_on_a_grid_of_four_sizes_by_nine_seeds() -> None:
    """36 runs, but four sizes: 4 - 2 degrees of freedom, not 34."""
    row = attribute(_sample(np.random.default_rng(0)), ["size"], variance="pooled")["effects"].iloc[
        0
    ]
    assert row["df"] == 2
    assert row["units"] == "4 configurations (36 runs)"


def test_p_is_that_of_a_regression_on_configuration_means() -> None:
    """scipy's exact t test on six means, so false alarms are at 5 %; with runs as units 100 null
    samples give over 30 %.
    """
    rng, naive = np.random.default_rng(1), 0
    for k in range(100):
        frame = _sample(rng, sizes=(1, 2, 3, 4, 5, 6), seeds=4)
        naive += (
            attribute(frame.assign(configuration=frame["run"]), ["size"], variance="pooled")[
                "effects"
            ]["p"].iloc[0]
            < 0.05
        )
        if k < 5:
            means = frame.groupby("configuration")[["size", "value"]].mean()
            found = attribute(frame, ["size"], variance="pooled")["effects"]["p"].iloc[0]
            assert found == pytest.approx(stats.linregress(means["size"], means["value"]).pvalue)
    assert naive / 100 > 0.3


def test_item_model_takes_its_df_from_configurations() -> None:
    """240 items x runs with no variance between configurations at all: df stay at configurations -
    2.
    """
    frame = _sample(
        np.random.default_rng(2),
        sizes=(1, 2, 3, 4, 5, 6),
        seeds=2,
        sd_configuration=0.0,
        n_items=20,
    )
    row = attribute(frame, ["size"], items=True)["effects"].iloc[0]
    assert row["df"] <= 4
    assert row["units"] == "6 configurations (12 runs, 20 items)"


def test_item_model_equals_least_squares_on_means_where_balanced() -> None:
    """One run per configuration: same estimate and standard error (pooled) to 1e-5."""
    frame = _sample(np.random.default_rng(3), sizes=range(1, 11), seeds=1, n_items=25)
    item = attribute(frame, ["size"], items=True)["effects"].iloc[0]
    means = frame.groupby(["configuration", "run", "size"], as_index=False)["value"].mean()
    run = attribute(means, ["size"], variance="pooled")["effects"].iloc[0]
    assert [item["estimate"], item["se"], item["df"]] == pytest.approx(
        [run["estimate"], run["se"], run["df"]], rel=1e-4
    )


def test_a_factor_within_runs_gets_its_slope() -> None:
    """The difference of two kinds of items has run slopes in the model and df of at most
    configurations - 1.
    """
    frame = _sample(np.random.default_rng(4), sizes=range(1, 8), seeds=1, n_items=20)
    frame["kind"] = np.where(frame["item"].astype(int) % 2, "odd", "even")
    found = attribute(frame, ["kind"], items=True)
    assert "(kind[odd] | run)" in found["models"]["model"].iloc[0]
    assert found["effects"]["df"].iloc[0] <= 6
    assert found["effects"]["units"].iloc[0] == "10 against 10 items (7 configurations, 7 runs)"


def test_an_interaction_with_a_design_factor_has_configurations_as_units() -> None:
    """Kind of item x size: 7 - 2 df at most; kind of item alone may have up to runs - 1."""
    frame = _sample(np.random.default_rng(9), sizes=range(1, 8), seeds=3, n_items=20)
    frame["kind"] = np.where(frame["item"].astype(int) % 2, "odd", "even")
    found = attribute(frame, ["kind", "size", "kind:size"], items=True)["effects"].set_index("kind")
    assert found.loc["interaction", "df"] <= 5
    assert found.loc["difference", "df"] <= 20


def test_aliased_factors_name_each_other() -> None:
    """Two factors that change together have no effect each, and the reason says with what."""
    frame = _sample(np.random.default_rng(5), sizes=(1, 2, 3, 4), seeds=1)
    frame["corpus"] = np.where(frame["size"] > 2, "new", "old")
    frame["lab"] = np.where(frame["size"] > 2, "x", "y")
    reasons = attribute(frame, ["corpus", "lab"])["effects"]["reason"].tolist()
    assert reasons == [
        "not identifiable: aliased with lab",
        "not identifiable: aliased with corpus",
    ]


def test_an_empty_cell_of_an_interaction_is_refused_and_the_rest_is_not() -> None:
    """Nothing was measured at one of the four cells: its simple effect is unknown, the other one is
    not.
    """
    frame = pd.DataFrame(
        {
            "a": list("ppppqqqq"),
            "b": list("sssttttt"),
            "value": [1.0, 1.2, 0.9, 3.0, 5.0, 5.2, 4.9, 5.1],
        }
    )
    frame["configuration"] = frame["run"] = [f"c{k}" for k in range(8)]
    found = attribute(frame, ["a", "b", "a:b"])["effects"].set_index("term")
    assert found.loc["a[q - p] in b[s]", "reason"].startswith("not identifiable")
    assert found.loc["b[t - s] in a[p]", "estimate"] == pytest.approx(3 - 3.1 / 3)


@pytest.mark.parametrize(
    ("column", "reason"), [("seed", "the seed only"), ("constant", "only one level")]
)
def test_factors_without_an_effect_here_are_refused(column: str, reason: str) -> None:
    """What varies within configurations, or not at all, is listed with the reason."""
    frame = _sample(np.random.default_rng(6), seeds=2).assign(constant="same")
    frame["seed"] = frame["run"].str[-1]
    found = attribute(frame, ["size", column])["effects"]
    assert reason in found.set_index("term").loc[column, "reason"]


def test_two_configurations_are_too_few() -> None:
    """Fewer than three units at the level of the factor."""
    frame = _sample(np.random.default_rng(7), sizes=(1, 2), seeds=5)
    assert (
        "2 configurations at its level" in attribute(frame, ["size"])["effects"]["reason"].iloc[0]
    )


def test_a_ceiling_has_no_interval_to_speak_of_and_says_so() -> None:
    """All runs at 1.00: the mean is 1, the interval has no width, the reason names it."""
    frame = _sample(np.random.default_rng(8), seeds=2, n_items=5).assign(value=1.0)
    row = attribute(frame, ["size"], items=True)["means"].iloc[0]
    assert (row["estimate"], row["se"]) == (pytest.approx(1.0), 0.0)
    assert row["reason"].startswith("no variation")


def test_levels_at_the_ceiling_differ_within_what_their_trials_allow() -> None:
    """Both sizes right in all of 3 x 2 x 50 trials: Newcombe's interval from those of the means,
    and no p.
    """
    frame = _sample(np.random.default_rng(8), sizes=(1, 2), seeds=6).assign(value=1.0, trials=50.0)
    frame["size"] = frame["size"].map({1.0: "s", 2.0: "t"})
    frame["configuration"] += (frame["run"].str[-1].astype(int) // 2).astype(str)
    found = attribute(frame, ["size"], bounds=(0.0, 1.0))
    row, mean = found["effects"].iloc[0], found["means"].set_index("term").loc["size[s]"]
    assert row["estimate"] == pytest.approx(0, abs=1e-12) and np.isnan([row["se"], row["p"]]).all()
    assert (row["lower"], row["upper"]) == pytest.approx((mean["lower"] - 1, 1 - mean["lower"]))
    assert row["reason"] == "no variance: the interval is that of 300 and 300 trials at the bounds"


def test_units_that_agree_between_the_bounds_have_no_test() -> None:
    """All at 0.3: the difference is 0, without interval and p."""
    frame = _sample(np.random.default_rng(8), seeds=2).assign(value=0.3)
    row = attribute(frame, ["size"], bounds=(0.0, 1.0))["effects"].iloc[0]
    assert np.isnan(row[["lower", "upper", "p"]].to_numpy(float)).all()
    assert row["reason"].startswith("no variation")


def test_nothing_measured_is_said() -> None:
    """An empty table gives a row, not an error."""
    assert attribute(pd.DataFrame(), ["size"])["effects"]["reason"].tolist() == ["no measurements"]


def test_mean_of_two_configurations_has_no_interval() -> None:
    """A marginal mean at a level with fewer than three configurations is not identifiable, and says
    why.
    """
    names = [f"{level}{i}" for level, n in (("a", 2), ("b", 4)) for i in range(n)]
    frame = pd.DataFrame({"configuration": names, "run": names, "level": [n[0] for n in names]})
    means = attribute(frame.assign(value=[0.1, 0.3, 0.5, 0.6, 0.8, 0.7]), ["level"])[
        "means"
    ].set_index("term")
    assert (
        np.isnan(means.loc["level[a]", "lower"])
        and "fewer than 3" in means.loc["level[a]", "reason"]
    )
    assert np.isfinite(means.loc["level[b]", "lower"])


def test_a_variance_that_the_sample_cannot_show_is_not_given() -> None:
    """One run of five items: neither a variance of runs nor of items can be told (lme4 refuses
    both); 3 x 5 cells show them all.
    """
    frame = _sample(np.random.default_rng(4), sizes=(1, 2, 3), seeds=1, n_items=5)
    alone = attribute(frame[frame["run"] == "c1s0"], ["size"], items=True)["components"]
    assert list(alone["group"]) == ["item", "run", "residual"] and alone[
        ["variance", "sd"]
    ].isna().all(axis=None)
    whole = attribute(frame, ["size"], items=True)["components"]
    assert list(whole["n_levels"]) == [5, 3, 15] and whole[["variance", "sd"]].notna().all(
        axis=None
    )


def test_without_factors_there_are_means_and_variances_and_no_effects() -> None:
    """`factors: []`: the mean of the population, which is that of its configurations' means, and a
    table of effects without rows.
    """
    frame = _sample(np.random.default_rng(5), sizes=(1, 2, 3), seeds=1, n_items=5)
    for items in (True, False):
        found = attribute(frame, [], items=items)
        assert found["effects"].empty and {"term", "kind", "estimate"} <= set(found["effects"])
        assert found["means"]["estimate"].tolist() == pytest.approx([frame["value"].mean()])
