"""What would tell an aliased pair apart: against all subsets of the candidates, with estimability
judged by rank.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from transect.stats.design.separation import separating

HERE = pd.DataFrame({"mixer": list("aabb"), "tying": list("nnyy"), "size": [1e7, 1e8, 1e7, 1e8]})


def estimable(
    frame: pd.DataFrame, levels: list[str], factor: str, others: list[str], numeric: list[str]
) -> bool:
    """Whether each difference of levels (or the slope) lies in the row space: the rank does not
    grow when it is added.
    """
    parts, names = [np.ones((len(frame), 1))], [""]
    for name in (factor, *others):
        if name in numeric:
            parts.append(np.log10(frame[[name]].to_numpy(float)))
            names.append(name)
        else:
            dummies = pd.get_dummies(frame[name])
            parts.append(dummies.to_numpy(float))
            names += [f"{name}={level}" for level in dummies]
    x = np.hstack(parts)
    rank = np.linalg.matrix_rank(x)
    wanted = (
        [[factor]]
        if factor in numeric
        else [[f"{factor}={levels[0]}", f"{factor}={level}"] for level in levels[1:]]
    )
    for pair in wanted:
        row = np.zeros(len(names))
        row[names.index(pair[0])] = 1
        if len(pair) == 2:
            row[names.index(pair[1])] = -1
        if np.linalg.matrix_rank(np.vstack([x, row])) > rank:
            return False
    return True


def brute_force(
    frame: pd.DataFrame,
    pool: pd.DataFrame,
    factor: str,
    others: list[str],
    numeric: list[str],
    costs: list[float],
) -> tuple[int, float] | None:
    """The smallest number of candidates and the least cost with so many, up to three."""
    levels = list(pd.unique(frame[factor]))
    for size in range(4):
        done = [
            sum(costs[i] for i in chosen)
            for chosen in itertools.combinations(range(len(pool)), size)
            if estimable(
                pd.concat([frame, pool.iloc[list(chosen)]]), levels, factor, others, numeric
            )
        ]
        if done:
            return size, min(done)
    return None


def test_one_tied_transformer() -> None:
    """Two mixers that go with tying: a model of either mixer and the other tying is enough, the
    cheaper one is taken.
    """
    pool = pd.DataFrame({"mixer": list("abac"), "tying": list("nnyy")})
    found = separating(HERE, pool, "mixer", ["tying"], costs=[1, 5, 2, 1])
    assert found is not None and (found.chosen, found.cost, found.exact) == ((2,), 2, True)


def test_new_levels_bring_nothing_by_themselves() -> None:
    """A third mixer that is tied tells the two nothing; with an untied one of its own the pair
    does.
    """
    pool = pd.DataFrame({"mixer": list("cc"), "tying": list("yn")})
    assert separating(HERE, pool.head(1), "mixer", ["tying"]) is None
    found = separating(HERE, pool, "mixer", ["tying"])
    assert found is not None and found.chosen == (0, 1)


def test_nothing_is_missing() -> None:
    """Factors that are crossed need no further unit."""
    found = separating(HERE, HERE, "mixer", ["size"], ["size"])
    assert found is not None and found.chosen == ()


def test_unknown_candidates_are_left_out() -> None:
    """A candidate whose tying is unknown tells nothing apart."""
    pool = pd.DataFrame({"mixer": list("aa"), "tying": ["unknown", "y"]})
    found = separating(HERE, pool, "mixer", ["tying"])
    assert found is not None and found.chosen == (1,)


def test_many_links_are_found_one_by_one() -> None:
    """Six mixers, each with its own tokenizer: five links, beyond what is searched exhaustively."""
    frame = pd.DataFrame({"mixer": list("abcdef"), "tokenizer": list("uvwxyz")})
    pool = pd.DataFrame(
        [(m, t) for m in "abcdef" for t in "uvwxyz"], columns=["mixer", "tokenizer"]
    )
    found = separating(frame, pool, "mixer", ["tokenizer"])
    assert found is not None and len(found.chosen) == 5 and not found.exact
    whole = pd.concat([frame, pool.iloc[list(found.chosen)]])
    assert estimable(whole, list("abcdef"), "mixer", ["tokenizer"], [])


@pytest.mark.parametrize("seed", range(18))
def test_smallest_and_cheapest(seed: int) -> None:
    """As few as, and as cheap as, the best of all subsets of up to three: categories, numbers, sets
    of two.
    """
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 5))
    frame = pd.DataFrame({"a": [str(i) for i in range(k)] * 2})
    frame["b"] = frame["a"].map({str(i): "xyzw"[i if rng.random() < 0.8 else 0] for i in range(k)})
    frame["size"] = (
        10.0 ** rng.integers(7, 9, len(frame))
        if seed % 3
        else frame["a"].map({str(i): 10.0 ** (7 + i) for i in range(k)})
    )
    pool = pd.DataFrame(
        {
            "a": rng.integers(0, k + 1, 9).astype(str),
            "b": rng.choice(list("xyzwv"), 9),
            "size": 10.0 ** rng.integers(7, 11, 9),
        }
    )
    costs = rng.integers(1, 6, 9).astype(float).tolist()
    factor, others, numeric = [
        ("a", ["b"], []),
        ("a", ["b", "size"], ["size"]),
        ("size", ["a"], ["size"]),
    ][seed % 3]
    found, best = (
        separating(frame, pool, factor, others, numeric, costs),
        brute_force(frame, pool, factor, others, numeric, costs),
    )
    if found is None or not found.exact:
        assert best is None
    else:
        assert best == (len(found.chosen), pytest.approx(found.cost))
