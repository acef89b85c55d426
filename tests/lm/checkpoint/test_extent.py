"""Configurations that ask for more than the weight files hold: refused while they are built, in
seconds and without memory.

Limits of every case: 60 s and 3 GiB are what the issue allows; here it is 10 s on an idle core and
300 MB beside the imports.
"""

import json
import resource
import time

import pytest

from tests.architectures import directory_of
from tests.shelf import CONFIGS, tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.lm.checkpoint.configuring import read_config
from transect.lm.checkpoint.extent import TooLarge, built
from transect.lm.describe.description import describe
from transect.store.model_files.folder import configuration, weight_files
from transect.store.model_files.headers import tensors

LARGE = [
    ("gpt2", "n_layer", 1000, "tensors|numbers"),
    ("gpt2", "n_positions", 10**7, "numbers"),
    ("gpt2", "vocab_size", 10**9, "numbers"),
    ("gpt2", "n_embd", 10**9, "numbers"),
    ("gpt2", "n_inner", 10**12, "numbers"),
    ("llama", "head_dim", 10**9, "numbers"),
    ("llama", "intermediate_size", 10**9, "numbers"),
    ("lstm", "num_hidden_layers", 1000, "tensors|numbers"),
    ("mamba2", "state_size", 10**9, "numbers"),
    ("bert", "type_vocab_size", 10**9, "numbers"),
]


def changed(path, **fields):
    """The folder with other fields in its configuration."""
    raw = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(raw | fields))
    return path


@pytest.mark.parametrize(("kind", "field", "value", "what"), LARGE, ids=lambda x: str(x)[:20])
def test_more_than_the_files_hold_is_refused(kind, field, value, what, tmp_path):
    """By loading and describing alike, with what was asked for and what is there."""
    path = changed(tiny_model(tmp_path, kind), **{field: value})
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (load, describe):
        with pytest.raises(
            LoadError,
            match=f"asks for more than [\\d,]+ ({what}).*, and the weight files hold|parts",
        ):
            read(path)
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


@pytest.mark.parametrize(
    ("kind", "fields", "what"),
    [
        ("distilbert", {"sinusoidal_pos_embds": True, "max_position_embeddings": 10**7}, "numbers"),
        ("ctrl", {"n_positions": 10**7}, "bytes of buffers"),
        ("mixtral", {"num_local_experts": 10**5}, "numbers"),
        ("albert", {"num_hidden_groups": 10**5}, "tensors|numbers"),
    ],
)
def test_tables_and_parts_of_other_architectures_are_counted_too(kind, fields, what, tmp_path):
    """Tables that are computed in a loop, masks and tables that are made anew, experts, groups."""
    path = changed(directory_of(tmp_path, kind), **fields)
    with pytest.raises(TooLarge, match=f"config.json: .*asks for more than [\\d,]+ ({what})"):
        load(path)


@pytest.mark.parametrize("kind", [*CONFIGS])
def test_what_the_files_hold_is_built(kind, tmp_path):
    """A whole model stays within the limits, and building leaves no hook behind."""
    from torch.nn.modules import module as hooks

    path = tiny_model(tmp_path, kind)
    raw = configuration(path)
    config, _, maker = read_config(path, raw)
    network = built(path, raw, config, maker, tensors(weight_files(path)))
    assert all(p.device.type == "meta" for p in network.parameters())
    assert (
        not hooks._global_parameter_registration_hooks
        and not hooks._global_buffer_registration_hooks
    )


def test_shapes_that_are_not_those_of_the_files_are_named(tmp_path):
    """Half the positions: the stored shape and the configuration's, by loading and describing."""
    path = changed(tiny_model(tmp_path, "gpt2"), n_positions=32)
    for read in (load, describe):
        with pytest.raises(
            LoadError,
            match=r"1 weights are mismatched, e.g. \S*wpe.weight \(\[64, 32\] where .* \[32, 32\]\)",
        ):
            read(path)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (
            "gpt2",
            {"activation_function": "nope"},
            "activation_function is 'nope', which a gpt2 model cannot have",
        ),
        ("gpt2", {"n_head": 3}, "must be divisible by num_heads"),
        ("mamba2", {"n_groups": 0}, "n_groups is '0', which a mamba2 model cannot have"),
    ],
)
def test_what_cannot_be_built_names_the_field(kind, fields, told, tmp_path):
    """A KeyError or a division by zero in a constructor says neither file nor field."""
    with pytest.raises(LoadError, match=f"config.json: .*{told}"):
        load(changed(tiny_model(tmp_path, kind), **fields))
