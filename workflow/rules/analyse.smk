# From cells to tables to figures: cheap, so it follows the files (study, registry, analysis script) by their times.
import json
from transect.store import code_imports, units
from transect.study.analyses import figures_of

FIGURES = figures_of(STUDY)
ANALYSES = [spec["analysis"] for spec in STUDY.data["analyses"]]


rule gather:
    input:
        markers=[f"results/{STUDY.name}/shards/{shard.target}.done" for shard in STUDY.shards],
        study=relative(STUDY.path),
        registry=relative(
            *{
                suite.path
                for suite in STUDY.registry.suites
                if {r.id for r in suite.runs} & set(STUDY.roles)
            }
        ),
        script=relative(*code_imports.of_module(PACKAGE / "jobs/gather.py")),
    output:
        measurements=f"results/{STUDY.name}/measurements.parquet",
        grid=f"results/{STUDY.name}/grid.parquet",
        registry=f"results/{STUDY.name}/registry.parquet",
    log:
        f"results/{STUDY.name}/log/gather.log",
    params:
        python=lambda wildcards: sys.executable,
    shell:
        "{params.python:q} -P -m transect.jobs gather {config[study]:q} --output {output.measurements:q} > {log:q} 2>&1"


rule analyse:
    input:
        measurements="results/{study}/measurements.parquet",
        registry="results/{study}/registry.parquet",
        script=lambda wildcards: relative(
            *code_imports.of_unit(units.find("analysis", wildcards.analysis, STUDY.project))
        ),
    output:
        "results/{study}/tables/{analysis}/manifest.json",
    log:
        "results/{study}/log/analyse/{analysis}.log",
    params:
        python=lambda wildcards: sys.executable,
    shell:
        "{params.python:q} -P -m transect.jobs analyse {config[study]:q} {wildcards.analysis} --output {output:q} > {log:q} 2>&1"


rule draw:
    input:
        tables=lambda wildcards: [
            f"results/{wildcards.study}/tables/{analysis}/manifest.json"
            for analysis in FIGURES[wildcards.figure]["NEEDS"]
        ],
        script=lambda wildcards: relative(*code_imports.of_unit(FIGURES[wildcards.figure])),
    output:
        "results/{study}/figures/{figure}.json",
    log:
        "results/{study}/log/draw/{figure}.log",
    params:
        python=lambda wildcards: sys.executable,
    shell:
        "{params.python:q} -P -m transect.jobs draw {config[study]:q} {wildcards.figure} --output {output:q} > {log:q} 2>&1"
