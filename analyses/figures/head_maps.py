"""Head maps: layer by head, one small map per checkpoint, one row of maps per group's clearest run."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from transect.report import style

NEEDS = ["heads"]

MOST = 8  # checkpoints shown: first, last and others evenly between them
HEADING = 0.14  # inches above the first map, whose heading takes no part in the layout
UNKNOWN = "; by the checkpoint's name where they are unknown"


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws heads.maps; one colour scale per outcome, the best head of each map framed and its
    score written.
    """
    maps, tests = tables["heads"]["maps"], tables["heads"]["tests"]
    known = maps["tokens_seen"].notna()
    maps = maps.assign(place=maps["tokens_seen"].astype(object).where(known, maps["revision"]))
    rows = list(maps[["outcome", "group"]].drop_duplicates().itertuples(index=False, name=None))
    height = 0.5 + 0.92 * len(rows)
    room = ConstrainedLayoutEngine(h_pad=0.09, rect=(0, 0, 1, 1 - HEADING / height))
    figure = Figure(figsize=(style.PAGE, height), layout=room)
    FigureCanvasAgg(figure)
    places = {outcome: _spaced(part) for outcome, part in maps.groupby("outcome")}
    columns = max(map(len, places.values()))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    images: dict[str, Any] = {}
    for line, (outcome, group) in zip(axes, rows, strict=True):
        part = maps[(maps["outcome"] == outcome) & (maps["group"] == group)]
        top = max(maps.loc[maps["outcome"] == outcome, "value"].max(), 1e-9)
        of_run = tests[(tests["outcome"] == outcome) & tests["run"].isin(part["run"])]
        _marks(line[len(places[outcome]) - 1], of_run)
        for ax, place in zip(line, places[outcome], strict=False):
            images[outcome] = _map(ax, part[part["place"] == place], top)
            ax.annotate(
                place if isinstance(place, str) else style.short(float(f"{place:.2g}")),
                (0.5, 1),
                xytext=(0, 2),
                textcoords="offset points",
                xycoords="axes fraction",
                ha="center",
                fontsize=6,
            )
        for ax in line[len(places[outcome]) :]:
            ax.remove()
        # wider than its map, so it takes no part in the layout, which would push the second map
        # away
        heading = {
            "xytext": (0, 11),
            "textcoords": "offset points",
            "xycoords": "axes fraction",
            "fontsize": 7.5,
            "fontweight": "bold",
        }
        line[0].annotate(f"{outcome}: {group}", (0, 1), **heading).set_in_layout(False)
        line[0].set_ylabel("layer", fontsize=6)
    for outcome, image in images.items():
        of_outcome = [
            ax
            for line, (name, _) in zip(axes, rows, strict=True)
            if name == outcome
            for ax in line[: len(places[outcome])]
        ]
        figure.colorbar(
            image,
            ax=of_outcome,
            label=outcome if len(images) > 1 else "score",
            shrink=0.9,
            aspect=25,
            pad=0.01,
        )
    figure.supxlabel(
        f"head (columns), by training tokens (maps{'' if known.all() else UNKNOWN})", fontsize=7
    )
    return figure


def _spaced(part: Any) -> list[float | str]:
    """Where checkpoints stand: at their training tokens, or by their names, in the order of their
    steps.
    """
    every = (
        part.sort_values(["tokens_seen", "step"], kind="stable")["place"].drop_duplicates().tolist()
    )
    return [
        every[i]
        for i in np.unique(
            np.linspace(0, len(every) - 1, min(MOST, len(every))).round().astype(int)
        )
    ]


def _map(ax: Any, part: Any, top: float) -> Any:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")
    grid = part.pivot_table(index="layer", columns="head", values="value")
    image = ax.imshow(
        grid.to_numpy(),
        cmap="cividis",
        vmin=0,
        vmax=top,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    if grid.size:
        layer, head = np.unravel_index(np.nanargmax(grid.to_numpy()), grid.shape)
        value = grid.to_numpy()[layer, head]
        ax.set_xlabel(f"{value:.2f}", fontsize=5.5, labelpad=1)
        if value > 0.5 * top:
            ax.add_patch(
                Rectangle(
                    (head - 0.5, layer - 0.5),
                    1,
                    1,
                    fill=False,
                    ec=style.COLOURS[1],
                    lw=1.2,
                    clip_on=False,
                )
            )
    if ax.get_subplotspec().is_first_col():
        ax.set_yticks(range(len(grid)), [f"{int(i)}" for i in grid.index], fontsize=5)
    return image


def _marks(ax: Any, tests: Any) -> None:
    """Dots on the heads of the last map that survive family-wise, rings on those that survive in
    the tree only.
    """
    for _, head in tests[tests["family_wise"].eq(True) | tests["tree"].eq(True)].iterrows():
        inside = "white" if head["family_wise"] else "none"
        ax.plot(
            [head["head"]],
            [head["layer"]],
            marker="o",
            ms=3.4,
            color=inside,
            mec="black",
            mew=0.8,
            zorder=5,
        )


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The best head of each run shown, beside the next best."""
    top = tables["heads"]["top"]
    shown = (
        top.sort_values("value", ascending=False)
        .groupby(["outcome", "group"], sort=True)
        .head(1)
        .sort_values(["outcome", "group"])
    )
    said = [
        f"{r['outcome']}, {r['group']}: layer {int(r['layer'])}, head {int(r['head'])} of {r['run']} with "
        f"{style.number(r['value'])} (next best {style.number(r['next_best'])})"
        for _, r in shown.iterrows()
    ]
    return (
        "Score of every head at several checkpoints, in the run of each group where it ends highest (a choice, not a mean); "
        "below each map its largest score. "
        + "; ".join(said)
        + "."
        + _tested(tables["heads"]["tests"])
    )


def _tested(tests: Any) -> str:
    """How many heads survive, and under which rule."""
    said = []
    for outcome, part in tests.groupby("outcome", sort=False):
        one = part.iloc[0]
        null = f"{str(one['against']).replace('_', ' ')} by more than {style.number(one['margin'])}"
        counts = [part.groupby("run")[c].any().sum() for c in ("family_wise", "tree")]
        said.append(
            f" {outcome}, in the last map: dots, heads that exceed {null} (max-T in each map, any false head at most 5 %: "
            f"{int(part['family_wise'].sum())} of {len(part)} heads, in {counts[0]} of {part['run'].nunique()} runs); rings, in addition "
            f"those found by tree BH over runs, layers and heads at 5 % ({int(part['tree'].sum())} heads, in {counts[1]} runs). "
            f"{one['rule'].split(';')[0].capitalize()}."
        )
    return "".join(said)
