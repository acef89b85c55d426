"""Aliases: planted ones are named, and no others; random designs against rank, connected components
and least squares.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from statsmodels.stats.outliers_influence import variance_inflation_factor

from transect.stats.design.aliasing import ROW, aliases, alone, factor_reports, linked, told_by_form

SIZES = [1e7, 1e8, 1e9, 1e10]


def crossed(**levels: list) -> pd.DataFrame:
    return pd.DataFrame(list(itertools.product(*levels.values())), columns=list(levels))


def named(
    frame: pd.DataFrame, numeric: tuple[str, ...] = ("size", "tokens", "flop"), **options: object
) -> set:
    """(factor, kind, the others) of every alias."""
    found = aliases(
        frame, [c for c in frame if c != "unit"], [n for n in numeric if n in frame], **options
    )
    return {(a.factor, a.kind, " + ".join(a.others)) for a in found}


CLEAN = crossed(size=SIZES, corpus=["pile", "c4"], mixer=["attention", "ssm"])
THREE = crossed(size=SIZES, corpus=["pile", "c4", "dolma"], mixer=["attention", "ssm"])


def noisy(share: float, n: int = 60) -> pd.DataFrame:
    """log10 tokens with exactly this squared correlation with log10 size."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    e = rng.normal(size=n)
    x = (x - x.mean()) / x.std()
    e = e - e.mean() - x * (e @ x) / (x @ x)
    e /= e.std()
    y = np.sqrt(share) * x + np.sqrt(1 - share) * e
    return pd.DataFrame({"size": 10 ** (8 + x), "tokens": 10 ** (10 + y)})


