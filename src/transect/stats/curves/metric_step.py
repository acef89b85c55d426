"""A jump of a thresholded metric: made by the metric, or in the continuous metric too?

Accuracy, exact match and other thresholded metrics can jump where what lies below them rises
smoothly (Schaeffer et al. 2023). Both metrics are averaged per group (run, seed, family) and x, and
get the same curve, with a step in one gap between neighbouring x:
    m(group, z) = a_group + c1 z + .. + cd z^d + delta [z > cut] + e,   z = log10 x,   d = 3 (fewer with 5 or 6 values of x)
    share = delta / (largest - smallest value of the curve): what one gap adds beyond a smooth
    curve, 1 for a pure step
The cut is the gap where a step explains most of the thresholded metric; at least two x lie on each
side of it. What the metric itself would do to a smooth latent is computed: the link g (isotonic
regression of the thresholded on the continuous metric, over rows: items with their own latents, or
the groups' means) is applied to the continuous metric with its step taken out,
    explained = delta of g(continuous - curve with step + curve without) / delta of the thresholded
    metric
Intervals: jackknife over whole groups, Student's t with groups - 1 degrees of freedom. With STEP =
1/4 of the range:
    no step                        the thresholded metric's share is below STEP (95 % interval)
    in the continuous metric too   both shares are above STEP (95 % intervals)
    metric-induced                 the thresholded one's is, the continuous one's between -STEP and STEP (90 % interval: two one-sided
                                   tests at 5 %), explained >= EXPLAINED
    undecided                      else, with the reason
What cannot be told: a rise within one gap is a step at this resolution, however smooth between the
two x, and a jump in the first or the last gap is none; a continuous metric that orders the rows as
x does is always linked to the thresholded one, so whether it is the latent is for the researcher to
say; groups that step in different gaps make each other smooth (`n_agree`: those that step in this
one). Simulated rates of right and wrong labels: docs/simulations.md. Sources: Schaeffer, Miranda &
Koyejo (2023), NeurIPS 36; Wei et al. (2022), TMLR; Barlow et al. (1972) on isotonic regression.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from transect.errors import InputError
from transect.stats.inference.intervals import MIN_UNITS, t_interval

LABELS = ("metric-induced", "in the continuous metric too", "undecided", "no step")
STEP = 0.25  # of a metric's range
EXPLAINED = 0.5  # of the thresholded metric's step
FEWEST_X = 5


@dataclass(frozen=True)
class MetricStep:
    """The label with what it rests on. Shares and `explained`: estimate, se, df, lower, upper,
    lower90, upper90.
    """

    label: str
    reason: str
    below: float  # the gap: the x on its two sides
    above: float
    gap: float  # decades between neighbouring x of one group across the cut (median of the groups)
    thresholded: dict[str, float]
    continuous: dict[str, float]
    sensitivity: dict[
        str, float
    ]  # share of the thresholded metric minus that of the continuous one
    explained: dict[str, float]
    n_groups: int
    n_agree: int
    n_x: int
    degree: int
    rows_per_cell: float  # items, or 1: median of groups and x


def metric_step(
    x: np.ndarray, thresholded: np.ndarray, continuous: np.ndarray, groups: np.ndarray
) -> MetricStep:
    """Label the jump; all of shape [row], a row one item of one group at one x, or their mean.

    Raises InputError for fewer than 3 groups or 5 values of x, x not above 0, missing values, a
    metric with one value only.
    """
    rows = _checked(x, thresholded, continuous, groups)
    cells = _cells(rows)
    places = np.unique(cells["z"])
    degree = min(3, len(places) - 4)
    cut = _cut(cells, places, degree)
    share, of_continuous, sensitivity, explained = _jackknife(rows, cut, degree)
    label, reason = _label(share, of_continuous, explained)
    gaps = [_gap(part["z"].to_numpy(), cut) for _, part in cells.groupby("group")]
    between = [gap for gap in gaps if np.isfinite(gap)]
    low, high = places[places < cut].max(), places[places > cut].min()
    return MetricStep(
        label,
        reason,
        float(10**low),
        float(10**high),
        float(np.median(between)) if between else float(high - low),
        share,
        of_continuous,
        sensitivity,
        explained,
        cells["group"].nunique(),
        _agreeing(cells, cut),
        len(places),
        degree,
        float(cells["n"].median()),
    )


def _checked(
    x: np.ndarray, thresholded: np.ndarray, continuous: np.ndarray, groups: np.ndarray
) -> pd.DataFrame:
    numbers = {
        name: np.asarray(v, float) for name, v in (("x", x), ("t", thresholded), ("c", continuous))
    }
    rows = pd.DataFrame({**numbers, "group": pd.factorize(pd.Series(groups))[0]})
    if not np.isfinite(rows.to_numpy(float)).all():
        raise InputError(
            "the jump of a metric: values are missing or infinite; drop those rows first"
        )
    if not (rows["x"] > 0).all():
        raise InputError("the jump of a metric: x must be above 0 in every row")
    n_groups, n_x = rows["group"].nunique(), rows["x"].nunique()
    if n_groups < MIN_UNITS or n_x < FEWEST_X:
        raise InputError(
            f"the jump of a metric needs at least {MIN_UNITS} groups and {FEWEST_X} values of x; there are {n_groups} and {n_x}"
        )
    for name, what in (("t", "thresholded"), ("c", "continuous")):
        if rows[name].nunique() == 1:
            raise InputError(
                f"the {what} metric is {rows[name][0]:g} in every row: there is no jump to explain"
            )
    return rows.assign(z=np.log10(rows["x"]))


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per group and x: means t and c, number of rows n, z; sorted by group, then z."""
    return rows.groupby(["group", "z"], as_index=False).agg(
        t=("t", "mean"), c=("c", "mean"), n=("t", "size")
    )


