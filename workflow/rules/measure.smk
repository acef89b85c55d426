# One job per shard: some checkpoints, each loaded once, and all their cells that the store lacks.
# The digest of the cells' keys is in the marker's name, so that what is stale does not hang on file times.
def training_of(wildcards):
    shard = next(s for s in STUDY.shards if s.name == wildcards.shard)
    wanted = {run.id for run in shard.runs}
    return [
        f"results/{wildcards.study}/training/{batch.target}.done"
        for batch in STUDY.batches
        if wanted & {run.id for run in batch.runs}
    ]


rule measure:
    input:
        training_of,
    output:
        "results/{study}/shards/{shard}.{digest}.done",
    log:
        "results/{study}/log/measure/{shard}.{digest}.log",
    wildcard_constraints:
        digest="[0-9a-f]{12}",
    retries: 2
    threads: STUDY.numerics["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: int(1000 * STUDY.numerics["memory_gb"] * attempt) + 1000,
        attempt=lambda wildcards, attempt: attempt,
    params:
        python=lambda wildcards: sys.executable,
        flags=" ".join(
            f"--{name.replace('_', '-')}"
            for name in ("retry_failed", "trust_remote_code")
            if config[name]
        ),
    shell:
        "test {resources.attempt} -gt 1 -a -e results/{wildcards.study}/stopped/{wildcards.shard}.txt && exit 2;"
        " {params.python:q} -P -m transect.jobs measure {config[study]:q} {wildcards.shard} --output {output:q} {params.flags}"
        " $(test {resources.attempt} -ge 3 && echo --last-attempt) > {log:q} 2>&1"
        " || {{ test $? -ne 2 -a {resources.attempt} -ge 3 && {params.python:q} -P -m transect.jobs abandon {config[study]:q}"
        " {wildcards.shard} --output {output:q} >> {log:q} 2>&1; }}"
