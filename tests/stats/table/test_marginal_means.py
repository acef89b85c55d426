"""Marginal means and differences against R's emmeans 1.8.4 (lme4 1.1-31, lmerTest 3.1-3,
Satterthwaite, rhoend 1e-9).
"""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, conditions
from transect.errors import InputError
from transect.stats.table.marginal_means import marginal_means
from transect.stats.table.table_model import TableModel, fit_table

# emmeans(m, ~arch), emmeans(m, ~arch:cond): estimate, se; its df, 35 to 46, are not bounded by the
# 24 models
MEANS = {
    "arch[dense]": (0.58317274, 0.19409608),
    "arch[moe]": (1.0033777, 0.22627915),
    "arch[ssm]": (0.30879587, 0.17730868),
    "arch[dense], cond[a]": (0.48494163, 0.21561775),
    "arch[moe], cond[b]": (1.4674036, 0.32468272),
    "arch[ssm], cond[b]": (0.44403367, 0.25342973),
}
# pairs(..., adjust = "holm"), pairs(~arch | cond), contrast(interaction = "pairwise"): estimate,
# se, df
DIFFERENCES = {
    "arch[dense - moe]": (-0.42020494, 0.24304418, 19.737787),
    "arch[dense - ssm]": (0.27437687, 0.19833827, 19.765555),
    "arch[moe - ssm]": (0.69458182, 0.22966429, 19.709858),
    "arch[dense - moe] in cond[a]": (-0.054410129, 0.20778637, 19.974249),
    "arch[moe - ssm] in cond[b]": (1.0233699, 0.33149353, 19.993577),
    "arch[dense - moe] x cond[a - b]": (0.73158963, 0.30965573, 21.0),
    "arch[moe - ssm] x cond[a - b]": (-0.65757623, 0.29296524, 21.0),
}
HOLM = {
    "arch[dense - moe]": 0.19886765,
    "arch[dense - ssm]": 0.19886765,
    "arch[moe - ssm]": 0.020325842,
}


@pytest.fixture(scope="module")
def model() -> TableModel:
    return fit_table(conditions(), "y ~ arch*cond + log_params + (1 + cond | model) + (1 | item)")


@pytest.fixture(scope="module")
def found(model: TableModel) -> tuple[pd.DataFrame, pd.DataFrame]:
    return marginal_means(model, ["arch", "arch:cond"])


def test_means_equal_emmeans(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Estimates to 1e-5 and standard errors to 1e-4 relative; df those of the 24 models at most."""
    means = found[0].set_index("label").loc[list(MEANS)]
    expected = np.array(list(MEANS.values()))
    assert means["estimate"].to_numpy() == pytest.approx(expected[:, 0], abs=1e-5)
    assert means["se"].to_numpy() == pytest.approx(expected[:, 1], rel=1e-4)
    assert means["df"].to_numpy() == pytest.approx(20)


def test_differences_equal_emmeans(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Of means, within a level of the other factor, and of differences: estimates, se, df to 1e-3."""
    table = found[1].set_index("label").loc[list(DIFFERENCES)]
    expected = np.array(list(DIFFERENCES.values()))
    assert table["estimate"].to_numpy() == pytest.approx(expected[:, 0], abs=1e-5)
    assert table["se"].to_numpy() == pytest.approx(expected[:, 1], rel=1e-4)
    assert table["df"].to_numpy() == pytest.approx(expected[:, 2], rel=1e-3)


def test_p_is_adjusted_by_holm_within_a_request(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """The three differences of arch, not together with those of arch:cond: emmeans' p to 1e-3
    relative.
    """
    table = found[1].query("factors == 'arch'").set_index("label")
    assert table["p_holm"].to_dict() == pytest.approx(HOLM, rel=1e-3)


def test_binomial_means_come_with_probabilities() -> None:
    """emmeans of the cbpp model, type = "response": probabilities to 1e-4, differences of logits to
    1e-2 of their se, odds ratios.
    """
    fitted = fit_table(cbpp(), "cbind(incidence, healthy) ~ period + (1 | herd)", family="binomial")
    means, differences = marginal_means(fitted, ["period"])
    assert means["probability"].to_numpy() == pytest.approx(
        [0.19804915, 0.08387195, 0.07397293, 0.04839074], abs=1e-4
    )
    first = differences.set_index("label").loc["period[1 - 2]"]
    assert [first["estimate"], first["se"]] == pytest.approx([0.9923328, 0.30664221], abs=3e-3)
    assert first["odds_ratio"] == pytest.approx(np.exp(first["estimate"]))


def test_a_factor_is_named_by_its_column(model: TableModel) -> None:
    """factor(half) by half; numbers have no levels, unknown names a guess."""
    frame = conditions().assign(half=lambda t: t["item"].str[-1].astype(int) // 5)
    fitted = fit_table(frame, "y ~ factor(half) + (1 | model) + (1 | item)")
    assert list(marginal_means(fitted, ["half"])[0]["label"]) == [
        "factor(half)[0]",
        "factor(half)[1]",
    ]
    for name, message in [
        ("log_params", "write factor"),
        ("ach", "Did you mean 'arch'"),
        ("arch:log_params", "number"),
    ]:
        with pytest.raises(InputError, match=message):
            marginal_means(model, [name])


def test_an_interaction_that_the_model_lacks_is_not_tested() -> None:
    """Additive factors: cells and differences, and no difference of differences, which would be 0
    by construction.
    """
    fitted = fit_table(conditions(), "y ~ arch + cond + (1 | model) + (1 | item)")
    assert set(marginal_means(fitted, ["arch:cond"])[1]["kind"]) == {"difference"}


def test_a_name_with_a_colon_is_one_factor() -> None:
    """Alone, or in backticks within a cell."""
    frame = conditions().rename(columns={"arch": "a:b"})
    model = fit_table(frame, "y ~ `a:b` * cond + (1 | model) + (1 | item)")
    alone, cells = (marginal_means(model, [text])[0] for text in ("a:b", "`a:b`:cond"))
    assert (len(alone), len(cells)) == (3, 6)
