"""Formulas: what is read, how categories are coded, what is refused."""

import time

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.stats.formula.notation import Design, Random, level_text, parse, values


def test_terms_of_a_full_formula() -> None:
    """Interactions, transforms and random terms are told apart."""
    found = parse("y ~ a*b + log10(x) + (1 | g) + (1 + x | h:k)")
    assert found.response == "y"
    assert found.fixed == ((), ("a",), ("b",), ("log10(x)",), ("a", "b"))
    assert found.random == (Random(((),), ("g",)), Random(((), ("x",)), ("h", "k")))


def test_double_bar_means_uncorrelated() -> None:
    """(x || g) is (1 | g) + (0 + x | g)."""
    assert parse("y ~ 1 + (x || g)").random == (Random(((), ("x",)), ("g",), apart=True),)


def test_a_slash_means_nested() -> None:
    """(1 + x | a/b) is (1 + x | a) + (1 + x | a:b)."""
    assert (
        parse("y ~ 1 + (1 + x | a/b)").random == parse("y ~ 1 + (1 + x | a) + (1 + x | a:b)").random
    )


@pytest.mark.parametrize("text", ["y ~ 0 + x", "y ~ x - 1"])
def test_the_intercept_can_be_switched_off(text: str) -> None:
    """0 and - 1 both do."""
    assert parse(text).fixed == (("x",),)


