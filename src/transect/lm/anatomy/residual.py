"""What adds up to a block's output: found as equations between the tensors of one traced call, not
by names.

sequential  mid - pre = s1 a, post - mid = s2 m      (mid: what some module reads in between)
post-norm   input of a norm - pre = s1 a, mid = its output; input of a norm - mid = s2 m, post = its output
hybrid      mid - pre = s1 a + s' c (a second mixer beside the attention), post - mid = s2 m
crossed     mid - pre = s1 a, post - mid = s' c + s2 m (c: attention to an encoder, which reads mid)
parallel    post - pre = s1 a + s2 m
single      post - pre = s1 a
pre, post: [batch, position, d_model], the block's input and output. a, m: outputs of modules inside
it, a at or after the projection of the heads. An equation holds if each of its numbers does, to
TOLERANCE units of rounding.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from transect.lm.anatomy.tracing import Call

ENGINE_PART = "residual"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("hidden", "attention", "heads")

TOLERANCE = 8  # units of rounding of the terms, element by element: a few additions' worth
Form = Literal[
    "sequential", "post-norm", "hybrid", "crossed", "parallel", "single", "mixed", "unknown"
]


@dataclass(frozen=True, eq=False)
class Sums:
    """The terms of a block's output; see Block in lm/anatomy/anatomy.py. Without heads `attention` is
    another mixer.
    """

    form: Form = "unknown"
    attention: nn.Module | None = None
    mlp: nn.Module | None = None
    attention_scale: float = 1.0
    mlp_scale: float = 1.0
    reads_mid: nn.Module | None = None
    writes_mid: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a block ran: its own input and output, the calls inside that read or wrote such tensors."""

    pre: torch.Tensor
    post: torch.Tensor
    writers: list[Call]  # outermost first among equals
    readers: list[Call]  # in the order in which they began
    projection: Call | None
    eps: float  # one unit of rounding

    def holds(self, target: torch.Tensor, base: torch.Tensor, *terms: torch.Tensor) -> bool:
        """target = base + the terms, to rounding; and not without them."""
        scale = (
            target.abs() + base.abs() + sum((term.abs() for term in terms), torch.zeros_like(base))
        )
        off = (target - base - sum(terms, torch.zeros_like(base))).abs()
        return bool((off <= TOLERANCE * self.eps * scale + self.eps**2).all())

    def term(
        self, target: torch.Tensor, base: torch.Tensor, among: Iterable[Call]
    ) -> tuple[Call, float] | None:
        """(call, s) with target = base + s x its output."""
        delta = target - base
        if self.holds(target, base, torch.zeros_like(base)):
            return None
        for call in among:
            c = call.output
            assert c is not None
            norm = float((c * c).sum())
            s = self.scale(float((c * delta).sum()) / norm if norm else 0.0)
            if s and self.holds(target, base, s * c):
                return call, s
        return None

    def terms(
        self, target: torch.Tensor, base: torch.Tensor, first: Iterable[Call], second: list[Call]
    ) -> tuple[Call, float, Call, float] | None:
        """(call, s, call, s') with target = base + s x the one's output + s' x the other's."""
        delta = (target - base).flatten()
        if not delta.isfinite().all():
            return None  # a run that diverged
        for a in first:
            for b in second:
                x, y = a.output, b.output
                assert x is not None and y is not None
                if torch.equal(x, y) or not (x.isfinite().all() and y.isfinite().all()):
                    continue
                columns = torch.stack([x.flatten(), y.flatten()])
                solution = torch.linalg.lstsq(columns.T, delta[:, None]).solution[:, 0].tolist()
                s, t = map(self.scale, solution)
                if s and t and self.holds(target, base, s * x, t * y):
                    return a, s, b, t
        return None

    def scale(self, s: float) -> float:
        """A factor found by least squares, as it will have been meant: 1 where it is 1 to rounding,
        0 where near 0.
        """
        if abs(s) < 1e-3:
            return 0.0
        digits = min(6, -math.floor(math.log10(self.eps)))
        return 1.0 if abs(s - 1) < max(1e-4, self.eps) else float(f"{s:.{digits}g}")

    def after_projection(self, before: int | None = None) -> list[Call]:
        """What may be the attention's term: the writers that contain the projection, then those
        that ended later.
        """
        p = self.projection
        chosen = [
            w
            for w in self.writers
            if (p is None or w.end >= p.end) and (before is None or w.end < before)
        ]
        return sorted(chosen, key=lambda w: p is not None and w.start > p.start)

    def wrote(self, value: torch.Tensor, before: int) -> nn.Module | None:
        """The module whose output is `value`."""
        for call in self.writers:
            if call.end < before and float((call.output - value).abs().max()) == 0:  # type: ignore[operator]
                return call.module
        return None


