"""The self-check: faults that are planted in scores are found, and rounding is not taken for one."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from tests import architectures, planted
from tests.planted import FAULT
from transect.jobs.self_check import PER_CHECKPOINT, Checked, SelfCheck
from transect.lm.model import TokenScores
from transect.lm.network import NetworkModel
from transect.lm.score import rounding

KINDS = ("gpt2", "llama", "gemma3_text", "mamba2", "mixtral", "bert", "t5", "lstm")


def asked(model: NetworkModel, n: int = 6, seed: int = 0) -> Callable[[], Any]:
    """A call that scores n sequences of 4 to 9 tokens which share prefixes."""
    rng = np.random.default_rng(seed)
    stem = rng.integers(8, model.vocab_size, 3).tolist()
    ids = [
        [0, *stem, *rng.integers(8, model.vocab_size, rng.integers(1, 6)).tolist()]
        for _ in range(n)
    ]
    if model.objective == "masked":
        return lambda: model.pll(ids, [[-1, *range(len(i) - 1)] for i in ids])
    if model.objective == "seq2seq":
        return lambda: model.token_scores(ids, sources=[[5, 6]] * n)
    return lambda: model.token_scores(ids, [1] * n)


def checked(model: NetworkModel, **cells: Callable[[], Any]) -> Checked:
    """What the self-check finds after these calls."""
    scores = SelfCheck(model)
    for name, call in cells.items():
        with scores.note(name):
            call()
    return scores.check()


def off(values: Any) -> Any:
    """The scores with the fault in the last token that has one."""
    array = np.array(getattr(values, "logprob", values))
    array[np.flatnonzero(np.isfinite(array))[-1]] += FAULT
    return TokenScores(array, None) if isinstance(values, TokenScores) else array


@pytest.mark.parametrize(
    "kind",
    [*architectures.KINDS, *architectures.MORE, *architectures.SEQ2SEQ, *architectures.LEAKING],
)
def test_a_fault_in_any_token_is_found(kind: str) -> None:
    """1e-3 nats in each token of each sequence that is scored again, in turn; nothing without it."""
    scores = SelfCheck(architectures.model_of(kind))
    with scores.note("one"):
        asked(scores.model)()
    assert sum(planted.check_every_token(scores).values()) > 16


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_found_where_the_model_makes_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-3 nats in the last token of all that the model's own call gives; it is judged, and told,
    by float64.
    """
    model = architectures.model_of(kind)
    name = "pll" if model.objective == "masked" else "token_scores"
    whole = getattr(NetworkModel, name)
    monkeypatch.setattr(NetworkModel, name, lambda *a, **k: [off(v) for v in whole(*a, **k)])
    found = checked(model, one=asked(model))
    assert found.faults["one"] == pytest.approx(FAULT, rel=0.1) and found.float64 > 0
    assert "float64" in found.sentence and "0.001 nats" in found.sentence


def test_a_fault_in_packed_rows_is_found_in_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve cells, more than the sequences that are looked at first: all of them fall; a
    thirteenth that packs nothing stands.
    """
    model = architectures.model_of("gpt_neox")
    inputs = type(model._packing)._inputs

    def shifted(self: Any, *args: Any) -> Any:
        given, cells = inputs(self, *args)
        if "position_ids" in given:
            given["position_ids"] = (given["position_ids"] * 2) % 60
        return given, cells

    def call(seed: int) -> Callable[[], Any]:
        stem, *ends = np.random.default_rng(seed).integers(8, model.vocab_size, (8, 12)).tolist()
        return lambda: model.token_scores([[0, *stem, *end[:3]] for end in ends], [1] * len(ends))

    cells = {f"cell{i}": call(i) for i in range(12)}
    assert len(cells) > PER_CHECKPOINT
    cells["alone"] = lambda: model.token_scores([[0, 9, 8, 10]], [1])
    cells["cell0"]()
    assert model.packing  # found exact before the fault is planted
    monkeypatch.setattr(type(model._packing), "_inputs", shifted)
    found = checked(model, **cells)
    assert set(found.faults) == {f"cell{i}" for i in range(12)}


def test_a_fault_in_sets_of_tokens_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the probability of a word's border rests on is scored again as well."""
    model = architectures.model_of("llama")
    members = np.arange(model.vocab_size) < 30

    def call() -> Any:
        return model.set_logprobs([[0, 9, 8, 10], [0, 9, 11]], [[1, 3], []], members)

    assert checked(model, one=call).faults == {}
    whole = NetworkModel.set_logprobs
    monkeypatch.setattr(
        NetworkModel, "set_logprobs", lambda *a, **k: [v + FAULT for v in whole(*a, **k)]
    )
    assert checked(model, one=call).faults["one"] == pytest.approx(FAULT, rel=0.1)


