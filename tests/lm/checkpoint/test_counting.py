"""Counts and dimensions from configurations, against built networks and hand counts."""

import pytest

from tests.architectures import CAUSAL, MASKED, MORE_CAUSAL, MORE_MASKED, SEQ2SEQ, network_of
from transect.lm.checkpoint import counting
from transect.registry.run import Rule, Run

OBJECTIVE = {
    **dict.fromkeys([*CAUSAL, *MORE_CAUSAL], "causal"),
    **dict.fromkeys([*MASKED, *MORE_MASKED], "masked"),
    **dict.fromkeys(SEQ2SEQ, "denoising"),
}


def run_of(kind: str, **facts: object) -> Run:
    """A run of the registry."""
    return Run(
        "r",
        "s",
        Rule("main", (None,)),
        {"model_type": kind, "objective": OBJECTIVE.get(kind, "causal"), **facts},
    )


@pytest.mark.parametrize("kind", OBJECTIVE)
def test_total_is_the_number_of_weights(kind):
    """The count from the configuration alone is sum(p.numel()) of the network that is really built;
    fixed sinusoids are no weights.
    """
    network = network_of(kind)
    objective = counting.OBJECTIVES[OBJECTIVE[kind]]
    found = counting.counts(counting.meta_network(network.config, objective))
    assert found.params_total == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert found.params_token_embedding == network.get_input_embeddings().weight.numel()


@pytest.mark.parametrize(
    ("kind", "outside"),
    [
        ("gpt2", 66 * 32 + 64 * 32),  # tied tokens, learned positions
        ("gpt_neox", 2 * 66 * 32),  # tokens and an unembedding of its own; rotary positions
        ("opt", 66 * 32 + 66 * 32),  # two more rows of positions than the context has
        ("bert", 34 * 32 + 64 * 32 + 2 * 32),  # and token types
        ("roberta", 34 * 32 + 67 * 32 + 2 * 32),  # 64 positions after those of the padding
        ("albert", (34 + 64 + 2) * 16),  # all three of embedding size 16
        ("deberta-v2", 34 * 32 + 64 * 32),  # the table of relative positions stays in
        ("t5", 66 * 32),  # relative buckets stay in
        ("bart", 66 * 32 + 2 * 66 * 32),  # positions of both stacks
        ("mamba", 66 * 32),
        ("lstm", 2 * 66 * 32),
    ],
)
def test_non_embedding_by_hand(kind, outside):
    """Total minus tokens, untied unembedding, learned positions and token types, each by its rows x
    columns.
    """
    found = counting.counts(network_of(kind))
    assert found.params_total - found.params_non_embedding == outside


@pytest.mark.parametrize(
    ("kind", "layers", "d_ff"),
    [
        ("mixtral", 2, 48),
        ("olmoe", 2, 48),
        ("phimoe", 2, 48),
        ("granitemoe", 2, 48),
        ("minimax", 2, 48),
        ("qwen2_moe", 2, 16),
        ("qwen3_moe", 2, 16),
        ("exaone_moe", 1, 16),
        ("deepseek_v2", 1, 16),
    ],
)
def test_active_by_hand(kind, layers, d_ff):
    """Two of four routed experts are idle: in each layer with experts, two times three matrices of
    d_ff x 32. Shared ones are not.
    """
    found = counting.counts(network_of(kind))
    assert found.params_total - found.params_active == layers * 2 * 3 * d_ff * 32


def test_active_with_biases_by_hand():
    """gpt-oss: experts with biases, gate and up 32 -> 96, down 48 -> 32; two of four idle in two
    layers.
    """
    found = counting.counts(network_of("gpt_oss"))
    assert found.params_total - found.params_active == 2 * 2 * (32 * 96 + 96 + 48 * 32 + 32)


def test_active_with_experts_of_attention():
    """JetMoe has experts of attention, too (queries and outputs, 32 x 16); their common bias and
    the routers are used by every token.
    """
    found = counting.counts(network_of("jetmoe"))
    assert found.params_total - found.params_active == 2 * 2 * (3 * 48 * 32 + 2 * 32 * 16)


