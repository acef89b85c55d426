"""Minimal pairs of BLiMP by real models, beside plain transformers in float32 and the same weights
in float64.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.real import exact
from transect.lm import reference
from transect.lm.network import NetworkModel
from transect.lm.score.scoring import Line, lines
from transect.measures.behaviour import minimal_pair

pytestmark = pytest.mark.real

CLEAR, SENTENCE = 1e-3, 5e-4  # nats
# one of so many sentences is also scored as users of transformers do it, alone, which takes longest
PLAIN = 10


@pytest.fixture(scope="module")
def read(model: NetworkModel, pairs: pd.DataFrame) -> list[Line]:
    """The sentences as the model reads them, the good ones first."""
    return lines(model, [*pairs["sentence_good"], *pairs["sentence_bad"]])


@pytest.fixture(scope="module")
def true(model: NetworkModel, read: list[Line]) -> np.ndarray:
    """log p of every sentence in float64, nats."""
    return exact.totals(model, read)


@pytest.fixture(scope="module")
def found(model: NetworkModel, pairs: pd.DataFrame) -> pd.DataFrame:
    """What the measure says of every pair."""
    rows = minimal_pair.measure(model, pairs, seed=0)
    return rows.pivot(index="item", columns="metric", values="value").loc[pairs["item"]]


@pytest.fixture(scope="module")
def off(found: pd.DataFrame, true: np.ndarray) -> np.ndarray:
    """How far the measure's log p of every sentence lies from float64, nats."""
    return np.abs(np.concatenate([found["logprob_good_nats"], found["logprob_bad_nats"]]) - true)


def test_every_sentence_is_that_of_float64(off: np.ndarray) -> None:
    """Within 5e-4 nats."""
    print(f"{len(off)} sentences: largest {off.max():.2g}, mean {off.mean():.2g} nats")
    assert off.max() < SENTENCE


def test_decisions_are_those_of_float64(found: pd.DataFrame, true: np.ndarray) -> None:
    """Every one that float64 takes by more than 1e-3 nats."""
    difference = np.subtract(*np.split(true, 2))
    clear = np.abs(difference) > CLEAR
    differ = found["correct"].to_numpy()[clear] != (difference > 0)[clear]
    print(
        f"{differ.sum()} of {clear.sum()} clear decisions differ; {len(found)} pairs, accuracy {found['correct'].mean():.4f}"
    )
    assert not differ.any()


def test_sentences_are_no_further_from_float64_than_plain_transformers(
    model: NetworkModel, read: list[Line], true: np.ndarray, off: np.ndarray
) -> None:
    """On average over every tenth sentence; plain: one sequence, nothing packed, log_softmax in
    float32.
    """
    plain = np.abs(np.array([_plain(model, line) for line in read[::PLAIN]]) - true[::PLAIN])
    print(
        f"{len(plain)} sentences: ours {off[::PLAIN].mean():.2g}, plain {plain.mean():.2g} (largest {plain.max():.2g}) nats"
    )
    assert off[::PLAIN].mean() <= plain.mean()


def test_float64_of_many_is_that_of_one(
    model: NetworkModel, read: list[Line], true: np.ndarray
) -> None:
    """Three sentences alone, widened module by module as the self-check does it: the same sums to
    1e-9 nats.
    """
    for i in (0, len(read) // 2, len(read) - 1):
        line = read[i]
        alone = reference.in_float64(
            model, lambda line=line: reference.token_scores(model, line.ids, line.first)
        )
        assert np.nansum(alone) == pytest.approx(true[i], abs=1e-9)


def _plain(model: NetworkModel, line: Line) -> float:
    with torch.inference_mode():
        table = torch.log_softmax(model.network(input_ids=torch.tensor([line.ids])).logits[0], -1)
    places = torch.arange(line.first, len(line.ids))
    return float(table[places - 1, torch.tensor(line.ids)[places]].sum())
