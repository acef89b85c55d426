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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from transect.report.claims import SYMBOLS, claims_view, verdict_counts
from transect.report.figures import Figure, embed
from transect.report.grid import grid_view
from transect.report.tables import Table, as_text, count, table_view
from transect.store.files.whole_files import write_text
from transect.store.project import SHIPPED

__all__ = ["Figure", "ReportData", "Section", "Table", "render"]

TEMPLATES = SHIPPED / "workflow" / "report"
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
ROLES = ("population", "baseline", "held_out")
LEVELS_SHOWN = 12  # a factor with more levels is better read in the table of runs
AMOUNTS_SHOWN = 5  # the same of a number


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
    holes = Table(grid["holes"], "Every hole in the grid, by reason")
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
        "holes": table_view(ids("holes"), holes, full=grid["full"]),
        "sections": [_section(section, figures, ids) for section in data.sections],
        "provenance": [
            _provenance(heading, part, ids) for heading, part in data.provenance.items()
        ],
    }


def _section(section: Section, figures: Iterator[dict[str, Any]], ids: "_Ids") -> dict[str, Any]:
    """One question: takes as many of the embedded figures as the section has."""
    return {
        "id": ids(section.title),
        "title": section.title,
        "question": section.question,
        "text": section.text,
        "figures": [next(figures) for _ in section.figures],
        "tables": [
            table_view(ids(name), _table(name, frame)) for name, frame in section.tables.items()
        ],
    }


def _population(data: ReportData, figures: list[dict], ids: "_Ids") -> dict[str, Any]:
    """Counts by role, levels of every factor that varies, the table of runs, what was left out and
    what is aliased.
    """
    registry = _ordered_registry(data.registry)
    shared = _shared_values(registry)
    runs = Table(registry.drop(columns=list(shared)), "Every run of this study")
    unknown = [name for name, value in shared.items() if value in ("", "unknown")]
    return {
        "roles": {role: int((registry["role"] == role).sum()) for role in ROLES},
        "runs": len(registry),
        "factors": _factors(registry),
        "constant": [(_spaced(c), v) for c, v in shared.items() if c not in unknown],
        "unknown": [_spaced(column) for column in unknown],
        "figures": figures,
        **_not_sampled(data.not_sampled, ids),
        "table": table_view(ids("runs"), runs),
        **_design(data.design),
    }


def _ordered_registry(registry: pd.DataFrame) -> pd.DataFrame:
    """The runs with the best known columns first. Raises ValueError for a column that lacks, or an
    unknown role.
    """
    for column in ("run", "role"):
        if column not in registry:
            raise ValueError(
                f"The registry of a report needs the column {column}; given: {', '.join(map(str, registry))}."
            )
    unknown = sorted(set(registry["role"]) - set(ROLES))
    if unknown:
        raise ValueError(f"Role {unknown[0]!r} is not one of {', '.join(ROLES)}.")
    first = [c for c in REGISTRY_FIRST if c in registry]
    return registry[first + [c for c in registry if c not in REGISTRY_FIRST]]


def _shared_values(registry: pd.DataFrame) -> dict[str, str]:
    """Column -> its value, where all of several runs have the same."""
    if len(registry) < 2:
        return {}
    # compared as texts: a cell may hold a list
    return {
        column: as_text(registry[column].iloc[0])
        for column in _descriptions(registry)
        if registry[column].astype(object).map(as_text).nunique() == 1
    }


def _descriptions(registry: pd.DataFrame) -> list[str]:
    """The columns that describe a run."""
    return [str(c) for c in registry if c not in ("run", "role")]


def _factors(registry: pd.DataFrame) -> list[dict[str, Any]]:
    """How many runs have each level, of all factors of which that is worth showing."""
    counted = (_factor(column, registry[column]) for column in _descriptions(registry))
    return [factor for factor in counted if factor is not None]


def _not_sampled(not_sampled: pd.DataFrame | str | None, ids: "_Ids") -> dict[str, Any]:
    """What the registry has and the study does not sample: a table, or a sentence."""
    table = None
    if isinstance(not_sampled, pd.DataFrame):
        table = table_view(ids("not sampled"), Table(not_sampled, "In the registry, not sampled"))
    return {
        "not_sampled_table": table,
        "not_sampled_text": not_sampled if isinstance(not_sampled, str) else "",
    }


def _design(design: Mapping[str, Any]) -> dict[str, Any]:
    """Degrees of freedom, sentences on aliases, and everything else that is said of the design."""
    others = {k: v for k, v in design.items() if k not in ("residual_df", "aliases")}
    return {
        "residual_df": _pairs(design.get("residual_df")),
        "aliases": list(design.get("aliases", ())),
        "design": [(_spaced(k), as_text(v)) for k, v in others.items()],
    }


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _factor(name: str, values: pd.Series) -> dict[str, Any] | None:
    """How many runs have each level; None where nothing varies, or so much that the table of runs
    says it better.
    """
    levels = _level_names(values)
    known = levels[levels != ""].nunique()
    most = AMOUNTS_SHOWN if pd.api.types.is_numeric_dtype(values) else LEVELS_SHOWN
    if not 2 <= known <= most or known == len(levels):
        return None
    counts = levels.replace("", "unknown").value_counts(sort=False)
    return {
        "factor": _spaced(name),
        "levels": [(level, int(n)) for level, n in counts.items()],
    }


def _level_names(values: pd.Series) -> pd.Series:
    """The levels as texts, whole numbers as amounts; "" for what is absent."""
    numeric = pd.api.types.is_numeric_dtype(values)
    if not numeric or not all(float(v).is_integer() for v in values.dropna()):
        return values.astype(object).map(as_text)
    return values.astype(object).map(lambda v: as_text(v) if pd.isna(v) else count(int(v)))


def _provenance(heading: str, part: Any, ids: "_Ids") -> dict[str, Any]:
    """A part of the provenance: a table, a list of facts, or a sentence; the other two are empty."""
    key, table, facts = ids("provenance " + heading), None, []
    if isinstance(part, pd.DataFrame | Table):
        table = table_view(ids(heading), _table(heading, part))
    elif isinstance(part, Mapping):
        facts = [(str(k), as_text(v)) for k, v in part.items()]
    return {
        "id": key,
        "heading": heading,
        "table": table,
        "facts": facts,
        "text": part if isinstance(part, str) else "",
    }


def _all_figures(data: ReportData) -> list[Figure]:
    return [
        *data.population_figures,
        *(figure for section in data.sections for figure in section.figures),
    ]


def _table(name: str, part: pd.DataFrame | Table) -> Table:
    return part if isinstance(part, Table) else Table(part, _spaced(name).capitalize())


def _pairs(value: Any) -> list[tuple[str, str]]:
    """A number or {level: number} as (level, text) pairs; the level is empty for a bare number."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(str(k), as_text(v)) for k, v in value.items()]
    return [("", as_text(value))]


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
