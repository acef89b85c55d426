"""Verdicts on claims."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from transect.errors import InputError
from transect.stats.inference.intervals import mean_interval, t_interval
from transect.stats.inference.verdict import judge


def _tables(estimate: float, se: float = 0.1, df: float = 10, **more) -> dict:
    row = (
        {"outcome": "o", "term": "t"}
        | t_interval(estimate, se, df)
        | {"units": "12 configurations (24 runs)", "reason": ""}
        | more
    )
    return {"attribution": {"effects": pd.DataFrame([row])}}


def _claim(**about) -> dict:
    return {
        "claim": "it does",
        "analysis": "attribution",
        "table": "effects",
        "where": {"outcome": "o", "term": "t"},
    } | about


def _mean(values: list[float], trials: float = np.inf) -> dict:
    row = mean_interval(values, (0.0, 1.0), trials)
    return {
        "attribution": {
            "effects": pd.DataFrame([row | {"outcome": "o", "term": "t", "units": "", "cut": ""}])
        }
    }


def test_a_claim_at_the_ceiling_says_so() -> None:
    """12 units that are all right in all of 100 trials: supported as 1,200 trials support it,
    without variance, no p of 2e-12.
    """
    row = judge([_claim(region={"above": 0.75})], _mean([1.0] * 12, 1200.0)).iloc[0]
    assert row["verdict"] == "supported"
    assert (
        "no variance: every unit lies at the bound 1; the interval is that of 1200 trials"
        in row["reason"]
    )
    assert "p < 0.0001" in row["reason"]


def test_units_at_the_ceiling_of_which_no_trials_are_known_are_few() -> None:
    """Three such units of an outcome that is no count say little: the interval reaches far below
    0.75.
    """
    row = judge([_claim(region={"above": 0.75})], _mean([1.0] * 3)).iloc[0]
    assert row["verdict"] == "unresolved"
    assert row["lower"] < 0.5


def test_the_verdict_on_a_bounded_mean_follows_its_interval() -> None:
    """One claim: supported exactly where the 95 % interval lies inside, here with its edge just
    beyond the lower limit.
    """
    tables = _mean([0.9, 0.95, 0.97, 0.99])
    lower = tables["attribution"]["effects"]["lower"].iloc[0]
    verdicts = [
        judge([_claim(region={"above": lower + d})], tables)["verdict"].iloc[0]
        for d in (-1e-6, 1e-6)
    ]
    assert verdicts == ["supported", "unresolved"]


def test_an_edge_far_from_a_mean_has_the_p_of_few_units() -> None:
    """Four units at 0.04 +- 0.001 against 0.2, 130 standard errors away: p stays above 1e-5, as t
    with 3 df has it (3e-5).
    """
    tables = _mean([0.038, 0.039, 0.04, 0.036])
    p = judge([_claim(region={"below": 0.2})], tables)["p"].iloc[0]
    assert 1e-5 < p < 1e-4


def test_no_reason_in_the_table_is_no_reason_of_a_claim() -> None:
    """A row without interval whose reason is missing (NaN)."""
    row = judge([_claim(region={"below": 0.2})], _tables(np.nan, reason=np.nan)).iloc[0]
    assert row["reason"] == "the table gives no interval"


def test_a_difference_of_units_that_agree_exactly_is_not_tested() -> None:
    """Without a standard error there is no test, however small the margin."""
    row = judge([_claim(equivalence={"margin": 0.2})], _tables(0.0, se=0.0)).iloc[0]
    assert row["verdict"] == "unresolved"
    assert row["reason"].startswith("all units agree exactly on 0")


def test_a_cut_interval_is_marked() -> None:
    """The reason names the limit that was cut."""
    row = judge([_claim(region={"above": 0.5})], _tables(0.95, upper=1.0, cut="upper")).iloc[0]
    assert ", cut at what is possible (upper)," in row["reason"]


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (1.0, "supported"),
        (0.5, "supported"),
        (0.43, "supported"),
        (0.3, "unresolved"),
        (0.1, "unresolved"),
        (-0.2, "rejected"),
    ],
)
def test_effect_claims_follow_the_95_interval(estimate: float, verdict: str) -> None:
    """Half width 0.223: wholly above 0.2, across it, wholly below."""
    assert judge([_claim(region={"above": 0.2})], _tables(estimate))["verdict"].tolist() == [
        verdict
    ]


@pytest.mark.parametrize(
    ("margin", "verdict"), [(0.24, "supported"), (0.22, "unresolved"), (0.1, "unresolved")]
)
def test_equivalence_follows_the_90_interval(margin: float, verdict: str) -> None:
    """Estimate 0.05, 90 % half width 0.181: inside +-0.24, not inside +-0.22."""
    assert judge([_claim(equivalence={"margin": margin})], _tables(0.05))["verdict"].tolist() == [
        verdict
    ]


def test_equivalence_is_rejected_beyond_the_margin() -> None:
    """The 95 % interval lies wholly beyond it."""
    assert judge([_claim(equivalence={"margin": 0.1})], _tables(0.5))["verdict"].tolist() == [
        "rejected"
    ]


def test_tost_p_equals_that_of_statsmodels() -> None:
    """Two one-sided t tests on one sample."""
    x = np.random.default_rng(0).normal(0.02, 0.2, 30)
    table = _tables(x.mean(), x.std(ddof=1) / np.sqrt(30), 29)
    found = judge([_claim(equivalence={"margin": 0.1})], table)["p"].iloc[0]
    assert found == pytest.approx(DescrStatsW(x).ttost_mean(-0.1, 0.1)[0])


def test_holm_runs_over_the_claims_of_the_study() -> None:
    """Alone supported at p = 0.04; among three claims not, and the reason says why."""
    alone = judge([_claim(region={"above": 0.2})], _tables(0.43))
    among = judge([_claim(region={"above": 0.2})] * 3, _tables(0.43))
    assert alone["verdict"].tolist() == ["supported"]
    assert among["verdict"].tolist() == ["unresolved"] * 3
    assert "not after correction (Holm over 3 claims" in among["reason"].iloc[0]


def test_no_interval_is_not_identifiable_and_not_counted() -> None:
    """A refused row keeps its reason and takes no part in the correction."""
    tables = _tables(0.43)
    refused = {
        "outcome": "o",
        "term": "u",
        "estimate": np.nan,
        "reason": "not identifiable: aliased with lab",
    }
    tables["attribution"]["effects"] = pd.concat(
        [tables["attribution"]["effects"], pd.DataFrame([refused])]
    )
    found = judge(
        [
            _claim(region={"above": 0.2}),
            _claim(where={"outcome": "o", "term": "u"}, region={"above": 0}),
        ],
        tables,
    )
    assert found["verdict"].tolist() == ["supported", "not identifiable"]
    assert found["reason"].iloc[1] == "not identifiable: aliased with lab"


def test_profile_intervals_are_judged_from_the_facing_side() -> None:
    """No standard error, an upper bound at infinity: above 1 is supported, below 3 unresolved."""
    tables = _tables(2.0)
    tables["attribution"]["effects"] = tables["attribution"]["effects"].assign(
        se=np.nan, lower=1.2, upper=np.inf, lower90=1.3, upper90=np.inf
    )
    claims = [_claim(region={"above": 1.0}), _claim(region={"below": 3.0})]
    assert judge(claims, tables)["verdict"].tolist() == ["supported", "unresolved"]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"region": {"abov": 1}}, "Did you mean 'above'"),
        ({}, "either a region or an equivalence margin"),
        ({"equivalence": {"margin": 0}}, "margin above 0"),
        ({"region": {"above": 0}, "where": {"outcome": "p"}}, "no row with outcome = 'p'"),
        ({"region": {"above": 0}, "where": {"outcom": "o"}}, "no column 'outcom'"),
        ({"region": {"above": 0}, "table": "effect"}, "Did you mean 'effects'"),
    ],
)
def test_wrong_claims_are_explained(about: dict, message: str) -> None:
    """A typing error is an input error, never a verdict."""
    with pytest.raises(InputError, match=message):
        judge([_claim(**about)], _tables(1.0))
