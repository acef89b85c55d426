"""The self-check on real models: 1e-3 nats in any token that it scores again are found."""

from collections import Counter

import pandas as pd
import pytest

from tests import planted
from transect.jobs.self_check import SelfCheck
from transect.lm.network import NetworkModel
from transect.measures.behaviour import minimal_pair, surprisal

pytestmark = pytest.mark.real


def test_a_fault_in_any_token_is_found(model: NetworkModel, pairs: pd.DataFrame) -> None:
    """Each token of the sentences, and each border of a word, in turn; nothing is found without a
    fault.
    """
    few = pairs.iloc[:: len(pairs) // 3][:2]
    tried: Counter[tuple[str, str]] = Counter()
    for name, measure in (("pairs", minimal_pair), ("words", surprisal)):
        scores = SelfCheck(model)
        with scores.note(name):
            measure.measure(model, few.assign(text=few["sentence_good"]), seed=0)
        tried += planted.check_every_token(scores)
    print(dict(tried))
    assert set(tried) == {
        ("pairs", "token_scores"),
        ("words", "token_scores"),
        ("words", "set_logprobs"),
    }
