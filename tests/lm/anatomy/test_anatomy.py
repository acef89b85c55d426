"""Tests of the parts found in each architecture: against a record of names, plain hooks and planted
faults.
"""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.architectures import CAUSAL, KINDS, MORE, SEQ2SEQ, lighthouse, model_of, network_of
from tests.shelf import tiny_model
from transect.errors import NotApplicable
from transect.lm import load
from transect.lm.anatomy.anatomy import discover
from transect.lm.anatomy.identities import checked, verify

# relative, float32: what another order of the same sums costs
TOLERANCE = 7.6e-6

# a record, see the file's head; "-" where there is none
LINES = [
    line.split()
    for line in (Path(__file__).parent / "parts.txt").read_text().splitlines()
    if line[0] != "#"
]
PARTS = {kind: tuple(None if part == "-" else part for part in parts) for kind, *parts in LINES}
REFUSED = {  # model_type: place -> why it is not there
    "albert": ("residual_post", "no list of blocks"),  # one layer, run many times
    "bitnet": (
        "head",
        "'slice' does not hold",
    ),  # a norm between the heads and the projection mixes them
    "convbert": (
        "head",
        "'slice' does not hold",
    ),  # convolutions beside the heads enter the projection
    "diffllama": ("pattern", "no block has one pattern from one softmax, but 2"),
    "lstm": ("pattern", "no block has attention heads"),
    "jetmoe": (
        "attention",
        "'attention' does not hold",
    ),  # every head has its own projection, chosen by a router
    "mamba": ("pattern", "no block has attention heads"),
    "minimax": ("attention", "was not found"),  # the residual stream is scaled on its way round
    "flaubert": ("residual_post", "'blocks' does not hold"),
    "xlm": ("residual_post", "'blocks' does not hold"),  # lists of parts, no list of blocks
    "gpt_neox": ("residual_mid", "parallel"),
    "bart": ("attention", "was not found"),  # three norms after sums in a block of its decoder
}


@pytest.mark.parametrize("kind", PARTS)
def test_the_parts_are_those_of_the_record(kind):
    """Block list, attention, projection, MLP, final norm, and how attention and MLP add to the
    stream.
    """
    network = network_of(kind)
    found = checked(network)
    names = {module: name for name, module in network.named_modules()}
    block = found.blocks[-1]
    listed, _, index = names[block.module].rpartition(".")
    assert (
        int(index) == block.layer == len(found.blocks) - 1 == network.config.num_hidden_layers - 1
    )

    def within(module):
        return module and names[module].removeprefix(f"{listed}.{index}.")

    parts = (within(block.attention), within(block.projection), within(block.mlp))
    assert (listed, *parts, names.get(found.final_norm), found.mechanism, found.form) == PARTS[kind]
    assert found.unembedding is network.get_output_embeddings()


@pytest.mark.parametrize("kind", PARTS)
def test_the_identities_hold(kind):
    """Patched block outputs, the slice test, calls of the attention, capture: all within rounding,
    none left out.
    """
    network = network_of(kind)
    found = verify(network, discover(network))
    heads = {"capture", "calls", "slice", "attention"} if PARTS[kind][2] else set()
    assert set(found) == {"blocks"} | heads | ({"mlp"} if PARTS[kind][3] else set())
    assert max(found.values()) < TOLERANCE
    assert found.get("calls", 0) == 0


@pytest.mark.parametrize("kind", PARTS)
def test_a_patched_block_gives_the_clean_logits(kind):
    """By one plain hook per block: the clean run's output in a run on other tokens, the logits are
    the clean ones.
    """
    network = network_of(kind)
    clean, other = inputs_of(kind, 5), inputs_of(kind, 12)
    with torch.no_grad():
        expected, without = network(**clean).logits, network(**other).logits
    assert float((expected - without).abs().max()) > 0.01
    for block in checked(network).blocks:
        kept = []

        def keep(module, args, output, kept=kept):
            kept.append(first(output).clone())

        def put_back(module, args, output, kept=kept):
            return (kept[0], *output[1:]) if isinstance(output, (tuple, list)) else kept[0]

        with torch.no_grad(), block.module.register_forward_hook(keep):
            network(**clean)
        with torch.no_grad(), block.module.register_forward_hook(put_back):
            torch.testing.assert_close(network(**other).logits, expected, atol=1e-6, rtol=0)


