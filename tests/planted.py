"""Faults that are planted in noted scores, one token after another: what the self-check must find."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transect.jobs.self_check import Noted, SelfCheck

FAULT = 1e-3  # nats


def check_every_token(scores: SelfCheck) -> Counter[tuple[str, str]]:
    """FAULT, more or less, in each token of every noted sequence in turn is found in its cell and
    in no other, and nothing without it.

    The references are computed once. Returns how many places were tried, by cell and call.
    """
    tried: Counter[tuple[str, str]] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_plain", "_exact"):
            patch.setattr(SelfCheck, name, _once(getattr(SelfCheck, name)))
        clean = scores.check()
        assert clean.faults == {} and clean.sequences == sum(
            map(len, scores.samples.values())
        )  # all are scored again
        for (cell, call), noted in scores.samples.items():
            for sample in noted:
                for place in np.flatnonzero(np.isfinite(sample.logprob)):
                    right = sample.logprob[place]
                    sample.logprob[place] += FAULT if place % 2 else -FAULT
                    faults = scores.check().faults
                    assert faults == {cell: pytest.approx(FAULT, rel=0.2)}, (
                        call,
                        list(sample.ids),
                        place,
                    )
                    sample.logprob[place] = right
                    tried[cell, call] += 1
    return tried


def _once(compute: Callable[[SelfCheck, Noted], Any]) -> Callable[[SelfCheck, Noted], Any]:
    """The same, computed for a sample when it is first asked for."""
    known: dict[int, Any] = {}

    def remembered(self: SelfCheck, sample: Noted) -> Any:
        if id(sample) not in known:
            known[id(sample)] = compute(self, sample)
        return known[id(sample)]

    return remembered
