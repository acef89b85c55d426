"""Outcome by size as it was fitted: partial residuals, and a line with its band for each level of
the widest adjusting factor.
"""

import textwrap
from typing import Any

from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["size_trend"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws size_trend.points and size_trend.lines: a panel per outcome and group (all
    configurations where there is none).
    """
    found = tables["size_trend"]
    panels = _panels(found["slopes"])
    figure, axes = style.panels(len(panels), columns=2, height=2.3)
    drawn: dict[str, list[Any]] = {}
    for ax, (outcome, group) in zip(axes, panels, strict=True):
        points, lines = (
            t[(t["outcome"] == outcome) & (t["group"] == group)]
            for t in (found["points"], found["lines"])
        )
        drawn.setdefault(outcome, []).append((ax, points, lines))
        size = found["slopes"].loc[found["slopes"]["outcome"] == outcome, "size"].iloc[0]
        _panel(ax, points, lines, size)
        ax.set_title(textwrap.fill(outcome if group == "all" else f"{outcome}, {group}", 42))
    for same in drawn.values():  # one outcome, one scale
        limits = [ax.get_ylim() for ax, _, _ in same]
        for ax, points, lines in same:
            ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
            _name(ax, points, lines)
    return figure


def _panels(slopes: Any) -> list[tuple[str, str]]:
    """(outcome, group): the groups of an outcome where it has any, else all of its configurations."""
    every = list(slopes[["outcome", "group"]].itertuples(index=False, name=None))
    grouped = {outcome for outcome, group in every if group != "all"}
    return [
        (outcome, group) for outcome, group in every if group != "all" or outcome not in grouped
    ]


def _panel(ax: Any, points: Any, lines: Any, size: str) -> None:
    looks = style.looks(points["level"])
    for i, (level, part) in enumerate(points.groupby("level")):
        look, line = looks[level], lines[lines["level"] == level]
        shift = 1 + 0.02 * (i - (len(looks) - 1) / 2)  # levels of one size stand side by side
        dots = {
            "ls": "",
            "marker": look.marker,
            "color": look.colour,
            "mec": "white",
            "mew": 0.4,
            "alpha": 0.85,
        }
        ax.plot(part["x"] * shift, part["adjusted"], **dots)
        if len(line):
            ax.fill_between(
                line["x"], line["lower"], line["upper"], color=look.colour, alpha=0.13, lw=0
            )
            ax.plot(line["x"], line["estimate"], color=look.colour, ls=look.line)
    style.size_axis(ax, points["x"], size)
    ax.grid(axis="y")


def _name(ax: Any, points: Any, lines: Any) -> None:
    """The levels beside the ends of their lines, else beside their points."""
    looks, ends = style.looks(points["level"]), []
    for level, part in points.groupby("level"):
        line = lines[lines["level"] == level]
        x, y = (
            (line["x"].iloc[-1], line["estimate"].iloc[-1])
            if len(line)
            else (part["x"].max(), part["adjusted"].mean())
        )
        ends.append((x, y, level, looks[level].colour))
    if set(looks) != {""}:
        style.end_labels(ax, ends)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """How to read the points, and the slopes with their intervals."""
    found, said = tables["size_trend"], []
    for _, row in found["slopes"].iterrows():
        value = (
            f"{style.interval(row)} per tenfold size, {row['units']}"
            if not row["reason"]
            else row["reason"]
        )
        said.append(f"{row['outcome']}, {row['group']}: {value}")
    factors = sorted(
        {style.plain(str(f)).replace("_", " ") for f in found["points"]["factor"] if f}
    )
    each = (
        f", one for each level of {' or '.join(factors)} (the adjusting factor whose levels lie furthest apart)"
        if factors
        else ""
    )
    return (
        f"Lines: the fitted trend with its 95 % band{each}, over the sizes that occur; the slope is common to all. Points: "
        "configurations (means over seeds) as partial residuals, moved to the mix of the other factors that the lines stand for. "
        + "; ".join(said)
        + "."
        + style.cut_note(found["slopes"])
    )
