"""Tests of whole terms against R: lmerTest 3.1-3's anova(type = 3) (lme4 1.1-31, bobyqa, rhoend
1e-9) and car 3.1-1's Anova.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from tests.stats.crossed_data import cbpp, conditions
from transect.stats.table.table_model import fit_table
from transect.stats.table.term_tests import term_tests

RANDOM = "(1 + cond | model) + (1 | item)"
# F, numerator df, denominator df and p; df of cond are held to the units that carry it here
# (lmerTest: 37.0416 and 37.9642)
CROSSED = {
    "arch": (4.62086, 2, 19.7394, 0.02259021),
    "log_params": (18.97491, 1, 20.0, 0.00030608),
    "arch:cond": (3.22513, 2, 21.0007, 0.06005656),
}
LMERTEST_CELLS = 2.07566017909  # y ~ arch:cond, one of its seven columns dropped
WITH_A_NUMBER = {
    "arch": (2.65789, 2, 18.0, 0.09740993),
    "log_params": (19.61480, 1, 18.0, 0.00032411),
    "arch:log_params": (1.72667, 2, 18.0, 0.20606192),
}
WITH_A_POLYNOMIAL = {
    "poly(log_params, 2)": (21.59989, 2, 15.0, 3.8351e-05),
    "arch": (8.08708, 2, 15.0, 0.0041421),
    "poly(log_params, 2):arch": (7.01296, 4, 15.0, 0.0021659),
}


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ("arch*cond + log_params", CROSSED),
        ("arch*log_params + cond", WITH_A_NUMBER),
        ("poly(log_params, 2)*arch + cond", WITH_A_POLYNOMIAL),
        ("C(arch, sum)*C(cond, sum) + log_params", CROSSED),
    ],
)
def test_equals_lmertest(fixed: str, expected: dict[str, tuple[float, ...]]) -> None:
    """F to 1e-5, df and p to 1e-3 relative, whatever the coding of the formula."""
    found = term_tests(fit_table(conditions(), f"y ~ {fixed} + {RANDOM}"))
    found = found.assign(
        term=found["term"].str.replace(r"C\((\w+), sum\)", r"\1", regex=True)
    ).set_index("term")
    for term, (f, num_df, den_df, p) in expected.items():
        assert found.loc[term, "F"] == pytest.approx(f, rel=1e-5)
        assert found.loc[term, "num_df"] == num_df
        assert (found.loc[term, "den_df"], found.loc[term, "p"]) == pytest.approx(
            (den_df, p), rel=1e-3
        )


def test_an_interaction_alone_is_whether_its_cells_are_equal() -> None:
    """Without the main effects: F and df of the five differences of six cells, and of lmerTest's
    anova of the same formula (1e-5, 1e-3).
    """
    cells = conditions().assign(cell=lambda t: t["arch"] + t["cond"])
    alone = term_tests(
        fit_table(cells, f"y ~ arch:cond + {RANDOM}", allow_pseudoreplication=True)
    ).iloc[0]
    whole = term_tests(fit_table(cells, f"y ~ cell + {RANDOM}", allow_pseudoreplication=True)).iloc[
        0
    ]
    assert (alone["num_df"], alone["F"]) == (5, pytest.approx(whole["F"], rel=1e-6))
    assert alone["F"] == pytest.approx(LMERTEST_CELLS, rel=1e-5)


def test_an_empty_cell_costs_only_the_terms_that_need_it() -> None:
    """arch*cond without one cell: of another factor, crossed with them, all of its df are tested."""
    rows = conditions().assign(third=lambda t: np.array(["u", "v", "w"])[np.arange(len(t)) % 3])
    rows = rows[(rows["arch"] != "ssm") | (rows["cond"] != "b")]
    found = term_tests(
        fit_table(rows, "y ~ arch*cond + third + (1 | model) + (1 | item)")
    ).set_index("term")
    assert found["num_df"].to_dict() == {"arch": 1, "cond": 0, "third": 2, "arch:cond": 1}


def test_a_term_of_one_coefficient_is_its_effect() -> None:
    """F = t^2, the df and p of the effect, which are held to the units that carry it."""
    model = fit_table(conditions(), f"y ~ arch + cond + log_params + {RANDOM}")
    tests, effects = term_tests(model).set_index("term"), model.effects.set_index("term")
    for term, name in (("cond", "cond[b]"), ("log_params", "log_params")):
        t = effects.loc[name, "estimate"] / effects.loc[name, "se"]
        assert tests.loc[term, "F"] == pytest.approx(t**2, rel=1e-9)
        assert tests.loc[term, ["den_df", "p"]].tolist() == pytest.approx(
            effects.loc[name, ["df", "p"]].tolist()
        )


def test_a_term_has_no_more_df_than_its_units() -> None:
    """24 models carry arch: with its 3 levels and a number, at most 20 df, also where
    Satterthwaite's would be the rows'.
    """
    frame = conditions()
    model = fit_table(frame, "y ~ arch + log_params + (1 | model)")
    assert term_tests(model)["den_df"].max() <= 20


def test_many_equal_groups_approach_least_squares() -> None:
    """Without variance between levels F is that of statsmodels' type III analysis of variance with
    sum coding.
    """
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.choice(list("pqr"), 300), "b": rng.choice(list("uv"), 300)})
    frame["y"] = (frame["a"] == "q") * 0.3 + rng.normal(size=300)
    frame["g"] = [f"g{i % 10}" for i in range(300)]
    frame["y"] -= frame.groupby("g")["y"].transform("mean")  # no variance between groups
    expected = anova_lm(smf.ols("y ~ C(a, Sum) * C(b, Sum)", frame).fit(), typ=3)
    found = term_tests(fit_table(frame, "y ~ a*b + (1 | g)")).set_index("term")
    for term, name in (("a", "C(a, Sum)"), ("b", "C(b, Sum)"), ("a:b", "C(a, Sum):C(b, Sum)")):
        assert found.loc[term, "F"] == pytest.approx(expected.loc[name, "F"], rel=1e-6)


def test_a_binomial_term_has_walds_chi_squared() -> None:
    """car's Anova(type = 3): 25.488 on 3 df; glmer stopped 6e-4 above this minimum, so within 3 %;
    F has the units' df.
    """
    formula = "cbind(incidence, healthy) ~ period + (1 | herd)"
    model = fit_table(cbpp(), formula, family="binomial", allow_pseudoreplication=True)
    row = term_tests(model).iloc[0]
    assert row["chi2"] == pytest.approx(25.4883, rel=0.03) and row["num_df"] == 3
    assert row["F"] == pytest.approx(row["chi2"] / 3) and row["den_df"] == model.effects["df"][1]
    assert row["p_chi2"] < row["p"] < 1e-3


JOINT_TESTS = {
    "arch + arch:cond": (
        "arch",
        2.389,
        "averaged over the levels of cond, each with the same weight",
    ),
    "log_params + arch:log_params": (
        "log_params",
        13.935,
        "averaged over the levels of arch, each with the same weight",
    ),
    "log_params + arch:cond:log_params": (
        "log_params",
        13.935,
        "averaged over the levels of arch and cond, each with the same weight",
    ),
}


@pytest.mark.parametrize("fixed", JOINT_TESTS)
def test_a_term_within_one_that_lacks_a_margin_is_averaged_as_in_emmeans(fixed: str) -> None:
    """F of joint_tests() of emmeans 1.8 (printed to 3 digits), where lmerTest's depends on the
    coding; the row says what is tested.
    """
    term, f, said = JOINT_TESTS[fixed]
    found = (
        term_tests(fit_table(conditions(), f"y ~ {fixed} + (1 | model) + (1 | item)"))
        .set_index("term")
        .loc[term]
    )
    assert found["F"] == pytest.approx(f, abs=6e-4)
    assert found["hypothesis"] == said


def test_what_is_tested_is_said_where_an_effect_is_left_out() -> None:
    """Without an intercept, and of an interaction alone; of a formula with every margin nothing is
    said.
    """
    said = {
        fixed: term_tests(
            fit_table(conditions(), f"y ~ {fixed} + {RANDOM}", allow_pseudoreplication=True)
        )["hypothesis"].tolist()
        for fixed in ("0 + arch + cond", "arch:cond", "arch*cond")
    }
    assert said["0 + arch + cond"][0].startswith(
        "whether the means of all its levels are 0, averaged over the levels of cond"
    )
    assert said["arch:cond"] == ["stands for cond and arch too, which the formula leaves out"]
    assert said["arch*cond"] == ["", "", ""]
