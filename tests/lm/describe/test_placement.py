"""Tests of where a block normalises: against the modeling code of each architecture, and networks
whose norms were taken out.
"""

import pytest
from torch import nn

from tests.architectures import CAUSAL, MASKED, MORE_CAUSAL, MORE_MASKED, network_of
from transect.lm.anatomy.identities import checked
from transect.lm.describe.placement import norm_placement

POST = {
    *(
        "openai-gpt",
        "bert",
        "roberta",
        "xlm-roberta",
        "camembert",
        "electra",
        "distilbert",
        "deberta-v2",
        "mpnet",
    ),
    *("roformer", "rembert", "deberta", "ibert", "convbert"),
}
REORDERED = {"olmo2", "olmo3", "exaone4"}
SANDWICH = {"gemma2", "gemma3_text", "glm4"}
# parts that were not found, or a second mixer beside the attention
UNKNOWN = {"rwkv", "lstm", "albert", "jetmoe", "minimax", "falcon_h1", "xlm", "flaubert"}
TRUTH = {
    kind: next(
        (
            n
            for n, kinds in (
                ("post", POST),
                ("post-reordered", REORDERED),
                ("sandwich", SANDWICH),
                (None, UNKNOWN),
            )
            if kind in kinds
        ),
        "pre",
    )
    for kind in (*CAUSAL, *MASKED, *MORE_CAUSAL, *MORE_MASKED)
}


def placed(network):
    """Of a network as it is."""
    return norm_placement(network, checked(network))


@pytest.mark.parametrize("kind", TRUTH)
def test_the_place_is_that_of_the_modeling_code(kind):
    """Read in transformers: what its block's forward does with the norms. What cannot be told is
    not guessed.
    """
    assert placed(network_of(kind)) == TRUTH[kind]


@pytest.mark.parametrize(
    "kind, option",
    [("opt", {"do_layer_norm_before": False}), ("gpt_neox", {"use_parallel_residual": False})],
)
def test_the_configuration_decides(kind, option):
    """OPT-350m normalises the sums (Zhang et al. 2022); a sequential GPT-NeoX still normalises
    before.
    """
    assert placed(network_of(kind, **option)) == ("post" if kind == "opt" else "pre")


def without(kind, *names):
    """A network whose norms of these names are the identity."""
    network = network_of(kind)
    for layer in network.model.layers:
        for name in names:
            setattr(layer, name, nn.Identity())
    return network


BEFORE = ("input_layernorm", "pre_feedforward_layernorm")
AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "sandwich"),
        (BEFORE, "post-reordered"),
        (AFTER, "pre"),
        (BEFORE + AFTER, "none"),
        (BEFORE[:1], None),
    ],
)
def test_norms_that_were_taken_out_are_missed(names, expected):
    """Gemma 2 without those before, after, both; without the attention's first alone, attention and
    MLP disagree.
    """
    assert placed(without("gemma2", *names)) == expected


def test_a_block_whose_last_layer_differs_is_not_told():
    """Planted: the second layer of OLMo 2 has no norms at all."""
    network = network_of("olmo2")
    for name in AFTER:
        setattr(network.model.layers[1], name, nn.Identity())
    assert placed(network) is None


def test_blocks_without_heads_are_asked_too():
    """Planted, as in OLMo Hybrid: other mixers than attention normalise elsewhere."""
    network = network_of("recurrent_gemma")
    assert placed(network) == "pre"
    for layer in network.model.layers[:2]:
        layer.temporal_pre_norm = nn.Identity()
    assert placed(network) is None


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_weights_as_small_as_before_training_do_not_hide_it(kind):
    """Matrices of standard deviation 1e-4: what the heads write is far below a norm's epsilon."""
    network = network_of(kind)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4e-4)
    assert placed(network) == TRUTH[kind]


def test_the_network_is_left_as_it_was():
    """The same hooks as before: none."""
    network = network_of("llama")
    placed(network)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
