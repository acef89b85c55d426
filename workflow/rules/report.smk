# One self-contained page.
rule report:
    input:
        grid=f"results/{STUDY.name}/grid.parquet",
        tables=[f"results/{STUDY.name}/tables/{analysis}/manifest.json" for analysis in ANALYSES],
        figures=[f"results/{STUDY.name}/figures/{figure}.json" for figure in FIGURES],
        page=relative(
            *(SHIPPED / "workflow/report").iterdir(),
            *code_imports.of_module(PACKAGE / "report/assemble.py"),
        ),
    output:
        page=f"results/{STUDY.name}/report.html",
        codebook=f"results/{STUDY.name}/codebook.csv",
    log:
        f"results/{STUDY.name}/log/report.log",
    params:
        python=lambda wildcards: sys.executable,
    shell:
        "{params.python:q} -P -m transect.jobs report {config[study]:q} --output {output.page:q} > {log:q} 2>&1"
