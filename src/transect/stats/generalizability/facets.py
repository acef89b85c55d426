"""Designs of a generalizability study: which facets are crossed, which nested, and the effects that
follow from it.

    score ~ person x item                  every person meets every item
    score ~ person x (item:task)           each task has items of its own
    score ~ rater:(person x task)          each person has other raters in each task
    score ~ (model:family) x item:task     models belong to families; `:` binds more closely than `x`

An effect is a set S of facets that holds, with each facet, all those it is nested in; it is written
as in Brennan (2001), `person x item:task`: the facets that vary, then those they vary within. The
effect of all facets holds the residual too. A facet is a column; one whose name is no plain word
stands in `backquotes`. Source: Brennan (2001), Generalizability Theory, ch. 3.
"""

import re
from dataclasses import dataclass
from itertools import combinations

from transect.errors import InputError

Effect = frozenset[str]  # the facets of an effect; the empty set is the mean
MOST_FACETS = 6  # the object of measurement and five facets
LONGEST, DEEPEST = 2_000, 50  # characters and parentheses of a design
_TOKEN = re.compile(r"\s*(`[^`]+`|[^\W\d][\w.]*|[():×])")


@dataclass(frozen=True)
class FacetDesign:
    """The facets of a design in the order written; `within[f]` are all the facets that f is nested
    in.
    """

    facets: tuple[str, ...]
    within: dict[str, Effect]

    def closure(self, facets: Effect) -> Effect:
        """The smallest effect that holds these facets."""
        return facets.union(*(self.within[f] for f in facets))

    def effects(self) -> list[Effect]:
        """All effects but the mean, small ones first, in the order written."""
        sets = (
            frozenset(c)
            for size in range(1, len(self.facets) + 1)
            for c in combinations(self.facets, size)
        )
        return [s for s in sets if self.closure(s) == s]

    def varying(self, effect: Effect) -> Effect:
        """The facets of an effect that no other facet of it is nested in."""
        return effect - frozenset().union(*(self.within[f] for f in effect))

    def name(self, effect: Effect) -> str:
        """The effect in Brennan's order, e.g. `person x item:task`."""
        primary = self.varying(effect)
        text = " x ".join(f for f in self.facets if f in primary)
        rest = effect - primary
        if not rest:
            return text
        nesting = self.name(rest)
        return f"{text}:({nesting})" if " x " in nesting.split(":")[0] else f"{text}:{nesting}"


def parse_study(text: str) -> tuple[str, FacetDesign]:
    """``score ~ design`` -> the column of the scores and the design. Raises InputError for what
    cannot be read.
    """
    if text.count("~") != 1:
        raise InputError(f"design '{text}' needs exactly one '~': score ~ person x item")
    left, right = text.split("~")
    score, design = left.strip().strip("`"), parse_design(right)
    if not score:
        raise InputError(f"design '{text}' names no column of scores before '~'")
    if score in design.facets:
        raise InputError(
            f"design '{text}': '{score}' is the column of scores and cannot be a facet as well"
        )
    return score, design


def parse_design(text: str) -> FacetDesign:
    """Read a design. Raises InputError with the place that cannot be read, a facet named twice, or
    too many facets.
    """
    reader = _Reader(text.strip())
    reader.crossing()
    if reader.tokens:
        raise InputError(
            f"design '{reader.text}': '{reader.tokens[0]}' is not expected here; write e.g. person x (item:task)"
        )
    facets = tuple(reader.within)
    if len(facets) > MOST_FACETS:
        raise InputError(
            f"design '{reader.text}' has {len(facets)} columns; at most {MOST_FACETS}, an object of measurement and five facets"
        )
    return FacetDesign(facets, {f: frozenset(w) for f, w in reader.within.items()})


class _Reader:
    """crossing: nesting (x nesting)*;  nesting: operand (: operand)*;  operand: a name or a crossing in parentheses."""

    def __init__(self, text: str):
        self.text = text
        self.within: dict[str, set[str]] = {}
        self.tokens: list[str] = []
        if len(text) > LONGEST or text.count("(") > DEEPEST:
            raise InputError(
                f"design '{text[:60]}...' is too long: at most {LONGEST:,} characters and {DEEPEST} parentheses are read"
            )
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise InputError(
                    f"design '{text}': '{text[position:].strip()[0]}' cannot be read; allowed are columns, x, ':' and parentheses"
                )
            self.tokens.append(match.group(1))
            position = match.end()

    def crossing(self) -> list[str]:
        found = self.nesting()
        while self.tokens and self.tokens[0] in ("x", "×"):
            self.tokens.pop(0)
            found += self.nesting()
        return found

    def nesting(self) -> list[str]:
        """The facets of a : b : c; all those on the left are nested in all those on the right."""
        found = self.operand()
        while self.tokens and self.tokens[0] == ":":
            self.tokens.pop(0)
            outer = self.operand()
            for facet in found:
                self.within[facet].update(outer, *(self.within[o] for o in outer))
            found += outer
        return found

    def operand(self) -> list[str]:
        token = self.tokens.pop(0) if self.tokens else ""
        if token == "(":
            found = self.crossing()
            if not self.tokens or self.tokens.pop(0) != ")":
                raise InputError(f"design '{self.text}' lacks a closing parenthesis")
            return found
        if token in ("", ")", ":", "×"):
            raise InputError(
                f"design '{self.text}' lacks a facet {f'before {token!r}' if token else 'at its end'}"
            )
        facet = token.strip("`")
        if facet in self.within:
            raise InputError(f"design '{self.text}' names the facet '{facet}' twice")
        self.within[facet] = set()
        return [facet]
