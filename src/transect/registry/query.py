"""Selection by property: ``objective == 'causal' and params_total < 2e9 and checkpoints >= 10``.

The grammar is a small part of Python's expressions (and, or, not, comparisons, in, names, numbers,
strings, lists), parsed to a syntax tree and walked here; nothing is evaluated as Python. A
comparison with an unknown value is neither true nor false, and so is its opposite: what is not
known satisfies no condition (ask for it with ``name == unknown``).
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

from transect.errors import InputError, nearest

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
UNKNOWN = "unknown"
NAMED = {UNKNOWN: UNKNOWN, "true": True, "false": False}
DEEPEST = 100  # parts in each other: the walk of each run's values must not end Python's stack
LISTED = 20  # values of a factor that an error names
SHOWN = 80  # characters of a query that an error repeats
BITS = 128  # of an integer; no factor has more
TOLD: dict[type[ast.AST], str] = {
    ast.Call: "a call",
    ast.Attribute: "a dot",
    ast.Subscript: "an index",
    ast.BinOp: "arithmetic",
    ast.IfExp: "a conditional",
    ast.Lambda: "a function",
    ast.Is: "`is` (write ==)",
    ast.IsNot: "`is not` (write !=)",
}


def parse(
    text: str,
    names: Collection[str],
    where: str = "where",
    held: Mapping[str, Collection[Any]] | None = None,
) -> Callable[[Mapping[str, Any]], bool]:
    """A test of a mapping of factor values, from its text. held: factor -> the values that there
    are.

    Raises InputError for a malformed query, for a name that is not among `names`, and for a
    constant that is compared with a factor by ==, !=, in or not in and that is not among its values
    in `held`: a misspelt one would silently select other runs. `where` says in the error where it
    stands.
    """
    try:
        tree = ast.parse(" ".join(text.split("\n")).strip(), mode="eval").body
        if _depth(tree) > DEEPEST:
            raise RecursionError
        _check(tree, {*names, *NAMED}, text, where)
        for name, value in _equalities(tree) if held is not None else ():
            if fault := not_held(name, value, held or {}):
                raise InputError(f"{where}: {fault} It stands in {_shown(text)}.")
    except SyntaxError as error:
        at = f"at character {error.offset}" if error.offset else "at its end"
        raise InputError(
            f"{where}: cannot read the query {_shown(text)} {at}; "
            "allowed are and, or, not, in, ==, !=, <, <=, >, >=, names, numbers, strings and lists."
        ) from None
    except UnicodeEncodeError as error:  # what a terminal gave that is no text: a lone surrogate
        raise InputError(
            f"{where}: the query {_shown(text)} holds no character at {error.start + 1}."
        ) from None
    except (RecursionError, MemoryError):
        raise InputError(f"{where}: the query {_shown(text)} is nested too deeply.") from None
    return lambda values: _truth(tree, values) is True


def _depth(tree: ast.expr) -> int:
    """How many parts of a query lie in each other, at most."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level, depth = [inner for node in level for inner in ast.iter_child_nodes(node)], depth + 1
    return depth


def _check(node: ast.expr, names: set[str], text: str, where: str) -> None:
    allowed = (
        ast.BoolOp,
        ast.And,
        ast.Or,
        ast.UnaryOp,
        ast.Not,
        ast.USub,
        ast.Compare,
        ast.Name,
        ast.Load,
        ast.Constant,
        ast.List,
        ast.Tuple,
        *COMPARE,
    )
    for part in ast.walk(node):
        if not _allowed(part, allowed):
            raise InputError(
                f"{where}: the query {_shown(text)} holds {_told(part)}; "
                "allowed are and, or, not, in, comparisons, names, numbers, strings and lists."
            )
        if isinstance(part, ast.Name) and part.id not in names:
            raise InputError(
                f"{where}: unknown factor {_shown(part.id)} in {_shown(text)}.{nearest(part.id, names)}"
            )
    for condition in _conditions(node):
        if (
            isinstance(condition, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp)
            or getattr(condition, "id", "") == UNKNOWN
        ):
            raise InputError(
                f"{where}: in the query {_shown(text)}, {_short(ast.unparse(condition))} is no condition; compare it with something."
            )