@pytest.mark.parametrize(
    "text",
    [
        "y + x",
        "y ~ exp(x)",
        "y ~ __import__('os')",
        "y ~ x[0]",
        "y ~ a - b",
        "y ~ x ** 2",
        "y ~ ",
        "y ~ log10(log10(x))",
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """A formula is never evaluated: anything beyond the notation is an input error."""
    with pytest.raises(InputError):
        parse(text)


def test_unknown_column_names_the_nearest() -> None:
    """The error offers the column that was probably meant."""
    with pytest.raises(InputError, match="Did you mean 'architecture'"):
        Design(parse("y ~ architectur").fixed, pd.DataFrame({"y": [1.0], "architecture": ["a"]}))


def test_coding_is_that_of_r() -> None:
    """Treatment contrasts with the intercept; all columns for a category whose margin is missing
    (R's model.matrix).
    """
    frame = pd.DataFrame({"a": ["p", "q", "p"], "x": [1.0, 2.0, 3.0]})
    assert Design(parse("y ~ a + x + a:x").fixed, frame).names == [
        "(Intercept)",
        "a[q]",
        "x",
        "a[q]:x",
    ]
    assert Design(parse("y ~ 0 + a").fixed, frame).names == ["a[p]", "a[q]"]
    assert Design(parse("y ~ a:x").fixed, frame).names == ["(Intercept)", "a[p]:x", "a[q]:x"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("y ~ 0 + a + b", ["a[p]", "a[q]", "b[v]"]),
        ("y ~ 0 + x + b + a", ["x", "b[u]", "b[v]", "a[q]"]),
        ("y ~ 0 + a*b", ["a[p]", "a[q]", "b[v]", "a[q]:b[v]"]),
        ("y ~ 0 + b:a", ["b[u]:a[p]", "b[u]:a[q]", "b[v]:a[p]", "b[v]:a[q]"]),
    ],
)
def test_without_an_intercept_the_first_category_keeps_all_its_levels(
    text: str, names: list[str]
) -> None:
    """The columns of R's model.matrix."""
    frame = pd.DataFrame({"a": list("pqpq"), "b": list("uuvv"), "x": range(4), "y": 0})
    assert Design(parse(text).fixed, frame).names == names


def test_reference_level_can_be_chosen() -> None:
    """The reference loses its column; a level that does not occur is an error."""
    frame = pd.DataFrame({"a": ["p", "q", "r"]})
    assert Design(parse("y ~ a").fixed, frame, {"a": "q"}).names == ["(Intercept)", "a[p]", "a[r]"]
    with pytest.raises(InputError, match="does not occur"):
        Design(parse("y ~ a").fixed, frame, {"a": "s"})


def test_transform_and_its_domain() -> None:
    """log10 is taken of the column; of 0 there is none."""
    frame = pd.DataFrame({"x": [10.0, 1000.0]})
    assert np.allclose(Design(parse("y ~ 0 + log10(x)").fixed, frame).matrix(frame).ravel(), [1, 3])
    with pytest.raises(InputError, match="no logarithm"):
        Design(parse("y ~ 0 + log10(x)").fixed, frame).matrix(pd.DataFrame({"x": [0.0]}))


def test_names_with_other_signs_stand_in_backticks() -> None:
    """Response, covariate in a transform, group and polynomial; a plain name in backticks is the
    plain name.
    """
    text = "`MMLU-PRO` ~ log10(`FLOPs (1E21)`) * `a|b` + poly(`x, y`, 2) + (1 + `a~b` | `run id`:g) + (1 | `plain`)"
    found = parse(text)
    assert found.columns == [
        "MMLU-PRO",
        "FLOPs (1E21)",
        "a|b",
        "x, y",
        "a~b",
        "run id",
        "g",
        "plain",
    ]
    assert found.fixed[-1] == ("log10(`FLOPs (1E21)`)", "`a|b`")
    assert parse("cbind(`not wrong`, `b`) ~ 1 + (1 | g)").counts == ("not wrong", "b")


def test_backticks_fit_the_same_as_plain_names() -> None:
    """The columns of a design do not depend on how its names are written."""
    rng = np.random.default_rng(0)
    plain = pd.DataFrame({"x": rng.uniform(1, 9, 20), "z": rng.uniform(1, 9, 20)})
    other = plain.rename(columns={"x": "x (1E21)", "z": "z-2, 3"})
    terms = parse("y ~ log10(`x (1E21)`) * poly(`z-2, 3`, 2) + `z-2, 3`").fixed
    expected = Design(parse("y ~ log10(x) * poly(z, 2) + z").fixed, plain).matrix(plain)
    assert Design(terms, other).matrix(other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MMLU-PRO ~ x", "names with other signs go in backticks"),
        ("y ~ MMLU-PRO", "names with other signs go in backticks"),
        ("y ~ FLOPs (1E21)", "names with other signs go in backticks"),
        ("y ~ I(x^2)", r"write poly\(x, 2\)"),
        ("y ~ x^2", r"write poly\(x, 2\)"),
        ("cbind(a, b-a) ~ x", "cbind takes two columns"),
        ("y ~ log(x + (1 | g)", "parenthesis that is not closed"),
        ("y ~ x) + (1 | g)", "parenthesis that is not opened"),
        ("y ~ `x + (1 | g)", "backtick without its partner"),
    ],
)
def test_what_a_formula_lacks_is_said(text: str, message: str) -> None:
    """Backticks, powers, counts and parentheses."""
    with pytest.raises(InputError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("level", "text"),
    [(3.0, "3"), (np.float64(-2), "-2"), (1.5, "1.5"), (7, "7"), ("3.0", "3.0"), (True, "True")],
)
def test_levels_are_called_alike_with_and_without_gaps(level: object, text: str) -> None:
    """Whole numbers have no point, as in R; words stay as they are."""
    assert level_text(level) == text


def test_levels_of_a_column_with_a_gap() -> None:
    """factor(len) of 1, 2 and a missing value: the names of a column without the gap."""
    frame = pd.DataFrame({"len": [1.0, 2.0, np.nan, 2.0]})
    assert Design(((), ("factor(len)",)), frame).names == ["(Intercept)", "factor(len)[2]"]
    assert values("factor(len)", frame).tolist()[:2] == ["1", "2"]


