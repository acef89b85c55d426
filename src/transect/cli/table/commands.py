"""The commands that work on any table, without a study: `transect fit | gstudy | scaling`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from transect.cli.arguments import (
    Column,
    Count,
    Facet,
    File,
    Json,
    Number,
    Samples,
    Seed,
    Table,
    at_most_one,
)

Folder = Annotated[Path, Parameter(metavar="FOLDER")]
Formula = Annotated[str, Parameter(metavar="FORMULA")]
Bootstrap = Annotated[
    Samples, Parameter(name="-n", help="number of bootstrap samples, at least 100")
]


@Parameter(name="*", group=Group("Model", sort_key=1))
@dataclass(frozen=True)
class Model:
    """The model that is fitted.

    Parameters
    ----------
    family
        distribution of the response
    ml
        fit by maximum likelihood instead of REML
    fast
        binomial: use nAGQ = 0 instead of the Laplace approximation
    quadrature
        binomial, one random effect: number of points of adaptive quadrature (nAGQ), e.g. 9
    weights
        column of weights; binomial with proportions: of the numbers of trials
    reference
        set the level of a category that the others are compared with; may be repeated
    allow_pseudoreplication
        fit although rows are counted as independent units
    """

    family: Literal["gaussian", "binomial"] = "gaussian"
    ml: bool = False
    fast: bool = False
    quadrature: Annotated[
        Count | None, Parameter(metavar="POINTS", show_default="the Laplace approximation")
    ] = None
    weights: Annotated[Column | None, Parameter(show_default="all rows weigh 1")] = None
    reference: Annotated[
        tuple[str, ...],
        Parameter(metavar="COLUMN=LEVEL", show_default="the first level"),
    ] = ()
    allow_pseudoreplication: bool = False

    @property
    def method(self) -> str:
        """How the likelihood is approximated, in the words of the fit."""
        if self.fast:
            return "nAGQ=0"
        return f"nAGQ={self.quadrature}" if self.quadrature else "Laplace"


@Parameter(name="*", group=Group("Additional output", sort_key=2))
@dataclass(frozen=True)
class Additional:
    """What is computed in addition to the fit.

    Parameters
    ----------
    intervals
        compute 95 % intervals of all parameters
    against
        test against a smaller model by likelihood ratio and parametric bootstrap
    means
        estimate marginal means of a factor A, or of the cells A:B, and their differences (Holm);
        may be repeated
    leave_out
        fit again without each level of a column and report which effects depend on one; may be
        repeated; 'all': every grouping of up to 60 levels, and text columns that groupings are
        nested in (family, suite)
    margin
        test equivalence: whether each effect lies within M of 0 (two one-sided tests)
    modes
        print the random effects of each level with standard errors
    relatedness
        file of a tree (Newick), or of a matrix of distances or covariances (CSV)
    of
        column whose levels --relatedness describes; effects are reported with and without it
    """

    intervals: Literal["profile", "bootstrap"] | None = None
    against: Formula | None = None
    means: Annotated[tuple[str, ...], Parameter(metavar="FACTOR")] = ()
    leave_out: Annotated[tuple[str, ...], Parameter(metavar="COLUMN")] = ()
    margin: Annotated[Number | None, Parameter(metavar="M")] = None
    modes: bool = False
    relatedness: File | None = None
    of: Annotated[Column | None, Parameter(name=("--relatedness-column", "--of"))] = None
    n: Bootstrap = 1000
    seed: Seed = 1


@Parameter(name="*", group=Group("Files that are written", sort_key=3))
@dataclass(frozen=True)
class Written:
    """Files that a fit writes.

    Parameters
    ----------
    predict
        write the columns of the table with fitted values, residuals and 95 % prediction intervals
        (CSV or Parquet)
    new
        predict the rows of another table (needs --predict)
    plots
        draw residuals, their quantiles, random effects and effects (SVG, PDF, PNG)
    export_r
        write the table as it was used, and the call of lmer, glmer, lm or glm on it
    """

    predict: File | None = None
    new: Annotated[Path | None, Parameter(metavar="ROWS", show_default="TABLE")] = None
    plots: Folder | None = None
    export_r: Folder | None = None


DEFAULT_MODEL = Model()
DEFAULT_ADDITIONAL = Additional()
DEFAULT_WRITTEN = Written()


def fit(
    table: Table,
    formula: str,
    /,
    *,
    model: Model = DEFAULT_MODEL,
    more: Additional = DEFAULT_ADDITIONAL,
    files: Written = DEFAULT_WRITTEN,
    as_json: Json = False,
) -> int:
    """Fit a mixed model, in lme4's notation, to a table.

    The formula is lme4's: a response, fixed terms, random terms. a*b is a + b + a:b; (1 + x | g)
    has correlated slopes, (x || g) uncorrelated ones; functions: log, log2, log10, log1p, sqrt,
    scale, poly(x, 2), factor(x), C(x, sum); offset(x); cbind(successes, failures) with --family
    binomial; names with other signs in `backticks`.

    Each effect is printed with its unit, the grouping whose levels are its independent cases, and
    degrees of freedom that never exceed these; an effect that would count rows as independent
    although a column of the table carries it is refused.

    In columns of text an empty cell and NA without quotes are missing (None and nan are words), in
    columns of numbers also nan, null, None, N/A, - and the like: rows left out are counted by
    column and sign.

    For example:

      transect fit t.csv "score ~ log10(params) + (1 | item) + (1 | run)"
      transect fit t.csv "y ~ arch + (1 | run)" --means arch --leave-out all
      transect fit t.csv "y ~ a*b + (1 + b | run)" --family binomial --means a:b
      transect fit t.csv "y ~ x + (1 | run)" --against "y ~ 1 + (1 | run)"
      transect fit t.csv "y ~ x + (1 | run)" --relatedness tree.nwk --of run

    Parameters
    ----------
    formula
        the model, e.g. "y ~ log10(params) + (1 | item) + (1 | run)"
    """
    from transect.cli.table import fit as job
    from transect.cli.table import fit_report

    at_most_one(fast=model.fast, quadrature=model.quadrature)
    beside = job.Beside(
        intervals=more.intervals,
        against=more.against,
        means=more.means,
        left_out=more.leave_out,
        modes=more.modes,
        relatedness=more.relatedness,
        of=more.of,
        margin=more.margin,
        references=model.reference,
        predict=files.predict,
        new=files.new,
        plots=files.plots,
        export_r=files.export_r,
        n=more.n,
        seed=more.seed,
    )
    fitted, results = job.fit_file(
        table,
        formula,
        beside,
        family=model.family,
        reml=not model.ml,
        method=model.method,
        weights=model.weights,
        allow_pseudoreplication=model.allow_pseudoreplication,
    )
    print(fit_report.as_json(fitted, results) if as_json else fit_report.summary(fitted, results))
    return 0


@Parameter(name="*", group=Group("Generalizability study", sort_key=1))
@dataclass(frozen=True)
class Generalizability:
    """How the variance components are estimated.

    Parameters
    ----------
    object
        facet that is measured
    fixed
        facet whose levels are all of interest, not a sample; may be repeated
    method
        estimate variance components by expected mean squares (anova) or by REML
    repeats
        refuse, or average, several scores in one cell
    """

    object: Annotated[Facet | None, Parameter(show_default="the first of the design")] = None
    fixed: Annotated[tuple[str, ...], Parameter(metavar="FACET")] = ()
    method: Literal["anova", "reml"] = "anova"
    repeats: Literal["refuse", "average"] = "refuse"


@Parameter(name="*", group=Group("Decision study", sort_key=2))
@dataclass(frozen=True)
class Decision:
    """Which numbers of levels are considered.

    Parameters
    ----------
    levels
        numbers of levels of a facet to consider; may be repeated
    plan
        design to consider them in
    cost
        cost of one level of a facet; may be repeated
    wish
        find the cheapest design that reaches a coefficient; may be repeated
    """

    levels: Annotated[tuple[str, ...], Parameter(metavar="FACET=N,N|N..N")] = ()
    plan: Annotated[str | None, Parameter(metavar="DESIGN", show_default="that of the table")] = (
        None
    )
    cost: Annotated[
        tuple[str, ...],
        Parameter(metavar="FACET=COST", show_default="1 per score"),
    ] = ()
    wish: Annotated[
        tuple[str, ...],
        Parameter(metavar="phi=0.8", name=("--target", "--wish")),
    ] = ()


DEFAULT_GENERALIZABILITY = Generalizability()
DEFAULT_DECISION = Decision()


def gstudy(
    table: Table,
    design: str,
    /,
    *,
    study: Generalizability = DEFAULT_GENERALIZABILITY,
    decision: Decision = DEFAULT_DECISION,
    seed: Seed = 1,
    as_json: Json = False,
) -> int:
    """Estimate variance components and generalizability of a table of scores.

    Prints the variance components, E rho^2 and Phi, and what other numbers of
    levels would give.

    For example:

      transect gstudy t.csv "score ~ model x (item:task)"
      transect gstudy t.csv "score ~ model x item" --levels item=50,100,200
      transect gstudy t.csv "y ~ m x i" --levels i=1..500 --target phi=0.8

    Parameters
    ----------
    design
        score and design, e.g. "score ~ model x (item:task)"
    """
    from transect.cli.table import gstudy as job
    from transect.store.tables import reading

    result = job.gstudy(
        table,
        design,
        object=study.object,
        fixed=study.fixed,
        method=study.method,
        repeats=study.repeats,
        levels=job.parse_levels(decision.levels),
        plan=decision.plan,
        costs=job.parse_numbers(decision.cost, "--cost"),
        wish=job.parse_numbers(decision.wish, "--wish"),
        seed=seed,
    )
    print(reading.json_text(result) if as_json else job.summary(result))
    return 0


@Parameter(name="*", group=Group("Columns", sort_key=1))
@dataclass(frozen=True)
class Columns:
    """The columns of a scaling curve.

    Parameters
    ----------
    y
        column of the result, e.g. loss
    x
        column of size, data or compute; two columns: size and data
    group
        column whose levels are resampled and left out: runs, families
    continuous
        column of a metric of which --y is a threshold: test whether a jump of --y is in it too
    """

    y: Column
    x: Annotated[str, Parameter(metavar="COLUMN[,COLUMN]")]
    group: Column
    continuous: Column | None = None


def scaling(
    table: Table,
    /,
    *,
    columns: Columns,
    forms: Annotated[
        str | None,
        Parameter(
            metavar="FORM,...", show_default="all except `broken`, the smoothly broken power law"
        ),
    ] = None,
    beyond: Annotated[Number | None, Parameter(show_default="no row is held out")] = None,
    n: Bootstrap = 1000,
    seed: Seed = 1,
    as_json: Json = False,
) -> int:
    """Fit curves of a result against size, data or compute, and compare their forms.

    The forms are compared by predicting whole groups that were left out.

    For example:

      transect scaling t.csv --y loss --x params --group run
      transect scaling t.csv --y loss --x params,tokens --group run
      transect scaling t.csv --y loss --x params --group run --beyond 1e9

    Parameters
    ----------
    forms
        forms to compare
    beyond
        fit the rows with x up to X and predict the rows with larger x
    """
    from transect.cli.table import scaling as job

    result = job.scaling_file(
        table,
        columns.y,
        columns.x.split(","),
        columns.group,
        forms=forms.split(",") if forms else (),
        beyond=beyond,
        continuous=columns.continuous,
        n=n,
        seed=seed,
    )
    print(job.as_json(result) if as_json else job.summary(result))
    return 0
