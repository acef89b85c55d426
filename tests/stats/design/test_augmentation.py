"""What would add most: the top pick against the criterion computed anew for every candidate, and
planted designs.
"""

import numpy as np
import pandas as pd
import pytest

from transect.stats.design.augmentation import PRIOR, estimability, rank
from transect.stats.design.factorial import columns


def criteria(
    frame: pd.DataFrame, n: int, terms: list[str], numeric: list[str], nuisance: list[str]
) -> tuple[float, float]:
    """(log det, trace of the inverse) of the information on the terms, by indicator columns with
    prior precision 1 and a Schur complement.
    """
    blocks, random = [np.ones((len(frame), 1))], []
    for name in terms:
        here = frame[name].iloc[:n]
        levels = list(pd.unique(here))
        if name in numeric:
            logs = np.log10(frame[name].to_numpy(float))
            low, high = logs[:n].min(), logs[:n].max()
            blocks.append(
                np.clip((logs - (low + high) / 2) / ((high - low) / 2 or 0.5), -1.5, 1.5)[:, None]
            )
            continue
        if len(levels) == 1:
            blocks.append(np.where(frame[name] == levels[0], -1.0, 1.0)[:, None])
        else:
            own = columns(
                [{"f": v if v in levels else levels[0]} for v in frame[name]], "f", {"f": levels}
            )
            blocks.append(own * frame[name].isin(levels).to_numpy()[:, None])
        random.append(pd.get_dummies(frame[name].where(~frame[name].isin(levels))).to_numpy(float))
    random += [pd.get_dummies(frame[name]).to_numpy(float) for name in nuisance]
    x = np.hstack(blocks)
    z = np.hstack([*random, np.zeros((len(frame), 0))])
    a, b, c = x.T @ x + np.eye(x.shape[1]) / PRIOR**2, x.T @ z, z.T @ z + np.eye(z.shape[1])
    schur = a - b @ np.linalg.solve(c, b.T)
    return float(np.linalg.slogdet(schur)[1]), float(np.trace(np.linalg.inv(schur)))


@pytest.mark.parametrize("criterion", ["D", "A"])
@pytest.mark.parametrize("seed", range(10))
def test_the_top_pick_improves_the_criterion_most(seed: int, criterion: str) -> None:
    """Of all candidates, by brute force, three picks one after another; the gains are the
    differences of the criterion.
    """
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(4, 12)), 15
    every = pd.DataFrame(
        {
            "mixer": rng.choice(list("ab") if seed % 3 else ["a"], n + m),
            "corpus": rng.choice(list("xyz"), n + m),
            "size": 10.0 ** rng.integers(6, 11, n + m),
            "family": rng.choice(list("pqrs"), n + m),
        }
    )
    every.loc[n:, "mixer"] = rng.choice(list("abc"), m)
    frame, pool = every.iloc[:n], every.iloc[n:].reset_index(drop=True)
    terms = ["mixer", "corpus", "size"]
    now, chosen = frame, []
    before = criteria(frame, n, terms, ["size"], ["family"])
    for pick in rank(frame, pool, terms, ["size"], ["family"], k=3, criterion=criterion):
        after = {
            i: criteria(pd.concat([now, pool.iloc[[i]]]), n, terms, ["size"], ["family"])
            for i in pool.index
            if i not in chosen
        }
        gains = {i: (d - before[0], before[1] - a) for i, (d, a) in after.items()}
        own = gains[pick.row]
        assert own == (pytest.approx(pick.d_gain), pytest.approx(pick.a_gain))
        assert own["DA".index(criterion)] == pytest.approx(
            max(g["DA".index(criterion)] for g in gains.values())
        )
        chosen.append(pick.row)
        now, before = pd.concat([now, pool.iloc[[pick.row]]]), after[pick.row]


def test_an_alias_is_resolved_first() -> None:
    """Two factors that go together: the candidate that has them crossed is the first pick, and is
    said to resolve both.
    """
    frame = pd.DataFrame({"mixer": list("aabb"), "tying": list("nnyy")})
    pool = pd.DataFrame({"mixer": list("aba"), "tying": list("nyy")})
    first = rank(frame, pool, ["mixer", "tying"], k=1)[0]
    assert first.row == 2 and first.resolved
    told = estimability(frame, ["mixer", "tying"])
    # of two effects of equal prior only the sum is known: each keeps half of its prior variance
    assert (
        max(told.values()) < 0.51
        and min(estimability(pd.concat([frame, pool]), ["mixer", "tying"]).values()) > 0.9
    )


def test_what_brings_less_along_says_more() -> None:
    """Two models of another language: one of the same corpus and tokenizer, one in which all is
    new.
    """
    frame = pd.DataFrame(
        {"language": ["eng"] * 6, "size": [1e7, 1e8, 1e9] * 2, "corpus": "web", "tokenizer": "t"}
    )
    pool = pd.DataFrame(
        {
            "language": ["spa", "spa"],
            "size": [1e8, 1e8],
            "corpus": ["books", "web"],
            "tokenizer": ["u", "t"],
        }
    )
    first, second = rank(frame, pool, ["language", "size"], ["size"], ["corpus", "tokenizer"], k=2)
    assert (
        (first.row, second.row) == (1, 0)
        and first.resolved == ("language",)
        and second.resolved == ()
    )
    assert first.d_gain > second.d_gain


def test_the_ends_of_a_line_say_most() -> None:
    """For a slope the largest model beyond the range gains more than another one in the middle."""
    frame = pd.DataFrame({"size": [1e7, 1e8, 1e9]})
    pool = pd.DataFrame({"size": [1e8, 1e10, 3e8]})
    assert rank(frame, pool, ["size"], ["size"], k=1)[0].row == 1


def test_unknown_candidates_and_criteria() -> None:
    """A candidate of which a term is unknown is not ranked; a third criterion is refused."""
    frame = pd.DataFrame({"mixer": list("ab")})
    found = rank(frame, pd.DataFrame({"mixer": ["unknown", "a"]}), ["mixer"], k=5)
    assert [f.row for f in found] == [1]
    with pytest.raises(ValueError, match="allowed: D, A"):
        rank(frame, frame, ["mixer"], k=1, criterion="E")
