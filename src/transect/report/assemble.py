"""The last step: result tables, figures, claims, grid and provenance -> one page."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError
from transect.registry.recipe import COST, weights_folder
from transect.report import codebook, page
from transect.report.claims import UNJUDGED
from transect.stats.design import factorial
from transect.stats.inference import verdict
from transect.store import cell_store, units
from transect.store.cell_store import FAILED, MEASURED, MISSING, Store
from transect.store.environment import environment
from transect.store.files import json_file
from transect.study import openings
from transect.study.analyses import Written, figures_of, options, read_analysis, read_figures
from transect.study.outcome import label
from transect.study.study_file import Study

FILES = {
    "figures": "figures/ (SVG, PDF, PNG)",
    "the numbers in them, and all other results": "tables/ANALYSIS/ (CSV, Parquet)",
    "what was measured": "measurements.parquet, grid.parquet, registry.parquet (as CSV too: transect run STUDY --csv)",
    "the items, with their sentences": "items/ (CSV, Parquet)",
    "what every column means, and its unit": "codebook.csv",
}
ALIASED = 0.2  # share of a term's variation that others may take before a reader is told


def report_data(study: Study) -> page.ReportData:
    """All that the page shows of a study."""
    grid = cell_store.read_table(study.results / "grid.parquet")
    runs = cell_store.read_table(study.results / "registry.parquet")
    drawn = read_figures(study)
    figures = _figures_by_analysis(study, drawn)
    specs = study.data["analyses"]
    analyses = {spec["analysis"]: read_analysis(study, spec["analysis"]) for spec in specs}
    tables = {name: written.tables for name, written in analyses.items()}
    claims = judged(study.data.get("claims", []), tables)
    return page.ReportData(
        name=study.name,
        title=study.data["title"],
        question=study.data["question"],
        claims=claims,
        registry=runs.drop(columns="last_revision"),
        grid=grid.assign(error=grid["reason"].where(grid["state"] == FAILED, "")),
        summary=[
            *study.data.get("notes", []),
            *_grid_sentences(grid),
            *_error_sentences(analyses.values(), drawn.values()),
            *_silent_sentences(study, tables),
            *_claim_sentences(claims),
        ],
        not_sampled=not_sampled(study),
        design=_design(study),
        population_figures=figures.get("", []),
        sections=[_section(spec, analyses[spec["analysis"]], figures) for spec in specs],
        provenance=_provenance(study, grid),
    )


def _figures_by_analysis(
    study: Study, figures: Mapping[str, Written]
) -> dict[str, list[page.Figure]]:
    """Analysis -> the figures that stand with it, the last of those that they need; "": those that
    need none. Figures that ended with an error are left out.
    """
    by_analysis: dict[str, list[page.Figure]] = {}
    for name, written in figures.items():
        if written.manifest["error"]:
            continue
        needs = written.unit["NEEDS"]
        folders = tuple(f"tables/{analysis}/" for analysis in needs)
        caption = written.manifest["caption"]
        figure = page.Figure(study.results / "figures" / name, caption, data=folders)
        by_analysis.setdefault(needs[-1] if needs else "", []).append(figure)
    return by_analysis


def not_sampled(study: Study) -> pd.DataFrame:
    """Suites of the registry with the number of runs that this study does not sample."""
    rows = [
        {
            "suite": s.name,
            "title": s.title,
            "runs in the registry": len(s.runs),
            "sampled": sum(r.id in study.roles for r in s.runs),
        }
        for s in study.registry.suites
    ]
    return pd.DataFrame(rows)


def _section(
    spec: dict[str, Any], written: Written, figures: dict[str, list[page.Figure]]
) -> page.Section:
    """One analysis of the study with its figures and tables."""
    name = spec["analysis"]
    text = str(written.unit.get("TEXT", ""))
    if error := written.manifest["error"]:
        text = f"This analysis ended with an error, so its part of the report is missing: {error}"
    return page.Section(
        title=spec.get("title") or name.replace("_", " ").capitalize(),
        question=written.unit["QUESTION"],
        text=text,
        figures=figures.get(name, []),
        tables=written.tables,
    )


def _error_sentences(analyses: Iterable[Written], figures: Iterable[Written]) -> list[str]:
    """Analyses and figures that ended with an error: a hole in the report is never silent."""
    ended = [(f"The analysis {a.manifest['analysis']}", a.manifest["error"]) for a in analyses]
    ended += [(f"The figure {f.manifest['figure']}", f.manifest["error"]) for f in figures]
    return [f"{what} is missing: it ended with {error}" for what, error in ended if error]


def _silent_sentences(study: Study, tables: dict[str, dict[str, pd.DataFrame]]) -> list[str]:
    """Outcomes of which an analysis that ended well says nothing at all."""
    sentences = []
    for spec in study.data["analyses"]:
        of_analysis = tables[spec["analysis"]]
        if not of_analysis:
            continue
        present = _outcomes(of_analysis)
        silent = [name for o in spec.get("outcomes", []) if (name := label(o)) not in present]
        if silent:
            sentences.append(
                f"The analysis {spec['analysis']} tells nothing of {', '.join(silent)}: it was measured in none of the runs that it asks for."
            )
    return sentences


def _outcomes(tables: dict[str, pd.DataFrame]) -> set[str]:
    """The outcomes that any of the tables has a row of."""
    outcomes = set()
    for table in tables.values():
        if "outcome" in table:
            outcomes.update(table["outcome"].dropna())
    return outcomes


def _claim_sentences(claims: pd.DataFrame) -> list[str]:
    """Claims that were not judged because the study file names what is not there."""
    wrong = claims.loc[claims["verdict"] == UNJUDGED, "reason"]
    return [f"This claim could not be judged: {reason}" for reason in wrong]


def _grid_sentences(grid: pd.DataFrame) -> list[str]:
    """How many cells are in which state, and what is missing from them."""
    counts = grid["state"].value_counts()
    states = ", ".join(f"{n} {state}" for state, n in counts.items())
    sentences = [f"The grid has {len(grid)} cells: {states}."]
    refused = grid[(grid["state"] == MEASURED) & (grid["n_refused"] > 0)]
    if len(refused):
        sentences.append(
            f"In {len(refused)} measured cells some items were refused ({refused['n_refused'].sum()} items; no analysis sees them), "
            f"e.g. {refused['run'].iloc[0]}, {refused['measure'].iloc[0]}: {refused['reason'].iloc[0]}."
        )
    if counts.get(FAILED, 0) or counts.get(MISSING, 0):
        sentences.append(
            "Not all that was asked for is there: the grid below names every cell that failed or is missing, with the reason."
        )
    return sentences


def judged(
    claims: list[dict[str, Any]], tables: dict[str, dict[str, pd.DataFrame]]
) -> pd.DataFrame:
    """The verdicts. A claim that cannot be judged (its analysis broke, its row is not there) says
    why and does not stop the report.
    """
    broken = {}
    for claim in claims:
        try:
            verdict.judge([claim], tables)
        except InputError as error:
            broken[claim["claim"]] = str(error)
    verdicts = verdict.judge([c for c in claims if c["claim"] not in broken], tables)
    if not broken:
        return verdicts
    lost = pd.DataFrame(
        [{"claim": c, "verdict": UNJUDGED, "units": "", "reason": e} for c, e in broken.items()]
    )
    return pd.concat([verdicts, lost.reindex(columns=verdicts.columns)], ignore_index=True)


def _design(study: Study) -> dict[str, Any]:
    """Residual degrees of freedom and aliases of the sampled runs under the study's design model,
    in sentences.
    """
    spec = study.data.get("design")
    if not spec:
        return {}
    rows = _design_rows(study, spec)
    names = list(dict.fromkeys(name for term in spec["terms"] for name in term.split(":")))
    known = [name for name in names if all(name in row for row in rows)]
    factors = factorial.levels_of(rows, known)
    terms = [term for term in spec["terms"] if set(term.split(":")) <= set(factors)]
    if not terms:
        return {"aliases": ["No factor of the design varies in this sample."]}
    numeric = [name for name in spec.get("numeric", []) if name in factors]
    description = factorial.describe(rows, terms, factors, numeric)
    aliases = map(_alias, [*description.terms, *description.others])
    return {
        "residual_df": description.residual_df,
        "runs in the design": description.n_runs,
        "parameters": description.parameters,
        "D-efficiency against the full factorial": round(description.efficiency, 3),
        "aliases": [*_left_out(names, known, set(factors)), *filter(None, aliases)],
    }


def _left_out(names: list[str], known: list[str], varying: set[str]) -> list[str]:
    """Why a factor of the design is not in its model: those that do not vary, then those that are
    not known.
    """
    fixed = [name for name in known if name not in varying]
    unknown = [name for name in names if name not in known]
    return [
        *(f"{n} does not vary in this sample, so nothing can be said of it." for n in fixed),
        *(f"{n} is not known for every run, so it cannot be judged." for n in unknown),
    ]


def _design_rows(study: Study, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of the runs that the design is of; baselines, and what is not sampled, are not."""
    runs = study.runs
    if "where" in spec:
        runs = study.registry.select(spec["where"], f"{study.path}: design.where")
    return [r.values() for r in runs if study.roles.get(r.id, "baseline") != "baseline"]


