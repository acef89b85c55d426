"""The report of one study: everything a reader sees, in one HTML file that fetches nothing.

render(ReportData) = template(claims, population, grid, sections, provenance) with style, script and
figures inlined. The page is a function of its inputs: no clock, no host name, no random id enters
it, so equal inputs give equal bytes. It computes nothing but counts of rows; every other number
comes from the result tables it is given.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from transect.files import write_text
from transect.report.claims import SYMBOLS, claims_view, verdict_counts
from transect.report.figures import Figure, embed
from transect.report.grid import grid_view
from transect.report.tables import Table, as_text, count, table_view

__all__ = ["Figure", "ReportData", "Section", "Table", "render"]

TEMPLATES = Path(__file__).resolve().parents[3] / "workflow" / "report"
REGISTRY_FIRST = [
    "run",
    "role",
    "suite",
    "family",
    "configuration",
    "architecture",
    "objective",
    "mixer",
    "language",
]
LEVELS_SHOWN, AMOUNTS_SHOWN = (
    12,
    5,
)  # a factor with more levels is better read in the table of runs; so is a number


@dataclass(frozen=True)
class Section:
    """One question and its answer: prose, then figures, then tables (a bare DataFrame is captioned
    by its name).
    """

    title: str
    question: str = ""
    text: str = ""  # paragraphs are separated by an empty line; `code` in backticks
    figures: Sequence[Figure] = ()
    tables: Mapping[str, pd.DataFrame | Table] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportData:
    """What the page shows, top to bottom. Frames are read, never changed.

    claims      claim, verdict (supported | rejected | unresolved | not identifiable | cannot be judged), estimate, lower, upper, units
                (behind it: "11 runs in 4 families"), reason; optional: unit (of the estimate),
                region_lower and region_upper (the claimed region, +-inf where open: drawn beside
                the interval), sentence (to paste)
    registry    one row per run: run, role (population | baseline | held_out), suite and any factor
    not_sampled counts by suite of what the registry has that this study did not sample (a frame, or
    one sentence)
    design      residual_df (a number, or {level: number}), aliases (sentences), any further named number or sentence
    grid        one row per cell: run, measure, stimuli, entry (its name, where it stands twice), revision, step, state, reason, error
    provenance  {heading: frame, mapping of facts, or sentence}
    """

    name: str
    title: str
    question: str
    claims: pd.DataFrame
    registry: pd.DataFrame
    grid: pd.DataFrame
    summary: Sequence[str] = ()
    not_sampled: pd.DataFrame | str | None = None
    design: Mapping[str, Any] = field(default_factory=dict)
    population_figures: Sequence[Figure] = ()
    sections: Sequence[Section] = ()
    provenance: Mapping[str, pd.DataFrame | Table | Mapping[str, Any] | str] = field(
        default_factory=dict
    )


def render(data: ReportData, out: Path, templates: Path = TEMPLATES) -> None:
    """Write the page to `out`, whole or not at all. PDFs of figures are linked relative to `out`.

    Raises ValueError for a frame that lacks a column or names an unknown verdict, state or role,
    and for a figure without SVG.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["breakable"] = _breakable
    script = (templates / "report.js").read_text(encoding="utf-8")
    page = environment.get_template("template.html.j2").render(
        **_page(data, out.parent),
        style=Markup((templates / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_text(out, page)


def _page(data: ReportData, folder: Path) -> dict[str, Any]:
    """The template's variables, every text still unescaped: the template escapes."""
    figures = (embed(f, f"f{i}", folder) for i, f in enumerate(_all_figures(data), start=1))
    ids = _Ids()
    population = [next(figures) for _ in data.population_figures]
    grid = grid_view(data.grid, data.registry)
    return {
        "name": data.name,
        "title": data.title,
        "question": data.question,
        "summary": list(data.summary),
        "claims": claims_view(data.claims),
        "verdicts": verdict_counts(data.claims),
        "symbols": SYMBOLS,
        "population": _population(data, population, ids),
        "grid": grid,
        "grid_json": Markup(_json(grid["details"])),
        "holes": table_view(
            ids("holes"),
            Table(grid["holes"], "Every hole in the grid, by reason"),
            full=grid["full"],
        ),
        "sections": [
            {
                "id": ids(section.title),
                "title": section.title,
                "question": section.question,
                "text": section.text,
                "figures": [next(figures) for _ in section.figures],
                "tables": [
                    table_view(ids(name), _table(name, frame))
                    for name, frame in section.tables.items()
                ],
            }
            for section in data.sections
        ],
        "provenance": [
            _provenance(heading, part, ids) for heading, part in data.provenance.items()
        ],
    }


def _population(data: ReportData, figures: list[dict], ids: "_Ids") -> dict[str, Any]:
    """Counts by role, levels of every factor that varies, the table of runs, what was left out and
    what is aliased.
    """
    registry = data.registry.copy()
    for column in ("run", "role"):
        if column not in registry:
            raise ValueError(
                f"The registry of a report needs the column {column}; given: {', '.join(map(str, registry))}."
            )
    unknown = sorted(set(registry["role"]) - {"population", "baseline", "held_out"})
    if unknown:
        raise ValueError(f"Role {unknown[0]!r} is not one of population, baseline, held_out.")
    registry = registry[
        [c for c in REGISTRY_FIRST if c in registry]
        + [c for c in registry if c not in REGISTRY_FIRST]
    ]
    columns = [str(c) for c in registry if c not in ("run", "role")]
    # compared as texts: a cell may hold a list
    constant = [
        c
        for c in columns
        if len(registry) > 1 and registry[c].astype(object).map(as_text).nunique() == 1
    ]
    same = {c: as_text(registry[c].iloc[0]) for c in constant}
    left_out, design = data.not_sampled, dict(data.design)
    residual_df, aliases = design.pop("residual_df", None), design.pop("aliases", ())
    not_sampled = None
    if isinstance(left_out, pd.DataFrame):
        not_sampled = table_view(
            ids("not sampled"), Table(left_out, "In the registry, not sampled")
        )
    return {
        "roles": {
            role: int((registry["role"] == role).sum())
            for role in ("population", "baseline", "held_out")
        },
        "runs": len(registry),
        "factors": [f for c in columns if (f := _factor(c, registry[c]))],
        "constant": [(c.replace("_", " "), v) for c, v in same.items() if v not in ("", "unknown")],
        "unknown": [c.replace("_", " ") for c, v in same.items() if v in ("", "unknown")],
        "figures": figures,
        "table": table_view(
            ids("runs"), Table(registry.drop(columns=constant), "Every run of this study")
        ),
        "not_sampled_table": not_sampled,
        "not_sampled_text": left_out if isinstance(left_out, str) else "",
        "residual_df": _pairs(residual_df),
        "aliases": list(aliases),
        "design": [(k.replace("_", " "), as_text(v)) for k, v in design.items()],
    }


def _factor(name: str, values: pd.Series) -> dict[str, Any] | None:
    """How many runs have each level; None where nothing varies, or so much that the table of runs
    says it better.
    """
    amount = pd.api.types.is_numeric_dtype(values)
    whole = amount and all(float(v).is_integer() for v in values.dropna())
    names = values.astype(object).map(
        lambda v: count(int(v)) if whole and not pd.isna(v) else as_text(v)
    )
    known = names[names != ""].nunique()
    if not 2 <= known <= (AMOUNTS_SHOWN if amount else LEVELS_SHOWN) or known == len(names):
        return None
    counts = names.replace("", "unknown").value_counts(sort=False)
    return {
        "factor": name.replace("_", " "),
        "levels": [(level, int(n)) for level, n in counts.items()],
    }


def _provenance(heading: str, part: Any, ids: "_Ids") -> dict[str, Any]:
    """A part of the provenance: a table, a list of facts, or a sentence; the other two are empty."""
    is_table = isinstance(part, pd.DataFrame | Table)
    return {
        "id": ids("provenance " + heading),
        "heading": heading,
        "table": table_view(ids(heading), _table(heading, part)) if is_table else None,
        "facts": [(str(k), as_text(v)) for k, v in part.items()]
        if isinstance(part, Mapping)
        else [],
        "text": part if isinstance(part, str) else "",
    }


def _all_figures(data: ReportData) -> list[Figure]:
    return [
        *data.population_figures,
        *(figure for section in data.sections for figure in section.figures),
    ]


def _table(name: str, part: pd.DataFrame | Table) -> Table:
    return part if isinstance(part, Table) else Table(part, name.replace("_", " ").capitalize())


def _pairs(value: Any) -> list[tuple[str, str]]:
    """A number or {level: number} as (level, text) pairs; the level is empty for a bare number."""
    if value is None:
        return []
    return (
        [(str(k), as_text(v)) for k, v in value.items()]
        if isinstance(value, Mapping)
        else [("", as_text(value))]
    )


def _prose(text: str) -> Markup:
    """Paragraphs at empty lines and `code`, escaped first: no other markup passes."""
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    return Markup("\n").join(
        Markup("<p>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(p))) + "</p>")
        for p in paragraphs
    )


def _breakable(text: str) -> Markup:
    """Names may wrap after _ / and -, where a reader would break them."""
    return Markup(re.sub(r"([_/-])(?=.)", r"\1<wbr>", str(escape(text))))


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Ids:
    """Element ids: the name as letters, digits and hyphens, numbered where it came before."""

    def __init__(self) -> None:
        self.taken = {"question", "claims", "population", "grid", "provenance", "top"}

    def __call__(self, name: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        chosen, n = stem, 1
        while chosen in self.taken:
            n += 1
            chosen = f"{stem}-{n}"
        self.taken.add(chosen)
        return chosen
