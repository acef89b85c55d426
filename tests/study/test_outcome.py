"""Outcomes: which rows, which checkpoint, which models."""

import pandas as pd
import pytest

from transect.errors import InputError
from transect.study.outcome import read_outcome

REGISTRY = pd.DataFrame(
    [
        {
            "run": "a",
            "configuration": "A",
            "objective": "causal",
            "role": "population",
            "architecture": "x",
        },
        {
            "run": "b",
            "configuration": "B",
            "objective": "causal",
            "role": "population",
            "architecture": "y",
        },
        {
            "run": "m",
            "configuration": "M",
            "objective": "masked",
            "role": "population",
            "architecture": "z",
        },
        {
            "run": "n",
            "configuration": "N",
            "objective": "causal",
            "role": "baseline",
            "architecture": "bigram",
        },
    ]
)


def _measured() -> pd.DataFrame:
    rows = []
    for run in "abmn":
        for step in (0, 1, 2):
            for layer, head, score in ((0, 0, 0.1), (0, 1, 0.2 * step), (1, 0, 0.3)):
                for item in ("p", "q"):
                    at = {
                        "run": run,
                        "revision": f"s{step}",
                        "step": step,
                        "tokens_seen": 100 * step,
                        "stimuli": "set",
                        "item": item,
                    }
                    value = score + (0.01 if item == "q" else 0.0)
                    rows.append(
                        at
                        | {
                            "measure": "head",
                            "metric": "score",
                            "layer": layer,
                            "head": head,
                            "value": value,
                            "item_condition": item,
                        }
                    )
    return pd.DataFrame(rows)


def _values(**options) -> dict[str, float]:
    outcome, _ = read_outcome({"measure": "head", "metric": "score"} | options, {}, "here")
    found = outcome.per_run(_measured(), REGISTRY)
    return dict(zip(found["run"], found["value"].round(6), strict=True))


def test_only_the_causal_population_enters() -> None:
    """Baselines and masked models are left out."""
    assert set(_values()) == {"a", "b"}


def test_the_largest_head_is_that_of_the_mean_over_items() -> None:
    """At the last checkpoint head (0, 1) has 0.4 and 0.41."""
    assert _values(reduce="max_head") == {"a": 0.405, "b": 0.405}


@pytest.mark.parametrize(
    ("at", "value"), [("last", 0.405), ("first", 0.305), (150, 0.305), (100, 0.305)]
)
def test_checkpoint_by_name_or_tokens(at: str | int, value: float) -> None:
    """A number means the last checkpoint that has seen no more tokens."""
    assert _values(reduce="max_head", at=at)["a"] == pytest.approx(value)


def test_conditions_and_registry_columns_choose_rows() -> None:
    """`where` reads both, `item` is a short form."""
    assert _values(where={"item_condition": "p", "architecture": "y"}, reduce="max_head") == {
        "b": 0.4
    }
    assert _values(item="q", reduce="max_head")["a"] == 0.41


def test_pll_metrics_speak_of_masked_models() -> None:
    """The objective follows the metric."""
    outcome, _ = read_outcome({"measure": "minimal_pair", "metric": "pll_correct"}, {}, "here")
    assert outcome.objective == "masked"


def test_per_item_keeps_items_and_conditions() -> None:
    """One row per run and item of the last checkpoint, heads averaged, factors joined."""
    outcome, _ = read_outcome({"measure": "head", "metric": "score"}, {}, "here")
    found = outcome.per_item(_measured(), REGISTRY)
    assert len(found) == 4
    assert set(found["step"]) == {2}
    assert {"item_condition", "architecture"} <= set(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "scor"}, "Did you mean 'score'"),
        ({"redcue": "mean"}, "Did you mean 'reduce'"),
        ({"reduce": "max"}, "unknown reduce"),
        ({"at": "end"}, "last, first or a number"),
        ({"where": {"architectur": "x"}}, "Did you mean 'architecture'"),
    ],
)
def test_wrong_options_are_explained(options: dict, message: str) -> None:
    """One sentence with the nearest allowed name."""
    with pytest.raises(InputError, match=message):
        _values(**options)


def test_own_options_have_defaults_and_requirements() -> None:
    """... marks an option that must be given."""
    given = {"measure": "head", "metric": "score", "threshold": 0.5}
    assert read_outcome(given, {"threshold": ..., "hold": 2}, "here")[1] == {
        "threshold": 0.5,
        "hold": 2,
    }
    with pytest.raises(InputError, match="'threshold' is missing"):
        read_outcome({"measure": "head", "metric": "score"}, {"threshold": ...}, "here")


def _twice() -> pd.DataFrame:
    """The same rows by two entries, the second 0.5 above the first."""
    first = _measured()
    return pd.concat(
        [first.assign(entry="near"), first.assign(entry="far", value=first["value"] + 0.5)]
    )


def test_an_entry_is_chosen_by_its_name() -> None:
    """The second entry alone, also item by item."""
    outcome, _ = read_outcome(
        {"measure": "head", "metric": "score", "entry": "far", "item": "p"}, {}, "here"
    )
    runs = outcome.per_run(_twice(), REGISTRY)
    assert dict(zip(runs["run"], runs["value"].round(6), strict=True)) == {
        "a": round(0.5 + 0.8 / 3, 6),
        "b": round(0.5 + 0.8 / 3, 6),
    }
    assert (
        set(outcome.per_item(_twice(), REGISTRY)["entry"]) == {"far"}
        and outcome.name == "head score far p"
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([], "several entries on set; say which with `entry`: 'near', 'far'"),
        (["near", "far"], "'near', 'far' meet at a checkpoint"),
    ],
)
def test_two_entries_are_never_averaged(entry: list[str], told: str) -> None:
    """Without a choice, and with two that meet, there is an error and no mean."""
    outcome, _ = read_outcome({"measure": "head", "metric": "score", "entry": entry}, {}, "here")
    for values in (outcome.per_run, outcome.per_item, outcome.per_checkpoint):
        with pytest.raises(InputError, match=told):
            values(_twice(), REGISTRY)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"item": ["p", "qq"]}, "item 'qq'; there are 'p', 'q'"),
        ({"where": {"item_condition": "P"}}, "item_condition 'P'"),
    ],
)
def test_what_was_measured_nowhere_is_an_error(options: dict, told: str) -> None:
    """A misspelt item or condition would silently be left out."""
    with pytest.raises(InputError, match=f"outcome 'head score .*no row of head has {told}"):
        _values(**options)
