"""Tests of bits per byte."""

import math

import numpy as np
import pandas as pd
import pytest
from tokenizers import processors

from tests.measures.stand_in import StandIn
from tests.shelf import byte_tokenizer, tiny_model
from transect.errors import InputError
from transect.lm import load
from transect.measures.behaviour import bits_per_byte

TEXTS = pd.DataFrame(
    {"item": ["a", "b"], "text": ["the dog runs .", "cats sleep near the big red cabinet"]}
)
# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN = [1.826239, 1.205734]


def values(rows):
    """metric -> item -> value."""
    return {m: dict(zip(t["item"], t["value"], strict=True)) for m, t in rows.groupby("metric")}


def test_golden_values(tmp_path):
    """VERSION 1 on a fixed Llama: a change of these numbers needs a new VERSION."""
    found = values(bits_per_byte.measure(load(tiny_model(tmp_path, "llama")), TEXTS, seed=0))
    assert bits_per_byte.VERSION == 1
    assert list(found["bits_per_byte"].values()) == pytest.approx(GOLDEN, abs=1e-5)
    assert found["n_bytes"] == {"a": 14, "b": 35}


def test_the_definition_by_hand():
    """Four tokens of probability 1/8 over 14 bytes: 12/14 bits per byte."""
    found = values(bits_per_byte.measure(StandIn(lambda ids, t: -math.log(8)), TEXTS[:1], seed=0))
    assert found["bits_per_byte"]["a"] == pytest.approx(12 / 14)
    assert found["logprob_nats"]["a"] == pytest.approx(-4 * math.log(8))


def test_a_uniform_byte_model_has_log2_of_its_vocabulary(tmp_path):
    """257 tokens, all weights 0: log2(257) bits per byte, for text beyond ASCII too."""
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))
    for parameter in model.network.parameters():
        parameter.requires_grad_(False).zero_()
    texts = pd.DataFrame({"item": ["x"], "text": ["naïve 語 Ω."]})
    for bos in (True, False):
        found = values(bits_per_byte.measure(model, texts, seed=0, bos=bos))
        assert found["bits_per_byte"]["x"] == pytest.approx(math.log2(257), abs=1e-6)
        assert found["n_bytes"]["x"] == 14 - (not bos)


def test_without_bos_a_shared_first_character_is_not_counted(tmp_path):
    """ "語a" is four byte tokens, three of one character: only the "a" can be scored whole."""
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))
    texts = pd.DataFrame({"item": ["x"], "text": ["語a"]})
    found = values(bits_per_byte.measure(model, texts, seed=0, bos=False))
    assert found["n_bytes"]["x"] == 1
    (scores,) = model.token_logprobs([model.encode("語a")])
    assert found["logprob_nats"]["x"] == pytest.approx(scores[3], abs=1e-5)


def test_a_long_document_is_scored_once_per_token_in_windows():
    """100 tokens, window 20 with BOS, stride 5: every token once, later ones with at least 14
    before.
    """
    seen = []

    def logprob(ids, t):
        seen.append(t)
        return -1.0

    text = pd.DataFrame({"item": ["x"], "text": ["dog " * 99 + "dog"]})
    found = values(bits_per_byte.measure(StandIn(logprob), text, seed=0, window=20, stride=5))
    assert found["logprob_nats"]["x"] == -100 and len(seen) == 100
    assert seen[:19] == list(range(1, 20)) and min(seen[19:]) == 15


