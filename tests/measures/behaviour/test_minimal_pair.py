"""Tests of minimal pairs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from tests.architectures import model_of
from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.errors import InputError
from transect.lm import load
from transect.measures.behaviour import minimal_pair

PAIRS = pd.DataFrame(
    [
        ("agreement", "the dog runs .", "the dog run ."),
        ("attractor", "the dogs near the cat run .", "the dogs near the cat runs ."),
        ("tie", "cats sleep", "cats sleep"),
    ],
    columns=["item", "sentence_good", "sentence_bad"],
)

# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN_GOOD = [-21.930146, -41.439546, -7.629642]
GOLDEN_BAD = [-22.618911, -38.891946, -7.629642]
GOLDEN_PLL = [-19.241693, -30.435564, -10.457946]


def values(rows):
    """metric -> item -> value."""
    return {m: dict(zip(t["item"], t["value"], strict=True)) for m, t in rows.groupby("metric")}


def test_golden_values(tmp_path):
    """VERSION 2 on a fixed GPT-NeoX: a change of these numbers needs a new VERSION."""
    found = values(minimal_pair.measure(load(tiny_model(tmp_path, "gpt_neox")), PAIRS, seed=0))
    assert minimal_pair.VERSION == 2
    assert list(found["logprob_good_nats"].values()) == pytest.approx(GOLDEN_GOOD, abs=1e-4)
    assert list(found["logprob_bad_nats"].values()) == pytest.approx(GOLDEN_BAD, abs=1e-4)


def test_golden_values_of_a_masked_model(tmp_path):
    """VERSION 2 on a fixed BERT, pseudo-log-likelihoods under their own names."""
    found = values(minimal_pair.measure(load(tiny_model(tmp_path, "bert")), PAIRS, seed=0))
    assert set(found) == {"pll_good_nats", "pll_bad_nats", "pll_difference_nats", "pll_correct"}
    assert list(found["pll_good_nats"].values()) == pytest.approx(GOLDEN_PLL, abs=1e-4)


def test_difference_and_correct_follow_from_the_sums(tmp_path):
    """difference = good - bad; correct is its sign, a half for a tie."""
    found = values(minimal_pair.measure(load(tiny_model(tmp_path, "llama")), PAIRS, seed=0))
    for item in PAIRS["item"]:
        difference = found["logprob_good_nats"][item] - found["logprob_bad_nats"][item]
        assert found["difference_nats"][item] == difference
        assert found["correct"][item] == (0.5 if difference == 0 else float(difference > 0))
    assert found["correct"]["tie"] == 0.5


def test_planted_agreement_is_all_correct():
    """A model that finds "run" likelier after "dogs" than "runs" and the other way round scores 1
    on every pair.
    """

    def logprob(ids, t):
        plural = 0 < t and DOGS in ids[:t]
        return math.log(0.4 if ids[t] == (RUN if plural else RUNS) else 0.1)

    model = StandIn(logprob)
    words = model.tokenizer.get_vocab()
    DOGS, RUN, RUNS = words["dogs"], words["run"], words["runs"]
    found = values(minimal_pair.measure(model, PAIRS, seed=0))
    assert found["correct"] == {"agreement": 1.0, "attractor": 1.0, "tie": 0.5}
    assert found["difference_nats"]["attractor"] == pytest.approx(math.log(4))


def test_a_unigram_model_is_at_chance_on_the_same_words_in_another_order(tmp_path):
    """The frequency-only control: exactly a tie for every pair."""
    pairs = PAIRS.assign(
        sentence_bad=[" ".join(reversed(s.split())) for s in PAIRS["sentence_good"]]
    )
    found = values(
        minimal_pair.measure(load(tiny_model(tmp_path, "ngram", order=1)), pairs, seed=0)
    )
    assert set(found["correct"].values()) == {0.5}


def mirrored():
    """A GPT-2 without attention and MLP, whose sentences "dog run" and "cat runs" have the same
    probability: embedding and unembedding of one are those of the other, read backwards, and the
    unembeddings of all other words are the same backwards. Sums in another order: the logits, up to
    100, round differently."""
    model = model_of("gpt2")
    words, network = model.tokenizer.get_vocab(), model.network
    with torch.no_grad():
        network.transformer.wpe.weight.zero_()
        for block in network.transformer.h:
            for part in (block.attn.c_proj, block.mlp.c_proj):
                part.weight.zero_(), part.bias.zero_()
        network.transformer.ln_f.weight.fill_(1), network.transformer.ln_f.bias.zero_()
        read = network.transformer.wte.weight
        write = torch.nn.Parameter(60 * (read + read.flip(1)))
        for one, other in (("dog", "cat"), ("run", "runs")):
            read[words[other]], write[words[other]] = (
                read[words[one]].flip(0),
                write[words[one]].flip(0),
            )
        write[words["run"]] += 3 * torch.arange(32)
        write[words["runs"]] = write[words["run"]].flip(0)
        network.lm_head.weight = write
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sentences_of_equal_probability_are_a_tie_whatever_the_rounding(dtype):
    """Equal by construction, unlike in the last bits: 0.5 (1e-5 nats once decided that 2e-5 is a
    difference).
    """
    model = mirrored()
    model.network.to(dtype)
    after = ["", " the", " the big", " of this key"]
    pairs = pd.DataFrame(
        {"item": range(4), "sentence_good": ["dog run"] * 4, "sentence_bad": ["cat runs"] * 4}
    )
    pairs["sentence_good"] += after
    pairs["sentence_bad"] += after
    found = values(minimal_pair.measure(model, pairs, seed=0))
    if dtype == torch.float32:
        assert max(map(abs, found["difference_nats"].values())) > 0  # else this would show nothing
    assert set(found["correct"].values()) == {0.5}


def test_a_difference_above_rounding_is_no_tie():
    """The same network with one logit changed by 0.01 nats: the first sentence wins."""
    model = mirrored()
    words = model.tokenizer.get_vocab()
    with torch.no_grad():
        model.network.transformer.wte.weight[words["dog"]] *= 1 + 1e-3
        weight = model.network.lm_head.weight
        weight[words["run"]] *= 1 + 1e-3
    pairs = pd.DataFrame(
        {"item": ["x"], "sentence_good": ["dog run"], "sentence_bad": ["cat runs"]}
    )
    found = values(minimal_pair.measure(model, pairs, seed=0))
    assert abs(found["difference_nats"]["x"]) > 1e-3 and found["correct"]["x"] in (0, 1)


def test_a_context_changes_the_probabilities_and_adds_none(tmp_path):
    """Equal to the difference of whole strings, to rounding: the context's own tokens are not in
    the sums.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    found = values(minimal_pair.measure(model, PAIRS, seed=0, context="a cat . "))
    (whole,) = model.token_logprobs([[model.bos_id, *model.encode("a cat . cats sleep")]])
    assert found["logprob_good_nats"]["tie"] == pytest.approx(whole[4:].sum(), abs=1e-5)


