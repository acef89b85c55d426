"""Activation patching: how much of the answer comes back when one activation of the clean run is
put into the corrupted one.

logit_difference(run)  = logit[answer] - logit[foil] at the last position, in nats
recovery               = (patched - corrupted) / (clean - corrupted), of logit differences; 0: nothing, 1: all of it
clean_preferred        = 1 where the clean run's logit difference is above rounding (the model gets the item right), else 0
component: residual    what a block reads (residual_pre), at one layer and one position
component: head        one head's own output, at one layer and all positions
Where clean and corrupted run agree (before their first differing token, say) the recovery is
exactly 0. Where their logit differences differ by no more than rounding (lm/score/rounding.py: of_token),
there is nothing to recover.

answer and foil are one token each, as the tokenizer writes them in the text's continuation: text +
word must be the text's own tokens and one more, the same one after both texts. A word that begins
with a letter or digit of a script that is written with spaces is tried with a space before it, then
as it stands; any other word, and a word after a text that ends in whitespace, is tried as it stands
first. Words that begin with whitespace are only tried as they stand. Sources: Meng et al. (2022),
Locating and editing factual associations in GPT, NeurIPS; Wang et al. (2023), Interpretability in
the wild, ICLR (logit difference); Zhang & Nanda (2024), Towards best practices of activation
patching, ICLR. only_preferred conditions on what the model gets right, as the literature does (Wang
et al. 2023).
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from transect.errors import ForwardError, InputError, NotApplicable, nearest
from transect.lm.intervene.activations import capture_bytes, observe
from transect.lm.intervene.edits import Edit, patch
from transect.lm.intervene.interventions import run
from transect.lm.model import NOT_NUMBERS, Model
from transect.lm.score import rounding
from transect.lm.score.scoring import too_long
from transect.lm.score.vocabulary import lacking
from transect.lm.text.opening import opening

VERSION = 2
UNIT = {
    "recovery": "share of clean - corrupted",
    "logit_difference": "nats",
    "logit_difference_clean": "nats",
    "logit_difference_corrupted": "nats",
    "clean_preferred": "proportion",
}
BOUNDS = {"clean_preferred": [0, 1]}
SOURCE = "Meng et al. 2022; Wang et al. 2023"
REQUIRES = ["logits", "hidden", "causal"]
STIMULI = ["clean", "corrupted", "answer", "foil"]

PLACES = {"residual": "residual_pre", "head": "head"}


class _Pair(NamedTuple):
    """One item as the model reads it."""

    clean: list[int]
    corrupted: list[int]
    answer: int
    foil: int


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    component: str = "residual",
    bos: str | bool = "auto",
    only_preferred: bool = False,
) -> pd.DataFrame:
    """Per item rows recovery and logit_difference for each layer and position (residual) or each
    layer and head, and one row each of logit_difference_clean, logit_difference_corrupted and
    clean_preferred.

    Columns item, metric, value, layer, head, position, error; all 0-based, position 0 is the BOS
    where there is one. An item is refused (rows with an error and no value) whose texts are empty,
    too long, of different numbers of tokens or the same, whose answer or foil is not one token or
    both are the same one, or whose logits are not numbers; where clean and corrupted do not differ
    in the logit difference, the recovery alone is refused; with only_preferred also recovery and
    logit_difference of an item whose clean answer is not preferred. Raises InputError for an
    unknown component or BOS policy, NotApplicable where the model has no such place. `seed` is not
    used.
    """
    if component not in [*PLACES]:
        raise InputError(
            f"component: {component!r}; there are: {', '.join(PLACES)}.{nearest(component, PLACES)}"
        )
    place = PLACES[component]
    if not isinstance(only_preferred, bool):
        raise InputError(f"only_preferred: {only_preferred!r}; allowed are true, false.")
    head = opening(model, bos)
    names = items["item"].astype(str).tolist()
    read = [_pair(model, head, row) for row in items[STIMULI].to_dict("records")]
    try:
        model.anatomy.require(place)
    except NotApplicable:
        if not _is_nan(model, read):
            raise  # else its parts could not be found: the weights of a run that diverged
        read = [pair if isinstance(pair, str) else NOT_NUMBERS for pair in read]
    tables: dict[int, pd.DataFrame] = {}
    for chosen in _alike(model, place, read):
        found = _each(model, place, [read[i] for i in chosen])  # type: ignore[misc]
        for i, values in zip(chosen, found, strict=True):
            if isinstance(values, str):
                read[i] = values
            else:
                tables[i] = _rows(names[i], *values, rounding.of_token(model), only_preferred)
    for i, pair in enumerate(read):
        if isinstance(pair, str):
            tables[i] = pd.DataFrame(
                {"item": names[i], "metric": [*UNIT][:2], "value": np.nan, "error": pair}
            )
    columns = ["item", "metric", "value", "layer", "head", "position", "error"]
    whole = pd.concat(
        [tables[i].reindex(columns=columns) for i in range(len(read))]
        or [pd.DataFrame(columns=columns)]
    )
    return whole.reset_index(drop=True).astype(
        {"layer": "Int64", "head": "Int64", "position": "Int64"}
    )


def _is_nan(model: Model, read: Sequence[_Pair | str]) -> bool:
    """Whether the model gives no numbers for the first text."""
    text = next((pair.clean for pair in read if not isinstance(pair, str)), [])
    return any(
        bool(np.isnan(scores[1:]).any()) for scores in model.token_logprobs([text] if text else [])
    )


def _alike(model: Model, place: str, read: Sequence[_Pair | str]) -> Iterator[list[int]]:
    """Indices of pairs of one length, as many as the memory budget lets be looked at together."""
    lengths: dict[int, list[int]] = {}
    for i, pair in enumerate(read):
        if not isinstance(pair, str):
            lengths.setdefault(len(pair.clean), []).append(i)
    for length, same in sorted(lengths.items()):
        size = max(1, model.budget // capture_bytes(model, place, length))  # type: ignore[attr-defined, arg-type]
        yield from (same[start : start + size] for start in range(0, len(same), size))


def _each(
    model: Any, place: str, pairs: Sequence[_Pair]
) -> list[tuple[float, float, pd.DataFrame] | str]:
    """Of each pair what `_patched` gives or, of one on which the network's forward raises, the
    sentence.
    """
    try:
        return list(_patched(model, place, pairs))
    except ForwardError as error:
        return (
            [str(error)] if len(pairs) == 1 else [_each(model, place, [pair])[0] for pair in pairs]
        )


def _patched(
    model: Any, place: str, pairs: Sequence[_Pair]
) -> Iterator[tuple[float, float, pd.DataFrame]]:
    """Of each pair the logit differences clean, corrupted, and patched: columns layer, head or
    position, value.
    """
    tokens = [(pair.answer, pair.foil) for pair in pairs]
    source, clean = observe(model, [pair.clean for pair in pairs], [place], tokens=tokens)
    edits = [edit for (_, layer), x in source.items() for edit in _edits(place, layer, x)]
    result = run(model, [pair.corrupted for pair in pairs], edits, tokens=tokens)
    where = pd.DataFrame({"layer": [edit.layer for edit in edits]})
    if place == "head":
        where["head"] = [edit.head for edit in edits]
    else:
        where["position"] = [(edit.positions or [0])[0] for edit in edits]
    differences = _difference(clean), _difference(result.unedited), _difference(result.logits).T
    for before, after, patched in zip(*differences, strict=True):
        yield float(before), float(after), where.assign(value=patched)


def _edits(place: str, layer: int, x: torch.Tensor) -> list[Edit]:
    """One per head, or one per position."""
    if place == "head":
        return [patch(place, layer, x, head=head) for head in range(x.shape[2])]
    return [patch(place, layer, x, positions=[position]) for position in range(x.shape[1])]


def _difference(logits: torch.Tensor) -> np.ndarray:
    """logits [..., 1, (answer, foil)] -> float64 [...]"""
    both = logits[..., 0, :].double().numpy()
    return both[..., 0] - both[..., 1]


def _rows(
    item: str,
    clean: float,
    corrupted: float,
    patched: pd.DataFrame,
    resolution: float,
    only_preferred: bool,
) -> pd.DataFrame:
    if not np.isfinite([clean, corrupted, *patched["value"]]).all():
        return pd.DataFrame(
            {"item": item, "metric": [*UNIT][:2], "value": np.nan, "error": NOT_NUMBERS}
        )
    whole = pd.DataFrame(
        {"metric": [*UNIT][2:], "value": [clean, corrupted, float(clean > resolution)]}
    )
    if only_preferred and clean <= resolution:
        told = f"the clean answer is not preferred (logit difference {clean:.6g}; only_preferred)"
        refused = pd.DataFrame({"metric": [*UNIT][:2], "value": np.nan, "error": told})
        return pd.concat([refused, whole]).assign(item=item)
    recovery = patched.assign(value=(patched["value"] - corrupted) / (clean - corrupted or np.nan))
    if abs(clean - corrupted) <= resolution:
        told = f"clean and corrupted have the same logit difference ({clean:.6g}): there is nothing to recover"
        recovery = pd.DataFrame({"value": [np.nan], "error": told})
    tables = [recovery.assign(metric="recovery"), patched.assign(metric="logit_difference"), whole]
    return pd.concat(tables).assign(item=item)


def _pair(model: Model, head: list[int], row: Mapping[str, Any]) -> _Pair | str:
    """The item as the model reads it, or why it is refused."""
    texts: dict[str, list[int]] = {}
    for name in ("clean", "corrupted"):
        text = row[name] if isinstance(row[name], str) else ""
        ids = model.encode(text)
        error = model.illegible(text, ids) or too_long(model, len(head) + len(ids))
        error = error or lacking(model, [*head, *ids])
        if not ids or error:
            return f"{name}: {error or 'there is no text'}"
        texts[name] = ids
    clean, corrupted = texts["clean"], texts["corrupted"]
    if len(clean) != len(corrupted):
        return f"clean has {len(clean)} tokens, corrupted {len(corrupted)}; they must have the same number"
    if clean == corrupted:
        return "clean and corrupted are the same tokens"
    words: list[int] = []
    for name in ("answer", "foil"):
        found = [_token(model, row[text], ids, row[name]) for text, ids in texts.items()]
        error = next((f"{name}: {token}" for token in found if isinstance(token, str)), "")
        if error or found[0] != found[1]:
            return (
                error or f"{name}: {row[name]!r} is another token after clean than after corrupted"
            )
        words.append(found[0])  # type: ignore[arg-type]
    if words[0] == words[1]:
        return "answer and foil are the same token"
    return _Pair([*head, *clean], [*head, *corrupted], *words)


def _token(model: Model, text: str, ids: list[int], word: Any) -> int | str:
    """The token that continues the text, or why there is none; see the module's text."""
    if not isinstance(word, str) or not word:
        return "there is no word"
    spaced = (
        word[0].isalnum()
        and unicodedata.east_asian_width(word[0]) not in "WF"
        and not text[-1].isspace()
    )
    forms = [word] if word[0].isspace() else [f" {word}", word] if spaced else [word, f" {word}"]
    told = ""
    for form in forms:
        whole = model.encode(text + form)
        added = len(whole) - len(ids)
        if why := model.illegible(text + form, []):
            told = told or why
        elif whole[: len(ids)] != ids:
            told = told or f"{word!r} after the text changes the text's own tokens"
        elif added != 1:
            told = told or f"{word!r} is {added} tokens after the text; it must be one"
        elif spelled := model.spelled(word, whole[-1:]):
            told = told or spelled.replace("the text", "it")
        elif whole[-1] == model.tokenizer.unk_token_id:
            told = told or f"{word!r} is not in the vocabulary"
        elif why := lacking(model, whole[-1:], 0):
            told = told or why
        else:
            return whole[-1]
    return told
