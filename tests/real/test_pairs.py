"""Minimal pairs of BLiMP by real models, beside plain transformers in float32 and the same weights in float64."""

import json
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from transect.jobs.self_check import SelfCheck
from transect.lm import load, reference
from transect.lm.network import NetworkModel
from transect.lm.scoring import lines, total_logprobs
from transect.measures.behaviour import minimal_pair

pytestmark = pytest.mark.real

PARADIGMS = (
    "adjunct_island", "anaphor_gender_agreement", "animate_subject_passive", "determiner_noun_agreement_2",
    "distractor_agreement_relative_clause", "irregular_plural_subject_verb_agreement_2", "npi_present_1", "principle_A_domain_3",
    "regular_plural_subject_verb_agreement_1", "sentential_negation_npi_licensor_present", "superlative_quantifiers_1", "wh_vs_that_with_gap",
)  # fmt: skip
EACH = 2  # pairs of a paradigm
CLEAR, SENTENCE, FAULT = 1e-3, 5e-4, 1e-3  # nats


@pytest.fixture(scope="module")
def model(real_models: dict[str, Path]) -> NetworkModel:
    """The first of the models that are there."""
    torch.set_num_threads(2)
    return load(next(iter(real_models.values())))


@pytest.fixture(scope="module")
def items(mirror: Path) -> pd.DataFrame:
    """The first pairs of each of twelve paradigms."""
    rows = []
    for name in PARADIGMS:
        with lzma.open(mirror / "blimp" / "dev" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
            found = [json.loads(line) for line, _ in zip(file, range(EACH), strict=False)]
        rows += [{"item": f"{name}_{i}", **{k: row[k] for k in minimal_pair.STIMULI}} for i, row in enumerate(found)]
    return pd.DataFrame(rows)


def test_decisions_and_sentences_are_those_of_float64(model: NetworkModel, items: pd.DataFrame) -> None:
    """Every decision that float64 takes by more than 1e-3 nats is equal; every sentence within 5e-4 nats of float64, and on average
    no further from it than plain transformers in float32 is."""
    found = (
        minimal_pair.measure(model, items, seed=0)
        .pivot(index="item", columns="metric", values="value")
        .loc[items["item"]]
    )
    read = lines(model, [*items["sentence_good"], *items["sentence_bad"]])
    ours = total_logprobs(model, read)
    np.testing.assert_array_equal(ours, np.concatenate([found["logprob_good_nats"], found["logprob_bad_nats"]]))
    plain = [_plain(model, line.ids, line.first) for line in read]
    with _doubled(model):
        exact = [_exact(model, line.ids, line.first) for line in read]
    off, off_plain = np.abs(ours - exact), np.abs(np.array(plain) - exact)
    assert off.max() < SENTENCE and off.mean() <= off_plain.mean()
    difference = np.subtract(*np.split(np.array(exact), 2))
    clear = np.abs(difference) > CLEAR
    np.testing.assert_array_equal(found["correct"].to_numpy()[clear], (difference > 0)[clear])


def _plain(model: NetworkModel, ids: list[int], first: int) -> float:
    """The sum of log p as users of transformers take it: one sequence, log_softmax in float32."""
    with torch.inference_mode():
        table = torch.log_softmax(model.network(input_ids=torch.tensor([ids])).logits[0], -1)
    places = torch.arange(first, len(ids))
    return float(table[places - 1, torch.tensor(ids)[places]].sum())


def _exact(model: NetworkModel, ids: list[int], first: int) -> float:
    found = reference.in_float64(model, lambda: reference.token_scores(model, ids, first))
    assert found is not None
    return float(np.nansum(found))


@contextmanager
def _doubled(model: NetworkModel) -> Iterator[None]:
    """While this is open the weights are held in float64, so that they are not widened anew for every sentence."""
    for parameter in model.network.parameters():
        parameter.data = parameter.data.double()
    yield
    for parameter in model.network.parameters():
        parameter.data = parameter.data.float()


@pytest.mark.parametrize("place", [0, 1, 3, -1])
def test_a_fault_in_a_token_is_found(
    model: NetworkModel, items: pd.DataFrame, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-3 nats in one token of each sentence, as on tiny models (tests/jobs/test_self_check.py); nothing is found without it."""
    few = items.iloc[::12]

    def check() -> dict[str, float]:
        scores = SelfCheck(model)
        with scores.note("pairs"):
            minimal_pair.measure(model, few, seed=0)
        return scores.check().faults

    if place == 0:
        assert check() == {}
    whole = NetworkModel.token_scores

    def faulty(*args, **options):
        found = whole(*args, **options)
        for scores in found:
            scores.logprob[np.flatnonzero(np.isfinite(scores.logprob))[place]] += FAULT
        return found

    monkeypatch.setattr(NetworkModel, "token_scores", faulty)
    assert check()["pairs"] == pytest.approx(FAULT, rel=0.2)
