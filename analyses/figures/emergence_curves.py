"""Curves over training: one panel per outcome, one line per group, a 95 % band, the threshold and
chance.
"""

from typing import Any

from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["emergence"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws emergence.curves."""
    curves = tables["emergence"]["curves"]
    outcomes = list(curves["outcome"].unique())
    figure, axes = style.panels(len(outcomes))
    for ax, outcome in zip(axes, outcomes, strict=True):
        _panel(ax, curves[curves["outcome"] == outcome])
        ax.set_title(outcome)
    return figure


def _panel(ax: Any, part: Any) -> None:
    at = style.token_axis(ax, part["tokens_seen"])
    looks = style.looks(part["group"])
    ends = []
    for i, (group, line) in enumerate(part.groupby("group")):
        look, x = looks[group], at(line["tokens_seen"])
        after = (line["tokens_seen"] > 0).to_numpy()
        ax.fill_between(
            x[after],
            line["lower"][after],
            line["upper"][after],
            color=look.colour,
            alpha=0.13,
            lw=0,
        )
        ax.plot(
            x[after],
            line["estimate"][after],
            color=look.colour,
            ls=look.line,
            marker=look.marker,
            mec="white",
            mew=0.4,
        )
        if not after.all():  # before training: a point of its own, left of the break
            start, beside = (
                line[~after],
                (i - (len(looks) - 1) / 2) * 0.07 / len(looks),
            )  # groups stand side by side
            bar = {
                "color": look.colour,
                "marker": look.marker,
                "mec": "white",
                "mew": 0.4,
                "lw": 0.8,
            }
            sides = [start["estimate"] - start["lower"], start["upper"] - start["estimate"]]
            ax.errorbar(x[~after] + beside, start["estimate"], sides, **bar)
        ends.append((x[-1], line["estimate"].iloc[-1], group, look.colour))
    ax.grid(axis="y")
    first = part.iloc[0]
    left, right = (
        ax.get_xlim()
    )  # the names stand where curves rarely run: early above, late at chance
    for name, dashes, x, side in (
        ("threshold", (0, (4, 2)), left, "left"),
        ("chance", (0, (1, 2)), right, "right"),
    ):
        if first[name] is not None and first[name] == first[name]:
            ax.axhline(first[name], color=style.GREY, lw=0.7, ls=dashes, zorder=0)
            ax.annotate(
                name,
                (x, first[name]),
                xytext=(0, 1.5),
                textcoords="offset points",
                fontsize=5.5,
                color=style.GREY,
                ha=side,
            )
    style.end_labels(ax, ends)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """What each curve reaches, with its interval."""
    curves = tables["emergence"]["curves"]
    said = []
    for outcome, part in curves.groupby("outcome", sort=False):
        last = part.sort_values("tokens_seen").groupby("group").tail(1).sort_values("group")
        reached = "; ".join(
            f"{row['group']} {style.interval(row)} ({row['units']})" for _, row in last.iterrows()
        )
        said.append(f"{outcome} at the last checkpoint: {reached}.")
    seen = "Means over training with 95 % intervals over configurations (none where there are fewer than three). Left of the break: before training."
    return " ".join([seen, *said])