@pytest.mark.parametrize(
    "kind",
    [
        "gpt2",
        "gpt_neox",
        "llama",
        "bloom",
        "gemma2",
        "xglm",
        "bert",
        "roberta",
        "distilbert",
        "mixtral",
        "bart",
        "rwkv",
    ],
)
def test_configuration_from_the_registry(kind):
    """The registry's dimensions of a network, and what they do not say in `config`, give its
    configuration's counts back.
    """
    network = network_of(kind)
    facts = counting.dimensions(network.config)
    if kind == "roberta":
        facts["context_length"] = 65  # of 67 rows
    run = run_of(
        kind,
        position="learned",
        **facts,
        config={"attention_hidden_size": 32} if kind == "rwkv" else {},
    )
    assert counting.of_run(run) == counting.counts(network)


def test_roberta_base_by_its_published_size():
    """RoBERTa-base: 124,697,433 weights with its head (124.6M without), from 512 positions and one
    token type.
    """
    size = {
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 12,
        "d_ff": 3072,
        "vocab_size": 50265,
        "context_length": 512,
    }
    run = run_of(
        "roberta", **size, tied_embeddings=True, position="learned", config={"type_vocab_size": 1}
    )
    assert counting.of_run(run).params_total == 124_697_433


def test_mixtral_8x7b_by_its_published_size():
    """Mixtral 8x7B: 46.7B weights, 12.9B of them active (Jiang et al. 2024, "Mixtral of experts":
    47B and 13B).
    """
    size = {
        "n_layers": 32,
        "d_model": 4096,
        "n_heads": 32,
        "n_kv_heads": 8,
        "d_head": 128,
        "d_ff": 14336,
        "vocab_size": 32000,
    }
    run = run_of(
        "mixtral",
        **size,
        context_length=32768,
        tied_embeddings=False,
        position="rope",
        n_experts=8,
        n_experts_active=2,
    )
    found = counting.of_run(run)
    assert (found.params_total, found.params_active) == (46_702_792_704, 12_879_925_248)


def test_what_contradicts():
    """A stated count that differs is told with the computed one; what is unknown contradicts
    nothing.
    """
    found = counting.Counts(100, 80, 20, 100)
    assert counting.contradictions(
        run_of("gpt2", params_total=90, params_non_embedding="unknown"), found
    ) == {"params_total": (90, 100)}


@pytest.mark.parametrize(
    ("kind", "facts", "reason"),
    [
        ("hf_olmo", {}, "hf_olmo is no architecture of transformers"),
        ("llama", {"remote_code": True}, "code of its own"),
        (
            "llama",
            {"n_layers": 2, "d_model": 32, "n_heads": 4, "vocab_size": 60, "tied_embeddings": True},
            "d_ff, context_length unknown",
        ),
        (
            "gpt2",
            {
                "n_layers": "unknown",
                "d_model": 32,
                "n_heads": 4,
                "vocab_size": 60,
                "tied_embeddings": True,
                "context_length": 8,
            },
            "n_layers unknown",
        ),
        (
            "bert",
            {
                "n_layers": 2,
                "d_model": 33,
                "n_heads": 4,
                "d_ff": 48,
                "vocab_size": 60,
                "context_length": 8,
                "tied_embeddings": True,
            },
            "hidden size",
        ),
    ],
)
def test_what_cannot_be_counted_says_why(kind, facts, reason):
    """No such architecture, code of its own, an unknown dimension that has only the class's
    example, dimensions that do not fit.
    """
    with pytest.raises(counting.Uncountable, match=reason):
        counting.of_run(run_of(kind, **facts))


def test_nothing_is_allocated():
    """A model of 176 billion weights is counted on this machine: BLOOM, 176,247,271,424 (facts of
    the BigScience workshop).
    """
    size = {"n_layers": 70, "d_model": 14336, "n_heads": 112, "vocab_size": 250880}
    run = run_of("bloom", **size, tied_embeddings=True, position="alibi")
    assert counting.of_run(run).params_total == 176_247_271_424