def test_an_interaction_alone_has_the_effects_within_it() -> None:
    """a:b beside an intercept: of a, b and a:b; beside a, of b and a:b only."""
    frame = pd.DataFrame({"a": ["p", "q"] * 2, "b": ["u", "u", "v", "v"]})
    assert set(Design(((), ("a", "b")), frame).margins()) == {(), ("a",), ("b",), ("a", "b")}
    owners = Design(((), ("a",), ("a", "b")), frame).margins()
    assert owners[("a",)] == ("a",) and owners[("a", "b")] == ("a", "b")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "y ~ " + " + ".join(f"x{i}" for i in range(20_000)),
            r"has 1\d\d,\d+ characters; at most 10,000",
        ),
        (
            "y ~ " + " + ".join(f"x{i}" for i in range(1_001)),
            r"1,00\d terms.* or more; at most 1,000",
        ),
        ("y ~ " + " * ".join("abcdefghijklmnopqrstuv"), r"4,096 terms.* or more; at most 1,000"),
        ("y ~ " + " * ".join("abcdefghij"), r"1,02\d terms.* or more; at most 1,000"),
        ("y ~ " + ":".join("abcdefghijklm"), r"13 variables in a term or more; at most 12"),
        (
            "y ~ x + (1 | " + "/".join("abcdefghijklm") + ")",
            r"13 columns in a grouping or more; at most 12",
        ),
        ("y ~ x" + " + (1|g)" * 1_001, r"1,001 random terms or more; at most 1,000"),
        ("y ~ " + " + ".join(f"`x {i}`" for i in range(70_000)), r"characters; at most 10,000"),
        ("y ~ " + "(" * 100_000 + "x" + ")" * 100_000, r"200,005 characters"),
        ("y ~ " + "(" * 4_000 + "x" + ")" * 4_000, r"is neither a column nor a transform"),
        ("y ~ x + " + "(" * 9_000, r"a parenthesis that is not closed"),
        ("y ~ (1 |" + " (a)" * 2_000 + ")", r"formula"),
        ("y ~ " + "x" * 9_000 + "(", r"a parenthesis that is not closed"),
        ("y ~ __import__('os').system('touch RAN')", r"is neither a column nor a transform"),
        ("y ~ eval(x)", r"unknown function 'eval'"),
    ],
    ids=lambda value: value[:12],
)
def test_a_formula_beyond_the_limits(text: str, told: str) -> None:
    """Nothing is expanded or evaluated; a sentence of less than 1,000 characters within a second."""
    began = time.perf_counter()
    with pytest.raises(InputError, match=told) as error:
        parse(text)
    assert time.perf_counter() - began < 1
    assert len(str(error.value)) < 1_000


def test_what_is_within_the_limits() -> None:
    """A thousand terms (the intercept is one), nine crossed factors (511 and the intercept), an
    interaction of twelve.
    """
    assert len(parse("y ~ " + " + ".join(f"x{i}" for i in range(999))).fixed) == 1_000
    assert len(parse("y ~ " + " * ".join("abcdefghi")).fixed) == 512
    assert parse("y ~ " + ":".join("abcdefghijkl")).fixed == ((), tuple("abcdefghijkl"))


def test_a_design_too_wide_is_refused_before_it_is_made() -> None:
    """100,000 levels as a fixed effect (a table of their codes would take 80 GB), and their
    product; told with the term and what to write.
    """
    rows = pd.DataFrame(
        {"item": [f"i{i}" for i in range(100_000)], "a": [f"a{i % 80}" for i in range(100_000)]}
    )
    rows = rows.assign(b=[f"b{i % 79}" for i in range(100_000)], x=1.0)
    with pytest.raises(
        InputError,
        match=r"100,0\d\d columns, 100,000 of them of item; at most 5,000 .*\(1 \| item\)",
    ):
        Design(parse("y ~ x + item").fixed, rows)
    with pytest.raises(InputError, match=r"6,480 columns, 6,320 of them of a:b"):
        Design(parse("y ~ a * b").fixed, rows)
    design = Design(parse("y ~ a").fixed, rows)
    with pytest.raises(
        InputError,
        match=r"4,000,000 rows of 80 columns are 320,000,000 numbers; at most 250,000,000",
    ):
        design.matrix(pd.concat([rows[["a"]]] * 40))
