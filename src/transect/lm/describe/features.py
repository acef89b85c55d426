"""Design factors of a network that follow from its modules and its configuration alone: no weights,
no table of names of models.

mixer             attention where some module attends, ssd or selective-ssm (Mamba 2 or 1), wkv, recurrent; hybrid where two of them do
position          rope where something rotates, else the kind of the table or bias; none where nothing attends
norm              by what the norm that occurs most does to x + c: LayerNorm gives the same as of x, RMSNorm does not
mlp               the configuration's activation; gated where a block has three matrices of the MLP's width, or one of twice that width
attention_pattern full, sliding, local-global (both), none
What cannot be told is left out.
"""

import copy
import inspect
import re
import sys
from collections import Counter
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from transect.lm.checkpoint.counting import dimensions

ATTENDS = re.compile(r"Attention|Attn")
# parts of class names of what mixes positions without attending
OTHERS = {
    "wkv": r"^Rwkv",
    "ssd": r"(Mamba2|Bamba|Zamba2|FalconH1).*Mixer",
    "selective-ssm": r"Mamba.*Mixer|JambaMambaMixer",
    "recurrent": r"LSTM|Lstm|RecurrentBlock|GRU",
    "hybrid": r"ShortConv|LightningAttention|DeltaNet|LinearAttention",
}
ACTIVATIONS = (
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "activation",
    "dense_act_fn",
    "afn",
    "feed_forward_proj",
)
NO_MLP = re.compile(r"att|query|qkv|in_proj|mamba|mixer")
GATED = {"silu": "swiglu", "swish": "swiglu", "gelu": "geglu", "relu": "reglu", "relu2": "reglu2"}


def design(network: PreTrainedModel) -> dict[str, Any]:
    """Field of the registry -> value. The network may be on the meta device."""
    mixer = _mixer(network)
    found = {
        "mixer": mixer,
        "position": _position(network) if mixer in ("attention", "hybrid") else "none",
        "norm": _norm(network),
        "mlp": _mlp(network),
        "attention_pattern": _pattern(network.config)
        if mixer in ("attention", "hybrid")
        else "none",
        "weight_sharing": _sharing(network),
    }
    return {name: value for name, value in found.items() if value is not None}


def _mixer(network: nn.Module) -> str | None:
    names = {type(module).__name__ for module in network.modules()}
    others = [
        kind for kind, words in OTHERS.items() if any(re.search(words, name) for name in names)
    ]
    if "ssd" in others and "selective-ssm" in others:  # the name of the second matches both
        others.remove("selective-ssm")
    attends = any(
        ATTENDS.search(n) and not any(re.search(words, n) for words in OTHERS.values())
        for n in names
    )
    if attends:
        return "hybrid" if others else "attention"
    return others[0] if others else None


def _position(network: PreTrainedModel) -> str | None:
    config, names = network.config, [type(module).__name__ for module in network.modules()]
    places = [name for name, _ in network.named_modules()]
    if any("relative_attention_bias" in p or p.endswith("rel_embeddings") for p in places):
        return "relative-bucket"
    if any("Rotary" in name for name in names) or getattr(config, "rotary_dim", None):
        return "rope"
    tables = [
        m
        for p, m in network.named_modules()
        if re.search(r"(^|\.)\w*(position|wpe)\w*\Z", p) and "Embedding" in type(m).__name__
    ]
    if any(
        "Sinusoidal" in type(m).__name__ or not any(w.requires_grad for w in m.parameters())
        for m in tables
    ):
        return "sinusoidal"
    if tables:
        return "learned"
    return (
        "alibi"
        if "alibi" in _source(network)
        else "sinusoidal"
        if "positional_encoding" in _source(network)
        else None
    )


def _source(network: nn.Module) -> str:
    try:
        return inspect.getsource(sys.modules[type(network).__module__])
    except (OSError, KeyError):  # code without a file
        return ""


def _norm(network: PreTrainedModel) -> str | None:
    norms = [
        m
        for m in network.modules()
        if re.search(r"Norm", type(m).__name__) and not list(m.children())
    ]
    if not norms:
        return None
    kind, _ = Counter(type(m) for m in norms).most_common(1)[0]
    norm = copy.deepcopy(
        max((m for m in norms if type(m) is kind), key=lambda m: len(list(m.parameters())))
    )
    weights = list(norm.parameters())
    norm = norm.to_empty(device="cpu").float()
    for name, weight in norm.named_parameters():
        nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1.0)
    x = torch.linspace(
        -1, 2, weights[0].shape[-1] if weights else dimensions(network.config).get("d_model", 8)
    )[None]
    try:
        with torch.no_grad():
            same = torch.allclose(norm(x), norm(x + 1), atol=1e-3)
    except Exception:  # it wants more than the one tensor
        return None
    return ("layernorm" if same else "rmsnorm") + ("" if weights else "-nonparametric")


def _mlp(network: PreTrainedModel) -> str | None:
    config, size = network.config, dimensions(network.config)
    if "d_ff" not in size and not hasattr(config, "num_attention_heads"):
        return "none"
    block = next(iter(_blocks(network)), nn.Identity())
    modules = [type(module).__name__.lower() for module in block.modules()]
    told = next((v for n in ACTIVATIONS if isinstance(v := getattr(config, n, None), str)), None)
    told = told or next((kind for kind in GATED if any(kind in name for name in modules)), None)
    if told is None:
        return None
    plain = (
        "relu2"
        if re.search(r"relu2|relu_?squared", told)
        else next((k for k in ("gelu", "relu", "silu", "swish") if k in told), told)
    )
    shapes = [
        tuple(p.shape[-2:])
        for n, p in block.named_parameters()
        if p.ndim > 1 and not NO_MLP.search(n)
    ]
    d_model: int = size.get("d_model", 0)
    widths: list[int] = [
        w for w in (size.get("d_ff"), getattr(config, "moe_intermediate_size", None)) if w
    ]
    for width in widths:
        if width == d_model:  # the matrices of attention have that shape as well
            return None
        halves = shapes.count((2 * width, d_model)) + shapes.count((d_model, 2 * width))
        if halves or shapes.count((width, d_model)) + shapes.count((d_model, width)) > 2:
            return GATED.get(plain, plain)
    return plain


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The longest list of modules that stands in no other."""
    lists = [
        (n, m)
        for n, m in network.named_modules()
        if isinstance(m, nn.ModuleList) and not re.search(r"\.\d+(\.|\Z)", n)
    ]
    return list(max((m for _, m in lists), key=len, default=[]))  # type: ignore[call-overload]


def _pattern(config: Any) -> str:
    kinds = {
        ("sliding" if re.search("sliding|local|chunked", str(kind)) else "full")
        for kind in _kinds(config)
    }
    if len(kinds) > 1:
        return "local-global"
    window = (
        getattr(config, "sliding_window", None)
        if getattr(config, "use_sliding_window", True)
        else None
    )
    return kinds.pop() if kinds else "sliding" if window else "full"


def _kinds(config: Any) -> list[str]:
    types = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None) or []
    return [str(t) for t in types if re.search("attention|local|global", str(t))]


def _sharing(network: PreTrainedModel) -> str:
    layers = dimensions(network.config).get("n_layers", 0)
    return "all-layers" if len(_blocks(network)) < layers and len(_blocks(network)) == 1 else "none"
