"""The result of `transect fit` as lme4 prints it, or as JSON."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from transect.stats.mixed.least_squares import LeastSquaresFit
from transect.stats.mixed.random_effects import correlations, r_squared
from transect.stats.table.information import codings, information, residual_quantiles
from transect.stats.table.table_model import TableModel
from transect.store.tables.reading import LeftOut, json_text, p_text, records, table_lines

R_SQUARED = {
    "marginal": "by the fixed effects (marginal)",
    "conditional": "with the random ones (conditional)",
    "r_squared": "explained",
    "adjusted": "adjusted",
    "mcfadden": "of the log likelihood (McFadden)",
}
CODED = {
    "treatment": "",
    "sum": "; each against the mean of the levels",
    "every level": "; every level has its effect",
}
SHOWN = 12  # levels of a factor
ESTIMATE = ["estimate", "se", "df", "p"]


def as_json(model: TableModel, beside: dict[str, Any]) -> str:
    return json_text(model.as_json() | _plain(beside))


def summary(model: TableModel, beside: dict[str, Any]) -> str:
    """The printed summary, in the order of lme4's; binomial models have t with the units' df
    instead of lme4's z.
    """
    fit, logit = model.fit, model.family == "binomial"
    kind = ("Generalized linear" if logit else "Linear") + (
        " mixed" if model.formula.random else ""
    )
    label = "REML criterion" if model.method == "REML" else "-2 log likelihood"
    causes = "; ".join(str(LeftOut(**part)) for part in records(beside["left_out_rows"]))
    missing = f" ({model.n_missing} more were left out: {causes})" if model.n_missing else ""
    lines = [
        f"{kind} model fit by {model.method}" + (" (binomial, logit)" if logit else ""),
        f"Formula: {model.formula.text}",
        f"{label}: {fit.criterion:.4f}",
        f"Rows: {fit.n}{missing}",
        *_quality(model),
        *_random(model),
        "",
        "Fixed effects:",
        *_fixed(model),
        *_codings(model),
        *_term_tests(beside["terms"], logit),
        *_cross_check(model),
        *_beside(beside),
    ]
    if notes := [
        *beside["table_notes"],
        *_slopes_omitted(model, beside["omitted_slopes"]),
        *model.warnings,
    ]:
        lines += ["", *(f"Note: {note}." for note in notes)]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Tables as records, whatever holds them."""
    if isinstance(value, pd.DataFrame):
        return records(value)
    return (
        {name: _plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value
    )


def _quality(model: TableModel) -> Iterator[str]:
    """Information criteria, explained variance, and what is left over."""
    criteria, spread, explained = (
        information(model),
        residual_quantiles(model),
        r_squared(model.fit),
    )
    yield (
        f"AIC {criteria['aic']:.2f}, BIC {criteria['bic']:.2f}, log likelihood {criteria['log_likelihood']:.4f}"
        f"{' (restricted)' if model.method == 'REML' else ''}, {criteria['n_parameters']:.0f} parameters, "
        f"residual df {criteria['df_residual']:.0f}"
    )
    yield "R2: " + ", ".join(
        f"{explained[name]:.4f} {text}" for name, text in R_SQUARED.items() if name in explained
    )
    if not isinstance(model.fit, LeastSquaresFit):
        yield f"Converged: with all columns in standard units, one more step would lower the criterion by {max(model.fit.left, 0.0):.1g}"
    kind = "Pearson" if model.family == "binomial" else "Scaled"
    yield f"{kind} residuals: " + ", ".join(f"{name} {value:.3f}" for name, value in spread.items())


def _codings(model: TableModel) -> Iterator[str]:
    for coding in codings(model):
        levels = [
            f"{level} (reference)" if level == coding["reference"] else level
            for level in coding["levels"]
        ]
        shown = levels[:SHOWN] + [f"... {len(levels)} levels"] * (len(levels) > SHOWN)
        yield f" {coding['factor']}: {', '.join(shown)}" + CODED[coding["coding"]]


def _term_tests(tests: pd.DataFrame, logit: bool) -> Iterator[str]:
    if len(tests):
        how = (
            "Wald chi-squared, and F with the df of the units"
            if logit
            else "F with Satterthwaite's df"
        )
        yield from ["", f"Whole terms, each beside the others (type III, {how}):"]
        columns = ["term", "num_df", *(["chi2", "p_chi2"] if logit else []), "F", "den_df", "p"]
        yield from table_lines(tests[columns])
        yield from (
            f" {term}: {hypothesis}"
            for term, hypothesis in tests[["term", "hypothesis"]].to_numpy()
            if hypothesis
        )


def _slopes_omitted(model: TableModel, slopes: pd.DataFrame) -> Iterator[str]:
    """One note on all of them: what each costs, what would add it, and those that cannot be added."""
    possible, impossible = slopes[slopes["remedy"] != ""], slopes[slopes["remedy"] == ""]
    if len(possible):
        listed = [
            f"{term} by {group}" + (f" ({ratio:.2f} times)" if ratio == ratio else " (not tried)")
            for term, group, _, ratio in possible.itertuples(index=False)
        ]
        yield (
            f"slopes omitted: {', '.join(listed)}; in brackets, how large the standard error is with the slope, against that "
            f"printed, which takes it that all levels have the same one. To add them: {', '.join(dict.fromkeys(possible['remedy']))}"
        )
    if len(impossible):
        listed = [f"{term} by {group}" for term, group in impossible[["term", "group"]].to_numpy()]
        yield f"slopes omitted, as the rows of a level are too few to estimate one: {', '.join(listed)}"
    if len(
        by_rows := model.effects[(model.effects["slopes_omitted"] != "") & model.effects["by_rows"]]
    ):
        yield f"rows count as the independent units of {', '.join(by_rows['term'])}"


def _random(model: TableModel) -> list[str]:
    if isinstance(model.fit, LeastSquaresFit):
        return (
            []
            if model.family == "binomial"
            else ["", f"Residual standard deviation: {model.fit.sigma:.5g}"]
        )
    frame = model.fit.components.rename(
        columns={
            "group": "Groups",
            "effect": "Name",
            "variance": "Variance",
            "sd": "Std.Dev.",
            "n_levels": "Levels",
        }
    )
    corr = correlations(model.fit)
    frame["Corr"] = [
        " ".join(
            f"{c:+.2f}"
            for c in corr[(corr["group"] == g) & (corr["other"] == e)]["correlation"].dropna()
        )
        for g, e in frame[["Groups", "Name"]].to_numpy()
    ]
    return [
        "",
        "Random effects:",
        *table_lines(frame[["Groups", "Name", "Variance", "Std.Dev.", "Corr", "Levels"]]),
    ]


def _fixed(model: TableModel) -> list[str]:
    frame = model.effects.copy()
    frame["t"] = frame["estimate"] / frame["se"]
    frame["unit"] = [f"{u} ({n})" for u, n in frame[["unit", "n_units"]].to_numpy()]
    return table_lines(frame[["term", "estimate", "se", "df", "t", "p", "lower", "upper", "unit"]])


def _cross_check(model: TableModel) -> Iterator[str]:
    """Of every effect whose unit is not the row."""
    effects, checks = model.effects, model.on_means
    unchecked = effects[~effects["by_rows"] & (effects["term"] != "(Intercept)")]
    if len(checks):
        yield from [
            "",
            "On one number per unit, its mean, intercept or slope, by least squares (levels of other groups taken as fixed):",
        ]
        if model.family == "binomial":
            yield " They are shares, on another scale: only sign and verdict (whether the 95 % interval excludes 0) compare."
        shown = checks.assign(
            unit=[f"{u} ({n})" for u, n in checks[["unit", "n_units"]].to_numpy()],
            differs=[f"other {d}" if d else "no" for d in checks["differs"]],
        )
        yield from table_lines(shown[["term", "unit", "by", *ESTIMATE, "differs"]])
        unchecked = unchecked[~unchecked["term"].isin(checks["term"])]
    if len(unchecked):
        names = ", ".join(unchecked["term"])
        yield from [
            "",
            f"Without such a check: {names} (their units' means and slopes do not determine them)",
        ]


def _beside(beside: dict[str, Any]) -> Iterator[str]:
    """What was asked for, in the order in which it is printed."""
    if "intervals" in beside:
        yield from _intervals(beside["intervals"], beside["intervals_by"])
    if "comparison" in beside:
        yield from _comparison(beside["comparison"])
    if "means" in beside:
        yield from _means(beside["means"], beside["differences"])
    if "equivalence" in beside:
        yield from _equivalence(beside["equivalence"])
    if "influence" in beside:
        yield from _influence(beside)
    if "modes" in beside:
        head = "Random effects of each level (conditional modes):"
        yield from ["", head, *table_lines(beside["modes"])]
    yield from _files(beside)
    if "relatedness" in beside:
        yield from _relatedness(beside["relatedness"])


def _intervals(intervals: pd.DataFrame, method: str) -> Iterator[str]:
    yield from ["", f"95 % intervals by {method}:", *table_lines(intervals)]
    if intervals[["lower", "upper"]].isna().any(axis=None):
        yield " An empty bound could not be found: the deviance has no minimum there that the search reaches."


def _files(beside: dict[str, Any]) -> Iterator[str]:
    """The files that were written."""
    if "predicted" in beside:
        written = beside["predicted"]
        rows = f"{written['predicted']} of {written['rows']} rows"
        yield from ["", f"Fitted values and predictions: {written['file']} ({rows})"]
    if "plots" in beside:
        yield from ["", f"Figures: {', '.join(beside['plots'])}"]
    if "in_r" in beside:
        yield from ["", f"The same in R: {', '.join(beside['in_r'])}"]


def _comparison(test: dict[str, Any]) -> Iterator[str]:
    yield from ["", f"Against {test['against']}, both fitted again by {test['method']}:"]
    p = p_text(test["p_chi2"])
    yield f" chi2 {test['chi2']:.4f}, df {test['df']}, p {p} (chi-squared distribution)"
    least = 1 / (test["n"] + 1)
    p = f"<= {least:.3g}" if test["p"] <= least else f"{test['p']:.4f}"
    yield f" p {p} by parametric bootstrap, {test['n']} samples of the smaller model, Monte Carlo SE {test['p_se']:.4f}"
    if test["same_fixed"]:
        yield " The models differ in their variances, which are 0 at the edge: the chi-squared p is too large, take the bootstrap's."


def _means(means: pd.DataFrame, differences: pd.DataFrame) -> Iterator[str]:
    for factors, part in means.groupby("factors", sort=False):
        yield from [
            "",
            f"Marginal means of {factors} (equal weights over the other factors, numbers at their mean):",
        ]
        probabilities = [
            c for c in ("probability", "probability_lower", "probability_upper") if c in part
        ]
        yield from _estimable(
            part, ["label", "estimate", "se", "df", "lower", "upper", *probabilities]
        )
        pairs = differences[differences["factors"] == factors] if len(differences) else differences
        for kind, of_kind in pairs.groupby("kind", sort=False) if len(pairs) else ():
            yield f" {str(kind).capitalize()}s, p adjusted by Holm over these {len(of_kind)}:"
            odds = ["odds_ratio"] if "odds_ratio" in of_kind else []
            yield from _estimable(of_kind, ["label", *ESTIMATE, "p_holm", "lower", "upper", *odds])


def _estimable(rows: pd.DataFrame, columns: list[str]) -> Iterator[str]:
    known = rows["estimate"].notna()
    yield from table_lines(rows.loc[known, columns])
    if not known.all():
        yield f" Not estimable, since a cell that they need has no rows: {'; '.join(rows.loc[~known, 'label'])}"


def _equivalence(tests: pd.DataFrame) -> Iterator[str]:
    margin = f"{tests['margin'].iloc[0]:g}" if len(tests) else ""
    yield from [
        "",
        f"Within {margin} of 0 (two one-sided tests, 5 %; a margin that was fixed before the data were seen):",
    ]
    columns = ["term", "estimate", "lower90", "upper90", "p", "verdict", "smallest_margin"]
    yield from (
        table_lines(tests[columns])
        if len(tests)
        else [" the model has no effect but the intercept"]
    )


def _influence(beside: dict[str, Any]) -> Iterator[str]:
    table, columns = beside["influence"], ", ".join(dict.fromkeys(beside["left_out"]["group"]))
    yield from ["", f"With every single level of {columns} left out, estimates range"]
    yield from table_lines(
        table.assign(fragile=table["fragile"].map({True: "fragile", False: "no"}))
    )
    if beside["not_left_out"]:
        yield f" Not left out, having more than 60 levels: {', '.join(beside['not_left_out'])} (name it to leave it out)"


def _relatedness(result: dict[str, Any]) -> Iterator[str]:
    yield from [
        "",
        f"Related levels of {result['of']} ({result['file']}, taken for {result['taken_for']}), on their means:",
    ]
    yield f" {result['lambda']['sentence']}"
    columns = ["phylogeny", "lambda", "term", *ESTIMATE, "lower", "upper"]
    yield from table_lines(result["effects"][columns])
    if result["left_out"]:
        yield f" Left out, varying within the levels and not between their means: {', '.join(result['left_out'])}"
