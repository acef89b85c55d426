"""A sample weighted to its population."""

import numpy as np
import pytest

from transect.errors import InputError
from transect.stats.design.poststratification import coverage, effective_n, post_stratify

HUB = {
    "eng": 96_000,
    "spa": 5_000,
    "hin": 2_800,
}  # language tags of text-generation models on the hub, as an essay counts them


def test_by_hand() -> None:
    """Strata a: 1, 3 and b: 10, 14, 12; shares 0.25 and 0.75: 0.25 x 2 + 0.75 x 12 = 9.5; variance
    0.0625 x 2/2 + 0.5625 x 4/3.
    """
    found = post_stratify([1, 3, 10, 14, 12], list("aabbb"), {"a": 1, "b": 3})
    assert found.row["estimate"] == pytest.approx(9.5)
    assert found.row["se"] ** 2 == pytest.approx(0.0625 * 2 / 2 + 0.5625 * 4 / 3)
    assert found.unweighted == 8 and found.covered == 1


def test_effective_n_of_a_skewed_sample() -> None:
    """Kish: equal weights count in full; weights 3, 1, 1, 1 are worth 36 / 12 = 3 units."""
    assert effective_n([2, 2, 2]) == pytest.approx(3)
    assert effective_n([3, 1, 1, 1]) == pytest.approx(3)


def test_coverage_names_what_was_not_sampled() -> None:
    """Two English models and one Spanish one: Hindi is not covered, Spanish stands for less than
    its share of the sample.
    """
    table = coverage(["eng", "eng", "spa"], HUB).set_index("stratum")
    assert table.loc["hin", "n"] == 0 and np.isnan(table.loc["hin", "weight"])
    assert table.loc["spa", "ratio"] == pytest.approx((1 / 3) / (5_000 / 103_800))
    assert post_stratify([1, 2, 3], ["eng", "eng", "spa"], HUB).covered == pytest.approx(
        101 / 103.8
    )


def test_coverage_of_the_interval() -> None:
    """Planted: a sample of equal strata of a population that is 80 : 15 : 5; 95 % intervals hold
    the truth in 93 to 97 % of 2,000.
    """
    rng = np.random.default_rng(20261121)
    population, means = {"a": 0.80, "b": 0.15, "c": 0.05}, np.array([0.0, 1.0, 3.0])
    truth = 0.80 * 0 + 0.15 * 1 + 0.05 * 3
    stratum = np.repeat(["a", "b", "c"], 8)
    found = [
        post_stratify(np.repeat(means, 8) + rng.normal(size=24), stratum.tolist(), population)
        for _ in range(2000)
    ]
    assert 0.93 <= np.mean([f.row["lower"] <= truth <= f.row["upper"] for f in found]) <= 0.97
    assert np.mean([f.row["estimate"] for f in found]) == pytest.approx(
        truth, abs=0.03
    )  # 4 standard errors of 2,000 means
    assert np.mean([f.unweighted for f in found]) > 1.2  # what the sample alone would say


@pytest.mark.parametrize(
    ("stratum", "population", "told"),
    [
        (["x"], {"a": 1}, "no stratum 'x'; it has a"),
        (["a"], {"a": 0}, "above 0"),
        (["a", "b"], {"a": 1, "b": 1}, "2 units in 2 strata leave no degree of freedom"),
    ],
)
def test_what_cannot_be_estimated(
    stratum: list[str], population: dict[str, float], told: str
) -> None:
    """One sentence."""
    with pytest.raises(InputError, match=told):
        post_stratify(range(len(stratum)), stratum, population)
