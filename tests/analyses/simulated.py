"""A study that never ran: measurements and registry in the form that analyses get, with the truth
planted.

Population: gpt_neox parallel / sequential / mamba2 x width 16, 32, 64 x bursty / fresh x four
languages (a fraction), 2 seeds. Planted: prefix_matching rises to 0.8 in gpt_neox parallel, bursty,
width > 16 only (seed sd 0.05), onset at 10^5.6 tokens; elsewhere 0.05. Agreement: difference_nats =
4 (simple) or 3 (attractor) + 0.5 log2(width / 32) + item sd 1.5 + run sd 0.3, after an onset at
10^5.2 - 0.3 log2(width / 32) tokens; the bigram baseline knows simple items only.
"""

from itertools import product

import numpy as np
import pandas as pd

TOKENS = [0, 54, 82, 125, 189, 287, 435, 660, 1000, 1500]
PREFIX_ON, PREFIX_OFF = 0.8, 0.05


def registry() -> pd.DataFrame:
    rows = []
    languages = list(product(["svo", "sov"], ["case", "none"]))
    for i, (architecture, width, variant) in enumerate(
        product(
            ["gpt_neox parallel", "gpt_neox sequential", "mamba2"],
            [16, 32, 64],
            ["bursty", "fresh"],
        )
    ):
        for shift in (0, 1):
            order, marking = languages[(i // 2 + i % 2 + 2 * shift) % 4]
            for seed in (0, 1):
                rows.append(_run(architecture, width, variant, order, marking, seed))
    rows += [_run("gpt_neox parallel", 32, "bursty", "svo", "case", s, n_layers=1) for s in (0, 1)]
    rows += [
        _run("bert", 32, "bursty", "svo", m, s, objective="masked")
        for m in ("case", "none")
        for s in (0, 1)
    ]
    rows += [
        _run(f"{n}gram", 0, "bursty", o, m, 0, role="baseline", mixer="ngram")
        for n in (1, 2)
        for o, m in languages
    ]
    return pd.DataFrame(rows)


def _run(
    architecture,
    width,
    variant,
    order,
    marking,
    seed,
    n_layers=2,
    objective="causal",
    role="population",
    mixer="attention",
):
    configuration = f"{architecture} d{width} L{n_layers} {variant} {order} {marking}"
    return {
        "run": f"{configuration} s{seed}",
        "suite": "simulated",
        "family": "simulated",
        "configuration": configuration,
        "architecture": architecture,
        "objective": objective,
        "mixer": "ssd" if architecture == "mamba2" else mixer,
        "language": f"{order} {marking}",
        "word_order": order,
        "marking": marking,
        "corpus": "miniature",
        "corpus_variant": variant,
        "params_total": max(300 * width + 12 * n_layers * width**2, 1),
        "params_non_embedding": max(12 * n_layers * width**2, 1),
        "n_layers": n_layers,
        "d_model": width,
        "n_heads": 4,
        "seed": seed,
        "train_tokens": TOKENS[-1] * 1024,
        "held_out": False,
        "role": role,
    }


def measurements(runs: pd.DataFrame, n_items: int = 30, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    item_effect = {
        (c, k): rng.normal(0, 1.5) for c in ("simple", "attractor") for k in range(n_items)
    }
    parts = []
    for run in runs.to_dict("records"):
        steps = TOKENS if run["role"] == "population" else [TOKENS[-1]]
        shift, delay = rng.normal(0, 0.3), rng.normal(0, 0.1)
        level = np.clip(rng.normal(PREFIX_ON, 0.05), 0, 1)
        for step in steps:
            at = {
                "suite": "simulated",
                "run": run["run"],
                "revision": f"step{step}",
                "step": step,
                "tokens_seen": step * 1024,
            }
            parts += _agreement(run, at, item_effect, shift, delay, rng)
            if (
                run["objective"] == "causal"
                and run["mixer"] == "attention"
                and run["role"] == "population"
            ):
                parts += _heads(run, at, level, delay, rng)
    frame = pd.DataFrame(parts)
    frame["step"], frame["tokens_seen"] = (
        frame["step"].astype("Int64"),
        frame["tokens_seen"].astype("Int64"),
    )
    for column in ("region", "word", "position"):
        frame[column] = None
    return frame


def _grown(tokens: float, onset: float, width: float = 0.12) -> float:
    """0 before, 1 after the onset (in log10 tokens): a logistic rise."""
    return 0.0 if tokens == 0 else float(1 / (1 + np.exp(-(np.log10(tokens) - onset) / width)))


def _agreement(run, at, item_effect, shift, delay, rng):
    masked, baseline = run["objective"] == "masked", run["role"] == "baseline"
    size = np.log2(max(run["d_model"], 16) / 32)
    grown = 1.0 if baseline else _grown(at["tokens_seen"], 5.2 - 0.3 * size + delay)
    for (condition, k), effect in item_effect.items():
        if baseline:
            mean = 2.0 if condition == "simple" and run["architecture"] == "2gram" else 0.0
        else:
            mean = grown * ((4.0 if condition == "simple" else 3.0) + 0.5 * size + effect + shift)
        difference = mean + rng.normal(0, 1)
        prefix = "pll_" if masked else ""
        for metric, value in (("difference_nats", difference), ("correct", float(difference > 0))):
            yield at | {
                "measure": "minimal_pair",
                "stimuli": "agreement",
                "item": f"{condition}_{k}",
                "metric": prefix + metric,
                "value": value,
                "item_condition": condition,
                "item_number": "Sing" if k % 2 else "Plur",
                "layer": None,
                "head": None,
            }


def _heads(run, at, level, delay, rng):
    on = (
        run["architecture"] == "gpt_neox parallel"
        and run["corpus_variant"] == "bursty"
        and run["d_model"] > 16
        and run["n_layers"] > 1
    )
    for layer, head in product(range(run["n_layers"]), range(run["n_heads"])):
        target = on and layer == run["n_layers"] - 1 and head == 1
        value = (
            PREFIX_OFF
            + (level - PREFIX_OFF) * _grown(at["tokens_seen"], 5.6 + delay, 0.04) * target
        )
        for metric, score in (
            ("prefix_matching", value + rng.normal(0, 0.005)),
            ("uniform_attention", 0.04),
        ):
            yield at | {
                "measure": "induction",
                "stimuli": None,
                "item": "length6_gap3",
                "metric": metric,
                "value": score,
                "item_condition": None,
                "item_number": None,
                "layer": layer,
                "head": head,
            }


def row_of(table: pd.DataFrame, **where) -> pd.Series:
    """The one row with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, (where, len(table))
    return table.iloc[0]
