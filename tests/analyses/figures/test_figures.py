"""Every figure draws the tables of its analysis, says what is seen, and draws it again to the same
bytes.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from analyses import (
    acquisition_order,
    attribution,
    baselines,
    emergence,
    heads,
    held_out_size,
    population,
    relatedness,
    size_trend,
    transfer,
    variance_shares,
)
from analyses.figures import acquisition_order as acquisition_order_figure
from analyses.figures import (
    attribution_forest,
    delta_over_scale,
    emergence_curves,
    head_maps,
    held_out,
    onsets,
)
from analyses.figures import baselines as baselines_figure
from analyses.figures import population as population_figure
from analyses.figures import relatedness as relatedness_figure
from analyses.figures import size_trend as size_trend_figure
from analyses.figures import transfer as transfer_figure
from analyses.figures import variance_shares as variance_shares_figure
from tests.analyses import simulated
from transect.report import style

FIGURES = {
    "emergence_curves": emergence_curves,
    "onsets": onsets,
    "size_trend": size_trend_figure,
    "attribution_forest": attribution_forest,
    "variance_shares": variance_shares_figure,
    "held_out": held_out,
    "head_maps": head_maps,
    "baselines": baselines_figure,
    "population": population_figure,
    "acquisition_order": acquisition_order_figure,
    "transfer": transfer_figure,
    "delta_over_scale": delta_over_scale,
    "relatedness": relatedness_figure,
}
# a number or a word that the caption of the simulated study has to say
SAID = {
    "emergence_curves": "at the last checkpoint",
    "onsets": "not reached in any of",
    "size_trend": "per tenfold size",
    "attribution_forest": "not identifiable: suite",
    "variance_shares": "items",
    "held_out": "held-out configurations inside",
    "head_maps": "layer 1, head 1",
    "baselines": "over 2gram",
    "population": "78 runs in 39 configurations",
    "acquisition_order": "attractor - simple",
    "transfer": "not judged: family",
    "delta_over_scale": "in the group that was left out",
    "relatedness": "the star is the tree",
}


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, pd.DataFrame]]:
    registry = simulated.registry()
    measured = simulated.measurements(registry, n_items=8)
    correct = {"measure": "minimal_pair", "metric": "correct", "name": "agreement"}
    prefix = {
        "measure": "induction",
        "metric": "prefix_matching",
        "reduce": "max_head",
        "name": "prefix matching",
        "by": ["architecture", "corpus_variant"],
    }
    heads_only = {k: v for k, v in prefix.items() if k != "by"}
    interacting = ["architecture", "corpus_variant", "architecture:corpus_variant"]
    chosen = {
        emergence: [
            correct | {"threshold": 0.75, "chance": 0.5, "by": ["architecture"]},
            prefix | {"threshold": 0.4},
        ],
        size_trend: [correct | {"by": ["architecture"]}, prefix],
        attribution: [
            correct | {"items": True, "influence": [], "factors": ["architecture", "suite"]},
            heads_only | {"factors": interacting, "influence": ["d_model"]},
        ],
        variance_shares: [correct | {"items": True, "factors": ["architecture", "log2(d_model)"]}],
        held_out_size: [correct, prefix],
        baselines: [
            correct | {"match": ["word_order", "marking"], "by": ["item_condition"], "chance": 0.5}
        ],
        acquisition_order: [correct | {"sets": "item_condition", "by": ["word_order"]}],
        heads: [prefix | {"against": "uniform_attention"}],
        transfer: [
            correct | {"factors": ["architecture", "word_order"]},
            heads_only | {"factors": interacting},
        ],
        relatedness: [correct, heads_only],
    }
    found = {
        unit.__name__.split(".")[-1]: unit.tables(measured, registry, outcomes=outcomes)
        for unit, outcomes in chosen.items()
    }
    return found | {"population": population.tables(measured, registry)}


@pytest.mark.parametrize("name", FIGURES)
def test_drawn_again_the_bytes_are_the_same(name: str, tables: dict, tmp_path: Path) -> None:
    """SVG, PDF and PNG of two drawings from the same tables."""
    pairs = [
        style.save(FIGURES[name].figure(tables), tmp_path / side / name) for side in ("a", "b")
    ]
    for one, other in zip(*pairs, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


@pytest.mark.parametrize("name", FIGURES)
def test_caption_says_what_is_seen(name: str, tables: dict) -> None:
    """In words, with the numbers of the tables."""
    caption = FIGURES[name].caption(tables)
    assert SAID[name] in caption
    assert "nan" not in caption and caption.endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_needs_names_the_tables_that_are_read(name: str, tables: dict) -> None:
    """With the tables of NEEDS alone it draws."""
    FIGURES[name].figure({need: tables[need] for need in FIGURES[name].NEEDS})


@pytest.mark.parametrize("name", FIGURES)
def test_tables_from_files_say_and_draw_the_same(name: str, tables: dict, tmp_path: Path) -> None:
    """Every table survives parquet, and caption and picture do not change by it."""
    read: dict[str, dict[str, pd.DataFrame]] = {}
    for need in FIGURES[name].NEEDS:
        read[need] = {}
        for table, frame in tables[need].items():
            frame.to_parquet(tmp_path / f"{table}.parquet")
            read[need][table] = pd.read_parquet(tmp_path / f"{table}.parquet")
    assert FIGURES[name].caption(read) == FIGURES[name].caption(tables)
    drawn = [
        style.save(FIGURES[name].figure(t), tmp_path / side)[0]
        for side, t in (("a", tables), ("b", read))
    ]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_that_measured_nothing_has_its_figures(name: str) -> None:
    """Empty tables: a figure that says so, and a caption."""
    registry = simulated.registry()
    nothing = simulated.measurements(registry[:1], n_items=1).iloc[:0]
    outcome = {"measure": "induction", "metric": "prefix_matching"}
    own = {
        emergence: {"threshold": 0.5},
        attribution: {"factors": ["architecture"]},
        variance_shares: {"factors": ["architecture"]},
        transfer: {"factors": ["architecture"]},
    }
    units = [
        emergence,
        size_trend,
        attribution,
        variance_shares,
        held_out_size,
        baselines,
        acquisition_order,
        heads,
        transfer,
        relatedness,
    ]
    found = {
        unit.__name__.split(".")[-1]: unit.tables(
            nothing, registry, outcomes=[outcome | own.get(unit, {})]
        )
        for unit in units
    }
    found["population"] = population.tables(nothing, registry)
    assert FIGURES[name].caption(found).endswith(".")
    FIGURES[name].figure(found).canvas.draw()


def test_runs_of_unknown_size_have_no_place(tables: dict) -> None:
    """A model behind an interface: unknown size and tokens are not drawn, are counted in the
    caption, and stop nothing.
    """
    known, numbers = (
        tables["population"],
        ["params_total", "params_non_embedding", "tokens_measured"],
    )
    for unknown, n in (
        (["params_total"], 1),
        (["tokens_measured", "train_tokens"], 1),
        (["params_total"], None),
    ):
        runs = known["runs"].astype(dict.fromkeys(numbers, "Int64"))
        runs.loc[runs.index[:n], [c for c in unknown if c in runs]] = pd.NA
        told = {"population": known | {"runs": runs}}
        absent = n or (runs["role"] != "baseline").sum()
        assert f"Not drawn: {absent} of unknown size or tokens." in population_figure.caption(told)
        population_figure.figure(told).canvas.draw()
    assert "Not drawn" not in population_figure.caption(tables)


def test_no_factors_are_no_error(tables: dict) -> None:
    """`factors: []` in the population and in attribution: tables and figures are made, and no level
    is spoken of.
    """
    registry = simulated.registry()
    outcome = {
        "measure": "induction",
        "metric": "prefix_matching",
        "reduce": "max_head",
        "factors": [],
    }
    measured = simulated.measurements(registry, n_items=1)
    found = {
        "population": population.tables(measured, registry, factors=[]),
        "attribution": attribution.tables(measured, registry, outcomes=[outcome]),
    }
    assert found["attribution"]["effects"].empty and len(found["attribution"]["means"]) == 1
    for name in ("population", "attribution_forest"):
        assert FIGURES[name].caption(found).endswith(".")
        FIGURES[name].figure(found).canvas.draw()
    assert "per level" in FIGURES["population"].caption(tables) and "per level" not in FIGURES[
        "population"
    ].caption(found)


def test_the_population_figure_says_what_it_is_drawn_by(tables: dict) -> None:
    """By training tokens; by language where nobody knows the tokens, and the caption says so."""
    known = tables["population"]
    runs = known["runs"].assign(tokens_measured=np.nan, train_tokens=np.nan)
    unknown = {"population": known | {"runs": runs}}
    assert population_figure.caption(unknown).startswith("Every run by size and language (")
    tokens = known["runs"].assign(tokens_measured=np.arange(len(runs)) + 1.0)
    told = {"population": known | {"runs": tokens}}
    assert population_figure.caption(told).startswith("Every run by size and training tokens (")


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_the_page_or_covers_another(name: str, tables: dict) -> None:
    """Every visible text lies on the page, and no two overlap by more than a tenth of the smaller
    one.
    """
    figure = FIGURES[name].figure(tables)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = []
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    shown = {id(tick.label1) for axis in axes for tick in axis._update_ticks()}
    hidden = {
        id(label)
        for axis in axes
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    } - shown
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            boxes.append((text.get_text(), Text.get_window_extent(text, renderer)))
    page = figure.bbox.padded(2)
    for i, (label, box) in enumerate(boxes):
        assert (
            page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        ), f"'{label}' leaves the page"
        for other, second in boxes[:i]:
            width = min(box.x1, second.x1) - max(box.x0, second.x0)
            height = min(box.y1, second.y1) - max(box.y0, second.y0)
            covered = (
                max(width, 0)
                * max(height, 0)
                / min(box.width * box.height, second.width * second.height)
            )
            assert covered < 0.1, f"'{label}' covers '{other}'"
