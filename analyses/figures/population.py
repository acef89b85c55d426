"""The population: every run by size and training tokens, marked by architecture; baselines and
held-out runs are told apart.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transect.report import style

NEEDS = ["population"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws population.runs: by training tokens, or, where all runs have seen as many (or nobody
    knows), by language.

    Runs of which size or tokens are unknown have no place; the caption counts them.
    """
    runs = tables["population"]["runs"]
    runs = runs[runs["role"] != "baseline"]
    runs, size, tokens = _placed(runs)
    if runs.empty:
        figure, (ax,) = style.panels(1, height=0.6)
        ax.set_axis_off()
        ax.text(
            0.5,
            0.5,
            "no run of known size",
            ha="center",
            va="center",
            color=style.GREY,
            style="italic",
        )
        return figure
    same = tokens.nunique() < 2
    languages = sorted(runs["language"].astype(str).unique())
    figure, (ax,) = style.panels(1, height=0.9 + 0.32 * len(languages) if same else 2.9, width=5.6)
    looks = style.looks(runs["architecture"])
    dodge = {
        name: i - (len(looks) - 1) / 2 for i, name in enumerate(looks)
    }  # architectures stand above each other
    places = runs.assign(
        y=runs["language"].astype(str).map(languages.index) if same else np.log10(tokens)
    )
    step = 0.19 if same else 0.05 * max(float(np.ptp(places["y"])), 0.2)
    for (x, y, name, role), part in places.groupby([size, "y", "architecture", "role"]):
        look = looks[name]
        face = "white" if role == "held_out" else look.colour
        ax.plot(
            [x],
            [y + step * dodge[name]],
            ls="",
            marker=look.marker,
            color=face,
            mec=look.colour,
            mew=0.8,
            ms=3.6,
        )
        if len(part) > 1:
            ax.annotate(
                str(len(part)),
                (x, y + step * dodge[name]),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=5,
                va="center",
                color=style.GREY,
            )
    style.size_axis(ax, runs[size], size)
    if same:
        ax.set_yticks(range(len(languages)), languages)
        ax.set_ylim(len(languages) - 0.4, -0.6)
        if tokens.notna().all():
            ax.set_title(f"{style.short(float(f'{tokens.iloc[0]:.3g}'))} training tokens each")
    else:
        ticks = (
            np.unique(tokens)
            if tokens.nunique() <= 6
            else 10.0 ** np.arange(np.floor(np.log10(tokens.min())), np.log10(tokens.max()) + 1)
        )
        ax.set_yticks(np.log10(ticks), [style.short(float(f"{t:.2g}")) for t in ticks])
        ax.set_ylabel("training tokens")
    ax.grid(True)
    handles = [
        Line2D([], [], ls="", marker=k.marker, color=k.colour, label=name)
        for name, k in looks.items()
    ]
    if (runs["role"] == "held_out").any():
        handles.append(
            Line2D([], [], ls="", marker="o", color="white", mec="black", label="held out")
        )
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return figure


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """Counts of runs and configurations, and of each level."""
    runs, levels = tables["population"]["runs"], tables["population"]["levels"]
    counts = {
        role: (part["run"].nunique(), part["configuration"].nunique())
        for role, part in runs.groupby("role")
    }
    said = ", ".join(
        f"{role.replace('_', ' ')}: {n} runs in {k} configurations"
        for role, (n, k) in counts.items()
    )
    each = "; ".join(
        f"{factor.replace('_', ' ')}: "
        + ", ".join(f"{r['level']} {r['n_runs']}" for _, r in part.iterrows())
        for factor, part in levels.groupby("factor", sort=False)
    )
    by = f" Runs per level: {each}." if each else ""
    sampled = runs[runs["role"] != "baseline"]
    placed, _, tokens = _placed(sampled)
    absent = len(sampled) - len(placed)
    second = "language" if tokens.nunique() < 2 else "training tokens"
    unknown = f" Not drawn: {absent} of unknown size or tokens." if absent else ""
    return f"Every run by size and {second} ({said}); numbers beside marks: runs at one place.{unknown}{by}"


def _placed(runs: pd.DataFrame) -> tuple[pd.DataFrame, str, pd.Series]:
    """The runs that have a place, the column of their size, and their tokens (NaN where no run's
    are known).
    """
    runs = runs.reindex(
        columns=[
            *runs.columns,
            *({"train_tokens", "params_total", "params_non_embedding", "language"} - set(runs)),
        ]
    )
    measured, trained = (
        pd.to_numeric(runs[c], errors="coerce").astype("Float64")
        for c in ("tokens_measured", "train_tokens")
    )
    tokens = measured.fillna(trained).astype(float)
    sized = runs["params_total"].notna()
    size = (
        "params_non_embedding"
        if runs.loc[sized, "params_non_embedding"].notna().all()
        else "params_total"
    )
    here = sized & (tokens.notna() | tokens.isna().all())
    return runs[here], size, tokens[here]