def inputs_of(kind, start):
    """Seven ids; of an encoder-decoder model the decoder's, the encoder's being always the same."""
    ids = torch.arange(start, start + 7)[None]
    return (
        {"input_ids": ids.clone().fill_(20), "decoder_input_ids": ids}
        if kind in SEQ2SEQ
        else {"input_ids": ids}
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(
    "kind", ["gpt_neox", "llama", "bert", "bloom", "granite", "falcon_h1", "mamba"]
)
def test_the_parts_do_not_depend_on_the_precision(kind, dtype):
    """Coarse numbers satisfy no equation by accident."""
    found = checked(network_of(kind).to(dtype))
    exact = checked(network_of(kind))
    assert (found.form, found.mechanism, set(found.absent)) == (
        exact.form,
        exact.mechanism,
        set(exact.absent),
    )
    assert found.blocks[-1].attention_scale == exact.blocks[-1].attention_scale
    assert [type(b.mlp) for b in found.blocks] == [type(b.mlp) for b in exact.blocks]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in PARTS and PARTS[kind][2]])
def test_heads_are_those_of_the_configuration(kind):
    """Heads, heads of keys and values, and their size, where the configuration says them."""
    network = network_of(kind)
    config, block = network.config, checked(network).blocks[-1]
    assert block.n_heads == config.num_attention_heads
    grouped = {
        "gpt_bigcode": 1,
        "falcon": 1,
        "deberta-v2": None,
    }  # the last has more projections than q, k and v
    told = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    assert block.n_kv_heads == grouped.get(kind, told)
    assert block.d_head == (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_there_says_why(kind):
    """NotApplicable with a reason, and no part left that could be taken for it."""
    place, reason = REFUSED[kind]
    found = checked(network_of(kind))
    with pytest.raises(NotApplicable, match=f"^{place}: .*{reason}"):
        found.require(place)
    assert {"head": "projection", "residual_post": "blocks"}.get(place, place) in (
        "blocks",
        "pattern",
        "residual_mid",
    ) or (
        not any(getattr(block, {"head": "projection"}.get(place, place)) for block in found.blocks)
    )


@pytest.mark.parametrize(
    ("kind", "config", "form"),
    [
        ("gpt_neox", {"use_parallel_residual": False}, "sequential"),
        ("falcon", {"parallel_attn": False}, "sequential"),
        ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}, "parallel"),
        ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}, "post-norm"),
        ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}, "parallel"),
    ],
)
def test_the_form_follows_the_checkpoint_not_the_name(kind, config, form):
    """The same model_type with another option: found on the tensors."""
    found = checked(network_of(kind, **config))
    assert found.form == form
    assert set(found.absent) == ({"residual_mid"} if form == "parallel" else set())


def test_a_scaled_sum_gives_its_scale():
    """Granite adds 0.5 x what its attention and MLP put out."""
    block = checked(network_of("granite")).blocks[0]
    assert (block.attention_scale, block.mlp_scale) == (0.5, 0.5)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "bloom", "olmo2", "granite"])
def test_the_stream_in_the_middle_is_the_sum_of_before_and_attention(kind):
    """residual_mid = norm(residual_pre + scale x attention), the norm only where the form says so."""
    network = network_of(kind)
    block, seen = checked(network).blocks[-1], {}

    def keep(name, index):
        return lambda m, args, kwargs, output: seen.__setitem__(
            name, ([*args, *kwargs.values()][0], first(output))[index]
        )

    block.module.register_forward_hook(keep("pre", 0), with_kwargs=True)
    block.attention.register_forward_hook(keep("attention", 1), with_kwargs=True)
    block.reads_mid.register_forward_hook(keep("mid", 0), with_kwargs=True)
    with torch.no_grad():
        network(input_ids=torch.arange(5, 12)[None])
        expected = seen["pre"] + block.attention_scale * seen["attention"]
        if block.form == "post-norm":
            expected = block.writes_mid(expected)
    torch.testing.assert_close(seen["mid"], expected, atol=2e-6, rtol=0)


def first(output):
    """A tensor, or the first place of a tuple or list."""
    return output[0] if isinstance(output, (tuple, list)) else output


@pytest.mark.parametrize(
    ("fault", "identity"),
    [
        (lambda block: {"projection": block.module.self_attn.k_proj, "n_heads": 2}, "slice"),
        (lambda block: {"projection": block.module.mlp.up_proj}, "slice"),
        (lambda block: {"n_heads": 2, "d_head": 32}, "calls"),
        (lambda block: {"attention": block.module.mlp}, "attention"),
        (lambda block: {"mlp": block.module.self_attn}, "mlp"),
        (lambda block: {"module": block.module.mlp}, "blocks"),
    ],
)
def test_a_wrong_part_breaks_its_identity(fault, identity):
    """Planted in one block of a Llama: the check that should notice does."""
    network = network_of("llama")
    found = discover(network)
    blocks = (found.blocks[0], replace(found.blocks[1], **fault(found.blocks[1])))
    differences = verify(network, replace(found, blocks=blocks))
    assert not differences[identity] < 1e-3