def sums(block: Call, inner: list[Call], projection: Call | None, eps: float) -> Sums:
    """The terms of the block's output. inner: the calls inside, of modules that ran once. eps: one
    unit of rounding.
    """
    pre, post = block.input, block.output
    assert pre is not None and post is not None
    shape = pre.shape
    writers = [c for c in inner if c.output is not None and c.output.shape == shape]
    readers = [c for c in inner if c.input is not None and c.input.shape == shape]
    parts = _Parts(
        pre,
        post,
        sorted(
            writers, key=lambda c: c.name.count(".")
        ),  # stable: in the order of their ends among equals
        sorted(readers, key=lambda c: c.start),
        projection,
        eps,
    )
    return _through_mid(parts) or _at_once(parts) or Sums()


def _through_mid(parts: _Parts) -> Sums | None:
    """Sequential, post-norm and hybrid blocks: some module reads pre + attention."""
    start = parts.projection.end if parts.projection is not None else -1
    for reader in parts.readers:
        if reader.start < start:
            continue
        mid = reader.input
        assert mid is not None
        first = parts.after_projection(before=reader.start)
        one = parts.term(mid, parts.pre, first)
        two = (
            None
            if one
            else parts.terms(
                mid, parts.pre, first, [w for w in parts.writers if w.end < reader.start]
            )
        )
        if not one and not two:
            continue
        later = [w for w in parts.writers if w.end > reader.start]
        attention, scale = one or two[:2]  # type: ignore[index]
        last = parts.term(parts.post, mid, later)
        if last:
            form: Form = "sequential" if one else "hybrid"
            writer = parts.wrote(mid, reader.start)
            return Sums(
                form, attention.module, last[0].module, scale, last[1], reader.module, writer
            )
        found = _post_norm(parts, reader, attention, scale) if one else None
        if found:
            return found
        both = parts.terms(parts.post, mid, later, later) if one else None
        if both:
            mlp, mlp_scale = both[:2] if both[0].end > both[2].end else both[2:]
            return Sums("crossed", attention.module, mlp.module, scale, mlp_scale, reader.module)
    return None


def _post_norm(parts: _Parts, norm: Call, attention: Call, scale: float) -> Sums | None:
    """norm reads pre + attention; is its output the stream in the middle, and the block's output
    such a norm again?
    """
    mid = norm.output
    if mid is None or mid.shape != parts.pre.shape:
        return None
    for reader in parts.readers:
        if (
            reader.start < norm.end
            or reader.output is None
            or not torch.equal(reader.output, parts.post)
        ):
            continue
        assert reader.input is not None
        last = parts.term(
            reader.input, mid, [w for w in parts.writers if norm.end < w.end < reader.start]
        )
        if last:
            reads = next(
                (
                    call.module
                    for call in parts.readers
                    if call.start > norm.end
                    and call.input is not None
                    and torch.equal(call.input, mid)
                ),
                None,
            )
            return Sums(
                "post-norm", attention.module, last[0].module, scale, last[1], reads, norm.module
            )
    return None


def _at_once(parts: _Parts) -> Sums | None:
    """Parallel blocks, and blocks that add one thing."""
    one = parts.term(parts.post, parts.pre, parts.after_projection())
    if one:
        return Sums("single", one[0].module, None, one[1])
    two = parts.terms(parts.post, parts.pre, parts.after_projection(), parts.writers)
    if two and parts.projection is not None:
        return Sums("parallel", two[0].module, two[2].module, two[1], two[3])
    return None
