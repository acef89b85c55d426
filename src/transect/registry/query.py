"""Selection by property: ``objective == 'causal' and params_total < 2e9 and checkpoints >= 10``.

The grammar is a small part of Python's expressions (and, or, not, comparisons, in, names, numbers,
strings, lists), parsed to a syntax tree and walked here; nothing is evaluated as Python. A
comparison with an unknown value is neither true nor false, and so is its opposite: what is not
known satisfies no condition (ask for it with ``name == unknown``).
"""

import ast
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeGuard

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
JOINED = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, *COMPARE)
ALLOWED = (*JOINED, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple)
UNKNOWN = "unknown"
NAMED = {UNKNOWN: UNKNOWN, "true": True, "false": False}
DEEPEST = 100  # parts in each other: the walk of each run's values must not end Python's stack
LISTED = 20  # values of a factor that an error names
SHOWN = 80  # characters of a query that an error repeats
BITS = 128  # of an integer; no factor has more
FORBIDDEN: dict[type[ast.AST], str] = {
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
        place = f"at character {error.offset}" if error.offset else "at its end"
        raise InputError(
            f"{where}: cannot read the query {_shown(text)} {place}; "
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
    """Raise InputError for a part that is not allowed, an unknown name, and a condition that
    compares nothing.
    """
    for part in ast.walk(node):
        if not _allowed(part):
            raise InputError(
                f"{where}: the query {_shown(text)} holds {_in_words(part)}; "
                "allowed are and, or, not, in, comparisons, names, numbers, strings and lists."
            )
        if isinstance(part, ast.Name) and part.id not in names:
            raise InputError(
                f"{where}: unknown factor {_shown(part.id)} in {_shown(text)}.{nearest(part.id, names)}"
            )
    for condition in _conditions(node):
        is_value = isinstance(condition, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp)
        if is_value or getattr(condition, "id", "") == UNKNOWN:
            raise InputError(
                f"{where}: in the query {_shown(text)}, {_short(ast.unparse(condition))} is no condition; compare it with something."
            )


def _equalities(tree: ast.expr) -> list[tuple[str, Any]]:
    """Factor and constant of every comparison for (un)equality, and of each element of a list."""
    equalities = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
                for factor, other in _compared(op, left, right):
                    if _is_factor(factor) and not _is_factor(other):
                        equalities.append((factor.id, _value(other, {})))
    return [(name, value) for name, value in equalities if value != UNKNOWN]


def _compared(op: ast.cmpop, left: ast.expr, right: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What is compared for (un)equality, each side with the other; of a list each element."""
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple):
        return [(left, element) for element in right.elts]
    return [(left, right), (right, left)] if isinstance(op, ast.Eq | ast.NotEq) else []


def _is_factor(node: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id not in NAMED


def not_held(
    name: str, value: Any, held: Mapping[str, Collection[Any]], whose: str = "no run"
) -> str:
    """A sentence about a value that a factor has in no run, with what there is and the nearest;
    empty where some run has it.
    """
    known = [other for other in held.get(name, ()) if other != UNKNOWN]
    if value in known:
        return ""
    elsewhere = ""
    holders = [factor for factor, values in held.items() if factor != name and value in values]
    if holders:
        elsewhere = f" {min(holders)} has it."
    suggestion = _near(value, known) or elsewhere
    if name == "run":  # their ids are too many to be listed
        return f"there is {whose} {_shown(value)}.{suggestion}"
    choice = f"; there are {_listed(known)}" if known else ""
    return f"{whose} has {name} {_written(value)}{choice}.{suggestion}"


def _listed(values: Collection[Any]) -> str:
    """Values of a factor in words; of many some examples."""
    texts = sorted(map(_written, values))
    return f"e.g. {', '.join(texts[:5])}" if len(texts) > LISTED else ", ".join(texts)


def _near(value: Any, known: Collection[Any]) -> str:
    """A clause that offers the nearest of the values."""
    written = [other for other in known if str(other) == str(value)]
    if written:
        return f" Write it as {_written(written[0])}."
    numbers = [v for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
    if isinstance(value, int | float) and numbers:
        return f" The nearest is {min(numbers, key=lambda v: abs(v - value))!r}."
    return nearest(value, known)


def _written(value: Any) -> str:
    """A value as a query writes it, shortened."""
    return str(value).lower() if isinstance(value, bool) else _shown(value)


def _shown(value: Any) -> str:
    """A value as it is written, in quotes where it is a text, shortened."""
    return repr(_short(value)) if isinstance(value, str) else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} ... {text[-SHOWN // 4 :]}"


def _allowed(part: ast.AST) -> bool:
    if isinstance(part, ast.Constant):
        if isinstance(part.value, int):
            return part.value.bit_length() <= BITS
        return isinstance(part.value, str | float)
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
        operand = part.operand
        return isinstance(operand, ast.Constant) and isinstance(operand.value, int | float)
    return isinstance(part, ALLOWED)


def _in_words(part: ast.AST) -> str:
    """A forbidden part of a query in words."""
    if isinstance(part, ast.Constant) and isinstance(part.value, int):
        return f"an integer of {part.value.bit_length()} bits"
    return FORBIDDEN.get(type(part)) or _short(ast.unparse(part)) or f"a {type(part).__name__}"


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
        return _joined((_truth(v, values) for v in node.values), isinstance(node.op, ast.Or))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _truth(node.operand, values)
        return None if inner is None else not inner
    if isinstance(node, ast.Compare):
        sides = [_value(side, values) for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        return _joined((_compare(op, left, right) for op, left, right in pairs), False)
    value = _value(node, values)
    return None if value is None else bool(value)


def _joined(results: Iterable[bool | None], decisive: bool) -> bool | None:
    """Results joined by `or` (decisive: True) or `and` (False), as far as one that decides."""
    known = True
    for result in results:
        if result == decisive:
            return decisive
        known = known and result is not None
    return not decisive if known else None


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
