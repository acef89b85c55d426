"""Logits at chosen places of a batch: the body once, then the model's own tail on those hidden
states only, in parts.

The body is run through the network's own forward, which is left when the body has returned. The
tail is that forward again with the body's answer put in its place, cut down to the places asked
for: whatever a tail does (norms, soft caps, scaling) is kept. Where nothing follows the
unembedding, its product is taken tile by tile of the vocabulary, so that a tile is read while it is
in the cache: a softmax over logits in memory costs a tenth of the product. All of this is checked
once per network against the whole forward; a network that fails is run whole. In half precision it
is checked in float32 too: half the largest logit may be rounding there, and a soft cap or a scaling
would pass for it.

Where its values change, the VERSION of lm/precision.py is raised: the two are one part of keys.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import PreTrainedModel

from transect.lm.anatomy.anatomy import example
from transect.lm.memory import out_of_memory
from transect.lm.precision import HALF, in_float32, in_half

# units of rounding: more than another shape of the same product costs, less than another function
# would
TAIL_TOLERANCE = 64
LARGEST = 0.02  # of the largest logit: no more is rounding, in whatever precision
AHEAD = 8  # tokens that show whether a network looks ahead
COPIES = 4  # of the logits, that a tail makes which does more than multiply
# positions of a product and logits of a tile on a CPU: measured as fast as the product alone.
# Smaller tiles are not faster, and threads that wait actively waste more between them where the
# machine is shared
ROWS, TILE = 1024, 2**22

# the columns of logits [n, width] of a part from `column` on, as (column, logits); the reader may
# overwrite them
Tiles = Iterable[tuple[int, torch.Tensor]]


class Forward:
    """One network's forward, split at the end of its body. budget: bytes of logits at once."""

    def __init__(self, network: PreTrainedModel, budget: int) -> None:
        self.network = network
        # some forwards call the decoder inside their base model directly
        decoder: Any = getattr(network, "get_decoder", lambda: None)()
        self.bodies: list[torch.nn.Module] = [
            m for m in (network.base_model, decoder) if m not in (None, network)
        ]
        self.budget = budget
        self.split: bool | None = None
        self._plain = False  # whether the logits are the unembedding's product as it is

    def logits(
        self, inputs: dict[str, Any], places: torch.Tensor
    ) -> Iterator[tuple[int, int, Tiles]]:
        """(first, n, logits of places[first : first + n] in tiles), in order; each tile overwrites
        the one before.

        places: cells of the padded batch, numbered row by row. Call under torch.inference_mode.
        """
        self.prepare(inputs)
        if not self.split:
            logits = self.network(**inputs).logits.flatten(0, 1)
            yield 0, len(places), [(0, logits[places.to(logits.device)])]
            return
        output = self._body(inputs)
        hidden = output.last_hidden_state.flatten(0, 1)[places.to(output.last_hidden_state.device)]
        output.last_hidden_state = hidden  # the rest of the batch is freed
        head: Any = self.network.get_output_embeddings()
        width = int(getattr(head, "weight", hidden).shape[0])
        n = max(
            1,
            self.budget // (width * max(4, hidden.element_size()) * (2 if self._plain else COPIES)),
        )
        if self._plain and hidden.device.type == "cpu":
            n = ROWS
        for first in range(0, len(hidden), n):
            part = hidden[first : first + n]
            if self._plain:
                yield first, len(part), _tiles(head, self._tail(inputs, output, part, leave=True))
            else:
                yield first, len(part), [(0, self._tail(inputs, output, part))]

    @torch.inference_mode()
    def prepare(self, inputs: dict[str, Any]) -> None:
        """Find out how the network may be run, once. inputs: any that it takes; {} where it needs
        ids alone.

        Outside in_float32: what is found there need not hold in half precision.
        """
        if self.split is None:
            self.split = self._check(inputs)  # keeps the first of the bodies that will do

    def _body(self, inputs: dict[str, Any]) -> Any:
        found: list[Any] = []

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            found.append(output)
            raise _Left

        hook = self.bodies[0].register_forward_hook(leave)
        try:
            self.network(**inputs)
        except _Left:
            pass
        finally:
            hook.remove()
        return found[0]

    def _tail(
        self, inputs: dict[str, Any], output: Any, hidden: torch.Tensor, *, leave: bool = False
    ) -> torch.Tensor:
        """The logits, or with `leave` what goes into the unembedding: [n, ...]."""
        output.last_hidden_state = hidden[None]
        found: list[torch.Tensor] = []

        def caught(x: torch.Tensor) -> torch.Tensor:
            found.append(x)
            raise _Left

        with replaced(self.bodies[0], lambda *args, **kwargs: output):
            if not leave:
                return self.network(**inputs).logits[0]
            with replaced(self.network.get_output_embeddings(), caught):
                try:
                    self.network(**inputs)
                except _Left:
                    pass
        return found[0].flatten(0, -2)

    def _check(self, inputs: dict[str, Any]) -> bool:
        """Whether the tail gives the same logits on chosen positions as the whole forward does, for
        one of the bodies.
        """
        few = {name: value for name, value in inputs.items() if name.startswith("encoder_outputs")}
        if few:
            few["encoder_outputs"] = type(few["encoder_outputs"])(
                last_hidden_state=few["encoder_outputs"].last_hidden_state[:1].expand(2, -1, -1)
            )
        name = "decoder_input_ids" if few else "input_ids"
        few[name] = (
            torch.arange(8, device=self.network.device).reshape(2, 4)
            % self.network.config.vocab_size
        )
        multiplies = type(self.network.get_output_embeddings()) is torch.nn.Linear
        while self.bodies:
            for self._plain in (multiplies, False):
                wide = self._same_wide(few) if in_half(self.network) else True
                # a tail that cannot be seen in float32 may run itself, but nothing may take its
                # place
                if (wide or (wide is None and not self._plain)) and self._same(few):
                    return True
            del self.bodies[0]
        return False

    def _same_wide(self, inputs: dict[str, Any]) -> bool | None:
        """`_same` in float32; None where the network does not run in it."""
        states = inputs.get("encoder_outputs")
        if states is not None:
            inputs = inputs | {
                "encoder_outputs": type(states)(last_hidden_state=states.last_hidden_state.float())
            }
        with in_float32(self.network):
            return self._same(inputs, refused=HALF)

    def _same(self, inputs: dict[str, Any], refused: tuple[torch.dtype, ...] = ()) -> bool | None:
        """Whether the tail as it is tried gives the whole forward's logits; None where either
        fails, or runs in `refused`.
        """
        places = torch.tensor([2, 4, 7], device=self.network.device)
        try:
            whole = self.network(**inputs).logits.flatten(0, 1)
            whole = whole[places.to(whole.device)]
            output = self._body(inputs)
            hidden = output.last_hidden_state.flatten(0, 1)
            hidden = hidden[places.to(hidden.device)]
            cut = self._tail(inputs, output, hidden, leave=self._plain)
            if self._plain:
                cut = torch.cat(
                    [tile.clone() for _, tile in _tiles(self.network.get_output_embeddings(), cut)],
                    1,
                )
        except (
            Exception
        ) as error:  # whatever a network raises that is run in another way than its own
            if out_of_memory(error):
                raise  # it says nothing about the network
            # a body that returns something else or is not called, or a tail that needs whole
            # sequences
            return None
        if (
            hidden.dtype in refused or cut.device != whole.device
        ):  # weights that accelerate holds elsewhere
            return None
        allowed = _rounding(whole, torch.finfo(hidden.dtype).eps)
        return cut.shape == whole.shape and float((cut - whole).abs().max()) <= allowed


