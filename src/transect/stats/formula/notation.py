"""Model formulas in lme4's notation, parsed and never evaluated.

    y ~ a + b + a:b + log10(x) + (1 | g) + (1 + x | h) + (1 | g:h)

`a*b` is a + b + a:b; `1` and `0` (or `- 1`) switch the intercept on and off; `(x || g)` is (1 | g)
+ (0 + x | g), and `(x | g/h)` is (x | g) + (x | g:h). With a category f, `(f || g)` gives each
column of f's coding beside the intercept a variance of its own (as afex's expand_re; lme4
correlates the columns of all levels, beside an intercept that they already hold). A variable is a
column name, a transform of one (log, log2, log10, log1p, sqrt; scale(x): (x - mean) / sd; poly(x,
2): the orthogonal polynomials of x), or `factor(x)`: the numbers of x as categories. The response
may be cbind(successes, failures). Column names with other signs than letters (of any alphabet),
digits, . and _ stand in backticks, as in R: log10(`FLOPs (1E21)`). Coding of categories follows R
(treatment contrasts): in a term, a category loses its reference column if the term without it is in
the model, else it keeps all its columns. `C(x, sum)`: each level but the last against the mean of
the levels; `C(x, treatment)`: the default. `offset(x)`: x as it is, with the coefficient 1
(stats/formula/offsets.py). Source: Chambers & Hastie (1992), ch. 2; R's model.matrix, contr.sum and poly.
"""

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, listed, nearest
from transect.stats.formula.polynomials import Polynomials

TRANSFORMS = {"log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt}
LOWEST = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}  # a logarithm needs more than that
CODINGS = ("treatment", "sum")
FUNCTIONS = (*TRANSFORMS, "scale", "poly", "factor", "C")
Term = tuple[str, ...]  # the variables of one term, in the order written; () is the intercept

_PLAIN = r"(?:[^\W\d]|\.)[\w.]*"
_NAME = rf"(?:{_PLAIN}|`[^`]+`)"
_VARIABLE = re.compile(rf"^(?:({_NAME})|({_PLAIN})\(\s*({_NAME})\s*(?:,\s*(\w+)\s*)?\))\Z")
_QUOTED = re.compile(r"`([^`]+)`")
_FIRST_MASK = 0xF0000  # private use: no column name holds these
_OFFSET = re.compile(r"([+-]?)\s*\boffset\(((?:[^()]|\([^()]*\))*)\)\s*(?=[-+]|\Z)")
_COUNTS = re.compile(rf"^cbind\(\s*({_NAME})\s*,\s*({_NAME})\s*\)\Z")
_LONG = re.compile(r"'([^']{200})[^']{200,}'")  # a formula, or a piece of one, in a sentence


LONGEST = 10_000  # characters of a formula
MOST_TERMS = 1_000
MOST_CROSSED = 12  # variables of a term
MOST_COLUMNS = 5_000  # of a design
MOST_CELLS = 250_000_000  # rows x columns of a design: 2 GB
_BACKTICKS = "names with other signs go in backticks, e.g. `MMLU-PRO`"


@dataclass(frozen=True)
class Random:
    """One random term: the effects of `terms` vary over the levels of `group` (one column, or
    several crossed).

    apart: every column of `terms` has a variance of its own and no correlations.
    """

    terms: tuple[Term, ...]
    group: Term
    apart: bool = False


@dataclass(frozen=True)
class Formula:
    """response ~ fixed terms + random terms. `response` is a variable, or "cbind(successes,
    failures)".
    """

    response: str
    fixed: tuple[Term, ...]
    random: tuple[Random, ...]
    text: str
    offsets: tuple[str, ...] = ()  # variables

    @property
    def counts(self) -> tuple[str, str] | None:
        """The columns of cbind(successes, failures)."""
        match = _COUNTS.match(self.response)
        return (match.group(1).strip("`"), match.group(2).strip("`")) if match else None

    @property
    def columns(self) -> list[str]:
        """Every column of a table that the formula reads."""
        response = self.counts or (column_of(self.response),)
        terms = [*self.fixed, *(t for r in self.random for t in (*r.terms, r.group))]
        return list(
            dict.fromkeys(
                [*response, *(column_of(v) for term in (*terms, self.offsets) for v in term)]
            )
        )


