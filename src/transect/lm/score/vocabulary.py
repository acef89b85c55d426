"""Which tokens a model can read and predict: a tokenizer may know more of them than the weights do."""

from collections.abc import Sequence

from transect.lm.model import Model


def lacking(model: Model, ids: Sequence[int], first: int | None = None) -> str:
    """The sentence for a token that the model cannot read, or that is to be predicted (from place
    `first` on) and has no logit; empty where there is none."""
    if ids and not 0 <= min(ids) <= max(ids) < model.vocab_size:
        wrong = next(i for i in ids if not 0 <= i < model.vocab_size)
        return f"the token {_named(model, wrong)} has no embedding: {model.path.name} has {model.vocab_size}"
    if first is not None and max(ids[first:], default=-1) >= model.n_logits:
        wrong = next(i for i in ids[first:] if i >= model.n_logits)
        return (
            f"the token {_named(model, wrong)} has no logit: {model.path.name} has {model.n_logits}"
        )
    return ""


def _named(model: Model, token: int) -> str:
    name = (
        model.tokenizer.convert_ids_to_tokens(token) if 0 <= token < len(model.tokenizer) else None
    )
    return f"{token}" if name is None else f"{name!r} (id {token})"
