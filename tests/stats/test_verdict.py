"""Verdicts on claims."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from transect.errors import InputError
from transect.stats.intervals import t_interval
from transect.stats.verdict import judge


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
    assert judge([_claim(region={"above": 0.2})], _tables(estimate))["verdict"].tolist() == [verdict]


@pytest.mark.parametrize(("margin", "verdict"), [(0.24, "supported"), (0.22, "unresolved"), (0.1, "unresolved")])
def test_equivalence_follows_the_90_interval(margin: float, verdict: str) -> None:
    """Estimate 0.05, 90 % half width 0.181: inside +-0.24, not inside +-0.22."""
    assert judge([_claim(equivalence={"margin": margin})], _tables(0.05))["verdict"].tolist() == [verdict]


def test_equivalence_is_rejected_beyond_the_margin() -> None:
    """The 95 % interval lies wholly beyond it."""
    assert judge([_claim(equivalence={"margin": 0.1})], _tables(0.5))["verdict"].tolist() == ["rejected"]


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
    refused = {"outcome": "o", "term": "u", "estimate": np.nan, "reason": "not identifiable: aliased with lab"}
    tables["attribution"]["effects"] = pd.concat([tables["attribution"]["effects"], pd.DataFrame([refused])])
    found = judge(
        [_claim(region={"above": 0.2}), _claim(where={"outcome": "o", "term": "u"}, region={"above": 0})], tables
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
