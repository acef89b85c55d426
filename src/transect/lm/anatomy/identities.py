"""What must hold if the parts that lm/anatomy/anatomy.py found are the right ones; checked on a few tokens,
in four forwards.

capture    logits while every pattern is read - logits of the model's own attention
calls      patterns read in one forward - blocks with heads (all blocks share one layer: - layers)
blocks     a block's output put into a run on other tokens: what the model makes of it - what it made of it before
slice      one head's pattern set to zero: change of the projection's input outside that head's slice (none inside:
           infinite); and a pattern put back unchanged: change of the projection's input
attention  its output set to zero: what is left of the residual stream - what is left by the block's equation; infinite
           where a head's pattern does not reach that output, or reaches a parallel MLP
mlp        its output set to zero: as for the attention
Sums alone would not do: in some architectures they hold for modules that have nothing to do with
the heads. A head that puts out 0 shows nothing when it is switched off: the others are looked at
or, if there are none, blocks of its class.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from transect.errors import ResourceError
from transect.lm.anatomy.anatomy import (
    PLACES,
    REFUSALS,
    Anatomy,
    Block,
    discover,
    example,
    rounding,
)
from transect.lm.anatomy.attention import watch
from transect.lm.anatomy.tracing import after, before
from transect.lm.memory import out_of_memory
from transect.lm.precision import in_float32, in_half

ENGINE_PART = "identities"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change
SERVES = ("hidden", "attention", "heads")

TOLERANCE = 64  # units of rounding of the largest number compared, within one forward
ACROSS = (
    1024  # the same between forwards of other shapes or another order of sums (fused attention)
)
WORST = 0.05  # of the largest number compared: what half precision may be off by

SILENT = "no head puts anything out (as before training), so that the identity {!r} cannot be seen to hold"
# what does not hold -> the places that fall with it
FALLS = {
    "capture": ("pattern",),
    "calls": ("pattern",),
    "blocks": PLACES,
    "slice": ("head", "pattern"),
    "attention": ("attention", "mlp", "residual_mid"),
    "mlp": ("mlp", "residual_mid"),
}


def checked(network: PreTrainedModel) -> Anatomy:
    """The parts of a network, without the places whose identities do not hold. The network is left
    as it was.

    In half precision they are looked for in float32: rounding hides what adds up in a block, and
    the parts are the same.
    """
    if in_half(network):
        with in_float32(network):
            found = _checked(network, torch.finfo(torch.float32).eps)
        if found.blocks or found.mechanism is not None:
            return found  # else it does not run in float32
    return _checked(network, rounding(network))


def _checked(network: PreTrainedModel, eps: float) -> Anatomy:
    """eps: one unit of rounding."""
    anatomy = discover(network, eps)
    absent = dict(anatomy.absent)
    silent: set[str] = set()
    for identity, difference in verify(network, anatomy, silent).items():
        units = ACROSS if identity in ("capture", "slice") else TOLERANCE
        limit = min(WORST, units * eps)
        if not difference <= limit:
            reason = f"the identity {identity!r} does not hold (off by {difference:.2g}, allowed {limit:.2g})"
            reason = SILENT.format(identity) if identity in silent else reason
            for place in FALLS[identity]:
                absent.setdefault(place, reason)
    blocks = (
        tuple(_without(block, absent) for block in anatomy.blocks)
        if "residual_post" not in absent
        else ()
    )
    mechanism = None if "pattern" in absent else anatomy.mechanism
    found = replace(anatomy, blocks=blocks, absent=absent, mechanism=mechanism)
    if found.form != "parallel" or "attention" not in absent or "attention" in silent:
        return found
    # sums of other parts than attention and MLP look like parallel ones, too (JetMoE)
    absent["residual_mid"] = absent["attention"]
    return replace(
        found, form="unknown", blocks=tuple(replace(block, form="unknown") for block in blocks)
    )


def _without(block: Block, absent: dict[str, str]) -> Block:
    """The block without its parts at absent places, so that nobody takes them for what they are
    not.
    """
    if "head" in absent and "pattern" in absent:
        block = replace(block, projection=None, n_heads=None, n_kv_heads=None, d_head=None)
    if "attention" in absent:
        block = replace(block, attention=None)
    if "mlp" in absent:
        block = replace(block, mlp=None)
    if "residual_mid" in absent:
        block = replace(block, reads_mid=None, writes_mid=None)
    return block


def verify(
    network: PreTrainedModel, anatomy: Anatomy, silent: set[str] | None = None
) -> dict[str, float]:
    """Identity -> its largest difference, relative to the largest number compared (at least 1);
    infinite where the forward that tests it raises. Only the identities that have something to be
    about. Where no head does anything, nothing can be seen: infinite, and in `silent`."""
    found, silent = dict[str, float](), set() if silent is None else silent
    with torch.inference_mode():
        inputs = example(network, rows=1)
        projected: dict[int, torch.Tensor] = {}
        if anatomy.mechanism is not None:
            found |= _tried(
                lambda: _capture(network, anatomy, inputs, projected), ("capture", "calls")
            )
        if anatomy.blocks:
            found |= _tried(lambda: _patched(network, anatomy), ("blocks",))
            removal = _Removal(network, anatomy, inputs, projected)
            found |= _tried(removal.run, ("slice", "attention", "mlp"))
            silent |= removal.silent
    return found


def _tried(check: Callable[[], dict[str, float]], names: tuple[str, ...]) -> dict[str, float]:
    try:
        return check()
    except REFUSALS as error:
        if out_of_memory(error):
            raise ResourceError(
                f"Out of memory while the model's parts were checked: {error}"
            ) from error
        return dict.fromkeys(names, float("inf"))


def _capture(
    network: PreTrainedModel,
    anatomy: Anatomy,
    inputs: dict[str, torch.Tensor],
    projected: dict[int, torch.Tensor],
) -> dict[str, float]:
    """Leaves the projections' inputs in `projected`."""
    plain = network(**inputs).logits
    layers: list[int] = []
    with ExitStack() as stack:
        for block in anatomy.blocks:
            if block.projection is not None:
                stack.callback(before(block.projection, _keeper(projected, block.layer)))
        stack.enter_context(watch(network, anatomy, lambda layer, pattern: layers.append(layer)))
        captured = network(**inputs).logits
    expected = [b.layer for b in anatomy.blocks if b.n_heads] or list(
        range(network.config.num_hidden_layers)
    )
    return {
        "capture": difference(captured, plain),
        "calls": float(len(set(expected) ^ set(layers))),
    }