def test_windows_agree_with_one_forward_where_the_text_fits(tmp_path):
    """A window longer than the text changes nothing; a shorter one does, by the context that it
    lacks.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    whole, wide, narrow = (
        values(bits_per_byte.measure(model, TEXTS, seed=0, **o))["logprob_nats"]
        for o in ({}, {"window": 40}, {"window": 4, "stride": 1})
    )
    assert whole == wide
    ids = model.encode(TEXTS["text"][1])
    parts = [
        model.token_logprobs([[model.bos_id, *ids[max(0, t - 2) : t + 1]]])[0][-1]
        for t in range(len(ids))
    ]
    assert narrow["b"] == pytest.approx(np.sum(parts), abs=1e-4)


def test_unknown_tokens_are_counted(tmp_path):
    """They stand for many words, which flatters the model: the reader must see them."""
    texts = pd.DataFrame({"item": ["x"], "text": ["the zebra runs"]})
    assert (
        values(bits_per_byte.measure(load(tiny_model(tmp_path, "llama")), texts, seed=0))[
            "n_unknown"
        ]["x"]
        == 1
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": 65}, "window: 65; allowed are 3 to 64"),
        ({"window": 10, "stride": 10}, "stride: 10; allowed are 1 to 9"),
    ],
)
def test_a_window_that_cannot_be_is_told(options, told, tmp_path):
    """One sentence that names the option: it holds for all items."""
    items = pd.DataFrame({"item": ["x"], "text": ["the dog"]})
    with pytest.raises(InputError, match=told):
        bits_per_byte.measure(load(tiny_model(tmp_path, "gpt_neox")), items, seed=0, **options)


def test_documents_that_cannot_be_scored_say_why(tmp_path):
    """Empty, one token without BOS, not there: rows with an error; the others keep their values."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    items = pd.DataFrame(
        {"item": list("abcde"), "text": ["the dog runs", "", "dog", None, "<s> the dog"]}
    )
    rows = bits_per_byte.measure(model, items, seed=0, bos=False)
    bits = rows[rows["metric"] == "bits_per_byte"].set_index("item")
    assert bits["value"].isna().to_dict() == {
        "a": False,
        "b": True,
        "c": True,
        "d": True,
        "e": True,
    }
    assert bits["error"]["c"] == "the text 'dog' has no token to score" and pd.isna(
        bits["error"]["a"]
    )
    assert (rows["value"].isna() == rows["error"].notna()).all()
    again = bits_per_byte.measure(model, items, seed=0)
    assert set(again.loc[again["item"] == "e", "error"].str[:21]) == {"the text spells '<s>'"}


def test_a_model_without_numbers_is_told(tmp_path):
    """NaN weights are the model's error, in every item."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    next(model.network.parameters()).data.fill_(float("nan"))
    rows = bits_per_byte.measure(model, TEXTS, seed=0)
    assert (
        set(rows["error"]) == {"the model's logits are not numbers (NaN)"}
        and rows["value"].isna().all()
    )


def test_nothing_but_refused_documents(tmp_path):
    """Every document has its error; nothing is asked of the model."""
    rows = bits_per_byte.measure(
        load(tiny_model(tmp_path, "gpt_neox")), TEXTS.assign(text=""), seed=0
    )
    assert len(rows) == 8 and rows["error"].notna().all() and rows["value"].isna().all()


def test_an_opening_of_two_tokens_takes_two_places_of_a_window(tmp_path):
    """Every token scored once, after both; the largest stride is what the window leaves. Windows
    put together by hand.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    tokenizer = model.tokenizer
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "<mask>")]
    two = processors.TemplateProcessing(single="<s> <mask> $A", special_tokens=special)
    tokenizer.backend_tokenizer.post_processor = two
    text = "the dogs near the cat run ."
    items, ids = pd.DataFrame({"item": ["x"], "text": [text]}), model.encode(text)
    rows = bits_per_byte.measure(model, items, seed=0, window=5, stride=3)
    head = [i for _, i in special]
    parts = [model.token_logprobs([[*head, *ids[at : at + 3]]])[0][2:] for at in (0, 3)]
    last = model.token_logprobs([[*head, *ids[4:7]]])[0][-1]
    total = rows.set_index("metric")["value"]["logprob_nats"]
    assert total == pytest.approx(float(np.concatenate(parts).sum() + last), abs=1e-5)
    with pytest.raises(InputError, match="stride: 4; allowed are 1 to 3 tokens for a window of 5"):
        bits_per_byte.measure(model, items, seed=0, window=5, stride=4)