def parse(text: str, offsets: bool = False) -> Formula:
    """Read a formula. Raises InputError with the piece that cannot be read, and for one beyond the
    limits above.

    offsets: whether offset(x) is a piece that can be read.
    """
    if len(text) > LONGEST:
        raise InputError(
            f"formula '{text[:60]}...' has {len(text):,} characters; at most {LONGEST:,} are read"
        )
    try:
        return _parsed(text, offsets)
    except InputError as error:
        raise InputError(_LONG.sub(r"'\1...'", str(error))) from None


def _parsed(text: str, offsets: bool) -> Formula:
    masked = _masked(text)
    if masked.count("~") != 1:
        raise InputError(f"formula '{text}' needs exactly one '~': response ~ terms")
    left, right = (part.strip() for part in masked.split("~"))
    if not right:
        raise InputError(
            f"formula '{text}' has nothing after '~'; for a mean alone write {left} ~ 1"
        )
    right, known = _offsets(right, text) if offsets else (right, ())
    random, rest = [], right
    for inside in re.findall(r"\(([^()]*(?:\([^()]*\)[^()]*)*\|[^()]*)\)", right):
        rest = rest.replace(f"({inside})", " ", 1)
        random += _random(inside, text)
        _refuse_many(len(random), MOST_TERMS, "random terms", text)
    rest = re.sub(r"\+(\s*\+)+", "+", rest)
    rest = re.sub(r"\+\s*-", "-", rest).strip().strip("+").strip()
    response = _unmasked(left, text)
    if response.startswith("cbind("):
        if not _COUNTS.match(response):
            raise InputError(
                f"formula '{text}': cbind takes two columns, cbind(successes, failures)"
            )
    else:
        response = _variable(left, text)
    return Formula(response, _terms(rest or "1", text), tuple(random), text, known)


def _offsets(right: str, formula: str) -> tuple[str, tuple[str, ...]]:
    """The right side without its offsets, and these."""
    if any(sign == "-" for sign, _ in _OFFSET.findall(right)):
        raise InputError(
            f"formula '{formula}': an offset is added; write + offset(z) with z the number to take away, negated"
        )
    found = tuple(dict.fromkeys(_variable(inside, formula) for _, inside in _OFFSET.findall(right)))
    if odd := [v for v in found if "(" in v and v.split("(")[0] not in (*TRANSFORMS, v)]:
        raise InputError(
            f"formula '{formula}': offset({odd[0]}): an offset is a column of numbers or one of its {', '.join(TRANSFORMS)}"
        )
    return _OFFSET.sub("", right), found


