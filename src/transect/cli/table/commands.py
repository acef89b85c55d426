"""The commands that work on any table, without a study: `transect fit | gstudy | scaling`."""

import argparse
from collections.abc import Callable
from pathlib import Path

TABLE = "CSV or one of its kinds (any separator; also .gz, .bz2, .xz, .zip), JSON lines, Parquet or Feather"


def fit(args: argparse.Namespace) -> int:
    """Fit a mixed model, in lme4's notation, to a table."""
    from transect.cli.table import fit as job
    from transect.cli.table import fit_report

    beside = job.Beside(
        intervals=args.intervals,
        against=args.against,
        means=args.means,
        left_out=args.leave_out,
        modes=args.modes,
        relatedness=None if args.relatedness is None else Path(args.relatedness),
        of=args.of,
        margin=args.margin,
        references=args.reference,
        predict=None if args.predict is None else Path(args.predict),
        new=None if args.new is None else Path(args.new),
        plots=None if args.plots is None else Path(args.plots),
        export_r=None if args.export_r is None else Path(args.export_r),
        n=args.n,
        seed=args.seed,
    )
    model, found = job.fit_file(
        Path(args.table),
        args.formula,
        beside,
        family=args.family,
        reml=not args.ml,
        method="nAGQ=0"
        if args.fast
        else f"nAGQ={args.quadrature}"
        if args.quadrature
        else "Laplace",
        weights=args.weights,
        allow_pseudoreplication=args.allow_pseudoreplication,
    )
    print(fit_report.as_json(model, found) if args.json else fit_report.summary(model, found))
    return 0


def gstudy(args: argparse.Namespace) -> int:
    """Generalizability study of a table of scores: variance components, E rho^2, Phi, and what more
    levels would bring.
    """
    from transect.cli.table import gstudy as job
    from transect.store.tables import reading

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
    print(reading.json_text(found) if args.json else job.summary(found))
    return 0


def scaling(args: argparse.Namespace) -> int:
    """Curves of a result against size, data or compute in a table: forms compared by predicting
    whole groups.
    """
    from transect.cli.table import scaling as job

    found = job.scaling_file(
        Path(args.table),
        args.y,
        args.x.split(","),
        args.group,
        forms=args.forms.split(",") if args.forms else (),
        beyond=args.beyond,
        continuous=args.continuous,
        n=args.n,
        seed=args.seed,
    )
    print(job.as_json(found) if args.json else job.summary(found))
    return 0


def _samples(text: str) -> int:
    """The argument of -n: percentiles of fewer than 100 samples are no intervals."""
    if not text.isdecimal() or int(text) < 100:
        raise argparse.ArgumentTypeError(
            f"{text} bootstrap samples; give a whole number of at least 100"
        )
    return int(text)


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `add(name, function)` makes the parser of one."""
    _add_fit(add("fit", fit))
    studies = add("gstudy", gstudy)
    studies.add_argument("table", metavar="TABLE", help=TABLE)
    studies.add_argument("design", metavar="DESIGN", help='e.g. "score ~ model x (item:task)"')
    studies.add_argument("--object", metavar="FACET", help="what is measured (the first facet)")
    studies.add_argument("--fixed", action="append", default=[], metavar="FACET")
    studies.add_argument("--method", default="anova", choices=["anova", "reml"])
    studies.add_argument(
        "--repeats",
        default="refuse",
        choices=["refuse", "average"],
        help="several scores in one cell",
    )
    studies.add_argument(
        "--levels", action="append", default=[], metavar="FACET=N,N|N..N", help="sizes to look at"
    )
    studies.add_argument(
        "--plan", metavar="DESIGN", help="another design for the numbers of levels"
    )
    studies.add_argument(
        "--cost", action="append", default=[], metavar="FACET=COST", help="per level"
    )
    studies.add_argument(
        "--wish",
        action="append",
        default=[],
        metavar="phi=0.8",
        help="find the cheapest design for it (see --levels)",
    )
    studies.add_argument("--seed", type=int, default=1)
    curves = add("scaling", scaling)
    curves.add_argument("table", metavar="TABLE", help=TABLE)
    curves.add_argument("--y", required=True, metavar="COLUMN", help="the result, e.g. loss")
    curves.add_argument(
        "--x",
        required=True,
        metavar="COLUMN[,COLUMN]",
        help="size, data or compute; two: size and data",
    )
    curves.add_argument(
        "--group",
        required=True,
        metavar="COLUMN",
        help="what is resampled and left out: runs, families",
    )
    curves.add_argument("--forms", metavar="FORM,...", help="the forms to compare (all but broken)")
    curves.add_argument(
        "--beyond", type=float, metavar="X", help="fit up to this x and predict the rows beyond it"
    )
    curves.add_argument(
        "--continuous",
        metavar="COLUMN",
        help="a metric that --y is a threshold of: does a jump of --y show in it too?",
    )
    curves.add_argument(
        "-n", type=_samples, default=1000, help="bootstrap samples (1000), at least 100"
    )
    curves.add_argument("--seed", type=int, default=1)


_FIT = """\
The formula is lme4's: a response, fixed terms, random terms. a*b is a + b + a:b; (1 + x | g) has correlated slopes, (x || g)
uncorrelated ones; functions: log, log2, log10, log1p, sqrt, scale, poly(x, 2), factor(x), C(x, sum); offset(x); cbind(successes, failures) with
--family binomial; names with other signs in `backticks`. Each effect is printed with its unit, the grouping whose levels are
its independent cases, and degrees of freedom that never exceed these; an effect that would count rows as independent although
a column of the table carries it is refused. In columns of text an empty cell and NA without quotes are missing (None and nan are
words), in columns of numbers also nan, null, None, N/A, - and the like: rows left out are counted by column and sign.

  transect fit scores.csv "score ~ log10(params) + arch + (1 | item) + (1 | run)" --means arch --leave-out all
  transect fit scores.csv "correct ~ arch*cond + (1 + cond | run) + (1 | item)" --family binomial --means arch:cond
  transect fit scores.csv "score ~ log10(params) + (1 | run)" --against "score ~ 1 + (1 | run)" -n 1000
  transect fit scores.csv "score ~ log10(params) + (1 | run)" --relatedness tree.nwk --of run
