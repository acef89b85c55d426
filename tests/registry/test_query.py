"""Selection by property."""

import pytest

from transect.errors import InputError
from transect.registry import query

NAMES = ["objective", "params_total", "checkpoints", "language", "held_out"]
RUN = {"objective": "causal", "params_total": 70_000_000, "checkpoints": 154, "held_out": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective == 'causal' and params_total < 2e9 and checkpoints >= 10", True),
        ("objective in ['masked', 'prefix']", False),
        ("not objective == 'masked' or params_total > 1e12", True),
        ("1e6 < params_total <= 70000000", True),
        ("params_total < -1", False),
        ("held_out == false", True),
    ],
)
def test_query_holds(text: str, expected: bool) -> None:
    """Comparisons, membership and logic mean what they mean in Python."""
    assert query.parse(text, NAMES)(RUN) is expected


@pytest.mark.parametrize(
    "text",
    [
        "objective == '\ud800'",
        "\ud800",
        "a\0b",
        "(" * 50_000,
        "f(" * 20_000,
        "x" * 100_000,
        f"'{'y' * 100_000}'",
        f"objective == '{'y' * 100_000}'",
        f"objective in [{','.join(map(repr, range(20_000)))}]",
        "params_total == 0x" + "f" * 5_000,
        "params_total == " + "9" * 5_000,
        f"objective == {'-' * 300}1",
        " and ".join(["objective == 'x'"] * 5_000),
        "objective == 'causal' or {" + "1," * 50_000 + "}",
    ],
)
def test_odd_and_long_queries_are_one_short_sentence(text: str) -> None:
    """Half a character, a NUL, nesting, numbers and names without end: told with their beginning
    and end, and printable.
    """
    with pytest.raises(InputError, match="^where: ") as told:
        query.parse(text, NAMES, held={"objective": ["causal"], "params_total": [1]})
    assert len(str(told.value).encode("utf-8")) < 350 and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    ["language == 'eng'", "language != 'eng'", "not language == 'eng'", "language in ['eng']"],
)
def test_unknown_satisfies_nothing(text: str) -> None:
    """A run whose language is not known is selected neither by a condition nor by its opposite."""
    assert query.parse(text, NAMES)(RUN) is False


def test_unknown_can_be_asked_for() -> None:
    """`== unknown` finds what is absent or says unknown, `!= unknown` the rest."""
    assert query.parse("language == unknown", NAMES)(RUN)
    assert query.parse("language == unknown", NAMES)(RUN | {"language": "unknown"})
    assert not query.parse("language == unknown", NAMES)(RUN | {"language": "eng"})
    assert query.parse("objective != unknown", NAMES)(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "objective.upper() == 'X'",
        "params_total ** 2 > 1",
        "[x for x in checkpoints]",
        "objective.__class__ == 1",
        "(seed := 1) == 1",
        "f'{objective}' == 'causal'",
        "(lambda: 1)() == 1",
        "9 ** 9 ** 9 == 1",
        "{1: objective}[1] == 'x'",
        "objective[0] == 'c'",
    ],
)
def test_nothing_is_evaluated(text: str) -> None:
    """Calls, attributes, arithmetic and comprehensions are refused."""
    with pytest.raises(InputError, match="allowed are"):
        query.parse(text, NAMES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-objective == 3", "holds -objective"),
        ("objective is 'causal'", "write =="),
        ("checkpoints > 3 or 'x'", "is no condition"),
        ("unknown", "is no condition"),
        ("", "at its end"),
        ("not " * 3000 + "held_out", "nested too deeply"),
    ],
)
def test_what_is_no_condition(text: str, told: str) -> None:
    """What would select everything, nothing or fail is refused in words."""
    with pytest.raises(InputError, match=told):
        query.parse(text, NAMES)


def test_unknown_factor_is_named_with_the_nearest() -> None:
    """A misspelt factor is answered with the nearest one."""
    with pytest.raises(
        InputError, match="unknown factor 'param_total'.*Did you mean 'params_total'"
    ):
        query.parse("param_total > 3", NAMES, "studies/x.yaml: population.where")


HELD = {
    "objective": {"causal", "masked"},
    "params_total": {70_000_000, 160_000_000},
    "held_out": {True, False},
    "language": {"eng", "unknown"},
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "objective == 'casual'",
            "no run has objective 'casual'; there are 'causal', 'masked'. Did you mean 'causal'",
        ),
        ("objective != 'casual'", "no run has objective 'casual'"),
        ("'casual' == objective", "no run has objective 'casual'"),
        (
            "checkpoints > 3 and not (objective in ['causal', 'maskd'])",
            "'maskd'.*Did you mean 'masked'",
        ),
        ("objective not in ['maskd']", "Did you mean 'masked'"),
        ("params_total == 7e7 or params_total == 71000000", "The nearest is 70000000"),
        ("params_total == '70000000'", "Write it as 70000000"),
        ("objective == 'eng'", "language has it"),
        ("language == 'french'", "no run has language 'french'; there are 'eng'"),
    ],
)
def test_a_constant_that_no_run_has_is_told(text: str, told: str) -> None:
    """A misspelt level would silently select fewer runs, or more: it is named with what there is."""
    with pytest.raises(InputError, match=told):
        query.parse(text, NAMES, "where", HELD)


@pytest.mark.parametrize(
    "text",
    [
        "objective == 'causal' and params_total < 5",
        "params_total in [70000000.0]",
        "held_out == true",
        "language == unknown",
        "language != unknown and 1 < params_total <= 3",
        "params_total != 160000000",
    ],
)
def test_what_runs_have_is_no_fault(text: str) -> None:
    """Bounds need not be met, an integer may be written with a point, and `unknown` can always be
    asked for.
    """
    query.parse(text, NAMES, "where", HELD)


def test_malformed_query_is_one_sentence() -> None:
    """What cannot be read is said with its place."""
    with pytest.raises(
        InputError, match=r"--where: cannot read the query 'objective ==' at its end"
    ):
        query.parse("objective ==", NAMES, "--where")


def test_depth_is_bounded_where_a_query_is_read() -> None:
    """A query that could be read but not asked of a run, deeper in the stack, would end in a
    traceback there.
    """
    assert query.parse("not " * 90 + "objective == 'causal'", NAMES)(RUN) is True
    for text in ("not " * 300 + "objective == 'causal'", "[" * 120 + "]" * 120 + " == objective"):
        with pytest.raises(InputError, match="nested too deeply"):
            query.parse(text, NAMES)
