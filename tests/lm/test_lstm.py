"""Tests of the LSTM: against cells and sums written out by hand, and of what it offers as any other
network does.
"""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from tests.lm.test_network import plain_logprobs
from tests.shelf import random_sequences, tiny_model
from transect.errors import NotApplicable
from transect.lm import load
from transect.registry.run import Rule, Run


def by_hand(path, ids, layers=2):
    """log p of every token after the first: the equations of Hochreiter & Schmidhuber in numpy,
    float64.
    """
    weights = {
        name: tensor.astype(np.float64)
        for name, tensor in load_file(path / "model.safetensors").items()
    }
    embedding = weights["lstm.embeddings.weight"]
    unembedding = weights.get("lm_head.weight", embedding)
    width = embedding.shape[1]
    h, c, result = np.zeros((layers, width)), np.zeros((layers, width)), []
    for token, following in zip(ids[:-1], ids[1:], strict=True):
        x = embedding[token]
        for layer in range(layers):
            w_x, w_h, b_x, b_h = (
                weights[f"lstm.layers.{layer}.{name}_l0"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            i, f, g, o = np.split(w_x @ x + b_x + w_h @ h[layer] + b_h, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c[layer] = f * c[layer] + i * np.tanh(g)
            x = h[layer] = o * np.tanh(c[layer])
        logits = unembedding @ x
        result.append(logits[following] - np.log(np.exp(logits).sum()))
    return np.array([np.nan, *result])


@pytest.mark.parametrize("tied", [True, False])
def test_scores_equal_the_equations_in_numpy(tied, tmp_path):
    """1e-6 nats a token, in batches of mixed length."""
    path = tiny_model(tmp_path, "lstm", tie_word_embeddings=tied)
    sequences = random_sequences(12, 60)
    expected = [by_hand(path, ids) for ids in sequences]
    for found, values in zip(load(path).token_logprobs(sequences), expected, strict=True):
        np.testing.assert_allclose(found, values, atol=1e-6, rtol=0)


def test_scores_equal_the_plain_forward_in_any_batch(tmp_path):
    """1e-5 nats a token for batches of 1, 2, 7, 32 and the budget's: what padding a row has on its
    right is not read.
    """
    path = tiny_model(tmp_path, "lstm")
    model, sequences = load(path), random_sequences(40, 60)
    expected = plain_logprobs(path, sequences)
    for batch_size in (1, 2, 7, 32, None):
        for found, values in zip(
            model.token_logprobs(sequences, batch_size=batch_size), expected, strict=True
        ):
            np.testing.assert_allclose(found, values, atol=1e-5, rtol=0)


def test_packing_is_refused(tmp_path):
    """Texts that share a prefix, packed, would read each other's state: they are not, where
    GPT-NeoX's are.
    """
    texts = [[0, *range(5, 20), other, 5, 6] for other in range(20, 40)]
    for kind, packed in (("lstm", False), ("gpt_neox", True)):
        model = load(tiny_model(tmp_path, kind))
        model.token_logprobs(texts)
        assert model.packing is packed


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[0, 1, 1], [1, 1, 1]]),
        torch.tril(torch.ones(3, 3, dtype=torch.long)).expand(2, 1, 3, 3),
    ],
)
def test_masks_that_it_cannot_keep_are_errors(mask, tmp_path):
    """Padding on the left, or pairs of positions: said, not ignored. On the right it changes
    nothing before it.
    """
    network = load(tiny_model(tmp_path, "lstm")).network
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with pytest.raises(ValueError, match="reads every earlier position"):
        network(ids, attention_mask=mask)
    masked = network(ids, attention_mask=torch.tensor([[1, 1, 0], [1, 1, 1]])).logits
    assert torch.equal(masked, network(ids).logits)


def test_the_state_is_the_cache(tmp_path):
    """A text in three parts, each with the state of the one before, gives the logits of the whole."""
    network = load(tiny_model(tmp_path, "lstm")).network
    ids = torch.tensor(random_sequences(2, 60, shortest=11, longest=11))
    state, logits = None, []
    with torch.no_grad():
        for part in ids.split(4, dim=1):
            output = network(part, state=state, use_cache=True)
            state = output.state
            logits.append(output.logits)
        torch.testing.assert_close(torch.cat(logits, 1), network(ids).logits, atol=1e-6, rtol=0)
    assert [tuple(part.shape) for part in state] == [(2, 2, 32)] * 2


def test_what_it_has_and_what_it_lacks(tmp_path):
    """Capabilities as the registry promises for a recurrent mixer; blocks with residual places, no
    heads.
    """
    model = load(tiny_model(tmp_path, "lstm"))
    facts = {"hub_id": "lab/model", "objective": "causal", "mixer": "recurrent"}
    assert model.capabilities == Run("r", "s", Rule("main", (None,)), facts).capabilities
    assert (model.n_layers, model.d_model, model.n_heads, model.context_length) == (
        2,
        32,
        None,
        None,
    )
    assert len(model.anatomy.blocks) == 2
    assert not {"residual_pre", "residual_post"} & set(model.anatomy.absent)
    assert {"attention", "head", "pattern", "mlp", "residual_mid"} <= set(model.anatomy.absent)
    with pytest.raises(NotApplicable):
        model.attention(np.array([[5, 6, 7]]), lambda pattern: pattern[..., -1, 0])


def test_hidden_states_are_the_embedding_and_each_layers_output(tmp_path):
    """As a hook on the layers sees them; the last one is what the unembedding reads."""
    network = load(tiny_model(tmp_path, "lstm")).network
    seen = []
    hooks = [
        layer.register_forward_hook(lambda m, a, out: seen.append(out[0]))
        for layer in network.lstm.layers
    ]
    with torch.no_grad():
        output = network(torch.tensor([[5, 6, 7]]), output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    assert all(torch.equal(a, b) for a, b in zip(output.hidden_states[1:], seen, strict=True))
    assert torch.equal(output.logits, network.lm_head(seen[-1]))


def test_a_tied_model_loads_tied(tmp_path):
    """One matrix on disk and in memory."""
    path = tiny_model(tmp_path, "lstm", tie_word_embeddings=True)
    network = AutoModelForCausalLM.from_pretrained(path)
    assert "lm_head.weight" not in load_file(path / "model.safetensors")
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
