"""Tests of copying."""

import math

import numpy as np
import pandas as pd
import pytest

from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.lm import load
from transect.lm.repeats import repeats
from transect.measures.behaviour import copying

NO_ITEMS = pd.DataFrame({"item": []})
CONDITIONS = [{"length": 6, "gap": 3}, {"length": 8}]
# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN = [0.247199, 0.099935]


def values(model, **options):
    """metric -> item -> value."""
    rows = copying.measure(
        model, NO_ITEMS, seed=3, **{"conditions": CONDITIONS, "n": 16, **options}
    )
    return {m: dict(zip(t["item"], t["value"], strict=True)) for m, t in rows.groupby("metric")}


def test_golden_values(tmp_path):
    """VERSION 1 on a fixed GPT-NeoX: a change of these numbers needs a new VERSION."""
    found = values(load(tiny_model(tmp_path, "gpt_neox")))
    assert copying.VERSION == 1
    assert list(found["copying_gain_bits"].values()) == pytest.approx(GOLDEN, abs=1e-5)


def test_a_model_that_copies():
    """1/64 for a new token, 0.51 where this one followed the one before already: gain 6 + log2
    0.51, top-1 1.
    """

    def logprob(ids, t):
        return (
            math.log(0.51)
            if tuple(ids[t - 1 : t + 1]) in zip(ids[: t - 1], ids[1:t], strict=True)
            else -math.log(64)
        )

    found = values(StandIn(logprob))
    for item in ("length6_gap3", "length8_gap0"):
        assert found["copying_gain_bits"][item] == pytest.approx(6 + math.log2(0.51))
        assert found["copy_top1"][item] == 1


def test_a_model_that_does_not_look_back():
    """The same probability everywhere: no gain, no copy."""
    found = values(StandIn(lambda ids, t: -math.log(64)))
    assert set(found["copying_gain_bits"].values()) == {0} and set(found["copy_top1"].values()) == {
        0
    }


def test_a_model_without_attention_can_be_asked(tmp_path):
    """Probabilities are enough: mamba2 and n-grams have a value."""
    for kind in ("mamba2", "ngram"):
        assert len(values(load(tiny_model(tmp_path, kind)), n=2)["copy_top1"]) == 2


def test_without_bos_the_same_tokens_count(tmp_path):
    """Tokens 2 to length of both occurrences, wherever the row begins."""
    found = values(StandIn(lambda ids, t: -float(ids[t])), bos=False)
    assert found["copying_gain_bits"]["length6_gap3"] == 0


def test_a_model_without_numbers_is_told():
    """NaN log-probabilities: an error in both rows, no value."""
    rows = copying.measure(
        StandIn(lambda ids, t: math.nan), NO_ITEMS, seed=3, conditions=CONDITIONS, n=2
    )
    assert (
        set(rows["error"]) == {"the model's logits are not numbers (NaN)"}
        and rows["value"].isna().all()
    )


def test_a_sequence_without_numbers_is_refused_and_the_means_are_of_the_others():
    """NaN in every row that holds one token: the values of the rest by hand, and one error for each
    metric of the rows with it.
    """
    (made,) = repeats(StandIn(), CONDITIONS[:1], n=16, seed=3)
    token = int(made.ids[7, 3])
    hit = (made.ids == token).any(1)

    def logprob(ids, t):
        return math.nan if token in ids[: t + 1] else -float(ids[t] + t)

    rows = copying.measure(StandIn(logprob), NO_ITEMS, seed=3, conditions=CONDITIONS[:1], n=16)
    refused = rows[rows["error"].notna()]
    assert refused["item"].drop_duplicates().tolist() == [
        f"length6_gap3#{i}" for i in np.flatnonzero(hit)
    ]
    assert len(refused) == 2 * hit.sum() and 0 < hit.sum() < 16
    # every token costs 9 nats more at its second place, whatever it is
    kept = rows[rows["error"].isna()].set_index("metric")["value"]
    assert kept["copying_gain_bits"] == pytest.approx(-9 / math.log(2)) and kept["copy_top1"] == 0
