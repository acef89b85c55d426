"""Which opening a model predicts short texts best after."""

import math

import numpy as np
import pytest

from tests.architectures import model_of
from tests.lm.text.test_opening import model_with
from tests.shelf import byte_tokenizer
from transect.errors import NotApplicable
from transect.lm.score.opening_loss import TEXTS, losses, proposals


def planted(good):
    """A byte model that is told 3 bits more of every token after one opening than after the others."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model = model_with(tokenizer)
    wanted = tokenizer.convert_tokens_to_ids(good) if good else None

    def logprobs(sequences, starts):
        result = []
        for ids, start in zip(sequences, starts, strict=True):
            assert start == 1 + (ids[0] in tokenizer.all_special_ids)
            bits = 2 if ids[0] == wanted else 5
            result.append(np.where(np.arange(len(ids)) < start, np.nan, -math.log(2) * bits))
        return result

    model.token_logprobs = logprobs
    return model


def test_losses_are_of_the_tokens_after_the_first():
    """5 bits per token after each opening but the planted one, which has 2; what `auto` takes
    stands first.
    """
    assert losses(planted("<pad>")) == pytest.approx(
        {"<|endoftext|>": 5.0, "<pad>": 2.0, "nothing": 5.0}
    )
    assert next(iter(losses(planted("<pad>")))) == "<|endoftext|>"


def test_a_clearly_better_opening_is_proposed():
    """With the way to name it; none where what `auto` takes is the best one, or all are alike."""
    told = proposals(planted("<pad>"))
    assert told[0].endswith(
        "by what opens them: <pad> 2.000, <|endoftext|> 5.000, nothing 5.000; `bos: auto` takes <|endoftext|>"
    )
    assert told[1].startswith("proposed: <pad> in place of <|endoftext|> (--set opening='<pad>')")
    assert len(proposals(planted("<|endoftext|>"))) == len(proposals(planted(None))) == 1


def test_a_real_network_gives_its_own_numbers():
    """The mean of the model's own log-probabilities, by hand for one opening."""
    model = model_with(byte_tokenizer())
    end = model.tokenizer.eos_token_id
    scores = [model.token_logprobs([[end, *model.encode(text)][:64]])[0][2:] for text in TEXTS]
    want = -np.concatenate(scores).mean() / math.log(2)
    assert losses(model)["<|endoftext|>"] == pytest.approx(want, abs=1e-4)


def test_a_masked_model_has_no_such_loss():
    """It is told, not computed."""
    with pytest.raises(NotApplicable, match="a causal model"):
        losses(model_of("bert"))