"""


def _add_fit(fits: argparse.ArgumentParser) -> None:
    fits.formatter_class = argparse.RawDescriptionHelpFormatter
    fits.epilog = _FIT
    fits.add_argument("table", metavar="TABLE", help=TABLE)
    fits.add_argument(
        "formula", metavar="FORMULA", help='e.g. "y ~ log10(params) + (1 | item) + (1 | run)"'
    )
    _add_model(fits.add_argument_group("the model"))
    _add_beside(fits.add_argument_group("beside it"))
    _add_files(fits.add_argument_group("files that it writes"))


def _add_model(model: argparse._ArgumentGroup) -> None:
    model.add_argument("--family", default="gaussian", choices=["gaussian", "binomial"])
    model.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    integral = model.add_mutually_exclusive_group()
    integral.add_argument(
        "--fast",
        action="store_true",
        help="binomial: nAGQ = 0 instead of the Laplace approximation",
    )
    integral.add_argument(
        "--quadrature",
        type=int,
        metavar="POINTS",
        help="binomial, one random effect: adaptive quadrature (nAGQ), e.g. 9",
    )
    model.add_argument(
        "--weights", metavar="COLUMN", help="weights; binomial with proportions: the trials"
    )
    model.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="COLUMN=LEVEL",
        help="the level of a category that the others are compared with (the first); may be repeated",
    )
    model.add_argument(
        "--allow-pseudoreplication",
        action="store_true",
        help="fit although rows are counted as independent units",
    )


def _add_beside(more: argparse._ArgumentGroup) -> None:
    more.add_argument(
        "--intervals", choices=["profile", "bootstrap"], help="95 %% intervals of all parameters"
    )
    more.add_argument(
        "--against",
        metavar="FORMULA",
        help="test against a smaller model: likelihood ratio and parametric bootstrap",
    )
    more.add_argument(
        "--means",
        action="append",
        default=[],
        metavar="FACTOR",
        help="marginal means of a factor A, or of the cells A:B, and their differences (Holm); may be repeated",
    )
    more.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="COLUMN",
        help="fit again without each of its levels and say what is fragile; may be repeated; 'all': every grouping of up to "
        "60 levels, and text columns that groupings are nested in (family, suite)",
    )
    more.add_argument(
        "--margin",
        type=float,
        metavar="M",
        help="equivalence: whether each effect lies within M of 0 (two one-sided tests)",
    )
    more.add_argument(
        "--modes",
        action="store_true",
        help="the random effects of each level, with standard errors",
    )
    more.add_argument(
        "--relatedness",
        metavar="FILE",
        help="a Newick tree, or a CSV matrix of distances or covariances, of --of",
    )
    more.add_argument(
        "--of",
        metavar="COLUMN",
        help="the column whose levels FILE relates: effects with and without it",
    )
    more.add_argument(
        "-n", type=_samples, default=1000, help="bootstrap samples (1000), at least 100"
    )
    more.add_argument("--seed", type=int, default=1)


def _add_files(files: argparse._ArgumentGroup) -> None:
    files.add_argument(
        "--predict",
        metavar="OUT",
        help="fitted values, residuals and 95 %% prediction intervals beside the columns of the table (CSV or Parquet)",
    )
    files.add_argument(
        "--new",
        metavar="ROWS",
        help="with --predict: another table, whose rows are predicted instead",
    )
    files.add_argument(
        "--plots",
        metavar="FOLDER",
        help="residuals, their quantiles, random effects, effects (SVG, PDF, PNG)",
    )
    files.add_argument(
        "--export-r",
        metavar="FOLDER",
        help="the table as it was used, and the call of lmer, glmer, lm or glm on it",
    )
