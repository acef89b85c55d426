# Which models does a finding extend to? The stages of a study, from the registry to its report.
#   snakemake -j 2                                 the default study
#   snakemake -j 2 --config study=novels           another one (`transect run novels` does this, with progress and checks)
import os
import sys

sys.path[:] = [
    path for path in sys.path if path != str(workflow.basedir)
]  # Snakemake imports from this folder first

from transect.store import children
from transect.study import study_file as studies
from transect.jobs import edited
from transect.store.project import PACKAGE, SHIPPED, find_project


configfile: f"{SHIPPED}/workflow/config.yaml"


os.environ.update(children.environment())  # of the jobs


def relative(*paths):
    """Paths from the project's folder on, whose own name may have braces: Snakemake takes what stands in them for wildcards."""
    return sorted(os.path.relpath(path) for path in paths)


STUDY = studies.load(config["study"], find_project())
edited.check(STUDY)


include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"results/{STUDY.name}/report.html",


rule trained:
    input:
        [f"results/{STUDY.name}/training/{batch.target}.done" for batch in STUDY.batches],


rule measured:
    input:
        [f"results/{STUDY.name}/shards/{shard.target}.done" for shard in STUDY.shards],
