"""Outcome by size: configurations as points, the fitted trend of each group with its band."""

from typing import Any

from matplotlib.figure import Figure

from transect import figure_style as style

NEEDS = ["size_trend"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws size_trend.points and size_trend.lines; groups where there are any, else all configurations."""
    found = tables["size_trend"]
    outcomes = list(found["slopes"]["outcome"].unique())
    figure, axes = style.panels(len(outcomes))
    for ax, outcome in zip(axes, outcomes, strict=True):
        points, lines = (found[name][found[name]["outcome"] == outcome] for name in ("points", "lines"))
        groups = [g for g in points["group"].unique() if g != "all"] or ["all"]
        _panel(ax, points[points["group"].isin(groups)], lines)
        ax.set_title(outcome)
    return figure


def _panel(ax: Any, points: Any, lines: Any) -> None:
    looks = style.looks(points["group"])
    ends = []
    for i, (group, part) in enumerate(points.groupby("group")):
        look, line = looks[group], lines[lines["group"] == group]
        shift = 1 + 0.035 * (i - (len(looks) - 1) / 2)  # groups of one size stand side by side
        ax.plot(
            part["x"] * shift,
            part["value"],
            ls="",
            marker=look.marker,
            color=look.colour,
            mec="white",
            mew=0.4,
            alpha=0.85,
        )
        if len(line):
            ax.fill_between(line["x"], line["lower"], line["upper"], color=look.colour, alpha=0.13, lw=0)
            ax.plot(line["x"], line["estimate"], color=look.colour, ls=look.line)
        x, y = (line["x"].iloc[-1], line["estimate"].iloc[-1]) if len(line) else (part["x"].max(), part["value"].mean())
        ends.append((x, y, group, look.colour))
    style.size_axis(ax, points["x"], points["size"].iloc[0])
    ax.grid(axis="y")
    if set(looks) != {"all"}:
        style.end_labels(ax, ends)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The slopes with their intervals."""
    said = []
    for _, row in tables["size_trend"]["slopes"].iterrows():
        value = f"{style.interval(row)} per tenfold size, {row['units']}" if not row["reason"] else row["reason"]
        said.append(f"{row['outcome']}, {row['group']}: {value}")
    return (
        "Configurations (means over seeds) by size, with the fitted trend and its 95 % band. " + "; ".join(said) + "."
    )
