"""``python -m transect.jobs STEP STUDY [NAME] ...``: what a rule of the workflow runs; people use
``transect``.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from transect.store import children

if TYPE_CHECKING:
    from transect.study.study_file import Study

# glibc hands large blocks back to the kernel after each step; keeping them makes training on a CPU
# a third faster.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transect.jobs")
    parser.add_argument(
        "step",
        choices=["train", "measure", "abandon", "items", "gather", "analyse", "draw", "report"],
    )
    parser.add_argument("study")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--last-attempt",
        action="store_true",
        help="record a resource failure instead of failing the job",
    )
    parser.add_argument("--retry-failed", action="store_true")
    parser.add_argument("--trust-remote-code", action="store_true")
    return parser


def main() -> int:
    args = _parser().parse_args()
    if args.step in ("train", "measure") and not set(ALLOCATOR) <= set(os.environ):
        os.execve(
            sys.executable,
            children.python("transect.jobs", *sys.argv[1:]),
            children.environment() | ALLOCATOR,
        )

    # one thread for BLAS, OpenMP and the tokenizers, before any of them is loaded; torch is given
    # its number later
    os.environ.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        RAYON_NUM_THREADS="1",
    )

    from transect.errors import InputError
    from transect.store.hub import addresses
    from transect.store.project import find_project
    from transect.study import study_file as studies

    try:
        study = studies.load(args.study, find_project())
        threads = str(study.numerics["threads"])
        if study.project.mirror:
            os.environ["TRANSECT_MIRROR"] = str(study.project.mirror)
        os.environ.update(
            OMP_NUM_THREADS=threads, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS=threads
        )
        if args.step == "train":
            from transect.jobs.train import train

            train(study, args.name, args.output)
        elif args.step == "measure":
            from transect.jobs.measure import measure

            measure(
                study,
                args.name,
                args.output,
                args.last_attempt,
                args.retry_failed,
                trust_remote_code=args.trust_remote_code,
            )
        elif args.step == "abandon":
            from transect.jobs.measure import abandon

            abandon(study, args.name, args.output)
        elif args.step == "items":
            from transect.jobs.items import made_again
            from transect.store.files.whole_files import write_text

            write_text(args.output, json.dumps(made_again(study, args.name.split(","))))
        else:
            _after_measuring(study, args)
    except InputError as error:
        print(f"transect: {addresses.shown(str(error))}", file=sys.stderr)
        return 2
    return 0


def _after_measuring(study: "Study", args: argparse.Namespace) -> None:
    """Gather, analyse, draw or report; others see that it runs, and later runs what it took."""
    from transect.jobs.progress import Progress
    from transect.jobs.workflow.pace import spent

    progress = Progress(study.results / "progress", f"{args.step} {args.name}".strip(), 1)
    progress.say(0, "")
    if args.step == "gather":
        from transect.jobs.gather import gather

        gather(study, args.output.parent)
    elif args.step in ("analyse", "draw"):
        from transect.jobs import analyse

        getattr(analyse, args.step)(study, args.name, args.output)
    else:
        from transect.report.assemble import render

        render(study, args.output)
    progress.end()
    spent(study, args.step, args.name, time.process_time())


if __name__ == "__main__":
    sys.exit(main())