@pytest.mark.parametrize("kind", ["llama", "gpt_neo", "falcon", "mamba", "jetmoe"])
def test_looking_leaves_the_network_as_it_was(kind):
    """No hook, the same attention, the same logits."""
    network = network_of(kind)
    ids, own = torch.arange(5, 12)[None], network.config._attn_implementation
    with torch.no_grad():
        before = network(input_ids=ids).logits
        checked(network)
        assert torch.equal(network(input_ids=ids).logits, before)
    assert network.config._attn_implementation == own
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_scoring_alone_looks_for_no_parts(tmp_path):
    """The anatomy is found at its first use, and once."""
    model = load(tiny_model(tmp_path, "gpt2"))
    model.token_logprobs([[5, 6, 7]])
    assert "anatomy" not in vars(model)
    assert model.anatomy is model.anatomy


def test_a_table_of_counts_has_no_parts(tmp_path):
    """An n-gram model says so."""
    with pytest.raises(NotApplicable, match="not a network"):
        load(tiny_model(tmp_path, "ngram")).anatomy  # noqa: B018


def test_every_kind_is_looked_at():
    """At least 40 model_types, each with its parts or a reason."""
    assert set(KINDS) | set(MORE) | {"t5", "mt5", "bart"} == set(PARTS) | set(REFUSED)
    assert len(PARTS) >= 40


def test_an_architecture_nobody_has_seen_works():
    """No line for it: blocks, heads, MLP and norm are found, and every identity holds."""
    network = lighthouse()
    found = checked(network)
    block = found.blocks[1]
    assert (len(found.blocks), found.form, found.mechanism, dict(found.absent)) == (
        3,
        "sequential",
        "softmax",
        {},
    )
    assert (block.projection, block.mlp, found.final_norm) == (
        block.module.flame,
        block.module.glass,
        network.body.roof,
    )
    assert (block.n_heads, block.n_kv_heads, block.d_head) == (4, 4, 8)


@pytest.mark.parametrize("kind", ["gpt_neo", "bloom", "falcon", "deberta-v2", "gpt_oss"])
def test_capabilities_name_what_can_be_had(kind):
    """Attention and heads also where the registry is not called; the objective as ever."""
    model = model_of(kind)
    assert {"attention", "heads", "causal" if kind in CAUSAL else "masked"} <= model.capabilities
    for place in ("head", "pattern"):
        model.anatomy.require(place)


def without_values(kind, layers, heads):
    """A GPT-2 some of whose heads read no values, so that they put out 0."""
    network = network_of(kind)
    with torch.no_grad():
        for layer in layers:
            attention = network.transformer.h[layer].attn.c_attn
            for head in heads:
                attention.weight[:, 64 + 8 * head : 72 + 8 * head] = 0
                attention.bias[64 + 8 * head : 72 + 8 * head] = 0
    return network


@pytest.mark.parametrize(
    ("layers", "heads"), [([0], [0]), ([0, 1], [0, 3]), ([0, 1], [1, 2, 3]), ([0], range(4))]
)
def test_a_head_that_puts_out_nothing_hides_no_part(layers, heads):
    """Nor does a block all of whose heads are 0, beside one of its class."""
    found = checked(without_values("gpt2", layers, heads))
    assert not found.absent and all(
        block.projection and block.attention and block.mlp for block in found.blocks
    )


def test_no_head_that_does_anything_is_the_reason():
    """Where nothing can be seen that is said, and not that something does not hold."""
    found = checked(without_values("gpt2", [0, 1], range(4)))
    assert set(found.absent) == {"head", "pattern", "attention", "mlp", "residual_mid"}
    assert all(reason.startswith("no head puts anything out") for reason in found.absent.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "olmo2", "bert"])
def test_half_precision_loses_no_part(kind, dtype):
    """Weights whose rounding is coarse against what a block adds (a stream 30 times as large): the
    parts are float32's.
    """
    wide = model_of(kind, num_hidden_layers=6) if kind != "gpt2" else model_of(kind, n_layer=6)
    with torch.no_grad():
        wide.network.get_input_embeddings().weight.mul_(30)
    half = copy.deepcopy(wide.network).to(dtype)
    expected, found = checked(wide.network), checked(half)
    assert (
        found.absent == expected.absent
        and found.form == expected.form
        and found.mechanism == expected.mechanism
    )
    assert next(half.parameters()).dtype == dtype
