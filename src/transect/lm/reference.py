"""What a network's own forward says of one sequence: alone, nothing packed or padded, in the
network's precision or in float64.

log p(token) = logit - log sum exp(logits), taken in float64 from the whole forward; where its
logits would not fit the memory budget the unembedding runs in parts (lm/score/forward.py). The scores
that measures use come another way (lm/score/packing.py), so that the two check each other. In float64
(`in_float64`) weights are widened one module at a time and stay so where a forward asks for
float32: the reference is exact to what float64 rounds, but for rotary angles and other tables that
the network itself holds in less.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from transect.lm.memory import out_of_memory
from transect.lm.precision import in_precision
from transect.lm.score.forward import Forward, Tiles

if TYPE_CHECKING:
    from transect.lm.network import NetworkModel

LOWER = (torch.float32, torch.float16, torch.bfloat16)
NARROW = ("float", "half", "bfloat16")
PRODUCTS = {
    "linear",
    "matmul",
    "__matmul__",
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "einsum",
    "conv1d",
    "layer_norm",
    "rms_norm",
    "group_norm",
    "scaled_dot_product_attention",
}
ROWS = 64  # positions whose logits are widened at once


def token_scores(
    model: "NetworkModel", ids: Sequence[int], start: int, *, source: Sequence[int] | None = None
) -> np.ndarray:
    """log p(token_t | tokens_<t) of every position t >= start (at least 1), nats [position], NaN
    before; see Model.token_scores.
    """
    inputs = (
        {"input_ids": ids[:-1]}
        if source is None
        else {"input_ids": source, "decoder_input_ids": ids[:-1]}
    )
    start, found = max(1, start), np.full(len(ids), np.nan)
    if len(ids) > start:
        found[start:] = _read(model, inputs, range(start - 1, len(ids) - 1), _chosen(ids[start:]))
    return found


def set_logprobs(
    model: "NetworkModel", ids: Sequence[int], positions: Sequence[int], *, members: np.ndarray
) -> np.ndarray:
    """log of the summed p of the tokens in `members` (bool [vocabulary]) after each position, nats;
    see Model.set_logprobs.
    """
    return _read(model, {"input_ids": ids[: max(positions) + 1]}, positions, _summed(members))


def pll(
    model: "NetworkModel", ids: Sequence[int], words: Sequence[int], *, variant: str = "within_word"
) -> np.ndarray:
    """Pseudo-log-likelihood of each token of a word (number >= 0), nats [position], NaN elsewhere;
    see NetworkModel.pll.
    """
    assert model.mask_id is not None
    found = np.full(len(ids), np.nan)
    for t, word in enumerate(words):
        if word >= 0:
            hidden = [
                u == t or (variant == "within_word" and u > t and words[u] == word)
                for u in range(len(ids))
            ]
            row = [
                model.mask_id if masked else token
                for masked, token in zip(hidden, ids, strict=True)
            ]
            found[t] = _read(model, {"input_ids": row}, [t], _chosen([ids[t]]))[0]
    return found


def in_float64(model: "NetworkModel", scores: Callable[[], np.ndarray]) -> np.ndarray | None:
    """`scores`, a call of one of the functions above, with the network computing in float64; None
    where the network cannot.

    Needs the widened weights of one module at a time, not of the whole network.
    """
    try:
        with (
            in_precision(model.network, torch.float64),
            _plain_experts(model.network),
            _StaysWide(),
        ):
            return scores()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        if out_of_memory(error):
            raise
        return None


# log p, or what stands for it, of some rows [n] of logits, of which the columns come in tiles;
# `first` is the place of their first row
_Reader = Callable[[int, int, Tiles], torch.Tensor]


def _read(
    model: "NetworkModel",
    inputs: dict[str, Sequence[int]],
    positions: Sequence[int],
    reader: _Reader,
) -> np.ndarray:
    network = model.network
    given = {name: torch.tensor([list(ids)], device=network.device) for name, ids in inputs.items()}
    with torch.inference_mode():
        parts = [
            reader(first, n, tiles)
            for first, n, tiles in _logits(network, given, positions, model.budget)
        ]
    return torch.cat(parts).cpu().numpy()


def _logits(
    network: PreTrainedModel, inputs: dict[str, Any], positions: Sequence[int], budget: int
) -> Iterator[tuple[int, int, Tiles]]:
    """(first, n, logits of positions[first : first + n] in tiles of columns); whole rows where they
    fit the budget.
    """
    places = torch.tensor(list(positions), device=network.device)
    read = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
    if "decoder_input_ids" not in inputs and read * network.config.vocab_size * 4 > budget:
        yield from Forward(network, budget // 2).logits(inputs, places)
        return
    logits = network(**inputs).logits[0][places]
    for first in range(0, len(places), ROWS):
        part = logits[first : first + ROWS]
        yield first, len(part), [(0, part)]


def _chosen(tokens: Sequence[int]) -> _Reader:
    def read(first: int, n: int, tiles: Tiles) -> torch.Tensor:
        wanted = torch.tensor(list(tokens[first : first + n]))
        total, own = torch.full((2, n), -torch.inf, dtype=torch.float64)
        for column, logits in tiles:
            total = torch.logaddexp(total, logits.double().logsumexp(1).cpu())
            here = ((wanted >= column) & (wanted < column + logits.shape[1])).nonzero()[:, 0]
            own[here] = (
                logits[here.to(logits.device), (wanted[here] - column).to(logits.device)]
                .double()
                .cpu()
            )
        return own - total

    return read


def _summed(members: np.ndarray) -> _Reader:
    def read(first: int, n: int, tiles: Tiles) -> torch.Tensor:
        total, own = torch.full((2, n), -torch.inf, dtype=torch.float64)
        for column, logits in tiles:
            inside = torch.from_numpy(
                np.flatnonzero(members[column : column + logits.shape[1]])
            ).to(logits.device)
            total = torch.logaddexp(total, logits.double().logsumexp(1).cpu())
            if len(inside):
                own = torch.logaddexp(own, logits[:, inside].double().logsumexp(1).cpu())
        return own - total

    return read


class _StaysWide(TorchFunctionMode):
    """While this is open what has become float64 stays so: where a forward asks for float32, as
    norms and softmaxes often do, and where it multiplies by a weight that it takes from another
    module, before which `in_precision` does not stand.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if any(
            isinstance(a, torch.Tensor) and a.dtype == torch.float64
            for a in (*args, *kwargs.values())
        ):
            if name in NARROW and args[0].dtype == torch.float64:
                return args[0]
            wide = _wide if name in PRODUCTS else _dtype
            args, kwargs = (
                tuple(map(wide, args)),
                {key: wide(value) for key, value in kwargs.items()},
            )
        elif name == "full" and "dtype" not in kwargs and _beyond_float32(args[1:2]):
            kwargs = kwargs | {
                "dtype": torch.float64
            }  # the least number of a wide tensor, for a mask
        return func(*args, **kwargs)


def _beyond_float32(fill: Any) -> bool:
    return any(
        isinstance(value, float) and torch.finfo(torch.float32).max < abs(value) < torch.inf
        for value in fill
    )


def _dtype(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in LOWER else value


def _wide(value: Any) -> Any:
    return (
        value.double()
        if isinstance(value, torch.Tensor) and value.dtype in LOWER
        else _dtype(value)
    )


@contextmanager
def _plain_experts(network: PreTrainedModel) -> Iterator[None]:
    """While this is open mixtures of experts are computed one by one: the grouped product has no
    float64.
    """
    configs = {id(m.config): m.config for m in network.modules() if hasattr(m, "config")}.values()
    before = [
        (config, config._experts_implementation)
        for config in configs
        if hasattr(config, "_experts_implementation")
    ]
    for config, _ in before:
        config._experts_implementation = "eager"
    try:
        yield
    finally:
        for config, implementation in before:
            config._experts_implementation = implementation
