"""Selection by property: ``objective == 'causal' and params_total < 2e9 and checkpoints >= 10``.

The grammar is a small part of Python's expressions (and, or, not, comparisons, in, names, numbers, strings, lists), parsed to a
syntax tree and walked here; nothing is evaluated as Python. A comparison with an unknown value is neither true nor false, and so is
its opposite: what is not known satisfies no condition (ask for it with ``name == unknown``).
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


def parse(text: str, names: Collection[str], where: str = "where") -> Callable[[Mapping[str, Any]], bool]:
    """A test of a mapping of factor values, from its text.

    Raises InputError for a malformed query or a name that is not among `names`; `where` says in the error where it stands.
    """
    try:
        tree = ast.parse(" ".join(text.split("\n")).strip(), mode="eval").body
        _check(tree, set(names) | {UNKNOWN, "true", "false"}, text, where)
    except SyntaxError as error:
        at = f"at character {error.offset}" if error.offset else "at its end"
        raise InputError(f"{where}: cannot read the query {text!r} {at}; "
                         "allowed are and, or, not, in, ==, !=, <, <=, >, >=, names, numbers, strings and lists.") from None  # fmt: skip
    except (RecursionError, MemoryError):
        raise InputError(f"{where}: the query {text[:40]!r}... is nested too deeply.") from None
    return lambda values: _truth(tree, values) is True


def _check(node: ast.expr, names: set[str], text: str, where: str) -> None:
    allowed = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Name, ast.Load,
               ast.Constant, ast.List, ast.Tuple, *COMPARE)  # fmt: skip
    for part in ast.walk(node):
        if not _allowed(part, allowed):
            raise InputError(f"{where}: the query {text!r} holds {_told(part)}; "
                             "allowed are and, or, not, in, comparisons, names, numbers, strings and lists.")  # fmt: skip
        if isinstance(part, ast.Name) and part.id not in names:
            raise InputError(f"{where}: unknown factor {part.id!r} in {text!r}.{nearest(part.id, names)}")
    for condition in _conditions(node):
        if (
            isinstance(condition, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp)
            or getattr(condition, "id", "") == UNKNOWN
        ):
            raise InputError(f"{where}: in the query {text!r}, {ast.unparse(condition)} is no condition; compare it with something.")  # fmt: skip


def _allowed(part: ast.AST, allowed: tuple[type[ast.AST], ...]) -> bool:
    if isinstance(part, ast.Constant):
        return isinstance(part.value, str | int | float)
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
        return isinstance(part.operand, ast.Constant) and isinstance(part.operand.value, int | float)
    return isinstance(part, allowed)


def _told(part: ast.AST) -> str:
    """A forbidden part of a query in words."""
    return TOLD.get(type(part)) or ast.unparse(part) or f"a {type(part).__name__}"


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
        return {UNKNOWN: UNKNOWN, "true": True, "false": False}.get(node.id, values.get(node.id))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, values)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(v, values) for v in node.elts]
    return _truth(node, values)
