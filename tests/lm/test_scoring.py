"""Tests of the policy for BOS and context, and of what is refused."""

import math

import numpy as np
import pytest

from tests.shelf import byte_tokenizer, tiny_model
from transect.errors import InputError
from transect.lm import load
from transect.lm.scoring import lines, opening, total_logprobs


@pytest.fixture
def neox(tmp_path):
    """A causal model with a BOS."""
    return load(tiny_model(tmp_path, "gpt_neox"))


@pytest.fixture
def gpt2(tmp_path):
    """A causal model over bytes, with an end-of-text token and no BOS."""
    return load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))


@pytest.fixture
def bert(tmp_path):
    """A masked model over word pieces."""
    return load(tiny_model(tmp_path, "bert"))


def test_auto_prepends_the_bos(neox):
    """The ids begin with the BOS, which is not scored; every token of the text is."""
    (line,) = lines(neox, ["the dog runs ."], ["x"])
    assert line.ids == [neox.tokenizer.bos_token_id, *neox.encode("the dog runs .")]
    assert line.first == 1 and [w >= 0 for w in line.words] == [False, True, True, True, True]


def test_auto_falls_back_to_the_end_of_text_token(gpt2):
    """As GPT-NeoX and GPT-2 models are used: the end-of-text token opens a text."""
    assert opening(gpt2, "auto") == [gpt2.tokenizer.eos_token_id]


def test_without_bos_the_first_token_is_not_scored(neox):
    """Nothing predicts it."""
    (line,) = lines(neox, ["the dog runs ."], ["x"], bos=False)
    assert line.ids == neox.encode("the dog runs .") and line.first == 1


def test_bos_true_without_such_a_token_is_an_error(tmp_path):
    """Asked for and not there."""
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=tokenizer))
    assert opening(model, "auto") == []
    with pytest.raises(InputError, match="no token to open a text"):
        opening(model, True)


def test_an_unknown_policy_is_an_error(neox):
    """1 is not True here, nor any other word."""
    with pytest.raises(InputError, match="allowed are auto, true, false"):
        opening(neox, "always")


def test_masked_models_read_cls_and_sep_and_score_neither(bert):
    """[CLS] text [SEP]; word pieces share their word's number, punctuation is a word."""
    (line,) = lines(bert, ["the cabinets sleep !"], ["x"])
    tokens = bert.tokenizer.convert_ids_to_tokens(line.ids)
    assert tokens == ["[CLS]", "the", "cabinet", "##s", "sleep", "!", "[SEP]"]
    assert line.words == [-1, 0, 1, 1, 2, 3, -1]


def test_a_context_is_read_and_not_scored(neox):
    """Total with a context = sum over the text's own tokens of the whole string's log-probabilities."""
    (line,) = lines(neox, ["the dog runs ."], ["x"], context="cats sleep ")
    assert [w >= 0 for w in line.words] == [False] * 3 + [True] * 4
    (scores,) = neox.token_logprobs([line.ids])
    assert total_logprobs(neox, [line])[0] == pytest.approx(math.fsum(scores[3:]), abs=1e-5)


def test_a_context_that_shares_a_token_with_the_text_is_refused(neox):
    """ "do" + "g" is one token of neither."""
    with pytest.raises(InputError, match="item x shares a token"):
        lines(neox, ["g runs"], ["x"], context="the do")


def test_empty_and_too_long_items_are_named(neox):
    """All refused items of one kind in one sentence; nothing is cut."""
    with pytest.raises(InputError) as error:
        lines(neox, ["the dog", "", "the " * 64, " "], ["a", "b", "c", "d"])
    told = str(error.value)
    assert "item b, d has no token to score" in told and "item c is longer than the context of 64 tokens" in told


def test_a_text_that_brings_its_own_bos_is_refused(neox):
    """Two would change every probability."""
    with pytest.raises(InputError, match="second beginning-of-sequence"):
        lines(neox, ["<s> the dog"], ["x"])


def test_totals_do_not_depend_on_the_order_of_the_terms(tmp_path):
    """A unigram model gives two orders of the same words exactly the same total: a tie is a tie."""
    model = load(tiny_model(tmp_path, "ngram", order=1))
    texts = ["the dog near the cats runs .", "runs . cats the near the dog"]
    first, second = total_logprobs(model, lines(model, texts, ["a", "b"]))
    assert first == second and np.isfinite(first)
