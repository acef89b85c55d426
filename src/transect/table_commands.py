"""The commands that work on any table, without a study: `transect fit | gstudy | scaling`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path


def fit(args: argparse.Namespace) -> int:
    """Fit a mixed model, in lme4's notation, to a table (CSV or Parquet)."""
    from transect.jobs import fit as job

    model, beside = job.fit_file(
        Path(args.table),
        args.formula,
        intervals=args.intervals,
        n=args.n,
        seed=args.seed,
        family=args.family,
        reml=not args.ml,
        method="nAGQ=0" if args.fast else "Laplace",
        weights=args.weights,
        left_out=args.leave_out,
        allow_pseudoreplication=args.allow_pseudoreplication,
    )
    print(job.as_json(model, beside) if args.json else job.summary(model, beside))
    return 0


def gstudy(args: argparse.Namespace) -> int:
    """Generalizability study of a table of scores: variance components, E rho^2, Phi, and what more levels would bring."""
    from transect.jobs import gstudy as job

    found = job.gstudy(
        Path(args.table),
        args.design,
        object=args.object,
        fixed=args.fixed,
        method=args.method,
        repeats=args.repeats,
        levels=job.parse_levels(args.levels),
        plan=args.plan,
        costs=job.parse_numbers(args.cost, "--cost"),
        wish=job.parse_numbers(args.wish, "--wish"),
        seed=args.seed,
    )
    print(json.dumps(found, indent=1) if args.json else job.summary(found))
    return 0


def scaling(args: argparse.Namespace) -> int:
    """Curves of a result against size, data or compute in a table: forms compared by predicting whole groups."""
    from transect.jobs import scaling as job

    found = job.scaling_file(
        Path(args.table),
        args.y,
        args.x.split(","),
        args.group,
        forms=args.forms.split(",") if args.forms else (),
        beyond=args.beyond,
        n=args.n,
        seed=args.seed,
    )
    print(job.as_json(found) if args.json else job.summary(found))
    return 0


def _samples(text: str) -> int:
    """The argument of -n: percentiles of fewer than 100 samples are no intervals."""
    if not text.isdecimal() or int(text) < 100:
        raise argparse.ArgumentTypeError(f"{text} bootstrap samples; give a whole number of at least 100")
    return int(text)


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `add(name, function)` makes the parser of one."""
    fits = add("fit", fit)
    fits.add_argument("table", metavar="TABLE", help="a CSV or TSV (also .gz, .bz2, .xz, .zip) or Parquet file")
    fits.add_argument("formula", metavar="FORMULA", help='e.g. "y ~ log10(params) + (1 | item) + (1 | run)"')
    fits.add_argument("--family", default="gaussian", choices=["gaussian", "binomial"])
    fits.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    fits.add_argument("--fast", action="store_true", help="binomial: nAGQ = 0 instead of the Laplace approximation")
    fits.add_argument("--weights", metavar="COLUMN", help="weights; binomial with proportions: the trials")
    fits.add_argument("--intervals", choices=["profile", "bootstrap"], help="95 %% intervals of all parameters")
    fits.add_argument(
        "--leave-out", action="append", default=[], metavar="COLUMN", help="fit again without each of its levels"
    )
    fits.add_argument("-n", type=_samples, default=1000, help="bootstrap samples (1000), at least 100")
    fits.add_argument("--seed", type=int, default=1)
    fits.add_argument(
        "--allow-pseudoreplication", action="store_true", help="fit although rows are counted as independent units"
    )
    studies = add("gstudy", gstudy)
    studies.add_argument("table", metavar="TABLE", help="a CSV or TSV (also .gz, .bz2, .xz, .zip) or Parquet file")
    studies.add_argument("design", metavar="DESIGN", help='e.g. "score ~ model x (item:task)"')
    studies.add_argument("--object", metavar="FACET", help="what is measured (the first facet)")
    studies.add_argument("--fixed", action="append", default=[], metavar="FACET")
    studies.add_argument("--method", default="anova", choices=["anova", "reml"])
    studies.add_argument(
        "--repeats", default="refuse", choices=["refuse", "average"], help="several scores in one cell"
    )
    studies.add_argument("--levels", action="append", default=[], metavar="FACET=N,N|N..N", help="sizes to look at")
    studies.add_argument("--plan", metavar="DESIGN", help="another design for the numbers of levels")
    studies.add_argument("--cost", action="append", default=[], metavar="FACET=COST", help="per level")
    studies.add_argument(
        "--wish", action="append", default=[], metavar="phi=0.8", help="find the cheapest design for it (see --levels)"
    )
    studies.add_argument("--seed", type=int, default=1)
    curves = add("scaling", scaling)
    curves.add_argument("table", metavar="TABLE", help="a CSV or TSV (also .gz, .bz2, .xz, .zip) or Parquet file")
    curves.add_argument("--y", required=True, metavar="COLUMN", help="the result, e.g. loss")
    curves.add_argument(
        "--x", required=True, metavar="COLUMN[,COLUMN]", help="size, data or compute; two: size and data"
    )
    curves.add_argument(
        "--group", required=True, metavar="COLUMN", help="what is resampled and left out: runs, families"
    )
    curves.add_argument("--forms", metavar="FORM,...", help="the forms to compare (all but broken)")
    curves.add_argument("--beyond", type=float, metavar="X", help="fit up to this x and predict the rows beyond it")
    curves.add_argument("-n", type=_samples, default=1000, help="bootstrap samples (1000), at least 100")
    curves.add_argument("--seed", type=int, default=1)
