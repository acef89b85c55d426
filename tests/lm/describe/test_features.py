"""Design factors found in networks, against what papers and model cards say of them."""

import pytest

from tests.architectures import network_of
from transect.lm.checkpoint import counting
from transect.lm.describe.features import design
from transect.registry import suites
from transect.store.project import SHIPPED, Project

REGISTRY = suites.load(Project(SHIPPED))
FIELDS = ("mixer", "position", "norm", "mlp", "attention_pattern", "weight_sharing")


def first_of_each_type() -> list[suites.Run]:
    """One run of the registry per model_type that transformers can build: the smallest."""
    found: dict[str, suites.Run] = {}
    for run in REGISTRY.runs.values():
        size = run.get("params_total")
        if run.trained_here or not isinstance(size, int):
            continue
        smaller = found.get(run.get("model_type"))
        if smaller is None or size < smaller.get("params_total"):
            found[run.get("model_type")] = run
    return [
        run
        for kind, run in found.items()
        if kind in counting.CONFIG_MAPPING and not run.get("remote_code")
    ]


@pytest.mark.parametrize("run", first_of_each_type(), ids=lambda run: run.id)
def test_the_registry_says_the_same(run):
    """What was read in papers, cards and configurations (model_registry/*.yaml) is found in the
    network that has the run's dimensions.
    """
    try:
        network = counting.meta_network(
            counting.configuration(run), counting.OBJECTIVES[run.get("objective")]
        )
    except counting.Uncountable as reason:
        pytest.skip(str(reason))
    found = design(network)
    stated = {name: run.get(name) for name in FIELDS if run.get(name) not in (None, "unknown")}
    if "norm" in stated:  # "rmsnorm, also of queries and keys"
        stated["norm"] = stated["norm"].split(",")[0].replace(" without weights", "-nonparametric")
    if (
        run.suite == "distilbeto"
    ):  # its frozen sinusoids stand in a field of the configuration that the entry lacks
        del stated["position"]
    assert {name: found.get(name) for name in stated if name in found} == {
        n: v for n, v in stated.items() if n in found
    }
    assert len(found) >= 5


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (
            "qwen3",
            {"position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "attention_pattern": "full"},
        ),
        ("mistral", {"attention_pattern": "sliding", "mlp": "swiglu"}),
        (
            "modernbert",
            {
                "attention_pattern": "local-global",
                "position": "rope",
                "norm": "layernorm",
                "mlp": "geglu",
            },
        ),
        ("t5", {"position": "relative-bucket", "norm": "rmsnorm", "mlp": "relu"}),
        ("mt5", {"mlp": "geglu"}),
        ("mpt", {"position": "alibi", "mlp": "gelu"}),
        ("nemotron", {"mlp": "relu2", "norm": "layernorm"}),
        ("cohere", {"norm": "layernorm", "mlp": "swiglu"}),
        ("mixtral", {"mlp": "swiglu", "norm": "rmsnorm"}),
        ("falcon_h1", {"mixer": "hybrid"}),
        ("jamba", {"mixer": "hybrid"}),
        ("lfm2", {"mixer": "hybrid"}),
        ("recurrent_gemma", {"mixer": "hybrid", "attention_pattern": "local-global"}),
        ("falcon_mamba", {"mixer": "selective-ssm", "position": "none", "mlp": "none"}),
        ("mamba2", {"mixer": "ssd"}),
        ("lstm", {"mixer": "recurrent", "attention_pattern": "none"}),
        ("deberta-v2", {"position": "relative-bucket"}),
        ("marian", {"position": "sinusoidal"}),
        ("gpt_oss", {"attention_pattern": "local-global"}),
    ],
)
def test_architectures_that_the_registry_lacks(kind, facts):
    """As their papers describe them (Yang et al. 2025, Jiang et al. 2023, Warner et al. 2024,
    Raffel et al. 2020, MosaicML 2023, ...).
    """
    found = design(network_of(kind))
    assert {name: found[name] for name in facts} == facts