def _keeper(kept: dict[int, torch.Tensor], layer: int) -> Callable[[torch.Tensor], None]:
    return lambda hidden: kept.__setitem__(layer, hidden.clone())


def _patched(network: PreTrainedModel, anatomy: Anatomy) -> dict[str, float]:
    """One forward: the last row is the clean run, row k another one whose block k gives what the
    clean one's gave.
    """
    n = len(anatomy.blocks)
    inputs = {
        name: torch.cat([ids[:1].expand(n, -1), ids[1:]])
        for name, ids in example(network, rows=2).items()
    }

    def patch(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def change(hidden: torch.Tensor) -> torch.Tensor:
            hidden = hidden.clone()
            hidden[layer] = hidden[n]
            return hidden

        return change

    with ExitStack() as stack:
        for block in anatomy.blocks:
            stack.callback(after(block.module, patch(block.layer)))
        output = network(**inputs).logits
    return {"blocks": difference(output[:n], output[n:].expand(n, -1, -1))}


class _Removal:
    """One forward on rows that are all the same: in row h every block's head h is switched off, in
    the last two its attention and its MLP; each block leaves the clean row in all, so that the next
    one starts afresh.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        anatomy: Anatomy,
        inputs: dict[str, torch.Tensor],
        projected: dict[int, torch.Tensor],
    ) -> None:
        self.network, self.anatomy, self.projected = network, anatomy, projected
        self.clean = max([b.n_heads or 0 for b in anatomy.blocks])
        self.no_attention, self.no_mlp = self.clean + 1, self.clean + 2
        self.inputs = {name: ids.expand(self.clean + 3, -1) for name, ids in inputs.items()}
        self.found: dict[str, float] = {}
        self.shown: dict[str, dict[type, bool]] = {
            "slice": {},
            "attention": {},
        }  # by class of block: whether heads did
        self.silent: set[str] = (
            set()
        )  # identities that hold, but were seen to in no block of some class
        self.seen: dict[str, torch.Tensor] = {}  # of the block that runs: the tensors at its places
        self.alive: list[int] = []  # and the heads that put something out

    def run(self) -> dict[str, float]:
        """The identities slice, attention, mlp."""
        with ExitStack() as stack:
            for block in self.anatomy.blocks:
                self._hook(stack, block)
            if self.anatomy.mechanism is not None:
                stack.enter_context(watch(self.network, self.anatomy, self._without_a_head))
            self.network.base_model(**self.inputs)
        unseen = {name for name, kinds in self.shown.items() if not all(kinds.values())}
        self.silent = {name for name in unseen if self.found[name] != float("inf")}
        return self.found | dict.fromkeys(self.silent, float("inf"))

    def _show(self, identity: str, block: Block, something: bool) -> None:
        kinds, kind = self.shown[identity], type(block.module)
        kinds[kind] = something or kinds.get(kind, False)

    def _hook(self, stack: ExitStack, block: Block) -> None:
        def keep(name: str) -> Callable[[torch.Tensor], None]:
            return lambda hidden: self.seen.__setitem__(name, hidden.clone())

        def without(name: str, row: int) -> Callable[[torch.Tensor], torch.Tensor]:
            def change(hidden: torch.Tensor) -> torch.Tensor:
                rows = hidden.reshape(self.clean + 3, -1, hidden.shape[-1]).clone()
                rows[row] = 0
                self.seen[name] = (
                    rows.clone()
                )  # Falcon adds the attention to its MLP's output in place
                return rows

            return change

        def end(hidden: torch.Tensor) -> torch.Tensor:
            self.seen["post"] = hidden.clone()
            self._compare(block)
            return hidden[self.clean].expand_as(hidden).clone()

        stack.callback(before(block.module, keep("pre")))
        if block.projection is not None:
            stack.callback(before(block.projection, lambda hidden: self._slices(block, hidden)))
        if block.attention is not None:
            stack.callback(after(block.attention, without("attention", self.no_attention)))
        if block.mlp is not None:
            stack.callback(after(block.mlp, without("mlp", self.no_mlp)))
        if block.form == "post-norm" and block.writes_mid is not None:
            stack.callback(before(block.writes_mid, keep("mid")))
        elif block.reads_mid is not None:
            stack.callback(before(block.reads_mid, keep("mid")))
        stack.callback(after(block.module, end))

    def _without_a_head(self, layer: int, pattern: torch.Tensor) -> torch.Tensor:
        edited = pattern.clone()
        heads = torch.arange(pattern.shape[1])
        edited[heads, heads] = 0
        return edited

    def _slices(self, block: Block, hidden: torch.Tensor) -> None:
        """hidden: the projection's input, [row x position, n_heads x d_head] in all."""
        heads = block.n_heads
        assert heads is not None
        z = hidden.reshape(self.clean + 3, -1, heads, hidden.shape[-1] // heads)
        alive = (z[self.clean] != 0).any(2).any(0)
        self.alive = alive.nonzero()[:, 0].tolist()
        self._show("slice", block, bool(self.alive))
        changes = (z[:heads] - z[self.clean]).abs().amax((1, 3))  # [head switched off, head]
        inside = changes.diagonal()
        outside = float((changes - inside.diag()).max()) / max(1.0, float(z.abs().max()))
        self._worst("slice", outside if bool((inside > 0)[alive].all()) else float("inf"))
        if block.layer in self.projected:
            self._worst(
                "slice", difference(z[self.clean], self.projected[block.layer].reshape(z.shape[1:]))
            )

    def _compare(self, block: Block) -> None:
        """The block's equation with one of its terms left out."""
        device = self.seen[
            "post"
        ].device  # a block at the boundary of two devices reads on the one and writes on the other
        seen = {name: value.to(device) for name, value in self.seen.items()}
        at = {
            name: value.reshape(self.clean + 3, -1, value.shape[-1]) for name, value in seen.items()
        }
        pre, post, clean = at["pre"][self.clean], at["post"], self.clean
        if block.attention is not None:
            added = block.attention_scale * at["attention"][clean]
            if block.form in ("sequential", "post-norm", "crossed"):
                self._worst("attention", difference(at["mid"][self.no_attention], pre))
            else:
                whole = at["mid"] if block.form == "hybrid" else post
                self._worst("attention", difference(whole[self.no_attention], whole[clean] - added))
            if self.anatomy.mechanism is not None:
                self._reached(block, at)
        if block.mlp is not None:
            if block.form == "post-norm":
                self._worst(
                    "mlp", 0.0 if not torch.equal(post[self.no_mlp], post[clean]) else float("inf")
                )
            else:
                bare = block.form in ("sequential", "hybrid")
                rest = (
                    at["mid"][clean] if bare else post[clean] - block.mlp_scale * at["mlp"][clean]
                )
                self._worst("mlp", difference(post[self.no_mlp], rest))
        self.seen, self.alive = {}, []

    def _reached(self, block: Block, at: dict[str, torch.Tensor]) -> None:
        """Whether a head that is switched off is missing from the attention's output, and not from
        a parallel MLP's.
        """
        attention, clean = at["attention"], self.clean
        heads = self.alive if block.projection is not None else [0]
        missing = [h for h in heads if not torch.equal(attention[h], attention[clean])]
        # the same at all positions: the heads' weights on their way out are 0, and it is a bias at
        # most
        constant = bool((attention[clean] == attention[clean, :1]).all())
        silent = not missing and (constant or not heads)
        self._show("attention", block, not silent)
        alike = (
            block.form != "parallel"
            or not missing
            or torch.equal(at["mlp"][missing[0]], at["mlp"][clean])
        )
        self._worst("attention", 0.0 if (missing or silent) and alike else float("inf"))

    def _worst(self, identity: str, value: float) -> None:
        self.found[identity] = max(self.found.get(identity, 0.0), value)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest number (at least 1); infinite where something
    is not a number.
    """
    scale = max(1.0, float(expected.abs().max()))
    value = float((found.cpu().double() - expected.cpu().double()).abs().max()) / scale
    return value if value == value else float("inf")