def _equalities(tree: ast.expr) -> list[tuple[str, Any]]:
    """Factor and constant of every comparison for (un)equality, and of each element of a list."""
    found = []
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Compare)):
        sides = [node.left, *node.comparators]
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple):
                pairs = [(left, element) for element in right.elts]
            else:
                pairs = [(left, right), (right, left)] if isinstance(op, ast.Eq | ast.NotEq) else []
            constants = (
                (a.id, b) for a, b in pairs if isinstance(a, ast.Name) and a.id not in NAMED
            )
            found += [
                (a, _value(b, {}))
                for a, b in constants
                if not isinstance(b, ast.Name) or b.id in NAMED
            ]
    return [(name, value) for name, value in found if value != UNKNOWN]


def not_held(
    name: str, value: Any, held: Mapping[str, Collection[Any]], whose: str = "no run"
) -> str:
    """A sentence about a value that a factor has in no run, with what there is and the nearest;
    empty where some run has it.
    """
    there = [v for v in held.get(name, ()) if v != UNKNOWN]
    if value in there:
        return ""
    what = (
        f"there is {whose} {_shown(value)}"
        if name == "run"
        else f"{whose} has {name} {_told_value(value)}"
    )
    listed = sorted(map(_told_value, there))
    shown = f"e.g. {', '.join(listed[:5])}" if len(listed) > LISTED else ", ".join(listed)
    few = f"; there are {shown}" if there and name != "run" else ""
    others = sorted(other for other, values in held.items() if other != name and value in values)
    elsewhere = f" {others[0]} has it." if others else ""
    return f"{what}{few}.{_near(value, there) or elsewhere}"


def _near(value: Any, there: Collection[Any]) -> str:
    """A clause that offers the nearest of the values."""
    written = [v for v in there if str(v) == str(value)]
    if written:
        return f" Write it as {_told_value(written[0])}."
    numbers = [v for v in there if isinstance(v, int | float) and not isinstance(v, bool)]
    if isinstance(value, int | float) and numbers:
        return f" The nearest is {min(numbers, key=lambda v: abs(v - value))!r}."
    return nearest(value, there)


def _told_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _shown(value)


def _shown(value: Any) -> str:
    """A value as it is written, in quotes where it is a text, shortened."""
    return repr(_short(value)) if isinstance(value, str) else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} ... {text[-SHOWN // 4 :]}"


def _allowed(part: ast.AST, allowed: tuple[type[ast.AST], ...]) -> bool:
    if isinstance(part, ast.Constant):
        return (
            isinstance(part.value, str | float)
            or isinstance(part.value, int)
            and part.value.bit_length() <= BITS
        )
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
        return isinstance(part.operand, ast.Constant) and isinstance(
            part.operand.value, int | float
        )
    return isinstance(part, allowed)


def _told(part: ast.AST) -> str:
    """A forbidden part of a query in words."""
    if isinstance(part, ast.Constant) and isinstance(part.value, int):
        return f"an integer of {part.value.bit_length()} bits"
    return TOLD.get(type(part)) or _short(ast.unparse(part)) or f"a {type(part).__name__}"


def _conditions(node: ast.expr) -> list[ast.expr]:
    """The parts of a query that are joined by and, or, not."""
    if isinstance(node, ast.BoolOp):
        return [inner for value in node.values for inner in _conditions(value)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _conditions(node.operand)
    return [node]


def _truth(node: ast.expr, values: Mapping[str, Any]) -> bool | None:
    """True, False, or None where an unknown value leaves it open (Kleene's three-valued logic)."""
    if isinstance(node, ast.BoolOp):
        results = [_truth(v, values) for v in node.values]
        decisive = isinstance(node.op, ast.Or)
        return decisive if decisive in results else (None if None in results else not decisive)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _truth(node.operand, values)
        return None if inner is None else not inner
    if isinstance(node, ast.Compare):
        sides = [_value(side, values) for side in (node.left, *node.comparators)]
        results = [_compare(op, a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False)]
        return False if False in results else (None if None in results else True)
    value = _value(node, values)
    return None if value is None else bool(value)


def _compare(op: ast.cmpop, left: Any, right: Any) -> bool | None:
    if UNKNOWN in (left, right) and isinstance(op, ast.Eq | ast.NotEq):  # asked for: known or not?
        other = right if left == UNKNOWN else left
        return (other is None or other == UNKNOWN) == isinstance(op, ast.Eq)
    if left is None or right is None or UNKNOWN in (left, right):
        return None
    try:
        return COMPARE[type(op)](left, right)
    except TypeError:  # a number against a text
        return None


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return NAMED.get(node.id, values.get(node.id))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, values)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(v, values) for v in node.elts]
    return _truth(node, values)
