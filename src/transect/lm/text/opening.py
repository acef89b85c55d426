"""What stands before a text when a model reads it: the one rule, for scoring, patching, generation,
repeats and the registry.

bos auto    the token that the registry names (`opening`), where it does; else what `tokenizer(text)` itself puts before a text, one token
            or several, whatever their roles; where it puts nothing, the token that it declares:
            BOS, else EOS (as GPT-NeoX models use it), of a masked model CLS, else BOS. An EOS that
            ends a turn of the tokenizer's chat template opens nothing.
bos true    the same, and there must be one; the end of a turn, too, where nothing else is declared
bos false   nothing
bos TOKEN   that token, as the vocabulary writes it, or a text that is one token ("\\n")
A decoder of an encoder-decoder model always reads its start token first; after it comes what is
named or what the tokenizer itself puts before a text, and no declared token.
What a tokenizer puts *after* a text is kept for masked models (their [SEP]) and left out for the
others: nothing follows a text that is continued, and it is no part of the text that is scored.
"""

from typing import TYPE_CHECKING, Any

from transect.errors import InputError, nearest
from transect.lm.text.cutting import ids_of

if TYPE_CHECKING:
    from transect.lm.model import Model

ENGINE_PART = "opening"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("tokenizer", "logits", "causal", "masked", "seq2seq", "text")

PROBES = ("the dog", "a", "1 2")  # texts of which one at least is tokens of every tokenizer
BOS = ("auto", True, False)
# marks of a turn in chat formats, where a tokenizer comes without its template
TURNS = (
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<|end_of_turn|>",
)
DECLARED = "the tokenizer puts nothing before a text itself; {token!r} is the one that it declares, and the model may never have seen it there"


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids that a tokenizer itself puts before and after a text."""
    for text in PROBES:
        plain, whole = (ids_of(tokenizer, text, special) or [] for special in (False, True))
        for at in range(len(whole) - len(plain) + 1) if plain else ():
            if whole[at : at + len(plain)] == plain:
                return whole[:at], whole[at + len(plain) :]
    return [], []


def opening(model: "Model", bos: str | bool) -> list[int]:
    """The ids that the BOS policy puts before a text; see above. Kept in `model.opened`, for the
    provenance.

    Raises InputError for a token that the tokenizer does not have, and for true where there is
    none.
    """
    found = _opening(model, bos)
    model.opened = tuple(model.tokenizer.convert_ids_to_tokens(found))
    return found


def closing(model: "Model", head: list[int]) -> list[int]:
    """What follows the text of a masked model that is opened: what its tokenizer puts there, else
    its separator.
    """
    if model.objective != "masked" or not head:
        return []
    before, after = around(model.tokenizer)
    separator = model.tokenizer.sep_token_id
    return after if before or after else [] if separator is None else [separator]


def doubt(model: "Model", bos: str | bool) -> str:
    """Why the opening that `bos` leaves to the tokenizer may not be what the model was trained on;
    empty where nothing speaks against it.
    """
    if (
        bos is False
        or model.decoder_start_id is not None
        or named(model, bos)
        or around(model.tokenizer)[0]
    ):
        return ""
    used = _opening(model, bos)
    eos = model.tokenizer.eos_token_id
    if not used:
        if not in_template(model.tokenizer, eos):
            return ""
        token = model.tokenizer.convert_ids_to_tokens(eos)
        return (
            f"no token opens a text: {token!r}, the tokenizer's EOS, belongs to its chat template"
        )
    token = model.tokenizer.convert_ids_to_tokens(used[0])
    if in_template(model.tokenizer, used[0]):
        return f"a text is opened with {token!r}, which belongs to the tokenizer's chat template; bos=TOKEN names another"
    if model.objective == "masked":
        return ""
    return DECLARED.format(token=token)


def candidates(tokenizer: Any) -> list[str]:
    """Tokens that may open a text: those of the roles BOS, EOS, CLS, PAD and UNK, and others that
    say so by their name.
    """
    roles = (getattr(tokenizer, f"{role}_token") for role in ("bos", "eos", "cls", "pad", "unk"))
    named = (
        t.content
        for t in tokenizer.added_tokens_decoder.values()
        if "endoftext" in t.content or "begin_of" in t.content
    )
    return list(dict.fromkeys(str(token) for token in (*roles, *named) if token is not None))


def named(model: "Model", bos: str | bool) -> str:
    """The token that the policy or the registry names; empty where neither does."""
    if isinstance(bos, str) and bos != "auto":
        return bos
    return "" if bos is False else model.opening_token or ""


def in_template(tokenizer: Any, token: int | None) -> bool:
    """Whether a token is written in the tokenizer's chat template, or ends a turn by its name."""
    if token is None:
        return False
    text, template = tokenizer.convert_ids_to_tokens(token), tokenizer.chat_template or ""
    return text in str(template) or text in TURNS


def _opening(model: "Model", bos: str | bool) -> list[int]:
    if (
        not isinstance(bos, str | bool)
        or str(bos).lower() in ("true", "false", "")
        and isinstance(bos, str)
    ):
        raise InputError(f"bos: {bos!r}; allowed are auto, true, false and a token.")
    start = [] if model.decoder_start_id is None else [model.decoder_start_id]
    if bos is False:
        return start
    if token := named(model, bos):
        return [
            *start,
            token_id(model.tokenizer, token, "bos" if token == bos else "opening in the registry"),
        ]
    own = around(model.tokenizer)[0]
    if start:
        return [*start, *(token for token in own if [token] != start)]
    if own:
        return own
    declared = _declared(model, bos is True)
    if declared is None and bos is True:
        raise InputError(
            f"bos: true, but the tokenizer of {model.path.name} has no token to open a text with."
        )
    return [] if declared is None else [declared]


def _declared(model: "Model", must: bool) -> int | None:
    tokenizer = model.tokenizer
    if model.objective == "masked":
        return tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    if tokenizer.bos_token_id is not None:
        return tokenizer.bos_token_id
    return (
        tokenizer.eos_token_id
        if must or not in_template(tokenizer, tokenizer.eos_token_id)
        else None
    )


def token_id(tokenizer: Any, token: str, place: str = "bos") -> int:
    """The id of a token that a user names, at a place. Raises InputError, with the nearest one, for
    what is no token.
    """
    found = tokenizer.get_vocab().get(token)
    ids = [found] if found is not None else ids_of(tokenizer, token) or []
    if len(ids) != 1 or found is None and ids[0] == tokenizer.unk_token_id:
        special = [t.content for t in tokenizer.added_tokens_decoder.values()]
        known = ", ".join(candidates(tokenizer)) or "none with a role"
        raise InputError(
            f"{place}: {token!r} is no token of this tokenizer; allowed are {'auto, true, false and ' if place == 'bos' else ''}a token, "
            f"e.g. of {known}.{nearest(token, special)}"
        )
    return int(ids[0])
