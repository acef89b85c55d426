"""Tests of previous-token heads."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.architectures import model_of
from tests.lm.broken import overflowing
from tests.measures.stand_in import StandIn
from tests.shelf import tiny_model
from transect.lm import load
from transect.lm.repeats import repeats
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
    assert rows[["layer", "head"]].to_numpy().tolist() == [[0, h] for h in range(4)] + [
        [1, h] for h in range(4)
    ]


def test_a_head_that_looks_one_back_scores_one_and_one_that_looks_at_itself_zero():
    """Planted patterns; the first position has nothing before it and does not count."""
    rows = previous_token.measure(
        StandIn(pattern=lambda n: torch.stack([torch.eye(n).roll(-1, 1), torch.eye(n)])),
        NO_ITEMS,
        **OPTIONS,
    )
    assert rows["value"].tolist() == [1, 0]


def test_a_sequence_without_numbers_is_refused_and_the_means_are_of_the_others():
    """One embedding that is none, in one sequence of 16 at least: the mean of the others' own
    patterns.
    """
    model = model_of("gpt2")
    (made,) = repeats(model, OPTIONS["conditions"], n=16, seed=3)
    token = int(made.ids[7].max())
    hit = (made.ids == token).any(1)
    expected = np.stack(
        [
            pattern.diagonal(-1, -2, -1).double().mean(-1).mean(0).numpy()
            for _, pattern in model.attention_patterns(made.ids[~hit])
        ]
    )
    overflowing(model, token)
    rows = previous_token.measure(model, NO_ITEMS, **OPTIONS)
    refused = rows["error"].notna()
    np.testing.assert_allclose(rows.loc[~refused, "value"], expected.ravel(), atol=1e-6)
    assert rows.loc[refused, "item"].tolist() == [f"length6_gap3#{i}" for i in np.flatnonzero(hit)]
    assert rows.loc[refused, "value"].isna().all() and 0 < hit.sum() < 16
