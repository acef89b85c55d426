"""What real models are opened with, and how exact they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.shelf import SENTENCES
from transect.lm import load
from transect.lm.score import rounding
from transect.lm.score.opening_loss import losses, proposals
from transect.lm.score.scoring import lines, total_logprobs
from transect.lm.text.opening import doubt, opening

pytestmark = pytest.mark.real


def test_a_chat_token_is_doubted_and_a_better_one_proposed(real_models: dict[str, Path]) -> None:
    """SmolLM2-Instruct names <|im_start|> as BOS; after <|endoftext|> it predicts plain text 0.9
    bits per token better (and BLiMP at .770 in place of .733)."""
    torch.set_num_threads(2)
    if "smollm2-135m" not in real_models:
        pytest.skip("smollm2-135m is not there")
    model = load(real_models["smollm2-135m"])
    opening(model, "auto")
    assert model.opened == (
        "<|im_start|>",
    ) and "belongs to the tokenizer's chat template" in doubt(model, "auto")
    found = losses(model)
    assert found["<|im_start|>"] - found["<|endoftext|>"] == pytest.approx(0.96, abs=0.05)
    assert "--set opening='<|endoftext|>'" in proposals(model)[1]


def test_a_tokenizer_that_opens_texts_itself_is_followed(real_models: dict[str, Path]) -> None:
    """Gemma's puts <bos>: no doubt, and nothing better."""
    if "gemma3-270m" not in real_models:
        pytest.skip("gemma3-270m is not there")
    model = load(real_models["gemma3-270m"])
    opening(model, "auto")
    assert model.opened == ("<bos>",) and doubt(model, "auto") == "" and len(proposals(model)) == 1


def test_errors_lie_within_the_bounds_of_rounding(real_models: dict[str, Path]) -> None:
    """Tokens and sentences, against the same weights in float64; and the bound of a token tells
    1e-3 nats apart.
    """
    for path in real_models.values():
        model, exact = load(path), load(path, dtype="float64")
        read = lines(model, SENTENCES)
        ids = [line.ids for line in read]
        for found, true in zip(model.token_logprobs(ids), exact.token_logprobs(ids), strict=True):
            assert np.nanmax(np.abs(found - true)) < rounding.of_token(model) < 1e-3
        apart = np.abs(total_logprobs(model, read) - total_logprobs(exact, read))
        assert (apart < [rounding.of_sum(model, len(line)) for line in ids]).all()
