"""Random sequences that occur twice: [BOS] sequence filler sequence. What copying and induction are
measured on.

A condition fixes the length of the sequence and the gap (the number of filler tokens): every token
of the second occurrence stands distance = length + gap after its first. All tokens of one row are
different (sequence and filler are one draw without replacement), so that a token has one earlier
occurrence and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from transect.errors import InputError, nearest
from transect.lm.model import Model
from transect.lm.text.control import control_tokens, placeholders
from transect.lm.text.opening import opening
from transect.store.patterns import found_in

ENGINE_PART = "repeats"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

CONDITION = ("name", "length", "gap", "tokens")
LISTED = "it must be a list of conditions, e.g. [{length: 32, gap: 0}]"


@dataclass(frozen=True)
class Repeats:
    """The rows of one condition: ids [row, position]; `start`: position of the first occurrence (1
    after a BOS).
    """

    name: str
    ids: np.ndarray
    start: int
    length: int
    distance: int


def repeats(
    model: Model,
    conditions: Sequence[Mapping[str, Any]],
    *,
    n: int,
    seed: int,
    tokens: str | Mapping[str, Any] | None = None,
    bos: str | bool = "auto",
) -> list[Repeats]:
    """n rows of every condition {length, gap (0), tokens (the option), name ("length<l>_gap<g>")}.

    tokens: None, every token of texts: no control token and no placeholder (lm/text/control.py); a
    regular expression that the token as the tokenizer writes it must contain;
    or {ids: [from, below]}, a band of ids, which in a BPE vocabulary is a band of frequency ranks.
    The rows of a condition depend on seed, length, gap, the tokens and n only, not on the other
    conditions. Raises InputError for a condition that is not understood, too few tokens, or rows
    longer than the context.
    """
    head = opening(model, bos)
    _check(conditions, n)
    result = []
    for given in conditions:
        length, gap, name = _condition(given)
        pool = _pool(model, given.get("tokens", tokens))
        if len(pool) < length + gap:
            raise InputError(
                f"{name}: {length + gap} different tokens are needed and {len(pool)} are allowed."
            )
        rng = np.random.default_rng([seed, length, gap])
        drawn = np.stack([rng.choice(pool, length + gap, replace=False) for _ in range(n)])
        bos_column = np.tile(np.array(head, dtype=np.int64), (n, 1))
        ids = np.concatenate([bos_column, drawn, drawn[:, :length]], axis=1)
        if model.context_length is not None and ids.shape[1] > model.context_length:
            raise InputError(
                f"{name}: rows of {ids.shape[1]} tokens; the context of {model.path.name} is {model.context_length}."
            )
        result.append(Repeats(name, ids, len(head), length, length + gap))
    names = [r.name for r in result]
    if len(set(names)) < len(names):
        raise InputError(f"conditions: {', '.join(names)}; different names are needed.")
    return result


def refused(model: Model, condition: Repeats, lacking: np.ndarray) -> list[tuple[str, str]]:
    """(item, error) of the sequences without numbers, bool [row]: <condition>#<number>, why, and of
    what the means are then; where none has any, the condition's own name, once."""
    rows = np.flatnonzero(lacking).tolist()
    why = [model.no_number(condition.ids[row].tolist()) for row in rows]
    if len(rows) == len(condition.ids):
        return [(condition.name, why[0])]
    rest = f"; the means of {condition.name} are of the other {len(condition.ids) - len(rows)} sequences"
    return [(f"{condition.name}#{row}", told + rest) for row, told in zip(rows, why, strict=True)]


def _check(conditions: Any, n: Any) -> None:
    """Raise InputError for conditions that are no list of mappings, and for n that is no number of
    rows.
    """
    if not _whole(n) or n < 1:
        raise InputError(
            f"n: {n!r}; it must be a whole number of at least 1: the sequences of each condition."
        )
    if (
        isinstance(conditions, str | Mapping)
        or not isinstance(conditions, Sequence)
        or not conditions
    ):
        raise InputError(f"conditions: {conditions!r}; {LISTED}.")
    for given in conditions:
        if not isinstance(given, Mapping):
            raise InputError(f"conditions: {given!r} is no condition; {LISTED}.")


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _condition(given: Mapping[str, Any]) -> tuple[int, int, str]:
    for key in given:
        if key not in CONDITION:
            raise InputError(
                f"condition {dict(given)}: unknown {key!r}; there are: {', '.join(CONDITION)}.{nearest(key, CONDITION)}"
            )
    length, gap = given.get("length"), given.get("gap", 0)
    if not _whole(length) or not _whole(gap) or length < 2 or gap < 0:
        raise InputError(
            f"condition {dict(given)}: length must be a whole number of at least 2, gap one of at least 0."
        )
    return length, gap, str(given.get("name", f"length{length}_gap{gap}"))


def _pool(model: Model, tokens: str | Mapping[str, Any] | None) -> np.ndarray:
    """The ids that may be drawn, sorted."""
    special = control_tokens(model.tokenizer).keys() | placeholders(model.tokenizer)
    vocabulary = {
        i: word
        for word, i in model.tokenizer.get_vocab().items()
        if i not in special and i < model.n_logits
    }
    if isinstance(tokens, str):
        ids = sorted(vocabulary)
        found = found_in(tokens, [vocabulary[i] for i in ids], "tokens")
        return np.array(
            [i for i, is_found in zip(ids, found, strict=True) if is_found], dtype=np.int64
        )
    if tokens is None:
        return np.array(sorted(vocabulary), dtype=np.int64)
    band = tokens.get("ids") if isinstance(tokens, Mapping) and set(tokens) == {"ids"} else None
    if not isinstance(band, Sequence) or len(band) != 2 or not all(map(_whole, band)):
        raise InputError(
            f"tokens: {tokens!r}; allowed are a regular expression and {{ids: [from, below]}}."
        )
    return np.array(sorted(i for i in vocabulary if band[0] <= i < band[1]), dtype=np.int64)
