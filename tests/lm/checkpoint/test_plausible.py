"""Numbers of a configuration that no model has: refused with file, field and what is allowed,
before anything is made of them.
"""

import json

import pytest

from tests.architectures import network_of
from transect.errors import LoadError
from transect.lm.checkpoint.configuring import read_config
from transect.lm.checkpoint.plausible import check_numbers, check_parts

GPT2 = {
    "model_type": "gpt2",
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "vocab_size": 66,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 66,
}
SIZE = "it must be a whole number from 1 to"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        *(
            (GPT2 | {"n_layer": value}, f"n_layer is {value}; {SIZE} 1,000")
            for value in (10**9, -1, 0, 2.0)
        ),
        (GPT2 | {"n_layer": True}, "n_layer is True; it must be a whole number"),
        (GPT2 | {"n_layer": "2"}, "n_layer is 2; it must be a number"),
        (GPT2 | {"n_layer": float("inf")}, f"n_layer is inf; {SIZE}"),
        (GPT2 | {"n_head": 10**9}, f"n_head is 1000000000; {SIZE} 100,000"),
        (GPT2 | {"n_positions": 10**8}, f"n_positions is 100000000; {SIZE} 16,777,216"),
        (GPT2 | {"vocab_size": 0}, f"vocab_size is 0; {SIZE}"),
        (
            GPT2 | {"num_labels": 3 * 10**7},
            "num_labels is 30000000; no model has more than 100,000",
        ),
        (GPT2 | {"something": 10**30}, "no whole number may be above"),
        (
            GPT2 | {"layer_norm_epsilon": -1e-5},
            "layer_norm_epsilon is -1e-05; it must be finite and not negative",
        ),
        (GPT2 | {"attn_pdrop": 1.5}, "attn_pdrop is 1.5; it must be a share"),
        (LLAMA | {"rope_theta": 1e400}, "rope_theta is inf; it must be finite and above 0"),
        (
            LLAMA | {"rope_parameters": {"rope_theta": 0}},
            "rope_parameters.rope_theta is 0; it must be finite and above 0",
        ),
        (
            LLAMA | {"rope_parameters": {"x": {"rope_theta": -1.0}}},
            "rope_parameters.x.rope_theta is -1.0; it must be",
        ),
        (
            LLAMA | {"rope_scaling": {"type": "linear", "factor": 0.0}},
            "rope_scaling.factor is 0.0; it must be finite and above 0",
        ),
        (
            LLAMA | {"rope_scaling": {"type": "linar"}},
            "rope_scaling.type is 'linar'; there are: .* Did you mean 'linear'",
        ),
        (LLAMA | {"rope_scaling": {"short_factor": [0.0, 1.0]}}, "it must be finite and above 0"),
        (LLAMA | {"partial_rotary_factor": 2.0}, "it must be a share, from 0 to 1"),
        (
            {"model_type": "gpt_neo", "attention_types": [[["global"], 10**9]]},
            "no whole number in a list may be above",
        ),
        (
            {"model_type": "llava", "text_config": LLAMA | {"num_hidden_layers": 10**9}},
            "text_config.num_hidden_layers is",
        ),
        ({"model_type": "mixtral", "num_local_experts": 10**9}, "no model has more than 100,000"),
    ],
    ids=range(24),
)
def test_a_number_that_no_model_has_is_refused(raw, told, tmp_path):
    """The field with its value, and what is allowed there."""
    with pytest.raises(LoadError, match=f"config.json: .*{told}"):
        check_numbers(tmp_path, raw)


