"""BLiMP agreement pairs."""

import os

import pytest

from transect.errors import InputError
from transect.stimuli import blimp_agreement

needs_data = pytest.mark.skipif(
    "TRANSECT_MIRROR" not in os.environ, reason="needs BLiMP: set TRANSECT_MIRROR"
)


@needs_data
def test_eleven_paradigms_of_a_thousand_pairs():
    """All items: 11 paradigms, 1,000 pairs each (Warstadt et al. 2020), unique names, two different
    sentences.
    """
    items = blimp_agreement.items(seed=0)
    assert list(items.columns) == list(blimp_agreement.COLUMNS)
    assert items["paradigm"].value_counts().to_dict() == dict.fromkeys(
        items["paradigm"].unique(), 1000
    )
    assert items["paradigm"].nunique() == 11 and items["item"].is_unique
    assert (items["sentence_good"] != items["sentence_bad"]).all()


@needs_data
def test_sample_is_the_first_pairs_of_each_paradigm():
    """The sample is the same for every seed and part of the whole; the first pair is BLiMP's pair
    0.
    """
    items = blimp_agreement.items(seed=0)
    sample = blimp_agreement.items(seed=1, sample=200)
    assert sample.equals(
        items[items["item"].str.rsplit("-").str[-1].astype(int) < 200].reset_index(drop=True)
    )
    first = sample[sample["paradigm"] == "anaphor_gender_agreement"].iloc[0]
    assert first["sentence_good"] == "Katherine can't help herself."


@pytest.mark.parametrize("sample", [0, 1001])
def test_impossible_sample_is_refused(sample):
    """There are 1,000 pairs in a paradigm."""
    with pytest.raises(InputError, match="allowed are 1 to 1000"):
        blimp_agreement.items(seed=0, sample=sample)
