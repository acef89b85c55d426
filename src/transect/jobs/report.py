"""The last step: result tables, figures, claims, grid and provenance -> one page."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from transect import json_file, registry, report, store, units
from transect.errors import InputError
from transect.jobs import codebook, openings
from transect.jobs.analyse import figures_of, options, read_tables
from transect.jobs.environment import environment
from transect.jobs.train import COST, weights_folder
from transect.outcome import label
from transect.report.claims import UNJUDGED
from transect.stats import design, verdict
from transect.store import FAILED, MEASURED, MISSING, Store
from transect.study import Study

FILES = {
    "figures": "figures/ (SVG, PDF, PNG)",
    "the numbers in them, and all other results": "tables/ANALYSIS/ (CSV, Parquet)",
    "what was measured": "measurements.parquet, grid.parquet, registry.parquet (as CSV too: transect run STUDY --csv)",
    "the items, with their sentences": "items/ (CSV, Parquet)",
    "what every column means, and its unit": "codebook.csv",
}
ALIASED = 0.2  # share of a term's variation that others may take before a reader is told


def report_data(study: Study) -> report.ReportData:
    """All that the page shows of a study."""
    grid = store.read_table(study.results / "grid.parquet")
    runs = store.read_table(study.results / "registry.parquet")
    figures = {
        name: f
        for name, unit in figures_of(study).items()
        if (f := _figure(study, name, unit)) is not None
    }
    at = {
        name: unit["NEEDS"][-1] if unit["NEEDS"] else "" for name, unit in figures_of(study).items()
    }
    tables = {
        spec["analysis"]: read_tables(study, spec["analysis"]) for spec in study.data["analyses"]
    }
    claims = judged(study.data.get("claims", []), tables)
    sections = [
        _section(
            study,
            spec["analysis"],
            spec.get("title", ""),
            [f for name, f in figures.items() if at[name] == spec["analysis"]],
        )
        for spec in study.data["analyses"]
    ]
    return report.ReportData(
        name=study.name,
        title=study.data["title"],
        question=study.data["question"],
        claims=claims,
        registry=runs.drop(columns="last_revision"),
        grid=grid.assign(error=grid["reason"].where(grid["state"] == FAILED, "")),
        summary=[
            *study.data.get("notes", []),
            *_grid_sentences(grid),
            *_error_sentences(study),
            *_silent_sentences(study, tables),
            *_claim_sentences(claims),
        ],
        not_sampled=not_sampled(study),
        design=_design(study),
        population_figures=[f for name, f in figures.items() if not at[name]],
        sections=sections,
        provenance=_provenance(study, grid),
    )


def not_sampled(study: Study) -> pd.DataFrame:
    """Suites of the registry with the number of runs that this study does not sample."""
    every = registry.load(study.project)
    rows = [
        {
            "suite": s.name,
            "title": s.title,
            "runs in the registry": len(s.runs),
            "sampled": sum(r.id in study.roles for r in s.runs),
        }
        for s in every.suites
    ]
    return pd.DataFrame(rows)


def _section(study: Study, name: str, title: str, figures: list[report.Figure]) -> report.Section:
    manifest = json_file.read_object(study.results / "tables" / name / "manifest.json")
    unit = units.find("analysis", name, study.project)
    text = (
        f"This analysis ended with an error, so its part of the report is missing: {manifest['error']}"
        if manifest["error"]
        else ""
    )
    return report.Section(
        title=title or name.replace("_", " ").capitalize(),
        question=unit["QUESTION"],
        text=text or str(unit.get("TEXT", "")),
        figures=figures,
        tables=read_tables(study, name),
    )


def _figure(study: Study, name: str, unit: units.Unit) -> report.Figure | None:
    made = json_file.read_object(study.results / "figures" / f"{name}.json")
    return (
        None
        if made["error"]
        else report.Figure(
            study.results / "figures" / name,
            made["caption"],
            data=tuple(f"tables/{a}/" for a in unit["NEEDS"]),
        )
    )


def _error_sentences(study: Study) -> list[str]:
    """Analyses and figures that ended with an error: a hole in the report is never silent."""
    paths = [
        study.results / "tables" / spec["analysis"] / "manifest.json"
        for spec in study.data["analyses"]
    ]
    paths += [study.results / "figures" / f"{name}.json" for name in figures_of(study)]
    made = [json_file.read_object(path) for path in paths]
    return [
        f"{'The analysis' if 'analysis' in m else 'The figure'} {m.get('analysis') or m['figure']} is missing: it ended with {m['error']}"
        for m in made
        if m["error"]
    ]


def _silent_sentences(study: Study, tables: dict[str, dict[str, pd.DataFrame]]) -> list[str]:
    """Outcomes of which an analysis that ended well says nothing at all."""
    sentences = []
    for spec in study.data["analyses"]:
        found = tables[spec["analysis"]]
        told = {
            name
            for table in found.values()
            if "outcome" in table
            for name in table["outcome"].dropna()
        }
        silent = [label(o) for o in spec.get("outcomes", []) if found and label(o) not in told]
        if silent:
            sentences.append(
                f"The analysis {spec['analysis']} tells nothing of {', '.join(silent)}: it was measured in none of the runs that it asks for."
            )
    return sentences


def _claim_sentences(claims: pd.DataFrame) -> list[str]:
    """Claims that were not judged because the study file names what is not there."""
    wrong = claims.loc[claims["verdict"] == UNJUDGED, "reason"]
    return [f"This claim could not be judged: {reason}" for reason in wrong]


def _grid_sentences(grid: pd.DataFrame) -> list[str]:
    counts = grid["state"].value_counts()
    told = ", ".join(f"{n} {state}" for state, n in counts.items())
    sentences = [f"The grid has {len(grid)} cells: {told}."]
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
    sound = [c for c in claims if c["claim"] not in broken]
    lost = pd.DataFrame(
        [{"claim": c, "verdict": UNJUDGED, "units": "", "reason": e} for c, e in broken.items()]
    )
    found = verdict.judge(sound, tables)
    return (
        pd.concat([found, lost.reindex(columns=found.columns)], ignore_index=True)
        if broken
        else found
    )


def _design(study: Study) -> dict[str, Any]:
    """Residual degrees of freedom and aliases of the sampled runs under the study's design model,
    in sentences.
    """
    spec = study.data.get("design")
    if not spec:
        return {}
    chosen = (
        study.registry.select(spec["where"], f"{study.path}: design.where")
        if "where" in spec
        else study.runs
    )
    rows = [r.values() for r in chosen if study.roles.get(r.id, "baseline") != "baseline"]
    names = list(dict.fromkeys(name for term in spec["terms"] for name in term.split(":")))
    lacking = [n for n in names if any(n not in row for row in rows)]
    factors = design.levels_of(rows, [n for n in names if n not in lacking])
    terms = [t for t in spec["terms"] if set(t.split(":")) <= set(factors)]
    if not terms:
        return {"aliases": ["No factor of the design varies in this sample."]}
    told = design.describe(
        rows, terms, factors, [n for n in spec.get("numeric", []) if n in factors]
    )
    fixed = [
        f"{n} does not vary in this sample, so nothing can be said of it."
        for n in names
        if n not in factors and n not in lacking
    ]
    unknown = [f"{n} is not known for every run, so it cannot be judged." for n in lacking]
    return {
        "residual_df": told.residual_df,
        "runs in the design": told.n_runs,
        "parameters": told.parameters,
        "D-efficiency against the full factorial": round(told.efficiency, 3),
        "aliases": [
            *fixed,
            *unknown,
            *(s for t in [*told.terms, *told.others] if (s := _alias(t))),
        ],
    }


def _alias(term: design.TermReport) -> str:
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
    recorded = Store(study.project.store).provenance(grid["file"].dropna())
    here = environment()
    costs = _training_cost(study)
    measuring = pd.DataFrame(
        [
            {"seconds": c["seconds"], "cpu_seconds": c["cpu_seconds"]}
            for p in recorded
            for c in p.get("cells", {}).values()
        ]
    )
    checks = [
        c["difference_nats"]
        for p in recorded
        if "difference_nats" in (c := p.get("self_check", {}))
    ]
    machines = sorted(
        {
            (p["environment"]["processor"], p["environment"]["system"])
            for p in recorded
            if "environment" in p
        }
    )
    return {
        "Study": {
            "file": study.path.name,
            "seed": study.seed,
            **study.numerics,
            "cells": len(grid),
            "digest of the grid": store.digest(sorted(grid["cell"]))[:16],
            "digest of the values": store.digest(sorted(grid["sha256"].dropna()))[:16],
            "self-check, largest difference, nats per token": f"{max(checks):.2g}"
            if checks
            else "none was made",
        },
        "Files, from where this page lies": FILES,
        "Versions": here["versions"] | {"python": here["python"], "code": here["code"]},
        "Machines that measured": pd.DataFrame(machines, columns=["processor", "system"]),
        "Cost": {
            "training, CPU hours": round(costs["cpu_seconds"].sum() / 3600, 3) if len(costs) else 0,
            "measuring, CPU hours": round(measuring["cpu_seconds"].sum() / 3600, 3)
            if len(measuring)
            else 0,
            "checkpoints loaded": len(recorded),
            "peak memory, MB": round(
                max([p.get("peak_memory_mb", 0) for p in recorded], default=0)
            ),
        },
        "What texts were opened with": openings.table(recorded, grid),
        "Training by run": costs,
        "Measures": _measures(study),
        "Analyses": pd.DataFrame(
            [
                {"analysis": s["analysis"], "options": json.dumps(options(s))}
                for s in study.data["analyses"]
            ]
        ),
    } | hiding(study)


def hiding(study: Study) -> dict[str, pd.DataFrame]:
    """A table of the project's units that stand in the place of shipped ones; empty where there are
    none.
    """
    analyses = [
        units.find("analysis", spec["analysis"], study.project) for spec in study.data["analyses"]
    ]
    used = [
        *(u for e in study.entries for u in (e.measure, e.stimuli) if u),
        *analyses,
        *figures_of(study).values(),
    ]
    rows = {
        u.path: {
            "kind": u.kind,
            "name": u.name,
            "file": str(u.path.relative_to(study.project.root)),
        }
        for u in used
        if u.hides_shipped
    }
    return (
        {"Of this project, in the place of shipped ones": pd.DataFrame(rows.values())}
        if rows
        else {}
    )


def _training_cost(study: Study) -> pd.DataFrame:
    rows = []
    for run in study.runs:
        path = weights_folder(run, study.project) / COST if run.trained_here else None
        if path is not None and path.is_file():
            cost = json_file.read_object(path)
            rows.append(
                {
                    "run": run.id,
                    **{k: round(cost[k], 1) for k in ("seconds", "cpu_seconds", "peak_memory_mb")},
                }
            )
    return pd.DataFrame(rows, columns=["run", "seconds", "cpu_seconds", "peak_memory_mb"])


def _measures(study: Study) -> pd.DataFrame:
    def source(unit: units.Unit | None) -> str:
        given = unit.get("SOURCE", "") if unit else ""
        return (
            given
            if isinstance(given, str)
            else "; ".join(sorted({str(s.get("url", s)) for s in given}))
        )

    return pd.DataFrame(
        [
            {
                "measure": e.measure.name,
                "version": e.measure["VERSION"],
                "stimuli": e.stimuli_name,
                "entry": e.name,
                "options": json.dumps(e.options | e.stimuli_options),
                "source of the measure": source(e.measure),
                "source of the stimuli": source(e.stimuli),
            }
            for e in study.entries
        ]
    )


def render(study: Study, out: Path) -> None:
    """Write the page, and the codebook of what lies beside it."""
    codebook.write(study)
    report.render(report_data(study), out)
