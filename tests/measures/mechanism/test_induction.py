"""Tests of induction heads."""

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.errors import NotApplicable
from transect.lm import load
from transect.lm.repeats import repeats
from transect.measures.mechanism import induction

NO_ITEMS = pd.DataFrame({"item": []})
CONDITIONS = [{"length": 6, "gap": 3}, {"length": 8}]
# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN = [0.068849, 0.087254, 0.065594, 0.081558, 0.072566, 0.065139, 0.06808, 0.05745]


def measured(model, **options):
    """The rows, with the options of these tests."""
    return induction.measure(model, NO_ITEMS, seed=3, **{"conditions": CONDITIONS, "n": 16, **options})


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
    assert uniform.loc["length6_gap3", "value"] == pytest.approx(sum(1 / (q + 1) for q in range(10, 16)) / 6)
    assert uniform["layer"].isna().all()


def test_scores_equal_those_from_output_attentions(tmp_path):
    """The mean over the chosen entries of the eager model's own attention tensors, picked one by one."""
    path = tiny_model(tmp_path, "llama")
    model = load(path)
    rows = measured(model)
    (made,) = repeats(model, CONDITIONS[:1], n=16, seed=3)
    with torch.no_grad():
        eager = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
        attentions = eager(torch.tensor(made.ids), output_attentions=True).attentions
    for layer, pattern in enumerate(attentions):
        expected = torch.stack([pattern[:, :, q, q - 8] for q in range(10, 16)]).mean((0, 1))
        assert scores(rows, "length6_gap3")[layer].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_model_without_attention_is_not_applicable(tmp_path):
    """Not a score of zero."""
    with pytest.raises(NotApplicable):
        measured(load(tiny_model(tmp_path, "mamba2")))
