"""Figures of one fitted table: what a reader of residuals, of random effects and of effects looks
at first. Nothing is fitted here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from transect.errors import InputError
from transect.report import style
from transect.stats.mixed.least_squares import LeastSquaresFit
from transect.stats.mixed.random_effects import conditional_modes
from transect.stats.table.information import scaled_residuals
from transect.stats.table.table_model import TableModel
from transect.stats.table.table_prediction import predictions

MOST_LEVELS = 60  # of a caterpillar: more levels are drawn without their names
MOST_POINTS = 5000  # residuals drawn, evenly chosen in the order of the fitted values


def write_plots(model: TableModel, folder: Path) -> list[Path]:
    """residuals, effects and, of a mixed model, random_effects, each as SVG, PDF and PNG; the files
    written.
    """
    figures = {"residuals": residual_figure(model), "effects": effects_figure(model)}
    if not isinstance(model.fit, LeastSquaresFit):
        figures["random_effects"] = random_effects_figure(conditional_modes(model.fit))
    written: list[Path] = []
    try:
        for name, figure in figures.items():
            written += style.save(figure, folder / name)
    except OSError as error:
        raise InputError(f"--plots {folder}: this cannot be written ({error.strerror})") from None
    return written


@style.styled
def residual_figure(model: TableModel) -> Figure:
    """Scaled residuals against fitted values, and against the quantiles of a normal distribution."""
    figure, (left, right) = style.panels(2, columns=2, height=2.6)
    scaled, fitted = scaled_residuals(model), predictions(model, model.rows)[".fitted"].to_numpy()
    order = np.argsort(fitted, kind="stable")
    shown = order[
        np.unique(np.linspace(0, len(order) - 1, min(MOST_POINTS, len(order))).astype(int))
    ]
    dots: Any = {
        "ls": "",
        "marker": "o",
        "ms": 2.2,
        "mew": 0,
        "alpha": 0.5,
        "color": style.COLOURS[0],
    }
    left.plot(fitted[shown], scaled[shown], **dots)
    left.axhline(0, color=style.GREY, lw=0.8)
    kind = "Pearson residual" if model.family == "binomial" else "residual / residual SD"
    left.set(
        xlabel="fitted probability" if model.family == "binomial" else "fitted value", ylabel=kind
    )
    left.set_title("Residuals by fitted value")
    ordered = np.sort(scaled)[
        np.unique(np.linspace(0, len(scaled) - 1, min(MOST_POINTS, len(scaled))).astype(int))
    ]
    expected = stats.norm.ppf((np.arange(len(ordered)) + 0.5) / len(ordered))
    ends = np.array([expected[0], expected[-1]])
    right.plot(ends, ends, color=style.GREY, lw=0.8)
    right.plot(expected, ordered, **dots)
    right.set(xlabel="normal quantile", ylabel=kind)
    right.set_title("Residuals by normal quantile")
    return figure


@style.styled
def effects_figure(model: TableModel) -> Figure:
    """Every effect but the intercept with its 95 % interval, over the standard deviation of its
    column: one scale for all.
    """
    effects = model.effects[model.effects["term"] != "(Intercept)"]
    sizes = np.maximum(model.design.matrix(model.rows).std(0)[effects.index.to_numpy()], 1e-300)
    figure, (ax,) = style.panels(1, columns=1, height=max(1.2, 0.22 * len(effects) + 0.7))
    _intervals(
        ax,
        effects[["estimate", "lower", "upper"]].to_numpy() * sizes[:, None],
        list(effects["term"]),
    )
    ax.axvline(0, color=style.GREY, lw=0.8)
    what = "logits" if model.family == "binomial" else model.formula.response
    ax.set_xlabel(f"{what}, for one standard deviation of the column")
    ax.set_title("Fixed effects, 95 % intervals")
    return figure


@style.styled
def random_effects_figure(modes: pd.DataFrame) -> Figure:
    """A caterpillar of each grouping and effect: conditional modes in order, +- 1.96 standard
    errors.
    """
    parts = list(modes.groupby(["group", "effect"], sort=False))
    tallest = max(min(len(part), MOST_LEVELS) for _, part in parts)
    height = max(1.6, 0.13 * tallest + 0.7)
    figure, axes = style.panels(len(parts), columns=2, height=height)
    for ax, ((group, effect), part) in zip(axes, parts, strict=True):
        part = part.sort_values("mode")
        mode, half = part["mode"], 1.96 * part["se"]
        ends = np.column_stack([mode, mode - half, mode + half])
        names = list(part["level"]) if len(part) <= MOST_LEVELS else None
        _intervals(ax, ends, names)
        ax.axvline(0, color=style.GREY, lw=0.8)
        ax.set_xlabel("deviation from the fixed effects")
        ax.set_title(f"{effect} by {group} ({len(part)} levels)")
    return figure


def _intervals(ax: Axes, ends: np.ndarray, names: list[str] | None) -> None:
    """Estimates with their intervals [row, (estimate, lower, upper)], the first at the top."""
    places = np.arange(len(ends))[::-1]
    ax.hlines(places, ends[:, 1], ends[:, 2], color=style.COLOURS[0], lw=1)
    ax.plot(
        ends[:, 0], places, ls="", marker="o", ms=3, color=style.COLOURS[0], mec="white", mew=0.3
    )
    ax.set_yticks(places if names is not None else [], labels=names)
    ax.set_ylim(-0.7, len(ends) - 0.3)
    ax.grid(axis="x")