def _alias(term: factorial.TermReport) -> str:
    """What a reader must know of a term that the others take away wholly or in part; empty where
    they leave it alone.
    """
    inside = "" if term.variance is not None else " (not in the model)"
    if term.estimable < term.df:
        return f"{term.term}{inside}: {term.df - term.estimable} of {term.df} degrees of freedom cannot be told from the other terms."
    if term.aliased_share > ALIASED:
        return f"{term.term}{inside}: {term.aliased_share:.0%} of its variation is shared with the other terms."
    return ""


def _provenance(study: Study, grid: pd.DataFrame) -> dict[str, Any]:
    """From what the numbers are: study, files, versions, machines, costs, and the units used."""
    recorded = Store(study.project.store).provenance(grid["file"].dropna())
    here = environment()
    training = _training_cost(study)
    machines = {
        (p["environment"]["processor"], p["environment"]["system"])
        for p in recorded
        if "environment" in p
    }
    analyses = [
        {"analysis": spec["analysis"], "options": json.dumps(options(spec))}
        for spec in study.data["analyses"]
    ]
    return {
        "Study": _study_facts(study, grid, recorded),
        "Files, from where this page lies": FILES,
        "Versions": here["versions"] | {"python": here["python"], "code": here["code"]},
        "Machines that measured": pd.DataFrame(sorted(machines), columns=["processor", "system"]),
        "Cost": _cost(training, recorded),
        "What texts were opened with": openings.table(recorded, grid),
        "Training by run": training,
        "Measures": _measures(study),
        "Analyses": pd.DataFrame(analyses),
    } | hiding(study)


