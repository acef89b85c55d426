"""Reference levels: chosen, kept by the order of a column's levels, and refused with what there is."""

import pandas as pd
import pytest

from tests.stats.crossed_data import conditions
from transect.errors import InputError
from transect.stats.formula.notation import parse
from transect.stats.formula.reference_levels import with_references
from transect.stats.table.table_model import fit_table

FORMULA = "y ~ arch + log_params + (1 + cond | model) + (1 | item)"


def test_the_effects_are_against_the_level_chosen() -> None:
    """Against moe, dense has the opposite of moe's effect against dense; the fit is the same."""
    frame = conditions()
    first = fit_table(frame, FORMULA)
    second = fit_table(with_references(frame, {"arch": "moe"}, parse(FORMULA)), FORMULA)
    one, other = (m.effects.set_index("term")["estimate"] for m in (first, second))
    assert list(other.index) == ["(Intercept)", "arch[dense]", "arch[ssm]", "log_params"]
    assert other["arch[dense]"] == pytest.approx(-one["arch[moe]"], abs=1e-6)
    assert second.fit.criterion == pytest.approx(first.fit.criterion, abs=1e-6)


def test_levels_with_an_order_keep_it() -> None:
    """As R: the first of the column's own levels is the reference, one that does not occur is
    passed over.
    """
    frame = conditions()
    frame["arch"] = pd.Categorical(frame["arch"], categories=["none", "ssm", "moe", "dense"])
    assert list(fit_table(frame, FORMULA).effects["term"][1:3]) == ["arch[moe]", "arch[dense]"]


def test_numbers_as_categories_have_a_reference_too() -> None:
    """factor(x): the level as it is written."""
    frame = conditions().assign(size=lambda t: t["arch"].map({"dense": 1, "moe": 10, "ssm": 2}))
    formula = "y ~ factor(size) + (1 | model) + (1 | item)"
    chosen = with_references(frame, {"size": "10"}, parse(formula))
    assert list(fit_table(chosen, formula).effects["term"][1:]) == [
        "factor(size)[1]",
        "factor(size)[2]",
    ]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"arch": "mo"}, r"its levels are dense, moe, ssm\. Did you mean 'moe'"),
        ({"arc": "moe"}, r"the formula's categories are arch, cond\. Did you mean 'arch'"),
        ({"log_params": "1"}, r"it holds numbers: write factor\(log_params\)"),
    ],
)
def test_what_is_no_level_is_refused(chosen: dict[str, str], message: str) -> None:
    """One sentence with what there is and the nearest."""
    with pytest.raises(InputError, match=message):
        with_references(conditions(), chosen, parse(FORMULA))