def _centred(columns: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Columns [cell, column] minus their means in each group: the intercept of a group fitted
    beforehand.
    """
    codes = np.unique(group, return_inverse=True)[1]
    counts = np.bincount(codes)
    means = np.column_stack([np.bincount(codes, c) / counts for c in columns.T])
    return columns - means[codes]


def _smooth(z: np.ndarray, degree: int) -> np.ndarray:
    scaled = 2 * (z - z.min()) / (z.max() - z.min()) - 1
    return scaled[:, None] ** np.arange(1, degree + 1)


def _cut(cells: pd.DataFrame, places: np.ndarray, degree: int) -> float:
    """The middle of the gap where a step in the direction of the whole rise takes most from the
    residuals of the smooth curve.
    """
    z, group = cells["z"].to_numpy(), cells["group"].to_numpy()
    cuts = (places[1:-2] + places[2:-1]) / 2
    every = _centred(np.column_stack([cells["t"], _smooth(z, degree), z[:, None] > cuts]), group)
    base = np.linalg.qr(every[:, 1 : degree + 1])[0]
    left = every - base @ (base.T @ every)
    y, steps = left[:, 0], left[:, degree + 1 :]
    size = (steps**2).sum(0)
    up = np.sign(np.corrcoef(z, cells["t"])[0, 1])
    gain = np.where(size > 1e-9, up * (y @ steps), 0.0) / np.sqrt(np.maximum(size, 1e-9))
    return float(cuts[int(gain.argmax())])


def _jackknife(rows: pd.DataFrame, cut: float, degree: int) -> list[dict[str, float]]:
    """Intervals of what `_measures` gives: every group left out once."""
    whole = _measures(rows, cut, degree)
    names = rows["group"].unique()
    without = np.array([_measures(rows[rows["group"] != name], cut, degree) for name in names])
    n = len(names)
    se = np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))
    return [t_interval(estimate, error, n - 1) for estimate, error in zip(whole, se, strict=True)]


def _measures(rows: pd.DataFrame, cut: float, degree: int) -> np.ndarray:
    """Share of the thresholded metric, of the continuous one, their difference, and explained; NaN
    where not determined.
    """
    cells = _cells(rows)
    z, group = cells["z"].to_numpy(), cells["group"].to_numpy()
    smooth, step = _smooth(z, degree), (z > cut).astype(float)
    full = _centred(np.column_stack([smooth, step]), group)
    if np.linalg.matrix_rank(full) < degree + 1:
        return np.full(4, np.nan)
    values = _centred(cells[["t", "c"]].to_numpy(), group)
    beta = np.linalg.lstsq(full, values, rcond=None)[0]
    curves = np.column_stack([smooth, step]) @ beta
    first, last = curves[z.argmin()], curves[z.argmax()]
    ranges = np.ptp(curves, axis=0) * np.where(last >= first, 1, -1)
    shares = beta[-1] / np.where(ranges == 0, np.nan, ranges)
    alone = np.linalg.lstsq(full[:, :-1], values[:, 1], rcond=None)[0]
    shift = full[:, :-1] @ alone - full @ beta[:, 1]
    linked = _linked(rows, cells, shift)
    taken = np.linalg.lstsq(full, _centred(linked[:, None], group)[:, 0], rcond=None)[0][-1]
    return np.array(
        [*shares, shares[0] - shares[1], taken / beta[-1, 0] if beta[-1, 0] else np.nan]
    )


def _linked(rows: pd.DataFrame, cells: pd.DataFrame, shift: np.ndarray) -> np.ndarray:
    """Mean per cell of g(continuous + shift of its cell), g fitted to the rows as they are."""
    c, t = rows["c"].to_numpy(), rows["t"].to_numpy()
    up = np.corrcoef(c, t)[0, 1] >= 0 if c.std() > 0 and t.std() > 0 else True
    at, codes = np.unique(c, return_inverse=True)
    counts = np.bincount(codes)
    g = isotonic_regression(np.bincount(codes, t) / counts, weights=counts, increasing=bool(up)).x
    index = pd.MultiIndex.from_frame(cells[["group", "z"]])
    cell = index.get_indexer(pd.MultiIndex.from_frame(rows[["group", "z"]]))
    return np.bincount(cell, np.interp(c + shift[cell], at, g)) / np.bincount(cell)


def _label(
    thresholded: dict[str, float], continuous: dict[str, float], explained: dict[str, float]
) -> tuple[str, str]:
    """The label and what it rests on, in a sentence."""
    induced, true, undecided, none = LABELS
    if not np.isfinite([thresholded["lower"], continuous["lower"], explained["lower"]]).all():
        return undecided, "without one of the groups the step is not determined by the others"
    if thresholded["upper"] < STEP:
        return none, f"the step takes less than {STEP:g} of the thresholded metric's range"
    if thresholded["lower"] <= STEP:
        return (
            undecided,
            f"the step's share of the thresholded metric's range may be on either side of {STEP:g}",
        )
    if continuous["lower"] > STEP:
        return true, f"the step takes more than {STEP:g} of the continuous metric's range"
    if not -STEP < continuous["lower90"] <= continuous["upper90"] < STEP:
        return (
            undecided,
            f"the step's share of the continuous metric's range may be on either side of {STEP:g}",
        )
    if explained["estimate"] < EXPLAINED:
        return undecided, (
            "the continuous metric has no step, but does not account for that of the thresholded one "
            f"(explained {explained['estimate']:.2f}, less than {EXPLAINED:g})"
        )
    return (
        induced,
        "the continuous metric has no such step, and a smooth one gives it through this threshold",
    )


def _gap(z: np.ndarray, cut: float) -> float:
    """Decades between the neighbouring x of one group across the cut; NaN where it has none on one
    side.
    """
    low, high = z[z < cut], z[z > cut]
    return float(high.min() - low.max()) if len(low) and len(high) else np.nan


def _agreeing(cells: pd.DataFrame, cut: float) -> int:
    """Groups whose own largest change of the thresholded metric, between neighbouring x, spans the
    cut.
    """
    agree = 0
    for _, part in cells.groupby("group"):
        z, change = part["z"].to_numpy(), np.abs(np.diff(part["t"]))
        if len(change) and change.max() > 0:
            i = int(change.argmax())
            agree += bool(z[i] < cut < z[i + 1])
    return agree
