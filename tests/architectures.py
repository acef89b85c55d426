"""Tiny random models of many architectures, built from their configurations alone: what the engine
is tested on.

network = network_of("gpt_neo")          # a PreTrainedModel in eval mode
model = model_of("gpt_neo")              # the same as a Model, with a tokenizer (word pieces for masked models)
path = directory_of(tmp_path, "gpt_neo") # the same in hub layout, for transect.lm.load

Random biases and norms, so that a place that is one step off shows. d_head differs from d_model /
n_heads where the configuration can say so, for the same reason. Encoder-decoder models: `SEQ2SEQ`,
networks only through network_of.
"""

from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from tests.shelf import fill, piece_tokenizer, word_tokenizer
from transect.lm.network import NetworkModel

_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
_STANDARD = {**_SIZE, "max_position_embeddings": 64}
_GROUPED = {**_STANDARD, "num_key_value_heads": 2}
_WIDE = {**_GROUPED, "head_dim": 16}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_WINDOWS = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_MAMBA2 = {
    "state_size": 8,
    "num_heads": 8,
    "head_dim": 8,
    "n_groups": 1,
    "expand": 2,
    "chunk_size": 8,
}
_PAIR = {
    "d_model": 32,
    **{
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    },
    **{"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64},
}
_T5 = {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
}

CAUSAL: dict[str, dict[str, object]] = {
    "gpt2": _GPT2,
    "gpt_neo": {
        **{
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        },
        **{"attention_types": [[["global", "local"], 1]], "window_size": 4},
    },
    "gpt_neox": _STANDARD,
    "gptj": {**_GPT2, "rotary_dim": 4},
    "codegen": {**_GPT2, "rotary_dim": 4},
    "gpt_bigcode": _GPT2,
    "openai-gpt": _GPT2,
    "ctrl": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "dff": 48},
    "biogpt": _STANDARD,
    "opt": {**_STANDARD, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "xglm": {
        **{
            "d_model": 32,
            "num_layers": 2,
            "attention_heads": 4,
            "ffn_dim": 48,
            "max_position_embeddings": 64,
        },
    },
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "persimmon": _STANDARD,
    "phi": _STANDARD,
    "phi3": _GROUPED,
    "stablelm": _GROUPED,
    "starcoder2": _GROUPED,
    "llama": _WIDE,
    "mistral": {**_WIDE, "sliding_window": 4},
    "olmo": _GROUPED,
    "olmo2": _GROUPED,
    "olmo3": {**_GROUPED, **_WINDOWS},
    "olmoe": {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2},
    "qwen2": _GROUPED,
    "qwen3": _WIDE,
    "qwen3_moe": {**_WIDE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "mixtral": {**_WIDE, **_EXPERTS},
    "gpt_oss": {**_WIDE, **_EXPERTS, **_WINDOWS},
    "gemma": _WIDE,
    "gemma2": {**_WIDE, "sliding_window": 4, "query_pre_attn_scalar": 16},
    "gemma3_text": {**_WIDE, **_WINDOWS, "query_pre_attn_scalar": 16},
    "cohere": _GROUPED,
    "cohere2": {**_GROUPED, **_WINDOWS},
    "granite": {**_GROUPED, "logits_scaling": 2.0, "residual_multiplier": 0.5},
    "smollm3": _GROUPED,
    "glm": {**_GROUPED, "head_dim": 8},
    "glm4": {**_GROUPED, "head_dim": 8},
    "helium": {**_GROUPED, "head_dim": 8},
    "nemotron": _WIDE,
    "exaone4": {**_GROUPED, **_WINDOWS},
    "ernie4_5": _WIDE,
    "modernbert-decoder": {**_STANDARD, "local_attention": 6, "global_attn_every_n_layers": 2},
    "recurrent_gemma": {
        **{
            **_SIZE,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "lru_width": 32,
        },
        **{"attention_window_size": 8, "block_types": ["recurrent", "recurrent", "attention"]},
    },
    "falcon_h1": {
        **{**_WIDE, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
        **{"mamba_n_groups": 1, "mamba_chunk_size": 8},
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, **_MAMBA2},
    "rwkv": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "attention_hidden_size": 32,
        "context_length": 64,
    },
    "lstm": {"hidden_size": 32, "num_hidden_layers": 2},
}
MASKED: dict[str, dict[str, object]] = {
    "bert": _STANDARD,
    "roberta": {**_STANDARD, "max_position_embeddings": 67},
    "xlm-roberta": {**_STANDARD, "max_position_embeddings": 67},
    "camembert": {**_STANDARD, "max_position_embeddings": 67},
    "electra": {**_STANDARD, "embedding_size": 24},
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 64,
    },
    "modernbert": {**_STANDARD, "local_attention": 6, "global_attn_every_n_layers": 2},
    "deberta-v2": {
        **{
            **_STANDARD,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
        },
        **{"max_relative_positions": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    },
    "albert": {**_STANDARD, "embedding_size": 16},
    "mpnet": _STANDARD,
    "roformer": {**_STANDARD, "embedding_size": 32},
    "rembert": {**_STANDARD, "input_embedding_size": 16, "output_embedding_size": 24},
}
SEQ2SEQ: dict[str, dict[str, object]] = {
    "t5": _T5,
    "mt5": _T5,
    "bart": _PAIR,
    "marian": _PAIR,
}
# built for the anatomy only: the same conventions once more, and what must be refused
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_ROBERTA = {**_STANDARD, "max_position_embeddings": 67}
MORE_CAUSAL: dict[str, dict[str, object]] = {
    "apertus": _WIDE,
    "arcee": _WIDE,
    "seed_oss": _WIDE,
    "qwen2_moe": {**_GROUPED, **_MOE, "shared_expert_intermediate_size": 16},
    "phimoe": {**_GROUPED, **_EXPERTS},
    "granitemoe": {**_GROUPED, **_EXPERTS},
    "exaone_moe": {**_WIDE, **_MOE},
    "nanochat": _GROUPED,
    "jamba": {
        **{**_GROUPED, "num_experts": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
        **{"attn_layer_period": 2, "attn_layer_offset": 1},
    },
    "lfm2": {**_GROUPED, "layer_types": ["conv", "full_attention"]},
    "falcon_mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "deepseek_v2": {
        **{
            **_STANDARD,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
        },
        **{
            "v_head_dim": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
        },
        **{"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    },
    "jetmoe": {**_SIZE, "num_key_value_heads": 2, "kv_channels": 8, **_EXPERTS},
    "bitnet": _GROUPED,
    "diffllama": _GROUPED,
    "minimax": {**_WIDE, **_EXPERTS, "block_size": 4},
}
MORE_MASKED: dict[str, dict[str, object]] = {
    "esm": {**_ROBERTA, "position_embedding_type": "rotary"},
    "eurobert": _WIDE,
    "deberta": _STANDARD,
    "megatron-bert": _STANDARD,
    "roberta-prelayernorm": _ROBERTA,
    "ibert": _ROBERTA,
    "convbert": {**_STANDARD, "embedding_size": 32},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64},
}
# masked models that mix positions without a mask: their padding is read
LEAKING: dict[str, dict[str, object]] = {
    "fnet": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    },
}
KINDS = (*CAUSAL, *MASKED)
MORE = (*MORE_CAUSAL, *MORE_MASKED)
BOTH_WAYS = (*MASKED, *MORE_MASKED, *LEAKING)


def network_of(kind: str, *, seed: int = 0, **config: object) -> PreTrainedModel:
    """A tiny network of a model_type, every parameter from the seed (tests/shelf.py), in eval mode."""
    tokenizer, masked = tokenizer_of(kind), kind in BOTH_WAYS
    special = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id if not masked else None,
        "eos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind in SEQ2SEQ:
        special |= {"decoder_start_token_id": tokenizer.bos_token_id}
    if kind.startswith("modernbert"):
        special |= {"cls_token_id": 0, "sep_token_id": 1}
    sizes = {**CAUSAL, **MORE_CAUSAL, **MASKED, **MORE_MASKED, **LEAKING, **SEQ2SEQ}[kind]
    made = AutoConfig.for_model(kind, **{**special, **sizes, **config})
    maker = (
        AutoModelForMaskedLM
        if masked
        else AutoModelForSeq2SeqLM
        if kind in SEQ2SEQ
        else AutoModelForCausalLM
    )
    network = maker.from_config(made)
    fill(network, seed)
    return network.eval()


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """Word pieces with [CLS] and [SEP] for masked models, whole words with a BOS for the others."""
    return piece_tokenizer() if kind in BOTH_WAYS else word_tokenizer()


def model_of(kind: str, *, seed: int = 0, **config: object) -> NetworkModel:
    """A tiny model, nothing written to disk; its path only names it."""
    objective = "masked" if kind in BOTH_WAYS else "seq2seq" if kind in SEQ2SEQ else "causal"
    return NetworkModel(
        Path(kind), tokenizer_of(kind), [], network_of(kind, seed=seed, **config), objective
    )


def directory_of(folder: Path, kind: str, *, seed: int = 0, **config: object) -> Path:
    """A directory folder/<kind> in hub layout."""
    path = folder / kind
    network_of(kind, seed=seed, **config).save_pretrained(path)
    tokenizer_of(kind).save_pretrained(path)
    return path


def lighthouse() -> PreTrainedModel:
    """A decoder of an architecture that nobody has seen, built as transformers builds its own."""
    network = Lighthouse(PreTrainedConfig(vocab_size=63, hidden_size=32)).eval()
    fill(network, 0)
    return network


class Lantern(nn.Module):
    """One block of an architecture that nobody has seen: two norms, attention, a gate; names that
    mean nothing.
    """

    def __init__(self):
        super().__init__()
        self.north, self.south = nn.LayerNorm(32), nn.LayerNorm(32)
        self.wick, self.flame = nn.Linear(32, 96), nn.Linear(32, 32)
        self.oil, self.glass = nn.Linear(32, 48), nn.Linear(48, 32)

    def forward(self, x):
        """[batch, position, 32] -> the same, and something nobody needs."""
        q, k, v = (
            part.unflatten(-1, (4, 8)).transpose(1, 2)
            for part in self.wick(self.north(x)).chunk(3, -1)
        )
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        weights = (q @ k.transpose(-1, -2)).masked_fill(later, -1e9).softmax(-1)
        x = x + self.flame((weights @ v).transpose(1, 2).flatten(-2))
        return x + self.glass(torch.tanh(self.oil(self.south(x)))), weights


class LighthouseBody(PreTrainedModel):
    """Embedding, blocks, norm."""

    config_class = PreTrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.words, self.storeys = (
            nn.Embedding(63, 32),
            nn.ModuleList([Lantern(), Lantern(), Lantern()]),
        )
        self.roof = nn.LayerNorm(32)
        self.post_init()

    def get_input_embeddings(self):
        """As transformers asks for it."""
        return self.words

    def forward(self, input_ids, **kwargs):
        """The hidden states."""
        x = self.words(input_ids)
        for storey in self.storeys:
            x, _ = storey(x)
        return BaseModelOutput(last_hidden_state=self.roof(x))


class Lighthouse(LighthouseBody):
    """A causal language model."""

    base_model_prefix = "body"

    def __init__(self, config):
        PreTrainedModel.__init__(self, config)
        self.body, self.rays = LighthouseBody(config), nn.Linear(32, 63)
        self.post_init()

    def get_input_embeddings(self):
        """As transformers asks for it."""
        return self.body.words

    def get_output_embeddings(self):
        """As transformers asks for it."""
        return self.rays

    def forward(self, input_ids, **kwargs):
        """The logits."""
        return CausalLMOutput(logits=self.rays(self.body(input_ids).last_hidden_state))
