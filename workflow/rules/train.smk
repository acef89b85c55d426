# Runs that are trained here. The digest of the recipes is in the marker's name: a changed recipe trains again, nothing else does.
rule train:
    output:
        "results/{study}/training/{batch}.{digest}.done",
    log:
        "results/{study}/log/train/{batch}.{digest}.log",
    wildcard_constraints:
        digest="[0-9a-f]{12}",
    priority: 10
    retries: 2
    threads: STUDY.numerics["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: int(1000 * STUDY.numerics["memory_gb"] * attempt) + 1000,
    params:
        python=lambda wildcards: sys.executable,
    shell:
        "{params.python:q} -P -m transect.jobs train {config[study]:q} {wildcards.batch} --output {output:q} > {log:q} 2>&1"
