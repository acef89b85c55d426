"""Tests of drawing a token: against transformers' own rules, and against perturbed logits."""

import numpy as np
import pytest
import torch
from transformers import TopPLogitsWarper

from transect.errors import InputError
from transect.lm.generate.sampling import Sampling, choose

LOGITS = np.random.default_rng(0).normal(0, 2, (200, 50))


def sampling(**options) -> Sampling:
    return Sampling(**{"max_new_tokens": 1, "seed": 0, **options})


def frequencies(row: np.ndarray, n: int = 20_000, **options) -> np.ndarray:
    """How often each token comes in n draws."""
    noise = np.random.default_rng(1).standard_exponential((n, len(row)))
    token, _ = choose(np.tile(row, (n, 1)), noise, sampling(**options), 0.0)
    return np.bincount(token, minlength=len(row)) / n


def test_temperature_zero_is_the_argmax_and_the_first_of_equals():
    """Whatever the noise."""
    logits = np.vstack([LOGITS, np.zeros(50)])
    token, _ = choose(logits, np.full_like(logits, np.nan), sampling(temperature=0), 0.0)
    np.testing.assert_array_equal(token, [*LOGITS.argmax(1), 0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_probabilities_of_the_softmax(temperature):
    """20,000 draws: each frequency within 4.5 standard errors of p."""
    p = torch.softmax(torch.tensor(LOGITS[0]) / temperature, 0).numpy()
    found = frequencies(LOGITS[0], temperature=temperature)
    assert (np.abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / 20_000)).all()


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9])
def test_the_nucleus_is_that_of_transformers(top_p):
    """The tokens that TopPLogitsWarper leaves, with its probabilities, and no other."""
    for row in LOGITS[:3]:
        p = torch.softmax(TopPLogitsWarper(top_p)(None, torch.tensor(row)[None])[0], 0).numpy()
        found = frequencies(row, top_p=top_p)
        assert (np.abs(found - p) <= 4.5 * np.sqrt(p * (1 - p) / 20_000) + 1e-12).all()


@pytest.mark.parametrize("options", [{"temperature": 0}, {}, {"temperature": 0.3}, {"top_p": 0.8}])
def test_what_rounding_can_turn_is_called_close(options):
    """Logits changed by up to the margin of 0.001: every token that changes was called close, and
    under 2 % are.
    """
    rng = np.random.default_rng(2)
    margin, turned, called = 1e-3, 0, 0
    for _ in range(100):
        noise = rng.standard_exponential(LOGITS.shape)
        token, close = choose(LOGITS, noise, sampling(**options), margin)
        other, _ = choose(
            LOGITS + rng.uniform(-margin, margin, LOGITS.shape), noise, sampling(**options), 0.0
        )
        assert close[token != other].all()
        turned, called = turned + int((token != other).sum()), called + int(close.sum())
    assert called < 0.02 * 100 * len(LOGITS) and (turned > 0 or options == {"temperature": 0})


def test_an_impossible_token_is_never_drawn():
    """A logit of minus infinity, even with no noise at all."""
    token, _ = choose(
        np.array([[-np.inf, 0.0, 1.0, -np.inf]]), np.array([[0.0, 1.0, 1.0, 0.0]]), sampling(), 0.0
    )
    assert token.tolist() == [2]


@pytest.mark.parametrize(
    "option",
    [
        {"max_new_tokens": 0},
        {"seed": -1},
        {"temperature": -0.5},
        {"temperature": np.nan},
        {"n": 0},
        {"top_p": 0},
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(option):
    """The option, what was given, what is allowed."""
    with pytest.raises(InputError, match=f"{next(iter(option))}: .*; allowed"):
        sampling(**option)
