"""Groups predicted from the others: against statsmodels, dense algebra, planted truth; random rows
are refused.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from transect.errors import InputError
from transect.stats.effects.grouped_prediction import predict_left_out
from transect.stats.formula.notation import Design, parse
from transect.stats.mixed import gaussian
from transect.stats.mixed.prediction import predict_rows


def _models(seed: int, gain: float = 1.0) -> pd.DataFrame:
    """One row per model: 6 families of 8; y = size + gain * data + noise of 0.5."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "family": np.repeat(list("abcdef"), 8),
            "size": rng.normal(size=48),
            "data": rng.normal(size=48),
        }
    )
    return frame.assign(y=2 + frame["size"] + gain * frame["data"] + rng.normal(0, 0.5, 48))


def _crossed(seed: int, n_families: int = 6, n_items: int = 12) -> pd.DataFrame:
    """4 runs per family, all with the same items; family sd 0.5, run 0.3, item 0.8 with slopes on
    size, residual 0.4.
    """
    rng = np.random.default_rng(seed)
    n_runs = 4 * n_families
    run, item = (
        g.ravel() for g in np.meshgrid(np.arange(n_runs), np.arange(n_items), indexing="ij")
    )
    size = rng.normal(size=n_runs)[run]
    y = (
        size
        + rng.normal(0, 0.5, n_families)[run // 4]
        + rng.normal(0, 0.3, n_runs)[run]
        + rng.normal(0, 0.8, n_items)[item]
    )
    y = y + size * rng.normal(0, 0.2, n_items)[item] + rng.normal(0, 0.4, len(run))
    return pd.DataFrame(
        {
            "y": y,
            "size": size,
            "family": [f"f{r // 4}" for r in run],
            "run": [f"r{r:02d}" for r in run],
            "item": [f"i{i:02d}" for i in item],
        }
    )


MIXED = "y ~ size + (1 | family) + (1 | run) + (1 + size | item)"


def test_least_squares_equal_statsmodels() -> None:
    """Means, intervals and log density of OLS predictions, family by family; both R2 from the sums."""
    frame = _models(1)
    found = predict_left_out(frame, "y ~ size + data", "family", "y ~ size")
    error, scale_error, mean_error = 0.0, 0.0, 0.0
    for family in "abcdef":
        rest, out = frame[frame["family"] != family], frame[frame["family"] == family]
        other = smf.ols("y ~ size + data", rest).fit().get_prediction(out).summary_frame(0.05)
        own = found.rows[found.rows["left_out"] == family]
        assert own["predicted"].to_numpy() == pytest.approx(other["mean"].to_numpy())
        assert own[["lower", "upper"]].to_numpy() == pytest.approx(
            other[["obs_ci_lower", "obs_ci_upper"]].to_numpy()
        )
        error += ((out["y"] - other["mean"]) ** 2).sum()
        scale_error += ((out["y"] - smf.ols("y ~ size", rest).fit().predict(out)) ** 2).sum()
        mean_error += ((out["y"] - rest["y"].mean()) ** 2).sum()
    assert found.overall["r2_mean"] == pytest.approx(1 - error / mean_error)
    assert found.overall["r2_scale"] == pytest.approx(1 - error / scale_error)
    density = stats.t.logpdf(
        frame["y"], found.rows["df"], found.rows["predicted"], found.rows["sd"]
    )
    assert found.overall["log_score"] == pytest.approx(density.mean())
    inside = (found.rows["lower"] <= frame["y"]) & (frame["y"] <= found.rows["upper"])
    assert found.overall["coverage"] == pytest.approx(inside.mean())
    assert found.groups["n_rows"].tolist() == [8] * 6


def test_rows_of_a_mixed_model_equal_the_dense_conditional_distribution() -> None:
    """New family, new runs, known items with slopes, largest term either known or new: mean and
    variance by n x n algebra.
    """
    frame = _crossed(2, n_families=4)
    for held in ("family", "item"):
        out = (frame[held] == frame[held].iloc[-1]).to_numpy()
        parsed = parse(MIXED)
        x = Design(parsed.fixed, frame).matrix(frame)
        terms = [gaussian.grouping(r, frame) for r in parsed.random]
        y = frame["y"].to_numpy()
        fit = gaussian.fit(y[~out], x[~out], ["1", "size"], [t.at(~out) for t in terms])
        order = [next(t for t in terms if t.name == own.name) for own in fit.deviance.terms]
        known = {
            j: np.array(
                [
                    own.levels.index(t.levels[c]) if t.levels[c] in own.levels else -1
                    for c in t.codes[out]
                ]
            )
            for j, (t, own) in enumerate(zip(order, fit.deviance.terms, strict=True))
        }
        mean, sd, _ = predict_rows(fit, x[out], [t.at(out) for t in order], known)
        v = np.eye(len(y))
        for t, factor in zip(order, fit.deviance.factors(fit.theta), strict=True):
            v += (t.columns @ factor @ factor.T @ t.columns.T) * (t.codes[:, None] == t.codes)
        v *= fit.sigma**2
        inner, cross = np.linalg.inv(v[np.ix_(~out, ~out)]), v[np.ix_(out, ~out)]
        covariance = np.linalg.inv(x[~out].T @ inner @ x[~out])
        beta = covariance @ x[~out].T @ inner @ y[~out]
        rest = x[out] - cross @ inner @ x[~out]
        variance = v[np.ix_(out, out)] - cross @ inner @ cross.T + rest @ covariance @ rest.T
        assert mean == pytest.approx(
            x[out] @ beta + cross @ inner @ (y[~out] - x[~out] @ beta), rel=1e-6
        )
        assert sd == pytest.approx(np.sqrt(np.diag(variance)), rel=1e-6)


def test_planted_predictors_transfer_and_noise_does_not() -> None:
    """data explains half: R2 against scale alone near 1 - 0.25 / 1.25 = 0.8; without an effect it
    is 0 or less.
    """
    formula = "y ~ size + data"
    gained = [
        predict_left_out(_models(s), formula, "family", "y ~ size").overall["r2_scale"]
        for s in range(8)
    ]
    nothing = [
        predict_left_out(_models(s, 0.0), formula, "family", "y ~ size").overall["r2_scale"]
        for s in range(8)
    ]
    assert np.mean(gained) == pytest.approx(0.8, abs=0.08)
    assert np.mean(nothing) == pytest.approx(0.0, abs=0.06)


def test_shared_groupings_are_named() -> None:
    """A family is left out with its runs; items are on both sides."""
    found = predict_left_out(_crossed(1), MIXED, "family")
    assert found.shared == ("item",)
    assert np.isnan(found.overall["r2_scale"]) and found.overall["r2_mean"] > 0.3
    assert (found.rows["df"] < 15).all()  # five families and 20 runs, not 240 rows


@pytest.mark.slow
def test_intervals_of_new_families_cover() -> None:
    """100 tables of 8 families of 4 runs: 95 % intervals hold 93 to 97 % of the rows of families
    left out.
    """
    covered = []
    for seed in range(100):
        frame = _crossed(100 + seed, n_families=8, n_items=8)
        covered.append(predict_left_out(frame, MIXED, "family").overall["coverage"])
    assert 0.93 < np.mean(covered) < 0.97


def test_uncorrelated_slopes_give_nearly_the_same_predictions() -> None:
    """(1 + size || item): two terms of one name; data without a correlation, so predictions differ
    by less than half an sd.
    """
    frame = _crossed(1)
    correlated = predict_left_out(frame, MIXED, "family").rows
    apart = predict_left_out(frame, MIXED.replace("size | item", "size || item"), "family").rows
    assert (np.abs(correlated["predicted"] - apart["predicted"]) / correlated["sd"]).max() < 0.5


def test_random_rows_are_refused() -> None:
    """Rows one by one, random folds of a mixed model's rows."""
    frame = _crossed(1).assign(row=range(288), fold=np.random.default_rng(0).integers(0, 5, 288))
    with pytest.raises(InputError, match="not single rows"):
        predict_left_out(frame, MIXED, "row")
    with pytest.raises(
        InputError, match=r"'fold' cuts through every grouping of the formula \(family, run, item\)"
    ):
        predict_left_out(frame, MIXED, "fold")


def test_what_cannot_be_predicted_is_said() -> None:
    """The group as a fixed effect, unknown columns, another response, counts, one level left, text."""
    frame = _models(1).assign(suite=lambda f: np.where(f["family"] < "d", "s", "t"))
    for formula, group, scale, message in [
        (
            "y ~ size + family",
            "family",
            None,
            r"family 'a' cannot be predicted.*coefficient of 'family",
        ),
        ("y ~ size", "famly", None, "Did you mean 'family'"),
        ("y ~ size", "family", "data ~ size", "the same in both"),
        ("cbind(size, data) ~ 1", "family", None, "one response column"),
        ("y ~ size + (1 | suite)", "suite", None, "suite has one level left"),
        ("family ~ size", "suite", None, "holds text"),
    ]:
        with pytest.raises(InputError, match=message):
            predict_left_out(frame, formula, group, scale)
    with pytest.raises(InputError, match="too few for 3 coefficients"):
        predict_left_out(frame.iloc[[0, 1, 2, 8, 9, 10]], "y ~ size + data", "family")
