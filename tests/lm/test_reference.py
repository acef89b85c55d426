"""The network's own forward of one sequence, in its precision and in float64."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests import architectures
from transect.lm import reference
from transect.lm.network import NetworkModel

CASTS_NOTHING = ("gpt2", "opt", "falcon", "phi", "lstm", "bert", "roberta", "bart")
SOURCE = [5, 6, 7]


def scores(model: NetworkModel, ids: list[int]) -> Any:
    """A call that gives the scores of a sequence, of the kind that the model has."""
    words = [-1, 0, 0, *range(1, len(ids) - 2)]
    if model.objective == "masked":
        return lambda: reference.pll(model, ids, words)
    source = SOURCE if model.objective == "seq2seq" else None
    return lambda: reference.token_scores(model, ids, 1, source=source)


def as_measured(model: NetworkModel, ids: list[int]) -> np.ndarray:
    """The same by the model's own methods."""
    if model.objective == "masked":
        return model.pll([ids], [[-1, 0, 0, *range(1, len(ids) - 2)]])[0]
    sources = [SOURCE] if model.objective == "seq2seq" else None
    return model.token_scores([ids], [1], sources=sources)[0].logprob


def ids_of(model: NetworkModel) -> list[int]:
    return [0, *np.random.default_rng(0).integers(8, model.vocab_size, 9).tolist()]


def doubled(model: NetworkModel) -> NetworkModel:
    """The same model with its network converted to float64 as a whole."""
    network = copy.deepcopy(model.network).double()
    return NetworkModel(Path("doubled"), model.tokenizer, [], network, model.objective)


@pytest.mark.parametrize(
    "kind", [*architectures.CAUSAL, *architectures.MASKED, *architectures.SEQ2SEQ]
)
def test_every_architecture_has_scores_in_float64(kind: str) -> None:
    """Within 2e-5 nats of those in float32 (rounding of two layers), which are those that measures
    use, and not the same numbers.
    """
    model = architectures.model_of(kind)
    call = scores(model, ids_of(model))
    plain, exact = call(), reference.in_float64(model, call)
    np.testing.assert_allclose(plain, as_measured(model, ids_of(model)), atol=1e-5)
    np.testing.assert_allclose(plain, exact, atol=2e-5)
    assert exact is not None and np.nanmax(np.abs(plain - exact)) > 1e-9
    assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
    np.testing.assert_array_equal(call(), plain)


@pytest.mark.parametrize("kind", CASTS_NOTHING)
def test_float64_is_that_of_the_network_converted(kind: str) -> None:
    """Where no forward asks for float32 the whole network can be converted: 1e-12 nats."""
    model = architectures.model_of(kind)
    ids = ids_of(model)
    np.testing.assert_allclose(
        reference.in_float64(model, scores(model, ids)),
        scores(doubled(model), ids)(),
        rtol=0,
        atol=1e-12,
    )


def test_norms_that_ask_for_float32_are_computed_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """llama's norm written without its cast, in a network converted to float64: 1e-12 nats; with
    its cast it is 1e-8 off.
    """
    model = architectures.model_of("llama")
    ids = ids_of(model)
    exact = reference.in_float64(model, scores(model, ids))
    converted = doubled(model)
    assert np.nanmax(np.abs(exact - scores(converted, ids)())) > 1e-8

    def norm(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return (
            self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        )

    monkeypatch.setattr(LlamaRMSNorm, "forward", norm)
    np.testing.assert_allclose(exact, scores(converted, ids)(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_the_same_reference(dtype: torch.dtype) -> None:
    """The rounded weights in float64, whatever the network computes in: 1e-12 nats from the same
    weights stored in float32.
    """
    model = architectures.model_of("gpt2")
    model.network.to(dtype)
    wide = NetworkModel(
        Path("wide"), model.tokenizer, [], copy.deepcopy(model.network).float(), "causal"
    )
    ids = ids_of(model)
    found, expected = (reference.in_float64(m, scores(m, ids)) for m in (model, wide))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_logits_beyond_the_budget_are_taken_in_parts() -> None:
    """One position's logits fit a budget of 1 kB: the same numbers (1e-6 nats) without the
    network's whole output.
    """
    model = architectures.model_of("llama")
    ids = ids_of(model) * 3
    whole = reference.token_scores(model, ids, 1)
    model.budget = 1024
    seen: list[int] = []
    model.network.get_output_embeddings().register_forward_hook(
        lambda m, a, out: seen.append(out.shape[1])
    )
    np.testing.assert_allclose(reference.token_scores(model, ids, 1), whole, atol=1e-6)
    assert len(ids) - 1 not in seen


def test_sets_of_tokens_sum_to_one() -> None:
    """A set and its complement: their probabilities sum to 1 at every position (1e-12); the empty
    set has none.
    """
    model = architectures.model_of("gpt2")
    ids, members = ids_of(model), np.arange(model.vocab_size) % 3 == 0
    both = [reference.set_logprobs(model, ids, [2, 5, 8], members=m) for m in (members, ~members)]
    np.testing.assert_allclose(np.exp(both).sum(0), 1, atol=1e-12)
    assert np.isneginf(
        reference.set_logprobs(model, ids, [2], members=np.zeros_like(members))
    ).all()
    np.testing.assert_allclose(
        both[0], model.set_logprobs([ids], [[2, 5, 8]], members)[0], atol=1e-6
    )


def test_a_network_that_has_no_float64_gives_none() -> None:
    """A product that exists in float32 alone."""
    model = architectures.model_of("gpt2")

    class Narrow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(torch.int32).view(torch.float32).reshape(*x.shape)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.network.transformer.ln_f = Narrow()
    assert reference.in_float64(model, scores(model, ids_of(model))) is None