def case(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    return frame.assign(**columns)


PLANTED = {
    "nothing": (CLEAN, set()),
    "two names of one difference": (
        case(CLEAN, tying=CLEAN["mixer"].map({"attention": "no", "ssm": "yes"})),
        {("mixer", "same", "tying"), ("tying", "same", "mixer")},
    ),
    "three names": (
        case(CLEAN, tying=CLEAN["mixer"] + "!", vocab=CLEAN["mixer"] + "?"),
        {(a, "same", b) for a, b in itertools.permutations(["mixer", "tying", "vocab"], 2)},
    ),
    "three levels, one to one": (
        case(THREE, tokenizer=THREE["corpus"].str.upper()),
        {("corpus", "same", "tokenizer"), ("tokenizer", "same", "corpus")},
    ),
    "nested": (
        case(THREE, language=THREE["corpus"].map({"pile": "eng", "c4": "eng", "dolma": "spa"})),
        # of corpus only pile against c4 can be judged within a language
        {("language", "explained", "corpus"), ("corpus", "partial", "language")},
    ),
    "two groups that nothing links": (
        pd.DataFrame(
            {
                "corpus": list("aabbccdd") * 3,
                "tokenizer": list("xyxyzwzw") * 3,
                "size": np.repeat(SIZES[:3], 8),
            }
        ),
        {("corpus", "partial", "tokenizer"), ("tokenizer", "partial", "corpus")},
    ),
    "one link is enough": (
        pd.DataFrame(
            {
                "corpus": list("aabbccddd") * 3,
                "tokenizer": list("xyxyzwzwx") * 3,
                "size": np.repeat(SIZES[:3], 9),
            }
        ),
        set(),
    ),
    "tokens in proportion to size (Chinchilla)": (
        case(CLEAN, tokens=20 * CLEAN["size"]),
        {("size", "same", "tokens"), ("tokens", "same", "size")},
    ),
    "a power of size": (
        case(CLEAN, tokens=CLEAN["size"] ** 0.74),
        {("size", "same", "tokens"), ("tokens", "same", "size")},
    ),
    "size constant within an architecture": (
        pd.DataFrame(
            {
                "size": [1e8] * 4 + [1e9] * 4 + [1e10] * 4,
                "mixer": list("aaaabbbbcccc"),
                "corpus": list("pcpc") * 3,
            }
        ),
        # as numbers the three architectures have two contrasts, one of which is the line
        {("size", "explained", "mixer"), ("mixer", "partial", "size")},
    ),
    "compute is size times tokens": (
        (f := crossed(size=SIZES, tokens=[1e9, 1e10, 1e11])).assign(
            flop=6 * f["size"] * f["tokens"]
        ),
        {
            ("size", "explained", "tokens + flop"),
            ("tokens", "explained", "size + flop"),
            ("flop", "explained", "size + tokens"),
        },
    ),
    "near, 0.95": (noisy(0.95), {("size", "near", "tokens"), ("tokens", "near", "size")}),
    "near, 0.99": (noisy(0.99), {("size", "near", "tokens"), ("tokens", "near", "size")}),
    "not near, 0.85": (noisy(0.85), set()),
    "near by one odd unit": (
        case(
            big := pd.concat([CLEAN] * 4, ignore_index=True),
            tying=(big["mixer"] == "ssm").mask(big.index == 0, True).astype(str),
        ),
        {("mixer", "near", "tying"), ("tying", "near", "mixer")},
    ),
    "joint: one indicator is the sum of two": (
        # stage has three levels; chat = sft + rl, so either of the others is known from the two
        pd.DataFrame(
            {
                "sft": list("0100") * 4,
                "rl": list("0010") * 4,
                "tuned": list("0110") * 4,
                "size": np.repeat(SIZES, 4),
            }
        ),
        {
            ("sft", "explained", "rl + tuned"),
            ("rl", "explained", "sft + tuned"),
            ("tuned", "explained", "sft + rl"),
        },
    ),
    "unbalanced": (
        pd.concat([CLEAN, CLEAN[CLEAN["corpus"] == "c4"], CLEAN.head(3)], ignore_index=True).assign(
            tokenizer=lambda d: d["corpus"] + "-bpe"
        ),
        {("corpus", "same", "tokenizer"), ("tokenizer", "same", "corpus")},
    ),
    "one level only": (case(CLEAN, objective="causal"), set()),
    "unknown says nothing": (
        # where both are known one of them does not vary
        case(CLEAN, tying=CLEAN["mixer"].map({"attention": "unknown", "ssm": "yes"})),
        set(),
    ),
    "known in part": (
        case(
            CLEAN,
            tying=CLEAN["mixer"]
            .map({"attention": "no", "ssm": "yes"})
            .mask(CLEAN.index % 4 == 0, "unknown"),
        ),
        {("mixer", "same", "tying"), ("tying", "same", "mixer")},
    ),
    "unknown as None and NaN": (
        case(CLEAN, tokens=(20 * CLEAN["size"]).mask(CLEAN.index == 2), tying=[None] * len(CLEAN)),
        {("size", "same", "tokens"), ("tokens", "same", "size")},
    ),
    "half fraction": (
        # c = ab is an alias of an interaction, not of a main effect: nothing is said
        pd.DataFrame(
            [(a, b, a * b) for a in (-1, 1) for b in (-1, 1)] * 2, columns=list("abc")
        ).astype(str),
        set(),
    ),
    "two runs": (
        pd.DataFrame(
            {"mixer": ["attention", "ssm"], "corpus": ["pile", "c4"], "objective": "causal"}
        ),
        {("mixer", "same", "corpus"), ("corpus", "same", "mixer")},
    ),
    "three factors in a chain": (
        # both ways of writing the class through the family
        pd.DataFrame(
            {
                "family": list("aabbccdd") * 2,
                "class": list("ddddeeee") * 2,
                "objective": list("mmmmcccc") * 2,
                "size": SIZES * 4,
            }
        ),
        {
            ("class", "same", "objective"),
            ("objective", "same", "class"),
            ("class", "explained", "family"),
            ("objective", "explained", "family"),
            ("family", "partial", "class"),
            ("family", "partial", "objective"),
        },
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_alias_is_named_and_no_other(name: str) -> None:
    """The factor, the kind and the smallest sets, exactly."""
    frame, expected = PLANTED[name]
    assert named(frame) == expected


def test_near_aliases_tell_what_remains() -> None:
    """R2 = 0.95 over 60 units: variance inflation 20, as much as 3 units would say (planted
    exactly).
    """
    first = aliases(noisy(0.95), ["size", "tokens"], ["size", "tokens"])[0]
    assert (first.share, first.inflation, first.effective_units) == pytest.approx((0.95, 20, 3))


def test_groups_of_levels_that_nothing_links() -> None:
    """Corpora a, b occur with tokenizers x, y only, c and d with z, w."""
    frame, _ = PLANTED["two groups that nothing links"]
    first = aliases(frame, ["corpus", "tokenizer"])[0]
    assert first.groups == (("a", "b"), ("c", "d")) and (first.df, first.aliased) == (3, 1)


def test_seeds_do_not_count_as_configurations() -> None:
    """Five seeds of one configuration hide no near alias: what varies between configurations is
    judged on these.
    """
    frame = noisy(0.85, 20).assign(unit=lambda d: d.index.astype(str))
    weight = np.where(np.arange(20) < 3, 40, 1)
    many = frame.loc[frame.index.repeat(weight)].assign(
        seed=lambda d: [str(i) for i in range(len(d))]
    )
    assert (
        named(many.drop(columns="seed"), levels=["unit"])
        == set()
        == named(frame.drop(columns="unit"))
    )


def test_levels_are_the_coarsest_that_carry_a_factor() -> None:
    """Architecture varies between families, size between configurations, the seed between runs;
    counts follow.
    """
    frame = crossed(family=["p", "m"], size=SIZES, seed=["0", "1"])
    frame["mixer"], frame["objective"] = frame["family"] * 2, "causal"
    frame["configuration"] = frame["family"] + frame["size"].astype(str)
    frame["half"] = frame["family"].map({"p": "known", "m": "unknown"})
    found = factor_reports(
        frame, ["mixer", "size", "seed", "objective", "half"], ["family", "configuration"], ["size"]
    )
    told = {r.factor: (r.level, r.n_units, r.n_levels, r.unknown) for r in found}
    assert told["mixer"] == ("family", 2, 2, 0) and told["size"] == ("configuration", 8, 4, 0)
    assert (
        told["seed"] == (ROW, 16, 2, 0)
        and told["objective"][::2] == ("", 1)
        and told["half"][2:] == (1, 8)
    )


def test_a_line_in_the_logarithm_is_an_assumption() -> None:
    """Precision that goes with one of four sizes, two runs each, is told from size by the line
    only; with sizes all different, not.
    """
    frame = crossed(size=SIZES, corpus=["a", "b"])
    frame["precision"] = np.where(frame["size"] == 1e9, "bf16", "fp16")
    assert told_by_form(frame, ["precision", "corpus", "size"], ["size"]) == [("precision", "size")]
    assert told_by_form(frame[frame["corpus"] == "a"], ["precision", "size"], ["size"]) == []


def test_what_varies_alone() -> None:
    """Groups equal in all else: order varies alone at one size; unknown is a value of its own."""
    frame = pd.DataFrame({"size": [1, 1, 1, 2, 2], "init": list("00101"), "order": list("01102")})
    (group,) = alone(frame, "order", ["size", "init"])
    assert list(group.index) == [0, 1] and len(alone(frame, "init", ["size", "order"])) == 1


def test_a_number_needs_a_logarithm() -> None:
    """0 parameters are refused, with the factor's name."""
    with pytest.raises(ValueError, match="size needs positive values"):
        aliases(
            pd.DataFrame({"size": [0, 1, 2], "corpus": list("aab")}), ["size", "corpus"], ["size"]
        )


def random_design(seed: int) -> pd.DataFrame:
    """Unbalanced, 4 to 24 units, 2 to 4 factors, some of them functions of others, some values
    unknown.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 25))
    frame = pd.DataFrame(
        {
            f"f{i}": rng.integers(0, rng.integers(2, 5), n).astype(str)
            for i in range(rng.integers(2, 4))
        }
    )
    if rng.random() < 0.5:
        frame["derived"] = frame["f0"].map({"0": "u", "1": "u", "2": "v", "3": "w"})
    if rng.random() < 0.3:
        frame["f1"] = frame["f1"].mask(rng.random(n) < 0.2, "unknown")
    return frame


def components(a: pd.Series, b: pd.Series) -> int:
    """Of the bipartite graph of levels, by scipy."""
    i, j = pd.factorize(a)[0], pd.factorize(b)[0]
    n, m = i.max() + 1, j.max() + 1
    return connected_components(
        coo_array((np.ones(len(i)), (i, j + n)), shape=(n + m, n + m)), directed=False
    )[0]


@pytest.mark.parametrize("seed", range(60))
def test_pairs_of_random_designs(seed: int) -> None:
    """Aliased contrasts are one less than the components of the graph of levels; nothing else is
    called an alias.
    """
    frame = random_design(seed)
    found = {(a.factor, a.others[0]): a for a in aliases(frame, list(frame), largest=1)}
    for a, b in itertools.permutations(frame, 2):
        rows = frame[(frame[a] != "unknown") & (frame[b] != "unknown")]
        parts = (
            components(rows[a], rows[b]) if rows[a].nunique() > 1 and rows[b].nunique() > 1 else 1
        )
        alias = found.get((a, b))
        assert (alias.aliased if alias else 0) == parts - 1
        if alias and alias.kind == "partial":
            assert len(linked(rows[a], rows[b])) == parts
        if alias and alias.kind in ("same", "explained"):
            assert rows.groupby(b)[a].nunique().max() == 1
        if alias and alias.kind == "near":
            assert _share(rows, a, [b]) == pytest.approx(alias.share)


@pytest.mark.parametrize("seed", range(40))
def test_sets_of_random_designs(seed: int) -> None:
    """Every set that is named lowers the rank as it says, no part of it as much; every set that
    lowers it holds a named one.
    """
    frame = random_design(seed).replace("unknown", "0")
    frame = frame.loc[:, frame.nunique() > 1]
    found = aliases(frame, list(frame))
    whole = {
        a.factor: a for a in found if a.kind == "same"
    }  # a factor with a second name is left out of sets
    for a in frame:
        for size in (2, 3):
            for others in itertools.combinations([c for c in frame if c != a], size):
                n = _aliased(frame, a, others)
                named_sets = [
                    f for f in found if f.factor == a and f.others == others and f.kind != "near"
                ]
                parts = [
                    _aliased(frame, a, p)
                    for k in range(1, size)
                    for p in itertools.combinations(others, k)
                ]
                if named_sets:
                    assert n == named_sets[0].aliased > max(parts)
                elif n > max(parts) and not whole and _rank(frame, others) < len(frame):
                    coarser = [
                        f
                        for f in found
                        if f.factor == a and len(f.others) == size and f.aliased >= n
                    ]
                    assert coarser, (a, others)


@pytest.mark.parametrize("seed", range(25))
def test_sets_where_values_are_unknown(seed: int) -> None:
    """A set is judged on the rows in which all of it is known, and there it lowers the rank as it
    says.
    """
    frame = random_design(seed)
    rng = np.random.default_rng(seed)
    frame = frame.mask(rng.random(frame.shape) < 0.15, "unknown")
    for alias in aliases(frame, list(frame)):
        if alias.kind != "near":
            rows = frame[(frame[[alias.factor, *alias.others]] != "unknown").all(axis=1)]
            assert len(rows) == alias.n_units == len(frame) - alias.unknown
            assert _aliased(rows, alias.factor, alias.others) == alias.aliased > 0


def _matrix(frame: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    return np.hstack(
        [np.ones((len(frame), 1)), *(pd.get_dummies(frame[n]).to_numpy(float) for n in names)]
    )


def _rank(frame: pd.DataFrame, names: tuple[str, ...]) -> int:
    return int(np.linalg.matrix_rank(_matrix(frame, names)))


def _aliased(frame: pd.DataFrame, a: str, others: tuple[str, ...]) -> int:
    """Rank that is lost where a factor joins the others: rank(a) + rank(others) - rank(both), the
    intercept counted once.
    """
    return _rank(frame, (a,)) + _rank(frame, others) - _rank(frame, (a, *others)) - 1


def _share(rows: pd.DataFrame, a: str, others: list[str]) -> float:
    """The largest R2 of any contrast of a, by the generalised eigenvalues of explained and total
    sums of squares.
    """
    from scipy.linalg import eigh

    y = pd.get_dummies(rows[a]).to_numpy(float)[:, 1:]
    x = _matrix(rows, tuple(others))
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    total, explained = (z - z.mean(0) for z in (y, fitted))
    return float(eigh(explained.T @ explained, total.T @ total, eigvals_only=True)[-1])


def test_shares_are_those_of_variance_inflation() -> None:
    """For numbers the inflation is statsmodels' variance inflation factor."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    frame = pd.DataFrame({"size": 10 ** x[:, 0], "tokens": 10 ** (x[:, 0] + 0.2 * x[:, 1])})
    alias = aliases(frame, ["size", "tokens"], ["size", "tokens"])[0]
    design = np.column_stack([np.ones(40), np.log10(frame)])
    assert alias.inflation == pytest.approx(variance_inflation_factor(design, 1))


def test_a_grouping_may_be_called_row() -> None:
    """The same aliases and levels as under another name: 8 rows of a table in 4 groups."""
    frame = pd.DataFrame(
        {
            "row": list("aabbccdd"),
            "f": list("xxxxyyyy"),
            "g": list("uuvvuuvv"),
            "s": list("12121212"),
        }
    )
    other = frame.rename(columns={"row": "group"})
    said = [
        [(r.factor, r.level, r.n_units) for r in factor_reports(t, ["f", "g", "s"], [c])]
        for t, c in ((frame, "row"), (other, "group"))
    ]
    assert said[0] == [("f", "row", 4), ("g", "row", 4), ("s", ROW, 8)]
    assert [(f, level.replace("group", "row"), n) for f, level, n in said[1]] == said[0]
    assert aliases(frame, ["f", "g", "s"], levels=["row"]) == aliases(
        other, ["f", "g", "s"], levels=["group"]
    )
