"""Tests of previous-token heads."""

import pandas as pd
import pytest
import torch

from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.lm import load
from transect.measures.mechanism import previous_token

NO_ITEMS = pd.DataFrame({"item": []})
OPTIONS = {"conditions": [{"length": 6, "gap": 3}], "n": 16, "seed": 3}
# by this measure on torch 2.13, CPU; the parts are tested against the plain forward in tests/lm
GOLDEN = [0.179523, 0.161104, 0.177815, 0.146125, 0.152818, 0.17699, 0.179737, 0.114826]


def test_golden_values(tmp_path):
    """VERSION 1 on a fixed GPT-NeoX: a change of these numbers needs a new VERSION."""
    rows = previous_token.measure(load(tiny_model(tmp_path, "gpt_neox")), NO_ITEMS, **OPTIONS)
    assert previous_token.VERSION == 1
    assert rows["value"].tolist() == pytest.approx(GOLDEN, abs=1e-5)
    assert rows[["layer", "head"]].to_numpy().tolist() == [[0, h] for h in range(4)] + [[1, h] for h in range(4)]


def test_a_head_that_looks_one_back_scores_one_and_one_that_looks_at_itself_zero():
    """Planted patterns; the first position has nothing before it and does not count."""
    rows = previous_token.measure(
        StandIn(pattern=lambda n: torch.stack([torch.eye(n).roll(-1, 1), torch.eye(n)])), NO_ITEMS, **OPTIONS
    )
    assert rows["value"].tolist() == [1, 0]
