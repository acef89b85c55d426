"""The shipped registry as a population: how many runs, how much is known of them, the models that
the field names.
"""

import time
from collections import Counter

import pytest

from transect.registry import suites
from transect.store.project import SHIPPED, Project

REGISTRY = suites.load(Project(SHIPPED))
# models that the essays behind the project name, and the runs that stand for them
NAMED = {
    "GPT-2 family": "suite == 'gpt2'",
    "GPT-3": "family == 'gpt-3'",
    "ChatGPT": "family == 'gpt-3.5'",
    "GPT-4": "family == 'gpt-4'",
    "o1": "family == 'o1'",
    "Claude 3": "family == 'claude-3'",
    "BERT": "suite == 'bert'",
    "LSTM language models": "model_class == 'recurrent' and architecture == 'lstm'",
    "Pythia": "suite == 'pythia'",
    "OLMo": "suite in ['olmo1', 'olmo2', 'olmo3']",
    "Llama 3": "family == 'llama' and suite == 'llama3'",
    "Phi-2": "suite == 'phi'",
    "word2vec": "model_class == 'static'",
    "n-gram": "model_class == 'n-gram'",
}


def test_runs_of_every_suite() -> None:
    """At least 1,800 runs (what was released, not what was described once)."""
    assert len(REGISTRY.runs) >= 1800


def test_entries_know_twenty_factors() -> None:
    """At least 150 runs outside the two large regular suites have 20 known facts or more."""
    known = Counter(
        len(r.values()) >= 20
        for r in REGISTRY.runs.values()
        if r.suite not in ("goldfish", "datadecide")
    )
    assert known[True] >= 150


@pytest.mark.parametrize("name", NAMED)
def test_named_models_are_there(name: str) -> None:
    """Open or not: what a study cannot load it must be able to name."""
    assert REGISTRY.select(NAMED[name])


def test_unknown_is_said_and_never_zero() -> None:
    """No count is 0, and what its makers did not tell is the word unknown or absent."""
    numbers = [
        v
        for r in REGISTRY.runs.values()
        for k, v in r.facts.items()
        if k.startswith(("params_", "n_", "train_"))
    ]
    assert 0 not in numbers
    assert REGISTRY.select("params_total == unknown and access == 'api'")


def test_runs_without_weights_offer_nothing() -> None:
    """Every run can be loaded or says why not."""
    assert all(r.loadable or r.lacks for r in REGISTRY.runs.values())


def test_parents_are_earlier_in_the_chain() -> None:
    """A chain of post-training ends at a base model, without a circle."""
    for run in REGISTRY.runs.values():
        seen = set()
        while run.get("parent") in REGISTRY.runs:
            assert run.id not in seen
            seen.add(run.id)
            run = REGISTRY.runs[run.facts["parent"]]


@pytest.mark.slow  # a limit of time
def test_listing_is_fast(capsys: pytest.CaptureFixture[str]) -> None:
    """All runs are read and listed in under 2 s of CPU."""
    from transect.cli import main

    before = time.process_time()
    assert main.main(["registry", "list"]) == 0
    assert time.process_time() - before < 2
    assert len(capsys.readouterr().out.splitlines()) > 1800
