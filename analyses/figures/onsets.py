"""Onsets on one axis of training tokens: each run's bracket of checkpoints, and the pooled onset
with its interval.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["emergence"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws emergence.onsets (thin: runs) and emergence.pooled (dot and bar)."""
    onsets, pooled = tables["emergence"]["onsets"], tables["emergence"]["pooled"]
    if onsets.empty:
        return style.panels(0)[0]
    rows = list(pooled[["outcome", "group"]].itertuples(index=False, name=None))
    figure, (ax,) = style.panels(1, height=0.55 + 0.3 * len(rows))
    every = np.concatenate([onsets["lower"], onsets["upper"], onsets["last_tokens"]])
    at = style.token_axis(ax, every)
    looks = style.looks(pooled["outcome"])
    for y, (outcome, group) in enumerate(rows):
        look = looks[outcome]
        _runs(ax, at, y, onsets[(onsets["outcome"] == outcome) & (onsets["group"] == group)], look)
        _pool(
            ax, y, pooled[(pooled["outcome"] == outcome) & (pooled["group"] == group)].iloc[0], look
        )
    ax.set_yticks(range(len(rows)), [f"{outcome}: {group}" for outcome, group in rows])
    for tick, (outcome, _) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(looks[outcome].colour)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure


def _runs(ax: Any, at: Any, y: float, part: Any, look: style.Look) -> None:
    """Thin lines below the row's centre; a run that never reaches the threshold is an arrow at its
    end.
    """
    reached = part[part["status"].isin(["interval", "left"])].sort_values(["lower", "upper"])
    offsets = np.linspace(0.12, 0.38, len(reached)) if len(reached) > 1 else np.array([0.25])
    ax.hlines(
        y + offsets[: len(reached)],
        at(reached["lower"]),
        at(reached["upper"]),
        color=look.colour,
        lw=0.5,
        alpha=0.45,
    )
    never = int((part["status"] == "right").sum())
    y += 0.25 if never < len(part) else 0.0
    if never:
        end = float(at([part["last_tokens"].max()])[0])
        ax.plot(
            [end], [y], marker=">", color="white", mec=look.colour, ms=5, clip_on=False, zorder=4
        )
        ax.annotate(
            f"not reached: {never} of {len(part)} runs",
            (end, y),
            xytext=(7, 0),
            textcoords="offset points",
            fontsize=6,
            va="center",
            color=look.colour,
            annotation_clip=False,
        )


def _pool(ax: Any, y: float, row: Any, look: style.Look) -> None:
    if not np.isfinite(row["estimate"]):
        return
    left, right = ax.get_xlim()
    low, high = max(row["lower"], left), min(row["upper"], right)
    ax.hlines(y, low, high, color=look.colour, lw=2.2, zorder=3)
    for beyond, edge, marker in (
        (row["lower"] < left, left, "<"),
        (row["upper"] > right, right, ">"),
    ):
        if beyond:  # the interval goes on outside the picture
            ax.plot([edge], [y], marker=marker, color=look.colour, ms=5, clip_on=False, zorder=4)
    ax.plot(
        [row["estimate"]],
        [y],
        marker=look.marker,
        color=look.colour,
        mec="white",
        mew=0.6,
        ms=6,
        zorder=5,
    )


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The pooled onsets in tokens."""
    said = []
    for _, row in tables["emergence"]["pooled"].iterrows():
        name = f"{row['outcome']} ({row['group']}, threshold {style.number(row['threshold'])})"
        if np.isfinite(row["estimate"]):
            low, mid, high = (
                style.short(float(f"{10 ** row[k]:.2g}")) if np.isfinite(row[k]) else "∞"
                for k in ("lower", "estimate", "upper")
            )
            said.append(
                f"{name}: {mid} tokens [{low}, {high}], {row['units']}"
                + (f"; {row['reason']}" if row["reason"] else "")
            )
        else:
            said.append(f"{name}: {row['reason']}")
    return (
        "Onsets: thin lines are the brackets of checkpoints in which single runs cross the threshold, dot and bar the pooled onset with its 95 % interval. "
        + ". ".join(said)
        + "."
    )