def test_rows_are_in_the_long_form(tmp_path):
    """item, metric, value, error; every metric declared with its unit."""
    rows = minimal_pair.measure(load(tiny_model(tmp_path, "mamba2")), PAIRS, seed=0)
    assert list(rows.columns) == ["item", "metric", "value", "error"] and len(rows) == 12
    assert set(rows["metric"]) <= set(minimal_pair.UNIT) and rows["value"].dtype == np.float64


def test_an_item_beyond_the_context_is_told_and_the_others_are_kept(tmp_path):
    """Never cut in silence: four rows with an error, which names the sentence; other items as
    without it.
    """
    model = load(tiny_model(tmp_path, "gpt_neox"))
    long = PAIRS.assign(sentence_bad=["the " * 70, *PAIRS["sentence_bad"][1:]])
    rows = minimal_pair.measure(model, long, seed=0)
    refused = rows["item"] == "agreement"
    told = (
        "sentence_bad: the text has 71 tokens, special ones included; the context of gpt_neox is 64"
    )
    assert set(rows.loc[refused, "error"]) == {told} and rows.loc[refused, "value"].isna().all()
    assert rows.loc[~refused, "error"].isna().all()
    whole = minimal_pair.measure(model, PAIRS, seed=0)
    assert rows.loc[~refused, "value"].tolist() == pytest.approx(
        whole.loc[~refused, "value"].tolist(), abs=1e-5
    )


def test_two_impossible_sentences_have_no_difference():
    """log 0 - log 0 is no number, and said."""
    rows = minimal_pair.measure(StandIn(lambda ids, t: -math.inf), PAIRS[:1], seed=0)
    assert (
        set(rows["error"]) == {"both sentences have probability 0"} and rows["value"].isna().all()
    )


def test_a_model_without_numbers_is_told(tmp_path):
    """NaN weights are the model's error."""
    model = load(tiny_model(tmp_path, "gpt_neox"))
    next(model.network.parameters()).data.fill_(float("nan"))
    rows = minimal_pair.measure(model, PAIRS, seed=0)
    assert set(rows["error"]) == {"sentence_good: the model's logits are not numbers (NaN)"}


def test_the_variant_of_pseudo_log_likelihood_is_an_option(tmp_path):
    """Original: each token masked alone, which a word of several pieces shows; an unknown variant
    is told.
    """
    model = load(tiny_model(tmp_path, "bert"))
    pairs = pd.DataFrame(
        {
            "item": ["x"],
            "sentence_good": ["the cabinets sleep"],
            "sentence_bad": ["the cabinets sees"],
        }
    )
    one, other = (
        values(minimal_pair.measure(model, pairs, seed=0, pll=v))
        for v in ("within_word", "original")
    )
    assert abs(one["pll_good_nats"]["x"] - other["pll_good_nats"]["x"]) > 1e-3
    with pytest.raises(
        InputError,
        match="pll: 'orignal'; allowed are within_word, original. Did you mean 'original'",
    ):
        minimal_pair.measure(model, pairs, seed=0, pll="orignal")
