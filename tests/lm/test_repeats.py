"""Tests of the sequences that occur twice."""

import numpy as np
import pytest

from tests.shelf import tiny_model
from transect.errors import InputError
from transect.lm import load
from transect.lm.repeats import repeats

SIX = {"length": 6, "gap": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Any model with a BOS."""
    return load(tiny_model(tmp_path_factory.mktemp("shelf"), "gpt_neox"))


def test_a_row_is_bos_sequence_filler_sequence(model):
    """The second occurrence stands `distance` after the first, and all other tokens differ."""
    (made,) = repeats(model, [SIX], n=5, seed=0)
    assert made.ids.shape == (5, 16) and (made.name, made.start, made.distance) == (
        "length6_gap3",
        1,
        9,
    )
    assert (made.ids[:, 0] == model.bos_id).all()
    np.testing.assert_array_equal(made.ids[:, 1:7], made.ids[:, 10:])
    assert all(len(set(row[:10])) == 10 for row in made.ids)


def test_rows_depend_on_the_seed_and_not_on_other_conditions(model):
    """A condition added to a study changes no other one."""
    (alone,) = repeats(model, [SIX], n=5, seed=0)
    beside = repeats(model, [{"length": 4}, SIX], n=5, seed=0)[1]
    (other,) = repeats(model, [SIX], n=5, seed=1)
    np.testing.assert_array_equal(alone.ids, beside.ids)
    assert (alone.ids != other.ids).any()


def test_a_pattern_chooses_the_tokens(model):
    """Only tokens that contain it; a condition may have its own."""
    conditions = [SIX, {"length": 6, "name": "any", "tokens": "^[a-r]"}]
    syllables, words = repeats(model, conditions, n=20, seed=0, tokens="^syl")
    assert all(
        t.startswith("syl")
        for t in model.tokenizer.convert_ids_to_tokens(syllables.ids[:, 1:].ravel().tolist())
    )
    assert not any(
        "syl" in t for t in model.tokenizer.convert_ids_to_tokens(words.ids[:, 1:].ravel().tolist())
    )
    assert words.name == "any"


def test_no_special_token_is_drawn(model):
    """By default everything else may be; a band of ids narrows it."""
    (made,) = repeats(model, [SIX], n=200, seed=0)
    assert not set(made.ids[:, 1:].ravel().tolist()) & set(model.tokenizer.all_special_ids)
    (band,) = repeats(model, [SIX], n=50, seed=0, tokens={"ids": [0, 20]})
    assert set(band.ids[:, 1:].ravel().tolist()) == set(range(4, 20))


@pytest.mark.parametrize(
    ("conditions", "options", "told"),
    [
        (
            [{"length": 30, "gap": 30}],
            {"tokens": "^syl"},
            "60 different tokens are needed and 40 are allowed",
        ),
        ([{"length": 30, "gap": 4}], {}, "rows of 65 tokens; the context of gpt_neox is 64"),
        ([{"lenght": 6}], {}, "Did you mean 'length'"),
        ([{"length": 1}], {}, "at least 2"),
        ([{"length": True}], {}, "at least 2"),
        ([], {}, "must be a list of conditions"),
        ([SIX], {"tokens": {"ids": ["a", "b"]}}, "allowed are a regular expression and"),
        ([SIX, SIX], {}, "different names"),
        ([SIX], {"tokens": "["}, "not a regular expression"),
        ([SIX], {"tokens": {"ranks": [0, 5]}}, "allowed are a regular expression and"),
    ],
)
def test_what_cannot_be_made_is_told(model, conditions, options, told):
    """One sentence that names the condition."""
    with pytest.raises(InputError, match=told):
        repeats(model, conditions, n=5, seed=0, **options)