def _rounding(logits: torch.Tensor, eps: float) -> float:
    """How far apart logits may be that were computed in another shape; eps: of the states they come
    from.
    """
    unit = max(eps, torch.finfo(logits.dtype).eps)
    return min(TAIL_TOLERANCE * unit, LARGEST) * max(1.0, float(logits.abs().max()))


def looks_ahead(network: PreTrainedModel, longest: int | None) -> bool:
    """Whether logits change with a later token: two rows of a few tokens that differ in the last
    one only.
    """
    # none of them is padding, which would not be looked at
    ids = example(network, 1, min(AHEAD, longest or AHEAD))["input_ids"].repeat(2, 1)
    ids[1, -1] = ids[1, 0]
    if ids.shape[1] == 1:
        return False  # there is nothing later
    for widen in (True, False) if in_half(network) else (False,):
        try:
            with torch.inference_mode(), in_float32(network) if widen else nullcontext():
                logits = network(input_ids=ids).logits[:, :-1]
        except RuntimeError as error:
            if out_of_memory(error) or not widen:
                raise
            continue  # it does not run in float32
        apart = torch.nan_to_num(
            (logits[0] - logits[1]).abs(), nan=0.0
        )  # a broken network does not look ahead
        return float(apart.max()) > _rounding(torch.nan_to_num(logits), 0.0)
    return False


def _tiles(head: Any, x: torch.Tensor) -> Tiles:
    """head(x) [n, vocabulary] by columns, in one buffer, in the precision of x (lower than the
    head's own: never).
    """
    weight = head.weight.t()
    x = x.to(weight.device)
    width = weight.shape[1] if x.device.type != "cpu" else max(TILE // ROWS, TILE // len(x))
    buffer = torch.empty(len(x) * min(width, weight.shape[1]), dtype=x.dtype, device=x.device)
    for column in range(0, weight.shape[1], width):
        part = weight[:, column : column + width].to(
            x.dtype
        )  # in_float32 has not widened it: it is not called
        out = buffer[: len(x) * part.shape[1]].view(len(x), -1)
        if head.bias is None:
            torch.mm(x, part, out=out)
        else:
            torch.addmm(head.bias[column : column + width].to(x.dtype), x, part, out=out)
        yield column, out


class _Left(Exception):
    """The forward was left on purpose."""


@contextmanager
def replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """While this is open, calling the module calls `forward`."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own
