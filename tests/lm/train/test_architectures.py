"""Untrained networks: how many parameters, and what the residual switch changes."""

import pytest
import torch

from tests.lm.train.runs import small_run
from transect.errors import InputError
from transect.lm.train import architectures
from transect.registry import recipe
from transect.stimuli.corpora import grammar


def network(**facts):
    run = small_run(**facts)
    torch.manual_seed(0)
    return architectures.network(run, recipe.read(run), grammar.tokenizer())


def test_gpt_neox_counts_by_formula() -> None:
    """L (12 d^2 + 13 d) + 2 d without embeddings, 2 V d with them: the formula by which HELM's
    Pythia counts are found.
    """
    total, inner = architectures.count_parameters(network(d_model=16, n_layers=3))
    assert inner == 3 * (12 * 16**2 + 13 * 16) + 2 * 16
    assert total == inner + 2 * 258 * 16


def test_lstm_counts_by_formula() -> None:
    """L layers of four gates, each with two d x d matrices and two biases: L (8 d^2 + 8 d), and 2 V
    d outside.
    """
    total, inner = architectures.count_parameters(
        network(d_model=16, n_layers=3, model_type="lstm", mixer="recurrent")
    )
    assert inner == 3 * (8 * 16**2 + 8 * 16)
    assert total == inner + 2 * 258 * 16


def test_a_tied_matrix_counts_once() -> None:
    """With tied embeddings the total has V d less, the rest is the same."""
    tied, untied = (
        architectures.count_parameters(network(tied_embeddings=tied)) for tied in (True, False)
    )
    assert (untied[0] - tied[0], untied[1] - tied[1]) == (258 * 8, 0)


def test_the_residual_layout_is_the_only_difference() -> None:
    """Parallel and sequential start from the same weights and compute something else."""
    one, two = network(), network(parallel_residual=False)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    ids = torch.arange(10)[None]
    assert not torch.allclose(one(ids).logits, two(ids).logits)


@pytest.mark.parametrize(
    ("facts", "hidden"),
    [
        ({}, 4),
        ({"model_type": "mamba2", "mixer": "ssd"}, 2),
        ({"model_type": "bert", "objective": "masked"}, 7),
        ({"model_type": "lstm", "mixer": "recurrent"}, 2),
    ],
)
def test_muon_gets_the_hidden_matrices(facts: dict, hidden: int) -> None:
    """GPT-NeoX: qkv, attention output, two of the MLP. Mamba 2: in and out. BERT: q, k, v, output,
    two of the MLP and the head's. LSTM: from the input and from the state, four gates each.
    """
    model = network(**facts)
    chosen, rest = architectures.split_for_muon(model)
    assert len(chosen) == hidden and len(chosen) + len(rest) == len(list(model.parameters()))


def test_an_unknown_architecture_is_refused() -> None:
    """With what is allowed, and the nearest."""
    with pytest.raises(
        InputError,
        match="model_type 'gpt_neo' cannot be trained here; allowed are gpt_neox, bert, mamba2, lstm. Did you mean 'gpt_neox'",
    ):
        network(model_type="gpt_neo")
