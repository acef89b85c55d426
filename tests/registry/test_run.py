"""What a run offers to measures, and what measures need of it."""

import pytest

from transect.registry.run import CAPABILITIES, Rule, Run, access_needed
from transect.store import units
from transect.store.project import SHIPPED, Project

MEASURES = {
    name: units.find("measure", name, Project(SHIPPED))
    for name in units.available("measure", Project(SHIPPED))
}


def run(**facts: str) -> Run:
    return Run(
        "run",
        "suite",
        Rule("main", (None,)),
        {"objective": "causal", "mixer": "attention", **facts},
    )


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_has_a_lowest_access(name: str) -> None:
    """text, logits or weights, by what it REQUIRES; weights for all that looks into a network."""
    requires = MEASURES[name]["REQUIRES"]
    inside = {"hidden", "gradients", "attention", "heads"} & set(requires)
    assert set(requires) <= set(CAPABILITIES)
    assert access_needed(requires) == (
        "weights" if inside else "text" if requires == ["text"] else "logits"
    )


def test_the_ladder_has_all_its_rungs() -> None:
    """Among the shipped measures there is one for each access."""
    found = {name: access_needed(unit["REQUIRES"]) for name, unit in MEASURES.items()}
    assert (found["forced_choice"], found["minimal_pair"], found["induction"]) == (
        "text",
        "logits",
        "weights",
    )


def test_an_endpoint_offers_text_only() -> None:
    """With an endpoint a run of access api offers text and has its one checkpoint; without one it
    offers nothing.
    """
    asked = run(access="api", endpoint="https://there.example/v1/chat/completions", api_model="m")
    assert (
        asked.capabilities == {"text"}
        and not asked.lacks
        and not asked.loadable
        and not asked.on_hub
    )
    assert asked.values()["checkpoints"] == 1
    assert not run(access="api").capabilities and "offers text only" in run(access="api").lacks


@pytest.mark.parametrize(
    ("objective", "offered"), [("causal", True), ("denoising", True), ("masked", False)]
)
def test_open_models_that_write_offer_text(objective: str, offered: bool) -> None:
    """By greedy generation: causal models and encoder-decoders, not masked ones."""
    assert ("text" in run(hub_id="lab/model", objective=objective).capabilities) is offered
