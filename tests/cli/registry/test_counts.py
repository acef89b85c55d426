"""`transect registry check --counts`: an entry whose count contradicts its configuration."""

import pytest

from tests.jobs.hub_project import hub_project
from transect.cli import main
from transect.cli.registry.counts import check_counts
from transect.errors import InputError
from transect.registry.suite_file.reading import read
from transect.registry.suites import Registry

SUITE = """suite: sizes
title: Sizes
description: For tests.
sources: {here: a test}
checkpoints: {main: {revision: main, steps: [null]}}
defaults:
  {model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: main, n_layers: 2, d_model: 32, n_heads: 4,
   d_ff: 128, vocab_size: 66, context_length: 64, tied_embeddings: true, position: learned}
runs:
- {id: right, hub_id: org/a, params_total: 29632, params_non_embedding: 25472}
- id: wrong
  hub_id: org/b
  params_total: 29632
  params_non_embedding: 25473
- {id: half-known, hub_id: org/c, n_layers: unknown}
- {id: elsewhere, hub_id: org/d, model_type: hf_olmo, remote_code: true, params_total: 5}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a suite of its own."""
    made = hub_project(tmp_path, monkeypatch)
    (made.root / "model_registry/sizes.yaml").write_text(SUITE)
    (made.root / "model_registry/lab.yaml").unlink()
    return made


def test_a_contradiction_names_file_line_and_both_counts(project):
    """One sentence for each value."""
    file = project.root / "model_registry/sizes.yaml"
    with pytest.raises(InputError) as told:
        check_counts(Registry((read(file),)))
    assert str(told.value) == (
        f"{file}, line 14: run 'wrong' states params_non_embedding 25,473, but its configuration has 25,472."
    )


@pytest.mark.slow
def test_the_command_counts_the_whole_registry(project, capsys):
    """Exit code 2 and that one sentence: every other run of the registry is as stated."""
    assert main.main(["registry", "check", "--counts"]) == 2
    told = capsys.readouterr().err
    file = project.root / "model_registry/sizes.yaml"
    assert told == (
        f"transect: {file}, line 14: run 'wrong' states params_non_embedding 25,473, but its configuration has 25,472.\n"
    )


def test_what_was_not_counted_is_told_with_the_reason(project):
    """A dimension that is unknown, code of its own."""
    file = project.root / "model_registry/sizes.yaml"
    file.write_text(file.read_text().replace("25473", "25472"))
    told = check_counts(Registry((read(file),)))
    assert told[0] == "the weights of 2 runs were counted anew: all as stated."
    assert set(told[1:]) == {
        "not counted: half-known: n_layers unknown.",
        "not counted: elsewhere: hf_olmo is no architecture of transformers: code of its own.",
    }
