"""Shares of variance: one bar per outcome, its parts labelled; hatching beside colour."""

from typing import Any

from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["variance_shares"]

OTHER = [
    "configurations",
    "configurations beyond these factors",
    "seeds",
    "items",
    "items × models, noise",
]
GREYS = dict(zip(OTHER, ["#555555", "#555555", "#8c8c8c", "#bdbdbd", "#e6e6e6"], strict=True))
WIDE = 0.035  # a part narrower than this share of the bar has no room for its number


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws variance_shares.shares."""
    shares = tables["variance_shares"]["shares"]
    outcomes = list(shares["outcome"].unique())
    shares = shares[shares["estimate"] > 0]
    factors = [c for c in shares["component"].unique() if c not in OTHER]
    looks = style.looks(factors)
    figure, (ax,) = style.panels(1, height=1.0 + 0.38 * len(outcomes))
    handles: dict[str, Any] = {}
    for y, outcome in enumerate(outcomes):
        left = 0.0
        for name in [*factors, *OTHER]:
            width = shares.loc[
                (shares["outcome"] == outcome) & (shares["component"] == name), "estimate"
            ].sum()
            if width == 0:
                continue
            colour = GREYS.get(name) or looks[name].colour
            hatch = "" if name in GREYS else looks[name].hatch
            handles[name] = ax.barh(
                y,
                width,
                left=left,
                height=0.66,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                lw=0.6,
            )
            if width > WIDE:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.9, "alpha": 0.9}
                ax.text(
                    left + width / 2,
                    y,
                    f"{100 * width:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=6,
                    bbox=box,
                )
            left += width
    ax.set_xlim(0, 1)
    ax.set_ylim(len(outcomes) - 0.5, -0.5)
    ax.set_yticks(range(len(outcomes)), outcomes)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    ax.set_xlabel("share of the variance")
    names = [n for n in [*factors, *OTHER] if n in handles]
    labels = [" × ".join(part.replace("_", " ") for part in n.split(":")) for n in names]
    shown: list[Any] = [handles[n] for n in names]
    figure.legend(
        shown, labels, loc="outside lower center", ncols=4, handlelength=1.6, handleheight=1.1
    )
    return figure


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The shares above one per cent with their jackknife intervals."""
    said = []
    for outcome, part in tables["variance_shares"]["shares"].groupby("outcome", sort=False):
        shown = part[part["estimate"] >= 0.01].sort_values("estimate", ascending=False)
        parts = [
            f"{style.plain(r['component'])} {100 * r['estimate']:.0f} % [{100 * r['lower']:.0f}, {100 * r['upper']:.0f}]"
            for _, r in shown.iterrows()
        ]
        units = shown["units"].iloc[0] if len(shown) else part["reason"].iloc[0]
        said.append(f"{outcome}: {', '.join(parts)} ({units})")
    return (
        "Shares of variance with 95 % jackknife intervals over configurations. "
        + ". ".join(said)
        + "."
    )