def _masked(text: str) -> str:
    """The formula with one sign in place of each name in backticks, so that no sign of a name is
    taken for an operator.
    """
    if text.count("`") % 2:
        raise InputError(f"formula '{text}' has a backtick without its partner")
    numbers = iter(range(text.count("`") // 2))
    masked = _QUOTED.sub(lambda _: chr(_FIRST_MASK + next(numbers)), text)
    depth = 0
    for sign in masked:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            break
    if depth:
        raise InputError(
            f"formula '{text}' has a parenthesis that is not {'closed' if depth > 0 else 'opened'}"
        )
    return masked


def _unmasked(piece: str, formula: str) -> str:
    """A piece of a masked formula with its names again, in backticks where they need them."""
    names = _QUOTED.findall(formula)
    return "".join(
        c if ord(c) < _FIRST_MASK else quoted(names[ord(c) - _FIRST_MASK]) for c in piece
    )


def quoted(name: str) -> str:
    """A column's name as a formula writes it."""
    return name if re.fullmatch(_PLAIN, name) else f"`{name}`"


def _random(inside: str, text: str) -> list[Random]:
    uncorrelated = "||" in inside
    effects, group_text = (part.strip() for part in inside.split("||" if uncorrelated else "|"))
    terms = _terms(effects, text)
    group: Term = ()
    found: list[Random] = []
    _refuse_many(
        group_text.count("/") + group_text.count(":") + 1,
        MOST_CROSSED,
        "columns in a grouping",
        text,
    )
    for nested in group_text.split("/"):
        group += tuple(_variable(name, text) for name in nested.split(":"))
        found.append(Random(terms, group, uncorrelated))
    return found


def _terms(text: str, formula: str) -> tuple[Term, ...]:
    """The terms of `a + b*c - 1`, the intercept first unless it is switched off, lower orders
    first.
    """
    found: list[Term] = [()]
    seen: set[frozenset[str]] = set()
    for sign, piece in re.findall(r"([+-]?)\s*([^+-]+)", text):
        piece = piece.strip()
        if piece in ("0", "1"):
            if (piece == "1") == (sign == "-") and () in found:
                found.remove(())
            continue
        if sign == "-":
            raise InputError(
                f"formula '{formula}': only '- 1' can be taken away, not '- {_unmasked(piece, formula)}'; {_BACKTICKS}"
            )
        n = 2 ** min(piece.count("*") + 1, MOST_CROSSED) - 1  # terms
        _refuse_many(
            len(found) + n, MOST_TERMS, "terms, those that * stands for among them", formula
        )
        _refuse_many(
            piece.count("*") + piece.count(":") + 1, MOST_CROSSED, "variables in a term", formula
        )
        stars = [tuple(_variable(v, formula) for v in part.split(":")) for part in piece.split("*")]
        for chosen in sorted(product([True, False], repeat=len(stars)), key=sum):
            term = tuple(v for part, used in zip(stars, chosen, strict=True) if used for v in part)
            if term and (all(chosen) or len(stars) > 1) and frozenset(term) not in seen:
                found.append(term)
                seen.add(frozenset(term))
    return tuple(sorted(found, key=len))


def _refuse_many(n: int, most: int, what: str, formula: str) -> None:
    if n > most:
        raise InputError(f"formula '{formula}' has {n:,} {what} or more; at most {most:,} are read")


def _variable(text: str, formula: str) -> str:
    text = _unmasked(text, formula).strip()
    match = _VARIABLE.match(text)
    if not match:
        raise InputError(
            f"formula '{formula}': '{text}' is neither a column nor a transform of one; {_hint(text, formula)}"
        )
    plain, function, column, argument = match.groups()
    if plain:
        return plain
    if function == "offset":
        raise InputError(f"formula '{formula}': '{text}': {_hint(text, formula)}")
    if function not in FUNCTIONS:
        raise InputError(
            f"formula '{formula}': unknown function '{function}'; allowed: {', '.join(FUNCTIONS)}.{nearest(function, FUNCTIONS)}"
        )
    if function == "poly" and (
        argument is None or not argument.isdigit() or not 1 <= int(argument) <= 5
    ):
        raise InputError(
            f"formula '{formula}': write poly({column}, DEGREE) with a degree of 1 to 5"
        )
    if function == "C" and argument not in CODINGS:
        raise InputError(
            f"formula '{formula}': write C({column}, CODING) with a coding of {' or '.join(CODINGS)}"
        )
    if function not in ("poly", "C") and argument is not None:
        raise InputError(f"formula '{formula}': {function}({column}) takes no second argument")
    return f"{function}({column}, {argument})" if argument else f"{function}({column})"


def _hint(text: str, formula: str) -> str:
    if plus_one := re.search(rf"log\(\s*({_NAME})\s*\+\s*1\s*\)", formula):
        return f"write log1p({plus_one.group(1)})"
    if "offset(" in formula:
        return "an offset is a term of its own, + offset(z), z a column of numbers; analyses of a study and --relatedness take none"
    if re.search(r"\)\s*\^", formula):
        return "for all terms of (a + b)^2 write a * b"
    if text.startswith("I(") or "^" in text:
        return "for powers write poly(x, 2)"
    if "/" in text:
        return "for a/b write a + a:b"
    return _BACKTICKS


def column_of(variable: str) -> str:
    """The column that a variable reads: log10(x) -> x."""
    match = _VARIABLE.match(variable)
    assert match, variable
    return (match.group(1) or match.group(3)).strip("`")


def is_category(variable: str, frame: pd.DataFrame) -> bool:
    """Whether a variable is coded as categories (text, booleans, `factor(x)`) rather than as a
    number.
    """
    column = _read(variable, frame)
    return (
        variable.startswith(("factor(", "C("))
        or pd.api.types.is_bool_dtype(column)
        or not pd.api.types.is_numeric_dtype(column)
    )


def values(variable: str, frame: pd.DataFrame) -> pd.Series:
    """The column of a variable, transformed; categories as text. Raises InputError for an unknown
    or unusable column.

    A table without the column that holds the transformed values under the variable's own name is
    taken at its word.
    """
    column, raw = column_of(variable), _read(variable, frame)
    if column not in frame:
        return raw
    if variable.startswith(("factor(", "C(")):
        return level_texts(raw)
    if variable.strip("`") == column or variable.startswith("poly("):
        return raw
    if not pd.api.types.is_numeric_dtype(raw):
        raise InputError(f"{variable}: '{column}' holds text, not numbers")
    if variable.startswith("scale("):
        spread = raw.std()
        if not spread > 0:
            raise InputError(f"{variable}: '{column}' does not vary")
        return (raw - raw.mean()) / spread
    function = variable.split("(")[0]
    if function in LOWEST and (raw <= LOWEST[function]).any():
        more = "; for counts with 0 write log1p" if function != "log1p" and (raw >= 0).all() else ""
        raise InputError(
            f"{variable}: '{column}' has values that are not above {LOWEST[function]:g}, which have no logarithm{more}"
        )
    if function == "sqrt" and (raw < 0).any():
        raise InputError(f"{variable}: '{column}' has values below 0, which have no root")
    return TRANSFORMS[function](raw.astype(float))


def level_text(level: Any) -> str:
    """A level as it is printed and named: whole numbers without a point, whether or not their
    column has gaps (3, not 3.0).
    """
    whole = isinstance(level, float) and level.is_integer() and abs(level) < 1e15
    return str(int(level)) if whole else str(level)


def level_texts(column: pd.Series) -> pd.Series:
    """A column's levels as text; what is missing stays so."""
    codes, found = pd.factorize(column)
    texts = np.array([*(level_text(level) for level in found), None], dtype=object)
    return pd.Series(texts[codes], index=column.index, name=column.name)


def _read(variable: str, frame: pd.DataFrame) -> pd.Series:
    """The column that a variable is made of, or, where there is none, the one that is called as the
    variable.
    """
    column = column_of(variable)
    if column not in frame and variable not in frame:
        raise InputError(
            f"unknown column '{column[:200]}'; the table has {listed(frame.columns)}.{nearest(column, list(frame.columns))}"
        )
    return frame[column if column in frame else variable]


class Design:
    """Columns of a model matrix, fixed by a table once and computable for new rows (a grid of
    marginal means).

    `reference` names the reference level of a category; without it the first in its own or in
    sorted order is taken. A design without some of its columns (`without`) keeps the whole one as
    `whole`: whole columns lost = kept columns @ `alias`.
    """

    whole: "Design"
    alias: np.ndarray

    def __init__(
        self, terms: tuple[Term, ...], frame: pd.DataFrame, reference: dict[str, Any] | None = None
    ):
        self.terms = terms
        self.sum_coded = (
            False  # every category against the mean of its levels, whatever the formula says
        )
        self.levels: dict[str, list[str]] = {}
        self.polynomials: dict[str, Polynomials] = {}
        for variable in dict.fromkeys(v for term in terms for v in term):
            if is_category(variable, frame):
                self.levels[variable] = _ordered(variable, frame, (reference or {}).get(variable))
            elif variable.startswith("poly("):
                self.polynomials[variable] = Polynomials(
                    values(variable, frame).to_numpy(float), variable
                )
        self._refuse_wide()
        self.names: list[str] = []
        self.term_of: list[Term] = []  # the term that each column belongs to
        for term in terms:
            names = self._names(term)
            self.names += names
            self.term_of += [term] * len(names)
        self.whole, self.kept, self.alias = (
            self,
            list(range(len(self.names))),
            np.empty((len(self.names), 0)),
        )

    def _refuse_wide(self) -> None:
        """Raise InputError for more columns than MOST_COLUMNS, by their number of levels, before
        any is made.
        """
        degrees = {v: found.degree for v, found in self.polynomials.items()}
        size = {
            t: prod(len(self.levels[v]) if v in self.levels else degrees.get(v, 1) for v in t)
            for t in self.terms
        }
        if sum(size.values()) > MOST_COLUMNS:
            widest = max(size, key=lambda t: size[t])
            raise InputError(
                f"the design has {sum(size.values()):,} columns, {size[widest]:,} of them of {':'.join(widest)[:200]}; at most {MOST_COLUMNS:,} "
                "are fitted. A column with so many levels is a grouping, e.g. (1 | item), or a number."
            )

    def without(self, lost: Sequence[int], x: np.ndarray) -> "Design":
        """The design without some columns, which the others determine in the rows of x =
        self.matrix(rows).
        """
        fewer = copy(self)
        fewer.kept = [j for j in range(len(self.names)) if j not in lost]
        fewer.names, fewer.term_of = (
            [self.names[j] for j in fewer.kept],
            [self.term_of[j] for j in fewer.kept],
        )
        size = np.maximum(np.abs(x).max(0), 1e-300)
        alias = np.linalg.lstsq((x / size)[:, fewer.kept], (x / size)[:, list(lost)], rcond=None)[0]
        alias[np.abs(alias) < 1e-9] = 0.0
        fewer.alias = alias * size[list(lost)] / size[fewer.kept, None]
        return fewer

    @property
    def lost(self) -> list[int]:
        """The columns of the whole design that this one is without."""
        return [j for j in range(len(self.whole.names)) if j not in self.kept]

    def estimable(self, weights: np.ndarray) -> np.ndarray:
        """Weights on the columns of this design from weights [..., column] on those of the whole;
        NaN where the rows that it was made of do not determine them.
        """
        kept, lost = weights[..., self.kept], weights[..., self.lost]
        size = np.abs(lost) + np.abs(kept) @ np.abs(self.alias)
        unknown = (np.abs(lost - kept @ self.alias) > 1e-8 * size).any(-1)
        return np.where(unknown[..., None], np.nan, kept)

    def margins(self) -> dict[Term, Term]:
        """Every effect that the terms contain, and the first term that does: a:b without a and b
        has the effects (), a, b and a:b.
        """
        found: dict[frozenset[str], tuple[Term, Term]] = {}
        for term in self.terms:
            whole = [
                v
                for v in term
                if v in self.levels
                and self._keeps_every_level(tuple(w for w in term if w != v), term)
            ]
            for without in (
                set(some) for n in range(len(whole), -1, -1) for some in combinations(whole, n)
            ):
                effect = tuple(v for v in term if v not in without)
                found.setdefault(frozenset(effect), (effect, term))
        return dict(found.values())

    def _coding(self, variable: str, term: Term) -> tuple[list[str], np.ndarray]:
        """Of a category in this term: its columns' names and their values at each level (R's rule,
        see the head of the file).
        """
        rest = tuple(v for v in term if v != variable)
        levels, every = self.levels[variable], np.eye(len(self.levels[variable]))
        if not self.sum_coded and self._keeps_every_level(rest, term):
            return levels, every
        if self.sum_coded or variable.endswith(", sum)"):
            return levels[:-1], np.vstack([every[:-1, :-1], -np.ones(len(levels) - 1)])
        return levels[1:], every[:, 1:]

    def _keeps_every_level(self, rest: Term, term: Term) -> bool:
        """Whether nothing in the model spans the sum of a category's columns; without an intercept
        the first category does.
        """
        if not rest and () not in self.terms:
            return term == next(t for t in self.terms if len(t) == 1 and t[0] in self.levels)
        return not any(set(rest) == set(t) for t in self.terms)

    def columns_of(self, term: Term) -> list[tuple[tuple[str, str], ...]]:
        """Of each column of a term the variables that are multiplied, each with its level, its
        degree, or "".
        """
        parts = []
        for v in term:
            degrees = (
                [str(d + 1) for d in range(self.polynomials[v].degree)]
                if v in self.polynomials
                else [""]
            )
            parts.append(
                [(v, part) for part in (self._coding(v, term)[0] if v in self.levels else degrees)]
            )
        return list(product(*parts))

    def _names(self, term: Term) -> list[str]:
        named = [
            ":".join(f"{v}[{part}]" if v in self.levels else f"{v}{part}" for v, part in column)
            for column in self.columns_of(term)
        ]
        return named if term else ["(Intercept)"]

    def matrix(self, frame: pd.DataFrame, transformed: bool = False) -> np.ndarray:
        """[row, column] float64. A level that the design does not know gets zeros in all its
        columns.

        transformed: the frame holds the variables (log10(x)) instead of the columns that they read
        (a grid).
        """
        if (cells := len(frame) * len(self.names)) > MOST_CELLS:
            raise InputError(
                f"{len(frame):,} rows of {len(self.names):,} columns are {cells:,} numbers; at most {MOST_CELLS:,} are fitted"
            )
        blocks = [self._block(term, frame, transformed) for term in self.terms]
        every = np.column_stack(blocks) if blocks else np.empty((len(frame), 0))
        return every[:, self.kept] if self.lost else every

    def _block(self, term: Term, frame: pd.DataFrame, transformed: bool) -> np.ndarray:
        block = np.ones((len(frame), 1))
        for variable in term:
            column = frame[variable] if transformed else values(variable, frame)
            if variable in self.levels:
                codes, found = pd.factorize(column)
                coding = dict(
                    zip(self.levels[variable], self._coding(variable, term)[1], strict=True)
                )
                unknown = np.zeros(self._coding(variable, term)[1].shape[1])
                part = np.array(
                    [*(coding.get(level_text(level), unknown) for level in found), unknown]
                )[codes]  # -1: missing
            elif variable in self.polynomials:
                part = self.polynomials[variable](column.to_numpy(float))
            else:
                part = column.to_numpy(float)[:, None]
            block = (block[:, :, None] * part[:, None, :]).reshape(
                len(frame), block.shape[1] * part.shape[1]
            )
        return block


def _ordered(variable: str, frame: pd.DataFrame, first: Any) -> list[str]:
    """Levels of a category in their own order, else sorted (numbers by size), the reference level
    first.
    """
    column = _read(variable, frame).dropna()
    own = isinstance(column.dtype, pd.CategoricalDtype)
    levels = [
        level_text(v)
        for v in (
            column.cat.remove_unused_categories().cat.categories if own else sorted(column.unique())
        )
    ]
    if first is not None and str(first) not in levels:
        raise InputError(
            f"reference level '{first}' of {variable} does not occur; it has {listed(levels)}.{nearest(str(first), levels)}"
        )
    return (
        levels
        if first is None
        else [str(first), *(level for level in levels if level != str(first))]
    )