def _study_facts(
    study: Study, grid: pd.DataFrame, recorded: list[dict[str, Any]]
) -> dict[str, Any]:
    """The study file and its settings, digests of the results, and the self-check."""
    checks = [p.get("self_check", {}) for p in recorded]
    differences = [c["difference_nats"] for c in checks if "difference_nats" in c]
    largest = f"{max(differences):.2g}" if differences else "none was made"
    return {
        "file": study.path.name,
        "seed": study.seed,
        **study.numerics,
        "cells": len(grid),
        "digest of the grid": cell_store.digest(sorted(grid["cell"]))[:16],
        "digest of the values": cell_store.digest(sorted(grid["sha256"].dropna()))[:16],
        "self-check, largest difference, nats per token": largest,
    }


def _cost(training: pd.DataFrame, recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """Core hours, loads of a checkpoint, and the largest memory."""
    # summed by pandas, as those of training: in pairs
    measuring = pd.Series(
        [cell["cpu_seconds"] for p in recorded for cell in p.get("cells", {}).values()]
    )
    peaks = [p.get("peak_memory_mb", 0) for p in recorded]
    return {
        "training, CPU hours": _hours(training["cpu_seconds"]),
        "measuring, CPU hours": _hours(measuring),
        "checkpoints loaded": len(recorded),
        "peak memory, MB": round(max(peaks, default=0)),
    }


def _hours(seconds: pd.Series) -> float:
    return round(seconds.sum() / 3600, 3) if len(seconds) else 0


def hiding(study: Study) -> dict[str, pd.DataFrame]:
    """A table of the project's units that stand in the place of shipped ones; empty where there are
    none.
    """
    rows = {
        unit.path: {
            "kind": unit.kind,
            "name": unit.name,
            "file": str(unit.path.relative_to(study.project.root)),
        }
        for unit in _used_units(study)
        if unit.hides_shipped
    }
    if not rows:
        return {}
    return {"Of this project, in the place of shipped ones": pd.DataFrame(rows.values())}


def _used_units(study: Study) -> list[units.Unit]:
    """Measures and stimuli, analyses, figures."""
    measuring = [unit for entry in study.entries for unit in (entry.measure, entry.stimuli) if unit]
    analyses = [
        units.find("analysis", spec["analysis"], study.project) for spec in study.data["analyses"]
    ]
    return [*measuring, *analyses, *figures_of(study).values()]


def _training_cost(study: Study) -> pd.DataFrame:
    """Seconds, core seconds and memory of every run that was trained here."""
    columns = ["seconds", "cpu_seconds", "peak_memory_mb"]
    rows = []
    for run in study.runs:
        if not run.trained_here:
            continue
        path = weights_folder(run, study.project) / COST
        if path.is_file():
            cost = json_file.read_object(path)
            rows.append({"run": run.id, **{column: round(cost[column], 1) for column in columns}})
    return pd.DataFrame(rows, columns=["run", *columns])


def _measures(study: Study) -> pd.DataFrame:
    """What was measured on what, with options and sources."""
    return pd.DataFrame(
        [
            {
                "measure": e.measure.name,
                "version": e.measure["VERSION"],
                "stimuli": e.stimuli_name,
                "entry": e.name,
                "options": json.dumps(e.options | e.stimuli_options),
                "source of the measure": _source(e.measure),
                "source of the stimuli": _source(e.stimuli) if e.stimuli else "",
            }
            for e in study.entries
        ]
    )


def _source(unit: units.Unit) -> str:
    """Where a unit is from: a sentence, or the addresses of its files."""
    source = unit.get("SOURCE", "")
    if isinstance(source, str):
        return source
    return "; ".join(sorted({str(file.get("url", file)) for file in source}))


def render(study: Study, out: Path) -> None:
    """Write the page, and the codebook of what lies beside it."""
    codebook.write(study)
    page.render(report_data(study), out)