@pytest.mark.parametrize("kind", [*architectures.CAUSAL, *architectures.MORE_CAUSAL])
def test_a_fault_in_any_set_of_tokens_is_found(kind: str) -> None:
    """What the probability of a word's border rests on is scored again as well: 1e-3 nats at each
    position in turn.
    """
    model = architectures.model_of(kind)
    scores = SelfCheck(model)
    with scores.note("one"):
        model.set_logprobs(
            [[0, 9, 8, 10], [0, 9, 11]], [[1, 3], [2]], np.arange(model.vocab_size) < 30
        )
    assert planted.check_every_token(scores) == {("one", "set_logprobs"): 3}


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_is_no_fault(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tolerance that lets every difference through to float64: as exact as the plain
    forward, so nothing falls.
    """
    model = architectures.model_of(kind)
    monkeypatch.setattr(rounding, "of_token", lambda model: 1e-12)
    scores = SelfCheck(model)
    for seed in range(3):
        with scores.note(str(seed)):
            asked(model, seed=seed)()
    found = scores.check()
    assert found.float64 > 0 and found.difference < 2e-5
    # twice the largest error of the plain forward is allowed, and rounding alone may reach three
    # times as much here and there
    assert all(fault < 1.5 * found.tolerance for fault in found.faults.values())


def test_a_less_exact_plain_forward_convicts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are those of float64, beside a plain forward that is 1e-3 nats off: they stand."""
    from transect.lm import reference

    model = architectures.model_of("gpt2")
    plain = reference.token_scores
    monkeypatch.setattr(
        NetworkModel,
        "token_scores",
        lambda self, sequences, starts: [
            TokenScores(reference.in_float64(self, lambda: plain(self, ids, 1)), None)  # noqa: B023
            for ids in sequences
        ],
    )
    wrong = {torch.float32: FAULT, torch.float64: 0.0}

    def coarse(model: Any, ids: Any, start: int, **more: Any) -> np.ndarray:
        wide = model.network.get_input_embeddings()(torch.tensor([[0]])).dtype
        return plain(model, ids, start, **more) + wrong[wide]

    monkeypatch.setattr(reference, "token_scores", coarse)
    found = checked(model, one=asked(model))
    assert found.faults == {} and found.float64 > 0 and found.difference < 1e-9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_its_own_tolerance(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing falls for rounding; a fault of three times the tolerance does."""
    model = architectures.model_of("gemma3_text")
    model.network.to(dtype)
    found = checked(model, one=asked(model))
    assert found.faults == {}
    whole, size = NetworkModel.token_scores, 3 * rounding.of_token(model)
    monkeypatch.setattr(
        NetworkModel,
        "token_scores",
        lambda *a, **k: [TokenScores(s.logprob + size, None) for s in whole(*a, **k)],
    )
    assert set(checked(model, one=asked(model)).faults) == {"one"}


def test_a_lost_number_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN where the network alone gives a number."""
    model = architectures.model_of("gpt2")
    whole = NetworkModel.token_scores

    def lost(*args: Any, **options: Any) -> Any:
        found = whole(*args, **options)
        found[0].logprob[-1] = np.nan
        return found

    monkeypatch.setattr(NetworkModel, "token_scores", lost)
    assert checked(model, one=lambda: model.token_scores([[0, 9, 8]], [1])).faults == {
        "one": np.inf
    }


def test_tables_of_counts_are_scored_again_by_themselves(tmp_path: Any) -> None:
    """An n-gram model is no network: its sequences alone, to the bit."""
    from tests.shelf import tiny_model
    from transect.lm import load

    model = load(tiny_model(tmp_path, "ngram"))
    found = checked(model, one=lambda: model.token_scores([[0, 5, 6], [0, 7, 8, 9]], [1, 1]))
    assert (found.difference, found.sequences, found.faults) == (0.0, 2, {})


def test_the_calls_are_the_class_s_own_again() -> None:
    """After noting, also when the measure ends with an error, nothing is left on the model."""
    model = architectures.model_of("gpt2")
    scores = SelfCheck(model)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(RuntimeError))
        with scores.note("one"):
            raise RuntimeError
    assert not {"token_scores", "pll", "set_logprobs"} & set(vars(model)) and scores.samples == {}
