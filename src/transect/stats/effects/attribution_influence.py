"""Influence on attributed effects: every effect again with each single run, configuration, family
and suite left out.

    b(-g): the contrast of that label in `attribute` of the rows outside level g of a column
    fragile  where for any one g left out b changes its sign, its verdict changes (whether the 95 % interval excludes 0), or it
             cannot be estimated any more (it rests on g alone)
A column counts where two levels stay when one is left out; what leaves out the same rows (a
configuration of one run) stands once. A verdict can change because fewer units are left: `flips`
says which removal does what. An effect of about 0 changes its sign easily.
Sources: Cook (1977); Nieuwenhuis, te Grotenhuis & Pelzer (2012), R Journal 4(2).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

SHOWN = 3  # removals that `flips` names of each kind
SUMMARY = ["lowest", "highest", "fragile", "flips"]
COLUMNS = [
    "term",
    "group",
    "left_out",
    "estimate",
    "lower",
    "upper",
    "sign_flips",
    "verdict_changes",
    "reason",
]


def left_out(
    frame: pd.DataFrame,
    effects: pd.DataFrame,
    refit: Callable[[pd.DataFrame], pd.DataFrame],
    groups: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of every removal (`COLUMNS`), and `SUMMARY` for each row of `effects`, in its
    order.

    refit: rows -> effects, as `effects` was made of `frame`. Effects without an interval are left
    out, and are not fragile.
    """
    whole = effects[effects["lower"].notna()].set_index("term")[["estimate", "lower", "upper"]]
    found, seen = [], set()
    for group in _usable(frame, groups) if len(whole) else []:
        for level in sorted(frame[group].dropna().unique(), key=str):
            stay = frame[group] != level
            same = stay.to_numpy().tobytes()
            if same not in seen:  # a configuration of one run stands under that run
                seen.add(same)
                found.append(
                    _again(whole, refit(frame[stay])).assign(group=group, left_out=str(level))
                )
    table = pd.concat(found, ignore_index=True)[COLUMNS] if found else pd.DataFrame(columns=COLUMNS)
    nothing = dict(zip(SUMMARY, (np.nan, np.nan, False, ""), strict=True))
    rows = [
        _summary(whole.loc[term], table[table["term"] == term])
        if term in whole.index and found
        else nothing
        for term in effects["term"]
    ]
    summary = pd.DataFrame(rows, index=effects.index, columns=SUMMARY)
    return table, summary


def _usable(frame: pd.DataFrame, groups: Sequence[str]) -> list[str]:
    """The columns with three or more levels."""
    return [group for group in groups if group in frame and frame[group].nunique() > 2]


def _again(whole: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Every effect of the whole table in the refit, with what has changed."""
    after = (
        effects.set_index("term")
        .reindex(whole.index)
        .astype(dict.fromkeys(("estimate", "lower", "upper"), float))
    )
    known, tested = after["estimate"].notna(), after["lower"].notna()
    flips = (
        known
        & (np.sign(after["estimate"]) != np.sign(whole["estimate"]))
        & (whole["estimate"].abs() > 1e-12)
    )
    reasons = after["reason"] if "reason" in after else pd.Series("", index=after.index)
    return pd.DataFrame(
        {
            "term": whole.index,
            **{c: after[c].to_numpy(float) for c in ("estimate", "lower", "upper")},
            "sign_flips": flips.to_numpy(),
            "verdict_changes": (tested & (_excludes(after) != _excludes(whole))).to_numpy(),
            "reason": np.where(
                tested, "", reasons.fillna("not identifiable without it").astype(str)
            ),
        }
    )


def _excludes(table: pd.DataFrame) -> pd.Series:
    return (table["lower"] > 0) | (table["upper"] < 0)


def _summary(whole: pd.Series, table: pd.DataFrame) -> dict[str, object]:
    excluded = whole["lower"] > 0 or whole["upper"] < 0
    kinds = (
        ("another sign", table["sign_flips"].astype(bool)),
        (
            f"the interval {'includes' if excluded else 'excludes'} 0",
            table["verdict_changes"].astype(bool),
        ),
        ("no estimate", table["reason"].astype(str).ne("")),
    )
    said = []
    for text, hit in kinds:
        names = [
            f"{group} {level}" for group, level in table.loc[hit, ["group", "left_out"]].to_numpy()
        ]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        said += [f"{text} without {', '.join(names[:SHOWN])}{more}"] if names else []
    estimates = table["estimate"].astype(float)
    return dict(
        zip(SUMMARY, (estimates.min(), estimates.max(), bool(said), "; ".join(said)), strict=True)
    )
