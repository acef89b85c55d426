"""Model against shortcut: the model's mean with its interval, the baselines as open marks, one row
per group.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["baselines"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws baselines.means."""
    means = tables["baselines"]["means"]
    outcomes = list(means["outcome"].unique())
    rows = max(means.groupby("outcome")["group"].nunique(), default=1)
    figure, axes = style.panels(len(outcomes), height=0.75 + 0.19 * rows)
    names = sorted(set(means["who"]) - {"model"})
    for ax, outcome in zip(axes, outcomes, strict=True):
        _panel(ax, means[means["outcome"] == outcome], names)
        ax.set_title(outcome)
    return figure


def _panel(ax: Any, part: Any, names: list[str]) -> None:
    groups = list(part["group"].unique())
    chance = part["chance"].iloc[0]
    if chance is not None and chance == chance:
        ax.axvline(chance, color=style.GREY, lw=0.7, ls=(0, (1, 2)))
        ax.annotate(
            "chance",
            (chance, 1),
            xytext=(2, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=5.5,
            color=style.GREY,
            va="top",
        )
    handles = {}
    for y, group in enumerate(groups):
        here = part[part["group"] == group]
        ax.hlines(
            y, here["estimate"].min(), here["estimate"].max(), color="#d9d9d9", lw=0.8, zorder=0
        )
        for _, row in here.iterrows():
            if row["who"] == "model":
                if np.isfinite(row["lower"]):
                    ax.hlines(y, row["lower"], row["upper"], color=style.COLOURS[0], lw=2)
                handles["model"] = ax.plot(
                    [row["estimate"]],
                    [y],
                    ls="",
                    marker="o",
                    color=style.COLOURS[0],
                    mec="white",
                    mew=0.5,
                    ms=5,
                )[0]
            else:
                i = 1 + names.index(row["who"])
                handles[row["who"]] = ax.plot(
                    [row["estimate"]],
                    [y],
                    ls="",
                    marker=style.MARKERS[i],
                    color="white",
                    mec=style.COLOURS[i],
                    mew=1,
                    ms=4,
                )[0]
    ax.set_yticks(range(len(groups)), groups)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.grid(axis="x")
    ax.legend(
        handles.values(),
        handles.keys(),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14 - 0.4 / len(groups)),
        ncols=4,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The gains over the best baseline."""
    said = []
    for _, row in tables["baselines"]["gains"].iterrows():
        value = (
            f"{style.interval(row)} over {row['baseline']} ({row['units']})"
            if not row.get("reason")
            else str(row["reason"])
        )
        said.append(f"{row['outcome']}, {row['group']}: gain {value}")
    return (
        "Means of the models with 95 % intervals over runs and items (filled), and of the shortcut baselines on the same items (open). "
        + "; ".join(said)
        + "."
        + style.cut_note(tables["baselines"]["gains"])
    )
