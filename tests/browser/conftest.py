"""A made-up study of miniature models, as large and untidy as a real one: the page is looked at and
driven with it.
"""

import hashlib
import itertools
import math
from pathlib import Path

import pandas as pd
import pytest

from transect.report.page import Figure, ReportData, Section, Table

ERROR = 'Traceback (most recent call last):\n  File "score.py", line 88, in pll\nValueError: <mask> & "pad" are one token'
LANGUAGES = ["svo", "sov", "vso"]
EFFECTS = [
    "corpus: bursty",
    "layout: parallel",
    "width (per doubling)",
    "language: sov",
    "language: vso",
]
STEPS = [0, 54, 82, 125, 189, 287, 435, 660, 1000, 1500]


def registry() -> pd.DataFrame:
    """48 runs: 4 architectures x 2 widths x 3 languages x 2 corpora, and a bigram baseline; four
    are held out.
    """
    rows: list[dict] = []
    for architecture, width, language, corpus in itertools.product(
        ["gpt_neox parallel", "gpt_neox sequential", "mamba2", "bert"],
        [32, 64],
        LANGUAGES,
        ["bursty", "fresh"],
    ):
        seed = len(rows) % 2
        configuration = f"mini-{architecture.split()[-1]}-d{width}-{language}-{corpus}"
        held_out = (width, language, corpus) == (64, "vso", "fresh")
        row = {
            "run": f"{configuration}-s{seed}",
            "role": "held_out" if held_out else "population",
            "suite": "miniature",
        }
        row |= {
            "family": architecture.split()[0],
            "configuration": configuration,
            "architecture": architecture,
        }
        row |= {"objective": "masked" if architecture == "bert" else "causal", "language": language}
        row |= {
            "corpus_variant": corpus,
            "params_total": 35008 * (width // 32) ** 2 + 10 * len(architecture),
        }
        row |= {
            "d_model": width,
            "n_layers": 2,
            "seed": seed,
            "train_tokens": 1536000,
            "licence": "MIT",
        }
        rows.append(row)
    baseline = {
        "run": "ngram-2-svo-bursty",
        "role": "baseline",
        "suite": "ngram",
        "family": "ngram",
    }
    baseline |= {
        "configuration": "ngram-2",
        "architecture": "bigram",
        "objective": "causal",
        "language": "svo",
    }
    frame = pd.DataFrame([*rows, baseline | {"corpus_variant": "bursty", "licence": "MIT"}])
    return frame.astype(
        {c: "Int64" for c in ("params_total", "d_model", "n_layers", "seed", "train_tokens")}
    )


def state_of(
    run, measure: str, stimuli: str, step: int | None
) -> tuple[str, str | None, str | None]:
    """State, reason and error: masked models, a broken tokenizer, a node that died, a baseline
    without attention.
    """
    if measure in ("induction", "previous_token") and run.architecture in ("mamba2", "bigram"):
        return "not applicable", "needs attention; the mixer of this model is another", None
    if run.objective == "masked" and measure in ("bits_per_byte", "surprisal", "copying"):
        return "not applicable", "needs causal; this model is masked", None
    if (
        run.run == "mini-bert-d32-svo-bursty-s0"
        and stimuli == "agreement_attractor"
        and step == 1000
    ):
        return "failed", None, ERROR
    if (
        "parallel-d64-sov" in run.run
        and (step or 0) >= 660
        and measure in ("induction", "surprisal")
    ):
        return (
            "missing",
            "memory ran out on node c12 after 3 tries" if measure == "induction" else None,
            None,
        )
    return "measured", None, None


def grid(runs: pd.DataFrame) -> pd.DataFrame:
    """Seven kinds of cell for every run; the baseline has one checkpoint."""
    kinds = [("minimal_pair", "agreement_simple"), ("minimal_pair", "agreement_attractor")]
    kinds += [
        ("bits_per_byte", "held_out_text"),
        ("surprisal", "held_out_text"),
        ("induction", ""),
        ("copying", ""),
    ]
    kinds += [("previous_token", "held_out_text")]
    columns = ["run", "measure", "stimuli", "entry", "revision", "step", "state", "reason", "error"]
    rows = [
        (
            run.run,
            *kind,
            "",
            "main" if step is None else f"step{step}",
            step,
            *state_of(run, *kind, step),
        )
        for run in runs.itertuples()
        for kind in kinds
        for step in ([None] if run.role == "baseline" else STEPS)
    ]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64"})


def claims() -> pd.DataFrame:
    """One claim per verdict, and a second one that is supported."""
    nan, inf, tokens = math.nan, math.inf, "doublings of tokens"
    rows = [
        (
            "Induction heads appear only where a verse recurs (bursty corpora).",
            "supported",
            0.7132,
            0.6021,
            0.8243,
        )
        + (
            "24 runs in 2 architectures",
            "Best head's prefix matching, bursty minus fresh.",
            "",
            0.3,
            inf,
        ),
        (
            "Word order makes no difference to attractor agreement after training.",
            "supported",
            0.004,
            -0.011,
            0.019,
        )
        + (
            "36 runs in 3 languages",
            "90 % interval within ±0.05 (TOST).",
            "proportion correct",
            -0.05,
            0.05,
        ),
        (
            "A layer in sequence learns induction no later than one in parallel.",
            "rejected",
            1.84,
            1.12,
            2.56,
        )
        + ("12 pairs of runs in 1 family", "The onset is later in every pair.", tokens, -inf, 0.25),
        (
            "Larger models need fewer tokens for agreement with attractors.",
            "unresolved",
            -0.21,
            -0.63,
            0.21,
        )
        + (
            "36 runs in 2 sizes",
            "The interval includes differences of either sign.",
            tokens,
            -inf,
            0.0,
        ),
        ("State-space models never copy, whatever the corpus.", "not identifiable", nan, nan, nan)
        + (
            "12 runs in 1 family",
            "“State-space” is aliased with Mamba-2: one family was sampled.",
            "",
            nan,
            nan,
        ),
    ]
    columns = ["claim", "verdict", "estimate", "lower", "upper", "units", "reason", "unit"]
    return pd.DataFrame(rows, columns=[*columns, "region_lower", "region_upper"])


def draw(folder: Path) -> dict[str, Path]:
    """Two figures as matplotlib writes them: a forest and two learning curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    look = {
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9,
    }
    with plt.rc_context(look):
        figure, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
        at, width = [0.71, 0.35, 0.08, 0.02, -0.03], [0.11, 0.14, 0.07, 0.06, 0.06]
        axes.errorbar(at, range(5), xerr=width, fmt="o", color="#0b5a6e")
        axes.set_yticks(range(5), EFFECTS)
        axes.invert_yaxis()
        axes.axvline(0, color="#8b9499", lw=0.8)
        axes.set_xlabel("change in prefix matching of the best head")
        _save(figure, folder / "forest")
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(8.2, 3.1), sharex=True, layout="constrained"
        )
        for label, marker, onset in [
            ("parallel, bursty", "o", 430),
            ("sequential", "s", 1100),
            ("fresh", "^", 1e9),
        ]:
            score = [0.04 + 0.84 / (1 + (onset / s) ** 6) for s in STEPS[1:]]
            dip = [
                0.5 - 0.3 * math.exp(-(math.log(s / 180) ** 2)) + 0.5 / (1 + (onset / 2 / s) ** 2)
                for s in STEPS[1:]
            ]
            left.plot(STEPS[1:], score, marker=marker, label=label)
            left.fill_between(
                STEPS[1:], [x - 0.04 for x in score], [x + 0.04 for x in score], alpha=0.2
            )
            right.plot(STEPS[1:], dip, marker=marker)
        left.set(xscale="log", xlabel="step", ylabel="prefix matching")
        right.set(xlabel="step", ylabel="attractor agreement")
        left.legend(frameon=False)
        _save(figure, folder / "curves")
    plt.close("all")
    return {name: folder / name for name in ("forest", "curves")}


def _save(figure, stem: Path) -> None:
    for suffix in (".svg", ".pdf"):
        figure.savefig(stem.with_suffix(suffix))


def result_tables(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A short table with p-values and intervals, one of some 3,000 rows, and what each job cost."""
    effects = pd.DataFrame(
        {
            "effect": EFFECTS,
            "estimate": [0.713245, 0.3512, 0.0811, 0.0204, -0.0312],
            "lower": [0.602113, 0.211, 0.011, -0.04, -0.0913],
            "upper": [0.824312, 0.49, 0.151, 0.081, 0.029],
            "df": [18.4, 18.4, 7.9, 20.1, 20.1],
            "p_holm": [2.4e-9, 0.00031, 0.0412, 0.61, 0.61],
        }
    )
    rows = [
        (
            run,
            step,
            step * 1024,
            0.5 + 0.5 * math.tanh(step / 500 + i / 90),
            math.sin(i + step) * 3,
            None if i % 3 else step,
        )
        for i, run in enumerate(runs["run"])
        for step in range(0, 1500, 24)
    ]
    columns = ["run", "step", "tokens_seen", "agreement", "logprob_difference_nats", "onset"]
    n = range(len(runs))
    jobs = {"job": "train " + runs["run"], "train_seconds": [15.2 + 0.37 * i for i in n]}
    jobs |= {
        "measure_seconds": [1.9 + 0.11 * (i % 7) for i in n],
        "peak_memory_mib": [412 + 13 * (i % 5) for i in n],
    }
    jobs |= {"weights_digest": [hashlib.sha256(str(i).encode()).hexdigest() for i in n]}
    return {
        "effects": effects,
        "curves": pd.DataFrame(rows, columns=columns),
        "jobs": pd.DataFrame(jobs),
    }


def sections(stems: dict[str, Path], tables: dict[str, pd.DataFrame]) -> list[Section]:
    forest = "Bursty text raises the best head's prefix matching by 0.71; all else matters less than half of that."
    curves = "Left: induction comes suddenly, earlier in parallel layouts. Right: agreement dips before it rises."
    model = "Mixed model with items and runs crossed; degrees of freedom after Satterthwaite.\n\n"
    return [
        Section(
            "Effects",
            "What does induction depend on?",
            model + "The outcome is `prefix_matching` of the best head.",
            [Figure(stems["forest"], forest)],
            {
                "effects": Table(
                    tables["effects"], "Fixed effects on prefix matching, best head per run"
                )
            },
        ),
        Section(
            "Curves",
            "When does it come?",
            "Bands are resampled runs.",
            [Figure(stems["curves"], curves, "Onset")],
            {"learning_curves": tables["curves"]},
        ),
        Section(
            "What to measure next",
            "",
            "Two more state-space families would make claim 5 identifiable.",
        ),
    ]


def fake_report(folder: Path) -> ReportData:
    """The whole study; its figures are drawn into `folder`."""
    runs = registry()
    tables = result_tables(runs)
    not_sampled = {"suite": ["pythia", "polypythia", "goldfish"], "n_runs": [16, 45, 1154]}
    not_sampled |= {
        "n_checkpoints": [2464, 6930, 1154],
        "largest_params_total": [11846072320, 405334016, 124770816],
    }
    return ReportData(
        name="miniature",
        title="Where do induction heads come from?",
        question="Does an induction head need a corpus in which words recur, whatever the architecture and word order?",
        summary=[
            "Induction appears in 11 of 12 causal attention models trained on bursty text, and in none on fresh text.",
            "The residual layout decides when: in sequence it comes 1.8 doublings of tokens later than in parallel.",
            "Nothing can be said of state-space models: one family was sampled.",
        ],
        claims=claims(),
        registry=runs,
        not_sampled=pd.DataFrame(
            not_sampled | {"why": ["needs a network", "needs a network", "other tokens seen"]}
        ),
        design={
            "residual_df": {"between configurations": 31, "between checkpoints of a run": 9},
            "aliases": [
                "architecture mamba2 is aliased with mixer ssd: their effects cannot be told apart.",
                "seed is aliased with corpus (one seed per corpus and width): seed enters the residual.",
            ],
            "D-efficiency": 0.93,
        },
        grid=grid(runs),
        sections=sections(draw(folder), tables),
        provenance={
            "Versions": {
                "Python": "3.11.9",
                "torch": "2.13.0+cpu",
                "transformers": "5.23.0",
                "Snakemake": "9.4.1",
            },
            "Machine": {"cpu": "AMD EPYC 7763, 2 cores", "memory": "16 GiB", "accelerator": None},
            "Cost by job": tables["jobs"],
            "How to repeat": "Run `transect reproduce miniature`.",
        },
    )


@pytest.fixture(scope="session")
def report_data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("study") / "figures"
    folder.mkdir()
    return fake_report(folder)
