"""Tests of the part of a model's fingerprint that its configuration and its code make."""

import json

import pytest

from tests.lm.test_loading import own_model
from tests.shelf import tiny_model
from transect.lm import load


@pytest.mark.parametrize(
    ("kind", "name"), [("llama", "rms_norm_eps"), ("gpt_neox", "use_parallel_residual")]
)
def test_the_fingerprint_sees_what_the_configuration_computes(kind, name, tmp_path):
    """An epsilon or another form of block changes `config` alone; who wrote the file, and in which
    dtype, nothing.
    """
    path = tiny_model(tmp_path, kind)
    before, config = load(path).fingerprint, json.loads((path / "config.json").read_text())
    notes = {
        "transformers_version": "0",
        "_name_or_path": "x",
        "torch_dtype": "float16",
        "use_cache": False,
    }
    (path / "config.json").write_text(json.dumps(config | notes))
    assert load(path).fingerprint == before
    (path / "config.json").write_text(
        json.dumps(config | {name: 0.01 if name == "rms_norm_eps" else False})
    )
    after = load(path).fingerprint
    assert {part for part in before if before[part] != after[part]} == {"config"}


def test_the_fingerprint_sees_code_that_is_run(tmp_path, monkeypatch):
    """And not what lies beside a model of transformers' own."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = own_model(tmp_path / "own")
    before = load(path, remote_code=True).fingerprint
    code = next(path.glob("*.py"))
    code.write_text(code.read_text() + "# more\n")
    assert load(path, remote_code=True).fingerprint["config"] != before["config"]
    plain = tiny_model(tmp_path / "plain", "llama")
    before = load(plain).fingerprint
    (plain / "code.py").write_text("")
    assert load(plain).fingerprint == before
