"""Tests of encoder-decoder models: the decoder's tokens given a source, against the plain
transformers forward.
"""

import numpy as np
import pytest
import torch

from tests.architectures import SEQ2SEQ, directory_of, model_of
from transect.errors import InputError, NotApplicable
from transect.lm import load
from transect.lm.score import rounding


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_scores_equal_the_plain_forward_in_any_batch(kind):
    """Sources and targets of several lengths, some sources shared: batches of 1, 2, 7, 32 and the
    budget's own; to rounding of these weights (lm/score/rounding.py)."""
    model = model_of(kind)
    rng = np.random.default_rng(3)
    sources = [rng.integers(0, model.vocab_size, rng.integers(1, 14)).tolist() for _ in range(12)]
    sources += sources[:6]
    sequences = [
        [model.decoder_start_id, *rng.integers(0, model.vocab_size, n % 9 + 1).tolist()]
        for n in range(18)
    ]
    expected = []
    for ids, source in zip(sequences, sources, strict=True):
        with torch.no_grad():
            output = model.network(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([ids])
            )
        table = torch.log_softmax(output.logits[0].double(), -1).numpy()
        expected.append([np.nan, *(table[t - 1, ids[t]] for t in range(1, len(ids)))])
    for batch_size in (1, 2, 7, 32, None):
        found = model.token_scores(sequences, sources=sources, batch_size=batch_size)
        for scores, values in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                scores.logprob, values, atol=rounding.of_token(model), rtol=0
            )


def test_each_source_is_encoded_once(tmp_path):
    """Ten targets of one source in a batch: one row through the encoder."""
    model = load(directory_of(tmp_path, "t5"))
    assert model.objective == "seq2seq" and "seq2seq" in model.capabilities
    model.token_scores(
        [[model.decoder_start_id, 5, 6]] * 2, sources=[[7, 8, 1], [7, 9, 1]]
    )  # what is tried once
    rows = []
    model.network.get_encoder().register_forward_hook(
        lambda m, a, out: rows.append(len(out.last_hidden_state))
    )
    sequences = [[model.decoder_start_id, 5 + n, 6] for n in range(10)]
    model.token_scores(sequences, sources=[[7, 8, 1]] * 10)
    assert rows == [1]


def test_a_source_and_an_encoder_belong_together():
    """No source for an encoder-decoder, or one for a causal model: not applicable."""
    with pytest.raises(NotApplicable):
        model_of("t5").token_scores([[0, 5, 6]])
    with pytest.raises(NotApplicable):
        model_of("gpt2").token_scores([[0, 5, 6]], sources=[[7]])


def test_an_unknown_id_in_a_source_is_an_error():
    """It is named, not looked up."""
    with pytest.raises(InputError, match="token id 999"):
        model_of("bart").token_scores([[0, 5, 6]], sources=[[999]])
