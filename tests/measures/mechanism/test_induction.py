"""Tests of induction heads."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.architectures import model_of
from tests.lm.broken import overflowing
from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.errors import NotApplicable
from transect.lm import load
from transect.lm.repeats import repeats
from transect.measures.mechanism import induction
from transect.store import cell_store

NO_ITEMS = pd.DataFrame({"item": []})
CONDITIONS = [{"length": 6, "gap": 3}, {"length": 8}]
# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN = [0.068849, 0.087254, 0.065594, 0.081558, 0.072566, 0.065139, 0.06808, 0.05745]


def measured(model, **options):
    """The rows, with the options of these tests."""
    return induction.measure(
        model, NO_ITEMS, seed=3, **{"conditions": CONDITIONS, "n": 16, **options}
    )


def scores(rows, item):
    """prefix_matching [layer][head]."""
    chosen = rows[(rows["metric"] == "prefix_matching") & (rows["item"] == item)]
    return chosen.pivot(index="layer", columns="head", values="value").to_numpy()


def looking(distance):
    """A pattern [head, query, key]: head 0 always looks `distance` back, head 1 everywhere alike."""

    def pattern(n):
        back = torch.zeros(n, n)
        for q in range(n):
            back[q, max(0, q - distance)] = 1
        return torch.stack([back, torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]])

    return pattern


def test_golden_values(tmp_path):
    """VERSION 1 on a fixed GPT-NeoX: a change of these numbers needs a new VERSION."""
    rows = measured(load(tiny_model(tmp_path, "gpt_neox")))
    assert induction.VERSION == 1
    assert scores(rows, "length6_gap3").ravel().tolist() == pytest.approx(GOLDEN, abs=1e-5)


def test_a_head_that_looks_at_what_followed_scores_one():
    """Distance - 1 back is what followed the first occurrence: 1, in its own condition only."""
    rows = measured(StandIn(pattern=looking(9 - 1)))
    assert scores(rows, "length6_gap3")[0, 0] == 1 and scores(rows, "length8_gap0")[0, 0] == 0


def test_a_head_that_looks_everywhere_scores_the_uniform_attention():
    """The row beside the scores says what no preference at all would give."""
    rows = measured(StandIn(pattern=looking(1)))
    uniform = rows[rows["metric"] == "uniform_attention"].set_index("item")
    assert scores(rows, "length6_gap3")[0, 1] == pytest.approx(uniform.loc["length6_gap3", "value"])
    assert uniform.loc["length6_gap3", "value"] == pytest.approx(
        sum(1 / (q + 1) for q in range(10, 16)) / 6
    )
    assert uniform["layer"].isna().all()


def test_scores_equal_those_from_output_attentions(tmp_path):
    """The mean over the chosen entries of the eager model's own attention tensors, picked one by
    one.
    """
    path = tiny_model(tmp_path, "llama")
    model = load(path)
    rows = measured(model)
    (made,) = repeats(model, CONDITIONS[:1], n=16, seed=3)
    with torch.no_grad():
        eager = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
        attentions = eager(torch.tensor(made.ids), output_attentions=True).attentions
    for layer, pattern in enumerate(attentions):
        expected = torch.stack([pattern[:, :, q, q - 8] for q in range(10, 16)]).mean((0, 1))
        assert scores(rows, "length6_gap3")[layer].tolist() == pytest.approx(
            expected.tolist(), abs=1e-6
        )


def test_a_model_without_attention_is_not_applicable(tmp_path):
    """Not a score of zero."""
    with pytest.raises(NotApplicable):
        measured(load(tiny_model(tmp_path, "mamba2")))


def test_a_sequence_without_numbers_is_refused_by_name_and_the_means_are_of_the_others():
    """One embedding that is none: the condition's means over the sequences without that token, in a
    sound model; the store takes the rows."""
    conditions = [{"length": 6}]
    sound, broken = model_of("llama"), model_of("llama")
    (made,) = repeats(sound, conditions, n=16, seed=3)
    token = int(made.ids[5].max())  # none of those few on which the network's parts are looked for
    overflowing(broken, token)
    hit = (made.ids == token).any(1)
    each = measured(sound, conditions=conditions, sequences=True)
    kept = each[each["item"].isin([f"length6_gap0#{i}" for i in np.flatnonzero(~hit)])]
    rows = cell_store.as_values("", measured(broken, conditions=conditions, sequences=True))
    expected = kept.groupby(["layer", "head"])["value"].mean().unstack().to_numpy()
    np.testing.assert_allclose(scores(rows, "length6_gap0"), expected, atol=1e-6)
    refused = rows[rows["error"].notna()]
    assert refused["item"].tolist() == [f"length6_gap0#{i}" for i in np.flatnonzero(hit)]
    rest = f"the means of length6_gap0 are of the other {(~hit).sum()} sequences"
    assert (
        set(refused["error"]) == {f"the model's attention is not numbers (NaN); {rest}"}
        and 0 < hit.sum() < 16
    )
    own = rows[(rows["metric"] == "prefix_matching_by_sequence") & rows["error"].isna()]
    np.testing.assert_allclose(own["value"], kept["value"], atol=1e-6)


def test_a_run_that_diverged_is_an_error_of_the_condition():
    """Weights that are NaN: what a head that looks everywhere would score is all that has a value."""
    model = model_of("gpt_neox")
    for parameter in model.network.parameters():
        parameter.data.fill_(np.nan)
    rows = cell_store.as_values("", measured(model, conditions=[{"length": 6}]))
    (refused,) = rows[rows["error"].notna()].itertuples()
    assert (refused.item, refused.metric, refused.error) == (
        *("length6_gap0", "prefix_matching", "the model's attention is not numbers (NaN)"),
    )
    assert rows.loc[rows["error"].isna(), "metric"].tolist() == ["uniform_attention"]