@pytest.mark.parametrize(
    "raw",
    [
        LLAMA
        | {"max_position_embeddings": 10_485_760, "head_dim": None, "num_key_value_heads": None},
        LLAMA
        | {
            "rope_scaling": {"rope_type": "yarn", "factor": 40, "beta_fast": 32, "mscale": 0.0},
            "rms_norm_eps": 0,
        },
        GPT2
        | {"n_inner": None, "n_ctx": 1024, "summary_first_dropout": 0.1, "bos_token_id": 250_000},
        {"model_type": "mamba2", "time_step_limit": [0.0, float("inf")], "state_size": 128},
        {
            "model_type": "gemma3n_text",
            "intermediate_size": [16384, 8192],
            "vocab_size_per_layer_input": 262_144,
        },
        {
            "model_type": "deepseek_v3",
            "first_k_dense_replace": 0,
            "n_group": 8,
            "num_nextn_predict_layers": 0,
        },
        GPT2 | {"model_max_length": 10**30, "num_train_samples": 10**9, "n_seen": 10**12},
        {
            "model_type": "qwen2",
            "sliding_window": 0,
            "max_window_layers": 28,
            "use_sliding_window": False,
        },
    ],
)
def test_what_published_models_say_is_allowed(raw, tmp_path):
    """Long contexts, nulls, sizes by layer, infinite limits, counts of zero."""
    check_numbers(tmp_path, raw)


@pytest.mark.parametrize(
    ("kind", "field", "value", "told"),
    [
        ("llama", "num_key_value_heads", 3, "4 heads cannot share 3 heads"),
        ("llama", "num_key_value_heads", 8, "4 heads cannot share 8 heads"),
        ("falcon", "num_kv_heads", 3, "4 heads cannot share 3 heads"),
        ("mixtral", "num_experts_per_tok", 0, "a token cannot go to 0 of 4 experts"),
        ("mixtral", "num_experts_per_tok", 9, "a token cannot go to 9 of 4 experts"),
        ("gemma3_text", "sliding_window", 0, "sliding_window is 0; a window has at least 1"),
        ("gemma3_text", "sliding_window", -5, "sliding_window is -5; a window has at least 1"),
        ("recurrent_gemma", "attention_window_size", -1, "sliding_window is -1"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(kind, field, value, told, tmp_path):
    """Shapes alone would not tell, or only a forward would."""
    config = network_of(kind).config
    check_parts(tmp_path, config)
    setattr(config, field, value)
    with pytest.raises(LoadError, match=f"config.json: {told}"):
        check_parts(tmp_path, config)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            GPT2 | {"activation_function": 7},
            "activation_function is '7', which a gpt2 model cannot have",
        ),
        (
            LLAMA | {"rope_scaling": {"rope_type": "linear"}},
            "rope_scaling is .*which a llama model cannot have",
        ),
        (LLAMA | {"head_dim": 7}, "head_dim is '7', which a llama model cannot have"),
        (GPT2 | {"text_config": {}}, "a gpt2 model has no inner configuration"),
        (GPT2 | {"to_dict": 1}, "'to_dict' is no field of a configuration"),
        (GPT2 | {"attribute_map": {"a": "b"}}, "'attribute_map' is no field"),
        (GPT2 | {"__class__": "x"}, "'__class__' is no field"),
        (
            GPT2 | {"model_type": "gpt22"},
            "transformers has no model_type 'gpt22'.* Did you mean 'gpt2'",
        ),
        ({"vocab_size": 7}, "transformers has no model_type None"),
        (GPT2 | {"dtype": "x"}, "dtype is 'x', which a gpt2 model cannot have"),
    ],
    ids=range(10),
)
def test_the_field_that_transformers_fails_on_is_named(raw, told, tmp_path):
    """Where the library's own words ("not callable", "object has no attribute") name neither file
    nor field.
    """
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(LoadError, match=f"config.json: .*{told}"):
        read_config(tmp_path, raw)


def test_what_a_forward_gives_back_is_not_the_files_matter(tmp_path):
    """`return_dict: false` and kept attentions change no number; the networks give what we read."""
    raw = GPT2 | {"return_dict": False, "output_attentions": True, "output_hidden_states": True}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    config, objective, _ = read_config(tmp_path, raw)
    assert (config.return_dict, config.output_attentions, config.output_hidden_states) == (
        True,
        False,
        False,
    )
    assert objective == "causal"
