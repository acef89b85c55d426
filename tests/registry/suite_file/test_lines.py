"""The file and line of a value, wherever a suite file may hold it."""

import pytest

from transect.registry.suite_file.lines import place

SUITE = """suite: demo
title: Demo
description: For tests.
sources: {here: a test}
checkpoints: {main: {revision: main, steps: [null]}}
defaults: {vocab_size: 50, model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: main}
tables:
- by: [d_model]
  rows:
  - {d_model: 64, params_total: 1000}
  - {d_model: 128, params_total: 4000}
runs:
- id: "demo-{d_model}"
  each:
    d_model: [64, 128]
  hub_id: org/demo
- {table: demo.csv, id: "row-{label}", each: {seed: [1, 2]}, hub_id: org/rows}
- id: own
  hub_id: org/own
  params_total: 7
"""
CSV = "label,params_total,d_model\na,10,\nb,,64\nc,30,\n"


@pytest.mark.parametrize(
    ("run", "field", "expected"),
    [
        ("own", "params_total", "demo.yaml, line 20"),
        ("demo-128", "params_total", "demo.yaml, line 11"),
        ("demo-64", "params_total", "demo.yaml, line 10"),
        ("demo-64", "d_model", "demo.yaml, line 15"),
        ("own", "vocab_size", "demo.yaml, line 6"),
        ("row-c", "params_total", "demo.csv, line 4"),
        ("row-b", "params_total", "demo.yaml, line 10"),
        ("row-a", "hub_id", "demo.yaml, line 17"),
        ("own", "n_layers", "demo.yaml, line 18"),
    ],
)
def test_place(run, field, expected, tmp_path):
    """Entry, joined table, `each`, defaults, and the row of a CSV table; the entry itself for what
    stands nowhere.
    """
    (tmp_path / "demo.yaml").write_text(SUITE)
    (tmp_path / "demo.csv").write_text(CSV)
    assert place(tmp_path / "demo.yaml", run, field) == f"{tmp_path}/{expected}"
